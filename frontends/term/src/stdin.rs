//! What is typed, byte for byte, by a thread of its own that can be told to stop.
//!
//! At most [`TYPED`] pieces wait; then the thread waits, and so does whoever writes.

use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::sync::mpsc;

/// Typed bytes on their way: a person is slow, a pipe waits.
const TYPED: usize = 16;
const CHUNK: usize = 16 * 1024;

/// Stdin, read with poll(2). Dropping it ends the thread.
pub struct Stdin {
    typed: mpsc::Receiver<Vec<u8>>,
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
        std::thread::Builder::new()
            .name("stdin".to_owned())
            .spawn(move || read(&stopped, &sender))?;
        Ok(Stdin { typed, _stop: stop })
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.typed.recv().await
    }
}

fn read(stopped: &impl AsFd, typed: &mpsc::Sender<Vec<u8>>) {
    let stdin = io::stdin();
    loop {
        let mut ready = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if ready.last().is_some_and(|stop| !stop.revents().is_empty()) {
            return;
        }
        let mut buffer = vec![0_u8; CHUNK];
        match rustix::io::read(stdin.as_fd(), &mut buffer) {
            Ok(0) => return,
            Ok(n) => buffer.truncate(n),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
            Err(_) => return,
        }
        if typed.blocking_send(buffer).is_err() {
            return;
        }
    }
}
