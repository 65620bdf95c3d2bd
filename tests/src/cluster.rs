//! A real sshd, a home and the binary: what most tests start from.

use crate::{Run, Transcript, bssh};
use bssh_fixtures::{EmbeddedNodes, Home, Sshd, SshdOptions};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Where the test's command lines run.
pub struct Lab {
    pub home: Home,
    pub sshd: Sshd,
}

/// Nothing that works takes this long, also on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(120);

impl Lab {
    /// A daemon with the usual options. Fails, and says what to install, where there is no sshd.
    pub fn start() -> Lab {
        Lab::with(&SshdOptions::default())
    }

    pub fn with(options: &SshdOptions) -> Lab {
        let sshd = Sshd::with(options).unwrap_or_else(|error| panic!("{error}"));
        Lab { home: Home::new().expect("a temp directory"), sshd }
    }

    /// `bssh -F CONFIG words…` for this lab's daemon.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        command_in(&self.home, self.sshd.ssh_config(), words)
    }

    /// The same, started to ignore these signals, as env(1) calls them.
    pub fn ignoring<S: AsRef<OsStr>>(&self, signals: &str, words: &[S]) -> Command {
        let bssh = self.command(words);
        let mut command = self.home.command("env");
        command.arg(format!("--ignore-signal={signals}"));
        command.arg(bssh.get_program()).args(bssh.get_args());
        command
    }

    /// Runs to the end with an empty stdin.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Transcript {
        Run::start(self.command(words)).finish(DEADLINE)
    }

    /// Runs words whose first one is a subcommand, with this lab's configuration as the usual one.
    #[track_caller]
    pub fn run_bare<S: AsRef<OsStr>>(&self, words: &[S]) -> Transcript {
        let text = std::fs::read_to_string(self.sshd.ssh_config()).expect("the client's file");
        self.home.write(".ssh/config", text).expect("a home that can be written to");
        let mut command = self.home.command(bssh());
        command.args(words);
        Run::start(command).finish(DEADLINE)
    }

    /// Runs to the end with this on stdin.
    #[track_caller]
    pub fn feed<S: AsRef<OsStr>>(&self, words: &[S], stdin: &[u8]) -> Transcript {
        let mut run = Run::start(self.command(words));
        run.write(stdin);
        run.finish(DEADLINE)
    }

    /// Runs on embedded nodes instead, `demo1` and so on.
    #[track_caller]
    pub fn on_nodes<S: AsRef<OsStr>>(nodes: &EmbeddedNodes, words: &[S]) -> Transcript {
        let home = Home::new().expect("a temp directory");
        nodes.write_client_files(home.path()).expect("the client's files");
        let config = home.path().join("ssh_config");
        Run::start(command_in(&home, config, words)).finish(DEADLINE)
    }
}

fn command_in<S: AsRef<OsStr>>(home: &Home, config: PathBuf, words: &[S]) -> Command {
    let mut command = home.command(bssh());
    command.arg("-F").arg(config).args(words);
    command
}
