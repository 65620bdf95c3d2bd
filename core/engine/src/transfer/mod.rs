//! Files to and from nodes, and the calls that start and end that.
//!
//! The way of an upload: [`Engine::transfer_prepare`] (`options`, `tree` of what there is) →
//! `run` (fan-out) → `node` (one node) → `upload` → `send` (one file). A download: → `download` →
//! `fetch`. `remote` and `disk` are the two sides' directories, `fault` is why a file failed,
//! `count` what was done.

mod count;
mod crowd;
mod disk;
mod download;
mod fault;
mod fetch;
mod node;
mod options;
mod pattern;
pub(crate) mod remote;
mod run;
mod send;
mod tree;
mod upload;
mod verify;

pub(crate) use fault::Fault;
pub(crate) use node::open;
pub(crate) use send::split;
pub(crate) use tree::join;

use crate::engine::{Caller, Engine, affordable};
use crate::plan::Planner;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::transfer::{
    TransferEntry, TransferId, TransferList, TransferParams, TransferStarted,
};
use options::Options;
use run::{Parts, TransferRun};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The transfers of a core.
#[derive(Default)]
pub(crate) struct Transfers {
    open: Mutex<BTreeMap<TransferId, Arc<TransferRun>>>,
}

/// A transfer that is about to start: answer first, then [`Engine::transfer_launch`].
pub struct PreparedTransfer {
    pub started: TransferStarted,
    run: Arc<TransferRun>,
}

impl Transfers {
    pub(crate) fn cancel_all(&self) {
        for run in self.open().values() {
            run.cancel();
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<TransferId, Arc<TransferRun>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// `transfer/start`: plans. Reads no sources and dials nothing.
    ///
    /// # Errors
    /// What is wrong with the request as a whole.
    pub fn transfer_prepare(
        &self,
        caller: &Caller,
        params: TransferParams,
    ) -> Result<PreparedTransfer, CallError> {
        let literal = params.targets.destination.is_some();
        let planner = Planner::new(self.env(), &params.targets.settings, !literal)?;
        let nodes = planner.nodes(&params.targets)?;
        let config = planner.inventory().map(bssh_config::Inventory::config);
        let fanout = params.fanout.map_or_else(|| config.map_or(1, |c| c.fanout), |f| f as usize);
        let mut warnings = planner.warnings();
        let fanout = affordable(fanout.min(nodes.len()), &mut warnings);
        let (retries, fail_fast) = (params.retries.unwrap_or(0), params.fail_fast);
        let run = TransferRun::new(Parts {
            id: self.new_id(),
            link: caller.link.clone(),
            options: Options::new(params, nodes.len())?,
            questions: Engine::asking(caller).clone(),
            nodes,
            fanout,
            retries,
            fail_fast,
        });
        let nodes = run.nodes.iter().map(|n| n.name.clone()).collect();
        let started = TransferStarted { transfer: run.id, nodes, warnings };
        self.transfers.open().insert(run.id, run.clone());
        Ok(PreparedTransfer { started, run })
    }

    /// Starts a prepared transfer; events follow.
    pub async fn transfer_launch(self: Arc<Self>, prepared: PreparedTransfer) {
        let (engine, run) = (self.clone(), prepared.run);
        self.spawn(async move {
            run.clone().drive(&engine).await;
            engine.transfers.open().remove(&run.id);
        })
        .await;
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
        TransferList { transfers: self.transfers.open().values().map(entry).collect() }
    }
}
