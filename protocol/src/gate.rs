//! Gates: exactly the listed SSH hosts, and nothing else, reachable from a sandbox.

use crate::agent::CheckStep;
use crate::exec::Settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A gate's handle: unique per core process, never reused.
pub type GateId = u64;

/// What a gate is, as in the configuration's `gates:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateSpec {
    pub name: String,
    pub mode: GateMode,
    pub listen_addr: String,
    pub address_mode: AddressMode,
    pub entries: Vec<GateEntry>,
    /// Connections at once.
    pub max_conns: u32,
    /// Without a byte for so long a connection ends. 0: never.
    pub idle_timeout_ms: u64,
    /// Both sides must speak SSH.
    pub banner_check: bool,
    /// A name may not lead to a private address (RFC 1918, ULA) either.
    pub deny_private: bool,
    /// Where a name may not lead: `loopback`, `link-local`, `multicast`, `unspecified`, `private`,
    /// and networks such as `192.0.2.0/24`. Default: the first four.
    pub deny_addrs: Vec<String>,
    /// What becomes of a listener that cannot accept any more.
    pub restart: Restart,
    /// How long connections may go on when the gate is stopped.
    pub drain_ms: u64,
    /// The port of mode `socks`.
    pub socks_port: u16,
    /// The Unix socket of mode `proxy`. Default: `gate-NAME.sock` in `$XDG_RUNTIME_DIR`, else in
    /// `~/.ssh`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
}

impl Default for GateSpec {
    fn default() -> Self {
        GateSpec {
            name: String::new(),
            mode: GateMode::Listen,
            listen_addr: "127.0.0.1".to_owned(),
            address_mode: AddressMode::Shared,
            entries: Vec::new(),
            max_conns: 128,
            idle_timeout_ms: 0,
            banner_check: true,
            deny_private: false,
            deny_addrs: ["loopback", "link-local", "multicast", "unspecified"]
                .map(str::to_owned)
                .into(),
            restart: Restart::Always,
            drain_ms: 5000,
            socks_port: 1080,
            socket: None,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GateMode {
    /// A TCP listener for each entry, on the entry's own port.
    #[default]
    Listen,
    /// A Unix socket for `ProxyCommand bssh gate pipe NAME %h %p`.
    Proxy,
    /// A SOCKS listener.
    Socks,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// It is opened again, as often as it takes.
    #[default]
    Always,
    /// The gate ends, with its connections.
    Never,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AddressMode {
    /// All entries on `listenAddr`; no two may have one port.
    #[default]
    Shared,
    /// Each entry has a loopback address of its own.
    PerUpstream,
}

/// One host that may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateEntry {
    pub alias: String,
    pub hostname: String,
    pub port: u16,
    /// `SHA256:…` or a known_hosts line: any other host key closes the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// The node whose connection carries it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    pub max_conns: u32,
    pub connect_timeout_ms: u64,
}

impl Default for GateEntry {
    fn default() -> Self {
        GateEntry {
            alias: String::new(),
            hostname: String::new(),
            port: 22,
            host_key: None,
            via: None,
            max_conns: 32,
            connect_timeout_ms: 10_000,
        }
    }
}

impl GateSpec {
    /// One text for one meaning: what a plan's id is made from.
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A gate by its name in the configuration, or spelled out.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateParams {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline: Option<GateSpec>,
    pub settings: Settings,
    /// `gate/start`: take the place of a gate of this name with another plan.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// `gate/start`: refuse if this is not the plan any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<String>,
}

/// `gate/prepare`: what starting would do. Nothing was bound, dialed or looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatePlan {
    pub plan_id: String,
    pub name: String,
    pub listeners: Vec<GateListener>,
    /// For the client's ssh_config.
    pub ssh_config: String,
    /// For the client's known_hosts; empty without pinned keys.
    pub known_hosts: String,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateListener {
    pub alias: String,
    /// Address and port, or the socket's path.
    pub listen: String,
    pub upstream: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateStarted {
    pub gate: GateId,
    pub plan_id: String,
    pub listeners: Vec<GateListener>,
}

/// `gate/stop`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateStop {
    /// Whichever gate has this name now.
    pub name: String,
    /// This gate and no other, whatever its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_ms: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateStopped {
    /// There was such a gate.
    pub stopped: bool,
    /// Connections that ended by themselves.
    pub drained: u64,
    /// Connections that were closed.
    pub closed: u64,
}

/// `gate/status`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateListParams {
    /// Those of other links of this core, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateList {
    pub gates: Vec<GateStatus>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateStatus {
    pub gate: GateId,
    pub name: String,
    pub plan_id: String,
    pub listeners: Vec<GateListener>,
    pub connections: u64,
    pub opened: u64,
    pub failed: u64,
    pub denied: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GateRef {
    pub name: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GateKick {
    pub name: String,
    pub conn: u64,
}

/// `gate/check`: each upstream, step by step.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GateChecked {
    pub entries: Vec<EntryChecked>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EntryChecked {
    pub alias: String,
    pub steps: Vec<CheckStep>,
}

/// `event/gate`: a connection has opened, closed, or been denied; a listener is in trouble.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GateEvent {
    pub seq: u64,
    pub gate: GateId,
    pub name: String,
    /// `connOpen`, `connClose`, `connDenied`, `acceptFailed`, `listenerFailed`, `listening` (again),
    /// `stopped`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Address and port, or `host:port` that was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_down: Option<u64>,
    /// `clientEof`, `upstreamEof`, `dialFailed`, `idle`, `kicked`, `limit`, `notSsh`,
    /// `hostKeyMismatch`, `gateStopped`, `error`; of a denial: `notListed`, `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Events before this one that were left out because nobody took them.
    pub dropped: u64,
}
