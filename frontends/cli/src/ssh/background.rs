//! `-f`: the session goes on in a process of its own once it is authenticated.
//!
//! A program with threads cannot fork. So the frontend runs itself again with the same words and
//! waits: the copy asks what must be asked on the terminal, and says through its stdin (a
//! socket, since `-f` leaves stdin unused) when it needs nobody any more.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// Set in the copy's environment.
const MARK: &str = "BSSH_BACKGROUND";

/// What a process is, as to `-f`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Background {
    /// What was started.
    #[default]
    No,
    /// The copy, with a command: its output still goes to our stdout and stderr.
    Session,
    /// The copy, without a command: once it is in the background, whoever waits for the end of our
    /// stdout and stderr does not wait for it.
    Hold,
}

impl Background {
    /// As [`detach`] has marked it.
    pub(crate) fn of(get: impl Fn(&str) -> Option<OsString>) -> Background {
        let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        // What the copy starts has the variable, too.
        match get(MARK) {
            Some(mark) if mark == *mark_of(parent, true) => Background::Hold,
            Some(mark) if mark == *mark_of(parent, false) => Background::Session,
            _ => Background::No,
        }
    }
}

fn mark_of(parent: i32, holds: bool) -> String {
    format!("{} of {parent}", if holds { "connection" } else { "session" })
}

/// Runs the copy. Returns 0 when it is authenticated, or its exit code if it ends before. `holds`:
/// there is no command.
///
/// # Errors
/// The program cannot be run again.
pub(super) fn detach(words: &[OsString], holds: bool) -> io::Result<u8> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut copy = Command::new(std::env::current_exe()?)
        .arg("ssh")
        .args(words)
        .env(MARK, mark_of(rustix::process::getpid().as_raw_nonzero().get(), holds))
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()?;
    let mut ready = [0_u8; 1];
    match ours.read(&mut ready) {
        Ok(1) => Ok(0),
        _ => Ok(copy.wait()?.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(255)),
    }
}

/// In the copy: tells the waiting process that it may go, and leaves the terminal's session. `talks`:
/// its remarks are still wanted.
///
/// # Errors
/// A descriptor could not be replaced.
pub(super) fn leave(background: Background, talks: bool) -> io::Result<()> {
    // Fails only for a group leader, which a freshly started copy is not.
    let _ = rustix::process::setsid();
    // If nobody waits any more, nobody needs to hear it.
    let _ = rustix::io::write(io::stdin().as_fd(), b"+");
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    if background == Background::Hold {
        rustix::stdio::dup2_stdout(&null)?;
        if !talks {
            rustix::stdio::dup2_stderr(&null)?;
        }
    }
    Ok(())
}
