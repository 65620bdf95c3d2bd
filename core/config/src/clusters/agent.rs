//! `agent:` — what nodes may do with the local agent, and for how long anything about it may take.
//!
//! For runs on targets of the cluster grammar; `bssh host` goes by `ssh_config` alone, as ssh.

use super::reader::{Field, Reader};
use super::schema::{put, size};
use crate::yaml::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The agent as it is forwarded. What a request says itself goes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Without `-A`, too.
    pub forward: bool,
    /// A node that gets no agent, though one was to be forwarded, is a failed node.
    pub required: bool,
    /// `None`: as `ssh_config` and the environment say.
    pub socket: Option<PathBuf>,
    /// Not only listing and signing: adding, removing, locking.
    pub full: bool,
    /// Fingerprints (`SHA256:…`) of the keys that may be seen and used. Empty: all.
    pub keys: Vec<String>,
    pub confirm: AgentConfirm,
    /// `false`: without `session-bind@openssh.com`.
    pub bind: bool,
    /// How long a person may take to confirm; then it is "no".
    pub confirm_timeout: Duration,
    /// Agent connections of one SSH connection at once; further ones wait.
    pub max_concurrent: usize,
    /// How many may wait; more are refused at once.
    pub queue: usize,
    /// How long they may wait.
    pub queue_wait: Duration,
    /// For one answer of the agent: a person may have to touch a key.
    pub request_timeout: Duration,
    /// Without a request for so long a channel is closed.
    pub idle_timeout: Duration,
    /// A longer message of a node is refused and its channel closed, in bytes.
    pub max_message: usize,
    /// Nodes get a link in `~/.ssh` that leads to the agent over whatever connection there is.
    pub stable_path: bool,
}

/// Whether a person is asked before a signature; from the laxest up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentConfirm {
    Never,
    /// The first time for each key.
    First,
    Always,
}

impl Default for Agent {
    fn default() -> Agent {
        Agent {
            forward: false,
            required: false,
            socket: None,
            full: false,
            keys: Vec::new(),
            confirm: AgentConfirm::Never,
            bind: true,
            confirm_timeout: Duration::from_secs(60),
            max_concurrent: 64,
            queue: 256,
            queue_wait: Duration::from_secs(10),
            request_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(15 * 60),
            max_message: 256 * 1024,
            stable_path: false,
        }
    }
}

pub(super) const AGENT: &[Field<Agent>] = &[
    Field { name: "forward", read: forward },
    Field { name: "socket", read: |a, v, r| put(&mut a.socket, r.path(v).map(Some)) },
    Field { name: "policy", read: |a, v, r| put(&mut a.full, r.choice(v, POLICIES)) },
    Field { name: "keys", read: |a, v, r| a.keys = r.list(v, |r, v| r.text(v)) },
    Field { name: "confirm", read: |a, v, r| put(&mut a.confirm, r.choice(v, CONFIRM)) },
    Field { name: "bind", read: |a, v, r| put(&mut a.bind, r.choice(v, BIND)) },
    Field { name: "confirm_timeout", read: |a, v, r| put(&mut a.confirm_timeout, r.duration(v)) },
    Field {
        name: "max_concurrent",
        read: |a, v, r| put(&mut a.max_concurrent, size(r, v, 1, 10_000)),
    },
    Field { name: "queue", read: |a, v, r| put(&mut a.queue, size(r, v, 0, 100_000)) },
    Field { name: "queue_wait", read: |a, v, r| put(&mut a.queue_wait, r.duration(v)) },
    Field { name: "request_timeout", read: |a, v, r| put(&mut a.request_timeout, r.duration(v)) },
    Field { name: "idle_timeout", read: |a, v, r| put(&mut a.idle_timeout, r.duration(v)) },
    Field {
        name: "max_message",
        read: |a, v, r| put(&mut a.max_message, size(r, v, 1024, 16 << 20)),
    },
    Field { name: "stable_path", read: |a, v, r| put(&mut a.stable_path, r.flag(v)) },
];

/// A flag, or `require`.
fn forward(agent: &mut Agent, v: &Value, r: &mut Reader<'_>) {
    agent.required = v.text() == Some("require");
    put(&mut agent.forward, if agent.required { Some(true) } else { r.flag(v) });
}

const POLICIES: &[(&str, bool)] = &[("sign-only", false), ("full", true)];
const BIND: &[(&str, bool)] = &[("require", true), ("off", false)];
const CONFIRM: &[(&str, AgentConfirm)] = &[
    ("never", AgentConfirm::Never),
    ("first", AgentConfirm::First),
    ("always", AgentConfirm::Always),
];
