//! Everything that goes to stdout and stderr, in order, through one buffer.
//!
//! Views append; [`Screen::flush`] hands the buffer on when no more events are ready. Small
//! writes that cannot block are done at once; others on a thread of their own, so that a reader
//! that pauses (`| less`) never keeps Ctrl-C from being heard. While the thread is busy a second
//! buffer fills; when that one is full too, [`Screen::is_full`] tells the caller to take no more
//! events, and the nodes are slowed down by credit.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use tokio::sync::mpsc;

/// Where bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Out,
    Err,
}

/// The buffer before stdout and stderr.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    batch: Batch,
    /// An empty buffer to use again.
    spare: Option<Batch>,
    pump: Option<Pump>,
    busy: bool,
    /// A progress line stands on the terminal and must be wiped before anything else.
    progress: bool,
}

/// Bytes, and where each part of them goes.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each part begins.
    parts: Vec<(To, usize)>,
}

#[derive(Debug)]
struct Pump {
    work: mpsc::Sender<Batch>,
    done: mpsc::Receiver<(Batch, Result<(), Errno>)>,
}

/// What a buffer may grow to before no more events are taken.
const FULL: usize = 256 << 10;
/// A pipe that is ready takes at least this much without blocking (`PIPE_BUF`).
const ATOMIC: usize = 4096;

impl Screen {
    /// The buffer, to append bytes for `to`.
    pub(crate) fn to(&mut self, to: To) -> &mut Vec<u8> {
        if std::mem::take(&mut self.progress) {
            self.batch.part(To::Err).extend_from_slice(WIPE);
        }
        self.batch.part(to)
    }

    /// Appends a line for people.
    pub(crate) fn say(&mut self, line: &str) {
        let err = self.to(To::Err);
        err.extend_from_slice(line.as_bytes());
        err.push(b'\n');
    }

    /// Replaces the progress line (empty: removes it).
    pub(crate) fn progress(&mut self, line: &str) {
        if self.progress || !line.is_empty() {
            let err = self.to(To::Err);
            err.extend_from_slice(line.as_bytes());
            self.progress = !line.is_empty();
        }
    }

    /// Take no more events for now.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.bytes.len() >= FULL
    }

    /// The thread is writing: wait for [`Screen::written`].
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Hands the buffer on.
    ///
    /// # Errors
    /// stdout cannot be written to; `EPIPE`: whoever reads it has gone.
    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        if self.busy || self.batch.bytes.is_empty() {
            return Ok(());
        }
        if self.batch.is_immediate() {
            let result = self.batch.write();
            self.batch.clear();
            return result;
        }
        let batch = std::mem::replace(&mut self.batch, self.spare.take().unwrap_or_default());
        self.busy = true;
        self.pump.get_or_insert_with(pump).work.try_send(batch).map_err(|_| Errno::IO)
    }

    /// Waits until the thread has written what it was given. Safe to drop and call again.
    ///
    /// # Errors
    /// As [`Screen::flush`].
    pub(crate) async fn written(&mut self) -> Result<(), Errno> {
        let Some(pump) = self.pump.as_mut().filter(|_| self.busy) else { return Ok(()) };
        let Some((mut batch, result)) = pump.done.recv().await else { return Err(Errno::IO) };
        self.busy = false;
        batch.clear();
        self.spare = Some(batch);
        result
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// As [`Screen::flush`].
    pub(crate) async fn drain(&mut self) -> Result<(), Errno> {
        self.progress("");
        self.written().await?;
        self.flush()?;
        self.written().await
    }

    #[cfg(test)]
    pub(crate) fn text(&self, to: To) -> String {
        let parts = self.batch.slices().filter(|(t, _)| *t == to).map(|(_, b)| b);
        String::from_utf8_lossy(&parts.collect::<Vec<_>>().concat()).into_owned()
    }
}

/// Back to the line's start, and empty it.
const WIPE: &[u8] = b"\r\x1b[K";

impl Batch {
    fn part(&mut self, to: To) -> &mut Vec<u8> {
        if self.parts.last().is_none_or(|(last, _)| *last != to) {
            self.parts.push((to, self.bytes.len()));
        }
        &mut self.bytes
    }

    fn slices(&self) -> impl Iterator<Item = (To, &[u8])> {
        let ends = self.parts.iter().skip(1).map(|p| p.1).chain([self.bytes.len()]);
        let parts = self.parts.iter().zip(ends);
        parts.map(|((to, start), end)| (*to, self.bytes.get(*start..end).unwrap_or_default()))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
        // One enormous event must not stay for ever.
        self.bytes.shrink_to(2 * FULL);
    }

    /// Writing it cannot block.
    fn is_immediate(&self) -> bool {
        self.bytes.len() <= ATOMIC && self.parts.iter().all(|(to, _)| is_ready(to.fd()))
    }

    fn write(&self) -> Result<(), Errno> {
        for (to, bytes) in self.slices() {
            let result = bssh_term::write_all(to.fd(), bytes);
            // Nobody can be told that stderr is closed.
            if to == To::Out {
                result?;
            }
        }
        Ok(())
    }
}

impl To {
    fn fd(self) -> BorrowedFd<'static> {
        match self {
            To::Out => rustix::stdio::stdout(),
            To::Err => rustix::stdio::stderr(),
        }
    }
}

/// Starts the writing thread. It ends when its sender is dropped, or with the process.
fn pump() -> Pump {
    let (work, mut todo) = mpsc::channel::<Batch>(1);
    let (report, done) = mpsc::channel(1);
    std::thread::spawn(move || {
        while let Some(batch) = todo.blocking_recv() {
            let result = batch.write();
            if report.blocking_send((batch, result)).is_err() {
                return;
            }
        }
    });
    Pump { work, done }
}

fn is_ready(fd: impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_order_and_progress_is_wiped() {
        let mut screen = Screen::default();
        screen.to(To::Out).extend_from_slice(b"one\n");
        screen.progress("1/2");
        screen.progress("2/2");
        screen.to(To::Out).extend_from_slice(b"two\n");
        screen.progress("");
        let got: Vec<_> =
            screen.batch.slices().map(|(to, b)| (to, String::from_utf8_lossy(b))).collect();
        assert_eq!(
            got,
            [
                (To::Out, "one\n".into()),
                (To::Err, "1/2\r\x1b[K2/2\r\x1b[K".into()),
                (To::Out, "two\n".into()),
            ]
        );
    }
}
