//! The table of configuration keys: each does what its row says, any other is an error.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::reader::{Field, Reader};
use super::{
    Cluster, ClusterNode, Config, Core, Forwarding, Interactive, InteractiveMode, Keepalive, Pool,
};
use crate::node::NodeOverrides;
use crate::nodeset;
use crate::yaml::{Kind, Value};

/// Keys of the file's top level.
pub(super) const TOP: &[Field<Config>] = &[
    Field { name: "clusters", read: clusters },
    Field { name: "default_cluster", read: default_cluster },
    Field { name: "ssh_config", read: |c, v, r| r.table(c, v, SSH_CONFIG) },
    Field { name: "defaults", read: |c, v, r| r.table(c, v, DEFAULTS) },
    Field { name: "forwarding", read: |c, v, r| r.table(&mut c.forwarding, v, FORWARDING) },
    Field { name: "interactive", read: |c, v, r| r.table(&mut c.interactive, v, INTERACTIVE) },
    Field {
        name: "agent",
        read: |c, v, r| r.table(Arc::make_mut(&mut c.agent), v, super::agent::AGENT),
    },
    Field { name: "gates", read: super::gates::gates },
    Field {
        name: "gateways",
        read: |c, v, r| r.table(&mut c.gateways, v, super::gateways::GATEWAYS),
    },
    Field { name: "sync", read: super::sync::syncs },
    Field { name: "sessions", read: super::sessions::sessions },
    Field { name: "core", read: |c, v, r| r.table(&mut c.core, v, CORE) },
];

const SSH_CONFIG: &[Field<Config>] = &[
    Field { name: "connect_timeout", read: |c, v, r| set(&mut c.connect_timeout, r.duration(v)) },
    Field { name: "command_timeout", read: |c, v, r| put(&mut c.command_timeout, r.duration(v)) },
    Field { name: "max_retries", read: |c, v, r| put(&mut c.max_retries, small(r, v, 0, 1000)) },
];

const DEFAULTS: &[Field<Config>] = &[
    Field { name: "fanout", read: |c, v, r| put(&mut c.fanout, size(r, v, 1, MAX_FANOUT)) },
    Field { name: "keepalive", read: keepalive },
    Field { name: "pool", read: |c, v, r| r.table(&mut c.pool, v, POOL) },
    Field { name: "user", read: |c, v, r| node_key(&mut c.node_defaults, "user", v, r) },
    Field { name: "port", read: |c, v, r| node_key(&mut c.node_defaults, "port", v, r) },
    Field { name: "ssh_key", read: |c, v, r| node_key(&mut c.node_defaults, "ssh_key", v, r) },
    Field {
        name: "known_hosts",
        read: |c, v, r| node_key(&mut c.node_defaults, "known_hosts", v, r),
    },
    Field { name: "jump_host", read: |c, v, r| node_key(&mut c.node_defaults, "jump_host", v, r) },
];

const KEEPALIVE: &[Field<Keepalive>] = &[
    Field { name: "interval", read: |k, v, r| put(&mut k.interval, r.duration(v)) },
    Field { name: "count", read: |k, v, r| put(&mut k.count, small(r, v, 1, 1000)) },
];

const POOL: &[Field<Pool>] = &[
    Field { name: "max_connections", read: |p, v, r| put(&mut p.connections, size(r, v, 1, 1000)) },
    Field {
        name: "sessions_per_connection",
        read: |p, v, r| set(&mut p.sessions, size(r, v, 1, 100_000)),
    },
    Field { name: "wait", read: |p, v, r| put(&mut p.wait, r.duration(v)) },
];

const CLUSTER: &[Field<Cluster>] = &[
    Field { name: "nodes", read: |c, v, r| c.nodes = r.list(v, node) },
    Field { name: "user", read: |c, v, r| node_key(&mut c.overrides, "user", v, r) },
    Field { name: "port", read: |c, v, r| node_key(&mut c.overrides, "port", v, r) },
    Field { name: "ssh_key", read: |c, v, r| node_key(&mut c.overrides, "ssh_key", v, r) },
    Field { name: "known_hosts", read: |c, v, r| node_key(&mut c.overrides, "known_hosts", v, r) },
    Field { name: "jump_host", read: |c, v, r| node_key(&mut c.overrides, "jump_host", v, r) },
    Field { name: "interactive", read: |c, v, r| r.table(&mut c.interactive, v, INTERACTIVE) },
];

/// Keys of one node written as a map.
const NODE: &[Field<ClusterNode>] = &[
    Field { name: "host", read: |n, v, r| put(&mut n.name, r.expanded(v)) },
    Field { name: "port", read: |n, v, r| node_key(&mut n.overrides, "port", v, r) },
    Field { name: "user", read: |n, v, r| node_key(&mut n.overrides, "user", v, r) },
    Field { name: "ssh_key", read: |n, v, r| node_key(&mut n.overrides, "ssh_key", v, r) },
    Field { name: "known_hosts", read: |n, v, r| node_key(&mut n.overrides, "known_hosts", v, r) },
    Field { name: "jump_host", read: |n, v, r| node_key(&mut n.overrides, "jump_host", v, r) },
];

const FORWARDING: &[Field<Forwarding>] = &[
    Field { name: "local", read: |f, v, r| f.local = r.list(v, Reader::expanded) },
    Field { name: "remote", read: |f, v, r| f.remote = r.list(v, Reader::expanded) },
    Field { name: "dynamic", read: |f, v, r| f.dynamic = r.list(v, Reader::expanded) },
    Field {
        name: "max_connections",
        read: |f, v, r| put(&mut f.max_connections, small(r, v, 1, 100_000)),
    },
    Field {
        name: "retry_attempts",
        read: |f, v, r| put(&mut f.retry_attempts, small(r, v, 0, 1000).map(Some)),
    },
    Field { name: "buffer_size", read: |f, v, r| put(&mut f.buffer_size, buffer(r, v)) },
];

const INTERACTIVE: &[Field<Interactive>] = &[
    Field { name: "default_mode", read: |i, v, r| set(&mut i.default_mode, r.choice(v, MODES)) },
    Field { name: "prompt_format", read: |i, v, r| set(&mut i.prompt_format, r.text(v)) },
    Field { name: "history_file", read: |i, v, r| set(&mut i.history_file, r.path(v)) },
    Field {
        name: "node_switch_prefix",
        read: |i, v, r| set(&mut i.node_switch_prefix, switch_prefix(v, r)),
    },
    Field { name: "show_timestamps", read: |i, v, r| set(&mut i.show_timestamps, r.flag(v)) },
    Field { name: "colors", read: |i, v, r| i.colors = colors(v, r) },
];

const CORE: &[Field<Core>] =
    &[Field { name: "persist", read: |c, v, r| put(&mut c.persist, persist(v, r)) }];

const MODES: &[(&str, InteractiveMode)] =
    &[("multiplex", InteractiveMode::Multiplex), ("single_node", InteractiveMode::SingleNode)];

const COLORS: &[&str] =
    &["default", "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white", "dim"];

/// What has a colour of its own in the REPL.
const COLORED: &[&str] = &["prompt", "node", "command", "success", "error", "warning"];

/// A thousand times the default; more is a typing error.
pub(super) const MAX_FANOUT: u64 = 65_536;

fn set<T>(to: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *to = value;
    }
}

pub(super) fn put<T>(to: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *to = value;
    }
}

pub(super) fn small(r: &mut Reader<'_>, v: &Value, min: u64, max: u32) -> Option<u32> {
    r.number(v, min, u64::from(max)).map(|n| n as u32)
}

pub(super) fn size(r: &mut Reader<'_>, v: &Value, min: u64, max: u64) -> Option<usize> {
    r.number(v, min, max).map(|n| n as usize)
}

/// 1 KiB to 16 MiB.
pub(super) fn buffer(r: &mut Reader<'_>, v: &Value) -> Option<usize> {
    size(r, v, 1024, 16 << 20)
}

/// A time, or off.
pub(super) fn persist(v: &Value, r: &mut Reader<'_>) -> Option<Option<Duration>> {
    match v.text() {
        Some("off" | "no" | "false") => Some(None),
        _ => r.duration(v).map(|d| Some(d).filter(|d| !d.is_zero())),
    }
}

fn keepalive(config: &mut Config, v: &Value, r: &mut Reader<'_>) {
    let mut keepalive = config.keepalive.unwrap_or_default();
    r.table(&mut keepalive, v, KEEPALIVE);
    config.keepalive = Some(keepalive);
}

fn default_cluster(config: &mut Config, v: &Value, r: &mut Reader<'_>) {
    if let Some(name) = r.text(v) {
        let message = format!("default_cluster \"{name}\" is not among the clusters");
        config.default_missing = Some(r.place(v.line, v.column, message));
        config.default_cluster = Some(name);
    }
}

fn clusters(config: &mut Config, v: &Value, r: &mut Reader<'_>) {
    let Some(entries) = v.entries() else { return r.expected("a map of clusters", v) };
    for (key, value) in entries {
        let odd = |c: char| c.is_whitespace() || c.is_control() || ",!&^:*?[]@".contains(c);
        if key.text.is_empty() || key.text.contains(odd) {
            let message = format!("\"{}\" cannot be a cluster's name", key.text.escape_debug());
            r.problem(&Value { line: key.line, column: key.column, kind: Kind::Null }, message);
            continue;
        }
        let (origin, column) = (r.origin(key.line), key.column);
        let mut cluster = Cluster { origin, column, ..Cluster::default() };
        r.table(&mut cluster, value, CLUSTER);
        config.clusters.insert(key.text.clone(), cluster);
    }
}

/// A node set expression, or a map with `host`.
fn node(r: &mut Reader<'_>, v: &Value) -> Option<ClusterNode> {
    let mut node = ClusterNode { origin: r.origin(v.line), ..ClusterNode::default() };
    match &v.kind {
        Kind::Scalar(_) => node.name = r.expanded(v)?,
        Kind::Map(_) => {
            r.table(&mut node, v, NODE);
            if v.get("host").is_none() {
                r.problem(v, "a node without \"host\"");
            }
            if node.name.is_empty() {
                return None;
            }
        }
        _ => {
            r.expected("a node or a map with \"host\"", v);
            return None;
        }
    }
    // An address without brackets is a name as it is; everything else must be an expression.
    match nodeset::check(&node.name) {
        Ok(()) => Some(node),
        Err(e) => {
            r.problem(v, e.message);
            None
        }
    }
}

/// The keys that say how a node is reached, the same for nodes, clusters and defaults.
fn node_key(o: &mut NodeOverrides, key: &str, v: &Value, r: &mut Reader<'_>) {
    match key {
        "user" => set(&mut o.user, r.expanded(v)),
        "port" => set(&mut o.port, r.number(v, 1, 65_535).map(|n| n as u16)),
        "ssh_key" => set(&mut o.identity, r.path(v)),
        "known_hosts" => set(&mut o.known_hosts, r.path(v)),
        // Empty as in older configurations: no jump host.
        _ if v.text() == Some("") => o.jump_host = Some("none".into()),
        _ => set(&mut o.jump_host, r.expanded(v)),
    }
}

fn colors(v: &Value, r: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut colors = BTreeMap::new();
    let Some(entries) = v.entries() else {
        r.expected("a map of colours", v);
        return colors;
    };
    for (key, value) in entries {
        if !COLORED.contains(&&*key.text) {
            let allowed = COLORED.join(", ");
            let message =
                format!("unknown key \"{}\", allowed: {allowed}", key.text.escape_debug());
            r.problem(&Value { line: key.line, column: key.column, kind: Kind::Null }, message);
            continue;
        }
        let known = |t: &&str| COLORS.contains(t) || is_rgb(t);
        match value.text().filter(known) {
            Some(color) => drop(colors.insert(key.text.clone(), color.to_owned())),
            None => r.expected(&format!("#rrggbb or one of {}", COLORS.join(", ")), value),
        }
    }
    colors
}

/// What begins a line that is for the REPL: signs no command line begins with.
fn switch_prefix(v: &Value, r: &mut Reader<'_>) -> Option<String> {
    let sign = |c: char| c.is_ascii_punctuation() && !":'\"\\$`(){}<>|&;#~/.-_".contains(c);
    let text = v.text().filter(|t| (1..=4).contains(&t.len()) && t.chars().all(sign));
    if text.is_none() {
        r.expected("one to four signs like !, @ or %", v);
    }
    text.map(str::to_owned)
}

fn is_rgb(text: &str) -> bool {
    text.strip_prefix('#')
        .is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
