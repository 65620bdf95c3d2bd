//! Patterns of `ssh_config(5)`: `*`, `?`, comma lists and negation with `!`.

/// Does the whole of `text` match `pattern` (`*`, `?`)? Case matters.
pub fn matches(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    // Where to go on after a mismatch: behind the last `*`, one byte of text further.
    let mut star: Option<(usize, usize)> = None;
    let (mut t, mut p) = (0, 0);
    loop {
        match (text.get(t), pattern.get(p)) {
            (_, Some(b'*')) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some(b'?')) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => match &mut star {
                Some((after, from)) if *from < text.len() => {
                    *from += 1;
                    (p, t) = (*after, *from);
                    continue;
                }
                _ => return false,
            },
        }
        (t, p) = (t + 1, p + 1);
    }
}

/// Does `text` match a comma list? A negated pattern that matches decides against it. With
/// `lower`, the patterns are taken in lower case (the text must be already).
pub(super) fn matches_list(text: &str, list: &str, lower: bool) -> bool {
    let mut found = false;
    for item in list.split(',') {
        let (negated, pattern) = match item.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, item),
        };
        let hit = if lower && pattern.bytes().any(|b| b.is_ascii_uppercase()) {
            matches(text, &pattern.to_ascii_lowercase())
        } else {
            matches(text, pattern)
        };
        match (hit, negated) {
            (true, true) => return false,
            (true, false) => found = true,
            (false, _) => {}
        }
    }
    found
}

/// A host name against a comma list, in lower case on both sides.
pub(super) fn matches_host(host: &str, list: &str) -> bool {
    matches_list(&host.to_ascii_lowercase(), list, true)
}

/// True for names that stand for themselves.
pub(super) fn is_literal(pattern: &str) -> bool {
    !pattern.is_empty() && !pattern.starts_with('!') && !pattern.contains(['*', '?'])
}

#[cfg(test)]
mod tests {
    use super::{matches, matches_host, matches_list};

    #[test]
    fn patterns() {
        let cases = [
            ("abc", "abc", true),
            ("abc", "ABC", false),
            ("abc", "a*", true),
            ("abc", "*c", true),
            ("abc", "a?c", true),
            ("abc", "a?", false),
            ("", "*", true),
            ("", "?", false),
            ("aXbXc", "a*X?", true),
            ("n1.example.com", "*.example.*", true),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaab", "*a*a*a*a*a*a*c", false),
            ("abc", "**?*c", true),
        ];
        for (text, pattern, expected) in cases {
            assert_eq!(matches(text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn lists() {
        assert!(matches_list("a", "b,a", false));
        assert!(!matches_list("a", "*,!a", false));
        assert!(!matches_list("a", "!b", false));
        assert!(matches_host("N1", "n*,!n2"));
        assert!(matches_host("n1", "N1"));
    }
}
