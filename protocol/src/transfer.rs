//! Transfers: files to and from many nodes.
//!
//! `transfer/start` answers at once with the transfer's handle and its nodes; then come
//! `transfer/node` events (connecting, connected, ended), `transfer/progress` now and then, and
//! last one `transfer/done`. The bytes of files never cross the link: the core reads and writes
//! them itself.

use crate::exec::{Connected, Failure, Summary, Targets, Threshold};
use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A transfer's handle: unique per core process, never reused.
pub type TransferId = u64;

/// A path or a name, which is bytes. In JSON a string, or `{"b64": …}` if it is not UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathBytes(pub Vec<u8>);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes { b64: crate::stream::Base64Bytes },
}

impl Serialize for PathBytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Bytes {
            b64: String,
        }
        match std::str::from_utf8(&self.0) {
            Ok(text) => s.serialize_str(text),
            Err(_) => {
                let b64 = base64::engine::general_purpose::STANDARD.encode(&self.0);
                Bytes { b64 }.serialize(s)
            }
        }
    }
}

impl<'de> Deserialize<'de> for PathBytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(PathBytes(match Written::deserialize(d)? {
            Written::Text(text) => text.into_bytes(),
            Written::Bytes { b64 } => b64.0.to_vec(),
        }))
    }
}

impl JsonSchema for PathBytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathBytes".into()
    }
    fn json_schema(g: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(g)
    }
}

impl From<&[u8]> for PathBytes {
    fn from(bytes: &[u8]) -> Self {
        PathBytes(bytes.to_vec())
    }
}

/// Parameters of `transfer/start`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TransferParams {
    #[serde(flatten)]
    pub targets: Targets,
    pub direction: TransferDirection,
    /// What to transfer: paths, or patterns with `*`, `?` and `[…]`. `{node}` stands for the
    /// node's name. Relative to the core's working directory, or to the node's home.
    pub from: Vec<PathBytes>,
    /// Where to: a directory that is there receives the files, else this is the copy's own name.
    /// Downloads from several nodes go to `to/NODE` unless `to` has a `{node}`.
    pub to: PathBytes,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub recursive: bool,
    /// Keep modes and times exactly.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preserve: bool,
    /// Go on with what an earlier transfer left; files of the same size and time are skipped.
    /// Times are kept, so that the next one can tell.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resume: bool,
    /// Read everything back and compare.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub verify: bool,
    /// Remove what is in the target directories but not in the sources.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
    /// Change nothing; say what would be done, as `transfer/file` events.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Make sure that each file is on the receiver's disk before it takes its name.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fsync: bool,
    /// Names or paths to leave out: patterns; one with a slash is for the path below the source,
    /// one with a slash at its end for directories only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<PathBytes>,
    pub symlinks: Symlinks,
    /// How many nodes at once. None: the configuration's `fanout` (64).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<u32>,
    /// Connect attempts after the first one, for retryable failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Stop starting nodes once this many have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<Threshold>,
    /// Give up on a node after so long without a byte or a file, in milliseconds. None: ten
    /// minutes; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_ms: Option<u64>,
    /// The one node the sources of an upload lie on. None: they are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Box<Targets>>,
    /// Paths are taken as they are: no patterns, no `{node}`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub literal: bool,
    /// Go on at the end of a file that is there under its own name, as sftp's `reget` does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub append: bool,
    /// Say what is done with each directory and file, as `transfer/file` events.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tell: bool,
    /// At most so many bytes a second for each node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Requests of one file on the way. None: by the way's length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Bytes of one request. None: what the node takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<u32>,
    /// Permission bits that downloaded files do not get. Absent: as the link's environment has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// The first node of an upload that can do it passes the sources on to the others, as a
    /// gateway runs commands. None: every node gets them from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<Relay>,
    /// Between cores: nodes that are planned already, instead of `nodes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<crate::via::Planned>,
    /// Between cores: the sources of an upload as the asker has read them, instead of `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed: Option<Listed>,
}

/// How nodes that pass an upload on are used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Relay {
    /// Put this core's own executable there, as for a gateway. None: as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<bool>,
    /// The executable there. None: as configured, or `bssh` of the `PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// The sources of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Listed {
    pub roots: Vec<ListedRoot>,
    /// Parents come before what is in them.
    pub items: Vec<ListedItem>,
}

/// One source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListedRoot {
    /// The name it gets in a directory. Empty: its contents go there.
    pub name: PathBytes,
    /// Where it lies.
    pub path: PathBytes,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_dir: bool,
}

/// A file, directory or link of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListedItem {
    /// Index into [`Listed::roots`].
    pub root: usize,
    /// The path below the root; empty for the root itself.
    pub inner: PathBytes,
    /// What it is a link to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<PathBytes>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_dir: bool,
    pub size: u64,
    pub mode: u32,
    /// In seconds.
    pub accessed: u32,
    pub changed: u32,
    /// The part of a second of `changed`.
    pub changed_ns: u32,
}

/// The name of this in `initialize`: a core without it can pass nothing on.
pub const RELAYS: &str = "relay";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TransferDirection {
    #[default]
    Upload,
    Download,
}

/// What becomes of symbolic links inside directories. Links that are named are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Symlinks {
    /// What they point to is copied, as scp does.
    #[default]
    Follow,
    /// They stay links, with the same text.
    Preserve,
    Skip,
}

/// Result of `transfer/start`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TransferStarted {
    pub transfer: TransferId,
    /// The transfer's nodes, each once, in order. Events name them by index.
    pub nodes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `transfer/node`: something happened to one node of a transfer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransferNode {
    pub transfer: TransferId,
    /// Index into [`TransferStarted::nodes`].
    pub index: u32,
    /// The node's name.
    pub node: String,
    #[serde(flatten)]
    pub state: TransferState,
}

/// Where a node is in its transfer. `ended` comes once, and nothing after it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum TransferState {
    Connecting {
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// Authenticated; the transfer is about to start.
    Connected(Connected),
    Ended(Transferred),
    /// A state this side does not know yet.
    #[serde(untagged)]
    Other(serde_json::Map<String, serde_json::Value>),
}

/// What was done on one node.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Transferred {
    /// Why it is not complete. `filesFailed`: `faults` has the causes, the rest was transferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    pub files: u64,
    /// Bytes of files that were transferred.
    pub bytes: u64,
    pub dirs: u64,
    pub links: u64,
    /// Files that were there already, or are neither file, directory nor link.
    pub skipped: u64,
    pub deleted: u64,
    /// Bytes that an earlier transfer had left.
    pub resumed_bytes: u64,
    /// What went wrong with single files; the first thousand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FileFault>,
    pub n_faults: u64,
    /// From being connected, in milliseconds.
    pub duration_ms: u64,
}

/// What went wrong with one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FileFault {
    pub path: PathBytes,
    /// Stable key, e.g. `notFound`, `permission`, `noSpace`, `exists`, `changed`, `unsafeName`.
    pub code: String,
    /// One line, lower case, for people.
    pub message: String,
    /// It went wrong on the core's side, not on the node.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub here: bool,
}

/// `transfer/progress`: the nodes that got on since the last one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TransferProgress {
    pub transfer: TransferId,
    pub nodes: Vec<NodeProgress>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeProgress {
    pub index: u32,
    pub files: u64,
    pub bytes: u64,
    /// What is known to be there to transfer, done or not; grows while directories are read.
    pub total_files: u64,
    pub total_bytes: u64,
}

/// `transfer/file`: what a dry run would do, or what is being done (`tell`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TransferFile {
    pub transfer: TransferId,
    pub index: u32,
    /// `file`, `dir`, `link`, `skip` or `delete`.
    pub action: String,
    /// At the receiver.
    pub path: PathBytes,
    #[serde(default)]
    pub bytes: u64,
}

/// `transfer/done`: the last word on a transfer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TransferDone {
    pub transfer: TransferId,
    /// `failed` counts nodes on which something went wrong after they were connected.
    pub summary: Summary,
    pub files: u64,
    pub bytes: u64,
}

/// `transfer/cancel`: what is under way is given up; finished files stay.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TransferRef {
    pub transfer: TransferId,
}

/// `transfer/list`: the transfers this core has.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct TransferList {
    pub transfers: Vec<TransferEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransferEntry {
    pub transfer: TransferId,
    pub direction: TransferDirection,
    pub nodes: u32,
    pub ended: u32,
    pub running_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_bytes() {
        for (path, json) in [(&b"/a b"[..], "\"/a b\""), (b"\xff", "{\"b64\":\"/w==\"}")] {
            let path = PathBytes::from(path);
            assert_eq!(serde_json::to_string(&path).unwrap(), json);
            assert_eq!(serde_json::from_str::<PathBytes>(json).unwrap(), path);
        }
    }
}
