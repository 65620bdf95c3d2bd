//! ssh grammar: one destination, byte-exact, exit status the remote's, 255 for our own failures.
//!
//! `args` (what was typed) → `effective` (what the configuration makes of it) → `session`
//! (`forwards`, terminal, command) with `choice` of a core, `keyboard`, `stdin` and `acts` for a
//! pty, `background` for `-f`, `control` for shared connections, `once` for `-F <(…)`, and
//! `local_command` before it.

mod acts;
mod args;
mod background;
mod choice;
mod command_line;
mod control;
mod effective;
mod failed;
mod forwards;
mod keyboard;
mod local_command;
mod log;
mod notation;
mod once;
mod query;
mod session;
mod stdin;

pub(crate) use background::Background;
pub(crate) use session::run;

use log::{complain, say};

/// Exit code of everything that is not the remote command's, as ssh has it.
const OURS: u8 = 255;

/// Something for the person at the terminal; a stderr that is gone cannot be told about.
fn show(text: &str) {
    let _ = bssh_term::write_all(rustix::stdio::stderr(), text.as_bytes());
}
