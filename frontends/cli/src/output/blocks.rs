//! The default on a terminal: each node's output in one piece, under its name, when it has
//! ended. A single node's output is shown as it comes.
//!
//! What is held is bounded: a node that sends more than its share of [`HELD`] gets a block at
//! once and another one later. Headers go to stderr, output where the node sent it.

use super::nodes::cause;
use super::printer::Printer;
use super::{Nodes, Piece, Screen, Style, View};
use bssh_client::Channel;
use bssh_protocol::exec::{ExecNode, NodeState};
use bssh_term::Color;

/// Bytes held for all nodes together.
const HELD: usize = 32 << 20;
/// A node's share is never less.
const LEAST_SHARE: usize = 16 << 10;

/// Holds each node's output until it has ended.
pub(crate) struct Blocks {
    style: Style,
    held: Vec<Held>,
    share: usize,
    told: Vec<bool>,
    printer: Printer,
}

/// One node's output in the order it came.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Which channel sent each stretch, and its length.
    stretches: Vec<(Channel, usize)>,
}

impl Blocks {
    /// `printer` has no prefix.
    pub(crate) fn new(nodes: &Nodes, style: Style, printer: Printer) -> Self {
        let n = nodes.len();
        let held = std::iter::repeat_with(Held::default).take(n).collect();
        let share = (HELD / n.max(1)).max(LEAST_SHARE);
        Blocks { style, held, share, told: vec![false; n], printer }
    }

    fn show(&mut self, node: usize, screen: &mut Screen) {
        let Some(held) = self.held.get_mut(node) else { return };
        let held = std::mem::take(held);
        let mut rest = held.bytes.as_slice();
        for (channel, n) in held.stretches {
            let (bytes, later) = rest.split_at_checked(n).unwrap_or((rest, b""));
            rest = later;
            self.printer.data(Piece { node, channel, bytes }, screen);
        }
    }

    fn header(&self, node: &str, ended: Option<Result<(), String>>) -> String {
        let look = self.style.err;
        let glyphs = look.glyphs;
        match ended {
            None => look.paint(Color::Active, &format!("{} {node}", glyphs.executing)),
            Some(Ok(())) => look.paint(Color::Ok, &format!("{} {node}", glyphs.ok)),
            Some(Err(cause)) => {
                let sign = look.paint(Color::Failed, &format!("{} {node}", glyphs.failed));
                format!("{sign} {} {cause}", glyphs.dash)
            }
        }
    }
}

impl View for Blocks {
    fn data(&mut self, piece: Piece<'_>, nodes: &Nodes, screen: &mut Screen) {
        if nodes.len() == 1 {
            return self.printer.data(piece, screen);
        }
        let Some(held) = self.held.get_mut(piece.node) else { return };
        held.bytes.extend_from_slice(piece.bytes);
        match held.stretches.last_mut() {
            Some((channel, n)) if *channel == piece.channel => *n += piece.bytes.len(),
            _ => held.stretches.push((piece.channel, piece.bytes.len())),
        }
        if held.bytes.len() > self.share {
            screen.say(&self.header(nodes.name(piece.node), None));
            self.show(piece.node, screen);
        }
    }

    fn node(&mut self, event: &ExecNode, nodes: &Nodes, screen: &mut Screen) {
        let NodeState::Ended(ended) = &event.state else { return };
        let node = event.index as usize;
        if self.held.get(node).is_some_and(|h| !h.bytes.is_empty()) {
            let how = cause(&event.node, ended).map_or(Ok(()), Err);
            let hint = ended.failure.as_ref().and_then(|f| f.hint.as_ref());
            screen.say(&self.header(nodes.name(node), Some(how)));
            if let Some(hint) = hint {
                screen.say(&format!("  {} {hint}", self.style.err.glyphs.detail));
            }
            self.show(node, screen);
            if let Some(told) = self.told.get_mut(node) {
                *told = true;
            }
        }
        self.printer.ended(node, screen);
    }

    fn told(&self, node: usize) -> bool {
        self.told.get(node).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::To;
    use super::super::printer::tests::{err, nodes, out, style};
    use super::*;
    use bssh_protocol::exec::{Ended, Exit};

    fn ended(index: u32, node: &str, status: u32) -> ExecNode {
        let ended = Ended { exit: Some(Exit::Status(status)), ..Ended::default() };
        ExecNode { run: 1, index, node: node.to_owned(), state: NodeState::Ended(ended) }
    }

    #[test]
    fn output_waits_for_the_end_of_its_node() {
        let nodes = nodes("a b");
        let mut screen = Screen::default();
        let printer = Printer::new(&nodes, style(false), false);
        let mut view = Blocks::new(&nodes, style(false), printer);
        view.data(out(0, b"one\n"), &nodes, &mut screen);
        view.data(out(1, b"zwei"), &nodes, &mut screen);
        view.data(err(0, b"oops\n"), &nodes, &mut screen);
        assert_eq!(screen.text(To::Out), "");
        view.node(&ended(1, "b", 7), &nodes, &mut screen);
        view.node(&ended(0, "a", 0), &nodes, &mut screen);
        assert_eq!(screen.text(To::Out), "zwei\none\n");
        assert_eq!(screen.text(To::Err), "✗ b – exited with status 7\n✓ a\noops\n");
        assert!(view.told(0) && view.told(1));
    }

    #[test]
    fn a_flood_is_shown_in_parts() {
        let nodes = nodes("a b");
        let mut screen = Screen::default();
        let printer = Printer::new(&nodes, style(false), false);
        let mut view = Blocks::new(&nodes, style(false), printer);
        let line = [vec![b'x'; 9999], b"\n".to_vec()].concat();
        for _ in 0..2000 {
            view.data(out(0, &line), &nodes, &mut screen);
        }
        assert!(screen.text(To::Err).starts_with("◑ a\n"));
        assert!(view.held[0].bytes.len() <= HELD / 2);
    }
}
