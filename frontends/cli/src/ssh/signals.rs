//! The signals a session lives with: those that end it, and a new size of the window.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM.
pub(super) const TERMINATED: &str = "15";

/// From here on these signals end nothing by themselves.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resize: Signal,
}

/// What a signal means.
pub(super) enum Caught {
    /// The session is to end; the signal's number.
    Killed(&'static str),
    Resized,
}

impl Signals {
    /// # Errors
    /// The system has none to give.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
        })
    }

    /// The next one that means something.
    pub(super) async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.interrupt.recv() => Caught::Killed("2"),
            _ = self.terminate.recv() => Caught::Killed(TERMINATED),
            _ = self.hangup.recv() => Caught::Killed("1"),
            _ = self.resize.recv() => Caught::Resized,
        }
    }

    /// The next one that ends the session.
    pub(super) async fn killed(&mut self) {
        while let Caught::Resized = self.next().await {}
    }
}
