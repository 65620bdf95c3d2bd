//! What is typed, byte for byte, by a thread of its own that can be told to stop.
//!
//! At most [`TYPED`] pieces wait; then the thread waits, and so does whoever writes.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::sync::mpsc;

/// Typed bytes on their way: a person is slow, a pipe waits.
const TYPED: usize = 16;
const CHUNK: usize = 16 * 1024;

/// Stdin, read with poll(2). Dropping it ends the thread.
pub struct Stdin {
    typed: mpsc::Receiver<Result<Vec<u8>, Errno>>,
    broken: Option<Errno>,
    /// Closing it wakes the thread.
    _stop: OwnedFd,
}

impl Stdin {
    /// Starts the thread.
    ///
    /// # Errors
    /// No pipe or thread to be had.
    pub fn open() -> io::Result<Stdin> {
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (sender, typed) = mpsc::channel(TYPED);
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            if let Err(error) = read(&stopped, &sender) {
                // Whoever wanted it may have gone.
                let _ = sender.blocking_send(Err(error));
            }
        })?;
        Ok(Stdin { typed, broken: None, _stop: stop })
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        match self.typed.recv().await? {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.broken = Some(error);
                None
            }
        }
    }

    /// Why its end is not that of what there was to read: a disk or a peer has failed. (A terminal
    /// that is not ours any more, and a directory, have no more bytes.)
    pub fn broken(&self) -> Option<io::Error> {
        self.broken.map(io::Error::from)
    }
}

fn read(stopped: &impl AsFd, typed: &mpsc::Sender<Result<Vec<u8>, Errno>>) -> Result<(), Errno> {
    let stdin = io::stdin();
    loop {
        let mut ready = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if ready.last().is_some_and(|stop| !stop.revents().is_empty()) {
            return Ok(());
        }
        let mut buffer = vec![0_u8; CHUNK];
        match rustix::io::read(stdin.as_fd(), &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => buffer.truncate(n),
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(Errno::ISDIR) => return Ok(()),
            Err(_) if rustix::termios::isatty(&stdin) => return Ok(()),
            Err(error) => return Err(error),
        }
        if typed.blocking_send(Ok(buffer)).is_err() {
            return Ok(());
        }
    }
}
