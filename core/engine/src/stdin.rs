//! The stdin of a run, read once and given to every node.
//!
//! One node gets it straight, with back-pressure. For many nodes it is kept until the run ends, in
//! memory first and then in an unlinked file, so that each node reads at its own speed, a node
//! that does not read at all delays nobody, and one that starts late gets everything. Nothing is
//! read before a node is there for it.

use crate::descriptor::Reader;
use crate::failure::{plain, reason};
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::link::StreamReceiver;
use bssh_protocol::lock;
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

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
    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        match self {
            Origin::Descriptor(reader) => reader.next().await.map_err(Broken::unread),
            Origin::Link(receiver) => match receiver.next().await.transpose() {
                Ok(bytes) => Ok(bytes),
                // A link that is lost ends the run anyway.
                Err(_) if receiver.has_lost_its_link() => Ok(None),
                Err(error) => Err(Broken::Reset(error.message.into())),
            },
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
    progress: watch::Sender<Progress>,
    /// A node wants something.
    wanted: Notify,
}

#[derive(Default)]
struct Progress {
    /// Bytes kept so far.
    length: u64,
    /// Nothing more comes: that is all, or the rest could not be kept.
    end: Option<Result<(), Broken>>,
}

/// Why nobody can be given the rest of stdin. Its end must not be told in its place: a command
/// would take the part for the whole.
#[derive(Debug, Clone)]
pub(crate) enum Broken {
    /// Its file cannot be read to the end.
    Unread(Arc<str>),
    /// There is no room to keep it for the others.
    Unkept(Arc<str>),
    /// The frontend has given it up.
    Reset(Arc<str>),
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
    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        match self {
            Place::Null => Ok(None),
            Place::Direct(origin) => origin.next().await,
            Place::Shared { spool, at } => {
                let bytes = spool.read(*at).await?;
                *at += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                Ok(bytes)
            }
        }
    }
}

impl Broken {
    fn unread(error: rustix::io::Errno) -> Broken {
        Broken::Unread(reason(error).into())
    }

    /// What that is for a node.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Broken::Unread(why) => {
                let text = format!("stdin could not be read to its end: {why}");
                plain(Phase::Exec, "stdinLost", text)
            }
            Broken::Unkept(why) => {
                let text = format!("stdin could not be kept for all nodes: {why}");
                let hint =
                    "what is beyond 1 MiB needs room in the directory for temporary files (TMPDIR)";
                Failure { hint: Some(hint.to_owned()), ..plain(Phase::Exec, "stdinLost", text) }
            }
            Broken::Reset(why) => {
                let text = format!("stdin was given up before its end: {why}");
                plain(Phase::Exec, "stdinReset", text)
            }
        }
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Broken::Unkept(error.to_string().into())
    }
}

impl Spool {
    pub(crate) fn new() -> Arc<Self> {
        let (kept, progress) = (Mutex::default(), watch::Sender::default());
        Arc::new(Spool { kept, progress, wanted: Notify::new() })
    }

    /// Reads the origin to its end, once a node wants something. Run it beside the nodes.
    pub(crate) async fn fill(&self, mut origin: Origin) {
        self.wanted.notified().await;
        let end = loop {
            let bytes = match origin.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break Ok(()),
                Err(broken) => break Err(broken),
            };
            if let Err(error) = self.keep(&bytes) {
                break Err(error.into());
            }
            self.progress.send_modify(|p| p.length += bytes.len() as u64);
        };
        self.progress.send_modify(|p| p.end = Some(end));
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

    async fn read(&self, at: u64) -> Result<Option<Bytes>, Broken> {
        self.wanted.notify_one();
        let mut progress = self.progress.subscribe();
        let length = match progress.wait_for(|p| p.length > at || p.end.is_some()).await {
            Ok(progress) => {
                progress.end.clone().unwrap_or(Ok(()))?;
                progress.length
            }
            // The sender lives as long as we do.
            Err(_) => return Ok(None),
        };
        let left = usize::try_from(length.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
        if left == 0 {
            return Ok(None);
        }
        let kept = self.kept();
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(rest @ [_, ..]) = kept.memory.get(from..) {
            return Ok(Some(Bytes::copy_from_slice(rest.get(..left).unwrap_or(rest))));
        }
        let Some(file) = &kept.file else { return Ok(None) };
        let mut buffer = vec![0_u8; left];
        let n = file.read_at(&mut buffer, at - kept.memory.len() as u64)?;
        if n == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        buffer.truncate(n);
        Ok(Some(buffer.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_kept_has_no_end() {
        for (kept, is_whole) in [(None, true), (Some("/dev/null"), false)] {
            let spool = Spool::new();
            // Open for reading only: nothing can be kept there.
            spool.kept().file = kept.map(|path| File::open(path).unwrap());
            let (read, write) = rustix::pipe::pipe().unwrap();
            rustix::io::write(&write, b"some").unwrap();
            drop(write);
            let origin = Origin::Descriptor(Reader::new(read).unwrap());
            let mut place = Stdin::Shared(spool.clone()).open().await;
            let ((), first) = tokio::join!(spool.fill(origin), place.next());
            match is_whole {
                true => {
                    assert_eq!(first.unwrap().unwrap(), &b"some"[..]);
                    assert!(place.next().await.unwrap().is_none());
                }
                false => assert_eq!(first.unwrap_err().failure().code, "stdinLost"),
            }
        }
    }
}
