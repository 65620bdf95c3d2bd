//! From a host name to a TCP connection: look-up, address families, racing, socket options.
//!
//! Addresses are tried as RFC 8305 says: families interleaved, the next one after a short while
//! or at once when one fails. A literal address costs no look-up and no thread.

use crate::ask::Ask;
use crate::error::{Error, ErrorKind, Phase};
use crate::plan::{Address, Family};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::net::sockopt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// Head start of one address over the next, RFC 8305 section 8.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the first address that answers, within `limit` for everything together. `told`
/// hears what is tried.
///
/// # Errors
/// Phase resolve or dial; the error of the address tried first unless a later one says more.
pub async fn dial(
    to: &Address,
    keepalive: bool,
    limit: Option<Duration>,
    told: Option<&dyn Ask>,
) -> Result<TcpStream, Error> {
    let attempt = async {
        let addresses = resolve(to).await?;
        race(to, &addresses, keepalive, told).await
    };
    let Some(limit) = limit else { return attempt.await };
    tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
        let kind = ErrorKind::DialTimeout { address: shown(to), seconds: limit.as_secs_f64() };
        Err(Error::new(Phase::Dial, kind))
    })
}

/// Connects to the first of these addresses that answers; `host` is for messages.
///
/// # Errors
/// As [`dial`], without a look-up.
pub async fn dial_addresses(
    host: &str,
    addresses: &[SocketAddr],
    limit: Duration,
) -> Result<TcpStream, Error> {
    let to = Address {
        host: host.to_owned(),
        port: addresses.first().map_or(0, SocketAddr::port),
        family: Family::Any,
        bind: None,
        interface: None,
    };
    let ordered = interleave(addresses.to_vec());
    tokio::time::timeout(limit, race(&to, &ordered, true, None)).await.unwrap_or_else(|_| {
        let kind = ErrorKind::DialTimeout { address: shown(&to), seconds: limit.as_secs_f64() };
        Err(Error::new(Phase::Dial, kind))
    })
}

/// `host port N`, as ssh says it.
fn shown(to: &Address) -> String {
    format!("{} port {}", to.host, to.port)
}

async fn resolve(to: &Address) -> Result<Vec<SocketAddr>, Error> {
    let failed =
        |source| Error::new(Phase::Resolve, ErrorKind::Resolve { host: to.host.clone(), source });
    let all: Vec<SocketAddr> = match to.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, to.port)],
        Err(_) => {
            tokio::net::lookup_host((to.host.as_str(), to.port)).await.map_err(failed)?.collect()
        }
    };
    let wanted = all.into_iter().filter(|a| match to.family {
        Family::Any => true,
        Family::V4 => a.is_ipv4(),
        Family::V6 => a.is_ipv6(),
    });
    let ordered = interleave(wanted.collect());
    if ordered.is_empty() {
        let none = io::Error::new(io::ErrorKind::NotFound, "no address of the wanted family");
        return Err(failed(none));
    }
    Ok(ordered)
}

/// Alternates the families, the resolver's first choice first; otherwise its order stays.
fn interleave(all: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|a| a.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    loop {
        match (first.next(), second.next()) {
            (None, None) => return ordered,
            (a, b) => ordered.extend(a.into_iter().chain(b)),
        }
    }
}

async fn race(
    to: &Address,
    addresses: &[SocketAddr],
    keepalive: bool,
    told: Option<&dyn Ask>,
) -> Result<TcpStream, Error> {
    let say = |text: &dyn Fn() -> String| {
        if let Some(told) = told {
            told.say(text);
        }
    };
    let mut waiting = addresses.iter();
    let mut running = FuturesUnordered::new();
    let mut worst: Option<(SocketAddr, io::Error)> = None;
    loop {
        let next = waiting.next();
        let more = next.is_some();
        if let Some(a) = next {
            say(&|| format!("Connecting to {} [{}] port {}.", to.host, a.ip(), a.port()));
        }
        running.extend(next.map(|a| async move { (*a, connect(to, *a, keepalive).await) }));
        let finished = match more {
            // Others are waiting for their turn: give this one its head start.
            true => match tokio::time::timeout(STAGGER, running.next()).await {
                Ok(finished) => finished,
                Err(_) if waiting.len() > 0 => continue,
                Err(_) => running.next().await,
            },
            false => running.next().await,
        };
        match finished {
            Some((address, Ok(stream))) => {
                say(&|| format!("Connection to {} established.", address.ip()));
                return Ok(stream);
            }
            Some((address, Err(error))) => {
                let (ip, port) = (address.ip(), address.port());
                say(&|| format!("connect to address {ip} port {port}: {}", error.kind()));
                worst.get_or_insert((address, error));
            }
            None => {}
        }
        if running.is_empty() && waiting.len() == 0 {
            let address = shown(to);
            let kind = match worst {
                Some((_, e)) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    ErrorKind::Refused { address }
                }
                Some((_, source)) => ErrorKind::Dial { address, source },
                None => ErrorKind::Dial { address, source: io::ErrorKind::NotFound.into() },
            };
            return Err(Error::new(Phase::Dial, kind));
        }
    }
}

async fn connect(to: &Address, address: SocketAddr, keepalive: bool) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(interface) = &to.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(bind) = &to.bind {
        socket.bind(local(bind, address).await?)?;
    }
    tune(&socket, address.ip())?;
    if keepalive {
        socket.set_keepalive(true)?;
    }
    socket.connect(address).await
}

/// Options of every TCP connection, opened or accepted: what is written leaves at once, and where
/// both ends are on this machine nothing is paced. There is no path to share with others there,
/// and BBR, where it is the default, arms a timer for every piece: a sixth of the processor time
/// of a large stream.
///
/// # Errors
/// Those of setsockopt(2) with `TCP_NODELAY`.
pub fn tune(socket: impl AsFd, peer: IpAddr) -> io::Result<()> {
    sockopt::set_tcp_nodelay(&socket, true)?;
    #[cfg(target_os = "linux")]
    if peer.to_canonical().is_loopback() {
        // Every kernel has it and allows it to everyone; without it the connection is only slower.
        let _ = sockopt::set_tcp_congestion(&socket, "reno");
    }
    Ok(())
}

/// The local address to bind, of the remote one's family.
async fn local(bind: &str, remote: SocketAddr) -> io::Result<SocketAddr> {
    if let Ok(ip) = bind.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, 0));
    }
    let mut all = tokio::net::lookup_host((bind, 0)).await?;
    all.find(|a| a.is_ipv4() == remote.is_ipv4()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no such local address: {bind}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_order_stays() {
        let parse =
            |list: &str| list.split(' ').map(|a| a.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let given = parse("[::1]:1 [::2]:1 127.0.0.1:1 127.0.0.2:1 127.0.0.3:1");
        let want = parse("[::1]:1 127.0.0.1:1 [::2]:1 127.0.0.2:1 127.0.0.3:1");
        assert_eq!(interleave(given), want);
    }

    #[tokio::test]
    async fn refused_and_black_holes_are_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = |port| Address {
            host: "127.0.0.1".into(),
            port,
            family: Family::Any,
            bind: None,
            interface: None,
        };
        let there = dial(&address(port), true, None, None).await.unwrap();
        assert!(there.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_congestion(&there).unwrap(), "reno");
        drop(listener);
        let error = dial(&address(port), true, None, None).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Refused { .. }), "{error}");
        let wrong = Address { family: Family::V6, ..address(port) };
        assert_eq!(dial(&wrong, true, None, None).await.unwrap_err().phase, Phase::Resolve);
    }
}
