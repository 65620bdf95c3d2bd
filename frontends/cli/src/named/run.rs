//! One command in the sessions of its nodes: opened if need be, run, shown, ended by signals.

use super::RunIn;
use super::show::Show;
use crate::args::Args;
use crate::commands::{Signals, failed, warn};
use crate::output::Style;
use crate::{exit, request, say};
use bssh_client::{Core, SessionEvent, Sessions};
use bssh_protocol::exec::{Action, Ended, Targets};
use bssh_protocol::link::StreamSender;
use bssh_protocol::methods::JobStartIn;
use bssh_protocol::session::{
    ExecId, JobStart, SessionExecDone, SessionExecParams, SessionNode, SessionOpenParams, StateUse,
};
use bssh_protocol::stream::Source;
use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;

/// GNU timeout's status.
const TIMED_OUT: u8 = 124;
/// The directory is gone: nothing was run.
const NOT_RUN: u8 = 126;
const TRANSPORT: u8 = 255;
/// Kept for `--json=summary` of each stream unless `--max-output` says otherwise, in bytes.
const SUMMARY: u64 = 1 << 20;

/// Runs it and gives the exit status.
pub(crate) async fn run(core: &Core, args: &Args, run: &RunIn, style: Style) -> u8 {
    let wish = match wish(args, run) {
        Ok(wish) => wish,
        Err(why) => {
            say(&format!("bssh: {why}"));
            return exit::USAGE;
        }
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let sessions = core.sessions();
    let params = SessionOpenParams {
        targets: wish.targets,
        name: Some(run.session.clone()),
        keep: true,
        shell: run.shell.clone(),
        fanout: args.run.fanout,
        forward_agent: args.connect.agent.forwards(),
        agent: args.connect.agent.settings(),
        ..SessionOpenParams::default()
    };
    let opened = match sessions.open(&params).await {
        Ok(opened) => opened,
        Err(error) => return failed(&error),
    };
    if !args.output.quiet {
        warn(&opened.warnings);
    }
    if run.background {
        return background(core, &opened.sessions, &wish.exec.command, args).await;
    }
    let names = opened.sessions.iter().map(|s| s.node.clone()).collect();
    let mut running = Running {
        sessions,
        nodes: opened.sessions,
        by_exec: HashMap::new(),
        done: BTreeMap::new(),
        show: Show::new(args.output.json, names, style, args.output.no_prefix),
    };
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
fn wish(args: &Args, run: &RunIn) -> Result<Wish, String> {
    let o = &args.output;
    let given = [
        (o.gather || o.gather_all, "-b/-B"),
        (o.diff, "--diff"),
        (o.live, "--live"),
        (o.tui, "--tui"),
        (o.output_dir.is_some(), "--output-dir"),
        (args.run.sudo, "--sudo"),
        (args.run.fail_fast.is_some(), "--fail-fast"),
        (!args.run.batch.is_empty(), "--batch"),
        (args.run.retry.is_some(), "--retry"),
        (args.run.exit_code.is_some(), "--exit-code"),
        (args.connect.tty > 0, "-t"),
    ];
    if let Some((_, flag)) = given.iter().find(|(given, _)| *given) {
        return Err(format!("{flag} is not for commands in a session"));
    }
    let mut targets = request::targets(args);
    let mut words = run.words.as_slice();
    if targets.nodes.is_empty() {
        let Some((target, rest)) = words.split_first() else { return Err(USAGE.to_owned()) };
        targets.nodes = target.to_string_lossy().into_owned();
        words = rest;
    }
    if let Some((first, rest)) = words.split_first()
        && first == "--"
    {
        words = rest;
    }
    if words.is_empty() {
        return Err(USAGE.to_owned());
    }
    let Action::Command(command) = request::action(words)? else {
        return Err("a command in a session must be UTF-8".to_owned());
    };
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(format!("--env {text}: want NAME=VALUE")),
    };
    let feeds = !args.run.no_stdin && !std::io::stdin().is_terminal();
    let limit = args.output.max_output;
    let summary = args.output.json == Some(crate::args::Json::Summary);
    let exec = SessionExecParams {
        command,
        state: if run.read { StateUse::Read } else { StateUse::Update },
        cwd: run.cwd.clone(),
        env: run.env.iter().map(pair).collect::<Result<_, _>>()?,
        stdin: if feeds { Source::Stream } else { Source::Null },
        timeout_ms: args.run.timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        max_output: limit.or(summary.then_some(SUMMARY)),
        private: run.private,
        ..SessionExecParams::default()
    };
    Ok(Wish { targets, exec })
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
        while self.done.len() < self.nodes.len() {
            let event = tokio::select! {
                event = self.sessions.next() => event,
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
                        self.done.insert(n, done);
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

fn status(done: &SessionExecDone, interrupted: bool) -> u8 {
    match &done.failure {
        Some(failure) if failure.code == "cwdMissing" => NOT_RUN,
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
        for feed in feeds {
            let _ = feed.finish().await;
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
