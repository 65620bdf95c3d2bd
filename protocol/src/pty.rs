//! Ptys: interactive channels with a terminal, as bytes.
//!
//! The core keeps the last bytes of each pty and never a screen. A pty has any number of views;
//! each is an output stream of its own, named by its id. One view owns the input. Nothing is
//! dropped for the view that owns it while the node can be made to wait, or up to the size of a
//! file; other views that are too slow lose the oldest bytes and are told with `stream/gap`.

use crate::exec::{Exit, Failure, PtyRequest, Targets};
use crate::stream::{Base64Bytes, StreamId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A pty's handle: unique per core process, never reused.
pub type PtyId = u64;

/// First credit of a view, in bytes.
pub const PTY_WINDOW: u64 = 256 << 10;
/// What a pty keeps for later views unless told otherwise, in bytes.
pub const PTY_REPLAY: u64 = 256 << 10;

/// `pty/open`: connects if need be, and starts the login shell or a command with a terminal; a node
/// that gives none is an error.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PtyOpenParams {
    #[serde(flatten)]
    pub targets: Targets,
    /// None: the login shell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    pub term: String,
    pub cols: u32,
    pub rows: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub px_width: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub px_height: u32,
    /// Terminal modes: RFC 4254 section 8 opcode and argument.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<(u8, u32)>,
    /// Environment to send (servers take only what `AcceptEnv` allows).
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub env: std::collections::BTreeMap<String, String>,
    /// Forward the local agent to the node.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forward_agent: bool,
    /// What the node may do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<crate::agent::AgentSettings>,
    /// Bytes kept for later views. None: 256 KiB; at most 16 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
    /// First credit of the output stream, in bytes. None: 256 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

impl From<PtyRequest> for PtyOpenParams {
    /// A terminal like this, of nobody yet.
    fn from(like: PtyRequest) -> Self {
        let PtyRequest { term, cols, rows, px_width, px_height, modes } = like;
        PtyOpenParams { term, cols, rows, px_width, px_height, modes, ..Self::default() }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Result of `pty/open`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PtyOpened {
    pub pty: PtyId,
    /// The node's name.
    pub node: String,
    /// The first view: core to frontend.
    pub output: StreamId,
    /// What is typed: frontend to core. Its first credit is `limits.window`.
    pub input: StreamId,
    /// Warnings about the configuration, for stderr.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `pty/write`: what is typed, for peers without data frames. Either `data` or `text`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PtyWrite {
    pub pty: PtyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Base64Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// `pty/resize`: the terminal's new size.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PtyResize {
    pub pty: PtyId,
    pub cols: u32,
    pub rows: u32,
    #[serde(default)]
    pub px_width: u32,
    #[serde(default)]
    pub px_height: u32,
}

/// `pty/attach`: one more view.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PtyAttach {
    pub pty: PtyId,
    pub from: PtyFrom,
    /// Leave the input where it is. Otherwise this view takes it.
    pub read_only: bool,
    /// First credit of the output stream, in bytes. None: 256 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

/// Where a view begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PtyFrom {
    /// With everything that is kept.
    #[default]
    Replay,
    /// With what comes next.
    Live,
    /// At this offset of the pty's output; `replay.expired` if it is no longer kept.
    Offset(u64),
}

/// Result of `pty/attach`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PtyAttached {
    /// The view.
    pub output: StreamId,
    /// Offset of its first byte in the pty's output.
    pub at: u64,
    /// What is typed, if this view took the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<StreamId>,
    pub cols: u32,
    pub rows: u32,
}

/// One view of a pty.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PtyView {
    pub pty: PtyId,
    /// The view's output stream.
    pub output: StreamId,
}

/// Result of `pty/takeInput`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PtyInput {
    pub input: StreamId,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PtyRef {
    pub pty: PtyId,
}

/// `pty/list`: the ptys of this core.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct PtyList {
    pub ptys: Vec<PtyEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PtyEntry {
    pub pty: PtyId,
    pub node: String,
    /// None: the login shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    pub cols: u32,
    pub rows: u32,
    /// Views attached.
    pub views: u32,
    /// The view that owns the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<StreamId>,
    /// Bytes of output so far.
    pub bytes: u64,
    /// Bytes kept for later views.
    pub kept: u64,
    pub running_ms: u64,
}

/// `pty/exited`: the last word on a pty; it follows the ends of its streams.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PtyExited {
    pub pty: PtyId,
    pub node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Bytes of output.
    pub bytes: u64,
    pub duration_ms: u64,
}

/// `pty/resized`: somebody has changed the terminal's size.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PtyResized {
    pub pty: PtyId,
    pub cols: u32,
    pub rows: u32,
}

/// `pty/inputOwner`: who may type has changed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PtyInputOwner {
    pub pty: PtyId,
    /// The view that owns the input; none: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<StreamId>,
}
