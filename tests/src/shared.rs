//! A home with a shared core: found by its socket, ended when the test is over.

use crate::{Lab, until};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Ends whatever shared core its home has.
pub struct Shared {
    pub lab: Lab,
}

impl Shared {
    pub fn new(lab: Lab) -> Shared {
        Shared { lab }
    }

    /// Where its core listens.
    pub fn socket(&self) -> PathBuf {
        self.lab.home.path().join("run/bssh/v1.sock")
    }

    /// The process that listens there.
    pub fn pid(&self) -> Option<Pid> {
        let socket = UnixStream::connect(self.socket()).ok()?;
        socket_peercred(&socket).ok().map(|peer| peer.pid)
    }

    /// Kills it as nothing else does.
    pub fn kill(&self) {
        let pid = self.pid().expect("a core that listens");
        kill_process(pid, Signal::KILL).expect("our process");
        assert!(until(Duration::from_secs(10), || test_kill_process(pid).is_err()), "it ends");
    }

    /// How often the daemon let somebody in.
    pub fn logins(&self) -> usize {
        self.lab.sshd.log().matches("Accepted publickey").count()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
