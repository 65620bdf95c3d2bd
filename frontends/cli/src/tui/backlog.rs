//! What one node has said, as lines that can be shown: the last ones, and how many went before.
//!
//! Bounded: a node that says more than its share loses its oldest lines, which are counted.

use bssh_client::Channel;
use bssh_term::harmless;
use std::collections::VecDeque;

/// A line that is longer goes on in the next row.
const LONGEST: usize = 4096;
/// What a row costs besides its text.
const ROW: usize = 48;
/// Columns of a tab.
const TAB: usize = 8;

/// One line, with nothing in it that could drive a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub err: bool,
    pub text: String,
}

#[derive(Debug)]
pub(super) struct Backlog {
    rows: VecDeque<Row>,
    /// Of stdout and stderr: the line that has no end yet.
    open: [Vec<u8>; 2],
    held: usize,
    most: usize,
    /// Lines that are gone.
    pub dropped: u64,
    /// Bytes so far.
    pub bytes: u64,
}

impl Backlog {
    /// Keeps about so many bytes.
    pub(super) fn new(most: usize) -> Backlog {
        Backlog {
            rows: VecDeque::new(),
            open: Default::default(),
            held: 0,
            most,
            dropped: 0,
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, channel: Channel, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let err = channel == Channel::Stderr;
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            let Some(open) = self.open.get_mut(usize::from(err)) else { return };
            open.extend_from_slice(part);
            while let Some(open) = self.open.get_mut(usize::from(err)) {
                let line: Vec<u8> = match open.strip_suffix(b"\n") {
                    Some(_) if open.len() <= LONGEST => {
                        open.pop();
                        std::mem::take(open)
                    }
                    _ if open.len() > LONGEST => open.drain(..LONGEST).collect(),
                    _ => break,
                };
                self.row(err, &line);
            }
        }
    }

    /// The node has ended: so has its last line.
    pub(super) fn end(&mut self) {
        for err in [false, true] {
            let open = self.open.get_mut(usize::from(err)).map(std::mem::take);
            if let Some(line) = open.filter(|line| !line.is_empty()) {
                self.row(err, &line);
            }
        }
    }

    fn row(&mut self, err: bool, line: &[u8]) {
        let text = clean(line);
        self.held += text.len() + ROW;
        self.rows.push_back(Row { err, text });
        while self.held > self.most && self.rows.len() > 1 {
            if let Some(old) = self.rows.pop_front() {
                self.held -= old.text.len() + ROW;
                self.dropped += 1;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn row_at(&self, at: usize) -> Option<&Row> {
        self.rows.get(at)
    }

    #[cfg(test)]
    fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.iter()
    }

    /// The last line, the one without an end included.
    pub(super) fn last(&self) -> String {
        let open = self.open.iter().find(|line| !line.is_empty());
        match open {
            Some(line) => clean(line.get(..line.len().min(LONGEST)).unwrap_or_default()),
            None => self.rows.back().map(|row| row.text.clone()).unwrap_or_default(),
        }
    }

    /// What was said on stdout, to be compared with others.
    pub(super) fn out(&self) -> String {
        let mut text = String::new();
        for row in self.rows.iter().filter(|row| !row.err) {
            text.push_str(&row.text);
            text.push('\n');
        }
        text
    }
}

/// No escapes (colours neither: the view has its own), no controls, tabs as blanks.
fn clean(line: &[u8]) -> String {
    let mut plain = Vec::with_capacity(line.len());
    harmless(line, &mut plain);
    let text = String::from_utf8_lossy(&plain);
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            // Only colours pass `harmless`; each ends with an m.
            '\x1b' => {
                let _ = chars.by_ref().find(|c| *c == 'm');
            }
            '\t' => {
                let n = TAB - column % TAB;
                out.extend(std::iter::repeat_n(' ', n));
                column += n;
            }
            c if c.is_control() => out.push('?'),
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_harmless_and_bounded() {
        let mut log = Backlog::new(400);
        log.push(Channel::Stdout, b"on");
        log.push(Channel::Stderr, b"oops\n");
        log.push(Channel::Stdout, b"e\ttwo\n\x1b[31mred\x1b[0m\x1b[2J\n");
        let rows: Vec<_> = log.rows().map(|r| (r.err, r.text.as_str())).collect();
        assert_eq!(rows, [(true, "oops"), (false, "one     two"), (false, "red^[[2J")]);
        log.push(Channel::Stdout, b"last");
        assert_eq!((log.last().as_str(), log.len()), ("last", 3));
        log.end();
        assert_eq!(log.len(), 4);
        for n in 0..100 {
            log.push(Channel::Stdout, format!("{n}\n").as_bytes());
        }
        assert_eq!(log.len() as u64 + log.dropped, 104);
        assert!(log.len() < 12 && log.row_at(log.len() - 1).unwrap().text == "99");
        let mut log = Backlog::new(1 << 20);
        log.push(Channel::Stdout, &[b'x'; 3 * LONGEST]);
        log.push(Channel::Stdout, b"\n");
        assert_eq!(log.rows().map(|r| r.text.len()).sum::<usize>(), 3 * LONGEST);
    }
}
