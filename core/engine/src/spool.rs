//! Output that waits for a slow reader while its connection must be read on: some in memory, the
//! rest in an unlinked file, up to a limit.

use bssh_ssh::ChannelEvent;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Kept in memory, in bytes.
const IN_MEMORY: usize = 1 << 20;
/// Kept in the file, in bytes; beyond it the node fails with `outputOverflow`.
const IN_FILE: u64 = 256 << 20;

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
    file: Option<File>,
    written: u64,
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
            self.file = tempfile::tempfile().ok();
        }
        let at = self.written;
        let fits = at + bytes.len() as u64 <= IN_FILE;
        self.file.as_mut().filter(|_| fits)?.write_all(bytes).ok()?;
        self.written += bytes.len() as u64;
        Some(Kept::Filed(at, bytes.len(), stderr))
    }

    fn pop(&mut self) -> Option<ChannelEvent> {
        let event = match self.events.pop_front()? {
            Kept::Event(event) => {
                self.in_memory -= size(&event);
                event
            }
            Kept::Filed(at, length, stderr) => {
                let mut buffer = vec![0; length];
                self.file.as_ref()?.read_exact_at(&mut buffer, at).ok()?;
                match stderr {
                    true => ChannelEvent::Err(buffer.into()),
                    false => ChannelEvent::Out(buffer.into()),
                }
            }
        };
        if self.events.is_empty() {
            self.written = 0;
            self.file = None;
        }
        Some(event)
    }
}
