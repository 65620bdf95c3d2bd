//! Forwards: -L, -R, -D and -W.

use crate::auth::Secret;
use crate::exec::Targets;
use crate::stream::{Sink, Source, StreamId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A forward's handle: unique per core process, never reused.
pub type ForwardId = u64;

/// `forward/open`: ask one node for a forward, in OpenSSH's own notation.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardParams {
    #[serde(flatten)]
    pub targets: Targets,
    pub kind: ForwardKind,
    /// `[bind:]port:host:hostport`, `/socket:host:port`, … as after ssh's flag. Without a target
    /// a remote forward speaks SOCKS.
    pub spec: String,
    /// Outlive a lost connection: the listener stays and a new connection is made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Tell of every connection, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watch: bool,
    /// Where SOCKS clients may go: `host:port`, either may be `*`. Empty: anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// What SOCKS 5 clients must log in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<SocksLogin>,
    /// Connections at once; further ones wait. Default: the configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
}

/// User and password of SOCKS 5, RFC 1929.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SocksLogin {
    pub user: String,
    pub password: Arc<Secret>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ForwardKind {
    #[default]
    Local,
    Remote,
    Dynamic,
}

impl ForwardKind {
    /// ssh's option for it.
    pub fn flag(self) -> &'static str {
        match self {
            ForwardKind::Local => "-L",
            ForwardKind::Remote => "-R",
            ForwardKind::Dynamic => "-D",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ForwardOpened {
    pub forward: ForwardId,
    /// Where it listens, port 0 resolved.
    pub bound: String,
}

impl ForwardOpened {
    /// The port it listens on; a socket has none.
    pub fn port(&self) -> Option<u16> {
        self.bound.rsplit(':').next()?.parse().ok()
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ForwardRef {
    pub forward: ForwardId,
}

/// Parameters of `forward/drain`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DrainParams {
    pub forward: ForwardId,
    /// The answer comes with the end of the last connection, not with that of the listener.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
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
    /// Open now.
    pub connections: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// `open`, `reconnecting` while its connection is lost, `draining` when it no longer listens.
    #[serde(default)]
    pub state: String,
    /// Opened since the forward is there.
    #[serde(default)]
    pub opened: u64,
    /// Whose target could not be reached.
    #[serde(default)]
    pub failed: u64,
    /// That were not allowed.
    #[serde(default)]
    pub denied: u64,
    /// Why it is reconnecting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// [`ForwardEntry::state`] of a forward that no longer listens.
pub const DRAINING: &str = "draining";

/// Parameters of `forward/list`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ForwardListParams {
    /// Those of other links, too, and those that outlived theirs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only those on the connection that these targets, one node, have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
}

/// `forward/configured`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConfiguredParams {
    pub settings: crate::exec::Settings,
}

/// The configuration's `forwarding:`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Configured {
    pub local: Vec<String>,
    pub remote: Vec<String>,
    pub dynamic: Vec<String>,
}

/// The open connections of a forward or a gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    pub connections: Vec<ConnectionEntry>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionEntry {
    pub conn: u64,
    /// Whoever connected.
    pub peer: String,
    pub target: String,
    pub age_ms: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// `forward/kick`: end one connection.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct KickParams {
    pub forward: ForwardId,
    pub conn: u64,
}

/// `event/forward`: a forward's state has changed, or (with `watch`) one of its connections has
/// opened, closed, failed or been denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForwardEvent {
    /// Counts the events of this forward.
    pub seq: u64,
    pub forward: ForwardId,
    pub node: String,
    /// Of the forward: `open`, `reconnecting`, `closed`, `acceptFailed`. Of a connection:
    /// `connOpen`, `connClose`, `connFailed`, `connDenied`.
    pub state: String,
    /// The connection's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conn: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
    /// Why it closed: `clientEof`, `upstreamEof`, `idle`, `kicked`, `slowReader`, `lost`, `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Tries to connect again so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Events before this one that were left out because nobody took them.
    #[serde(default)]
    pub dropped: u64,
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
