//! `fs/openRead` and `fs/openWrite`: one file over the link, with credit.
//!
//! A read is a stream that ends with the file; refusing it closes the file. A write goes beside
//! the final name and takes it when the frontend ends the stream, so that the file is whole at
//! every moment; `fs/taskDone` says how it went.

use super::ahead::Ahead;
use super::small::{Target, commit, etag_text, target};
use super::task::Stop;
use super::{attr, error, failed, fs_error};
use crate::engine::{Caller, Engine};
use crate::failure::plain;
use crate::transfer::Fault;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::Phase;
use bssh_protocol::link::{Link, StreamReceiver, StreamSender};
use bssh_protocol::methods::FsTaskDoneEvent;
use bssh_protocol::task::{
    FS_WINDOW, FsOpenReadParams, FsOpenWriteParams, FsOpened, FsTaskDone, FsWriting, TaskId,
};
use bssh_ssh::sftp::{Attrs, Block, FileKind, RemoteFile, Sftp, flags};
use futures_util::stream::{FuturesUnordered, StreamExt};
use ring::digest::{Context, SHA256};
use std::sync::Arc;

/// Writes of one file on the way.
const WRITES: usize = 32;
/// Largest window a frontend may ask for.
const LARGEST_WINDOW: u64 = 64 << 20;

/// A read that is about to start: answer first, then [`Engine::fs_read_launch`].
pub struct PreparedRead {
    pub opened: FsOpened,
    ahead: Ahead,
    sender: StreamSender,
}

/// A write that is about to start: answer first, then [`Engine::fs_write_launch`].
pub struct PreparedWrite {
    pub writing: FsWriting,
    link: Link,
    stop: Arc<Stop>,
    work: Writing,
}

/// A file that was made to be written to. It is removed unless somebody sees to it: whoever
/// writes may end at any await.
struct Part {
    sftp: Sftp,
    path: Vec<u8>,
    cared_for: bool,
}

impl Part {
    /// Makes it, in a task of its own: the node makes it whatever becomes of who asked.
    async fn create(sftp: &Sftp, path: Vec<u8>) -> Result<(Part, RemoteFile), CallError> {
        let sftp = sftp.clone();
        let made = tokio::spawn(async move {
            let how = flags::WRITE | flags::CREATE | flags::EXCLUSIVE;
            let file = sftp.open_file(&path, how, &Attrs::default()).await.map_err(error)?;
            Ok((Part { sftp, path, cared_for: false }, file))
        });
        made.await.map_err(|e| CallError::new(Kind::Internal, e.to_string()))?
    }

    /// It has its final name, or is gone.
    fn seen_to(&mut self) {
        self.cared_for = true;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.cared_for {
            let (sftp, path) = (self.sftp.clone(), std::mem::take(&mut self.path));
            runtime.spawn(async move { sftp.remove(&path).await });
        }
    }
}

/// A file that is being written.
struct Writing {
    sftp: Sftp,
    target: Target,
    part: Part,
    file: RemoteFile,
    receiver: StreamReceiver,
    size: Option<u64>,
    mode: Option<u32>,
}

impl Engine {
    /// `fs/openRead`: opens the file.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_open_read(
        &self,
        caller: &Caller,
        p: FsOpenReadParams,
    ) -> Result<PreparedRead, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let file = sftp.open_file(&path, flags::READ, &Attrs::default()).await.map_err(error)?;
        let attrs = file.stat().await.map_err(error)?;
        if attrs.kind() == FileKind::Dir {
            return Err(fs_error("fs.io", "is a directory"));
        }
        let size = attrs.size.unwrap_or(0);
        // What claims to be empty may not be (as in /proc): it is read until it ends.
        let end = match (size, p.length) {
            (0, None) => None,
            (0, Some(length)) => Some(p.offset.saturating_add(length)).filter(|_| length == 0),
            (size, length) => Some(length.map_or(size, |n| p.offset.saturating_add(n).min(size))),
        };
        let window = p.window.unwrap_or(FS_WINDOW).clamp(1, LARGEST_WINDOW);
        let sender = caller.link.new_sender(window);
        let opened = FsOpened { stream: sender.id(), attr: attr(&attrs) };
        Ok(PreparedRead { opened, ahead: Ahead::new(&sftp, file, p.offset, end), sender })
    }

    /// Sends the file; run it once the answer is on its way.
    pub async fn fs_read_launch(self: Arc<Self>, prepared: PreparedRead) {
        let PreparedRead { mut ahead, mut sender, .. } = prepared;
        self.spawn(async move {
            loop {
                let pieces = match ahead.next().await {
                    Ok(pieces) => pieces,
                    Err(fault) => return sender.reset(failed(fault)),
                };
                if pieces.is_empty() {
                    // A frontend that has gone needs no end.
                    let _ = sender.finish().await;
                    return;
                }
                for piece in pieces {
                    // Refused: dropping the sender says so, and the file is closed.
                    if sender.write(piece).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
    }

    /// `fs/openWrite`: makes the file that will take the name.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`]; `fs.conflict`.
    pub async fn fs_open_write(
        &self,
        caller: &Caller,
        p: FsOpenWriteParams,
    ) -> Result<PreparedWrite, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let target = target(&sftp, path, p.if_etag.as_deref()).await?;
        let task = self.new_id();
        let (part, file) = Part::create(&sftp, target.beside(task)).await?;
        let (stream, window) = (caller.link.new_stream_id(), FS_WINDOW);
        let receiver = caller.link.receiver(stream, window);
        let stop = self.fs_tasks.add(task, "write", &target.path);
        let work = Writing { sftp, part, file, receiver, size: p.size, mode: p.mode, target };
        let writing = FsWriting { task, stream, window };
        Ok(PreparedWrite { writing, link: caller.link.clone(), stop, work })
    }

    /// Writes what comes; run it once the answer is on its way.
    pub async fn fs_write_launch(self: Arc<Self>, prepared: PreparedWrite) {
        let PreparedWrite { writing, link, stop, mut work } = prepared;
        let engine = self.clone();
        self.spawn(async move {
            let task = writing.task;
            let done = tokio::select! {
                done = work.carry(task) => done,
                () = stop.wait() => Err(CallError::new(Kind::CancelledByCaller, "cancelled")),
            };
            let done = match done {
                Ok(done) => done,
                Err(why) => {
                    // What is left there is of no use; the cause is what matters.
                    let _ = work.sftp.remove(&work.part.path).await;
                    refused(task, &why)
                }
            };
            work.part.seen_to();
            engine.fs_tasks.remove(task);
            let _ = link.notify::<FsTaskDoneEvent>(&done).await;
        })
        .await;
    }
}

fn refused(task: TaskId, why: &CallError) -> FsTaskDone {
    let kind = why.data.as_ref().map(|data| data.kind.as_str()).unwrap_or_default();
    let code = kind.rsplit('.').next().unwrap_or_default();
    let failure = Some(plain(Phase::Transfer, code, why.message.clone()));
    FsTaskDone { task, failure, ..FsTaskDone::default() }
}

impl Writing {
    async fn carry(&mut self, task: TaskId) -> Result<FsTaskDone, CallError> {
        let block = (self.sftp.limits().write as usize).max(1);
        let mut hash = Context::new(&SHA256);
        let (mut running, mut at, mut bytes) = (FuturesUnordered::new(), 0_u64, 0_u64);
        let mut next = Block::new(block);
        let file = &self.file;
        let send = |at: u64, data: Block| async move { file.write(at, data).await };
        while let Some(piece) = self.receiver.next().await {
            let mut piece = piece?;
            hash.update(&piece);
            bytes += piece.len() as u64;
            if self.size.is_some_and(|size| bytes > size) {
                return Err(fs_error("fs.io", "more bytes came than were announced"));
            }
            while !piece.is_empty() {
                let now = piece.split_to(piece.len().min(block - next.len()));
                next.extend(&now);
                if next.len() == block {
                    let full = std::mem::replace(&mut next, Block::new(block));
                    running.push(send(at, full));
                    at += block as u64;
                }
            }
            while running.len() >= WRITES {
                running.next().await.unwrap_or(Ok(())).map_err(error)?;
            }
        }
        if !next.is_empty() {
            running.push(send(at, next));
        }
        while let Some(written) = running.next().await {
            written.map_err(error)?;
        }
        if self.size.is_some_and(|size| bytes != size) {
            return Err(fs_error("fs.io", "fewer bytes came than were announced"));
        }
        let attrs = commit(&self.sftp, file, (&self.part.path, &self.target), self.mode).await?;
        Ok(FsTaskDone {
            task,
            files: 1,
            bytes,
            attr: Some(attr(&attrs)),
            etag: Some(etag_text(&hash.finish())),
            ..FsTaskDone::default()
        })
    }
}

/// The name of what is in a file, read through.
pub(super) async fn etag_of(sftp: &Sftp, path: &[u8]) -> Result<String, CallError> {
    let file = sftp.open_file(path, flags::READ, &Attrs::default()).await.map_err(error)?;
    let size = file.stat().await.map_err(error)?.size.filter(|size| *size > 0);
    let mut ahead = Ahead::new(sftp, file, 0, size);
    let mut hash = Context::new(&SHA256);
    loop {
        let pieces = ahead.next().await.map_err(|fault: Fault| failed(fault))?;
        if pieces.is_empty() {
            return Ok(etag_text(&hash.finish()));
        }
        pieces.iter().for_each(|piece| hash.update(piece));
    }
}
