//! One transfer seen from the side that asked for it, a frontend or a core that has a node pass files
//! on: the events of its nodes in one queue, in order.
//!
//! Only the last progress of a node waits in the queue, and what is said of files is part of the
//! link's [`Backlog`], so that a slow consumer holds little. A core that is not our own and says
//! more of nodes than it may has lost the transfer.

use crate::backlog::{Backlog, Share};
use crate::error::CallError;
use crate::link::{Link, Notification};
use crate::lock;
use crate::methods::{
    Event, TransferCancel, TransferDoneEvent, TransferFileEvent, TransferNodeEvent,
    TransferProgressEvent,
};
use crate::transfer::{
    NodeProgress, TransferDone, TransferFile, TransferId, TransferNode, TransferProgress,
    TransferRef, TransferStarted,
};
use crate::waiting::Words;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
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
    strict: bool,
    backlog: Arc<Backlog>,
    open: Mutex<HashMap<TransferId, Arc<Queue>>>,
}

/// Whether an event was one of transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is of something else.
    Another,
    /// It waits for its transfer's follower, or is of no concern.
    Yes,
    /// The core says more than it may; the transfer is lost.
    TooMuch,
}

#[derive(Debug)]
struct Queue {
    nodes: usize,
    events: Mutex<Waiting>,
    arrived: Notify,
}

/// What was not taken yet.
#[derive(Debug)]
struct Waiting {
    queue: VecDeque<Queued>,
    /// None: our own core's.
    words: Option<Words>,
    /// What is said of files.
    files: Share,
    progress: BTreeMap<u32, NodeProgress>,
}

#[derive(Debug)]
enum Queued {
    /// With how many bytes were said.
    Event(Box<TransferEvent>, usize),
    /// The same.
    File(TransferFile, usize),
    /// All progress that waits.
    Progress,
}

/// What may wait of what is said about a transfer besides that for each of its nodes, in bytes: a
/// frame, which may be all faults of one.
const SAID: usize = crate::frame::MAX_FRAME as usize;

impl Transfer {
    /// The next event; waits for one. None after `Done` or `Lost`.
    pub async fn next(&mut self) -> Option<TransferEvent> {
        while !self.over {
            let event = lock(&self.queue.events).pop();
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

    /// Gives up what is under way; `Done` still comes, but nothing more is said of files.
    ///
    /// # Errors
    /// The core's answer, e.g. `handle.unknown` for a transfer that is over.
    pub async fn cancel(&self) -> Result<(), CallError> {
        lock(&self.queue.events).forget_files();
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
    /// Those of a core that is not our own: what it says of nodes is bounded.
    pub fn strict() -> Transfers {
        Transfers { strict: true, ..Transfers::default() }
    }

    /// Those of a link with this backlog.
    pub fn of(backlog: Arc<Backlog>) -> Transfers {
        Transfers { backlog, ..Transfers::default() }
    }

    /// Makes a transfer known. Called by the reader, before it reads its first event.
    pub fn open(self: &Arc<Self>, link: &Link, started: TransferStarted) -> Transfer {
        let nodes = started.nodes.len();
        let words = self.strict.then(|| Words::new(SAID, nodes));
        let events = Mutex::new(Waiting {
            queue: VecDeque::new(),
            words,
            files: self.backlog.share(),
            progress: BTreeMap::new(),
        });
        let queue = Arc::new(Queue { nodes, events, arrived: Notify::new() });
        lock(&self.open).insert(started.transfer, queue.clone());
        Transfer { started, link: link.clone(), transfers: self.clone(), queue, over: false }
    }

    /// Takes an event of transfers. One that this side cannot read, or of a transfer nobody
    /// follows, is dropped.
    pub fn take(&self, notification: &Notification) -> Taken {
        let said = notification.params.len();
        let fits = match &*notification.method {
            TransferNodeEvent::NAME => match notification.event::<TransferNodeEvent>() {
                Ok(event) => self.node(event, said),
                Err(_) => true,
            },
            TransferProgressEvent::NAME => {
                if let Ok(event) = notification.event::<TransferProgressEvent>() {
                    self.progress(event);
                }
                true
            }
            TransferFileEvent::NAME => {
                if let Ok(event) = notification.event::<TransferFileEvent>()
                    && let Some(queue) = lock(&self.open).get(&event.transfer)
                {
                    queue.file(event, said);
                }
                true
            }
            TransferDoneEvent::NAME => {
                if let Ok(event) = notification.event::<TransferDoneEvent>() {
                    self.done(event);
                }
                true
            }
            _ => return Taken::Another,
        };
        if fits { Taken::Yes } else { Taken::TooMuch }
    }

    /// False: it is more than may wait.
    fn node(&self, event: TransferNode, said: usize) -> bool {
        let mut open = lock(&self.open);
        let id = event.transfer;
        let Some(queue) = open.get(&id) else { return true };
        let fits = lock(&queue.events).words.as_mut().is_none_or(|words| words.add(said));
        if fits {
            queue.push(TransferEvent::Node(event), said);
        } else if let Some(queue) = open.remove(&id) {
            let how = "more was said of its nodes than may be".to_owned();
            queue.push(TransferEvent::Lost(how), 0);
        }
        fits
    }

    fn progress(&self, progress: TransferProgress) {
        let Some(queue) = lock(&self.open).get(&progress.transfer).cloned() else { return };
        let mut waiting = lock(&queue.events);
        let waits = !waiting.progress.is_empty();
        let known = progress.nodes.into_iter().filter(|node| (node.index as usize) < queue.nodes);
        waiting.progress.extend(known.map(|node| (node.index, node)));
        if !waits && !waiting.progress.is_empty() {
            waiting.queue.push_back(Queued::Progress);
            queue.arrived.notify_one();
        }
    }

    fn done(&self, done: TransferDone) {
        let queue = lock(&self.open).remove(&done.transfer);
        if let Some(queue) = queue {
            queue.push(TransferEvent::Done(done), 0);
        }
    }

    /// The core is gone: so are its transfers.
    pub fn lost(&self, how: &str) {
        for (_, queue) in lock(&self.open).drain() {
            queue.push(TransferEvent::Lost(how.to_owned()), 0);
        }
    }
}

impl Waiting {
    fn forget_files(&mut self) {
        self.files.close();
        self.queue.retain(|queued| !matches!(queued, Queued::File(..)));
    }

    fn pop(&mut self) -> Option<TransferEvent> {
        match self.queue.pop_front()? {
            Queued::Event(event, said) => {
                if let Some(words) = &mut self.words {
                    words.taken(said);
                }
                Some(*event)
            }
            Queued::File(file, said) => {
                self.files.taken(said);
                Some(TransferEvent::File(file))
            }
            Queued::Progress => {
                let nodes = std::mem::take(&mut self.progress).into_values().collect();
                Some(TransferEvent::Progress(nodes))
            }
        }
    }
}

impl Queue {
    fn file(&self, file: TransferFile, said: usize) {
        let mut waiting = lock(&self.events);
        if waiting.files.add(said) {
            waiting.queue.push_back(Queued::File(file, said));
            self.arrived.notify_one();
        }
    }

    fn push(&self, event: TransferEvent, said: usize) {
        lock(&self.events).queue.push_back(Queued::Event(Box::new(event), said));
        self.arrived.notify_one();
    }
}
