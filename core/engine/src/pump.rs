//! The bytes of one command: stdin to the node, output to its sinks, until the channel closes.
//!
//! A connection that carries only this command is simply not read while a sink is slow. One that
//! others share must be read at all times, and so must any once its command is to be ended: then
//! output waits in memory and in an unlinked file. Whoever says more than that has room for is left at once, and ended by [`crate::exec`].

use crate::descriptor::Gone;
use crate::failure::{overflow, plain, unwritten};
use crate::pool::Lease;
use crate::run::Run;
use crate::sink::Out;
use crate::spool::Spool;
use crate::stdin::{Broken, Place};
use crate::sudo::{self, Heard, Sudo};
use bssh_protocol::auth::PromptKind;
use bssh_protocol::exec::{Action, Exit, Failure, Output, Phase};
use bssh_ssh::{Channel, ChannelEvent, ChannelWriter, Connection};
use bytes::Bytes;
use futures_util::future::{Either, select};
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A process left behind may hold the output open after its command has ended; this long we
/// listen to its silence.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a command may take to be gone that cannot have the rest of its stdin.
const LAST: Duration = Duration::from_secs(15);
/// How long one may take that only its server can end.
const HEED: Duration = Duration::from_secs(2);

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
    pub lease: &'a Arc<Lease>,
    pub signs: &'a Signs,
}

/// What a pump and whoever sees its command through tell each other.
#[derive(Default)]
pub(crate) struct Signs {
    /// More was said than can be kept, or stdin cannot go on: the command is to be ended.
    pub broken_off: Notify,
    /// The command is being ended, and its connection must be read, however slow the sinks are.
    pub read_on: Notify,
}

/// How it ended.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub exit: Option<Exit>,
    /// The connection was lost before all was told.
    pub cut: bool,
    pub failure: Option<Failure>,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    pub output: Option<Box<Output>>,
    /// It has been left, and may go on.
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
        let Pump { channel, stdin, stdout, stderr, sudo, run, node, lease, signs } = self;
        let end = End::default();
        let mut outputs = Outputs { stdout, stderr, deaf: false, end, sudo, go: &go, run, node };
        let feed = pin!(feed(stdin, &writer, &go));
        let fed = {
            let output = pin!(read(channel, &mut outputs, &writer, (lease, signs)));
            // stdin may end long before or never: only the output decides.
            match select(output, feed).await {
                Either::Right((Ok(()), output)) => {
                    output.await;
                    Ok(())
                }
                Either::Right((broken, output)) => {
                    // A channel that is closed is the end of stdin, too: the command goes first.
                    let limit = match run.guard {
                        true => {
                            signs.broken_off.notify_one();
                            LAST
                        }
                        false if is_dial(run) => Duration::ZERO,
                        // Nobody else ends it, and not every server heeds this.
                        false => {
                            let _ = writer.signal("TERM").await;
                            HEED
                        }
                    };
                    let _ = tokio::time::timeout(limit, output).await;
                    broken
                }
                Either::Left(_) => Ok(()),
            }
        };
        if let Err(broken) = fed {
            outputs.leave(broken.failure());
        }
        outputs.finish().await
    }
}

/// Sends stdin, then end of file. A node that takes no more ends this, not the run.
async fn feed(stdin: Option<Place>, writer: &ChannelWriter, go: &Notify) -> Result<(), Broken> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    go.notified().await;
    while let Some(bytes) = stdin.next().await? {
        if writer.write(bytes).await.is_err() {
            return Ok(());
        }
    }
    // The channel may be closed already.
    let _ = writer.eof().await;
    Ok(())
}

/// Reads the channel to its end, or until nothing more is wanted of it: it is closed then.
///
/// A sink may take its time. While the channel must be read all the same, what comes meanwhile is
/// kept. The channel goes with its last event, before what was kept has been taken:
/// one that is held and not read stalls its connection.
async fn read(
    channel: Channel,
    outputs: &mut Outputs<'_>,
    writer: &ChannelWriter,
    (lease, signs): (&Arc<Lease>, &Signs),
) {
    let (kept, guarded) = (Spool::new(), outputs.run.guard.then_some(&lease.connection));
    let is_dial = is_dial(outputs.run);
    // Many nodes are read in turn: what one says must not keep signals from it meanwhile.
    let mut ahead = outputs.run.nodes.len() > 1;
    let (mut channel, mut exited) = (Some(channel), false);
    let is_full = loop {
        let event = match kept.pop() {
            Some(event) => Some(event),
            None => next(&mut channel, &mut exited, guarded).await,
        };
        let event = match event {
            Some(ChannelEvent::Eof) if is_dial => None,
            Some(ChannelEvent::Err(_)) if is_dial => continue,
            event => event,
        };
        let Some(event) = event else { break kept.is_full() };
        let reading = async {
            loop {
                if !ahead {
                    tokio::select! {
                        () = signs.read_on.notified() => ahead = true,
                        () = lease.shared() => {}
                    }
                }
                let Some(event) = next(&mut channel, &mut exited, guarded).await else { break };
                if kept.push(event).is_err() {
                    signs.broken_off.notify_one();
                    channel = None;
                }
            }
            pending::<()>().await;
        };
        let taken = {
            let (taken, reading) = (pin!(outputs.take(event, writer)), pin!(reading));
            match select(taken, reading).await {
                Either::Left((taken, _)) => taken,
                Either::Right(_) => Ok(()),
            }
        };
        if let Err(gone) = taken {
            // Whoever takes no more of a connection to elsewhere has what they wanted.
            if !is_dial || !gone.is_unread() {
                outputs.leave(unwritten(gone));
            }
            break false;
        }
    };
    if is_full {
        outputs.end.failure = Some(overflow(ELSEWHERE));
    }
    if let (true, Some(channel)) = (is_dial, channel) {
        channel.cut();
    }
}

/// It is no command, but a connection to elsewhere.
fn is_dial(run: &Run) -> bool {
    matches!(run.params.action, Action::Dial { .. })
}

/// The next event; after the exit of a command that is `guarded` only as long as somebody on its
/// connection still talks. With the last one the channel goes.
async fn next(
    channel: &mut Option<Channel>,
    exited: &mut bool,
    guarded: Option<&Connection>,
) -> Option<ChannelEvent> {
    let events = channel.as_mut()?;
    let event = match guarded.filter(|_| *exited) {
        None => events.next().await,
        Some(connection) => {
            match select(pin!(events.next()), Box::pin(connection.settled(SILENCE))).await {
                Either::Left((event, _)) => event,
                Either::Right(_) => None,
            }
        }
    };
    match &event {
        Some(ChannelEvent::Exit(_) | ChannelEvent::Signal { .. }) => *exited = true,
        Some(_) => {}
        None => *channel = None,
    }
    event
}

/// Where a command's events go.
struct Outputs<'a> {
    stdout: Out,
    stderr: Option<Out>,
    /// Nobody takes stderr any more.
    deaf: bool,
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
                self.err(bytes).await?;
                // After a refusal nothing is waited for.
                if self.end.failure.is_some() { Err(Gone::default()) } else { Ok(()) }
            }
            ChannelEvent::Exit(status) => {
                self.end.exit = Some(Exit::Status(status));
                Ok(())
            }
            ChannelEvent::Signal { name, .. } => {
                self.end.exit = Some(Exit::Signal(name));
                Ok(())
            }
            ChannelEvent::Cut => {
                self.end.cut = true;
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
        match &mut self.stderr {
            // What nobody need end goes on, as in ssh, unheard.
            Some(stderr) if !self.run.guard => {
                self.deaf = self.deaf || stderr.write(bytes).await.is_err();
                Ok(())
            }
            Some(stderr) => stderr.write(bytes).await,
            None => self.stdout.write(bytes).await,
        }
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
        // sudo reads the end of its stdin, and goes; the command was never started.
        let _ = writer.eof().await;
        let _ = writer.close().await;
    }

    /// The command need not go on: nobody takes its output, or it cannot have its stdin.
    fn leave(&mut self, why: Failure) {
        if self.end.failure.is_none() {
            self.end.failure = Some(why);
            self.end.unheard = self.end.exit.is_none();
        }
    }

    async fn finish(mut self) -> End {
        let held = self.sudo.as_mut().map(Sudo::rest).unwrap_or_default();
        // What cannot be written now has been counted as the sink's failure before.
        let _ = self.err(held).await;
        let (output, [out, err]) = self.run.sinks.finish(self.stdout, self.stderr).await;
        self.end.output = output;
        // As above: stderr may go on unheard.
        let written = if self.run.guard { out.and(err) } else { out };
        if let Err(gone) = written {
            self.end.failure.get_or_insert_with(|| unwritten(gone));
        }
        self.end
    }
}

/// Carries a connection from a node to elsewhere until the far side has ended.
pub(crate) async fn dial(
    run: &Run,
    node: &str,
    (lease, channel): (&Arc<Lease>, Channel),
    stdout: Out,
) -> End {
    let (stdin, stderr, sudo) = (Some(run.stdin.open().await), None, None);
    let signs = &Signs::default();
    Pump { channel, stdin, stdout, stderr, sudo, run, node, lease, signs }.carry().await
}
