//! Files over plain commands, for nodes without a file server: `cat` up, `tar` down.
//!
//! What the node needs is a shell, `cat`, `mv`, `chmod`, `touch` and `tar`. Files are written
//! beside their final name and renamed, as over SFTP; what cannot be done that way is refused by
//! name. Reading order: `shell` (one command), `upload`, `download`, `tape` (the archive's bytes).

mod download;
mod shell;
mod tape;
mod upload;

use super::count::Count;
use super::disk::Disk;
use super::fault::Fault;
use super::run::{Options, TransferRun};
use crate::pool::Lease;
use bssh_protocol::transfer::TransferDirection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Everything a transfer without a file server works with.
pub(super) struct Bare {
    lease: Arc<Lease>,
    disk: Disk,
    count: Arc<Count>,
    options: Arc<Options>,
    run: Arc<TransferRun>,
    index: u32,
    name: String,
    next: AtomicU64,
}

impl Bare {
    pub(super) fn new(
        run: &Arc<TransferRun>,
        lease: &Arc<Lease>,
        (index, name): (u32, &str),
    ) -> Bare {
        Bare {
            lease: lease.clone(),
            disk: run.disk.clone(),
            count: run.count(index),
            options: run.options.clone(),
            run: run.clone(),
            index,
            name: name.to_owned(),
            next: AtomicU64::new(0),
        }
    }

    /// Carries everything.
    pub(super) async fn carry(&self) -> Result<(), Fault> {
        let o = &self.options;
        let wanted = [
            (o.resume || o.append, "resume"),
            (o.verify, "verify"),
            (o.delete, "delete"),
            (o.dry_run, "dry run"),
            (o.fsync, "fsync"),
            (self.run.source_name().is_some(), "source on another node"),
        ];
        if let Some((_, what)) = wanted.iter().find(|(wanted, _)| *wanted) {
            let text =
                format!("the node has no file server (sftp), and there is no {what} without");
            return Err(Fault::fatal("noSftp", text));
        }
        match o.direction {
            TransferDirection::Upload => upload::upload(self).await,
            TransferDirection::Download => download::download(self).await,
        }
    }

    fn temporary_name(&self) -> Vec<u8> {
        let n = self.next.fetch_add(1, Relaxed);
        format!(".bssh-{}-{:x}-{n:x}.tmp", self.run.nonce, self.index).into_bytes()
    }

    /// A file's fault is written down; a node's ends it.
    fn noted(&self, path: &[u8], done: Result<(), Fault>) -> Result<(), Fault> {
        match done {
            Err(fault) if !fault.fatal => {
                self.count.fault(path, &fault);
                Ok(())
            }
            done => done,
        }
    }
}

/// A path as commands take it: relative to the home, and never read as an option.
fn path(path: &[u8]) -> Result<Vec<u8>, Fault> {
    match path {
        b"" | b"~" | b"~/" => Ok(b".".to_vec()),
        [b'~', b'/', rest @ ..] => Ok([b"./", rest].concat()),
        [b'~', ..] => Err(Fault::new("unsupported", "only sftp knows where a user's home is")),
        [b'/', ..] => Ok(path.to_vec()),
        _ => Ok([b"./", path].concat()),
    }
}
