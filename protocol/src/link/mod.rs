//! One peer of the conversation, the same code on both sides: calls, notifications, streams.
//!
//! ```no_run
//! # use bssh_protocol::link::*; use bssh_protocol::{exec, methods};
//! struct Frontend;
//! impl Service for Frontend {
//!     fn request(&self, _: &Link, request: Request) -> Answering {
//!         Box::pin(async move { Reply::unknown_method(&request) })
//!     }
//!     fn notification(&self, _: &Link, notification: Notification) {
//!         if &*notification.method == "exec/done" { /* notification.event::<ExecDoneEvent>() */ }
//!     }
//! }
//! # async fn example(socket: tokio::net::UnixStream) -> Result<(), Box<dyn std::error::Error>> {
//! let (read, write) = socket.into_split();
//! let (link, task) = Link::start(read, write, Frontend, Options::frontend());
//! let ended = tokio::spawn(task); // dropping the task ends the link
//! let started = link.call::<methods::ExecStart>(&exec::ExecParams::default()).await?;
//! let mut stdin = link.sender(started.stdin.unwrap_or(0), 65536);
//! stdin.write("hello\n".into()).await?; // waits for credit
//! stdin.finish().await?;
//! link.close(); // writes what is queued, then ends
//! # ended.await?; Ok(()) }
//! ```
//!
//! Rules: requests reach the [`Service`] in arrival order and never block the reader; responses
//! and cancellations are handled by the reader itself; everything a side queues leaves in one
//! order, so a response precedes what [`Reply::then`] sends, and a notification sent after
//! [`StreamSender::finish`] follows the stream's end. Bounds: 1024 unanswered requests, or
//! 64 MiB of them, then `busy`; 256 KiB of stream bytes and 1 MiB of notifications queued, then senders wait in turn.
//! Neighbours: [`crate::frame`] below, [`crate::registry`] for the core's methods above.

mod message;
mod outbox;
mod streams;
mod task;

pub use message::{Answering, Notification, Reply, Request};
pub use streams::{StreamItem, StreamReceiver, StreamSender, StreamTarget};
pub use task::{LinkEnd, LinkTask};

use crate::error::{CallError, Kind};
use crate::frame::{self, Limits};
use crate::handshake::CancelParams;
use crate::lock;
use crate::methods::{CancelEvent, Event, LinkErrorEvent, Method};
use crate::stream::StreamId;
use bytes::Bytes;
use outbox::Outbox;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use streams::Streams;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};

/// What a side offers its peer.
pub trait Service: Send + Sync + 'static {
    /// A request, in arrival order. Called by the reader: it must only make the future, which the
    /// link then drives; dropping it (the peer cancelled, the link ended) is the cancellation.
    fn request(&self, link: &Link, request: Request) -> Answering;
    /// A notification, in arrival order. Called by the reader: it must not block.
    fn notification(&self, link: &Link, notification: Notification);
    /// Resolves once more may be read. While it waits, nothing of the link is.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// Which side of the conversation we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Request ids are strings: `"c1"`.
    Core,
    /// Request ids are integers.
    Frontend,
}

/// How a link behaves.
#[derive(Debug, Clone)]
pub struct Options {
    pub role: Role,
    /// Largest JSON body taken, in bytes.
    pub max_frame: u64,
    /// Largest data payload sent, in bytes.
    pub max_data: u64,
    /// What may arrive on a stream before its receiver exists, in bytes; 0: none is waited for.
    pub early_window: u64,
    /// Unanswered requests of the peer before `busy`.
    pub max_requests: usize,
    /// Bytes of parameters that may be unanswered besides the last request, before `busy`.
    pub max_request_bytes: usize,
    /// How long running handlers may take once the peer has stopped sending.
    pub grace: Duration,
}

impl Options {
    /// The core's side, with the defaults of the protocol.
    pub fn core() -> Self {
        Options {
            role: Role::Core,
            max_frame: frame::MAX_FRAME,
            max_data: frame::MAX_DATA,
            early_window: crate::stream::WINDOW,
            max_requests: 1024,
            max_request_bytes: 4 * frame::MAX_FRAME as usize,
            grace: Duration::from_secs(2),
        }
    }
    /// A frontend's side, with the defaults of the protocol.
    pub fn frontend() -> Self {
        Options { role: Role::Frontend, ..Options::core() }
    }
}

/// A link's end point. Clones are cheap and are the same link.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("role", &self.shared.options.role).finish_non_exhaustive()
    }
}

/// With more than this queued, in bytes, what may be missed is left out.
const REMARKS_ROOM: usize = 1 << 20;

/// What happens with the answer of a call.
type Waiter = Box<dyn FnOnce(Result<Bytes, CallError>) + Send>;

struct Shared {
    options: Options,
    outbox: Outbox,
    streams: Streams,
    calls: Mutex<HashMap<u64, Waiter>>,
    next_call: AtomicU64,
    next_stream: AtomicU32,
    /// `close()` was called.
    closing: Notify,
    /// The peer said it takes data frames.
    binary: AtomicBool,
    max_data: AtomicU64,
    ended: AtomicBool,
}

impl Link {
    /// Makes a link. The task must be driven (awaited, selected on or spawned) for anything to
    /// happen; it resolves with why the link ended.
    pub fn start(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        service: impl Service,
        options: Options,
    ) -> (Link, LinkTask) {
        let limits = Limits { max_frame: options.max_frame };
        let shared = Arc::new(Shared {
            outbox: Outbox::default(),
            streams: Streams::new(options.early_window),
            calls: Mutex::default(),
            next_call: AtomicU64::new(1),
            next_stream: AtomicU32::new(1),
            closing: Notify::new(),
            binary: AtomicBool::new(false),
            max_data: AtomicU64::new(options.max_data),
            ended: AtomicBool::new(false),
            options,
        });
        let link = Link { shared };
        let task = LinkTask::new(link.clone(), reader, writer, service, limits);
        (link, task)
    }

    /// Calls the peer. Dropping the future cancels the request there.
    ///
    /// # Errors
    /// The peer's error; `disconnected` when the link ends first; `json.internal` when the answer
    /// has another shape than the method's.
    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Result, CallError> {
        self.call_then::<M, _>(params, |result| result).await
    }

    /// As [`Link::call`]; `seen` gets the answer before the next message is read, so that what
    /// the answer names is known when that message names it. It runs in the reader: it must not
    /// block.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn call_then<M: Method, T: Send + 'static>(
        &self,
        params: &M::Params,
        seen: impl FnOnce(M::Result) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let id = self.shared.next_call.fetch_add(1, Relaxed);
        let text = message::request(&self.call_id(id).to_string(), M::NAME, params)?;
        let (answer, answered) = oneshot::channel();
        let waiter: Waiter = Box::new(move |outcome| {
            let result = outcome.and_then(|body| read_result::<M>(&body)).map(seen);
            // The caller may be gone.
            let _ = answer.send(result);
        });
        lock(&self.shared.calls).insert(id, waiter);
        let mut waiting = Waiting { link: self, id, sent: false };
        self.shared.outbox.control(&text).await?;
        waiting.sent = true;
        answered.await.unwrap_or_else(|_| Err(self.shared.lost()))
    }

    /// Sends a request whose answer nobody waits for.
    pub fn ask<M: Method>(&self, params: &M::Params) {
        let id = self.shared.next_call.fetch_add(1, Relaxed);
        if let Ok(text) = message::request(&self.call_id(id).to_string(), M::NAME, params) {
            self.shared.outbox.post(&text);
        }
    }

    /// Sends a notification; waits while too many bytes of them are queued.
    ///
    /// # Errors
    /// `disconnected` when the link has ended.
    pub async fn notify<E: Event>(&self, params: &E::Params) -> Result<(), CallError> {
        let text = message::notification(E::NAME, params)?;
        self.shared.outbox.control(&text).await
    }

    /// Sends a notification without waiting; false if the peer reads too slowly, and it was left
    /// out. For what may be missed, such as remarks.
    pub fn try_notify<E: Event>(&self, params: &E::Params) -> bool {
        let room = self.shared.outbox.queued() < REMARKS_ROOM;
        if room {
            self.post::<E>(params);
        }
        room
    }

    /// Waits until what was sent so far has left this process: the peer can read it then whatever
    /// becomes of us.
    ///
    /// # Errors
    /// `disconnected` when the link has ended.
    pub async fn flushed(&self) -> Result<(), CallError> {
        self.shared.outbox.flushed().await
    }

    /// Says what the peer announced in `initialize`: whether it takes data frames, and the
    /// largest payload it takes.
    pub fn peer_takes(&self, binary_frames: bool, max_data: u64) {
        self.shared.binary.store(binary_frames, Relaxed);
        let max_data = max_data.clamp(1, frame::MAX_DATA_CEILING);
        self.shared.max_data.store(max_data.min(self.shared.options.max_data), Relaxed);
    }

    /// Mints a stream and opens its sending end (core side). `window` is the first credit, which
    /// both sides must know.
    pub fn new_sender(&self, window: u64) -> StreamSender {
        self.sender(self.new_stream_id(), window)
    }

    /// Mints a stream id, for a stream the peer will send on (core side).
    pub fn new_stream_id(&self) -> StreamId {
        self.shared.next_stream.fetch_add(1, Relaxed)
    }

    /// Opens the sending end of a stream the peer minted (a frontend's stdin).
    pub fn sender(&self, id: StreamId, window: u64) -> StreamSender {
        StreamSender::open(self.clone(), id, window)
    }

    /// Opens the receiving end of a stream. What arrived earlier is delivered first.
    pub fn receiver(&self, id: StreamId, window: u64) -> StreamReceiver {
        StreamReceiver::open(self.clone(), id, window)
    }

    /// Lets a target take what arrives on a stream, without a task per stream: many streams may
    /// share one target, told apart by `tag`. The target owes a [`Link::consumed`] for the bytes.
    pub fn receive_into(&self, id: StreamId, window: u64, tag: u64, target: Arc<dyn StreamTarget>) {
        self.shared.streams.receive(id, window, tag, target);
        if self.has_ended() {
            self.shared.streams.fail(&self.shared.lost());
        }
    }

    /// Bytes of a stream were taken by their consumer: grants more once half the window is free.
    pub fn consumed(&self, id: StreamId, bytes: usize) {
        if let Some(limit) = self.shared.streams.consumed(id, bytes) {
            let grant = crate::stream::StreamGrant { stream: id, limit };
            self.post::<crate::methods::StreamGrantEvent>(&grant);
        }
    }

    /// Stops taking a stream: the peer is told to stop sending, what is on the way is dropped.
    pub fn refuse(&self, id: StreamId, error: CallError) {
        if self.shared.streams.refuse(id) {
            let reset = crate::stream::StreamReset { stream: id, error };
            self.post::<crate::methods::StreamResetEvent>(&reset);
        }
    }

    /// Ends the link once everything queued so far is written.
    pub fn close(&self) {
        self.shared.closing.notify_one();
    }

    /// Both are the same link.
    pub fn is(&self, other: &Link) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// The link is over: nothing can be sent any more.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Relaxed)
    }

    /// Streams open in either direction, and stream bytes queued or undelivered.
    pub fn load(&self) -> (usize, usize) {
        (self.shared.streams.open(), self.shared.outbox.queued())
    }

    /// Reports what has no answer.
    fn complain(&self, error: CallError, about: Option<String>) {
        self.post::<LinkErrorEvent>(&crate::handshake::LinkError { error, about });
    }

    /// Queues a small notification without waiting; on a dead link it is dropped. For what is
    /// bounded otherwise, such as the end of something.
    pub fn post<E: Event>(&self, params: &E::Params) {
        if let Ok(text) = message::notification(E::NAME, params) {
            self.shared.outbox.post(&text);
        }
    }

    fn call_id(&self, id: u64) -> serde_json::Value {
        match self.shared.options.role {
            Role::Core => format!("c{id}").into(),
            Role::Frontend => id.into(),
        }
    }
}

fn read_result<M: Method>(body: &Bytes) -> Result<M::Result, CallError> {
    serde_json::from_slice(body).map_err(|e| {
        let place = format!("line {} column {}", e.line(), e.column());
        CallError::new(Kind::Internal, format!("cannot read the answer to {}: {place}", M::NAME))
    })
}

impl Shared {
    /// Nobody will answer any more: the callers are told.
    fn forget_calls(&self) {
        let calls = std::mem::take(&mut *lock(&self.calls));
        drop(calls);
    }

    fn lost(&self) -> CallError {
        let peer = match self.options.role {
            Role::Core => "frontend",
            Role::Frontend => "core",
        };
        CallError::new(Kind::Disconnected, format!("the link to the {peer} has ended"))
    }
}

/// Cancels its request when it is dropped unanswered.
struct Waiting<'a> {
    link: &'a Link,
    id: u64,
    sent: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let unanswered = lock(&self.link.shared.calls).remove(&self.id).is_some();
        if unanswered && self.sent && !self.link.has_ended() {
            self.link.post::<CancelEvent>(&CancelParams { id: self.link.call_id(self.id) });
        }
    }
}
