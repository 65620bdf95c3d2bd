//! Our own configuration: YAML files and `BSSH_*` variables to one typed value.
//!
//! `schema` is the table of keys, `reader` turns values into types and collects every problem,
//! `places` finds the files and puts them on top of each other, `variables` does `$VAR` and `~`.
//! What clusters mean as groups of nodes is the business of [`crate::Inventory`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use self::agent::Agent;
use self::gates::Gate;
use self::gateways::Gateways;
use self::sessions::Session;
use self::sync::Sync;
use crate::environment::Environment;
use crate::error::Error;
use crate::node::NodeOverrides;

pub mod agent;
pub mod gates;
pub mod gateways;
mod nearest;
mod overrides;
mod places;
mod reader;
mod schema;
pub mod sessions;
pub mod sync;
mod variables;

pub(crate) use nearest::nearest;
pub(crate) use places::{load, read_text};
pub(crate) use variables::home;

/// Everything the configuration files and `BSSH_*` variables say, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub clusters: IndexMap<String, Cluster>,
    pub default_cluster: Option<String>,
    /// What to say if no place has a cluster of that name.
    pub(crate) default_missing: Option<Error>,
    /// What holds for nodes of clusters that say nothing themselves.
    pub node_defaults: NodeOverrides,

    /// How many nodes at once.
    pub fanout: usize,
    /// `None`: `ssh_config` decides, or 30 s.
    pub connect_timeout: Option<Duration>,
    /// Zero: none.
    pub command_timeout: Duration,
    /// How often a failed connection is tried again.
    pub max_retries: u32,
    /// `None`: `ssh_config` decides, or 30 s and 3.
    pub keepalive: Option<Keepalive>,
    pub pool: Pool,
    /// Bytes for bulk data.
    pub buffer_size: usize,

    pub forwarding: Forwarding,
    pub agent: Arc<Agent>,
    pub gates: IndexMap<String, Gate>,
    pub gateways: Gateways,
    pub sync: IndexMap<String, Sync>,
    pub sessions: IndexMap<String, Session>,
    pub interactive: Interactive,
    pub core: Core,
    pub caching: Caching,

    /// The files that were read, strongest first.
    pub files: Vec<PathBuf>,
    /// What is odd but not wrong, with its place.
    pub warnings: Vec<Error>,
}

/// A named group of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    pub nodes: Vec<ClusterNode>,
    /// What holds for nodes that say nothing themselves.
    pub overrides: NodeOverrides,
    pub interactive: Interactive,
    /// `file:line`, or the variable it comes from.
    pub origin: String,
    /// Where in that line; 0 if it is a variable.
    pub column: u32,
}

/// One entry of a cluster's `nodes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterNode {
    /// A node set expression, variables expanded.
    pub name: String,
    pub overrides: NodeOverrides,
    /// `file:line`, or the variable it comes from.
    pub origin: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Zero: none.
    pub interval: Duration,
    /// Unanswered requests after which the connection is dead.
    pub count: u32,
}

/// `defaults.pool:` — connections to one node for its sessions and terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// At once.
    pub connections: usize,
    /// Channels on each; `None`: as many as the server takes.
    pub sessions: Option<usize>,
    /// How long a channel waits for another one to end.
    pub wait: Duration,
}

/// `forwarding:` — forwards in the notation of ssh's `-L`, `-R` and `-D`, and their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    pub local: Vec<String>,
    pub remote: Vec<String>,
    pub dynamic: Vec<String>,
    /// At once, per forward.
    pub max_connections: u32,
    /// How often in a row a kept forward tries to connect again; `None`: until it is closed.
    pub retry_attempts: Option<u32>,
    /// Bytes per direction.
    pub buffer_size: usize,
    /// For dialing a forward's target; `None`: the connect timeout.
    pub timeout: Option<Duration>,
}

/// `interactive:` at the top or in a cluster; `None` means that this place says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interactive {
    pub default_mode: Option<InteractiveMode>,
    pub prompt_format: Option<String>,
    pub history_file: Option<PathBuf>,
    pub node_switch_prefix: Option<String>,
    pub show_timestamps: Option<bool>,
    /// What is coloured (`prompt`, `node`, `command`, `success`, `error`, `warning`) to a colour
    /// name or `#rrggbb`.
    pub colors: BTreeMap<String, String>,
}

impl Interactive {
    /// What `self` says, and `weaker` where it says nothing.
    #[must_use]
    pub fn over(&self, weaker: &Interactive) -> Interactive {
        let mut colors = weaker.colors.clone();
        colors.extend(self.colors.clone());
        Interactive {
            default_mode: self.default_mode.or(weaker.default_mode),
            prompt_format: self.prompt_format.clone().or_else(|| weaker.prompt_format.clone()),
            history_file: self.history_file.clone().or_else(|| weaker.history_file.clone()),
            node_switch_prefix: self
                .node_switch_prefix
                .clone()
                .or_else(|| weaker.node_switch_prefix.clone()),
            show_timestamps: self.show_timestamps.or(weaker.show_timestamps),
            colors,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InteractiveMode {
    SingleNode,
    Multiplex,
}

/// `core:` — how long a shared core and its connections outlive a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Core {
    /// `None`: off.
    pub persist: Option<Duration>,
}

/// Limits of what is kept in memory, `BSSH_CACHE_*` and `BSSH_ENV_CACHE_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caching {
    pub ssh_config: Cache,
    pub environment: Cache,
}

/// Limits of a cache of what was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cache {
    pub enabled: bool,
    /// Entries.
    pub size: usize,
    pub ttl: Duration,
}

impl Config {
    /// Settings that are understood but change nothing in this version.
    fn without_effect(&self) -> Vec<Error> {
        let usual = Config::default();
        let rows = [(
            "BSSH_BUFFER_SIZE",
            self.buffer_size != usual.buffer_size,
            "buffers follow the connection",
        )];
        let set = rows.into_iter().filter(|(_, set, _)| *set);
        set.map(|(key, _, why)| Error::plain(format!("{key} has no effect: {why}"))).collect()
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            clusters: IndexMap::new(),
            default_cluster: None,
            default_missing: None,
            node_defaults: NodeOverrides::default(),
            fanout: 64,
            connect_timeout: None,
            command_timeout: Duration::from_secs(300),
            max_retries: 0,
            keepalive: None,
            pool: Pool::default(),
            buffer_size: 64 * 1024,
            forwarding: Forwarding::default(),
            agent: Arc::default(),
            gates: IndexMap::new(),
            gateways: Gateways::default(),
            sync: IndexMap::new(),
            sessions: IndexMap::new(),
            interactive: Interactive::default(),
            core: Core::default(),
            caching: Caching::default(),
            files: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

impl Caching {
    /// What an environment says.
    ///
    /// # Errors
    /// Every variable that cannot be read.
    pub(crate) fn of(env: &Environment) -> Result<Caching, Vec<Error>> {
        overrides::caching(env)
    }
}

impl Default for Caching {
    fn default() -> Caching {
        Caching {
            ssh_config: Cache { enabled: true, size: 100, ttl: Duration::from_secs(300) },
            environment: Cache { enabled: true, size: 50, ttl: Duration::from_secs(30) },
        }
    }
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive { interval: Duration::from_secs(30), count: 3 }
    }
}

impl Default for Pool {
    fn default() -> Pool {
        Pool { connections: 8, sessions: None, wait: Duration::from_secs(30) }
    }
}

impl Default for Forwarding {
    fn default() -> Forwarding {
        Forwarding {
            local: Vec::new(),
            remote: Vec::new(),
            dynamic: Vec::new(),
            max_connections: 100,
            retry_attempts: None,
            buffer_size: 64 * 1024,
            timeout: None,
        }
    }
}
