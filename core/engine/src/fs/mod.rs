//! `fs/*`: single requests about files on one node, over a connection that is kept.
//!
//! Each is a few requests to the node's file server; whole trees are [`crate::transfer`]. Listings
//! that do not fit one page are kept for a while, a few at a time.

mod ahead;
mod reach;
mod small;
mod stream;
mod task;

pub(crate) use reach::Reach;
pub use stream::{PreparedRead, PreparedWrite};
pub use task::PreparedCopy;
pub(crate) use task::Tasks;

use crate::engine::{Caller, Engine};
use crate::transfer::{Fault, remote};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::fs::{
    Attr, FsAttrParams, FsEntry, FsFeatures, FsHardLinkParams, FsLinkParams, FsListParams,
    FsListing, FsMakeParams, FsName, FsOwnerNames, FsOwnersParams, FsPath, FsRemoveParams,
    FsRemoved, FsRenameParams, FsSpace,
};
use bssh_protocol::handshake::Empty;
use bssh_protocol::lock;
use bssh_protocol::transfer::PathBytes;
use bssh_ssh::sftp::{Attrs, Entry, FileKind, Sftp, SftpError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Entries of a page, if nothing else is said.
const PAGE: u32 = 1000;
const LARGEST_PAGE: u32 = 10_000;
/// Listings that are kept for their next page; the oldest goes.
const LISTINGS: usize = 16;

/// Listings under way.
#[derive(Default)]
pub(crate) struct Listings {
    kept: Mutex<VecDeque<(u64, Arc<Vec<Entry>>)>>,
}

impl Engine {
    /// `fs/stat`: links are followed.
    ///
    /// # Errors
    /// As all methods here: the connection's failure, or `fs.*`.
    pub async fn fs_stat(&self, caller: &Caller, at: FsPath) -> Result<Attr, CallError> {
        let (sftp, path) = self.fs_at(caller, &at).await?;
        Ok(attr(&sftp.stat(&path).await.map_err(error)?))
    }

    /// `fs/lstat`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_lstat(&self, caller: &Caller, at: FsPath) -> Result<Attr, CallError> {
        let (sftp, path) = self.fs_at(caller, &at).await?;
        Ok(attr(&sftp.lstat(&path).await.map_err(error)?))
    }

    /// `fs/realpath`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_realpath(&self, caller: &Caller, at: FsPath) -> Result<FsName, CallError> {
        let (sftp, path) = self.fs_at(caller, &at).await?;
        let path = sftp.real_path(&path).await.map_err(error)?;
        Ok(FsName { path: PathBytes(path.to_vec()) })
    }

    /// `fs/readlink`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_readlink(&self, caller: &Caller, at: FsPath) -> Result<FsName, CallError> {
        let (sftp, path) = self.fs_at(caller, &at).await?;
        let path = sftp.read_link(&path).await.map_err(error)?;
        Ok(FsName { path: PathBytes(path.to_vec()) })
    }

    /// `fs/statvfs`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_statvfs(&self, caller: &Caller, at: FsPath) -> Result<FsSpace, CallError> {
        let (sftp, path) = self.fs_at(caller, &at).await?;
        let s = sftp.space(&path).await.map_err(error)?;
        Ok(FsSpace {
            total: s.total,
            free: s.free,
            available: s.available,
            inodes: s.inodes,
            inodes_free: s.inodes_free,
            read_only: s.read_only,
        })
    }

    /// `fs/list`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`]; `handle.unknown` for a cursor that is too old.
    pub async fn fs_list(
        &self,
        caller: &Caller,
        params: FsListParams,
    ) -> Result<FsListing, CallError> {
        let limit = params.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE) as usize;
        let (id, from, entries) = match &params.cursor {
            Some(cursor) => self.listings.find(cursor)?,
            None => {
                let (sftp, path) = self.fs_at(caller, &params.at).await?;
                let entries = remote::list(&sftp, &path).await.map_err(failed)?;
                (self.new_id(), 0, Arc::new(entries))
            }
        };
        let page: Vec<&Entry> = entries.iter().skip(from).take(limit).collect();
        let page: Vec<_> = page.into_iter().map(|e| entry(e, params.long)).collect();
        let next = from + page.len();
        let more = next < entries.len();
        self.listings.keep(id, more.then_some(entries));
        Ok(FsListing { entries: page, cursor: more.then(|| format!("{id}:{next}")) })
    }

    /// `fs/mkdir`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_mkdir(&self, caller: &Caller, p: FsMakeParams) -> Result<Empty, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let attrs = Attrs { mode: p.mode, ..Attrs::default() };
        if p.parents {
            for (at, _) in path.iter().enumerate().filter(|(at, b)| **b == b'/' && *at > 0) {
                make_dir(&sftp, path.get(..at).unwrap_or_default(), &Attrs::default()).await?;
            }
            make_dir(&sftp, &path, &attrs).await?;
            return Ok(Empty {});
        }
        match sftp.make_dir(&path, &attrs).await {
            Ok(()) => Ok(Empty {}),
            Err(e)
                if !e.is_fatal()
                    && remote::lstat(&sftp, &path).await.is_ok_and(|a| a.is_some()) =>
            {
                Err(fs_error("fs.exists", "it is there already"))
            }
            Err(e) => Err(error(e)),
        }
    }

    /// `fs/remove`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_remove(
        &self,
        caller: &Caller,
        p: FsRemoveParams,
    ) -> Result<FsRemoved, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let kind = match p.only.as_deref() {
            None => sftp.lstat(&path).await.map_err(error)?.kind(),
            Some("dir") if !p.recursive => {
                sftp.remove_dir(&path).await.map_err(error)?;
                return Ok(FsRemoved { removed: 1 });
            }
            Some("file") if !p.recursive => FileKind::File,
            Some(_) => {
                let text = "params.only: expected file or dir, and not with `recursive`";
                return Err(CallError::new(Kind::InvalidParams, text).at("params.only"));
            }
        };
        let removed = match (kind, p.recursive) {
            (FileKind::Dir, false) => match sftp.remove_dir(&path).await {
                Ok(()) => 1,
                Err(e)
                    if !e.is_fatal()
                        && remote::list(&sftp, &path).await.is_ok_and(|l| !l.is_empty()) =>
                {
                    return Err(fs_error("fs.notEmpty", "the directory is not empty"));
                }
                Err(e) => return Err(error(e)),
            },
            _ => remote::remove_all(&sftp, &path, kind, 0).await.map_err(failed)?,
        };
        Ok(FsRemoved { removed })
    }

    /// `fs/rename`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`]; `fs.exists`.
    pub async fn fs_rename(&self, caller: &Caller, p: FsRenameParams) -> Result<Empty, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let to = remote::absolute(&sftp, &p.to.0).await.map_err(failed)?;
        if p.overwrite {
            sftp.rename(&path, &to).await.map_err(error)?;
            return Ok(Empty {});
        }
        match sftp.rename_new(&path, &to).await {
            Ok(()) => Ok(Empty {}),
            Err(e)
                if !e.is_fatal() && remote::lstat(&sftp, &to).await.is_ok_and(|a| a.is_some()) =>
            {
                Err(fs_error("fs.exists", "the new name is taken"))
            }
            Err(e) => Err(error(e)),
        }
    }

    /// `fs/setattr`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_setattr(&self, caller: &Caller, p: FsAttrParams) -> Result<Empty, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let seconds = |ms: u64| u32::try_from(ms / 1000).unwrap_or(u32::MAX);
        let attrs = Attrs {
            size: None,
            owner: p.owner,
            mode: p.mode.map(|mode| mode & 0o7777),
            times: p.times_ms.map(|(access, change)| (seconds(access), seconds(change))),
        };
        let set = match p.no_follow {
            true => sftp.set_lstat(&path, &attrs).await,
            false => sftp.set_stat(&path, &attrs).await,
        };
        set.map_err(error)?;
        Ok(Empty {})
    }

    /// `fs/symlink`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_symlink(&self, caller: &Caller, p: FsLinkParams) -> Result<Empty, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        sftp.symlink(&p.target.0, &path).await.map_err(error)?;
        Ok(Empty {})
    }

    /// `fs/link`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_link(&self, caller: &Caller, p: FsHardLinkParams) -> Result<Empty, CallError> {
        let (sftp, path) = self.fs_at(caller, &p.at).await?;
        let to = remote::absolute(&sftp, &p.to.0).await.map_err(failed)?;
        sftp.hard_link(&path, &to).await.map_err(error)?;
        Ok(Empty {})
    }

    /// `fs/features`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`].
    pub async fn fs_features(&self, caller: &Caller, at: FsPath) -> Result<FsFeatures, CallError> {
        let sftp = self.reach(caller, &at.targets).await?;
        let limits = sftp.limits();
        Ok(FsFeatures {
            extensions: sftp.extensions().map(|e| String::from_utf8_lossy(e).into()).collect(),
            read: limits.read,
            write: limits.write,
            handles: limits.handles,
            round_trip_us: u64::try_from(sftp.round_trip().as_micros()).unwrap_or(u64::MAX),
        })
    }

    /// `fs/owners`.
    ///
    /// # Errors
    /// As [`Engine::fs_stat`]; `fs.unsupported`.
    pub async fn fs_owners(
        &self,
        caller: &Caller,
        p: FsOwnersParams,
    ) -> Result<FsOwnerNames, CallError> {
        let sftp = self.reach(caller, &p.at.targets).await?;
        let (users, groups) = sftp.owners(&p.users, &p.groups).await.map_err(error)?;
        let names = |names: Vec<bytes::Bytes>| names.iter().map(|name| name[..].into()).collect();
        Ok(FsOwnerNames { users: names(users), groups: names(groups) })
    }

    /// The node's file server, and the path as it takes it.
    async fn fs_at(&self, caller: &Caller, at: &FsPath) -> Result<(Sftp, Vec<u8>), CallError> {
        if at.path.0.contains(&0) {
            let text = "params.path: expected a path without NUL";
            return Err(CallError::new(Kind::InvalidParams, text).at("params.path"));
        }
        let sftp = self.reach(caller, &at.targets).await?;
        let path = remote::absolute(&sftp, &at.path.0).await.map_err(failed)?;
        Ok((sftp, path))
    }
}

impl Listings {
    fn find(&self, cursor: &str) -> Result<(u64, usize, Arc<Vec<Entry>>), CallError> {
        let kept = lock(&self.kept);
        let found = cursor.split_once(':').and_then(|(id, from)| {
            let (id, from) = (id.parse().ok()?, from.parse().ok()?);
            let (_, entries) = kept.iter().find(|(known, _)| *known == id)?;
            Some((id, from, entries.clone()))
        });
        let unknown = || CallError::new(Kind::HandleUnknown, "the listing is not kept any more");
        found.ok_or_else(|| unknown().at("params.cursor"))
    }

    fn keep(&self, id: u64, entries: Option<Arc<Vec<Entry>>>) {
        let mut kept = lock(&self.kept);
        kept.retain(|(known, _)| *known != id);
        kept.extend(entries.map(|entries| (id, entries)));
        while kept.len() > LISTINGS {
            kept.pop_front();
        }
    }
}

/// Makes a directory unless it is there.
async fn make_dir(sftp: &Sftp, path: &[u8], attrs: &Attrs) -> Result<(), CallError> {
    let Err(refused) = sftp.make_dir(path, attrs).await else { return Ok(()) };
    match remote::stat(sftp, path).await.map_err(failed)?.map(|a| a.kind()) {
        Some(FileKind::Dir) => Ok(()),
        Some(_) => Err(fs_error("fs.exists", "something else is there")),
        None => Err(error(refused)),
    }
}

fn entry(entry: &Entry, long: bool) -> FsEntry {
    let long = (long && !entry.long.is_empty()).then(|| entry.long[..].into());
    FsEntry { name: entry.name[..].into(), attr: attr(&entry.attrs), long }
}

fn attr(attrs: &Attrs) -> Attr {
    let kind = match attrs.kind() {
        FileKind::File => "file",
        FileKind::Dir => "dir",
        FileKind::Link => "link",
        FileKind::Special => "special",
        FileKind::Unknown => "unknown",
    };
    Attr {
        r#type: kind.to_owned(),
        size: attrs.size,
        mode: attrs.mode.map(|mode| mode & 0o7777),
        uid: attrs.owner.map(|(user, _)| user),
        gid: attrs.owner.map(|(_, group)| group),
        mtime_ms: attrs.times.map(|(_, change)| u64::from(change) * 1000),
        atime_ms: attrs.times.map(|(access, _)| u64::from(access) * 1000),
    }
}

fn error(error: SftpError) -> CallError {
    failed(error.into())
}

/// A fault as the error of a call.
fn failed(fault: Fault) -> CallError {
    let kind = match fault.code {
        // Either way the file server is gone.
        "transportLost" | "protocolBroken" => {
            return CallError::new(Kind::Disconnected, fault.message);
        }
        "notFound" => "fs.notFound",
        "permission" => "fs.permission",
        "exists" => "fs.exists",
        "notEmpty" => "fs.notEmpty",
        "noSpace" => "fs.noSpace",
        "unsupported" => "fs.unsupported",
        _ => "fs.io",
    };
    fs_error(kind, fault.message)
}

fn fs_error(kind: &str, message: impl Into<String>) -> CallError {
    let mut error = CallError::new(Kind::Fs, message);
    if let Some(data) = &mut error.data {
        kind.clone_into(&mut data.kind);
    }
    error
}
