//! `gates:` — which SSH hosts a sandbox may reach. What a gate may not be as a whole (two entries
//! on one port, names that are none) is found when it is prepared.

use super::Config;
use super::reader::{Field, Reader};
use super::schema::{put, small};
use crate::error::Error;
use crate::yaml::{Kind, Value};
use std::path::PathBuf;
use std::time::Duration;

/// One gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Where it is, for problems that are found when it is prepared: an error without words yet.
    pub place: Error,
    pub mode: GateMode,
    pub listen_addr: String,
    /// Each entry has a loopback address of its own.
    pub per_upstream: bool,
    pub entries: Vec<GateEntry>,
    pub max_conns: u32,
    /// Zero: never.
    pub idle_timeout: Duration,
    pub banner_check: bool,
    pub deny_private: bool,
    /// Where a name may not lead: words and networks.
    pub deny_addrs: Vec<String>,
    /// A listener that fails is opened again; else the gate ends.
    pub restart: bool,
    pub drain: Duration,
    pub socks_port: u16,
    pub socket: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateMode {
    Listen,
    Proxy,
    Socks,
}

/// One host that may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateEntry {
    pub alias: String,
    pub hostname: String,
    pub port: u16,
    pub host_key: Option<String>,
    pub via: Option<String>,
    pub max_conns: u32,
    pub connect_timeout: Duration,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            place: Error::plain(""),
            mode: GateMode::Listen,
            listen_addr: "127.0.0.1".to_owned(),
            per_upstream: false,
            entries: Vec::new(),
            max_conns: 128,
            idle_timeout: Duration::ZERO,
            banner_check: true,
            deny_private: false,
            deny_addrs: DENY.iter().map(|word| (*word).to_owned()).collect(),
            restart: true,
            drain: Duration::from_secs(5),
            socks_port: 1080,
            socket: None,
        }
    }
}

const GATE: &[Field<Gate>] = &[
    Field { name: "mode", read: |g, v, r| put(&mut g.mode, r.choice(v, MODES)) },
    Field { name: "listen_addr", read: |g, v, r| put(&mut g.listen_addr, r.text(v)) },
    Field {
        name: "address_mode",
        read: |g, v, r| put(&mut g.per_upstream, r.choice(v, ADDRESS_MODES)),
    },
    Field { name: "entries", read: |g, v, r| g.entries = r.list(v, entry) },
    Field { name: "max_conns", read: |g, v, r| put(&mut g.max_conns, small(r, v, 1, 100_000)) },
    Field { name: "idle_timeout", read: |g, v, r| put(&mut g.idle_timeout, r.duration(v)) },
    Field { name: "banner_check", read: |g, v, r| put(&mut g.banner_check, r.flag(v)) },
    Field { name: "deny_private", read: |g, v, r| put(&mut g.deny_private, r.flag(v)) },
    Field { name: "deny_addrs", read: |g, v, r| g.deny_addrs = r.list(v, |r, v| r.text(v)) },
    Field { name: "restart", read: |g, v, r| put(&mut g.restart, r.choice(v, RESTART)) },
    Field { name: "drain", read: |g, v, r| put(&mut g.drain, r.duration(v)) },
    Field { name: "socks_port", read: |g, v, r| put(&mut g.socks_port, port(v, r)) },
    Field { name: "socket", read: |g, v, r| g.socket = r.path(v) },
];

const ENTRY: &[Field<GateEntry>] = &[
    Field { name: "alias", read: |e, v, r| put(&mut e.alias, r.text(v)) },
    Field { name: "hostname", read: |e, v, r| put(&mut e.hostname, r.text(v)) },
    Field { name: "port", read: |e, v, r| put(&mut e.port, port(v, r)) },
    Field { name: "host_key", read: |e, v, r| e.host_key = r.text(v) },
    Field { name: "via", read: |e, v, r| e.via = r.text(v) },
    Field { name: "max_conns", read: |e, v, r| put(&mut e.max_conns, small(r, v, 1, 100_000)) },
    Field { name: "connect_timeout", read: |e, v, r| put(&mut e.connect_timeout, r.duration(v)) },
];

const MODES: &[(&str, GateMode)] =
    &[("listen", GateMode::Listen), ("proxy", GateMode::Proxy), ("socks", GateMode::Socks)];
const RESTART: &[(&str, bool)] = &[("always", true), ("never", false)];
const DENY: &[&str] = &["loopback", "link-local", "multicast", "unspecified"];
const ADDRESS_MODES: &[(&str, bool)] = &[("shared", false), ("per-upstream", true)];

fn port(v: &Value, r: &mut Reader<'_>) -> Option<u16> {
    r.number(v, 1, 65_535).and_then(|n| u16::try_from(n).ok())
}

fn entry(r: &mut Reader<'_>, v: &Value) -> Option<GateEntry> {
    let mut entry = GateEntry {
        alias: String::new(),
        hostname: String::new(),
        port: 22,
        host_key: None,
        via: None,
        max_conns: 32,
        connect_timeout: Duration::from_secs(10),
    };
    r.table(&mut entry, v, ENTRY);
    if entry.hostname.is_empty() {
        r.problem(v, "an entry without \"hostname\"");
        return None;
    }
    if entry.alias.is_empty() {
        entry.alias.clone_from(&entry.hostname);
    }
    Some(entry)
}

/// The value of `gates:`.
pub(super) fn gates(config: &mut Config, v: &Value, r: &mut Reader<'_>) {
    let Some(entries) = v.entries() else { return r.expected("a map of gates", v) };
    for (key, value) in entries {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if key.text.is_empty() || !key.text.chars().all(plain) {
            let message = format!("\"{}\" cannot be a gate's name", key.text.escape_debug());
            r.problem(&Value { line: key.line, column: key.column, kind: Kind::Null }, message);
            continue;
        }
        let mut gate = Gate { place: r.place(key.line, key.column, ""), ..Gate::default() };
        r.table(&mut gate, value, GATE);
        config.gates.insert(key.text.clone(), gate);
    }
}
