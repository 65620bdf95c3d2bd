//! What the gate's client needs: lines for its ssh_config and its known_hosts.

use super::inspect::known_key;
use super::plan::Listen;
use bssh_protocol::gate::{GateEntry, GateSpec};
use std::collections::BTreeMap;
use std::fmt::Write;

/// ssh_config, known_hosts, and what to be careful about.
pub(super) fn client(spec: &GateSpec, listen: &Listen) -> (String, String, Vec<String>) {
    let (mut config, mut known, mut warnings) = (String::new(), String::new(), Vec::new());
    let mut ports: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &spec.entries {
        *ports.entry(&entry.hostname).or_default() += 1;
    }
    for (at, entry) in spec.entries.iter().enumerate() {
        let several = ports.get(entry.hostname.as_str()).is_some_and(|n| *n > 1);
        let address = match listen {
            Listen::Tcp(all) => all.get(at).map(|a| a.ip().to_string()),
            _ => None,
        };
        let _ = write!(config, "Host {}", entry.hostname);
        if entry.alias != entry.hostname {
            let _ = write!(config, " {}", entry.alias);
        }
        config.push('\n');
        match (&address, listen) {
            (Some(address), _) => {
                let _ = writeln!(config, "  HostName {address}\n  Port {}", entry.port);
            }
            (None, Listen::Socks(socks)) => {
                // OpenBSD's netcat, which is everywhere.
                let _ = writeln!(
                    config,
                    "  HostName {}\n  Port {}\n  ProxyCommand nc -X 5 -x {socks} %h %p",
                    entry.hostname, entry.port
                );
            }
            (None, _) => {
                let _ = writeln!(
                    config,
                    "  HostName {}\n  Port {}\n  ProxyCommand bssh gate pipe {} %h %p",
                    entry.hostname, entry.port, spec.name
                );
            }
        }
        // Without the alias keys would be filed under the gate's address. ssh_config cannot tell
        // ports apart, so a host with two of them has its keys under both addresses instead.
        let filed = match (several && address.is_some(), &address) {
            (true, Some(address)) => bracketed(address, entry.port),
            _ => bracketed(&entry.hostname, entry.port),
        };
        if address.is_some() && !several {
            let _ = writeln!(config, "  HostKeyAlias {filed}");
        }
        config.push_str("  CheckHostIP no\n");
        match pinned(entry) {
            Some(key) => {
                let _ = writeln!(known, "{filed} {key}");
            }
            None if several && address.is_some() => warnings.push(format!(
                "entry '{}': {} has several ports; pin its host key, or its key is filed under {filed}",
                entry.alias, entry.hostname
            )),
            None => {}
        }
        if entry.via.is_some() {
            warnings.push(format!(
                "entry '{}': its name is looked up by {}, so that addresses are not checked here",
                entry.alias,
                entry.via.as_deref().unwrap_or_default()
            ));
        }
    }
    (config, known, warnings)
}

/// `host`, or `[host]:port` where the port is not 22.
fn bracketed(host: &str, port: u16) -> String {
    match port {
        22 => host.to_owned(),
        port => format!("[{host}]:{port}"),
    }
}

/// Type and key of a known_hosts line; a fingerprint is no key.
fn pinned(entry: &GateEntry) -> Option<String> {
    let (kind, key, _) = known_key(entry.host_key.as_deref()?)?;
    Some(format!("{kind} {key}"))
}
