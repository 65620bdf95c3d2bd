//! A pty seen from a frontend: its bytes, its keys, its size and its end.

use crate::core::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::link::{Link, StreamReceiver, StreamSender};
use bssh_protocol::lock;
use bssh_protocol::methods::{PtyAttachView, PtyClose, PtyDetach, PtyOpen, PtyResizeTo};
use bssh_protocol::pty::{
    PTY_WINDOW, PtyAttach, PtyAttached, PtyExited, PtyId, PtyOpenParams, PtyOpened, PtyRef,
    PtyResize, PtyView,
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

/// What the core has said of a pty.
struct Opened {
    id: PtyId,
    node: String,
    /// Somebody else has opened it, and this is our view.
    is_view: bool,
    output: (StreamId, u64),
    input: Option<StreamId>,
}

impl Core {
    /// Opens a pty.
    ///
    /// # Errors
    /// Why there is none: what is wrong with the request, or the node's failure.
    pub async fn pty(&self, params: &PtyOpenParams) -> Result<Pty, CallError> {
        let (known, window) = (self.known_pty(), params.window.unwrap_or(PTY_WINDOW));
        let opened = move |opened: PtyOpened| {
            known(Opened {
                id: opened.pty,
                node: opened.node,
                is_view: false,
                output: (opened.output, window),
                input: Some(opened.input),
            })
        };
        self.begin::<PtyOpen, _>(params, opened).await
    }

    /// A view of a pty that is there, on this node by its number, which takes the input; what is
    /// kept of its output comes first.
    ///
    /// # Errors
    /// `handle.unknown`: it is over.
    pub async fn attach_pty(&self, (id, node): (PtyId, &str)) -> Result<Pty, CallError> {
        let (known, node) = (self.known_pty(), node.to_owned());
        let params = PtyAttach { pty: id, ..PtyAttach::default() };
        let attached = move |attached: PtyAttached| {
            let output = (attached.output, PTY_WINDOW);
            known(Opened { id, node, is_view: true, output, input: attached.input })
        };
        self.begin::<PtyAttachView, _>(&params, attached).await
    }

    /// Makes a pty known before its first event is read.
    fn known_pty(&self) -> impl FnOnce(Opened) -> Pty + Send + 'static {
        let (link, ptys) = (self.link().clone(), self.handles.ptys.clone());
        let window = self.hello().limits.window;
        move |Opened { id, node, is_view, output: (output, credit), input }| {
            let (tell, exited) = oneshot::channel();
            ptys.open().insert(id, tell);
            Pty {
                id,
                view: is_view.then_some(output),
                stays: Arc::default(),
                node,
                output: link.receiver(output, credit),
                keys: input.map(|input| link.sender(input, window)),
                link,
                exited,
                over: false,
            }
        }
    }
}

impl Pty {
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
