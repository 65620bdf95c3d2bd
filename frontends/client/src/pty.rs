//! A pty seen from a frontend: its bytes, its keys, its size and its end.

use bssh_protocol::error::CallError;
use bssh_protocol::link::{Link, StreamReceiver, StreamSender};
use bssh_protocol::lock;
use bssh_protocol::methods::{PtyAttachView, PtyClose, PtyDetach, PtyOpen, PtyResizeTo};
use bssh_protocol::pty::{
    PTY_WINDOW, PtyAttach, PtyExited, PtyId, PtyOpenParams, PtyRef, PtyResize, PtyView,
};
use bssh_protocol::stream::StreamId;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;

/// An open pty. Dropping it hangs up, unless it was somebody else's or is left to the core.
pub struct Pty {
    id: PtyId,
    /// The view of one that somebody else has opened.
    view: Option<StreamId>,
    stays: Arc<AtomicBool>,
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
    stays: Arc<AtomicBool>,
}

impl PtyHandle {
    /// Its number among the core's jobs.
    pub fn id(&self) -> PtyId {
        self.id
    }

    /// It is left to the core: dropping the pty hangs up no more.
    pub fn stay(&self) {
        self.stays.store(true, Relaxed);
    }

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
        lock(&self.open)
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
                view: None,
                stays: Arc::default(),
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

    /// A view of one that is there already, with what is kept of its output; it takes the input.
    pub(crate) async fn attach(
        link: &Link,
        ptys: Arc<Ptys>,
        (id, node): (PtyId, &str),
        input_window: u64,
    ) -> Result<Pty, CallError> {
        let here = link.clone();
        let params = PtyAttach { pty: id, ..PtyAttach::default() };
        let node = node.to_owned();
        link.call_then::<PtyAttachView, _>(&params, move |attached| {
            let (tell, exited) = oneshot::channel();
            ptys.open().insert(id, tell);
            Pty {
                id,
                view: Some(attached.output),
                stays: Arc::default(),
                node,
                output: here.receiver(attached.output, PTY_WINDOW),
                keys: attached.input.map(|input| here.sender(input, input_window)),
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
        PtyHandle { id: self.id, link: self.link.clone(), stays: self.stays.clone() }
    }

    /// Hangs up.
    ///
    /// # Errors
    /// `handle.unknown`: it is over.
    pub async fn close(&self) -> Result<(), CallError> {
        self.link.call::<PtyClose>(&PtyRef { pty: self.id }).await.map(drop)
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
        match self.view {
            _ if self.over || self.stays.load(Relaxed) => {}
            None => self.link.ask::<PtyClose>(&PtyRef { pty: self.id }),
            Some(output) => self.link.ask::<PtyDetach>(&PtyView { pty: self.id, output }),
        }
    }
}
