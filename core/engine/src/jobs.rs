//! Jobs across the links of a core: who runs what, and what has become of it.
//!
//! What runs is owned by engines; what is over is kept here for a while, with the record of its
//! output if it had one.

use crate::engine::{Caller, Engine};
use crate::record::{Entry, Record};
use crate::run::{Class, Outlet, Run, millis};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Action, ExecDone, ExecNode, ExecStarted, NodeState, Summary};
use bssh_protocol::handshake::LogRecord;
use bssh_protocol::job::{JobAttach, JobEntry, JobHandle, JobId, JobList, JobNodes};
use bssh_protocol::link::{Link, StreamSender};
use bssh_protocol::lock;
use bssh_protocol::methods::{ExecDoneEvent, ExecNodeEvent, LogRecordEvent};
use bssh_protocol::node::NodeNames;
use bssh_protocol::stream::WINDOW;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long what is over can be asked about.
const KEPT_FOR: Duration = Duration::from_secs(3600);
/// Jobs kept that are over.
const MOST: usize = 256;
/// Output kept of jobs that are over, in bytes, all together.
const MOST_BYTES: usize = 64 << 20;
/// Longest title, in characters.
const TITLE: usize = 200;

/// What is over, oldest first.
#[derive(Default)]
pub(crate) struct Jobs {
    over: Mutex<VecDeque<Over>>,
    /// Runs and nodes since the core began, for statistics.
    pub(crate) counts: Counts,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) runs: AtomicU64,
    pub(crate) ok: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) unreachable: AtomicU64,
}

/// A run that is over.
struct Over {
    entry: JobEntry,
    begun: Instant,
    ended: Instant,
    nodes: Arc<[String]>,
    ends: Vec<Option<Class>>,
    record: Option<Arc<Record>>,
}

impl Jobs {
    fn over(&self) -> MutexGuard<'_, VecDeque<Over>> {
        let mut over = lock(&self.over);
        while over.front().is_some_and(|job| job.ended.elapsed() > KEPT_FOR) {
            over.pop_front();
        }
        over
    }

    fn size(over: &VecDeque<Over>) -> usize {
        over.iter().filter_map(|job| job.record.as_ref()).map(|record| record.bytes().1).sum()
    }

    /// Keeps what there is to know of a run that is over.
    pub(crate) fn keep(&self, run: &Run, detached: bool, summary: Summary) {
        let add = |count: &AtomicU64, n: u32| count.fetch_add(u64::from(n), Relaxed);
        add(&self.counts.runs, 1);
        add(&self.counts.ok, summary.ok);
        add(&self.counts.unreachable, summary.unreachable);
        let failed = summary.failed + summary.denied + summary.lost + summary.cancelled;
        add(&self.counts.failed, failed);
        let mut over = self.over();
        over.push_back(Over {
            entry: JobEntry { summary: Some(summary), running: false, ..entry(run, detached) },
            begun: run.course.begun,
            ended: Instant::now(),
            nodes: run.nodes.iter().map(|node| node.name.clone()).collect(),
            ends: run.ends().clone(),
            record: run.record().cloned(),
        });
        while over.len() > MOST || Jobs::size(&over) > MOST_BYTES {
            over.pop_front();
        }
    }
}

/// What a run does, in words.
pub(crate) fn title(run: &Run) -> String {
    match &run.params.action {
        Action::Command(line) => line.clone(),
        Action::CommandBytes(line) => String::from_utf8_lossy(&line.0).into_owned(),
        Action::Shell => "shell".to_owned(),
        Action::Subsystem(name) => format!("subsystem {name}"),
        Action::Connect => "connect".to_owned(),
        Action::Dial { host, port } => format!("dial {host}:{port}"),
        Action::Hold => "hold".to_owned(),
    }
}

/// What a run is, for a list.
fn entry(run: &Run, detached: bool) -> JobEntry {
    JobEntry {
        job: run.id,
        kind: "run".to_owned(),
        title: title(run).chars().take(TITLE).collect(),
        nodes: u32::try_from(run.nodes.len()).unwrap_or(u32::MAX),
        ended: run.course.n_ended.load(Relaxed),
        running: true,
        detached,
        age_ms: millis(run.course.begun.elapsed()),
        bytes: run.record().map_or(0, |record| record.bytes().0),
        ..JobEntry::default()
    }
}

fn unknown(job: JobId) -> CallError {
    CallError::new(Kind::HandleUnknown, format!("no job {job}")).at("params.job")
}

impl Engine {
    /// `job/list`.
    pub fn job_list(&self) -> JobList {
        let mut jobs: Vec<JobEntry> = self
            .commons
            .jobs
            .over()
            .iter()
            .map(|job| JobEntry { age_ms: millis(job.begun.elapsed()), ..job.entry.clone() })
            .collect();
        for engine in self.commons.engines() {
            engine.list_own(&mut jobs);
        }
        jobs.sort_by_key(|job| job.job);
        jobs.dedup_by_key(|job| job.job);
        JobList { jobs }
    }

    fn list_own(&self, jobs: &mut Vec<JobEntry>) {
        jobs.extend(self.runs().values().map(|run| entry(run, self.is_kept(run.id))));
        let other = |kind: &str, job, title: String, nodes| JobEntry {
            job,
            kind: kind.to_owned(),
            title,
            nodes,
            running: true,
            detached: self.is_kept(job),
            ..JobEntry::default()
        };
        for forward in self.forwards_along(None, false).forwards {
            let title = format!("{} {}", forward.node, forward.spec);
            jobs.push(other("forward", forward.forward, title, 1));
        }
        for pty in self.own_ptys() {
            let command = pty.command.unwrap_or_else(|| "shell".to_owned());
            let job = other("pty", pty.pty, format!("{}: {command}", pty.node), 1);
            jobs.push(JobEntry { age_ms: pty.running_ms, bytes: pty.bytes, ..job });
        }
        for transfer in self.transfer_list().transfers {
            let job = other("transfer", transfer.transfer, String::new(), transfer.nodes);
            jobs.push(JobEntry { ended: transfer.ended, age_ms: transfer.running_ms, ..job });
        }
        for session in self.own_sessions() {
            let title = session.name.unwrap_or_default();
            jobs.push(other("session", session.session, format!("{} {title}", session.node), 1));
        }
    }

    /// `job/cancel`: ends it, whatever it is. What is over stays over.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn job_cancel(&self, params: &JobHandle) -> Result<(), CallError> {
        let job = params.job;
        let ended = self.commons.engines().iter().any(|engine| engine.end_own(job));
        match ended || self.commons.jobs.over().iter().any(|over| over.entry.job == job) {
            true => Ok(()),
            false => Err(unknown(job)),
        }
    }

    fn end_own(&self, job: JobId) -> bool {
        if let Some(run) = self.runs().get(&job) {
            run.cancel(&[]);
            return true;
        }
        use bssh_protocol::{pty::PtyRef, session::SessionRef};
        self.transfer_cancel(job).is_ok()
            || (self.forwards.has(job) && self.forward_close(job).is_ok())
            || (self.ptys.has(job) && self.pty_close(&PtyRef { pty: job }).is_ok())
            || (self.sessions.has(job) && self.session_close(&SessionRef { session: job }).is_ok())
    }

    /// `job/wait`: returns when it is over.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub async fn job_wait(&self, params: &JobHandle) -> Result<JobEntry, CallError> {
        let mut last = None;
        loop {
            let changed = self.commons.changed();
            let found = self.job_list().jobs.into_iter().find(|entry| entry.job == params.job);
            match found {
                Some(entry) if entry.running => last = Some(entry),
                Some(entry) => return Ok(entry),
                // Only runs are kept when they are over.
                None => {
                    let over = |entry| JobEntry { running: false, ..entry };
                    return last.map(over).ok_or_else(|| unknown(params.job));
                }
            }
            changed.await;
        }
    }

    /// `job/nodes`: the nodes of a run by how they ended.
    ///
    /// # Errors
    /// `handle.unknown`; a word that is no set.
    pub fn job_nodes(&self, params: &JobNodes) -> Result<NodeNames, CallError> {
        let wanted: fn(Option<Class>) -> bool = match params.which.as_str() {
            "" => |_| true,
            "ok" => |class| class == Some(Class::Ok),
            "failed" => |class| matches!(class, Some(Class::Failed | Class::Unreachable)),
            "unreachable" => |class| class == Some(Class::Unreachable),
            _ => {
                let text = "params.which: ok, failed or unreachable";
                return Err(CallError::new(Kind::InvalidParams, text).at("params.which"));
            }
        };
        let pick = |names: &mut dyn Iterator<Item = &String>, ends: &[Option<Class>]| {
            let both = names.zip(ends);
            both.filter(|(_, class)| wanted(**class)).map(|(name, _)| name.clone()).collect()
        };
        let running = self.any_run(params.job).map(|run| {
            let ends = run.ends().clone();
            pick(&mut run.nodes.iter().map(|node| &node.name), &ends)
        });
        let over = || {
            let over = self.commons.jobs.over();
            let job = over.iter().find(|over| over.entry.job == params.job)?;
            Some(pick(&mut job.nodes.iter(), &job.ends))
        };
        let nodes = running.or_else(over).ok_or_else(|| unknown(params.job))?;
        Ok(NodeNames { nodes, warnings: Vec::new() })
    }

    /// `job/attach`: the run as it was started. Follow with [`Engine::job_replay`].
    ///
    /// # Errors
    /// `handle.unknown`; a run without a record.
    pub fn job_attach(&self, params: &JobAttach) -> Result<Replay, CallError> {
        let running = self.any_run(params.job).map(|run| {
            let nodes = run.nodes.iter().map(|node| node.name.clone()).collect();
            (nodes, run.record().cloned())
        });
        let over = || {
            let over = self.commons.jobs.over();
            let job = over.iter().find(|over| over.entry.job == params.job)?;
            Some((job.nodes.to_vec(), job.record.clone()))
        };
        let found: Option<(Vec<String>, _)> = running.or_else(over);
        let (nodes, record) = found.ok_or_else(|| unknown(params.job))?;
        let plain = || {
            let text = format!("the output of job {} went to its frontend", params.job);
            CallError::new(Kind::InvalidParams, text).hint("runs of --detach are recorded")
        };
        let started = ExecStarted { run: params.job, nodes, stdin: None, warnings: Vec::new() };
        Ok(Replay { started, record: record.ok_or_else(plain)?, params: params.clone() })
    }

    /// Sends a record to a link as if the run were its own; run it once the answer is on its way.
    pub async fn job_replay(self: Arc<Self>, caller: Caller, replay: Replay) {
        let engine = self.clone();
        self.spawn(async move {
            tokio::select! {
                () = replay.send(&caller.link) => {}
                () = engine.left() => {}
            }
        })
        .await;
    }

    /// A run of this link or of another one.
    pub(crate) fn any_run(&self, id: JobId) -> Option<Arc<Run>> {
        self.commons.engines().iter().find_map(|engine| engine.runs().get(&id).cloned())
    }
}

/// A record about to be sent.
pub struct Replay {
    pub started: ExecStarted,
    record: Arc<Record>,
    params: JobAttach,
}

impl Replay {
    async fn send(self, link: &Link) {
        let mut streams = Streams {
            open: HashMap::new(),
            window: self.params.window.unwrap_or(WINDOW),
            next: self.params.from,
        };
        let (mut next, mut counts) = (0, Summary::default());
        counts.nodes = u32::try_from(self.started.nodes.len()).unwrap_or(u32::MAX);
        let summary = loop {
            let Some((number, entry)) = self.record.read(next) else {
                if !self.params.follow {
                    break counts;
                }
                self.record.reached(next).await;
                continue;
            };
            next = number + 1;
            let told = match entry {
                Entry::Done(summary) => break summary,
                Entry::Node(event) => {
                    if let NodeState::Ended(ended) = &event.state {
                        crate::run::count(&mut counts, ended);
                    }
                    streams.node(link, event).await
                }
                Entry::Data { index, stderr, at, bytes } => {
                    streams.data(link, (index, stderr), at, bytes).await
                }
            };
            if told.is_err() {
                return;
            }
        };
        streams.finish_all().await;
        let done = ExecDone { run: self.params.job, summary };
        let _ = link.notify::<ExecDoneEvent>(&done).await;
    }
}

/// The streams of a replay.
struct Streams {
    open: HashMap<(u32, bool), StreamSender>,
    window: u64,
    /// The place of the next byte of output.
    next: u64,
}

impl Streams {
    async fn node(&mut self, link: &Link, mut event: ExecNode) -> Result<(), CallError> {
        let index = event.index;
        match &mut event.state {
            NodeState::Executing { stdout, stderr, .. } => {
                let (out, err) = (link.new_sender(self.window), link.new_sender(self.window));
                (*stdout, *stderr) = (Some(out.id()), Some(err.id()));
                self.open.extend([((index, false), out), ((index, true), err)]);
            }
            NodeState::Ended(_) => {
                for stderr in [false, true] {
                    if let Some(stream) = self.open.remove(&(index, stderr)) {
                        stream.finish().await?;
                    }
                }
            }
            _ => {}
        }
        link.notify::<ExecNodeEvent>(&event).await
    }

    async fn data(
        &mut self,
        link: &Link,
        of: (u32, bool),
        at: u64,
        bytes: bytes::Bytes,
    ) -> Result<(), CallError> {
        if at > self.next {
            let message = format!("{} bytes of output are no longer kept", at - self.next);
            link.try_notify::<LogRecordEvent>(&LogRecord { level: "info".to_owned(), message });
        }
        let skip = usize::try_from(self.next.saturating_sub(at)).unwrap_or(usize::MAX);
        if skip >= bytes.len() {
            return Ok(());
        }
        self.next = at + bytes.len() as u64;
        match self.open.get_mut(&of) {
            Some(stream) => stream.write(bytes.slice(skip..)).await,
            None => Ok(()),
        }
    }

    async fn finish_all(self) {
        for (_, stream) in self.open {
            // A reader that has gone needs no end.
            let _ = stream.finish().await;
        }
    }
}

impl Run {
    /// What it has said, if it has no link.
    pub(crate) fn record(&self) -> Option<&Arc<Record>> {
        match &self.to {
            Outlet::Record(record) => Some(record),
            Outlet::Link(_) => None,
        }
    }
}
