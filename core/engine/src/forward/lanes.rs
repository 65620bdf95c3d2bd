//! Which connection carries a forward's next connection, so that a client that does not read
//! slows nobody down.
//!
//! russh opens a channel's window again as soon as bytes arrive, and waits for the channel's
//! queue: a channel left unread stalls its whole SSH connection. So a stalled flow is read on into
//! memory and a file while others share its connection, newcomers go to another lane, and once
//! it is alone its lane simply pauses, which is true back-pressure. Further lanes are opened only
//! where the login needs no person; without them stalled flows stay limited by their file.

use crate::plan::Route;
use crate::pool::{Lease, Pool};
use bssh_ssh::ask::{Ask, HostKeyAnswer, HostKeyQuestion, Note, Prompt};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// Connections of one forward beside its first.
const MOST_EXTRA: usize = 3;
/// How long a further one may take.
const LOGIN: Duration = Duration::from_secs(5);
/// How long others wait for it.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often idle further lanes are looked for.
pub(super) const SWEEP: Duration = Duration::from_secs(30);
/// How often a paused flow looks at what it cannot be told of (its hops).
const LOOK: Duration = Duration::from_millis(500);

/// The connections of one forward to one node.
pub(crate) struct Lanes {
    primary: Arc<Lease>,
    route: Arc<Route>,
    extra: Mutex<Vec<Extra>>,
    /// Held by whoever opens one: others wait a little, then do without.
    opening: Mutex<()>,
    /// Logging in again has failed: it takes a person, or the server allows no more.
    closed: AtomicBool,
}

struct Extra {
    lease: Arc<Lease>,
    idle: bool,
}

/// One connection through a forward, on its lane.
pub(crate) struct Flow {
    lease: Arc<Lease>,
    stalled: AtomicBool,
}

impl Lanes {
    pub(crate) fn new(primary: Arc<Lease>, route: Arc<Route>) -> Arc<Self> {
        let (extra, opening) = (Mutex::default(), Mutex::default());
        Arc::new(Lanes { primary, route, extra, opening, closed: AtomicBool::new(false) })
    }

    /// Counts a new flow and says where it goes.
    pub(crate) async fn flow(&self, pool: &Pool) -> Flow {
        if let Some(flow) = self.free().await {
            return flow;
        }
        if let Ok(_turn) = tokio::time::timeout(PATIENCE, self.opening.lock()).await {
            if let Some(flow) = self.free().await {
                return flow;
            }
            if let Some(flow) = self.opened(pool).await {
                return flow;
            }
        }
        let extra = self.extra.lock().await;
        let all = extra.iter().map(|lane| &lane.lease).chain([&self.primary]);
        let least = all.min_by_key(|lease| {
            let load = &lease.load;
            (load.stalled.load(Relaxed), load.residents.load(Relaxed), load.flows.load(Relaxed))
        });
        Flow::on(least.unwrap_or(&self.primary))
    }

    /// On a lane that is there.
    async fn free(&self) -> Option<Flow> {
        if is_free(&self.primary) {
            return Some(Flow::on(&self.primary));
        }
        let mut extra = self.extra.lock().await;
        extra.retain(|lane| !lane.lease.is_closing());
        let lane = extra.iter_mut().find(|lane| is_free(&lane.lease))?;
        lane.idle = false;
        Some(Flow::on(&lane.lease))
    }

    /// On a new lane, if there may be one more.
    async fn opened(&self, pool: &Pool) -> Option<Flow> {
        if self.extra.lock().await.len() >= MOST_EXTRA || self.closed.load(Relaxed) {
            return None;
        }
        let opening = pool.lane(&self.route, &|_| Arc::new(Nobody));
        let why = match tokio::time::timeout(LOGIN, opening).await {
            Ok(Ok(lease)) => {
                let flow = Flow::on(&lease);
                self.extra.lock().await.push(Extra { lease, idle: false });
                return Some(flow);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not there within {} s", LOGIN.as_secs()),
        };
        tracing::info!("{}: no further lane: {why}", self.route.plan.node);
        self.closed.store(true, Relaxed);
        None
    }

    /// Closes further lanes that nobody has used since the last time.
    pub(super) async fn sweep(&self) {
        self.extra.lock().await.retain_mut(|lane| {
            let unused = lane.lease.load.flows.load(Relaxed) == 0;
            let was_idle = std::mem::replace(&mut lane.idle, unused);
            !(unused && was_idle)
        });
    }
}

/// Nothing on this connection could be slowed down by a new flow, or slow it down.
fn is_free(lease: &Lease) -> bool {
    lease.load.stalled.load(Relaxed) == 0 && lease.load.residents.load(Relaxed) == 0
}

impl Flow {
    pub(super) fn on(lease: &Arc<Lease>) -> Flow {
        lease.load.flows.fetch_add(1, Relaxed);
        lease.load.changed.notify_waiters();
        Flow { lease: lease.clone(), stalled: AtomicBool::new(false) }
    }

    pub(super) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Leaving the channel unread slows down nobody else.
    pub(super) fn may_pause(&self) -> bool {
        self.lease.is_lone_flow()
    }

    /// The client takes less than comes, or has caught up.
    pub(super) fn stalled(&self, now: bool) {
        if self.stalled.swap(now, Relaxed) != now {
            let count: &AtomicUsize = &self.lease.load.stalled;
            match now {
                true => count.fetch_add(1, Relaxed),
                false => count.fetch_sub(1, Relaxed),
            };
        }
    }

    /// Returns when [`Flow::may_pause`] may have changed.
    pub(super) async fn changed(&self) {
        // A change between the check and this wait is seen at the next look.
        let _ = tokio::time::timeout(LOOK, self.lease.load.changed.notified()).await;
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stalled(false);
        self.lease.load.flows.fetch_sub(1, Relaxed);
    }
}

/// Answers nothing: a further lane must not trouble a person.
pub(crate) struct Nobody;

impl Ask for Nobody {
    fn host_key<'a>(&'a self, _: HostKeyQuestion) -> BoxFuture<'a, HostKeyAnswer> {
        std::future::ready(HostKeyAnswer::Reject).boxed()
    }

    fn prompt<'a>(&'a self, _: Prompt) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>> {
        std::future::ready(None).boxed()
    }

    fn confirm(&self, _: String) -> BoxFuture<'_, bool> {
        std::future::ready(false).boxed()
    }

    fn note(&self, _: Note) {}

    fn person(&self) -> usize {
        0
    }

    fn is_verbose(&self) -> bool {
        false
    }
}
