//! How transfers look: bars on a terminal's stderr, lines of `--json` and of a dry run on stdout.

use super::Style;
use super::json::line;
use crate::args::Json;
use crate::print_bytes;
use bssh_protocol::transfer::{
    NodeProgress, TransferDone, TransferFile, TransferId, TransferNode, TransferStarted,
    TransferState, Transferred,
};
use bssh_term::{Color, bytes_text, harmless, rate};
use serde::Serialize;
use std::io::Write;
use std::time::Instant;

/// Nodes with a bar of their own; with more, the busiest ones.
const MOST_BARS: usize = 8;
/// Bytes of lines that may wait.
pub(super) const FULL: usize = 64 * 1024;

/// Progress of every node, and of all together.
pub(crate) struct Bars {
    names: Vec<String>,
    nodes: Vec<Bar>,
    style: Style,
    begun: Instant,
    drawn: usize,
    ticks: usize,
}

#[derive(Default, Clone)]
struct Bar {
    progress: NodeProgress,
    under_way: bool,
    ended: Option<bool>,
}

impl Bars {
    pub(crate) fn new(names: Vec<String>, style: Style) -> Self {
        let nodes = vec![Bar::default(); names.len()];
        Bars { names, nodes, style, begun: Instant::now(), drawn: 0, ticks: 0 }
    }

    pub(crate) fn note(&mut self, progress: &[NodeProgress]) {
        for progress in progress {
            if let Some(bar) = self.nodes.get_mut(progress.index as usize) {
                bar.progress = *progress;
            }
        }
    }

    pub(crate) fn state(&mut self, index: usize, state: &TransferState) {
        let Some(bar) = self.nodes.get_mut(index) else { return };
        match state {
            TransferState::Connected(_) => bar.under_way = true,
            TransferState::Ended(ended) => {
                (bar.under_way, bar.ended) = (false, Some(ended.failure.is_none()));
            }
            _ => {}
        }
    }

    /// Draws over what was drawn before; hides while a question is open at the terminal.
    pub(crate) fn draw_unless(&mut self, is_open: bool) {
        if is_open {
            return self.hide();
        }
        self.ticks += 1;
        let width = bssh_term::size(rustix::stdio::stderr()).map_or(80, |s| s.cols as usize);
        let lines = self.lines(width.max(20));
        let mut text = self.over();
        for line in &lines {
            text.push_str(&format!("\r{line}\x1b[K\n"));
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        // Progress that cannot be shown is no loss.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Leaves nothing of it on the screen.
    pub(crate) fn hide(&mut self) {
        if self.drawn > 0 {
            let text = format!("{}\r\x1b[J", self.over());
            let _ = std::io::stderr().write_all(text.as_bytes());
            self.drawn = 0;
        }
    }

    fn over(&self) -> String {
        if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() }
    }

    fn lines(&self, width: usize) -> Vec<String> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let look = self.style.err;
        let g = look.glyphs;
        let mut lines = Vec::new();
        if self.nodes.len() > 1 {
            let busy = self.nodes.iter().zip(&self.names).filter(|(bar, _)| bar.under_way);
            for (bar, name) in busy.take(MOST_BARS) {
                let p = bar.progress;
                let rest = figures(p.bytes, p.total_bytes, p.files, p.total_files, seconds);
                lines.push(cut(&format!("{} {name}  {rest}", g.executing), width));
            }
        }
        let sum = |f: fn(&NodeProgress) -> u64| self.nodes.iter().map(|b| f(&b.progress)).sum();
        let rest = figures(
            sum(|p| p.bytes),
            sum(|p| p.total_bytes),
            sum(|p| p.files),
            sum(|p| p.total_files),
            seconds,
        );
        let ended = self.nodes.iter().filter(|b| b.ended.is_some()).count();
        let spinner = g.spinner.get(self.ticks % g.spinner.len().max(1)).copied();
        let spinner = spinner.unwrap_or_default();
        let nodes = match self.nodes.len() {
            1 => String::new(),
            n => format!("{ended}/{n} nodes  "),
        };
        let total = cut(&format!("{spinner} {nodes}{rest}"), width);
        lines.push(look.paint(Color::Active, &total));
        lines
    }
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width.saturating_sub(1)).collect()
}

/// `[#####-----] 50 %  1.0/2.0 GiB  3/6 files  80.0 MiB/s  0:12`
fn figures(bytes: u64, total: u64, files: u64, total_files: u64, seconds: f64) -> String {
    let share = match total {
        0 => 0,
        total => bytes.saturating_mul(100) / total,
    }
    .min(100);
    let n = usize::try_from(share / 10).unwrap_or(10);
    let rate = rate(bytes, seconds);
    let left = match (total.saturating_sub(bytes), rate) {
        (0, _) | (_, 0) => String::new(),
        (left, rate) => format!("  {}:{:02}", left / rate / 60, left / rate % 60),
    };
    format!(
        "[{}{}] {share} %  {}/{}  {files}/{total_files} files  {}/s{left}",
        "#".repeat(n),
        "-".repeat(10 - n),
        bytes_text(bytes),
        bytes_text(total),
        bytes_text(rate),
    )
}

/// Lines on stdout.
pub(crate) struct TransferLines {
    json: Option<Json>,
    text: Vec<u8>,
}

#[derive(Serialize)]
struct Progress<'a> {
    transfer: TransferId,
    nodes: &'a [NodeProgress],
}

#[derive(Serialize)]
struct Results<'a> {
    nodes: Vec<Result<'a>>,
    #[serde(flatten)]
    done: &'a TransferDone,
}

#[derive(Serialize)]
struct Result<'a> {
    node: &'a str,
    #[serde(flatten)]
    ended: Option<&'a Transferred>,
}

impl TransferLines {
    pub(crate) fn new(json: Option<Json>) -> Self {
        TransferLines { json, text: Vec::new() }
    }

    pub(crate) fn start(&mut self, started: &TransferStarted) {
        self.put("start", started);
    }

    pub(crate) fn node(&mut self, event: &TransferNode) {
        self.put("node", event);
    }

    pub(crate) fn progress(&mut self, transfer: TransferId, nodes: &[NodeProgress]) {
        self.put("progress", Progress { transfer, nodes });
    }

    /// What a dry run would do: `node: action path`.
    pub(crate) fn file(&mut self, file: &TransferFile, node: Option<&str>, terminal: bool) {
        if self.json.is_some() {
            return self.put("file", file);
        }
        if let Some(node) = node {
            self.text.extend_from_slice(format!("{node}: ").as_bytes());
        }
        self.text.extend_from_slice(format!("{} ", file.action).as_bytes());
        match terminal {
            true => harmless(&file.path.0, &mut self.text),
            false => self.text.extend_from_slice(&file.path.0),
        }
        self.text.push(b'\n');
    }

    /// The end, as its last object.
    pub(crate) fn last(
        json: Json,
        done: &TransferDone,
        names: &[String],
        ends: &[Option<Transferred>],
    ) -> Vec<u8> {
        match json {
            Json::Events => line("done", done),
            Json::Summary => {
                let nodes = names.iter().zip(ends);
                let nodes = nodes.map(|(node, ended)| Result { node, ended: ended.as_ref() });
                line("summary", Results { nodes: nodes.collect(), done })
            }
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        // Events are wanted at once.
        self.text.len() > FULL || (self.json == Some(Json::Events) && !self.text.is_empty())
    }

    /// The status of stdout.
    pub(crate) fn flush(&mut self) -> u8 {
        print_bytes(&std::mem::take(&mut self.text))
    }

    fn put(&mut self, event: &'static str, rest: impl Serialize) {
        if self.json == Some(Json::Events) {
            self.text.extend_from_slice(&line(event, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::style;
    use super::*;

    #[test]
    fn bars_and_their_figures() {
        assert_eq!(
            figures(1 << 20, 2 << 20, 3, 6, 1.0),
            "[#####-----] 50 %  1.0 MiB/2.0 MiB  3/6 files  1.0 MiB/s  0:01"
        );
        let mut bars = Bars::new(vec!["a".into(), "b".into()], style(true));
        bars.state(0, &TransferState::Connected(Default::default()));
        bars.note(&[NodeProgress { index: 0, bytes: 1, total_bytes: 2, ..Default::default() }]);
        let lines = bars.lines(80);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("a  [#####-----] 50 %") && lines[1].contains("0/2 nodes"));
    }
}
