//! The last words on stderr: what failed, folded; what was ok; the summary.
//!
//! Nodes with the same cause share a line. Where one kind of failure has many texts (each with an
//! address of its own) the kind shares a line and one text stands for all.

use super::nodes::cause;
use super::{Nodes, Screen, Step, Style, View};
use bssh_protocol::exec::{Ended, Summary};
use bssh_term::{Color, Look};
use std::collections::HashMap;

/// Groups of nodes and what to say about them.
#[derive(Debug, Default)]
pub(crate) struct Report {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    nodes: Vec<usize>,
    /// None: they were ok.
    cause: Option<String>,
    hint: Option<String>,
    /// Other nodes of the group failed with other words.
    example: bool,
}

/// More texts than this for one kind of failure are folded into one line.
const TEXTS: usize = 8;

impl Report {
    /// What the view has not told yet; nodes that were ok only if `ok_too`.
    pub(crate) fn new(nodes: &Nodes, view: &dyn View, ok_too: bool) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut known: HashMap<(String, Option<String>), usize> = HashMap::new();
        let untold = nodes.ended.iter().enumerate().filter(|(node, _)| !view.told(*node));
        for (node, ended) in untold {
            let Some(ended) = ended else { continue };
            let cause = cause(nodes.name(node), ended);
            if cause.is_none() && !ok_too {
                continue;
            }
            let hint = ended.failure.as_ref().and_then(|f| f.hint.clone());
            let key = (cause.clone().unwrap_or_default(), hint.clone());
            let next = groups.len();
            let at = *known.entry(key).or_insert(next);
            match groups.get_mut(at) {
                Some(group) => group.nodes.push(node),
                None => groups.push(Group { nodes: vec![node], cause, hint, example: false }),
            }
        }
        // What was ok comes first, then failures in the order of their first node.
        groups.sort_by_key(|g| g.cause.is_some());
        Report { groups: by_kind(groups, nodes) }
    }

    /// Sets of nodes whose folded names are needed.
    pub(crate) fn sets(&self) -> Vec<Vec<usize>> {
        self.groups.iter().map(|g| g.nodes.clone()).collect()
    }

    /// Says it all.
    pub(crate) fn show(&self, names: &[String], style: Style, screen: &mut Screen) {
        for (group, name) in self.groups.iter().zip(names) {
            for line in group.lines(name, style) {
                screen.say(&line);
            }
        }
    }
}

impl Group {
    fn lines(&self, name: &str, style: Style) -> Vec<String> {
        let (look, g) = (style.err, style.err.glyphs);
        let more = match self.example {
            true => format!(" (one of {} such failures)", self.nodes.len()),
            false => String::new(),
        };
        let hint = self.hint.as_ref();
        match (&self.cause, style.err_terminal) {
            (None, true) => vec![look.paint(Color::Ok, &format!("{} {name}", g.ok))],
            (None, false) => Vec::new(),
            (Some(cause), true) => {
                let head = look.paint(Color::Failed, &format!("{} {name}", g.failed));
                let first = format!("{head} {} {cause}{more}", g.dash);
                let hint = hint.map(|h| format!("  {} hint: {h}", g.detail));
                std::iter::once(first).chain(hint).collect()
            }
            (Some(cause), false) => {
                let hint = hint.map(|h| format!("hint: {h}"));
                std::iter::once(format!("bssh: {name}: {cause}{more}")).chain(hint).collect()
            }
        }
    }
}

/// Joins groups of one kind (phase and code) that differ only in their words, if they are many.
fn by_kind(groups: Vec<Group>, nodes: &Nodes) -> Vec<Group> {
    let kind = |group: &Group| {
        let ended = group.nodes.first().and_then(|n| nodes.ended.get(*n)?.as_ref());
        let failure = ended.and_then(|e: &Ended| e.failure.as_ref())?;
        Some((failure.phase.clone(), failure.code.clone()))
    };
    let mut counts = HashMap::new();
    for kind in groups.iter().filter_map(kind) {
        *counts.entry(kind).or_insert(0) += 1;
    }
    let mut joined: Vec<Group> = Vec::new();
    let mut at = HashMap::new();
    for group in groups {
        let many = kind(&group).filter(|k| counts.get(k).is_some_and(|n| *n > TEXTS));
        let known = many.as_ref().and_then(|k| at.get(k)).copied();
        match (known.and_then(|i: usize| joined.get_mut(i)), many) {
            (Some(first), _) => {
                first.nodes.extend(group.nodes);
                first.example = true;
            }
            (None, many) => {
                at.extend(many.map(|k| (k, joined.len())));
                joined.push(group);
            }
        }
    }
    joined
}

/// `Summary: 3 nodes • 2 successful • 1 failed`.
pub(crate) fn summary_line(s: &Summary, look: Look) -> String {
    let counts = [
        (s.ok, "successful", Color::Ok),
        (s.failed, "failed", Color::Failed),
        (s.unreachable, "unreachable", Color::Failed),
        (s.denied, "denied", Color::Failed),
        (s.lost, "lost", Color::Failed),
        (s.cancelled, "cancelled", Color::Count),
    ];
    let nodes = if s.nodes == 1 { "node" } else { "nodes" };
    let mut line = format!("Summary: {} {nodes}", s.nodes);
    for (n, word, color) in counts.into_iter().filter(|(n, ..)| *n > 0) {
        line.push_str(&format!(
            " {} {}",
            look.glyphs.dot,
            look.paint(color, &format!("{n} {word}"))
        ));
    }
    line
}

/// What Ctrl-C shows: how many are in each state, and who is still at it.
pub(crate) fn status_lines(nodes: &Nodes, fold: &[String]) -> Vec<String> {
    let steps = [
        (Step::Executing, "running"),
        (Step::Connecting, "connecting"),
        (Step::Pending, "pending"),
    ];
    let ended = nodes.count(Step::Ok) + nodes.count(Step::Failed);
    let failed = nodes.count(Step::Failed);
    let mut lines =
        vec![format!("bssh: {ended} of {} ended, {failed} of them failed", nodes.len())];
    for ((step, word), names) in steps.into_iter().zip(fold) {
        if nodes.count(step) > 0 {
            lines.push(format!("bssh: {word}: {names} ({})", nodes.count(step)));
        }
    }
    lines.push("bssh: press Ctrl-C again within a second to cancel".to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::{nodes, style};
    use super::super::{Silent, To};
    use super::*;
    use bssh_protocol::exec::{Exit, Failure, NodeState, Phase};

    fn report(ends: &[Ended], terminal: bool) -> String {
        let names: Vec<_> = (0..ends.len()).map(|i| format!("n{i}")).collect();
        let mut nodes = nodes(&names.join(" "));
        for (i, ended) in ends.iter().enumerate() {
            nodes.note(i, &NodeState::Ended(ended.clone()));
        }
        let report = Report::new(&nodes, &Silent, terminal);
        let fold =
            |set: &Vec<usize>| set.iter().map(|n| nodes.name(*n)).collect::<Vec<_>>().join(",");
        let names: Vec<_> = report.sets().iter().map(fold).collect();
        let mut screen = Screen::default();
        report.show(&names, style(terminal), &mut screen);
        screen.text(To::Err)
    }

    fn failed(message: &str) -> Ended {
        let failure = Failure {
            phase: Phase::Dial,
            code: "refused".into(),
            message: message.into(),
            hint: Some("is sshd running?".into()),
            ..Failure::default()
        };
        Ended { failure: Some(failure), ..Ended::default() }
    }

    #[test]
    fn equal_failures_share_a_line() {
        let status = |n| Ended { exit: Some(Exit::Status(n)), ..Ended::default() };
        let ends = [failed("n0: refused"), status(7), failed("n2: refused"), status(0), status(7)];
        assert_eq!(
            report(&ends, false),
            "bssh: n0,n2: dial: refused\nhint: is sshd running?\nbssh: n1,n4: exited with status 7\n"
        );
        assert_eq!(
            report(&ends, true),
            "✓ n3\n✗ n0,n2 – dial: refused\n  └ hint: is sshd running?\n✗ n1,n4 – exited with status 7\n"
        );
    }

    #[test]
    fn many_words_for_one_kind_share_a_line_too() {
        let ends: Vec<_> = (0..20).map(|i| failed(&format!("10.0.0.{i} refused"))).collect();
        let text = report(&ends, false);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("dial: 10.0.0.0 refused (one of 20 such failures)"), "{text}");
        assert_eq!(report(&ends[..3], false).lines().count(), 6);
    }

    #[test]
    fn the_summary_counts() {
        let s = Summary { nodes: 3, ok: 2, failed: 1, ..Summary::default() };
        assert_eq!(summary_line(&s, style(true).err), "Summary: 3 nodes • 2 successful • 1 failed");
    }
}
