//! `gateways:` — how commands reach nodes that are behind other nodes.

use super::reader::Field;
use super::schema::put;
use std::path::PathBuf;

/// What a request does not say itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gateways {
    /// A file in the format of ClusterShell's `topology.conf`. `None`: runs go directly.
    pub topology: Option<PathBuf>,
    /// Put our own executable there.
    pub push: bool,
    /// The executable there. `None`: `bssh` of the `PATH`.
    pub program: Option<String>,
}

pub(super) const GATEWAYS: &[Field<Gateways>] = &[
    Field { name: "topology", read: |g, v, r| put(&mut g.topology, r.path(v).map(Some)) },
    Field { name: "push", read: |g, v, r| put(&mut g.push, r.flag(v)) },
    Field { name: "program", read: |g, v, r| put(&mut g.program, r.text(v).map(Some)) },
];
