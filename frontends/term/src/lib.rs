//! The local terminal: raw mode by guard, size, keys and lines, secrets without echo, colours and
//! glyphs, and what is fit to be seen on it.
//!
//! It reads no environment variable and asks no core: what decides is handed in. Reading
//! order: `guard` (settings that are always put back), `secret` (typed without echo), `size`,
//! `look` (colours and glyphs), `stdin` (keys), `lines` (the line editor), `harmless` (what nodes
//! say), `amount` (bytes for people), `sync` (a sync in words), `modes` (the terminal's settings in SSH's words), `reset` (after a lost
//! node).

mod amount;
mod guard;
mod harmless;
mod lines;
mod look;
mod modes;
mod reset;
mod secret;
mod size;
mod stdin;
mod sync;
mod tilde;

pub use amount::bytes_text;
pub use guard::{RawMode, restore};
pub use harmless::harmless;
pub use lines::{Edited, Lines};
pub use look::{Color, ColorChoice, Glyphs, Look, RESET, Terminal};
pub use modes::modes;
pub use reset::UNDO;
pub use secret::{Typed, read_line, read_secret};
pub use size::{Size, size};
pub use stdin::Stdin;
pub use sync::{
    Line, sync_conflict, sync_failure, sync_report, sync_status, sync_step, sync_summary,
};
pub use tilde::Tilde;
