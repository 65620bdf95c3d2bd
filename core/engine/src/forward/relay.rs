//! One relay for every forward: bytes both ways with half-close, back-pressure, counters, limits.
//!
//! The near end is a socket here, the far end a channel or another socket. What a slow near end
//! does not take stays in [`super::held`]; a channel is left unread only when nothing else lives
//! on its connection ([`super::lanes`]), for russh has no window of its own for each channel.

use super::held::{Full, Held};
use super::lanes::Flow;
use bssh_ssh::{BoxStream, Channel, ChannelEvent, ChannelWriter, Pipe};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// The end that is not a socket of a client.
pub(crate) enum Far {
    Channel(Box<Channel>),
    Stream(BoxStream),
    /// A channel as a stream, on a connection that others share.
    Shared(Box<Pipe>),
}

/// What one connection has carried.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Near to far.
    pub up: AtomicU64,
    /// Far to near.
    pub down: AtomicU64,
    /// Ends the connection.
    pub kick: Notify,
}

/// Limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes read at once.
    pub buffer: usize,
    /// Without a byte for so long it ends. None: never.
    pub idle: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { buffer: 64 * 1024, idle: None }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    ClientEof,
    UpstreamEof,
    Idle,
    Kicked,
    /// It took too little for too long while others shared its connection.
    SlowReader,
    /// The connection to the node is lost.
    Lost,
    Error(String),
}

impl Reason {
    /// As events call it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Reason::ClientEof => "clientEof",
            Reason::UpstreamEof => "upstreamEof",
            Reason::Idle => "idle",
            Reason::Kicked => "kicked",
            Reason::SlowReader => "slowReader",
            Reason::Lost => "lost",
            Reason::Error(_) => "error",
        }
    }
}

/// With one direction ended and not a byte in the other for so long, the rest is not coming.
const HALF_CLOSED: Duration = Duration::from_secs(3600);
/// A client may be out of breath for so long before more than memory is used for it. Whoever
/// shares its connection waits no longer than this, and only once until it has caught up.
const BREATH: Duration = Duration::from_millis(10);
/// A first read buffer; full reads get a larger one.
const SMALL: usize = 4096;

/// Copies until both sides have said end of file, or one fails. An end of file on one side is
/// passed on and the other direction goes on. `head` are bytes of the near end read already.
pub(crate) async fn relay(
    near: (BoxStream, Bytes),
    far: Far,
    flow: Option<&Flow>,
    carried: &Carried,
    limits: Limits,
) -> Reason {
    // Dropping a channel cuts it short: it stays until both directions are over.
    let (mut far_read, far_write) = far.split();
    match both(near, (&mut far_read, far_write), flow, carried, limits).await {
        Ok(reason) => {
            far_read.closed().await;
            reason
        }
        Err(reason) => reason,
    }
}

/// Both directions to their end, and how the first one ended. Else what has cut them short.
async fn both(
    (near, head): (BoxStream, Bytes),
    (far_read, far_write): (&mut FarRead, FarWrite),
    flow: Option<&Flow>,
    carried: &Carried,
    limits: Limits,
) -> Result<Reason, Reason> {
    let (near_read, near_write) = tokio::io::split(near);
    let mut up = pin!(up((near_read, head), far_write, carried, limits.buffer));
    let half = limits.idle.into_iter().chain([HALF_CLOSED]).min();
    let first = {
        let mut down = pin!(down(far_read, near_write, flow, carried));
        tokio::select! {
            ended = &mut down => ended?,
            ended = &mut up => {
                let first = ended?;
                return tokio::select! {
                    ended = down => ended.map(|_| first),
                    cut = cut_short(carried, half) => Err(cut),
                };
            }
            cut = cut_short(carried, limits.idle) => return Err(cut),
        }
    };
    tokio::select! {
        ended = up => ended.map(|_| first),
        // What the client still sends has nowhere to go.
        () = far_read.gone() => Err(Reason::UpstreamEof),
        cut = cut_short(carried, half) => Err(cut),
    }
}

/// Returns why nothing more is to be carried: silence for `limit`, or it was told to end.
async fn cut_short(carried: &Carried, limit: Option<Duration>) -> Reason {
    tokio::select! {
        () = silence(carried, limit) => Reason::Idle,
        () = carried.kick.notified() => Reason::Kicked,
    }
}

/// Returns once no byte has gone either way for `limit`.
async fn silence(carried: &Carried, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let sum = || (carried.up.load(Relaxed), carried.down.load(Relaxed));
        let before = sum();
        tokio::time::sleep(limit).await;
        if before == sum() {
            return;
        }
    }
}

async fn up(
    (mut near, head): (impl AsyncRead + Unpin, Bytes),
    mut far: FarWrite,
    carried: &Carried,
    most: usize,
) -> Result<Reason, Reason> {
    let mut buffer = BytesMut::new();
    let mut size = SMALL.min(most);
    let mut next = head;
    loop {
        if !next.is_empty() {
            let n = next.len();
            if far.write(next).await.is_err() {
                // What the far end still says goes through.
                return Ok(Reason::UpstreamEof);
            }
            carried.up.fetch_add(n as u64, Relaxed);
        }
        buffer.reserve(size);
        let n = near.read_buf(&mut buffer).await.map_err(|e| Reason::Error(e.to_string()))?;
        if n == 0 {
            far.finish().await;
            return Ok(Reason::ClientEof);
        }
        if n >= size {
            size = (size * 4).min(most);
        }
        next = buffer.split().freeze();
    }
}

async fn down(
    far: &mut FarRead,
    mut near: impl AsyncWrite + Unpin,
    flow: Option<&Flow>,
    carried: &Carried,
) -> Result<Reason, Reason> {
    let mut held = Held::default();
    let mut end = None;
    // Until when memory is enough for it, once it was not.
    let mut breath = None;
    while end.is_none() || !held.is_empty() {
        if held.is_empty() {
            breath = None;
        } else if !held.has_room() {
            breath.get_or_insert_with(|| Instant::now() + BREATH);
        }
        let alone = flow.is_some_and(Flow::may_pause);
        let room = match far.is_socket() {
            true => held.is_empty(),
            false if alone => held.has_room(),
            false => held.has_room() || breath.is_some_and(|over| over <= Instant::now()),
        };
        let wait = end.is_none() && room;
        let (front, n) = held.front().map_err(|e| Reason::Error(e.to_string()))?;
        let front = front.get(..n).unwrap_or_default();
        tokio::select! {
            biased;
            written = near.write_vectored(front), if !front.is_empty() => {
                let n = written.map_err(|e| Reason::Error(e.to_string()))?;
                held.taken(n);
                carried.down.fetch_add(n as u64, Relaxed);
                if held.is_empty() && let Some(flow) = flow {
                    flow.stalled(false);
                }
            }
            got = far.next(), if wait => {
                // What has come with it leaves with it: each write wakes the client.
                let mut got = Some(got);
                while let Some(Got::Bytes(bytes)) = got {
                    held.keep(bytes).map_err(|Full| Reason::SlowReader)?;
                    got = if held.is_batch() { None } else { far.more() };
                }
                if let Some(flow) = flow && !held.has_room() {
                    flow.stalled(true);
                }
                end = got;
            }
            () = company(flow), if end.is_none() && !wait => {}
            () = until(breath), if end.is_none() && !wait && !alone => {}
        }
    }
    // A client that is gone need not be told.
    let _ = near.shutdown().await;
    match end {
        // Both directions are over: what the client still sends has nowhere to go.
        Some(Got::Closed) => Err(Reason::UpstreamEof),
        Some(Got::Lost) => Err(Reason::Lost),
        Some(Got::Error(why)) => Err(Reason::Error(why)),
        _ => Ok(Reason::UpstreamEof),
    }
}

/// Returns when a paused flow must look again whether it may stay paused.
async fn company(flow: Option<&Flow>) {
    match flow {
        Some(flow) => flow.changed().await,
        None => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

enum FarRead {
    Channel(Given),
    Stream { stream: tokio::io::ReadHalf<BoxStream>, buffer: BytesMut, shared: bool },
}

/// A channel that is cut short where it is dropped before its end.
struct Given(Option<Box<Channel>>);

impl Drop for Given {
    fn drop(&mut self) {
        if let Some(channel) = self.0.take() {
            channel.cut();
        }
    }
}

enum FarWrite {
    Channel(ChannelWriter),
    Stream(tokio::io::WriteHalf<BoxStream>),
}

enum Got {
    Bytes(Bytes),
    Eof,
    /// Nothing can be sent any more either.
    Closed,
    /// The connection to the node is lost, and what was to come with it.
    Lost,
    Error(String),
}

impl Far {
    fn split(self) -> (FarRead, FarWrite) {
        match self {
            Far::Channel(channel) => {
                let writer = channel.writer();
                (FarRead::Channel(Given(Some(channel))), FarWrite::Channel(writer))
            }
            Far::Stream(stream) => halves(stream, false),
            Far::Shared(channel) => halves(channel, true),
        }
    }
}

fn halves(stream: BoxStream, shared: bool) -> (FarRead, FarWrite) {
    let (stream, write) = tokio::io::split(stream);
    (FarRead::Stream { stream, buffer: BytesMut::new(), shared }, FarWrite::Stream(write))
}

impl FarRead {
    fn is_socket(&self) -> bool {
        matches!(self, FarRead::Stream { shared: false, .. })
    }

    /// Behind the end of file: returns once nothing can be sent any more either. A socket shows
    /// that to whoever writes.
    async fn gone(&mut self) {
        match self {
            FarRead::Stream { shared: false, .. } => std::future::pending().await,
            far => while let Got::Bytes(_) = far.next().await {},
        }
    }

    /// Waits for the server to close a channel that both sides have ended.
    async fn closed(&mut self) {
        if let FarRead::Channel(Given(Some(channel))) = self {
            channel.closed().await;
        }
    }

    /// What has come already and can be had without a system call.
    fn more(&mut self) -> Option<Got> {
        match self {
            FarRead::Channel(_) => self.next().now_or_never(),
            FarRead::Stream { .. } => None,
        }
    }

    /// Cancelling loses nothing.
    async fn next(&mut self) -> Got {
        match self {
            FarRead::Channel(Given(None)) => Got::Closed,
            FarRead::Channel(Given(Some(channel))) => loop {
                match channel.next().await {
                    Some(ChannelEvent::Out(bytes)) if bytes.is_empty() => {}
                    Some(ChannelEvent::Out(bytes)) => return Got::Bytes(bytes),
                    Some(ChannelEvent::Eof) => return Got::Eof,
                    Some(ChannelEvent::Cut) => return Got::Lost,
                    // A forward has no stderr and no exit.
                    Some(_) => {}
                    None => return Got::Closed,
                }
            },
            FarRead::Stream { stream, buffer, .. } => {
                buffer.reserve(32 * 1024);
                match stream.read_buf(buffer).await {
                    Ok(0) => Got::Eof,
                    Ok(_) => Got::Bytes(buffer.split().freeze()),
                    Err(error) => Got::Error(error.to_string()),
                }
            }
        }
    }
}

impl FarWrite {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            FarWrite::Channel(writer) => writer.write(bytes).await.map_err(io::Error::other),
            FarWrite::Stream(stream) => stream.write_all(&bytes).await,
        }
    }

    async fn finish(&mut self) {
        // The far end may be gone already: then there is nobody left to tell.
        match self {
            FarWrite::Channel(writer) => drop(writer.eof().await),
            FarWrite::Stream(stream) => drop(stream.shutdown().await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::ReadBuf;

    #[tokio::test]
    async fn a_client_out_of_breath_is_waited_for_before_more_than_memory_is_used() {
        let (near, _client) = tokio::io::duplex(1);
        let (far, mut node) = tokio::io::duplex(64 * 1024);
        let (mut far, _write) = halves(Box::new(far), true);
        let carried = Carried::default();
        let down = down(&mut far, near, None, &carried);
        let says = async {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            for _ in 0..48 {
                node.write_all(&[7; 64 * 1024]).await.unwrap();
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            longest
        };
        let longest = tokio::select! {
            ended = down => panic!("{ended:?}"),
            longest = says => longest,
        };
        assert!(longest > BREATH / 2, "{longest:?}");
    }

    /// A far end that has said that it is done, and takes nothing.
    #[tokio::test]
    async fn a_client_that_goes_on_learns_that_the_far_end_is_gone() {
        /// Ends once, and a second time when it is closed.
        struct Ended(Option<tokio::sync::oneshot::Receiver<()>>, bool);
        impl AsyncRead for Ended {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                _: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match (std::mem::replace(&mut self.1, true), &mut self.0) {
                    (true, Some(closed)) => Pin::new(closed).poll(cx).map(|_| Ok(())),
                    _ => Poll::Ready(Ok(())),
                }
            }
        }
        impl AsyncWrite for Ended {
            fn poll_write(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
                _: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.0 {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
        for shared in [true, false] {
            let (near, mut client) = tokio::io::duplex(16);
            let (close, closed) = tokio::sync::oneshot::channel();
            // A channel is closed while a write waits, a socket refuses it.
            let far = Ended(shared.then_some(closed), false);
            let (mut read, write) = halves(Box::new(far), shared);
            let carried = Carried::default();
            let near = (Box::new(near) as BoxStream, Bytes::new());
            let both = both(near, (&mut read, write), None, &carried, Limits::default());
            let client = async {
                assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "{shared}");
                client.write_all(b"more").await.unwrap();
                let _ = close.send(());
                while client.write_all(b"and more").await.is_ok() {}
            };
            let (ended, ()) =
                tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(both, client) })
                    .await
                    .unwrap_or_else(|_| panic!("it hangs, shared: {shared}"));
            let (Ok(why) | Err(why)) = ended;
            assert_eq!(why, Reason::UpstreamEof);
        }
    }
}
