//! Where groups of nodes come from besides our own YAML: schedulers, files, other tools.
//!
//! Every source gives [`Member`]s: expressions with what the source says about reaching them.
//! Expanding them, and groups within them, is the business of [`crate::Inventory`].

use crate::node::NodeOverrides;

pub(crate) mod ansible;
mod ansible_ini;
mod ansible_yaml;
pub(crate) mod backend_ai;
pub(crate) mod batch;
pub(crate) mod clustershell;
pub(crate) mod host_file;
mod ini;
pub(crate) mod topology;
mod upcall;

/// A file of targets may be this large.
pub(crate) const MAX_FILE: u64 = 64 << 20;

/// Part of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// A node set expression.
    pub(crate) expr: String,
    pub(crate) overrides: NodeOverrides,
    /// For messages: the file and the line, 0 if there is none.
    pub(crate) line: u32,
}

impl Member {
    pub(crate) fn new(expr: impl Into<String>) -> Member {
        Member { expr: expr.into(), ..Member::default() }
    }
}
