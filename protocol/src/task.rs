//! Work on files that takes its time: streamed reads and writes, copies, and their tasks.
//!
//! `fs/openRead` and `fs/openWrite` carry one file over the link, with credit as every stream;
//! `fs/copy` carries files and directories between here and a node, or between two nodes, and
//! their bytes never cross the link. A write and a copy are tasks: each ends with exactly one
//! `fs/taskDone`. A task's copies report by `$/progress` where the request had a `progressToken`.

use crate::exec::{Failure, Targets};
use crate::fs::{Attr, FsPath};
use crate::stream::StreamId;
use crate::transfer::{FileFault, PathBytes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A task's handle: unique per core process, never reused.
pub type TaskId = u64;

/// What a request wants its progress to be known by: any JSON.
pub type ProgressToken = serde_json::Value;

/// First credit of a file's stream, in bytes.
pub const FS_WINDOW: u64 = 4 << 20;

/// `fs/openRead`: a file, or a part of one, as a stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsOpenReadParams {
    #[serde(flatten)]
    pub at: FsPath,
    /// Where to begin.
    pub offset: u64,
    /// At most so many bytes. None: to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// First credit. None: 4 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

/// Result of `fs/openRead`. The stream ends with `stream/end`, or with `stream/reset` if the file
/// cannot be read to its end. Refusing the stream closes the file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FsOpened {
    pub stream: StreamId,
    pub attr: Attr,
}

/// `fs/openWrite`: a whole file from a stream.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsOpenWriteParams {
    #[serde(flatten)]
    pub at: FsPath,
    /// How many bytes will come; another number is a fault. None: as many as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Permission bits. None: those of the file that is there, else the server's choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Only if the file still has this content; empty: only if it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_etag: Option<String>,
}

/// Result of `fs/openWrite`. `stream/end` gives the file its name, `stream/reset` leaves the old
/// one; `fs/taskDone` says how it went. Until then the old file is whole.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FsWriting {
    pub task: TaskId,
    pub stream: StreamId,
    /// First credit.
    pub window: u64,
}

/// One end of a copy.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsPlace {
    /// Exactly one node. None: here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Targets>,
    pub path: PathBytes,
}

/// `fs/copy`. A directory that is there receives the copy; anything else is the copy's own name.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsCopyParams {
    pub from: FsPlace,
    pub to: FsPlace,
    /// `to` is the copy's own name, also where a directory of that name is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
    /// Go on with what an earlier copy left.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resume: bool,
    /// Keep modes and times exactly.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preserve: bool,
    /// Read everything back and compare.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub checksum: bool,
    pub overwrite: Overwrite,
    /// Echoed in `$/progress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_token: Option<ProgressToken>,
}

/// What becomes of files that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Overwrite {
    /// They are replaced.
    #[default]
    Replace,
    /// Each is a fault, and stays as it is.
    Fail,
    /// They are replaced if the source was changed later.
    Newer,
}

/// Result of `fs/copy`, and what names a task.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct FsTaskRef {
    pub task: TaskId,
}

/// `fs/taskDone`: the last word on a task.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FsTaskDone {
    pub task: TaskId,
    pub files: u64,
    pub bytes: u64,
    pub skipped: u64,
    /// Why it is not complete. `filesFailed`: `errors` has the causes, the rest was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FileFault>,
    /// Of a written file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attr: Option<Attr>,
    /// Names a written file's content, as `fs/readSmall` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// `fs/taskList`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct FsTaskList {
    pub tasks: Vec<FsTaskEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FsTaskEntry {
    pub task: TaskId,
    /// `copy` or `write`.
    pub kind: String,
    /// Where to.
    pub path: PathBytes,
    pub running_ms: u64,
}
