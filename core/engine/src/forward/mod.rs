//! Forwards: a listener here or on the node, a target on the other side, one relay between.
//!
//! `Listener (tcp | unix | remote | socks) × Acl × Dialer (tcp | unix | a channel on a lane) ×
//! relay()`: `spec` says what was asked, `listen` and `remote` listen, `acl` allows, `lanes` picks
//! the connection, `relay` carries, `traffic` counts and tells. A forward belongs to the link that
//! opened it and lives until it is closed, the link goes, or (unless it is kept) its connection is
//! lost. Each connection through it is a task of the forward's own set.

mod acl;
mod dial;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod held;
mod lanes;
mod listen;
mod local;
pub(crate) mod relay;
mod remote;
mod socks;
mod spec;
pub(crate) mod traffic;
mod work;

pub use dial::PreparedDial;
pub(crate) use lanes::Nobody;
pub(crate) use work::{Asked, request_of as request};

use crate::engine::{Caller, Engine};
use crate::failure::failure;
use crate::gate::owner;
use crate::plan::Route;
use crate::pool::Lease;
use acl::Acl;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::forward::{
    Connections, DRAINING, DrainParams, ForwardEntry, ForwardEvent, ForwardId, ForwardKind,
    ForwardList, ForwardListParams, ForwardOpened, ForwardParams, KickParams,
};
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::methods::ForwardStateEvent;
use bssh_ssh::RemoteListener;
use bssh_ssh::error::ErrorKind as Cause;
use listen::{BindRules, Listener};
use relay::Limits;
use socks::Login;
use spec::{ForwardSpec, Listen, Target};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use traffic::Traffic;
use work::{Stage, Work};

/// Connections through one forward of the ssh grammar at once; ssh itself has no limit but that
/// of open files.
const MOST: usize = 8192;

/// Why a node may refuse to listen: it does not say.
const NOT_THERE: &str = "the port is taken there or below 1024, or AllowTcpForwarding or \
                         PermitListen of its sshd_config forbids it; its log says which";

/// The same for the path of a socket.
const NO_SOCKET_THERE: &str = "there may be a file of that name already (StreamLocalBindUnlink \
                               there removes it), its directory is missing or not yours, or \
                               AllowStreamLocalForwarding of its sshd_config forbids it";

/// Every forward of the core.
#[derive(Default)]
pub(crate) struct Forwards {
    open: Mutex<BTreeMap<ForwardId, Forward>>,
}

struct Forward {
    kind: ForwardKind,
    spec: String,
    bound: String,
    work: Arc<Work>,
    /// Serves it, and tells of it; gone with it.
    tasks: Vec<AbortHandle>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.work.over(self.work.engine.parting(self.work.id));
        self.work.reach(Stage::Over);
    }
}

impl Forward {
    /// Its connection is lost for good, or it was drained.
    fn is_over(&self) -> bool {
        *self.work.stage.borrow() == Stage::Over
            || self.tasks.first().is_some_and(AbortHandle::is_finished)
    }

    /// Ends it, and lets those who opened it know.
    fn close_for_others(mut self) {
        if !self.is_over() {
            self.work.tell("closed", None, None);
        }
        // What tells ends by itself, once it has told.
        self.tasks.truncate(1);
    }
}

impl Forwards {
    fn open(&self) -> MutexGuard<'_, BTreeMap<ForwardId, Forward>> {
        lock(&self.open)
    }

    pub(crate) fn has(&self, id: ForwardId) -> bool {
        self.open().get(&id).is_some_and(|forward| !forward.is_over())
    }

    /// It is there, or was, and nobody is connected through it.
    pub(crate) fn is_unused(&self, id: ForwardId) -> bool {
        self.open().get(&id).is_some_and(|forward| forward.work.traffic.n_live() == 0)
    }

    /// Ends all but these.
    pub(crate) fn close_but(&self, kept: &BTreeSet<u64>) {
        self.open().retain(|id, _| kept.contains(id));
    }
}

impl Engine {
    /// `forward/open`: connects if need be, and listens.
    ///
    /// # Errors
    /// `forward.bind` or `forward.denied` when it cannot listen; the connection's failure.
    pub async fn forward_open(
        self: &Arc<Self>,
        caller: &Caller,
        params: ForwardParams,
    ) -> Result<ForwardOpened, CallError> {
        let spec = self.forward_spec(&params)?;
        let (route, settings) = self.one_route(&params.targets).await?;
        let acl = match (params.kind, params.allow.is_empty()) {
            (ForwardKind::Remote, true) if spec.target == Target::Socks => {
                Acl::parse(&route.options.permit_remote_open)
            }
            _ => Acl::parse(&params.allow),
        };
        let acl = acl.map_err(|e| CallError::new(Kind::InvalidParams, e).at("params.allow"))?;
        let ask = self.ask_for(Engine::asking(caller));
        let (lease, _) = self.pool().lease(&route, &ask).await.map_err(|e| lost(&route, &e))?;
        work::trusted(&lease).map_err(|e| failed(Kind::ForwardDenied, &route, &e))?;
        let (traffic, events) = Traffic::new();
        let most = params.max_connections.or(settings.as_ref().map(|s| s.max_connections));
        let work = Arc::new(Work {
            id: self.new_id(),
            engine: self.clone(),
            questions: Engine::asking(caller).clone(),
            route: route.clone(),
            target: spec.target.clone(),
            acl,
            login: params.login.map(|l| Login { user: l.user, password: l.password }),
            limits: Limits {
                buffer: settings.as_ref().map_or(Limits::default().buffer, |s| s.buffer_size),
                ..Limits::default()
            },
            dial: settings.as_ref().and_then(|s| s.timeout),
            most: most.map_or(MOST, |most| most.max(1) as usize),
            keep: params.keep,
            tries: settings.as_ref().and_then(|s| s.retry_attempts),
            watch: params.watch,
            traffic,
            lanes: watch::channel(None).0,
            stage: watch::channel(Stage::Serving).0,
            trouble: Mutex::default(),
            noted: OnceLock::new(),
        });
        let (bound, serving) = match params.kind {
            ForwardKind::Remote => {
                let listening = listen_there(&lease, &spec.listen, &route).await?;
                let bound = match &listening.1 {
                    Listen::Unix(path) => path.clone(),
                    Listen::Tcp { port, .. } => port.to_string(),
                };
                let serving = remote::serve(work.clone(), lease, listening);
                (bound, tokio::spawn(self.remarks.scope(work.clone().see_through(serving))))
            }
            _ => {
                let listener = bind(&spec.listen, &route).await?;
                let bound = listener.bound();
                let serving = local::serve(work.clone(), listener, lease);
                (bound, tokio::spawn(self.remarks.scope(work.clone().see_through(serving))))
            }
        };
        let telling = tokio::spawn(tell(events, caller.link.clone()));
        let id = work.id;
        let about = format!("{} {} at {bound}", route.plan.node, params.spec);
        // It is set here only.
        let _ = work.noted.set(self.note("forward", id, &about));
        let forward = Forward {
            kind: params.kind,
            spec: params.spec,
            bound: bound.clone(),
            work,
            tasks: vec![serving.abort_handle(), telling.abort_handle()],
        };
        self.forwards.open().insert(id, forward);
        Ok(ForwardOpened { forward: id, bound })
    }

    /// What is to be forwarded, with paths as the caller's directory makes them.
    fn forward_spec(&self, params: &ForwardParams) -> Result<ForwardSpec, CallError> {
        let wrong = |why: String| CallError::new(Kind::InvalidParams, why).at("params.spec");
        let spec = match params.kind {
            ForwardKind::Dynamic => ForwardSpec::parse_dynamic(&params.spec),
            _ => ForwardSpec::parse(&params.spec),
        };
        let whole = |path: &str| self.env().here(path).to_string_lossy().into_owned();
        let spec = spec.map_err(wrong)?.here(params.kind, whole);
        match params.kind == ForwardKind::Local && spec.target == Target::Socks {
            true => Err(wrong(format!("\"{}\" has no target", params.spec))),
            false => Ok(spec),
        }
    }

    /// `forward/close`: stops listening and ends its connections.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn forward_close(&self, id: ForwardId) -> Result<(), CallError> {
        let of = |engine: &Engine| engine.forwards.open().remove(&id);
        let closed = of(self).map(drop).or_else(|| {
            // Whoever opened it must hear of it.
            let engines = self.commons.engines();
            engines.iter().find_map(|engine| of(engine)).map(Forward::close_for_others)
        });
        self.commons.tell();
        closed.ok_or_else(|| unknown(id))
    }

    /// `forward/drain`: stops listening; it is over with the last of its connections.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub async fn forward_drain(&self, params: &DrainParams) -> Result<(), CallError> {
        let id = params.forward;
        let of = |engine: &Engine| engine.forwards.open().get(&id).map(|f| f.work.clone());
        let found = of(self).or_else(|| self.commons.engines().iter().find_map(|e| of(e)));
        let work = found.ok_or_else(|| unknown(id))?;
        work.reach(Stage::Draining);
        work.reached(if params.wait { Stage::Over } else { Stage::Deaf }).await;
        Ok(())
    }

    /// `forward/connections`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn forward_connections(&self, id: ForwardId) -> Result<Connections, CallError> {
        self.traffic(id).map(|traffic| traffic.list())
    }

    /// `forward/kick`.
    ///
    /// # Errors
    /// `handle.unknown`: no such forward or connection.
    pub fn forward_kick(&self, params: &KickParams) -> Result<(), CallError> {
        let unknown = || {
            let text = format!("no connection {}", params.conn);
            CallError::new(Kind::HandleUnknown, text).at("params.conn")
        };
        self.traffic(params.forward)?.kick(params.conn).then_some(()).ok_or_else(unknown)
    }

    fn traffic(&self, id: ForwardId) -> Result<Arc<Traffic<ForwardEvent>>, CallError> {
        let open = self.forwards.open();
        open.get(&id).map(|f| f.work.traffic.clone()).ok_or_else(|| unknown(id))
    }

    /// `forward/list`.
    ///
    /// # Errors
    /// As `exec/start`; targets that are more than one node.
    pub async fn forward_list(&self, params: &ForwardListParams) -> Result<ForwardList, CallError> {
        let route = match &params.targets {
            Some(targets) => Some(self.one_route(targets).await?.0),
            None => None,
        };
        Ok(self.forwards_along(route.as_deref(), params.all))
    }

    /// The forwards of this link, or of all, on this route or on any.
    pub(crate) fn forwards_along(&self, route: Option<&Route>, all: bool) -> ForwardList {
        let entry = |(id, f): (&ForwardId, &Forward)| {
            let traffic = &f.work.traffic;
            let (bytes_in, bytes_out) = traffic.bytes();
            let error = lock(&f.work.trouble).clone();
            let state = match *f.work.stage.borrow() {
                Stage::Serving if error.is_some() => "reconnecting",
                Stage::Serving => "open",
                _ => DRAINING,
            };
            ForwardEntry {
                forward: *id,
                node: f.work.route.plan.node.clone(),
                kind: f.kind,
                spec: f.spec.clone(),
                bound: f.bound.clone(),
                connections: traffic.n_live() as u64,
                bytes_in,
                bytes_out,
                state: state.to_owned(),
                opened: traffic.opened.load(Relaxed),
                failed: traffic.failed.load(Relaxed),
                denied: traffic.denied.load(Relaxed),
                error,
            }
        };
        let of = |engine: &Engine| -> Vec<ForwardEntry> {
            // One whose connection is lost for good has no task any more.
            let mut open = engine.forwards.open();
            open.retain(|_, f| !f.is_over());
            let along = |f: &Forward| route.is_none_or(|route| route.key == f.work.route.key);
            open.iter().filter(|(_, f)| along(f)).map(entry).collect()
        };
        let forwards = match all {
            true => self.commons.engines().iter().flat_map(|engine| of(engine)).collect(),
            false => of(self),
        };
        ForwardList { forwards }
    }
}

fn unknown(id: ForwardId) -> CallError {
    CallError::new(Kind::HandleUnknown, format!("no forward {id}")).at("params.forward")
}

/// Passes a forward's events on to its link.
async fn tell(mut events: mpsc::Receiver<ForwardEvent>, link: Link) {
    while let Some(event) = events.recv().await {
        if link.notify::<ForwardStateEvent>(&event).await.is_err() {
            return;
        }
    }
}

async fn bind(listen: &Listen, route: &Route) -> Result<Listener, CallError> {
    let rules = BindRules {
        gateway: route.options.gateway_ports,
        family: route.plan.address.family,
        mask: route.options.stream_local_bind_mask,
        unlink: route.options.stream_local_bind_unlink,
    };
    Listener::bind(listen, rules).await.map_err(|e| {
        let text = format!("{}: cannot listen on {} here: {e}", route.plan.node, shown(listen));
        let error = CallError::new(Kind::ForwardBind, text);
        match (e.kind(), listen) {
            (ErrorKind::AddrInUse, Listen::Tcp { port, .. }) => {
                let owner = owner::of(*port).unwrap_or_else(|| "somebody".to_owned());
                error.hint(format!("{owner} listens there; with port 0 a free one is taken"))
            }
            (ErrorKind::PermissionDenied, Listen::Tcp { .. }) => {
                error.hint("ports below 1024 need CAP_NET_BIND_SERVICE")
            }
            _ => error,
        }
    })
}

async fn listen_there(
    lease: &Lease,
    listen: &Listen,
    route: &Route,
) -> Result<(RemoteListener, Listen), CallError> {
    remote::listen(&lease.connection, listen).await.map_err(|e| {
        let (node, at) = (&route.plan.node, shown(listen));
        let text = format!("{node}: cannot listen on {at} there: {e}");
        let error = CallError::new(Kind::ForwardDenied, text);
        match e.kind {
            Cause::RequestRefused { .. } => error.hint(match listen {
                Listen::Tcp { .. } => NOT_THERE,
                Listen::Unix(_) => NO_SOCKET_THERE,
            }),
            _ => error,
        }
    })
}

fn lost(route: &Route, error: &bssh_ssh::error::Error) -> CallError {
    failed(Kind::Disconnected, route, error)
}

fn failed(kind: Kind, route: &Route, error: &bssh_ssh::error::Error) -> CallError {
    let failure = failure(error);
    let text = format!("{}: {}", route.plan.node, failure.message);
    let error = CallError::new(kind, text);
    failure.hint.map_or(error.clone(), |hint| error.hint(hint))
}

fn shown(listen: &Listen) -> String {
    match listen {
        Listen::Unix(path) => path.clone(),
        Listen::Tcp { bind, port } => format!("{}:{port}", bind.as_deref().unwrap_or("localhost")),
    }
}
