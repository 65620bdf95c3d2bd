//! Views of a pty: each sends what is on the tape at its reader's speed; one of them types.

use super::tape::Piece;
use super::{Desk, Pty};
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
    pub(super) fn show(self: &Arc<Self>, window: u64, at: u64) -> StreamId {
        let sender = self.link.new_sender(window);
        let output = sender.id();
        let view =
            Arc::new(View { at: AtomicU64::new(at), begun: Notify::new(), leaving: Notify::new() });
        self.desk().views.insert(output, view.clone());
        let (pty, link) = (self.clone(), self.link.clone());
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let mut sender = sender;
            view.begun.notified().await;
            let sent = tokio::select! {
                sent = send(&pty, &link, &mut sender, &view) => sent,
                () = view.leaving.notified() => Ok(()),
            };
            match sent {
                // A reader that has gone needs no end.
                Ok(()) => drop(sender.finish().await),
                Err(_) => drop(sender),
            }
            pty.left(output).await;
        });
        output
    }

    /// Makes a view the one that types, and gives its input stream. The one before is refused.
    pub(super) fn take_input(self: &Arc<Self>, output: StreamId) -> StreamId {
        let input = self.link.new_stream_id();
        let mut receiver = self.link.receiver(input, WINDOW);
        let pty = self.clone();
        let reader = self.tasks().spawn(async move { pty.listen(&mut receiver).await });
        let mut desk = self.desk();
        if let Some(before) = desk.input.replace(reader) {
            before.abort();
        }
        desk.owner = Some(output);
        let at = desk.views.get(&output).map(|v| v.at.load(Relaxed));
        drop(desk);
        self.tape.set_owner(at);
        input
    }

    async fn listen(&self, receiver: &mut StreamReceiver) {
        while let Some(Ok(bytes)) = receiver.next().await {
            self.typed(bytes).await;
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

    /// A view is over; if it was the one that types, nobody is now.
    async fn left(&self, output: StreamId) {
        let was_owner = {
            let mut desk = self.desk();
            desk.views.remove(&output);
            let was_owner = desk.owner == Some(output);
            if was_owner {
                desk.give_up();
            }
            was_owner && !desk.ended
        };
        if was_owner {
            self.tape.set_owner(None);
            self.tell_owner().await;
        }
    }
}

impl Desk {
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
    link: &Link,
    sender: &mut StreamSender,
    view: &View,
) -> Result<(), CallError> {
    loop {
        let credit = sender.credit().await?;
        let at = view.at.load(Relaxed);
        if !pty.tape.after(at).await {
            return Ok(());
        }
        let most = usize::try_from(credit).unwrap_or(PIECE).min(PIECE);
        let next = match pty.tape.read(at, most) {
            Piece::Nothing => continue,
            Piece::Gone(to) => {
                let gap = StreamGap { stream: sender.id(), from: at, to };
                link.notify::<StreamGapEvent>(&gap).await?;
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
        if desk.owner == Some(sender.id()) {
            drop(desk);
            pty.tape.set_owner(Some(next));
        }
    }
}
