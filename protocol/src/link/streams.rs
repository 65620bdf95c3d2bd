//! Streams of a link: credit on the sending side, windows on the receiving side.
//!
//! Credit is absolute: a sender keeps `sent <= limit`, a receiver raises the limit when half of
//! its window was consumed. Every sending end finishes with exactly one `stream/end` or
//! `stream/reset`, also after the peer has refused the stream; that is when the receiving side
//! forgets it.

use super::Link;
use crate::error::{CallError, Kind};
use crate::lock;
use crate::methods::{StreamEndEvent, StreamResetEvent};
use crate::stream::{StreamEnd, StreamId, StreamReset};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Streams without a receiver that may hold bytes.
const MAX_EARLY: usize = 64;
/// How many sending ends are remembered after they finished, so that a late refusal of one is
/// not taken for news of another stream.
const REMEMBERED: usize = 256;

/// What arrives on a stream. `End` and `Reset` come once, and nothing after them.
#[derive(Debug, Clone)]
pub enum StreamItem {
    Data(Bytes),
    End,
    Reset(CallError),
}

/// Takes what arrives on the streams it was given to.
pub trait StreamTarget: Send + Sync {
    /// Called by the reader, in arrival order, with the link's streams locked: it must only store
    /// the item and wake someone, and not call the link.
    fn deliver(&self, tag: u64, item: StreamItem);
}

/// All streams of a link.
pub(super) struct Streams {
    early_window: u64,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    incoming: HashMap<StreamId, Incoming>,
    outgoing: HashMap<StreamId, Arc<Credit>>,
    finished: VecDeque<StreamId>,
    early: usize,
}

struct Incoming {
    window: u64,
    received: u64,
    consumed: u64,
    limit: u64,
    /// The sender has finished; kept only while early items wait for their receiver.
    ended: bool,
    place: Place,
}

enum Place {
    /// No receiver yet.
    Early(Vec<StreamItem>),
    Target(Arc<dyn StreamTarget>, u64),
    /// Refused: dropped until the sender acknowledges.
    Refused,
}

/// A sending end's permission.
#[derive(Default)]
struct Credit {
    limit: AtomicU64,
    refused: Mutex<Option<CallError>>,
    changed: Notify,
}

impl Streams {
    pub(super) fn new(early_window: u64) -> Self {
        Streams { early_window, open: Mutex::default() }
    }

    pub(super) fn open(&self) -> usize {
        let open = lock(&self.open);
        open.incoming.len() + open.outgoing.len()
    }

    pub(super) fn receive(
        &self,
        id: StreamId,
        window: u64,
        tag: u64,
        target: Arc<dyn StreamTarget>,
    ) {
        let mut open = lock(&self.open);
        let open = &mut *open;
        let stream = open.incoming.entry(id).or_insert_with(|| Incoming::new(window));
        stream.window = window;
        // What the sender knows: the window, not what was borne without a receiver.
        stream.limit = stream.received.max(stream.consumed + window);
        if let Place::Early(items) = &mut stream.place {
            if !items.is_empty() {
                open.early -= 1;
            }
            for item in items.drain(..) {
                target.deliver(tag, item);
            }
        }
        stream.place = Place::Target(target, tag);
        if stream.ended {
            open.incoming.remove(&id);
        }
    }

    /// Bytes arrived. Err: the stream is to be refused with this.
    pub(super) fn data(&self, id: StreamId, offset: u64, bytes: Bytes) -> Result<(), CallError> {
        // No bytes need no credit, and would be no news.
        if bytes.is_empty() {
            return Ok(());
        }
        let mut open = lock(&self.open);
        let open = &mut *open;
        let stream = open.incoming.entry(id).or_insert_with(|| Incoming::new(self.early_window));
        if matches!(stream.place, Place::Refused) || stream.ended {
            return Ok(());
        }
        let end = offset.saturating_add(bytes.len() as u64);
        let wrong = match &stream.place {
            _ if offset != stream.received => {
                let expected = stream.received;
                Some(format!("stream {id}: offset {offset} where {expected} was expected"))
            }
            _ if end > stream.limit => {
                let limit = stream.limit;
                Some(format!("stream {id}: {end} bytes sent, {limit} granted"))
            }
            Place::Early(items) if items.is_empty() && open.early >= MAX_EARLY => {
                Some(format!("stream {id} is not known here"))
            }
            _ => None,
        };
        if let Some(text) = wrong {
            let error = CallError::new(Kind::WindowViolation, text);
            stream.refuse(Some(error.clone()), &mut open.early);
            // Whoever keeps to no credit may not end it either: nothing is kept of it.
            open.incoming.remove(&id);
            return Err(error);
        }
        stream.received = end;
        stream.deliver(StreamItem::Data(bytes), &mut open.early);
        Ok(())
    }

    /// The sender has finished, or given up.
    pub(super) fn finish(&self, id: StreamId, item: StreamItem) {
        let mut open = lock(&self.open);
        let open = &mut *open;
        let stream = open.incoming.entry(id).or_insert_with(|| Incoming::new(self.early_window));
        if stream.ended {
            return;
        }
        let keep = matches!(&stream.place, Place::Early(_))
            && self.early_window > 0
            && open.early < MAX_EARLY;
        stream.deliver(item, &mut open.early);
        stream.ended = true;
        if !keep {
            open.forget(id);
        }
    }

    /// The peer grants more.
    pub(super) fn grant(&self, id: StreamId, limit: u64) {
        if let Some(credit) = lock(&self.open).outgoing.get(&id) {
            credit.limit.fetch_max(limit, Relaxed);
            credit.changed.notify_one();
        }
    }

    /// The peer refuses or aborts a stream.
    pub(super) fn reset(&self, id: StreamId, error: CallError) {
        let open = lock(&self.open);
        match open.outgoing.get(&id) {
            Some(credit) => credit.refuse(error),
            None if open.finished.contains(&id) => {}
            None => {
                drop(open);
                self.finish(id, StreamItem::Reset(error));
            }
        }
    }

    pub(super) fn consumed(&self, id: StreamId, bytes: usize) -> Option<u64> {
        let mut open = lock(&self.open);
        let stream = open.incoming.get_mut(&id)?;
        stream.consumed += bytes as u64;
        let due = stream.limit.saturating_sub(stream.consumed) <= stream.window / 2;
        if !due || !matches!(stream.place, Place::Target(..)) {
            return None;
        }
        stream.limit = stream.consumed + stream.window;
        Some(stream.limit)
    }

    /// False: there is nothing to refuse.
    pub(super) fn refuse(&self, id: StreamId) -> bool {
        let mut open = lock(&self.open);
        let open = &mut *open;
        let Some(stream) = open.incoming.get_mut(&id) else { return false };
        let news = !matches!(stream.place, Place::Refused);
        stream.refuse(None, &mut open.early);
        news
    }

    /// The link has ended: every stream with it.
    pub(super) fn fail(&self, error: &CallError) {
        let mut open = lock(&self.open);
        let open = &mut *open;
        for (_, mut stream) in open.incoming.drain() {
            stream.refuse(Some(error.clone()), &mut open.early);
        }
        open.early = 0;
        for (_, credit) in open.outgoing.drain() {
            credit.refuse(error.clone());
        }
    }
}

impl Open {
    fn forget(&mut self, id: StreamId) {
        if let Some(Incoming { place: Place::Early(items), .. }) = self.incoming.remove(&id)
            && !items.is_empty()
        {
            self.early = self.early.saturating_sub(1);
        }
    }
}

impl Incoming {
    fn new(window: u64) -> Self {
        let place = Place::Early(Vec::new());
        Incoming { window, received: 0, consumed: 0, limit: window, ended: false, place }
    }

    fn deliver(&mut self, item: StreamItem, early: &mut usize) {
        match &mut self.place {
            Place::Target(target, tag) => target.deliver(*tag, item),
            Place::Early(items) => {
                *early += usize::from(items.is_empty());
                items.push(item);
            }
            Place::Refused => {}
        }
    }

    fn refuse(&mut self, tell: Option<CallError>, early: &mut usize) {
        match std::mem::replace(&mut self.place, Place::Refused) {
            Place::Target(target, tag) => {
                if let Some(error) = tell {
                    target.deliver(tag, StreamItem::Reset(error));
                }
            }
            Place::Early(items) if !items.is_empty() => *early = early.saturating_sub(1),
            Place::Early(_) | Place::Refused => {}
        }
    }
}

impl Credit {
    fn refuse(&self, error: CallError) {
        lock(&self.refused).get_or_insert(error);
        self.changed.notify_one();
    }
}

/// The sending end of a stream. Dropping it unfinished resets the stream.
pub struct StreamSender {
    link: Link,
    id: StreamId,
    credit: Arc<Credit>,
    sent: u64,
    finished: bool,
}

impl StreamSender {
    pub(super) fn open(link: Link, id: StreamId, window: u64) -> Self {
        let credit = Arc::new(Credit { limit: AtomicU64::new(window), ..Credit::default() });
        lock(&link.shared.streams.open).outgoing.insert(id, credit.clone());
        if link.has_ended() {
            credit.refuse(link.shared.lost());
        }
        StreamSender { link, id, credit, sent: 0, finished: false }
    }

    /// The stream's number, for the message that tells the peer about it.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends bytes: waits for credit, and for room in the link's queue.
    ///
    /// # Errors
    /// The peer's reason when it refused the stream; `disconnected` when the link has ended.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), CallError> {
        while !bytes.is_empty() {
            let credit = self.credit().await?;
            let most = credit.min(self.link.shared.max_data.load(Relaxed));
            let n = bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX));
            let binary = self.link.shared.binary.load(Relaxed);
            let offset = self.sent;
            let piece = bytes.split_to(n);
            self.link.shared.outbox.data(self.id, offset, piece, binary).await?;
            self.sent += n as u64;
        }
        Ok(())
    }

    /// Waits until something may be sent: the credit left, in bytes, never 0.
    ///
    /// # Errors
    /// As [`StreamSender::write`].
    pub async fn credit(&self) -> Result<u64, CallError> {
        loop {
            if let Some(error) = lock(&self.credit.refused).clone() {
                return Err(error);
            }
            let left = self.credit.limit.load(Relaxed).saturating_sub(self.sent);
            if left > 0 {
                return Ok(left);
            }
            self.credit.changed.notified().await;
        }
    }

    /// Returns once nothing more is taken: the peer has refused the stream, or the link has ended.
    pub async fn refused(&self) -> CallError {
        loop {
            if let Some(error) = lock(&self.credit.refused).clone() {
                return error;
            }
            self.credit.changed.notified().await;
        }
    }

    /// Ends the stream. When this returns, the end is queued behind all bytes, so whatever is
    /// sent next follows it.
    ///
    /// # Errors
    /// As [`StreamSender::write`].
    #[allow(clippy::unused_async)] // the queue may have to be waited for one day
    pub async fn finish(mut self) -> Result<(), CallError> {
        if let Some(error) = lock(&self.credit.refused).clone() {
            return Err(error); // dropping answers with a reset
        }
        self.finished = true;
        self.link.post::<StreamEndEvent>(&StreamEnd { stream: self.id, bytes: self.sent });
        if self.link.has_ended() { Err(self.link.shared.lost()) } else { Ok(()) }
    }

    /// Aborts the stream: what the peer has not consumed is discarded.
    pub fn reset(mut self, error: CallError) {
        self.finished = true;
        self.link.post::<StreamResetEvent>(&StreamReset { stream: self.id, error });
    }
}

impl Drop for StreamSender {
    fn drop(&mut self) {
        let mut open = lock(&self.link.shared.streams.open);
        open.outgoing.remove(&self.id);
        open.finished.push_back(self.id);
        if open.finished.len() > REMEMBERED {
            open.finished.pop_front();
        }
        drop(open);
        if !self.finished {
            let error = CallError::new(Kind::CancelledByCaller, "the sender went away");
            self.link.post::<StreamResetEvent>(&StreamReset { stream: self.id, error });
        }
    }
}

impl std::fmt::Debug for StreamSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamSender({}, {} bytes sent)", self.id, self.sent)
    }
}

/// The receiving end of a stream, for one consumer. Dropping it refuses the rest.
pub struct StreamReceiver {
    link: Link,
    id: StreamId,
    inbox: Arc<Inbox>,
    done: bool,
}

#[derive(Default)]
struct Inbox {
    items: Mutex<VecDeque<StreamItem>>,
    arrived: Notify,
}

impl StreamTarget for Inbox {
    fn deliver(&self, _: u64, item: StreamItem) {
        lock(&self.items).push_back(item);
        self.arrived.notify_one();
    }
}

impl StreamReceiver {
    pub(super) fn open(link: Link, id: StreamId, window: u64) -> Self {
        let inbox = Arc::new(Inbox::default());
        link.receive_into(id, window, 0, inbox.clone());
        StreamReceiver { link, id, inbox, done: false }
    }

    /// Its link is over: a reset is then not the sender's.
    pub fn has_lost_its_link(&self) -> bool {
        self.link.has_ended()
    }

    /// The next bytes; None at the end of the stream. Taking them gives the sender credit.
    pub async fn next(&mut self) -> Option<Result<Bytes, CallError>> {
        while !self.done {
            let item = lock(&self.inbox.items).pop_front();
            match item {
                None => self.inbox.arrived.notified().await,
                Some(StreamItem::Data(bytes)) => {
                    self.link.consumed(self.id, bytes.len());
                    return Some(Ok(bytes));
                }
                Some(StreamItem::End) => self.done = true,
                Some(StreamItem::Reset(error)) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Drop for StreamReceiver {
    fn drop(&mut self) {
        if !self.done {
            let error = CallError::new(Kind::CancelledByCaller, "the receiver went away");
            self.link.refuse(self.id, error);
        }
    }
}
