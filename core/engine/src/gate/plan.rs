//! What a gate would do, decided without binding, dialing or looking anything up.
//!
//! Every problem is found at once and names its entry. The same gate always has the same plan
//! and the same id.

use super::deny::Rule;
use super::snippet;
use bssh_config::Environment;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::gate::{AddressMode, GateEntry, GateListener, GateMode, GatePlan, GateSpec};
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

/// A plan with what the core needs of it.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub spec: GateSpec,
    pub shown: GatePlan,
    pub listen: Listen,
}

/// Where a gate listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listen {
    /// One address for each entry, in their order.
    Tcp(Vec<SocketAddr>),
    Socks(SocketAddr),
    Proxy(PathBuf),
}

impl Plan {
    /// Dialing this address would lead back to the gate.
    pub(super) fn listens_on(&self, address: &SocketAddr) -> bool {
        let leads = |own: &SocketAddr| leads_to(own, address);
        match &self.listen {
            Listen::Tcp(all) => all.iter().any(leads),
            Listen::Socks(one) => leads(one),
            Listen::Proxy(_) => false,
        }
    }
}

fn leads_to(own: &SocketAddr, address: &SocketAddr) -> bool {
    if own.port() != address.port() {
        return false;
    }
    // Whoever dials no address in particular dials this machine.
    let to = match address.ip().to_canonical() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    match own.ip() {
        // Those of both families reach the one for IPv6.
        IpAddr::V6(v6) if v6.is_unspecified() => is_here(to),
        IpAddr::V4(v4) if v4.is_unspecified() => to.is_ipv4() && is_here(to),
        ip => ip.to_canonical() == to,
    }
}

/// It is an address of this machine: one can be bound to it.
fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Decides. Pure.
///
/// # Errors
/// `gate.invalid`, or `gate.portCollision` with all collisions.
pub(super) fn plan(spec: &GateSpec, env: &Environment) -> Result<Plan, CallError> {
    let mut problems = problems(spec);
    let address: Option<IpAddr> = spec.listen_addr.parse().ok();
    if address.is_none() {
        problems.push(format!("listen_addr: \"{}\" is no address", spec.listen_addr));
    }
    let (Some(address), true) = (address, problems.is_empty()) else {
        return Err(CallError::new(
            Kind::GateInvalid,
            format!("gate '{}': {}", spec.name, problems.join("; ")),
        ));
    };
    let listen = match spec.mode {
        GateMode::Proxy => Listen::Proxy(socket(spec, env)),
        GateMode::Socks => Listen::Socks(SocketAddr::new(address, spec.socks_port)),
        GateMode::Listen => Listen::Tcp(addresses(spec, address)?),
    };
    let entries = spec.entries.iter().enumerate();
    let listeners: Vec<GateListener> = entries
        .map(|(at, entry)| GateListener {
            alias: entry.alias.clone(),
            listen: match &listen {
                Listen::Tcp(all) => all.get(at).map(ToString::to_string).unwrap_or_default(),
                Listen::Socks(address) => address.to_string(),
                Listen::Proxy(path) => path.display().to_string(),
            },
            upstream: format!("{}:{}", entry.hostname, entry.port),
            via: entry.via.clone(),
        })
        .collect();
    let (ssh_config, known_hosts, warnings) = snippet::client(spec, &listen);
    let shown = GatePlan {
        plan_id: bssh_ssh::key_fingerprint(spec.canonical().as_bytes()),
        name: spec.name.clone(),
        listeners,
        ssh_config,
        known_hosts,
        warnings,
    };
    Ok(Plan { spec: spec.clone(), shown, listen })
}

fn problems(spec: &GateSpec) -> Vec<String> {
    let mut problems = Vec::new();
    if spec.name.is_empty() || !spec.name.bytes().all(is_plain) {
        problems.push("name: letters, digits, . _ - only".to_owned());
    }
    if spec.entries.is_empty() {
        problems.push("entries: there is none".to_owned());
    }
    for (at, text) in spec.deny_addrs.iter().enumerate() {
        if Rule::parse(text).is_none() {
            let text = printable(text);
            problems.push(format!(
                "deny_addrs[{at}]: \"{text}\" is neither a network nor one of loopback, link-local, \
                 multicast, unspecified, private"
            ));
        }
    }
    let mut seen = HashSet::new();
    for (at, entry) in spec.entries.iter().enumerate() {
        let named = match entry.alias.is_empty() {
            true => format!("entries[{at}]"),
            false => format!("entry '{}'", printable(&entry.alias)),
        };
        let mut wrong = |field: &str, why: &str| problems.push(format!("{named}: {field}: {why}"));
        if entry.alias.is_empty() || !entry.alias.bytes().all(is_plain) {
            wrong("alias", "letters, digits, . _ - only");
        }
        if !seen.insert(entry.alias.to_lowercase()) {
            wrong("alias", "there is another one of that name");
        }
        // It ends up in an ssh_config, and in other people's scripts.
        if entry.hostname.is_empty()
            || entry.hostname.starts_with('-')
            || !entry.hostname.bytes().all(|b| is_plain(b) || b == b':')
        {
            wrong("hostname", "no host name or address");
        }
        if entry.port == 0 {
            wrong("port", "1 to 65535");
        }
        if entry.connect_timeout_ms == 0 {
            wrong("connect_timeout", "at least 1ms");
        }
        if entry.host_key.as_ref().is_some_and(|key| super::inspect::Pin::parse(key).is_none()) {
            wrong("host_key", "neither SHA256:… nor a known_hosts line");
        }
    }
    problems
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Each entry's address. A URL's port becomes `ssh -p`, which no configuration can undo: so the
/// port is always the upstream's own.
fn addresses(spec: &GateSpec, shared: IpAddr) -> Result<Vec<SocketAddr>, CallError> {
    if spec.address_mode == AddressMode::PerUpstream {
        return Ok(per_upstream(spec));
    }
    let mut by_port: BTreeMap<u16, Vec<&GateEntry>> = BTreeMap::new();
    for entry in &spec.entries {
        by_port.entry(entry.port).or_default().push(entry);
    }
    let mut collisions = Vec::new();
    for (port, entries) in by_port.iter().filter(|(_, entries)| entries.len() > 1) {
        let named: Vec<String> =
            entries.iter().map(|e| format!("'{}' ({}:{port})", e.alias, e.hostname)).collect();
        collisions.push(format!("entries {} need {shared}:{port}", named.join(" and ")));
    }
    if !collisions.is_empty() {
        let text = format!("gate '{}': {}", spec.name, collisions.join("; "));
        let hint = "set address_mode: per-upstream, or mode: proxy";
        return Err(CallError::new(Kind::GatePortCollision, text).hint(hint));
    }
    Ok(spec.entries.iter().map(|entry| SocketAddr::new(shared, entry.port)).collect())
}

/// An address for each hostname, so that `ssh -p` finds the other ports of one: ssh_config cannot
/// tell ports apart. Entries for the same port of it have addresses of their own.
fn per_upstream(spec: &GateSpec) -> Vec<SocketAddr> {
    let mut taken = HashSet::new();
    let mut all: Vec<SocketAddr> = Vec::new();
    for entry in &spec.entries {
        let same = |other: &GateEntry| other.hostname.eq_ignore_ascii_case(&entry.hostname);
        let first = spec.entries.iter().zip(&all).find(|(other, _)| same(other));
        let shared = first.map(|(_, address)| SocketAddr::new(address.ip(), entry.port));
        let free = shared.filter(|address| !all.contains(address));
        all.push(free.unwrap_or_else(|| own(&spec.name, entry, &mut taken)));
    }
    all
}

/// An address of 127.77.0.0/16 that an entry keeps over restarts.
fn own(gate: &str, entry: &GateEntry, taken: &mut HashSet<u16>) -> SocketAddr {
    // FNV-1a: any hash would do that never changes.
    let mut hash = 0x811c_9dc5_u32;
    for byte in gate.bytes().chain([0]).chain(entry.alias.bytes()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let mut low = (hash ^ (hash >> 16)) as u16;
    // Neither network nor broadcast of a /24, for those who have set up such.
    while matches!(low & 0xff, 0 | 0xff) || !taken.insert(low) {
        low = low.wrapping_add(1);
    }
    let [high, low] = low.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 77, high, low)), entry.port)
}

fn socket(spec: &GateSpec, env: &Environment) -> PathBuf {
    let name = format!("gate-{}.sock", spec.name);
    match (&spec.socket, env.var("XDG_RUNTIME_DIR")) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(dir)) => PathBuf::from(dir).join(name),
        (None, None) => env.home.join(".ssh").join(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(entries: &[(&str, &str, u16)]) -> GateSpec {
        let entry = |(alias, hostname, port): &(&str, &str, u16)| GateEntry {
            alias: (*alias).to_owned(),
            hostname: (*hostname).to_owned(),
            port: *port,
            ..GateEntry::default()
        };
        let entries = entries.iter().map(entry).collect();
        GateSpec { name: "g".to_owned(), entries, ..GateSpec::default() }
    }

    fn refused(spec: &GateSpec) -> String {
        plan(spec, &Environment::default()).unwrap_err().message
    }

    #[test]
    fn every_collision_is_reported_with_both_names() {
        let many = spec(&[("a", "x", 22), ("b", "y", 22), ("c", "z", 443), ("d", "w", 443)]);
        let text = refused(&many);
        for part in ["'a' (x:22) and 'b' (y:22)", "'c' (z:443) and 'd' (w:443)", "127.0.0.1:22"] {
            assert!(text.contains(part), "{text}");
        }
        for mode in [GateMode::Proxy, GateMode::Socks] {
            let spec = GateSpec { mode, ..many.clone() };
            assert!(plan(&spec, &Environment::default()).is_ok());
        }
        let own = GateSpec { address_mode: AddressMode::PerUpstream, ..many };
        let plan = plan(&own, &Environment::default()).unwrap();
        let listeners: HashSet<&String> = plan.shown.listeners.iter().map(|l| &l.listen).collect();
        assert_eq!(listeners.len(), 4, "{listeners:?}");
        assert!(listeners.iter().all(|l| l.starts_with("127.77.")));
    }

    /// `ssh -p PORT HOST` takes the first address that ssh_config has for the host.
    #[test]
    fn one_hostname_has_one_address_for_all_its_ports() {
        let many = [("a", "x", 22), ("b", "X", 2222), ("c", "y", 22), ("d", "x", 22)];
        let spec = GateSpec { address_mode: AddressMode::PerUpstream, ..spec(&many) };
        let plan = plan(&spec, &Environment::default()).unwrap();
        let Listen::Tcp(all) = &plan.listen else { panic!("{plan:?}") };
        let [a, b, c, d] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((a.ip(), b.port()), (b.ip(), 2222));
        assert!(c.ip() != a.ip() && d.ip() != a.ip() && d.ip() != c.ip(), "{all:?}");
    }

    /// Any gate: two entries on one port are named together, and nobody else is named.
    #[test]
    fn every_pair_that_collides_is_reported() {
        let mut state = 7_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for round in 0..500 {
            let names: Vec<String> = (0..1 + random(12)).map(|n| format!("e{n}x")).collect();
            let ports: Vec<u16> = names.iter().map(|_| 22 + random(8) as u16).collect();
            let entries: Vec<(&str, &str, u16)> =
                names.iter().zip(&ports).map(|(name, port)| (name.as_str(), "h", *port)).collect();
            let spec = spec(&entries);
            let same = |port: u16| ports.iter().filter(|p| **p == port).count() > 1;
            let planned = plan(&spec, &Environment::default());
            assert_eq!(planned.is_ok(), !ports.iter().any(|p| same(*p)), "{round}: {entries:?}");
            let Err(error) = planned else { continue };
            for (name, _, port) in &entries {
                let told = error.message.contains(&format!("'{name}' (h:{port})"));
                assert_eq!(told, same(*port), "{name}: {}", error.message);
            }
        }
    }

    #[test]
    fn the_same_gate_has_the_same_plan() {
        let spec = GateSpec { address_mode: AddressMode::PerUpstream, ..spec(&[("a", "x", 22)]) };
        let first = plan(&spec, &Environment::default()).unwrap().shown;
        for _ in 0..1000 {
            assert_eq!(plan(&spec, &Environment::default()).unwrap().shown, first);
        }
        let other = GateSpec { max_conns: 7, ..spec };
        assert_ne!(plan(&other, &Environment::default()).unwrap().shown.plan_id, first.plan_id);
    }

    /// A listener on all addresses is reached by every one of this machine.
    #[test]
    fn what_leads_back_to_the_gate() {
        for (own, address, want) in [
            ("127.0.0.1:22", "127.0.0.1:22", true),
            ("127.0.0.1:22", "127.0.0.1:23", false),
            ("127.0.0.1:22", "127.0.0.2:22", false),
            ("127.0.0.1:22", "0.0.0.0:22", true),
            ("127.0.0.1:22", "[::ffff:127.0.0.1]:22", true),
            ("0.0.0.0:22", "127.0.0.1:22", true),
            ("0.0.0.0:22", "127.9.9.9:22", true),
            ("0.0.0.0:22", "0.0.0.0:22", true),
            ("0.0.0.0:22", "203.0.113.7:22", false),
            ("0.0.0.0:22", "127.0.0.1:23", false),
            ("0.0.0.0:22", "[::1]:22", false),
            ("[::]:22", "[::1]:22", true),
            ("[::]:22", "127.0.0.1:22", true),
            ("[::]:22", "[2001:db8::7]:22", false),
        ] {
            let got = leads_to(&own.parse().unwrap(), &address.parse().unwrap());
            assert_eq!(got, want, "{own} {address}");
        }
    }

    #[test]
    fn what_is_wrong_names_its_entry_and_field() {
        for (entries, part) in [
            (&[][..], "entries: there is none"),
            (&[("a", "x", 22), ("A", "y", 23)], "entry 'A': alias"),
            (&[("a", "x;touch /tmp/p", 22)], "entry 'a': hostname"),
            (&[("a", "-oProxyCommand", 22)], "entry 'a': hostname"),
            (&[("a", "x\ny", 22)], "entry 'a': hostname"),
            (&[("a b", "x", 22)], "entry 'a b': alias"),
            (&[("a", "x", 0)], "entry 'a': port"),
        ] {
            let text = refused(&spec(entries));
            assert!(text.contains(part), "{text}");
        }
        // In the words of the configuration.
        let mut bad = spec(&[("a", "x", 22)]);
        bad.deny_addrs = vec!["home".to_owned()];
        bad.listen_addr = "here".to_owned();
        bad.entries[0].host_key = Some("MD5:aa".to_owned());
        bad.entries[0].connect_timeout_ms = 0;
        let text = refused(&bad);
        for key in ["deny_addrs[0]: ", "listen_addr: ", "host_key: ", "connect_timeout: "] {
            assert!(text.contains(key), "{text}");
        }
        let error = plan(&spec(&[("a", "x", 22), ("b", "y", 22)]), &Environment::default());
        let hint = error.unwrap_err().data.unwrap().hint.unwrap();
        assert!(hint.contains("address_mode: per-upstream"), "{hint}");
    }
}
