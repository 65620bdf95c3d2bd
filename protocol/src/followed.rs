//! What goes on in a core and is followed to its end by the side that asked for it, a transfer or a
//! sync: its events in one queue, in the order they arrived.
//!
//! Only the last progress waits in the queue, and what is said of files is part of the link's
//! [`Backlog`], so that a slow consumer holds little. A core that is not our own and says more of
//! nodes than it may has lost what it was about.

use crate::backlog::{Backlog, Share};
use crate::error::CallError;
use crate::link::{Link, Notification};
use crate::lock;
use crate::methods::Method;
use crate::waiting::Words;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// One kind of what is followed.
pub trait Course: Sized + 'static {
    /// The answer to the call that started it.
    type Started;
    type Event;
    /// How far it has got, as far as nobody has asked.
    type Progress;
    /// Gives it up.
    type Cancel: Method;

    /// Its number.
    fn id(started: &Self::Started) -> u64;
    /// How many nodes it is about.
    fn nodes(started: &Self::Started) -> usize;
    fn cancelling(id: u64) -> <Self::Cancel as Method>::Params;
    fn progress(progress: Self::Progress) -> Self::Event;
    /// The core is gone, with how it ended.
    fn lost(how: String) -> Self::Event;
    /// Nothing follows it.
    fn is_last(event: &Self::Event) -> bool;
    /// Takes an event of this kind. One that this side cannot read, or of something that nobody
    /// follows, is dropped.
    fn take(all: &Courses<Self>, notification: &Notification) -> Taken;
}

/// Something under way. Dropping it before it is done cancels it.
pub struct Followed<C: Course> {
    /// The answer to the call that started it.
    pub started: C::Started,
    link: Link,
    all: Arc<Courses<C>>,
    queue: Arc<Queue<C>>,
    over: bool,
}

/// Everything of one kind on a link. Its service gives them their events, and says when the link
/// is lost.
pub struct Courses<C: Course> {
    strict: bool,
    backlog: Arc<Backlog>,
    open: Mutex<HashMap<u64, Arc<Queue<C>>>>,
}

/// Whether an event was one of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is of something else.
    Another,
    /// It waits for its follower, or is of no concern.
    Yes,
    /// The core says more than it may; what it was about is lost.
    TooMuch,
}

struct Queue<C: Course> {
    nodes: usize,
    waiting: Mutex<Waiting<C>>,
    arrived: Notify,
}

/// What was not taken yet.
struct Waiting<C: Course> {
    queue: VecDeque<Queued<C::Event>>,
    /// None: our own core's.
    words: Option<Words>,
    files: Share,
    progress: Option<C::Progress>,
}

enum Queued<E> {
    /// With how many bytes were said.
    Event(Box<E>, usize),
    /// The same.
    File(Box<E>, usize),
    /// All progress that waits.
    Progress,
}

/// What may wait of what is said about one of them besides that for each of its nodes, in bytes: a
/// frame, which may be all faults of one.
const SAID: usize = crate::frame::MAX_FRAME as usize;

impl<C: Course> Followed<C> {
    /// The next event; waits for one. None after the last.
    pub async fn next(&mut self) -> Option<C::Event> {
        while !self.over {
            let event = lock(&self.queue.waiting).pop();
            match event {
                None => self.queue.arrived.notified().await,
                Some(event) => {
                    self.over = C::is_last(&event);
                    return Some(event);
                }
            }
        }
        None
    }

    /// Looks away; it goes on as long as the link, or longer if that keeps it.
    pub fn leave(mut self) -> u64 {
        self.over = true;
        C::id(&self.started)
    }

    /// Gives it up; its end still comes, but nothing more is said of files.
    ///
    /// # Errors
    /// The core's answer, e.g. `handle.unknown` for what is over.
    pub async fn cancel(&self) -> Result<(), CallError> {
        lock(&self.queue.waiting).forget_files();
        self.link.call::<C::Cancel>(&C::cancelling(C::id(&self.started))).await.map(drop)
    }
}

impl<C: Course> Drop for Followed<C> {
    fn drop(&mut self) {
        let id = C::id(&self.started);
        let known = lock(&self.all.open).remove(&id).is_some();
        if known && !self.over {
            self.link.ask::<C::Cancel>(&C::cancelling(id));
        }
    }
}

impl<C: Course> Courses<C> {
    /// Those of a core that is not our own: what it says of nodes is bounded.
    pub fn strict() -> Self {
        Courses { strict: true, ..Courses::of(Arc::default()) }
    }

    /// Those of a link with this backlog.
    pub fn of(backlog: Arc<Backlog>) -> Self {
        Courses { strict: false, backlog, open: Mutex::default() }
    }

    /// Makes one known. Called by the reader, before it reads its first event.
    pub fn open(self: &Arc<Self>, link: &Link, started: C::Started) -> Followed<C> {
        let nodes = C::nodes(&started);
        let waiting = Mutex::new(Waiting {
            queue: VecDeque::new(),
            words: self.strict.then(|| Words::new(SAID, nodes)),
            files: self.backlog.share(),
            progress: None,
        });
        let queue = Arc::new(Queue { nodes, waiting, arrived: Notify::new() });
        lock(&self.open).insert(C::id(&started), queue.clone());
        Followed { started, link: link.clone(), all: self.clone(), queue, over: false }
    }

    /// Takes an event, if it is of this kind.
    pub fn take(&self, notification: &Notification) -> Taken {
        C::take(self, notification)
    }

    /// So many bytes were said of its nodes.
    pub fn node(&self, id: u64, event: C::Event, said: usize) -> Taken {
        let mut open = lock(&self.open);
        let Some(queue) = open.get(&id) else { return Taken::Yes };
        if lock(&queue.waiting).words.as_mut().is_none_or(|words| words.add(said)) {
            queue.push(Queued::Event(Box::new(event), said));
            return Taken::Yes;
        }
        if let Some(queue) = open.remove(&id) {
            let how = "more was said of its nodes than may be".to_owned();
            queue.push(Queued::Event(Box::new(C::lost(how)), 0));
        }
        Taken::TooMuch
    }

    /// So many bytes were said of a file.
    pub fn file(&self, id: u64, event: C::Event, said: usize) -> Taken {
        if let Some(queue) = self.queue(id)
            && lock(&queue.waiting).files.add(said)
        {
            queue.push(Queued::File(Box::new(event), said));
        }
        Taken::Yes
    }

    /// It got on: `add` adds to the progress that waits, and knows how many nodes there are.
    pub fn got_on(&self, id: u64, add: impl FnOnce(&mut Option<C::Progress>, usize)) -> Taken {
        if let Some(queue) = self.queue(id) {
            let mut waiting = lock(&queue.waiting);
            let waits = waiting.progress.is_some();
            add(&mut waiting.progress, queue.nodes);
            let news = !waits && waiting.progress.is_some();
            drop(waiting);
            if news {
                queue.push(Queued::Progress);
            }
        }
        Taken::Yes
    }

    /// The last event has come.
    pub fn done(&self, id: u64, event: C::Event) -> Taken {
        let queue = lock(&self.open).remove(&id);
        if let Some(queue) = queue {
            queue.push(Queued::Event(Box::new(event), 0));
        }
        Taken::Yes
    }

    /// The core is gone: so are they.
    pub fn lost(&self, how: &str) {
        for (_, queue) in lock(&self.open).drain() {
            queue.push(Queued::Event(Box::new(C::lost(how.to_owned())), 0));
        }
    }

    fn queue(&self, id: u64) -> Option<Arc<Queue<C>>> {
        lock(&self.open).get(&id).cloned()
    }
}

impl<C: Course> Waiting<C> {
    fn forget_files(&mut self) {
        self.files.close();
        self.queue.retain(|queued| !matches!(queued, Queued::File(..)));
    }

    fn pop(&mut self) -> Option<C::Event> {
        match self.queue.pop_front()? {
            Queued::Event(event, said) => {
                if let Some(words) = &mut self.words {
                    words.taken(said);
                }
                Some(*event)
            }
            Queued::File(event, said) => {
                self.files.taken(said);
                Some(*event)
            }
            Queued::Progress => self.progress.take().map(C::progress),
        }
    }
}

impl<C: Course> Queue<C> {
    fn push(&self, queued: Queued<C::Event>) {
        lock(&self.waiting).queue.push_back(queued);
        self.arrived.notify_one();
    }
}

impl<C: Course<Started: std::fmt::Debug>> std::fmt::Debug for Followed<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Followed").field("started", &self.started).finish_non_exhaustive()
    }
}
