//! `-f`: the session goes on in a process of its own once it is authenticated.
//!
//! A program with threads cannot fork. So the frontend runs itself again with the same words and
//! waits: the copy asks what must be asked on the terminal, and says through its stdin (a
//! socket, since `-f` leaves stdin unused) when it needs nobody any more.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// Set in the copy's environment.
pub(super) const MARK: &str = "BSSH_BACKGROUND";

/// Runs the copy. Returns 0 when it is authenticated, or its exit code if it ends before.
///
/// # Errors
/// The program cannot be run again.
pub(super) fn detach(words: &[OsString]) -> io::Result<u8> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut copy = Command::new(std::env::current_exe()?)
        .arg("ssh")
        .args(words)
        .env(MARK, "1")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()?;
    let mut ready = [0_u8; 1];
    match ours.read(&mut ready) {
        Ok(1) => Ok(0),
        _ => Ok(copy.wait()?.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(255)),
    }
}

/// In the copy: tells the waiting process that it may go, and leaves the terminal's session.
///
/// # Errors
/// stdin could not be replaced.
pub(super) fn leave() -> io::Result<()> {
    // Fails only for a group leader, which a freshly started copy is not.
    let _ = rustix::process::setsid();
    // If nobody waits any more, nobody needs to hear it.
    let _ = rustix::io::write(io::stdin().as_fd(), b"+");
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(())
}
