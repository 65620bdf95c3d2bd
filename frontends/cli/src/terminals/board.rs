//! The nodes of several terminals: who is on the screen, who gets keys, who has ended.
//!
//! A node that does not take its keys must not keep them from the others: each has a queue of its
//! own, and one that is full is told and gets no more until it has room.

use super::prefix::{HELP, SHORT, Wish};
use super::tape::Tape;
use crate::commands::{Folder, Ui};
use crate::output::{Nodes, Report, Screen, Silent, cause};
use bssh_client::{Core, PtyHandle};
use bssh_protocol::exec::{Ended, Failure, NodeState, Phase};
use bssh_protocol::link::StreamSender;
use bssh_protocol::pty::PtyExited;
use bssh_term::{Color, Look, put};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// Pieces of keys that may wait for a node.
const KEYS: usize = 64;
/// How long a full-screen program may take to see that its terminal has another size.
const DRAWN: Duration = Duration::from_millis(500);
/// A new screen for another node: modes off, empty.
const CLEAR: &str = "\x1b[?1049l\x1b[r\x1b[2J\x1b[H";

/// How a terminal ended.
#[derive(Debug)]
pub(super) enum Over {
    /// It has not.
    Live,
    /// There never was one.
    Failed(String),
    Exited(Box<PtyExited>),
    /// The core is gone.
    Lost,
}

struct Node {
    name: String,
    tape: Tape,
    active: bool,
    keys: Option<mpsc::Sender<Bytes>>,
    handle: Option<PtyHandle>,
    /// It has said something.
    said: Arc<Notify>,
    over: Over,
}

pub(super) struct Board {
    nodes: Vec<Node>,
    shown: usize,
    look: Look,
    /// Each carries keys to one node until it ends, or tells sizes: the keyboard waits for none.
    work: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Something of ours is on the shown screen.
    overlay: bool,
}

impl Over {
    /// In the words of a run.
    pub(super) fn as_ended(&self) -> Option<Ended> {
        let failed = |message: &str| {
            let failure =
                Failure { phase: Phase::Dial, message: message.to_owned(), ..Failure::default() };
            Ended { failure: Some(failure), ..Ended::default() }
        };
        match self {
            Over::Live => None,
            Over::Failed(message) => Some(failed(message)),
            Over::Lost => Some(failed("the core is gone")),
            Over::Exited(exited) => Some(Ended {
                exit: exited.exit.clone(),
                failure: exited.failure.clone(),
                ..Ended::default()
            }),
        }
    }
}

impl Board {
    pub(super) fn new(names: Vec<String>, look: Look) -> Board {
        let node = |name| Node {
            name,
            tape: Tape::default(),
            active: true,
            keys: None,
            handle: None,
            said: Arc::default(),
            over: Over::Live,
        };
        let nodes = names.into_iter().map(node).collect();
        Board { nodes, shown: 0, look, work: FuturesUnordered::new(), overlay: false }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|n| n.name.as_str())
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = &Over> {
        self.nodes.iter().map(|n| &n.over)
    }

    pub(super) fn n_live(&self) -> usize {
        self.nodes.iter().filter(|n| matches!(n.over, Over::Live)).count()
    }

    pub(super) fn opened(&mut self, n: usize, keys: Option<StreamSender>, handle: PtyHandle) {
        let Some(node) = self.nodes.get_mut(n) else { return };
        node.handle = Some(handle);
        let Some(mut keys) = keys else { return };
        let (sender, mut queue) = mpsc::channel::<Bytes>(KEYS);
        node.keys = Some(sender);
        self.work.push(Box::pin(async move {
            while let Some(bytes) = queue.recv().await {
                // A node that takes no more ends its terminal by itself.
                if keys.write(bytes).await.is_err() {
                    return;
                }
            }
        }));
    }

    pub(super) fn failed(&mut self, n: usize, why: &str) {
        if let Some(node) = self.nodes.get_mut(n) {
            (node.over, node.active) = (Over::Failed(why.to_owned()), false);
        }
    }

    /// Carries keys and sizes; never comes back while there is somebody to carry for.
    pub(super) async fn feed(&mut self) {
        if self.work.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// The first node that is there gets the screen.
    pub(super) fn begin(&mut self) {
        let live = |n: &Node| matches!(n.over, Over::Live);
        self.shown = self.nodes.iter().position(live).unwrap_or(0);
        // The title is put back at the end.
        put(b"\x1b[22;2t");
        self.title();
        let head = format!("{}; Ctrl-] ? shows what can be done\r\n", self.headline());
        put(self.look.paint(Color::Header, &head).as_bytes());
    }

    /// The terminals that have not ended are left to the core: their numbers.
    pub(super) fn stay(&self) -> Vec<u64> {
        let live = self.nodes.iter().filter(|node| matches!(node.over, Over::Live));
        let handles: Vec<&PtyHandle> = live.filter_map(|node| node.handle.as_ref()).collect();
        handles.iter().for_each(|handle| handle.stay());
        handles.iter().map(|handle| handle.id()).collect()
    }

    pub(super) fn leave(&self) {
        put(format!("{}\x1b[23;2t\r\n", bssh_term::UNDO).as_bytes());
    }

    pub(super) fn bytes(&mut self, n: usize, bytes: &[u8]) {
        if let Some(node) = self.nodes.get_mut(n) {
            node.tape.push(bytes);
            node.said.notify_waiters();
        }
        if n == self.shown && !self.overlay {
            put(bytes);
        }
    }

    pub(super) fn ended(&mut self, n: usize, exited: Option<PtyExited>) {
        let Some(node) = self.nodes.get_mut(n) else { return };
        node.over = exited.map_or(Over::Lost, |e| Over::Exited(Box::new(e)));
        (node.keys, node.active) = (None, false);
        let how = node.over.as_ended().and_then(|ended| cause(&node.name, &ended));
        let how = how.unwrap_or_else(|| "ended".to_owned());
        let text = format!("\r\n[{}: {how}]\r\n", node.name);
        let text = self.look.paint(Color::Count, &text);
        self.bytes(n, text.as_bytes());
        self.title();
    }

    pub(super) fn resize(&self) {
        let Some(size) = bssh_term::size(std::io::stdin().as_fd()) else { return };
        for handle in self.nodes.iter().filter_map(|n| n.handle.clone()) {
            self.work.push(Box::pin(async move {
                // One that has ended needs no size.
                let _ = handle.resize(size.cols, size.rows).await;
            }));
        }
    }

    pub(super) fn obey(&mut self, wish: Wish) {
        match wish {
            Wish::Keys(keys) => self.send(&Bytes::from(keys)),
            Wish::Ask => self.over_screen(&format!("{}  {SHORT}", self.headline())),
            Wish::Naming(name) => self.over_screen(&format!("show node: {name}")),
            Wish::Next => self.show(self.other(1)),
            Wish::Previous => self.show(self.other(self.nodes.len().saturating_sub(1))),
            Wish::Go(name) => match self.find(&name) {
                Some(n) => self.show(n),
                None => self.over_screen(&format!("no node begins with {name:?}")),
            },
            Wish::All => {
                let live = |n: &&mut Node| matches!(n.over, Over::Live);
                self.nodes.iter_mut().filter(live).for_each(|n| n.active = true);
                self.show(self.shown);
            }
            Wish::Only => {
                let shown = self.shown;
                self.nodes.iter_mut().enumerate().for_each(|(n, node)| node.active = n == shown);
                self.show(shown);
            }
            Wish::Toggle => {
                if let Some(node) = self.nodes.get_mut(self.shown) {
                    node.active = !node.active && matches!(node.over, Over::Live);
                }
                self.show(self.shown);
            }
            Wish::List => self.list(),
            Wish::Help => self.page(HELP.iter().map(|line| (*line).to_owned())),
            Wish::Redraw | Wish::Forget => self.show(self.shown),
            // Where there is a shared core the terminals have been left to it by now.
            Wish::Detach => self.over_screen("no shared core runs these: --persist starts one"),
            Wish::Leave => {}
        }
    }

    /// Keys for the active nodes.
    fn send(&mut self, keys: &Bytes) {
        if self.overlay {
            self.draw();
        }
        let mut stuck = Vec::new();
        for node in self.nodes.iter().filter(|n| n.active) {
            let Some(queue) = &node.keys else { continue };
            if queue.try_send(keys.clone()).is_err() {
                stuck.push(node.name.clone());
            }
        }
        if !stuck.is_empty() {
            self.over_screen(&format!("takes no keys, these are lost there: {}", stuck.join(", ")));
        }
    }

    fn other(&self, by: usize) -> usize {
        (self.shown + by) % self.nodes.len().max(1)
    }

    fn find(&self, name: &str) -> Option<usize> {
        let is = |n: &Node| n.name == name;
        let begins = |n: &Node| n.name.starts_with(name);
        self.nodes.iter().position(is).or_else(|| self.nodes.iter().position(begins))
    }

    /// Gives a node the screen.
    fn show(&mut self, n: usize) {
        self.shown = n;
        self.draw();
        self.title();
        let size = bssh_term::size(std::io::stdin().as_fd());
        let Some(node) = self.nodes.get(n).filter(|node| node.tape.full_screen) else { return };
        if let (Some(handle), Some(size)) = (node.handle.clone(), size) {
            let said = node.said.clone();
            self.work.push(Box::pin(async move {
                // Twice another size: a full-screen program draws anew. It has to see the first
                // one before the second comes, or there is no other size for it.
                let drawn = said.notified();
                let _ = handle.resize(size.cols, size.rows.saturating_sub(1).max(1)).await;
                let _ = timeout(DRAWN, drawn).await;
                let _ = handle.resize(size.cols, size.rows).await;
            }));
        }
    }

    fn draw(&mut self) {
        self.overlay = false;
        let played = self.nodes.get(self.shown).map(|n| n.tape.play()).unwrap_or_default();
        let mut bytes = format!("{}{CLEAR}", bssh_term::UNDO).into_bytes();
        bytes.extend_from_slice(&played);
        put(&bytes);
    }

    fn headline(&self) -> String {
        let Some(node) = self.nodes.get(self.shown) else { return String::new() };
        let (active, live) = (self.nodes.iter().filter(|n| n.active).count(), self.n_live());
        let here = if node.active { "" } else { ", not this one" };
        let (at, n) = (self.shown + 1, self.nodes.len());
        format!("{} ({at}/{n}), keys to {active} of {live} nodes{here}", node.name)
    }

    fn title(&self) {
        put(format!("\x1b]2;{}\x07", self.headline()).as_bytes());
    }

    /// A line of ours on the lowest row, until the next key.
    fn over_screen(&mut self, text: &str) {
        let size = bssh_term::size(std::io::stdin().as_fd());
        let (rows, cols) = size.map_or((24, 80), |s| (s.rows, s.cols as usize));
        let text: String = text.chars().filter(|c| !c.is_control()).take(cols).collect();
        put(format!("\x1b7\x1b[{rows};1H\x1b[0;7m\x1b[K{text}\x1b[0m\x1b8").as_bytes());
        self.overlay = true;
    }

    /// Lines of ours instead of the screen, until the next key.
    fn page(&mut self, lines: impl Iterator<Item = String>) {
        let rows = bssh_term::size(std::io::stdin().as_fd()).map_or(24, |s| s.rows as usize);
        let lines: Vec<String> = lines.take(rows.saturating_sub(1)).collect();
        let text = format!("{}{CLEAR}{}\r\n", bssh_term::UNDO, lines.join("\r\n"));
        put(text.as_bytes());
        self.overlay = true;
    }

    fn list(&mut self) {
        let g = self.look.glyphs;
        let line = |(n, node): (usize, &Node)| {
            let ended = node.over.as_ended();
            let sign = match &ended {
                None => g.executing,
                Some(ended) if ended.is_ok() => g.ok,
                Some(_) => g.failed,
            };
            let how = ended.and_then(|ended| cause(&node.name, &ended)).unwrap_or_default();
            let here = if n == self.shown { ">" } else { " " };
            let keys = if node.active { "keys" } else { "    " };
            format!("{here} {sign} {keys}  {}  {how}", node.name)
        };
        let lines: Vec<String> = self.nodes.iter().enumerate().map(line).collect();
        self.page(lines.iter().map(|line| bssh_term::bare(line)));
    }

    /// How they ended, on stderr.
    pub(super) async fn report(&self, core: &Core, ui: &Ui) {
        let mut nodes = Nodes::new(self.names().map(str::to_owned).collect());
        for (n, node) in self.nodes.iter().enumerate() {
            // What could not be opened was told then.
            let told = matches!(node.over, Over::Failed(_));
            if let Some(ended) = node.over.as_ended().filter(|_| !told) {
                nodes.note(n, &NodeState::Ended(ended));
            }
        }
        let report = Report::new(&nodes, &Silent, false);
        let names = Folder::default().fold(&report.sets(), &nodes, core).await;
        let mut screen = Screen::default();
        report.show(&names, ui.style, &mut screen);
        // A stderr that has gone cannot be told.
        let _ = screen.drain().await;
    }
}
