//! What a sync was asked to do, checked once: the pairs of roots and their rules, from the
//! configuration or from the request.

use super::filter::Filter;
use super::reconcile::{Deletions, Policy, Rules};
use crate::plan::{Planner, Route};
use crate::transfer::Skip;
use bssh_config::Environment;
use bssh_config::clusters::sync::{Sync, SyncConflict, SyncDelete};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::Targets;
use bssh_protocol::sync::{SyncDelete as WantedDelete, SyncPolicy, SyncWhat};
use ring::digest::{SHA256, digest};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Everything that is decided before dialing.
pub(crate) struct Options {
    pub node: String,
    pub route: Arc<Route>,
    pub pairs: Vec<Pair>,
    pub rules: Rules,
    pub most_bytes: u64,
    pub most_files: usize,
    pub protect: Skip,
    pub backup: Duration,
    pub interval: Duration,
    /// How long the node may be silent.
    pub stall: Option<Duration>,
    /// It is pushed before each command of a session that names it.
    pub barrier: bool,
    pub warnings: Vec<String>,
    /// Where syncs keep what they remember.
    pub state: PathBuf,
}

/// Two roots.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub local: PathBuf,
    /// As it was written: `~` and relative paths are the node's home.
    pub remote: Vec<u8>,
    /// Its directory below the state, and part of the names of its temporary files.
    pub key: String,
    pub filter: Filter,
}

impl Options {
    /// # Errors
    /// `json.invalidParams`, `config.invalid`, `targets.invalid`.
    pub(crate) async fn new(env: &Environment, what: &SyncWhat) -> Result<Options, CallError> {
        let planner =
            Planner::new(env, &what.targets.settings, what.targets.destination.is_none())?;
        let (mut sync, targets) = match &what.id {
            Some(id) => configured(&planner, what, id)?,
            None => (Sync::default(), what.targets.clone()),
        };
        let mut nodes = planner.nodes(&targets).await?;
        let (Some(node), 0) = (nodes.pop(), nodes.len()) else {
            return Err(bad("nodes", "a sync is with one node"));
        };
        let route = node.route.map_err(|f| CallError::new(Kind::ConfigInvalid, f.message))?;
        if what.id.is_none() {
            sync.pairs.push(unconfigured(what)?);
        }
        let policy = match (what.conflict, sync.conflict) {
            (Some(SyncPolicy::KeepBoth), _) | (None, SyncConflict::KeepBoth) => Policy::KeepBoth,
            (Some(SyncPolicy::RemoteWins), _) | (None, SyncConflict::RemoteWins) => {
                Policy::RemoteWins
            }
            (Some(SyncPolicy::LocalWins), _) | (None, SyncConflict::LocalWins) => Policy::LocalWins,
            (Some(SyncPolicy::Fail), _) | (None, SyncConflict::Fail) => Policy::Fail,
        };
        let deletions = match (what.delete, sync.delete) {
            (Some(WantedDelete::Push), _) | (None, SyncDelete::Push) => Deletions::Push,
            (Some(WantedDelete::Both), _) | (None, SyncDelete::Both) => Deletions::Both,
            (Some(WantedDelete::Never), _) | (None, SyncDelete::Never) => Deletions::Never,
        };
        let (user, at) = (&route.plan.user, &route.plan.address);
        let about = format!("{user}@{}:{}", at.host, at.port);
        Ok(Options {
            node: node.name,
            pairs: pairs(env, &sync, what, &about)?,
            route,
            rules: Rules { policy, deletions, pull_new: sync.pull_new },
            most_bytes: sync.max_bytes,
            most_files: usize::try_from(sync.max_files).unwrap_or(usize::MAX),
            protect: Skip(sync.protect.into_iter().map(String::into_bytes).collect()),
            backup: sync.backup,
            interval: sync.min_interval,
            stall: Some(sync.stall).filter(|limit| !limit.is_zero()),
            barrier: sync.barrier,
            warnings: planner.warnings(),
            state: env.state().join("sync"),
        })
    }
}

fn bad(at: &str, text: &str) -> CallError {
    CallError::new(Kind::InvalidParams, format!("params.{at}: {text}")).at(format!("params.{at}"))
}

fn configured(planner: &Planner, what: &SyncWhat, id: &str) -> Result<(Sync, Targets), CallError> {
    if what.local.is_some() || what.remote.is_some() || !what.targets.nodes.is_empty() {
        return Err(bad("id", "a configured sync has its own node and directories"));
    }
    let known = planner.inventory().map(|i| &i.config().sync);
    let sync = known.and_then(|known| known.get(id)).cloned().ok_or_else(|| {
        let names: Vec<&str> = known.into_iter().flatten().map(|(n, _)| n.as_str()).collect();
        let known = match names.as_slice() {
            [] => "the configuration has none (sync:)".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let text = format!("no sync is called \"{id}\"; {known}");
        let hint = "without a configuration: bssh sync run DIR HOST:DIR";
        CallError::new(Kind::ConfigInvalid, text).at("params.id").hint(hint)
    })?;
    let targets = Targets { nodes: sync.target.clone(), ..what.targets.clone() };
    Ok((sync, targets))
}

fn unconfigured(what: &SyncWhat) -> Result<bssh_config::clusters::sync::SyncPair, CallError> {
    let (Some(local), Some(remote)) = (&what.local, &what.remote) else {
        return Err(bad("id", "expected `id`, or `local` and `remote`"));
    };
    let remote = String::from_utf8(remote.0.clone());
    Ok(bssh_config::clusters::sync::SyncPair {
        local: PathBuf::from(OsStr::from_bytes(&local.0)),
        remote: remote.map_err(|_| bad("remote", "expected a path in UTF-8"))?,
        ..Default::default()
    })
}

fn pairs(
    env: &Environment,
    sync: &Sync,
    what: &SyncWhat,
    about: &str,
) -> Result<Vec<Pair>, CallError> {
    let local = |path: &Path| std::path::absolute(env.cwd.join(path)).unwrap_or(path.to_path_buf());
    let roots: Vec<(PathBuf, Vec<u8>)> = sync
        .pairs
        .iter()
        .map(|pair| (local(&pair.local), trimmed(pair.remote.as_bytes())))
        .collect();
    let twice = |at: usize, root: &PathBuf| roots.iter().take(at).any(|(other, _)| other == root);
    if roots.iter().enumerate().any(|(at, (root, _))| twice(at, root)) {
        return Err(bad("id", "two of its pairs have one local directory"));
    }
    let mut pairs = Vec::new();
    for (pair, (local, remote)) in sync.pairs.iter().zip(&roots) {
        let text = local.as_os_str().as_bytes();
        if text.contains(&0) || remote.contains(&0) || remote.is_empty() || text == b"/" {
            return Err(bad("local", "expected two directories, and not the whole disk"));
        }
        let key = key(about, remote, text);
        let mut ignore: Vec<Vec<u8>> = pair.ignore.iter().map(|p| p.clone().into_bytes()).collect();
        ignore.extend(what.skip.iter().map(|p| p.0.clone()));
        let mut nested = Vec::new();
        for (other_local, other_remote) in &roots {
            let here = other_local.strip_prefix(local).ok().filter(|p| !p.as_os_str().is_empty());
            nested.extend(here.map(|path| path.as_os_str().to_owned().into_vec()));
            let there = other_remote.strip_prefix(remote.as_slice());
            let there = there.and_then(|path| path.strip_prefix(b"/"));
            nested.extend(there.map(<[u8]>::to_vec));
        }
        pairs.push(Pair {
            filter: Filter {
                include: Skip(pair.include.iter().map(|p| p.clone().into_bytes()).collect()),
                ignore: Skip(ignore),
                nested,
                unsafe_links: sync.unsafe_links,
                links: sync.symlinks,
                temp: format!(".bssh-{key}-").into_bytes(),
            },
            local: local.clone(),
            remote: remote.clone(),
            key,
        });
    }
    Ok(pairs)
}

/// Without slashes at the end.
fn trimmed(path: &[u8]) -> Vec<u8> {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    path.get(..end).unwrap_or_default().to_vec()
}

fn key(about: &str, remote: &[u8], local: &[u8]) -> String {
    let all = [about.as_bytes(), b"\0", remote, b"\0", local].concat();
    let mut hex = String::new();
    for byte in digest(&SHA256, &all).as_ref().iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
