//! The core as a child process: with one socket as its stdin and stdout, reaped however it ends.
//! The frontend's own stdin, stdout and stderr may go along as further descriptors, so that bulk
//! bytes need not cross the link.
//!
//! It is the core that stands by (`standby`), else one that is spawned; nothing has to run in that
//! child before it becomes the core, so the system need not copy our memory map first.

use crate::core::{Error, Start};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr};
use tokio::signal::unix::{SignalKind, signal};

/// How the core ended, when nobody asked it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its exit status, if it had one.
    pub status: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status, self.signal) {
            (_, Some(9)) => f.write_str("the core was killed (signal 9)"),
            (_, Some(signal)) => write!(f, "the core was ended by signal {signal}"),
            (Some(status), None) => write!(f, "the core ended with status {status}"),
            (None, None) => f.write_str("the core closed the link"),
        }
    }
}

impl From<ExitStatus> for Lost {
    fn from(status: ExitStatus) -> Self {
        Lost { status: status.code(), signal: status.signal() }
    }
}

/// The numbers under which the core knows our stdin, stdout and stderr.
pub(crate) type Lent = [RawFd; 3];

/// A core of our own.
pub(crate) enum Process {
    Spawned(Child),
    Copied(Pid),
}

impl Process {
    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let pid = match self {
            Process::Spawned(child) => return child.wait().await,
            Process::Copied(pid) => *pid,
        };
        let mut ended = signal(SignalKind::child())?;
        loop {
            if let Some((_, status)) = waitpid(Some(pid), WaitOptions::NOHANG)? {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            ended.recv().await;
        }
    }

    /// Ends it, whatever it does. One that has ended already need not be.
    pub(crate) fn kill(&mut self) {
        let _ = match self {
            Process::Spawned(child) => child.start_kill(),
            Process::Copied(pid) => kill_process(*pid, Signal::KILL).map_err(Into::into),
        };
    }
}

/// A core, the link to it, and how it knows our stdin, stdout and stderr if it has them.
pub(crate) type Started = (Process, UnixStream, Option<Lent>);

/// Starts a core: the one that stands by, if our own executable is wanted and nothing is to be
/// done about its stderr, else another process.
pub(crate) fn start(start: &Start) -> Result<Started, Error> {
    let stands_by = start.program.is_none() && !start.apart;
    if let Some(started) = stands_by.then(|| start.standby.take(start)).flatten() {
        return Ok(started);
    }
    let program = match &start.program {
        Some(program) => program.clone(),
        None => own_program()?,
    };
    spawn(&program, start).map_err(|source| Error::Spawn { program, source })
}

pub(crate) fn own_program() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(|source| {
        let program = PathBuf::from("of this executable");
        Error::Spawn { program, source }
    })?;
    // Linux has it also where an upgrade has put another file in its place.
    let own = PathBuf::from("/proc/self/exe");
    Ok(if !program.exists() && own.exists() { own } else { program })
}

fn spawn(program: &Path, start: &Start) -> std::io::Result<Started> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let theirs = OwnedFd::from(theirs);
    let mut command = Command::new(program);
    // An executable called `ssh` would take "core" for a host.
    command.arg0("bssh").arg("core").args(start.arguments());
    // The prompter answers with it; a secret is in no child's environment (I16).
    command.env_remove("BSSH_PASSWORD");
    command.stdin(Stdio::from(theirs.try_clone()?)).stdout(Stdio::from(theirs));
    // The copies are inherited, and closed here once they are.
    let copies = start.lend_stdio.then(copies).transpose()?;
    if start.apart {
        command.stderr(Stdio::piped());
    }
    let mut child = tokio::process::Command::from(command).spawn()?;
    if let Some(stderr) = child.stderr.take() {
        // Ends with the core and the programs that it has started.
        tokio::spawn(pass_on(stderr));
    }
    let lent = copies.map(|all| all.map(|fd| fd.as_raw_fd()));
    Ok((Process::Spawned(child), UnixStream::from_std(ours)?, lent))
}

/// Shows what the core and its programs write to their stderr.
async fn pass_on(mut stderr: ChildStderr) {
    let mut space = [0_u8; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut space).await {
        // A stderr that is gone cannot be told about.
        let _ = std::io::stderr().write_all(space.get(..n).unwrap_or_default());
    }
}

/// Copies of our own stdin, stdout and stderr.
pub(crate) fn copies() -> std::io::Result<[OwnedFd; 3]> {
    Ok([
        copy(rustix::stdio::stdin())?,
        copy(rustix::stdio::stdout())?,
        copy(rustix::stdio::stderr())?,
    ])
}

/// A copy of a descriptor that a child inherits; of `/dev/null` if it is closed.
fn copy(fd: impl AsFd) -> std::io::Result<OwnedFd> {
    match rustix::io::dup(fd) {
        Err(rustix::io::Errno::BADF) => {
            Ok(rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?)
        }
        copied => Ok(copied?),
    }
}
