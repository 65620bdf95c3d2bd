//! The shared core: finding it, starting it, and lending it our descriptors.
//!
//! What is not there is found out by one `connect` that fails. A place that cannot be trusted is
//! never used: then the frontend has a child core, or says why if a shared one was asked for.

use bssh_protocol::handshake::ClientEnvironment;
use bssh_protocol::place::{self, FileKind, Seen};
use rustix::fs::{FileType, Mode};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::UnixStream;
use tokio::process::Command;

/// Which core a frontend wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Persist {
    /// A child of its own.
    Never,
    /// The user's shared core if one runs, else a child.
    #[default]
    IfThere,
    /// A shared core, started if there is none; it stays for this long when nobody needs it.
    /// None: for ever.
    For(Option<Duration>),
}

/// A descriptor that the core may use under the number it has here.
pub(crate) const LENT: [i32; 3] = [0, 1, 2];

/// Somebody may listen where this user's shared core does.
pub(crate) fn may_be_there() -> bool {
    look(&place::socket(&directory())).is_some()
}

fn directory() -> PathBuf {
    let uid = rustix::process::getuid().as_raw();
    place::directory(variable("XDG_RUNTIME_DIR").as_deref(), variable("TMPDIR").as_deref(), uid)
}

/// The socket of this user's shared core, if somebody listens there.
///
/// # Errors
/// A place that cannot be trusted, and what to do.
pub(crate) async fn find() -> Result<Option<UnixStream>, String> {
    let uid = rustix::process::getuid().as_raw();
    let directory = directory();
    let socket = place::socket(&directory);
    // Nothing there is the usual case: found out by one call.
    let Some(seen) = look(&socket) else {
        return match look(&directory) {
            Some(seen) => place::trusted(&directory, seen, FileKind::Directory, uid).map(|()| None),
            None => Ok(None),
        };
    };
    let gone = || format!("{} is gone", directory.display());
    let around = look(&directory).ok_or_else(gone)?;
    place::trusted(&directory, around, FileKind::Directory, uid)?;
    place::trusted(&socket, seen, FileKind::Socket, uid)?;
    // A dead core's socket refuses.
    let Ok(stream) = UnixStream::connect(&socket).await else { return Ok(None) };
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == uid => Ok(Some(stream)),
        _ => Err(format!("{} is served by another user", socket.display())),
    }
}

fn look(path: &Path) -> Option<Seen> {
    let stat = rustix::fs::lstat(path).ok()?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        FileType::Socket => FileKind::Socket,
        _ => FileKind::Other,
    };
    Some(Seen { kind, owner: stat.st_uid, mode: stat.st_mode & 0o7777 })
}

/// Starts a shared core (`control`: ssh's control master) and waits until it listens; another one
/// that is faster is as good.
///
/// # Errors
/// Why there is none.
pub(crate) async fn start(
    program: &Path,
    stay: Option<Duration>,
    control: bool,
) -> Result<(), String> {
    let time = stay.map_or_else(|| "never".to_owned(), |stay| stay.as_secs().to_string());
    let mut command = std::process::Command::new(program);
    // An executable called `ssh` would take "core" for a host.
    command.arg0("bssh").args(["core", "serve", "--idle", &time, "--linger", &time]);
    command.args(control.then_some("--control"));
    command.env_remove("BSSH_PASSWORD");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let said = Command::from(command).output().await;
    let said = said.map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    match said.status.success() {
        true => Ok(()),
        false => {
            let text = String::from_utf8_lossy(&said.stderr);
            let text = text.trim();
            Err(text.strip_prefix("bssh core: ").unwrap_or(text).to_owned())
        }
    }
}

/// What the core is not told: the prompter's to give, and a mark of ssh's `-f`, which would make a
/// connection through a proxy another one than that of the command it was asked for with.
const OURS: &[&str] = &["BSSH_PASSWORD", "BSSH_BACKGROUND"];

/// What the core is told about our surroundings.
#[allow(clippy::disallowed_methods, reason = "a frontend hands its environment to the core")]
pub(crate) fn environment() -> ClientEnvironment {
    let vars = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !OURS.contains(&name.as_str()));
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    ClientEnvironment {
        umask: Some(umask()),
        cwd: std::env::current_dir().map(text).unwrap_or_else(|_| "/".to_owned()),
        home: variable("HOME").unwrap_or_default(),
        vars: vars.collect(),
    }
}

/// Our umask, which the system tells only whoever sets it.
fn umask() -> u32 {
    let ours = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    rustix::process::umask(ours);
    ours.bits()
}

#[allow(clippy::disallowed_methods, reason = "where a frontend looks for the shared core")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The writing end of a socket, which passes descriptors along with the first bytes that follow the
/// handshake: a core that hangs must not keep our pipes open.
pub(crate) struct Passing {
    pub(crate) socket: UnixStream,
    /// None: nothing more to pass.
    pub(crate) descriptors: Option<[OwnedFd; 3]>,
    /// The core has shaken hands.
    pub(crate) answered: Arc<AtomicBool>,
}

impl Passing {
    /// What goes along now.
    fn due(&self) -> Option<&[OwnedFd; 3]> {
        self.descriptors.as_ref().filter(|_| self.answered.load(Ordering::Acquire))
    }

    fn send(&self, bytes: &[u8], descriptors: &[OwnedFd; 3]) -> io::Result<usize> {
        let all: [BorrowedFd<'_>; 3] = descriptors.each_ref().map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if !along.push(SendAncillaryMessage::ScmRights(&all)) {
            return Err(io::Error::other("no room for descriptors"));
        }
        Ok(sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut along, SendFlags::NOSIGNAL)?)
    }
}

impl AsyncWrite for Passing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        while let Some(descriptors) = self.due() {
            ready!(self.socket.poll_write_ready(cx))?;
            let send = || self.send(buf, descriptors);
            match self.socket.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => {
                    self.descriptors = None;
                    return Poll::Ready(sent);
                }
            }
        }
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.due() {
            None => Pin::new(&mut self.socket).poll_write_vectored(cx, bufs),
            Some(_) => {
                let first = bufs.iter().find(|b| !b.is_empty());
                self.poll_write(cx, first.map_or(&[], |b| b))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
