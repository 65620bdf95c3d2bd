//! Connections: made once ([`crate::dialing`]) and shared while somebody holds a lease.
//!
//! Two leases of the same route are the same connection (single flight), so a hop is dialed once
//! for all nodes behind it. What the last lease leaves goes to the [`crate::stock`]. A guarded
//! command takes a connection for itself ([`Pool::lane`]): then what runs on it is known.

use crate::agent::{AgentRelay, StableLink};
use crate::control_socket::{ControlSocket, ControlSockets};
use crate::flight::{Flight, Maker};
use crate::plan::Route;
use crate::stock::{Stock, Warm};
use bssh_protocol::lock;
use bssh_ssh::ask::Ask;
use bssh_ssh::error::Error;
use bssh_ssh::{Channel, Connection};
use futures_util::future::{BoxFuture, FutureExt};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as Turns, Notify};

/// Every connection of the core.
pub(crate) struct Pool {
    /// Routes that have, had or are getting a connection.
    routes: Mutex<HashMap<String, Arc<Flight>>>,
    /// Connections nobody uses at the moment.
    stock: Arc<Stock>,
    sockets: ControlSockets,
    made: AtomicU64,
    reused: AtomicU64,
}

/// A connection in use, and the hop it goes through. Dropping the last one closes it.
pub(crate) struct Lease {
    pub connection: Connection,
    /// A guarded command has this connection for itself.
    guarded: AtomicBool,
    /// The session channel opened ahead for the next command.
    ahead: Mutex<Option<Ahead>>,
    /// Commands run here, so that another one may.
    runs_commands: AtomicBool,
    /// What lives on this connection, for those who would like to leave it unread.
    pub(crate) load: Load,
    /// Serves the node's agent channels, once they were armed.
    pub(crate) agent: Mutex<Option<AgentRelay>>,
    /// A path there that leads to the agent, if it was wanted.
    pub(crate) agent_link: Turns<Option<StableLink>>,
    /// Keeps the hop's connection.
    hop: Option<Hop>,
    /// Shows at a `ControlPath` that it is there for others.
    socket: Mutex<Option<Arc<ControlSocket>>>,
    pub(crate) route: Arc<Route>,
    /// It ends with its last user.
    retired: AtomicBool,
    /// Where it goes when nobody holds it any more.
    stock: Arc<Stock>,
}

/// The hop a connection goes through, and its place there.
pub(crate) type Hop = (Arc<Lease>, Resident);

/// How many channels a connection carries, and of what kind.
#[derive(Default)]
pub(crate) struct Load {
    /// Channels that must always be served: sessions, listeners on the node, nodes behind it.
    pub residents: Arc<AtomicUsize>,
    /// Connections of forwards, which may be put elsewhere.
    pub flows: AtomicUsize,
    /// Flows whose client takes less than comes.
    pub stalled: AtomicUsize,
    /// A flow may have to go on reading.
    pub changed: Notify,
}

/// One resident of a connection, as long as it is kept.
pub(crate) struct Resident(Arc<AtomicUsize>);

impl Drop for Resident {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Load {
    /// Counts a channel that must always be served.
    pub(crate) fn reside(&self) -> Resident {
        self.residents.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
        Resident(self.residents.clone())
    }
}

impl Lease {
    /// Nobody else has this connection or a hop on the way, so that it may be left unread.
    fn is_ours_alone(self: &Arc<Self>) -> bool {
        let hop = self.hop.as_ref();
        Arc::strong_count(self) == 1 && hop.is_none_or(|(hop, _)| hop.is_ours_alone())
    }

    /// Returns while others have it, too: they may wait for something that is behind what we do
    /// not read.
    pub(crate) async fn shared(self: &Arc<Self>) {
        while self.is_ours_alone() {
            // Of those at the hops we are not told.
            let _ = tokio::time::timeout(RECHECK, self.load.changed.notified()).await;
        }
    }

    /// Waits for the end of the connection, and says why it ended: where it went with a hop, that
    /// one is named.
    pub(crate) fn closed(&self) -> BoxFuture<'_, Error> {
        Box::pin(async move {
            let error = self.connection.closed().await;
            let Some((hop, _)) = &self.hop else { return error };
            match tokio::time::timeout(HOP_END, hop.connection.closed()).await {
                Ok(_) => hop.route.named(hop.closed().await),
                Err(_) => error,
            }
        })
    }

    /// Why a channel ended before all was told; none if the server closed it. A connection that is
    /// lost right behind it is the reason, too.
    pub(crate) async fn lost(&self, cut: bool) -> Option<Error> {
        let wait = if cut { LOST } else { BEHIND };
        tokio::time::timeout(wait, self.closed()).await.ok()
    }

    /// Nothing new is to begin on it: it, or a hop on the way, has ended or is about to.
    pub(crate) fn is_closing(&self) -> bool {
        let hop = self.hop.as_ref();
        self.connection.is_closing() || hop.is_some_and(|(hop, _)| hop.is_closing())
    }

    /// Nobody new gets it: it ends with its last user.
    fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.load.changed.notify_waiters();
        lock(&self.socket).take();
    }

    /// The server allows no more sessions on it. True: it may on another connection, because this
    /// one has or had other users. If we are the only one left, the sessions are those of commands
    /// that outlive whoever asked for them, and it is of no use to anybody.
    pub(crate) fn give_way(self: &Arc<Self>, reused: bool) -> bool {
        let is_shared = Arc::strong_count(self) > 1;
        if reused && !is_shared {
            self.retire();
        }
        reused || is_shared
    }

    /// It goes through no other connection.
    pub(crate) fn is_direct(&self) -> bool {
        self.hop.is_none()
    }

    /// Exactly one flow is on this connection, and nothing waits for it at its hops.
    pub(crate) fn is_lone_flow(&self) -> bool {
        let n = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let lone = |hop: &Lease| n(&hop.load.flows) == 0 && n(&hop.load.residents) == 1;
        n(&self.load.flows) == 1
            && n(&self.load.residents) == 0
            && self.hop.as_ref().is_none_or(|(hop, _)| hop.hop.is_none() && lone(hop))
    }

    /// Returns once nobody new gets this connection and no session runs on it.
    pub(crate) async fn let_go(&self) {
        loop {
            let idle = self.load.residents.load(Ordering::Relaxed) == 0
                && self.load.flows.load(Ordering::Relaxed) == 0;
            if self.retired.load(Ordering::Acquire) && idle {
                return;
            }
            // Residents go without a word: looked at again after a while.
            let _ = tokio::time::timeout(LOOK, self.load.changed.notified()).await;
        }
    }

    /// A session channel: the one opened ahead, or a new one.
    ///
    /// # Errors
    /// As [`Connection::open_session`].
    pub(crate) async fn open_session(&self) -> Result<Channel, Error> {
        self.runs_commands.store(true, Ordering::Relaxed);
        let ahead = lock(&self.ahead).take();
        if let Some(ahead) = ahead
            && let Ok(mut channel) = ahead.await
            // The server may have closed it meanwhile.
            && channel.next().now_or_never().is_none()
        {
            return Ok(channel);
        }
        self.connection.open_session().await
    }

    /// Asks for the session channel of whoever comes next, if the connection is to be kept: a
    /// request that goes out with a command's costs no packet of its own.
    pub(crate) fn think_ahead(&self) {
        let mut ahead = lock(&self.ahead);
        if self.stock.lingers() && ahead.is_none() {
            *ahead = open_ahead(self.connection.clone());
        }
    }

    /// Takes the connection for a guarded command; false if one has it already.
    pub(crate) fn take(&self) -> bool {
        !self.guarded.swap(true, Ordering::AcqRel)
    }

    /// The guarded command is over.
    pub(crate) fn give_back(&self) {
        self.guarded.store(false, Ordering::Release);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // An agent that was forwarded was one link's: its connection serves nobody else.
        let armed = self.agent.get_mut().unwrap_or_else(PoisonError::into_inner).is_some();
        let over = armed || *self.retired.get_mut();
        if !over && !self.connection.is_closed() {
            let ahead = self.ahead.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            // One that was refused was one too many beside the command's.
            let ahead = ahead.and_then(driven);
            let ahead = match *self.runs_commands.get_mut() && self.stock.lingers() {
                true => ahead.or_else(|| open_ahead(self.connection.clone())),
                false => ahead,
            };
            let socket = self.socket.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            let (connection, hop) = (self.connection.clone(), self.hop.take());
            self.stock.put(&self.route, Warm { connection, hop, ahead, socket });
        }
    }
}

/// A session channel that is being opened, or is open by now.
pub(crate) type Ahead = BoxFuture<'static, Result<Channel, Error>>;

/// Asks for a session channel and does not wait for the answer: a command that comes while the
/// connection is kept then starts a way there and back earlier.
fn open_ahead(connection: Connection) -> Option<Ahead> {
    driven(Box::pin(async move { connection.open_session().await }))
}

/// Goes on with it as far as that takes no waiting: it asks, or takes an answer that has come, and
/// then no longer counts as a channel that is being opened. None: there will be no channel.
fn driven(mut ahead: Ahead) -> Option<Ahead> {
    match ahead.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Some(ahead),
        Poll::Ready(Ok(channel)) => Some(Box::pin(async move { Ok(channel) })),
        Poll::Ready(Err(_)) => None,
    }
}

/// How often [`Lease::shared`] looks.
const RECHECK: Duration = Duration::from_millis(20);
/// How much later than a connection's end that of its hop may be seen.
const HOP_END: Duration = Duration::from_millis(300);
/// A channel says that its connection is lost a little before the connection says why.
const LOST: Duration = Duration::from_secs(1);
/// How close behind a channel that was closed the end of its connection is the reason.
const BEHIND: Duration = Duration::from_millis(50);
/// How often [`Lease::let_go`] looks.
const LOOK: Duration = Duration::from_millis(500);

impl Pool {
    /// A pool that keeps connections nobody uses for as long.
    pub(crate) fn lingering(linger: Duration) -> Pool {
        let (made, reused) = (AtomicU64::new(0), AtomicU64::new(0));
        let (routes, sockets) = (Mutex::default(), ControlSockets::default());
        Pool { routes, stock: Stock::new(linger), sockets, made, reused }
    }

    /// Connections outlive their users.
    pub(crate) fn lingers(&self) -> bool {
        self.stock.lingers()
    }

    /// Closes what was not used for long enough; when the next one is due.
    pub(crate) fn sweep(&self) -> Option<Instant> {
        self.stock.sweep(Instant::now())
    }

    /// Closes what nobody uses.
    pub(crate) fn close_idle(&self) {
        self.stock.clear();
    }

    /// A connection along this route: the one that is there, or a new one.
    ///
    /// # Errors
    /// Why there is none; `hop` names the jump host if it failed there.
    pub(crate) async fn lease(
        &self,
        route: &Arc<Route>,
        ask: &AskFor<'_>,
    ) -> Result<(Arc<Lease>, bool), Error> {
        let flight = {
            let mut routes = lock(&self.routes);
            routes.entry(route.key.clone()).or_default().clone()
        };
        let Some(mut slot) = flight.turn(|| ask(route).person()).await else {
            return self.own(route, ask).await;
        };
        let is_free = |l: &Arc<Lease>| !l.is_closing() && !l.retired.load(Ordering::Acquire);
        if let Some(lease) = slot.upgrade().filter(is_free) {
            self.show(route, &lease);
            return Ok((lease, true));
        }
        let maker = |route: &Arc<Route>| -> Arc<dyn Ask> {
            Arc::new(Maker { ask: ask(route), flight: flight.clone() })
        };
        let (lease, reused) = self.own(route, &maker).await?;
        *slot = Arc::downgrade(&lease);
        Ok((lease, reused))
    }

    /// A connection along this route that nobody else gets, and whether it was there already.
    ///
    /// # Errors
    /// As [`Pool::lease`].
    pub(crate) async fn own(
        &self,
        route: &Arc<Route>,
        ask: &AskFor<'_>,
    ) -> Result<(Arc<Lease>, bool), Error> {
        match self.stock.take(&route.key).await {
            Some(warm) => {
                self.reused.fetch_add(1, Ordering::Relaxed);
                Ok((self.new_lease(route, warm), true))
            }
            None => {
                // In a box: making one takes much room, and most find one.
                let lease = Box::pin(self.dialed(route, ask)).await?;
                self.made.fetch_add(1, Ordering::Relaxed);
                Ok((lease, false))
            }
        }
    }

    /// [`Pool::own`] for those who do not ask where it comes from.
    ///
    /// # Errors
    /// As [`Pool::lease`].
    pub(crate) async fn lane(
        &self,
        route: &Arc<Route>,
        ask: &AskFor<'_>,
    ) -> Result<Arc<Lease>, Error> {
        self.own(route, ask).await.map(|(lease, _)| lease)
    }

    pub(crate) fn new_lease(&self, route: &Arc<Route>, warm: Warm) -> Arc<Lease> {
        let Warm { connection, hop, ahead, socket } = warm;
        let ahead = ahead.and_then(driven);
        let lease = Arc::new(Lease {
            connection,
            ahead: Mutex::new(ahead),
            runs_commands: AtomicBool::new(false),
            guarded: AtomicBool::new(false),
            load: Load::default(),
            agent: Mutex::default(),
            agent_link: Turns::default(),
            hop,
            socket: Mutex::new(socket),
            route: route.clone(),
            retired: AtomicBool::new(false),
            stock: self.stock.clone(),
        });
        self.show(route, &lease);
        self.stock.note(&route.key, &lease);
        lease
    }

    /// Shows at the `ControlPath` of a master that its connection is there for others.
    fn show(&self, route: &Route, lease: &Lease) {
        let Some(path) = route.control.as_ref().filter(|_| self.lingers()) else { return };
        let mut socket = lock(&lease.socket);
        if socket.is_none() {
            *socket = self.sockets.at(path);
        }
    }

    /// Connections made so far, and how often one that was kept was used again.
    pub(crate) fn made(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.reused.load(Ordering::Relaxed))
    }

    /// Connections that are open: in use, and waiting for somebody.
    pub(crate) fn open(&self) -> (usize, usize) {
        let routes = lock(&self.routes);
        (routes.values().filter(|flight| flight.is_used()).count(), self.stock.len())
    }

    /// Connections along a route that somebody may get: in use, and waiting for somebody.
    pub(crate) fn along(&self, key: &str) -> (usize, usize) {
        let (leases, idle) = self.stock.along(key);
        let stays = |lease: &&Arc<Lease>| !lease.retired.load(Ordering::Acquire);
        (leases.iter().filter(stays).count(), idle)
    }

    /// Nobody new gets a connection along this route that is there now; gives those in use.
    pub(crate) fn retire(&self, key: &str) -> Vec<Connection> {
        let mut routes = lock(&self.routes);
        routes.remove(key);
        drop(routes);
        let leases = self.stock.retire(key);
        let retire = |lease: &Arc<Lease>| {
            lease.retire();
            lease.connection.clone()
        };
        leases.iter().map(retire).collect()
    }

    /// About how many there are, in use or kept.
    pub(crate) fn count(&self) -> usize {
        self.stock.count()
    }

    /// Closes what nobody uses along other routes than these until all that others have costs no
    /// more than so much; what it costs then.
    pub(crate) fn make_room(&self, own: &HashSet<&str>, most: u64, cost: fn(&Route) -> u64) -> u64 {
        let used = self.stock.in_use().into_iter().map(|lease| lease.route.clone());
        let used: u64 =
            used.filter(|route| !own.contains(&*route.key)).map(|route| cost(&route)).sum();
        used + self.stock.shrink(own, most.saturating_sub(used), cost)
    }

    /// A connection is there, in use or kept.
    pub(crate) fn has_connections(&self) -> bool {
        self.stock.has_connections()
    }

    /// Connections in use, and a try of those nobody uses: whether each works.
    pub(crate) fn kept(&self) -> (Vec<Connection>, impl Future<Output = Vec<bool>>) {
        let used = self.stock.in_use().iter().map(|lease| lease.connection.clone()).collect();
        (used, self.stock.try_all())
    }

    /// Forgets a route that nobody holds any more.
    pub(crate) fn forget(&self, route: &Route) {
        let mut routes = lock(&self.routes);
        if routes.get(&route.key).is_some_and(|flight| flight.is_free()) {
            routes.remove(&route.key);
        }
    }
}

/// Makes the one who is asked about a route's host key and passwords.
pub(crate) type AskFor<'a> = dyn Fn(&Arc<Route>) -> Arc<dyn Ask> + Send + Sync + 'a;
