//! Runs through gateways: other cores, on nodes nearer to the targets, that run commands there for
//! us and send back what they said.
//!
//! A frontend says [`Via`] with an expression or a topology. A core that has planned a node itself
//! sends the gateway [`Planned`] nodes: how to reach them is decided, only the address is looked
//! up there. Whether a host key is believed is asked back (`auth/hostKey`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name of this feature in `initialize`; a core without it would run nothing through gateways
/// and take `planned` for nothing.
pub const FEATURE: &str = "gateway";

/// A prompt kind of `initialize`: this side decides about host keys without a person, and is asked
/// about every one, also about many at once.
pub const CHECKS_HOST_KEYS: &str = "hostKeyCheck";

/// Through which gateways the nodes of a run are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Via {
    /// A node set expression: each of these reaches every node. `none`: no gateways, whatever the
    /// configuration says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub gateways: String,
    /// A file in the format of ClusterShell's `topology.conf` that says who reaches whom; it is
    /// read by the core. Nodes it does not name are reached directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// Put this core's own executable there, by SFTP, and check its SHA-256. None: as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<bool>,
    /// The executable there. None: as configured, or `bssh` of the `PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// A command that may have begun when its gateway was lost is run again through another one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retry_safe: bool,
    /// Between cores: the gateways that are left on the way, next tier first; any of a tier will
    /// do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Vec<Planned>>,
}

/// A node that the caller has planned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Planned {
    /// A label: what events and questions call it.
    pub name: String,
    /// How it is reached, as ssh_config lines (`Keyword=value`); `HostName` is looked up there.
    pub options: Vec<String>,
}
