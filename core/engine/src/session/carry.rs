//! The bytes of one command, from its channel to the frontend and back, until it has ended.

use super::output::Output;
use crate::spool::Spool;
use crate::stdin::{Broken, Origin};
use bssh_protocol::exec::Exit;
use bssh_ssh::{Channel, ChannelEvent, ChannelWriter, Connection};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::Notify;

/// What is left behind may hold the output open; this long its silence is listened to.
const DRAIN: Duration = Duration::from_millis(300);

/// How the bytes of a command ended.
#[derive(Default)]
pub(super) struct End {
    pub exit: Option<Exit>,
    /// The connection was lost before all was told.
    pub cut: bool,
    /// It was begun.
    pub begun: bool,
    /// Something that it left behind holds its output.
    pub detached: bool,
    /// It said more than can be kept for a slow reader; the rest was not read.
    pub overflow: bool,
    /// It could not have the rest of its stdin, and was ended.
    pub broken: Option<Broken>,
}

/// Carries everything until the channel ends, or nothing more is worth waiting for. Others share
/// the connection, so it is read at all times; what the frontend does not take yet is kept. Once
/// that is too much, it is said at once that the command is to `break_off`, and the channel is
/// closed; the same is said when stdin breaks off.
pub(super) async fn carry(
    mut channel: Channel,
    (out, err): &mut (Output, Output),
    stdin: Option<Origin>,
    (writer, break_off): (&ChannelWriter, &Notify),
    connection: &Connection,
) -> End {
    let spool = Spool::new();
    let mut end = End::default();
    let ahead = &spool;
    let reading = async move {
        let mut detached = false;
        let (mut exited, mut all) = (false, false);
        loop {
            let next = match exited && !all {
                false => channel.next().await,
                true => match select(pin!(channel.next()), pin!(connection.settled(DRAIN))).await {
                    Either::Left((next, _)) => next,
                    Either::Right(_) => {
                        detached = true;
                        break;
                    }
                },
            };
            let Some(event) = next else { break };
            exited |= matches!(event, ChannelEvent::Exit(_) | ChannelEvent::Signal { .. });
            all |= matches!(event, ChannelEvent::Eof);
            if ahead.push(event).is_err() {
                break_off.notify_one();
                break;
            }
        }
        ahead.close();
        detached
    };
    let taking = async {
        let (mut exit, mut cut) = (None, false);
        while let Some(event) = spool.next().await {
            match event {
                ChannelEvent::Out(bytes) => out.take(bytes).await,
                ChannelEvent::Err(bytes) => err.take(bytes).await,
                ChannelEvent::Exit(status) => exit = Some(Exit::Status(status)),
                ChannelEvent::Signal { name, .. } => exit = Some(Exit::Signal(name)),
                ChannelEvent::Cut => cut = true,
                ChannelEvent::Eof => {}
            }
        }
        (exit, cut)
    };
    {
        let both = pin!(async { tokio::join!(reading, taking) });
        let feeding = pin!(feed(stdin, writer));
        let (detached, (exit, cut)) = match select(both, feeding).await {
            Either::Left((done, _)) => done,
            Either::Right((fed, both)) => {
                end.broken = fed.err();
                if end.broken.is_some() {
                    break_off.notify_one();
                }
                both.await
            }
        };
        (end.detached, end.exit, end.cut) = (detached, exit, cut);
    }
    (end.begun, end.overflow) = (out.has_begun(), spool.is_full());
    end
}

async fn feed(stdin: Option<Origin>, writer: &ChannelWriter) -> Result<(), Broken> {
    if let Some(mut stdin) = stdin {
        while let Some(bytes) = stdin.next().await? {
            // A command that reads no more is no error.
            if writer.write(bytes).await.is_err() {
                return Ok(());
            }
        }
    }
    let _ = writer.eof().await;
    Ok(())
}
