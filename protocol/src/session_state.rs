//! Calls that change a session's state without a command of the caller's, that state itself, and
//! the sessions the configuration names.

use crate::session::{ExecId, SessionId};
use crate::stream::Base64Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `session/resize`: a new size of a command's terminal.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionResize {
    pub session: SessionId,
    pub exec: ExecId,
    pub cols: u32,
    pub rows: u32,
}

/// `session/cd`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionCd {
    pub session: SessionId,
    /// As for `cd` in the session: absolute, from where it is, or with `~/`.
    pub cwd: String,
}

/// `session/setenv`: exported variables.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionSetenv {
    pub session: SessionId,
    pub env: BTreeMap<String, String>,
}

/// `session/unsetenv`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionUnsetenv {
    pub session: SessionId,
    pub names: Vec<String>,
}

/// Where a session is now.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SessionPlace {
    pub cwd: String,
    /// Changes of the state so far.
    pub rev: u64,
}

/// A session's state in its shell's own words: result of `session/snapshot`, and what
/// `session/open` can begin with.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionSaved {
    /// Path of the shell on the node.
    pub shell: String,
    pub cwd: String,
    /// Changes of the state so far.
    pub rev: u64,
    /// Environment, functions, aliases and umask, for that shell.
    pub state: Base64Bytes,
}

/// The sessions the configuration names. `session/open` takes such a name as `defined`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DefinedSessions {
    pub sessions: Vec<DefinedSession>,
}

/// One of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DefinedSession {
    pub name: String,
    /// Its nodes: an expression.
    pub target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
}
