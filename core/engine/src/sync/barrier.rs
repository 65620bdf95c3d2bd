//! The barrier of a session: what has changed here is on the node before a command runs there.
//!
//! A push that finds nothing changed asks the node nothing. Locks and lease are kept from one
//! command to the next, and given back when none has come for [`IDLE`], so that others get their
//! turn long before they give up waiting.

use super::open::Opened;
use super::options::{Options, Pair};
use super::round::Wanted;
use super::run::{SyncRun, Told};
use super::total::{Total, Way};
use crate::engine::{Caller, Engine};
use crate::failure::plain;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Failure, Phase, Settings, Targets};
use bssh_protocol::sync::{SyncAction, SyncWhat};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as Flight, Notify};

/// How long a pair stays open after a command; shorter than others wait for its lock, and than
/// its lease lasts.
const IDLE: Duration = Duration::from_secs(20);
/// Files that a failure names.
const NAMED: usize = 5;

/// The syncs of one session.
pub(crate) struct Barrier {
    runs: Vec<Arc<SyncRun>>,
    kept: Flight<Vec<Kept>>,
    used: Notify,
}

/// A pair that is open.
struct Kept {
    run: Arc<SyncRun>,
    pair: Pair,
    opened: Opened,
}

impl Engine {
    /// The barriers of the sessions that are opened together, one for each node that has one.
    ///
    /// # Errors
    /// A sync that is not known, or that is with none of these nodes.
    pub(crate) async fn barriers(
        &self,
        caller: &Caller,
        (ids, settings): (&[String], &Settings),
        nodes: &[&str],
    ) -> Result<Vec<Option<Arc<Barrier>>>, CallError> {
        let mut runs: Vec<Vec<Arc<SyncRun>>> = nodes.iter().map(|_| Vec::new()).collect();
        for id in ids {
            let targets = Targets { settings: settings.clone(), ..Targets::default() };
            let what = SyncWhat { targets, id: Some(id.clone()), ..SyncWhat::default() };
            let options = Options::new(self.env(), &what).await?;
            let at = nodes.iter().position(|node| *node == options.node);
            let Some(place) = at.and_then(|at| runs.get_mut(at)) else {
                let text = format!("params.sync: {id} is with {}, not with this", options.node);
                return Err(CallError::new(Kind::InvalidParams, text).at("params.sync"));
            };
            if !options.barrier {
                continue;
            }
            place.push(Arc::new(SyncRun {
                id: self.new_id(),
                options,
                wanted: Wanted { action: SyncAction::Push, dry_run: false, force_delete: false },
                questions: Engine::asking(caller).clone(),
                begun: Instant::now(),
                told: Told { link: None, sync: 0 },
                stop: Arc::default(),
                count: Arc::default(),
                left: Mutex::default(),
            }));
        }
        let barrier = |runs: Vec<Arc<SyncRun>>| match runs.is_empty() {
            true => None,
            false => Some(Arc::new(Barrier { runs, kept: Flight::default(), used: Notify::new() })),
        };
        Ok(runs.into_iter().map(barrier).collect())
    }
}

impl Barrier {
    /// Sends what has changed here.
    ///
    /// # Errors
    /// `syncFailed`: something could not be sent; the message names it.
    pub(crate) async fn pass(&self, engine: &Engine) -> Result<(), Failure> {
        let mut kept = self.kept.lock().await;
        let done = match self.push(engine, &mut kept).await {
            // A connection that was idle may have gone meanwhile.
            Err(failure) if failure.retryable => {
                close(&mut kept).await;
                self.push(engine, &mut kept).await
            }
            done => done,
        };
        if done.is_err() {
            close(&mut kept).await;
        }
        self.used.notify_one();
        done.map_err(|failure| {
            let text = format!("not sent, so nothing was run: {}", failure.message);
            Failure { hint: failure.hint, ..plain(Phase::Exec, "syncFailed", text) }
        })
    }

    async fn push(&self, engine: &Engine, kept: &mut Vec<Kept>) -> Result<(), Failure> {
        if kept.is_empty() {
            for run in &self.runs {
                for pair in &run.options.pairs {
                    let opened = run.open(engine, pair).await?;
                    kept.push(Kept { run: run.clone(), pair: pair.clone(), opened });
                }
            }
        }
        for Kept { run, pair, opened } in kept.iter() {
            let mut total = Total::default();
            run.one_round(opened, pair, run.wanted, &mut total).await?;
            complete(&total)?;
        }
        Ok(())
    }

    /// Gives back what is idle, until the session ends.
    pub(crate) async fn rest(&self, ended: impl Future<Output = ()>) {
        let mut ended = std::pin::pin!(ended);
        loop {
            tokio::select! {
                () = &mut ended => break,
                () = self.used.notified() => {}
            }
            loop {
                tokio::select! {
                    () = &mut ended => return close(&mut *self.kept.lock().await).await,
                    () = self.used.notified() => {}
                    () = tokio::time::sleep(IDLE) => break,
                }
            }
            close(&mut *self.kept.lock().await).await;
        }
        close(&mut *self.kept.lock().await).await;
    }
}

async fn close(kept: &mut Vec<Kept>) {
    for kept in kept.drain(..) {
        kept.opened.close().await;
    }
}

/// Everything was sent.
fn complete(total: &Total) -> Result<(), Failure> {
    let Some(incomplete) = total.incomplete() else { return Ok(()) };
    let faults = total.result.faults.iter().map(|fault| (&fault.path, fault.message.as_str()));
    let conflicts = total.conflicts.iter().map(|(conflict, way)| match way {
        Way::Decide(_) | Way::Fetch => (&conflict.path, "changed on both sides"),
        Way::Remove => (&conflict.path, "differs on both sides"),
    });
    let name = |(path, why): (&bssh_protocol::transfer::PathBytes, &str)| {
        format!("{}: {why}", String::from_utf8_lossy(&path.0))
    };
    let mut text = faults.chain(conflicts).take(NAMED).map(name).collect::<Vec<_>>().join("; ");
    let more = (total.result.n_faults + total.n_conflicts()).saturating_sub(NAMED as u64);
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    Err(Failure { hint: incomplete.hint, ..plain(Phase::Transfer, "filesFailed", text) })
}
