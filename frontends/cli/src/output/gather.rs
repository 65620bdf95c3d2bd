//! `-b`, `-B` and `--diff`: nodes with the same output under one header, like clush and dshbak.
//!
//! Printed at the end, the largest group first; nodes without output are left out. Without `-B`
//! stderr is shown as it comes. With `-B` both streams must be equal, each by itself: their
//! order against each other differs between equal nodes.

use super::diff::diff;
use super::lines::Lines;
use super::printer::Printer;
use super::trie::{Place, Trie};
use super::{Nodes, Piece, Screen, To, View, side};
use bssh_client::Channel;
use bssh_protocol::exec::{ExecNode, NodeState};
use std::collections::{HashMap, VecDeque};

/// What is shown of each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Whole,
    /// The largest group in whole, of the others only what differs.
    Diff,
}

/// Collects outputs until the end.
pub(crate) struct Gather {
    show: Show,
    all: bool,
    tries: [Trie; 2],
    places: Vec<[Place; 2]>,
    groups: Vec<Vec<usize>>,
    /// What is still to be printed, in order.
    todo: VecDeque<Group>,
    printer: Printer,
}

/// A group in print.
struct Group {
    header: String,
    /// Any of its nodes.
    node: usize,
    /// Bytes printed so far.
    printed: usize,
    lines: Lines,
}

/// Printed in one go: an output of gigabytes must not be held twice.
const PART: usize = 64 << 10;

impl Gather {
    pub(crate) fn new(nodes: &Nodes, show: Show, all: bool, printer: Printer) -> Self {
        let places = vec![Default::default(); nodes.len()];
        let (groups, todo) = (Vec::new(), VecDeque::new());
        Gather { show, all, tries: Default::default(), places, groups, todo, printer }
    }

    /// Nodes with equal outputs, largest group first, in the order of the nodes.
    fn group(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<[Place; 2], usize> = HashMap::new();
        for (node, places) in self.places.iter().enumerate() {
            if places.iter().all(|p| p.is_start()) {
                continue;
            }
            let next = groups.len();
            let group = *known.entry(*places).or_insert(next);
            match groups.get_mut(group) {
                Some(group) => group.push(node),
                None => groups.push(vec![node]),
            }
        }
        groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
        groups
    }

    /// What a node sent, in pieces.
    fn pieces(&self, node: usize) -> Vec<&[u8]> {
        let places = self.places.get(node);
        let sides = places.into_iter().flat_map(|p| p.iter().zip(&self.tries));
        sides.flat_map(|(place, trie)| trie.pieces(*place)).collect()
    }

    /// The next bytes of what a node sent, after the first `from`.
    fn part(&self, node: usize, mut from: usize) -> &[u8] {
        for piece in self.pieces(node) {
            match piece.get(from..).filter(|rest| !rest.is_empty()) {
                Some(rest) => return rest.get(..PART).unwrap_or(rest),
                None => from -= piece.len(),
            }
        }
        &[]
    }

    /// The majority's output against this node's.
    fn difference(&self, node: usize) -> Vec<u8> {
        let majority = self.groups.first().and_then(|g| g.first());
        let majority = majority.map(|n| self.pieces(*n).concat()).unwrap_or_default();
        diff(&majority, &self.pieces(node).concat())
    }
}

const RULE: &str = "---------------";

impl View for Gather {
    fn data(&mut self, piece: Piece<'_>, _: &Nodes, screen: &mut Screen) {
        if piece.channel == Channel::Stderr && !self.all {
            return self.printer.data(piece, screen);
        }
        let i = side(piece.channel);
        let place = self.places.get_mut(piece.node).and_then(|p| p.get_mut(i));
        if let (Some(place), Some(trie)) = (place, self.tries.get_mut(i)) {
            *place = trie.advance(*place, piece.bytes);
        }
    }

    fn node(&mut self, event: &ExecNode, _: &Nodes, screen: &mut Screen) {
        if matches!(event.state, NodeState::Ended(_)) {
            self.printer.ended(event.index as usize, screen);
        }
    }

    fn sets(&mut self, over: bool) -> Vec<Vec<usize>> {
        if over {
            self.groups = self.group();
        }
        self.groups.clone()
    }

    fn folded(&mut self, names: &[String], _: &Nodes, _: &mut Screen) {
        let group = |(group, name): (&Vec<usize>, &String)| {
            let count = if group.len() > 1 { format!(" ({})", group.len()) } else { String::new() };
            let header = format!("{RULE}\n{name}{count}\n{RULE}\n");
            let node = group.first().copied().unwrap_or_default();
            Group { header, node, printed: 0, lines: Lines::default() }
        };
        self.todo = self.groups.iter().zip(names).map(group).collect();
    }

    fn print_some(&mut self, screen: &mut Screen) -> bool {
        let Some(mut group) = self.todo.pop_front() else { return false };
        let header = std::mem::take(&mut group.header);
        screen.to(To::Out).extend_from_slice(header.as_bytes());
        let is_majority = self.todo.len() + 1 == self.groups.len();
        if self.show == Show::Diff && !is_majority {
            self.printer.plain(&mut Lines::default(), &self.difference(group.node), screen);
            return true;
        }
        let part = self.part(group.node, group.printed);
        group.printed += part.len();
        self.printer.plain(&mut group.lines, part, screen);
        match part.is_empty() {
            true => self.printer.plain_end(&mut group.lines, screen),
            false => self.todo.push_front(group),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::{err, nodes, out, style};
    use super::*;

    fn gathered(show: Show, all: bool, pieces: &[Piece<'_>]) -> (String, String) {
        let nodes = nodes("a b c d");
        let mut screen = Screen::default();
        let mut view = Gather::new(&nodes, show, all, Printer::new(&nodes, style(false), true));
        for piece in pieces {
            view.data(*piece, &nodes, &mut screen);
        }
        let sets = view.sets(true);
        let names: Vec<_> = sets
            .iter()
            .map(|s| s.iter().map(|n| nodes.name(*n)).collect::<Vec<_>>().join(","))
            .collect();
        view.folded(&names, &nodes, &mut screen);
        while view.print_some(&mut screen) {}
        (screen.text(To::Out), screen.text(To::Err))
    }

    const R: &str = RULE;

    #[test]
    fn equal_outputs_share_a_header() {
        let pieces = [out(0, b"x\n"), out(1, b"y"), out(2, b"y"), err(0, b"e\n"), out(0, b"z")];
        let (out, err) = gathered(Show::Whole, false, &pieces);
        assert_eq!(out, format!("{R}\nb,c (2)\n{R}\ny\n{R}\na\n{R}\nx\nz\n"));
        assert_eq!(err, "a: e\n");
    }

    #[test]
    fn with_stderr_both_must_be_equal() {
        let pieces =
            [out(0, b"x\n"), err(0, b"e\n"), err(1, b"e\n"), out(1, b"x\n"), out(2, b"x\n")];
        let (out, err) = gathered(Show::Whole, true, &pieces);
        assert_eq!(out, format!("{R}\na,b (2)\n{R}\nx\ne\n{R}\nc\n{R}\nx\n"));
        assert_eq!(err, "");
    }

    #[test]
    fn diff_shows_what_the_minority_has_instead() {
        let pieces = [out(0, b"1\n2\n"), out(1, b"1\n2\n"), out(2, b"1\n3\n")];
        let (out, _) = gathered(Show::Diff, false, &pieces);
        assert_eq!(
            out,
            format!("{R}\na,b (2)\n{R}\n1\n2\n{R}\nc\n{R}\n@@ -1,2 +1,2 @@\n 1\n-2\n+3\n")
        );
    }
}
