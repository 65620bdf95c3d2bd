//! `bssh core serve`: the shared core as a process of its own.
//!
//! Without `--foreground` it starts a copy of itself and waits until that copy listens, so that
//! whoever started it can attach at once. The copy has a session of its own, nothing on stdin,
//! and its stdout and stderr in a log file: no terminal can end it or be kept by it.

use crate::claim::{Claim, Claimed, place_of};
use crate::serve::{self, Wishes};
use crate::{BROKEN, complain, log, print};
use bssh_engine::Environment;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `serve` was told.
#[derive(Debug)]
pub(crate) struct Options {
    /// None: for ever.
    pub(crate) idle: Option<Duration>,
    /// None: as long as the core.
    pub(crate) linger: Option<Duration>,
    pub(crate) foreground: bool,
    /// For ssh's ControlMaster; see [`crate::house::House::control`].
    pub(crate) control: bool,
    pub(crate) log: log::Options,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            idle: Some(Duration::from_secs(600)),
            linger: Some(Duration::from_secs(300)),
            foreground: false,
            control: false,
            log: log::Options::default(),
        }
    }
}

/// What the copy says once it listens; anything else is why it does not.
const READY: &str = "ready ";
/// The log is begun anew beyond this size, in bytes.
const LOG_SIZE: u64 = 1 << 20;
/// As good as for ever, and safe to add to a time.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Runs the shared core, or starts it in the background; gives the exit status.
pub(crate) fn run(options: Options, environment: Environment) -> u8 {
    let done = match options.foreground {
        true => serve_here(options, environment),
        false => start(&options, &environment),
    };
    done.unwrap_or_else(|error| complain(&format!("bssh core: {error}\n"), BROKEN))
}

fn serve_here(options: Options, environment: Environment) -> Result<u8, String> {
    let text = |e: io::Error| e.to_string();
    log::start(options.log).map_err(text)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(text)?;
    // Fails for a job of a shell, which wants to keep it.
    let _ = rustix::process::setsid();
    let (claim, listener) = match Claim::take(&environment)? {
        Claimed::Ours(claim, listener) => (claim, listener),
        Claimed::Taken(socket) => {
            return Ok(print(&format!("{READY}{} (it runs already)\n", socket.display())));
        }
    };
    print(&format!("{READY}{}\n", claim.socket().display()));
    // Whoever waits for the line waits for the end of stdout, too.
    rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map_err(|e| e.to_string())?;
    let wishes = Wishes {
        idle: options.idle,
        linger: options.linger.unwrap_or(FOREVER),
        control: options.control,
    };
    let served = runtime.block_on(async {
        // The directory somebody happened to be in must be free to go.
        let _ = rustix::process::chdir("/");
        serve::serve(environment, claim, listener, wishes).await
    });
    runtime.shutdown_background();
    served.map(|()| 0).map_err(text)
}

/// Starts the copy, and says where it listens or why it does not.
fn start(options: &Options, environment: &Environment) -> Result<u8, String> {
    place_of(environment)?;
    let program = std::env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?;
    let log = log_file(environment)?;
    let time = |time: Option<Duration>| match time {
        Some(time) => time.as_secs().to_string(),
        None => "never".to_owned(),
    };
    let mut words: Vec<OsString> =
        ["core", "serve", "--foreground", "--idle", &time(options.idle)].map(Into::into).into();
    words.extend(
        ["--linger", &time(options.linger), "--log", options.log.level.name()].map(Into::into),
    );
    if options.control {
        words.push("--control".into());
    }
    if let Some(file) = &options.log.file {
        words.extend(["--log-file".into(), environment.cwd.join(file).into()]);
    }
    let mut command = Command::new(&program);
    // An executable called `ssh` would take "core" for a host.
    command.arg0("bssh").args(words).env_remove("BSSH_PASSWORD");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::from(log));
    let mut copy =
        command.spawn().map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    let mut said = String::new();
    if let Some(mut stdout) = copy.stdout.take() {
        stdout.read_to_string(&mut said).map_err(|e| e.to_string())?;
    }
    match said.starts_with(READY) {
        true => Ok(print(&said)),
        false => {
            let status = copy.wait().map_err(|e| e.to_string())?;
            let place = environment.state().join("core.log");
            Err(format!("the shared core did not start ({status}); see {}", place.display()))
        }
    }
}

/// Where the copy's stderr goes: `core.log` with the user's state.
fn log_file(environment: &Environment) -> Result<File, String> {
    let directory = environment.state();
    let at = |e: io::Error| format!("{}: {e}", directory.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(at)?;
    let path = directory.join("core.log");
    let long = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.len() > LOG_SIZE);
    let mut open = File::options();
    open.create(true).append(!long).write(true).truncate(long).mode(0o600);
    open.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    open.open(&path).map_err(|e| format!("{}: {e}", path.display()))
}
