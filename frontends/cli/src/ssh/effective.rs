//! What the configuration says about a session, as far as the frontend must know it: terminal,
//! command, escapes, forwards. The core answers `node/resolve` with the lines of `ssh -G`.

use super::args::SshArgs;
use bssh_protocol::exec::Action;
use bssh_protocol::forward::ForwardKind;
use bssh_protocol::node::EffectiveValue;
use bssh_protocol::stream::Base64Bytes;

/// The decisions of `ssh.c` that come before the session starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effective {
    pub action: Action,
    /// A terminal is wanted; `forced` even without a local one.
    pub tty: Tty,
    pub stdin_null: bool,
    pub background: bool,
    /// `None`: escapes are off.
    pub escape: Option<u8>,
    /// `~C`: off only if somebody has said so, not by ssh's default.
    pub command_line: bool,
    pub forwards: Vec<(ForwardKind, String)>,
    pub exit_on_forward_failure: bool,
    pub agent: bool,
    pub log_level: LogLevel,
    /// `UpdateHostKeys` after what ssh makes of it when there is a command.
    pub update_host_keys: String,
    pub user: String,
    pub host: String,
    pub port: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tty {
    No,
    /// For a shell, if stdin is a terminal; a node may refuse it.
    Usual,
    /// If stdin is a terminal.
    Wanted,
    Forced,
}

/// `LogLevel`, from the quietest up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LogLevel {
    Quiet,
    Fatal,
    Error,
    Info,
    Verbose,
    Debug1,
    Debug2,
    Debug3,
}

/// Their names for the core, in their order.
const LOG_LEVELS: &[(LogLevel, &str)] = &[
    (LogLevel::Quiet, "quiet"),
    (LogLevel::Fatal, "fatal"),
    (LogLevel::Error, "error"),
    (LogLevel::Info, "info"),
    (LogLevel::Verbose, "verbose"),
    (LogLevel::Debug1, "debug1"),
    (LogLevel::Debug2, "debug2"),
    (LogLevel::Debug3, "debug3"),
];

impl LogLevel {
    /// One louder (`up`) or quieter, as far as there is one.
    pub(super) fn next(self, up: bool) -> LogLevel {
        let at = LOG_LEVELS.iter().position(|(level, _)| *level == self).unwrap_or_default();
        let next = if up { at + 1 } else { at.saturating_sub(1) };
        LOG_LEVELS.get(next).map_or(self, |(level, _)| *level)
    }

    /// As the core knows it.
    pub(super) fn name(self) -> &'static str {
        LOG_LEVELS.iter().find(|(level, _)| *level == self).map_or("info", |(_, name)| name)
    }
}

/// What this frontend reads of the configuration; the rest is the core's.
const KEYWORDS: &[&str] = &[
    "clearallforwardings",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "dynamicforward",
    "enableescapecommandline",
    "escapechar",
    "exitonforwardfailure",
    "forkafterauthentication",
    "forwardagent",
    "hostname",
    "localforward",
    "loglevel",
    "port",
    "remotecommand",
    "remoteforward",
    "requesttty",
    "sessiontype",
    "stdinnull",
    "syslogfacility",
    "updatehostkeys",
    "user",
];

/// The values of a keyword, in their order.
pub(super) fn values<'a>(
    values: &'a [EffectiveValue],
    keyword: &'static str,
) -> impl Iterator<Item = &'a EffectiveValue> {
    debug_assert!(KEYWORDS.contains(&keyword), "{keyword} is not asked for");
    values.iter().filter(move |v| v.keyword == keyword)
}

impl Effective {
    /// What `node/resolve` is asked for.
    pub(super) fn keywords() -> Vec<String> {
        KEYWORDS.iter().map(ToString::to_string).collect()
    }

    /// Reads the lines of `ssh -G` and what was typed.
    ///
    /// # Errors
    /// One line for people: contradictions between the command line and the configuration.
    pub(super) fn new(args: &SshArgs, told: &[EffectiveValue]) -> Result<Self, String> {
        let all = |key: &'static str| values(told, key).map(|v| v.value.as_str());
        let get = |key: &'static str| all(key).next().unwrap_or_default();
        let yes = |key: &'static str| matches!(get(key), "yes" | "true");
        let remote_command = Some(get("remotecommand")).filter(|c| !c.is_empty() && *c != "none");
        let action = action(args, get("sessiontype"), remote_command)?;
        let forwards = match args.stdio_forward.is_some() || yes("clearallforwardings") {
            true => Vec::new(),
            false => FORWARDS
                .iter()
                .flat_map(|(key, kind)| all(key).map(|spec| (*kind, spec.to_owned())))
                .collect(),
        };
        let tty = match (&action, args.stdio_forward.is_some()) {
            (Action::Hold, _) | (_, true) => Tty::No,
            _ => tty(get("requesttty"), &action),
        };
        Ok(Effective {
            action,
            tty,
            stdin_null: yes("stdinnull") || yes("forkafterauthentication"),
            background: yes("forkafterauthentication"),
            escape: escape(get("escapechar")),
            command_line: !values(told, "enableescapecommandline")
                .any(|v| v.value == "no" && v.origin != "default"),
            forwards,
            exit_on_forward_failure: yes("exitonforwardfailure"),
            agent: !matches!(get("forwardagent"), "" | "no" | "false"),
            log_level: log_level(get("loglevel")),
            update_host_keys: get("updatehostkeys").to_owned(),
            user: get("user").to_owned(),
            host: get("hostname").to_owned(),
            port: get("port").to_owned(),
        })
    }
}

const FORWARDS: &[(&str, ForwardKind)] = &[
    ("localforward", ForwardKind::Local),
    ("remoteforward", ForwardKind::Remote),
    ("dynamicforward", ForwardKind::Dynamic),
];

fn action(args: &SshArgs, session: &str, configured: Option<&str>) -> Result<Action, String> {
    if session == "none" {
        return Ok(Action::Hold);
    }
    if args.command.is_some() && configured.is_some() {
        return Err("cannot execute command-line and remote command".to_owned());
    }
    let command = args.command.clone().or_else(|| configured.map(|c| c.as_bytes().to_vec()));
    match (command, session) {
        (None, "subsystem") => Err("-s needs the name of a subsystem as the command".to_owned()),
        (Some(name), "subsystem") => String::from_utf8(name)
            .map(Action::Subsystem)
            .map_err(|_| "the subsystem's name is not UTF-8".to_owned()),
        (None, _) => Ok(Action::Shell),
        (Some(command), _) if command.is_empty() => Ok(Action::Shell),
        (Some(command), _) => Ok(match String::from_utf8(command) {
            Ok(text) => Action::Command(text),
            Err(error) => Action::CommandBytes(Base64Bytes(error.into_bytes().into())),
        }),
    }
}

fn tty(configured: &str, action: &Action) -> Tty {
    match configured {
        "no" | "false" => Tty::No,
        "force" => Tty::Forced,
        "yes" | "true" => Tty::Wanted,
        _ if *action == Action::Shell => Tty::Usual,
        _ => Tty::No,
    }
}

fn escape(value: &str) -> Option<u8> {
    match value.as_bytes() {
        [] => Some(b'~'),
        [one] => Some(*one),
        // `ssh -G` shows control characters as `\^B`.
        [b'^', c] | [b'\\', b'^', c] => Some(c & 0x1f),
        _ => None,
    }
}

/// By any of its names; one that is none is refused where it is read.
pub(super) fn log_level(value: &str) -> LogLevel {
    let value = match value.to_ascii_lowercase() {
        // `ssh -G` shows QUIET by its other name.
        name if name == "silent" => "quiet".to_owned(),
        name if name == "debug" => "debug1".to_owned(),
        name => name,
    };
    LOG_LEVELS.iter().find(|(_, name)| *name == value).map_or(LogLevel::Info, |(level, _)| *level)
}
