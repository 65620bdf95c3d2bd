//! Files to and from nodes, and the calls that start and end that.
//!
//! The way of an upload: [`Engine::transfer_prepare`] (`options`, `tree` of what there is) →
//! `run` (fan-out) → `node` (one node) → `upload` → `send` (one file). A download: → `download` →
//! `fetch`. `origin` is what a file is read from, `across` finds sources on another node, `relay`
//! has a node pass an upload on, with what `listed` says of the sources. `remote`
//! and `disk` are the two sides' directories, `fault` is why a file failed,
//! `count` what was done.

mod across;
mod bare;
mod blocks;
mod count;
mod crowd;
mod disk;
mod download;
mod fault;
mod fetch;
mod listed;
mod node;
mod options;
mod origin;
mod pattern;
mod relay;
pub(crate) mod remote;
mod run;
mod send;
mod tree;
mod upload;
mod verify;

use bssh_protocol::lock;
pub(crate) use disk::{Disk, LocalDir, settle};
pub(crate) use fault::Fault;
pub(crate) use node::open_on;
pub(crate) use origin::far_block;
pub(crate) use pattern::Skip;
pub(crate) use send::{explain, split};
use tree::Tree;
pub(crate) use tree::{DEEPEST, join};

use crate::descriptors::{FILES, affordable, files_of_one};
use crate::engine::{Caller, Engine};
use crate::gateway::Means;
use crate::journal::Noted;
use crate::plan::{NodePlan, Planner};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Summary, Targets};
use bssh_protocol::task::{FsCopyParams, FsTaskEntry, TaskId};
use bssh_protocol::transfer::{
    TransferDirection, TransferEntry, TransferId, TransferList, TransferParams, TransferStarted,
};
use options::Options;
use relay::Relay;
use run::{Parts, TransferRun, Voice};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

/// The transfers of a core.
#[derive(Default)]
pub(crate) struct Transfers {
    open: Mutex<BTreeMap<TransferId, Arc<TransferRun>>>,
}

/// A transfer that is about to start: answer first, then [`Engine::transfer_launch`].
pub struct PreparedTransfer {
    pub started: TransferStarted,
    run: Arc<TransferRun>,
    noted: Option<Noted>,
}

/// `fs/copy`, its ends resolved.
pub(crate) struct CopyPlan {
    pub id: TaskId,
    pub from: Option<NodePlan>,
    pub to: Option<NodePlan>,
    pub params: FsCopyParams,
}

impl Transfers {
    pub(crate) fn has(&self, id: TransferId) -> bool {
        self.open().contains_key(&id)
    }

    /// Gives up all but these.
    pub(crate) fn cancel_but(&self, kept: &BTreeSet<u64>) {
        for (_, run) in self.open().iter().filter(|(id, _)| !kept.contains(id)) {
            run.cancel();
        }
    }

    /// Gives up a copy; false if there is none of that name.
    pub(crate) fn cancel_task(&self, id: TaskId) -> bool {
        let run = self.open().get(&id).filter(|run| run.is_task()).cloned();
        run.as_ref().map(|run| run.cancel()).is_some()
    }

    /// Transfers that are tasks.
    pub(crate) fn tasks(&self) -> Vec<FsTaskEntry> {
        let entry = |run: &Arc<TransferRun>| {
            let path = run.task_path()?.into();
            let running_ms = crate::run::millis(run.begun.elapsed());
            Some(FsTaskEntry { task: run.id, kind: "copy".to_owned(), path, running_ms })
        };
        self.open().values().filter_map(entry).collect()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<TransferId, Arc<TransferRun>>> {
        lock(&self.open)
    }
}

impl Engine {
    /// `transfer/start`: plans. Reads no sources and dials nothing.
    ///
    /// # Errors
    /// What is wrong with the request as a whole.
    pub async fn transfer_prepare(
        &self,
        caller: &Caller,
        mut params: TransferParams,
    ) -> Result<PreparedTransfer, CallError> {
        self.settle(&mut params);
        let literal = params.targets.destination.is_some();
        let planner = match params.planned.is_empty() {
            true => Planner::new(self.env(), &params.targets.settings, !literal)?,
            false => Planner::told(self.env())?,
        };
        let nodes = planner.of_run(&params.targets, &params.planned).await?;
        let config = planner.inventory().map(bssh_config::Inventory::config);
        let fanout = params.fanout.map_or_else(|| config.map_or(1, |c| c.fanout), |f| f as usize);
        let mut warnings = planner.warnings();
        let wanted = (fanout.min(nodes.len()), FILES);
        let (fanout, files) = affordable(self.pool(), &nodes, wanted, &mut warnings);
        let (retries, fail_fast) = (params.retries.unwrap_or(0), params.fail_fast);
        let source = match params.source.take() {
            None => None,
            Some(_) if params.direction == TransferDirection::Download => {
                let text = "params.source: only for an upload";
                return Err(CallError::new(Kind::InvalidParams, text).at("params.source"));
            }
            Some(source) => Some(self.one_node(&source).await?),
        };
        let gateways = config.map(|config| config.gateways.clone()).unwrap_or_default();
        let relay = params.relay.clone().map(|asked| {
            let means = Means {
                push: asked.push.unwrap_or(gateways.push),
                program: asked.program.or(gateways.program),
                ..Means::default()
            };
            Box::new(Relay { means, params: params.clone() })
        });
        let tree = params.listed.take().map(Tree::from);
        let options = Options::new(params, nodes.len())?;
        if relay.is_some() && (source.is_some() || !options.can_relay()) {
            let text = "params.relay: only for an upload of what is here and the same for every \
                        node, and without tell";
            return Err(CallError::new(Kind::InvalidParams, text).at("params.relay"));
        }
        let run = TransferRun::new(Parts {
            id: self.new_id(),
            voice: Voice::Transfer(caller.link.clone()),
            source,
            relay,
            tree,
            options,
            questions: Engine::asking(caller).clone(),
            nodes,
            fanout,
            files,
            retries,
            fail_fast,
        });
        let nodes = run.nodes.iter().map(|n| n.name.clone()).collect();
        let started = TransferStarted { transfer: run.id, nodes, warnings };
        let noted = self.note("transfer", run.id, &format!("{} nodes", run.nodes.len()));
        self.transfers.open().insert(run.id, run.clone());
        Ok(PreparedTransfer { started, run, noted: Some(noted) })
    }

    /// The one node these targets name.
    pub(crate) async fn one_node(&self, targets: &Targets) -> Result<NodePlan, CallError> {
        let planner = Planner::new(self.env(), &targets.settings, targets.destination.is_none())?;
        let mut nodes = planner.nodes(targets).await?;
        match (nodes.pop(), nodes.len()) {
            (Some(node), 0) => Ok(node),
            _ => {
                Err(CallError::new(Kind::InvalidParams, "the source is one node")
                    .at("params.source"))
            }
        }
    }

    /// `fs/copy`: the same as a task.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub(crate) fn copy_prepare(
        &self,
        caller: &Caller,
        plan: CopyPlan,
    ) -> Result<PreparedTransfer, CallError> {
        let CopyPlan { id, from, to, params } = plan;
        let (direction, source, node) = match (from, to) {
            (source, Some(node)) => (TransferDirection::Upload, source, node),
            (Some(node), None) => (TransferDirection::Download, None, node),
            (None, None) => {
                let text = "params.to: at least one end is a node";
                return Err(CallError::new(Kind::InvalidParams, text).at("params.to"));
            }
        };
        let voice = Voice::Task {
            link: caller.link.clone(),
            token: params.progress_token.clone(),
            path: params.to.path.0.clone(),
        };
        let wanted = TransferParams {
            direction,
            from: vec![params.from.path],
            to: params.to.path,
            recursive: params.recursive,
            resume: params.resume,
            preserve: params.preserve,
            verify: params.checksum,
            literal: true,
            ..TransferParams::default()
        };
        let mut options = Options::new(wanted, 1)?;
        (options.overwrite, options.exact) = (params.overwrite, params.exact);
        let run = TransferRun::new(Parts {
            id,
            voice,
            source,
            relay: None,
            tree: None,
            options,
            questions: Engine::asking(caller).clone(),
            nodes: vec![node],
            fanout: 1,
            files: files_of_one(),
            retries: 0,
            fail_fast: None,
        });
        let started = TransferStarted { transfer: id, nodes: Vec::new(), warnings: Vec::new() };
        self.transfers.open().insert(id, run.clone());
        Ok(PreparedTransfer { started, run, noted: None })
    }

    /// Starts a prepared transfer; events follow.
    pub async fn transfer_launch(self: Arc<Self>, prepared: PreparedTransfer) {
        let (engine, run, noted) = (self.clone(), prepared.run, prepared.noted);
        self.spawn(async move {
            let done = run.clone().drive(&engine).await;
            if let (Some(noted), Some(done)) = (noted, &done) {
                let Summary { ok, nodes, .. } = done.summary;
                noted.over(&format!("{ok} of {nodes} nodes ok"));
            }
            run.done(done).await;
            engine.transfers.open().remove(&run.id);
            engine.commons.tell();
        })
        .await;
    }

    /// Relative local paths and what others may do with new files are the frontend's.
    fn settle(&self, params: &mut TransferParams) {
        let env = self.env();
        params.umask = params.umask.or(env.umask);
        let local = match params.direction {
            TransferDirection::Upload => params.from.as_mut_slice(),
            TransferDirection::Download => std::slice::from_mut(&mut params.to),
        };
        for path in local.iter_mut().filter(|_| env.borrowed) {
            let whole = env.here(std::ffi::OsStr::from_bytes(&path.0));
            path.0 = whole.into_os_string().into_vec();
        }
    }

    /// `transfer/cancel`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn transfer_cancel(&self, id: TransferId) -> Result<(), CallError> {
        let run = self.transfers.open().get(&id).cloned();
        let unknown = || CallError::new(Kind::HandleUnknown, format!("no transfer {id}"));
        run.ok_or_else(|| unknown().at("params.transfer"))?.cancel();
        Ok(())
    }

    /// `transfer/list`.
    pub fn transfer_list(&self) -> TransferList {
        let entry = |run: &Arc<TransferRun>| TransferEntry {
            transfer: run.id,
            direction: run.options.direction,
            nodes: u32::try_from(run.nodes.len()).unwrap_or(u32::MAX),
            ended: run.n_ended.load(Ordering::Relaxed),
            running_ms: crate::run::millis(run.begun.elapsed()),
        };
        let open = self.transfers.open();
        let transfers = open.values().filter(|run| !run.is_task()).map(entry);
        TransferList { transfers: transfers.collect() }
    }
}
