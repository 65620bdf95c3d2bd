//! Descriptors that come over a link's socket (`SCM_RIGHTS`): `{"fd": 0}` names the first.
//!
//! The reader of such a link takes them along with the bytes they came with. They belong to the
//! link and are closed with it; whoever uses one gets a copy.

use bssh_protocol::lock;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::UnixStream;

/// Descriptors a link may pass; further ones are closed at once.
const MOST: usize = 16;
/// Descriptors that may come in one message.
const AT_ONCE: usize = 8;
/// Largest read, in bytes.
const CHUNK: usize = 64 * 1024;

/// The descriptors of one link, in the order they came.
#[derive(Default)]
pub(crate) struct Passed(Mutex<Vec<OwnedFd>>);

impl Passed {
    fn all(&self) -> MutexGuard<'_, Vec<OwnedFd>> {
        lock(&self.0)
    }

    /// A copy of one of them.
    ///
    /// # Errors
    /// None of that number came.
    pub(crate) fn copy(&self, number: i32) -> io::Result<OwnedFd> {
        let all = self.all();
        let passed = usize::try_from(number).ok().and_then(|at| all.get(at));
        let none = || io::Error::new(io::ErrorKind::NotFound, "no such descriptor came");
        passed.ok_or_else(none)?.try_clone()
    }

    /// Closes them: the link is gone.
    pub(crate) fn close(&self) {
        self.all().clear();
    }
}

/// The reading end of a socket that descriptors may come over.
pub(crate) struct Reader {
    pub(crate) socket: UnixStream,
    pub(crate) passed: Arc<Passed>,
}

impl Reader {
    fn receive(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(bytes)];
        let read = loop {
            match recvmsg(&self.socket, &mut slices, &mut along, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                read => break read?,
            }
        };
        let mut all = self.passed.all();
        for message in along.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                let room = MOST.saturating_sub(all.len());
                // The iterator closes what is not taken.
                all.extend(descriptors.take(room));
            }
        }
        Ok(read.bytes)
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            let room = buf.remaining().min(CHUNK);
            let bytes = buf.initialize_unfilled_to(room);
            match self.socket.try_io(Interest::READABLE, || self.receive(bytes)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(n) => {
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
