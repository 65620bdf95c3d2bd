//! Sets of a run's nodes to folded names, by the core.

use crate::output::Nodes;
use bssh_client::Core;
use bssh_protocol::methods::GroupFold;
use bssh_protocol::node::FoldParams;
use std::collections::HashMap;

/// Remembers what was folded before: live gathering asks for the same sets for every line.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    known: HashMap<Vec<usize>, String>,
}

/// Sets remembered; beyond that all are forgotten.
const KNOWN: usize = 256;

impl Folder {
    /// One expression per set, in order. Without a core the names are joined by commas.
    pub(crate) async fn fold(
        &mut self,
        sets: &[Vec<usize>],
        nodes: &Nodes,
        core: &Core,
    ) -> Vec<String> {
        let names =
            |set: &[usize]| set.iter().map(|n| nodes.name(*n).to_owned()).collect::<Vec<_>>();
        let mut unknown: Vec<&Vec<usize>> =
            sets.iter().filter(|s| s.len() > 1 && !self.known.contains_key(*s)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        if self.known.len() + unknown.len() > KNOWN {
            self.known.clear();
            unknown = sets.iter().filter(|s| s.len() > 1).collect();
        }
        if !unknown.is_empty() {
            let params = FoldParams { sets: unknown.iter().map(|s| names(s)).collect() };
            let folded = core.call::<GroupFold>(&params).await.map(|f| f.exprs).unwrap_or_default();
            self.known.extend(unknown.into_iter().cloned().zip(folded));
        }
        let fold = |set: &Vec<usize>| match self.known.get(set) {
            Some(expr) => expr.clone(),
            None => names(set).join(","),
        };
        sets.iter().map(fold).collect()
    }
}
