//! Fewer wake-ups for fast input: SO_RCVLOWAT (socket(7)).
//!
//! A peer that sends faster than it can be answered wakes us for every packet, at its own cost and
//! at ours. While bytes come that fast the kernel is asked to wake us for several packets at once.
//! What stays below that is read after [`PATIENCE`], and such a peer, which perhaps waits for an
//! answer, is read packet by packet again for [`REST`].

use nix::sys::socket::setsockopt;
use nix::{libc, setsockopt_impl, sockopt_impl};
use std::pin::Pin;
use std::task::Context;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep_until};

/// Bytes worth a wake-up: four full packets of OpenSSH.
const WORTH: i32 = 128 * 1024;
/// So often the rate is looked at.
const SPAN: Duration = Duration::from_millis(1);
/// Bytes in a span that are fast: twice what a wake-up is then to be worth.
const FAST: usize = 2 * WORTH as usize;
/// The longest wait for bytes that are there: two spans, for a timer counts in milliseconds.
const PATIENCE: Duration = Duration::from_millis(2);
/// After a wait in vain: so that those cost a fiftieth of the time at most.
const REST: Duration = Duration::from_millis(100);

sockopt_impl!(
    /// SO_RCVLOWAT, in bytes.
    Mark, SetOnly, libc::SOL_SOCKET, libc::SO_RCVLOWAT, i32
);

/// The low-water mark of one socket.
pub(crate) struct LowWater {
    /// Bytes read since `since`.
    read: usize,
    since: Instant,
    /// Runs while the mark is raised.
    patience: Option<Pin<Box<Sleep>>>,
    /// The mark stays low until then.
    rest: Instant,
}

impl LowWater {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        LowWater { read: 0, since: now, patience: None, rest: now }
    }

    /// So many bytes have been read.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.read += bytes;
    }

    /// There is nothing to read at the moment; `cx` is woken when there is, and when the patience
    /// is over.
    pub(crate) fn wait(&mut self, socket: &TcpStream, cx: &mut Context<'_>) {
        if self.read == 0 && self.patience.is_none() {
            return;
        }
        let now = Instant::now();
        if let Some(patience) = &mut self.patience
            && patience.as_mut().poll(cx).is_ready()
        {
            self.rest = now + REST;
            return self.lower(socket);
        }
        let passed = now - self.since;
        if passed < SPAN {
            return;
        }
        let fast = self.read as u128 * SPAN.as_nanos() >= FAST as u128 * passed.as_nanos();
        (self.read, self.since) = (0, now);
        match &mut self.patience {
            _ if !fast => self.lower(socket),
            Some(patience) => {
                patience.as_mut().reset((now + PATIENCE).into());
                let _ = patience.as_mut().poll(cx);
            }
            None if now >= self.rest && setsockopt(socket, Mark, &WORTH).is_ok() => {
                let mut patience = Box::pin(sleep_until((now + PATIENCE).into()));
                let _ = patience.as_mut().poll(cx);
                self.patience = Some(patience);
            }
            None => {}
        }
    }

    /// The kernel tells of what is there already.
    fn lower(&mut self, socket: &TcpStream) {
        if self.patience.take().is_some() {
            // What it allowed to raise it allows to lower.
            let _ = setsockopt(socket, Mark, &1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    fn wait(water: &mut LowWater, socket: &TcpStream) {
        water.wait(socket, &mut Context::from_waker(noop_waker_ref()));
    }

    /// A mark that fast input has raised.
    fn raised(socket: &TcpStream) -> LowWater {
        let mut water = LowWater::new();
        water.read(1 << 30);
        water.since = Instant::now().checked_sub(SPAN).unwrap();
        wait(&mut water, socket);
        assert!(water.patience.is_some());
        water
    }

    /// Whether the socket is said to be readable, before or after all of `bytes` have come.
    async fn told_of(near: &TcpStream, far: &mut TcpStream, bytes: usize) -> bool {
        far.write_all(&vec![7; bytes]).await.unwrap();
        tokio::time::timeout(Duration::from_millis(300), near.ready(Interest::READABLE))
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_raised_mark_waits_for_several_packets_and_patience_lowers_it() {
        let (mut near, mut far) = pair().await;
        let mut water = raised(&near);
        assert!(!told_of(&near, &mut far, WORTH as usize / 2).await, "half of it");
        assert!(told_of(&near, &mut far, WORTH as usize / 2).await);
        near.read_exact(&mut vec![0; WORTH as usize]).await.unwrap();
        assert!(near.try_read(&mut [0]).is_err());
        assert!(!told_of(&near, &mut far, 1).await);
        wait(&mut water, &near);
        assert!(water.patience.is_none() && water.rest > Instant::now());
        let told = near.ready(Interest::READABLE);
        tokio::time::timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_end_is_told_whatever_the_mark() {
        let (near, far) = pair().await;
        let _water = raised(&near);
        drop(far);
        let told = near.ready(Interest::READABLE);
        assert!(
            tokio::time::timeout(Duration::from_secs(10), told)
                .await
                .unwrap()
                .unwrap()
                .is_read_closed()
        );
    }

    #[tokio::test]
    async fn slow_input_and_a_rest_keep_the_mark_low() {
        let (near, _far) = pair().await;
        let mut water = raised(&near);
        water.read(FAST);
        water.since = Instant::now().checked_sub(2 * SPAN).unwrap();
        wait(&mut water, &near);
        assert!(water.patience.is_none(), "half as fast");
        water.rest = Instant::now() + Duration::from_secs(60);
        water.read(1 << 30);
        water.since = Instant::now().checked_sub(SPAN).unwrap();
        wait(&mut water, &near);
        assert!(water.patience.is_none());
    }
}
