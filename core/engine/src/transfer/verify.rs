//! Both copies of a file read again and compared by their SHA-256.

use super::fault::Fault;
use super::node::Job;
use super::origin::{self, Origin, hash_far};
use super::tree::Item;
use bssh_ssh::sftp::{Attrs, RemoteFile, flags};
use std::fs::File;
use std::sync::Arc;

/// The code of two copies that are not the same.
const DIFFER: &str = "checksum";

/// Compares what was sent with what is there now.
pub(crate) async fn uploaded(job: &Job, item: &Item, target: &[u8]) -> Result<(), Fault> {
    let origin = origin::open(job, item).await?;
    let remote = job.sftp.open_file(target, flags::READ, &Attrs::default()).await?;
    compare(job, &remote, &origin).await
}

/// The same for a file that was fetched.
pub(crate) async fn downloaded(
    job: &Job,
    remote: &RemoteFile,
    local: Arc<File>,
) -> Result<(), Fault> {
    compare(job, remote, &Origin::Disk(local)).await
}

/// What a comparison says of two copies that nobody has touched.
pub(crate) fn is_same(compared: Result<(), Fault>) -> Result<bool, Fault> {
    match compared {
        Err(fault) if fault.code == DIFFER => Ok(false),
        compared => compared.map(|()| true),
    }
}

async fn compare(job: &Job, remote: &RemoteFile, origin: &Origin) -> Result<(), Fault> {
    let size = remote.stat().await?.size.unwrap_or(0);
    let hashes = (origin.hash(job, size), hash_far(job, remote, size));
    let (here, there) = futures_util::future::try_join(hashes.0, hashes.1).await?;
    match here.as_ref() == there.as_ref() {
        true => Ok(()),
        false => Err(Fault::new(DIFFER, "the two copies differ")),
    }
}
