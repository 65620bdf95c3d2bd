//! What a person asks about a sync and decides, without the node: how it stands, which conflicts
//! there are, which side of one is right, what to put back.

use super::backup::{self, How};
use super::filter;
use super::journal::{Conflict, Record};
use super::lock::Lock;
use super::options::{Options, Pair};
use super::store::Store;
use crate::engine::Engine;
use crate::transfer::{Fault, LocalDir, split};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::sync::{
    SyncBackup, SyncBackups, SyncConflict, SyncConflicts, SyncLast, SyncPairStatus,
    SyncResolveParams, SyncRestoreParams, SyncStatus, SyncTake, SyncWhat,
};
use bssh_protocol::transfer::PathBytes;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// How long a decision waits for a sync that is under way.
const WAIT: Duration = Duration::from_secs(10);

impl Engine {
    /// `sync/status`.
    ///
    /// # Errors
    /// What is wrong with the request; a state that cannot be read.
    pub async fn sync_status(&self, what: &SyncWhat) -> Result<SyncStatus, CallError> {
        let options = Options::new(self.env(), what).await?;
        let mut pairs = Vec::new();
        for pair in &options.pairs {
            let dir = options.state.join(&pair.key);
            let mut status = SyncPairStatus {
                node: options.node.clone(),
                local: root(pair),
                remote: PathBytes(pair.remote.clone()),
                held_by: Lock::holder(&dir.join("lock")),
                ..SyncPairStatus::default()
            };
            if let Some(store) = Store::peek(&dir).map_err(|e| failed(&e.into()))? {
                status.known = store.base.len() as u64;
                status.conflicts = store.conflicts.len() as u64;
                let last = store.last;
                status.pending_back = last.pending_back;
                status.last = (!last.action.is_empty()).then_some(SyncLast {
                    unix_ms: last.unix_ms,
                    action: last.action,
                    failure: last.failure,
                });
            }
            pairs.push(status);
        }
        Ok(SyncStatus { pairs })
    }

    /// `sync/conflicts`.
    ///
    /// # Errors
    /// As [`Engine::sync_status`].
    pub async fn sync_conflicts(&self, what: &SyncWhat) -> Result<SyncConflicts, CallError> {
        let options = Options::new(self.env(), what).await?;
        let mut conflicts = Vec::new();
        for pair in &options.pairs {
            let store = Store::peek(&options.state.join(&pair.key));
            let store = store.map_err(|e| failed(&e.into()))?;
            let open = store.into_iter().flat_map(|store| store.conflicts.into_values());
            conflicts.extend(open.map(|conflict| told(pair, conflict)));
        }
        Ok(SyncConflicts { conflicts })
    }

    /// `sync/resolve`.
    ///
    /// # Errors
    /// As [`Engine::sync_status`]; no such conflict; its files are not what they were.
    pub async fn sync_resolve(
        &self,
        params: &SyncResolveParams,
    ) -> Result<SyncConflicts, CallError> {
        let options = Options::new(self.env(), &params.what).await?;
        let mut resolved = Vec::new();
        for pair in &options.pairs {
            let dir = options.state.join(&pair.key);
            let _lock =
                Lock::take(&dir.join("lock"), WAIT).await.map_err(|fault| failed(&fault))?;
            let mut store = Store::open(&dir).map_err(|e| failed(&e.into()))?;
            let all = store.conflicts.values().filter(|c| c.path == params.path.0);
            let mut meant: Vec<Conflict> = all.cloned().collect();
            // Copies begin with their time, so the last one is what the node had last.
            let Some(newest) = meant.pop() else { continue };
            let here = LocalDir::at(&pair.local).map_err(|fault| failed(&fault))?;
            let records =
                decide(&here, &newest, &meant, params.take).map_err(|fault| failed(&fault))?;
            store.done(records).map_err(|e| failed(&e.into()))?;
            resolved.push(told(pair, newest));
        }
        if resolved.is_empty() {
            let path = String::from_utf8_lossy(&params.path.0).into_owned();
            let text = format!("no conflict about {path} is open");
            return Err(CallError::new(Kind::InvalidParams, text).at("params.path"));
        }
        Ok(SyncConflicts { conflicts: resolved })
    }

    /// `sync/restore`.
    ///
    /// # Errors
    /// As [`Engine::sync_status`]; no such backup.
    pub async fn sync_restore(&self, params: &SyncRestoreParams) -> Result<SyncBackups, CallError> {
        let options = Options::new(self.env(), &params.what).await?;
        let mut backups = Vec::new();
        for pair in &options.pairs {
            let Ok(here) = LocalDir::at(&pair.local) else { continue };
            let kept = backup::all(&here).map_err(|fault| failed(&fault))?;
            let backup = |kept: backup::Kept| SyncBackup {
                root: root(pair),
                run: kept.run,
                path: PathBytes(kept.path),
                size: kept.size,
            };
            let Some(path) = &params.path else {
                backups.extend(kept.into_iter().map(backup));
                continue;
            };
            let fits = |kept: &&backup::Kept| {
                kept.path == path.0 && params.run.as_ref().is_none_or(|run| *run == kept.run)
            };
            // The newest is the last.
            let Some(found) = kept.iter().rev().find(fits).cloned() else { continue };
            let dir = options.state.join(&pair.key);
            let _lock =
                Lock::take(&dir.join("lock"), WAIT).await.map_err(|fault| failed(&fault))?;
            backup::restore(&here, &found.run, &found.path, &run_name())
                .map_err(|fault| failed(&fault))?;
            backups.push(backup(found));
        }
        match &params.path {
            Some(path) if backups.is_empty() => {
                let path = String::from_utf8_lossy(&path.0).into_owned();
                let text = format!("there is no backup of {path}");
                Err(CallError::new(Kind::InvalidParams, text).at("params.path"))
            }
            _ => Ok(SyncBackups { backups }),
        }
    }
}

/// Moves files so that the right one has the name; what the base and the conflicts become.
fn decide(
    here: &LocalDir,
    newest: &Conflict,
    older: &[Conflict],
    take: SyncTake,
) -> Result<Vec<Record>, Fault> {
    let run = run_name();
    let (dir, copy) = split(&newest.copy);
    let dir = here.walk(dir)?;
    if dir.stat(copy)?.is_none() {
        return Err(Fault::new("notFound", "its copy is gone; the next run takes what is here"));
    }
    match take {
        SyncTake::Local => backup::keep(here, &run, &newest.copy, How::Move)?,
        SyncTake::Remote => {
            let name = split(&newest.path).1;
            if dir.stat(name)?.is_some() {
                backup::keep(here, &run, &newest.path, How::Link)?;
            }
            dir.rename(copy, name)?;
        }
    }
    let mut records = vec![
        Record::Done(newest.path.clone(), Some(newest.theirs.clone())),
        Record::Closed(newest.copy.clone()),
    ];
    for conflict in older {
        match backup::keep(here, &run, &conflict.copy, How::Move) {
            Err(fault) if !fault.is_missing() => return Err(fault),
            _ => records.push(Record::Closed(conflict.copy.clone())),
        }
    }
    Ok(records)
}

/// The name of a run that is a person's decision.
fn run_name() -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let nonce = super::lease::nonce();
    format!("{}-{}", filter::utc(now), nonce.get(..8).unwrap_or_default())
}

fn root(pair: &Pair) -> PathBytes {
    PathBytes(pair.local.as_os_str().as_bytes().to_vec())
}

fn told(pair: &Pair, conflict: Conflict) -> SyncConflict {
    SyncConflict {
        root: root(pair),
        path: PathBytes(conflict.path),
        copy: Some(PathBytes(conflict.copy)),
    }
}

fn failed(fault: &Fault) -> CallError {
    CallError::new(Kind::Fs, crate::failure::one_line(&fault.message))
}
