//! A run: one request over many nodes, from `exec/start` to `exec/done`.
//!
//! All its nodes live in one task, at most `fanout` of them at once; a waiting node costs
//! nothing. Batches, pauses and fail-fast decide when the next node may start; cancellation and
//! signals reach the running ones through two small channels.

use crate::engine::Engine;
use crate::exec;
use crate::gateway::SudoSecret;
use crate::plan::NodePlan;
use crate::questions::Questions;
use crate::record::Record;
use crate::sink::Sinks;
use crate::stdin::Stdin;
use bssh_protocol::exec::{
    Action, Ended, ExecDone, ExecNode, ExecParams, Exit, Failure, NodeState, Phase, RunId, Summary,
    Threshold,
};
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::methods::{ExecDoneEvent, ExecNodeEvent};
use bssh_protocol::stream::Sink;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// Signals and sizes on their way to running nodes. More at once are dropped, oldest first: a
/// later size makes an earlier one pointless.
const ORDERS: usize = 32;

/// One run.
pub(crate) struct Run {
    pub id: RunId,
    pub to: Outlet,
    pub nodes: Vec<NodePlan>,
    pub params: ExecParams,
    /// How long a command may run.
    pub timeout: Option<Duration>,
    pub retries: u32,
    /// Kill what runs when the run is cancelled or lost.
    pub guard: bool,
    pub sinks: Sinks,
    pub stdin: Stdin,
    pub questions: Arc<Questions>,
    /// sudo's password, asked for once.
    pub secret: SudoSecret,
    /// How many nodes at once.
    pub fanout: usize,
    pub course: Course,
}

/// How far a run has come, and what it is told meanwhile.
pub(crate) struct Course {
    pub begun: Instant,
    pub n_ended: AtomicU32,
    /// How each node ended.
    ends: Mutex<Vec<Option<Class>>>,
    /// Nodes whose command runs: they end themselves when cancelled.
    executing: Mutex<HashSet<u32>>,
    stop: watch::Sender<Stop>,
    orders: broadcast::Sender<Order>,
}

impl Course {
    /// Of a run over so many nodes, from now on.
    pub(crate) fn new(n_nodes: usize) -> Self {
        Course {
            begun: Instant::now(),
            n_ended: AtomicU32::new(0),
            ends: Mutex::new(vec![None; n_nodes]),
            executing: Mutex::default(),
            stop: watch::Sender::new(Stop::default()),
            orders: broadcast::Sender::new(ORDERS),
        }
    }
}

/// Which nodes are to end.
#[derive(Debug, Clone, Default)]
struct Stop {
    all: bool,
    nodes: HashSet<u32>,
}

/// Something for running nodes.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    Signal {
        nodes: Vec<u32>,
        name: String,
    },
    Resize {
        cols: u32,
        rows: u32,
        px_width: u32,
        px_height: u32,
    },
    /// New keys for their connections.
    Rekey,
}

/// Who is told what becomes of a run.
pub(crate) enum Outlet {
    Link(Link),
    /// Nobody in particular; whoever asks later.
    Record(Arc<Record>),
}

/// How a node ended, for those who want to go on with some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Ok,
    Failed,
    Unreachable,
}

impl Class {
    fn of(ended: &Ended) -> Class {
        match ended {
            _ if ended.is_unreachable() => Class::Unreachable,
            _ if ended.is_ok() => Class::Ok,
            _ => Class::Failed,
        }
    }
}

impl Run {
    /// Ends these nodes (none named: all, and no more are started).
    pub(crate) fn cancel(&self, nodes: &[u32]) {
        self.course.stop.send_modify(|stop| match nodes {
            [] => stop.all = true,
            some => stop.nodes.extend(some),
        });
    }

    /// Its output goes to its link and nowhere else.
    pub(crate) fn needs_link(&self) -> bool {
        let streams = [&self.params.stdout, &self.params.stderr];
        matches!(self.to, Outlet::Link(_)) && streams.iter().any(|s| matches!(s, Sink::Stream))
    }

    /// Passes something on to running nodes.
    pub(crate) fn order(&self, order: Order) {
        // Nobody listening means that nothing is running.
        let _ = self.course.orders.send(order);
    }

    pub(crate) fn orders(&self) -> broadcast::Receiver<Order> {
        self.course.orders.subscribe()
    }

    /// Resolves when this node is to end.
    pub(crate) async fn stopped(&self, index: u32) {
        let mut stop = self.course.stop.subscribe();
        let is_meant = |s: &Stop| s.all || s.nodes.contains(&index);
        if stop.wait_for(is_meant).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The node's command is asked for, and may run.
    pub(crate) fn set_executing(&self, index: u32) {
        lock(&self.course.executing).insert(index);
    }

    /// It has not, after all: whom it was given to is lost.
    pub(crate) fn set_waiting(&self, index: u32) {
        lock(&self.course.executing).remove(&index);
    }

    pub(crate) fn is_executing(&self, index: u32) -> bool {
        lock(&self.course.executing).contains(&index)
    }

    /// Tells the frontend about a node.
    pub(crate) async fn tell(&self, index: u32, node: &NodePlan, state: NodeState) {
        let event = ExecNode { run: self.id, index, node: node.name.clone(), state };
        match &self.to {
            // A link that is lost ends the run.
            Outlet::Link(link) => drop(link.notify::<ExecNodeEvent>(&event).await),
            Outlet::Record(record) => record.node(event),
        }
    }

    /// Returns when what was told so far has left this process.
    pub(crate) async fn flushed(&self) {
        if let Outlet::Link(link) = &self.to {
            // A link that is lost ends the run.
            drop(link.flushed().await);
        }
    }

    /// Runs everything and says how it ended.
    pub(crate) async fn drive(self: Arc<Self>, engine: Arc<Engine>) -> Summary {
        let mut tally = Tally::new(&self);
        let mut waiting =
            self.nodes.iter().zip(0..u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        // A frontend may be slow to hear how one node has ended; the others' time goes on.
        let (mut running, mut telling) = (FuturesUnordered::new(), FuturesUnordered::new());
        let (mut batch_left, mut batches) = (0_usize, self.params.batches.iter());
        let mut last_batch = None;
        loop {
            if batch_left == 0 && running.is_empty() && telling.is_empty() {
                if last_batch.is_some() && waiting.len() > 0 && !tally.give_up {
                    self.pause().await;
                }
                last_batch = batches.next().or(last_batch);
                batch_left = last_batch.map_or(usize::MAX, |b| b.count(self.nodes.len()).max(1));
            }
            while running.len() + telling.len() < self.fanout && batch_left > 0 {
                let Some((node, index)) = waiting.next() else { break };
                if tally.give_up || self.course.stop.borrow().all {
                    let ended = cancelled();
                    self.count(index, &mut tally, &ended);
                    telling.push(self.tell_end(index, node, ended));
                    continue;
                }
                batch_left -= 1;
                let (run, engine) = (&self, &engine);
                running.push(async move {
                    (index, node, exec::run_on_node(run, engine, index, node).await)
                });
            }
            tokio::select! {
                Some((index, node, ended)) = running.next() => {
                    self.count(index, &mut tally, &ended);
                    telling.push(self.tell_end(index, node, ended));
                }
                Some(()) = telling.next() => {}
                else => match waiting.len() {
                    0 => break,
                    _ => batch_left = 0,
                },
            }
        }
        drop((running, telling));
        Summary { duration_ms: millis(self.course.begun.elapsed()), ..tally.summary }
    }

    /// Says that it is over.
    pub(crate) async fn done(&self, summary: Summary) {
        match &self.to {
            Outlet::Link(link) => {
                drop(link.notify::<ExecDoneEvent>(&ExecDone { run: self.id, summary }).await);
            }
            Outlet::Record(record) => record.done(summary),
        }
    }

    /// How each node ended so far.
    pub(crate) fn ends(&self) -> MutexGuard<'_, Vec<Option<Class>>> {
        lock(&self.course.ends)
    }

    async fn pause(&self) {
        let pause = Duration::from_millis(self.params.pause_ms.unwrap_or(0));
        let mut stop = self.course.stop.subscribe();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|s| s.all) => {}
        }
    }

    fn count(&self, index: u32, tally: &mut Tally, ended: &Ended) {
        tally.count(ended);
        if let Some(end) = self.ends().get_mut(index as usize) {
            *end = Some(Class::of(ended));
        }
        self.course.n_ended.fetch_add(1, Ordering::Relaxed);
    }

    async fn tell_end(&self, index: u32, node: &NodePlan, ended: Ended) {
        let output = ended.output.clone();
        self.tell(index, node, NodeState::Ended(ended)).await;
        self.sinks.told(output.as_deref());
    }
}

/// A node that was never started.
fn cancelled() -> Ended {
    exec::failed(Failure {
        code: "cancelled".to_owned(),
        message: "not started".to_owned(),
        ..Failure::default()
    })
}

/// Counts, and the fail-fast decision.
struct Tally {
    summary: Summary,
    limit: Option<usize>,
    give_up: bool,
}

impl Tally {
    fn new(run: &Run) -> Self {
        let nodes = u32::try_from(run.nodes.len()).unwrap_or(u32::MAX);
        let limit = run.params.fail_fast.map(|t| t.count(run.nodes.len()).max(1));
        Tally { summary: Summary { nodes, ..Summary::default() }, limit, give_up: false }
    }

    fn count(&mut self, ended: &Ended) {
        count(&mut self.summary, ended);
        let s = &self.summary;
        let bad = s.failed + s.unreachable + s.denied + s.lost;
        self.give_up |= self.limit.is_some_and(|limit| bad as usize >= limit);
    }
}

/// Counts the end of a node.
pub(crate) fn count(s: &mut Summary, ended: &Ended) {
    let counter = match (&ended.failure, &ended.exit) {
        (None, None | Some(Exit::Status(0))) => &mut s.ok,
        (None, Some(_)) => &mut s.failed,
        (Some(f), _) => match (&f.phase, f.code.as_str()) {
            (_, "cancelled") => &mut s.cancelled,
            (Phase::Exec, "timeout") => &mut s.failed,
            (phase, _) if phase.is_reaching() => &mut s.unreachable,
            (Phase::Auth, _) => &mut s.denied,
            _ => &mut s.lost,
        },
    };
    *counter += 1;
}

/// Milliseconds for the wire.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A count out of `n` nodes; a share is rounded up, so that 10 % of 5 is one node.
pub(crate) trait Share {
    fn count(self, n: usize) -> usize;
}

impl Share for Threshold {
    fn count(self, n: usize) -> usize {
        match self {
            Threshold::Nodes(count) => count as usize,
            Threshold::Percent(share) => (n * share as usize).div_ceil(100),
            Threshold::Rest => usize::MAX,
        }
    }
}

/// An action that has output.
pub(crate) fn has_streams(action: &Action) -> bool {
    !matches!(action, Action::Connect | Action::Hold)
}
