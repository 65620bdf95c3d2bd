//! The stdin of a run, read once and given to every node.
//!
//! One node gets it straight, with back-pressure. For many nodes it is kept until the run ends, in
//! memory first and then in an unlinked file, so that each node reads at its own speed, a node
//! that does not read at all delays nobody, and one that starts late gets everything.

use crate::descriptor::Reader;
use bssh_protocol::link::StreamReceiver;
use bssh_protocol::lock;
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// Kept in memory before a file is used, in bytes.
const IN_MEMORY: usize = 1 << 20;
/// Largest chunk handed out, in bytes.
const CHUNK: usize = 32 * 1024;

/// Where the bytes come from.
pub(crate) enum Origin {
    Descriptor(Reader),
    Link(StreamReceiver),
}

impl Origin {
    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Origin::Descriptor(reader) => reader.next().await,
            // A link that is lost ends the run anyway.
            Origin::Link(receiver) => receiver.next().await.and_then(Result::ok),
        }
    }
}

/// The stdin of a run.
pub(crate) enum Stdin {
    /// End of file at once.
    Null,
    /// For the only node of a run, taken once.
    Direct(tokio::sync::Mutex<Option<Origin>>),
    Shared(Arc<Spool>),
}

/// What has been read so far.
pub(crate) struct Spool {
    kept: Mutex<Kept>,
    /// Length so far, and whether that is all.
    progress: watch::Sender<(u64, bool)>,
}

#[derive(Default)]
struct Kept {
    memory: Vec<u8>,
    file: Option<File>,
}

/// One node's place in the stdin of its run.
pub(crate) enum Place {
    Null,
    Direct(Origin),
    Shared { spool: Arc<Spool>, at: u64 },
}

impl Stdin {
    /// A node's own view, from the beginning.
    pub(crate) async fn open(&self) -> Place {
        match self {
            Stdin::Null => Place::Null,
            Stdin::Direct(origin) => origin.lock().await.take().map_or(Place::Null, Place::Direct),
            Stdin::Shared(spool) => Place::Shared { spool: spool.clone(), at: 0 },
        }
    }
}

impl Place {
    /// The next bytes; none at the end. An unreadable spool ends it early, which cannot happen
    /// with a file of our own short of a broken disk.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        match self {
            Place::Null => None,
            Place::Direct(origin) => origin.next().await,
            Place::Shared { spool, at } => {
                let bytes = spool.read(*at).await?;
                *at += bytes.len() as u64;
                Some(bytes)
            }
        }
    }
}

impl Spool {
    pub(crate) fn new() -> Arc<Self> {
        let (progress, _) = watch::channel((0, false));
        Arc::new(Spool { kept: Mutex::default(), progress })
    }

    /// Reads the origin to its end. Run it beside the nodes.
    pub(crate) async fn fill(&self, mut origin: Origin) {
        while let Some(bytes) = origin.next().await {
            if let Err(error) = self.keep(&bytes) {
                tracing::warn!("cannot keep stdin for the nodes: {error}");
                break;
            }
            self.progress.send_modify(|(length, _)| *length += bytes.len() as u64);
        }
        self.progress.send_modify(|(_, all)| *all = true);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    fn keep(&self, bytes: &[u8]) -> std::io::Result<()> {
        let mut kept = self.kept();
        if kept.file.is_none() && kept.memory.len() + bytes.len() > IN_MEMORY {
            kept.file = Some(tempfile::tempfile()?);
        }
        match &mut kept.file {
            Some(file) => file.write_all(bytes),
            None => {
                kept.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    async fn read(&self, at: u64) -> Option<Bytes> {
        let mut progress = self.progress.subscribe();
        let (length, _) = *progress.wait_for(|(length, all)| *length > at || *all).await.ok()?;
        let left = usize::try_from(length.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
        if left == 0 {
            return None;
        }
        let kept = self.kept();
        let in_memory = kept.memory.len() as u64;
        if at < in_memory {
            let from = usize::try_from(at).ok()?;
            let to = (from + left).min(kept.memory.len());
            return kept.memory.get(from..to).map(Bytes::copy_from_slice);
        }
        let mut buffer = vec![0_u8; left];
        let n = kept.file.as_ref()?.read_at(&mut buffer, at - in_memory).ok()?;
        buffer.truncate(n);
        (n > 0).then(|| buffer.into())
    }
}
