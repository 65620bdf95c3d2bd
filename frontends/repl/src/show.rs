//! What people see: outputs of nodes under their names, ends that were not well, and nothing that
//! could drive the terminal.

use crate::collect::{Collect, Show};
use crate::nodes::Nodes;
use crate::paint::{Paint, Role};
use bssh_client::Core;
use bssh_protocol::exec::Exit;
use bssh_protocol::methods::GroupFold;
use bssh_protocol::node::FoldParams;
use bssh_protocol::session::SessionExecDone;
use bssh_term::{Flow, plain, try_put};
use std::io::IsTerminal;
use std::time::SystemTime;

/// The screen.
pub(crate) struct Screen {
    pub paint: Paint,
    pub timestamps: bool,
    /// What the nodes say.
    flow: Flow,
    /// Why stdout takes no more.
    pub gone: Option<std::io::Error>,
}

impl Screen {
    pub(crate) fn new(paint: Paint) -> Screen {
        let flow = Flow::new(std::io::stdout().is_terminal());
        Screen { paint, timestamps: false, flow, gone: None }
    }

    /// Shows what is to be shown now.
    pub(crate) fn show(&mut self, show: Show, nodes: &Nodes) {
        match show {
            Show::Nothing => {}
            Show::Bytes(bytes) => self.bytes(&bytes),
            Show::Lines(node, lines) => {
                let name = nodes.all.get(node).map_or("?", |n| n.name.as_str());
                let head = format!("{}{}: ", self.stamp(), self.paint.paint(Role::Node, name));
                let mut text = Vec::with_capacity(lines.len() + head.len());
                for line in lines.split_inclusive(|b| *b == b'\n') {
                    text.extend_from_slice(head.as_bytes());
                    text.extend_from_slice(line);
                    if !line.ends_with(b"\n") {
                        text.push(b'\n');
                    }
                }
                self.bytes(&text);
            }
        }
    }

    /// All nodes are done: their outputs, equal ones once, and how they ended.
    pub(crate) async fn finish(&mut self, collect: &Collect, nodes: &Nodes, core: &Core) {
        self.close_line();
        let several = collect.parts.len() > 1;
        for (group, out) in collect.groups() {
            if several {
                let names = fold(core, nodes, &group).await;
                let n = if group.len() > 1 { format!(" ({})", group.len()) } else { String::new() };
                let head = self.paint.paint(Role::Node, &format!("---- {names}{n} ----"));
                self.line(&format!("{}{head}", self.stamp()));
            }
            self.bytes(out);
            self.close_line();
        }
        let mut ends: Vec<(String, Vec<usize>)> = Vec::new();
        for part in &collect.parts {
            let Some(text) = part.done.as_ref().and_then(how) else { continue };
            match ends.iter_mut().find(|(known, _)| *known == text) {
                Some((_, nodes)) => nodes.push(part.node),
                None => ends.push((text, vec![part.node])),
            }
        }
        for part in &collect.parts {
            if let Some(text) = part.left_out() {
                let name = nodes.all.get(part.node).map_or("?", |n| n.name.as_str());
                self.error(&format!("{name}: {text}"));
            }
        }
        for (text, group) in ends {
            let names = fold(core, nodes, &group).await;
            let sign = self.paint.look.glyphs.failed;
            self.error(&format!("{sign} {names}: {text}"));
        }
    }

    /// A line of ours.
    pub(crate) fn line(&mut self, text: &str) {
        self.close_line();
        self.put(format!("{text}\n").as_bytes());
    }

    /// An empty screen, where there is one.
    pub(crate) fn clear(&mut self) {
        if std::io::stdout().is_terminal() {
            self.put(b"\x1b[H\x1b[2J\x1b[3J");
            self.flow = Flow::new(true);
        }
    }

    /// A line of ours about something that is not well.
    pub(crate) fn error(&mut self, text: &str) {
        let line = self.paint.paint(Role::Error, text);
        self.aside(&line);
    }

    /// A line of ours about a node: on a terminal in its place, else apart from what nodes say.
    pub(crate) fn aside(&mut self, text: &str) {
        match std::io::stdout().is_terminal() {
            true => self.line(text),
            false => crate::say(text),
        }
    }

    /// A line with words in it that are a node's.
    pub(crate) fn plain(&mut self, line: &[u8]) {
        self.line(&plain(line));
    }

    fn close_line(&mut self) {
        let rest = self.flow.end();
        self.put(&rest);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let shown = self.flow.pass(bytes);
        self.put(&shown);
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.gone.is_none() && !bytes.is_empty() {
            self.gone = try_put(bytes).err();
        }
    }

    /// `[12:34:56Z] `, if wanted.
    fn stamp(&self) -> String {
        if !self.timestamps {
            return String::new();
        }
        let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_secs()) % 86_400;
        format!("[{:02}:{:02}:{:02}Z] ", now / 3600, now / 60 % 60, now % 60)
    }
}

/// The nodes' names as one expression.
pub(crate) async fn fold(core: &Core, nodes: &Nodes, group: &[usize]) -> String {
    let names: Vec<String> =
        group.iter().filter_map(|n| nodes.all.get(*n)).map(|n| n.name.clone()).collect();
    if let [one] = names.as_slice() {
        return one.clone();
    }
    let joined = names.join(",");
    let params = FoldParams { sets: vec![names] };
    match core.call::<GroupFold>(&params).await {
        Ok(folded) => folded.exprs.into_iter().next().unwrap_or(joined),
        Err(_) => joined,
    }
}

/// How a command ended, if that is worth a line.
pub(crate) fn how(done: &SessionExecDone) -> Option<String> {
    if let Some(failure) = &done.failure {
        let hint = failure.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
        return Some(format!("{}{hint}", failure.message));
    }
    match &done.exit {
        _ if done.timed_out => Some("ended: it took too long".to_owned()),
        Some(Exit::Status(0)) => None,
        Some(Exit::Status(130)) if done.interrupted => Some("interrupted".to_owned()),
        Some(Exit::Status(status)) => Some(format!("status {status}")),
        Some(Exit::Signal(name)) => Some(format!("ended by SIG{name}")),
        None => Some("no exit status".to_owned()),
    }
}
