//! Agent forwarding: how a node may use the local agent, what it has done, whether it works.

use crate::exec::{Settings, Targets};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a node may do with the local agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentSettings {
    /// The agent's socket. Default: `ForwardAgent`'s, what `agent/setSocket` said,
    /// `IdentityAgent`, `SSH_AUTH_SOCK`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    pub policy: Policy,
    /// `SHA256:…` of the keys that may be seen and used. Empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    pub confirm: Confirm,
    pub bind: Bind,
    /// The node fails (`agentForwardRefused`, `agentUnavailable`) instead of going on without it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// List keys and sign.
    #[default]
    SignOnly,
    /// Anything, as OpenSSH lets it.
    Full,
}

/// Whether a person is asked (`auth/confirm`) before a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Confirm {
    #[default]
    Never,
    /// The first time for each key, and always for data of unknown purpose.
    First,
    Always,
}

/// `session-bind@openssh.com`: tells the agent which server asks, so that keys restricted to
/// destinations (`ssh-add -h`) stay so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Bind {
    #[default]
    Require,
    Off,
}

/// `agent/status`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatusParams {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSettings>,
    /// Whose `agent:` counts.
    pub settings: Settings,
    /// A node: only what it has done, and the agent that it would get. None: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The local agent, and what has been forwarded to it since the core started. Always
/// `opened = closed + live`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    pub reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub keys: Vec<AgentKey>,
    pub opened: u64,
    pub closed: u64,
    pub live: u64,
    pub queued: u64,
    pub rejected: u64,
    /// The same by their reasons: `full`, `noAgent`, `unbound`.
    pub rejections: BTreeMap<String, u64>,
    pub dial_retries: u64,
    pub bytes: u64,
    pub sign_ok: u64,
    pub sign_denied: u64,
    /// Other requests that were refused.
    pub refused: u64,
    /// `yes`, `unsupported`, or empty while nothing has been forwarded.
    pub bind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Channels that are waited for or open now.
    pub channels: Vec<AgentChannel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_p99_ms: Option<f64>,
}

/// An agent channel of a node.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentChannel {
    pub node: String,
    /// `queued`, `dialing`, `open`, `closing`.
    pub state: String,
    /// Since the node opened it.
    pub age_ms: u64,
}

/// `event/agent`: a node has used the local agent, or was kept from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentEvent {
    pub seq: u64,
    pub node: String,
    /// The channel's number: unique per link, never reused.
    pub channel: u64,
    /// `opened`, `closed`, `rejected` (not opened); of requests `signed`, `denied` (no signature),
    /// `refused` (anything else), `failed` (the agent did not answer).
    pub state: String,
    /// `SHA256:…` of the key a signature was asked of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of `rejected`: `full`, `noAgent`, `unbound`; else in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long a signature took, or a channel was open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Events before this one that were left out because nobody took them.
    pub dropped: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentKey {
    /// `SHA256:…`
    pub fingerprint: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub comment: String,
}

/// `agent/setSocket`: where the agent is from now on; none: where the environment says.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SetSocket {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// `agent/check`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentCheckParams {
    #[serde(flatten)]
    pub targets: Targets,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSettings>,
}

/// Each step of the way, in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct AgentCheck {
    pub node: String,
    pub steps: Vec<CheckStep>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct CheckStep {
    /// e.g. `agent`, `connect`, `bind`.
    pub step: String,
    pub ok: bool,
    pub detail: String,
}
