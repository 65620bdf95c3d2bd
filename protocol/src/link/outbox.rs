//! What is to be written: one queue, one order, so a stream's end cannot overtake its bytes and
//! nothing overtakes a response.
//!
//! Fairness comes from room, not from reordering: at most [`DATA_ROOM`] stream bytes are queued,
//! and streams wait for room in turn, so a response never waits behind more than that. Small
//! frames are gathered in one buffer; large payloads are queued as they are and written with
//! `writev`.

use crate::error::{CallError, Kind};
use crate::frame::{self, Mode};
use crate::lock;
use crate::stream::{Base64Bytes, StreamData, StreamId};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, watch};

/// Stream bytes that may be queued.
const DATA_ROOM: usize = 256 << 10;
/// Bytes of requests and notifications that may be queued before their senders wait.
const CONTROL_ROOM: usize = 1 << 20;
/// With more than this queued the reader stops taking requests: the peer reads no answers.
const STALLED: usize = 8 << 20;
/// Payloads below this are copied into the shared buffer.
const COPY_BELOW: usize = 4096;
const MAX_SLICES: usize = 64;

pub(super) struct Outbox {
    queue: Mutex<Queue>,
    /// Something is queued, or the link has ended.
    filled: Notify,
    /// The writer took what was queued.
    taken: Notify,
    data_room: Semaphore,
    control_room: Semaphore,
    /// How much of what was queued is written; see [`Queue::appended`].
    written: watch::Sender<u64>,
}

#[derive(Default)]
struct Queue {
    mode: Mode,
    ended: bool,
    /// Frames queued so far.
    appended: u64,
    whole: VecDeque<Bytes>,
    gathered: BytesMut,
    bytes: usize,
    data_owed: usize,
    control_owed: usize,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            queue: Mutex::default(),
            filled: Notify::new(),
            taken: Notify::new(),
            data_room: Semaphore::new(DATA_ROOM),
            control_room: Semaphore::new(CONTROL_ROOM),
            written: watch::channel(0).0,
        }
    }
}

impl Outbox {
    /// Queues a message, waiting for room.
    pub(super) async fn control(&self, text: &[u8]) -> Result<(), CallError> {
        let owed = take(&self.control_room, text.len().min(CONTROL_ROOM)).await?;
        self.append(|queue| {
            queue.control_owed += owed;
            frame::encode_json(&mut queue.gathered, queue.mode, text);
        })
    }

    /// Queues a message now. For what is bounded otherwise: answers, credit, ends of streams.
    pub(super) fn post(&self, text: &[u8]) {
        // A dead link needs no answers.
        let _ = self.append(|queue| frame::encode_json(&mut queue.gathered, queue.mode, text));
    }

    /// Queues bytes of a stream, waiting for room.
    pub(super) async fn data(
        &self,
        stream: StreamId,
        offset: u64,
        payload: Bytes,
        binary: bool,
    ) -> Result<(), CallError> {
        let owed = take(&self.data_room, payload.len().min(DATA_ROOM)).await?;
        self.append(|queue| {
            queue.data_owed += owed;
            if binary && queue.mode == Mode::Length {
                frame::encode_data_head(&mut queue.gathered, stream, offset, payload.len());
                queue.payload(payload);
            } else {
                let data = Some(Base64Bytes(payload));
                let data = StreamData { stream, offset, data, text: None };
                if let Ok(text) = super::message::notification("stream/data", &data) {
                    frame::encode_json(&mut queue.gathered, queue.mode, &text);
                }
            }
        })
    }

    /// How the peer wants frames told apart.
    pub(super) fn set_mode(&self, mode: Mode) {
        lock(&self.queue).mode = mode;
    }

    /// Bytes queued.
    pub(super) fn queued(&self) -> usize {
        let queue = lock(&self.queue);
        queue.bytes + queue.gathered.len()
    }

    /// Waits while the peer reads nothing.
    pub(super) async fn flowing(&self) {
        while self.queued() > STALLED {
            self.taken.notified().await;
        }
    }

    /// Waits until what is queued now has been written.
    pub(super) async fn flushed(&self) -> Result<(), CallError> {
        let wanted = lock(&self.queue).appended;
        let mut written = self.written.subscribe();
        // `end` says that all is written that ever will be.
        let seen = written.wait_for(|written| *written >= wanted).await;
        match seen.is_ok_and(|written| *written < u64::MAX) {
            true => Ok(()),
            false => Err(ended()),
        }
    }

    /// Lets an idle writer say that nothing is left.
    pub(super) fn nudge(&self) {
        self.filled.notify_one();
    }

    /// Nothing can be queued any more; those who wait for room are told.
    pub(super) fn end(&self) {
        lock(&self.queue).ended = true;
        self.data_room.close();
        self.control_room.close();
        self.written.send_replace(u64::MAX);
        self.filled.notify_one();
    }

    /// Writes what is queued, for ever. A cancelled call may have written part of a frame.
    pub(super) async fn write_to(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        drained: &Notify,
    ) -> std::io::Error {
        loop {
            let (mut batch, upto) = self.take();
            if batch.is_empty() {
                drained.notify_waiters();
                self.filled.notified().await;
                continue;
            }
            let done = async {
                while !batch.is_empty() {
                    write_some(writer, &mut batch).await?;
                }
                writer.flush().await
            };
            if let Err(e) = done.await {
                return e;
            }
            self.written.send_if_modified(|written| {
                let news = *written < upto;
                *written = upto.max(*written);
                news
            });
        }
    }

    /// What is queued, and how many frames were queued up to there.
    fn take(&self) -> (VecDeque<Bytes>, u64) {
        let mut queue = lock(&self.queue);
        queue.gather();
        queue.bytes = 0;
        self.data_room.add_permits(std::mem::take(&mut queue.data_owed));
        self.control_room.add_permits(std::mem::take(&mut queue.control_owed));
        self.taken.notify_one();
        (std::mem::take(&mut queue.whole), queue.appended)
    }

    fn append(&self, add: impl FnOnce(&mut Queue)) -> Result<(), CallError> {
        let mut queue = lock(&self.queue);
        if queue.ended {
            return Err(ended());
        }
        add(&mut queue);
        queue.appended += 1;
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }
}

impl Queue {
    fn payload(&mut self, payload: Bytes) {
        if payload.len() < COPY_BELOW {
            self.gathered.extend_from_slice(&payload);
        } else {
            self.gather();
            self.bytes += payload.len();
            self.whole.push_back(payload);
        }
    }

    fn gather(&mut self) {
        if !self.gathered.is_empty() {
            self.bytes += self.gathered.len();
            self.whole.push_back(self.gathered.split().freeze());
        }
    }
}

async fn take(room: &Semaphore, n: usize) -> Result<usize, CallError> {
    let permits = room.acquire_many(u32::try_from(n).unwrap_or(u32::MAX)).await;
    permits.map_err(|_| ended())?.forget();
    Ok(n)
}

async fn write_some(
    writer: &mut (impl AsyncWrite + Unpin),
    batch: &mut VecDeque<Bytes>,
) -> std::io::Result<()> {
    let slices: Vec<IoSlice<'_>> = batch.iter().take(MAX_SLICES).map(|b| IoSlice::new(b)).collect();
    let mut written = writer.write_vectored(&slices).await?;
    drop(slices);
    if written == 0 {
        return Err(std::io::ErrorKind::WriteZero.into());
    }
    while let Some(first) = batch.front_mut() {
        let n = written.min(first.len());
        first.advance(n);
        written -= n;
        if !first.is_empty() {
            break;
        }
        batch.pop_front();
    }
    Ok(())
}

fn ended() -> CallError {
    CallError::new(Kind::Disconnected, "the link has ended")
}
