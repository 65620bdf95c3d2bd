//! Why a session has no exit status, for people and for programs that read ssh's stderr.

use super::effective::{Effective, LogLevel};
use super::{OURS, say};
use bssh_protocol::exec::{Failure, Phase};

/// Says why there is no exit status, in the words programs look for where ssh has them.
pub(super) fn failed(effective: &Effective, node: &str, failure: &Failure) -> u8 {
    let Effective { user, host, port, .. } = effective;
    let hop = failure.hop.as_ref().map(|h| format!(" (at {h})")).unwrap_or_default();
    let message = &failure.message;
    let said = match (failure.code.as_str(), failure.hop.is_some()) {
        ("authFailed", false) => {
            let methods = message.trim_start_matches("permission denied ");
            format!("{user}@{host}: Permission denied {methods}.")
        }
        ("refused", false) => {
            format!("bssh: connect to host {host} port {port}: Connection refused")
        }
        ("resolve", false) => format!("bssh: Could not resolve hostname {host}: {message}"),
        _ => format!("bssh: {node}{hop}: {message}"),
    };
    let last = match failure.phase {
        Phase::HostKey => "Host key verification failed.\r\n",
        _ => "",
    };
    let hint = failure.hint.as_ref().map(|h| format!("hint: {h}\r\n")).unwrap_or_default();
    if effective.log_level >= LogLevel::Error {
        say(&format!("{said}\r\n{hint}{last}"));
    }
    OURS
}
