//! Syncs: two directory trees, here and on a node, kept the same in both directions.
//!
//! Three things are compared: the base (what both sides had when they were last the same), the
//! local side and the node's. `model` is what is known of a path, `reconcile` the pure function
//! from three sides to a plan. `scan` reads the local side, `listing` the node's, `sides` hashes
//! what is doubtful. `apply` carries a plan out with `put`, `get` and `names`; what is replaced
//! here goes to `backup`. `store` remembers (`journal`, `record`), `lock` and `lease` keep others
//! away, `open` makes a pair ready and has `recover` deal with what was cut off. `round` is one
//! look and what follows from it, `total` what is told of it, `run` the way from start to end,
//! `watch` rounds without end, `barrier` a push before each command of a session. `decide` is what
//! a person asks and decides.

mod apply;
mod backup;
mod barrier;
mod decide;
mod ends;
mod filter;
mod get;
mod journal;
mod lease;
mod listing;
mod lock;
mod model;
mod names;
mod open;
mod options;
mod put;
mod reconcile;
#[cfg(test)]
mod reconcile_tests;
mod record;
mod recover;
mod remote_hash;
mod round;
mod run;
mod scan;
mod sides;
mod store;
mod total;
mod watch;

pub(crate) use barrier::Barrier;

use crate::engine::{Caller, Engine};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::lock;
use bssh_protocol::sync::{SyncAction, SyncEntry, SyncId, SyncList, SyncParams, SyncStarted};
use options::Options;
use round::Wanted;
use run::{SyncRun, Told};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

/// The syncs of a core.
#[derive(Default)]
pub(crate) struct Syncs {
    open: Mutex<BTreeMap<SyncId, Arc<SyncRun>>>,
}

/// A sync that is about to start: answer first, then [`Engine::sync_launch`].
pub struct PreparedSync {
    pub started: SyncStarted,
    run: Arc<SyncRun>,
}

impl Syncs {
    /// Ends all of them.
    pub(crate) fn cancel_all(&self) {
        for run in self.open().values() {
            run.stop.stop();
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<SyncId, Arc<SyncRun>>> {
        lock(&self.open)
    }
}

impl Engine {
    /// `sync/start`: reads the configuration and plans. Dials nothing.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub async fn sync_prepare(
        &self,
        caller: &Caller,
        params: &SyncParams,
    ) -> Result<PreparedSync, CallError> {
        if params.dry_run && params.action == SyncAction::Watch {
            let text = "params.dryRun: a watch has no end that could be foretold";
            return Err(CallError::new(Kind::InvalidParams, text).at("params.dryRun"));
        }
        let options = Options::new(self.env(), &params.what).await?;
        let id = self.new_id();
        let started = SyncStarted {
            sync: id,
            node: options.node.clone(),
            warnings: options.warnings.clone(),
        };
        let run = Arc::new(SyncRun {
            id,
            options,
            wanted: Wanted {
                action: params.action,
                dry_run: params.dry_run || params.action == SyncAction::Plan,
                force_delete: params.force_delete,
            },
            questions: Engine::asking(caller).clone(),
            begun: Instant::now(),
            told: Told { link: Some(caller.link.clone()), sync: id },
            stop: Arc::default(),
            count: Arc::default(),
            left: Mutex::default(),
        });
        self.syncs.open().insert(id, run.clone());
        Ok(PreparedSync { started, run })
    }

    /// Starts a prepared sync; events follow.
    pub async fn sync_launch(self: Arc<Self>, prepared: PreparedSync) {
        let (engine, run) = (self.clone(), prepared.run);
        self.spawn(async move {
            run.clone().drive(&engine).await;
            engine.syncs.open().remove(&run.id);
        })
        .await;
    }

    /// `sync/cancel`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub async fn sync_cancel(&self, id: SyncId) -> Result<(), CallError> {
        let run = self.syncs.open().get(&id).cloned();
        let unknown = || CallError::new(Kind::HandleUnknown, format!("no sync {id}"));
        run.ok_or_else(|| unknown().at("params.sync"))?.cancel().await;
        Ok(())
    }

    /// `sync/list`.
    pub fn sync_list(&self) -> SyncList {
        let entry = |run: &Arc<SyncRun>| SyncEntry {
            sync: run.id,
            node: run.options.node.clone(),
            action: run.wanted.action,
            running_ms: crate::run::millis(run.begun.elapsed()),
        };
        SyncList { syncs: self.syncs.open().values().map(entry).collect() }
    }
}
