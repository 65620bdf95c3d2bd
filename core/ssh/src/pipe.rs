//! A channel as one stream of bytes that does not close first: what `channel.rs` says about
//! channels that are cut short holds for whoever drops it.

use crate::channel::{Channel, ChannelEvent};
use bytes::{Buf, Bytes};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads and writes a channel. Dropping it is [`Channel::cut`].
pub struct Pipe {
    /// None once it is dropped.
    channel: Option<Channel>,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    /// Taken from the channel and not read yet.
    left: Bytes,
}

impl Pipe {
    pub(crate) fn new(channel: Channel) -> Pipe {
        let writer = Box::pin(channel.writer().bytes());
        Pipe { channel: Some(channel), writer, left: Bytes::new() }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            channel.cut();
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            let Some(channel) = &mut self.channel else { return Poll::Ready(Ok(())) };
            let next = ready!(pin!(channel.next()).poll(cx));
            match next {
                Some(ChannelEvent::Out(bytes)) => self.left = bytes,
                None | Some(ChannelEvent::Eof) => return Poll::Ready(Ok(())),
                // A forward has no stderr and no exit.
                Some(_) => {}
            }
        }
        let n = self.left.len().min(to.remaining());
        to.put_slice(self.left.get(..n).unwrap_or_default());
        self.left.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_shutdown(cx)
    }
}
