//! The engine of a link: one reader, one writer, the handlers at work. All of it lives in one
//! future, so dropping that future ends everything that belongs to the link.

use super::message::{self, Answering, Incoming, Reply};
use super::{Link, Role, Service, StreamItem};
use crate::error::{CallError, Kind};
use crate::frame::{Bad, Decoder, Frame, Limits, Why};
use crate::handshake::CancelParams;
use crate::lock;
use crate::methods::{
    CancelEvent, Event, LinkErrorEvent, StreamDataEvent, StreamEndEvent, StreamGrantEvent,
    StreamResetEvent,
};
use crate::params;
use crate::stream::{StreamData, StreamEnd, StreamGrant, StreamReset};
use bytes::Bytes;
use futures_util::future::{AbortHandle, Abortable, BoxFuture, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// Why a link ended.
#[derive(Debug)]
pub enum LinkEnd {
    /// The peer closed its side.
    Eof,
    /// [`Link::close`] was called, and everything queued was written.
    Closed,
    /// Reading or writing failed.
    Io(std::io::Error),
}

/// A link at work. Await it, or spawn it and keep the handle; dropping it ends the link: calls
/// fail, streams are reset, handlers are dropped.
#[must_use = "nothing happens on the link unless its task is driven"]
pub struct LinkTask(BoxFuture<'static, LinkEnd>);

impl Future for LinkTask {
    type Output = LinkEnd;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LinkEnd> {
        self.0.as_mut().poll(cx)
    }
}

impl LinkTask {
    pub(super) fn new(
        link: Link,
        reader: impl AsyncRead + Send + Unpin + 'static,
        mut writer: impl AsyncWrite + Send + Unpin + 'static,
        service: impl Service,
        limits: Limits,
    ) -> Self {
        let ending = Ending(link.clone());
        LinkTask(Box::pin(async move {
            let drained = Arc::new(Notify::new());
            let end = {
                let write = pin!(link.shared.outbox.write_to(&mut writer, &drained));
                let read = pin!(converse(&link, &service, reader, Decoder::new(limits)));
                match select(write, read).await {
                    Either::Left((error, read)) => {
                        // What the peer wrote before it stopped reading still counts.
                        link.shared.outbox.end();
                        let _ = tokio::time::timeout(link.shared.options.grace, read).await;
                        LinkEnd::Io(error)
                    }
                    Either::Right((end, write)) => {
                        flush(&link, &drained, write).await.map_or(end, LinkEnd::Io)
                    }
                }
            };
            drop(ending);
            // The peer sees the end even if the task's owner keeps the other half open.
            let _ = writer.shutdown().await;
            end
        }))
    }
}

/// Tells everyone who waits on the link that it is over.
struct Ending(Link);

impl Drop for Ending {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        shared.ended.store(true, Relaxed);
        shared.outbox.end();
        shared.forget_calls();
        shared.streams.fail(&shared.lost());
    }
}

/// Writes what is queued, within the grace time: a peer that reads nothing is not waited for.
async fn flush(
    link: &Link,
    drained: &Notify,
    write: Pin<&mut impl Future<Output = std::io::Error>>,
) -> Option<std::io::Error> {
    let quiet = drained.notified();
    // Wakes the writer, which says so when nothing is left.
    link.shared.outbox.nudge();
    let wait = pin!(tokio::time::timeout(link.shared.options.grace, quiet));
    match select(write, wait).await {
        Either::Left((error, _)) => Some(error),
        Either::Right(_) => None,
    }
}

/// The handlers at work, by the [`name_of`] their request's id.
struct Work {
    running: FuturesUnordered<BoxFuture<'static, Done>>,
    by_id: HashMap<Box<str>, (AbortHandle, usize)>,
    /// Bytes of what they were asked with, which each may hold until its answer.
    bytes: usize,
}

enum Done {
    Answered(Box<str>, Option<Reply>),
    /// What a reply's `then` did.
    Then,
}

async fn converse(
    link: &Link,
    service: &impl Service,
    mut reader: impl AsyncRead + Unpin,
    mut decoder: Decoder,
) -> LinkEnd {
    let mut work = Work { running: FuturesUnordered::new(), by_id: HashMap::new(), bytes: 0 };
    let end = loop {
        tokio::select! {
            Some(done) = work.running.next() => work.finish(link, done),
            () = link.shared.closing.notified() => return LinkEnd::Closed,
            read = read(link, service, &mut reader, &mut decoder) => match read {
                Ok(0) => break LinkEnd::Eof,
                Ok(_) => {
                    let mut next = decoder.next_frame();
                    // The first frame tells how the peer wants its answers, complaints included.
                    link.shared.outbox.set_mode(decoder.mode());
                    while let Some(frame) = next {
                        work.take(link, service, frame);
                        next = decoder.next_frame();
                    }
                }
                Err(error) => break LinkEnd::Io(error),
            },
        }
    };
    // Nobody will answer our calls any more, but what was asked may still be answered.
    link.shared.forget_calls();
    link.shared.streams.fail(&link.shared.lost());
    let finish = async {
        while let Some(done) = work.running.next().await {
            work.finish(link, done);
        }
    };
    // Handlers that take longer are dropped.
    let _ = tokio::time::timeout(link.shared.options.grace, finish).await;
    end
}

async fn read(
    link: &Link,
    service: &impl Service,
    reader: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
) -> std::io::Result<usize> {
    link.shared.outbox.flowing().await;
    service.ready().await;
    reader.read_buf(decoder.buffer()).await
}

impl Work {
    fn take(&mut self, link: &Link, service: &impl Service, frame: Frame) {
        match frame {
            Frame::Data { stream, offset, payload } => data(link, stream, offset, payload),
            Frame::Json(body) => match message::read(&body) {
                Incoming::Request(request) => self.start(link, service, request),
                Incoming::Response { id, outcome } => answered(link, &id, outcome),
                Incoming::Invalid(Some(id), error) => refuse(link, &id, &error),
                Incoming::Invalid(None, error) => link.complain(error, None),
                Incoming::Notification(notification) => {
                    if let Err(error) = self.notified(link, service, notification) {
                        link.complain(error.1, Some(error.0.into()));
                    }
                }
            },
            Frame::Bad(Bad { why, id }) => {
                let kind = match why {
                    Why::Garbage => Kind::ParseError,
                    Why::Batch | Why::NotAMessage | Why::TooLarge => Kind::InvalidRequest,
                };
                let error = CallError::new(kind, why.text());
                match id {
                    Some(id) => refuse(link, &id, &error),
                    None => link.complain(error, None),
                }
            }
        }
    }

    fn start(&mut self, link: &Link, service: &impl Service, request: super::Request) {
        let options = &link.shared.options;
        if self.by_id.len() >= options.max_requests || self.bytes > options.max_request_bytes {
            let (n, bytes) = (self.by_id.len(), self.bytes);
            let text = format!("{n} requests of {bytes} bytes are unanswered already");
            return refuse(link, &request.id, &CallError::new(Kind::Busy, text));
        }
        let (id, name) = (request.id.clone(), name_of(&request.id));
        if self.by_id.contains_key(&name) {
            let text = "a request with this id is unanswered";
            return refuse(link, &id, &CallError::new(Kind::InvalidRequest, text).at("id"));
        }
        let bytes = request.params.len();
        let handler: Answering = service.request(link, request);
        let (abort, registration) = AbortHandle::new_pair();
        self.by_id.insert(name, (abort, bytes));
        self.bytes += bytes;
        let handler = Abortable::new(handler, registration);
        self.running.push(Box::pin(async move { Done::Answered(id, handler.await.ok()) }));
    }

    fn finish(&mut self, link: &Link, done: Done) {
        let Done::Answered(id, reply) = done else { return };
        self.bytes -= self.by_id.remove(&name_of(&id)).map_or(0, |(_, bytes)| bytes);
        let cancelled = || CallError::new(Kind::CancelledByCaller, "cancelled by the caller");
        let (text, then) = reply.unwrap_or_else(|| Reply::new(Err::<(), _>(cancelled()))).text(&id);
        link.shared.outbox.post(&text);
        if let Some(then) = then {
            self.running.push(Box::pin(async move {
                then.await;
                Done::Then
            }));
        }
    }

    fn notified(
        &mut self,
        link: &Link,
        service: &impl Service,
        notification: super::Notification,
    ) -> Result<(), (&'static str, CallError)> {
        let streams = &link.shared.streams;
        let body = &notification.params;
        match &*notification.method {
            CancelEvent::NAME => {
                let cancel: CancelParams = named(CancelEvent::NAME, body)?;
                if let Some((handler, _)) = self.by_id.get(&*cancel.id.to_string()) {
                    handler.abort();
                }
            }
            StreamGrantEvent::NAME => {
                let grant: StreamGrant = named(StreamGrantEvent::NAME, body)?;
                streams.grant(grant.stream, grant.limit);
            }
            StreamEndEvent::NAME => {
                let end: StreamEnd = named(StreamEndEvent::NAME, body)?;
                streams.finish(end.stream, StreamItem::End);
            }
            StreamResetEvent::NAME => {
                let reset: StreamReset = named(StreamResetEvent::NAME, body)?;
                streams.reset(reset.stream, reset.error);
            }
            StreamDataEvent::NAME => {
                let sent: StreamData = named(StreamDataEvent::NAME, body)?;
                let text = sent.text.map(Bytes::from);
                let bytes = sent.data.map(|data| data.0).or(text).unwrap_or_default();
                data(link, sent.stream, sent.offset, bytes);
            }
            // Answering an error with an error would never end.
            LinkErrorEvent::NAME if link.shared.options.role == Role::Core => {}
            _ => service.notification(link, notification),
        }
        Ok(())
    }
}

/// An id in the one way that `$/cancelRequest` gives it: a string may be written in several.
fn name_of(id: &str) -> Box<str> {
    let read = || serde_json::from_str::<serde_json::Value>(id).ok();
    match id.contains('\\').then(read).flatten() {
        Some(id) => id.to_string().into(),
        None => id.into(),
    }
}

fn named<T: DeserializeOwned + schemars::JsonSchema>(
    name: &'static str,
    body: &Bytes,
) -> Result<T, (&'static str, CallError)> {
    params::read(body, false).map_err(|error| (name, error))
}

fn data(link: &Link, stream: u32, offset: u64, payload: Bytes) {
    if let Err(error) = link.shared.streams.data(stream, offset, payload) {
        link.post::<StreamResetEvent>(&StreamReset { stream, error });
    }
}

fn answered(link: &Link, id: &str, outcome: Result<Bytes, CallError>) {
    let number = match link.shared.options.role {
        Role::Core => id.strip_prefix("\"c").and_then(|rest| rest.strip_suffix('"')),
        Role::Frontend => Some(id),
    };
    let number = number.and_then(|n| n.parse::<u64>().ok());
    // An answer nobody waits for: the call was cancelled, or the peer is confused. Both harmless.
    let Some(waiting) = number.and_then(|n| lock(&link.shared.calls).remove(&n)) else { return };
    waiting(outcome);
}

fn refuse(link: &Link, id: &str, error: &CallError) {
    link.shared.outbox.post(&message::error_response(id, error));
}
