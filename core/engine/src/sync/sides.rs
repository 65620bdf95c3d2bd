//! Both sides together: which files have to be hashed to know whether they have changed, and what
//! they turn out to be.
//!
//! A file of another size than in the base has changed for certain; its hash is needed only where
//! the other side has changed too and both are of one size.

use super::ends::Ends;
use super::listing::Remote;
use super::model::{Base, Entry, Hash, LocalStat, Rel, Seen, Thing};
use super::remote_hash;
use super::scan::{self, Local};
use crate::transfer::{Fault, LocalDir};
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;

/// Files that are hashed at once here.
const AT_ONCE: usize = 16;

/// Finds out what is not known yet. The result is what the base should know better: files that
/// are the same although they look different.
///
/// # Errors
/// What ends the conversation with the node.
pub(crate) async fn settle(
    ends: &Ends,
    base: &Base,
    local: &mut Local,
    remote: &mut Remote,
) -> Result<Vec<(Rel, Entry)>, Fault> {
    let (here, there) = doubtful(base, local, remote);
    let (hashed, far) = futures_util::future::join(
        hash_local(ends, local, here),
        hash_remote(ends, &there, remote),
    )
    .await;
    for (path, hashed) in hashed? {
        match hashed {
            Ok((hash, stat)) => {
                let exec = stat.mode & 0o100 != 0;
                local.stats.insert(path.clone(), stat);
                local.side.insert(path.clone(), known(base, &path, hash, exec));
            }
            Err(fault) if fault.is_missing() => {
                local.side.remove(&path);
            }
            Err(fault) => {
                local.side.insert(path.clone(), Seen::Blocked(fault.code));
                local.faults.push((path, fault));
            }
        }
    }
    for (path, hash) in far? {
        let exec = remote.stats.get(&path).is_some_and(|stat| stat.mode & 0o100 != 0);
        remote.side.insert(path.clone(), known(base, &path, hash, exec));
    }
    Ok(refreshed(ends, base, local, remote))
}

/// What to hash here, and there.
fn doubtful(base: &Base, local: &Local, remote: &Remote) -> (Vec<Rel>, Vec<Rel>) {
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let is_open = |seen: Option<&Seen>| matches!(seen, Some(Seen::File { hash: None, .. }));
    let size_of = |entry: &Entry| match entry.thing {
        Thing::File { .. } => Some(entry.local.size),
        _ => None,
    };
    let paths =
        local.side.keys().chain(remote.side.keys().filter(|p| !local.side.contains_key(*p)));
    for path in paths {
        let (l, r) = (is_open(local.side.get(path)), is_open(remote.side.get(path)));
        if !l && !r {
            continue;
        }
        let before = base.get(path).and_then(size_of);
        let (ls, rs) = (local.stats.get(path), remote.stats.get(path));
        let (ls, rs) = (ls.map(|s| s.size), rs.map(|s| s.size));
        let both = l && r && ls == rs;
        if l && (both || (before.is_some() && before == ls)) {
            here.push(path.clone());
        }
        if r && (both || (before.is_some() && before == rs)) {
            there.push(path.clone());
        }
    }
    (here, there)
}

fn known(base: &Base, path: &[u8], hash: Hash, exec: bool) -> Seen {
    let thing = Thing::File { hash, exec };
    match base.get(path).is_some_and(|e| e.thing == thing) {
        true => Seen::Same,
        false => Seen::File { hash: Some(hash), exec },
    }
}

type Hashed = Vec<(Rel, Result<(Hash, LocalStat), Fault>)>;

async fn hash_local(ends: &Ends, local: &Local, paths: Vec<Rel>) -> Result<Hashed, Fault> {
    let mut all = Vec::with_capacity(paths.len());
    let mut running = FuturesUnordered::new();
    let mut waiting = paths.into_iter();
    loop {
        while running.len() < AT_ONCE
            && let Some(path) = waiting.next()
        {
            running.push(async move {
                let (asked, really) = (path.clone(), local.really(&path));
                let hash = move |here: &LocalDir| Ok(scan::hash(here, &asked, really.as_deref()));
                let hashed = ends.on_disk(hash).await;
                hashed.map(|hashed| (path, hashed))
            });
        }
        match running.next().await {
            Some(hashed) => all.push(hashed?),
            None => return Ok(all),
        }
    }
}

async fn hash_remote(
    ends: &Ends,
    paths: &[Rel],
    remote: &Remote,
) -> Result<BTreeMap<Rel, Hash>, Fault> {
    let connection = &ends.lease.connection;
    let mut found = match paths.is_empty() {
        true => BTreeMap::new(),
        false => remote_hash::hashes(connection, &ends.there, paths).await,
    };
    for path in paths {
        if found.contains_key(path) {
            continue;
        }
        let size = remote.stats.get(path).map_or(0, |stat| stat.size);
        match fetch_hash(ends, path, size).await {
            Ok(hash) => drop(found.insert(path.clone(), hash)),
            Err(fault) if fault.fatal => return Err(fault),
            // Unknown counts as changed, and what is wrong shows when it is fetched.
            Err(_) => {}
        }
    }
    Ok(found)
}

/// Reads a file of the node for its hash alone.
pub(crate) async fn fetch_hash(ends: &Ends, path: &[u8], size: u64) -> Result<Hash, Fault> {
    use bssh_ssh::sftp::{Attrs, flags};
    let file = ends.sftp.open_file(&ends.far(path), flags::READ, &Attrs::default()).await?;
    let mut hash = Context::new(&SHA256);
    let (mut running, mut at) = (FuturesOrdered::new(), 0);
    let block = u64::from(ends.sftp.limits().read);
    loop {
        while running.len() < super::ends::DEPTH && at < size {
            let length = u32::try_from(block.min(size - at)).unwrap_or(0);
            running.push_back(super::get::read_block(ends, &file, (at, length)));
            at += u64::from(length);
        }
        match running.next().await {
            Some(read) => read?.0.iter().for_each(|piece| hash.update(piece)),
            None => return Ok(scan::finished(hash)),
        }
    }
}

/// Entries whose descriptions are old, or may be trusted from now on.
fn refreshed(ends: &Ends, base: &Base, local: &Local, remote: &Remote) -> Vec<(Rel, Entry)> {
    let now = scan::now_ns();
    let same = |seen: Option<&Seen>| seen == Some(&Seen::Same);
    let mut fresh = Vec::new();
    for (path, entry) in base {
        if !same(local.side.get(path)) || !same(remote.side.get(path)) {
            continue;
        }
        let (Some(l), Some(r)) = (local.stats.get(path), remote.stats.get(path)) else { continue };
        if entry.thing == Thing::Dir {
            continue;
        }
        let better = Entry {
            thing: entry.thing.clone(),
            local: *l,
            remote: *r,
            racy_local: scan::is_racy(l, now),
            racy_remote: ends.is_racy(r.mtime),
        };
        if better != *entry {
            fresh.push((path.clone(), better));
        }
    }
    fresh
}
