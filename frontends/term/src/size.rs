//! The terminal's size.

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
