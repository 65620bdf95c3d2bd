//! ssh grammar: one destination, byte-exact, exit status the remote's, 255 for our own failures.
//!
//! `args` (what was typed) → `effective` (what the configuration makes of it) → `session`
//! (forwards, terminal, command) with `keyboard` and `escape` for a pty, `background` for `-f`.

mod args;
mod background;
mod command_line;
mod effective;
mod escape;
mod keyboard;
mod query;
mod session;

pub(crate) use session::{Surroundings, run};

use std::io::Write;

/// Writes to stderr; a stderr that is gone cannot be told about.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
