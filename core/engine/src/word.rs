//! Bytes as one word of a POSIX shell's command line. Names come from nodes and from people: what
//! goes to a shell goes through here, or through a session's `payload`, which csh can read, too.

/// In single quotes.
pub(crate) fn quoted(text: &[u8]) -> Vec<u8> {
    let mut word = vec![b'\''];
    for byte in text {
        match byte {
            b'\'' => word.extend_from_slice(b"'\\''"),
            other => word.push(*other),
        }
    }
    word.push(b'\'');
    word
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_are_kept() {
        assert_eq!(super::quoted(b"it's $x"), b"'it'\\''s $x'");
    }
}
