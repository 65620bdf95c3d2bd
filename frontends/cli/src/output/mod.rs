//! What a run looks like: one view per mode, all behind [`View`].
//!
//! Views are synchronous and append to a [`Screen`]; they never wait and never write. What needs
//! the core (folding node names) they ask for with [`View::sets`]. Reading order: `screen`,
//! `lines`, `printer` and `stream` (the default when piped), `blocks` (the default on a
//! terminal), `gather` with `trie` and `diff`, `live`, `json`, `dir`; `nodes`, `report` and
//! `progress` are about the nodes themselves; `transfer` is for files.

mod blocks;
mod diff;
mod dir;
mod gather;
mod json;
mod limit;
mod lines;
mod live;
mod nodes;
mod ping;
mod printer;
mod progress;
mod report;
mod screen;
mod stream;
mod sync;
mod transfer;
mod trie;

use crate::request::{Mode, ViewPlan};
use bssh_client::Channel;
use bssh_protocol::exec::{ExecNode, ExecStarted, Summary};
use bssh_term::Look;

pub(crate) use diff::diff;
pub(crate) use dir::Dir;
pub(crate) use limit::Limit;
pub(crate) use nodes::{Nodes, Step, cause};
pub(crate) use ping::describe;
pub(crate) use progress::progress_line;
pub(crate) use report::{Report, status_lines, summary_line};
pub(crate) use screen::Screen;
pub(crate) use sync::SyncLines;
pub(crate) use transfer::{Bars, TransferLines};

pub(crate) use printer::Printer;
pub(crate) use screen::To;

/// Shows a run in one of the modes.
pub(crate) trait View {
    /// The run has begun.
    fn start(&mut self, _started: &ExecStarted, _screen: &mut Screen) {}
    /// A node's state changed; after its last bytes if it has ended.
    fn node(&mut self, _event: &ExecNode, _nodes: &Nodes, _screen: &mut Screen) {}
    /// A node sent bytes.
    fn data(&mut self, piece: Piece<'_>, nodes: &Nodes, screen: &mut Screen);
    /// Sets of nodes (by index) whose folded names are needed to go on. Asked when no events are
    /// ready and, with `over`, at the end.
    fn sets(&mut self, _over: bool) -> Vec<Vec<usize>> {
        Vec::new()
    }
    /// The folded names of [`View::sets`], in order.
    fn folded(&mut self, _names: &[String], _nodes: &Nodes, _screen: &mut Screen) {}
    /// Prints a part of what was held until the end; false when nothing is left.
    fn print_some(&mut self, _screen: &mut Screen) -> bool {
        false
    }
    /// The run is over.
    fn done(&mut self, _summary: &Summary, _nodes: &Nodes, _screen: &mut Screen) {}
    /// The view has said how this node ended.
    fn told(&self, _node: usize) -> bool {
        false
    }
}

/// Bytes of one stream of one node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    pub node: usize,
    pub channel: Channel,
    pub bytes: &'a [u8],
}

impl Piece<'_> {
    pub(crate) fn to(self) -> To {
        match self.channel {
            Channel::Stdout => To::Out,
            Channel::Stderr => To::Err,
        }
    }
}

/// How to draw on stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub out: Look,
    pub err: Look,
    /// Which of them are terminals.
    pub out_terminal: bool,
    pub err_terminal: bool,
}

impl Style {
    pub(crate) fn look(&self, to: To) -> Look {
        match to {
            To::Out => self.out,
            To::Err => self.err,
        }
    }

    pub(crate) fn is_terminal(&self, to: To) -> bool {
        match to {
            To::Out => self.out_terminal,
            To::Err => self.err_terminal,
        }
    }
}

/// The view for a plan.
pub(crate) fn view(plan: &ViewPlan, style: Style, nodes: &Nodes) -> Box<dyn View> {
    let printer = |prefix| printer::Printer::new(nodes, style, prefix);
    match plan.mode {
        Mode::Blocks => Box::new(blocks::Blocks::new(nodes, style, printer(false))),
        Mode::Stream => Box::new(stream::Stream::new(printer(plan.prefix))),
        Mode::Gather { all } => {
            Box::new(gather::Gather::new(nodes, gather::Show::Whole, all, printer(true)))
        }
        Mode::Diff { all } => {
            Box::new(gather::Gather::new(nodes, gather::Show::Diff, all, printer(true)))
        }
        Mode::Live { all } => Box::new(live::Live::new(nodes, all, printer(true))),
        Mode::Json => Box::new(json::Events::new(nodes)),
        Mode::JsonSummary => Box::new(json::Ending),
        Mode::Ping => Box::new(ping::Ping::new(nodes)),
        Mode::Silent | Mode::Tui => Box::new(Silent),
    }
}

/// Shows nothing; the report still names what failed.
pub(crate) struct Silent;

impl View for Silent {
    fn data(&mut self, _: Piece<'_>, _: &Nodes, _: &mut Screen) {}
}

/// Index of a channel in a pair.
fn side(channel: Channel) -> usize {
    match channel {
        Channel::Stdout => 0,
        Channel::Stderr => 1,
    }
}
