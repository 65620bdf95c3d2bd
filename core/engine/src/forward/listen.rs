//! The local side of a forward: TCP and Unix-socket listeners with OpenSSH's bind rules.

use super::spec::Listen;
use crate::unix_socket;
use bssh_ssh::BoxStream;
use bssh_ssh::plan::Family;
use rustix::net::sockopt::set_ipv6_v6only;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// How a listener may be bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct BindRules {
    /// `GatewayPorts`: without an address listen everywhere, not on loopback only.
    pub gateway: bool,
    /// `AddressFamily`: listen on no other addresses.
    pub family: Family,
    /// `StreamLocalBindMask`.
    pub mask: u32,
    /// `StreamLocalBindUnlink`.
    pub unlink: bool,
}

/// A bound listener; dropping it stops listening. A socket file stays where it is, as with ssh;
/// the next one to bind there replaces it if nobody listens.
#[derive(Debug)]
pub(super) enum Listener {
    /// One socket per address family.
    Tcp(Vec<TcpListener>),
    Unix(UnixListener, PathBuf),
}

const BACKLOG: u32 = 128;

impl Listener {
    /// Binds; of several addresses one is enough.
    ///
    /// # Errors
    /// No address could be bound: the first reason.
    pub(super) async fn bind(listen: &Listen, rules: BindRules) -> io::Result<Self> {
        match listen {
            Listen::Unix(path) => bind_unix(Path::new(path), rules),
            Listen::Tcp { bind, port } => {
                let addresses = addresses(bind.as_deref(), rules).await?;
                bind_tcp(&addresses, *port)
            }
        }
    }

    /// Where it listens, for people: `127.0.0.1:8080` or a path.
    pub(super) fn bound(&self) -> String {
        match self {
            Listener::Tcp(all) => all
                .first()
                .and_then(|l| l.local_addr().ok())
                .map_or_else(String::new, |a| a.to_string()),
            Listener::Unix(_, file) => file.display().to_string(),
        }
    }

    /// The next connection and where it comes from.
    ///
    /// # Errors
    /// Those of accept(2), such as too many open files.
    pub(super) async fn accept(&self) -> io::Result<(BoxStream, SocketAddr)> {
        match self {
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
            }
            Listener::Tcp(all) => {
                let accepts = all.iter().map(|l| Box::pin(l.accept()));
                let (accepted, ..) = futures_util::future::select_all(accepts).await;
                let (stream, peer) = accepted?;
                bssh_ssh::tune(&stream, peer.ip())?;
                Ok((Box::new(stream), peer))
            }
        }
    }
}

/// ssh's reading of a bind address: none is loopback (or everywhere with `GatewayPorts`), `*`
/// and the empty one are everywhere.
async fn addresses(bind: Option<&str>, rules: BindRules) -> io::Result<Vec<IpAddr>> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let mut all = match (bind, rules.gateway) {
        (Some("" | "*"), _) | (None, true) => everywhere.to_vec(),
        (None, false) | (Some("localhost"), _) => loopback.to_vec(),
        (Some(host), _) => match host.parse() {
            Ok(address) => vec![address],
            Err(_) => tokio::net::lookup_host((host, 0)).await?.map(|a| a.ip()).collect(),
        },
    };
    all.retain(|address| match rules.family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    });
    Ok(all)
}

fn bind_tcp(addresses: &[IpAddr], mut port: u16) -> io::Result<Listener> {
    let (mut bound, mut first_error) = (Vec::new(), None);
    for address in addresses {
        match bind_one(SocketAddr::new(*address, port)) {
            Ok(listener) => {
                // Port 0: the other families follow the first one's choice.
                port = listener.local_addr()?.port();
                bound.push(listener);
            }
            // A port in use must not be had by halves: somebody else would get the other half.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    match (bound.is_empty(), first_error) {
        (true, Some(error)) => Err(error),
        (true, None) => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no address of the wanted family (AddressFamily)",
        )),
        _ => Ok(Listener::Tcp(bound)),
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_unix(path: &Path, rules: BindRules) -> io::Result<Listener> {
    if rules.unlink {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(Listener::Unix(unix_socket::listen(path, rules.mask)?, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_listened_on() {
        for (bind, gateway, family, want) in [
            (None, false, Family::Any, &["127.0.0.1", "::1"][..]),
            (None, false, Family::V4, &["127.0.0.1"]),
            (Some("localhost"), true, Family::V6, &["::1"]),
            (None, true, Family::Any, &["0.0.0.0", "::"]),
            (Some("*"), false, Family::V6, &["::"]),
            (Some("127.0.0.2"), false, Family::V4, &["127.0.0.2"]),
            (Some("127.0.0.2"), false, Family::V6, &[]),
        ] {
            let rules = BindRules { gateway, family, mask: 0o177, unlink: false };
            let all = addresses(bind, rules).await.unwrap();
            let all: Vec<_> = all.iter().map(IpAddr::to_string).collect();
            assert_eq!(all, want, "{bind:?} {gateway} {family:?}");
        }
    }
}
