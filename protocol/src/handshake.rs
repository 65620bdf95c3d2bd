//! The first request of every link, and the requests about the core itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The major version this crate speaks. It changes only for a break.
pub const MAJOR: u32 = 1;
/// The level within [`MAJOR`]: it rises with every release that adds something.
pub const LEVEL: u32 = 1;

/// Parameters of `initialize`. Their shape is frozen for ever.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    pub protocol: Offer,
    pub client: ClientInfo,
    #[serde(default)]
    pub capabilities: ClientCapabilities,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ClientLimits>,
    /// Reject parameters the core does not know (for frontend tests).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

/// Which protocol versions a frontend speaks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    /// Every major the frontend speaks.
    pub majors: Vec<u32>,
    /// The highest level of the highest major.
    pub level: u32,
}

/// Who the frontend is, for logs and `link/list`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ClientInfo {
    pub name: String,
    pub version: String,
    /// `cli`, `repl`, `editor`, `program`, ….
    pub kind: String,
}

/// What a frontend can do beyond the baseline.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientCapabilities {
    /// Stream bytes may come as raw data frames.
    pub binary_frames: bool,
    /// The prompt kinds this frontend can show to a person: `hostKey`, `password`, `otp`,
    /// `passphrase`, `confirm`.
    pub prompts: Vec<String>,
    pub progress: bool,
    /// Descriptors can travel beside this link (unix socket only).
    pub fd_passing: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientLimits {
    /// The largest JSON frame the frontend takes, in bytes.
    pub max_frame: u64,
}

/// Result of `initialize`. Its shape is frozen for ever.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult {
    pub protocol: Chosen,
    pub core: CoreInfo,
    /// This link's id, unique in this core process.
    pub session: u64,
    #[serde(default)]
    pub capabilities: CoreCapabilities,
    /// Feature name to the level of that feature.
    #[serde(default)]
    pub features: std::collections::BTreeMap<String, u32>,
    pub limits: CoreLimits,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Chosen {
    pub major: u32,
    pub level: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CoreInfo {
    pub name: String,
    pub version: String,
    pub pid: u32,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CoreCapabilities {
    pub binary_frames: bool,
    /// Sinks and sources may name inherited descriptors.
    pub inherited_fds: bool,
    pub fd_passing: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoreLimits {
    /// Largest JSON frame the core takes, in bytes.
    pub max_frame: u64,
    /// Largest data frame payload, in bytes.
    pub max_data: u64,
    /// First credit of a stream, in bytes.
    pub window: u64,
    /// Unanswered requests a link may have.
    pub max_requests: u32,
}

/// No parameters, or nothing to say.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InfoResult {
    pub version: String,
    pub pid: u32,
    pub uptime_ms: u64,
    pub protocol: Chosen,
}

/// Result of `core/stats`: what the core holds right now.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StatsResult {
    pub connections: u64,
    pub streams: u64,
    pub runs: u64,
    /// Bytes held for frontends that have not taken them yet.
    pub buffered_bytes: u64,
    /// Tasks alive.
    pub tasks: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ShutdownParams {
    /// How long running work may take to end, in milliseconds.
    pub grace_ms: Option<u64>,
}

/// `$/cancelRequest`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CancelParams {
    /// The id of the request to cancel.
    pub id: serde_json::Value,
}

/// `$/error`: about something that has no answer (a failed notification, an unreadable frame).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LinkError {
    pub error: crate::error::CallError,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// Result of `core/ping`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Pong {
    /// The core's clock, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// `$/progress`: how far the request that carried `progressToken` has got.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ProgressParams {
    /// The request's `progressToken`.
    pub token: serde_json::Value,
    pub value: Progress,
}

/// One step of progress.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Progress {
    /// `begin`, `report` or `end`.
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// What `done` and `total` count, e.g. `bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}
