//! One file to the node: hashed while it is sent, written beside its name. The name is taken
//! later, with others, once the journal knows of it.

use super::apply::Ready;
use super::ends::{Count, DEPTH, Ends};
use super::journal::{Intent, Place};
use super::listing::described;
use super::model::{Entry, LocalStat, Rel, RemoteStat, Thing};
use super::scan;
use crate::transfer::{Fault, LocalDir, explain, remote};
use bssh_protocol::lock;
use bssh_ssh::sftp::{Attrs, Block, RemoteFile, flags};
use futures_util::stream::{FuturesUnordered, StreamExt};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

/// A file that changes while it is sent is sent again, so often.
const TRIES: usize = 4;

/// What is to be sent, and what is at its name on the node.
pub(crate) struct Put {
    pub path: Rel,
    /// Where it lies, if it is reached through a link.
    pub really: Option<PathBuf>,
    pub there: Option<RemoteStat>,
    /// The hash of what is there, where it is known.
    pub old: Option<[u8; 32]>,
}

/// Sends a file to a temporary name.
///
/// # Errors
/// Why it is not sent; the temporary file is gone, as far as the node lets us.
pub(crate) async fn put(ends: &Ends, put: Put) -> Result<Ready, Fault> {
    for _ in 0..TRIES {
        let temp = ends.temporary(&put.path);
        ends.unnamed(&temp);
        match attempt(ends, &put, &temp).await {
            Ok(Some((thing, local, remote))) => {
                return Ok(ready(ends, put, temp, (thing, local, remote)));
            }
            // It changed meanwhile.
            Ok(None) => discard(ends, &temp).await,
            // What is left is removed when the run ends.
            Err(fault) if fault.fatal => return Err(fault),
            Err(fault) => {
                // Before the room is given back that it has taken.
                let fault = explain(&ends.sftp, fault, &ends.far(&put.path)).await;
                discard(ends, &temp).await;
                return Err(fault);
            }
        }
    }
    Err(Fault::new("changed", "it changes all the time"))
}

/// Removes a temporary file; the cause for that is what matters.
pub(crate) async fn discard(ends: &Ends, temp: &Rel) {
    if ends.sftp.remove(&ends.far(temp)).await.is_ok() {
        ends.named(temp);
    }
}

fn ready(
    ends: &Ends,
    put: Put,
    temp: Rel,
    (thing, local, remote): (Thing, LocalStat, RemoteStat),
) -> Ready {
    let new = match &thing {
        Thing::File { hash, .. } => *hash,
        _ => [0; 32],
    };
    let racy_local = scan::is_racy(&local, scan::now_ns());
    let racy_remote = ends.is_racy(remote.mtime);
    let intent = Intent { path: put.path, place: Place::Remote, temp, old: put.old, new };
    let entry = Entry { thing, local, remote, racy_local, racy_remote };
    Ready { intent, entry, before: None, replaces: put.there.is_some(), copy_of: None }
}

type Sent = Option<(Thing, LocalStat, RemoteStat)>;

async fn attempt(ends: &Ends, put: &Put, temp: &Rel) -> Result<Sent, Fault> {
    let (path, really) = (put.path.clone(), put.really.clone());
    let block = ends.sftp.limits().write as usize;
    let open =
        move |here: &LocalDir| Begun::read(scan::open(here, &path, really.as_deref())?, block);
    let begun = ends.on_disk(open).await?;
    let how = flags::WRITE | flags::CREATE | flags::EXCLUSIVE;
    let far = ends.far(temp);
    let opened = ends.sftp.open_file(&far, how, &Attrs::permissions(0o600)).await;
    let file = opened.map_err(|e| Fault::from(e).while_doing("cannot make a file there"))?;
    let stat = begun.stat;
    let (hash, after) = match begun.rest {
        Rest::None { hash, after } => {
            let writing = async {
                match begun.first.is_empty() {
                    true => Ok(()),
                    false => Ok::<_, Fault>(file.write(0, begun.first).await?),
                }
            };
            let _permit = ends.budget(block.min(usize::try_from(stat.size).unwrap_or(0))).await?;
            // The server takes a file's requests in order.
            let (written, finished, same) =
                futures_util::future::join3(writing, finish(&file, &stat), unchanged(ends, put))
                    .await;
            written?;
            finished?;
            same?;
            Count::add(&ends.count.bytes, stat.size);
            (hash, after)
        }
        Rest::More(source) => {
            let read = stream(ends, &file, source, begun.first).await?;
            let (finished, same) =
                futures_util::future::join(finish(&file, &stat), unchanged(ends, put)).await;
            finished?;
            same?;
            read
        }
    };
    let mtime = seconds(&stat);
    let mode = stat.mode & 0o1777;
    let remote = RemoteStat { size: stat.size, mtime, mode };
    let thing = Thing::File { hash, exec: stat.mode & 0o100 != 0 };
    Ok((stat == after).then_some((thing, stat, remote)))
}

/// The node's file is still what we have seen: nobody's edit is written over.
async fn unchanged(ends: &Ends, put: &Put) -> Result<(), Fault> {
    let found = remote::lstat(&ends.sftp, &ends.far(&put.path)).await?;
    match found.map(|attrs| described(&attrs)) == put.there {
        true => Ok(()),
        false => Err(Fault::new("changed", "it has changed on the node meanwhile")),
    }
}

/// Mode, times, end.
async fn finish(file: &RemoteFile, stat: &LocalStat) -> Result<(), Fault> {
    let mtime = seconds(stat);
    let attrs =
        Attrs { mode: Some(stat.mode & 0o1777), times: Some((mtime, mtime)), ..Attrs::default() };
    let (set, closed) = futures_util::future::join(file.set_stat(&attrs), file.close()).await;
    set?;
    Ok(closed?)
}

fn seconds(stat: &LocalStat) -> u32 {
    u32::try_from(stat.mtime_ns.div_euclid(1_000_000_000).max(0)).unwrap_or(u32::MAX)
}

/// A file that is about to be sent: its first block, and all of it if there is no more.
struct Begun {
    stat: LocalStat,
    first: Block,
    rest: Rest,
}

enum Rest {
    None { hash: [u8; 32], after: LocalStat },
    More(Source),
}

/// A file that is read on; its hash so far.
struct Source {
    file: File,
    hash: Context,
}

impl Begun {
    fn read(file: File, block: usize) -> Result<Begun, Fault> {
        let stat = scan::described(&rustix::fs::fstat(&file)?);
        let mut source = Source { file, hash: Context::new(&SHA256) };
        let small = stat.size < block as u64;
        // One byte more shows that it has grown.
        let wanted = if small { usize::try_from(stat.size).unwrap_or(0) + 1 } else { block };
        let first = source.next(wanted)?;
        let rest = match small {
            true => {
                let after = scan::described(&rustix::fs::fstat(&source.file)?);
                Rest::None { hash: scan::finished(source.hash), after }
            }
            false => Rest::More(source),
        };
        Ok(Begun { stat, first, rest })
    }
}

impl Source {
    /// The next block; a short one is the last.
    fn next(&mut self, length: usize) -> Result<Block, Fault> {
        let mut block = Block::new(length);
        let room = block.resize(length);
        let mut filled = 0;
        while filled < length {
            match self.file.read(room.get_mut(filled..).unwrap_or_default())? {
                0 => break,
                n => filled += n,
            }
        }
        block.truncate(filled);
        self.hash.update(block.data());
        Ok(block)
    }
}

/// The rest of a large file, read and hashed in order while earlier blocks are on the way.
async fn stream(
    ends: &Ends,
    file: &RemoteFile,
    source: Source,
    first: Block,
) -> Result<([u8; 32], LocalStat), Fault> {
    let length = ends.sftp.limits().write as usize;
    let source = Arc::new(Mutex::new(source));
    let mut running = FuturesUnordered::new();
    let (mut at, mut block) = (0_u64, first);
    while !block.is_empty() {
        let n = block.len();
        let permit = meanwhile(ends.budget(n), &mut running).await??;
        running.push(async move {
            file.write(at, block).await?;
            drop(permit);
            Count::add(&ends.count.bytes, n as u64);
            Ok::<_, Fault>(())
        });
        at += n as u64;
        let reading = source.clone();
        let next = move || lock(&reading).next(length);
        block = meanwhile(ends.disk.run(next), &mut running).await??;
        while running.len() >= DEPTH
            && let Some(done) = running.next().await
        {
            done?;
        }
    }
    while let Some(done) = running.next().await {
        done?;
    }
    let gone = || Fault::fatal("internal", "the core is ending");
    let source = Arc::into_inner(source).ok_or_else(gone)?;
    let source = source.into_inner().unwrap_or_else(PoisonError::into_inner);
    let after = scan::described(&rustix::fs::fstat(&source.file)?);
    Ok((scan::finished(source.hash), after))
}

/// Waits for something while what is on the way goes on: blocks give their room back only when
/// they are polled.
async fn meanwhile<T, F>(
    wanted: impl Future<Output = T>,
    running: &mut FuturesUnordered<F>,
) -> Result<T, Fault>
where
    F: Future<Output = Result<(), Fault>>,
{
    let mut wanted = pin!(wanted);
    loop {
        tokio::select! {
            biased;
            done = &mut wanted => return Ok(done),
            Some(done) = running.next(), if !running.is_empty() => done?,
        }
    }
}
