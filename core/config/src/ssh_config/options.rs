//! The effective options of one host: every keyword that has an effect, typed, defaults filled in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything `ssh_config` says about one destination, after Host/Match, first-value-wins, tokens,
/// `~` and environment expansion, and defaults. `man 5 ssh_config` explains each keyword.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostOptions {
    /// The destination as the user typed it (`%n`).
    pub original: String,
    /// `HostName` after tokens, or the destination; what is dialed (`%h`).
    pub hostname: String,
    pub port: u16,
    pub user: String,
    pub host_key_alias: Option<String>,

    pub address_family: AddressFamily,
    pub bind_address: Option<String>,
    pub bind_interface: Option<String>,
    pub connect_timeout: Option<Duration>,
    pub connection_attempts: u32,
    pub tcp_keep_alive: bool,
    pub server_alive_interval: Duration,
    pub server_alive_count_max: u32,
    /// First hop first. Empty: none.
    pub proxy_jump: Vec<JumpHost>,
    /// Tokens expanded. `None` also for `none`.
    pub proxy_command: Option<String>,

    pub strict_host_key_checking: StrictHostKeys,
    pub user_known_hosts_files: Vec<PathBuf>,
    pub global_known_hosts_files: Vec<PathBuf>,
    /// Tokens other than `%f %H %I %K %t` expanded; those stay for the asker.
    pub known_hosts_command: Option<String>,
    pub revoked_host_keys: Option<PathBuf>,
    pub hash_known_hosts: bool,
    pub check_host_ip: bool,
    pub update_host_keys: Ask,
    pub no_host_authentication_for_localhost: bool,
    pub visual_host_key: bool,

    /// Files named in `IdentityFile`, in order, tokens expanded; the defaults when none is named.
    pub identity_files: Vec<PathBuf>,
    /// True when the user named them (then a missing file is worth a warning).
    pub identity_files_explicit: bool,
    pub certificate_files: Vec<PathBuf>,
    pub identities_only: bool,
    /// The agent's socket, expanded; `None` for `none` or no agent.
    pub identity_agent: Option<PathBuf>,
    /// `None`: keys are not given to the agent.
    pub add_keys_to_agent: Option<AddKeys>,
    /// Bits; shorter RSA keys are refused.
    pub required_rsa_size: u32,
    /// In order of preference, as in `PreferredAuthentications`.
    pub preferred_authentications: Vec<String>,
    pub pubkey_authentication: bool,
    pub password_authentication: bool,
    pub kbd_interactive_authentication: bool,
    pub number_of_password_prompts: u32,
    pub batch_mode: bool,

    /// Algorithm lists as written (`+ - ^` already applied to OpenSSH's defaults); `None` when
    /// the user did not set the keyword.
    pub ciphers: Option<Vec<String>>,
    pub macs: Option<Vec<String>>,
    pub kex_algorithms: Option<Vec<String>>,
    pub host_key_algorithms: Option<Vec<String>>,
    pub pubkey_accepted_algorithms: Option<Vec<String>>,
    pub ca_signature_algorithms: Option<Vec<String>>,
    pub compression: bool,
    /// Bytes and time after which keys are changed; `None`: the default.
    pub rekey_limit: (Option<u64>, Option<Duration>),

    pub forward_agent: Option<PathBuf>,
    pub forward_agent_on: bool,
    pub local_forwards: Vec<Forward>,
    pub remote_forwards: Vec<Forward>,
    pub dynamic_forwards: Vec<Forward>,
    pub clear_all_forwardings: bool,
    pub gateway_ports: bool,
    pub stream_local_bind_mask: u32,
    pub stream_local_bind_unlink: bool,
    /// Empty: anything; `none`: nothing.
    pub permit_remote_open: Vec<String>,

    /// Patterns of `SendEnv`, matched against the environment by the caller.
    pub send_env: Vec<String>,
    pub set_env: Vec<(String, String)>,
    pub remote_command: Option<String>,
    pub local_command: Option<String>,
    pub permit_local_command: bool,
    /// `EscapeChar`: `None` is `none`.
    pub escape_char: Option<u8>,
    pub log_level: String,
    /// `ControlMaster` in any form but `no`.
    pub control_master: bool,
    pub control_path: Option<PathBuf>,
    /// `None`: no; zero: without end.
    pub control_persist: Option<Duration>,
    pub fork_after_authentication: bool,
    /// `default`, `none` or `subsystem`.
    pub session_type: String,
    pub tag: Option<String>,
    /// What was set, in the order found, keywords without effect here too; defaults are left out.
    pub origins: Vec<Origin>,
    /// What was asked for in files and is not there, worth a warning each.
    pub missing: Vec<crate::Error>,
    /// The blocks of the files that apply, if an explanation was asked for.
    pub applied: Vec<crate::Error>,
}

/// One effective value: keyword, value as `ssh -G` prints it, and where it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Lower case, as `ssh -G` prints it.
    pub keyword: &'static str,
    pub value: Arc<str>,
    /// `file:line` or `command line`.
    pub origin: Arc<str>,
    /// `applied`, `ignored`, `warned` or `refused`.
    pub status: &'static str,
}

/// How `AddKeysToAgent` gives a key to the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddKeys {
    /// A person is asked first.
    pub ask: bool,
    /// The agent asks before each use.
    pub confirm: bool,
    /// The agent forgets it then.
    pub lifetime: Option<Duration>,
}

/// One hop of `ProxyJump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpHost {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
}

/// One `LocalForward`, `RemoteForward` or `DynamicForward`, in the notation of ssh's flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    pub spec: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamily {
    #[default]
    Any,
    Inet,
    Inet6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrictHostKeys {
    Yes,
    No,
    AcceptNew,
    #[default]
    Ask,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ask {
    #[default]
    Yes,
    No,
    Ask,
}
