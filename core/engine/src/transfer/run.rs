//! A transfer: one request over many nodes, from `transfer/start` to `transfer/done`.
//!
//! All its nodes live in one task, at most `fanout` of them at once. Now and then the frontend is
//! told how far they have got.

use super::across;
use super::count::Count;
use super::disk::Disk;
use super::fault::Fault;
use super::node;
use super::relay::{self, Relay};
use super::tree::Tree;
use crate::engine::Engine;
use crate::failure::failure;
use crate::plan::NodePlan;
use crate::pool::Lease;
use crate::questions::Questions;
use crate::run::{Share, millis};
use bssh_protocol::exec::{Failure, Phase, Summary, Threshold};
use bssh_protocol::handshake::{Progress, ProgressParams};
use bssh_protocol::link::Link;
use bssh_protocol::methods::{
    FsTaskDoneEvent, ProgressEvent, TransferDoneEvent, TransferFileEvent, TransferNodeEvent,
    TransferProgressEvent,
};
use bssh_protocol::task::{FsTaskDone, ProgressToken};
use bssh_protocol::transfer::{
    NodeProgress, TransferDone, TransferFile, TransferId, TransferNode, TransferProgress,
    TransferState, Transferred,
};
use bssh_ssh::sftp::Sftp;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OnceCell, watch};
use tokio::time::{Interval, MissedTickBehavior};

pub(crate) use super::options::Options;

/// How often the frontend is told how far the nodes have got.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// A node and its place in the transfer.
pub(crate) type Numbered<'a> = (u32, &'a NodePlan);

/// One transfer.
pub(crate) struct TransferRun {
    pub id: TransferId,
    pub nodes: Vec<NodePlan>,
    pub options: Arc<Options>,
    pub questions: Arc<Questions>,
    pub retries: u32,
    pub disk: Disk,
    /// Part of the names of our temporary files.
    pub nonce: String,
    pub begun: Instant,
    pub n_ended: AtomicU32,
    /// The node the sources lie on, if they are not here.
    source: Option<NodePlan>,
    source_lease: OnceCell<Arc<Lease>>,
    voice: Voice,
    counts: Vec<Arc<Count>>,
    fanout: usize,
    /// Files of one node under way at once, at most.
    pub files: usize,
    fail_fast: Option<Threshold>,
    /// One node passes the sources on to the others.
    pub relay: Option<Box<Relay>>,
    /// What is uploaded, if it is the same for all nodes.
    tree: OnceCell<Arc<Tree>>,
    stop: watch::Sender<bool>,
}

/// How a transfer speaks to its frontend.
pub(crate) enum Voice {
    /// `transfer/*` events.
    Transfer(Link),
    /// A task: `$/progress` with this token, if there is one, and `fs/taskDone`.
    Task { link: Link, token: Option<ProgressToken>, path: Vec<u8> },
}

/// What a transfer is made of, decided by the engine.
pub(crate) struct Parts {
    pub id: TransferId,
    pub voice: Voice,
    pub source: Option<NodePlan>,
    pub relay: Option<Box<Relay>>,
    /// What is uploaded, if somebody else has read it.
    pub tree: Option<Tree>,
    pub nodes: Vec<NodePlan>,
    pub options: Options,
    pub questions: Arc<Questions>,
    pub retries: u32,
    pub fanout: usize,
    pub files: usize,
    pub fail_fast: Option<Threshold>,
}

impl TransferRun {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let (stop, _) = watch::channel(false);
        Arc::new(TransferRun {
            id: parts.id,
            counts: parts.nodes.iter().map(|_| Arc::default()).collect(),
            nodes: parts.nodes,
            options: Arc::new(parts.options),
            questions: parts.questions,
            retries: parts.retries,
            disk: Disk::default(),
            nonce: format!("{:08x}", RandomState::new().build_hasher().finish() & 0xffff_ffff),
            begun: Instant::now(),
            n_ended: AtomicU32::new(0),
            source: parts.source,
            source_lease: OnceCell::new(),
            voice: parts.voice,
            fanout: parts.fanout.max(1),
            files: parts.files,
            fail_fast: parts.fail_fast,
            relay: parts.relay,
            tree: OnceCell::new_with(parts.tree.map(Arc::new)),
            stop,
        })
    }

    /// Gives up what is under way.
    pub(crate) fn cancel(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Resolves when the transfer is to end.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn count(&self, index: u32) -> Arc<Count> {
        self.counts.get(index as usize).cloned().unwrap_or_default()
    }

    /// How many nodes share what may be on the way.
    pub(crate) fn at_once(&self) -> u64 {
        self.fanout.min(self.nodes.len()) as u64
    }

    pub(crate) fn is_task(&self) -> bool {
        matches!(self.voice, Voice::Task { .. })
    }

    /// Where a task's copy goes.
    pub(crate) fn task_path(&self) -> Option<&[u8]> {
        match &self.voice {
            Voice::Task { path, .. } => Some(path),
            Voice::Transfer(_) => None,
        }
    }

    /// The node the sources lie on.
    pub(crate) fn source_name(&self) -> Option<&str> {
        self.source.as_ref().map(|node| node.name.as_str())
    }

    /// A conversation with the file server of the node the sources lie on, if they are not here.
    pub(crate) async fn source(&self, engine: &Engine) -> Result<Option<Sftp>, Failure> {
        let Some(node) = &self.source else { return Ok(None) };
        let named = |failure: Failure| Failure {
            message: format!("the source {}: {}", node.name, failure.message),
            hop: failure.hop.or_else(|| Some(node.name.clone())),
            ..failure
        };
        let leasing = async {
            let route = node.route.as_ref().map_err(Failure::clone)?.bulk();
            let ask = engine.ask_for(&self.questions);
            let leased = engine.pool().lease(&route, &ask).await;
            leased.map(|(lease, _)| lease).map_err(|error| failure(&error))
        };
        let lease = self.source_lease.get_or_try_init(|| leasing).await.map_err(named)?;
        node::open(lease).await.map(Some).map_err(named)
    }

    /// What is uploaded to this node.
    pub(crate) async fn tree(&self, node: &str, source: Option<&Sftp>) -> Result<Arc<Tree>, Fault> {
        match self.options.is_shared() {
            true => self.tree.get_or_try_init(|| self.read(node, source)).await.cloned(),
            false => self.read(node, source).await,
        }
    }

    /// What is uploaded to all nodes, once that is known.
    pub(crate) fn tree_read(&self) -> Option<Arc<Tree>> {
        self.tree.get().cloned()
    }

    async fn read(&self, node: &str, source: Option<&Sftp>) -> Result<Arc<Tree>, Fault> {
        let (options, sources) = (self.options.clone(), self.options.sources_for(node));
        if let Some(sftp) = source {
            return across::tree(sftp, &sources, &options.reading()).await.map(Arc::new);
        }
        let reading = move || Ok(Arc::new(Tree::read(&sources, &options.reading())));
        self.disk.run(reading).await
    }

    /// Tells the frontend about a node.
    pub(crate) async fn tell(&self, index: u32, node: &NodePlan, state: TransferState) {
        let Voice::Transfer(link) = &self.voice else { return };
        let event = TransferNode { transfer: self.id, index, node: node.name.clone(), state };
        // A link that is lost ends the transfer.
        let _ = link.notify::<TransferNodeEvent>(&event).await;
    }

    /// Tells what a dry run would do.
    pub(crate) async fn would(&self, index: u32, action: &str, path: &[u8], bytes: u64) {
        let Voice::Transfer(link) = &self.voice else { return };
        let (transfer, action) = (self.id, action.to_owned());
        let event = TransferFile { transfer, index, action, path: path.into(), bytes };
        let _ = link.notify::<TransferFileEvent>(&event).await;
    }

    /// Does everything and says how it ended.
    pub(crate) async fn drive(self: Arc<Self>, engine: &Engine) -> Option<TransferDone> {
        let mut tally = Tally::new(&self);
        let mut told = vec![NodeProgress::default(); self.nodes.len()];
        let mut ticks = tokio::time::interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let all = (0..).zip(&self.nodes).collect();
        let left = relay::spread(&self, engine, &mut tally, all);
        let mut waiting = self.telling((&mut ticks, &mut told), left).await.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < self.fanout {
                let Some((index, node)) = waiting.next() else { break };
                if tally.give_up || self.is_stopped() {
                    self.ended(index, node, &mut tally, not_started()).await;
                    continue;
                }
                let run = &self;
                running.push(async move {
                    (index, node, node::run_on_node(run, engine, index, node).await)
                });
            }
            let ended = self.telling((&mut ticks, &mut told), running.next()).await;
            let Some((index, node, ended)) = ended else { break };
            self.ended(index, node, &mut tally, ended).await;
        }
        drop(running);
        self.tell_progress(&mut told).await;
        if !matches!(self.voice, Voice::Transfer(_)) {
            return None;
        }
        let summary = Summary { duration_ms: millis(self.begun.elapsed()), ..tally.summary };
        let (files, bytes) = (tally.files, tally.bytes);
        Some(TransferDone { transfer: self.id, summary, files, bytes })
    }

    /// Tells that all of its nodes have ended.
    pub(crate) async fn done(&self, done: Option<TransferDone>) {
        if let (Voice::Transfer(link), Some(done)) = (&self.voice, done) {
            let _ = link.notify::<TransferDoneEvent>(&done).await;
        }
    }

    /// Does this, and tells at each tick how far the nodes have got.
    async fn telling<T>(
        &self,
        (ticks, told): (&mut Interval, &mut [NodeProgress]),
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => self.tell_progress(told).await,
            }
        }
    }

    /// A node's part is over.
    pub(crate) async fn ended(
        &self,
        index: u32,
        node: &NodePlan,
        tally: &mut Tally,
        ended: Transferred,
    ) {
        tally.count(&ended);
        self.n_ended.fetch_add(1, Ordering::Relaxed);
        if let Voice::Task { link, .. } = &self.voice {
            let done = FsTaskDone {
                task: self.id,
                files: ended.files,
                bytes: ended.bytes,
                skipped: ended.skipped,
                failure: ended.failure,
                errors: ended.faults,
                ..FsTaskDone::default()
            };
            let _ = link.notify::<FsTaskDoneEvent>(&done).await;
            return;
        }
        self.tell(index, node, TransferState::Ended(ended)).await;
    }

    async fn tell_progress(&self, told: &mut [NodeProgress]) {
        let mut nodes = Vec::new();
        for ((count, told), index) in self.counts.iter().zip(told).zip(0..) {
            let now = count.progress(index);
            if now != *told && now != (NodeProgress { index, ..NodeProgress::default() }) {
                *told = now;
                nodes.push(now);
            }
        }
        match (&self.voice, nodes.first()) {
            (_, None) | (Voice::Task { token: None, .. }, _) => {}
            (Voice::Transfer(link), _) => {
                let event = TransferProgress { transfer: self.id, nodes };
                let _ = link.notify::<TransferProgressEvent>(&event).await;
            }
            (Voice::Task { link, token: Some(token), .. }, Some(node)) => {
                let value = Progress {
                    kind: "report".to_owned(),
                    done: Some(node.bytes),
                    total: Some(node.total_bytes),
                    unit: Some("bytes".to_owned()),
                    ..Progress::default()
                };
                let _ = link
                    .notify::<ProgressEvent>(&ProgressParams { token: token.clone(), value })
                    .await;
            }
        }
    }
}

fn not_started() -> Transferred {
    let failure = Failure {
        code: "cancelled".to_owned(),
        message: "not started".to_owned(),
        ..Failure::default()
    };
    Transferred { failure: Some(failure), ..Transferred::default() }
}

/// Counts, and the fail-fast decision.
pub(crate) struct Tally {
    summary: Summary,
    files: u64,
    bytes: u64,
    limit: Option<usize>,
    pub give_up: bool,
}

impl Tally {
    fn new(run: &TransferRun) -> Self {
        let nodes = u32::try_from(run.nodes.len()).unwrap_or(u32::MAX);
        let limit = run.fail_fast.map(|t| t.count(run.nodes.len()).max(1));
        let summary = Summary { nodes, ..Summary::default() };
        Tally { summary, files: 0, bytes: 0, limit, give_up: false }
    }

    /// How many more nodes may fail before no further ones are started.
    pub(crate) fn bad_left(&self) -> Option<u32> {
        let left = self.limit?.saturating_sub(self.bad() as usize);
        Some(u32::try_from(left).unwrap_or(u32::MAX))
    }

    fn bad(&self) -> u32 {
        let s = &self.summary;
        s.failed + s.unreachable + s.denied + s.lost
    }

    fn count(&mut self, ended: &Transferred) {
        self.files += ended.files;
        self.bytes += ended.bytes;
        let s = &mut self.summary;
        let counter = match &ended.failure {
            None => &mut s.ok,
            Some(failure) => match (&failure.phase, failure.code.as_str()) {
                (_, "cancelled") => &mut s.cancelled,
                (_, "transportLost") => &mut s.lost,
                (Phase::Transfer, _) => &mut s.failed,
                (Phase::Auth, _) => &mut s.denied,
                (Phase::Channel | Phase::Exec, _) => &mut s.lost,
                _ => &mut s.unreachable,
            },
        };
        *counter += 1;
        let bad = self.bad() as usize;
        self.give_up |= self.limit.is_some_and(|limit| bad >= limit);
    }
}
