//! Forwards: -L, -R, -D and -W.

use crate::exec::Targets;
use crate::stream::{Sink, Source, StreamId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A forward's handle: unique per core process, never reused.
pub type ForwardId = u64;

/// `forward/open`: ask one node for a forward, in OpenSSH's own notation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardParams {
    #[serde(flatten)]
    pub targets: Targets,
    pub kind: ForwardKind,
    /// `[bind:]port:host:hostport`, `/socket:host:port`, … as after ssh's flag.
    pub spec: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ForwardKind {
    Local,
    Remote,
    Dynamic,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ForwardOpened {
    pub forward: ForwardId,
    /// Where it listens, port 0 resolved.
    pub bound: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ForwardRef {
    pub forward: ForwardId,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct ForwardList {
    pub forwards: Vec<ForwardEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardEntry {
    pub forward: ForwardId,
    pub node: String,
    pub kind: ForwardKind,
    pub spec: String,
    pub bound: String,
    pub connections: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// `forward/dial`: one connection from the node (`ssh -W`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DialParams {
    #[serde(flatten)]
    pub targets: Targets,
    pub host: String,
    pub port: u16,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub sink: Sink,
}

/// Result of `forward/dial`: the connection is open. `forward/dialDone` says when it has ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dialed {
    pub forward: ForwardId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<StreamId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<StreamId>,
}

/// `forward/dialDone`: the connection of `forward/dial` has ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DialDone {
    pub forward: ForwardId,
    /// Why, if it did not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<crate::error::CallError>,
}
