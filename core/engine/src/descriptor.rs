//! Files and inherited descriptors as ends of streams: blocking reads and writes on a thread, and
//! writes that need not wait without one.
//!
//! They may be shared with other programs (a terminal, a pipe), so they must not be made
//! non-blocking. One thread writes for all nodes of a run; one reads, and can be told to stop.

use bssh_protocol::lock;
use bytes::{Buf, Bytes};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
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
    idle: Arc<Mutex<Option<Idle>>>,
    /// Why its thread has given up.
    why: Arc<OnceLock<Errno>>,
}

/// A writer whose thread was not needed so far.
struct Idle {
    descriptor: OwnedFd,
    work: mpsc::Receiver<Work>,
    /// Up to so many bytes a write does not block if the descriptor is ready.
    at_once: usize,
}

/// A sink takes no more (a closed pipe, a full disk), with the reason where it is known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gone(pub Option<Errno>);

impl Gone {
    /// Whoever has read from it wants no more, and has lost nothing.
    pub(crate) fn is_unread(self) -> bool {
        matches!(self, Gone(None | Some(Errno::PIPE)))
    }
}

/// What a pipe that is ready takes at once, in bytes (POSIX `PIPE_BUF`, Linux's value).
const AT_ONCE: usize = 4096;

impl Writer {
    /// Takes a descriptor. Its thread starts with the first write that might block, and ends when
    /// the last clone is dropped.
    ///
    /// A file counts as one that does not block in a core of `one` frontend, as it does in ssh:
    /// a disk that hangs holds up nobody else, and each wake-up of a thread costs more than the write.
    pub(crate) fn new(descriptor: OwnedFd, one: bool) -> Self {
        let (queue, work) = mpsc::channel(QUEUE);
        let kind = fstat(&descriptor).map(|s| FileType::from_raw_mode(s.st_mode));
        let at_once = match kind {
            Ok(FileType::RegularFile) if one => usize::MAX,
            Ok(FileType::RegularFile | FileType::Fifo) => AT_ONCE,
            Ok(FileType::CharacterDevice) if is_null(&descriptor) => usize::MAX,
            Ok(FileType::CharacterDevice) if !rustix::termios::isatty(&descriptor) => AT_ONCE,
            _ => 0,
        };
        let idle = Arc::new(Mutex::new(Some(Idle { descriptor, work, at_once })));
        Writer { queue, idle, why: Arc::default() }
    }

    /// Writes a chunk, or queues it; waits while the queue is full.
    pub(crate) async fn write(&self, mut bytes: Bytes) -> Result<(), Gone> {
        if self.write_at_once(&mut bytes)? {
            return Ok(());
        }
        self.queue.send(Work::Write(bytes)).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> Gone {
        Gone(self.why.get().copied())
    }

    /// True if the chunk was small enough and the descriptor took it; else the thread runs, for
    /// what is left of it.
    fn write_at_once(&self, bytes: &mut Bytes) -> Result<bool, Gone> {
        let mut slot = lock(&self.idle);
        let Some(idle) = slot.take() else { return Ok(false) };
        if bytes.len() <= idle.at_once && is_writable(&idle.descriptor) {
            match rustix::io::write(&idle.descriptor, bytes) {
                Ok(n) if n == bytes.len() => {
                    *slot = Some(idle);
                    return Ok(true);
                }
                Ok(n) => bytes.advance(n),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(why) => return Err(Gone(Some(why))),
            }
        }
        let Idle { descriptor, work, .. } = idle;
        let thread = std::thread::Builder::new().name("write".to_owned());
        let why = self.why.clone();
        thread.spawn(move || write_all(&descriptor, work, &why)).map_err(|_| Gone::default())?;
        Ok(false)
    }

    /// Waits until everything queued so far is written.
    pub(crate) async fn flush(&self) -> Result<(), Gone> {
        if lock(&self.idle).is_some() {
            return Ok(());
        }
        let (done, written) = oneshot::channel();
        self.queue.send(Work::Flush(done)).await.map_err(|_| self.gone())?;
        written.await.map_err(|_| self.gone())
    }
}

fn is_writable(descriptor: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(descriptor, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let n = poll(&mut ready, Some(&now));
    n.is_ok_and(|n| n > 0) && ready.iter().all(|r| r.revents() == PollFlags::OUT)
}

/// Takes whatever waits in one go: a wake-up and a system call a batch, not a chunk.
fn write_all(descriptor: &OwnedFd, mut work: mpsc::Receiver<Work>, why: &OnceLock<Errno>) {
    let mut batch = Vec::with_capacity(QUEUE);
    let mut chunks = Vec::with_capacity(QUEUE);
    while work.blocking_recv_many(&mut batch, QUEUE) > 0 {
        for next in batch.drain(..) {
            match next {
                Work::Write(bytes) => chunks.push(bytes),
                Work::Flush(done) => {
                    // Dropping the queue tells every sender.
                    let Ok(()) = write_chunks(descriptor, &mut chunks, why) else { return };
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                }
            }
        }
        let Ok(()) = write_chunks(descriptor, &mut chunks, why) else { return };
    }
}

/// Writes all of them, in order, and forgets them; if that fails, `why` is known before anybody
/// hears of it.
fn write_chunks(
    descriptor: &OwnedFd,
    chunks: &mut Vec<Bytes>,
    why: &OnceLock<Errno>,
) -> Result<(), Gone> {
    let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
    let mut rest = slices.as_mut_slice();
    // Empty ones at the front would look like a descriptor that takes nothing.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match rustix::io::writev(descriptor, rest) {
            Ok(n) => IoSlice::advance_slices(&mut rest, n),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // Somebody else made it non-blocking.
                let mut ready = [PollFd::new(descriptor, PollFlags::OUT)];
                let _ = poll(&mut ready, None);
            }
            Err(error) => return Err(Gone(Some(*why.get_or_init(|| error)))),
        }
    }
    chunks.clear();
    Ok(())
}

/// There is nothing to read from it: no thread need wait for that.
pub(crate) fn is_null(descriptor: &OwnedFd) -> bool {
    let device = |s: rustix::fs::Stat| {
        let kind = FileType::from_raw_mode(s.st_mode);
        (kind == FileType::CharacterDevice).then_some(s.st_rdev)
    };
    let (own, null) = (fstat(descriptor), rustix::fs::stat("/dev/null"));
    own.ok().and_then(device).is_some_and(|own| null.ok().and_then(device) == Some(own))
}

/// Reads from a descriptor, from when the first chunk is wanted: until then what is in it is for
/// others who share it, a question at the terminal or the next program. Dropping it stops the
/// thread, even in the middle of a wait.
pub(crate) struct Reader {
    chunks: mpsc::Receiver<Result<Bytes, Errno>>,
    /// Not sent yet: nothing was wanted so far.
    wanted: Option<oneshot::Sender<()>>,
    _stop: OwnedFd,
}

impl Reader {
    /// Starts the thread, which reads nothing yet.
    ///
    /// # Errors
    /// No pipe or thread to be had.
    pub(crate) fn new(descriptor: OwnedFd) -> std::io::Result<Self> {
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (sender, chunks) = mpsc::channel(QUEUE);
        let (wanted, begin) = oneshot::channel();
        std::thread::Builder::new().name("read".to_owned()).spawn(move || {
            if begin.blocking_recv().is_ok() {
                read_all(&descriptor, &stopped, &sender);
            }
        })?;
        Ok(Reader { chunks, wanted: Some(wanted), _stop: stop })
    }

    /// The next chunk; none at the end.
    ///
    /// # Errors
    /// The rest cannot be read, once.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Errno> {
        if let Some(wanted) = self.wanted.take() {
            // The thread waits for nothing else.
            let _ = wanted.send(());
        }
        self.chunks.recv().await.transpose()
    }
}

fn read_all(
    descriptor: &OwnedFd,
    stopped: &impl AsFd,
    chunks: &mpsc::Sender<Result<Bytes, Errno>>,
) {
    let mut buffer = Vec::with_capacity(CHUNK);
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
        match rustix::io::read(descriptor, spare_capacity(&mut buffer)) {
            Ok(0) => return,
            Ok(n) => {
                // A few bytes that wait must not hold a whole buffer.
                let chunk = if n < CHUNK / 2 {
                    let small = Bytes::copy_from_slice(&buffer);
                    buffer.clear();
                    small
                } else {
                    std::mem::replace(&mut buffer, Vec::with_capacity(CHUNK)).into()
                };
                if chunks.blocking_send(Ok(chunk)).is_err() {
                    return;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => {
                // A directory has no bytes, and a terminal that is not ours (any more) no more of
                // them: that is an end, as it is for ssh.
                if error != Errno::ISDIR && !rustix::termios::isatty(descriptor) {
                    // Whoever wanted it may have gone.
                    let _ = chunks.blocking_send(Err(error));
                }
                return;
            }
        }
    }
}
