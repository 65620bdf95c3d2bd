//! Bytes to whole lines.
//!
//! A line may arrive in any number of pieces; what is held until its newline comes is bounded. A
//! line longer than [`LONGEST`] is given out in parts of that size, the later ones marked, so
//! that a gigabyte without a newline costs 64 KiB of memory.

use memchr::{memchr_iter, memrchr};

/// Longest line held in one piece, in bytes.
pub(crate) const LONGEST: usize = 64 << 10;

/// One stream's unfinished line.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    partial: Vec<u8>,
    /// Parts of the unfinished line were given out already.
    cut: bool,
}

/// A line, or a part of a very long one; never with its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub bytes: &'a [u8],
    /// Continues the line given out before.
    pub continued: bool,
    /// Its newline comes here.
    pub ends: bool,
}

impl Lines {
    /// Takes bytes and gives out every line they complete.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        let Some(last) = memrchr(b'\n', bytes) else { return self.hold(bytes, &mut each) };
        let (whole, rest) = bytes.split_at(last + 1);
        let mut start = 0;
        for end in memchr_iter(b'\n', whole) {
            let line = whole.get(start..end).unwrap_or_default();
            start = end + 1;
            if self.partial.is_empty() && !self.cut && line.len() <= LONGEST {
                each(Line { bytes: line, continued: false, ends: true });
                continue;
            }
            self.hold(line, &mut each);
            self.end(&mut each);
        }
        self.hold(rest, &mut each);
    }

    /// The stream has ended: gives out a last line without newline.
    pub(crate) fn end(&mut self, mut each: impl FnMut(Line<'_>)) {
        // What is left of a cut line is never empty: it is cut when more comes.
        each(Line { bytes: &self.partial, continued: self.cut, ends: true });
        self.partial.clear();
        self.cut = false;
    }

    /// Nothing is held back.
    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_empty() && !self.cut
    }

    fn hold(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Line<'_>)) {
        while self.partial.len() + bytes.len() > LONGEST {
            let (now, later) = bytes.split_at(LONGEST - self.partial.len());
            self.partial.extend_from_slice(now);
            each(Line { bytes: &self.partial, continued: self.cut, ends: false });
            self.partial.clear();
            self.cut = true;
            bytes = later;
        }
        self.partial.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        for piece in pieces {
            lines.push(piece, |l| got.push((l.bytes.to_vec(), l.continued)));
        }
        if !lines.is_empty() {
            lines.end(|l| got.push((l.bytes.to_vec(), l.continued)));
        }
        got
    }

    #[test]
    fn every_split_gives_the_same_lines() {
        let text = b"one\r\n\n\ntwo\0\xff\nlast";
        let want: Vec<_> = [&b"one\r"[..], b"", b"", b"two\0\xff", b"last"]
            .iter()
            .map(|l| (l.to_vec(), false))
            .collect();
        for a in 0..=text.len() {
            for b in a..=text.len() {
                assert_eq!(lines(&[&text[..a], &text[a..b], &text[b..]]), want, "{a} {b}");
            }
        }
        assert_eq!(lines(&[b"a\n"]), [(b"a".to_vec(), false)]);
        assert_eq!(lines(&[]), []);
    }

    #[test]
    fn long_lines_come_in_parts_and_hold_little() {
        for total in [LONGEST, LONGEST + 1, 2 * LONGEST, 3 * LONGEST + 7] {
            let text = [vec![b'x'; total], b"\nnext\n".to_vec()].concat();
            for step in [1000, 65_536, 1 << 20] {
                let got = lines(&text.chunks(step).collect::<Vec<_>>());
                let (next, parts) = got.split_last().unwrap();
                assert_eq!(*next, (b"next".to_vec(), false));
                assert_eq!(parts.iter().map(|p| p.0.len()).sum::<usize>(), total);
                assert!(parts.iter().all(|p| p.0.len() <= LONGEST));
                assert_eq!(
                    parts.iter().map(|p| p.1).collect::<Vec<_>>(),
                    (0..parts.len()).map(|i| i > 0).collect::<Vec<_>>()
                );
            }
        }
        let mut held = Lines::default();
        for _ in 0..100 {
            held.push(&[b'x'; 100_000], |_| ());
        }
        assert!(held.partial.capacity() <= 2 * LONGEST);
    }
}
