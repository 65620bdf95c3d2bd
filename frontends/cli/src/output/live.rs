//! `--live`: gathered line by line while the command runs: `n[1-3]: line`, as soon as every node
//! has sent that line or has ended.
//!
//! What is held for slow nodes is bounded by [`HELD`]: beyond it the oldest row is shown for the
//! nodes that have it, and the others' line of that row is shown when it comes.

use super::lines::{Line, Lines};
use super::printer::Printer;
use super::{Nodes, Piece, Screen, To, View};
use bssh_client::Channel;
use bssh_protocol::exec::{ExecNode, NodeState};
use std::collections::VecDeque;

/// Bytes held for nodes that are behind.
const HELD: usize = 16 << 20;

/// Compares line by line.
pub(crate) struct Live {
    /// stderr is part of it; otherwise it is shown as it comes.
    all: bool,
    rows: Vec<Rows>,
    /// Rows shown so far.
    shown: usize,
    held: usize,
    /// Lines to show once their nodes' names are folded.
    ready: Vec<(Vec<usize>, Row)>,
    printer: Printer,
}

/// A line, or a part of a very long one.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    bytes: Box<[u8]>,
    continued: bool,
}

impl Row {
    fn new(line: Line<'_>) -> Row {
        Row { bytes: line.bytes.into(), continued: line.continued }
    }

    fn line(&self) -> Line<'_> {
        Line { bytes: &self.bytes, continued: self.continued, ends: true }
    }

    fn held(&self) -> usize {
        self.bytes.len() + std::mem::size_of::<Row>()
    }
}

/// One node's lines.
#[derive(Debug, Default)]
struct Rows {
    partial: [Lines; 2],
    /// Lines received so far.
    received: usize,
    waiting: VecDeque<Row>,
    ended: bool,
}

impl Live {
    pub(crate) fn new(nodes: &Nodes, all: bool, printer: Printer) -> Self {
        let rows = std::iter::repeat_with(Rows::default).take(nodes.len()).collect();
        Live { all, rows, shown: 0, held: 0, ready: Vec::new(), printer }
    }

    fn take(&mut self, node: usize, lines: Vec<Row>) {
        let Some(rows) = self.rows.get_mut(node) else { return };
        for line in lines {
            let late = rows.received < self.shown;
            rows.received += 1;
            match late {
                true => self.ready.push((vec![node], line)),
                false => {
                    self.held += line.held();
                    rows.waiting.push_back(line);
                }
            }
        }
        self.settle();
    }

    /// Shows every row that is complete, or that must go.
    fn settle(&mut self) {
        let complete = |rows: &Rows| rows.ended || !rows.waiting.is_empty();
        while self.rows.iter().any(|r| !r.waiting.is_empty())
            && (self.held > HELD || self.rows.iter().all(complete))
        {
            let mut groups: Vec<(Vec<usize>, Row)> = Vec::new();
            for (node, rows) in self.rows.iter_mut().enumerate() {
                let Some(line) = rows.waiting.pop_front() else { continue };
                self.held -= line.held();
                match groups.iter_mut().find(|(_, l)| *l == line) {
                    Some((nodes, _)) => nodes.push(node),
                    None => groups.push((vec![node], line)),
                }
            }
            self.ready.append(&mut groups);
            self.shown += 1;
        }
    }
}

impl View for Live {
    fn data(&mut self, piece: Piece<'_>, _: &Nodes, screen: &mut Screen) {
        if piece.channel == Channel::Stderr && !self.all {
            return self.printer.data(piece, screen);
        }
        let mut lines = Vec::new();
        if let Some(rows) = self.rows.get_mut(piece.node) {
            let [out, err] = &mut rows.partial;
            let partial = if piece.channel == Channel::Stdout { out } else { err };
            partial.push(piece.bytes, |l| lines.push(Row::new(l)));
        }
        self.take(piece.node, lines);
    }

    fn node(&mut self, event: &ExecNode, _: &Nodes, screen: &mut Screen) {
        if !matches!(event.state, NodeState::Ended(_)) {
            return;
        }
        let node = event.index as usize;
        self.printer.ended(node, screen);
        let mut lines = Vec::new();
        if let Some(rows) = self.rows.get_mut(node) {
            rows.ended = true;
            for partial in rows.partial.iter_mut().filter(|p| !p.is_empty()) {
                partial.end(|l| lines.push(Row::new(l)));
            }
        }
        self.take(node, lines);
    }

    fn sets(&mut self, _: bool) -> Vec<Vec<usize>> {
        self.ready.iter().map(|(nodes, _)| nodes.clone()).collect()
    }

    fn folded(&mut self, names: &[String], _: &Nodes, screen: &mut Screen) {
        for ((_, line), name) in self.ready.drain(..).zip(names) {
            self.printer.under(name, line.line(), To::Out, screen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::{nodes, out, style};
    use super::*;
    use bssh_protocol::exec::Ended;

    fn show(view: &mut Live, nodes: &Nodes) -> String {
        let mut screen = Screen::default();
        let sets = view.sets(false);
        let names: Vec<_> = sets
            .iter()
            .map(|s| s.iter().map(|n| nodes.name(*n)).collect::<Vec<_>>().join(","))
            .collect();
        view.folded(&names, nodes, &mut screen);
        screen.text(To::Out)
    }

    fn new(nodes: &Nodes) -> Live {
        Live::new(nodes, false, Printer::new(nodes, style(false), true))
    }

    #[test]
    fn a_line_is_shown_when_all_have_it_or_have_ended() {
        let nodes = nodes("a b c");
        let mut screen = Screen::default();
        let mut view = new(&nodes);
        view.data(out(0, b"1\n2\n"), &nodes, &mut screen);
        view.data(out(1, b"1\nx\n"), &nodes, &mut screen);
        assert_eq!(show(&mut view, &nodes), "");
        view.data(out(2, b"1\n"), &nodes, &mut screen);
        assert_eq!(show(&mut view, &nodes), "a,b,c: 1\n");
        let state = NodeState::Ended(Ended::default());
        view.node(&ExecNode { run: 1, index: 2, node: "c".into(), state }, &nodes, &mut screen);
        assert_eq!(show(&mut view, &nodes), "a: 2\nb: x\n");
    }

    #[test]
    fn parts_of_a_long_line_are_marked() {
        let nodes = nodes("a b");
        let mut screen = Screen::default();
        let mut view = new(&nodes);
        let line = [vec![b'x'; 70_000], b"\n".to_vec()].concat();
        view.data(out(0, &line), &nodes, &mut screen);
        view.data(out(1, &line), &nodes, &mut screen);
        let text = show(&mut view, &nodes);
        assert_eq!(text.lines().map(|l| &l[..6]).collect::<Vec<_>>(), ["a,b: x", "a,b+ x"]);
    }

    #[test]
    fn a_node_that_is_far_behind_does_not_hold_everything() {
        let nodes = nodes("a b");
        let mut screen = Screen::default();
        let mut view = new(&nodes);
        let line = [vec![b'x'; 60_000], b"\n".to_vec()].concat();
        for _ in 0..400 {
            view.data(out(0, &line), &nodes, &mut screen);
        }
        assert!(view.held <= HELD && view.shown > 0);
        assert!(show(&mut view, &nodes).starts_with("a: x"));
        view.data(out(1, b"late\n"), &nodes, &mut screen);
        assert_eq!(show(&mut view, &nodes), "b: late\n");
    }
}
