//! The bytes of one command: stdin to the node, output to its sinks, until the channel closes.
//!
//! A connection that carries only this command is simply not read while a sink is slow. One that
//! others share must be read at all times: then output waits in memory and in an unlinked file.
//! Whoever says more than that has room for is left at once, and ended by [`crate::exec`].

use crate::descriptor::Gone;
use crate::failure::{overflow, plain};
use crate::run::Run;
use crate::sink::Out;
use crate::spool::Spool;
use crate::stdin::Place;
use crate::sudo::{self, Heard, Sudo};
use bssh_protocol::auth::PromptKind;
use bssh_protocol::exec::{Ended, Exit, Failure, Output, Phase};
use bssh_ssh::{Channel, ChannelEvent, ChannelWriter, Pipe};
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

/// A process left behind may hold the output open after its command has ended; this long we
/// listen to its silence.
const SILENCE: Duration = Duration::from_secs(5);

/// What to do about output that is read too slowly.
pub(crate) const ELSEWHERE: &str =
    "read it faster, or write it to files, here (--output-dir) or on the node";

/// A command under way.
pub(crate) struct Pump<'a> {
    pub channel: Channel,
    /// None: it has ended already.
    pub stdin: Option<Place>,
    pub stdout: Out,
    /// None: merged into stdout.
    pub stderr: Option<Out>,
    pub sudo: Option<Sudo>,
    pub run: &'a Run,
    pub node: &'a str,
    /// Never stop reading, however slow the sinks are.
    pub spool: bool,
    /// Told when more was said than can be kept: the command is to be ended.
    pub too_much: &'a Notify,
}

/// How it ended.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub exit: Option<Exit>,
    pub failure: Option<Failure>,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    pub output: Option<Box<Output>>,
    /// Nobody takes its output, and it may go on.
    pub unheard: bool,
}

impl Pump<'_> {
    /// Carries everything; returns when all output has left our hands.
    pub(crate) async fn carry(self) -> End {
        let writer = self.channel.writer();
        let go = Notify::new();
        if self.sudo.is_none() {
            go.notify_one();
        }
        let Pump { channel, stdin, stdout, stderr, sudo, run, node, spool, too_much } = self;
        let mut outputs = Outputs { stdout, stderr, end: End::default(), sudo, go: &go, run, node };
        let feed = pin!(feed(stdin, &writer, &go));
        {
            let output = pin!(async {
                match spool {
                    true => read_ahead(channel, &mut outputs, &writer, too_much).await,
                    false => read(channel, &mut outputs, &writer).await,
                }
            });
            // stdin may end long before or never: only the output decides.
            if let Either::Right(((), output)) = select(output, feed).await {
                output.await;
            }
        }
        outputs.finish().await
    }
}

/// Sends stdin, then end of file. A node that takes no more ends this, not the run.
async fn feed(stdin: Option<Place>, writer: &ChannelWriter, go: &Notify) {
    let Some(mut stdin) = stdin else { return };
    go.notified().await;
    while let Some(bytes) = stdin.next().await {
        if writer.write(bytes).await.is_err() {
            return;
        }
    }
    // The channel may be closed already.
    let _ = writer.eof().await;
}

/// Reads the channel to its end, or until nobody takes the output: it is closed then.
async fn read(mut channel: Channel, outputs: &mut Outputs<'_>, writer: &ChannelWriter) {
    while let Some(event) =
        next(&mut channel, outputs.end.exit.is_some() && outputs.run.guard).await
    {
        if outputs.take(event, writer).await.is_err() {
            return outputs.sink_gone();
        }
    }
}

/// The next event; after the exit only as long as somebody still talks.
async fn next(channel: &mut Channel, exited: bool) -> Option<ChannelEvent> {
    match exited {
        false => channel.next().await,
        true => tokio::time::timeout(SILENCE, channel.next()).await.ok().flatten(),
    }
}

/// Reads without ever waiting for a sink. The channel goes with its reader, before what was kept
/// has been taken: one that is held and not read stalls its connection.
async fn read_ahead(
    mut channel: Channel,
    outputs: &mut Outputs<'_>,
    writer: &ChannelWriter,
    too_much: &Notify,
) {
    let spool = Spool::new();
    let (ahead, guarded) = (&spool, outputs.run.guard);
    let reader = async move {
        let mut exited = false;
        while let Some(event) = next(&mut channel, exited && guarded).await {
            exited |= matches!(event, ChannelEvent::Exit(_) | ChannelEvent::Signal { .. });
            if ahead.push(event).is_err() {
                too_much.notify_one();
                break;
            }
        }
        ahead.close();
    };
    let taker = async {
        while let Some(event) = spool.next().await {
            if outputs.take(event, writer).await.is_err() {
                return outputs.sink_gone();
            }
        }
        if spool.is_full() {
            outputs.end.failure = Some(overflow(ELSEWHERE));
        }
    };
    let (reader, taker) = (pin!(reader), pin!(taker));
    // Once nobody takes the output, the reader goes too.
    if let Either::Left(((), taker)) = select(reader, taker).await {
        taker.await;
    }
}

/// Where a command's events go.
struct Outputs<'a> {
    stdout: Out,
    stderr: Option<Out>,
    end: End,
    sudo: Option<Sudo>,
    /// Lets stdin flow.
    go: &'a Notify,
    run: &'a Run,
    node: &'a str,
}

impl Outputs<'_> {
    async fn take(&mut self, event: ChannelEvent, writer: &ChannelWriter) -> Result<(), Gone> {
        match event {
            ChannelEvent::Out(bytes) => {
                self.end.stdout_bytes += bytes.len() as u64;
                self.stdout.write(bytes).await
            }
            ChannelEvent::Err(bytes) => {
                let bytes = self.heard(bytes, writer).await;
                self.err(bytes).await
            }
            ChannelEvent::Exit(status) => {
                self.end.exit = Some(Exit::Status(status));
                Ok(())
            }
            ChannelEvent::Signal { name, .. } => {
                self.end.exit = Some(Exit::Signal(name));
                Ok(())
            }
            ChannelEvent::Eof => Ok(()),
        }
    }

    async fn err(&mut self, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.end.stderr_bytes += bytes.len() as u64;
        self.stderr.as_mut().unwrap_or(&mut self.stdout).write(bytes).await
    }

    /// Answers sudo, and takes its prompts out of stderr.
    async fn heard(&mut self, bytes: Bytes, writer: &ChannelWriter) -> Bytes {
        let Some(sudo) = &mut self.sudo else { return bytes };
        let (shown, heard) = sudo.filter(&bytes);
        match heard {
            Heard::Nothing => {}
            Heard::Free => self.go.notify_one(),
            Heard::Asks => {
                let ask =
                    || self.run.questions.secret(PromptKind::Sudo, "[sudo] password", self.node);
                match self.run.secret.get_or_init(ask).await {
                    Some(secret) => {
                        // A channel that is closed says so when it is read.
                        let _ = writer.write(sudo::line(secret)).await;
                        self.go.notify_one();
                    }
                    None => {
                        self.refuse(
                            "sudoDeclined",
                            "sudo wants a password and none was given",
                            writer,
                        )
                        .await
                    }
                }
            }
            Heard::Rejected => {
                self.refuse("sudoRejected", "sudo refused the password", writer).await
            }
        }
        shown
    }

    async fn refuse(&mut self, code: &str, text: &str, writer: &ChannelWriter) {
        self.end.failure = Some(plain(Phase::Exec, code, text));
        let _ = writer.close().await;
    }

    /// Nobody takes the output: the command need not go on.
    fn sink_gone(&mut self) {
        let text = "the output could not be written";
        self.end.failure.get_or_insert_with(|| plain(Phase::Exec, "sinkGone", text));
        self.end.unheard = self.end.exit.is_none();
    }

    async fn finish(mut self) -> End {
        let held = self.sudo.as_mut().map(Sudo::rest).unwrap_or_default();
        // What cannot be written now has been counted as the sink's failure before.
        let _ = self.err(held).await;
        self.end.output = self.run.sinks.finish(self.stdout, self.stderr).await;
        self.end
    }
}

/// A connection from the node to elsewhere (`ssh -W`), until both directions have ended.
pub(crate) async fn dial(stream: Pipe, mut stdin: Place, mut stdout: Out) -> Ended {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut total = 0;
    {
        let up = pin!(async {
            while let Some(bytes) = stdin.next().await {
                if write.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            // The far side may have closed first.
            let _ = write.shutdown().await;
        });
        let down = pin!(async {
            let mut buffer = BytesMut::new();
            while let Ok(1..) = read.read_buf(&mut buffer).await {
                let bytes = buffer.split().freeze();
                total += bytes.len() as u64;
                if stdout.write(bytes).await.is_err() {
                    return;
                }
            }
        });
        if let Either::Right((_, down)) = select(down, up).await {
            down.await;
        }
    }
    stdout.finish().await;
    Ended { stdout_bytes: total, exit: Some(Exit::Status(0)), ..Ended::default() }
}
