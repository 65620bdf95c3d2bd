//! One sync seen from a frontend: its events in one queue, in order.
//!
//! Only the last progress waits in the queue, and the steps of a dry run and what both sides have
//! changed are part of the link's [`Backlog`], so that a slow consumer holds little.

use crate::core::Core;
use bssh_protocol::backlog::{Backlog, Share};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::link::{Link, Notification};
use bssh_protocol::lock;
use bssh_protocol::methods::{
    Event, SyncCancel, SyncConflictEvent, SyncDoneEvent, SyncProgressEvent, SyncRoundEvent,
    SyncStart, SyncStateEvent, SyncStepEvent,
};
use bssh_protocol::sync::{
    SyncConflict, SyncId, SyncParams, SyncProgress, SyncRef, SyncStarted, SyncStateChange,
    SyncStep, Synced,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
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
    backlog: Arc<Backlog>,
    open: Mutex<HashMap<SyncId, Arc<Queue>>>,
}

#[derive(Debug)]
struct Queue {
    events: Mutex<Waiting>,
    arrived: Notify,
}

/// What was not taken yet.
#[derive(Debug)]
struct Waiting {
    /// With how many bytes were said of a path.
    queue: VecDeque<(SyncEvent, Option<usize>)>,
    paths: Share,
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
            let event = lock(&self.queue.events).pop();
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

    /// Ends it; `Done` still comes, but nothing more is said of single paths.
    ///
    /// # Errors
    /// The core's answer, e.g. `handle.unknown` for a sync that is over.
    pub async fn cancel(&self) -> Result<(), CallError> {
        lock(&self.queue.events).forget_paths();
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
    /// Those of a link with this backlog.
    pub(crate) fn of(backlog: Arc<Backlog>) -> Syncs {
        Syncs { backlog, ..Syncs::default() }
    }

    /// Makes a sync known. Called by the reader, before it reads its first event.
    pub(crate) fn open(self: &Arc<Self>, link: &Link, started: SyncStarted) -> Sync {
        let events = Waiting { queue: VecDeque::new(), paths: self.backlog.share() };
        let queue = Arc::new(Queue { events: Mutex::new(events), arrived: Notify::new() });
        lock(&self.open).insert(started.sync, queue.clone());
        Sync { started, link: link.clone(), syncs: self.clone(), queue, over: false }
    }

    /// Takes an event of a sync; false if it is none. One that cannot be read comes from a newer
    /// core and is ignored.
    pub(crate) fn take(&self, notification: &Notification) -> bool {
        let said = Some(notification.params.len());
        match &*notification.method {
            SyncStateEvent::NAME => {
                if let Ok(event) = notification.event::<SyncStateEvent>() {
                    self.push(event.sync, SyncEvent::State(event), None);
                }
            }
            SyncStepEvent::NAME => {
                if let Ok(event) = notification.event::<SyncStepEvent>() {
                    self.push(event.sync, SyncEvent::Step(event), said);
                }
            }
            SyncProgressEvent::NAME => {
                if let Ok(event) = notification.event::<SyncProgressEvent>() {
                    self.push(event.sync, SyncEvent::Progress(event), None);
                }
            }
            SyncConflictEvent::NAME => {
                if let Ok(event) = notification.event::<SyncConflictEvent>() {
                    self.push(event.sync, SyncEvent::Conflict(event.conflict), said);
                }
            }
            SyncRoundEvent::NAME => {
                if let Ok(event) = notification.event::<SyncRoundEvent>() {
                    self.push(event.sync, SyncEvent::Round(event.result), None);
                }
            }
            SyncDoneEvent::NAME => {
                if let Ok(event) = notification.event::<SyncDoneEvent>() {
                    self.push(event.sync, SyncEvent::Done(event.result), None);
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
            queue.push(SyncEvent::Lost(how.to_owned()), None);
        }
    }

    fn push(&self, id: SyncId, event: SyncEvent, said: Option<usize>) {
        let queue = lock(&self.open).get(&id).cloned();
        if let Some(queue) = queue {
            queue.push(event, said);
        }
    }
}

impl Waiting {
    fn forget_paths(&mut self) {
        self.paths.close();
        self.queue.retain(|(_, said)| said.is_none());
    }

    fn pop(&mut self) -> Option<SyncEvent> {
        let (event, said) = self.queue.pop_front()?;
        if let Some(said) = said {
            self.paths.taken(said);
        }
        Some(event)
    }
}

impl Queue {
    fn push(&self, event: SyncEvent, said: Option<usize>) {
        let mut waiting = lock(&self.events);
        if said.is_some_and(|said| !waiting.paths.add(said)) {
            return;
        }
        let last = waiting.queue.back().map(|(event, _)| event);
        if let (SyncEvent::Progress(_), Some(SyncEvent::Progress(_))) = (&event, last) {
            waiting.queue.pop_back();
        }
        waiting.queue.push_back((event, said));
        drop(waiting);
        self.arrived.notify_one();
    }
}
