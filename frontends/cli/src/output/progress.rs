//! The progress line on stderr while a run goes on.

use super::{Nodes, Step};
use bssh_term::{Color, Look};

/// One line, at most `width` columns: spinner, how many have ended, and the states.
pub(crate) fn progress_line(nodes: &Nodes, look: Look, tick: usize, width: usize) -> String {
    let g = look.glyphs;
    let spinner = g.spinner.get(tick % g.spinner.len().max(1)).copied().unwrap_or_default();
    let ended = nodes.count(Step::Ok) + nodes.count(Step::Failed);
    let mut line = format!("{spinner} {ended}/{}", nodes.len());
    let mut used = line.chars().count();
    for (step, glyph, color, word) in [
        (Step::Failed, g.ended, Color::Failed, "failed"),
        (Step::Ok, g.ended, Color::Ok, "ok"),
        (Step::Executing, g.executing, Color::Active, "running"),
        (Step::Connecting, g.connecting, Color::Count, "connecting"),
        (Step::Pending, g.pending, Color::Dim, "pending"),
    ] {
        let text = format!("{glyph} {} {word}", nodes.count(step));
        let columns = text.chars().count() + 2;
        if nodes.count(step) > 0 && used + columns < width {
            line = format!("{line}  {}", look.paint(color, &text));
            used += columns;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::{nodes, style};
    use super::*;
    use bssh_protocol::exec::{Ended, NodeState};

    #[test]
    fn states_are_counted_and_the_width_is_kept() {
        let mut nodes = nodes("a b c d");
        nodes.note(0, &NodeState::Ended(Ended::default()));
        nodes.note(1, &NodeState::Connecting { attempt: 1 });
        let look = style(true).err;
        assert_eq!(
            progress_line(&nodes, look, 0, 80),
            "⣾ 1/4  ● 1 ok  ◐ 1 connecting  ○ 2 pending"
        );
        assert_eq!(progress_line(&nodes, look, 1, 20), "⣽ 1/4  ● 1 ok");
    }
}
