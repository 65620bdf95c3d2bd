//! The engine: what every link of a core shares, and the calls that start and steer work.
//!
//! Owns the pool and the runs. A run belongs to the link that started it: when the link goes, its
//! runs are cancelled, and the last bytes and kills get a little time.

use crate::agent::Agents;
use crate::commons::Commons;
use crate::descriptor::is_null;
use crate::descriptors::affordable;
use crate::forward::Forwards;
use crate::fs::{Listings, Reach, Tasks};
use crate::gateway::{self, Gateways, SudoSecret};
use crate::lanes::Lanes;
use crate::plan::{Planner, Route};
use crate::pool::Pool;
use crate::pty::Ptys;
use crate::questions::{AskAbout, Heard, Questions};
use crate::record::Record;
use crate::remarks::Remarks;
use crate::run::{Course, Order, Outlet, Run, has_streams, millis};
use crate::said::Said;
use crate::session::Sessions;
use crate::sink::{Adopt, Sinks};
use crate::stdin::{Origin, Spool, Stdin};
use crate::sync::Syncs;
use crate::transfer::Transfers;
use crate::work::Work;
use bssh_config::Environment;
use bssh_config::clusters::Forwarding;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{
    CancelRun, ExecParams, ExecStarted, ResizeRun, RunEntry, RunId, RunList, RunRef, SignalRun,
    Targets,
};
use bssh_protocol::handshake::ClientEnvironment;
use bssh_protocol::job::Lifetime;
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::stream::{Source, StreamId, WINDOW};
use bssh_ssh::ask::Ask;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Everything a core does for one link.
pub struct Engine {
    /// What it has in common with the other links.
    pub(crate) commons: Arc<Commons>,
    /// The frontend's environment, if it brought one.
    theirs: OnceLock<Environment>,
    /// What kind of frontend it is.
    kind: OnceLock<String>,
    /// Where remarks about its work go.
    pub(crate) remarks: Arc<Remarks>,
    pub(crate) forwards: Forwards,
    pub(crate) lanes: Lanes,
    pub(crate) ptys: Ptys,
    pub(crate) sessions: Sessions,
    pub(crate) transfers: Transfers,
    pub(crate) syncs: Syncs,
    pub(crate) reach: Reach,
    pub(crate) listings: Listings,
    pub(crate) fs_tasks: Tasks,
    pub(crate) agents: Arc<Agents>,
    pub(crate) gateways: Gateways,
    /// Output that the link has had.
    pub(crate) said: Arc<Said>,
    adopt: Box<Adopt>,
    /// What goes on when the link is gone.
    pub(crate) kept: Mutex<BTreeSet<u64>>,
    pub(crate) gone: watch::Sender<bool>,
    runs: Mutex<BTreeMap<RunId, Arc<Run>>>,
    work: Work,
}

/// One link's view of the engine.
#[derive(Clone)]
pub struct Caller {
    pub link: Link,
    questions: Arc<Questions>,
}

impl Caller {
    /// `prompts` are the kinds the frontend announced.
    pub fn new(link: Link, prompts: Vec<String>, remarks: Arc<Remarks>) -> Self {
        Caller { questions: Questions::new(link.clone(), prompts, remarks), link }
    }
}

/// A run that is about to start: answer first, then [`Engine::launch`].
pub struct Prepared {
    pub started: ExecStarted,
    run: Arc<Run>,
    spool: Option<(Arc<Spool>, Origin)>,
}

impl Engine {
    /// How long the dead may take: kills, last bytes, goodbyes, once the link is gone.
    pub const GRACE: Duration = Duration::from_secs(12);

    /// `adopt` opens a descriptor the frontend lends by its number.
    pub fn new(commons: Arc<Commons>, adopt: Box<Adopt>) -> Arc<Self> {
        Arc::new(Engine {
            commons,
            theirs: OnceLock::new(),
            kind: OnceLock::new(),
            remarks: Arc::default(),
            forwards: Forwards::default(),
            lanes: Lanes::default(),
            ptys: Ptys::default(),
            sessions: Sessions::default(),
            transfers: Transfers::default(),
            syncs: Syncs::default(),
            reach: Reach::default(),
            listings: Listings::default(),
            fs_tasks: Tasks::default(),
            agents: Arc::default(),
            gateways: Gateways::default(),
            said: Arc::default(),
            adopt,
            kept: Mutex::default(),
            gone: watch::channel(false).0,
            runs: Mutex::default(),
            work: Work::default(),
        })
    }

    /// What requests are read with: the frontend's environment, or the core's own.
    pub(crate) fn env(&self) -> &Environment {
        self.theirs.get().unwrap_or(&self.commons.env)
    }

    /// The frontend's environment; only the first one counts.
    pub fn set_environment(&self, theirs: ClientEnvironment) {
        let own = &self.commons.env;
        let home = Some(theirs.home).filter(|home| !home.is_empty());
        let _ = self.theirs.set(Environment {
            home: home.map_or_else(|| own.home.clone(), PathBuf::from),
            cwd: PathBuf::from(theirs.cwd),
            vars: theirs.vars,
            umask: theirs.umask.map(|mask| mask & 0o777),
            borrowed: true,
            memory: own.memory.of_another(self.new_id()),
            ..own.clone()
        });
    }

    /// What kind of frontend it works for: `cli`, `repl`, `editor`, ….
    pub fn set_kind(&self, kind: &str) {
        // A link shakes hands once.
        let _ = self.kind.set(kind.to_owned());
    }

    pub(crate) fn kind(&self) -> &str {
        self.kind.get().map_or("", String::as_str)
    }

    /// What the engine has in common with those of other links.
    pub fn commons(&self) -> &Arc<Commons> {
        &self.commons
    }

    /// Where remarks about this link's work go.
    pub fn remarks(&self) -> &Arc<Remarks> {
        &self.remarks
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.commons.pool
    }

    /// `exec/start`: reads files, plans, opens sinks and sources. Dials nothing.
    ///
    /// # Errors
    /// What is wrong with the request as a whole.
    pub async fn prepare(
        &self,
        caller: &Caller,
        params: ExecParams,
    ) -> Result<Prepared, CallError> {
        let literal = params.targets.destination.is_some();
        let mut planner = match params.planned.is_empty() {
            true => Planner::new(self.env(), &params.targets.settings, !literal)?,
            false => Planner::told(self.env())?,
        };
        if self.pool().lingers() {
            planner.know(&self.commons.known);
        }
        let mut nodes = planner.of_run(&params.targets, &params.planned).await?;
        if params.forward_agent {
            for route in nodes.iter_mut().filter_map(|node| node.route.as_mut().ok()) {
                *route = route.forwarding(true);
            }
        }
        let window = params.window.unwrap_or(WINDOW);
        let sinks = Sinks::open(&params, window, self)?;
        let (stdin, stream, spool) = self.stdin(caller, &params, nodes.len())?;
        let config = planner.inventory().map(bssh_config::Inventory::config);
        let fanout = params.fanout.map_or_else(|| config.map_or(1, |c| c.fanout), |f| f as usize);
        let mut warnings = planner.warnings();
        let own = gateway::lay(&planner, &params, &mut nodes, fanout).await?;
        // Another core gives us one node after the other, so many at once.
        let own = if params.planned.is_empty() { own } else { fanout };
        let lacking = own - affordable(self.pool(), &nodes, (own, 0), &mut warnings).0;
        let fanout = fanout.min(nodes.len()).saturating_sub(lacking);
        let run = Arc::new(Run {
            id: self.new_id(),
            to: match params.lifetime == Lifetime::Core || params.record {
                false => Outlet::Link(caller.link.clone()),
                true => Outlet::Record(Record::new()),
            },
            timeout: match params.timeout_ms {
                Some(0) => None,
                Some(ms) => Some(Duration::from_millis(ms)),
                None => config.map(|c| c.command_timeout).filter(|t| !t.is_zero()),
            },
            retries: params.retries.or(config.map(|c| c.max_retries)).unwrap_or(0),
            guard: params.guard.unwrap_or(!literal) && has_streams(&params.action),
            fanout: fanout.max(1),
            course: Course::new(nodes.len()),
            nodes,
            params,
            sinks,
            stdin,
            questions: caller.questions.clone(),
            secret: SudoSecret::default(),
        });
        let started = ExecStarted {
            run: run.id,
            nodes: run.nodes.iter().map(|n| n.name.clone()).collect(),
            stdin: stream,
            warnings,
        };
        if run.params.lifetime == Lifetime::Core {
            self.kept().insert(run.id);
        }
        self.runs().insert(run.id, run.clone());
        Ok(Prepared { started, run, spool })
    }

    /// Starts a prepared run; events follow.
    pub async fn launch(self: Arc<Self>, prepared: Prepared) {
        let Prepared { run, spool, .. } = prepared;
        self.commons.journal.begun(&run, self.kind(), &self.env().user);
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
                summary = run.clone().drive(engine.clone()) => {
                    let kept = engine.is_kept(run.id);
                    engine.commons.journal.over(&run, &summary);
                    engine.commons.jobs.keep(&run, kept, summary.clone());
                    run.done(summary).await;
                }
                () = filling => {}
            }
            engine.runs().remove(&run.id);
            engine.commons.tell();
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
    /// `handle.unknown`; a name that is no signal's.
    pub fn signal(&self, params: SignalRun) -> Result<(), CallError> {
        crate::signals::known(&params.signal)?;
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

    /// `exec/rekey`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn rekey(&self, params: RunRef) -> Result<(), CallError> {
        self.run(params.run)?.order(Order::Rekey);
        Ok(())
    }

    /// `exec/list`.
    pub fn list(&self) -> RunList {
        let entry = |run: &Arc<Run>| RunEntry {
            run: run.id,
            action: run.params.action.clone(),
            nodes: u32::try_from(run.nodes.len()).unwrap_or(u32::MAX),
            ended: run.course.n_ended.load(Ordering::Relaxed),
            running_ms: millis(run.course.begun.elapsed()),
        };
        RunList { runs: self.runs().values().map(entry).collect() }
    }

    /// The link is gone: ends its work, and what runs on the nodes; but not what is kept.
    pub async fn leave(&self) {
        self.gone.send_replace(true);
        let kept = self.kept().clone();
        self.forwards.close_but(&kept);
        self.ptys.close_but(&kept);
        self.sessions.close_but(&kept);
        for engine in self.commons.engines() {
            engine.sessions.abandon();
        }
        self.transfers.cancel_but(&kept);
        self.syncs.cancel_all();
        self.fs_tasks.cancel_all();
        self.reach.close_all();
        self.commons.gates.leave(self, &kept).await;
        self.env().memory.forget_variables();
        for (_, run) in self.runs().iter().filter(|(id, _)| !kept.contains(id)) {
            run.cancel(&[]);
        }
        if !kept.is_empty() {
            return;
        }
        // What is not done by then would not be done later either.
        let _ = tokio::time::timeout(Engine::GRACE, self.work.over()).await;
        self.gateways.close().await;
    }

    /// A handle nobody has.
    pub(crate) fn new_id(&self) -> u64 {
        self.commons.new_id()
    }

    /// Does some work until it is over or the link is gone.
    pub(crate) async fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.work.start(self.remarks.scope(work)).await;
    }

    /// Returns once some work has panicked: whoever waits for its end would wait for ever.
    pub async fn broken(&self) {
        self.work.broken().await;
    }

    /// Makes the one a connection asks, for a request of this caller.
    pub(crate) fn ask_for(
        &self,
        questions: &Arc<Questions>,
    ) -> impl Fn(&Arc<Route>) -> Arc<dyn Ask> + Send + Sync + use<> {
        let questions = questions.clone();
        // ssh has one node, and its users know the remarks as they are.
        let labels = !matches!(self.kind(), "ssh" | "sftp");
        move |route| {
            Arc::new(AskAbout {
                questions: questions.clone(),
                node: route.plan.node.clone(),
                heard: Heard::of(&route.options.log_level),
                labels,
            })
        }
    }

    /// The route to the one node of a request, and what the configuration says of forwards.
    ///
    /// # Errors
    /// As [`Engine::prepare`]; the node's own failure; more than one node.
    pub(crate) async fn one_route(
        &self,
        targets: &Targets,
    ) -> Result<(Arc<Route>, Option<Forwarding>), CallError> {
        let planner = Planner::new(self.env(), &targets.settings, targets.destination.is_none())?;
        let mut nodes = planner.nodes(targets).await?;
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
        self.any_run(id).ok_or_else(unknown)
    }

    /// A descriptor of the frontend.
    pub(crate) fn lent(&self, number: i32) -> std::io::Result<OwnedFd> {
        (self.adopt)(number)
    }

    pub(crate) fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Arc<Run>>> {
        lock(&self.runs)
    }

    #[allow(clippy::type_complexity, reason = "three results of one decision")]
    pub(crate) fn stdin(
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
        let descriptor = |fd| crate::descriptor::Reader::new(fd).map(Origin::Descriptor);
        let origin = match &params.stdin {
            Source::Null => return Ok((Stdin::Null, None, None)),
            Source::Stream => {
                let id = caller.link.new_stream_id();
                stream = Some(id);
                Origin::Link(caller.link.receiver(id, WINDOW))
            }
            Source::File(path) => {
                let file = File::open(self.env().here(path)).and_then(|f| descriptor(f.into()));
                file.map_err(|e| failed(path.clone(), e))?
            }
            Source::Fd(number) => {
                let failed = |e| failed(format!("descriptor {number}"), e);
                let fd = self.lent(*number).map_err(failed)?;
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
