//! What a file is read from on its way to a node: a local file, or one on another node.

use super::blocks;
use super::fault::Fault;
use super::node::Job;
use super::tree::Item;
use bssh_ssh::sftp::{Attrs, Block, RemoteFile, flags};
use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use ring::digest::{Context, Digest, SHA256};
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// An open source.
pub(crate) enum Origin {
    Disk(Arc<File>),
    Node(RemoteFile),
}

/// Opens a file's source.
pub(crate) async fn open(job: &Job, item: &Item) -> Result<Origin, Fault> {
    match &job.source {
        None => {
            let path = item.path.clone();
            Ok(Origin::Disk(Arc::new(job.disk.run(move || Ok(File::open(path)?)).await?)))
        }
        Some(source) => {
            let path = item.path.as_os_str().as_bytes();
            let file = source.open_file(path, flags::READ, &Attrs::default()).await;
            Ok(Origin::Node(file.map_err(|e| at_source(job, e.into()))?))
        }
    }
}

/// A whole small file; the beginning of one that claims to be empty and is not.
pub(crate) async fn whole(job: &Job, item: &Item, length: usize) -> Result<Block, Fault> {
    match &job.source {
        // One visit to the disk's threads.
        None => {
            let path = item.path.clone();
            job.disk.run(move || read_whole(&File::open(path)?, length)).await
        }
        Some(_) if length == 0 => open(job, item).await?.some(job, 0, 1).await,
        Some(_) => open(job, item).await?.block(job, 0, length).await,
    }
}

impl Origin {
    /// The bytes at an offset, all of them.
    pub(crate) async fn block(&self, job: &Job, at: u64, length: usize) -> Result<Block, Fault> {
        match self {
            Origin::Disk(file) => {
                let file = file.clone();
                job.disk.run(move || read_at(&file, at, length)).await
            }
            Origin::Node(file) => {
                let wanted = u32::try_from(length).unwrap_or(u32::MAX);
                let pieces = far_block(file, at, wanted).await;
                let pieces = pieces.map_err(|fault| at_source(job, fault))?;
                let mut block = Block::new(length);
                pieces.iter().for_each(|piece| block.extend(piece));
                Ok(block)
            }
        }
    }

    /// What there is at an offset, up to so many bytes; nothing at the end.
    pub(crate) async fn some(&self, job: &Job, at: u64, most: usize) -> Result<Block, Fault> {
        match self {
            Origin::Disk(file) => {
                let file = file.clone();
                job.disk.run(move || Ok(read_some(&file, at, most)?)).await
            }
            Origin::Node(file) => {
                let mut block = Block::new(most);
                match file.read(at, u32::try_from(most).unwrap_or(u32::MAX)).await {
                    Err(error) if error.is_eof() => {}
                    Err(error) => return Err(at_source(job, error.into())),
                    Ok(pieces) => pieces.iter().for_each(|piece| block.extend(piece)),
                }
                Ok(block)
            }
        }
    }

    /// The parts that hold data, as far as that can be told.
    pub(crate) async fn parts(
        &self,
        job: &Job,
        (offset, size): (u64, u64),
        dense: u64,
    ) -> Result<Vec<Range<u64>>, Fault> {
        match self {
            Origin::Disk(file) => {
                let file = file.clone();
                job.disk.run(move || Ok(blocks::parts(&file, (offset, size), dense))).await
            }
            Origin::Node(_) => Ok(std::iter::once(offset..size).collect()),
        }
    }

    /// The SHA-256 of everything.
    pub(crate) async fn hash(&self, job: &Job, size: u64) -> Result<Digest, Fault> {
        match self {
            Origin::Disk(file) => {
                let file = file.clone();
                job.disk.run(move || hash(&file)).await
            }
            Origin::Node(file) => {
                hash_far(job, file, size).await.map_err(|fault| at_source(job, fault))
            }
        }
    }
}

/// Says on which node it went wrong.
fn at_source(job: &Job, fault: Fault) -> Fault {
    let name = job.run.source_name().unwrap_or("the source");
    fault.while_doing(&format!("reading it on {name}"))
}

fn read_some(file: &File, at: u64, most: usize) -> std::io::Result<Block> {
    let mut block = Block::new(most);
    let n = file.read_at(block.resize(most), at)?;
    block.truncate(n);
    Ok(block)
}

/// The size of a file that the kernel makes up (as in `/sys`) is a guess, and says so by staying.
fn read_whole(file: &File, length: usize) -> Result<Block, Fault> {
    let first = read_some(file, 0, length.max(1))?;
    if first.len() == length || length == 0 {
        return Ok(first);
    }
    let ends = read_some(file, first.len() as u64, 1)?.is_empty();
    match ends && file.metadata()?.len() == length as u64 {
        true => Ok(first),
        false => read_at(file, 0, length),
    }
}

fn read_at(file: &File, at: u64, length: usize) -> Result<Block, Fault> {
    let mut block = Block::new(length);
    match file.read_exact_at(block.resize(length), at) {
        Ok(()) => Ok(block),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Fault::new("changed", "it became shorter while it was read"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The bytes at an offset, asked for again where the server sent less of them.
pub(crate) async fn far_block(
    file: &RemoteFile,
    at: u64,
    length: u32,
) -> Result<Vec<Bytes>, Fault> {
    let mut pieces = Vec::new();
    let mut got = 0;
    while got < length {
        let more = match file.read(at + u64::from(got), length - got).await {
            Err(error) if error.is_eof() => {
                return Err(Fault::new("changed", "it is shorter than the node said"));
            }
            more => more?,
        };
        got += more.iter().map(|p| u32::try_from(p.len()).unwrap_or(0)).sum::<u32>();
        pieces.extend(more);
    }
    Ok(pieces)
}

fn hash(file: &File) -> Result<Digest, Fault> {
    let mut hash = Context::new(&SHA256);
    let (mut block, mut at) = (vec![0; 256 * 1024], 0);
    loop {
        let n = file.read_at(&mut block, at)?;
        if n == 0 {
            return Ok(hash.finish());
        }
        hash.update(block.get(..n).unwrap_or_default());
        at += n as u64;
    }
}

/// The SHA-256 of a file on a node.
pub(crate) async fn hash_far(job: &Job, file: &RemoteFile, size: u64) -> Result<Digest, Fault> {
    let mut hash = Context::new(&SHA256);
    let block = job.read_block();
    let (mut running, mut at) = (FuturesOrdered::new(), 0);
    loop {
        while running.len() < job.depth && at < size {
            let length = u32::try_from(block.min(size - at)).unwrap_or(0);
            running.push_back(async move {
                let _permit = job.budget(length as usize).await?;
                far_block(file, at, length).await
            });
            at += u64::from(length);
        }
        let Some(read) = running.next().await else { return Ok(hash.finish()) };
        read?.iter().for_each(|piece| hash.update(piece));
        job.count.add(&job.count.steps, 0);
    }
}
