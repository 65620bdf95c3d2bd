//! Where each node of a run is: what progress, Ctrl-C, failures and exit status are read from.

use bssh_protocol::exec::{Ended, Exit, NodeState};

/// The nodes of a run and their states, by index.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub names: Vec<String>,
    pub ended: Vec<Option<Ended>>,
    steps: Vec<Step>,
    counts: [usize; 5],
}

/// A node's state as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Pending,
    Connecting,
    Executing,
    Ok,
    Failed,
}

impl Nodes {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let n = names.len();
        let ended = std::iter::repeat_with(|| None).take(n).collect();
        Nodes { names, ended, steps: vec![Step::Pending; n], counts: [n, 0, 0, 0, 0] }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn name(&self, node: usize) -> &str {
        self.names.get(node).map_or("?", String::as_str)
    }

    pub(crate) fn count(&self, step: Step) -> usize {
        self.counts.get(step as usize).copied().unwrap_or_default()
    }

    pub(crate) fn step(&self, node: usize) -> Step {
        self.steps.get(node).copied().unwrap_or(Step::Pending)
    }

    pub(crate) fn in_step(&self, step: Step) -> Vec<usize> {
        (0..self.len()).filter(|i| self.steps.get(*i) == Some(&step)).collect()
    }

    /// Takes note of an event.
    pub(crate) fn note(&mut self, node: usize, state: &NodeState) {
        let step = match state {
            NodeState::Connecting { .. } => Step::Connecting,
            NodeState::Connected(_) | NodeState::Executing { .. } => Step::Executing,
            NodeState::Ended(ended) if ended.is_ok() => Step::Ok,
            NodeState::Ended(_) => Step::Failed,
            NodeState::Other(_) => return,
        };
        let Some(now) = self.steps.get_mut(node) else { return };
        let before = std::mem::replace(now, step);
        for (step, change) in [(before, -1), (step, 1)] {
            if let Some(count) = self.counts.get_mut(step as usize) {
                *count = count.saturating_add_signed(change);
            }
        }
        if let (NodeState::Ended(ended), Some(slot)) = (state, self.ended.get_mut(node)) {
            *slot = Some(ended.clone());
        }
    }
}

/// Why a node is not ok, for people: phase and message, or how the command ended. The node's own
/// name is left out, so that the causes of many nodes can be compared.
pub(crate) fn cause(node: &str, ended: &Ended) -> Option<String> {
    if let Some(failure) = &ended.failure {
        let phase = serde_json::to_value(&failure.phase).unwrap_or_default();
        let phase = phase.as_str().unwrap_or_default();
        let message = failure
            .message
            .strip_prefix(node)
            .map_or(&*failure.message, |m| m.trim_start_matches([':', ' ']));
        let via =
            failure.hop.as_ref().map(|hop| format!(" (at jump host {hop})")).unwrap_or_default();
        let killed = match ended.killed {
            Some(bssh_protocol::exec::Killed::Unconfirmed) => "; its processes may still run",
            _ => "",
        };
        let prefixed = message.starts_with(phase)
            && message.get(phase.len()..).is_some_and(|m| m.starts_with(':'));
        // What was cancelled did not fail in a phase.
        let lead = match prefixed || failure.code == "cancelled" {
            true => String::new(),
            false => format!("{phase}: "),
        };
        return Some(format!("{lead}{message}{via}{killed}"));
    }
    match &ended.exit {
        Some(Exit::Status(0)) | None => None,
        Some(Exit::Status(status)) => Some(format!("exited with status {status}")),
        Some(Exit::Signal(signal)) => Some(format!("killed by SIG{signal}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_protocol::exec::{Failure, Phase};

    #[test]
    fn counts_follow_the_events() {
        let mut nodes = Nodes::new(vec!["a".into(), "b".into()]);
        assert_eq!(nodes.count(Step::Pending), 2);
        nodes.note(0, &NodeState::Connecting { attempt: 1 });
        nodes.note(0, &NodeState::Executing { stdout: None, stderr: None, no_pty: false });
        nodes.note(1, &NodeState::Ended(Ended { exit: Some(Exit::Status(1)), ..Ended::default() }));
        nodes.note(9, &NodeState::Connecting { attempt: 1 });
        let steps = [Step::Pending, Step::Connecting, Step::Executing, Step::Ok, Step::Failed];
        assert_eq!(steps.map(|s| nodes.count(s)), [0, 0, 1, 0, 1]);
        assert_eq!(nodes.in_step(Step::Executing), [0]);
        assert!(nodes.ended[1].is_some());
    }

    #[test]
    fn causes_name_phase_and_what_happened() {
        let failed = |message: &str| Ended {
            failure: Some(Failure {
                phase: Phase::Dial,
                message: message.into(),
                ..Failure::default()
            }),
            ..Ended::default()
        };
        let not_started = Failure {
            code: "cancelled".into(),
            message: "not started".into(),
            ..Failure::default()
        };
        let not_started = Ended { failure: Some(not_started), ..Ended::default() };
        let exited = |exit| Ended { exit: Some(exit), ..Ended::default() };
        for (ended, want) in [
            (failed("connection refused"), Some("dial: connection refused")),
            (failed("n1: connection refused"), Some("dial: connection refused")),
            (failed("dial: connection refused"), Some("dial: connection refused")),
            (not_started, Some("not started")),
            (exited(Exit::Status(7)), Some("exited with status 7")),
            (exited(Exit::Signal("KILL".into())), Some("killed by SIGKILL")),
            (exited(Exit::Status(0)), None),
        ] {
            assert_eq!(cause("n1", &ended).as_deref(), want);
        }
    }
}
