//! The local terminal: raw mode by guard, size, secrets without echo, colours and glyphs.
//!
//! It reads no environment variable and knows no protocol: what decides is handed in. Reading
//! order: `guard` (settings that are always put back), `secret` (typed without echo), `size`,
//! `look` (colours and glyphs), `modes` (the terminal's settings in SSH's words), `reset` (after a lost
//! node).

mod guard;
mod look;
mod modes;
mod reset;
mod secret;
mod size;

pub use guard::{RawMode, restore};
pub use look::{Color, ColorChoice, Glyphs, Look, RESET, Terminal};
pub use modes::modes;
pub use reset::UNDO;
pub use secret::{Typed, read_line, read_secret};
pub use size::{Size, size};
