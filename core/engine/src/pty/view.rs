//! Views of a pty: each sends what is on the tape at its reader's speed; one of them types.

use super::tape::Piece;
use super::{Desk, Pty, ViewId};
use bssh_protocol::error::CallError;
use bssh_protocol::link::{Link, StreamReceiver, StreamSender};
use bssh_protocol::methods::StreamGapEvent;
use bssh_protocol::stream::{StreamGap, StreamId, WINDOW};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::Notify;

/// Largest piece sent at once, in bytes.
const PIECE: usize = 32 * 1024;

/// One view.
pub(super) struct View {
    /// Whose view it is, and the stream it sends on.
    pub(super) link: Link,
    pub(super) output: StreamId,
    /// Offset of the next byte it needs.
    at: AtomicU64,
    /// The answer that names it is on its way.
    begun: Notify,
    leaving: Notify,
}

impl View {
    /// Lets it send.
    pub(super) fn begin(&self) {
        self.begun.notify_one();
    }

    /// Ends the view, not the pty.
    pub(super) fn leave(&self) {
        self.leaving.notify_one();
    }
}

impl Pty {
    /// One more view, from this offset; it sends once it is told to [`View::begin`].
    pub(super) fn show(self: &Arc<Self>, link: &Link, window: u64, at: u64) -> (ViewId, StreamId) {
        let sender = link.new_sender(window);
        let output = sender.id();
        let view = Arc::new(View {
            link: link.clone(),
            output,
            at: AtomicU64::new(at),
            begun: Notify::new(),
            leaving: Notify::new(),
        });
        let id = {
            let mut desk = self.desk();
            desk.last += 1;
            let id = desk.last;
            desk.views.insert(id, view.clone());
            id
        };
        let pty = self.clone();
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let mut sender = sender;
            let begun = tokio::select! {
                () = view.begun.notified() => Ok(()),
                error = sender.refused() => Err(error),
            };
            let sent = match begun {
                Ok(()) => tokio::select! {
                    sent = send(&pty, id, &mut sender, &view) => sent,
                    () = view.leaving.notified() => Ok(()),
                },
                Err(error) => Err(error),
            };
            match sent {
                // A reader that has gone needs no end.
                Ok(()) => drop(sender.finish().await),
                Err(_) => drop(sender),
            }
            pty.left(id);
        });
        (id, output)
    }

    /// Makes a view the one that types, and gives its input stream. The one before is refused.
    pub(super) fn take_input(self: &Arc<Self>, id: ViewId, link: &Link) -> StreamId {
        let input = link.new_stream_id();
        let mut receiver = link.receiver(input, WINDOW);
        let pty = self.clone();
        let reader = self.tasks().spawn(async move { pty.listen(id, &mut receiver).await });
        let mut desk = self.desk();
        if let Some(before) = desk.input.replace(reader) {
            before.abort();
        }
        desk.owner = Some(id);
        let at = desk.views.get(&id).map(|v| v.at.load(Relaxed));
        drop(desk);
        self.tape.set_owner(at);
        input
    }

    async fn listen(&self, id: ViewId, receiver: &mut StreamReceiver) {
        while let Some(read) = receiver.next().await {
            match read {
                Ok(bytes) => self.typed(bytes).await,
                // Its link is gone; whether the pty is, too, is not decided here.
                Err(_) if receiver.has_lost_its_link() => return self.left(id),
                // Given up: the view stays, and nobody types.
                Err(_) => return self.idle(id),
            }
        }
        // End of file, as for a shell whose terminal has gone.
        let _ = self.writer.eof().await;
    }

    /// Bytes for the node's terminal.
    pub(super) async fn typed(&self, bytes: Bytes) {
        self.typing.fetch_add(1, Relaxed);
        self.tape.moved.notify_one();
        // A channel that has ended says so when it is read.
        let _ = self.writer.write(bytes).await;
        self.typing.fetch_sub(1, Relaxed);
    }

    /// A view is over.
    fn left(&self, id: ViewId) {
        self.desk().views.remove(&id);
        self.idle(id);
    }

    /// A view types no more; if it was the one that did, nobody does now.
    fn idle(&self, id: ViewId) {
        let was_owner = {
            let mut desk = self.desk();
            let was_owner = desk.owner == Some(id);
            if was_owner {
                desk.give_up();
            }
            was_owner && !desk.ended
        };
        if was_owner {
            self.tape.set_owner(None);
            self.tell_owner();
        }
    }
}

impl Desk {
    /// A view of this link types.
    pub(super) fn owner_is(&self, link: &Link) -> bool {
        let owner = self.owner.and_then(|owner| self.views.get(&owner));
        owner.is_some_and(|view| view.link.is(link))
    }

    /// Nobody types any more.
    pub(super) fn give_up(&mut self) {
        self.owner = None;
        if let Some(input) = self.input.take() {
            input.abort();
        }
    }
}

async fn send(
    pty: &Pty,
    id: ViewId,
    sender: &mut StreamSender,
    view: &View,
) -> Result<(), CallError> {
    loop {
        let credit = sender.credit().await?;
        let at = view.at.load(Relaxed);
        // A terminal may be quiet for days: who looks no more is not kept until it speaks.
        tokio::select! {
            more = pty.tape.after(at) => if !more {
                return Ok(());
            },
            error = sender.refused() => return Err(error),
        }
        let most = usize::try_from(credit).unwrap_or(PIECE).min(PIECE);
        let next = match pty.tape.read(at, most) {
            Piece::Nothing => continue,
            Piece::Gone(to) => {
                let gap = StreamGap { stream: sender.id(), from: at, to };
                view.link.notify::<StreamGapEvent>(&gap).await?;
                to
            }
            Piece::Bytes(bytes) => {
                let next = at + bytes.len() as u64;
                sender.write(bytes).await?;
                next
            }
        };
        view.at.store(next, Relaxed);
        let desk = pty.desk();
        if desk.owner == Some(id) {
            drop(desk);
            pty.tape.set_owner(Some(next));
        }
    }
}
