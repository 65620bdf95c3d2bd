//! The chosen settings turned into [`HostOptions`]: defaults, checks, refusals, origins.
//!
//! Last step of a resolution, after `eval`; tokens are expanded by `expand`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::eval::Evaluation;
use super::expand::expand;
use super::keywords::{Class, KEYWORDS, Keyword};
use super::lexer;
use super::options::{Ask, HostOptions, Origin};
use super::reader::Setting;
use super::values::Args;
use crate::environment::Environment;
use crate::error::Error;

/// The private keys ssh looks for, below the home directory.
pub(super) const IDENTITIES: [&str; 7] = [
    ".ssh/id_rsa",
    ".ssh/id_ecdsa",
    ".ssh/id_ecdsa_sk",
    ".ssh/id_ed25519",
    ".ssh/id_ed25519_sk",
    ".ssh/id_xmss",
    ".ssh/id_dsa",
];

/// `ServerAliveInterval` where nobody watches: Debian's default with `BatchMode`.
const BATCH_ALIVE: Duration = Duration::from_secs(300);

/// What holds when nothing is set.
pub(super) fn defaults(env: &Environment) -> HostOptions {
    let mut options = nothing(env);
    for keyword in KEYWORDS.iter().filter(|keyword| !keyword.default.is_empty()) {
        let words = lexer::words(keyword.default).unwrap_or_default().into_iter();
        let mut args = Args { keyword: keyword.name, rest: keyword.default, words };
        if let Ok(Some(parsed)) = keyword.kind.parse(&mut args) {
            (keyword.set)(&mut options, &parsed.values);
        }
    }
    options
}

/// The options of one destination, which is dialed as `host`.
///
/// # Errors
/// All problems found, also those of the evaluation.
pub(super) fn finish(
    evaluation: Evaluation<'_>,
    defaults: &HostOptions,
    host: String,
) -> Result<HostOptions, Vec<Error>> {
    let mut options = defaults.clone();
    for setting in &evaluation.chosen.settings {
        if let Some(keyword) = KEYWORDS.get(setting.row) {
            (keyword.set)(&mut options, &setting.values);
        }
    }
    options.original.clone_from(&evaluation.request.destination.host);
    options.hostname = host;
    let (shown, mut errors) = expand(&mut options, &evaluation);
    if options.clear_all_forwardings {
        options.local_forwards.clear();
        options.remote_forwards.clear();
        options.dynamic_forwards.clear();
    }
    check(&mut options, &evaluation, &mut errors);
    options.origins =
        evaluation.chosen.settings.iter().flat_map(|setting| origins(setting, &shown)).collect();
    options.missing = evaluation.chosen.settings.iter().filter_map(|s| missing(s)).collect();
    if !evaluation.request.explain {
        errors.extend(evaluation.chosen.settings.iter().filter_map(|setting| refusal(setting)));
    }
    let Evaluation { errors: mut all, applied, .. } = evaluation;
    options.applied = applied;
    all.append(&mut errors);
    if all.is_empty() { Ok(options) } else { Err(all) }
}

fn status(setting: &Setting) -> &'static str {
    match KEYWORDS.get(setting.row).map(|keyword| keyword.class) {
        Some(Class::Applied) => "applied",
        Some(Class::Refused(when)) if when(&setting.values) => "refused",
        Some(Class::Warned(when)) if when(&setting.values) => match setting.place.file {
            Some(_) if setting.system => "ignored",
            Some(_) => "warned",
            None => "refused",
        },
        _ => "ignored",
    }
}

fn refusal(setting: &Setting) -> Option<Error> {
    let keyword = KEYWORDS.get(setting.row).filter(|_| status(setting) == "refused")?;
    let value = setting.values.join(" ");
    let off = if keyword.default.is_empty() { "none" } else { keyword.default };
    let hint = format!("-o {}={off}, or use ssh for this host", keyword.name);
    Some(setting.place.error(not_supported(keyword, &value)).hint(hint))
}

/// What somebody asked for in a file and does not get; path and trust are the same without it.
pub(super) fn missing(setting: &Setting) -> Option<Error> {
    let keyword = KEYWORDS.get(setting.row).filter(|_| status(setting) == "warned")?;
    Some(setting.place.error(not_supported(keyword, &setting.values.join(" "))))
}

fn not_supported(keyword: &Keyword, value: &str) -> String {
    format!("{} {value} is not supported ({})", keyword.name, keyword.doc.trim_end_matches('.'))
}

fn origins(setting: &Setting, shown: &[(&'static str, String)]) -> Vec<Origin> {
    let Some(keyword) = KEYWORDS.get(setting.row) else { return Vec::new() };
    let expanded = shown.iter().find(|(name, _)| *name == keyword.name);
    let values = match expanded {
        Some((_, text)) => &[Arc::from(text.as_str())],
        None => setting.shown.as_slice(),
    };
    let origin = |value: &Arc<str>| Origin {
        keyword: keyword.name,
        value: Arc::clone(value),
        origin: Arc::clone(&setting.origin),
        status: status(setting),
    };
    values.iter().map(origin).collect()
}

/// What ssh refuses or adjusts when everything is known.
fn check(options: &mut HostOptions, evaluation: &Evaluation<'_>, errors: &mut Vec<Error>) {
    let chosen = &evaluation.chosen;
    let place = |name: &str, why: String| match chosen.get(name) {
        Some(setting) => setting.place.error(why),
        None => Error::plain(why),
    };
    if let Some(hop) = options.proxy_jump.last()
        && hop.host == options.hostname
        && hop.port.unwrap_or(22) == options.port
        && hop.user.as_ref().is_none_or(|user| *user == options.user)
    {
        errors.push(place("proxyjump", format!("jumphost loop via {}", hop.host)));
    }
    if options.connection_attempts == 0 {
        errors.push(place("connectionattempts", "invalid number of ConnectionAttempts".into()));
    }
    let command = evaluation.request.command.is_some_and(|command| !command.is_empty());
    if command && options.remote_command.is_some() {
        let why = "cannot execute command-line and remote command".into();
        errors.push(place("remotecommand", why));
    }
    // Only who asks for an explanation says what is going to run.
    let background = evaluation.request.explain
        && options.fork_after_authentication
        && options.session_type != "none";
    if background && !command && options.remote_command.is_none() {
        let why = "cannot fork into background without a command to execute".into();
        errors.push(place("forkafterauthentication", why));
    }
    for (name, max) in [
        ("identityfile", options.identity_files.len()),
        ("certificatefile", options.certificate_files.len()),
    ] {
        if max > super::special::FILES_MAX {
            errors.push(place(name, format!("too many files (max {})", super::special::FILES_MAX)));
        }
    }
    if options.batch_mode && chosen.get("serveraliveinterval").is_none() {
        options.server_alive_interval = BATCH_ALIVE;
    }
    if chosen.get("updatehostkeys").is_none() {
        let dns = !matches!(chosen.value("verifyhostkeydns"), None | Some("false"));
        let own_files =
            chosen.get("userknownhostsfile").is_some_and(|s| s.values != ["~/.ssh/known_hosts"]);
        options.update_host_keys = if dns || own_files { Ask::No } else { Ask::Yes };
    }
    if options.update_host_keys == Ask::Ask {
        let shared = options.control_persist.is_some() && options.control_path.is_some();
        let tty = chosen.value("requesttty");
        let remote = command || options.remote_command.is_some() || tty == Some("false");
        let quiet = ["QUIET", "FATAL", "ERROR"].contains(&options.log_level.as_str());
        if shared || remote || quiet {
            options.update_host_keys = Ask::No;
        }
    }
}

/// What the table of keywords has no default for.
fn nothing(env: &Environment) -> HostOptions {
    let home = |file: &str| env.home.join(file);
    HostOptions {
        user: env.user.clone(),
        user_known_hosts_files: vec![home(".ssh/known_hosts"), home(".ssh/known_hosts2")],
        identity_files: IDENTITIES.map(home).to_vec(),
        identity_agent: env.var("SSH_AUTH_SOCK").map(PathBuf::from),
        preferred_authentications: ["publickey", "keyboard-interactive", "password"]
            .map(str::to_owned)
            .to_vec(),
        ..HostOptions::default()
    }
}
