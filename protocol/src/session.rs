//! Sessions: a shell's state on a node (directory, exported environment, functions, aliases) that
//! outlives single commands and lost connections.
//!
//! `session/open` answers at once, for one node or for many; what becomes of each is told by
//! `session/state` events, also when a connection is lost and when it is back. Every command is a
//! process of its own with exact streams and an exact exit; its end is `session/execDone`.

use crate::exec::{Exit, Failure, PtyRequest, Targets};
use crate::stream::{Base64Bytes, Source, StreamId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A session's handle: unique per core process, never reused.
pub type SessionId = u64;
/// A command of a session: unique per core process, never reused.
pub type ExecId = u64;

/// `session/open`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionOpenParams {
    #[serde(flatten)]
    pub targets: Targets,
    /// A name for people; need not be unique unless it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The shell, by its path on the node. None: the login shell if it is bash, zsh, ksh, mksh,
    /// dash or ash; else bash, else `/bin/sh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// Where to begin. None: where the login shell begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    pub snapshot: Snapshot,
    /// Environment to begin with, besides what the snapshot has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Begin with what `session/snapshot` has told, instead of a snapshot of now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore: Option<crate::session_state::SessionSaved>,
    /// Variables that no command gets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_exclude: Vec<String>,
    /// Outlives this link, and others of this (shared) core may use it. With a name, the one of
    /// that name on the node if it is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Do not come back by itself when the connection is lost.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stay_lost: bool,
    /// Forward the local agent to the nodes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forward_agent: bool,
    /// What the nodes may do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<crate::agent::AgentSettings>,
    /// How many nodes are connected to at once. None: 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fanout: Option<u32>,
    /// What becomes of a command whose connection is lost, unless the command says it itself.
    #[serde(skip_serializing_if = "OnDisconnect::is_default")]
    pub on_disconnect: OnDisconnect,
    /// Names of the configuration's syncs: what has changed here is on the node before a command
    /// runs there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sync: Vec<String>,
    /// The configuration's session of this name: where these parameters say nothing, it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defined: Option<String>,
    /// `timeoutMs` of commands that say nothing themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// `killGraceMs` of commands that say nothing themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_grace_ms: Option<u64>,
    /// `maxOutput` of commands that say nothing themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// Bytes that the files of `maxOutput` may take together; the oldest ones go first, and a
    /// stream that is longer is cut. 0: no files. None: 1 GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spool: Option<u64>,
}

/// What a session begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Snapshot {
    /// What a login shell has; if that fails, what a plain one has.
    #[default]
    Login,
    /// What a command over ssh has.
    Plain,
}

/// What becomes of a command when its connection is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnDisconnect {
    /// Its process group is ended.
    #[default]
    Kill,
    /// It goes on. Nobody gets what it says from then on; how it ends can be asked as of a
    /// background job.
    Keep,
}

impl OnDisconnect {
    fn is_default(&self) -> bool {
        *self == OnDisconnect::default()
    }
}

/// Result of `session/open`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionsOpened {
    /// One per node, in the order of the node set.
    pub sessions: Vec<SessionNode>,
    /// Warnings about the configuration, for stderr.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionNode {
    pub session: SessionId,
    pub node: String,
    /// It was there before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub existing: bool,
    /// An agent is forwarded to its commands: that of whoever opened it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agent: bool,
}

/// `session/state`: what became of a session.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionStateChange {
    pub session: SessionId,
    pub node: String,
    #[serde(flatten)]
    pub state: SessionState,
}

/// Where a session is. `closed` comes once, and nothing after it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum SessionState {
    /// Waits for its turn, or connects.
    Connecting {
        /// 1 for the first attempt since it was last there.
        attempt: u32,
    },
    Ready(SessionReady),
    /// Not there. Its state is kept and restored.
    #[serde(rename_all = "camelCase")]
    Lost {
        failure: Failure,
        /// When it is tried again, in milliseconds; none: not by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
    },
    Closed {},
    /// A state this side does not know yet.
    #[serde(untagged)]
    Other(serde_json::Map<String, serde_json::Value>),
}

/// A session that takes commands.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionReady {
    /// Path of the shell on the node.
    pub shell: String,
    pub home: String,
    pub cwd: String,
    /// Changes of the state so far.
    pub rev: u64,
    /// The state of before was put back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// What was not as wished for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `session/exec`: one command. Commands that change the state run one after the other, in the
/// order of the calls; readers run beside them and beside each other.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionExecParams {
    pub session: SessionId,
    /// For the session's shell.
    pub command: String,
    pub state: StateUse,
    /// Where to run this command; `~` and relative paths as in the session. The session stays
    /// where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Environment for this command alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// `null` or `stream`.
    pub stdin: Source,
    /// How long it may run, in milliseconds. None or 0: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// From TERM to KILL after a timeout, in milliseconds. None: 5000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_grace_ms: Option<u64>,
    /// Send at most so many bytes of each stream: the first 40 % and the last 60 %, with a
    /// `stream/gap` that says exactly what was left out between them. No character is torn there,
    /// and the whole stream is in a file: `stdoutFile`, `stderrFile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// What happens if the session's syncs cannot send what has changed here.
    #[serde(skip_serializing_if = "SyncBarrier::is_default")]
    pub sync_barrier: SyncBarrier,
    /// Give it a terminal: its two streams become one, and what is typed goes to `stdin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pty: Option<PtyRequest>,
    /// What becomes of it when the connection is lost. None: what the session was opened with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// It does no harm to run it twice: when its connection is lost it is run again once the
    /// session is back, at most five times. Not with stdin.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retry_safe: bool,
    /// When it is ended, end also what has left its process group (`setsid`). Best effort, on
    /// Linux: processes are found by a variable of their environment.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub kill_escaped: bool,
    /// Keep the command out of the node's process list.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// A connection of its own, so that it neither waits for others nor holds them up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dedicated: bool,
    /// First credit of each output stream, in bytes. None: `limits.window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

/// What a command does with the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StateUse {
    /// Changes it.
    #[default]
    Update,
    /// Sees it, and leaves it as it is.
    Read,
    /// Neither: it has what a command over ssh has, and begins at home.
    None,
}

/// Whether a command waits for its session's syncs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyncBarrier {
    /// It does; if something cannot be sent it is not run (`syncFailed`).
    #[default]
    Require,
    /// It does, and runs in any case.
    Warn,
    /// Nothing is sent.
    Off,
}

impl SyncBarrier {
    fn is_default(&self) -> bool {
        *self == SyncBarrier::default()
    }
}

/// Result of `session/exec`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionExecStarted {
    pub exec: ExecId,
    pub stdout: StreamId,
    pub stderr: StreamId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<StreamId>,
}

/// `session/execDone`: the last word on a command; it follows the ends of its streams.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionExecDone {
    pub session: SessionId,
    pub exec: ExecId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Why there is no exit: the connection was lost (`transportLost`; the hint says if it had
    /// exited, else whether it ran is not known, and it is not run again), the session's helper has
    /// gone and with it what the command changed (`sessionLost`), the directory is gone
    /// (`cwdMissing`; it was not run).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// With a lost connection: what became of the command, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_fate: Option<RemoteFate>,
    /// It goes on: the number it has among the session's jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// How often it was begun, if more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What could not be sent before it, and it ran all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_failure: Option<Failure>,
    /// The session's directory afterwards.
    pub cwd: String,
    /// Changes of the session's state so far.
    pub rev: u64,
    pub timed_out: bool,
    /// A signal was sent to it on request.
    pub interrupted: bool,
    /// It ended, and something it left behind still holds its output.
    pub detached_output: bool,
    /// Bytes of each stream, those that were left out included.
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    /// The whole stream, if something of it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_file: Option<OutputFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr_file: Option<OutputFile>,
    pub duration_ms: u64,
}

/// A file on the core's machine with a stream of a command; it goes with its session.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OutputFile {
    /// None: it could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Bytes that are in it: the stream's first ones.
    pub bytes: u64,
    /// Why they are not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a command whose connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RemoteFate {
    /// The session's helper on the node ends it: it notices the end of the connection.
    Killed,
    /// It goes on.
    Kept,
    /// The node did not answer any more, or the helper was gone before.
    Unknown,
}

/// `session/execRetry`: the connection was lost, and the command is run again.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionExecRetry {
    pub session: SessionId,
    pub exec: ExecId,
    /// 2 for the second time.
    pub attempt: u32,
    /// Bytes of each stream that are of the times before.
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
}

/// `session/signal`: to the process group of a command.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionSignal {
    pub session: SessionId,
    /// None: every command that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecId>,
    /// Its name without `SIG`: `INT`, `TERM`, `KILL`.
    pub signal: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionRef {
    pub session: SessionId,
}

/// `session/configured`: the configuration's `interactive:` for these targets.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Interactive {
    /// `singleNode` or `multiplex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_mode: Option<String>,
    /// With `{node}`, `{user}`, `{host}`, `{pwd}`, `{ready}` and `{active}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_switch_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_timestamps: Option<bool>,
    /// `prompt`, `node`, `command`, `success`, `error` or `warning` to a colour's name or
    /// `#rrggbb`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub colors: BTreeMap<String, String>,
}

/// `session/list`: the sessions of this core.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct SessionList {
    pub sessions: Vec<SessionEntry>,
}

/// One session.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    pub session: SessionId,
    pub node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub cwd: String,
    pub rev: u64,
    /// Commands that run or wait.
    pub execs: u32,
    /// Jobs that were started, ended ones included.
    pub jobs: u32,
    /// It outlives its link.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kept: bool,
    pub stage: SessionState,
}

/// `job/start`: a command in the background. It survives a lost connection.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobStart {
    pub session: SessionId,
    pub command: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobRef {
    pub session: SessionId,
    /// Unique per session.
    pub job: u64,
}

/// `session/jobs`: what was started in the background of a session.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionJobs {
    pub jobs: Vec<JobEntry>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobEntry {
    pub job: u64,
    pub command: String,
}

/// `job/read`: what a job has written so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobRead {
    pub session: SessionId,
    pub job: u64,
    pub stderr: bool,
    pub offset: u64,
}

/// Result of `job/read`: at most 1 MiB from the offset.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct JobOutput {
    pub data: Base64Bytes,
    /// The job's exit status, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
}

/// `job/kill`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobKill {
    pub session: SessionId,
    pub job: u64,
    /// Its name without `SIG`.
    pub signal: String,
}
