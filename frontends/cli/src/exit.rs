//! How a run's end becomes the program's exit status: one table.

use crate::args::ExitRule;
use bssh_protocol::exec::{Ended, Exit, Summary};

/// Everything was done.
pub(crate) const OK: u8 = 0;
/// Something unforeseen: the core was lost, a file could not be written.
pub(crate) const GENERAL: u8 = 1;
/// Wrong usage or configuration.
pub(crate) const USAGE: u8 = 2;
const ALL_UNREACHABLE: u8 = 3;
const ALL_DENIED: u8 = 4;
const COMMAND_FAILED: u8 = 5;
const SOME_FAILED: u8 = 10;
/// 128 + SIGHUP.
pub(crate) const HUNG_UP: u8 = 129;
/// Ctrl-C (128 + SIGINT).
pub(crate) const INTERRUPTED: u8 = 130;
/// Whoever reads stdout has gone (128 + SIGPIPE).
pub(crate) const OUTPUT_CLOSED: u8 = 141;
/// ssh's status for what is not the remote command's doing.
pub(crate) const TRANSPORT: u8 = 255;

/// The status of a run. `nodes` holds how each node ended, in the run's order.
pub(crate) fn status<'a>(
    rule: ExitRule,
    summary: &Summary,
    mut nodes: impl Iterator<Item = Option<&'a Ended>>,
) -> u8 {
    match rule {
        ExitRule::Default => match by_table(summary) {
            // No node was tried: what is wrong was written here.
            ALL_UNREACHABLE if nodes.all(is_misconfigured) => USAGE,
            status => status,
        },
        ExitRule::Main => nodes.map(node_status).next().unwrap_or(GENERAL),
        // ssh's 255 is the greatest status there is, so both rules are one.
        ExitRule::Max | ExitRule::Ssh => nodes.map(node_status).max().unwrap_or(GENERAL),
    }
}

/// The command line or ssh_config cannot be understood for this node.
fn is_misconfigured(ended: Option<&Ended>) -> bool {
    let failure = ended.and_then(|ended| ended.failure.as_ref());
    failure.is_some_and(|failure| failure.code == "config")
}

/// The first row that fits counts.
fn by_table(s: &Summary) -> u8 {
    let rows = [
        (s.ok == s.nodes, OK),
        (s.unreachable == s.nodes, ALL_UNREACHABLE),
        (s.denied == s.nodes, ALL_DENIED),
        (s.ok + s.failed == s.nodes, COMMAND_FAILED),
    ];
    rows.iter().find(|(fits, _)| *fits).map_or(SOME_FAILED, |(_, status)| *status)
}

/// One node's status in the words of a shell.
pub(crate) fn node_status(ended: Option<&Ended>) -> u8 {
    let Some(ended) = ended else { return TRANSPORT };
    match &ended.exit {
        // Something of it is missing.
        Some(Exit::Status(0)) if ended.failure.is_some() => TRANSPORT,
        Some(Exit::Status(status)) => u8::try_from(*status).unwrap_or(TRANSPORT),
        Some(Exit::Signal(name)) => signal_number(name).map_or(TRANSPORT, |n| 128 + n),
        None if ended.failure.is_none() => OK,
        None => TRANSPORT,
    }
}

/// Signals of RFC 4254 section 6.10, and what else OpenSSH sends, by their Linux numbers.
fn signal_number(name: &str) -> Option<u8> {
    const SIGNALS: &[(&str, u8)] = &[
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ILL", 4),
        ("TRAP", 5),
        ("ABRT", 6),
        ("BUS", 7),
        ("FPE", 8),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
    ];
    SIGNALS.iter().find(|(n, _)| *n == name).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_protocol::exec::Failure;

    fn summary([ok, failed, unreachable, denied, lost, cancelled]: [u32; 6]) -> Summary {
        let nodes = ok + failed + unreachable + denied + lost + cancelled;
        Summary { nodes, ok, failed, unreachable, denied, lost, cancelled, duration_ms: 1 }
    }

    #[test]
    fn the_table() {
        for (counts, want) in [
            ([3, 0, 0, 0, 0, 0], 0),
            ([0, 0, 3, 0, 0, 0], 3),
            ([0, 0, 0, 3, 0, 0], 4),
            ([0, 3, 0, 0, 0, 0], 5),
            ([2, 1, 0, 0, 0, 0], 5),
            ([2, 0, 1, 0, 0, 0], 10),
            ([0, 1, 1, 0, 0, 0], 10),
            ([0, 0, 1, 1, 0, 0], 10),
            ([0, 0, 0, 0, 3, 0], 10),
            ([1, 0, 0, 0, 0, 2], 10),
        ] {
            assert_eq!(by_table(&summary(counts)), want, "{counts:?}");
        }
    }

    #[test]
    fn other_rules_look_at_the_nodes() {
        let exit = |exit| Ended { exit: Some(exit), ..Ended::default() };
        let lost = Ended { failure: Some(Failure::default()), ..Ended::default() };
        let (zero, seven) = (exit(Exit::Status(0)), exit(Exit::Status(7)));
        let killed = exit(Exit::Signal("KILL".to_owned()));
        let timeout = Ended { failure: Some(Failure::default()), ..killed.clone() };
        let config = Failure { code: "config".to_owned(), ..Failure::default() };
        let config = Ended { failure: Some(config), ..Ended::default() };
        let s = summary([0, 0, 2, 0, 0, 0]);
        for (rule, nodes, want) in [
            (ExitRule::Default, vec![Some(&config), Some(&config)], USAGE),
            (ExitRule::Default, vec![Some(&config), Some(&lost)], ALL_UNREACHABLE),
            (ExitRule::Max, vec![Some(&zero), Some(&seven)], 7),
            (ExitRule::Max, vec![Some(&zero), Some(&killed)], 137),
            (ExitRule::Max, vec![Some(&timeout)], 137),
            (ExitRule::Max, vec![Some(&lost), Some(&seven)], 255),
            (ExitRule::Max, vec![None], 255),
            (ExitRule::Main, vec![Some(&zero), Some(&seven)], 0),
            (ExitRule::Main, vec![Some(&seven), Some(&zero)], 7),
            (ExitRule::Ssh, vec![Some(&seven), Some(&lost)], 255),
            (ExitRule::Ssh, vec![Some(&seven)], 7),
        ] {
            assert_eq!(status(rule, &s, nodes.into_iter()), want, "{rule:?}");
        }
    }
}
