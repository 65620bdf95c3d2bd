//! The channel of a pty, read to its end.

use super::{End, Pty};
use crate::failure::{plain, unfinished};
use crate::journal::ending;
use crate::lanes::Seat;
use bssh_protocol::exec::{Exit, Phase};
use bssh_protocol::methods::PtyExitedEvent;
use bssh_protocol::pty::PtyExited;
use bssh_ssh::{Channel, ChannelEvent};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How often a paused reader looks whether it still may pause: another channel may have come to
/// its connection.
const RECHECK: Duration = Duration::from_millis(20);
/// How long views may take for what is left once the pty has ended.
const LAST_LOOK: Duration = Duration::from_secs(5);
/// How long a pty that was hung up on may take to say how it ended. Servers wait for the shell
/// before they do; the terminal is gone for it at once.
const HANG_UP: Duration = Duration::from_millis(300);

/// Reads the channel, sees the views off and says how the pty ended.
pub(super) async fn carry(pty: &Pty, mut channel: Channel, seat: &Seat) {
    let mut end = tokio::select! {
        end = read(pty, &mut channel, seat) => end,
        () = pty.closing.notified() => {
            let _ = pty.writer.close().await;
            let last = tokio::time::timeout(HANG_UP, read(pty, &mut channel, seat)).await;
            let mut end = last.unwrap_or_default();
            end.failure.get_or_insert_with(|| plain(Phase::Exec, "cancelled", "the pty was closed"));
            end
        }
    };
    if end.exit.is_none() && end.failure.is_none() {
        end.failure = Some(unfinished(seat.lease(), end.cut).await);
    }
    drop(channel);
    pty.noted.over(&ending(end.exit.as_ref(), end.failure.as_ref()));
    {
        let mut desk = pty.desk();
        desk.ended = true;
        if let Some(input) = desk.input.take() {
            input.abort();
        }
    }
    pty.tape.close();
    let watched = pty.links();
    let mut views = std::mem::take(&mut *pty.tasks());
    let all = async { while views.join_next().await.is_some() {} };
    // The others are reset when their tasks are dropped.
    let _ = tokio::time::timeout(LAST_LOOK, all).await;
    views.shutdown().await;
    let event = PtyExited {
        pty: pty.id,
        node: pty.node.clone(),
        exit: end.exit,
        failure: end.failure,
        bytes: pty.tape.range().1,
        duration_ms: crate::run::millis(pty.begun.elapsed()),
    };
    let _ = pty.link.notify::<PtyExitedEvent>(&event).await;
    for view in watched.iter().filter(|view| !view.link.is(&pty.link)) {
        view.link.try_notify::<PtyExitedEvent>(&event);
    }
}

async fn read(pty: &Pty, channel: &mut Channel, seat: &Seat) -> End {
    let mut end = End::default();
    loop {
        while pty.tape.is_behind() && seat.is_alone() && pty.typing.load(Relaxed) == 0 {
            // Either way the question is put again.
            let _ = tokio::time::timeout(RECHECK, pty.tape.moved.notified()).await;
        }
        match channel.next().await {
            Some(ChannelEvent::Out(bytes) | ChannelEvent::Err(bytes)) => pty.tape.push(&bytes),
            Some(ChannelEvent::Exit(status)) => end.exit = Some(Exit::Status(status)),
            Some(ChannelEvent::Signal { name, .. }) => end.exit = Some(Exit::Signal(name)),
            Some(ChannelEvent::Cut) => (end.exit, end.cut) = (None, true),
            Some(ChannelEvent::Eof) => {}
            None => return end,
        }
    }
}
