//! Lines that are not for the nodes: `!` for which of them are meant, `:` for everything else.

use crate::collect::Show;
use crate::nodes::Place;
use crate::session::Repl;
use crate::shell::{self, Left};
use crate::words::{COMMANDS, Line, Output, Setting};
use bssh_protocol::error::CallError;
use bssh_protocol::methods::{
    GroupResolve, JobKillGroup, JobReadOutput, JobStartIn, SessionConnect, SessionReset,
};
use bssh_protocol::node::ResolveParams;
use bssh_protocol::session::{JobKill, JobRead, JobStart, SessionRef};
use futures_util::future::join_all;
use std::collections::HashSet;
use std::time::Duration;

/// Names that a message about nodes has at most.
const NAMED: usize = 5;
/// What `:help` says begins in this column.
const INDENT: usize = 29;
/// So wide is a terminal that does not say it.
const WIDTH: usize = 80;

/// Something in the background of one node.
#[derive(Debug)]
pub(crate) struct Job {
    node: usize,
    session: u64,
    job: u64,
    command: String,
}

impl Repl<'_> {
    /// Does what a line says.
    pub(crate) async fn obey(&mut self, line: Line) {
        if line != Line::Nothing {
            self.status = 0;
        }
        match line {
            Line::Nothing | Line::Quit => {}
            Line::Run(command) => match self.active() {
                Ok(nodes) => self.run(&nodes, &command).await,
                Err(why) => self.wrong(&why),
            },
            Line::Broadcast(command) => {
                let all: Vec<usize> = (0..self.nodes.all.len()).collect();
                self.run(&all, &command).await;
            }
            Line::Activate(expr) => self.activate(&expr).await,
            Line::ActivateAll => self.nodes.all.iter_mut().for_each(|n| n.active = true),
            Line::List => self.list(),
            Line::Status => self.tell_status(),
            Line::Reconnect => self.reconnect().await,
            Line::Help => self.help(),
            Line::Clear => self.screen.clear(),
            Line::Set(setting) => self.set(setting.as_ref()),
            Line::Session => self.tell_sessions(),
            Line::Reset => self.reset().await,
            Line::Shell(node) => self.shell(node).await,
            Line::Files(files) => self.transfer(files).await,
            Line::Sync(line) => self.sync(line).await,
            Line::Act(act) => self.act(act).await,
            Line::Background(command) => self.background(&command).await,
            Line::Jobs => self.tell_jobs().await,
            Line::Job(n) => self.read_job(n).await,
            Line::Kill(n) => self.kill_job(n).await,
            Line::Wrong(why) => self.wrong(&why),
        }
    }

    pub(crate) fn wrong(&mut self, why: &str) {
        self.status = 2;
        crate::say(why);
    }

    /// The same for what the core does not do.
    pub(crate) fn refused(&mut self, error: &CallError) {
        self.wrong(&error.advised());
    }

    /// The active nodes.
    ///
    /// # Errors
    /// There are none.
    pub(crate) fn active(&self) -> Result<Vec<usize>, String> {
        match self.nodes.active() {
            none if none.is_empty() => Err(format!("no node is active; {}all", self.switch)),
            nodes => Ok(nodes),
        }
    }

    /// Nodes by an expression, or the active ones. None: that has been told.
    pub(crate) async fn meant_by(&mut self, expr: Option<String>) -> Option<Vec<usize>> {
        match expr {
            Some(expr) => self.find(&expr).await,
            None => self.active().map_err(|why| self.wrong(&why)).ok(),
        }
    }

    /// Nodes by an expression; one that begins a single node's name stands for that node.
    pub(crate) async fn find(&mut self, expr: &str) -> Option<Vec<usize>> {
        let begins = |n: &usize| self.nodes.all.get(*n).is_some_and(|n| n.name.starts_with(expr));
        let is = |n: &usize| self.nodes.all.get(*n).is_some_and(|n| n.name == expr);
        let all = 0..self.nodes.all.len();
        // Of the last line here; before there is one, of the last run of bssh.
        let wanted = [("@ok", true), ("@failed", false)].into_iter().find(|(set, _)| *set == expr);
        if let Some((_, ok)) = wanted.filter(|_| !self.ended.is_empty()) {
            let meant = self.ended.iter().filter(|(_, is_ok)| *is_ok == ok);
            return Some(meant.map(|(n, _)| *n).collect());
        }
        if let Some(n) = all.clone().find(is) {
            return Some(vec![n]);
        }
        let by_prefix: Vec<usize> = all.clone().filter(begins).collect();
        if by_prefix.len() == 1 {
            return Some(by_prefix);
        }
        let settings = self.targets.settings.clone();
        let params = ResolveParams { expr: expr.to_owned(), settings, ..ResolveParams::default() };
        match self.core.call::<GroupResolve>(&params).await {
            Ok(resolved) => {
                let names: HashSet<String> = resolved.nodes.into_iter().collect();
                let meant = all.filter(|n| {
                    self.nodes.all.get(*n).is_some_and(|node| names.contains(&node.name))
                });
                let meant: Vec<usize> = meant.collect();
                if meant.len() < names.len() {
                    let here = |name: &String| self.nodes.all.iter().any(|n| n.name == *name);
                    let mut missing: Vec<&str> =
                        names.iter().filter(|n| !here(n)).map(String::as_str).collect();
                    missing.sort_unstable();
                    let more = if missing.len() > NAMED { ", …" } else { "" };
                    missing.truncate(NAMED);
                    let (missing, switch) = (missing.join(", "), self.switch.clone());
                    let text = "not among the nodes of this REPL";
                    self.wrong(&format!("{missing}{more}: {text}; {switch}list shows them"));
                    return None;
                }
                Some(meant)
            }
            Err(error) => {
                let switch = self.switch.clone();
                self.wrong(&format!("{}; {switch}list shows the nodes", error.message));
                None
            }
        }
    }

    fn help(&mut self) {
        let size = bssh_term::size(std::io::stdout());
        let width = size.map_or(WIDTH, |size| size.cols as usize);
        for (name, what) in COMMANDS {
            let name = name.replacen('!', &self.switch, 1);
            let mut line = format!("{name:<w$}", w = INDENT - 1);
            let mut used = line.chars().count();
            for word in what.split(' ') {
                let n = word.chars().count();
                if used + 1 + n > width && used > INDENT {
                    line.push_str(&format!("\n{:w$}", "", w = INDENT - 1));
                    used = INDENT - 1;
                }
                line.push_str(&format!(" {word}"));
                used += 1 + n;
            }
            self.screen.line(&line);
        }
    }

    async fn activate(&mut self, expr: &str) {
        if let Some(meant) = self.find(expr).await {
            for (n, node) in self.nodes.all.iter_mut().enumerate() {
                node.active = meant.contains(&n);
            }
        }
    }

    fn list(&mut self) {
        let look = self.screen.paint.look;
        let line = |n: &crate::nodes::Node| {
            let mark = if n.active { "*" } else { " " };
            format!("{mark} {} {}", n.dot(&look), n.name)
        };
        let lines: Vec<String> = self.nodes.all.iter().map(line).collect();
        self.screen.line(&lines.join("\n"));
    }

    fn tell_status(&mut self) {
        let (there, all) = (self.nodes.n_ready(), self.nodes.all.len());
        let active = self.nodes.active().len();
        self.screen.line(&format!("{there} of {all} nodes are there, {active} are active"));
        let lost = self.nodes.all.iter().filter(|n| n.place != Place::Ready);
        let lines: Vec<String> = lost.map(|n| n.why(&self.screen.paint.look)).collect();
        lines.iter().for_each(|line| self.screen.line(line));
    }

    async fn reconnect(&mut self) {
        let lost: Vec<u64> = self
            .nodes
            .all
            .iter()
            .filter(|n| matches!(n.place, Place::Lost(..)))
            .map(|n| n.session)
            .collect();
        self.screen.line(&format!("connecting to {} nodes", lost.len()));
        for session in lost {
            self.connect_now(session).await;
        }
    }

    async fn connect_now(&mut self, session: u64) {
        // What becomes of it is told as with every other connection.
        if let Err(error) = self.core.call::<SessionConnect>(&SessionRef { session }).await {
            self.refused(&error);
        }
    }

    async fn reset(&mut self) {
        let nodes = match self.active() {
            Ok(nodes) => nodes,
            Err(why) => return self.wrong(&why),
        };
        for n in nodes {
            let Some(session) = self.nodes.all.get(n).map(|n| n.session) else { continue };
            match self.core.call::<SessionReset>(&SessionRef { session }).await {
                Ok(_) => {
                    if let Some(node) = self.nodes.all.get_mut(n) {
                        node.place = Place::Connecting;
                    }
                }
                Err(error) => self.refused(&error),
            }
        }
        self.settle().await;
    }

    fn set(&mut self, setting: Option<&Setting>) {
        match setting {
            Some(Setting::Timestamps(on)) => self.screen.timestamps = *on,
            Some(Setting::Output(output)) => self.output = *output,
            Some(Setting::Timeout(limit)) => self.timeout = *limit,
            Some(Setting::Prompt(format)) => self.format.clone_from(format),
            None => {
                let on = if self.screen.timestamps { "on" } else { "off" };
                let output = if self.output == Output::Gather { "gather" } else { "stream" };
                let limit = self.timeout.unwrap_or(Duration::ZERO).as_secs();
                let prompt = self.format.as_deref().unwrap_or("default");
                let text = format!("timestamps {on}\noutput {output}\ntimeout {limit}");
                self.screen.line(&format!("{text}\nprompt {prompt}"));
            }
        }
    }

    fn tell_sessions(&mut self) {
        let line = |n: &crate::nodes::Node| match n.place {
            Place::Ready => format!("{}  {}  {}", n.name, n.shell, n.shown_cwd()),
            _ => n.why(&self.screen.paint.look),
        };
        let lines: Vec<String> = self.nodes.all.iter().map(line).collect();
        lines.iter().for_each(|line| self.screen.plain(line.as_bytes()));
    }

    async fn shell(&mut self, node: Option<String>) {
        let Some(found) = self.meant_by(node).await else { return };
        let [one] = found.as_slice() else {
            return self.wrong("a shell is on one node: :shell NODE");
        };
        let Some(name) = self.nodes.all.get(*one).map(|n| n.name.clone()) else { return };
        match shell::shell(self.core, self.only(&name), &self.term, self.agent.clone()).await {
            Ok(Left::Signal(status)) => self.over = Some(status),
            Ok(Left::Ended(status)) => {
                self.status = status;
                self.screen.line(&format!("back from {name}"));
            }
            Err(why) => self.wrong(&why),
        }
    }

    async fn background(&mut self, command: &str) {
        let nodes = match self.active() {
            Ok(nodes) => nodes,
            Err(why) => return self.wrong(&why),
        };
        for n in nodes {
            let Some(node) = self.nodes.all.get(n) else { continue };
            let (session, name) = (node.session, node.name.clone());
            let params = JobStart { session, command: command.to_owned() };
            match self.core.call::<JobStartIn>(&params).await {
                Ok(started) => {
                    let job = started.job;
                    self.jobs.push(Job { node: n, session, job, command: command.to_owned() });
                    self.screen.line(&format!("[{}] {name}", self.jobs.len()));
                }
                Err(error) => self.refused(&error),
            }
        }
    }

    async fn tell_jobs(&mut self) {
        let (core, past_all) = (self.core, u64::MAX >> 1);
        let state = |job: &Job| {
            let (session, job) = (job.session, job.job);
            let params = JobRead { session, job, stderr: false, offset: past_all };
            async move {
                match core.call::<JobReadOutput>(&params).await.map(|output| output.status) {
                    Ok(None) => "it runs".to_owned(),
                    Ok(Some(status)) => format!("ended with status {status}"),
                    Err(error) => error.message,
                }
            }
        };
        let states = join_all(self.jobs.iter().map(state)).await;
        let lines = self.jobs.iter().zip(states).enumerate().map(|(n, (job, state))| {
            let name = self.nodes.all.get(job.node).map_or("?", |n| n.name.as_str());
            format!("[{}] {name}: {}  ({state})", n + 1, job.command)
        });
        let lines: Vec<String> = lines.collect();
        lines.iter().for_each(|line| self.screen.line(line));
    }

    /// A job by the number it is listed with: its session, and its number there.
    fn job(&mut self, n: usize) -> Option<(u64, u64)> {
        let job = n.checked_sub(1).and_then(|n| self.jobs.get(n)).map(|job| (job.session, job.job));
        if job.is_none() {
            self.wrong("no such job; :jobs lists them");
        }
        job
    }

    /// What a job has written; Ctrl-C shows no more of it.
    async fn read_job(&mut self, n: usize) {
        let Some((session, job)) = self.job(n) else { return };
        let (core, mut status) = (self.core, None);
        for stderr in [false, true] {
            let mut offset = 0;
            loop {
                let params = JobRead { session, job, stderr, offset };
                let read = tokio::select! {
                    read = core.call::<JobReadOutput>(&params) => read,
                    signal = self.signals.next() => return self.heard(signal),
                };
                match read {
                    Ok(output) if output.data.0.is_empty() => {
                        status = output.status;
                        break;
                    }
                    Ok(output) => {
                        offset += output.data.0.len() as u64;
                        self.screen.show(Show::Bytes(output.data.0.to_vec()), &self.nodes);
                    }
                    Err(error) => return self.refused(&error),
                }
            }
        }
        let end = status.map_or_else(|| "it runs".to_owned(), |s| format!("ended with status {s}"));
        self.screen.line(&format!("[{n}] {end}"));
    }

    async fn kill_job(&mut self, n: usize) {
        let Some((session, job)) = self.job(n) else { return };
        let params = JobKill { session, job, signal: "TERM".to_owned() };
        if let Err(error) = self.core.call::<JobKillGroup>(&params).await {
            self.refused(&error);
        }
    }
}
