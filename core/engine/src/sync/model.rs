//! What a sync knows about a path: the thing there, how each side's file system describes it, and
//! what both sides agreed on last (the base).
//!
//! Pure data. Two things are equal if they have the same type, content, executable bit or link
//! text; owners, times and other modes never make a difference.

use std::collections::BTreeMap;

/// A path below the root, `/` between the names, never empty.
pub(crate) type Rel = Vec<u8>;

/// SHA-256 of a file's content.
pub(crate) type Hash = [u8; 32];

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    Dir,
    File { hash: Hash, exec: bool },
    Link(Vec<u8>),
}

/// How the local file system describes a path; the same description is the same content, unless
/// it is racy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LocalStat {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    pub mode: u32,
}

/// How the node's file server describes a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RemoteStat {
    pub size: u64,
    pub mtime: u32,
    pub mode: u32,
}

/// What both sides had when they were last the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub thing: Thing,
    pub local: LocalStat,
    pub remote: RemoteStat,
    /// Changed so shortly before it was looked at that the same description proves nothing.
    pub racy_local: bool,
    pub racy_remote: bool,
}

/// The base.
pub(crate) type Base = BTreeMap<Rel, Entry>;

/// One side, compared with the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// As in the base.
    Same,
    Dir,
    /// The hash is unknown where it makes no difference.
    File {
        hash: Option<Hash>,
        exec: bool,
    },
    Link(Vec<u8>),
    /// Cannot be read or represented, or is none of the above: nothing at or below it is touched.
    Blocked(&'static str),
}

/// One side: what is not in it is absent.
pub(crate) type Side = BTreeMap<Rel, Seen>;

impl Seen {
    /// The same as this thing, as far as is known.
    pub(crate) fn is(&self, thing: &Thing) -> bool {
        match (self, thing) {
            (Seen::Same, _) | (Seen::Dir, Thing::Dir) => true,
            (Seen::File { hash: Some(a), exec: x }, Thing::File { hash: b, exec: y }) => {
                a == b && x == y
            }
            (Seen::Link(a), Thing::Link(b)) => a == b,
            _ => false,
        }
    }
}

/// Where the directories of a path end: `a/b/c` gives `a` and `a/b`.
pub(crate) fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    ends.filter_map(move |at| path.get(..at))
}
