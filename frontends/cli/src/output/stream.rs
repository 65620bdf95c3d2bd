//! `--stream`: lines as they come, each under its node's name.

use super::printer::Printer;
use super::{Nodes, Piece, Screen, View};
use bssh_protocol::exec::{ExecNode, NodeState};

/// Prints lines at once.
pub(crate) struct Stream {
    printer: Printer,
}

impl Stream {
    pub(crate) fn new(printer: Printer) -> Self {
        Stream { printer }
    }
}

impl View for Stream {
    fn data(&mut self, piece: Piece<'_>, _: &Nodes, screen: &mut Screen) {
        self.printer.data(piece, screen);
    }

    fn node(&mut self, event: &ExecNode, _: &Nodes, screen: &mut Screen) {
        if matches!(event.state, NodeState::Ended(_)) {
            self.printer.ended(event.index as usize, screen);
        }
    }
}
