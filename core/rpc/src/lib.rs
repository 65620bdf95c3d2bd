//! The headless core: bytes to engine calls, and nothing else.
//!
//! [`main`] reads `core`'s few words; `stdio` makes a link of the process's stdin and stdout;
//! `methods` says which method calls what; `log` writes remarks to stderr. Every descriptor a
//! frontend lends is adopted in `inherit`, the only unsafe code of the workspace.

mod inherit;
mod log;
mod methods;
mod stdio;

pub use bssh_engine::Environment;

use std::ffi::OsString;
use std::io::Write;

/// Exit status for wrong words.
const USAGE: u8 = 2;
/// Exit status for a core that cannot start.
const BROKEN: u8 = 1;

const HELP: &str = "usage: bssh core --stdio [--log LEVEL]   the protocol on stdin and stdout
       bssh core --api-info               the protocol as an OpenRPC document
levels: quiet, error, info, debug1, debug2, debug3
";

/// Runs `bssh core` with the words behind `core`; gives the exit status.
pub fn main(words: &[OsString], environment: Environment) -> u8 {
    let words: Vec<&str> = words.iter().map(|w| w.to_str().unwrap_or("?")).collect();
    match words.as_slice() {
        ["--api-info"] => print(&format!("{:#}\n", bssh_protocol::schema::openrpc())),
        ["--help" | "-h"] => print(HELP),
        ["--stdio", rest @ ..] => match level(rest) {
            Some(level) => serve(level, environment),
            None => complain(HELP, USAGE),
        },
        _ => complain(HELP, USAGE),
    }
}

fn level(words: &[&str]) -> Option<log::Level> {
    match words {
        [] => Some(log::Level::default()),
        ["--log", name] => log::Level::named(name),
        _ => None,
    }
}

fn serve(level: log::Level, environment: Environment) -> u8 {
    log::start(level);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| {
        let status = runtime.block_on(stdio::serve(environment));
        // A thread may wait for a terminal or a name server; it ends with the process.
        runtime.shutdown_background();
        status
    }) {
        Ok(()) => 0,
        Err(error) => complain(&format!("bssh core: {error}\n"), BROKEN),
    }
}

fn print(text: &str) -> u8 {
    std::io::stdout().write_all(text.as_bytes()).map_or(BROKEN, |()| 0)
}

fn complain(text: &str, status: u8) -> u8 {
    // Nobody can be told that stderr is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
    status
}
