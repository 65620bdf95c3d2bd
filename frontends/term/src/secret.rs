//! Answers typed at the controlling terminal, with or without echo.
//!
//! `/dev/tty` is used, never stdin: stdin may be data for the nodes. Keys are read one by one
//! with signals off, so that Ctrl-C is an answer and not a death in the middle of a prompt with
//! echo off: what becomes of it is the caller's. The calls block; run them on a thread of their own.

use crate::guard::RawMode;
use rustix::process::Signal;
use std::fs::File;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// What a person did at a prompt.
#[derive(PartialEq, Eq)]
pub enum Typed {
    Line(Zeroizing<String>),
    /// Ctrl-D on an empty line, or the terminal has gone.
    Cancelled,
    /// Ctrl-C, Ctrl-\, Ctrl-Z: what the terminal would have sent to everybody on it.
    Signal(Signal),
}

/// Longest answer in bytes; what is typed beyond it is ignored.
const LONGEST: usize = 4096;

/// Shows `prompt` and reads a line without echo.
///
/// # Errors
/// There is no controlling terminal.
pub fn read_secret(prompt: &str) -> io::Result<Typed> {
    ask(prompt, false)
}

/// Shows `prompt` and reads a line, showing what is typed.
///
/// # Errors
/// There is no controlling terminal.
pub fn read_line(prompt: &str) -> io::Result<Typed> {
    ask(prompt, true)
}

fn ask(prompt: &str, echo: bool) -> io::Result<Typed> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let guard = RawMode::keys(&terminal)?;
    terminal.write_all(prompt.as_bytes())?;
    let typed = read_keys(&mut terminal, echo);
    drop(guard);
    terminal.write_all(b"\n")?;
    typed
}

fn read_keys(terminal: &mut (impl Read + Write), echo: bool) -> io::Result<Typed> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut key = Zeroizing::new([0_u8; 1]);
    loop {
        let read = match terminal.read(key.as_mut_slice()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
            Ok(read) => read,
        };
        let [byte] = *key;
        match (read, byte) {
            (0, _) => return Ok(Typed::Cancelled),
            (_, CTRL_C) => return Ok(Typed::Signal(Signal::INT)),
            (_, CTRL_BACKSLASH) => return Ok(Typed::Signal(Signal::QUIT)),
            (_, CTRL_Z) => return Ok(Typed::Signal(Signal::TSTP)),
            (_, CTRL_D) if line.is_empty() => return Ok(Typed::Cancelled),
            (_, b'\r' | b'\n' | CTRL_D) => break,
            (_, CTRL_H | DELETE) => rub_out(terminal, &mut line, echo)?,
            (_, CTRL_U) => {
                while !line.is_empty() {
                    rub_out(terminal, &mut line, echo)?;
                }
            }
            (_, byte) if line.len() < LONGEST && (byte >= b' ' || byte == b'\t') => {
                line.push(byte);
                if echo {
                    terminal.write_all(&[byte])?;
                }
            }
            _ => {}
        }
    }
    let text = std::str::from_utf8(&line)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the answer is not UTF-8"))?;
    Ok(Typed::Line(Zeroizing::new(text.to_owned())))
}

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_H: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const CTRL_Z: u8 = 0x1a;
const CTRL_BACKSLASH: u8 = 0x1c;
const DELETE: u8 = 0x7f;

/// Takes one character back: all of its UTF-8 bytes.
fn rub_out(terminal: &mut impl Write, line: &mut Vec<u8>, echo: bool) -> io::Result<()> {
    let mut removed = false;
    while let Some(byte) = line.pop() {
        removed = true;
        if byte & 0xc0 != 0x80 {
            break;
        }
    }
    if echo && removed {
        terminal.write_all(b"\x08 \x08")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Keys<'a>(&'a [u8], Vec<u8>);
    impl Read for Keys<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl Write for Keys<'_> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn keys_edit_the_line() {
        for (keys, want) in [
            (&b"secret\r"[..], Some("secret")),
            (b"secret\nmore", Some("secret")),
            (b"sek\x7fcret\n", Some("secret")),
            (b"\x7f\x7fa\n", Some("a")),
            ("aé\x7fb\n".as_bytes(), Some("ab")),
            (b"wrong\x15right\n", Some("right")),
            (b"abc\x04", Some("abc")),
            (b"\n", Some("")),
            (b"\x04", None),
            (b"abc\x03", None),
            (b"abc\x1a", None),
            (b"abc\x1c", None),
            (b"abc", None),
        ] {
            let mut terminal = Keys(keys, Vec::new());
            let got = match read_keys(&mut terminal, false).unwrap() {
                Typed::Line(line) => Some(line.to_string()),
                Typed::Cancelled | Typed::Signal(_) => None,
            };
            assert_eq!(got.as_deref(), want, "{keys:?}");
            assert!(terminal.1.is_empty(), "nothing is shown");
        }
    }
}
