//! Everything decided before dialing. Nothing in here is looked up again later.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// How to get one authenticated connection to one node.
#[derive(Debug, Clone)]
pub struct ConnectPlan {
    /// The node's name, for messages.
    pub node: String,
    pub user: String,
    pub address: Address,
    /// Whose stdio carries the connection instead of TCP (`ProxyCommand`).
    pub proxy_command: Option<ShellCommand>,
    pub host_keys: HostKeyRules,
    pub auth: AuthRules,
    pub algorithms: Algorithms,
    pub timeouts: Timeouts,
    pub keepalive: Keepalive,
    pub tcp_keepalive: bool,
    /// What the server may send on a channel before we say that we took it, in bytes. None: the
    /// usual; connections that carry files over long ways take more.
    pub window: Option<u32>,
    /// Show what the server says before it lets anybody in.
    pub banner: bool,
    /// What programs are told that are started for it. None: what we were told ourselves.
    pub children: Option<Arc<Children>>,
}

/// A command for a shell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShellCommand {
    /// The person's own: what is written is meant for it.
    pub shell: String,
    pub text: String,
}

/// The surroundings of programs started in somebody's name.
#[derive(Clone)]
pub struct Children {
    pub cwd: PathBuf,
    pub vars: BTreeMap<String, String>,
}

impl std::fmt::Debug for Children {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Variables may hold secrets.
        f.write_str("Children")
    }
}

impl Children {
    /// Prepares a program.
    pub(crate) fn tell(children: Option<&Arc<Children>>, command: &mut Command) {
        if let Some(children) = children {
            command.env_clear().envs(&children.vars).current_dir(&children.cwd);
        }
    }
}

/// What to dial: host name or literal, port, family, local side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub family: Family,
    /// Local address to bind (`BindAddress`, `-b`).
    pub bind: Option<String>,
    /// Local interface to bind (`BindInterface`, `-B`).
    pub interface: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Any,
    V4,
    V6,
}

/// Which host keys are trusted, and what happens to others.
#[derive(Debug, Clone)]
pub struct HostKeyRules {
    pub policy: HostKeyPolicy,
    /// Names the key may be filed under, the first one is written: host name (or HostKeyAlias)
    /// in known_hosts form, `[host]:port` where the port is not 22.
    pub names: Vec<String>,
    /// True when `names` comes from HostKeyAlias.
    pub alias: bool,
    /// Written to: the first one. All are read, before the global ones.
    pub user_files: Vec<PathBuf>,
    pub global_files: Vec<PathBuf>,
    /// Prints known_hosts lines; `%f %H %I %K %t` left in.
    pub command: Option<String>,
    /// What that program is told, as in [`ConnectPlan::children`].
    pub children: Option<Arc<Children>>,
    pub revoked: Option<PathBuf>,
    /// Hash names that are written.
    pub hash: bool,
    /// Learn further keys of a server whose key was in the user's own file.
    pub update: UpdateKeys,
    /// Loopback needs no key (`NoHostAuthenticationForLocalhost`).
    pub skip_loopback: bool,
    /// Also compare keys filed under the address, and say so if they differ.
    pub check_ip: bool,
    /// Show a picture of the key (`VisualHostKey`).
    pub visual: bool,
    /// Shorter RSA keys are refused (`RequiredRSASize`).
    pub min_rsa_bits: u32,
    /// Algorithms certificates may be signed with; empty: all we can verify.
    pub ca_signatures: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyPolicy {
    /// Only known keys.
    Yes,
    /// Unknown keys are added, changed keys are let through with a warning and without
    /// password logins.
    No,
    /// Unknown keys are added, changed keys refused.
    AcceptNew,
    /// A person decides about unknown keys.
    Ask,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateKeys {
    No,
    Yes,
    Ask,
}

/// What may be offered, in which order.
#[derive(Debug, Clone)]
pub struct AuthRules {
    /// Methods in order: `publickey`, `keyboard-interactive`, `password`, ….
    pub methods: Vec<String>,
    pub identities: Vec<PathBuf>,
    /// Missing identity files are worth a warning.
    pub identities_named: bool,
    pub certificates: Vec<PathBuf>,
    /// Offer only `identities` (from the agent, too).
    pub identities_only: bool,
    pub agent: Option<PathBuf>,
    pub password_prompts: u32,
    /// Never ask a person.
    pub batch: bool,
    /// Signature algorithms allowed for user keys; empty: all good ones.
    pub accepted: Vec<String>,
    /// Shorter RSA keys are not offered.
    pub min_rsa_bits: u32,
    /// Give keys read from files to the agent.
    pub add_to_agent: Option<AddToAgent>,
}

/// How a key is given to the agent (`AddKeysToAgent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddToAgent {
    /// A person is asked first.
    pub ask: bool,
    /// The agent is to ask before each use.
    pub confirm: bool,
    /// The agent is to forget it then.
    pub lifetime: Option<Duration>,
}

/// Algorithm lists by their SSH names, most wanted first; empty: our own order. A name we do not
/// have is left out; a list of which nothing is left is an error.
#[derive(Debug, Clone, Default)]
pub struct Algorithms {
    pub kex: Vec<String>,
    pub ciphers: Vec<String>,
    pub macs: Vec<String>,
    pub host_keys: Vec<String>,
    pub compression: bool,
    /// Bytes after which keys are changed.
    pub rekey_bytes: Option<u64>,
    pub rekey_time: Option<Duration>,
}

/// Each phase has its own clock, so that an error can say where it hung.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Name look-up and TCP connect, all addresses together.
    pub dial: Option<Duration>,
    /// Version exchange to NEWKEYS.
    pub handshake: Option<Duration>,
    /// Authentication, prompts not counted.
    pub auth: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
pub struct Keepalive {
    /// Zero: none.
    pub interval: Duration,
    pub count: u32,
}
