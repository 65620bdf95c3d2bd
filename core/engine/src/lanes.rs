//! Connections for what stays on a node: ptys and sessions. Many channels share one connection,
//! and a server that allows no more of them (MaxSessions) gets another one. How many there are, and
//! how long a channel waits for its turn, is the configuration's `defaults.pool`.
//!
//! They are kept apart from [`crate::pool`]: a guarded command has its connection for itself,
//! because its guard ends everything that runs through it. A lane closes with its last seat.

use crate::plan::Route;
use crate::pool::{AskFor, Lease, Pool};
use bssh_protocol::lock;
use bssh_ssh::Channel;
use bssh_ssh::error::{Error, ErrorKind, Phase};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;
use tokio::sync::{Mutex as Flight, Notify};

/// Every lane of the core, by route.
#[derive(Default)]
pub(crate) struct Lanes {
    routes: Mutex<HashMap<String, Arc<Group>>>,
}

/// The lanes of one route.
#[derive(Default)]
struct Group {
    lanes: Flight<Vec<Weak<Lane>>>,
    freed: Notify,
}

struct Lane {
    lease: Arc<Lease>,
    /// Channels that are open or being opened.
    taken: AtomicUsize,
    /// Channels that were opened.
    opened: AtomicUsize,
    /// What the configuration allows, or the server, once it has refused one more.
    most: AtomicUsize,
}

/// Which lane a channel gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Any,
    /// One that nobody else has or will get.
    Own,
}

/// A channel's place on a lane. Dropping it makes room for another channel; drop the channel
/// first.
pub(crate) struct Seat {
    lane: Arc<Lane>,
    group: Arc<Group>,
    is_open: bool,
}

impl Seat {
    /// The connection.
    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lane.lease
    }

    /// Nobody else is on this connection, so that it may be stalled.
    pub(crate) fn is_alone(&self) -> bool {
        self.lane.taken.load(Relaxed) == 1 && self.lane.lease.is_direct()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lane.taken.fetch_sub(1, Relaxed);
        if self.is_open {
            self.lane.opened.fetch_sub(1, Relaxed);
        }
        self.group.freed.notify_one();
    }
}

impl Lanes {
    /// A session channel to the end of a route, on a lane that is there or a new one.
    ///
    /// # Errors
    /// No connection, or no room for another channel in time.
    pub(crate) async fn open(
        &self,
        pool: &Pool,
        (route, wanted): (&Arc<Route>, Wanted),
        ask: &AskFor<'_>,
    ) -> Result<(Seat, Channel), Error> {
        let group = self.group(&route.key);
        let full = |said| Error::new(Phase::Channel, ErrorKind::TooManySessions { said });
        // Logging in has limits of its own, and is not counted as waiting.
        let mut left = route.pool.wait;
        let mut lost = false;
        loop {
            let Some((mut seat, kept)) = seat(&group, pool, (route, wanted), ask).await? else {
                let begun = Instant::now();
                let freed = tokio::time::timeout(left, group.freed.notified()).await;
                freed.map_err(|_| full(String::new()))?;
                left = left.saturating_sub(begun.elapsed());
                continue;
            };
            match seat.lane.lease.open_session().await {
                Ok(channel) => {
                    seat.is_open = true;
                    seat.lane.opened.fetch_add(1, Relaxed);
                    return Ok((seat, channel));
                }
                Err(Error { kind: ErrorKind::TooManySessions { said }, .. }) => {
                    let opened = seat.lane.opened.load(Relaxed);
                    if opened == 0 && !seat.lane.lease.give_way(kept) {
                        return Err(full(said));
                    }
                    seat.lane.most.store(opened, Relaxed);
                }
                // Nothing was asked of it yet.
                Err(error) if kept && !lost && seat.lane.lease.is_closing() => {
                    tracing::info!("{}: {error}; it was kept, and is made anew", route.key);
                    lost = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn group(&self, key: &str) -> Arc<Group> {
        let mut routes = lock(&self.routes);
        routes.retain(|_, group| Arc::strong_count(group) > 1);
        routes.entry(key.to_owned()).or_default().clone()
    }
}

/// A place on a lane with room, or on a new one, and whether its connection was there already.
/// None: all are full.
async fn seat(
    group: &Arc<Group>,
    pool: &Pool,
    (route, wanted): (&Arc<Route>, Wanted),
    ask: &AskFor<'_>,
) -> Result<Option<(Seat, bool)>, Error> {
    let mut lanes = group.lanes.lock().await;
    lanes.retain(|lane| lane.upgrade().is_some_and(|l| !l.lease.is_closing()));
    let mut roomy = lanes.iter().filter_map(Weak::upgrade);
    let roomy = match wanted {
        Wanted::Own => None,
        Wanted::Any => roomy.find(|l| l.taken.load(Relaxed) < l.most.load(Relaxed)),
    };
    let (lane, kept) = match roomy {
        Some(lane) => (lane, true),
        None if lanes.len() >= route.pool.connections => return Ok(None),
        None => {
            let (lease, kept) = pool.own(route, ask).await?;
            let lane = Arc::new(Lane {
                lease,
                taken: AtomicUsize::new(0),
                opened: AtomicUsize::new(0),
                most: AtomicUsize::new(match wanted {
                    Wanted::Own => 1,
                    Wanted::Any => route.pool.sessions.unwrap_or(usize::MAX),
                }),
            });
            lanes.push(Arc::downgrade(&lane));
            (lane, kept)
        }
    };
    lane.taken.fetch_add(1, Relaxed);
    Ok(Some((Seat { lane, group: group.clone(), is_open: false }, kept)))
}
