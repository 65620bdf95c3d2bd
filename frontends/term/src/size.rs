//! The terminal as a node is told of it: its size, and one like it.

use crate::modes;
use bssh_protocol::exec::PtyRequest;
use rustix::termios::tcgetwinsize;
use std::os::fd::AsFd;

/// Columns and rows, and pixels where the terminal says so (0: unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub cols: u32,
    pub rows: u32,
    pub px_width: u32,
    pub px_height: u32,
}

/// The size of a terminal; none if the descriptor is no terminal or has no size yet.
pub fn size(terminal: impl AsFd) -> Option<Size> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then(|| Size {
        cols: size.ws_col.into(),
        rows: size.ws_row.into(),
        px_width: size.ws_xpixel.into(),
        px_height: size.ws_ypixel.into(),
    })
}

/// A terminal like ours on stdin, of this kind (`TERM`); as large as that if ours has no size.
pub fn terminal(term: &str, usual: (u32, u32)) -> PtyRequest {
    let stdin = rustix::stdio::stdin();
    let (cols, rows) = usual;
    let size = size(stdin).unwrap_or(Size { cols, rows, px_width: 0, px_height: 0 });
    PtyRequest {
        term: if term.is_empty() { "dumb" } else { term }.to_owned(),
        cols: size.cols,
        rows: size.rows,
        px_width: size.px_width,
        px_height: size.px_height,
        // There are none where stdin is no terminal.
        modes: modes(stdin).unwrap_or_default(),
    }
}
