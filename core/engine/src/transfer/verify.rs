//! Both copies of a file read again and compared by their SHA-256.

use super::fault::Fault;
use super::node::Job;
use super::tree::Item;
use bssh_ssh::sftp::{Attrs, RemoteFile, flags};
use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use ring::digest::{Context, Digest, SHA256};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Compares what was sent with what is there now.
pub(crate) async fn uploaded(job: &Job, item: &Item, target: &[u8]) -> Result<(), Fault> {
    let path = item.path.clone();
    let local = Arc::new(job.disk.run(move || Ok(File::open(path)?)).await?);
    let remote = job.sftp.open_file(target, flags::READ, &Attrs::default()).await?;
    compare(job, &remote, local).await
}

/// The same for a file that was fetched.
pub(crate) async fn downloaded(
    job: &Job,
    remote: &RemoteFile,
    local: Arc<File>,
) -> Result<(), Fault> {
    compare(job, remote, local).await
}

async fn compare(job: &Job, remote: &RemoteFile, local: Arc<File>) -> Result<(), Fault> {
    let size = remote.stat().await?.size.unwrap_or(0);
    let here = job.disk.run(move || hash(&local));
    let (here, there) = futures_util::future::try_join(here, far(job, remote, size)).await?;
    match here.as_ref() == there.as_ref() {
        true => Ok(()),
        false => Err(Fault::new("checksum", "the two copies differ")),
    }
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

async fn far(job: &Job, remote: &RemoteFile, size: u64) -> Result<Digest, Fault> {
    let mut hash = Context::new(&SHA256);
    let block = u64::from(job.sftp.limits().read);
    let (mut running, mut at) = (FuturesOrdered::new(), 0);
    loop {
        while running.len() < job.depth && at < size {
            let length = u32::try_from(block.min(size - at)).unwrap_or(0);
            running.push_back(read_block(job, remote, at, length));
            at += u64::from(length);
        }
        let Some(read) = running.next().await else { return Ok(hash.finish()) };
        read?.iter().for_each(|piece| hash.update(piece));
        job.count.add(&job.count.steps, 0);
    }
}

async fn read_block(
    job: &Job,
    remote: &RemoteFile,
    at: u64,
    length: u32,
) -> Result<Vec<Bytes>, Fault> {
    let _permit = job.budget(length as usize).await?;
    let mut pieces = Vec::new();
    let mut got = 0;
    while got < length {
        let more = remote.read(at + u64::from(got), length - got).await?;
        got += more.iter().map(|p| u32::try_from(p.len()).unwrap_or(0)).sum::<u32>();
        pieces.extend(more);
    }
    Ok(pieces)
}
