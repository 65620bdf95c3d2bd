//! What the links of a core know about the core as a whole: where it listens, since when it runs,
//! and whether it is to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One core, seen by its links.
pub(crate) struct House {
    pub(crate) begun: Instant,
    /// Where it listens, if it is shared.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) idle: Option<Duration>,
    /// It is ssh's control master, and goes with its last connection once one was closed.
    pub(crate) control: bool,
    leaving: AtomicBool,
    ending: watch::Sender<Option<Ending>>,
    expired: watch::Sender<bool>,
}

/// The core is to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    /// How long what runs may take. None: the usual.
    pub(crate) grace: Option<Duration>,
}

impl House {
    /// A core with one link.
    pub(crate) fn single() -> Arc<House> {
        House::new(None, None, false)
    }

    /// A core that listens.
    pub(crate) fn shared(socket: PathBuf, idle: Option<Duration>, control: bool) -> Arc<House> {
        House::new(Some(socket), idle, control)
    }

    fn new(socket: Option<PathBuf>, idle: Option<Duration>, control: bool) -> Arc<House> {
        let (ending, expired) = (watch::channel(None).0, watch::channel(false).0);
        let (begun, leaving) = (Instant::now(), AtomicBool::new(false));
        Arc::new(House { begun, socket, idle, control, leaving, ending, expired })
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.socket.is_some()
    }

    /// Somebody has asked for the end of a connection (`ssh -O exit`).
    pub(crate) fn leave(&self) {
        self.leaving.store(self.control, Ordering::Relaxed);
    }

    /// It is to end as soon as nobody and nothing needs it.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Asks for the end.
    pub(crate) fn end(&self, ending: Ending) {
        self.ending.send_replace(Some(ending));
    }

    /// Returns when the core is to end.
    pub(crate) async fn ending(&self) -> Ending {
        let mut ending = self.ending.subscribe();
        let asked = ending.wait_for(Option::is_some).await.ok().and_then(|asked| *asked);
        asked.unwrap_or(Ending { grace: None })
    }

    /// The time for what runs is over.
    pub(crate) fn expire(&self) {
        self.expired.send_replace(true);
    }

    /// Returns when the time is over.
    pub(crate) async fn expired(&self) {
        // It never fails while the house stands, which we hold.
        let _ = self.expired.subscribe().wait_for(|over| *over).await;
    }
}
