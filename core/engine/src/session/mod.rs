//! Sessions: what a person calls a shell on a node, made of single processes.
//!
//! Every command is a channel of its own, so its streams and its exit are exact. What it leaves
//! behind (directory, environment, functions, aliases) comes back through files of a helper and
//! is kept here, so that it can be put back after the connection was lost. Nothing is installed
//! on the node; nothing is parsed out of what a command prints.
//!
//! Reading order: this (the calls), `keep` (a session's life), `remote` (the helper on the node),
//! `run` (one command), `carry` and `control` (its bytes, its end), `calls` (cd, setenv and the
//! like), `defined` (those of the configuration), `shared` (sessions that outlive their link), `output`, `job`, `payload` (how things are said to the node), and the
//! scripts `helper.sh`, `outer.sh`, `inner.sh`.

mod calls;
mod carry;
mod control;
mod defined;
mod job;
mod keep;
mod output;
mod payload;
mod remote;
mod rules;
mod run;
mod shared;

use crate::engine::{Caller, Engine};
use crate::failure::{failure, plain};
use crate::journal::Noted;
use crate::plan::{Planner, Route};
use crate::questions::Questions;
use crate::sync::Barrier;
use crate::whole::Wholes;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::session::{
    ExecId, JobEntry, SessionEntry, SessionId, SessionNode, SessionOpenParams, SessionReady,
    SessionRef, SessionSignal, SessionsOpened,
};
use bytes::Bytes;
pub(crate) use payload::{bootstrap, quote};
use remote::{Facts, Helper};
use rules::Rules;
pub use run::PreparedExec;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

/// How many nodes are connected to at once.
const FANOUT: u32 = 64;
/// The end of a helper's channel comes before the end of its connection, by so much at most.
const ALONE: Duration = Duration::from_millis(300);
/// The code of a session whose helper has gone, and its connection has not.
const GONE: &str = "sessionLost";

/// Every session of the core.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<BTreeMap<SessionId, Arc<Session>>>,
}

/// One session.
pub(crate) struct Session {
    id: SessionId,
    node: String,
    name: Option<String>,
    /// It outlives its link, and other links may use it.
    keep: bool,
    route: Result<Arc<Route>, Failure>,
    link: Link,
    questions: Arc<Questions>,
    rules: Rules,
    /// Turns at connecting, shared by the sessions that were opened together.
    gate: Arc<Semaphore>,
    kick: Notify,
    reset: Notify,
    closing: watch::Sender<bool>,
    /// Rises with every change of the stage.
    changed: watch::Sender<u64>,
    /// Numbers of commands in its directory.
    numbers: AtomicU64,
    /// Whole outputs of its commands.
    wholes: Arc<Wholes>,
    /// What is sent before each command.
    barrier: Option<Arc<Barrier>>,
    noted: Noted,
    memory: Mutex<Memory>,
}

/// What the core knows about a session, whatever becomes of its connection.
struct Memory {
    stage: Stage,
    /// As the node names it; frontends are shown it as text.
    cwd: Vec<u8>,
    home: String,
    rev: u64,
    state: Option<Bytes>,
    running: BTreeMap<ExecId, Running>,
    /// The directory of the last helper.
    dir: Option<String>,
    /// The directory of the jobs, if there are any, and what was started.
    jobs: Option<(String, Vec<JobEntry>)>,
    /// The end of the last command that changes the state.
    last: Option<oneshot::Receiver<()>>,
}

/// A command that runs or waits.
struct Running {
    orders: mpsc::Sender<Order>,
    /// Of whoever started it.
    link: Link,
}

/// What a command is told.
enum Order {
    /// A signal's name.
    Signal(String),
    /// Its terminal's new size.
    Resize(bssh_ssh::PtyRequest),
    /// Nobody waits for it any more.
    End,
}

#[derive(Clone)]
enum Stage {
    Connecting(u32),
    Ready(Arc<Attached>, SessionReady),
    Lost(Failure, Option<Duration>),
    Closed,
}

/// A session's hold on its node.
struct Attached {
    helper: Helper,
    connection: bssh_ssh::Connection,
    dir: String,
    shell: String,
    kind: String,
    /// The file that holds the state now.
    state_file: Mutex<String>,
}

/// What is put back on a node.
struct Before {
    state: Option<Bytes>,
    adopt: Option<String>,
    /// Where the helper before was.
    dir: Option<String>,
}

impl Sessions {
    fn open(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Session>>> {
        lock(&self.open)
    }

    pub(crate) fn has(&self, id: SessionId) -> bool {
        self.open().contains_key(&id)
    }

    fn get(&self, id: SessionId) -> Option<Arc<Session>> {
        self.open().get(&id).cloned()
    }
}

/// Sessions that are about to connect: answer first, then [`Engine::sessions_launch`].
pub struct PreparedSessions {
    pub opened: SessionsOpened,
    sessions: Vec<Arc<Session>>,
}

impl Engine {
    /// `session/open`: reads files and plans. Dials nothing.
    ///
    /// # Errors
    /// What is wrong with the request as a whole.
    pub async fn session_open(
        &self,
        caller: &Caller,
        params: &SessionOpenParams,
    ) -> Result<PreparedSessions, CallError> {
        let params = &self.with_definition(params)?;
        let names = params.env_exclude.iter().map(|name| ("params.envExclude", name));
        let mut names = names.chain(params.env.keys().map(|name| ("params.env", name)));
        if let Some((at, bad)) = names.find(|(_, name)| !payload::is_name(name)) {
            let text = format!("{at}: {bad:?} is no name of a variable");
            return Err(CallError::new(Kind::InvalidParams, text).at(at));
        }
        let literal = params.targets.destination.is_some();
        let planner = Planner::new(self.env(), &params.targets.settings, !literal)?;
        let nodes = planner.nodes(&params.targets).await?;
        let gate = Arc::new(Semaphore::new(params.fanout.unwrap_or(FANOUT).max(1) as usize));
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let syncs = (&params.sync[..], &params.targets.settings);
        let barriers = self.barriers(caller, syncs, &names).await?;
        let open = |(node, barrier): (crate::plan::NodePlan, _)| {
            let id = self.new_id();
            let name = params.name.as_deref().unwrap_or_default();
            let about = format!("{} {name}", node.name);
            Arc::new(Session {
                barrier,
                id,
                noted: self.note("session", id, about.trim_end()),
                node: node.name,
                name: params.name.clone(),
                keep: params.keep,
                route: node.route.map(|route| route.forwarding(params.forward_agent)),
                link: caller.link.clone(),
                questions: Engine::asking(caller).clone(),
                rules: Rules::new(params),
                wholes: Wholes::new(self.commons.outputs.clone(), params.spool),
                gate: gate.clone(),
                kick: Notify::new(),
                reset: Notify::new(),
                closing: watch::channel(false).0,
                changed: watch::channel(0).0,
                numbers: AtomicU64::new(1),
                memory: Mutex::new(Memory::new(params.restore.as_ref())),
            })
        };
        let mut sessions = Vec::new();
        let mut opened = SessionsOpened { sessions: Vec::new(), warnings: planner.warnings() };
        for (node, barrier) in nodes.into_iter().zip(barriers) {
            let name = node.name.clone();
            let there = params.name.as_deref().filter(|_| params.keep);
            let there = there.and_then(|own| self.named_session(own, &name));
            let session = there.unwrap_or_else(|| {
                let session = open((node, barrier));
                self.sessions.open().insert(session.id, session.clone());
                sessions.push(session.clone());
                session.id
            });
            let existing = there.is_some();
            let agent = match self.session(session) {
                Ok((_, session)) => session.rules.forward_agent,
                Err(_) => false,
            };
            opened.sessions.push(SessionNode { session, node: name, existing, agent });
        }
        if params.keep {
            self.keep_on(sessions.iter().map(|s| s.id));
        }
        Ok(PreparedSessions { opened, sessions })
    }

    /// Connects prepared sessions; events follow.
    pub async fn sessions_launch(self: Arc<Self>, prepared: PreparedSessions) {
        for session in prepared.sessions {
            if let Some(barrier) = session.barrier.clone() {
                let session = session.clone();
                self.spawn(async move { barrier.rest(session.closed()).await }).await;
            }
            let engine = self.clone();
            self.spawn(async move {
                keep::keep(engine.clone(), session.clone()).await;
                engine.sessions.open().remove(&session.id);
                engine.commons.tell();
            })
            .await;
        }
    }

    /// `session/signal`.
    ///
    /// # Errors
    /// `handle.unknown`; a name that is no signal's.
    pub fn session_signal(&self, params: &SessionSignal) -> Result<(), CallError> {
        let (_, session) = self.session(params.session)?;
        crate::signals::known(&params.signal)?;
        let memory = session.memory();
        let wanted = |id: &ExecId| params.exec.is_none_or(|exec| exec == *id);
        let meant = memory.running.iter().filter(|(id, _)| wanted(id));
        for (_, running) in meant {
            // One that already has that many on the way needs no more.
            let _ = running.orders.try_send(Order::Signal(params.signal.clone()));
        }
        match params.exec.filter(|id| !memory.running.contains_key(id)) {
            Some(id) => {
                let text = format!("no command {id} runs in session {}", params.session);
                Err(CallError::new(Kind::HandleUnknown, text).at("params.exec"))
            }
            None => Ok(()),
        }
    }

    /// `session/connect`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn session_connect(&self, params: &SessionRef) -> Result<(), CallError> {
        let (_, session) = self.session(params.session)?;
        if matches!(session.stage(), Stage::Lost(..)) {
            session.kick.notify_one();
        }
        Ok(())
    }

    /// `session/reset`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn session_reset(&self, params: &SessionRef) -> Result<(), CallError> {
        let (_, session) = self.session(params.session)?;
        match session.stage() {
            // What comes back just now may have its state already.
            Stage::Ready(..) | Stage::Connecting(_) => session.reset.notify_one(),
            Stage::Lost(..) | Stage::Closed => {
                session.forget();
                session.kick.notify_one();
            }
        }
        Ok(())
    }

    /// `session/close`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn session_close(&self, params: &SessionRef) -> Result<(), CallError> {
        self.session(params.session)?.1.close();
        Ok(())
    }

    /// `session/info`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn session_info(&self, params: &SessionRef) -> Result<SessionEntry, CallError> {
        Ok(self.session(params.session)?.1.entry())
    }
}

/// Something nobody on the node can have known.
fn nonce() -> String {
    use std::hash::{BuildHasher, RandomState};
    let part = || RandomState::new().hash_one(std::time::Instant::now());
    format!("{:016x}{:016x}", part(), part())
}

impl Session {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    fn stage(&self) -> Stage {
        self.memory().stage.clone()
    }

    fn enter(&self, stage: Stage) {
        self.memory().stage = stage;
        self.changed.send_modify(|n| *n += 1);
    }

    fn close(&self) {
        self.closing.send_replace(true);
    }

    fn is_closed(&self) -> bool {
        *self.closing.borrow()
    }

    async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        if closing.wait_for(|closing| *closing).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Relaxed)
    }

    /// What a new connection starts from.
    fn remembered(&self) -> Before {
        let memory = self.memory();
        let adopt = memory.jobs.as_ref().map(|(dir, _)| dir.clone());
        let dir = memory.dir.clone();
        Before {
            dir,
            state: memory.state.clone().filter(|_| memory.rev > 0 || adopt.is_some()),
            adopt,
        }
    }

    /// Forgets everything but its node.
    fn forget(&self) {
        let mut memory = self.memory();
        memory.state = None;
        memory.jobs = None;
        memory.rev = 0;
        memory.cwd.clear();
    }

    /// Something goes on in this directory without us.
    fn note_job(&self, dir: &str, job: JobEntry) {
        let mut memory = self.memory();
        memory.jobs.get_or_insert_with(|| (dir.to_owned(), Vec::new())).1.push(job);
    }

    fn set_state(&self, state: Bytes, file: Option<(&Attached, &str)>) {
        self.memory().state = Some(state);
        if let Some((attached, file)) = file {
            attached.set_state_file(file);
        }
    }

    /// Takes over what the node says; gives directory and revision.
    fn settle(&self, facts: &Facts, restored: bool) -> (String, u64) {
        let mut memory = self.memory();
        memory.home.clone_from(&facts.home);
        if !restored || memory.cwd.is_empty() {
            memory.cwd.clone_from(&facts.cwd);
        }
        (memory.shown_cwd(), memory.rev)
    }

    /// The node, once it is there. A lost one is tried once more, at once.
    async fn ready(&self) -> Result<Arc<Attached>, Failure> {
        let mut changed = self.changed.subscribe();
        let mut kicked = false;
        loop {
            match self.stage() {
                // It is not known yet that it is lost.
                Stage::Ready(attached, _) if attached.connection.is_closed() => {}
                Stage::Ready(attached, _) => return Ok(attached),
                Stage::Closed => {
                    let phase = bssh_protocol::exec::Phase::Exec;
                    return Err(crate::failure::plain(phase, "closed", "the session is closed"));
                }
                Stage::Lost(failure, _) if kicked || !failure.retryable => return Err(failure),
                Stage::Lost(..) => {
                    kicked = true;
                    self.kick.notify_one();
                }
                Stage::Connecting(_) => {}
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn entry(&self) -> SessionEntry {
        let memory = self.memory();
        SessionEntry {
            session: self.id,
            node: self.node.clone(),
            name: self.name.clone(),
            cwd: memory.shown_cwd(),
            rev: memory.rev,
            execs: u32::try_from(memory.running.len()).unwrap_or(u32::MAX),
            jobs: memory
                .jobs
                .as_ref()
                .map_or(0, |(_, all)| u32::try_from(all.len()).unwrap_or(u32::MAX)),
            kept: self.keep,
            stage: memory.stage.state(),
        }
    }
}

impl Attached {
    fn set_state_file(&self, file: &str) {
        file.clone_into(&mut lock(&self.state_file));
    }

    fn state_file(&self) -> String {
        lock(&self.state_file).clone()
    }

    /// Why the helper has gone: with its connection, or alone.
    async fn lost(&self) -> Failure {
        if let Ok(error) = tokio::time::timeout(ALONE, self.connection.closed()).await {
            return failure(&error);
        }
        let lost = "the session's helper on the node has gone";
        Failure { retryable: true, ..plain(Phase::Exec, GONE, lost) }
    }
}
