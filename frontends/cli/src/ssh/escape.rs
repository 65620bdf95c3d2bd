//! ssh's escape sequences (`~.` and friends) in what is typed, `man 1 ssh`, ESCAPE CHARACTERS.
//!
//! A pure filter: typed bytes in, bytes for the node and at most one [`Escape`] out. The session
//! decides what an escape does.

/// Finds escapes in typed bytes. The escape character counts only at the start of a line.
#[derive(Debug)]
pub(super) struct EscapeFilter {
    /// `None`: escapes are off (`-e none`).
    escape: Option<u8>,
    line_start: bool,
    /// The escape character was typed and what follows decides.
    pending: bool,
}

/// What a person asked of the session itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// `~.`
    Disconnect,
    /// `~^Z`
    Suspend,
    /// `~#`
    ListForwards,
    /// `~?`
    Help,
    /// `~C`
    CommandLine,
    /// `~R`
    Rekey,
    /// `~v` (true) and `~V`
    Verbosity(bool),
    /// `~&`
    Background,
    /// `~B`, which cannot be sent.
    Break,
}

/// The text behind `~?`; `{e}` is the escape character.
pub(super) const HELP: &str = "Supported escape sequences:\r\n \
{e}.   - terminate connection\r\n {e}R   - request rekey\r\n {e}V/v - decrease/increase verbosity (LogLevel)\r\n \
{e}^Z  - suspend\r\n {e}#   - list forwarded connections\r\n {e}C   - open or cancel a forward\r\n \
{e}&   - background bssh (when waiting for connections to terminate)\r\n \
{e}?   - this message\r\n {e}{e}   - send the escape character by typing it twice\r\n\
(Note that escapes are only recognized immediately after newline.)\r\n";

impl EscapeFilter {
    /// `escape` as `EscapeChar` gives it.
    pub(super) fn new(escape: Option<u8>) -> Self {
        EscapeFilter { escape, line_start: true, pending: false }
    }

    /// The escape character as a person types it.
    pub(super) fn shown(&self) -> String {
        match self.escape {
            Some(c) if c < 32 => format!("^{}", char::from(c + 64)),
            Some(c) => char::from(c).to_string(),
            None => String::new(),
        }
    }

    /// Appends to `out` what goes to the node. Stops behind the first escape; the second value
    /// is how many bytes of `typed` were taken.
    pub(super) fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> (Option<Escape>, usize) {
        let Some(escape) = self.escape else {
            out.extend_from_slice(typed);
            return (None, typed.len());
        };
        for (at, &byte) in typed.iter().enumerate() {
            if self.pending {
                self.pending = false;
                if let Some(found) = escape_of(byte) {
                    self.line_start = true;
                    return (Some(found), at + 1);
                }
                if byte != escape {
                    out.push(escape);
                }
            } else if self.line_start && byte == escape {
                self.pending = true;
                continue;
            }
            self.line_start = byte == b'\r' || byte == b'\n';
            out.push(byte);
        }
        (None, typed.len())
    }
}

fn escape_of(byte: u8) -> Option<Escape> {
    Some(match byte {
        b'.' => Escape::Disconnect,
        0x1a => Escape::Suspend,
        b'#' => Escape::ListForwards,
        b'?' => Escape::Help,
        b'C' => Escape::CommandLine,
        b'R' => Escape::Rekey,
        b'V' | b'v' => Escape::Verbosity(byte == b'v'),
        b'&' => Escape::Background,
        b'B' => Escape::Break,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Escape, EscapeFilter};

    #[test]
    fn escapes_count_at_line_start_only() {
        let rows: &[(&[u8], &[u8], Option<Escape>)] = &[
            (b"ls\r", b"ls\r", None),
            (b"~.", b"", Some(Escape::Disconnect)),
            (b"a~.", b"a~.", None),
            (b"a\r~.", b"a\r", Some(Escape::Disconnect)),
            (b"\n~?", b"\n", Some(Escape::Help)),
            (b"~~", b"~", None),
            (b"~~.", b"~.", None),
            (b"~x", b"~x", None),
            (b"~\x1a", b"", Some(Escape::Suspend)),
            (b"~C", b"", Some(Escape::CommandLine)),
            (b"\r~R", b"\r", Some(Escape::Rekey)),
            (b"~v", b"", Some(Escape::Verbosity(true))),
            (b"~V", b"", Some(Escape::Verbosity(false))),
            (b"~&", b"", Some(Escape::Background)),
            (b"~B", b"", Some(Escape::Break)),
            (b"\xff\r~#", b"\xff\r", Some(Escape::ListForwards)),
        ];
        for (typed, sent, escape) in rows {
            for split in 0..=typed.len() {
                let (mut filter, mut out, mut found) =
                    (EscapeFilter::new(Some(b'~')), Vec::new(), None);
                for part in [&typed[..split], &typed[split..]] {
                    found = found.or(filter.filter(part, &mut out).0);
                }
                assert_eq!((out.as_slice(), found), (*sent, *escape), "{typed:?} at {split}");
            }
        }
    }

    #[test]
    fn none_passes_everything() {
        let mut out = Vec::new();
        assert_eq!(EscapeFilter::new(None).filter(b"\r~.", &mut out), (None, 3));
        assert_eq!(out, b"\r~.");
    }
}
