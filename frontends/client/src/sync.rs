//! One sync seen from a frontend: its events in one queue, in order.
//!
//! Only the last progress waits in the queue, so that a slow consumer holds little.

use crate::core::Core;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::link::{Link, Notification};
use bssh_protocol::methods::{
    Event, SyncCancel, SyncConflictEvent, SyncDoneEvent, SyncProgressEvent, SyncRoundEvent,
    SyncStart, SyncStateEvent, SyncStepEvent,
};
use bssh_protocol::sync::{
    SyncConflict, SyncId, SyncParams, SyncProgress, SyncRef, SyncStarted, SyncStateChange,
    SyncStep, Synced,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What happened in a sync, in order.
#[derive(Debug)]
pub enum SyncEvent {
    /// What it is about now.
    State(SyncStateChange),
    /// What would be done with one path.
    Step(SyncStep),
    /// It got on.
    Progress(SyncProgress),
    /// Both sides have changed a path.
    Conflict(SyncConflict),
    /// A round of a watch has done something.
    Round(Synced),
    /// The sync is over. Nothing follows.
    Done(Synced),
    /// The core is gone, with how it ended. Nothing follows.
    Lost(String),
}

/// A sync. Dropping it before it is done cancels it.
#[derive(Debug)]
pub struct Sync {
    /// The answer of `sync/start`.
    pub started: SyncStarted,
    link: Link,
    syncs: Arc<Syncs>,
    queue: Arc<Queue>,
    over: bool,
}

/// The syncs of a link.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    open: Mutex<HashMap<SyncId, Arc<Queue>>>,
}

#[derive(Debug, Default)]
struct Queue {
    events: Mutex<VecDeque<SyncEvent>>,
    arrived: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Starts a sync.
    ///
    /// # Errors
    /// As [`Core::exec`].
    pub async fn sync(&self, params: &SyncParams) -> Result<Sync, CallError> {
        let (link, syncs) = (self.link().clone(), self.handles.syncs.clone());
        let opened = self
            .link()
            .call_then::<SyncStart, _>(params, move |started| syncs.open(&link, started))
            .await;
        match opened {
            Err(error) if error.code == Kind::Disconnected.code() => Err(self.explain().await),
            opened => opened,
        }
    }
}

impl Sync {
    /// The next event; waits for one. None after `Done` or `Lost`.
    pub async fn next(&mut self) -> Option<SyncEvent> {
        while !self.over {
            let event = lock(&self.queue.events).pop_front();
            match event {
                None => self.queue.arrived.notified().await,
                Some(event) => {
                    self.over = matches!(event, SyncEvent::Done(_) | SyncEvent::Lost(_));
                    return Some(event);
                }
            }
        }
        None
    }

    /// Ends it; `Done` still comes.
    ///
    /// # Errors
    /// The core's answer, e.g. `handle.unknown` for a sync that is over.
    pub async fn cancel(&self) -> Result<(), CallError> {
        self.link.call::<SyncCancel>(&SyncRef { sync: self.started.sync }).await.map(drop)
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        let sync = self.started.sync;
        let known = lock(&self.syncs.open).remove(&sync).is_some();
        if known && !self.over {
            self.link.ask::<SyncCancel>(&SyncRef { sync });
        }
    }
}

impl Syncs {
    /// Makes a sync known. Called by the reader, before it reads its first event.
    pub(crate) fn open(self: &Arc<Self>, link: &Link, started: SyncStarted) -> Sync {
        let queue = Arc::new(Queue::default());
        lock(&self.open).insert(started.sync, queue.clone());
        Sync { started, link: link.clone(), syncs: self.clone(), queue, over: false }
    }

    /// Takes an event of a sync; false if it is none. One that cannot be read comes from a newer
    /// core and is ignored.
    pub(crate) fn take(&self, notification: &Notification) -> bool {
        match &*notification.method {
            SyncStateEvent::NAME => {
                if let Ok(event) = notification.event::<SyncStateEvent>() {
                    self.push(event.sync, SyncEvent::State(event));
                }
            }
            SyncStepEvent::NAME => {
                if let Ok(event) = notification.event::<SyncStepEvent>() {
                    self.push(event.sync, SyncEvent::Step(event));
                }
            }
            SyncProgressEvent::NAME => {
                if let Ok(event) = notification.event::<SyncProgressEvent>() {
                    self.push(event.sync, SyncEvent::Progress(event));
                }
            }
            SyncConflictEvent::NAME => {
                if let Ok(event) = notification.event::<SyncConflictEvent>() {
                    self.push(event.sync, SyncEvent::Conflict(event.conflict));
                }
            }
            SyncRoundEvent::NAME => {
                if let Ok(event) = notification.event::<SyncRoundEvent>() {
                    self.push(event.sync, SyncEvent::Round(event.result));
                }
            }
            SyncDoneEvent::NAME => {
                if let Ok(event) = notification.event::<SyncDoneEvent>() {
                    self.push(event.sync, SyncEvent::Done(event.result));
                    lock(&self.open).remove(&event.sync);
                }
            }
            _ => return false,
        }
        true
    }

    /// The core is gone: so are its syncs.
    pub(crate) fn lost(&self, how: &str) {
        for (_, queue) in lock(&self.open).drain() {
            queue.push(SyncEvent::Lost(how.to_owned()));
        }
    }

    fn push(&self, id: SyncId, event: SyncEvent) {
        let queue = lock(&self.open).get(&id).cloned();
        if let Some(queue) = queue {
            queue.push(event);
        }
    }
}

impl Queue {
    fn push(&self, event: SyncEvent) {
        let mut events = lock(&self.events);
        if let (SyncEvent::Progress(_), Some(SyncEvent::Progress(_))) = (&event, events.back()) {
            events.pop_back();
        }
        events.push_back(event);
        drop(events);
        self.arrived.notify_one();
    }
}
