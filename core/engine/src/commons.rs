//! What the links of one core have in common: connections, numbers, and who is there.
//!
//! Each link has an [`Engine`] of its own, with its own environment and its own handles, so that
//! ending a link ends what is its own and nothing else. What a link keeps when it goes lives on
//! in its engine until it is over.

use crate::engine::Engine;
use crate::gate::Gates;
use crate::jobs::Jobs;
use crate::journal::Journal;
use crate::known::Known;
use crate::pool::Pool;
use crate::whole::Outputs;
use bssh_config::Environment;
use bssh_protocol::handshake::{ClientInfo, LinkEntry, LinkList};
use bssh_protocol::lock;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// One core.
pub struct Commons {
    /// The core's own environment, for links that bring none.
    pub(crate) env: Environment,
    pub(crate) pool: Pool,
    /// How nodes are reached, planned for requests before.
    pub(crate) known: Known,
    pub(crate) jobs: Jobs,
    pub(crate) journal: Arc<Journal>,
    pub(crate) gates: Gates,
    /// Files of whole outputs.
    pub(crate) outputs: Arc<Outputs>,
    /// The next number of a handle: unique in the core, never reused.
    next: AtomicU64,
    links: Mutex<BTreeMap<u64, Member>>,
    /// Somebody came or went, or some work ended.
    changed: Notify,
}

struct Member {
    engine: Weak<Engine>,
    client: Option<ClientInfo>,
    since: Instant,
    /// The frontend is there; else its engine ends what was kept.
    attached: bool,
}

impl Commons {
    /// The core of one frontend.
    pub fn single(env: Environment) -> Arc<Self> {
        Commons::new(env, Duration::ZERO, None)
    }

    /// A core others may use; `linger`: how long a connection nobody uses is kept.
    pub fn shared(env: Environment, linger: Duration) -> Arc<Self> {
        let journal = Journal::place(&env);
        Commons::new(env, linger, Some(journal))
    }

    fn new(env: Environment, linger: Duration, journal: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Commons {
            outputs: Arc::new(Outputs::new(&env)),
            env,
            journal: Arc::new(Journal::new(journal)),
            pool: Pool::lingering(linger),
            known: Known::default(),
            jobs: Jobs::default(),
            gates: Gates::default(),
            next: AtomicU64::new(1),
            links: Mutex::default(),
            changed: Notify::new(),
        })
    }

    pub(crate) fn new_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<u64, Member>> {
        lock(&self.links)
    }

    /// A link has come; it is there until [`Commons::leave`].
    pub fn join(&self, link: u64, engine: &Arc<Engine>) {
        let engine = Arc::downgrade(engine);
        let member = Member { engine, client: None, since: Instant::now(), attached: true };
        self.links().insert(link, member);
        self.changed.notify_waiters();
    }

    /// Who the frontend of a link is.
    pub fn introduce(&self, link: u64, client: ClientInfo) {
        if let Some(member) = self.links().get_mut(&link) {
            member.client = Some(client);
        }
    }

    /// The frontend has gone; its engine may have work to end.
    pub fn detach(&self, link: u64) {
        if let Some(member) = self.links().get_mut(&link) {
            member.attached = false;
        }
        self.changed.notify_waiters();
    }

    /// A link and all it kept is over.
    pub fn leave(&self, link: u64) {
        self.links().remove(&link);
        self.changed.notify_waiters();
    }

    /// `link/list`, as one of them sees it.
    pub fn list(&self, own: u64) -> LinkList {
        let links = self.links();
        let entry = |(link, member): (&u64, &Member)| {
            Some(LinkEntry {
                link: *link,
                client: member.client.clone().filter(|_| member.attached)?,
                since_ms: crate::run::millis(member.since.elapsed()),
                own: *link == own,
            })
        };
        LinkList { links: links.iter().filter_map(entry).collect() }
    }

    /// Frontends attached besides this link.
    pub fn others(&self, own: u64) -> usize {
        self.links().iter().filter(|(link, member)| **link != own && member.attached).count()
    }

    /// Frontends that are there.
    pub(crate) fn attached(&self) -> usize {
        self.links().values().filter(|member| member.attached).count()
    }

    /// Nobody is here and nothing goes on.
    pub fn is_empty(&self) -> bool {
        self.links().is_empty()
    }

    /// Nobody is here, and nothing goes on but listening for connections that nobody has made.
    pub fn only_listens(&self) -> bool {
        let listens = |member: &Member| {
            !member.attached && member.engine.upgrade().is_none_or(|e| e.only_listens())
        };
        self.links().values().all(listens)
    }

    /// Every engine of the core, the kept ones included.
    pub(crate) fn engines(&self) -> Vec<Arc<Engine>> {
        self.links().values().filter_map(|member| member.engine.upgrade()).collect()
    }

    /// There are connections, in use or kept.
    pub fn holds_connections(&self) -> bool {
        self.pool.open() != (0, 0)
    }

    /// Returns when something may have changed; make it before looking.
    pub fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// Some work has ended.
    pub(crate) fn tell(&self) {
        self.changed.notify_waiters();
    }

    /// Closes connections nobody has used for long enough; when the next one is due.
    pub fn sweep(&self) -> Option<Instant> {
        self.pool.sweep()
    }

    /// Closes every connection nobody uses.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }
}
