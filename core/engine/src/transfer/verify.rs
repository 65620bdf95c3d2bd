//! Both copies of a file read again and compared by their SHA-256.

use super::fault::Fault;
use super::node::Job;
use super::origin::{self, Origin, hash_far};
use super::tree::Item;
use bssh_ssh::sftp::{Attrs, RemoteFile, flags};
use std::fs::File;
use std::sync::Arc;

/// Is what is there now the same as the source of an upload?
pub(crate) async fn uploaded(job: &Job, item: &Item, target: &[u8]) -> Result<bool, Fault> {
    let origin = origin::open(job, item).await?;
    let remote = job.sftp.open_file(target, flags::READ, &Attrs::default()).await?;
    compare(job, &remote, &origin).await
}

/// The same for a file that was fetched.
pub(crate) async fn downloaded(
    job: &Job,
    remote: &RemoteFile,
    local: Arc<File>,
) -> Result<bool, Fault> {
    compare(job, remote, &Origin::Disk(local)).await
}

/// After a copy both must be.
pub(crate) fn must_be(same: bool) -> Result<(), Fault> {
    match same {
        true => Ok(()),
        false => Err(Fault::new("checksum", "the two copies differ")),
    }
}

async fn compare(job: &Job, remote: &RemoteFile, origin: &Origin) -> Result<bool, Fault> {
    let size = remote.stat().await?.size.unwrap_or(0);
    let hashes = (origin.hash(job, size), hash_far(job, remote, size));
    let (here, there) = futures_util::future::try_join(hashes.0, hashes.1).await?;
    Ok(here.as_ref() == there.as_ref())
}
