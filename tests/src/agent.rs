//! A real ssh-agent with a key, for the tests of agent forwarding.

use crate::until;
use bssh_fixtures::Home;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running agent. Killed when dropped.
pub struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    /// An agent in this home, on a socket of this name, without keys.
    pub fn start(home: &Home, name: &str) -> Agent {
        let socket = home.path().join(name);
        // One that was killed has left its socket behind.
        let _ = std::fs::remove_file(&socket);
        let mut command = home.command("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        let child = command.stdout(Stdio::null()).spawn().expect("ssh-agent is installed");
        let ready = until(Duration::from_secs(20), || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        assert!(ready, "ssh-agent does not listen");
        Agent { child, socket }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn path(&self) -> String {
        self.socket.display().to_string()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// `ssh-add WORDS…` here; what it said.
    #[track_caller]
    pub fn add(&self, home: &Home, words: &[&str]) -> String {
        let mut command: Command = home.command("ssh-add");
        let output = command.args(words).env("SSH_AUTH_SOCK", &self.socket).output();
        let output = output.expect("ssh-add is installed");
        assert!(output.status.success(), "ssh-add {words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("the agent is there");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Open descriptors of a process.
pub fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
