//! Nodes, node sets, clusters and configuration: questions that touch no network.

use crate::exec::Settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `group/resolve`: a node set expression to its nodes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ResolveParams {
    pub expr: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    #[serde(skip_serializing_if = "Settings::is_default")]
    pub settings: Settings,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct NodeNames {
    pub nodes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `group/fold`: several lists of nodes, each to its shortest expression.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct FoldParams {
    pub sets: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Folded {
    /// One expression per list, in order.
    pub exprs: Vec<String>,
}

/// `group/list`: every cluster and group the configuration knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GroupListParams {
    #[serde(default, skip_serializing_if = "Settings::is_default")]
    pub settings: Settings,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct GroupList {
    pub groups: Vec<Group>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    pub name: String,
    /// Where it comes from: `cluster`, `ssh`, `backendai`, `slurm`, `pbs`, or a source's name.
    pub source: String,
    /// The folded node set.
    pub nodes: String,
    pub count: u32,
    /// `file:line`, if it is written in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// `node/resolve`: what would be used to reach a node (`bssh explain`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExplainParams {
    pub node: String,
    /// The node is an ssh destination, taken literally (ssh grammar: no clusters).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub literal: bool,
    /// The command that is going to run, for `Match command`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The values wanted, by keyword in lower case; without it all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keywords: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Settings::is_default")]
    pub settings: Settings,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    pub node: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Jump hosts on the way, first hop first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<String>,
    /// The effective values.
    pub values: Vec<EffectiveValue>,
    /// A command to run here, in the user's shell, once connected (`LocalCommand`, if
    /// `PermitLocalCommand`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_command: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct EffectiveValue {
    pub keyword: String,
    pub value: String,
    /// `file:line`, `command line`, or `default`.
    pub origin: String,
    /// `applied`, `ignored` (has no effect here), `warned` (is missed) or `refused`.
    pub status: String,
}

/// `config/check`: every problem in the files.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct CheckParams {
    #[serde(default, skip_serializing_if = "Settings::is_default")]
    pub settings: Settings,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct CheckResult {
    /// The files that were read.
    pub files: Vec<String>,
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    pub file: String,
    pub line: u32,
    pub column: u32,
    /// `error` or `warning`.
    pub severity: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Parameters of `config/persist`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PersistParams {
    #[serde(skip_serializing_if = "Settings::is_default")]
    pub settings: Settings,
}

/// Result of `config/persist`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistResult {
    /// How long a shared core and its connections are to stay, in milliseconds. None: the
    /// configuration asks for no shared core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persist_ms: Option<u64>,
}
