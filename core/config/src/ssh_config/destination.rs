//! Destinations, jump hosts and the names in them, in the grammar of ssh.
//!
//! The cluster grammar, where `host:port` is a port, is in [`crate::node`].

use super::options::JumpHost;
use crate::error::Error;
use crate::node::Destination;

/// Splits a destination as ssh does: `[user@]host` at the last `@`, or `ssh://[user@]host[:port]`.
/// `host:port` is not a port here.
///
/// # Errors
/// An empty user or host, a URI with a path or a bad port.
pub fn destination(text: &str) -> Result<Destination, Error> {
    let wrong = |why: &str| Error::plain(format!("destination \"{text}\": {why}"));
    if let Some(uri) = text.strip_prefix("ssh://") {
        let hop = parse_uri(uri).ok_or_else(|| wrong("not ssh://[user@]host[:port]"))?;
        return Ok(Destination { user: hop.user, host: hop.host, port: hop.port });
    }
    let (user, host) = match text.rsplit_once('@') {
        Some(("", _)) => return Err(wrong("the user before \"@\" is missing")),
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, text),
    };
    if host.is_empty() {
        return Err(wrong("the host is missing"));
    }
    Ok(Destination { user, host: host.to_owned(), port: None })
}

/// Refuses what ssh refuses: names that could be options or reach a shell (CVE-2023-51385).
pub(super) fn check_names(host: &str, user: Option<&str>) -> Result<(), String> {
    let control = |c: char| c.is_ascii_control();
    let bad_host = host.starts_with('-')
        || host.contains(|c: char| {
            "'`\"$\\;&<>|(){}".contains(c) || c.is_ascii_whitespace() || control(c)
        });
    if bad_host {
        return Err(format!("hostname {host:?} contains invalid characters"));
    }
    let Some(user) = user else { return Ok(()) };
    let bad_user = user.starts_with('-')
        || user.ends_with('\\')
        || user.contains(|c: char| "'`\";&<>|(){}".contains(c) || control(c))
        || user.contains(" -");
    if bad_user {
        return Err(format!("remote username {user:?} contains invalid characters"));
    }
    Ok(())
}

/// The hops of a `ProxyJump` value, first one first; `None` when one is not valid.
pub(super) fn jump_hosts(text: &str) -> Option<Vec<JumpHost>> {
    text.split(',')
        .map(|hop| match hop.strip_prefix("ssh://") {
            Some(uri) => parse_uri(uri),
            None => user_host_port(hop),
        })
        .map(|hop| hop.filter(|hop| check_names(&hop.host, hop.user.as_deref()).is_ok()))
        .collect()
}

/// `[user@]host[:port]`, an IPv6 address in brackets.
fn user_host_port(text: &str) -> Option<JumpHost> {
    let (user, address) = match text.rsplit_once('@') {
        Some(("", _)) => return None,
        Some((user, address)) => (Some(user.to_owned()), address),
        None => (None, text),
    };
    let (host, rest) = host_and_rest(address)?;
    let port = match rest {
        Some((_, port)) if !port.is_empty() => Some(port_number(port).filter(|&p| p != 0)?),
        _ => None,
    };
    Some(JumpHost { user, host: host.to_owned(), port })
}

/// What follows `ssh://`.
fn parse_uri(text: &str) -> Option<JumpHost> {
    let (user, address) = match text.split_once('@') {
        Some((user, address)) => {
            let name = user.split(';').next().filter(|name| !name.is_empty())?;
            (Some(url_decode(name)?), address)
        }
        None => (None, text),
    };
    let (host, rest) = host_and_rest(address)?;
    let host = valid_domain(host, address.starts_with('['))?;
    let (port, path) = match rest {
        Some((':', rest)) => {
            let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
            let number = port_number(port).filter(|&p| p != 0);
            (if rest.is_empty() { None } else { Some(number?) }, path)
        }
        Some((_, path)) => (None, path),
        None => (None, ""),
    };
    path.is_empty().then(|| JumpHost { user, host: host.to_owned(), port })
}

/// The host up to `:` or `/`, without brackets, and what follows with its delimiter.
pub(super) fn host_and_rest(text: &str) -> Option<(&str, Option<(char, &str)>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => text.split_at(text.find([':', '/']).unwrap_or(text.len())),
    };
    if host.is_empty() {
        return None;
    }
    let mut chars = rest.chars();
    match chars.next() {
        None => Some((host, None)),
        Some(c @ (':' | '/')) => Some((host, Some((c, chars.as_str())))),
        Some(_) => None,
    }
}

/// 0 to 65535; `None` also for service names, which ssh looks up.
pub(super) fn port_number(text: &str) -> Option<u16> {
    const SERVICES: [(&str, u16); 4] = [("ssh", 22), ("http", 80), ("https", 443), ("socks", 1080)];
    let digits = text.strip_prefix('+').unwrap_or(text);
    match digits.bytes().all(|b| b.is_ascii_digit()) {
        true => digits.parse().ok(),
        false => SERVICES.iter().find(|(name, _)| *name == text).map(|(_, port)| *port),
    }
}

fn valid_domain(host: &str, bracketed: bool) -> Option<&str> {
    if bracketed && host.contains(':') {
        return Some(host);
    }
    check_domain(host).ok().map(|()| host.strip_suffix('.').unwrap_or(host))
}

/// The rules for names in `ssh://` and `CanonicalDomains`.
pub(super) fn check_domain(name: &str) -> Result<(), String> {
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("domain name \"{name}\" starts with invalid character"));
    }
    if name.contains("..") {
        return Err(format!("domain name \"{name}\" contains consecutive separators"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !name.chars().all(allowed) {
        return Err(format!("domain name \"{name}\" contains invalid characters"));
    }
    Ok(())
}

fn url_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high * 16 + low).ok().filter(|&b| b != 0)?);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{check_names, destination, jump_hosts};

    #[test]
    fn destinations() {
        let cases: &[(&str, Option<&str>, &str, Option<u16>)] = &[
            ("h", None, "h", None),
            ("a@b@h", Some("a@b"), "h", None),
            ("h:22", None, "h:22", None),
            ("ssh://a%40b@h:22", Some("a@b"), "h", Some(22)),
            ("ssh://h.ex:2201/", None, "h.ex", Some(2201)),
            ("ssh://u;x=y@h", Some("u"), "h", None),
        ];
        for (text, user, host, port) in cases {
            let d = destination(text).unwrap();
            assert_eq!((d.user.as_deref(), &*d.host, d.port), (*user, *host, *port), "{text}");
        }
        for text in ["", "@h", "u@", "ssh://h/path", "ssh://h:0", "ssh://@h", "ssh://h$"] {
            assert!(destination(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unsafe_names() {
        for host in ["-oX", "a b", "a$b", "a\nb", "a`b", "a;b"] {
            assert!(check_names(host, None).is_err(), "{host}");
        }
        for user in ["-l", "a`id`", "a;b", "a\nb", "a\\", "a -b"] {
            assert!(check_names("h", Some(user)).is_err(), "{user}");
        }
        assert!(check_names("fe80::1%eth0", Some("DOM\\user name$")).is_ok());
    }

    #[test]
    fn hops() {
        let hops = jump_hosts("a@b:2,ssh://c:3,[::1]:4,d").unwrap();
        let shown: Vec<_> =
            hops.iter().map(|h| (h.user.as_deref(), h.host.as_str(), h.port)).collect();
        let expected = [
            (Some("a"), "b", Some(2)),
            (None, "c", Some(3)),
            (None, "::1", Some(4)),
            (None, "d", None),
        ];
        assert_eq!(shown, expected);
        for text in ["", "@b", "a,", "b:x", "b:0", "ssh://b/p", "-oX", "a;b@c"] {
            assert_eq!(jump_hosts(text), None, "{text}");
        }
    }
}
