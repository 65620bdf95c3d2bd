//! Connections nobody uses at the moment, kept for a while: the next command along the same
//! route need not log in again.
//!
//! A child core keeps none. One that was idle for a while is asked whether it still works before
//! it is given out; one that does not answer is closed, and the command dials anew.

use crate::control_socket::ControlSocket;
use crate::plan::Route;
use crate::pool::{Ahead, Hop, Lease};
use bssh_protocol::lock;
use bssh_ssh::Connection;
use futures_util::future::join_all;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

/// Idle for longer, a connection is tried before it is used: the machine may have slept, or have
/// another address.
const TRY_AFTER: Duration = Duration::from_secs(10);
/// How long a node may take to answer then; a new connection takes about as long.
const ANSWER: Duration = Duration::from_secs(3);
/// Connections kept for one route: what a burst of commands leaves need not all be kept.
const PER_ROUTE: usize = 8;
/// Connections kept in all.
const IN_ALL: usize = 4096;

/// What is kept.
pub(crate) struct Stock {
    linger: Duration,
    /// What is in use, for those who ask.
    used: Mutex<HashMap<String, Vec<Weak<Lease>>>>,
    idle: Mutex<HashMap<String, Vec<Idle>>>,
    /// How many these are, also while they are being tried.
    n_idle: Arc<AtomicUsize>,
}

/// A connection that works.
pub(crate) struct Warm {
    pub connection: Connection,
    pub hop: Option<Hop>,
    /// A session channel for the command that comes next.
    pub ahead: Option<Ahead>,
    /// Shows at a `ControlPath` that it is there.
    pub socket: Option<Arc<ControlSocket>>,
}

struct Idle {
    /// The way it was used for last: kept with it, a command along it need not plan again.
    route: Arc<Route>,
    warm: Warm,
    since: Instant,
    _counted: Counted,
}

impl Idle {
    /// Not to be given out any more. Asks the system, which is much for a thousand at once.
    fn is_over(&self) -> bool {
        let hop = self.warm.hop.as_ref();
        self.warm.connection.is_closing() || hop.is_some_and(|(hop, _)| hop.is_closing())
    }

    fn answers(&self) -> impl Future<Output = bool> + Send + use<> {
        let connection = self.warm.connection.clone();
        async move { !connection.is_closed() && connection.answers(ANSWER).await }
    }
}

/// Counted as long as it is there.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn among(all: &Arc<AtomicUsize>) -> Counted {
        all.fetch_add(1, Ordering::Relaxed);
        Counted(all.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stock {
    pub(crate) fn new(linger: Duration) -> Arc<Stock> {
        let (used, idle, n_idle) = (Mutex::default(), Mutex::default(), Arc::default());
        Arc::new(Stock { linger, used, idle, n_idle })
    }

    pub(crate) fn lingers(&self) -> bool {
        !self.linger.is_zero()
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<Idle>>> {
        lock(&self.idle)
    }

    fn used(&self) -> MutexGuard<'_, HashMap<String, Vec<Weak<Lease>>>> {
        lock(&self.used)
    }

    /// A connection is in use.
    pub(crate) fn note(&self, key: &str, lease: &Arc<Lease>) {
        let mut used = self.used();
        // Where no sweep comes by the dead are forgotten now and then.
        if used.len() >= 64 && used.len() == used.capacity() {
            used.retain(|_, along| along.iter().any(|lease| lease.strong_count() > 0));
        }
        let along = used.entry(key.to_owned()).or_default();
        along.retain(|lease| lease.strong_count() > 0);
        along.push(Arc::downgrade(lease));
    }

    /// What is in use, along any route.
    pub(crate) fn in_use(&self) -> Vec<Arc<Lease>> {
        self.used().values().flatten().filter_map(Weak::upgrade).collect()
    }

    /// Tries what nobody uses, and closes what does not answer.
    pub(crate) async fn try_all(&self) -> Vec<bool> {
        let all = std::mem::take(&mut *self.idle());
        let each = all
            .into_iter()
            .flat_map(|(key, kept)| kept.into_iter().map(move |idle| (key.clone(), idle)));
        join_all(each.map(|(key, idle)| async move {
            let alive = idle.answers().await;
            if alive {
                self.idle().entry(key).or_default().push(idle);
            }
            alive
        }))
        .await
    }

    /// What is in use along a route, and how many wait.
    pub(crate) fn along(&self, key: &str) -> (Vec<Arc<Lease>>, usize) {
        let used = self.used().get(key).cloned().unwrap_or_default();
        let idle = self.idle().get(key).map_or(0, Vec::len);
        (used.iter().filter_map(Weak::upgrade).collect(), idle)
    }

    /// Closes what waits along a route, and gives what is in use.
    pub(crate) fn retire(&self, key: &str) -> Vec<Arc<Lease>> {
        let idle = self.idle().remove(key);
        drop(idle);
        self.along(key).0
    }

    /// Keeps a connection, or closes it.
    pub(crate) fn put(&self, route: &Arc<Route>, warm: Warm) {
        if !self.lingers() {
            return;
        }
        let full = self.len() >= IN_ALL;
        let _counted = Counted::among(&self.n_idle);
        let since = Instant::now();
        let idle = Idle { route: route.clone(), warm, since, _counted };
        let mut all = self.idle();
        let kept = all.entry(route.key.clone()).or_default();
        if !full && kept.len() < PER_ROUTE {
            kept.push(idle);
            return;
        }
        drop(all);
        // Its hop may come here, too.
        drop(idle);
    }

    /// The connection used last along a route, if it still works.
    pub(crate) async fn take(&self, key: &str) -> Option<Warm> {
        loop {
            let idle = self.pop(key)?;
            if idle.is_over() {
                continue;
            }
            if idle.since.elapsed() < TRY_AFTER || idle.answers().await {
                return Some(idle.warm);
            }
            tracing::info!("{key}: an idle connection no longer works");
            self.drop_older(key, idle.since);
        }
    }

    /// What has been idle for longer than one that no longer works is no better: to try all of them
    /// takes longer than to dial.
    fn drop_older(&self, key: &str, since: Instant) {
        let mut all = self.idle();
        let Some(kept) = all.get_mut(key) else { return };
        let older: Vec<Idle> = kept.extract_if(.., |idle| idle.since <= since).collect();
        if kept.is_empty() {
            all.remove(key);
        }
        drop(all);
        // Outside of the lock: a hop that is free now comes here.
        drop(older);
    }

    fn pop(&self, key: &str) -> Option<Idle> {
        let mut all = self.idle();
        let kept = all.get_mut(key)?;
        let last = kept.pop();
        if kept.is_empty() {
            all.remove(key);
        }
        last
    }

    pub(crate) fn len(&self) -> usize {
        self.n_idle.load(Ordering::Relaxed)
    }

    /// About how many there are, in use or kept.
    pub(crate) fn count(&self) -> usize {
        self.used().len() + self.len()
    }

    /// Closes what is kept along other routes than these, the oldest first, until the rest costs no
    /// more than so much; what it costs then.
    pub(crate) fn shrink(&self, own: &HashSet<&str>, most: u64, cost: fn(&Route) -> u64) -> u64 {
        let mut all = self.idle();
        let others = all.iter().filter(|(key, _)| !own.contains(&***key));
        let mut ages: Vec<(Instant, u64)> = others
            .flat_map(|(_, kept)| kept.iter().map(|idle| (idle.since, cost(&idle.route))))
            .collect();
        ages.sort_unstable();
        let mut left: u64 = ages.iter().map(|(_, cost)| cost).sum();
        let mut oldest = ages.into_iter();
        let mut since = None;
        while left > most
            && let Some((age, cost)) = oldest.next()
        {
            (since, left) = (Some(age), left - cost);
        }
        let mut over = Vec::new();
        all.retain(|key, kept| {
            let is_over = |idle: &mut Idle| Some(idle.since) <= since && !own.contains(&**key);
            over.extend(kept.extract_if(.., is_over));
            !kept.is_empty()
        });
        drop(all);
        // Outside of the lock: a hop that is free now comes back here.
        drop(over);
        left
    }

    /// A connection is there, in use or kept.
    pub(crate) fn has_connections(&self) -> bool {
        let is_held = |lease: &Weak<Lease>| lease.strong_count() > 0;
        self.used().values().flatten().any(is_held) || self.len() > 0
    }

    /// Closes what is over or was not used for long enough; when the next one is due.
    pub(crate) fn sweep(&self, now: Instant) -> Option<Instant> {
        self.used().retain(|_, along| along.iter().any(|lease| lease.strong_count() > 0));
        let mut over = Vec::new();
        let mut all = self.idle();
        all.retain(|_, kept| {
            let is_over = |idle: &mut Idle| {
                idle.warm.connection.is_closed() || now.duration_since(idle.since) >= self.linger
            };
            over.extend(kept.extract_if(.., is_over));
            !kept.is_empty()
        });
        let next =
            all.values().flatten().filter_map(|idle| idle.since.checked_add(self.linger)).min();
        drop(all);
        // Outside of the lock: a hop that is free now comes back here.
        drop(over);
        next
    }

    /// Closes everything.
    pub(crate) fn clear(&self) {
        while !self.idle().is_empty() {
            // Hops that are free then come back here.
            let all = std::mem::take(&mut *self.idle());
            drop(all);
        }
    }
}
