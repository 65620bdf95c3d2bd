//! A program on a pseudo-terminal of its own: typed at, resized, watched, with a deadline.

use crate::run::until;
use bssh_fixtures::processes;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A running program and the other end of its terminal.
pub struct Terminal {
    child: Child,
    master: File,
    /// Kept open so that its settings can be read afterwards.
    slave: File,
    pieces: Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Terminal {
    /// Starts the command as the leader of a session whose terminal this is: 24 lines, 80 columns.
    pub fn start(command: &Command) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let name = name.to_str().expect("its name").to_owned();
        let slave = File::options().read(true).write(true).open(name).expect("its other end");
        let end = || slave.try_clone().expect("a descriptor");
        // setsid(1) makes it the controlling terminal.
        let mut leader = Command::new("setsid");
        leader.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        leader.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?)))).env("TERM", "xterm");
        if let Some(dir) = command.get_current_dir() {
            leader.current_dir(dir);
        }
        tcsetwinsize(&slave, size(24, 80)).expect("a size");
        let child = leader.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid");
        let master = File::from(master);
        let (send, pieces) = channel();
        let mut reader = master.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut block) {
                if send.send(block[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { child, master, slave, pieces, seen: Vec::new() }
    }

    /// Types this.
    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal is there");
    }

    pub fn resize(&self, rows: u16, cols: u16) {
        tcsetwinsize(&self.master, size(rows, cols)).expect("a size");
    }

    /// Waits until the terminal has shown `text`; what came before it is forgotten.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str, deadline: Duration) {
        let mut at = None;
        until(deadline, || {
            self.seen.extend(self.pieces.try_iter().flatten());
            at = self.seen.windows(text.len()).position(|w| w == text.as_bytes());
            at.is_some()
        });
        match at {
            Some(at) => drop(self.seen.drain(..at + text.len())),
            None => panic!("{text:?} not seen within {deadline:?}\n{}", self.shown()),
        }
    }

    /// Whether `text` is shown within this time.
    pub fn has(&mut self, text: &str, within: Duration) -> bool {
        until(within, || {
            self.seen.extend(self.pieces.try_iter().flatten());
            self.seen.windows(text.len()).any(|w| w == text.as_bytes())
        })
    }

    /// What was shown and not waited for.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// The terminal echoes: nobody has it in raw mode or asks for a secret.
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.slave).expect("settings").local_modes.contains(LocalModes::ECHO)
    }

    /// Waits for the end; the exit status.
    #[track_caller]
    pub fn finish(&mut self, deadline: Duration) -> Option<i32> {
        let mut status = None;
        let ended = until(deadline, || {
            self.seen.extend(self.pieces.try_iter().flatten());
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        assert!(ended, "not finished within {deadline:?}\n{}", self.shown());
        until(Duration::from_millis(200), || {
            self.seen.extend(self.pieces.try_iter().flatten());
            false
        });
        status.and_then(|s| s.code())
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        processes::end(&mut self.child);
    }
}

fn size(rows: u16, cols: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }
}
