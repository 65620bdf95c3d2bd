//! Output that waits for a slow reader while its connection must be read on: some in memory, the
//! rest in a file, up to its limit; beyond it the node fails with `outputOverflow`.

use crate::filed::Filed;
use bssh_protocol::lock;
use bssh_ssh::ChannelEvent;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Kept in memory, in bytes.
const IN_MEMORY: usize = 1 << 20;
/// What an event takes beside its bytes, about.
const EVENT: usize = 64;
/// Bytes of the file that are read at once, at most.
const PIECE: usize = 32 << 10;

/// A queue with one writer and one reader, both in one task.
pub(crate) struct Spool {
    queue: Mutex<Queue>,
    arrived: Notify,
    closed: AtomicBool,
    full: AtomicBool,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Kept>,
    in_memory: usize,
    file: Option<Filed>,
}

enum Kept {
    Event(ChannelEvent),
    /// Bytes in the file: offset, length, stderr.
    Filed(u64, usize, bool),
}

/// The file is full.
pub(crate) struct Full;

impl Spool {
    pub(crate) fn new() -> Self {
        Spool {
            queue: Mutex::default(),
            arrived: Notify::new(),
            closed: AtomicBool::new(false),
            full: AtomicBool::new(false),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Keeps an event. Never waits.
    pub(crate) fn push(&self, event: ChannelEvent) -> Result<(), Full> {
        let mut queue = self.queue();
        let kept = match event {
            ChannelEvent::Out(bytes) if queue.has_no_room(&bytes) => queue.file(&bytes, false),
            ChannelEvent::Err(bytes) if queue.has_no_room(&bytes) => queue.file(&bytes, true),
            event => {
                queue.in_memory += size(&event);
                queue.events.push_back(Kept::Event(event));
                Ok(())
            }
        };
        if kept.is_err() {
            self.full.store(true, Relaxed);
            return Err(Full);
        }
        self.arrived.notify_one();
        Ok(())
    }

    /// No more events will be pushed.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.arrived.notify_one();
    }

    /// Something had to be left out.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    /// The next event that is kept, in order.
    pub(crate) fn pop(&self) -> Option<ChannelEvent> {
        self.queue().pop()
    }

    /// The next event, in order; none at the end.
    pub(crate) async fn next(&self) -> Option<ChannelEvent> {
        loop {
            let event = self.pop();
            if event.is_some() {
                return event;
            }
            if self.closed.load(Relaxed) {
                return None;
            }
            self.arrived.notified().await;
        }
    }
}

fn size(event: &ChannelEvent) -> usize {
    match event {
        ChannelEvent::Out(bytes) | ChannelEvent::Err(bytes) => bytes.len() + EVENT,
        _ => EVENT,
    }
}

impl Queue {
    fn has_no_room(&self, bytes: &Bytes) -> bool {
        self.in_memory + bytes.len() + EVENT > IN_MEMORY
    }

    /// Into the file; small pieces become one.
    fn file(&mut self, bytes: &Bytes, stderr: bool) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => self.file.insert(file),
            None => self.file.insert(Filed::new()?),
        };
        let at = file.keep(bytes)?;
        match self.events.back_mut() {
            Some(Kept::Filed(_, length, to)) if *to == stderr && *length < PIECE => {
                *length += bytes.len();
            }
            _ => self.events.push_back(Kept::Filed(at, bytes.len(), stderr)),
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<ChannelEvent> {
        let event = match self.events.pop_front()? {
            Kept::Event(event) => {
                self.in_memory -= size(&event);
                event
            }
            Kept::Filed(at, length, stderr) => {
                let bytes = self.file.as_ref()?.read(at, length).ok()?;
                match stderr {
                    true => ChannelEvent::Err(bytes),
                    false => ChannelEvent::Out(bytes),
                }
            }
        };
        if self.events.is_empty() {
            self.file = None;
        }
        Some(event)
    }
}
