//! Remote bytes made fit to be seen between our own lines on a terminal.
//!
//! Where stdout is plain payload (a pipe, a file) bytes pass as they are. On a terminal a node
//! could otherwise move the cursor, retitle the window or forge other nodes' lines: control
//! characters are shown as `^X`, C1 controls as `<9b>`; only tabs, a carriage return before the
//! newline, and colours (SGR, `ESC [ … m`) pass, and colours end with their line.

use crate::RESET;

/// Longest colour sequence that is waited for, in bytes.
const LONGEST: usize = 32;

/// Appends a line (without its newline) to `out`.
pub fn harmless(line: &[u8], out: &mut Vec<u8>) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.iter().any(|b| is_control(*b) || *b >= 0x80) {
        return out.extend_from_slice(line);
    }
    if chunks(line, out) {
        out.extend_from_slice(RESET.as_bytes());
    }
}

/// The same as text.
pub fn plain(line: &[u8]) -> String {
    let mut out = Vec::with_capacity(line.len());
    harmless(line, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Words in a place where not even colours may be: every control character is a `?`.
pub fn bare(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The same for bytes in pieces of any size, shown as they come. What has only begun, a
/// character or a colour, is held back: in two harmless halves it could be a whole that is not.
#[derive(Debug, Default)]
pub struct Flow {
    /// stdout is plain payload.
    raw: bool,
    held: Vec<u8>,
    colored: bool,
    /// Something of a line was shown, and not its end.
    open: bool,
}

impl Flow {
    /// For a stdout that is a terminal, or one that is not: there bytes pass as they are.
    pub fn new(is_terminal: bool) -> Flow {
        Flow { raw: !is_terminal, ..Flow::default() }
    }

    /// Gives what can be shown by now.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.raw {
            self.open = bytes.last().map_or(self.open, |last| *last != b'\n');
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::with_capacity(held.len());
        for line in held.split_inclusive(|b| *b == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    self.line(line.strip_suffix(b"\r").unwrap_or(line), &mut out);
                    self.finish(&mut out);
                }
                None => {
                    let (now, later) = line.split_at(line.len() - begun(line));
                    self.line(now, &mut out);
                    later.clone_into(&mut self.held);
                }
            }
        }
        out
    }

    /// Gives what is left, and ends the line if one is open.
    pub fn end(&mut self) -> Vec<u8> {
        let (held, mut out) = (std::mem::take(&mut self.held), Vec::new());
        self.line(&held, &mut out);
        if self.open {
            self.finish(&mut out);
        }
        out
    }

    fn line(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.open |= !bytes.is_empty();
        self.colored |= chunks(bytes, out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.colored) {
            out.extend_from_slice(RESET.as_bytes());
        }
        out.push(b'\n');
        self.open = false;
    }
}

/// How many bytes at the end are the beginning of something that may be harmless as a whole.
fn begun(bytes: &[u8]) -> usize {
    let tail = bytes.get(bytes.len().saturating_sub(LONGEST)..).unwrap_or_default();
    if let Some(escape) = tail.iter().rposition(|b| *b == 0x1b) {
        let rest = tail.get(escape + 1..).unwrap_or_default();
        let parameters = rest.strip_prefix(b"[").unwrap_or(rest);
        let is_color = rest.is_empty() || rest.len() > parameters.len();
        if is_color && parameters.iter().all(|b| is_parameter(*b)) {
            return tail.len() - escape;
        }
    }
    match tail.last() {
        Some(b'\r') => 1,
        _ => unfinished(bytes),
    }
}

/// How many bytes at the end begin a character that could still be completed.
pub fn unfinished(bytes: &[u8]) -> usize {
    let tail = bytes.get(bytes.len().saturating_sub(3)..).unwrap_or_default();
    let Some(at) = tail.iter().rposition(|b| *b >= 0xc0) else { return 0 };
    let last = tail.get(at..).unwrap_or_default();
    match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// True if a colour was let through.
fn chunks(bytes: &[u8], out: &mut Vec<u8>) -> bool {
    let mut colored = false;
    for chunk in bytes.utf8_chunks() {
        colored |= text(chunk.valid(), out);
        // Bytes that are no UTF-8 could be C1 controls to an 8-bit terminal.
        chunk.invalid().iter().for_each(|b| hex(*b, out));
    }
    colored
}

/// The same.
fn text(mut text: &str, out: &mut Vec<u8>) -> bool {
    let mut colored = false;
    while let Some(c) = text.chars().next() {
        let sgr = sgr_len(text.as_bytes());
        let (now, later) = text.split_at(sgr.max(c.len_utf8()));
        text = later;
        match c {
            _ if sgr > 0 => {
                colored = true;
                out.extend_from_slice(now.as_bytes());
            }
            '\u{80}'..='\u{9f}' => hex(c as u8, out),
            c if c.is_ascii() && is_control(c as u8) => out.extend([b'^', c as u8 ^ 0x40]),
            _ => out.extend_from_slice(now.as_bytes()),
        }
    }
    colored
}

/// Length of the colour sequence `bytes` begins with, or 0.
fn sgr_len(bytes: &[u8]) -> usize {
    let Some(rest) = bytes.strip_prefix(b"\x1b[") else { return 0 };
    let digits = rest.iter().take_while(|b| is_parameter(**b)).count();
    if rest.get(digits) == Some(&b'm') { digits + 3 } else { 0 }
}

fn is_parameter(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b';' | b':')
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("<{byte:02x}>").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_tabs_and_colors_pass() {
        for (line, want) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            (b"crlf\r", "crlf"),
            (b"over\rwrite", "over^Mwrite"),
            ("grün ✓".as_bytes(), "grün ✓"),
            (b"\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m\x1b[0m"),
            (b"\x1b[38;5;1mx", "\x1b[38;5;1mx\x1b[0m"),
            (b"\x1b[2Jwipe", "^[[2Jwipe"),
            (b"\x1b]0;title\x07", "^[]0;title^G"),
            (b"\x1b[31", "^[[31"),
            (b"nul\0del\x7f", "nul^@del^?"),
            (b"\xff\x9b2J", "<ff><9b>2J"),
            ("\u{9b}2J".as_bytes(), "<9b>2J"),
            (b"", ""),
        ] {
            let mut out = Vec::new();
            harmless(line, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{line:?}");
        }
    }

    #[test]
    fn what_comes_in_pieces_is_as_harmless_as_a_line() {
        for (bytes, want) in [
            (&b"one\r\ntwo"[..], "one\ntwo\n"),
            ("gr\u{fc}n \u{9b}2J".as_bytes(), "gr\u{fc}n <9b>2J\n"),
            (b"\x1b[1;31mred\x1b[2Jx\nnext", "\x1b[1;31mred^[[2Jx\x1b[0m\nnext\n"),
            (b"a\rb\x1b", "a^Mb^[\n"),
            (b"\xff\xc2", "<ff><c2>\n"),
            (b"\n\nx\n", "\n\nx\n"),
            (b"", ""),
        ] {
            for split in 0..=bytes.len() {
                let mut flow = Flow::default();
                let mut out = flow.pass(&bytes[..split]);
                out.extend(flow.pass(&bytes[split..]));
                out.extend(flow.end());
                assert_eq!(String::from_utf8(out).unwrap(), want, "{bytes:?} at {split}");
            }
        }
        let mut flow = Flow::default();
        assert_eq!(flow.pass(b"sure? "), b"sure? ", "a question without an end is seen");
    }

    #[test]
    fn payload_passes_as_it_is() {
        let mut flow = Flow::new(false);
        assert_eq!(flow.pass(b"\xff\x01\r\nopen"), b"\xff\x01\r\nopen");
        assert_eq!((flow.end(), flow.end()), (b"\n".to_vec(), Vec::new()));
        assert_eq!((flow.pass(b"a\n"), flow.end()), (b"a\n".to_vec(), Vec::new()));
    }

    #[test]
    fn a_character_that_has_only_begun_is_noticed() {
        for (bytes, n) in [(&b"a\xc3"[..], 1), (b"\xf0\x9f\x98", 3), (b"a\xffb", 0), (b"", 0)] {
            assert_eq!(unfinished(bytes), n, "{bytes:?}");
        }
    }
}
