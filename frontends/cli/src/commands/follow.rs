//! What following a transfer and following a sync have in common: the next thing that happens, and
//! the deadline once it is given up.

use bssh_term::{Signal, Signals};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

/// What is faster shows no progress.
const PROGRESS_AFTER: Duration = Duration::from_millis(300);
const PROGRESS_EVERY: Duration = Duration::from_millis(150);

/// Something under way.
pub(super) struct Follow<'a> {
    signals: &'a mut Signals,
    ticks: Interval,
    /// Progress is shown now.
    pub shows: bool,
    /// How long it may take to end once it is given up.
    grace: Duration,
    give_up: Option<Instant>,
    /// A signal's or a closed stdout's status.
    pub ended_by: Option<u8>,
}

/// What happens to it.
pub(super) enum Next<E> {
    Event(Option<E>),
    Signal(Signal),
    Tick,
    /// It has been given up, and does not end.
    Late,
}

impl<'a> Follow<'a> {
    pub(super) fn new(signals: &'a mut Signals, grace: Duration) -> Self {
        let mut ticks = interval_at(Instant::now() + PROGRESS_AFTER, PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Follow { signals, ticks, shows: false, grace, give_up: None, ended_by: None }
    }

    pub(super) async fn next<E>(&mut self, event: impl Future<Output = Option<E>>) -> Next<E> {
        let deadline = self.give_up.unwrap_or_else(Instant::now);
        tokio::select! {
            event = event => Next::Event(event),
            signal = self.signals.next() => Next::Signal(signal),
            _ = self.ticks.tick(), if self.shows => Next::Tick,
            () = sleep_until(deadline), if self.give_up.is_some() => Next::Late,
        }
    }

    /// Gives it up with this status: `cancel` says so to the core, whose end of it is awaited. A
    /// core that does not answer is given up at the deadline. False: it had been given up before.
    pub(super) async fn end<T>(&mut self, status: u8, cancel: impl Future<Output = T>) -> bool {
        if self.ended_by.replace(status).is_some() {
            return false;
        }
        self.give_up = Some(Instant::now() + self.grace);
        let _ = tokio::time::timeout(self.grace, cancel).await;
        true
    }
}
