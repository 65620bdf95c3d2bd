//! Paths on a node: listings that are checked, patterns, home directories, removal of trees.

use super::fault::Fault;
use super::pattern;
use super::tree::{DEEPEST, join};
use bssh_ssh::sftp::{Attrs, Entry, FileKind, Sftp, SftpError, Status};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use std::sync::Arc;

/// Names one directory may have: a server that never stops must not fill our memory.
const MOST_NAMES: usize = 1_000_000;

/// Everything in a directory but `.` and `..`. A name that is none, or comes twice, ends the
/// conversation: an honest server sends neither.
pub(crate) async fn list(sftp: &Sftp, path: &[u8]) -> Result<Vec<Entry>, Fault> {
    let dir = sftp.open_dir(path).await?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = HashSet::new();
    loop {
        // Two on the way: most directories are over with the second.
        let (one, two) = futures_util::future::join(dir.list(), dir.list()).await;
        let (one, two) = (one?, two?);
        let over = two.is_empty();
        for entry in one.into_iter().chain(two) {
            if *entry.name == *b"." || *entry.name == *b".." {
                continue;
            }
            super::disk::inside(&entry.name)?;
            if !seen.insert(entry.name.clone()) {
                return Err(Fault::fatal("protocolBroken", "the node sent a name twice"));
            }
            entries.push(entry);
        }
        if over {
            break;
        }
        if entries.len() > MOST_NAMES {
            return Err(Fault::fatal("tooManyFiles", "the node's listing does not end"));
        }
    }
    for entry in &mut entries {
        if entry.attrs.kind() == FileKind::Unknown {
            entry.attrs = sftp.lstat(&join(path, &entry.name)).await?;
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// What is there, links followed; none if there is nothing.
pub(crate) async fn stat(sftp: &Sftp, path: &[u8]) -> Result<Option<Attrs>, Fault> {
    found(sftp.stat(path).await)
}

/// What is there itself; none if there is nothing.
pub(crate) async fn lstat(sftp: &Sftp, path: &[u8]) -> Result<Option<Attrs>, Fault> {
    found(sftp.lstat(path).await)
}

fn found(attrs: Result<Attrs, SftpError>) -> Result<Option<Attrs>, Fault> {
    match attrs {
        Ok(attrs) => Ok(Some(attrs)),
        Err(error) if error.is(Status::NoSuchFile) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A path as the server takes it: `~` is where paths start anyway, `~user` has to be asked for.
pub(crate) async fn absolute(sftp: &Sftp, path: &[u8]) -> Result<Vec<u8>, Fault> {
    match path {
        b"" | b"~" | b"~/" => Ok(b".".to_vec()),
        [b'~', b'/', rest @ ..] => Ok(rest.to_vec()),
        [b'~', ..] if sftp.has("expand-path@openssh.com") => {
            Ok(sftp.expand_path(path).await?.to_vec())
        }
        other => Ok(other.to_vec()),
    }
}

/// The paths a pattern stands for, in order; a path that is there stands for itself.
pub(crate) async fn expand(sftp: &Sftp, source: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let source = absolute(sftp, source).await?;
    if !pattern::is_pattern(&source) || lstat(sftp, &source).await?.is_some() {
        return Ok(vec![source]);
    }
    let start: &[u8] = if source.starts_with(b"/") { b"/" } else { b"" };
    let mut found = vec![start.to_vec()];
    for part in source.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        let mut next = Vec::new();
        for path in &found {
            if !pattern::is_pattern(part) {
                next.push(join(path, part));
                continue;
            }
            let here: &[u8] = if path.is_empty() { b"." } else { path };
            let entries = match list(sftp, here).await {
                Ok(entries) => entries,
                Err(fault) if fault.fatal => return Err(fault),
                // Not a directory, or not ours to see: nothing in it fits.
                Err(_) => continue,
            };
            let fits = entries.iter().filter(|e| pattern::fits_name(part, &e.name));
            next.extend(fits.map(|e| join(path, &e.name)));
        }
        found = next;
    }
    if found.is_empty() {
        return Err(Fault::new("notFound", "nothing fits the pattern"));
    }
    Ok(found)
}

/// The way through a link to a directory, unless it leads to where we have come from.
pub(crate) async fn along(
    sftp: &Sftp,
    path: &[u8],
    mut above: Vec<Bytes>,
) -> Result<Arc<Vec<Bytes>>, Fault> {
    let to = sftp.real_path(path).await?;
    let from = sftp.real_path(super::send::split(path).0).await?;
    let mut within = to.to_vec();
    if !within.ends_with(b"/") {
        within.push(b'/');
    }
    above.push(from);
    if above.iter().any(|path| *path == to || path.starts_with(&within)) {
        return Err(Fault::new("loop", "a directory that contains itself"));
    }
    Ok(Arc::new(above))
}

/// Removes a file, or a directory with everything in it; says how many.
pub(crate) fn remove_all<'a>(
    sftp: &'a Sftp,
    path: &'a [u8],
    kind: FileKind,
    depth: usize,
) -> BoxFuture<'a, Result<u64, Fault>> {
    Box::pin(async move {
        if kind != FileKind::Dir {
            sftp.remove(path).await?;
            return Ok(1);
        }
        if depth > DEEPEST {
            return Err(Fault::new("loop", "directories are too deep"));
        }
        let mut n = 1;
        for entry in list(sftp, path).await? {
            let child = join(path, &entry.name);
            n += remove_all(sftp, &child, entry.attrs.kind(), depth + 1).await?;
        }
        sftp.remove_dir(path).await?;
        Ok(n)
    })
}
