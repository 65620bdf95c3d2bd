//! Connections of a core that outlive their users: are there any to a node, and end them.

use crate::exec::Targets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of `connection/check`: one node, reached as this link would reach it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConnectionParams {
    #[serde(flatten)]
    pub targets: Targets,
}

/// Connections along the way a link would take to a node.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConnectionState {
    /// In use.
    pub open: u32,
    /// Kept for the next command.
    pub idle: u32,
}

/// Parameters of `connection/close`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ConnectionClose {
    #[serde(flatten)]
    pub targets: Targets,
    pub ending: Ending,
}

/// When a connection ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// With what runs on it.
    #[default]
    Now,
    /// With what runs on it now; nobody new gets it.
    WithLast,
}
