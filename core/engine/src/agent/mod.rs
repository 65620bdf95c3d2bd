//! The local agent, reachable from a node for as long as its connection lives.
//!
//! Each channel the node opens is a task of its own: a place in the queue (`relay`), a connection
//! to the agent with retries (`dial`), `session-bind` so that keys restricted to destinations stay
//! so, then messages one by one through the `policy`. Only then is the channel opened; whatever
//! ends it sends CLOSE. `offer` tells a node that there is an agent, `stable` keeps a path to it
//! that outlives connections, `status` says how it goes and `events` tells of it.

mod dial;
mod events;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod message;
mod offer;
mod policy;
mod relay;
mod stable;
mod status;

pub(crate) use offer::{Offer, Wish};
pub(crate) use relay::AgentRelay;
pub(crate) use stable::{StableLink, name as stable_name};
pub(crate) use status::Agents;

use bssh_config::clusters::agent::{Agent, AgentConfirm};
use bssh_protocol::agent::{AgentSettings, Bind, Confirm, Policy as Which};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How one connection's agent channels are treated, decided when the first is armed.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Named for this request or in `ForwardAgent`; wins over what is set later.
    pub named: Option<PathBuf>,
    /// What the configuration and the environment say.
    pub usual: Option<PathBuf>,
    pub full: bool,
    /// Fingerprints of keys that may be seen and used; empty: all.
    pub keys: Vec<String>,
    pub confirm: Confirm,
    pub bind: Bind,
    /// The node is to fail if it gets no agent.
    pub required: bool,
    /// How many at once, and for how long.
    pub limits: Arc<Agent>,
}

impl Rules {
    /// What was asked for, over what the configuration (`agent:`) says; of two wishes to have a
    /// person confirm the stricter one. `named` is `ForwardAgent`'s socket, `usual` the one that
    /// holds without any of them.
    pub(crate) fn new(
        asked: Option<&AgentSettings>,
        configured: &Arc<Agent>,
        named: Option<PathBuf>,
        usual: Option<PathBuf>,
    ) -> Rules {
        let asked = asked.cloned().unwrap_or_default();
        Rules {
            named: asked.socket.map(PathBuf::from).or_else(|| configured.socket.clone()).or(named),
            usual,
            full: asked.policy == Which::Full || configured.full,
            keys: if asked.keys.is_empty() { configured.keys.clone() } else { asked.keys },
            confirm: stricter(asked.confirm, configured.confirm),
            required: asked.require || configured.required,
            bind: if configured.bind { asked.bind } else { Bind::Off },
            limits: configured.clone(),
        }
    }
}

fn stricter(asked: Confirm, configured: AgentConfirm) -> Confirm {
    match (asked, configured) {
        (Confirm::Always, _) | (_, AgentConfirm::Always) => Confirm::Always,
        (Confirm::First, _) | (_, AgentConfirm::First) => Confirm::First,
        (Confirm::Never, AgentConfirm::Never) => Confirm::Never,
    }
}

/// For the rest of a message.
const PARTIAL: Duration = Duration::from_secs(30);
