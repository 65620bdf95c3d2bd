//! Forwards: a listener here or on the node, a target on the other side, one relay between.
//!
//! A forward belongs to the link that opened it and lives until it is closed, the link goes, or
//! its connection is lost. Each connection through it is a task of the forward's own set.

mod agent;
mod listen;
mod relay;
mod socks;
mod spec;

pub(crate) use agent::AgentRelay;

use crate::engine::{Caller, Engine};
use crate::failure::failure;
use crate::plan::Route;
use crate::pool::Lease;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::forward::{
    ForwardEntry, ForwardId, ForwardKind, ForwardList, ForwardOpened, ForwardParams,
};
use bssh_ssh::{ChannelStream, Connection, RemoteListener};
use listen::{BindRules, Listener, Stream};
use relay::{Counters, relay};
use spec::{ForwardSpec, Listen, Target};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// Connections through one forward at once; further ones wait in the listener.
const MOST: usize = 1024;

/// Every forward of the core.
#[derive(Default)]
pub(crate) struct Forwards {
    open: Mutex<BTreeMap<ForwardId, Forward>>,
    next: AtomicU64,
}

struct Forward {
    node: String,
    kind: ForwardKind,
    spec: String,
    bound: String,
    counters: Arc<Counters>,
    task: AbortHandle,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forwards {
    fn open(&self) -> MutexGuard<'_, BTreeMap<ForwardId, Forward>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all of them.
    pub(crate) fn close_all(&self) {
        self.open().clear();
    }
}

impl Engine {
    /// `forward/open`: connects if need be, and listens.
    ///
    /// # Errors
    /// `forward.bind` or `forward.denied` when it cannot listen; the connection's failure.
    pub async fn forward_open(
        &self,
        caller: &Caller,
        params: ForwardParams,
    ) -> Result<ForwardOpened, CallError> {
        let spec = match params.kind {
            ForwardKind::Dynamic => ForwardSpec::parse_dynamic(&params.spec),
            _ => ForwardSpec::parse(&params.spec),
        };
        let spec = spec.map_err(|e| CallError::new(Kind::InvalidParams, e).at("params.spec"))?;
        let route = self.one_route(&params.targets)?;
        let ask = self.ask_for(Engine::asking(caller));
        let (lease, _) = self.pool.lease(&route, &ask).await.map_err(|e| {
            let failure = failure(&e);
            let error = CallError::new(
                Kind::Disconnected,
                format!("{}: {}", route.plan.node, failure.message),
            );
            failure.hint.map_or(error.clone(), |hint| error.hint(hint))
        })?;
        let counters = Arc::new(Counters::default());
        let (bound, task) = match params.kind {
            ForwardKind::Remote => remote(&lease, &route, spec, &counters).await?,
            _ => local(&lease, &route, spec, &counters).await?,
        };
        let id = self.forwards.next.fetch_add(1, Ordering::Relaxed) + 1;
        let forward = Forward {
            node: route.plan.node.clone(),
            kind: params.kind,
            spec: params.spec,
            bound: bound.clone(),
            counters,
            task,
        };
        self.forwards.open().insert(id, forward);
        Ok(ForwardOpened { forward: id, bound })
    }

    /// `forward/close`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn forward_close(&self, id: ForwardId) -> Result<(), CallError> {
        let unknown =
            || CallError::new(Kind::HandleUnknown, format!("no forward {id}")).at("params.forward");
        self.forwards.open().remove(&id).map(drop).ok_or_else(unknown)
    }

    /// `forward/list`.
    pub fn forward_list(&self) -> ForwardList {
        let entry = |(id, f): (&ForwardId, &Forward)| ForwardEntry {
            forward: *id,
            node: f.node.clone(),
            kind: f.kind,
            spec: f.spec.clone(),
            bound: f.bound.clone(),
            connections: f.counters.connections.load(Ordering::Relaxed),
            bytes_in: f.counters.into.load(Ordering::Relaxed),
            bytes_out: f.counters.out_of.load(Ordering::Relaxed),
        };
        ForwardList { forwards: self.forwards.open().iter().map(entry).collect() }
    }
}

type Opened = Result<(String, AbortHandle), CallError>;

/// -L and -D: listens here, connects from the node.
async fn local(
    lease: &Arc<Lease>,
    route: &Route,
    spec: ForwardSpec,
    counters: &Arc<Counters>,
) -> Opened {
    let rules = BindRules {
        gateway: route.options.gateway_ports,
        mask: route.options.stream_local_bind_mask,
        unlink: route.options.stream_local_bind_unlink,
    };
    let listener = Listener::bind(&spec.listen, rules).await.map_err(|e| {
        let text = format!("cannot listen on {}: {e}", shown(&spec.listen));
        CallError::new(Kind::ForwardBind, text)
    })?;
    let (lease, counters) = (lease.clone(), counters.clone());
    let bound = listener.bound();
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MOST => {
                    // A failed accept (too many open files) is the next one's problem.
                    let Ok((near, peer)) = accepted else {
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                        continue;
                    };
                    let (connection, target, counters) =
                        (lease.connection.clone(), spec.target.clone(), counters.clone());
                    connections.spawn(async move { outward(near, peer, &connection, target, &counters).await });
                }
                Some(_) = connections.join_next() => {}
                _ = lease.connection.closed() => return,
            }
        }
    });
    Ok((bound, task.abort_handle()))
}

/// Pause after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);

/// One connection of -L or -D.
async fn outward(
    mut near: Box<dyn Stream>,
    peer: SocketAddr,
    connection: &Connection,
    target: Target,
    counters: &Counters,
) {
    let (version, target) = match target {
        Target::Socks => match socks::read_request(&mut near).await {
            Ok((version, target)) => (Some(version), target),
            Err(error) => return tracing::info!("forward: {error}"),
        },
        fixed => (None, fixed),
    };
    let far = open(connection, &target, peer).await;
    if let Some(version) = version
        && socks::reply(&mut near, version, far.is_ok()).await.is_err()
    {
        return;
    }
    match far {
        Ok(far) => carried(near, far, counters).await,
        Err(error) => tracing::warn!("forward to {target}: {error}"),
    }
}

async fn open(
    connection: &Connection,
    target: &Target,
    peer: SocketAddr,
) -> Result<ChannelStream, bssh_ssh::error::Error> {
    match target {
        Target::Tcp { host, port } => {
            let from = peer.ip().to_string();
            connection.open_tcp(host, *port, (&from, peer.port())).await
        }
        Target::Unix(path) => connection.open_unix(path).await,
        Target::Socks => connection.open_tcp("", 0, ("", 0)).await,
    }
}

/// -R: listens on the node, connects from here.
async fn remote(
    lease: &Arc<Lease>,
    route: &Route,
    spec: ForwardSpec,
    counters: &Arc<Counters>,
) -> Opened {
    let denied = |e: bssh_ssh::error::Error| {
        let text = format!("the node cannot listen on {}: {e}", shown(&spec.listen));
        CallError::new(Kind::ForwardDenied, text)
    };
    let (listener, bound) = match &spec.listen {
        Listen::Unix(path) => {
            (lease.connection.listen_unix(path).await.map_err(denied)?, path.clone())
        }
        Listen::Tcp { bind, port } => {
            let bind = match bind.as_deref() {
                None if route.options.gateway_ports => "",
                None => "localhost",
                Some("*") => "",
                Some(host) => host,
            };
            let listener = lease.connection.listen_tcp(bind, *port).await.map_err(denied)?;
            let bound = listener.port().to_string();
            (listener, bound)
        }
    };
    let (lease, counters, target) = (lease.clone(), counters.clone(), spec.target.clone());
    let task = tokio::spawn(inward_all(lease, listener, target, counters));
    Ok((bound, task.abort_handle()))
}

async fn inward_all(
    _lease: Arc<Lease>,
    mut listener: RemoteListener,
    target: Target,
    counters: Arc<Counters>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST => {
                let Some(far) = accepted else { return };
                let (target, counters) = (target.clone(), counters.clone());
                connections.spawn(async move { inward(far, target, &counters).await });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection of -R.
async fn inward(mut far: ChannelStream, target: Target, counters: &Counters) {
    let (version, target) = match target {
        Target::Socks => match socks::read_request(&mut far).await {
            Ok((version, target)) => (Some(version), target),
            Err(error) => return tracing::info!("forward: {error}"),
        },
        fixed => (None, fixed),
    };
    let near: std::io::Result<Box<dyn Stream>> = match &target {
        Target::Tcp { host, port } => match TcpStream::connect((host.as_str(), *port)).await {
            Ok(tcp) => tcp.set_nodelay(true).map(|()| Box::new(tcp) as Box<dyn Stream>),
            Err(error) => Err(error),
        },
        Target::Unix(path) => {
            UnixStream::connect(path).await.map(|s| Box::new(s) as Box<dyn Stream>)
        }
        Target::Socks => Err(std::io::ErrorKind::InvalidInput.into()),
    };
    if let Some(version) = version
        && socks::reply(&mut far, version, near.is_ok()).await.is_err()
    {
        return;
    }
    match near {
        Ok(near) => carried(near, far, counters).await,
        Err(error) => tracing::warn!("forward to {target}: {error}"),
    }
}

async fn carried(near: Box<dyn Stream>, far: ChannelStream, counters: &Counters) {
    counters.connections.fetch_add(1, Ordering::Relaxed);
    if let Err(error) = relay(near, far, counters).await {
        tracing::info!("forward: {error}");
    }
    counters.connections.fetch_sub(1, Ordering::Relaxed);
}

fn shown(listen: &Listen) -> String {
    match listen {
        Listen::Unix(path) => path.clone(),
        Listen::Tcp { bind, port } => format!("{}:{port}", bind.as_deref().unwrap_or("localhost")),
    }
}
