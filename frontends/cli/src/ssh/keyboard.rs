//! The local terminal of a pty session: raw mode, typed bytes through the escape filter, size
//! changes, suspension.
//!
//! What is typed comes from [`bssh_term::Stdin`]; escapes are as in ssh(1), ESCAPE CHARACTERS.

use super::command_line::LineEditor;
use super::effective::Effective;
use bssh_term::{Escapes, RawMode, Stdin};
use bytes::Bytes;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

/// What the session does next because of something typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Bytes(Bytes),
    /// `~.`
    Disconnect,
    /// `~#`
    ListForwards,
    /// A line typed after `~C`; none if it was given up.
    Command(String),
    /// `~R`
    Rekey,
    /// `~v` (true), `~V`; how it was typed.
    Verbosity(bool, String),
    /// `~&`
    Background,
    /// `~^Z`, and the shell has given the terminal back.
    Resumed,
    /// End of stdin.
    End,
}

const CTRL_Z: u8 = 0x1a;
/// What means something behind the escape character; `~B` is refused.
const LETTERS: &[u8] = &[b'.', CTRL_Z, b'#', b'?', b'C', b'R', b'V', b'v', b'&', b'B'];

/// The text behind `~?`; `{e}` is the escape character.
const HELP: &str = "Supported escape sequences:\r\n \
{e}.   - terminate connection\r\n {e}R   - request rekey\r\n {e}V/v - decrease/increase verbosity (LogLevel)\r\n \
{e}^Z  - suspend\r\n {e}#   - list forwarded connections\r\n {e}C   - open or cancel a forward\r\n \
{e}&   - background bssh (when waiting for connections to terminate)\r\n \
{e}?   - this message\r\n {e}{e}   - send the escape character by typing it twice\r\n\
(Note that escapes are only recognized immediately after newline.)\r\n";

/// The keyboard of one session. Dropping it puts the terminal's settings back and ends the
/// reader thread.
pub(super) struct Keyboard {
    raw: Option<RawMode>,
    escapes: Escapes,
    /// `~C` is wanted.
    command_line: bool,
    typed: Stdin,
    /// Bytes behind an escape, not filtered yet.
    rest: Vec<u8>,
    /// What has been typed after `~C`.
    line: Option<LineEditor>,
    /// Found behind bytes that had to go first.
    pending: Option<Typed>,
}

impl Keyboard {
    /// Takes over stdin; raw mode if it is a terminal and the node has one.
    ///
    /// # Errors
    /// No pipe or thread to be had.
    pub(super) fn open(effective: &Effective, raw: bool) -> io::Result<Self> {
        let typed = Stdin::open()?;
        Ok(Keyboard {
            escapes: Escapes::new(effective.escape, LETTERS),
            command_line: effective.command_line,
            raw: raw.then(raw_mode).flatten(),
            typed,
            rest: Vec::new(),
            line: None,
            pending: None,
        })
    }

    /// The next thing to do. Help is dealt with here.
    pub(super) async fn next(&mut self) -> Typed {
        loop {
            if let Some(typed) = self.pending.take() {
                return typed;
            }
            if self.rest.is_empty() {
                match self.typed.next().await {
                    Some(bytes) => self.rest = bytes,
                    None => return Typed::End,
                }
            }
            if let Some(line) = &mut self.line {
                let (echo, done) = line.take(&mut self.rest);
                super::show(&echo);
                if let Some(line) = done {
                    self.line = None;
                    return Typed::Command(line);
                }
                continue;
            }
            let mut out = Vec::with_capacity(self.rest.len());
            let (escape, taken) = self.escapes.filter(&self.rest, &mut out);
            self.rest.drain(..taken);
            self.pending = escape.and_then(|e| self.act(e));
            if !out.is_empty() {
                return Typed::Bytes(out.into());
            }
        }
    }

    /// Does what the letter behind the escape character asks for, as far as it can be done here.
    fn act(&mut self, letter: u8) -> Option<Typed> {
        let shown = self.escapes.shown();
        match letter {
            b'.' => return Some(Typed::Disconnect),
            b'#' => return Some(Typed::ListForwards),
            b'C' if !self.command_line => super::show("commandline disabled\r\n"),
            b'C' => {
                super::show("\r\nssh> ");
                self.line = Some(LineEditor::default());
            }
            CTRL_Z => {
                self.suspend();
                return Some(Typed::Resumed);
            }
            b'?' => super::show(&format!("\r\n{}", HELP.replace("{e}", &shown))),
            b'R' => return Some(Typed::Rekey),
            b'v' | b'V' => {
                let typed = format!("{shown}{}", char::from(letter));
                return Some(Typed::Verbosity(letter == b'v', typed));
            }
            b'&' => {
                super::show(&format!("{shown}& [backgrounded]\r\n"));
                return Some(Typed::Background);
            }
            _ => {
                super::show(&format!(
                    "{shown}B: a BREAK cannot be sent; {shown}? lists what can\r\n"
                ));
            }
        }
        None
    }

    fn suspend(&mut self) {
        let was_raw = self.raw.take().is_some();
        // The shell takes over here; the next line runs after `fg`.
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
        self.raw = was_raw.then(raw_mode).flatten();
    }
}

fn raw_mode() -> Option<RawMode> {
    let stdin = io::stdin();
    stdin.is_terminal().then(|| RawMode::raw(stdin.as_fd()).ok()).flatten()
}
