//! One file from the node: hashed while it arrives, written beside its name, on the disk before
//! the name is taken.

use super::apply::Ready;
use super::ends::{Count, DEPTH, Ends};
use super::journal::{Intent, Place};
use super::model::{Entry, Hash, LocalStat, Rel, RemoteStat, Thing};
use super::scan;
use crate::transfer::{Fault, LocalDir, settle, split};
use bssh_protocol::lock;
use bssh_ssh::sftp::{Attrs, RemoteFile, flags};
use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::SemaphorePermit;

/// What is to be fetched.
pub(crate) struct Get {
    pub path: Rel,
    pub there: RemoteStat,
    /// What is at the name here, which must not have changed meanwhile.
    pub before: Option<LocalStat>,
    pub old: Option<Hash>,
    /// The hash it has there, where that is known.
    pub expected: Option<Hash>,
    /// It goes beside the file, under another name: a conflict.
    pub as_copy: bool,
}

/// A file that is removed unless it gets its name: also when the run is given up.
struct Part {
    here: Arc<LocalDir>,
    temp: Rel,
    keep: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.keep {
            let (dir, name) = split(&self.temp);
            // Best effort: the cause is what matters.
            let _ = self.here.walk(dir).and_then(|dir| dir.remove(name));
        }
    }
}

/// Fetches a file to a temporary name.
///
/// # Errors
/// Why it is not fetched; the temporary file is gone.
pub(crate) async fn get(ends: &Ends, get: Get) -> Result<Ready, Fault> {
    let temp = ends.temporary(&get.path);
    let mut part = Part { here: ends.here.clone(), temp: temp.clone(), keep: false };
    let (hash, exec) = fetch(ends, &get, &temp).await?;
    if get.expected.is_some_and(|expected| expected != hash) {
        return Err(Fault::new("changed", "it changed on the node while it was read"));
    }
    part.keep = true;
    let entry = Entry {
        thing: Thing::File { hash, exec },
        local: LocalStat::default(),
        remote: get.there,
        racy_local: true,
        racy_remote: ends.is_racy(get.there.mtime),
    };
    let copy = get.as_copy.then(|| super::filter::copy_name(&get.path, unix_s(), &hash));
    let (path, copy_of, before, old) = match copy {
        Some(copy) => (copy, Some(get.path), None, None),
        None => (get.path, None, get.before, get.old),
    };
    let intent = Intent { path, place: Place::Local, temp, old, new: hash };
    Ok(Ready { intent, entry, before, replaces: before.is_some(), copy_of })
}

fn unix_s() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}

async fn fetch(ends: &Ends, get: &Get, temp: &Rel) -> Result<(Hash, bool), Fault> {
    let file = ends.sftp.open_file(&ends.far(&get.path), flags::READ, &Attrs::default()).await?;
    let at = temp.clone();
    let local = ends
        .on_disk(move |here| {
            let (dir, name) = split(&at);
            here.walk(dir)?.create(name, 0o600)
        })
        .await?;
    let size = get.there.size;
    let (local, hash) = receive(ends, &file, (local, size)).await?;
    let (mode, mtime) = (get.there.mode & 0o777, get.there.mtime);
    ends.disk
        .run(move || {
            settle(&local, Some(mode), Some((mtime, mtime)))?;
            local.sync_data()?;
            Ok(())
        })
        .await?;
    Ok((hash, mode & 0o100 != 0))
}

/// What is written, and its hash so far.
struct Sink {
    file: File,
    hash: Context,
}

async fn receive(
    ends: &Ends,
    file: &RemoteFile,
    (local, size): (File, u64),
) -> Result<(File, Hash), Fault> {
    let sink = Arc::new(Mutex::new(Sink { file: local, hash: Context::new(&SHA256) }));
    let block = u64::from(ends.sftp.limits().read);
    let (mut running, mut at) = (FuturesOrdered::new(), 0);
    loop {
        while running.len() < DEPTH && at < size {
            let length = u32::try_from(block.min(size - at)).unwrap_or(0);
            running.push_back(read_block(ends, file, (at, length)));
            at += u64::from(length);
        }
        let Some(pieces) = running.next().await else { break };
        let ((pieces, permit), sink) = (pieces?, sink.clone());
        let n: usize = pieces.iter().map(Bytes::len).sum();
        ends.disk
            .run(move || {
                let mut sink = lock(&sink);
                for piece in pieces {
                    sink.hash.update(&piece);
                    sink.file.write_all(&piece)?;
                }
                Ok(())
            })
            .await?;
        drop(permit);
        Count::add(&ends.count.bytes, n as u64);
    }
    let gone = || Fault::fatal("internal", "the core is ending");
    let sink = Arc::into_inner(sink).ok_or_else(gone)?;
    let sink = sink.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((sink.file, scan::finished(sink.hash)))
}

/// One block, asked for again where the server sent less of it.
/// Its room is given back when it has been dealt with.
pub(crate) async fn read_block<'a>(
    ends: &'a Ends,
    file: &RemoteFile,
    (mut at, mut length): (u64, u32),
) -> Result<(Vec<Bytes>, SemaphorePermit<'a>), Fault> {
    let permit = ends.budget(length as usize).await?;
    let mut all = Vec::new();
    while length > 0 {
        let pieces = match file.read(at, length).await {
            Err(error) if error.is_eof() => {
                return Err(Fault::new("changed", "it is shorter than the node said"));
            }
            pieces => pieces?,
        };
        let got: usize = pieces.iter().map(Bytes::len).sum();
        at += got as u64;
        length = length.saturating_sub(u32::try_from(got).unwrap_or(u32::MAX));
        all.extend(pieces);
    }
    Ok((all, permit))
}

/// Fetches a file into this run's backup.
pub(crate) async fn save(ends: &Ends, path: &Rel, there: RemoteStat) -> Result<(), Fault> {
    let file = ends.sftp.open_file(&ends.far(path), flags::READ, &Attrs::default()).await?;
    let (run, at) = (ends.run.clone(), path.clone());
    let local = ends
        .on_disk(move |here| super::backup::dir(here, &run, &at)?.create(split(&at).1, 0o600))
        .await?;
    let (local, _) = receive(ends, &file, (local, there.size)).await?;
    ends.disk.run(move || Ok(local.sync_data()?)).await
}
