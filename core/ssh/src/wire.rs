//! The byte stream under russh: read buffer, write-behind, no delays, few wake-ups, kill switch.
//!
//! russh reads a packet in two small reads and flushes after each packet it writes. Here reads
//! come from a buffer, and what is written leaves when the session waits for input and those it
//! has given bytes to have had their turn: then nobody has more to say. That halves the system
//! calls of a connection. Bulk leaves at once and uncopied. Dropping the [`KillSwitch`] ends the
//! stream at once, even where russh would wait for ever.

use crate::locking::lock;
use crate::low_water::LowWater;
use futures_util::task::AtomicWaker;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_tcp_quickack;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Any stream that can carry an SSH connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream of a kind that does not matter: a hop's channel, a proxy command.
pub type BoxStream = Box<dyn Stream>;

/// What carries the bytes.
pub(crate) enum Carrier {
    Tcp(OwnedReadHalf, Arc<Mutex<OwnedWriteHalf>>),
    Other(BoxStream),
}

impl From<TcpStream> for Carrier {
    fn from(tcp: TcpStream) -> Self {
        let (read, write) = tcp.into_split();
        Carrier::Tcp(read, Arc::new(Mutex::new(write)))
    }
}

/// Ends its stream when dropped.
pub(crate) struct KillSwitch(Arc<Control>);

/// What the stream and its switch both see.
#[derive(Default)]
struct Control {
    dead: AtomicBool,
    reader: AtomicWaker,
    /// The software the server names in its version line.
    software: OnceLock<String>,
    /// The socket, if it is one and as long as it is open.
    tcp: Weak<Mutex<OwnedWriteHalf>>,
}

impl KillSwitch {
    /// The software the server names in its version line (RFC 4253 section 4.2), e.g.
    /// `OpenSSH_9.2p1`; empty if the line did not come in one piece.
    pub(crate) fn software(&self) -> &str {
        self.0.software.get().map_or("", String::as_str)
    }

    /// The other side has closed the stream, which russh may not have read yet.
    pub(crate) fn has_hung_up(&self) -> bool {
        let Some(tcp) = self.0.tcp.upgrade() else { return false };
        let tcp = lock(&tcp);
        let mut looked = [PollFd::new(tcp.as_ref(), PollFlags::RDHUP)];
        matches!(poll(&mut looked, Some(&Timespec::default())), Ok(1..))
    }
}

impl Drop for KillSwitch {
    fn drop(&mut self) {
        self.0.dead.store(true, Ordering::Release);
        self.0.reader.wake();
    }
}

/// First read buffer: a handshake and a short output fit.
const SMALL: usize = 16 * 1024;
/// Read buffer once a read has filled the small one: bulk data.
const LARGE: usize = 256 * 1024;
/// So many reads in a row that the small one would have held give the large one back.
const QUIET_READS: u8 = 16;
/// Bytes read without a pause before whoever takes them has its turn: it writes them while they
/// are in the processor's caches, and what it writes to is not kept waiting for a whole window.
const TURN: usize = LARGE;
/// Bytes written behind before they are sent without waiting for the next read.
const BEHIND: usize = 64 * 1024;
/// Reads after which the peer's delayed acknowledgements do not matter any more.
const QUICK_READS: u32 = 64;
/// The last look for input sends, or acknowledges. russh may look for input before it looks for
/// what is to be sent, so one in between would not do.
const LOOKS: u8 = 3;

/// The stream handed to russh.
pub(crate) struct Wire {
    carrier: Carrier,
    control: Arc<Control>,
    input: Vec<u8>,
    taken: usize,
    filled: usize,
    output: Vec<u8>,
    sent: usize,
    reads: u32,
    /// Reads in a row that the small buffer would have held.
    quiet: u8,
    /// Bytes read since somebody else had a turn.
    since_turn: usize,
    /// What was read last has not been acknowledged by anything we sent.
    owes_ack: bool,
    /// Looks for input in vain, while there was something to send or to acknowledge.
    looks: u8,
    water: LowWater,
}

impl Wire {
    pub(crate) fn new(carrier: Carrier) -> (Self, KillSwitch) {
        let tcp = match &carrier {
            Carrier::Tcp(_, write) => Arc::downgrade(write),
            Carrier::Other(_) => Weak::new(),
        };
        let control = Arc::new(Control { tcp, ..Control::default() });
        let wire = Wire {
            carrier,
            control: control.clone(),
            input: vec![0; SMALL],
            taken: 0,
            filled: 0,
            output: Vec::new(),
            sent: 0,
            reads: 0,
            quiet: 0,
            since_turn: 0,
            owes_ack: false,
            looks: 0,
            water: LowWater::new(),
        };
        (wire, KillSwitch(control))
    }

    fn send_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.sent..).filter(|r| !r.is_empty()) {
            let n = ready!(self.carrier.poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n;
        }
        self.sent = 0;
        self.output.clear();
        self.carrier.poll_flush(cx)
    }

    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.filled == self.input.len() && self.input.len() < LARGE {
            self.input.resize(LARGE, 0);
        } else if self.quiet == QUIET_READS && self.input.len() == LARGE {
            self.input = vec![0; SMALL];
        }
        let since_turn = std::mem::take(&mut self.since_turn);
        if since_turn >= TURN {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(&mut self.input);
        if self.carrier.poll_read(cx, &mut buffer)?.is_pending() {
            if let Carrier::Tcp(read, _) = &self.carrier {
                self.water.wait(read.as_ref(), cx);
            }
            return Poll::Pending;
        }
        if self.reads == 0 {
            let _ = self.control.software.set(software(buffer.filled()));
        }
        self.filled = buffer.filled().len();
        self.taken = 0;
        self.since_turn = since_turn + self.filled;
        self.water.read(self.filled);
        self.quiet = if self.filled < SMALL { QUIET_READS.min(self.quiet + 1) } else { 0 };
        self.owes_ack = self.reads < QUICK_READS;
        self.reads = self.reads.saturating_add(1);
        Poll::Ready(Ok(()))
    }

    /// Nothing has come. What waits to be sent leaves now, but for whoever has just been given
    /// what was read: they have their turn first, and what they have to say leaves with it.
    ///
    /// An answer carries the acknowledgement of what it answers. Where there is none, a peer that
    /// waits for it before it sends more small packets (RFC 896) must not wait for our timer.
    fn idle(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.output.is_empty() && !self.owes_ack {
            return Ok(());
        }
        self.looks += 1;
        if self.looks < LOOKS {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        self.looks = 0;
        let owes_ack = std::mem::take(&mut self.owes_ack);
        if !self.output.is_empty() {
            return self.send(cx);
        }
        if let (Carrier::Tcp(read, _), true) = (&self.carrier, owes_ack) {
            // Only a matter of speed: Linux takes it, others need not.
            let _ = set_tcp_quickack(read.as_ref(), true);
        }
        Ok(())
    }

    /// Sends what the peer takes at the moment: reading goes on while it does not take more.
    fn send(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.send_behind(cx) {
            Poll::Ready(done) => done,
            Poll::Pending => Ok(()),
        }
    }
}

/// The software a version line names; lines of greeting may come before it.
fn software(bytes: &[u8]) -> String {
    let line = bytes.split_inclusive(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"SSH-2.0-"));
    let name =
        line.filter(|l| l.ends_with(b"\n")).and_then(|l| l.split(u8::is_ascii_whitespace).next());
    let name = name.unwrap_or_default().iter().filter(|byte| byte.is_ascii_graphic());
    name.map(|byte| char::from(*byte)).collect()
}

impl Carrier {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Carrier::Tcp(read, _) => Pin::new(read).poll_read(cx, buf),
            Carrier::Other(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Carrier::Tcp(_, write) => Pin::new(&mut *lock(write)).poll_write(cx, bytes),
            Carrier::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// What a socket takes at once; what else carries bytes may have to be flushed behind them.
    fn write_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let Carrier::Tcp(..) = self else { return Ok(0) };
        match self.poll_write(cx, bytes)? {
            Poll::Ready(n) => Ok(n),
            Poll::Pending => Ok(0),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Carrier::Tcp(..) => Poll::Ready(Ok(())),
            Carrier::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Carrier::Tcp(_, write) => Pin::new(&mut *lock(write)).poll_shutdown(cx),
            Carrier::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        wire.control.reader.register(cx.waker());
        if wire.control.dead.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if wire.taken == wire.filled {
            if wire.fill(cx)?.is_pending() {
                wire.idle(cx)?;
                return Poll::Pending;
            }
            // russh may wait for whoever takes what was read: what it has said already must not.
            wire.looks = 0;
            wire.send(cx)?;
        }
        let ready = wire.input.get(wire.taken..wire.filled).unwrap_or_default();
        let n = ready.len().min(buf.remaining());
        buf.put_slice(ready.get(..n).unwrap_or_default());
        wire.taken += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.output.len() >= BEHIND {
            ready!(self.send_behind(cx))?;
        }
        // Bulk is worth a write of its own, and too much to be copied.
        let bulk = self.output.is_empty() && buf.len() >= BEHIND;
        let sent = if bulk { self.carrier.write_now(cx, buf)? } else { 0 };
        self.output.extend_from_slice(buf.get(sent..).unwrap_or_default());
        Poll::Ready(Ok(buf.len()))
    }

    /// Nothing: the next read sends. russh reads whenever it has nothing else to do.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send_behind(cx))?;
        self.carrier.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::task::noop_waker_ref;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A wire with so many bytes at its other end.
    async fn wire(bytes: usize) -> (Wire, tokio::io::DuplexStream, KillSwitch) {
        let (near, mut far) = tokio::io::duplex(2 * LARGE + SMALL);
        far.write_all(&vec![7; bytes]).await.unwrap();
        let (wire, kill) = Wire::new(Carrier::Other(Box::new(near)));
        (wire, far, kill)
    }

    #[test]
    fn a_version_line_names_the_software() {
        assert_eq!(software(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\0\0"), "OpenSSH_9.2p1");
        assert_eq!(software(b"hello\r\nSSH-2.0-dropbear\r\n"), "dropbear");
        for odd in [b"SSH-2.0-OpenSSH_9.2".as_slice(), b"SSH-1.99-old\n", b"\xff\n", b""] {
            assert_eq!(software(odd), "");
        }
    }

    /// Bytes read until it has none to give at once.
    fn read(wire: &mut Wire) -> usize {
        let (mut cx, mut piece, mut n) = (Context::from_waker(noop_waker_ref()), [0; 32768], 0);
        loop {
            let mut buffer = ReadBuf::new(&mut piece);
            match Pin::new(&mut *wire).poll_read(&mut cx, &mut buffer) {
                Poll::Ready(done) => done.unwrap(),
                Poll::Pending => return n,
            }
            n += buffer.filled().len();
        }
    }

    #[tokio::test]
    async fn a_stream_that_the_other_side_has_closed_is_known_before_it_is_read() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let (wire, control) = Wire::new(near.into());
        far.write_all(b"goodbye").await.unwrap();
        assert!(!control.has_hung_up());
        drop(far);
        let closed = async {
            while !control.has_hung_up() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), closed).await.unwrap();
        drop(wire);
        assert!(!control.has_hung_up(), "it is over");
    }

    #[tokio::test]
    async fn whoever_takes_the_bytes_has_a_turn_before_a_whole_window_is_read() {
        let all = 2 * LARGE + SMALL;
        let (mut wire, _far, _kill) = wire(all).await;
        let first = read(&mut wire);
        assert!((TURN..TURN + LARGE).contains(&first), "{first}");
        assert_eq!(first + read(&mut wire), all);
    }

    #[tokio::test]
    async fn what_is_said_in_turn_leaves_together_and_never_waits_for_a_taker() {
        let (mut wire, mut far, _kill) = wire(1).await;
        let mut came = [0; 16];
        assert_eq!(read(&mut wire), 1);
        wire.write_all(b"an").await.unwrap();
        read(&mut wire);
        assert!(far.read(&mut came).now_or_never().is_none(), "others have their turn");
        wire.write_all(b"swer").await.unwrap();
        read(&mut wire);
        assert_eq!(far.read(&mut came).now_or_never().unwrap().unwrap(), 6);
        wire.write_all(b"more").await.unwrap();
        far.write_all(b"input").await.unwrap();
        let mut buffer = ReadBuf::new(&mut came);
        let mut cx = Context::from_waker(noop_waker_ref());
        assert!(Pin::new(&mut wire).poll_read(&mut cx, &mut buffer).is_ready());
        let sent = far.read(&mut came).now_or_never();
        assert_eq!(sent.unwrap().unwrap(), 4, "whoever takes the input may let it wait");
    }

    #[tokio::test]
    async fn a_connection_that_is_quiet_again_keeps_no_large_buffer() {
        let (mut wire, mut far, _kill) = wire(LARGE).await;
        assert_eq!(read(&mut wire) + read(&mut wire), LARGE);
        assert_eq!(wire.input.len(), LARGE);
        for _ in 0..=QUIET_READS {
            far.write_all(b"quiet").await.unwrap();
            wire.read_exact(&mut [0; 5]).await.unwrap();
        }
        assert_eq!(wire.input.len(), SMALL);
    }

    #[tokio::test]
    async fn bulk_leaves_uncopied_and_what_the_socket_does_not_take_follows_in_order() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let (mut wire, _kill) = Wire::new(near.into());
        let bulk: Vec<u8> = (0..64 << 20).map(|n| (n >> 7) as u8).collect();
        wire.write_all(&bulk[..BEHIND]).await.unwrap();
        assert_eq!(wire.output.len(), 0);
        let mut came = vec![0; bulk.len()];
        let write = async {
            // The socket is full at first: the rest is written behind.
            wire.write_all(&bulk[BEHIND..]).await.unwrap();
            assert!(!wire.output.is_empty());
            wire.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(write, far.read_exact(&mut came));
        read.unwrap();
        assert!(came == bulk);
    }
}
