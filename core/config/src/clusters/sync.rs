//! `sync:` — directory trees that are kept the same here and on a node.

use super::Config;
use super::reader::{Field, Reader};
use super::schema::{put, small};
use crate::yaml::{Kind, Value};
use std::path::PathBuf;
use std::time::Duration;

/// One sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    pub target: String,
    pub pairs: Vec<SyncPair>,
    pub conflict: SyncConflict,
    pub delete: SyncDelete,
    /// What only the node has comes here.
    pub pull_new: bool,
    /// Patterns of what is never changed here.
    pub protect: Vec<String>,
    /// What one run may bring here.
    pub max_bytes: u64,
    /// Files and directories of one side.
    pub max_files: u64,
    pub symlinks: SyncLinks,
    pub unsafe_links: bool,
    pub backup: Duration,
    /// The longest time between two rounds of a watch.
    pub min_interval: Duration,
    /// A node that is silent for so long is lost. Zero: it may be silent for ever.
    pub stall: Duration,
    /// Sessions with this sync send what has changed here before each command.
    pub barrier: bool,
}

/// Two roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncPair {
    pub local: PathBuf,
    pub remote: String,
    pub include: Vec<String>,
    pub ignore: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncConflict {
    KeepBoth,
    RemoteWins,
    LocalWins,
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncDelete {
    Push,
    Both,
    Never,
}

/// What becomes of links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SyncLinks {
    #[default]
    Preserve,
    Follow,
    Skip,
}

impl Default for Sync {
    fn default() -> Sync {
        Sync {
            target: String::new(),
            pairs: Vec::new(),
            conflict: SyncConflict::KeepBoth,
            delete: SyncDelete::Push,
            pull_new: true,
            protect: Vec::new(),
            max_bytes: 2 << 30,
            max_files: 200_000,
            symlinks: SyncLinks::Preserve,
            unsafe_links: false,
            backup: Duration::from_secs(7 * 86_400),
            min_interval: Duration::from_secs(5),
            stall: Duration::from_secs(600),
            barrier: true,
        }
    }
}

const SYNC: &[Field<Sync>] = &[
    Field { name: "target", read: |s, v, r| put(&mut s.target, r.expanded(v)) },
    Field { name: "pairs", read: |s, v, r| s.pairs = r.list(v, pair) },
    Field { name: "conflict", read: |s, v, r| put(&mut s.conflict, r.choice(v, CONFLICT)) },
    Field { name: "delete", read: |s, v, r| put(&mut s.delete, r.choice(v, DELETE)) },
    Field { name: "new_remote", read: |s, v, r| put(&mut s.pull_new, r.choice(v, NEW_REMOTE)) },
    Field { name: "protect", read: |s, v, r| s.protect = r.list(v, |r, v| r.text(v)) },
    Field {
        name: "max_bytes",
        read: |s, v, r| put(&mut s.max_bytes, r.number(v, 1, u64::MAX >> 1)),
    },
    Field { name: "max_files", read: |s, v, r| put(&mut s.max_files, r.number(v, 1, 10_000_000)) },
    Field { name: "symlinks", read: |s, v, r| put(&mut s.symlinks, r.choice(v, SYMLINKS)) },
    Field { name: "unsafe_links", read: |s, v, r| put(&mut s.unsafe_links, r.flag(v)) },
    Field {
        name: "backup_days",
        read: |s, v, r| {
            let days = small(r, v, 1, 36_500);
            put(&mut s.backup, days.map(|n| Duration::from_secs(u64::from(n) * 86_400)));
        },
    },
    Field { name: "min_interval", read: |s, v, r| put(&mut s.min_interval, r.duration(v)) },
    Field { name: "stall", read: |s, v, r| put(&mut s.stall, r.duration(v)) },
    Field { name: "barrier", read: |s, v, r| put(&mut s.barrier, r.flag(v)) },
];

const PAIR: &[Field<SyncPair>] = &[
    Field { name: "local", read: |p, v, r| put(&mut p.local, r.path(v)) },
    Field { name: "remote", read: |p, v, r| put(&mut p.remote, r.text(v)) },
    Field { name: "include", read: |p, v, r| p.include = r.list(v, |r, v| r.text(v)) },
    Field { name: "ignore", read: |p, v, r| p.ignore = r.list(v, |r, v| r.text(v)) },
];

const CONFLICT: &[(&str, SyncConflict)] = &[
    ("keep-both", SyncConflict::KeepBoth),
    ("remote-wins", SyncConflict::RemoteWins),
    ("local-wins", SyncConflict::LocalWins),
    ("fail", SyncConflict::Fail),
];
const DELETE: &[(&str, SyncDelete)] =
    &[("push", SyncDelete::Push), ("both", SyncDelete::Both), ("never", SyncDelete::Never)];
const NEW_REMOTE: &[(&str, bool)] = &[("pull", true), ("ignore", false)];
const SYMLINKS: &[(&str, SyncLinks)] =
    &[("preserve", SyncLinks::Preserve), ("follow", SyncLinks::Follow), ("skip", SyncLinks::Skip)];

fn pair(r: &mut Reader<'_>, v: &Value) -> Option<SyncPair> {
    let mut pair = SyncPair::default();
    r.table(&mut pair, v, PAIR);
    match pair.local.as_os_str().is_empty() || pair.remote.is_empty() {
        true => {
            r.problem(v, "a pair needs \"local\" and \"remote\"");
            None
        }
        false => Some(pair),
    }
}

/// The value of `sync:`.
pub(super) fn syncs(config: &mut Config, v: &Value, r: &mut Reader<'_>) {
    let Some(entries) = v.entries() else { return r.expected("a map of syncs", v) };
    for (key, value) in entries {
        let at = Value { line: key.line, column: key.column, kind: Kind::Null };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if key.text.is_empty() || !key.text.chars().all(plain) {
            r.problem(&at, format!("\"{}\" cannot be a sync's name", key.text.escape_debug()));
            continue;
        }
        let mut sync = Sync::default();
        r.table(&mut sync, value, SYNC);
        if sync.target.is_empty() || sync.pairs.is_empty() {
            r.problem(&at, "a sync needs \"target\" and \"pairs\"");
            continue;
        }
        config.sync.insert(key.text.clone(), sync);
    }
}
