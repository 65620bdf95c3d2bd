//! Lines of `ssh_config` to keywords and words, by the two splitters OpenSSH has.
//!
//! [`delimited`] (`strdelim`) splits off keywords and `Match` criteria: blanks, one `=`, double
//! quotes. [`words`] (`argv_split`) splits the arguments: both quotes, backslash, `#` comments.

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// A line that says something.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// In lower case.
    pub keyword: String,
    /// What follows, blanks and one `=` removed in front; never empty.
    pub rest: &'a str,
}

/// The keyword and the rest of a line; `None` for blank lines and comments.
///
/// # Errors
/// A keyword without an argument, an unterminated quote around the keyword.
pub(super) fn line(text: &str) -> Result<Option<Line<'_>>, String> {
    let text = text.split('\0').next().unwrap_or_default();
    let text = text.trim_end_matches([' ', '\t', '\r', '\n', '\x0c']);
    let mut rest = Some(text);
    let mut keyword = delimited(&mut rest);
    if keyword.as_deref() == Some("") {
        keyword = delimited(&mut rest);
    }
    let Some(mut keyword) = keyword else { return Ok(None) };
    if keyword.is_empty() || keyword.starts_with('#') {
        return Ok(None);
    }
    keyword.make_ascii_lowercase();
    match rest.map(|r| r.trim_start_matches(BLANKS)) {
        Some(rest) if !rest.is_empty() => Ok(Some(Line { keyword, rest })),
        _ => Err(format!("no argument after keyword \"{keyword}\"")),
    }
}

/// The next item of `rest`, which moves on; `None` at the end and for an unterminated quote.
pub(super) fn delimited(rest: &mut Option<&str>) -> Option<String> {
    let text = (*rest)?;
    let Some(at) = text.find([' ', '\t', '\r', '\n', '"', '=']) else {
        *rest = None;
        return Some(text.to_owned());
    };
    let (head, tail) = text.split_at(at);
    let (delimiter, tail) = tail.split_at(1);
    if delimiter == "\"" {
        let Some((quoted, after)) = tail.split_once('"') else {
            *rest = None;
            return None;
        };
        *rest = Some(after.trim_start_matches(BLANKS));
        return Some(format!("{head}{quoted}"));
    }
    let tail = tail.trim_start_matches(BLANKS);
    let tail = match tail.strip_prefix('=') {
        Some(after) if delimiter != "=" => after.trim_start_matches(BLANKS),
        _ => tail,
    };
    *rest = Some(tail);
    Some(head.to_owned())
}

/// Splits arguments; `None` when a quote is not closed.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        match chars.peek() {
            None | Some('#') => return Some(found),
            Some(_) => {}
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    let escaped = chars.next_if(|&n| {
                        matches!(n, '\'' | '"' | '\\') || (quote.is_none() && n == ' ')
                    });
                    word.push(escaped.unwrap_or('\\'));
                }
                ' ' | '\t' if quote.is_none() => break,
                '"' | '\'' if quote.is_none() => quote = Some(c),
                _ if quote == Some(c) => quote = None,
                _ => word.push(c),
            }
        }
        if quote.is_some() {
            return None;
        }
        found.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::{delimited, line, words};

    #[test]
    fn lines() {
        let cases: &[(&str, Option<(&str, &str)>)] = &[
            ("", None),
            ("  # comment", None),
            ("#x", None),
            ("Port 22", Some(("port", "22"))),
            ("\tPort\t=\t22\r", Some(("port", "22"))),
            ("Port=22", Some(("port", "22"))),
            ("Port==22", Some(("port", "=22"))),
            ("Port = =22", Some(("port", "=22"))),
            ("\"Port\" 22", Some(("port", "22"))),
            ("User a b  \x0c", Some(("user", "a b"))),
            ("\x0cPort 1", Some(("\x0cport", "1"))),
        ];
        for (text, expected) in cases {
            let got = line(text).unwrap();
            let got = got.as_ref().map(|l| (l.keyword.as_str(), l.rest));
            assert_eq!(got, *expected, "{text:?}");
        }
        assert_eq!(line("Port").unwrap_err(), "no argument after keyword \"port\"");
        assert!(line("Port =").is_err());
    }

    #[test]
    fn arguments() {
        let cases: &[(&str, &[&str])] = &[
            ("a b", &["a", "b"]),
            ("a # b", &["a"]),
            ("a#b", &["a#b"]),
            ("\"a b\" 'c d'", &["a b", "c d"]),
            (r#"a\ b "c\"d" e\f 'g\\h'"#, &["a b", "c\"d", "e\\f", "g\\h"]),
            ("x\"y z\"w", &["xy zw"]),
            ("\"\"", &[""]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).unwrap(), *expected, "{text}");
        }
        assert_eq!(words("\"a"), None);
        assert_eq!(words("it's"), None);
    }

    #[test]
    fn criteria() {
        let mut rest = Some("host=a,b exec \"x y\" user = c");
        let mut found = Vec::new();
        while let Some(item) = delimited(&mut rest) {
            found.push(item);
        }
        assert_eq!(found, ["host", "a,b", "exec", "x y", "user", "c"]);
    }
}
