//! The node's side: a walk over its file server, which sends a directory's names with their
//! descriptions, many directories at once; or a look at a few paths only.
//!
//! Nothing is installed or run there. What the node says is not believed: a name that leads
//! elsewhere, or comes twice, ends the sync, and its number of names is bounded.

use super::ends::{Ends, NAMES};
use super::filter::{Filter, Part};
use super::model::{Base, Entry, Rel, RemoteStat, Seen, Side, Thing, parents};
use crate::transfer::{DEEPEST, Fault, join, remote};
use bssh_config::clusters::sync::SyncLinks;
use bssh_ssh::sftp::{Attrs, FileKind};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};

/// Directories that are listed at once.
const DIRS: usize = 32;

/// The node's side as it was found.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    pub side: Side,
    pub stats: BTreeMap<Rel, RemoteStat>,
    /// What cannot be read, and why.
    pub faults: Vec<(Rel, Fault)>,
    /// Temporary files of an earlier run.
    pub stale: Vec<Rel>,
    /// Links whose text is not known yet.
    links: Vec<Rel>,
}

/// Everything below the root.
///
/// # Errors
/// `syncTooLarge`; what ends the conversation with the node.
pub(crate) async fn list(ends: &Ends, base: &Base) -> Result<Remote, Fault> {
    let mut remote = Remote::default();
    let mut waiting: Vec<(Rel, usize)> = vec![(Rel::new(), 0)];
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < DIRS
            && let Some((dir, depth)) = waiting.pop()
        {
            running.push(async move {
                let path = ends.far(&dir);
                let names = remote::list(&ends.sftp, &path).await;
                (dir, depth, names)
            });
        }
        let Some((dir, depth, names)) = running.next().await else { break };
        match names {
            Ok(_) if depth > DEEPEST => {
                remote.block(dir, Fault::new("loop", "directories are too deep"));
            }
            Ok(names) => {
                let inner = names
                    .iter()
                    .filter_map(|n| remote.take(ends, base, join(&dir, &n.name), &n.attrs));
                waiting.extend(inner.map(|dir| (dir, depth + 1)));
            }
            Err(fault) if fault.fatal || dir.is_empty() => return Err(fault),
            // Gone in the meantime.
            Err(fault) if fault.is_missing() => drop(remote.side.remove(&dir)),
            Err(fault) => remote.block(dir, fault),
        }
        if remote.side.len() > ends.most_files {
            let text = format!("more than {} files and directories on the node", ends.most_files);
            return Err(Fault::fatal("syncTooLarge", text));
        }
    }
    remote.read_links(ends, base).await?;
    Ok(remote)
}

/// Only these paths, with all that they are in; all others stay as they were taken to be.
///
/// # Errors
/// What ends the conversation with the node.
pub(crate) async fn look(
    ends: &Ends,
    base: &Base,
    paths: &BTreeSet<Rel>,
    remote: &mut Remote,
) -> Result<(), Fault> {
    for path in paths {
        remote.side.remove(path);
        remote.stats.remove(path);
    }
    // Directories first, so that nothing is asked about what is in one that is not there.
    let mut waiting: Vec<&Rel> = paths.iter().collect();
    waiting.sort_by_key(|path| parents(path).count());
    let mut waiting = waiting.into_iter();
    let mut no_dirs: BTreeSet<Rel> = BTreeSet::new();
    let is_in = |no_dirs: &BTreeSet<Rel>, path: &Rel| parents(path).any(|d| no_dirs.contains(d));
    loop {
        let some = waiting.by_ref().filter(|path| !is_in(&no_dirs, path)).take(NAMES);
        let some: Vec<&Rel> = some.collect();
        if some.is_empty() {
            break;
        }
        let asked = some.iter().map(|path| async move {
            let far = ends.far(path);
            (*path, remote::lstat(&ends.sftp, &far).await)
        });
        for (path, attrs) in futures_util::future::join_all(asked).await {
            if is_in(&no_dirs, path) {
                continue;
            }
            if !matches!(&attrs, Ok(Some(attrs)) if attrs.kind() == FileKind::Dir) {
                no_dirs.insert(path.clone());
            }
            match attrs {
                Ok(None) => {}
                Ok(Some(attrs)) => drop(remote.take(ends, base, path.clone(), &attrs)),
                Err(fault) if fault.fatal => return Err(fault),
                Err(fault) => remote.block(path.clone(), fault),
            }
        }
    }
    // What was in a directory that is none any more is gone, or reached through a link only.
    remote.side.retain(|path, _| !is_in(&no_dirs, path));
    remote.read_links(ends, base).await
}

impl Remote {
    /// As it is in the base, but for what is left out by now: that takes no part on either side.
    pub(crate) fn as_known(base: &Base, local: &Side, filter: &Filter) -> Remote {
        let takes_part = |path: &Rel, entry: &Entry| {
            local.contains_key(path) || filter.takes(path, entry.thing == Thing::Dir)
        };
        let known = base.iter().filter(|(path, entry)| takes_part(path, entry));
        Remote {
            side: known.clone().map(|(path, _)| (path.clone(), Seen::Same)).collect(),
            stats: known.map(|(path, entry)| (path.clone(), entry.remote)).collect(),
            ..Remote::default()
        }
    }

    /// Something that is there; a directory that a walk has to list in its turn.
    fn take(&mut self, ends: &Ends, base: &Base, path: Rel, attrs: &Attrs) -> Option<Rel> {
        match ends.filter.part(&path, attrs.kind() == FileKind::Dir) {
            Part::Takes => self.one(ends, base, path, attrs),
            Part::LeftOut => None,
            Part::Stale => {
                self.stale.push(path);
                None
            }
        }
    }

    fn one(&mut self, ends: &Ends, base: &Base, path: Rel, attrs: &Attrs) -> Option<Rel> {
        let stat = described(attrs);
        let known = base.get(&path);
        let unchanged = known.is_some_and(|e| e.remote == stat && !e.racy_remote);
        let same = |thing: fn(&Thing) -> bool| known.is_some_and(|e: &Entry| thing(&e.thing));
        let seen = match attrs.kind() {
            FileKind::Dir if same(|t| *t == Thing::Dir) => Seen::Same,
            FileKind::Dir => Seen::Dir,
            FileKind::File if unchanged && same(|t| matches!(t, Thing::File { .. })) => Seen::Same,
            FileKind::File => Seen::File { hash: None, exec: stat.mode & 0o100 != 0 },
            FileKind::Link if ends.filter.links == SyncLinks::Skip => return None,
            FileKind::Link => {
                self.stats.insert(path.clone(), stat);
                self.links.push(path);
                return None;
            }
            FileKind::Special | FileKind::Unknown => Seen::Blocked("special"),
        };
        let is_dir = matches!(attrs.kind(), FileKind::Dir);
        self.stats.insert(path.clone(), stat);
        self.side.insert(path.clone(), seen);
        is_dir.then_some(path)
    }

    async fn read_links(&mut self, ends: &Ends, base: &Base) -> Result<(), Fault> {
        for some in std::mem::take(&mut self.links).chunks(NAMES) {
            let reading = some.iter().map(|path| {
                let far = ends.far(path);
                async move { (path, ends.sftp.read_link(&far).await.map_err(Fault::from)) }
            });
            for (path, text) in futures_util::future::join_all(reading).await {
                let text = match text {
                    Ok(text) => text.to_vec(),
                    Err(fault) if fault.fatal => return Err(fault),
                    Err(fault) if fault.is_missing() => continue,
                    Err(fault) => {
                        self.block(path.clone(), fault);
                        continue;
                    }
                };
                let same = base.get(path).is_some_and(|e| e.thing == Thing::Link(text.clone()));
                let seen = match ends.filter.link(path, &text) {
                    // Sent as a link once, it may be replaced.
                    Err("link") if same => Seen::Same,
                    Err(why) => Seen::Blocked(why),
                    Ok(_) if same => Seen::Same,
                    Ok(_) => Seen::Link(text),
                };
                self.side.insert(path.clone(), seen);
            }
        }
        Ok(())
    }

    fn block(&mut self, path: Rel, fault: Fault) {
        self.side.insert(path.clone(), Seen::Blocked(fault.code));
        self.faults.push((path, fault));
    }
}

/// A file's description.
pub(crate) fn described(attrs: &Attrs) -> RemoteStat {
    RemoteStat {
        size: attrs.size.unwrap_or(0),
        mtime: attrs.times.map_or(0, |(_, change)| change),
        mode: attrs.mode.unwrap_or(0) & 0o7777,
    }
}
