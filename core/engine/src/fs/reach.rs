//! Connections for `fs/*`, made once and kept while the core lives: an editor asks again soon.

use crate::engine::{Caller, Engine};
use crate::failure::failure;
use crate::pool::Lease;
use crate::transfer::open_on;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Failure, Phase, Targets};
use bssh_protocol::fs::{FsClose, FsClosed};
use bssh_protocol::lock;
use bssh_ssh::sftp::Sftp;
use futures_util::future::TryFutureExt;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Mutex as Flight;

/// Nodes whose connection is kept; with more, some are asked to log in again.
const KEPT: usize = 64;

/// A node's slot: one caller connects, the others wait for it.
type Slot = Arc<Flight<Option<(Arc<Lease>, Sftp)>>>;

/// The connections.
#[derive(Default)]
pub(crate) struct Reach {
    slots: Mutex<HashMap<String, Slot>>,
}

impl Reach {
    /// Ends all of them.
    pub(crate) fn close_all(&self) {
        self.slots().clear();
    }

    /// The file server that is open on this very connection.
    pub(crate) fn shared(&self, key: &str, lease: &Arc<Lease>) -> Option<Sftp> {
        let slot = self.slots().get(key).cloned()?;
        let kept = slot.try_lock().ok()?;
        let (known, sftp) = kept.as_ref()?;
        (Arc::ptr_eq(known, lease) && !sftp.has_ended()).then(|| sftp.clone())
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        lock(&self.slots)
    }

    /// Forgets a node's slot; true if there was a connection in it.
    async fn close(&self, key: &str) -> bool {
        let slot = self.slots().remove(key);
        match slot {
            Some(slot) => slot.lock().await.take().is_some(),
            None => false,
        }
    }

    fn slot(&self, key: &str) -> Slot {
        let mut slots = self.slots();
        if slots.len() >= KEPT && !slots.contains_key(key) {
            let any = slots.keys().next().cloned();
            any.map(|any| slots.remove(&any));
        }
        slots.entry(key.to_owned()).or_default().clone()
    }
}

impl Engine {
    /// `fs/close`: ends the connection that is kept for a node's files.
    ///
    /// # Errors
    /// The node cannot be resolved.
    pub async fn fs_close(&self, p: &FsClose) -> Result<FsClosed, CallError> {
        let (route, _) = self.one_route(&p.targets).await?;
        Ok(FsClosed { closed: self.reach.close(&route.bulk().key).await })
    }

    /// The file server of a request's one node.
    pub(super) async fn reach(
        &self,
        caller: &Caller,
        targets: &Targets,
    ) -> Result<Sftp, CallError> {
        let (route, _) = self.one_route(targets).await?;
        let route = route.bulk();
        let slot = self.reach.slot(&route.key);
        let mut kept = slot.lock().await;
        if let Some((lease, sftp)) = kept.as_ref()
            && !lease.is_closing()
            && !sftp.has_ended()
        {
            return Ok(sftp.clone());
        }
        let ask = self.ask_for(Engine::asking(caller));
        let leased = self.pool().lease(&route, &ask).await;
        let (mut lease, reused) = leased.map_err(|error| refused(failure(&error)))?;
        let another = || self.pool().own(&route, &ask).map_err(|error| failure(&error));
        let sftp = open_on((&mut lease, reused), another).await.map_err(refused)?;
        *kept = Some((lease, sftp.clone()));
        Ok(sftp)
    }
}

/// Why a node cannot be asked, as the error of a call.
fn refused(failure: Failure) -> CallError {
    let kind = match (&failure.phase, failure.code.as_str()) {
        (Phase::Transfer, "noSftp") => Kind::Fs,
        (Phase::Auth, _) => Kind::AuthFailed,
        (_, "hostKeyChanged") => Kind::HostKeyChanged,
        (_, "hostKeyUnknown") => Kind::HostKeyUnknown,
        (_, "timeout") => Kind::Timeout,
        _ => Kind::Disconnected,
    };
    let mut error = CallError::new(kind, failure.message);
    if let Some(data) = &mut error.data {
        (data.hint, data.hop, data.retryable) = (failure.hint, failure.hop, failure.retryable);
        data.cause = vec![failure.code];
    }
    error
}
