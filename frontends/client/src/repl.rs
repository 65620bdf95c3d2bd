//! A REPL as a command line asks for it: what one frontend says to another.

use crate::{Persist, Start};
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::exec::Targets;
use std::path::PathBuf;

/// What a REPL is made of.
pub struct ReplPlan {
    pub targets: Targets,
    pub start: Start,
    /// Which core it wants.
    pub persist: Persist,
    /// `TERM`
    pub term: String,
    /// Where the history goes; none: nowhere.
    pub history: Option<PathBuf>,
    /// How many nodes are connected to at once.
    pub fanout: Option<u32>,
    /// The configuration's session it begins as.
    pub session: Option<String>,
    /// A plain shell on the one node instead; none: what the configuration says.
    pub single: Option<bool>,
    /// Forward the local agent, and how.
    pub agent: (bool, Option<AgentSettings>),
}
