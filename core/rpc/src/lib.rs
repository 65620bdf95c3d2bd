//! The headless core: bytes to engine calls, and nothing else.
//!
//! [`main`] reads `core`'s few words; `stdio` makes a link of the process's stdin and stdout;
//! `daemon` goes to the background, `claim` finds the place, and `serve` makes a link of every
//! frontend that comes there; `methods` says which method calls what; `log` writes remarks to
//! stderr. Every descriptor a frontend lends is adopted in `inherit`, the only unsafe code here.

mod across;
mod claim;
mod daemon;
mod house;
mod inherit;
mod log;
mod methods;
mod passing;
mod serve;
mod stdio;
mod tasks;

pub use bssh_engine::Environment;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

/// Exit status for wrong words.
const USAGE: u8 = 2;
/// Exit status for a core that cannot start.
const BROKEN: u8 = 1;

const HELP: &str = "usage: bssh core --stdio [--log LEVEL] [--log-file FILE]
                                          the protocol on stdin and stdout
       bssh core serve [--idle TIME] [--linger TIME] [--foreground] [--log LEVEL] [--log-file FILE]
                                          a core that frontends share, on the user's socket:
                                          ends after TIME without frontends and work (10m),
                                          keeps unused connections for TIME (5m);
                                          30, 30s, 10m, 2h, never
       bssh core --api-info               the protocol as an OpenRPC document
levels: quiet, error, info, debug1, debug2, debug3
";

/// Runs `bssh core` with the words behind `core`; gives the exit status.
#[inline(never)] // In the executable's `main` its frame would be paid for by everybody.
pub fn main(words: &[OsString], environment: Environment) -> u8 {
    let texts: Vec<&str> = words.iter().map(|w| w.to_str().unwrap_or("?")).collect();
    match texts.as_slice() {
        ["--api-info"] => print(&format!("{:#}\n", bssh_protocol::schema::openrpc())),
        ["--help" | "-h"] => print(HELP),
        ["serve", ..] => match serve_options(words.get(1..).unwrap_or_default()) {
            Some(options) => daemon::run(options, environment),
            None => complain(HELP, USAGE),
        },
        ["--stdio", ..] => match log_options(words.get(1..).unwrap_or_default()) {
            Some(options) => serve(options, environment),
            None => complain(HELP, USAGE),
        },
        _ => complain(HELP, USAGE),
    }
}

/// What `serve` was told; `None`: words that mean nothing.
fn serve_options(words: &[OsString]) -> Option<daemon::Options> {
    let mut options = daemon::Options::default();
    let is_flag = |word: &&OsString| *word == "--foreground" || *word == "--control";
    let (flags, pairs): (Vec<_>, Vec<_>) = words.iter().partition(is_flag);
    options.foreground = flags.iter().any(|word| *word == "--foreground");
    options.control = flags.iter().any(|word| *word == "--control");
    let mut log = Vec::new();
    for pair in pairs.chunks(2) {
        match pair {
            [name, value] if *name == "--idle" => options.idle = duration(value.to_str()?)?,
            [name, value] if *name == "--linger" => options.linger = duration(value.to_str()?)?,
            pair => log.extend(pair.iter().map(|word| (*word).clone())),
        }
    }
    options.log = log_options(&log)?;
    Some(options)
}

/// `30`, `30s`, `10m`, `2h`, or `never` (none). The outer `None`: something else.
fn duration(text: &str) -> Option<Option<Duration>> {
    if text == "never" {
        return Some(None);
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(Some(Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(unit)?)))
}

/// Level and file of the log; `None`: words that mean nothing.
fn log_options(words: &[OsString]) -> Option<log::Options> {
    let mut options = log::Options::default();
    for pair in words.chunks(2) {
        match pair {
            [name, value] if name == "--log" => options.level = log::Level::named(value.to_str()?)?,
            [name, value] if name == "--log-file" => options.file = Some(value.into()),
            _ => return None,
        }
    }
    Some(options)
}

fn serve(log: log::Options, environment: Environment) -> u8 {
    if let Err(error) = log::start(log) {
        return complain(&format!("bssh core: {error}\n"), BROKEN);
    }
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
