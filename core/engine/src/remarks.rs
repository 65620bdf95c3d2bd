//! Remarks on their way to a person: to the frontend whose work they are about, if it asked for
//! them, else to the core's own log.
//!
//! A core that a frontend has started shares its stderr and needs none of this. In a shared core
//! every task that works for a link runs in that link's [`Remarks::scope`].

use bssh_protocol::handshake::LogRecord;
use bssh_protocol::link::Link;
use bssh_protocol::methods::LogRecordEvent;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use tracing::Level;

/// The target of a server's banner in the log, which is no remark of ours.
pub const BANNER: &str = "bssh::banner";

/// The target of our own remarks.
pub(crate) const OURS: &str = "bssh";

/// The most any link wants to hear, as a [`rank`].
static LOUDEST: AtomicU8 = AtomicU8::new(0);

tokio::task_local! {
    static WHOSE: Arc<Remarks>;
}

/// Where remarks about one link's work go.
#[derive(Debug, Default)]
pub struct Remarks {
    to: OnceLock<(Link, AtomicU8)>,
}

impl Remarks {
    /// From now on they go to this link, up to this level.
    pub fn send_to(&self, link: &Link, level: Level) {
        LOUDEST.fetch_max(rank(level), Relaxed);
        // A link shakes hands once.
        let _ = self.to.set((link.clone(), AtomicU8::new(rank(level))));
    }

    /// Up to this level from now on; false if they do not go to a link.
    pub fn set_level(&self, level: Level) -> bool {
        let Some((_, most)) = self.to.get() else { return false };
        LOUDEST.fetch_max(rank(level), Relaxed);
        most.store(rank(level), Relaxed);
        true
    }

    /// Work whose remarks are this link's.
    pub fn scope<F: Future>(self: &Arc<Self>, work: F) -> impl Future<Output = F::Output> + use<F> {
        WHOSE.scope(self.clone(), work)
    }

    /// Somebody hears remarks for `-v`: the link, or whoever reads the core's own log.
    pub(crate) fn is_verbose(&self) -> bool {
        match self.to.get().filter(|(link, _)| !link.has_ended()) {
            Some((_, most)) => rank(Level::INFO) <= most.load(Relaxed),
            None => tracing::enabled!(target: OURS, Level::INFO),
        }
    }

    /// Takes a remark; false if it is for the core's own log.
    pub(crate) fn take(&self, level: Level, target: &str, text: &str) -> bool {
        let Some((link, most)) = self.to.get().filter(|(link, _)| !link.has_ended()) else {
            return false;
        };
        if rank(level) <= most.load(Relaxed) {
            // A frontend that does not read misses remarks.
            link.try_notify::<LogRecordEvent>(&record(level, target, text));
        }
        true
    }
}

/// A remark as it is told.
pub fn record(level: Level, target: &str, text: &str) -> LogRecord {
    let word = match level {
        _ if target == BANNER => "banner",
        Level::ERROR => "error",
        Level::WARN => "info",
        Level::INFO => "debug1",
        Level::DEBUG => "debug2",
        Level::TRACE => "debug3",
    };
    LogRecord { level: word.to_owned(), message: text.to_owned() }
}

/// A level as a number that an atomic holds; louder is more.
pub fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Some link wants to hear remarks of this level.
pub fn is_wanted(level: Level) -> bool {
    rank(level) <= LOUDEST.load(Relaxed)
}

/// Gives a remark to the link whose work is under way; false if it is for the core's own log.
pub fn remark(level: Level, target: &str, text: &str) -> bool {
    WHOSE.try_with(|whose| whose.take(level, target, text)).unwrap_or(false)
}

/// The remarks of the work under way, for work that goes on elsewhere.
pub(crate) fn whose() -> Arc<Remarks> {
    WHOSE.try_with(Arc::clone).unwrap_or_default()
}
