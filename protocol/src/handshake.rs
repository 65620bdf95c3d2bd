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
    /// Whose environment this link's requests are read with. None: the core's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<ClientEnvironment>,
}

/// A frontend's surroundings, for a core that was not started by it: used for everything the link
/// asks for, and never shown or logged.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientEnvironment {
    /// Relative paths start here.
    pub cwd: String,
    /// Empty: the core's.
    pub home: String,
    /// The environment variables.
    pub vars: std::collections::BTreeMap<String, String>,
    /// Permission bits that downloaded files do not get. Absent: as the core's own umask has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
}

impl std::fmt::Debug for ClientEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Variables may hold secrets.
        write!(f, "ClientEnvironment({} variables)", self.vars.len())
    }
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
    /// `passphrase`, `confirm`. `hostKeyCheck`: it decides about host keys by itself, and is asked
    /// at once about each.
    pub prompts: Vec<String>,
    pub progress: bool,
    /// Descriptors can travel beside this link (unix socket only).
    pub fd_passing: bool,
    /// Send what the core would write to its stderr as `log/record`, up to this level: `error`,
    /// `info`, `debug1`, `debug2` or `debug3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// How much the core remarks on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogLevelParams {
    /// An `ssh_config` `LogLevel` in lower case.
    pub level: String,
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
    /// Sinks and sources may name descriptors that came over this link with `SCM_RIGHTS`: the
    /// first is 0, and so on.
    pub fd_passing: bool,
    /// Others may use this core, and it outlives the link.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// It was started as ssh's control master: only those that name a ControlPath use it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub control: bool,
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
    /// The socket it listens on, if it is shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// How long it stays without work and frontends, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
}

/// Result of `core/stats`: what the core holds right now.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StatsResult {
    /// Connections in use.
    pub connections: u64,
    /// Connections kept for the next command.
    pub idle: u64,
    pub streams: u64,
    pub runs: u64,
    /// Bytes held for frontends that have not taken them yet.
    pub buffered_bytes: u64,
    /// Tasks alive.
    pub tasks: u64,
    /// Frontends attached.
    pub links: u64,
    pub forwards: u64,
    pub ptys: u64,
    pub transfers: u64,
    pub sessions: u64,
    /// Connections made since the core began.
    pub connections_made: u64,
    /// How often one that was kept was used again.
    pub connections_reused: u64,
    /// Runs that are over, and how their nodes ended.
    pub runs_over: u64,
    pub nodes_ok: u64,
    pub nodes_failed: u64,
    pub nodes_unreachable: u64,
}

/// Result of `core/probe`: how many connections have answered, and how many have not and were
/// closed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Probed {
    pub alive: u64,
    pub closed: u64,
}

/// Parameters of `journal/read`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JournalParams {
    /// At most so many of the newest lines; fewer, if they do not fit into one answer.
    pub last: u32,
    /// But for so many that are newer still: those that were read before.
    pub skip: u32,
}

/// Result of `journal/read`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct JournalLines {
    /// JSON objects, oldest first.
    pub lines: Vec<String>,
    /// The older ones of those that were asked for did not fit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ShutdownParams {
    /// How long running work may take to end, in milliseconds.
    pub grace_ms: Option<u64>,
    /// Even though others are attached.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// Parameters of `link/close`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LinkCloseParams {
    /// Jobs of this link that go on without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<u64>,
}

/// Result of `link/list`: who is attached to this core.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct LinkList {
    pub links: Vec<LinkEntry>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkEntry {
    /// The link's id: `session` in the answer to `initialize`.
    pub link: u64,
    pub client: ClientInfo,
    /// How long it has been there, in milliseconds.
    pub since_ms: u64,
    /// It is the one that asks.
    pub own: bool,
}

/// `log/record`: a line the core would have written to stderr, had this frontend started it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogRecord {
    /// `error`, `info`, `debug1`, `debug2`, `debug3`, or `banner`: a server's own text.
    pub level: String,
    pub message: String,
}

impl LogRecord {
    /// As a core writes it, in the form ssh's users know.
    pub fn line(&self) -> String {
        match self.level.as_str() {
            "banner" => self.message.clone(),
            debug if debug.starts_with("debug") => format!("{debug}: {}\r\n", self.text()),
            _ => format!("{}\r\n", self.text()),
        }
    }

    /// What it says, with nothing in it that a terminal obeys: whatever names somebody else chose
    /// are in it, their control characters are shown as ssh shows them, `\033`.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.message.len());
        for c in self.message.chars() {
            match c.is_control() && !matches!(c, '\n' | '\t') {
                true => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                    text.push_str(&format!("\\{byte:03o}"));
                }),
                false => text.push(c),
            }
        }
        text
    }
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

#[cfg(test)]
mod tests {
    use super::LogRecord;

    #[test]
    fn a_remark_cannot_command_a_terminal() {
        for (level, message, line) in [
            ("info", "grün\tis\nfine", "grün\tis\nfine\r\n"),
            ("info", "to \x1b]0;owned\x07", "to \\033]0;owned\\007\r\n"),
            ("debug1", "to \u{9b}2J\rFAKE", "debug1: to \\302\\2332J\\015FAKE\r\n"),
            ("banner", "as\r\nit is", "as\r\nit is"),
        ] {
            let record = LogRecord { level: level.to_owned(), message: message.to_owned() };
            assert_eq!(record.line(), line);
        }
    }
}
