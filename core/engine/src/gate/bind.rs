//! The listeners of a gate: all of them or none, and errors that say what to do.

use super::door::{Door, Socket};
use super::owner;
use super::plan::{Listen, Plan};
use super::run::Running;
use bssh_protocol::error::{CallError, Kind};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Listeners of a gate and their sockets, kept for whoever takes its place.
pub(super) type Bound = (Vec<Door>, Vec<(SocketAddr, Arc<TcpListener>)>, Option<PathBuf>);

/// Binds everything, or nothing. What the old gate listens on already is taken over.
pub(super) async fn bind(plan: &Plan, old: Option<&Running>) -> Result<Bound, CallError> {
    let (mut doors, mut listeners) = (Vec::new(), Vec::new());
    let mut listen = async |address: &SocketAddr| -> Result<Arc<TcpListener>, CallError> {
        let listener = match old.and_then(|old| old.listener(address)) {
            Some(listener) => listener,
            None => match TcpListener::bind(address).await {
                Ok(listener) => Arc::new(listener),
                Err(error) => return Err(refused(plan, &address.to_string(), &error)),
            },
        };
        listeners.push((*address, listener.clone()));
        Ok(listener)
    };
    let mut socket = None;
    match &plan.listen {
        Listen::Tcp(all) => {
            for (at, address) in all.iter().enumerate() {
                doors.push(Door::Tcp(listen(address).await?, at));
            }
        }
        Listen::Socks(address) => doors.push(Door::Socks(listen(address).await?)),
        Listen::Proxy(path) => {
            let bound = Socket::bind(path, old.is_some());
            let bound = bound.map_err(|e| refused(plan, &path.display().to_string(), &e))?;
            doors.push(Door::Proxy(bound));
            socket = Some(path.clone());
        }
    }
    Ok((doors, listeners, socket))
}

fn refused(plan: &Plan, at: &str, error: &io::Error) -> CallError {
    let name = &plan.spec.name;
    let text = format!("gate '{name}': cannot listen on {at}: {error}");
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let owner = at.parse().ok().and_then(|at: SocketAddr| owner::of(at.port()));
            let hint = owner.map_or_else(
                || "somebody listens there, perhaps on all addresses (ss -ltnp)".to_owned(),
                |owner| format!("{owner} listens there, or on all addresses"),
            );
            CallError::new(Kind::GateAddressInUse, text).hint(hint)
        }
        io::ErrorKind::PermissionDenied => CallError::new(Kind::GatePrivilegedPort, text).hint(
            "ports below 1024 need CAP_NET_BIND_SERVICE or net.ipv4.ip_unprivileged_port_start; \
             mode proxy needs neither",
        ),
        io::ErrorKind::AddrNotAvailable => {
            let ip = at.rsplit_once(':').map_or(at, |(ip, _)| ip);
            CallError::new(Kind::GateAddressUnavailable, text)
                .hint(format!("ifconfig lo0 alias {ip} (macOS, BSD), or mode proxy"))
        }
        _ => CallError::new(Kind::ForwardBind, text),
    }
}
