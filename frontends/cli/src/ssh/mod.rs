//! ssh grammar: one destination, byte-exact, exit status the remote's, 255 for our own failures.
//!
//! `args` (what was typed) → `effective` (what the configuration makes of it) → `session`
//! (forwards, terminal, command) with `choice` of a core, `keyboard` and `acts` for a pty,
//! `background` for `-f`, `control` for shared connections, and `local_command` before it.

mod acts;
mod args;
mod background;
mod choice;
mod command_line;
mod control;
mod effective;
mod failed;
mod keyboard;
mod local_command;
mod notation;
mod query;
mod session;

pub(crate) use background::Background;
pub(crate) use session::run;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

/// Exit code of everything that is not the remote command's, as ssh has it.
const OURS: u8 = 255;

/// Where remarks go instead of stderr (`-E`).
static LOG: OnceLock<File> = OnceLock::new();

/// Sends remarks to a file from here on.
///
/// # Errors
/// It cannot be opened for appending.
fn log_to(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    // One command line names one file.
    let _ = LOG.set(file);
    Ok(())
}

/// A remark for the log: stderr, or the file of `-E`. If it is gone, nobody can be told.
fn say(text: &str) {
    let _ = match LOG.get() {
        Some(mut file) => file.write_all(text.as_bytes()),
        None => std::io::stderr().write_all(text.as_bytes()),
    };
}

/// Something for the person at the terminal; a stderr that is gone cannot be told about.
fn show(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
