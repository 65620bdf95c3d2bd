//! A pty seen from a frontend: its bytes, its keys, its size and its end.

use bssh_protocol::error::CallError;
use bssh_protocol::link::{Link, StreamReceiver, StreamSender};
use bssh_protocol::methods::{PtyClose, PtyOpen, PtyResizeTo};
use bssh_protocol::pty::{PTY_WINDOW, PtyExited, PtyId, PtyOpenParams, PtyRef, PtyResize};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// An open pty. Dropping it hangs up.
pub struct Pty {
    id: PtyId,
    /// The node's name.
    pub node: String,
    link: Link,
    output: StreamReceiver,
    keys: Option<StreamSender>,
    exited: oneshot::Receiver<PtyExited>,
    over: bool,
}

/// A way to a pty that somebody else reads. Does not hang up when dropped.
#[derive(Debug, Clone)]
pub struct PtyHandle {
    id: PtyId,
    link: Link,
}

impl PtyHandle {
    /// Tells the terminal's new size.
    ///
    /// # Errors
    /// `handle.unknown`: it is over.
    pub async fn resize(&self, cols: u32, rows: u32) -> Result<(), CallError> {
        let params = PtyResize { pty: self.id, cols, rows, px_width: 0, px_height: 0 };
        self.link.call::<PtyResizeTo>(&params).await.map(drop)
    }
}

/// The ptys of a link.
#[derive(Debug, Default)]
pub(crate) struct Ptys {
    open: Mutex<HashMap<PtyId, oneshot::Sender<PtyExited>>>,
}

impl Ptys {
    fn open(&self) -> MutexGuard<'_, HashMap<PtyId, oneshot::Sender<PtyExited>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn exited(&self, exited: PtyExited) {
        if let Some(waiting) = self.open().remove(&exited.pty) {
            // Nobody may wait for it any more.
            let _ = waiting.send(exited);
        }
    }

    /// The core is gone: so are its ptys.
    pub(crate) fn lost(&self) {
        self.open().clear();
    }
}

impl Pty {
    pub(crate) async fn open(
        link: &Link,
        ptys: Arc<Ptys>,
        params: &PtyOpenParams,
        input_window: u64,
    ) -> Result<Pty, CallError> {
        let window = params.window.unwrap_or(PTY_WINDOW);
        let here = link.clone();
        link.call_then::<PtyOpen, _>(params, move |opened| {
            let (tell, exited) = oneshot::channel();
            ptys.open().insert(opened.pty, tell);
            Pty {
                id: opened.pty,
                node: opened.node,
                output: here.receiver(opened.output, window),
                keys: Some(here.sender(opened.input, input_window)),
                link: here,
                exited,
                over: false,
            }
        })
        .await
    }

    /// The next bytes; none at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.output.next().await.and_then(Result::ok)
    }

    /// Where keys go, once.
    pub fn keys(&mut self) -> Option<StreamSender> {
        self.keys.take()
    }

    /// Tells the terminal's new size.
    ///
    /// # Errors
    /// `handle.unknown`: it is over.
    pub async fn resize(&self, cols: u32, rows: u32) -> Result<(), CallError> {
        self.handle().resize(cols, rows).await
    }

    /// A way to it for whoever does not read it.
    pub fn handle(&self) -> PtyHandle {
        PtyHandle { id: self.id, link: self.link.clone() }
    }

    /// How it ended; none: the core is gone.
    pub async fn exited(&mut self) -> Option<PtyExited> {
        let exited = (&mut self.exited).await.ok();
        self.over = true;
        exited
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if !self.over {
            self.link.ask::<PtyClose>(&PtyRef { pty: self.id });
        }
    }
}
