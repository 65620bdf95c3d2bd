//! The last bytes of one terminal, to be shown when its node gets the screen.

use std::collections::VecDeque;

/// Bytes kept; a full screen of colours is a tenth of it.
const MOST: usize = 128 << 10;
/// A program is using the alternate screen, or has left it.
const ALTERNATE: &[u8] = b"\x1b[?1049";

#[derive(Debug, Default)]
pub(super) struct Tape {
    bytes: VecDeque<u8>,
    /// Something is gone from its beginning.
    cut: bool,
    /// A full-screen program is at work: it draws anew when the size changes.
    pub full_screen: bool,
}

impl Tape {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let before = self.bytes.len().saturating_sub(ALTERNATE.len());
        self.bytes.extend(bytes);
        let recent: Vec<u8> = self.bytes.iter().skip(before).copied().collect();
        for at in memchr::memmem::find_iter(&recent, ALTERNATE) {
            match recent.get(at + ALTERNATE.len()) {
                Some(b'h') => self.full_screen = true,
                Some(b'l') => self.full_screen = false,
                _ => {}
            }
        }
        let over = self.bytes.len().saturating_sub(MOST);
        if over > 0 {
            self.bytes.drain(..over);
            self.cut = true;
        }
    }

    /// What makes the screen as it was. Where the beginning is gone, it starts with a whole line.
    pub(super) fn play(&self) -> Vec<u8> {
        let skip = match self.cut {
            true => self.bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1),
            false => 0,
        };
        self.bytes.iter().skip(skip).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_knows_full_screen_programs() {
        let mut tape = Tape::default();
        tape.push(b"one\n\x1b[?10");
        tape.push(b"49h");
        assert!(tape.full_screen);
        tape.push(b"x\x1b[?1049l");
        assert!(!tape.full_screen);
        assert_eq!(tape.play(), b"one\n\x1b[?1049hx\x1b[?1049l");
        for n in 0..40_000 {
            tape.push(format!("line {n}\r\n").as_bytes());
        }
        let text = String::from_utf8(tape.play()).unwrap();
        assert!(text.starts_with("line ") && text.ends_with("line 39999\r\n"));
        assert!(text.len() <= MOST);
    }
}
