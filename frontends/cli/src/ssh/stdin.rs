//! What is typed, on its way to a node that may not read it: the session waits for that beside
//! everything else, and nothing more is read from the keyboard meanwhile.

use bssh_protocol::link::StreamSender;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;

/// The stdin of a session's node.
pub(super) enum Stdin {
    /// Not open yet, or ended.
    None,
    Idle(StreamSender),
    Busy(Pin<Box<dyn Future<Output = StreamSender>>>),
}

impl Stdin {
    pub(super) fn of(sender: Option<StreamSender>) -> Self {
        sender.map_or(Stdin::None, Stdin::Idle)
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Stdin::Busy(_))
    }

    /// Starts to write; [`Stdin::written`] sees it through.
    pub(super) fn write(&mut self, bytes: Bytes) {
        if let Some(mut sender) = self.take() {
            *self = Stdin::Busy(Box::pin(async move {
                // A node that takes no more ends the run by itself.
                let _ = sender.write(bytes).await;
                sender
            }));
        }
    }

    /// Returns when what is being written has been taken; never if nothing is.
    pub(super) async fn written(&mut self) {
        match self {
            Stdin::Busy(writing) => *self = Stdin::Idle(writing.await),
            Stdin::None | Stdin::Idle(_) => std::future::pending().await,
        }
    }

    /// The sender, if nothing is on its way.
    pub(super) fn take(&mut self) -> Option<StreamSender> {
        match std::mem::replace(self, Stdin::None) {
            Stdin::Idle(sender) => Some(sender),
            other => {
                *self = other;
                None
            }
        }
    }
}
