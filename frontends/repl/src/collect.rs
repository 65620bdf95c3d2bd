//! What the nodes said to one line, until all of it can be shown.
//!
//! One node is shown as it speaks. Several are gathered, equal outputs once; a node that says
//! more than fits is shown line by line from there on, so that nothing is lost and nothing grows.

use bssh_protocol::session::{ExecId, SessionExecDone};
use std::collections::HashMap;

/// Kept of one node before it is shown line by line.
const MOST: usize = 4 << 20;
/// Kept of all nodes.
const MOST_ALL: usize = 64 << 20;

/// Shown after Ctrl-C as it comes: what a command has to say to that.
const AFTER: usize = 64 << 10;
/// The end of each node's output that is shown, too, if there is more: its last words.
const LAST: usize = 16 << 10;

/// One line on its way over the nodes.
#[derive(Debug, Default)]
pub(crate) struct Collect {
    pub parts: Vec<Part>,
    by_exec: HashMap<ExecId, usize>,
    held: usize,
    /// Lines at once, with their node.
    live: bool,
    /// Only one node: bytes as they come.
    alone: bool,
    /// After Ctrl-C: how much is still shown.
    room: Option<usize>,
}

/// One node's answer.
#[derive(Debug)]
pub(crate) struct Part {
    /// Index of the node.
    pub node: usize,
    pub session: u64,
    pub exec: ExecId,
    pub out: Vec<u8>,
    /// Bytes that came.
    got: u64,
    /// After Ctrl-C: the newest that is not shown yet, and how much of it was dropped.
    last: Vec<u8>,
    dropped: u64,
    pub done: Option<SessionExecDone>,
    live: bool,
}

/// What is to be shown now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Nothing,
    /// As it is.
    Bytes(Vec<u8>),
    /// Whole lines of a node (its index).
    Lines(usize, Vec<u8>),
}

impl Collect {
    pub(crate) fn new(live: bool, alone: bool) -> Collect {
        Collect { live, alone, ..Collect::default() }
    }

    pub(crate) fn add(&mut self, node: usize, session: u64, exec: ExecId) {
        self.by_exec.insert(exec, self.parts.len());
        let live = self.live;
        let (out, last) = (Vec::new(), Vec::new());
        let (got, dropped, done) = (0, 0, None);
        self.parts.push(Part { node, session, exec, out, got, last, dropped, done, live });
    }

    pub(crate) fn is_done(&self) -> bool {
        self.parts.iter().all(|p| p.done.is_some())
    }

    pub(crate) fn has(&self, exec: ExecId) -> bool {
        self.by_exec.contains_key(&exec)
    }

    /// Ctrl-C: nobody wants to see all that waits to be shown.
    pub(crate) fn interrupt(&mut self) {
        self.room.get_or_insert(AFTER);
    }

    fn part(&mut self, exec: ExecId) -> Option<&mut Part> {
        self.by_exec.get(&exec).and_then(|n| self.parts.get_mut(*n))
    }

    pub(crate) fn data(&mut self, exec: ExecId, bytes: &[u8]) -> Show {
        if let Some(part) = self.part(exec) {
            part.got += bytes.len() as u64;
        }
        if let Some(room) = self.room {
            self.room = Some(room.saturating_sub(bytes.len()));
            if room == 0 {
                if let Some(part) = self.part(exec) {
                    part.keep_last(bytes);
                }
                return Show::Nothing;
            }
        }
        if self.alone {
            return Show::Bytes(bytes.to_vec());
        }
        let full = self.held + bytes.len() > MOST_ALL;
        self.held += bytes.len();
        let Some(part) = self.part(exec) else { return Show::Nothing };
        part.out.extend_from_slice(bytes);
        part.live |= full || part.out.len() > MOST;
        if !part.live {
            return Show::Nothing;
        }
        let node = part.node;
        // A line that never ends is cut.
        let end = match part.out.iter().rposition(|b| *b == b'\n') {
            Some(at) => at + 1,
            None if part.out.len() > MOST => part.out.len(),
            None => return Show::Nothing,
        };
        let lines: Vec<u8> = part.out.drain(..end).collect();
        self.held = self.held.saturating_sub(end);
        Show::Lines(node, lines)
    }

    /// A node is done; gives what is left of it, if it was shown as it came.
    pub(crate) fn done(&mut self, done: SessionExecDone) -> Show {
        let exec = done.exec;
        let Some(part) = self.part(exec) else { return Show::Nothing };
        part.done = Some(done);
        part.end_last();
        let (live, alone) = (part.live, self.alone);
        let Some(part) = self.part(exec).filter(|part| !part.out.is_empty()) else {
            return Show::Nothing;
        };
        match (alone, live) {
            (true, _) => Show::Bytes(std::mem::take(&mut part.out)),
            (false, true) => Show::Lines(part.node, std::mem::take(&mut part.out)),
            (false, false) => Show::Nothing,
        }
    }

    /// Nodes (their indices) with equal outputs, in the order of the nodes.
    pub(crate) fn groups(&self) -> Vec<(Vec<usize>, &[u8])> {
        let mut groups: Vec<(Vec<usize>, &[u8])> = Vec::new();
        let mut known: HashMap<&[u8], usize> = HashMap::new();
        for part in self.parts.iter().filter(|p| !p.out.is_empty()) {
            let next = groups.len();
            let at = *known.entry(&part.out).or_insert(next);
            match groups.get_mut(at) {
                Some((nodes, _)) => nodes.push(part.node),
                None => groups.push((vec![part.node], &part.out)),
            }
        }
        groups
    }
}

impl Part {
    fn keep_last(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        if self.last.len() > 2 * LAST {
            self.drop_first(self.last.len() - LAST);
        }
    }

    /// The last words are whole lines, if anything before them was dropped.
    fn end_last(&mut self) {
        let begun = self.last.iter().position(|b| *b == b'\n').filter(|_| self.dropped > 0);
        self.drop_first(begun.map_or(0, |at| at + 1));
        self.out.append(&mut self.last);
    }

    fn drop_first(&mut self, n: usize) {
        self.dropped += self.last.drain(..n).len() as u64;
    }

    /// What was left out of the output, by us or by the core (`max_output`), and where all of it
    /// is.
    pub(crate) fn left_out(&self) -> Option<String> {
        let done = self.done.as_ref()?;
        let left = (done.stdout_bytes + done.stderr_bytes).saturating_sub(self.got) + self.dropped;
        let files = [&done.stdout_file, &done.stderr_file].into_iter().flatten();
        let paths: Vec<&str> = files.filter_map(|file| file.path.as_deref()).collect();
        let place = match paths.as_slice() {
            [] => String::new(),
            paths => format!("; all of it is in {}", paths.join(" and ")),
        };
        (left > 0).then(|| format!("{left} bytes were left out{place}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(live: bool) -> Collect {
        let mut all = Collect::new(live, false);
        (0..3).for_each(|n| all.add(n, n as u64, 10 + n as u64));
        all
    }

    #[test]
    fn equal_outputs_are_gathered() {
        let mut all = three(false);
        for (exec, text) in [(10, "a\n"), (11, "b"), (12, "a"), (12, "\n")] {
            assert_eq!(all.data(exec, text.as_bytes()), Show::Nothing);
        }
        assert_eq!(all.groups(), [(vec![0, 2], &b"a\n"[..]), (vec![1], b"b")]);
        assert!(!all.is_done());
    }

    #[test]
    fn lines_come_whole_and_nothing_grows_without_end() {
        let mut all = three(true);
        assert_eq!(all.data(10, b"on"), Show::Nothing);
        let lines = Show::Lines(0, b"one\n".to_vec());
        assert_eq!(all.data(10, b"e\ntwo"), lines);
        let done = SessionExecDone { exec: 10, ..SessionExecDone::default() };
        assert_eq!(all.done(done), Show::Lines(0, b"two".to_vec()));
        let mut all = three(false);
        let line = vec![b'x'; MOST + 1];
        assert_eq!(all.data(11, &line), Show::Lines(1, line));
        assert_eq!(all.held, 0);
    }

    #[test]
    fn after_an_interrupt_the_first_and_the_last_words_are_shown() {
        let mut one = Collect::new(false, true);
        one.add(0, 0, 10);
        one.interrupt();
        let flood = b"y\n".repeat(AFTER / 2);
        assert_eq!(one.data(10, &flood), Show::Bytes(flood.clone()));
        for _ in 0..9 {
            assert_eq!(one.data(10, &flood), Show::Nothing);
        }
        assert_eq!(one.data(10, b"the end\n"), Show::Nothing);
        let done = SessionExecDone { exec: 10, ..SessionExecDone::default() };
        let Show::Bytes(last) = one.done(done) else { panic!() };
        assert!(last.ends_with(b"y\nthe end\n") && last.len() <= 2 * LAST, "{}", last.len());
        let left = flood.len() * 9 + b"the end\n".len() - last.len();
        assert_eq!(one.parts[0].left_out(), Some(format!("{left} bytes were left out")));
    }
}
