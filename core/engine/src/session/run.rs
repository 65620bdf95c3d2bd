//! One command of a session, read from top to bottom: wait for its turn, start, carry its bytes,
//! end, take over what it left.

use super::carry::carry;
use super::control::{Control, see_it_gone};
use super::output::Output;
use super::payload::{self, LONGEST_LINE, Start};
use super::remote::Left;
use super::{Attached, Order, Running, Session, nonce};
use crate::engine::{Caller, Engine};
use crate::failure::{failure, how, incomplete, no_exit, overflow, plain};
use crate::lanes::Wanted;
use crate::stdin::Origin;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Exit, Failure, Phase};
use bssh_protocol::link::{Link, StreamSender};
use bssh_protocol::methods::{SessionExecDoneEvent, SessionExecRetryEvent};
use bssh_protocol::session::{
    ExecId, JobEntry, OnDisconnect, RemoteFate, SessionExecDone, SessionExecParams,
    SessionExecRetry, SessionExecStarted, StateUse, SyncBarrier,
};
use bssh_protocol::stream::{Source, WINDOW};
use bssh_ssh::error::{Error, ErrorKind};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, mpsc, oneshot};

/// The node's own watchdog comes this much later than our time limit.
const WATCHDOG_AFTER: u64 = 30;
/// How often a command that may be run twice is begun.
const MOST_ATTEMPTS: u32 = 5;
/// The variable by which processes are found that have left their group; see `helper.sh`.
const MARK: &str = "BSSH_EXEC";
/// What to do about output that is read too slowly.
const LESS: &str =
    "read it faster, show less of it (--max-output), or write it to a file on the node";
/// Signals on their way to one command.
const ORDERS: usize = 8;

/// A command that is about to run: answer first, then [`Engine::exec_launch`].
pub struct PreparedExec {
    pub started: SessionExecStarted,
    job: Job,
    /// The engine the session lives in, if it is another link's.
    owner: Option<Arc<Engine>>,
}

pub(super) struct Job {
    session: Arc<Session>,
    /// Of whoever wants it.
    link: Link,
    exec: ExecId,
    params: SessionExecParams,
    /// Standard output and error.
    outputs: (Output, Output),
    stdin: Option<Origin>,
    orders: mpsc::Receiver<Order>,
    /// The end of the one before, and our own.
    turn: Option<(Option<oneshot::Receiver<()>>, oneshot::Sender<()>)>,
    /// How often it was begun.
    attempts: u32,
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
        let params = session.rules.of_command(params);
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
        let ids = (stdout.id(), stderr.id(), stdin.as_ref().map(|(id, _)| *id));
        let mut job = self.job((session, link), params, (Some(stdout), Some(stderr)));
        job.stdin = stdin.map(|(_, receiver)| Origin::Link(receiver));
        let started =
            SessionExecStarted { exec: job.exec, stdout: ids.0, stderr: ids.1, stdin: ids.2 };
        Ok(PreparedExec { started, job, owner })
    }

    /// A command in its place in the queue.
    pub(super) fn job(
        &self,
        (session, link): (Arc<Session>, &Link),
        params: SessionExecParams,
        (out, err): (Option<StreamSender>, Option<StreamSender>),
    ) -> Job {
        let exec = self.new_id();
        let (orders, taken) = mpsc::channel(ORDERS);
        let mut memory = session.memory();
        memory.running.insert(exec, Running { orders, link: link.clone() });
        let turn = (params.state == StateUse::Update).then(|| {
            let (done, waits) = oneshot::channel();
            (memory.last.replace(waits), done)
        });
        drop(memory);
        let most = |stream| {
            let files = (session.wholes.clone(), format!("{exec}.{stream}."));
            params.max_output.map(|most| (most, files))
        };
        let (out, err) =
            (Output::new(link, out, most("stdout")), Output::new(link, err, most("stderr")));
        Job {
            session,
            link: link.clone(),
            exec,
            outputs: (out, err),
            params,
            stdin: None,
            orders: taken,
            turn,
            attempts: 0,
        }
    }

    /// Runs a prepared command; its end is an event.
    pub async fn exec_launch(self: Arc<Self>, prepared: PreparedExec) {
        let engine = prepared.owner.unwrap_or_else(|| self.clone());
        self.spawn(async move {
            prepared.job.run(&engine, true).await;
        })
        .await;
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
    if params.retry_safe && params.stdin == Source::Stream {
        return wrong("params.retrySafe", "what came from stdin cannot be given twice");
    }
    Ok(())
}

impl Job {
    /// Runs it, and tells of its end if somebody waits for the event; then the next in the queue
    /// may go.
    pub(super) async fn run(mut self, engine: &Engine, tells: bool) -> SessionExecDone {
        let begun = Instant::now();
        if let Some(before) = self.turn.as_mut().and_then(|(before, _)| before.take()) {
            // Whoever came before is over, or gone.
            let _ = before.await;
        }
        let session = self.session.clone();
        let (changed, mut told) = loop {
            self.attempts += 1;
            let outcome = self.on_node(engine).await;
            let (left, mut told) = outcome.unwrap_or_else(|failure| {
                (None, SessionExecDone { failure: Some(failure), ..Default::default() })
            });
            let changed = self.take_over(left, &mut told).await;
            if !self.goes_again(&told).await {
                break (changed, told);
            }
        };
        let (out, err) = self.outputs;
        (told.stdout_bytes, told.stdout_file) = out.finish().await;
        (told.stderr_bytes, told.stderr_file) = err.finish().await;
        {
            let mut memory = session.memory();
            memory.running.remove(&self.exec);
            if let Some(cwd) = changed {
                memory.rev += 1;
                memory.cwd = cwd;
            }
            told.cwd = memory.shown_cwd();
            told.rev = memory.rev;
        }
        (told.session, told.exec) = (session.id, self.exec);
        told.attempts = Some(self.attempts).filter(|n| *n > 1);
        told.duration_ms = crate::run::millis(begun.elapsed());
        if tells {
            // A link that is lost ends the session.
            let _ = self.link.notify::<SessionExecDoneEvent>(&told).await;
        }
        // The next one may go.
        drop(self.turn);
        told
    }

    /// Its connection was lost, and it may be run twice.
    async fn goes_again(&self, told: &SessionExecDone) -> bool {
        let lost = told.failure.as_ref().is_some_and(|failure| failure.retryable);
        let again = lost
            && self.params.retry_safe
            && self.attempts < MOST_ATTEMPTS
            && !told.interrupted
            && !told.timed_out;
        if again {
            let event = SessionExecRetry {
                session: self.session.id,
                exec: self.exec,
                attempt: self.attempts + 1,
                stdout_bytes: self.outputs.0.total,
                stderr_bytes: self.outputs.1.total,
            };
            let _ = self.link.notify::<SessionExecRetryEvent>(&event).await;
        }
        again
    }

    /// Fetches what the command has left; the directory afterwards if anything has changed. It is
    /// not told of before it is here: the connection may be lost at any time.
    async fn take_over(&self, left: Gone, told: &mut SessionExecDone) -> Option<Vec<u8>> {
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
            None if attached.helper.is_gone() => {
                let exit = told.exit.take();
                self.forgotten(&attached, told, exit).await;
                return None;
            }
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
        let pty = self.params.pty.as_ref();
        let lane = if self.params.dedicated { Wanted::Own } else { Wanted::Any };
        let (seat, mut channel, offer) = engine.session_channel(&session, pty, lane).await?;
        channel.exec(line.as_bytes()).await.map_err(|e| failure(&e))?;
        if let Some(offer) = offer {
            offer.settle(&channel).await;
        }
        self.outputs.0.begin(&nonce);
        if self.params.pty.is_none() {
            self.outputs.1.begin(&nonce);
        }
        let writer = channel.writer();
        let mut control = Control::default();
        let end = {
            let stdin = self.stdin.take();
            let break_off = Notify::new();
            let on = (&writer, &break_off);
            let carrying =
                pin!(carry(channel, &mut self.outputs, stdin, on, &seat.lease().connection));
            let of = (&*attached, number);
            let steering = pin!(control.steer(of, &self.params, on, &mut self.orders));
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
            ..SessionExecDone::default()
        };
        if end.overflow {
            attached.helper.signal("TERM", number).await;
            see_it_gone(&attached, number, &self.params).await;
            told.failure = Some(overflow(LESS));
            return Ok((None, told));
        }
        if let Some(broken) = end.broken {
            see_it_gone(&attached, number, &self.params).await;
            told.failure = Some(broken.failure());
            return Ok((None, told));
        }
        if end.exit.is_none() || end.cut {
            match seat.lease().lost(end.cut).await {
                Some(error) => self.lost(&mut told, (&attached, number), &error, end.exit),
                None => told.failure = Some(no_exit()),
            }
            return Ok((None, told));
        }
        drop(seat);
        let ended = control.timed_out || control.interrupted;
        if control.timed_out || (ended && self.params.kill_escaped) {
            see_it_gone(&attached, number, &self.params).await;
        }
        let left = attached.helper.end_of(number).await;
        match left {
            Some(Left::NoDirectory) => told.failure = Some(no_directory(&self.directory())),
            _ if !end.begun => told.failure = Some(not_begun()),
            None => self.forgotten(&attached, &mut told, end.exit).await,
            _ => told.exit = end.exit,
        }
        Ok((left.map(|left| (attached, number, left)), told))
    }

    /// A command is over, and what it left behind went with the helper before it was here: it has
    /// failed, unless it was to leave nothing or was ended with the session.
    async fn forgotten(&self, attached: &Attached, told: &mut SessionExecDone, exit: Option<Exit>) {
        // As a shell says that a signal has ended it.
        let was_ended = match &exit {
            Some(Exit::Status(status)) => (129..=192).contains(status),
            Some(Exit::Signal(_)) | None => true,
        };
        if was_ended || self.params.state != StateUse::Update || self.session.is_closed() {
            told.exit = exit;
            return;
        }
        let hint = exit.as_ref().map(|exit| {
            format!("the command had {}, but the session is as it was before it", how(exit))
        });
        let why = attached.lost().await;
        (told.exit, told.failure) = (None, Some(Failure { hint, ..why }));
    }

    /// What is known of a command whose connection was lost.
    fn lost(
        &self,
        told: &mut SessionExecDone,
        (attached, number): (&Attached, u64),
        error: &Error,
        exit: Option<Exit>,
    ) {
        let mut failure = failure(error);
        let keeps = self.keeps();
        if let Some(exit) = exit {
            failure.hint = Some(incomplete(&exit));
        } else {
            told.remote_fate = Some(match error.kind {
                _ if keeps => RemoteFate::Kept,
                // The node may not have noticed yet.
                ErrorKind::KeepaliveTimeout { .. } => RemoteFate::Unknown,
                _ => RemoteFate::Killed,
            });
        }
        told.failure = Some(failure);
        if keeps {
            let command = self.params.command.clone();
            self.session.note_job(&attached.dir, JobEntry { job: number, command });
            told.job = Some(number);
        }
    }

    fn keeps(&self) -> bool {
        let own = self.params.on_disconnect.unwrap_or(self.session.rules.on_disconnect);
        own == OnDisconnect::Keep
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

    fn directory(&self) -> Vec<u8> {
        let memory = self.session.memory();
        let home = memory.home.as_bytes();
        let from = match self.params.state {
            StateUse::None => home,
            StateUse::Update | StateUse::Read => &memory.cwd,
        };
        match self.params.cwd.as_deref() {
            None => from.to_owned(),
            Some("~") => home.to_owned(),
            Some(path) if path.starts_with('/') => path.into(),
            Some(path) => match path.strip_prefix("~/") {
                Some(rest) => [home, rest.as_bytes()].join(&b'/'),
                None => [from.strip_suffix(b"/").unwrap_or(from), path.as_bytes()].join(&b'/'),
            },
        }
    }

    async fn line(
        &self,
        attached: &Attached,
        (number, stable): (u64, &str),
        nonce: &str,
    ) -> Result<String, Failure> {
        let (mark, pty) = (self.params.kill_escaped.then_some(nonce), self.params.pty.as_ref());
        let mut env = self.params.env.clone();
        if let Some(pty) = pty {
            env.entry("TERM".to_owned()).or_insert_with(|| pty.term.clone());
        }
        env.extend(mark.map(|mark| (MARK.to_owned(), mark.to_owned())));
        let (before, after) = payload::env(env.iter());
        let limit = self.params.timeout_ms.unwrap_or(0);
        let state_file = match self.params.state {
            StateUse::None => String::new(),
            StateUse::Update | StateUse::Read => attached.state_file(),
        };
        let mut start = Start {
            dir: &attached.dir,
            shell: &attached.shell,
            kind: &attached.kind,
            number,
            update: self.params.state == StateUse::Update,
            state_file: &state_file,
            cwd: &self.directory(),
            command: &self.params.command,
            env: (&before, &after),
            fate: if self.keeps() { 'k' } else { 'd' },
            stable,
            terminal: pty.is_some(),
            mark: mark.unwrap_or_default(),
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

fn no_directory(cwd: &[u8]) -> Failure {
    let hint = "cd somewhere else; nothing was run";
    let text = format!("the directory {} is gone", String::from_utf8_lossy(cwd));
    Failure { hint: Some(hint.to_owned()), ..plain(Phase::Exec, "cwdMissing", text) }
}

fn not_begun() -> Failure {
    let text = "the login shell ended before the command could begin";
    plain(Phase::Exec, "sessionFailed", text)
}
