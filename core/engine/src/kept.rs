//! What goes on without its link: kept until it is over, or until the core ends.

use crate::engine::Engine;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::lock;
use std::collections::BTreeSet;
use std::sync::MutexGuard;

impl Engine {
    /// `link/close`: these jobs go on without their link.
    ///
    /// # Errors
    /// `handle.unknown`; a run whose output nobody would keep.
    pub fn keep(&self, jobs: &[u64]) -> Result<(), CallError> {
        for job in jobs {
            let told = self.runs().get(job).is_some_and(|run| run.needs_link());
            if told || !self.has(*job) {
                let text = format!("no job {job} that can be kept");
                return Err(CallError::new(Kind::HandleUnknown, text).at("params.keep"));
            }
        }
        self.kept().extend(jobs);
        Ok(())
    }

    fn has(&self, job: u64) -> bool {
        let held = self.forwards.has(job) || self.ptys.has(job) || self.sessions.has(job);
        held || self.commons.gates.has(job)
            || self.transfers.has(job)
            || self.runs().contains_key(&job)
    }

    /// It goes on without its link.
    pub(crate) fn is_kept(&self, job: u64) -> bool {
        self.kept().contains(&job)
    }

    /// Returns when the link is gone.
    pub(crate) async fn left(&self) {
        // It never fails while we are here.
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// These go on without their link.
    pub(crate) fn keep_on(&self, jobs: impl Iterator<Item = u64>) {
        self.kept().extend(jobs);
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        lock(&self.kept)
    }

    /// Returns when nothing that was kept goes on any more.
    pub async fn rested(&self) {
        loop {
            let changed = self.commons.changed();
            lock(&self.kept).retain(|job| self.has(*job));
            if self.kept().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// What was kept are forwards, and nobody uses them.
    pub(crate) fn only_listens(&self) -> bool {
        let kept = self.kept();
        !kept.is_empty() && kept.iter().all(|job| self.forwards.is_unused(*job))
    }

    /// Ends what was kept, too.
    pub async fn give_up(&self) {
        self.kept().clear();
        self.leave().await;
    }
}
