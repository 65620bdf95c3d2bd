//! The core as a child process: spawned with one socket as its stdin and stdout, reaped however
//! it ends. The frontend's own stdin, stdout and stderr may go along as descriptors 3, 4 and 5,
//! so that bulk bytes need not cross the link.

use command_fds::{CommandFdExt, FdMapping};
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use tokio::net::UnixStream;
use tokio::process::Child;

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

/// Spawns a core. `arguments` follow `core --stdio`; `lend` passes our own descriptors 0, 1 and 2
/// on as 3, 4 and 5.
pub(crate) fn spawn(
    program: &Path,
    arguments: &[OsString],
    lend: bool,
) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let theirs = OwnedFd::from(theirs);
    let mut command = Command::new(program);
    // An executable called `ssh` would take "core" for a host.
    command.arg0("bssh").arg("core").arg("--stdio").args(arguments);
    // The prompter answers with it; a secret is in no child's environment (I16).
    command.env_remove("BSSH_PASSWORD");
    command.stdin(Stdio::from(theirs.try_clone()?)).stdout(Stdio::from(theirs));
    if lend {
        let mappings = vec![
            FdMapping { parent_fd: copy(rustix::stdio::stdin())?, child_fd: 3 },
            FdMapping { parent_fd: copy(rustix::stdio::stdout())?, child_fd: 4 },
            FdMapping { parent_fd: copy(rustix::stdio::stderr())?, child_fd: 5 },
        ];
        command.fd_mappings(mappings).map_err(std::io::Error::other)?;
    }
    let child = tokio::process::Command::from(command).spawn()?;
    Ok((child, UnixStream::from_std(ours)?))
}

/// A copy of a descriptor; of `/dev/null` if it is closed.
fn copy(fd: impl AsFd) -> std::io::Result<OwnedFd> {
    let open_null = || rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    match rustix::io::fcntl_dupfd_cloexec(fd, 6) {
        Err(rustix::io::Errno::BADF) => Ok(open_null()?),
        copied => Ok(copied?),
    }
}
