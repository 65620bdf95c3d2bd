//! The nodes of a REPL: where each is, which are active, and the prompt that shows it.

use bssh_protocol::session::{SessionId, SessionNode, SessionState, SessionStateChange};
use bssh_term::{Look, bare};
use std::collections::HashMap;

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub name: String,
    pub session: SessionId,
    pub place: Place,
    pub shell: String,
    pub home: String,
    pub cwd: String,
    pub active: bool,
    /// It was there once: news of it are worth a line.
    pub was_ready: bool,
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Connecting,
    Ready,
    /// Why it is not there, and in how many seconds it is tried again.
    Lost(String, Option<u64>),
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Nodes {
    pub all: Vec<Node>,
    by_session: HashMap<SessionId, usize>,
}

/// With more nodes than this the prompt counts instead of showing each.
const MOST_DOTS: usize = 8;

impl Node {
    /// A path on the node as files are asked for: absolute, or from home. None: it begins where
    /// the shell is, and that is not known.
    pub(crate) fn path(&self, typed: &str) -> Option<String> {
        match typed {
            "~" => Some(".".to_owned()),
            _ if typed.starts_with('/') => Some(typed.to_owned()),
            _ => match typed.strip_prefix("~/") {
                Some(rest) => Some(rest.to_owned()),
                None if self.cwd.is_empty() => None,
                None => Some(format!("{}/{typed}", self.cwd.trim_end_matches('/'))),
            },
        }
    }
}

impl Nodes {
    pub(crate) fn new(sessions: Vec<SessionNode>) -> Nodes {
        let node = |s: SessionNode| Node {
            name: s.node,
            session: s.session,
            place: Place::Connecting,
            shell: String::new(),
            home: String::new(),
            cwd: String::new(),
            active: true,
            was_ready: false,
        };
        let all: Vec<Node> = sessions.into_iter().map(node).collect();
        let by_session = all.iter().enumerate().map(|(n, node)| (node.session, n)).collect();
        Nodes { all, by_session }
    }

    pub(crate) fn of_session(&mut self, session: SessionId) -> Option<&mut Node> {
        self.by_session.get(&session).and_then(|n| self.all.get_mut(*n))
    }

    /// Takes over news; gives a line about them, if people should know.
    pub(crate) fn take(&mut self, change: SessionStateChange, look: &Look) -> Option<String> {
        let node = self.of_session(change.session)?;
        let was_lost = matches!(node.place, Place::Lost(..));
        match change.state {
            SessionState::Connecting { .. } => None,
            SessionState::Ready(ready) => {
                (node.shell, node.home, node.cwd) = (ready.shell, ready.home, ready.cwd);
                let back = node.was_ready && (was_lost || ready.restored);
                (node.place, node.was_ready) = (Place::Ready, true);
                let mut lines: Vec<String> = Vec::new();
                if back {
                    lines.push(format!("{} {}: back in {}", look.glyphs.ok, node.name, node.cwd));
                }
                lines.extend(ready.warnings.iter().map(|w| format!("{}: {w}", node.name)));
                (!lines.is_empty()).then(|| lines.join("\n"))
            }
            SessionState::Lost { failure, retry_ms } => {
                let wait = retry_ms.map(|ms| ms.div_ceil(1000));
                let first = !was_lost && node.was_ready;
                node.place = Place::Lost(failure.message, wait);
                first.then(|| node.why(look))
            }
            SessionState::Closed {} | SessionState::Other(_) => None,
        }
    }

    pub(crate) fn active(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|n| self.all.get(*n).is_some_and(|n| n.active)).collect()
    }

    pub(crate) fn n_ready(&self) -> usize {
        self.all.iter().filter(|n| n.place == Place::Ready).count()
    }

    pub(crate) fn settled(&self) -> bool {
        self.all.iter().all(|n| n.place != Place::Connecting)
    }

    /// `[● ● ○] (2/3) ~/dir $ `; with many nodes `[50/50]`; with few of them active
    /// `[n[1-3] +47]`, where `fold` is the name of the active ones.
    pub(crate) fn prompt(&self, look: &Look, fold: &str) -> String {
        let n_active = self.all.iter().filter(|n| n.active).count();
        let there = self.all.iter().filter(|n| n.active && n.place == Place::Ready).count();
        let rest = self.all.len() - n_active;
        let head = match (n_active, rest) {
            (_, 1..) => format!("[{fold} +{rest}]{}", count(there, n_active)),
            (1, 0) => format!("[{fold}]{}", count(there, n_active)),
            (0..=MOST_DOTS, 0) => {
                let dots: Vec<&str> = self.all.iter().map(|n| n.dot(look)).collect();
                format!("[{}] ({there}/{n_active})", dots.join(" "))
            }
            _ => format!("[{there}/{n_active}]"),
        };
        format!("{head} {}> ", self.shown_cwd())
    }

    /// The directory of the active nodes; `*` if they are in several.
    pub(crate) fn shown_cwd(&self) -> String {
        let mut places = self.all.iter().filter(|n| n.active && !n.cwd.is_empty());
        let first = places.next().map(Node::shown_cwd).unwrap_or_default();
        let same = places.all(|n| n.shown_cwd() == first);
        if same { first } else { "*".to_owned() }
    }
}

/// The prompt of `interactive: prompt_format:`; a word in braces that is not known stays as it is.
pub(crate) fn formatted(format: &str, values: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(format.len());
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let known = after.split_once('}').and_then(|(name, later)| {
            values.iter().find(|(n, _)| *n == name).map(|(_, value)| (value, later))
        });
        match known {
            Some((value, later)) => {
                out.push_str(value);
                rest = later;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    // The words of people and nodes must not drive the terminal.
    bare(&(out + rest))
}

fn count(there: usize, all: usize) -> String {
    if there == all { String::new() } else { format!(" ({there}/{all})") }
}

impl Node {
    pub(crate) fn dot(&self, look: &Look) -> &'static str {
        match self.place {
            Place::Connecting => look.glyphs.connecting,
            Place::Ready => look.glyphs.ended,
            Place::Lost(..) => look.glyphs.pending,
        }
    }

    /// Why it is not there.
    pub(crate) fn why(&self, look: &Look) -> String {
        let (text, again) = match &self.place {
            Place::Ready => ("ready".to_owned(), String::new()),
            Place::Connecting => ("connecting".to_owned(), String::new()),
            Place::Lost(why, None) => (why.clone(), String::new()),
            Place::Lost(why, Some(s)) => (why.clone(), format!(", next try in {s} s")),
        };
        let sign = if self.place == Place::Ready { look.glyphs.ok } else { look.glyphs.failed };
        format!("{sign} {}: {text}{again}", self.name)
    }

    /// The directory, as a prompt shows it.
    pub(crate) fn shown_cwd(&self) -> String {
        let short = match self.cwd.strip_prefix(&self.home).filter(|_| self.home.len() > 1) {
            Some("") => "~".to_owned(),
            Some(rest) if rest.starts_with('/') => format!("~{rest}"),
            _ => self.cwd.clone(),
        };
        // A directory's name is the node's to choose; it must not drive the terminal.
        bare(&short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_term::Terminal;

    fn nodes(n: usize) -> Nodes {
        let sessions = (1..=n).map(|i| SessionNode {
            session: i as u64,
            node: format!("n{i}"),
            existing: false,
            agent: false,
        });
        let mut nodes = Nodes::new(sessions.collect());
        for node in &mut nodes.all {
            (node.place, node.cwd, node.home) = (Place::Ready, "/root/a".into(), "/root".into());
        }
        nodes
    }

    #[test]
    fn a_prompt_of_ones_own() {
        let values = [("node", "n1".to_owned()), ("pwd", "/a\x1b[2J".to_owned())];
        for (format, want) in
            [("{node}:{pwd}> ", "n1:/a?[2J> "), ("{nodes} {", "{nodes} {"), ("{{node}}", "{n1}")]
        {
            assert_eq!(formatted(format, &values), want);
        }
    }

    #[test]
    fn the_prompt_scales() {
        let look = Look::new(Terminal { locale: "C.UTF-8", ..Terminal::default() });
        let mut three = nodes(3);
        assert_eq!(three.prompt(&look, ""), "[● ● ●] (3/3) ~/a> ");
        three.all[2].place = Place::Lost("gone".into(), Some(2));
        three.all[1].cwd = "/tmp\x1b[2J".into();
        assert_eq!(three.prompt(&look, ""), "[● ● ○] (2/3) *> ");
        three.all[0].active = false;
        assert_eq!(three.prompt(&look, "n[2-3]"), "[n[2-3] +1] (1/2) *> ");
        let mut many = nodes(50);
        assert_eq!(many.prompt(&look, ""), "[50/50] ~/a> ");
        many.all.iter_mut().skip(3).for_each(|n| n.active = false);
        assert_eq!(many.prompt(&look, "n[1-3]"), "[n[1-3] +47] ~/a> ");
        assert_eq!(nodes(1).prompt(&look, "n1"), "[n1] ~/a> ");
    }
}
