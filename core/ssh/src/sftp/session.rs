//! The conversation: requests out, replies in, in any order.
//!
//! One task reads the channel to its end, whatever its users do, so that it never stalls its
//! connection; what it reads is bounded by what was asked for. Requests leave through a bounded
//! queue (full: the requester waits), small ones together.

use super::SftpError;
use super::packet::{Assembler, Packet, Request, kind};
use crate::channel::{Channel, ChannelEvent, ChannelWriter};
use crate::locking::lock;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

/// Requests that may wait to be sent.
const QUEUE: usize = 16;
/// Requests up to this size leave together, in messages up to [`JOINED`].
const SMALL: usize = 2048;
const JOINED: usize = 16 * 1024;

/// Bytes from the server.
pub(super) trait Incoming: Send + 'static {
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// Bytes to the server.
pub(super) trait Outgoing: Send + 'static {
    /// False when nothing can be sent any more.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = bool> + Send;
}

impl Incoming for Channel {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match Channel::next(self).await? {
                ChannelEvent::Out(bytes) => return Some(bytes),
                ChannelEvent::Eof => return None,
                // A login shell that talks, or the server's own log.
                _ => {}
            }
        }
    }
}

impl Outgoing for ChannelWriter {
    async fn send(&mut self, bytes: Bytes) -> bool {
        self.write(bytes).await.is_ok()
    }
}

/// An open conversation; dropping it ends it.
pub(super) struct Session {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Bytes>,
    next: AtomicU32,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Handles nobody needs any more are waiting to be closed.
    unneeded: Notify,
}

#[derive(Default)]
struct State {
    /// Who waits for which reply. None: a reply that is of no interest.
    pending: HashMap<u32, Option<oneshot::Sender<Packet>>>,
    handles: Vec<Bytes>,
    ended: Option<SftpError>,
    /// Pieces that have come from the server.
    heard: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn end(&self, error: SftpError) {
        let mut state = self.state();
        state.ended.get_or_insert(error);
        // Their senders drop, and who waits learns from `ended`.
        state.pending.clear();
        state.handles.clear();
    }
}

impl Session {
    /// Starts talking, and returns the server's first packet. Ours is on its way.
    pub(super) async fn start(
        mut incoming: impl Incoming,
        outgoing: impl Outgoing,
    ) -> Result<(Session, Packet), SftpError> {
        let lost = || SftpError::Lost("the server ended the file transfer".to_owned());
        let mut assembler = Assembler::default();
        let hello = loop {
            if let Some(packet) = assembler.next()? {
                break packet;
            }
            assembler.push(incoming.next().await.ok_or_else(lost)?);
        };
        let shared = Arc::new(Shared::default());
        let (queue, requests) = mpsc::channel(QUEUE);
        let mut task = JoinSet::new();
        let (reading, writing) = (shared.clone(), shared.clone());
        task.spawn(async move {
            let error = tokio::select! {
                error = read(incoming, assembler, &reading) => error,
                () = write(outgoing, requests, &writing) => SftpError::Lost("the channel is closed".to_owned()),
            };
            reading.end(error);
        });
        Ok((Session { shared, queue, next: AtomicU32::new(1), _task: task }, hello))
    }

    /// Sends a request and waits for its reply.
    pub(super) async fn ask(&self, seal: impl FnOnce(u32) -> Bytes) -> Result<Packet, SftpError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if let Some(ended) = &state.ended {
                return Err(ended.clone());
            }
            state.pending.insert(id, Some(sender));
        }
        let mut asking = Asking { shared: &self.shared, id, sent: false };
        if self.queue.send(seal(id)).await.is_err() {
            return Err(self.why());
        }
        asking.sent = true;
        reply.await.map_err(|_| self.why())
    }

    /// Closes a handle some time soon; nobody waits for that.
    pub(super) fn forget(&self, handle: Bytes) {
        let mut state = self.shared.state();
        if state.ended.is_none() {
            state.handles.push(handle);
            self.shared.unneeded.notify_one();
        }
    }

    /// Ends the conversation for everybody who uses it.
    pub(super) fn fail(&self, error: SftpError) {
        self.shared.end(error);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.shared.state().ended.is_some()
    }

    /// A number that changes with everything that comes from the server; none while nobody waits
    /// for anything.
    pub(super) fn pulse(&self) -> Option<u64> {
        let state = self.shared.state();
        let waits = state.pending.values().any(Option::is_some);
        waits.then_some(state.heard)
    }

    fn why(&self) -> SftpError {
        let ended = self.shared.state().ended.clone();
        ended.unwrap_or_else(|| SftpError::Lost("the channel is closed".to_owned()))
    }
}

/// Forgets a request that was never sent; a reply to one that was is taken and dropped.
struct Asking<'a> {
    shared: &'a Shared,
    id: u32,
    sent: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.sent {
            self.shared.state().pending.remove(&self.id);
        }
    }
}

async fn read(mut incoming: impl Incoming, mut assembler: Assembler, shared: &Shared) -> SftpError {
    loop {
        loop {
            match assembler.next() {
                Ok(None) => break,
                Ok(Some(packet)) => {
                    if let Err(error) = deliver(packet, shared) {
                        return error;
                    }
                }
                Err(broken) => return broken.into(),
            }
        }
        match incoming.next().await {
            Some(bytes) => {
                shared.state().heard += 1;
                assembler.push(bytes);
            }
            None => return SftpError::Lost("the server ended the file transfer".to_owned()),
        }
    }
}

fn deliver(packet: Packet, shared: &Shared) -> Result<(), SftpError> {
    let waiting = shared.state().pending.remove(&packet.id);
    let Some(waiting) = waiting else {
        return Err(SftpError::Broken(format!("a reply to no request ({})", packet.id)));
    };
    let unwanted = match waiting {
        Some(sender) => sender.send(packet).err(),
        None => None,
    };
    // Whoever asked for this handle has gone.
    if let Some(packet) = unwanted.filter(|p| p.kind == kind::HANDLE)
        && let Ok(handle) = packet.fields().string()
    {
        shared.state().handles.push(handle);
        shared.unneeded.notify_one();
    }
    Ok(())
}

async fn write(mut outgoing: impl Outgoing, mut requests: mpsc::Receiver<Bytes>, shared: &Shared) {
    // Ids of our own closes: far from those of requests.
    let mut close_id = u32::MAX / 2;
    loop {
        let first = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => request,
                None => return,
            },
            () = shared.unneeded.notified() => {
                let mut bytes = BytesMut::new();
                let mut state = shared.state();
                for handle in std::mem::take(&mut state.handles) {
                    close_id = close_id.wrapping_add(1) | 1 << 31;
                    state.pending.insert(close_id, None);
                    let close = Request::new(kind::CLOSE, handle.len()).string(&handle);
                    bytes.extend_from_slice(&close.sealed(close_id));
                }
                bytes.freeze()
            }
        };
        let mut out = first;
        if out.len() <= SMALL {
            let mut joined: Option<BytesMut> = None;
            while joined.as_ref().map_or(out.len(), BytesMut::len) < JOINED {
                let Ok(next) = requests.try_recv() else { break };
                let all = joined.get_or_insert_with(|| BytesMut::from(out.as_ref()));
                let large = next.len() > SMALL;
                if large {
                    // Sent by itself: copying it would cost more than a packet.
                    let small = std::mem::take(all).freeze();
                    joined = None;
                    if !outgoing.send(small).await {
                        return;
                    }
                    out = next;
                    break;
                }
                all.extend_from_slice(&next);
            }
            if let Some(all) = joined {
                out = all.freeze();
            }
        }
        if !out.is_empty() && !outgoing.send(out).await {
            return;
        }
    }
}
