//! Runs: one command on one node or on thousands.
//!
//! `exec/start` answers at once with the run's handle and its nodes; then come `exec/node`
//! events (connecting, executing, ended) and, last, one `exec/done`. Bytes travel on streams
//! named by the `executing` event; a node's `ended` event follows the end of its streams.

use crate::stream::{Base64Bytes, Sink, Source, StreamId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run's handle: unique per core process, never reused.
pub type RunId = u64;

/// What a request aims at, and the configuration it is read with. Shared by every method that
/// takes targets.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Targets {
    /// A node set expression: `web[1-3],@db!web2`. Empty: `default_cluster`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub nodes: String,
    /// A single ssh destination, taken literally (ssh grammar: no ranges, no groups).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Node set expressions to leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    #[serde(skip_serializing_if = "Settings::is_default")]
    pub settings: Settings,
}

/// How nodes are reached: files and overrides, as the command line gave them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The YAML file (`--config`). None: the usual places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The ssh_config file (`-F`). None: the usual ones; `none`: no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<String>,
    /// ssh_config lines that come first (`-o`, and what short flags stand for), each as
    /// `Keyword=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// ssh_config lines that come last, weaker than the files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub defaults: Vec<String>,
}

impl Settings {
    /// Nothing was set.
    pub fn is_default(&self) -> bool {
        *self == Settings::default()
    }
}

/// Parameters of `exec/start`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecParams {
    #[serde(flatten)]
    pub targets: Targets,
    pub action: Action,
    pub stdin: Source,
    pub stdout: Sink,
    pub stderr: Sink,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pty: Option<PtyRequest>,
    /// Environment to send (servers take only what `AcceptEnv` allows).
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub env: std::collections::BTreeMap<String, String>,
    /// How many nodes at once. None: the configuration's `fanout` (64).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<u32>,
    /// How long a command may run on a node, in milliseconds. None: the configuration's default;
    /// 0: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Connect attempts after the first one, for retryable failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Stop starting nodes once this many have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_fast: Option<Threshold>,
    /// Batch sizes, in order; the last one repeats. Empty: all nodes in one batch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Threshold>,
    /// Pause between batches, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u64>,
    /// Answer sudo's password prompt (asked once, by `auth/prompt`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sudo: bool,
    /// Kill the remote processes when the run is cancelled or its link is lost (the ssh grammar
    /// leaves them alone, as ssh does).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guard: Option<bool>,
    /// First credit of each stdout and stderr stream, in bytes. None: `limits.window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// Forward the local agent to the nodes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forward_agent: bool,
    /// What the nodes may do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<crate::agent::AgentSettings>,
    /// `core`: the run belongs to no link, and what its streams say is recorded.
    #[serde(skip_serializing_if = "crate::job::Lifetime::is_default")]
    pub lifetime: crate::job::Lifetime,
    /// What its streams say is recorded also while it belongs to its link: it is read with
    /// `job/attach`, and `link/close` can leave it to the core.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub record: bool,
    /// A node's output is wanted when it has ended and not before. A gateway then sends equal
    /// output once, and names it afterwards ([`Output`]).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gather: bool,
    /// Reach the nodes through gateways. None: as the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<crate::via::Via>,
    /// Between cores: nodes that are planned already, instead of `nodes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub planned: Vec<crate::via::Planned>,
}

/// What a run does on each node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// A command line for the remote user's shell, byte for byte.
    Command(String),
    /// The same for a command line that is not UTF-8.
    CommandBytes(Base64Bytes),
    /// The login shell.
    Shell,
    /// A subsystem (`sftp`).
    Subsystem(String),
    /// Connect, authenticate, stop there (`ping`).
    #[default]
    Connect,
    /// One connection from the node to somewhere else: stdin and stdout are its two directions
    /// (`ssh -W`).
    Dial { host: String, port: u16 },
    /// Connect and stay until cancelled or lost (`ssh -N`).
    Hold,
}

/// A count, or a share of the run's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Threshold {
    Nodes(u32),
    Percent(u32),
    /// All that are left (batches only).
    Rest,
}

/// A pseudo-terminal for the command.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PtyRequest {
    pub term: String,
    pub cols: u32,
    pub rows: u32,
    pub px_width: u32,
    pub px_height: u32,
    /// Terminal modes: RFC 4254 section 8 opcode and argument.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<(u8, u32)>,
}

/// Result of `exec/start`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ExecStarted {
    pub run: RunId,
    /// The run's nodes, each once, in order. Events name them by index.
    pub nodes: Vec<String>,
    /// The stdin stream, when `stdin` is `stream`: frontend to core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<StreamId>,
    /// Warnings about the configuration, for stderr.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `exec/node`: something happened to one node of a run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecNode {
    pub run: RunId,
    /// Index into [`ExecStarted::nodes`].
    pub index: u32,
    /// The node's name.
    pub node: String,
    #[serde(flatten)]
    pub state: NodeState,
}

/// Where a node is in its run. `ended` comes once, and nothing after it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum NodeState {
    Connecting {
        /// 1 for the first attempt.
        attempt: u32,
    },
    /// Authenticated; the command is about to start.
    Connected(Connected),
    #[serde(rename_all = "camelCase")]
    Executing {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stdout: Option<StreamId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stderr: Option<StreamId>,
        /// The node gives no terminal, though one was asked for.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        no_pty: bool,
    },
    Ended(Ended),
    /// A state this side does not know yet.
    #[serde(untagged)]
    Other(serde_json::Map<String, serde_json::Value>),
}

/// What was agreed on with a node.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Connected {
    /// A connection that was already there was used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `SHA256:…` of the host key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host_key: String,
    /// The method that let us in, e.g. `publickey (agent)`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth: String,
    /// From dialing to being let in, in milliseconds.
    pub connect_ms: u64,
    /// The gateway it was reached through.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateway: String,
}

/// How a node ended: with an exit, or with a failure.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ended {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Bytes of stdout and stderr the node sent.
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    /// From the start of the command, in milliseconds.
    pub duration_ms: u64,
    /// Set when the command was ended by us: were its processes seen to be gone?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<Killed>,
    /// Between cores, with `gather`: which output its streams have carried, or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<Output>>,
}

/// The name of what a node has said on stdout and stderr: its SHA-256. A core names output of at
/// most [`MOST_NAMED`] bytes a stream, and what it has named among the last [`NAMES`] of a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Output {
    /// The node's streams have carried it.
    New(Base64Bytes),
    /// Streams before have carried it; the node's own were empty.
    Same(Base64Bytes),
}

/// Longest output of a stream that is named, in bytes.
pub const MOST_NAMED: usize = 32 << 10;
/// Outputs of a link that can be named again.
pub const NAMES: usize = 32;

impl Ended {
    /// The command ran and its status was 0.
    pub fn is_ok(&self) -> bool {
        self.failure.is_none() && matches!(&self.exit, Some(Exit::Status(0)) | None)
    }

    /// The node was tried and not reached. What was not tried, or not understood here, says
    /// nothing about the node.
    pub fn is_unreachable(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| {
            failure.phase.is_reaching() && !matches!(&*failure.code, "cancelled" | "config")
        })
    }
}

/// How the remote process ended (RFC 4254 section 6.10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    Status(u32),
    /// The signal's name without `SIG`, e.g. `TERM`.
    Signal(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Killed {
    /// The remote process group was seen to be gone.
    Confirmed,
    /// We asked, but could not see the result.
    Unconfirmed,
}

/// Why a node has no exit. Data, never an error of the call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Failure {
    pub phase: Phase,
    /// Stable key, e.g. `refused`, `timeout`, `hostKeyChanged`, `authFailed`, `transportLost`.
    pub code: String,
    /// One line, lower case, for people.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The jump host it happened at, if not at the node itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    pub retryable: bool,
    /// Time since the node's turn began, in milliseconds.
    pub after_ms: u64,
}

/// Where on the way to an exit a node failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    #[default]
    Resolve,
    Dial,
    Handshake,
    HostKey,
    Auth,
    Channel,
    Exec,
    Transfer,
    #[serde(untagged)]
    Other(String),
}

impl Phase {
    /// On the way to a node, before it is known to be the one.
    pub fn is_reaching(&self) -> bool {
        matches!(self, Phase::Resolve | Phase::Dial | Phase::Handshake | Phase::HostKey)
    }
}

/// `exec/done`: the last word on a run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ExecDone {
    pub run: RunId,
    pub summary: Summary,
}

/// The counts of a run. Every node is in exactly one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Summary {
    pub nodes: u32,
    /// Exit status 0.
    pub ok: u32,
    /// Another status, a signal, or a timeout of the command.
    pub failed: u32,
    /// Failed in resolve, dial, handshake or host-key.
    pub unreachable: u32,
    /// Failed in auth.
    pub denied: u32,
    /// Failed after auth without an exit (connection lost, channel refused).
    pub lost: u32,
    /// Not started, or ended by a cancel.
    pub cancelled: u32,
    pub duration_ms: u64,
}

/// `exec/cancel`: end the remote processes of a run, or of some of its nodes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CancelRun {
    pub run: RunId,
    /// Indices; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<u32>,
}

/// `exec/signal`: a signal for the remote processes (name without `SIG`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SignalRun {
    pub run: RunId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<u32>,
    pub signal: String,
}

/// `exec/resize`: the terminal's new size, for a run with a pty.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResizeRun {
    pub run: RunId,
    pub cols: u32,
    pub rows: u32,
    #[serde(default)]
    pub px_width: u32,
    #[serde(default)]
    pub px_height: u32,
}

/// One run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct RunRef {
    pub run: RunId,
}

/// `exec/list`: the runs this link owns.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct RunList {
    pub runs: Vec<RunEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunEntry {
    pub run: RunId,
    pub action: Action,
    pub nodes: u32,
    pub ended: u32,
    pub running_ms: u64,
}
