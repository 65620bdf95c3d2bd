//! Syncs: two directory trees, here and on a node, kept the same in both directions.
//!
//! `sync/start` answers at once with a handle; then come `sync/state`, `sync/step` (of a plan),
//! `sync/progress`, `sync/conflict`, `sync/round` (of a watch) and last one `sync/done`. What a
//! sync remembers between runs is the core's business; `sync/status`, `sync/conflicts`,
//! `sync/resolve` and `sync/restore` look at it and change it without asking the node.

use crate::exec::{Failure, Targets};
use crate::transfer::{FileFault, PathBytes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A sync's handle: unique per core process, never reused.
pub type SyncId = u64;

/// Which trees are meant: by the configuration's name for them, or by themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncWhat {
    /// The node, and the configuration all of this is read with. With `id`, no node.
    #[serde(flatten)]
    pub targets: Targets,
    /// The name under `sync:` in the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Without `id`: the directory here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<PathBytes>,
    /// Without `id`: the directory on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<PathBytes>,
    /// What to leave out, besides what the configuration leaves out; as in `transfer/start`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<PathBytes>,
    /// None: what the configuration says, or `keepBoth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<SyncPolicy>,
    /// None: what the configuration says, or `push`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete: Option<SyncDelete>,
}

/// What happens to a file that both sides have changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyncPolicy {
    /// The node's comes here under another name, until somebody decides.
    #[default]
    KeepBoth,
    /// The node's replaces the local one, which is saved first.
    RemoteWins,
    /// The local one replaces the node's, which is saved here first.
    LocalWins,
    /// Nothing at all is done.
    Fail,
}

/// Which deletions are carried over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyncDelete {
    /// What is deleted here is deleted on the node.
    #[default]
    Push,
    Both,
    Never,
}

/// Parameters of `sync/start`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncParams {
    #[serde(flatten)]
    pub what: SyncWhat,
    pub action: SyncAction,
    /// Change nothing; say what the action would do, as `sync/step` events.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Delete also where it looks like a mistake: most of a tree, or an empty root.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force_delete: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyncAction {
    /// Change nothing; say what `run` would do, as `sync/step` events.
    #[default]
    Plan,
    /// Local changes to the node. The node's are looked at only where they would be in the way.
    Push,
    /// The node's changes here.
    Back,
    /// Both ways.
    Run,
    /// Both ways, again and again, until cancelled.
    Watch,
}

/// Result of `sync/start`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SyncStarted {
    pub sync: SyncId,
    /// The node's name.
    pub node: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `sync/state`: what a sync is about.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncStateChange {
    pub sync: SyncId,
    /// `connecting`, `comparing`, `carrying`, `watching`, `waiting` (before it is tried again),
    /// `deferred` (asked to end, but names are being taken), `note`.
    pub state: String,
    /// For people: what is wrong, what was noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// `sync/step`: what would be done with one path.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SyncStep {
    pub sync: SyncId,
    /// `push`, `pull`, `deleteThere`, `deleteHere`, `conflict`, `agree`, `forget`, `skip`.
    pub action: String,
    /// Below the roots.
    pub path: PathBytes,
    #[serde(default)]
    pub bytes: u64,
}

/// `sync/progress`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncProgress {
    pub sync: SyncId,
    pub files: u64,
    pub bytes: u64,
    pub total_files: u64,
    pub total_bytes: u64,
}

/// `sync/conflict`: both sides have changed a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncConflictEvent {
    pub sync: SyncId,
    #[serde(flatten)]
    pub conflict: SyncConflict,
}

/// A path both sides have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncConflict {
    /// The local root it is below.
    pub root: PathBytes,
    pub path: PathBytes,
    /// The node's side of it, below the same root. None: only on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy: Option<PathBytes>,
}

/// A path that was left alone, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SyncNote {
    pub path: PathBytes,
    /// `special`, `unsafeLink`, `deadLink`, `link` and `followed` (where links are followed: one on
    /// the node, and a change there of what is behind one here), `protected`, `notEmpty`, `keptHere` (deleted on the node only).
    pub code: String,
}

/// What a run has done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Synced {
    /// Why it is not complete. `filesFailed`: `faults` has the causes; `conflicts`: there are
    /// some, all else was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    pub pushed: u64,
    pub pulled: u64,
    pub deleted_there: u64,
    pub deleted_here: u64,
    /// Bytes of files that were carried, either way.
    pub bytes: u64,
    /// Paths that both sides have.
    pub known: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<SyncConflict>,
    /// What went wrong with single files; the first thousand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FileFault>,
    pub n_faults: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<SyncNote>,
    pub duration_ms: u64,
}

/// `sync/round` and `sync/done`: what a round of a watch, or the whole, has done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncDone {
    pub sync: SyncId,
    #[serde(flatten)]
    pub result: Synced,
}

/// `sync/cancel`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SyncRef {
    pub sync: SyncId,
}

/// `sync/list`: the syncs under way.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct SyncList {
    pub syncs: Vec<SyncEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncEntry {
    pub sync: SyncId,
    pub node: String,
    pub action: SyncAction,
    pub running_ms: u64,
}

/// Result of `sync/status`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct SyncStatus {
    pub pairs: Vec<SyncPairStatus>,
}

/// What is remembered of one pair of roots.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncPairStatus {
    pub node: String,
    pub local: PathBytes,
    pub remote: PathBytes,
    /// Paths that both sides had when they were last the same.
    pub known: u64,
    pub conflicts: u64,
    /// The process that syncs them now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_by: Option<u32>,
    /// When and how the last run ended. None: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<SyncLast>,
    /// The node has changes that could not be fetched.
    pub pending_back: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncLast {
    pub unix_ms: u64,
    pub action: String,
    /// Empty: all was well.
    pub failure: String,
}

/// Result of `sync/conflicts`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct SyncConflicts {
    pub conflicts: Vec<SyncConflict>,
}

/// `sync/resolve`: one side of a conflict is the right one. What the other had is saved.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncResolveParams {
    #[serde(flatten)]
    pub what: SyncWhat,
    pub path: PathBytes,
    pub take: SyncTake,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyncTake {
    #[default]
    Local,
    Remote,
}

/// `sync/restore`: without a path, lists what could be restored; with one, puts it back here.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncRestoreParams {
    #[serde(flatten)]
    pub what: SyncWhat,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBytes>,
    /// The run whose backup is meant. None: the newest that has the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Result of `sync/restore`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct SyncBackups {
    /// What there is, or what was restored.
    pub backups: Vec<SyncBackup>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SyncBackup {
    /// The local root it is below.
    pub root: PathBytes,
    pub run: String,
    pub path: PathBytes,
    pub size: u64,
}
