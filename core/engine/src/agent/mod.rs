//! The local agent, reachable from a node for as long as its connection lives.
//!
//! Each channel the node opens is a task of its own: a place in the queue (`relay`), a connection
//! to the agent with retries (`dial`), `session-bind` so that keys restricted to destinations stay
//! so, then messages one by one through the `policy`. Only then is the channel opened; whatever
//! ends it sends CLOSE. `status` says how it goes.

mod dial;
mod message;
mod policy;
mod relay;
mod status;

pub(crate) use relay::AgentRelay;
pub(crate) use status::Agents;

use bssh_protocol::agent::{AgentSettings, Bind, Confirm, Policy as Which};
use std::path::PathBuf;
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
}

impl Rules {
    /// What was asked for, over what the configuration says.
    pub(crate) fn new(
        asked: Option<&AgentSettings>,
        named: Option<PathBuf>,
        usual: Option<PathBuf>,
    ) -> Rules {
        let asked = asked.cloned().unwrap_or_default();
        Rules {
            named: asked.socket.map(PathBuf::from).or(named),
            usual,
            full: asked.policy == Which::Full,
            keys: asked.keys,
            confirm: asked.confirm,
            bind: asked.bind,
        }
    }
}

/// Agent connections of one SSH connection at once; further ones wait.
const MOST: usize = 64;
/// How many may wait; more are refused at once.
const QUEUE: usize = 256;
const QUEUE_WAIT: Duration = Duration::from_secs(10);
/// For one answer: a person may have to touch a key.
const REQUEST: Duration = Duration::from_secs(120);
const CONFIRM: Duration = Duration::from_secs(60);
/// Without a request for so long a channel is closed.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// For the rest of a message.
const PARTIAL: Duration = Duration::from_secs(30);
const MAX_MESSAGE: usize = 256 * 1024;
