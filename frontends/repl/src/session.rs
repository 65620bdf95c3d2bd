//! The loop: a line is read, run on the active nodes, and shown; meanwhile nodes come and go.

use crate::acts;
use crate::collect::{Collect, Part, Show};
use crate::commands::Job;
use crate::complete::{MOST_PATHS, completing};
use crate::input::{Ask, Input, Typed, Words};
use crate::nodes::{Nodes, Place, formatted};
use crate::paint::Paint;
use crate::show::{Screen, fold};
use crate::words::{self, Line, Output};
use bssh_client::{Core, ReplPlan, SessionEvent, Sessions};
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::error::CallError;
use bssh_protocol::exec::{Exit, Targets};
use bssh_protocol::link::Notification;
use bssh_protocol::methods::{GroupList, NodeResolve};
use bssh_protocol::node::{ExplainParams, GroupListParams};
use bssh_protocol::session::{
    ExecId, Interactive, SessionExecDone, SessionExecParams, SessionOpenParams, StateUse,
};
use bssh_term::{Look, Signal, Signals, say};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Credit of each stream: small, for there may be a thousand of them.
const WINDOW: u64 = 64 << 10;
/// What Ctrl-C sends, one after the other, and then KILL.
const ENDS: [&str; 2] = ["INT", "TERM"];
/// How long a node may take to heed it before one is told what the next does.
const PATIENCE: Duration = Duration::from_secs(2);
/// Whoever reads stdout has gone (128 + SIGPIPE).
const OUTPUT_CLOSED: u8 = 141;
/// What begins a line about nodes unless the configuration says otherwise.
const SWITCH: &str = "!";

/// What a REPL begins with.
pub(crate) struct Wishes {
    pub plan: ReplPlan,
    pub look: Look,
    /// Of the configuration's session it begins as.
    pub timeout: Option<Duration>,
    /// Only the first node is active at first.
    pub one_at_a_time: bool,
    pub configured: Interactive,
}

/// A REPL under way.
pub(crate) struct Repl<'a> {
    pub core: &'a Core,
    pub sessions: Sessions,
    pub nodes: Nodes,
    pub screen: Screen,
    pub targets: Targets,
    pub term: String,
    /// Forward the local agent, and how.
    pub agent: (bool, Option<AgentSettings>),
    pub output: Output,
    pub timeout: Option<Duration>,
    /// What begins a line about nodes.
    pub switch: String,
    /// The prompt's format, if it is not the usual one.
    pub format: Option<String>,
    /// User and host of nodes, as far as a prompt has asked for them.
    accounts: HashMap<usize, (String, String)>,
    news: Option<mpsc::Receiver<Notification>>,
    pub jobs: Vec<Job>,
    /// Where the last line ran, and whether it was well there: `@ok` and `@failed`.
    pub ended: Vec<(usize, bool)>,
    /// Of the last line, for whoever runs a script.
    pub status: u8,
    pub signals: Signals,
    completing: HashMap<ExecId, (Vec<u8>, SyncSender<Vec<String>>)>,
    /// Why it cannot go on.
    pub over: Option<u8>,
}

/// Runs a REPL and gives its exit status.
///
/// # Errors
/// What is wrong with the request.
pub(crate) async fn session(core: &Core, wishes: Wishes) -> Result<u8, CallError> {
    let Wishes { plan, configured, .. } = wishes;
    let sessions = core.sessions();
    let params = SessionOpenParams {
        targets: plan.targets.clone(),
        fanout: plan.fanout,
        defined: plan.session,
        forward_agent: plan.agent.0,
        agent: plan.agent.1.clone(),
        ..SessionOpenParams::default()
    };
    let opened = sessions.open(&params).await?;
    for warning in &opened.warnings {
        say(&format!("bssh: warning: {warning}"));
    }
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("bssh: cannot listen for signals: {error}"));
            return Ok(1);
        }
    };
    let paint = Paint::new(wishes.look, &configured);
    let mut screen = Screen::new(paint.clone());
    screen.timestamps = configured.show_timestamps.unwrap_or(false);
    let switch = configured.node_switch_prefix.clone().unwrap_or_else(|| SWITCH.to_owned());
    let mut nodes = Nodes::new(opened.sessions);
    if wishes.one_at_a_time {
        nodes.all.iter_mut().skip(1).for_each(|node| node.active = false);
    }
    let mut repl = Repl {
        core,
        sessions,
        nodes,
        screen,
        targets: plan.targets,
        term: plan.term,
        agent: plan.agent,
        output: Output::default(),
        timeout: wishes.timeout,
        switch: switch.clone(),
        format: configured.prompt_format,
        accounts: HashMap::new(),
        news: core.events(),
        jobs: Vec::new(),
        ended: Vec::new(),
        status: 0,
        signals,
        completing: HashMap::new(),
        over: None,
    };
    repl.connect().await;
    let history = configured.history_file.map(PathBuf::from).or(plan.history);
    let input = Input::start(history, Words { names: repl.names().await, switch, paint });
    Ok(match input {
        Ok(mut input) => repl.read_lines(&mut input).await,
        Err(why) => unread(&why.to_string()),
    })
}

/// The lines so far are not all there were.
fn unread(why: &str) -> u8 {
    say(&format!("bssh: cannot read lines: {why}"));
    1
}

impl Repl<'_> {
    /// Waits until every node is there, or is not; Ctrl-C waits no longer.
    pub(crate) async fn settle(&mut self) {
        while !self.nodes.settled() && self.over.is_none() {
            let sessions = self.sessions.clone();
            tokio::select! {
                event = sessions.next() => self.idle(event, None),
                signal = self.signals.next() => {
                    self.heard(signal);
                    break;
                }
            }
        }
    }

    async fn connect(&mut self) {
        self.settle().await;
        let n = self.nodes.all.len();
        for node in self.nodes.all.iter().filter(|node| node.place != Place::Ready) {
            say(&node.why(&self.screen.paint.look));
        }
        let there = self.nodes.n_ready();
        let look = &self.screen.paint.look;
        let sign = if there == n { look.glyphs.ok } else { look.glyphs.failed };
        say(&format!("{sign} {there} of {n} nodes; :help shows what can be done"));
    }

    /// Nodes and groups, for completion.
    async fn names(&self) -> Vec<String> {
        let params = GroupListParams { settings: self.targets.settings.clone() };
        let groups = self.core.call::<GroupList>(&params).await;
        let groups = groups.map(|list| list.groups).unwrap_or_default();
        let groups = groups.into_iter().map(|g| format!("@{}", g.name));
        self.nodes.all.iter().map(|n| n.name.clone()).chain(groups).collect()
    }

    async fn read_lines(&mut self, input: &mut Input) -> u8 {
        while self.over.is_none() {
            let active = self.nodes.active();
            let names = match active.len() == self.nodes.all.len() && active.len() > 1 {
                true => String::new(),
                false => fold(self.core, &self.nodes, &active).await,
            };
            let line = match self.read_line(input, &names).await {
                Typed::Line(line) => line,
                Typed::Interrupted | Typed::Asked(_) => continue,
                Typed::End => break,
                Typed::Failed(why) => return unread(&why),
            };
            match words::read(&line, &self.switch) {
                Line::Quit => break,
                line => self.obey(line).await,
            }
            // On a terminal that is gone, reading says so.
            if let Some(error) = self.screen.gone.take_if(|_| !std::io::stdout().is_terminal()) {
                self.over = Some(cannot_print(&error));
            }
        }
        self.over.unwrap_or(self.status)
    }

    /// A line; news of nodes are shown above it meanwhile.
    async fn read_line(&mut self, input: &mut Input, names: &str) -> Typed {
        let prompt = match self.format.clone() {
            None => self.nodes.prompt(&self.screen.paint.look, names),
            Some(format) => self.own_prompt(&format).await,
        };
        input.ask(&prompt);
        let sessions = self.sessions.clone();
        loop {
            tokio::select! {
                event = next_news(&mut self.news) => {
                    if let Some(text) = acts::news(&event) {
                        input.say(&text);
                    }
                }
                typed = input.next() => match typed {
                    Typed::Asked(ask) => self.complete(ask).await,
                    typed => return typed,
                },
                event = sessions.next() => {
                    self.idle(event, Some(input));
                    if self.over.is_some() {
                        return Typed::End;
                    }
                }
                signal = self.signals.next() => {
                    self.heard(signal);
                    if self.over.is_some() {
                        return Typed::End;
                    }
                }
            }
        }
    }

    /// The prompt by the format of the configuration or `:set`.
    async fn own_prompt(&mut self, format: &str) -> String {
        let active = self.nodes.active();
        let there = |n: &&usize| self.nodes.all.get(**n).is_some_and(|n| n.place == Place::Ready);
        let ready = active.iter().filter(there).count();
        let node = fold(self.core, &self.nodes, &active).await;
        let (mut user, mut host) = (String::new(), node.clone());
        if format.contains("{user}") || format.contains("{host}") {
            let (first, one) = (active.first().copied(), active.len() == 1);
            if let Some((its_user, its_host)) = self.account(first.unwrap_or(0)).await {
                user = its_user;
                host = if one { its_host } else { host };
            }
        }
        let values = [
            ("node", node),
            ("user", user),
            ("host", host),
            ("pwd", self.nodes.shown_cwd()),
            ("ready", ready.to_string()),
            ("active", active.len().to_string()),
        ];
        formatted(format, &values)
    }

    /// User and host of a node. The core knows them; the answer is kept.
    async fn account(&mut self, n: usize) -> Option<(String, String)> {
        if let Some(known) = self.accounts.get(&n) {
            return Some(known.clone());
        }
        let node = self.nodes.all.get(n)?.name.clone();
        let settings = self.targets.settings.clone();
        let keywords = Some(Vec::new());
        let params = ExplainParams { node, settings, keywords, ..ExplainParams::default() };
        let explained = self.core.call::<NodeResolve>(&params).await.ok()?;
        let account = (explained.user, explained.host);
        self.accounts.insert(n, account.clone());
        Some(account)
    }

    /// A signal was heard: Ctrl-C is for what is under way, others end us.
    pub(crate) fn heard(&mut self, signal: Signal) {
        if signal != Signal::Interrupt {
            self.over = Some(signal.status());
        }
    }

    /// Something happened that no line waits for.
    pub(crate) fn idle(&mut self, event: SessionEvent, input: Option<&Input>) {
        let news = match event {
            SessionEvent::State(change) => self.nodes.take(change, &self.screen.paint.look),
            SessionEvent::Data { exec, bytes, .. } => {
                if let Some((text, _)) = self.completing.get_mut(&exec) {
                    text.extend_from_slice(&bytes);
                }
                None
            }
            SessionEvent::Done(done) => {
                if let Some((text, answer)) = self.completing.remove(&done.exec) {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    let paths = text.lines().filter(|l| !l.chars().any(char::is_control));
                    // The editor may have given up.
                    let _ = answer.try_send(paths.take(MOST_PATHS).map(str::to_owned).collect());
                }
                None
            }
            SessionEvent::Retry(_) => None,
            SessionEvent::Lost(how) => {
                self.over = Some(1);
                Some(format!("bssh: {how}"))
            }
        };
        match (news, input) {
            (Some(news), Some(input)) => input.say(&news),
            (Some(news), None) => say(&news),
            _ => {}
        }
    }

    /// Asks the first active node that is there.
    async fn complete(&mut self, ask: Ask) {
        let mut there = self.nodes.all.iter().filter(|n| n.active && n.place == Place::Ready);
        let Some(node) = there.next() else { return };
        let params = SessionExecParams {
            session: node.session,
            command: completing(&ask),
            state: StateUse::Read,
            timeout_ms: Some(2000),
            window: Some(WINDOW),
            ..SessionExecParams::default()
        };
        if let Ok(exec) = self.sessions.exec(&params).await {
            self.completing.insert(exec, (Vec::new(), ask.answer));
        }
    }

    /// Runs a line on these nodes, shows what they say, and waits until all are done. Ctrl-C goes
    /// to the nodes: the first as INT, the next as TERM, then KILL.
    pub(crate) async fn run(&mut self, nodes: &[usize], command: &str) {
        let mut collect = Collect::new(self.output == Output::Stream, nodes.len() == 1);
        for n in nodes {
            let Some(node) = self.nodes.all.get(*n) else { continue };
            if node.place != Place::Ready {
                let why = node.why(&self.screen.paint.look);
                self.screen.aside(&why);
                self.status = 255;
                continue;
            }
            let params = SessionExecParams {
                session: node.session,
                command: command.to_owned(),
                timeout_ms: self.timeout.map_or(Some(0), |t| u64::try_from(t.as_millis()).ok()),
                window: Some(WINDOW),
                ..SessionExecParams::default()
            };
            match self.sessions.exec(&params).await {
                Ok(exec) => collect.add(*n, node.session, exec),
                Err(error) => {
                    let text = format!("{}: {error}", node.name);
                    self.screen.aside(&text);
                    self.status = 255;
                }
            }
        }
        let (mut pressed, mut hint) = (0, None);
        while !collect.is_done() && self.over.is_none() {
            let sessions = self.sessions.clone();
            tokio::select! {
                event = sessions.next() => self.working(event, &mut collect),
                () = at(hint) => {
                    hint = None;
                    let n = collect.parts.iter().filter(|part| part.done.is_none()).count();
                    let next = ENDS.get(pressed).unwrap_or(&"KILL");
                    self.screen.aside(&format!("{n} still at it; Ctrl-C again sends {next}"));
                }
                signal = self.signals.next() => {
                    self.heard(signal);
                    if self.over.is_some() {
                        break;
                    }
                    let name = ENDS.get(pressed).unwrap_or(&"KILL");
                    (pressed, hint) = (pressed + 1, Some(Instant::now() + PATIENCE));
                    collect.interrupt();
                    for part in collect.parts.iter().filter(|p| p.done.is_none()) {
                        // One that is over by now needs none.
                        let _ = sessions.signal(part.session, part.exec, name).await;
                    }
                }
            }
        }
        self.screen.finish(&collect, &self.nodes, self.core).await;
        if !collect.parts.is_empty() {
            self.ended = collect.parts.iter().map(|part| (part.node, is_ok(part))).collect();
            self.status =
                worst(&collect).max(if collect.parts.len() < nodes.len() { 255 } else { 0 });
        }
    }

    /// Something happened while a line is at work.
    fn working(&mut self, event: SessionEvent, collect: &mut Collect) {
        match event {
            SessionEvent::Data { exec, bytes, .. } if collect.has(exec) => {
                let show = collect.data(exec, &bytes);
                self.screen.show(show, &self.nodes);
            }
            SessionEvent::Done(done) if collect.has(done.exec) => {
                if let Some(node) = self.nodes.of_session(done.session) {
                    node.cwd.clone_from(&done.cwd);
                }
                let show: Show = collect.done(*done);
                self.screen.show(show, &self.nodes);
            }
            SessionEvent::State(change) => {
                if let Some(news) = self.nodes.take(change, &self.screen.paint.look) {
                    self.screen.aside(&news);
                }
            }
            other => self.idle(other, None),
        }
    }
}

/// The status for a stdout that takes no more. Its reader has gone: no words needed.
fn cannot_print(error: &std::io::Error) -> u8 {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return OUTPUT_CLOSED;
    }
    say(&format!("bssh: stdout: {error}"));
    1
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next event that is not a session's.
async fn next_news(news: &mut Option<mpsc::Receiver<Notification>>) -> Notification {
    let next = async { news.as_mut()?.recv().await };
    match next.await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}

fn is_ok(part: &Part) -> bool {
    let is_zero = |done: &SessionExecDone| {
        done.failure.is_none() && matches!(done.exit, Some(Exit::Status(0)))
    };
    part.done.as_ref().is_some_and(is_zero)
}

/// The greatest status of a line; 255 for a node that gave none.
fn worst(collect: &Collect) -> u8 {
    let statuses = collect.parts.iter().map(|part| match part.done.as_ref() {
        Some(done) if done.failure.is_none() => match &done.exit {
            Some(Exit::Status(status)) => u8::try_from(status & 0xff).unwrap_or(255),
            _ => 255,
        },
        _ => 255,
    });
    statuses.max().unwrap_or(0)
}
