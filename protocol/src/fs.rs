//! Files on one node, for editors and scripts: small requests, each answered when it is done.
//!
//! Whole trees and large files are transfers ([`crate::transfer`]). What fails is an error with
//! code 1050 and a kind: `fs.notFound`, `fs.permission`, `fs.exists`, `fs.notEmpty`, `fs.noSpace`,
//! `fs.unsupported`, `fs.io`; 1051, `fs.conflict`, says that a file is not what it was.

use crate::exec::Targets;
use crate::stream::Base64Bytes;
use crate::transfer::PathBytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A path on a node. Relative ones start in the user's home; `~` and `~user` are understood.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsPath {
    /// Exactly one node.
    #[serde(flatten)]
    pub targets: Targets,
    pub path: PathBytes,
}

/// `fs/close`: ends the connection that is kept for a node's files.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsClose {
    /// Exactly one node.
    #[serde(flatten)]
    pub targets: Targets,
}

/// Result of `fs/close`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct FsClosed {
    /// There was one.
    #[serde(default)]
    pub closed: bool,
}

/// What is known about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Attr {
    /// `file`, `dir`, `link`, `special` or `unknown`.
    pub r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// The server knows whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atime_ms: Option<u64>,
}

/// Result of `fs/realpath` and `fs/readlink`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FsName {
    pub path: PathBytes,
}

/// Result of `fs/statvfs`, in bytes and inodes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsSpace {
    pub total: u64,
    pub free: u64,
    /// For users other than root.
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub read_only: bool,
}

/// `fs/list`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsListParams {
    #[serde(flatten)]
    pub at: FsPath,
    /// Where the page before ended. The listing is the one that was begun with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Entries at once. None: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Also the line the server would show.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub long: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct FsListing {
    /// Sorted by name, without `.` and `..`.
    pub entries: Vec<FsEntry>,
    /// There is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FsEntry {
    pub name: PathBytes,
    /// Of a link: its own.
    pub attr: Attr,
    /// The server's own line about it, as `ls -l` would print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<PathBytes>,
}

/// `fs/readSmall`: a whole file in one answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsReadParams {
    #[serde(flatten)]
    pub at: FsPath,
    /// More is an error. None: 1 MiB; at most 8 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FsContent {
    pub data: Base64Bytes,
    pub attr: Attr,
    /// Names this content: the first 16 bytes of its SHA-256 in hex.
    pub etag: String,
}

/// `fs/writeSmall`: a whole file at once.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsWriteParams {
    #[serde(flatten)]
    pub at: FsPath,
    pub data: Base64Bytes,
    /// Only if the file still has this content; empty: only if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_etag: Option<String>,
    /// Permission bits. None: those of the file that is there, else the server's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FsWritten {
    pub attr: Attr,
    pub etag: String,
}

/// `fs/mkdir`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsMakeParams {
    #[serde(flatten)]
    pub at: FsPath,
    /// Also the directories above; one that is there is no error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parents: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// `fs/remove`. A link is removed, never what it points to.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsRemoveParams {
    #[serde(flatten)]
    pub at: FsPath,
    /// A directory with all that is in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
    /// Only if it is that: `file` (anything but a directory) or `dir`. None: whatever it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FsRemoved {
    pub removed: u64,
}

/// `fs/rename`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsRenameParams {
    #[serde(flatten)]
    pub at: FsPath,
    pub to: PathBytes,
    /// Replace a file that is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overwrite: bool,
}

/// `fs/setattr`: chmod, chown and utime. What is absent stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsAttrParams {
    #[serde(flatten)]
    pub at: FsPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// User and group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
    /// Access and change; seconds count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times_ms: Option<(u64, u64)>,
    /// Of a link itself, not of what it points to.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_follow: bool,
}

/// `fs/symlink`: makes `path` point to `target`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsLinkParams {
    #[serde(flatten)]
    pub at: FsPath,
    pub target: PathBytes,
}

/// `fs/link`: a second name for the file `path`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsHardLinkParams {
    #[serde(flatten)]
    pub at: FsPath,
    /// The new name.
    pub to: PathBytes,
}

/// Result of `fs/features`: what a node's file server can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsFeatures {
    /// Extensions by name, e.g. `copy-data`.
    pub extensions: Vec<String>,
    /// Bytes of one read and of one write.
    pub read: u32,
    pub write: u32,
    /// Files that may be open at once.
    pub handles: u32,
    /// How long one request takes, in microseconds.
    pub round_trip_us: u64,
}

/// `fs/owners`: names of users and groups. The path does not matter.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsOwnersParams {
    #[serde(flatten)]
    pub at: FsPath,
    pub users: Vec<u32>,
    pub groups: Vec<u32>,
}

/// Names in the order of the numbers; empty where the node knows none.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsOwnerNames {
    pub users: Vec<PathBytes>,
    pub groups: Vec<PathBytes>,
}
