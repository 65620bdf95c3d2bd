//! Files and inherited descriptors as ends of streams: blocking reads and writes on a thread.
//!
//! They may be shared with other programs (a terminal, a pipe), so they must not be made
//! non-blocking. One thread writes for all nodes of a run; one reads, and can be told to stop.

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use tokio::sync::{mpsc, oneshot};

/// Chunks on their way to a descriptor; then its nodes wait.
const QUEUE: usize = 16;
/// Largest read, in bytes.
const CHUNK: usize = 64 * 1024;

enum Work {
    Write(Bytes),
    Flush(oneshot::Sender<()>),
}

/// Writes to a descriptor. Clones write to the same one, chunks whole and in order.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Work>,
}

/// The descriptor takes no more (a closed pipe, a full disk).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

impl Writer {
    /// Starts the thread. It ends when the last clone is dropped.
    ///
    /// # Errors
    /// No thread to be had.
    pub(crate) fn start(descriptor: OwnedFd) -> std::io::Result<Self> {
        let (queue, work) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("write".to_owned())
            .spawn(move || write_all(&descriptor, work))?;
        Ok(Writer { queue })
    }

    /// Queues a chunk; waits while the queue is full.
    pub(crate) async fn write(&self, bytes: Bytes) -> Result<(), Gone> {
        self.queue.send(Work::Write(bytes)).await.map_err(|_| Gone)
    }

    /// Waits until everything queued so far is written.
    pub(crate) async fn flush(&self) -> Result<(), Gone> {
        let (done, written) = oneshot::channel();
        self.queue.send(Work::Flush(done)).await.map_err(|_| Gone)?;
        written.await.map_err(|_| Gone)
    }
}

fn write_all(descriptor: &OwnedFd, mut work: mpsc::Receiver<Work>) {
    while let Some(next) = work.blocking_recv() {
        match next {
            Work::Flush(done) => {
                // Nobody may be waiting any more.
                let _ = done.send(());
            }
            Work::Write(bytes) => {
                let mut rest = bytes.as_ref();
                while !rest.is_empty() {
                    match rustix::io::write(descriptor, rest) {
                        Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => {
                            // Somebody else made it non-blocking.
                            let mut ready = [PollFd::new(descriptor, PollFlags::OUT)];
                            let _ = poll(&mut ready, None);
                        }
                        // Dropping the queue tells every sender.
                        Err(_) => return,
                    }
                }
            }
        }
    }
}

/// Reads from a descriptor. Dropping it stops the thread, even in the middle of a wait.
pub(crate) struct Reader {
    chunks: mpsc::Receiver<Bytes>,
    _stop: OwnedFd,
}

impl Reader {
    /// Starts the thread.
    ///
    /// # Errors
    /// No pipe or thread to be had.
    pub(crate) fn start(descriptor: OwnedFd) -> std::io::Result<Self> {
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (sender, chunks) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("read".to_owned())
            .spawn(move || read_all(&descriptor, &stopped, &sender))?;
        Ok(Reader { chunks, _stop: stop })
    }

    /// The next chunk; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.chunks.recv().await
    }
}

fn read_all(descriptor: &OwnedFd, stopped: &impl AsFd, chunks: &mpsc::Sender<Bytes>) {
    let mut buffer = vec![0_u8; CHUNK];
    loop {
        let mut ready =
            [PollFd::new(descriptor, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if ready.last().is_some_and(|stop| !stop.revents().is_empty()) {
            return;
        }
        match rustix::io::read(descriptor, &mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                let chunk = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
                if chunks.blocking_send(chunk).is_err() {
                    return;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}
