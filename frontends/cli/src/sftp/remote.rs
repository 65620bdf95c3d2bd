//! The node as `sftp` sees it: a working directory, and requests whose failures are told in its
//! words.

use super::{Trouble, failed};
use crate::say;
use bssh_client::Core;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::Targets;
use bssh_protocol::fs::{Attr, FsEntry, FsFeatures, FsListParams, FsPath};
use bssh_protocol::methods::{FsFeaturesOf, FsList, FsLstat, FsRealpath, FsStat, Method};
use bssh_protocol::transfer::PathBytes;

/// A page of a listing.
const PAGE: u32 = 5000;

/// One connection's worth of a node.
pub(super) struct Remote<'a> {
    pub core: &'a Core,
    pub targets: Targets,
    pub cwd: Vec<u8>,
    /// Where it began.
    pub home: Vec<u8>,
    pub features: FsFeatures,
}

impl<'a> Remote<'a> {
    /// Connects. What is wrong has been said.
    pub(super) async fn connect(core: &'a Core, targets: Targets) -> Result<Remote<'a>, ()> {
        let told = |error: &CallError| {
            say(&format!("bssh: {}", error.advised()));
            say("Connection closed");
        };
        let at = FsPath { targets: targets.clone(), path: PathBytes(b".".to_vec()) };
        let features = core.call::<FsFeaturesOf>(&at).await.map_err(|e| told(&e))?;
        let home = core.call::<FsRealpath>(&at).await.map_err(|e| told(&e))?.path.0;
        Ok(Remote { core, targets, cwd: home.clone(), home, features })
    }

    pub(super) fn at(&self, path: &[u8]) -> FsPath {
        FsPath { targets: self.targets.clone(), path: PathBytes(path.to_vec()) }
    }

    /// A path that begins at the working directory, or at the root.
    pub(super) fn absolute(&self, path: &[u8]) -> Vec<u8> {
        match path {
            [b'/', ..] => path.to_vec(),
            _ => join(&self.cwd, path),
        }
    }

    /// Asks something, and says what is wrong in front of the reason.
    pub(super) async fn ask<M: Method>(
        &self,
        params: &M::Params,
        what: impl FnOnce() -> String,
    ) -> Result<M::Result, Trouble> {
        self.core.call::<M>(params).await.map_err(|error| match lost(&error) {
            true => gone(&error),
            false => failed(&format!("{}: {}", what(), words(&error))),
        })
    }

    /// Asks something that may fail without a word.
    async fn try_ask<M: Method>(&self, params: &M::Params) -> Result<Option<M::Result>, Trouble> {
        match self.core.call::<M>(params).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if lost(&error) => Err(gone(&error)),
            Err(_) => Ok(None),
        }
    }

    /// What is there, links followed.
    pub(super) async fn stat(&self, path: &[u8]) -> Result<Option<Attr>, Trouble> {
        self.try_ask::<FsStat>(&self.at(path)).await
    }

    /// What is there itself.
    pub(super) async fn lstat(&self, path: &[u8]) -> Result<Option<Attr>, Trouble> {
        self.try_ask::<FsLstat>(&self.at(path)).await
    }

    pub(super) async fn is_dir(&self, path: &[u8]) -> Result<bool, Trouble> {
        Ok(self.stat(path).await?.is_some_and(|attr| attr.r#type == "dir"))
    }

    /// A directory; none if it cannot be read.
    pub(super) async fn try_list(&self, path: &[u8]) -> Result<Option<Vec<FsEntry>>, Trouble> {
        let asked = self.pages(path, false).await;
        match asked {
            Ok(entries) => Ok(Some(entries)),
            Err(error) if lost(&error) => Err(gone(&error)),
            Err(_) => Ok(None),
        }
    }

    /// A directory with its owners' names.
    pub(super) async fn list(&self, path: &[u8]) -> Result<Vec<FsEntry>, Trouble> {
        self.pages(path, true).await.map_err(|error| match lost(&error) {
            true => gone(&error),
            false => failed(&format!("remote readdir(\"{}\"): {}", shown(path), words(&error))),
        })
    }

    async fn pages(&self, path: &[u8], long: bool) -> Result<Vec<FsEntry>, CallError> {
        let mut params = FsListParams { at: self.at(path), cursor: None, limit: Some(PAGE), long };
        let mut entries = Vec::new();
        loop {
            let page = self.core.call::<FsList>(&params).await?;
            entries.extend(page.entries);
            params.cursor = page.cursor;
            if params.cursor.is_none() {
                return Ok(entries);
            }
        }
    }
}

fn lost(error: &CallError) -> bool {
    let kinds = [Kind::Disconnected, Kind::AuthFailed, Kind::HostKeyChanged, Kind::HostKeyUnknown];
    kinds.iter().any(|kind| kind.code() == error.code)
}

fn gone(error: &CallError) -> Trouble {
    say(&format!("bssh: {}", error.advised()));
    say("Connection closed");
    Trouble::Lost
}

/// Why, as sftp says it.
pub(super) fn words(error: &CallError) -> &'static str {
    let kind = error.data.as_ref().map(|data| data.kind.as_str());
    reason(kind.unwrap_or_default().trim_start_matches("fs."))
}

/// A fault's code as sftp says it.
pub(super) fn reason(code: &str) -> &'static str {
    match code {
        "notFound" => "No such file or directory",
        "permission" => "Permission denied",
        "unsupported" => "Operation unsupported",
        _ => "Failure",
    }
}

/// `a` and `b` with one slash between.
pub(super) fn join(a: &[u8], b: &[u8]) -> Vec<u8> {
    match a.last() {
        None => b.to_vec(),
        Some(b'/') => [a, b].concat(),
        Some(_) => [a, b"/", b].concat(),
    }
}

/// A path for people.
pub(super) fn shown(path: &[u8]) -> String {
    bssh_term::plain(path)
}
