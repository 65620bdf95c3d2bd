//! The executable: chooses between the core, the demo, the line CLI and the REPL, and does nothing else.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod pow;

use bssh_rpc::Environment;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What stays in the heap for the next packets, in bytes: more than a channel's window.
const HEAP_SLACK: usize = 8 << 20;

fn main() -> ExitCode {
    keep_freed_memory();
    let words: Vec<OsString> = std::env::args_os().collect();
    let called_ssh =
        words.first().is_some_and(|w| Path::new(w).file_name() == Some(OsStr::new("ssh")));
    let status = match words.get(1).and_then(|w| w.to_str()).filter(|_| !called_ssh) {
        Some("core") if !asks_shared(&words) => {
            bssh_rpc::main(words.get(2..).unwrap_or_default(), environment())
        }
        Some("demo") => bssh_fixtures::demo(words.get(2..).unwrap_or_default()),
        _ => {
            let core = |words: &[OsString]| bssh_rpc::main(words, environment());
            bssh_cli::main(&words, |plan, look| Box::pin(bssh_repl::run(plan, look)), core)
        }
    };
    ExitCode::from(status)
}

/// glibc hands the top of the heap back as soon as 128 KiB of it are free, and fetches it again
/// page by page: a third of the CPU of a bulk transfer. Freeing one large block, untouched, raises
/// that limit to twice its size (mallopt(3), `M_TRIM_THRESHOLD`); other allocators do not mind.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_SLACK / 2)));
}

/// `core status` and its like speak to a core; everything else behind `core` is one.
fn asks_shared(words: &[OsString]) -> bool {
    let verb = words.get(2).and_then(|w| w.to_str());
    verb.is_some_and(|verb| ["status", "stop", "metrics"].contains(&verb))
}

/// The process environment as the core's value: below this line nobody asks for it.
#[allow(clippy::disallowed_methods, reason = "the edge where the environment is captured")]
fn environment() -> Environment {
    let vars = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    let vars: std::collections::BTreeMap<String, String> = vars.collect();
    let uid = rustix::process::getuid().as_raw();
    let (name, home) = account(uid);
    let first =
        |names: &[&str]| names.iter().find_map(|n| vars.get(*n).filter(|v| !v.is_empty()).cloned());
    Environment {
        home: first(&["HOME"]).map(PathBuf::from).or(home).unwrap_or_else(|| PathBuf::from("/")),
        cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        user: name.or_else(|| first(&["LOGNAME", "USER"])).unwrap_or_default(),
        uid,
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        vars,
        ..Environment::default()
    }
}

/// Login name and home directory of a user in `/etc/passwd`; others have their variables.
fn account(uid: u32) -> (Option<String>, Option<PathBuf>) {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let own = fields.into_iter().find(|f| f.get(2).is_some_and(|id| *id == uid.to_string()));
    let field = |at: usize| own.as_ref().and_then(|f| f.get(at)).map(|text| (*text).to_owned());
    (field(0), field(5).map(PathBuf::from))
}
