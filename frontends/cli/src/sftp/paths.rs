//! Patterns, on both sides: `*`, `?`, `[…]`, with a backslash in front of what is meant literally.

use super::Trouble;
use super::line::literal;
use super::remote::{Remote, join};
use bssh_protocol::fs::{Attr, FsEntry};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Something that is there.
#[derive(Debug, Clone)]
pub(super) struct Match {
    pub path: Vec<u8>,
    /// Itself, not what it points to.
    pub attr: Option<Attr>,
    /// It, or what it points to, is a directory.
    pub is_dir: bool,
}

impl Match {
    /// As patterns are shown: a directory with a slash behind.
    pub(super) fn marked(&self) -> Vec<u8> {
        match self.is_dir && !self.path.ends_with(b"/") {
            true => [&self.path[..], b"/"].concat(),
            false => self.path.clone(),
        }
    }

    pub(super) fn name(&self) -> &[u8] {
        let path = self.path.strip_suffix(b"/").unwrap_or(&self.path);
        path.rsplit(|b| *b == b'/').next().unwrap_or(path)
    }
}

/// What a word stands for on the node, in order; nothing if there is nothing.
pub(super) async fn remote(remote: &Remote<'_>, word: &[u8]) -> Result<Vec<Match>, Trouble> {
    let word = remote.absolute(word);
    let mut found = vec![(b"/".to_vec(), None)];
    for part in word.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        let mut next = Vec::new();
        for (path, _) in &found {
            if !is_pattern(part) {
                next.push((join(path, &literal(part)), None));
                continue;
            }
            let entries = remote.try_list(path).await?.unwrap_or_default();
            let fitting = entries.into_iter().filter(|e| fits(part, &e.name.0));
            next.extend(
                fitting.map(|FsEntry { name, attr, .. }| (join(path, &name.0), Some(attr))),
            );
        }
        found = next;
    }
    let mut matches = Vec::new();
    for (path, attr) in found {
        let attr = match attr {
            Some(attr) => Some(attr),
            None => remote.lstat(&path).await?,
        };
        let Some(attr) = attr else { continue };
        let is_dir = match attr.r#type.as_str() {
            "dir" => true,
            "link" => remote.is_dir(&path).await?,
            _ => false,
        };
        matches.push(Match { path, attr: Some(attr), is_dir });
    }
    Ok(matches)
}

/// The same here. Nothing fits: the word itself.
pub(super) fn here(word: &[u8]) -> Vec<Match> {
    let start: &[u8] = if word.starts_with(b"/") { b"/" } else { b"" };
    let mut found = vec![start.to_vec()];
    for part in word.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        let mut next = Vec::new();
        for path in &found {
            if !is_pattern(part) {
                next.push(join(path, &literal(part)));
                continue;
            }
            let dir: &[u8] = if path.is_empty() { b"." } else { path };
            let names = std::fs::read_dir(OsStr::from_bytes(dir)).into_iter().flatten().flatten();
            let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
            names.retain(|name| fits(part, name.as_bytes()));
            names.sort();
            next.extend(names.iter().map(|name| join(path, name.as_bytes())));
        }
        found = next;
    }
    found.retain(|path| Path::new(OsStr::from_bytes(path)).symlink_metadata().is_ok());
    if found.is_empty() {
        found.push(literal(word));
    }
    let looked = |path: Vec<u8>| {
        let is_dir = Path::new(OsStr::from_bytes(&path)).is_dir();
        Match { path, attr: None, is_dir }
    };
    found.into_iter().map(looked).collect()
}

/// `{a,b}`, as `ls` understands it: every word it stands for.
pub(super) fn braces(word: &[u8]) -> Vec<Vec<u8>> {
    /// Words of one word.
    const MOST: usize = 1000;
    let Some((open, close, commas)) = brace(word) else { return vec![word.to_vec()] };
    let (before, after) = (word.get(..open), word.get(close + 1..));
    let cuts = [&[open][..], &commas, &[close]].concat();
    let mut words = Vec::new();
    for cut in cuts.windows(2) {
        let [from, to] = cut else { continue };
        let middle = word.get(from + 1..*to).unwrap_or_default();
        let one = [before.unwrap_or_default(), middle, after.unwrap_or_default()].concat();
        words.extend(braces(&one));
        if words.len() > MOST {
            break;
        }
    }
    words
}

/// The first pair of braces with its commas.
fn brace(word: &[u8]) -> Option<(usize, usize, Vec<usize>)> {
    let (mut open, mut depth, mut commas) = (None, 0, Vec::new());
    let mut bytes = word.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'{' => {
                depth += 1;
                open.get_or_insert(at);
            }
            b',' if depth == 1 => commas.push(at),
            b'}' if depth == 1 && commas.is_empty() => return None,
            b'}' if depth == 1 => return open.map(|open| (open, at, commas)),
            b'}' if depth > 0 => depth -= 1,
            _ => {}
        }
    }
    None
}

/// A word with something in it that stands for more than itself.
pub(super) fn is_pattern(word: &[u8]) -> bool {
    let mut bytes = word.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// A name fits a pattern. A dot in front has to be said.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.starts_with(b".") && !pattern.starts_with(b".") {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last star does not fit.
    let mut again: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                again = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(_) => one(pattern, p, name.get(n).copied().unwrap_or_default()),
            None => None,
        };
        match (step, again) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((after, from))) => {
                again = Some((after, from + 1));
                (p, n) = (after, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|b| *b == b'*'))
}

/// One byte against what stands at `p`; where the pattern goes on.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => match class(pattern.get(p + 1..)?, byte) {
            Some((is_in, length)) => is_in.then_some(p + 1 + length),
            None => (byte == b'[').then_some(p + 1),
        },
        b'\\' if pattern.len() > p + 1 => (pattern.get(p + 1) == Some(&byte)).then_some(p + 2),
        literal => (*literal == byte).then_some(p + 1),
    }
}

/// Whether a byte is in `abc]…`, and how long that is; none if it is never closed.
fn class(text: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let (mut at, mut is_in, mut first) = (usize::from(negated), false, true);
    loop {
        let low = match text.get(at)? {
            b']' if !first => return Some((is_in != negated, at + 1)),
            b'\\' => {
                at += 1;
                *text.get(at)?
            }
            low => *low,
        };
        first = false;
        let high = match (text.get(at + 1), text.get(at + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                at += 2;
                *high
            }
            _ => low,
        };
        is_in |= (low..=high).contains(&byte);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        for (pattern, name, want) in [
            ("*", "abc", true),
            ("*", ".abc", false),
            (".*", ".abc", true),
            ("a*c*", "abcd", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            ("[a", "[a", true),
            ("*.log", "x.log.gz", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
        assert!(is_pattern(b"a[b]") && !is_pattern(br"a\*b"));
    }

    #[test]
    fn braces_stand_for_several_words() {
        let text = |word: &str| {
            let words = braces(word.as_bytes());
            words.iter().map(|w| String::from_utf8_lossy(w).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(text("a{b,c{d,e}}f"), ["abf", "acdf", "acef"]);
        assert_eq!(text("a{b}c"), ["a{b}c"]);
        assert_eq!(text("{a,b"), ["{a,b"]);
    }
}
