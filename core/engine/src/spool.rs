//! Output that waits for a slow reader while its connection must be read on: some in memory, the
//! rest in a file, up to its limit; beyond it the node fails with `outputOverflow`.

use crate::filed::Filed;
use bssh_ssh::ChannelEvent;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Kept in memory, in bytes.
const IN_MEMORY: usize = 1 << 20;

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
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event. Never waits.
    pub(crate) fn push(&self, event: ChannelEvent) -> Result<(), Full> {
        let mut queue = self.queue();
        let kept = match event {
            ChannelEvent::Out(bytes) if queue.in_memory + bytes.len() > IN_MEMORY => {
                queue.filed(&bytes, false)
            }
            ChannelEvent::Err(bytes) if queue.in_memory + bytes.len() > IN_MEMORY => {
                queue.filed(&bytes, true)
            }
            event => {
                queue.in_memory += size(&event);
                Some(Kept::Event(event))
            }
        };
        match kept {
            Some(kept) => queue.events.push_back(kept),
            None => {
                self.full.store(true, Relaxed);
                return Err(Full);
            }
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

    /// The next event, in order; none at the end.
    pub(crate) async fn next(&self) -> Option<ChannelEvent> {
        loop {
            let event = self.queue().pop();
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
        ChannelEvent::Out(bytes) | ChannelEvent::Err(bytes) => bytes.len(),
        _ => 0,
    }
}

impl Queue {
    fn filed(&mut self, bytes: &Bytes, stderr: bool) -> Option<Kept> {
        if self.file.is_none() {
            self.file = Filed::new().ok();
        }
        let at = self.file.as_mut()?.keep(bytes).ok()?;
        Some(Kept::Filed(at, bytes.len(), stderr))
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
