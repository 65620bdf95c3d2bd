//! Commands behind an escape character (`~`) at the start of a line, as ssh(1) has them.
//!
//! A pure filter: typed bytes in, bytes for the node and at most one command out. Who reads it
//! decides what a command does.

/// Finds them in what is typed.
#[derive(Debug)]
pub struct Escapes {
    /// None: there are none (`-e none`).
    escape: Option<u8>,
    /// What means something behind the escape character.
    letters: &'static [u8],
    line_start: bool,
    /// The escape character was typed and what follows decides.
    pending: bool,
}

impl Escapes {
    /// A line has not begun yet.
    pub fn new(escape: Option<u8>, letters: &'static [u8]) -> Self {
        Escapes { escape, letters, line_start: true, pending: false }
    }

    /// The escape character as a person types it.
    pub fn shown(&self) -> String {
        match self.escape {
            Some(c) if c < 32 => format!("^{}", char::from(c + 64)),
            Some(c) => char::from(c).to_string(),
            None => String::new(),
        }
    }

    /// Appends to `out` what goes to the node. Stops behind the first command, which is given;
    /// the second value is how many bytes of `typed` were taken.
    pub fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> (Option<u8>, usize) {
        let Some(escape) = self.escape else {
            out.extend_from_slice(typed);
            return (None, typed.len());
        };
        for (at, &byte) in typed.iter().enumerate() {
            if self.pending {
                self.pending = false;
                if self.letters.contains(&byte) {
                    self.line_start = true;
                    return (Some(byte), at + 1);
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

#[cfg(test)]
mod tests {
    use super::Escapes;

    #[test]
    fn commands_count_at_line_start_only() {
        let rows: &[(&[u8], &[u8], Option<u8>)] = &[
            (b"ls\r", b"ls\r", None),
            (b"~.", b"", Some(b'.')),
            (b"a~.", b"a~.", None),
            (b"a\r~.", b"a\r", Some(b'.')),
            (b"\n~?", b"\n", Some(b'?')),
            (b"~~", b"~", None),
            (b"~~.", b"~.", None),
            (b"~x", b"~x", None),
            (b"\r~", b"\r", None),
            (b"~\x1a", b"", Some(0x1a)),
            (b"\xff\r~?", b"\xff\r", Some(b'?')),
        ];
        for (typed, sent, command) in rows {
            for split in 0..=typed.len() {
                let (mut escapes, mut out, mut found) =
                    (Escapes::new(Some(b'~'), b".?\x1a"), Vec::new(), None);
                for part in [&typed[..split], &typed[split..]] {
                    found = found.or(escapes.filter(part, &mut out).0);
                }
                assert_eq!((out.as_slice(), found), (*sent, *command), "{typed:?} at {split}");
            }
        }
    }

    #[test]
    fn none_passes_everything() {
        let mut out = Vec::new();
        assert_eq!(Escapes::new(None, b".").filter(b"\r~.", &mut out), (None, 3));
        assert_eq!(out, b"\r~.");
    }
}
