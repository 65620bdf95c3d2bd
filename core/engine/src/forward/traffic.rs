//! What goes through one listener: its connections, their counters, and the events about them.
//!
//! Events wait in a bounded queue for the link; when it is full they are counted and left out,
//! and the next one says how many.

use super::relay::Carried;
use bssh_protocol::forward::{ConnectionEntry, Connections};
use bssh_protocol::lock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;

/// Events on their way to the link.
const QUEUE: usize = 1024;

/// The connections of one listener. Generic over the event: forwards and gates name theirs
/// differently.
pub(crate) struct Traffic<E> {
    live: Mutex<BTreeMap<u64, Live>>,
    next: AtomicU64,
    pub opened: AtomicU64,
    pub failed: AtomicU64,
    pub denied: AtomicU64,
    /// Bytes of connections that are over.
    past_up: AtomicU64,
    past_down: AtomicU64,
    seq: AtomicU64,
    dropped: AtomicU64,
    events: mpsc::Sender<E>,
}

/// One open connection.
struct Live {
    peer: String,
    target: String,
    begun: std::time::Instant,
    carried: Arc<Carried>,
}

/// An open connection's place in the table; dropping it takes it out.
pub(crate) struct Entry<E> {
    traffic: Arc<Traffic<E>>,
    pub number: u64,
    pub carried: Arc<Carried>,
}

impl<E> Traffic<E> {
    /// Whoever receives the events sends them on.
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<E>) {
        let (events, receiver) = mpsc::channel(QUEUE);
        let n = AtomicU64::default;
        let traffic = Traffic {
            live: Mutex::default(),
            next: n(),
            opened: n(),
            failed: n(),
            denied: n(),
            past_up: n(),
            past_down: n(),
            seq: n(),
            dropped: n(),
            events,
        };
        (Arc::new(traffic), receiver)
    }

    /// Sends an event made from its number and how many were left out before.
    pub(crate) fn tell(&self, event: impl FnOnce(u64, u64) -> E) {
        let Ok(slot) = self.events.try_reserve() else {
            self.dropped.fetch_add(1, Relaxed);
            return;
        };
        let dropped = self.dropped.swap(0, Relaxed);
        slot.send(event(self.seq.fetch_add(1, Relaxed) + 1, dropped));
    }

    /// A number for a connection that may yet fail.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed) + 1
    }

    /// A connection is open.
    pub(crate) fn enter(self: &Arc<Self>, number: u64, peer: String, target: String) -> Entry<E> {
        self.opened.fetch_add(1, Relaxed);
        let carried = Arc::<Carried>::default();
        let begun = std::time::Instant::now();
        let live = Live { peer, target, begun, carried: carried.clone() };
        self.live().insert(number, live);
        Entry { traffic: self.clone(), number, carried }
    }

    /// The open connections.
    pub(crate) fn list(&self) -> Connections {
        let entry = |(conn, live): (&u64, &Live)| ConnectionEntry {
            conn: *conn,
            peer: live.peer.clone(),
            target: live.target.clone(),
            age_ms: crate::run::millis(live.begun.elapsed()),
            bytes_in: live.carried.up.load(Relaxed),
            bytes_out: live.carried.down.load(Relaxed),
        };
        Connections { connections: self.live().iter().map(entry).collect() }
    }

    pub(crate) fn n_live(&self) -> usize {
        self.live().len()
    }

    /// Ends a connection; false if there is none of this number.
    pub(crate) fn kick(&self, number: u64) -> bool {
        let live = self.live();
        let found = live.get(&number);
        found.inspect(|live| live.carried.kick.notify_one()).is_some()
    }

    /// Bytes of all connections, up and down.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let live = self.live();
        let sum = |of: fn(&Carried) -> &AtomicU64, past: &AtomicU64| {
            past.load(Relaxed) + live.values().map(|l| of(&l.carried).load(Relaxed)).sum::<u64>()
        };
        (sum(|c| &c.up, &self.past_up), sum(|c| &c.down, &self.past_down))
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<u64, Live>> {
        lock(&self.live)
    }
}

impl<E> Drop for Entry<E> {
    fn drop(&mut self) {
        let traffic = &self.traffic;
        let mut live = traffic.live();
        live.remove(&self.number);
        traffic.past_up.fetch_add(self.carried.up.load(Relaxed), Relaxed);
        traffic.past_down.fetch_add(self.carried.down.load(Relaxed), Relaxed);
    }
}
