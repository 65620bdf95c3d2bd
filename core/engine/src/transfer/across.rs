//! The sources of an upload that lie on another node: what is there, read level by level.
//!
//! The same tree that [`super::tree`] makes of local sources; their bytes then pass through here
//! block by block ([`super::origin`]) and are never kept.

use super::fault::Fault;
use super::pattern::Skip;
use super::remote;
use super::tree::{DEEPEST, Item, Reading, Root, Tree, What, join, last_name};
use bssh_protocol::transfer::Symlinks;
use bssh_ssh::sftp::{Attrs, Entry, FileKind, Sftp};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Directories that are listed at once.
const AT_ONCE: usize = 32;
/// Names that one tree may hold: a node that never stops must not fill our memory.
const MOST: usize = 5_000_000;

/// A directory that is to be listed.
struct Open {
    root: usize,
    inner: Vec<u8>,
    path: Vec<u8>,
    depth: usize,
    /// Where links on the way led from and to.
    above: Arc<Vec<Bytes>>,
}

/// A name of a directory, with what it is if it is a link that is followed.
type Found = (Entry, Result<Attrs, Fault>);

/// Reads everything.
pub(crate) async fn tree(
    sftp: &Sftp,
    sources: &[Vec<u8>],
    reading: &Reading<'_>,
) -> Result<Tree, Fault> {
    let mut tree = Tree::default();
    let mut open = Vec::new();
    for source in sources {
        let paths = match reading.expands {
            true => remote::expand(sftp, source).await,
            false => Ok(vec![source.clone()]),
        };
        match paths {
            Err(fault) => note(&mut tree, source, fault)?,
            Ok(paths) => {
                for path in paths {
                    let found = remote::stat(sftp, &path).await;
                    if let Err(fault) = root(&mut tree, &mut open, (path.clone(), found), reading) {
                        note(&mut tree, &path, fault)?;
                    }
                }
            }
        }
    }
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < AT_ONCE {
            let Some(dir) = open.pop() else { break };
            running.push(list(sftp, dir, reading.symlinks));
        }
        let Some((dir, entries)) = running.next().await else { return Ok(tree) };
        match entries {
            Err(fault) => note(&mut tree, &dir.path, fault)?,
            Ok(entries) => {
                for found in entries {
                    if let Some(inside) = entry(&mut tree, &dir, found, reading)? {
                        open.push(inside);
                    }
                }
            }
        }
        if tree.items.len() > MOST {
            return Err(Fault::fatal("tooManyFiles", "the source's directories do not end"));
        }
    }
}

/// A fault of one source is written down; one of its node ends it all.
fn note(tree: &mut Tree, path: &[u8], fault: Fault) -> Result<(), Fault> {
    if fault.fatal {
        return Err(fault);
    }
    tree.faults.push((path.to_vec(), fault));
    Ok(())
}

fn root(
    tree: &mut Tree,
    open: &mut Vec<Open>,
    (path, found): (Vec<u8>, Result<Option<Attrs>, Fault>),
    reading: &Reading<'_>,
) -> Result<(), Fault> {
    let attrs = found?.ok_or_else(|| Fault::new("notFound", "no such file or directory"))?;
    let is_dir = attrs.kind() == FileKind::Dir;
    if is_dir && !reading.recursive {
        return Err(Fault::new("isDirectory", "is a directory; -r takes it with its contents"));
    }
    if attrs.kind() == FileKind::Special {
        return Err(Fault::special());
    }
    let root = tree.roots.len();
    tree.roots.push(Root { name: last_name(&path), is_dir });
    add(tree, (root, Vec::new(), path.clone()), &attrs, reading);
    if is_dir {
        open.push(Open { root, inner: Vec::new(), path, depth: 0, above: Arc::default() });
    }
    Ok(())
}

/// What one name of a directory means: an item, or nothing; and a directory to list.
fn entry(
    tree: &mut Tree,
    dir: &Open,
    (entry, followed): Found,
    reading: &Reading<'_>,
) -> Result<Option<Open>, Fault> {
    let (path, inner) = (join(&dir.path, &entry.name), join(&dir.inner, &entry.name));
    let is_link = entry.attrs.kind() == FileKind::Link;
    if is_link && reading.symlinks == Symlinks::Skip {
        tree.skipped += 1;
        tree.left_out.push((dir.root, inner));
        return Ok(None);
    }
    let attrs = match followed {
        Ok(attrs) => attrs,
        Err(fault) => return note(tree, &path, fault).map(|()| None),
    };
    let kind = attrs.kind();
    if skipped(reading.skip, &inner, kind) {
        return Ok(None);
    }
    if kind == FileKind::Special {
        tree.skipped += 1;
        tree.special.push((dir.root, inner));
        return note(tree, &path, Fault::special()).map(|()| None);
    }
    if kind == FileKind::Dir && dir.depth >= DEEPEST {
        let fault = Fault::new("loop", "directories are too deep");
        return note(tree, &path, fault).map(|()| None);
    }
    add(tree, (dir.root, inner.clone(), path.clone()), &attrs, reading);
    let (depth, mut above) = (dir.depth + 1, dir.above.clone());
    if is_link {
        // Listing it looks where it leads first.
        above = Arc::new([&above[..], &[Bytes::new()]].concat());
    }
    Ok((kind == FileKind::Dir).then_some(Open { root: dir.root, inner, path, depth, above }))
}

fn skipped(skip: &Skip, inner: &[u8], kind: FileKind) -> bool {
    skip.has(inner, kind == FileKind::Dir)
}

fn add(
    tree: &mut Tree,
    (root, inner, path): (usize, Vec<u8>, Vec<u8>),
    attrs: &Attrs,
    reading: &Reading<'_>,
) {
    let what = match attrs.kind() {
        FileKind::Dir => What::Dir,
        // Its text is read when it is made.
        FileKind::Link => What::Link(Vec::new()),
        _ => What::File,
    };
    let size = attrs.size.unwrap_or(0);
    if what == What::File {
        tree.files += 1;
        tree.bytes += size;
    }
    let bits = if reading.exact_modes { 0o7777 } else { 0o777 };
    let times = attrs.times.unwrap_or_default();
    tree.items.push(Item {
        root,
        inner,
        what,
        path: PathBuf::from(OsStr::from_bytes(&path)),
        size,
        mode: attrs.mode.unwrap_or(0o644) & bits,
        times,
        changed_ns: i128::from(times.1) * 1_000_000_000,
    });
}

/// A directory's names, each with what it is.
async fn list(sftp: &Sftp, mut dir: Open, symlinks: Symlinks) -> (Open, Result<Vec<Found>, Fault>) {
    let listed = async {
        if dir.above.last().is_some_and(Bytes::is_empty) {
            let above = dir.above.get(..dir.above.len() - 1).unwrap_or_default().to_vec();
            dir.above = remote::along(sftp, &dir.path, above).await?;
        }
        let entries = remote::list(sftp, &dir.path).await?;
        let look = entries.into_iter().map(|entry| look(sftp, &dir.path, entry, symlinks));
        Ok(futures_util::future::join_all(look).await)
    };
    let listed = listed.await;
    (dir, listed)
}

async fn look(sftp: &Sftp, dir: &[u8], entry: Entry, symlinks: Symlinks) -> Found {
    let follows = entry.attrs.kind() == FileKind::Link && symlinks == Symlinks::Follow;
    let attrs = match follows {
        true => sftp.stat(&join(dir, &entry.name)).await.map_err(Fault::from),
        false => Ok(entry.attrs),
    };
    (entry, attrs)
}
