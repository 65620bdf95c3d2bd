//! A core that stands by: a copy of this process, made before anything was done in it.
//!
//! To run the executable anew it would have to be loaded, linked and relocated once more: a sixth
//! of the CPU that a command on one node costs.
//! It waits to be told the words behind `core`, and from then on is what `bssh core --stdio` is; if
//! nobody wants it, it is ended.

use crate::child::{self, Lent, Process, Started};
use crate::core::Start;
use crate::shared;
use bssh_protocol::lock;
use nix::unistd::ForkResult;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::ffi::{CStr, OsString};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

/// Runs a core with the words behind `core`, and gives its exit status.
pub type CoreMain = fn(&[OsString]) -> u8;

/// What lists of processes call a copy that stands by or is a core.
const NAME: &CStr = c"bssh-core";

/// At most one core that stands by; the first who wants it gets it.
#[derive(Clone, Default)]
pub struct Standby(Arc<Mutex<Option<Copied>>>);

impl Standby {
    /// Copies this process. Must be called while it has one thread, no secrets, and nothing open
    /// but what it was started with.
    ///
    /// There is none where a shared core will be used or the system refuses; a core is then
    /// spawned. Elsewhere than on Linux a copy that runs nothing new may not use the system's
    /// libraries.
    pub fn prepare(core: CoreMain) -> Standby {
        match cfg!(target_os = "linux") && !shared::may_be_there() {
            true => Standby(Arc::new(Mutex::new(copy(core).ok()))),
            false => Standby::default(),
        }
    }

    /// Makes a core of it. `None`: there is none, or it has gone.
    pub(crate) fn take(&self, start: &Start) -> Option<Started> {
        let Copied { pid, socket, lent } = lock(&self.0).take()?;
        match tell(socket, start) {
            Ok(link) => Some((Process::Copied(pid), link, start.lend_stdio.then_some(lent))),
            Err(_) => {
                end(pid);
                None
            }
        }
    }

    /// Nobody will want it. One that still waits when the frontend ends does so, too.
    pub(crate) fn dismiss(&self) {
        if let Some(copied) = lock(&self.0).take() {
            end(copied.pid);
        }
    }
}

/// A copy of this process, our end of what will be the link, and the numbers of its copies of our
/// stdin, stdout and stderr.
struct Copied {
    pid: Pid,
    socket: UnixStream,
    lent: Lent,
}

/// Tells it to become a core: whether it keeps the copies of stdin, stdout and stderr (1 or 0), then
/// the length of its words, and the words.
fn tell(mut socket: UnixStream, start: &Start) -> std::io::Result<tokio::net::UnixStream> {
    let words = start.arguments();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let words = words.join(&0);
    let length = u32::try_from(words.len()).map_err(std::io::Error::other)?;
    let keeps = u8::from(start.lend_stdio);
    socket.write_all(&[&[keeps][..], &length.to_be_bytes(), &words].concat())?;
    socket.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(socket)
}

fn end(pid: Pid) {
    // It may have gone by itself.
    let _ = kill_process(pid, Signal::KILL);
    let _ = waitpid(Some(pid), WaitOptions::empty());
}

#[allow(unsafe_code, reason = "a copy of this process is made here and nowhere else")]
fn copy(core: CoreMain) -> std::io::Result<Copied> {
    let (ours, theirs) = UnixStream::pair()?;
    let copies = child::copies()?;
    let lent = copies.each_ref().map(AsRawFd::as_raw_fd);
    // What the processor can do is asked once for both: each question is dear in a virtual machine.
    #[cfg(target_arch = "x86_64")]
    let _ = std::arch::is_x86_feature_detected!("avx2");
    // SAFETY: there is one thread, so that the copy is a whole process: no lock in it is held by a
    // thread that it has not got.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => {
            let pid = Pid::from_raw(child.as_raw()).ok_or(std::io::ErrorKind::Other)?;
            Ok(Copied { pid, socket: ours, lent })
        }
        ForkResult::Child => {
            drop(ours);
            // Without words its frontend has gone, and wanted no core.
            let status = stand_by(theirs, copies).map_or(0, |words| core(&words));
            #[allow(
                clippy::disallowed_methods,
                reason = "what a copy would return to is another's"
            )]
            std::process::exit(i32::from(status))
        }
    }
}

/// Waits for the words of a core, and puts the link where a core looks for it.
fn stand_by(mut socket: UnixStream, copies: [OwnedFd; 3]) -> std::io::Result<Vec<OsString>> {
    // Only for people who look at processes.
    let _ = rustix::thread::set_name(NAME);
    let (mut keeps, mut length) = ([0], [0; 4]);
    socket.read_exact(&mut keeps)?;
    socket.read_exact(&mut length)?;
    let mut words = Vec::new();
    (&socket).take(u32::from_be_bytes(length).into()).read_to_end(&mut words)?;
    rustix::stdio::dup2_stdin(&socket)?;
    rustix::stdio::dup2_stdout(&socket)?;
    if keeps == [1] {
        // They are known by their numbers.
        let _known = copies.map(IntoRawFd::into_raw_fd);
    }
    Ok(words.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect())
}
