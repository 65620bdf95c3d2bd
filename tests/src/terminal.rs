//! A program on a pseudo-terminal of its own, typed to and read from, as a person would.

use bssh_fixtures::processes;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A terminal and the program on it. Killed, with what it started, when dropped.
pub struct Terminal {
    child: Child,
    /// Both ends: what is typed goes into one, settings are asked of the other.
    master: File,
    slave: OwnedFd,
    pieces: Receiver<Vec<u8>>,
    /// Everything shown so far.
    pub shown: String,
    /// What [`Terminal::see`] has not passed yet.
    at: usize,
}

/// Nothing that works takes this long, also on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);

impl Terminal {
    /// Starts a program, 100 columns wide.
    pub fn start(mut command: Command) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a pseudo-terminal");
        grantpt(&master).expect("ours");
        unlockpt(&master).expect("ours");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let name = name.to_str().expect("UTF-8").to_owned();
        let slave = File::options().read(true).write(true).open(&name).expect("its other end");
        let slave = OwnedFd::from(slave);
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("a terminal");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        // Its controlling terminal, so that Ctrl-C is a signal.
        let mut inside = Command::new("setsid");
        inside.arg("-c").arg(command.get_program()).args(command.get_args());
        inside.env_clear();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                inside.env(name, value);
            }
        }
        inside.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1");
        command.stdin(Stdio::null());
        let child = inside.stdin(end()).stdout(end()).stderr(end()).spawn().expect("it starts");
        let master = File::from(master);
        let mut from = master.try_clone().expect("a descriptor");
        let (send, pieces) = channel();
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut block) {
                if send.send(block[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Terminal { child, master, slave, pieces, shown: String::new(), at: 0 }
    }

    /// Types keys.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Types a line.
    pub fn line(&mut self, line: &str) {
        self.keys(&format!("{line}\r"));
    }

    /// Waits until `text` is shown, after what was waited for before; gives what came up to it.
    #[track_caller]
    pub fn see(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = self.shown.get(self.at..).and_then(|rest| rest.find(text)) {
                let from = self.at;
                self.at += found + text.len();
                return self.shown[from..self.at].to_owned();
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.shown.push_str(&String::from_utf8_lossy(&piece)),
                Err(_) => panic!("{text:?} not shown after: {:?}", &self.shown[self.at..]),
            }
        }
    }

    /// Changes the terminal's size, as a window does.
    pub fn resize(&self, cols: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("a terminal");
    }

    /// Typed keys are shown and lines are edited by the terminal itself: nobody has left it raw.
    pub fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("a terminal").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// The process on the terminal (under setsid).
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Waits for the end; gives the exit status.
    #[track_caller]
    pub fn end(mut self) -> Option<i32> {
        let mut status = None;
        let ended = crate::until(DEADLINE, || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        self.shown.extend(self.pieces.try_iter().map(|p| String::from_utf8_lossy(&p).into_owned()));
        assert!(ended, "not finished: {:?}", self.shown);
        status.and_then(|s| s.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let below = processes::descendants(self.pid());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in below {
            processes::kill(process.pid);
        }
    }
}
