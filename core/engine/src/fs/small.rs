//! Whole files in one request, with the content's own name (its hash) to tell changes by.

use super::stream::etag_of;
use super::{attr, error, failed, fs_error};
use crate::engine::{Caller, Engine};
use crate::transfer::{join, remote, split};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::fs::{FsContent, FsReadParams, FsWriteParams, FsWritten};
use bssh_protocol::stream::Base64Bytes;
use bssh_ssh::sftp::{Attrs, Block, FileKind, RemoteFile, Sftp, flags};
use bytes::Bytes;
use futures_util::future::try_join_all;
use ring::digest::{Digest, SHA256, digest};

/// Largest file in one answer, if nothing else is said.
const SMALL: u64 = 1 << 20;
/// An answer has to fit a frame, in base64.
const LARGEST: u64 = 8 << 20;

impl Engine {
    /// `fs/readSmall`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`]; `limit.exceeded` for a file that is too large.
    pub async fn fs_read_small(
        &self,
        caller: &Caller,
        p: FsReadParams,
    ) -> Result<FsContent, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let most = p.max_bytes.unwrap_or(SMALL).min(LARGEST);
        let (data, attrs) = read(&sftp, &path, most).await?;
        let etag = etag(&data);
        Ok(FsContent { data: Base64Bytes(data), attr: attr(&attrs), etag })
    }

    /// `fs/writeSmall`: the file is whole at every moment.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`]; `fs.conflict`.
    pub async fn fs_write_small(
        &self,
        caller: &Caller,
        p: FsWriteParams,
    ) -> Result<FsWritten, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let target = target(&sftp, path, p.if_etag.as_deref()).await?;
        let part = target.beside(self.new_id());
        let attrs = write(&sftp, (&part, &target), &p.data.0, p.mode).await;
        if attrs.is_err() {
            // The cause is what matters.
            let _ = sftp.remove(&part).await;
        }
        Ok(FsWritten { attr: attr(&attrs?), etag: etag(&p.data.0) })
    }
}

/// A file that is to be written, and what is there.
pub(super) struct Target {
    pub path: Vec<u8>,
    pub old: Option<Attrs>,
}

impl Target {
    /// A name nobody has, in the same directory.
    pub(super) fn beside(&self, id: u64) -> Vec<u8> {
        join(split(&self.path).0, format!(".bssh-fs-{id:x}.tmp").as_bytes())
    }
}

/// Where the file really is (a link is followed), if it may be written.
pub(super) async fn target(
    sftp: &Sftp,
    mut path: Vec<u8>,
    if_etag: Option<&str>,
) -> Result<Target, CallError> {
    let mut old = remote::lstat(sftp, &path).await.map_err(failed)?;
    if old.is_some_and(|a| a.kind() == FileKind::Link) {
        path = sftp.real_path(&path).await.map_err(error)?.to_vec();
        old = remote::stat(sftp, &path).await.map_err(failed)?;
    }
    if let Some(kind) = old.map(|a| a.kind()).filter(|k| *k != FileKind::File) {
        let text = format!("no file, but another thing ({kind:?}) is there");
        return Err(fs_error("fs.exists", text));
    }
    if let Some(wanted) = if_etag {
        unchanged(sftp, &path, (wanted, old.is_some())).await?;
    }
    Ok(Target { path, old })
}

async fn unchanged(
    sftp: &Sftp,
    path: &[u8],
    (wanted, is_there): (&str, bool),
) -> Result<(), CallError> {
    let conflict = |text: &str| Err(CallError::new(Kind::FsConflict, text));
    match (wanted.is_empty(), is_there) {
        (true, true) => conflict("the file is there already"),
        (true, false) => Ok(()),
        (false, false) => conflict("the file is gone"),
        (false, true) => match etag_of(sftp, path).await? == wanted {
            true => Ok(()),
            false => conflict("the file was changed by somebody else"),
        },
    }
}

async fn read(sftp: &Sftp, path: &[u8], most: u64) -> Result<(Bytes, Attrs), CallError> {
    let file = sftp.open_file(path, flags::READ, &Attrs::default()).await.map_err(error)?;
    let attrs = file.stat().await.map_err(error)?;
    if attrs.kind() == FileKind::Dir {
        return Err(fs_error("fs.io", "is a directory"));
    }
    let mut data = Vec::new();
    let limit = sftp.limits().read;
    loop {
        match file.read(data.len() as u64, limit).await {
            Ok(pieces) => pieces.iter().for_each(|piece| data.extend_from_slice(piece)),
            Err(e) if e.is_eof() => return Ok((data.into(), attrs)),
            Err(e) => return Err(error(e)),
        }
        if data.len() as u64 > most {
            let text = format!("the file is larger than {most} bytes");
            return Err(CallError::new(Kind::LimitExceeded, text));
        }
    }
}

async fn write(
    sftp: &Sftp,
    (part, target): (&[u8], &Target),
    data: &[u8],
    mode: Option<u32>,
) -> Result<Attrs, CallError> {
    let how = flags::WRITE | flags::CREATE | flags::EXCLUSIVE;
    let file = sftp.open_file(part, how, &Attrs::default()).await.map_err(error)?;
    let size = sftp.limits().write as usize;
    let blocks = data.chunks(size.max(1)).enumerate();
    let blocks = blocks.map(|(n, chunk)| block(&file, (n * size) as u64, chunk));
    try_join_all(blocks).await.map_err(error)?;
    commit(sftp, &file, (part, target), mode).await
}

/// Gives a file that is complete its mode and its name.
pub(super) async fn commit(
    sftp: &Sftp,
    file: &RemoteFile,
    (part, target): (&[u8], &Target),
    mode: Option<u32>,
) -> Result<Attrs, CallError> {
    let mode = mode.or(target.old.and_then(|a| a.mode)).map(|mode| mode & 0o7777);
    if mode.is_some() {
        file.set_stat(&Attrs { mode, ..Attrs::default() }).await.map_err(error)?;
    }
    let attrs = file.stat().await.map_err(error)?;
    file.close().await.map_err(error)?;
    match sftp.rename(part, &target.path).await {
        // Without posix-rename the old file has to go first.
        Err(e)
            if target.old.is_some() && !e.is_fatal() && !sftp.has("posix-rename@openssh.com") =>
        {
            sftp.remove(&target.path).await.map_err(error)?;
            sftp.rename(part, &target.path).await.map_err(error)?;
        }
        done => done.map_err(error)?,
    }
    Ok(attrs)
}

async fn block(file: &RemoteFile, at: u64, chunk: &[u8]) -> Result<(), bssh_ssh::sftp::SftpError> {
    let mut block = Block::new(chunk.len());
    block.extend(chunk);
    file.write(at, block).await
}

fn etag(data: &[u8]) -> String {
    etag_text(&digest(&SHA256, data))
}

pub(super) fn etag_text(hash: &Digest) -> String {
    hash.as_ref().iter().take(16).map(|b| format!("{b:02x}")).collect()
}
