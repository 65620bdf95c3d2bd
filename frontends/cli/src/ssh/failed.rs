//! Why a session has no exit status, for people and for programs that read ssh's stderr.

use super::effective::{Effective, LogLevel};
use super::{OURS, complain};
use bssh_protocol::exec::{Failure, Phase};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::BorrowedFd;

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
        ("timeout", false) if failure.phase == Phase::Dial => {
            format!("bssh: connect to host {host} port {port}: Connection timed out")
        }
        ("unreachable", false) => {
            format!("bssh: connect to host {host} port {port}: {}", cause(message))
        }
        ("resolve", _) => {
            let host = failure.hop.as_ref().unwrap_or(host);
            format!("bssh: Could not resolve hostname {host}: {}", cause(message))
        }
        ("transportLost", false) if message.ends_with("closed by the server") => {
            format!("Connection to {host} closed by remote host.")
        }
        ("transportLost", false) if message.contains(" (os error") => {
            format!("Read from remote host {host}: {}", cause(message))
        }
        _ => format!("bssh: {node}{hop}: {message}"),
    };
    let last = match failure.phase {
        Phase::HostKey => "Host key verification failed.\r\n",
        _ => "",
    };
    // `ssh host … | head` is nobody's trouble.
    let quiet = effective.log_level < LogLevel::Error
        || failure.code == "sinkGone"
            && (is_unread(rustix::stdio::stdout()) || is_unread(rustix::stdio::stderr()));
    let hint = failure.hint.as_ref().map(|h| format!("hint: {h}\r\n")).unwrap_or_default();
    if !quiet {
        complain(&format!("{said}\r\n{hint}{last}"));
    }
    OURS
}

/// What the system says, in its own words: behind ours, without its number.
fn cause(message: &str) -> &str {
    let said = message.rsplit_once(": ").map_or(message, |(_, said)| said);
    said.split(" (os error").next().unwrap_or(said)
}

/// Nobody is left to read what is written there.
fn is_unread(stream: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(stream, PollFlags::empty())];
    let polled = poll(&mut polled, Some(&Timespec::default())).map(|_| polled);
    polled.is_ok_and(|[stream]| stream.revents().contains(PollFlags::ERR))
}
