//! A node: the name the user gave it, where it is, and what its cluster says about reaching it.
//!
//! The name is a label for messages and for set algebra, exactly as typed (`user@n1:22`); the
//! destination is what the label says about user, host and port. What is not said here is decided
//! later, by `ssh_config` and defaults.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::error::Error;

/// One node of a resolved target expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Unique within one resolved expression.
    pub name: String,
    pub destination: Destination,
    pub overrides: NodeOverrides,
}

/// What a target says: `[user@]host[:port]`, `[user@][v6][:port]` or `ssh://…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Destination {
    pub user: Option<String>,
    /// Without the brackets of an IPv6 address. May be an alias of `ssh_config`.
    pub host: String,
    pub port: Option<u16>,
}

/// What a cluster or an inventory sets for a node; each is stronger than `ssh_config`, weaker than
/// what the target itself or the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeOverrides {
    /// What to dial instead of the name.
    pub host: Option<String>,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub identity: Option<PathBuf>,
    pub known_hosts: Option<PathBuf>,
    /// As in `ssh -J`; `none` switches off what `ssh_config` says.
    pub jump_host: Option<String>,
}

impl NodeOverrides {
    /// Takes from `weaker` what is not set here.
    #[must_use]
    pub fn or(self, weaker: &NodeOverrides) -> NodeOverrides {
        NodeOverrides {
            host: self.host.or_else(|| weaker.host.clone()),
            port: self.port.or(weaker.port),
            user: self.user.or_else(|| weaker.user.clone()),
            identity: self.identity.or_else(|| weaker.identity.clone()),
            known_hosts: self.known_hosts.or_else(|| weaker.known_hosts.clone()),
            jump_host: self.jump_host.or_else(|| weaker.jump_host.clone()),
        }
    }
}

impl Destination {
    /// Reads one target, taken literally: no ranges, no groups. A host with several colons is an
    /// IPv6 address without a port.
    ///
    /// # Errors
    /// An empty host or user, a port that is none, brackets that hold no IPv6 address.
    pub fn parse(target: &str) -> Result<Destination, Error> {
        let wrong = |why: String| Error::plain(format!("target \"{target}\": {why}"));
        let rest = match target.strip_prefix("ssh://") {
            Some(uri) => uri.strip_suffix('/').unwrap_or(uri),
            None => target,
        };
        if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong("a host name has no spaces".into()));
        }
        let (user, address) = match rest.rsplit_once('@') {
            Some(("", _)) => return Err(wrong("the user before \"@\" is missing".into())),
            Some((user, address)) => (Some(user.to_owned()), address),
            None => (None, rest),
        };
        let (host, port) = split_port(address).map_err(wrong)?;
        if host.is_empty() {
            return Err(wrong("the host is missing".into()));
        }
        Ok(Destination { user, host: host.to_owned(), port })
    }
}

/// `host`, `host:port`, `v6`, `[v6]`, `[v6]:port`.
fn split_port(address: &str) -> Result<(&str, Option<u16>), String> {
    if let Some(inner) = address.strip_prefix('[') {
        let (host, tail) = inner.split_once(']').ok_or("missing \"]\"")?;
        if !is_v6(host) {
            return Err(format!("\"{host}\" in brackets is not an IPv6 address"));
        }
        return match tail.strip_prefix(':') {
            Some(port) => Ok((host, Some(parse_port(port)?))),
            None if tail.is_empty() => Ok((host, None)),
            None => Err(format!("\"{tail}\" after \"]\" is not a port")),
        };
    }
    match address.split_once(':') {
        None => Ok((address, None)),
        Some((_, rest)) if rest.contains(':') => {
            if !is_v6(address) {
                return Err("several colons, but not an IPv6 address".into());
            }
            Ok((address, None))
        }
        Some((host, port)) => Ok((host, Some(parse_port(port)?))),
    }
}

/// An IPv6 address, also with a zone (`fe80::1%eth0`).
pub(crate) fn is_v6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok()
}

fn parse_port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(format!("\"{text}\" is not a port (1-65535)")),
    }
}

#[cfg(test)]
mod tests {
    use super::Destination;

    #[test]
    fn targets() {
        let ok: &[(&str, Option<&str>, &str, Option<u16>)] = &[
            ("host", None, "host", None),
            ("user@host", Some("user"), "host", None),
            ("host:22", None, "host", Some(22)),
            ("user@host:2222", Some("user"), "host", Some(2222)),
            ("[::1]", None, "::1", None),
            ("[fe80::1%eth0]:22", None, "fe80::1%eth0", Some(22)),
            ("root@[::1]:22", Some("root"), "::1", Some(22)),
            ("2001:db8::1", None, "2001:db8::1", None),
            ("ssh://u@h:7/", Some("u"), "h", Some(7)),
            ("ssh://[::1]:7", None, "::1", Some(7)),
            ("dom@ain@host", Some("dom@ain"), "host", None),
            ("-n1", None, "-n1", None),
        ];
        for (text, user, host, port) in ok {
            let d = Destination::parse(text).unwrap();
            assert_eq!((d.user.as_deref(), &*d.host, d.port), (*user, *host, *port), "{text}");
        }
        for text in [
            "", "@h", "u@", "h:", "h:0", "h:65536", "h:+1", "[x]", "[::1]22", "[::1", "a:b:c",
            ":22", "a b",
        ] {
            assert!(Destination::parse(text).is_err(), "{text}");
        }
    }
}
