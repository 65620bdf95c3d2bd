//! A line cut into words, by the rules of sftp: quotes and backslashes as in a shell, `#` begins a
//! comment, and a quoted pattern character keeps a backslash in front so that it stays literal.

/// Words of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub words: Vec<Vec<u8>>,
    /// The last word is not closed: its quote.
    pub open: Option<u8>,
}

/// A line longer than that is a mistake.
const LONGEST: usize = 8192;
const MOST: usize = 128;

/// # Errors
/// What to say about the line.
pub(super) fn cut(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let cut = read(line)?;
    match cut.open {
        Some(_) => Err("Unterminated quoted argument"),
        None => Ok(cut.words),
    }
}

/// As [`cut`], for a line that is still being typed.
///
/// # Errors
/// As [`cut`].
pub(super) fn read(line: &[u8]) -> Result<Words, &'static str> {
    if line.len() >= LONGEST {
        return Err("string too long");
    }
    let mut out = Words::default();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let is_pattern = |b: u8| matches!(b, b'?' | b'[' | b'*');
        match (out.open, byte) {
            (None, b'\'' | b'"') => {
                word.get_or_insert_default();
                out.open = Some(byte);
            }
            (Some(quote), _) if byte == quote => out.open = None,
            (None, b'#') => break,
            (None, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c) => out.words.extend(word.take()),
            (None, b'\\') => {
                let word = word.get_or_insert_default();
                match bytes.next() {
                    Some(next) if is_pattern(next) || next == b'\\' => word.extend([b'\\', next]),
                    Some(next) => word.push(next),
                    None => {}
                }
            }
            (Some(quote), b'\\') => {
                let word = word.get_or_insert_default();
                match bytes.next() {
                    Some(next) if next == quote => word.push(next),
                    // A backslash and the character, both meant literally.
                    Some(next) if is_pattern(next) => word.extend([b'\\', b'\\', b'\\', next]),
                    Some(next) => word.extend([b'\\', next]),
                    None => word.push(b'\\'),
                }
            }
            (Some(_), _) if is_pattern(byte) => word.get_or_insert_default().extend([b'\\', byte]),
            _ => word.get_or_insert_default().push(byte),
        }
        if out.words.len() >= MOST {
            return Err("Too many arguments.");
        }
    }
    out.words.extend(word);
    Ok(out)
}

/// A word that is no pattern: without the backslashes in front of pattern characters.
pub(super) fn literal(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = bytes.next_if(|b| byte == b'\\' && matches!(b, b'?' | b'[' | b'*' | b'\\'));
        out.push(escaped.unwrap_or(byte));
    }
    out
}

/// A name as it is typed, so that it is read as itself again.
pub(super) fn typed(name: &str, quote: Option<char>) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let special = match quote {
            None => matches!(c, '\'' | '"' | '\\' | '\t' | '[' | ' ' | '#' | '*' | '?'),
            Some(quote) => c == quote,
        };
        if special {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_that_of_sftp() {
        for (line, want) in [
            (r"get a b", vec!["get", "a", "b"]),
            (r#"get "a b" 'c d'"#, vec!["get", "a b", "c d"]),
            (r#"get a\ b x"y z"w"#, vec!["get", "a b", "xy zw"]),
            (r#"get "a*" b\?c 'd[e'"#, vec!["get", r"a\*", r"b\?c", r"d\[e"]),
            (r"get a # b", vec!["get", "a"]),
            (r#"get "a#b""#, vec!["get", "a#b"]),
            (r#"get "a\"b""#, vec!["get", "a\"b"]),
            (r#"get '' x"#, vec!["get", "", "x"]),
            ("  ", vec![]),
        ] {
            let got = cut(line.as_bytes()).unwrap();
            let got: Vec<_> = got.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect();
            assert_eq!(got, want, "{line}");
        }
        assert_eq!(cut(b"get 'a"), Err("Unterminated quoted argument"));
        assert_eq!(read(b"get 'a").unwrap().open, Some(b'\''));
        assert_eq!(literal(br"a\*b\\c\d"), br"a*b\c\d");
        assert_eq!(typed("a b*", None), r"a\ b\*");
        let back = cut(typed(r#"we'ird "n\a[m] #e"#, None).as_bytes()).unwrap();
        assert_eq!(literal(&back[0]), br#"we'ird "n\a[m] #e"#);
    }
}
