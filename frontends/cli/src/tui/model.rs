//! Where everything is: the nodes and what they have said, what is looked at, what was asked.
//!
//! Pure: events and keys in, [`Act`] out. Nothing here draws or waits.

use super::backlog::Backlog;
use super::keys::{Wish, wish};
use crate::exit;
use crate::output::{Nodes, Step, diff};
use bssh_client::RunEvent;
use bssh_protocol::exec::{Action, NodeState};
use bssh_term::{Look, bare};
use crossterm::event::Event;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Bytes kept of all nodes together.
const KEPT: usize = 64 << 20;
/// A node's share is never less.
const LEAST_SHARE: usize = 32 << 10;

/// What has to be done because of something typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    Leave,
    /// The run goes on without us.
    Detach,
    Cancel(u8),
    /// Names for [`Model::equal_sets`], then [`Model::compare`].
    Compare,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Summary,
    Detail,
    Split,
    Compare,
    Help,
}

/// How a line of the comparison is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Head,
    Plain,
    More,
    Less,
    Hunk,
}

pub(super) struct Model {
    pub title: String,
    pub nodes: Nodes,
    pub logs: Vec<Backlog>,
    pub look: Look,
    pub place: Place,
    /// Where help was asked for.
    before: Place,
    /// Of the shown nodes.
    pub selected: usize,
    /// The node whose output is looked at.
    pub at: usize,
    /// The first row shown; none: the last rows, whatever comes.
    pub scroll: Option<usize>,
    pub left: usize,
    pub marks: BTreeSet<usize>,
    /// A name or a text is being typed.
    pub typing: bool,
    /// Names of nodes that are shown.
    pub filter: String,
    /// What is looked for in outputs.
    pub find: String,
    pub worst_first: bool,
    /// What is to become of the run?
    pub asking: bool,
    /// Its number, if it can be left to the core.
    pub job: Option<u64>,
    pub cancelling: bool,
    pub compared: Vec<(Tone, String)>,
    pub note: String,
    /// Rows and first row of what was drawn last.
    pub body: (usize, usize),
    begun: Instant,
    took: Option<Duration>,
    pub ticks: usize,
    /// Something has changed since the last frame.
    pub dirty: bool,
}

/// The command, for the head line.
pub(super) fn title(action: &Action) -> String {
    let text = match action {
        Action::Command(text) => text.clone(),
        Action::CommandBytes(bytes) => String::from_utf8_lossy(&bytes.0).into_owned(),
        _ => "ping".to_owned(),
    };
    bare(&text)
}

impl Model {
    pub(super) fn new(title: String, names: Vec<String>, look: Look) -> Model {
        let share = (KEPT / names.len().max(1)).max(LEAST_SHARE);
        Model {
            title,
            logs: names.iter().map(|_| Backlog::new(share)).collect(),
            nodes: Nodes::new(names),
            look,
            place: Place::Summary,
            before: Place::Summary,
            selected: 0,
            at: 0,
            scroll: None,
            left: 0,
            marks: BTreeSet::new(),
            typing: false,
            filter: String::new(),
            find: String::new(),
            worst_first: false,
            asking: false,
            job: None,
            cancelling: false,
            compared: Vec::new(),
            note: String::new(),
            body: (20, 0),
            begun: Instant::now(),
            took: None,
            ticks: 0,
            dirty: true,
        }
    }

    pub(super) fn happened(&mut self, event: RunEvent) {
        match event {
            RunEvent::Node(event) => {
                let node = event.index as usize;
                self.nodes.note(node, &event.state);
                if let (NodeState::Ended(_), Some(log)) = (&event.state, self.logs.get_mut(node)) {
                    log.end();
                }
            }
            RunEvent::Data { index, channel, bytes } => {
                if let Some(log) = self.logs.get_mut(index as usize) {
                    log.push(channel, &bytes);
                }
            }
            _ => return,
        }
        self.dirty = true;
    }

    /// The run is over, or (with why) lost.
    pub(super) fn over(&mut self, why: Option<String>) {
        self.took = Some(self.begun.elapsed());
        (self.asking, self.dirty) = (false, true);
        self.note = why.unwrap_or_else(|| "the run is over; q leaves".to_owned());
    }

    pub(super) fn cancelling(&mut self) {
        (self.asking, self.cancelling, self.dirty) = (false, true, true);
    }

    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.dirty |= self.took.is_none();
    }

    pub(super) fn is_over(&self) -> bool {
        self.took.is_some()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.took.unwrap_or_else(|| self.begun.elapsed())
    }

    /// The nodes of the summary, in its order.
    pub(super) fn shown(&self) -> Vec<usize> {
        let fits = |n: &usize| self.nodes.name(*n).contains(&self.filter);
        let mut shown: Vec<usize> = (0..self.nodes.len()).filter(fits).collect();
        if self.worst_first {
            shown.sort_by_key(|n| match self.nodes.step(*n) {
                Step::Failed => 0,
                Step::Executing => 1,
                Step::Connecting => 2,
                Step::Pending => 3,
                Step::Ok => 4,
            });
        } else if !self.filter.is_empty() {
            // A name that was typed in full, or begins so, comes first.
            let rank = |name: &str| match name.strip_prefix(self.filter.as_str()) {
                Some("") => 0,
                Some(_) => 1,
                None => 2,
            };
            shown.sort_by_key(|n| rank(self.nodes.name(*n)));
        }
        shown
    }

    /// Nodes side by side: the marked ones, or from the selected one on; near the end of the list
    /// also those before it, so that the place is used.
    pub(super) fn side_by_side(&self, most: usize) -> Vec<usize> {
        let shown = self.shown();
        let first = self.selected.min(shown.len().saturating_sub(most));
        match self.marks.is_empty() {
            true => shown.into_iter().skip(first).take(most).collect(),
            false => self.marks.iter().copied().take(most).collect(),
        }
    }

    /// Sets of nodes that have said the same on stdout, the largest first.
    pub(super) fn equal_sets(&self) -> Vec<Vec<usize>> {
        let mut sets: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (node, log) in self.logs.iter().enumerate().filter(|(_, log)| log.bytes > 0) {
            let next = sets.len();
            let at = *known.entry(log.out()).or_insert(next);
            match sets.get_mut(at) {
                Some(set) => set.push(node),
                None => sets.push(vec![node]),
            }
        }
        sets.sort_by_key(|set| std::cmp::Reverse(set.len()));
        sets
    }

    /// What the majority has said, and what differs from it.
    pub(super) fn compare(&mut self, sets: &[Vec<usize>], names: &[String]) {
        let out = |set: &Vec<usize>| set.first().and_then(|n| self.logs.get(*n)).map(Backlog::out);
        let majority = sets.first().and_then(out).unwrap_or_default();
        let mut lines = Vec::new();
        for (at, set) in sets.iter().enumerate() {
            let name = names.get(at).map_or("?", String::as_str);
            let nodes = if set.len() == 1 { "node" } else { "nodes" };
            let part = match self.logs.iter().any(|log| log.dropped > 0) {
                true => "; only the last lines are compared",
                false => "",
            };
            lines.push((Tone::Head, format!("{name} ({} {nodes}{part})", set.len())));
            if at == 0 {
                lines.extend(majority.lines().map(|line| (Tone::Plain, line.to_owned())));
                continue;
            }
            let text = diff(majority.as_bytes(), out(set).unwrap_or_default().as_bytes());
            for line in String::from_utf8_lossy(&text).lines() {
                let tone = match line.as_bytes().first() {
                    Some(b'+') => Tone::More,
                    Some(b'-') => Tone::Less,
                    Some(b'@') => Tone::Hunk,
                    _ => Tone::Plain,
                };
                lines.push((tone, line.to_owned()));
            }
        }
        if lines.is_empty() {
            lines.push((Tone::Plain, "no node has said anything".to_owned()));
        }
        self.compared = lines;
        (self.place, self.scroll, self.left) = (Place::Compare, Some(0), 0);
    }

    /// A key, the mouse, another size.
    pub(super) fn event(&mut self, event: &Event) -> Act {
        self.dirty = true;
        let wish = wish(event, self.typing);
        if self.asking {
            self.asking = false;
            return match wish {
                // `d`, and q once more.
                Wish::Compare | Wish::Quit if self.job.is_some() => Act::Detach,
                Wish::Char('y' | 'c') | Wish::Open | Wish::Interrupt => {
                    Act::Cancel(exit::INTERRUPTED)
                }
                _ => Act::Nothing,
            };
        }
        match wish {
            Wish::Quit | Wish::Interrupt => return self.quit(wish == Wish::Interrupt),
            Wish::Compare => return Act::Compare,
            Wish::Help if self.place == Place::Help => self.place = self.before,
            Wish::Help => (self.before, self.place) = (self.place, Place::Help),
            Wish::Back => self.back(),
            Wish::Open => self.open(),
            Wish::Search => self.search(),
            Wish::Char(c) if self.typing => self.typed(|text| text.push(c)),
            Wish::Rub => self.typed(|text| {
                text.pop();
            }),
            Wish::Next(forth) => self.next_match(forth),
            Wish::Mark => self.mark(),
            Wish::Split => (self.place, self.scroll) = (Place::Split, None),
            Wish::Sort => self.worst_first = !self.worst_first,
            Wish::Move(n) => self.go(n),
            Wish::Page(n) => self.go(n * i64::try_from(self.body.0.max(2) - 1).unwrap_or(1)),
            Wish::Home => self.go(i64::MIN / 2),
            Wish::End if self.place == Place::Detail => self.scroll = None,
            Wish::End => self.go(i64::MAX / 2),
            Wish::Shift(n) => self.left = moved(self.left, n, usize::MAX / 2),
            Wish::Node(n) => self.other_node(n),
            Wish::Click(_, row) => self.click(usize::from(row)),
            Wish::Char(_) | Wish::Redraw | Wish::Nothing => {}
        }
        Act::Nothing
    }

    fn quit(&mut self, interrupt: bool) -> Act {
        if self.is_over() {
            return Act::Leave;
        }
        match self.cancelling {
            // Once more: whoever asks so often does not want to wait.
            true if interrupt => Act::Leave,
            true => Act::Nothing,
            false => {
                self.asking = true;
                Act::Nothing
            }
        }
    }

    fn back(&mut self) {
        if self.typing {
            self.typing = false;
            self.typed(String::clear);
            return;
        }
        match self.place {
            Place::Help => self.place = self.before,
            Place::Summary => self.filter.clear(),
            _ => (self.place, self.left) = (Place::Summary, 0),
        }
    }

    fn open(&mut self) {
        self.typing = false;
        match self.place {
            Place::Summary => {
                if let Some(node) = self.shown().get(self.selected) {
                    self.look_at(*node);
                }
            }
            Place::Detail => self.next_match(true),
            _ => {}
        }
    }

    fn look_at(&mut self, node: usize) {
        (self.at, self.scroll, self.left) = (node, None, 0);
        self.place = Place::Detail;
    }

    fn search(&mut self) {
        match self.place {
            Place::Detail => self.find.clear(),
            _ => {
                self.place = Place::Summary;
                self.filter.clear();
            }
        }
        self.typing = true;
    }

    fn typed(&mut self, edit: impl Fn(&mut String)) {
        match self.place {
            Place::Detail => edit(&mut self.find),
            _ => {
                edit(&mut self.filter);
                self.selected = 0;
            }
        }
    }

    fn next_match(&mut self, forth: bool) {
        let Some(log) = self.logs.get(self.at).filter(|_| !self.find.is_empty()) else { return };
        let last = log.len().saturating_sub(1);
        let from = self.scroll.unwrap_or(last);
        let has = |n: &usize| log.row_at(*n).is_some_and(|row| row.text.contains(&self.find));
        let found = match forth {
            true => (from + 1..log.len()).chain(0..=from.min(last)).find(has),
            false => (0..from).rev().chain((from..log.len()).rev()).find(has),
        };
        match found {
            Some(row) => (self.scroll, self.place) = (Some(row), Place::Detail),
            None => self.note = format!("{:?} is not there", self.find),
        }
    }

    fn mark(&mut self) {
        let node = match self.place {
            Place::Detail => Some(self.at),
            _ => self.shown().get(self.selected).copied(),
        };
        if let Some(node) = node.filter(|node| !self.marks.remove(node)) {
            self.marks.insert(node);
        }
        if self.place == Place::Summary {
            self.go(1);
        }
    }

    fn go(&mut self, n: i64) {
        let (height, _) = self.body;
        match self.place {
            Place::Summary | Place::Split => {
                let most = self.shown().len().saturating_sub(1);
                self.selected = moved(self.selected, n, most);
            }
            Place::Detail => {
                let rows = self.logs.get(self.at).map_or(0, Backlog::len);
                let most = rows.saturating_sub(height);
                let next = moved(self.scroll.unwrap_or(most), n, most);
                self.scroll = (next < most).then_some(next);
            }
            Place::Compare => {
                let most = self.compared.len().saturating_sub(height);
                self.scroll = Some(moved(self.scroll.unwrap_or(0), n, most));
            }
            Place::Help => {}
        }
    }

    fn other_node(&mut self, n: i64) {
        let shown = self.shown();
        if self.place == Place::Detail {
            let here = shown.iter().position(|node| *node == self.at).unwrap_or(0);
            self.selected = moved(here, n, shown.len().saturating_sub(1));
            if let Some(node) = shown.get(self.selected) {
                self.look_at(*node);
            }
            return;
        }
        self.selected = moved(self.selected, n, shown.len().saturating_sub(1));
    }

    fn click(&mut self, row: usize) {
        let (height, first) = self.body;
        let Some(at) = row.checked_sub(1).filter(|at| *at < height) else { return };
        if self.place == Place::Summary && first + at < self.shown().len() {
            match self.selected == first + at {
                true => self.open(),
                false => self.selected = first + at,
            }
        }
    }
}

fn moved(from: usize, by: i64, most: usize) -> usize {
    let by_n = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    match by < 0 {
        true => from.saturating_sub(by_n),
        false => from.saturating_add(by_n).min(most),
    }
}
