//! The links that have started a gate: it goes with the last of them, and each is told what
//! happens. One that reads slowly misses events of its own and is told how many; it delays nobody.

use super::run::STOPPED;
use crate::engine::Engine;
use bssh_protocol::gate::{GateEvent, GateId};
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::methods::GateStateEvent;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Events on their way to one link.
const QUEUE: usize = 1024;

/// Those of a gate, and of the one it takes the place of until they know.
#[derive(Default)]
pub(super) struct Owners(Mutex<BTreeMap<usize, Owner>>);

struct Owner {
    gate: GateId,
    events: mpsc::Sender<GateEvent>,
    /// Events it has missed since the last it got.
    dropped: u64,
}

impl Owners {
    /// This link has started the gate, too.
    pub(super) fn enter(&self, engine: &Engine, link: &Link, gate: GateId) {
        let mut all = lock(&self.0);
        let owner = all.entry(key(engine)).or_insert_with(|| {
            let (events, receiver) = mpsc::channel(QUEUE);
            tokio::spawn(pass(receiver, link.clone()));
            Owner { gate, events, dropped: 0 }
        });
        owner.gate = gate;
    }

    pub(super) fn leave(&self, engine: &Engine) {
        lock(&self.0).remove(&key(engine));
    }

    pub(super) fn has(&self, engine: &Engine, gate: GateId) -> bool {
        lock(&self.0).get(&key(engine)).is_some_and(|owner| owner.gate == gate)
    }

    /// Nobody has started this gate who is still there.
    pub(super) fn are_gone(&self, gate: GateId) -> bool {
        !lock(&self.0).values().any(|owner| owner.gate == gate)
    }

    /// Tells all of them whatever comes.
    pub(super) async fn tell(self: Arc<Self>, mut events: mpsc::Receiver<GateEvent>) {
        while let Some(event) = events.recv().await {
            let mut all = lock(&self.0);
            if event.state == STOPPED {
                // Whoever has put another gate in its place stays.
                let (over, stay) =
                    std::mem::take(&mut *all).into_iter().partition(|(_, o)| o.gate == event.gate);
                *all = stay;
                let over: BTreeMap<usize, Owner> = over;
                over.into_values().for_each(|owner| owner.end(event.clone()));
            } else {
                all.values_mut().for_each(|owner| owner.tell(&event));
            }
        }
    }
}

impl Owner {
    fn tell(&mut self, event: &GateEvent) {
        let dropped = event.dropped + self.dropped;
        let event = GateEvent { dropped, ..event.clone() };
        self.dropped = self.events.try_send(event).map_or(dropped + 1, |()| 0);
    }

    /// The last event waits for its place: nobody may miss it.
    fn end(self, mut event: GateEvent) {
        event.dropped += self.dropped;
        tokio::spawn(async move { self.events.send(event).await });
    }
}

/// A link's engine, for telling links apart.
fn key(engine: &Engine) -> usize {
    std::ptr::from_ref(engine).addr()
}

async fn pass(mut events: mpsc::Receiver<GateEvent>, link: Link) {
    while let Some(event) = events.recv().await {
        if link.notify::<GateStateEvent>(&event).await.is_err() {
            return;
        }
    }
}
