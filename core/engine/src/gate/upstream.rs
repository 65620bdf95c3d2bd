//! From an entry to a connection: looked up once, checked, dialed; or by way of a node.

use super::deny::denied;
use super::plan::Plan;
use crate::engine::Engine;
use crate::forward::relay::Far;
use bssh_protocol::exec::{Settings, Targets};
use bssh_protocol::gate::GateEntry;
use bssh_ssh::BoxStream;
use bssh_ssh::dial_addresses;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::lookup_host;

/// An upstream that answers.
pub(super) struct Upstream {
    pub stream: Connected,
    /// Address and port, as far as it is known.
    pub named: String,
}

/// Either kind of connection, still whole.
pub(super) enum Connected {
    Socket(BoxStream),
    /// A channel of the node it goes by way of, and what keeps the node's connection.
    Channel(Box<bssh_ssh::Pipe>, Arc<crate::pool::Lease>, crate::pool::Resident),
}

/// For a look-up when a gate starts.
const LOOK_UP: Duration = Duration::from_secs(2);
/// After which a silent peer is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(30);

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failed {
    /// The name leads where no name may lead.
    Denied(String),
    Dial(String),
}

/// Connects to an entry.
pub(super) async fn connect(
    engine: &Arc<Engine>,
    plan: &Plan,
    entry: &GateEntry,
    settings: &Settings,
) -> Result<Upstream, Failed> {
    let limit = Duration::from_millis(entry.connect_timeout_ms.max(1));
    let text = |e: &dyn std::fmt::Display| Failed::Dial(e.to_string());
    if let Some(via) = &entry.via {
        let going = by_way_of(engine, via, entry, settings);
        let slow = || Failed::Dial(format!("no answer within {} s", limit.as_secs_f64()));
        return tokio::time::timeout(limit, going).await.map_err(|_| slow())?;
    }
    let addresses = allowed(plan, entry, limit).await?;
    let dialed = dial_addresses(&entry.hostname, &addresses, limit).await;
    let tcp = dialed.map_err(|e| text(&e))?;
    keep_alive(&tcp).map_err(|e| text(&e))?;
    let named = tcp.peer_addr().map(|a| a.to_string()).unwrap_or_default();
    Ok(Upstream { stream: Connected::Socket(Box::new(tcp)), named })
}

/// Asks after a silent peer every half minute.
pub(super) fn keep_alive(socket: &tokio::net::TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, SILENCE)?;
    Ok(())
}

/// An entry whose name leads back to the gate. Names that cannot be looked up now are not.
pub(super) async fn loops(plan: &Plan) -> Option<&GateEntry> {
    let looks = plan.spec.entries.iter().filter(|e| e.via.is_none()).map(|entry| async move {
        let looking = lookup_host((entry.hostname.as_str(), entry.port));
        let found = tokio::time::timeout(LOOK_UP, looking).await.ok()?.ok()?;
        let mut found = found.peekable();
        found.peek()?;
        found.all(|address| plan.listens_on(&address)).then_some(entry)
    });
    futures_util::future::join_all(looks).await.into_iter().flatten().next()
}

/// The entry's addresses that may be dialed.
pub(super) async fn allowed(
    plan: &Plan,
    entry: &GateEntry,
    limit: Duration,
) -> Result<Vec<SocketAddr>, Failed> {
    let own = |address: &SocketAddr| plan.listens_on(address);
    if let Ok(literal) = entry.hostname.parse::<IpAddr>() {
        let address = SocketAddr::new(literal, entry.port);
        return match own(&address) {
            true => Err(Failed::Denied(format!("{address} is the gate itself"))),
            // Whoever writes an address down means it.
            false => Ok(vec![address]),
        };
    }
    let looking = lookup_host((entry.hostname.as_str(), entry.port));
    let found = tokio::time::timeout(limit, looking).await;
    let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let all: Vec<SocketAddr> = found
        .map_err(|e| Failed::Dial(format!("cannot look up {}: {e}", entry.hostname)))?
        .collect();
    let good: Vec<SocketAddr> =
        all.iter().copied().filter(|a| !own(a) && denied(a.ip(), &plan.spec).is_none()).collect();
    match (good.is_empty(), all.first()) {
        (false, _) => Ok(good),
        (true, Some(first)) => {
            let why = denied(first.ip(), &plan.spec);
            let why = why.unwrap_or_else(|| "the gate itself".to_owned());
            let text = format!("{} is {}, {why}", entry.hostname, first.ip());
            Err(Failed::Denied(text))
        }
        (true, None) => Err(Failed::Dial(format!("{} has no address", entry.hostname))),
    }
}

async fn by_way_of(
    engine: &Arc<Engine>,
    via: &str,
    entry: &GateEntry,
    settings: &Settings,
) -> Result<Upstream, Failed> {
    let targets =
        Targets { nodes: via.to_owned(), settings: settings.clone(), ..Targets::default() };
    let (route, _) = engine.one_route(&targets).await.map_err(|e| Failed::Dial(e.message))?;
    let ask = |_: &Arc<crate::plan::Route>| -> Arc<dyn bssh_ssh::ask::Ask> {
        Arc::new(crate::forward::Nobody)
    };
    let dial = |e: bssh_ssh::error::Error| Failed::Dial(format!("{via}: {e}"));
    let (lease, _) = engine.pool().lease(&route, &ask).await.map_err(dial)?;
    let (host, origin) = (&entry.hostname, ("127.0.0.1", 0));
    let opened = lease.connection.open_tcp_channel(host, entry.port, origin).await;
    let resident = lease.load.reside();
    let pipe = opened.map_err(dial)?.into_pipe();
    let stream = Connected::Channel(Box::new(pipe), lease, resident);
    Ok(Upstream { stream, named: format!("{}:{}", entry.hostname, entry.port) })
}

impl Connected {
    /// As a far end; the node's connection is kept as long as the second value.
    pub(super) fn into_far(
        self,
    ) -> (Far, Option<(Arc<crate::pool::Lease>, crate::pool::Resident)>) {
        match self {
            Connected::Socket(stream) => (Far::Stream(stream), None),
            Connected::Channel(channel, lease, resident) => {
                (Far::Shared(channel), Some((lease, resident)))
            }
        }
    }
}
