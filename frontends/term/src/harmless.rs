//! Remote bytes made fit to be seen between our own lines on a terminal.
//!
//! Where stdout is plain payload (a pipe, a file) bytes pass as they are. On a terminal a node
//! could otherwise move the cursor, retitle the window or forge other nodes' lines: control
//! characters are shown as `^X`, C1 controls as `<9b>`; only tabs, a carriage return before the
//! newline, and colours (SGR, `ESC [ … m`) pass, and colours end with their line.

use crate::RESET;

/// Appends a line (without its newline) to `out`.
pub fn harmless(line: &[u8], out: &mut Vec<u8>) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.iter().any(|b| is_control(*b) || *b >= 0x80) {
        return out.extend_from_slice(line);
    }
    let mut colored = false;
    for chunk in line.utf8_chunks() {
        colored |= text(chunk.valid(), out);
        // Bytes that are no UTF-8 could be C1 controls to an 8-bit terminal.
        chunk.invalid().iter().for_each(|b| hex(*b, out));
    }
    if colored {
        out.extend_from_slice(RESET.as_bytes());
    }
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// True if a colour was let through.
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
    let digits = rest.iter().take_while(|b| matches!(b, b'0'..=b'9' | b';' | b':')).count();
    if rest.get(digits) == Some(&b'm') { digits + 3 } else { 0 }
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
}
