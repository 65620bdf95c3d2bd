//! One command in the sessions of its nodes: opened if need be, run, shown, ended by signals.

use super::RunIn;
use super::show::Show;
use super::words::Fate;
use crate::args::Args;
use crate::commands::{failed, listening, warn};
use crate::output::Style;
use crate::{exit, request, say};
use bssh_client::{Core, SessionEvent, Sessions};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Action, Ended, PtyRequest, Targets};
use bssh_protocol::link::StreamSender;
use bssh_protocol::methods::JobStartIn;
use bssh_protocol::session::{
    ExecId, JobStart, OnDisconnect, SessionExecDone, SessionExecParams, SessionNode,
    SessionOpenParams, StateUse,
};
use bssh_protocol::session_state::DefinedSession;
use bssh_protocol::stream::Source;
use bssh_term::{RawMode, Signals};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use tokio::signal::unix::{SignalKind, signal};

/// GNU timeout's status.
const TIMED_OUT: u8 = 124;
/// The directory is gone, or what has changed here could not be sent: nothing was run.
const NOT_RUN: u8 = 126;
const TRANSPORT: u8 = 255;
/// Kept for `--json=summary` of each stream unless `--max-output` says otherwise, in bytes.
const SUMMARY: u64 = 1 << 20;

/// Runs it and gives the exit status.
pub(crate) async fn run(core: &Core, args: &Args, run: &RunIn, (style, term): (Style, &str)) -> u8 {
    let settings = request::settings(args);
    let defined = match core.defined(&settings, &run.session).await {
        Ok(defined) => defined,
        Err(error) => return failed(&error),
    };
    let wish = match wish(args, run, (term, defined.as_ref())) {
        Ok(wish) => wish,
        Err(why) => {
            say(&format!("bssh: {why}"));
            return exit::USAGE;
        }
    };
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let sessions = core.sessions();
    let params = SessionOpenParams {
        targets: wish.targets,
        name: Some(run.session.clone()),
        keep: true,
        shell: run.shell.clone(),
        defined: defined.map(|defined| defined.name),
        spool: run.spool,
        fanout: args.run.fanout,
        forward_agent: args.connect.agent.forwards(),
        agent: args.connect.agent.settings(),
        ..SessionOpenParams::default()
    };
    let (wants_agent, name) = (params.forward_agent, &run.session);
    let opened = match sessions.open(&params).await {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    if !args.output.quiet {
        warn(&opened.warnings);
    }
    if let Some(node) = opened.sessions.iter().find(|n| n.existing && !n.agent && wants_agent) {
        say(&format!(
            "bssh: {}: session {name} was opened without an agent, and keeps to that\n\
             hint: bssh session close {name}, then -A with its first command",
            node.node
        ));
        return exit::USAGE;
    }
    if run.background {
        return background(core, &opened.sessions, &wish.exec.command, args).await;
    }
    if wish.exec.pty.is_some() && opened.sessions.len() > 1 {
        say(
            "bssh: -t in a session is for one node\nhint: bssh -H NODES -t shows terminals on several",
        );
        return exit::USAGE;
    }
    let names = opened.sessions.iter().map(|s| s.node.clone()).collect();
    let mut running = Running {
        sessions,
        nodes: opened.sessions,
        by_exec: HashMap::new(),
        done: BTreeMap::new(),
        show: Show::new(args.output.json, names, style, args.output.no_prefix),
    };
    let _raw = wish.exec.pty.as_ref().and_then(|_| RawMode::raw(std::io::stdin()).ok());
    running.show.raw = wish.exec.pty.is_some();
    let feeds = match running.start(&wish.exec).await {
        Ok(feeds) => feeds,
        Err(error) => return failed(&error),
    };
    let feeding = feed(feeds);
    let status = tokio::select! {
        status = running.follow(&mut signals) => status,
        () = feeding => exit::GENERAL,
    };
    match running.show.finish().await {
        exit::OK => status,
        broken => broken,
    }
}

struct Wish {
    targets: Targets,
    exec: SessionExecParams,
}

/// # Errors
/// One line for people.
fn wish(
    args: &Args,
    run: &RunIn,
    (term, defined): (&str, Option<&DefinedSession>),
) -> Result<Wish, String> {
    refuse(args, run)?;
    let (targets, words) = target(args, run, defined)?;
    let Action::Command(command) = request::action(words)? else {
        return Err("a command in a session must be UTF-8".to_owned());
    };
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(format!("--env {text}: want NAME=VALUE")),
    };
    let typed = std::io::stdin().is_terminal();
    let pty = pty(args, (term, typed))?;
    let feeds = !args.run.no_stdin && (!typed || pty.is_some()) && !args.connect.via.retry_safe;
    let limit = args.output.max_output.or(defined.and_then(|defined| defined.max_output));
    let summary = args.output.json == Some(crate::args::Json::Summary);
    let exec = SessionExecParams {
        command,
        state: match (run.read, run.no_state) {
            (true, _) => StateUse::Read,
            (_, true) => StateUse::None,
            _ => StateUse::Update,
        },
        pty,
        on_disconnect: run.on_disconnect.map(|fate| match fate {
            Fate::Kill => OnDisconnect::Kill,
            Fate::Keep => OnDisconnect::Keep,
        }),
        retry_safe: args.connect.via.retry_safe,
        kill_escaped: run.kill_escaped,
        cwd: run.cwd.clone(),
        env: run.env.iter().map(pair).collect::<Result<_, _>>()?,
        stdin: if feeds { Source::Stream } else { Source::Null },
        timeout_ms: args.run.timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        max_output: limit.or(summary.then_some(SUMMARY)),
        private: run.private,
        dedicated: run.dedicated,
        ..SessionExecParams::default()
    };
    Ok(Wish { targets, exec })
}

/// # Errors
/// What is not for commands in a session.
fn refuse(args: &Args, run: &RunIn) -> Result<(), String> {
    let as_it_is = [
        (run.read, "--read"),
        (run.no_state, "--no-state"),
        (run.cwd.is_some(), "--cwd"),
        (!run.env.is_empty(), "--env"),
        (run.on_disconnect.is_some(), "--on-disconnect"),
        (run.kill_escaped, "--kill-escaped"),
        (run.private, "--private"),
        (run.dedicated, "--dedicated"),
        (args.run.timeout.is_some(), "-u/--timeout"),
        (args.connect.via.retry_safe, "--retry-safe"),
        (args.output.max_output.is_some(), "--max-output"),
    ];
    if let Some((_, flag)) = as_it_is.iter().find(|(given, _)| *given && run.background) {
        return Err(format!("{flag} is not for --background: a job is begun where the session is"));
    }
    if args.connect.agent.confirms() {
        let why = "nobody is there to be asked once the command that opened the session is over";
        return Err(format!("--agent-confirm: {why}\nhint: --agent-keys says which keys it gets"));
    }
    let json = args.output.json.is_some();
    if args.connect.tty > 0 && (run.background || json) {
        return Err("-t is neither for --background nor for --json".to_owned());
    }
    Ok(())
}

/// Which nodes, and the words of the command. A session of the configuration has its nodes, so
/// that all words are the command's; its own target in front of `--` is taken for what it is.
fn target<'a>(
    args: &Args,
    run: &'a RunIn,
    defined: Option<&DefinedSession>,
) -> Result<(Targets, &'a [OsString]), String> {
    let mut targets = request::targets(args);
    let mut words = run.words.as_slice();
    let named = match (defined, words) {
        (_, _) if !targets.nodes.is_empty() => false,
        (None, _) => true,
        (Some(defined), [first, dashes, ..]) => {
            dashes == "--" && first.to_str() == Some(&defined.target)
        }
        (Some(_), _) => false,
    };
    if named && let Some((target, rest)) = words.split_first() {
        if target.as_bytes().trim_ascii().is_empty() {
            return Err("the target is empty\nhint: is a variable in it not set?".to_owned());
        }
        targets.nodes = target.to_string_lossy().into_owned();
        words = rest;
    }
    if let Some((first, rest)) = words.split_first()
        && first == "--"
    {
        words = rest;
    }
    if words.is_empty() { Err(USAGE.to_owned()) } else { Ok((targets, words)) }
}

/// A terminal like ours, if one is wanted: `-t` where we have one, `-tt` anywhere.
fn pty(args: &Args, (term, typed): (&str, bool)) -> Result<Option<PtyRequest>, String> {
    match (args.connect.tty, typed) {
        (0, _) => Ok(None),
        (1, false) => Err("-t needs a terminal here; -tt asks for one all the same".to_owned()),
        _ => Ok(Some(bssh_term::terminal(term, (80, 24)))),
    }
}

const USAGE: &str = "no command given\nhint: bssh run -S NAME TARGET -- COMMAND…";

/// Commands on their way.
struct Running {
    sessions: Sessions,
    nodes: Vec<SessionNode>,
    by_exec: HashMap<ExecId, usize>,
    done: BTreeMap<usize, SessionExecDone>,
    show: Show,
}

impl Running {
    async fn start(
        &mut self,
        like: &SessionExecParams,
    ) -> Result<Vec<StreamSender>, bssh_protocol::error::CallError> {
        let mut feeds = Vec::new();
        for (n, node) in self.nodes.iter().enumerate() {
            let params = SessionExecParams { session: node.session, ..like.clone() };
            let (exec, stdin) = self.sessions.exec_fed(&params).await?;
            self.by_exec.insert(exec, n);
            feeds.extend(stdin);
        }
        self.show.start(&self.nodes);
        Ok(feeds)
    }

    /// Until all have ended; gives the status.
    async fn follow(&mut self, signals: &mut Signals) -> u8 {
        let mut pressed = 0;
        let mut resized = match listening(signal(SignalKind::window_change())) {
            Ok(resized) => resized,
            Err(status) => return status,
        };
        while self.done.len() < self.nodes.len() {
            let event = tokio::select! {
                event = self.sessions.next() => event,
                _ = resized.recv() => {
                    self.resize().await;
                    continue;
                }
                signal = signals.next() => {
                    if pressed > 2 {
                        return signal.status();
                    }
                    let name = ["INT", "TERM"].get(pressed).unwrap_or(&"KILL");
                    pressed += 1;
                    for (exec, n) in &self.by_exec {
                        let session = self.nodes.get(*n).map(|s| s.session).unwrap_or_default();
                        // One that is over by now needs none.
                        let _ = self.sessions.signal(session, *exec, name).await;
                    }
                    continue;
                }
            };
            match event {
                SessionEvent::Data { exec, channel, bytes } => {
                    if let Some(n) = self.by_exec.get(&exec) {
                        let written = self.show.data(*n, channel, &bytes).await;
                        if written != exit::OK {
                            return written;
                        }
                    }
                }
                SessionEvent::Done(done) => {
                    if let Some(n) = self.by_exec.remove(&done.exec) {
                        self.show.done(n, &done);
                        self.done.insert(n, *done);
                    }
                }
                SessionEvent::Retry(retry) => {
                    let node = self.by_exec.get(&retry.exec).and_then(|n| self.nodes.get(*n));
                    if let Some(node) = node {
                        self.show.again(&node.node, &retry);
                    }
                }
                SessionEvent::State(_) => {}
                SessionEvent::Lost(how) => {
                    say(&format!("bssh: {how}; what runs there is ended"));
                    return exit::GENERAL;
                }
            }
        }
        self.done.values().map(|done| status(done, pressed > 0)).max().unwrap_or(exit::GENERAL)
    }
}

impl Running {
    /// The terminal, if there is one, is as large as ours.
    async fn resize(&self) {
        let size = bssh_term::size(std::io::stdin().as_fd()).filter(|_| self.show.raw);
        let Some(size) = size else { return };
        for (exec, n) in &self.by_exec {
            let session = self.nodes.get(*n).map(|s| s.session).unwrap_or_default();
            // One that is over by now needs none.
            let _ = self.sessions.resize((session, *exec), (size.cols, size.rows)).await;
        }
    }
}

fn status(done: &SessionExecDone, interrupted: bool) -> u8 {
    match &done.failure {
        Some(failure) if ["cwdMissing", "syncFailed"].contains(&&*failure.code) => NOT_RUN,
        Some(_) => TRANSPORT,
        None if done.timed_out => TIMED_OUT,
        None if interrupted && done.interrupted => exit::INTERRUPTED,
        None => exit::node_status(Some(&Ended { exit: done.exit.clone(), ..Ended::default() })),
    }
}

/// Our stdin for all of them. Never comes back: the commands' end is the end.
async fn feed(mut feeds: Vec<StreamSender>) {
    if !feeds.is_empty()
        && let Ok(mut stdin) = bssh_term::Stdin::open()
    {
        while let Some(bytes) = stdin.next().await {
            let bytes = bytes::Bytes::from(bytes);
            for feed in &mut feeds {
                // A command that reads no more is no error.
                let _ = feed.write(bytes.clone()).await;
            }
        }
        // The end of what could be read must not pass for the end of stdin.
        let broken = stdin.broken().map(|error| error.to_string());
        for feed in feeds {
            match &broken {
                Some(why) => feed.reset(CallError::new(Kind::CancelledByCaller, why.clone())),
                None => drop(feed.finish().await),
            }
        }
    }
    std::future::pending().await
}

async fn background(core: &Core, nodes: &[SessionNode], command: &str, args: &Args) -> u8 {
    let mut worst = exit::OK;
    for node in nodes {
        let params = JobStart { session: node.session, command: command.to_owned() };
        match core.call::<JobStartIn>(&params).await {
            Ok(started) => {
                let line = match args.output.json {
                    Some(_) => {
                        let (node, job) = (&node.node, started.job);
                        serde_json::json!({"schema": 1, "node": node, "job": job}).to_string()
                    }
                    None => format!("{} {}", node.node, started.job),
                };
                worst = worst.max(crate::print(&format!("{line}\n")));
            }
            Err(error) => {
                failed(&error);
                worst = TRANSPORT;
            }
        }
    }
    worst
}
