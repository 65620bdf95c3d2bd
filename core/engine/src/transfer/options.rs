//! What a transfer was asked to do, checked once.

use super::pattern::Skip;
use super::tree::{Reading, join};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::task::Overwrite;
use bssh_protocol::transfer::{Symlinks, TransferDirection, TransferParams};
use std::time::Duration;

/// Longest time without a byte or a file that is not called a standstill.
const STALL: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct Options {
    pub direction: TransferDirection,
    from: Vec<Vec<u8>>,
    to: Vec<u8>,
    pub recursive: bool,
    pub preserve: bool,
    pub resume: bool,
    pub verify: bool,
    pub delete: bool,
    pub dry_run: bool,
    pub fsync: bool,
    pub skip: Skip,
    pub symlinks: Symlinks,
    pub stall: Option<Duration>,
    literal: bool,
    /// Files that are there are gone on with, under their own name.
    pub append: bool,
    /// The frontend is told of each file.
    pub tell: bool,
    /// Bytes a second, for each node.
    pub limit: Option<u64>,
    pub requests: Option<usize>,
    pub block: Option<u32>,
    pub umask: Option<u32>,
    pub overwrite: Overwrite,
    /// `to` is the copy's own name, also where a directory is there.
    pub exact: bool,
    /// Each node has a directory of its own below `to`, made if it is not there.
    pub into_dir: bool,
}

/// What stands for the node's name.
const NODE: &[u8] = b"{node}";

impl Options {
    /// # Errors
    /// `json.invalidParams`.
    pub(crate) fn new(params: TransferParams, n_nodes: usize) -> Result<Options, CallError> {
        let bad = |at: &str, text: &str| {
            CallError::new(Kind::InvalidParams, format!("params.{at}: {text}"))
                .at(format!("params.{at}"))
        };
        let from: Vec<Vec<u8>> = params.from.into_iter().map(|p| p.0).collect();
        if from.is_empty() {
            return Err(bad("from", "expected at least one path"));
        }
        let nul = |p: &Vec<u8>| p.contains(&0);
        if from.iter().any(|p| p.is_empty() || nul(p)) {
            return Err(bad("from", "expected paths without NUL"));
        }
        let mut to = params.to.0;
        if nul(&to) || (to.is_empty() && params.direction == TransferDirection::Download) {
            return Err(bad("to", "expected a path"));
        }
        if params.delete && !params.recursive {
            return Err(bad("delete", "only with `recursive`"));
        }
        if params.append && (params.resume || params.verify) {
            return Err(bad("append", "not with `resume` or `verify`"));
        }
        if params.limit == Some(0) || params.requests == Some(0) || params.block == Some(0) {
            return Err(bad("limit", "expected more than nothing"));
        }
        let named = !params.literal && has_node(&to);
        let into_dir = params.direction == TransferDirection::Download && n_nodes > 1 && !named;
        if into_dir {
            to = join(&to, NODE);
        }
        Ok(Options {
            direction: params.direction,
            from,
            to,
            recursive: params.recursive,
            preserve: params.preserve,
            resume: params.resume,
            verify: params.verify,
            delete: params.delete,
            dry_run: params.dry_run,
            fsync: params.fsync,
            skip: Skip(params.skip.into_iter().map(|p| p.0).collect()),
            symlinks: params.symlinks,
            stall: match params.stall_ms {
                None => Some(STALL),
                Some(0) => None,
                Some(ms) => Some(Duration::from_millis(ms)),
            },
            literal: params.literal && !into_dir,
            append: params.append,
            tell: params.tell,
            limit: params.limit,
            requests: params.requests.map(|n| n as usize),
            block: params.block,
            umask: params.umask,
            overwrite: Overwrite::Replace,
            exact: false,
            into_dir,
        })
    }

    /// The sources are the same for every node.
    pub(crate) fn is_shared(&self) -> bool {
        self.literal || !self.from.iter().any(|path| has_node(path))
    }

    /// One node can pass on what it gets; what it does then is not told file by file.
    pub(crate) fn can_relay(&self) -> bool {
        self.direction == TransferDirection::Upload && self.is_shared() && !self.tell
    }

    /// A source may be a pattern.
    pub(crate) fn expands(&self) -> bool {
        !self.literal
    }

    /// How the sources of an upload are read.
    pub(crate) fn reading(&self) -> Reading<'_> {
        Reading {
            recursive: self.recursive,
            symlinks: self.symlinks,
            skip: &self.skip,
            expands: self.expands(),
            exact_modes: self.preserve,
        }
    }

    pub(crate) fn sources_for(&self, node: &str) -> Vec<Vec<u8>> {
        match self.literal {
            true => self.from.clone(),
            false => self.from.iter().map(|path| for_node(path, node)).collect(),
        }
    }

    pub(crate) fn to_for(&self, node: &str) -> Vec<u8> {
        match self.literal {
            true => self.to.clone(),
            false => for_node(&self.to, node),
        }
    }
}

fn has_node(path: &[u8]) -> bool {
    path.windows(NODE.len()).any(|part| part == NODE)
}

fn for_node(path: &[u8], node: &str) -> Vec<u8> {
    let name = match node.replace(['/', '\0'], "_") {
        dots if dots == "." || dots == ".." => "_".to_owned(),
        name => name,
    };
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(NODE) {
            Some(after) => {
                out.extend_from_slice(name.as_bytes());
                rest = after;
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes_stay_one_name() {
        for (path, node, want) in [
            ("logs/{node}.txt", "web1", "logs/web1.txt"),
            ("{node}{node}", "a", "aa"),
            ("{nod}", "a", "{nod}"),
            ("x/{node}", "..", "x/_"),
            ("x/{node}", "a/../b", "x/a_.._b"),
        ] {
            assert_eq!(for_node(path.as_bytes(), node), want.as_bytes());
        }
    }

    #[test]
    fn several_nodes_get_directories_of_their_own() {
        let params = |to: &str| TransferParams {
            direction: TransferDirection::Download,
            from: vec![b"f"[..].into()],
            to: to.as_bytes().into(),
            ..TransferParams::default()
        };
        for (to, n, want) in [("d", 1, "d"), ("d", 2, "d/n"), ("d/", 2, "d/n"), ("{node}", 2, "n")]
        {
            let options = Options::new(params(to), n).unwrap();
            assert_eq!(options.to_for("n"), want.as_bytes(), "{to} {n}");
        }
        let wrong = TransferParams { delete: true, ..params("d") };
        assert!(Options::new(wrong, 1).is_err() && Options::new(params(""), 1).is_err());
    }
}
