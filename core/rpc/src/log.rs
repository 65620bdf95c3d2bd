//! Remarks on stderr or in a file, in the form ssh's users know: warnings as they are, `debug1:` and so on
//! with `-v`.

use bssh_engine::{BANNER, rank};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, span};

/// What is written, and where.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) level: Level,
    /// Appended to instead of stderr.
    pub(crate) file: Option<PathBuf>,
}

/// How much is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level(tracing::Level);

impl Default for Level {
    fn default() -> Self {
        Level(tracing::Level::WARN)
    }
}

impl Level {
    /// As `tracing` has it.
    pub(crate) fn of_tracing(self) -> tracing::Level {
        self.0
    }

    /// The name that gives it.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "info",
            tracing::Level::INFO => "debug1",
            tracing::Level::DEBUG => "debug2",
            tracing::Level::TRACE => "debug3",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(Level(match name {
            "quiet" | "fatal" | "error" => tracing::Level::ERROR,
            "info" | "verbose" => tracing::Level::WARN,
            "debug" | "debug1" => tracing::Level::INFO,
            "debug2" => tracing::Level::DEBUG,
            "debug3" => tracing::Level::TRACE,
            _ => return None,
        }))
    }
}

/// Starts writing. A second call changes nothing.
///
/// # Errors
/// The file cannot be opened.
pub(crate) fn start(options: Options) -> io::Result<()> {
    let open = |path| File::options().append(true).create(true).mode(0o600).open(path);
    let file = options.file.map(open).transpose()?;
    set_level(options.level);
    let remarks = Remarks { file, spans: AtomicU64::new(1) };
    // Somebody else's subscriber is as good.
    let _ = tracing::subscriber::set_global_default(remarks);
    Ok(())
}

/// How much the log of this process takes, as a rank.
static MOST: AtomicU8 = AtomicU8::new(0);

/// The log takes this much from now on.
pub(crate) fn set_level(level: Level) {
    MOST.store(rank(level.0), Ordering::Relaxed);
}

fn is_logged(level: tracing::Level) -> bool {
    rank(level) <= MOST.load(Ordering::Relaxed)
}

struct Remarks {
    file: Option<File>,
    spans: AtomicU64,
}

impl Subscriber for Remarks {
    /// Asked each time: how much is wanted changes while the core runs.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.target().starts_with("bssh") {
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = *metadata.level();
        let wanted = is_logged(level) || bssh_engine::is_wanted(level);
        wanted && metadata.target().starts_with("bssh")
    }
    fn event(&self, event: &Event<'_>) {
        let mut text = Message(String::new());
        event.record(&mut text);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        if bssh_engine::remark(level, target, &text.0) || !is_logged(level) {
            return;
        }
        let line = bssh_engine::record(level, target, &text.0).line();
        // A banner is for the person. A lost remark is no reason to stop.
        let _ = match self.file.as_ref().filter(|_| target != BANNER) {
            Some(mut file) => file.write_all(line.as_bytes()),
            None => io::stderr().write_all(line.as_bytes()),
        };
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The message of an event; other fields are not used here.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
