//! The engine: what every link of a core shares, and the calls that start and steer work.
//!
//! Owns the pool and the runs. A run belongs to the link that started it: when the link goes, its
//! runs are cancelled, and the last bytes and kills get a little time.

use crate::agent::Agents;
use crate::descriptor::is_null;
use crate::forward::Forwards;
use crate::fs::{Listings, Reach};
use crate::gate::Gates;
use crate::lanes::Lanes;
use crate::plan::{Planner, Route};
use crate::pool::Pool;
use crate::pty::Ptys;
use crate::questions::{AskAbout, Questions};
use crate::run::{Order, Parts, Run, has_streams, millis};
use crate::session::Sessions;
use crate::sink::{Adopt, Sinks};
use crate::stdin::{Origin, Spool, Stdin};
use crate::sync::Syncs;
use crate::transfer::Transfers;
use bssh_config::Environment;
use bssh_config::clusters::Forwarding;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{
    CancelRun, ExecParams, ExecStarted, ResizeRun, RunEntry, RunId, RunList, SignalRun, Targets,
};
use bssh_protocol::handshake::StatsResult;
use bssh_protocol::link::Link;
use bssh_protocol::stream::{Source, StreamId, WINDOW};
use bssh_ssh::ask::Ask;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Descriptors a core needs besides those of its connections.
const OTHER_DESCRIPTORS: u64 = 48;
/// How long the dead may take: kills, last bytes, goodbyes, once the link is gone.
const GRACE: Duration = Duration::from_secs(12);

/// Everything a core does.
pub struct Engine {
    pub(crate) env: Environment,
    pub(crate) pool: Pool,
    pub(crate) forwards: Forwards,
    pub(crate) lanes: Lanes,
    pub(crate) ptys: Ptys,
    pub(crate) sessions: Sessions,
    pub(crate) transfers: Transfers,
    pub(crate) syncs: Syncs,
    pub(crate) reach: Reach,
    pub(crate) listings: Listings,
    pub(crate) agents: Arc<Agents>,
    pub(crate) gates: Gates,
    adopt: Box<Adopt>,
    runs: Mutex<BTreeMap<RunId, Arc<Run>>>,
    next: AtomicU64,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

/// One link's view of the engine.
#[derive(Clone)]
pub struct Caller {
    pub link: Link,
    questions: Arc<Questions>,
}

impl Caller {
    /// `prompts` are the kinds the frontend announced.
    pub fn new(link: Link, prompts: Vec<String>) -> Self {
        Caller { questions: Questions::new(link.clone(), prompts), link }
    }
}

/// A run that is about to start: answer first, then [`Engine::launch`].
pub struct Prepared {
    pub started: ExecStarted,
    run: Arc<Run>,
    spool: Option<(Arc<Spool>, Origin)>,
}

impl Engine {
    /// `adopt` opens an inherited descriptor by its number.
    pub fn new(env: Environment, adopt: Box<Adopt>) -> Arc<Self> {
        Arc::new(Engine {
            env,
            pool: Pool::default(),
            forwards: Forwards::default(),
            lanes: Lanes::default(),
            ptys: Ptys::default(),
            sessions: Sessions::default(),
            transfers: Transfers::default(),
            syncs: Syncs::default(),
            reach: Reach::default(),
            listings: Listings::default(),
            agents: Arc::default(),
            gates: Gates::default(),
            adopt,
            runs: Mutex::default(),
            next: AtomicU64::new(1),
            tasks: tokio::sync::Mutex::default(),
        })
    }

    /// `exec/start`: reads files, plans, opens sinks and sources. Dials nothing.
    ///
    /// # Errors
    /// What is wrong with the request as a whole.
    pub fn prepare(&self, caller: &Caller, params: ExecParams) -> Result<Prepared, CallError> {
        let literal = params.targets.destination.is_some();
        let planner = Planner::new(&self.env, &params.targets.settings, !literal)?;
        let nodes = planner.nodes(&params.targets)?;
        let window = params.window.unwrap_or(WINDOW);
        let sinks = Sinks::open(&params.stdout, &params.stderr, window, &*self.adopt)?;
        let (stdin, stream, spool) = self.stdin(caller, &params, nodes.len())?;
        let config = planner.inventory().map(bssh_config::Inventory::config);
        let fanout = params.fanout.map_or_else(|| config.map_or(1, |c| c.fanout), |f| f as usize);
        let mut warnings = planner.warnings();
        let run = Run::new(Parts {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            link: caller.link.clone(),
            timeout: match params.timeout_ms {
                Some(0) => None,
                Some(ms) => Some(Duration::from_millis(ms)),
                None => config.map(|c| c.command_timeout).filter(|t| !t.is_zero()),
            },
            retries: params.retries.or(config.map(|c| c.max_retries)).unwrap_or(0),
            guard: params.guard.unwrap_or(!literal) && has_streams(&params.action),
            fanout: affordable(fanout.min(nodes.len()), &mut warnings),
            nodes,
            params,
            sinks,
            stdin,
            questions: caller.questions.clone(),
        });
        let started = ExecStarted {
            run: run.id,
            nodes: run.nodes.iter().map(|n| n.name.clone()).collect(),
            stdin: stream,
            warnings,
        };
        self.runs().insert(run.id, run.clone());
        Ok(Prepared { started, run, spool })
    }

    /// Starts a prepared run; events follow.
    pub async fn launch(self: Arc<Self>, prepared: Prepared) {
        let Prepared { run, spool, .. } = prepared;
        let engine = self.clone();
        self.spawn(async move {
            // stdin may end long before its nodes, or never: only they end the run.
            let filling = async {
                if let Some((spool, origin)) = spool {
                    spool.fill(origin).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                biased;
                () = run.clone().drive(engine.clone()) => {}
                () = filling => {}
            }
            engine.runs().remove(&run.id);
        })
        .await;
    }

    /// `exec/cancel`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn cancel(&self, params: &CancelRun) -> Result<(), CallError> {
        self.run(params.run)?.cancel(&params.nodes);
        Ok(())
    }

    /// `exec/signal`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn signal(&self, params: SignalRun) -> Result<(), CallError> {
        let run = self.run(params.run)?;
        run.order(Order::Signal { nodes: params.nodes, name: params.signal });
        Ok(())
    }

    /// `exec/resize`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn resize(&self, params: &ResizeRun) -> Result<(), CallError> {
        let ResizeRun { run, cols, rows, px_width, px_height } = *params;
        self.run(run)?.order(Order::Resize { cols, rows, px_width, px_height });
        Ok(())
    }

    /// `exec/list`.
    pub fn list(&self) -> RunList {
        let entry = |run: &Arc<Run>| RunEntry {
            run: run.id,
            action: run.params.action.clone(),
            nodes: u32::try_from(run.nodes.len()).unwrap_or(u32::MAX),
            ended: run.n_ended.load(Ordering::Relaxed),
            running_ms: millis(run.begun.elapsed()),
        };
        RunList { runs: self.runs().values().map(entry).collect() }
    }

    /// `core/stats`.
    pub fn stats(&self, caller: &Caller) -> StatsResult {
        let (streams, buffered) = caller.link.load();
        StatsResult {
            connections: self.pool.open() as u64,
            streams: streams as u64,
            runs: self.runs().len() as u64,
            buffered_bytes: buffered as u64,
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
        }
    }

    /// The link is gone: ends its work, and what runs on the nodes.
    pub async fn leave(&self) {
        self.forwards.close_all();
        self.ptys.close_all();
        self.sessions.close_all();
        self.transfers.cancel_all();
        self.syncs.cancel_all();
        self.reach.close_all();
        self.gates.close_all().await;
        for run in self.runs().values() {
            run.cancel(&[]);
        }
        let mut tasks = self.tasks.lock().await;
        let all = async { while tasks.join_next().await.is_some() {} };
        // What is not done by then would not be done later either.
        let _ = tokio::time::timeout(GRACE, all).await;
    }

    /// A handle nobody has.
    pub(crate) fn new_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Does some work until it is over or the link is gone.
    pub(crate) async fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().await;
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    /// Makes the one a connection asks, for a request of this caller.
    pub(crate) fn ask_for(
        &self,
        questions: &Arc<Questions>,
    ) -> impl Fn(&Arc<Route>) -> Arc<dyn Ask> + Send + Sync + use<> {
        let questions = questions.clone();
        move |route| {
            let quiet = matches!(route.options.log_level.as_str(), "QUIET" | "FATAL" | "ERROR");
            Arc::new(AskAbout {
                questions: questions.clone(),
                node: route.plan.node.clone(),
                quiet,
            })
        }
    }

    /// The route to the one node of a request, and what the configuration says of forwards.
    ///
    /// # Errors
    /// As [`Engine::prepare`]; the node's own failure; more than one node.
    pub(crate) fn one_route(
        &self,
        targets: &Targets,
    ) -> Result<(Arc<Route>, Option<Forwarding>), CallError> {
        let planner = Planner::new(&self.env, &targets.settings, targets.destination.is_none())?;
        let mut nodes = planner.nodes(targets)?;
        match (nodes.pop(), nodes.len()) {
            (Some(node), 0) => {
                let settings = planner.inventory().map(|i| i.config().forwarding.clone());
                let route = node.route;
                let route = route.map_err(|f| CallError::new(Kind::ConfigInvalid, f.message))?;
                Ok((route, settings))
            }
            _ => {
                Err(CallError::new(Kind::InvalidParams, "this is for one node").at("params.nodes"))
            }
        }
    }

    pub(crate) fn asking(caller: &Caller) -> &Arc<Questions> {
        &caller.questions
    }

    fn run(&self, id: RunId) -> Result<Arc<Run>, CallError> {
        let unknown =
            || CallError::new(Kind::HandleUnknown, format!("no run {id}")).at("params.run");
        self.runs().get(&id).cloned().ok_or_else(unknown)
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::type_complexity, reason = "three results of one decision")]
    fn stdin(
        &self,
        caller: &Caller,
        params: &ExecParams,
        n_nodes: usize,
    ) -> Result<(Stdin, Option<StreamId>, Option<(Arc<Spool>, Origin)>), CallError> {
        let failed = |what: String, e: std::io::Error| {
            CallError::new(Kind::InvalidParams, format!("params.stdin: cannot read {what}: {e}"))
                .at("params.stdin")
        };
        let mut stream = None;
        let descriptor = |fd| crate::descriptor::Reader::start(fd).map(Origin::Descriptor);
        let origin = match &params.stdin {
            Source::Null => return Ok((Stdin::Null, None, None)),
            Source::Stream => {
                let id = caller.link.new_stream_id();
                stream = Some(id);
                Origin::Link(caller.link.receiver(id, WINDOW))
            }
            Source::File(path) => {
                let file = File::open(path).and_then(|f| descriptor(f.into()));
                file.map_err(|e| failed(path.clone(), e))?
            }
            Source::Fd(number) => {
                let failed = |e| failed(format!("descriptor {number}"), e);
                let fd = (self.adopt)(*number).map_err(failed)?;
                if is_null(&fd) {
                    return Ok((Stdin::Null, None, None));
                }
                descriptor(fd).map_err(failed)?
            }
        };
        if n_nodes == 1 {
            return Ok((Stdin::Direct(tokio::sync::Mutex::new(Some(origin))), stream, None));
        }
        let spool = Spool::new();
        Ok((Stdin::Shared(spool.clone()), stream, Some((spool, origin))))
    }
}

/// Raises the limit of open files and says how many nodes it allows at once.
pub(crate) fn affordable(fanout: usize, warnings: &mut Vec<String>) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = fanout as u64 + OTHER_DESCRIPTORS;
    if limit.current.is_some_and(|now| now < wanted) {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = getrlimit(Resource::Nofile);
        }
    }
    let allowed =
        limit.current.map_or(u64::MAX, |now| now.saturating_sub(OTHER_DESCRIPTORS).max(1));
    if allowed < fanout as u64 {
        warnings.push(format!(
            "only {allowed} nodes at once: the limit of open files is too low (ulimit -n)"
        ));
    }
    fanout.min(usize::try_from(allowed).unwrap_or(usize::MAX))
}
