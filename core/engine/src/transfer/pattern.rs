//! Patterns for names: `*`, `?`, `[…]`, over bytes, the same for both sides of a transfer.

/// The text has something a name need not have.
pub(crate) fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// Does the whole name fit? `*` and `?` take no slash, `**` does, and `**/` is any number of
/// directories, none as well; `\` takes the next byte as it is. A dot in front must be written, as
/// in a shell.
pub(crate) fn fits_name(pattern: &[u8], name: &[u8]) -> bool {
    !(name.first() == Some(&b'.') && pattern.first() != Some(&b'.')) && fits(pattern, name)
}

/// Where to go on in pattern and text when a star has to take more.
type Back = Option<(usize, usize)>;

/// As [`fits_name`], where a dot in front is nothing special.
pub(crate) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    // Greedy with one place to come back to for each kind of star: linear in practice, and never
    // worse than the product of both lengths.
    let (mut p, mut t) = (0, 0);
    let (mut star, mut wide): (Back, Back) = (None, None);
    loop {
        let rest = pattern.get(p..).unwrap_or_default();
        let byte = text.get(t).copied();
        let step = match (rest, byte) {
            ([], None) => return true,
            ([b'*', b'*', ..], _) => {
                (wide, star) = (Some((p + 2, t)), None);
                let first = p.checked_sub(1).is_none_or(|at| pattern.get(at) == Some(&b'/'));
                p += if first && rest.get(2) == Some(&b'/') { 3 } else { 2 };
                continue;
            }
            ([b'*', ..], _) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (_, None) => None,
            ([b'?', ..], Some(b)) if b != b'/' => Some(1),
            ([b'[', set @ ..], Some(b)) if b != b'/' => match in_set(set, b) {
                Some((true, length)) => Some(1 + length),
                Some((false, _)) => None,
                // Never closed: a bracket like any other byte.
                None => (b == b'[').then_some(1),
            },
            ([b'\\', c, ..], Some(b)) if *c == b => Some(2),
            ([c, ..], Some(b)) if *c == b && !matches!(*c, b'?' | b'[' | b'\\') => Some(1),
            _ => None,
        };
        match (step, star, wide) {
            (Some(length), ..) => (p, t) = (p + length, t + 1),
            (None, Some((back, from)), _) if text.get(from).is_some_and(|b| *b != b'/') => {
                star = Some((back, from + 1));
                (p, t) = (back, from + 1);
            }
            (None, _, Some((back, from))) if from < text.len() => {
                (wide, star) = (Some((back, from + 1)), None);
                (p, t) = (back, from + 1);
            }
            _ => return false,
        }
    }
}

/// Is the byte in the set behind `[`, and how long is it, with its `]`?
fn in_set(set: &[u8], byte: u8) -> Option<(bool, usize)> {
    let not = matches!(set.first(), Some(b'!' | b'^'));
    let mut at = usize::from(not);
    let first = at;
    let mut found = false;
    loop {
        match set.get(at..)? {
            [b']', ..] if at > first => return Some((found != not, at + 1)),
            [low, b'-', high, ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                at += 3;
            }
            [one, ..] => {
                found |= *one == byte;
                at += 1;
            }
            [] => return None,
        }
    }
}

/// What is to be left out of a transfer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Skip(pub(crate) Vec<Vec<u8>>);

impl Skip {
    /// `path` is below its source, `/` between the names.
    pub(crate) fn has(&self, path: &[u8], is_dir: bool) -> bool {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        self.0.iter().any(|pattern| {
            let (pattern, dirs_only) = match pattern.strip_suffix(b"/") {
                Some(pattern) => (pattern, true),
                None => (pattern.as_slice(), false),
            };
            if dirs_only && !is_dir {
                return false;
            }
            match pattern.strip_prefix(b"/") {
                Some(pattern) => fits(pattern, path),
                None if pattern.contains(&b'/') => fits(pattern, path),
                None => fits(pattern, name),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        for (pattern, name, want) in [
            ("*", "a", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(fits_name(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
        assert!(fits(b"\xff*", b"\xff\xfe"));
        assert!(!fits(b"a*c", b"a/c") && fits(b"a**c", b"a/b/c") && fits(b"**/c", b"a/b/c"));
    }

    #[test]
    fn what_is_left_out() {
        let skip = |patterns: &[&str]| Skip(patterns.iter().map(|p| p.as_bytes().into()).collect());
        for (pattern, path, is_dir, want) in [
            ("*.o", "src/a.o", false, true),
            ("target/", "target", true, true),
            ("target/", "target", false, false),
            ("/top", "top", false, true),
            ("/top", "a/top", false, false),
            ("a/*.o", "a/x.o", false, true),
            ("a/*.o", "b/a/x.o", false, false),
            ("**/x.o", "b/a/x.o", false, true),
            ("**/x.o", "x.o", false, true),
            ("**/*.o", "x.o", false, true),
            ("**/x.o", "ax.o", false, false),
            ("a/**/x.o", "a/x.o", false, true),
            ("a/**/x.o", "a/b/c/x.o", false, true),
            ("a/**/x.o", "ax.o", false, false),
            ("a/**/b/**/c", "a/b/c", false, true),
            ("a/**/b/**/c", "a/x/b/b/y/c", false, true),
            ("/**/x/", "x", true, true),
            ("a/**", "a/b/c", false, true),
            ("a/**", "a", true, false),
        ] {
            assert_eq!(skip(&[pattern]).has(path.as_bytes(), is_dir), want, "{pattern} {path}");
        }
    }
}
