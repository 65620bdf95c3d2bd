//! One command of a session, read from top to bottom: wait for its turn, start, carry its bytes,
//! end, take over what it left.

use super::output::Output;
use super::payload::{self, LONGEST_LINE, Start};
use super::remote::{Left, Sent};
use super::{Attached, Order, Running, Session, nonce};
use crate::engine::{Caller, Engine};
use crate::failure::{failure, plain};
use crate::spool::Spool;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Exit, Failure, Phase};
use bssh_protocol::link::{Link, StreamReceiver, StreamSender};
use bssh_protocol::methods::SessionExecDoneEvent;
use bssh_protocol::session::{
    ExecId, SessionExecDone, SessionExecParams, SessionExecStarted, StateUse, SyncBarrier,
};
use bssh_protocol::stream::{Source, WINDOW};
use bssh_ssh::{Channel, ChannelEvent, ChannelWriter};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// What is left behind may hold the output open; this long its silence is listened to.
const DRAIN: Duration = Duration::from_millis(300);
/// From TERM to KILL.
const GRACE: Duration = Duration::from_secs(5);
/// The node's own watchdog comes this much later than our time limit.
const WATCHDOG_AFTER: u64 = 30;
/// Signals on their way to one command.
const ORDERS: usize = 8;
/// A command that has not written down its number yet is asked for again this often.
const NOT_YET: Duration = Duration::from_millis(25);
const NOT_YET_TRIES: u32 = 40;

/// A command that is about to run: answer first, then [`Engine::exec_launch`].
pub struct PreparedExec {
    pub started: SessionExecStarted,
    job: Job,
    /// The engine the session lives in, if it is another link's.
    owner: Option<Arc<Engine>>,
}

struct Job {
    session: Arc<Session>,
    /// Of whoever wants it.
    link: Link,
    exec: ExecId,
    params: SessionExecParams,
    /// Standard output and error, until they are carried.
    outputs: Option<(StreamSender, StreamSender)>,
    stdin: Option<StreamReceiver>,
    orders: mpsc::Receiver<Order>,
    /// The end of the one before, and our own.
    turn: Option<(Option<oneshot::Receiver<()>>, oneshot::Sender<()>)>,
}

impl Engine {
    /// `session/exec`.
    ///
    /// # Errors
    /// `handle.unknown`; a command, a name or a value that no shell can be given.
    pub fn session_exec(
        &self,
        caller: &Caller,
        params: SessionExecParams,
    ) -> Result<PreparedExec, CallError> {
        let (owner, session) = self.session(params.session)?;
        check(&params)?;
        let link = &caller.link;
        let window = params.window.unwrap_or(WINDOW);
        let (stdout, stderr) = (link.new_sender(window), link.new_sender(window));
        let stdin = match params.stdin {
            Source::Stream => {
                let id = link.new_stream_id();
                Some((id, link.receiver(id, WINDOW)))
            }
            _ => None,
        };
        let exec = self.new_id();
        let (orders, taken) = mpsc::channel(ORDERS);
        let mut memory = session.memory();
        memory.running.insert(exec, Running { orders, link: link.clone() });
        let turn = (params.state == StateUse::Update).then(|| {
            let (done, waits) = oneshot::channel();
            (memory.last.replace(waits), done)
        });
        drop(memory);
        let started = SessionExecStarted {
            exec,
            stdout: stdout.id(),
            stderr: stderr.id(),
            stdin: stdin.as_ref().map(|(id, _)| *id),
        };
        let stdin = stdin.map(|(_, receiver)| receiver);
        let outputs = Some((stdout, stderr));
        let link = link.clone();
        let job = Job { session, link, exec, params, outputs, stdin, orders: taken, turn };
        Ok(PreparedExec { started, job, owner })
    }

    /// Runs a prepared command; its end is an event.
    pub async fn exec_launch(self: Arc<Self>, prepared: PreparedExec) {
        let engine = prepared.owner.unwrap_or_else(|| self.clone());
        self.spawn(async move { prepared.job.run(&engine).await }).await;
    }
}

fn check(params: &SessionExecParams) -> Result<(), CallError> {
    let wrong = |at: &str, text: &str| {
        Err(CallError::new(Kind::InvalidParams, format!("{at}: {text}")).at(at))
    };
    if params.command.trim().is_empty() {
        return wrong("params.command", "no command");
    }
    let values = params.env.values().chain([&params.command]).chain(&params.cwd);
    if values.clone().any(|v| v.contains('\0')) {
        return wrong("params.command", "a NUL byte cannot be given to a shell");
    }
    if let Some(name) = params.env.keys().find(|name| !payload::is_name(name)) {
        return wrong("params.env", &format!("{name:?} is no name of a variable"));
    }
    if !matches!(params.stdin, Source::Null | Source::Stream) {
        return wrong("params.stdin", "null or stream");
    }
    Ok(())
}

impl Job {
    async fn run(mut self, engine: &Engine) {
        let begun = Instant::now();
        if let Some(before) = self.turn.as_mut().and_then(|(before, _)| before.take()) {
            // Whoever came before is over, or gone.
            let _ = before.await;
        }
        let session = self.session.clone();
        let outcome = self.on_node(engine).await;
        let (left, mut told) = match outcome {
            Ok((left, told)) => (left, told),
            Err(failure) => {
                (None, SessionExecDone { failure: Some(failure), ..Default::default() })
            }
        };
        if let Some((out, err)) = self.outputs.take() {
            // It never ran: its streams are empty.
            let _ = out.finish().await;
            let _ = err.finish().await;
        }
        let changed = self.take_over(left).await;
        {
            let mut memory = session.memory();
            memory.running.remove(&self.exec);
            if let Some(cwd) = changed {
                memory.rev += 1;
                memory.cwd = cwd;
            }
            told.cwd.clone_from(&memory.cwd);
            told.rev = memory.rev;
        }
        (told.session, told.exec) = (session.id, self.exec);
        told.duration_ms = crate::run::millis(begun.elapsed());
        // A link that is lost ends the session.
        let _ = self.link.notify::<SessionExecDoneEvent>(&told).await;
        // The next one may go.
        drop(self.turn);
    }

    /// Fetches what the command has left; the directory afterwards if anything has changed. It is
    /// not told of before it is here: the connection may be lost at any time.
    async fn take_over(&self, left: Gone) -> Option<String> {
        let (attached, number, Left::State { cwd, is_new }) = left? else { return None };
        let session = &self.session;
        let stays = session.memory().cwd.clone();
        let cwd = if self.params.cwd.is_none() { cwd } else { stays.clone() };
        if !is_new {
            return (cwd != stays).then_some(cwd);
        }
        let file = format!("{number}.st");
        let before = attached.state_file();
        attached.set_state_file(&file);
        match super::keep::read_all(&attached.helper, &file).await {
            Some(state) => session.set_state(state, None),
            // Lost just now: the session comes back as it was before.
            None if attached.helper.is_gone() => return None,
            // Too large to be kept here: it goes on without a way back.
            None => {}
        }
        // Readers may be using the old one.
        if session.memory().running.len() <= 1 {
            attached.helper.remove(&before).await;
        }
        Some(cwd)
    }

    async fn on_node(&mut self, engine: &Engine) -> Result<(Gone, SessionExecDone), Failure> {
        let session = self.session.clone();
        let attached = session.ready().await?;
        let unsent = self.barrier(engine).await?;
        let number = session.number();
        let nonce = nonce();
        let route = session.route.as_ref().map_err(Clone::clone)?;
        let stable = session.stable_agent(engine, route);
        let line = self.line(&attached, (number, &stable), &nonce).await?;
        let ask = engine.ask_for(&session.questions);
        let opened = engine.lanes.open(engine.pool(), route, &ask).await;
        let (seat, mut channel) = opened.map_err(|e| failure(&e))?;
        let offer = session.offer_agent(engine, (seat.lease(), route), &mut channel).await?;
        channel.exec(line.as_bytes()).await.map_err(|e| failure(&e))?;
        if let Some(offer) = offer {
            offer.settle(&channel).await;
        }
        let most = self.params.max_output;
        let Some((out, err)) = self.outputs.take() else { return Err(no_exit()) };
        let out = Output::new(&self.link, out, &nonce, most);
        let err = Output::new(&self.link, err, &nonce, most);
        let writer = channel.writer();
        let mut control = Control { timed_out: false, interrupted: false };
        let end = {
            let stdin = self.stdin.take();
            let carrying = pin!(carry(channel, (out, err), stdin, &writer));
            let steering = pin!(control.steer(&attached, number, &self.params, &mut self.orders));
            match select(carrying, steering).await {
                Either::Left((end, _)) => end,
                Either::Right(((), carrying)) => carrying.await,
            }
        };
        let mut told = SessionExecDone {
            sync_failure: unsent,
            timed_out: control.timed_out,
            interrupted: control.interrupted,
            detached_output: end.detached,
            stdout_bytes: end.stdout,
            stderr_bytes: end.stderr,
            ..SessionExecDone::default()
        };
        if end.exit.is_none() {
            let closed = seat.lease().connection.closed();
            let lost = tokio::time::timeout(Duration::from_secs(1), closed).await;
            told.failure = Some(lost.map_or_else(|_| no_exit(), |error| failure(&error)));
            return Ok((None, told));
        }
        drop(seat);
        if control.timed_out {
            see_it_gone(&attached, number, &self.params).await;
        }
        let left = attached.helper.end_of(number).await;
        match left {
            Some(Left::NoDirectory) => told.failure = Some(no_directory(&self.directory())),
            _ if !end.begun => told.failure = Some(not_begun()),
            _ => told.exit = end.exit,
        }
        Ok((left.map(|left| (attached, number, left)), told))
    }

    /// What has changed here is on the node first. Ok: nothing, or what was not sent all the same.
    async fn barrier(&self, engine: &Engine) -> Result<Option<Failure>, Failure> {
        let Some(barrier) = &self.session.barrier else { return Ok(None) };
        match self.params.sync_barrier {
            SyncBarrier::Off => Ok(None),
            SyncBarrier::Require => barrier.pass(engine).await.map(|()| None),
            SyncBarrier::Warn => Ok(barrier.pass(engine).await.err()),
        }
    }

    fn directory(&self) -> String {
        let memory = self.session.memory();
        match self.params.cwd.as_deref() {
            None => memory.cwd.clone(),
            Some("~") => memory.home.clone(),
            Some(path) if path.starts_with('/') => path.to_owned(),
            Some(path) => match path.strip_prefix("~/") {
                Some(rest) => format!("{}/{rest}", memory.home),
                None => format!("{}/{path}", memory.cwd.trim_end_matches('/')),
            },
        }
    }

    async fn line(
        &self,
        attached: &Attached,
        (number, stable): (u64, &str),
        nonce: &str,
    ) -> Result<String, Failure> {
        let (before, after) = payload::env(self.params.env.iter());
        let limit = self.params.timeout_ms.unwrap_or(0);
        let mut start = Start {
            dir: &attached.dir,
            shell: &attached.shell,
            kind: &attached.kind,
            number,
            update: self.params.state == StateUse::Update,
            state_file: &attached.state_file(),
            cwd: &self.directory(),
            command: &self.params.command,
            env: (&before, &after),
            fate: 'd',
            stable,
            watchdog_s: if limit == 0 { 0 } else { limit.div_ceil(1000) + WATCHDOG_AFTER },
            nonce,
        };
        if !self.params.private {
            let line = start.line();
            if line.len() <= LONGEST_LINE {
                return Ok(line);
            }
        }
        let file = format!("{number}.in");
        if !attached.helper.write(&file, self.params.command.as_bytes()).await {
            let text = "the command could not be written to the node";
            return Err(plain(Phase::Exec, "sessionFailed", text));
        }
        start.command = "";
        Ok(start.line())
    }
}

type Gone = Option<(Arc<Attached>, u64, Left)>;

fn no_exit() -> Failure {
    plain(Phase::Exec, "noExit", "the server closed the channel without an exit status")
}

fn no_directory(cwd: &str) -> Failure {
    let hint = "cd somewhere else; nothing was run";
    let text = format!("the directory {cwd} is gone");
    Failure { hint: Some(hint.to_owned()), ..plain(Phase::Exec, "cwdMissing", text) }
}

fn not_begun() -> Failure {
    let text = "the login shell ended before the command could begin";
    plain(Phase::Exec, "sessionFailed", text)
}

/// Ends a command on request or in time.
struct Control {
    timed_out: bool,
    interrupted: bool,
}

impl Control {
    /// Never has anything more to do than the command lasts.
    async fn steer(
        &mut self,
        attached: &Attached,
        number: u64,
        params: &SessionExecParams,
        orders: &mut mpsc::Receiver<Order>,
    ) {
        let limit = params.timeout_ms.filter(|ms| *ms > 0).map(Duration::from_millis);
        let mut time_is_up = pin!(async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        });
        self.timed_out = loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Signal(signal)) => {
                        self.interrupted = true;
                        send(attached, &signal, number).await;
                    }
                    Some(Order::End) => {
                        self.interrupted = true;
                        break false;
                    }
                    None => time_is_up.as_mut().await,
                },
                () = &mut time_is_up => break true,
            }
        };
        send(attached, "TERM", number).await;
        tokio::time::sleep(params.kill_grace_ms.map_or(GRACE, Duration::from_millis)).await;
        send(attached, "KILL", number).await;
        std::future::pending::<()>().await;
    }
}

/// Sends a signal to a command that may not have written down its number yet.
async fn send(attached: &Attached, signal: &str, number: u64) {
    for _ in 0..NOT_YET_TRIES {
        if attached.helper.signal(signal, number).await != Some(Sent::NoSuch) {
            return;
        }
        tokio::time::sleep(NOT_YET).await;
    }
}

/// The shell is gone, but what it started may not have heeded TERM.
async fn see_it_gone(attached: &Attached, number: u64, params: &SessionExecParams) {
    let grace = params.kill_grace_ms.map_or(GRACE, Duration::from_millis);
    let end = Instant::now() + grace;
    while attached.helper.signal("0", number).await == Some(Sent::Yes) {
        if Instant::now() >= end {
            attached.helper.signal("KILL", number).await;
            return;
        }
        tokio::time::sleep(NOT_YET).await;
    }
}

/// How the bytes of a command ended.
#[derive(Default)]
struct End {
    exit: Option<Exit>,
    begun: bool,
    detached: bool,
    stdout: u64,
    stderr: u64,
}

/// Carries everything until the channel ends, or nothing more is worth waiting for. Others share
/// the connection, so it is read at all times; what the frontend does not take yet is kept.
async fn carry(
    mut channel: Channel,
    (mut out, mut err): (Output, Output),
    stdin: Option<StreamReceiver>,
    writer: &ChannelWriter,
) -> End {
    let spool = Spool::new();
    let mut end = End::default();
    let reading = async {
        let mut detached = false;
        let (mut exited, mut all) = (false, false);
        loop {
            let next = match exited && !all {
                false => channel.next().await,
                true => match tokio::time::timeout(DRAIN, channel.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        detached = true;
                        break;
                    }
                },
            };
            let Some(event) = next else { break };
            exited |= matches!(event, ChannelEvent::Exit(_) | ChannelEvent::Signal { .. });
            all |= matches!(event, ChannelEvent::Eof);
            if spool.push(event).is_err() {
                break;
            }
        }
        spool.close();
        detached
    };
    let taking = async {
        let mut exit = None;
        while let Some(event) = spool.next().await {
            match event {
                ChannelEvent::Out(bytes) => out.take(bytes).await,
                ChannelEvent::Err(bytes) => err.take(bytes).await,
                ChannelEvent::Exit(status) => exit = Some(Exit::Status(status)),
                ChannelEvent::Signal { name, .. } => exit = Some(Exit::Signal(name)),
                ChannelEvent::Eof => {}
            }
        }
        exit
    };
    {
        let both = pin!(async { tokio::join!(reading, taking) });
        let feeding = pin!(feed(stdin, writer));
        let (detached, exit) = match select(both, feeding).await {
            Either::Left((done, _)) => done,
            Either::Right(((), both)) => both.await,
        };
        (end.detached, end.exit) = (detached, exit);
    }
    end.begun = out.has_begun();
    (end.stdout, end.stderr) = (out.finish().await, err.finish().await);
    end
}

async fn feed(stdin: Option<StreamReceiver>, writer: &ChannelWriter) {
    if let Some(mut stdin) = stdin {
        while let Some(Ok(bytes)) = stdin.next().await {
            // A command that reads no more is no error.
            if writer.write(bytes).await.is_err() {
                return;
            }
        }
    }
    let _ = writer.eof().await;
}
