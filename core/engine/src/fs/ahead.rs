//! A file on a node read in order, with requests for what comes next on the way.

use crate::transfer::{Fault, far_block};
use bssh_ssh::sftp::{RemoteFile, Sftp};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use std::sync::Arc;

/// Bytes on the way for one reader.
const ON_THE_WAY: u64 = 4 << 20;

/// The reader.
pub(super) struct Ahead {
    file: Arc<RemoteFile>,
    block: u64,
    depth: usize,
    /// What is asked for next, and where that ends; without an end one block after the other.
    at: u64,
    end: Option<u64>,
    running: FuturesOrdered<BoxFuture<'static, Result<Vec<Bytes>, Fault>>>,
}

impl Ahead {
    /// `end`: None for a file that does not say its size.
    pub(super) fn new(sftp: &Sftp, file: RemoteFile, at: u64, end: Option<u64>) -> Ahead {
        let block = u64::from(sftp.limits().read);
        let depth = usize::try_from(ON_THE_WAY / block.max(1)).unwrap_or(1).max(2);
        Ahead { file: Arc::new(file), block, depth, at, end, running: FuturesOrdered::new() }
    }

    /// The next bytes; empty at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<Bytes>, Fault> {
        let Some(end) = self.end else { return self.unsaid().await };
        while self.running.len() < self.depth && self.at < end {
            let length = u32::try_from(self.block.min(end - self.at)).unwrap_or(0);
            let (file, at) = (self.file.clone(), self.at);
            self.running.push_back(Box::pin(async move { far_block(&file, at, length).await }));
            self.at += u64::from(length);
        }
        self.running.next().await.unwrap_or_else(|| Ok(Vec::new()))
    }

    async fn unsaid(&mut self) -> Result<Vec<Bytes>, Fault> {
        let length = u32::try_from(self.block).unwrap_or(u32::MAX);
        match self.file.read(self.at, length).await {
            Ok(pieces) => {
                self.at += pieces.iter().map(|p| p.len() as u64).sum::<u64>();
                Ok(pieces)
            }
            Err(error) if error.is_eof() => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}
