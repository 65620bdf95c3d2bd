//! A program on a terminal that tmux draws: what is on the screen can be read as a person sees it.
//!
//! One tmux server for each, with a socket of its own, ended when it is dropped.

use crate::run::until;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A program under tmux. When it has ended, `status=N` is shown.
pub struct Tmux {
    dir: tempfile::TempDir,
    pid: i32,
}

impl Tmux {
    /// Starts the command on a screen of this size.
    #[track_caller]
    pub fn start(command: &Command, (cols, rows): (u16, u16)) -> Tmux {
        let dir = tempfile::tempdir().expect("a temp directory");
        let quote = |text: &std::ffi::OsStr| {
            format!("'{}'", text.to_str().expect("text").replace('\'', "'\\''"))
        };
        let mut script = String::from("exec 2>&1\n");
        let given = command.get_envs().filter_map(|(k, v)| Some((k, v?)));
        // tmux says which terminal it is.
        for (key, value) in given.filter(|(k, _)| *k != "TERM") {
            script.push_str(&format!("export {}={}\n", key.to_str().expect("text"), quote(value)));
        }
        script.push_str(&quote(command.get_program()));
        for word in command.get_args() {
            script.push_str(&format!(" {}", quote(word)));
        }
        script.push_str("\necho status=$?\nexec sleep 600\n");
        let file = dir.path().join("run.sh");
        std::fs::write(&file, script).expect("a script");
        let mut tmux = Tmux { dir, pid: 0 };
        let (cols, rows) = (cols.to_string(), rows.to_string());
        let run = format!("sh {}", file.display());
        let words =
            ["-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", &cols, "-y", &rows, &run];
        tmux.tmux(&words);
        tmux.tmux(&["set-option", "-g", "window-size", "manual"]);
        let pid = tmux.tmux(&["display-message", "-p", "-t", "t", "#{pid}"]);
        tmux.pid = pid.trim().parse().expect("the server's pid");
        tmux
    }

    /// A key by tmux's name for it (`Enter`, `C-c`, `a`), or several.
    #[track_caller]
    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys", "-t", "t"], keys].concat());
    }

    /// Text as it is.
    #[track_caller]
    pub fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-t", "t", "-l", text]);
    }

    #[track_caller]
    pub fn resize(&self, cols: u16, rows: u16) {
        let (cols, rows) = (cols.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-t", "t", "-x", &cols, "-y", &rows]);
    }

    /// The screen, line by line.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "t"])
    }

    /// Waits until the screen is as wanted; gives it.
    #[track_caller]
    pub fn until(&self, deadline: Duration, mut wanted: impl FnMut(&str) -> bool) -> String {
        let mut screen = String::new();
        let seen = until(deadline, || {
            screen = self.screen();
            wanted(&screen)
        });
        assert!(seen, "not seen within {deadline:?}:\n{screen}");
        screen
    }

    /// Waits until the screen has this text; gives it.
    #[track_caller]
    pub fn see(&self, text: &str) -> String {
        const DEADLINE: Duration = Duration::from_secs(60);
        let mut screen = String::new();
        let seen = until(DEADLINE, || {
            screen = self.screen();
            screen.contains(text)
        });
        assert!(seen, "{text:?} not seen within {DEADLINE:?}:\n{screen}");
        screen
    }

    /// The tmux server, whose descendants the program is among.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    #[track_caller]
    fn tmux(&self, words: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.socket()).args(words).env_remove("TMUX");
        command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm-256color");
        let output = command.output().unwrap_or_else(|e| panic!("tmux: {e}; apt-get install it"));
        assert!(output.status.success(), "tmux {words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let mut command = Command::new("tmux");
        // A server that has gone needs no ending.
        let _ = command.arg("-S").arg(self.socket()).arg("kill-server").output();
    }
}
