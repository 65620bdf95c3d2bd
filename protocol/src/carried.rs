//! One transfer seen from the side that asked for it, a frontend or a core that has a node pass files
//! on: the events of its nodes in one queue, in order.
//!
//! Only the last progress of a node waits in the queue, so that a slow consumer holds little.

use crate::error::CallError;
use crate::link::{Link, Notification};
use crate::methods::{
    Event, TransferCancel, TransferDoneEvent, TransferFileEvent, TransferNodeEvent,
    TransferProgressEvent,
};
use crate::transfer::{
    NodeProgress, TransferDone, TransferFile, TransferId, TransferNode, TransferProgress,
    TransferRef, TransferStarted,
};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What happened in a transfer, in order.
#[derive(Debug)]
pub enum TransferEvent {
    /// A node's state changed.
    Node(TransferNode),
    /// Nodes got on.
    Progress(Vec<NodeProgress>),
    /// What a dry run would do.
    File(TransferFile),
    /// The transfer is over. Nothing follows.
    Done(TransferDone),
    /// The core is gone, with how it ended. Nothing follows.
    Lost(String),
}

/// A transfer. Dropping it before it is done cancels it.
#[derive(Debug)]
pub struct Transfer {
    /// The answer of `transfer/start`: the transfer's nodes in order.
    pub started: TransferStarted,
    link: Link,
    transfers: Arc<Transfers>,
    queue: Arc<Queue>,
    over: bool,
}

/// The transfers of a link. Its service gives them their events, and says when the link is lost.
#[derive(Debug, Default)]
pub struct Transfers {
    open: Mutex<HashMap<TransferId, Arc<Queue>>>,
}

#[derive(Debug, Default)]
struct Queue {
    events: Mutex<VecDeque<TransferEvent>>,
    arrived: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transfer {
    /// The next event; waits for one. None after `Done` or `Lost`.
    pub async fn next(&mut self) -> Option<TransferEvent> {
        while !self.over {
            let event = lock(&self.queue.events).pop_front();
            match event {
                None => self.queue.arrived.notified().await,
                Some(event) => {
                    self.over = matches!(event, TransferEvent::Done(_) | TransferEvent::Lost(_));
                    return Some(event);
                }
            }
        }
        None
    }

    /// Looks away; it goes on as long as the link, or longer if that keeps it.
    pub fn leave(mut self) -> TransferId {
        self.over = true;
        self.started.transfer
    }

    /// Gives up what is under way; `Done` still comes.
    ///
    /// # Errors
    /// The core's answer, e.g. `handle.unknown` for a transfer that is over.
    pub async fn cancel(&self) -> Result<(), CallError> {
        let params = TransferRef { transfer: self.started.transfer };
        self.link.call::<TransferCancel>(&params).await.map(drop)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let transfer = self.started.transfer;
        let known = lock(&self.transfers.open).remove(&transfer).is_some();
        if known && !self.over {
            self.link.ask::<TransferCancel>(&TransferRef { transfer });
        }
    }
}

impl Transfers {
    /// Makes a transfer known. Called by the reader, before it reads its first event.
    pub fn open(self: &Arc<Self>, link: &Link, started: TransferStarted) -> Transfer {
        let queue = Arc::new(Queue::default());
        lock(&self.open).insert(started.transfer, queue.clone());
        Transfer { started, link: link.clone(), transfers: self.clone(), queue, over: false }
    }

    /// Takes an event of transfers; false for another one. One that this side cannot read, or of a
    /// transfer nobody follows, is dropped.
    pub fn take(&self, notification: &Notification) -> bool {
        match &*notification.method {
            TransferNodeEvent::NAME => {
                if let Ok(event) = notification.event::<TransferNodeEvent>() {
                    self.push(event.transfer, TransferEvent::Node(event));
                }
            }
            TransferProgressEvent::NAME => {
                if let Ok(event) = notification.event::<TransferProgressEvent>() {
                    self.progress(event);
                }
            }
            TransferFileEvent::NAME => {
                if let Ok(event) = notification.event::<TransferFileEvent>() {
                    self.push(event.transfer, TransferEvent::File(event));
                }
            }
            TransferDoneEvent::NAME => {
                if let Ok(event) = notification.event::<TransferDoneEvent>() {
                    self.done(event);
                }
            }
            _ => return false,
        }
        true
    }

    fn progress(&self, progress: TransferProgress) {
        let Some(queue) = lock(&self.open).get(&progress.transfer).cloned() else { return };
        let mut nodes = progress.nodes;
        let mut events = lock(&queue.events);
        if let Some(TransferEvent::Progress(waiting)) = events.back_mut() {
            waiting.retain(|old| nodes.iter().all(|new| new.index != old.index));
            waiting.append(&mut nodes);
            return;
        }
        events.push_back(TransferEvent::Progress(nodes));
        queue.arrived.notify_one();
    }

    fn done(&self, done: TransferDone) {
        let queue = lock(&self.open).remove(&done.transfer);
        if let Some(queue) = queue {
            queue.push(TransferEvent::Done(done));
        }
    }

    /// The core is gone: so are its transfers.
    pub fn lost(&self, how: &str) {
        for (_, queue) in lock(&self.open).drain() {
            queue.push(TransferEvent::Lost(how.to_owned()));
        }
    }

    fn push(&self, id: TransferId, event: TransferEvent) {
        if let Some(queue) = lock(&self.open).get(&id) {
            queue.push(event);
        }
    }
}

impl Queue {
    fn push(&self, event: TransferEvent) {
        lock(&self.events).push_back(event);
        self.arrived.notify_one();
    }
}
