//! Why a node has no exit: one table from what went wrong to stable code, words and advice.
//!
//! The only file that makes a [`Failure`] out of an error. Remote texts have been made printable
//! below; here every text becomes one line.

use crate::descriptor::Gone;
use crate::pool::Lease;
use bssh_protocol::exec::{Exit, Failure, Phase};
use bssh_ssh::Refusal;
use bssh_ssh::error::{Error, ErrorKind, Phase as At};

/// What a kind of error means to programs and people.
struct Meaning {
    code: &'static str,
    retryable: bool,
    hint: Option<String>,
}

/// The failure of a node, from an error on the way to it.
pub(crate) fn failure(error: &Error) -> Failure {
    let meaning = meaning(&error.kind);
    Failure {
        phase: phase(error.phase),
        code: meaning.code.to_owned(),
        message: one_line(&error.kind.to_string()),
        hint: meaning.hint,
        hop: error.hop.clone(),
        retryable: meaning.retryable,
        after_ms: 0,
    }
}

/// An error in one line, with what to do about it.
pub(crate) fn advised(error: &Error) -> String {
    let Failure { message, hint, .. } = failure(error);
    hint.map_or(message.clone(), |hint| format!("{message} ({hint})"))
}

/// A failure that is no error of a connection: configuration, timeout, cancellation.
pub(crate) fn plain(phase: Phase, code: &str, message: impl Into<String>) -> Failure {
    Failure {
        phase,
        code: code.to_owned(),
        message: one_line(&message.into()),
        ..Failure::default()
    }
}

/// What the system says, without the "(os error 2)" that means nothing to people.
pub(crate) fn reason(error: impl Into<std::io::Error>) -> String {
    let text = error.into().to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A command's output has nowhere to go.
pub(crate) fn unwritten(gone: Gone) -> Failure {
    let why = gone.0.map(|why| format!(": {}", reason(why))).unwrap_or_default();
    plain(Phase::Exec, "sinkGone", format!("the output could not be written{why}"))
}

/// A command said more than is kept for a slow reader, and what to do about that.
pub(crate) fn overflow(hint: &str) -> Failure {
    let text = "more output than can be kept for a slow reader; it was ended";
    Failure { hint: Some(hint.to_owned()), ..plain(Phase::Exec, "outputOverflow", text) }
}

fn phase(at: At) -> Phase {
    match at {
        At::Resolve => Phase::Resolve,
        At::Dial => Phase::Dial,
        At::Handshake => Phase::Handshake,
        At::HostKey => Phase::HostKey,
        At::Auth => Phase::Auth,
        At::Channel => Phase::Channel,
        At::Exec => Phase::Exec,
    }
}

/// A name with a port behind it, which no name has.
fn with_port(host: &str) -> Option<(&str, &str)> {
    let parts = host.split_once(':');
    parts.filter(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok())
}

fn meaning(kind: &ErrorKind) -> Meaning {
    let (code, retryable, hint) = match kind {
        ErrorKind::Resolve { host, .. } => ("resolve", true, Some(match with_port(host) {
            Some((host, port)) => format!("a port is no part of the name: -p {port} {host}"),
            None => "check the name, or set HostName for it".to_owned(),
        })),
        ErrorKind::Refused { .. } => ("refused", true, Some("is sshd running there, and is it the right port?".to_owned())),
        ErrorKind::DialTimeout { .. } => {
            ("timeout", true, Some("the node is down or a firewall drops packets; ConnectTimeout sets the limit".to_owned()))
        }
        ErrorKind::Dial { .. } => ("unreachable", true, None),
        ErrorKind::ProxyCommand(_) => ("proxyCommand", true, Some("run the ProxyCommand by hand to see why".to_owned())),
        ErrorKind::Handshake(_) => ("handshake", false, Some("is this an SSH server? -vv shows the exchange".to_owned())),
        ErrorKind::ClosedEarly { .. } => {
            ("closedEarly", true, Some("the server is busy (MaxStartups) or refuses this address".to_owned()))
        }
        ErrorKind::HandshakeTimeout { .. } => {
            ("timeout", true, Some("something listens there but does not answer as an SSH server".to_owned()))
        }
        ErrorKind::NoCommonAlgorithm { .. } => {
            ("noCommonAlgorithm", false, Some("the server is too old or its lists too short; see KexAlgorithms, Ciphers, MACs, HostKeyAlgorithms".to_owned()))
        }
        ErrorKind::NoSupportedAlgorithm { keyword, .. } => {
            ("noCommonAlgorithm", false, Some(format!("{keyword} is set too narrow; explain shows where")))
        }
        ErrorKind::HostKeyUnknown { .. } => {
            ("hostKeyUnknown", false, Some("compare the fingerprint with the node's own, then add it or use StrictHostKeyChecking=accept-new".to_owned()))
        }
        ErrorKind::HostKeyChanged { host, known_at, .. } => {
            let file = known_at.rsplit_once(':').map(|(file, _)| file).filter(|file| *file != "KnownHostsCommand");
            ("hostKeyChanged", false, file.map(|file| format!("if the node was set up anew: ssh-keygen -f '{file}' -R '{host}'")))
        }
        ErrorKind::Untrusted { .. } => {
            ("hostKeyChanged", false, Some("see which key is right, and have known_hosts say so".to_owned()))
        }
        ErrorKind::HostKeyRevoked { .. } => ("hostKeyRevoked", false, None),
        ErrorKind::HostKeyFile { .. } => ("hostKeyFile", false, Some("mend the file; nothing is trusted without it".to_owned())),
        ErrorKind::HostCertificate(_) => ("hostCertificate", false, None),
        ErrorKind::AuthFailed { .. } => {
            ("authFailed", false, Some("-v (-vv on many nodes) shows every attempt; name a key with -i or load it into the agent".to_owned()))
        }
        ErrorKind::TooManyAuthFailures { .. } => {
            ("tooManyAuthFailures", false, Some("too many keys were offered; name one with -i and -o IdentitiesOnly=yes".to_owned()))
        }
        ErrorKind::AuthClosed { .. } => {
            ("authClosed", false, Some("LoginGraceTime or MaxAuthTries of the server may have run out; -v (-vv on many nodes) shows every attempt".to_owned()))
        }
        ErrorKind::AuthTimeout { .. } => ("timeout", true, None),
        ErrorKind::ChannelRefused { reason, .. } => ("channelRefused", false, advice(*reason)),
        ErrorKind::TooManySessions { .. } => {
            ("tooManySessions", true, Some("raise MaxSessions in the server's sshd_config, or defaults.pool of the configuration".to_owned()))
        }
        ErrorKind::AgentRefused => {
            ("agentForwardRefused", false, Some("see AllowAgentForwarding in the server's sshd_config, and no-agent-forwarding of the key".to_owned()))
        }
        ErrorKind::AgentUnavailable(_) => {
            ("agentUnavailable", false, Some("start an agent and set SSH_AUTH_SOCK, or name its socket; bssh agent status shows it".to_owned()))
        }
        ErrorKind::RequestRefused { what } => {
            let hint = match what.as_str() {
                "subsystem" => Some("see Subsystem in the server's sshd_config"),
                "terminal" => Some("see PermitTTY in the server's sshd_config, and no-pty of the key"),
                _ => None,
            };
            ("requestRefused", false, hint.map(str::to_owned))
        }
        ErrorKind::Unanswered { .. } => {
            ("timeout", false, Some("the node is stuck or very busy; --timeout and ConnectTimeout set the limit".to_owned()))
        }
        ErrorKind::Lost(_) | ErrorKind::KeepaliveTimeout { .. } => ("transportLost", true, None),
        ErrorKind::Unsupported(_) => ("unsupported", false, None),
    };
    Meaning { code, retryable, hint }
}

/// Of a channel that ended before all was told: either the connection went (`cut`: the channel
/// said so), or the server is odd.
pub(crate) async fn unfinished(lease: &Lease, cut: bool) -> Failure {
    lease.lost(cut).await.map_or_else(no_exit, |error| failure(&error))
}

/// How a command ended, after "had".
pub(crate) fn how(exit: &Exit) -> String {
    match exit {
        Exit::Status(status) => format!("exited with status {status}"),
        Exit::Signal(name) => format!("been ended by SIG{}", one_line(name)),
    }
}

/// What to say of a command that has ended, but whose connection was lost before all was told.
pub(crate) fn incomplete(exit: &Exit) -> String {
    format!("the command had {}, but some of its output may be missing", how(exit))
}

/// Of a command that ended without an exit.
pub(crate) fn no_exit() -> Failure {
    plain(Phase::Exec, "noExit", "the server closed the channel without an exit status")
}

/// What to do about a channel that was refused.
fn advice(reason: Refusal) -> Option<String> {
    let text = match reason {
        Refusal::Prohibited => {
            "see AllowTcpForwarding, PermitOpen and DisableForwarding in the server's sshd_config, \
             and the restrictions of the key there"
        }
        Refusal::ConnectFailed => {
            "host and port are looked up and dialed from the server, not from here"
        }
        Refusal::Shortage | Refusal::Unknown | Refusal::Other(_) => return None,
    };
    Some(text.to_owned())
}

/// Control characters would break the one-line promise of every output mode.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
