//! One ssh session from typed words to exit code: configuration, forwards, terminal, command.
//!
//! Bulk bytes do not pass through here: the core writes to our own stdout and stderr, lent to it
//! as descriptors 4 and 5, and reads our stdin (3) unless a keyboard needs the escape filter.

use super::args::{self, Mode, SshArgs};
use super::effective::{Effective, LogLevel, Tty};
use super::keyboard::{Keyboard, Typed};
use super::{background, query, say};
use bssh_client::{Core, Prompter, Run, RunEvent, Start};
use bssh_protocol::exec::{Action, Ended, ExecParams, Exit, NodeState, PtyRequest, Targets};
use bssh_protocol::forward::ForwardParams;
use bssh_protocol::link::StreamSender;
use bssh_protocol::methods::{ForwardList, ForwardOpen, NodeResolve};
use bssh_protocol::node::{ExplainParams, Explained};
use bssh_protocol::stream::{Sink, Source};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code of everything that is not the remote command's, as ssh has it.
const OURS: u8 = 255;
const STDIN: i32 = 3;
const STDOUT: i32 = 4;
const STDERR: i32 = 5;

/// What a session needs to know about its surroundings.
pub(crate) struct Surroundings {
    /// This executable.
    pub program: PathBuf,
    /// Another core than this executable (`BSSH_CORE`).
    pub core: Option<PathBuf>,
    /// `TERM`.
    pub term: String,
    /// We are the copy that `-f` made; see [`background`].
    pub in_background: bool,
    pub prompter: Arc<dyn Prompter>,
}

/// Runs a session and gives its exit code; errors have been shown.
pub(crate) async fn run(words: &[OsString], around: &Surroundings) -> u8 {
    let args = match args::parse(words.iter().cloned()) {
        Ok(args) => args,
        Err(error) => return fail(&error),
    };
    match &args.mode {
        Mode::Version => {
            say(&format!("bssh {}, SSH protocol 2.0\n", env!("CARGO_PKG_VERSION")));
            return 0;
        }
        Mode::Query(what) => return answer_query(what),
        Mode::Run | Mode::PrintConfig => {}
    }
    match session(&args, words, around).await {
        Ok(code) => code,
        Err(Trouble { message, quiet: true }) if !message.is_empty() => OURS,
        Err(Trouble { message, .. }) => fail(&message),
    }
}

/// Why there is no session; `quiet` when the user asked for silence.
struct Trouble {
    message: String,
    quiet: bool,
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Trouble { message, quiet: false }
    }
}

fn fail(message: &str) -> u8 {
    if !message.is_empty() {
        say(&format!("bssh: {message}\n"));
    }
    OURS
}

fn answer_query(what: &str) -> u8 {
    match query::answer(what) {
        Some(lines) => print(&(lines.join("\n") + "\n")),
        None => fail(&format!("unsupported query \"{what}\"; -Q help lists the queries")),
    }
}

/// Payload on stdout.
fn print(text: &str) -> u8 {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => OURS,
    }
}

async fn session(args: &SshArgs, words: &[OsString], around: &Surroundings) -> Result<u8, Trouble> {
    let core = start_core(args, around).await?;
    let explained = resolve(&core, args).await?;
    if args.mode == Mode::PrintConfig {
        let lines = explained.values.iter().map(|v| format!("{} {}\n", v.keyword, v.value));
        return Ok(print(&lines.collect::<String>()));
    }
    let effective = Effective::new(args, &explained.values)?;
    let quiet = effective.log_level < LogLevel::Error;
    for warning in explained.warnings.iter().filter(|_| effective.log_level >= LogLevel::Error) {
        say(&format!("bssh: {warning}\n"));
    }
    if effective.background && !around.in_background {
        drop(core);
        return background::detach(&around.program, words).map_err(|e| e.to_string().into());
    }
    let targets = Targets {
        destination: Some(args.destination.clone()),
        settings: args.settings.clone(),
        ..Targets::default()
    };
    open_forwards(&core, &effective, &targets)
        .await
        .map_err(|message| Trouble { message, quiet })?;
    let pty = wants_pty(&effective);
    let params = params(args, &effective, targets, pty.then(|| around.term.clone()))?;
    let run = core.exec(params).await.map_err(|e| e.to_string())?;
    let mut session =
        Session { core: &core, effective: &effective, run, stdin: None, keyboard: None };
    if pty {
        session.stdin = session.run.stdin();
        let keyboard = Keyboard::open(effective.escape);
        session.keyboard = Some(keyboard.map_err(|e| format!("cannot read the keyboard: {e}"))?);
    }
    Ok(session.drive().await)
}

async fn start_core(args: &SshArgs, around: &Surroundings) -> Result<Core, String> {
    let level = match (args.quiet, args.verbose) {
        (true, _) => "quiet",
        (_, 0) => "info",
        (_, 1) => "debug1",
        (_, 2) => "debug2",
        _ => "debug3",
    };
    let start = Start {
        program: around.core.clone(),
        arguments: vec!["--log".into(), level.into()],
        lend_stdio: true,
        prompter: around.prompter.clone(),
        ..Start::default()
    };
    Core::start(start).await.map_err(|e| e.to_string())
}

async fn resolve(core: &Core, args: &SshArgs) -> Result<Explained, String> {
    let command = args.command.as_ref().map(|c| String::from_utf8_lossy(c).into_owned());
    let params = ExplainParams {
        node: args.destination.clone(),
        literal: true,
        command,
        settings: args.settings.clone(),
    };
    core.call::<NodeResolve>(&params).await.map_err(|e| {
        let hint = e.data.as_ref().and_then(|d| d.hint.as_ref());
        hint.map_or_else(|| e.to_string(), |hint| format!("{e}\nhint: {hint}"))
    })
}

/// A forward that cannot listen is a warning, unless `ExitOnForwardFailure`.
async fn open_forwards(core: &Core, effective: &Effective, to: &Targets) -> Result<(), String> {
    for (kind, spec) in &effective.forwards {
        let params = ForwardParams {
            targets: to.clone(),
            kind: *kind,
            spec: spec.clone(),
            ..ForwardParams::default()
        };
        match core.call::<ForwardOpen>(&params).await {
            Ok(opened) if spec.starts_with("0:") && effective.log_level >= LogLevel::Info => {
                say(&format!("Allocated port {} for {spec}\n", opened.bound));
            }
            Ok(_) => {}
            Err(error)
                if error.kind().starts_with("forward.") && !effective.exit_on_forward_failure =>
            {
                if effective.log_level >= LogLevel::Error {
                    say(&format!("bssh: {error}\n"));
                }
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// ssh's rule: a terminal only if stdin is one, unless it was asked for twice.
fn wants_pty(effective: &Effective) -> bool {
    let local = io::stdin().is_terminal() && !effective.stdin_null;
    match effective.tty {
        Tty::No => false,
        Tty::Forced => true,
        Tty::Wanted { asked } => {
            if asked && !local && effective.log_level >= LogLevel::Info {
                say("Pseudo-terminal will not be allocated because stdin is not a terminal.\r\n");
            }
            local
        }
    }
}

fn params(
    args: &SshArgs,
    effective: &Effective,
    targets: Targets,
    pty: Option<String>,
) -> Result<ExecParams, String> {
    let action = match &args.stdio_forward {
        Some(to) => dial(to)?,
        None => effective.action.clone(),
    };
    let stdin = match (&pty, effective.stdin_null || action == Action::Hold) {
        (_, true) => Source::Null,
        (Some(_), false) => Source::Stream,
        (None, false) => Source::Fd(STDIN),
    };
    Ok(ExecParams {
        targets,
        action,
        stdin,
        stdout: Sink::Fd(STDOUT),
        stderr: Sink::Fd(STDERR),
        pty: pty.map(pty_request),
        timeout_ms: Some(0),
        guard: Some(false),
        forward_agent: effective.agent,
        ..ExecParams::default()
    })
}

/// `-W host:port`, brackets around an IPv6 address.
fn dial(to: &str) -> Result<Action, String> {
    let bad = || format!("bad stdio forwarding specification \"{to}\": want host:port");
    let (host, port) = to.rsplit_once(':').ok_or_else(bad)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match port.parse() {
        Ok(port) if port > 0 && !bare.is_empty() => {
            Ok(Action::Dial { host: bare.to_owned(), port })
        }
        _ => Err(bad()),
    }
}

fn pty_request(term: String) -> PtyRequest {
    let (stdin, size) = (io::stdin(), bssh_term::size(io::stdin().as_fd()));
    PtyRequest {
        term,
        cols: size.map_or(0, |s| s.cols),
        rows: size.map_or(0, |s| s.rows),
        px_width: size.map_or(0, |s| s.px_width),
        px_height: size.map_or(0, |s| s.px_height),
        modes: bssh_term::modes(stdin.as_fd()).unwrap_or_default(),
    }
}

/// A session under way.
struct Session<'a> {
    core: &'a Core,
    effective: &'a Effective,
    run: Run,
    stdin: Option<StreamSender>,
    keyboard: Option<Keyboard>,
}

/// The one closed set of things that can happen to a session.
enum Happening {
    Run(Option<RunEvent>),
    Typed(Typed),
    Resized,
    Killed(&'static str),
}

impl Session<'_> {
    async fn drive(mut self) -> u8 {
        let Ok(mut signals) = Signals::new() else { return fail("cannot watch for signals") };
        loop {
            let happening = tokio::select! {
                event = self.run.next() => Happening::Run(event),
                typed = typed(&mut self.keyboard) => Happening::Typed(typed),
                happening = signals.next() => happening,
            };
            let over = match happening {
                Happening::Run(event) => self.on_event(event),
                Happening::Typed(typed) => self.on_typed(typed).await,
                Happening::Resized => {
                    self.resize().await;
                    None
                }
                Happening::Killed(signal) => {
                    self.keyboard = None;
                    self.note(LogLevel::Info, &format!("Killed by signal {signal}.\r\n"));
                    Some(OURS)
                }
            };
            if let Some(code) = over {
                return code;
            }
        }
    }

    fn on_event(&mut self, event: Option<RunEvent>) -> Option<u8> {
        match event {
            Some(RunEvent::Node(event)) => match event.state {
                NodeState::Connected(_) => self.connected(),
                NodeState::Ended(ended) => Some(self.ended(&event.node, &ended)),
                _ => None,
            },
            Some(RunEvent::Data { .. } | RunEvent::End { .. }) => None,
            Some(RunEvent::Lost(how)) => {
                self.keyboard = None;
                Some(fail(&how))
            }
            Some(RunEvent::Done(_)) | None => Some(OURS),
        }
    }

    fn connected(&self) -> Option<u8> {
        match self.effective.background.then(background::leave) {
            Some(Err(error)) => Some(fail(&format!("cannot go to the background: {error}"))),
            _ => None,
        }
    }

    /// Says how it ended, as ssh does, and gives the exit code.
    fn ended(&mut self, node: &str, ended: &Ended) -> u8 {
        let had_terminal = self.keyboard.take().is_some();
        if let Some(failure) = &ended.failure {
            let hop = failure.hop.as_ref().map(|h| format!(" (at {h})")).unwrap_or_default();
            let hint = failure.hint.as_ref().map(|h| format!("hint: {h}\r\n")).unwrap_or_default();
            let text = format!("bssh: {node}{hop}: {}\r\n{hint}", failure.message);
            self.note(LogLevel::Error, &text);
            return OURS;
        }
        if had_terminal {
            self.note(
                LogLevel::Info,
                &format!("Connection to {} closed.\r\n", self.effective.host),
            );
        }
        match &ended.exit {
            Some(Exit::Status(status)) => u8::try_from(status & 0xff).unwrap_or(OURS),
            // ssh has no status to give for a command that a signal ended.
            Some(Exit::Signal(_)) => OURS,
            None => 0,
        }
    }

    async fn on_typed(&mut self, typed: Typed) -> Option<u8> {
        match typed {
            Typed::Bytes(bytes) => {
                if let Some(stdin) = &mut self.stdin {
                    // A node that has stopped reading ends the run by itself.
                    let _ = stdin.write(bytes).await;
                }
            }
            Typed::End => {
                if let Some(stdin) = self.stdin.take() {
                    let _ = stdin.finish().await;
                }
            }
            Typed::Disconnect => {
                self.keyboard = None;
                let host = &self.effective.host;
                self.note(LogLevel::Info, &format!("Connection to {host} closed.\r\n"));
                return Some(OURS);
            }
            Typed::ListForwards => self.list_forwards().await,
        }
        None
    }

    async fn list_forwards(&self) {
        let forwards = self.core.call::<ForwardList>(&Default::default()).await;
        say("The following forwards are open:\r\n");
        for f in forwards.map(|list| list.forwards).unwrap_or_default() {
            let (bound, open) = (&f.bound, f.connections);
            say(&format!("  {bound} {:?} {} ({open} connections)\r\n", f.kind, f.spec));
        }
    }

    async fn resize(&self) {
        if let (Some(_), Some(size)) = (&self.keyboard, bssh_term::size(io::stdin().as_fd())) {
            // A run that is over has no terminal to resize.
            let _ = self.run.resize(size.cols, size.rows).await;
        }
    }

    fn note(&self, level: LogLevel, text: &str) {
        if self.effective.log_level >= level {
            say(text);
        }
    }
}

async fn typed(keyboard: &mut Option<Keyboard>) -> Typed {
    match keyboard {
        Some(keyboard) => keyboard.next().await,
        None => std::future::pending().await,
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resize: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            resize: signal(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> Happening {
        tokio::select! {
            _ = self.interrupt.recv() => Happening::Killed("2"),
            _ = self.terminate.recv() => Happening::Killed("15"),
            _ = self.hangup.recv() => Happening::Killed("1"),
            _ = self.resize.recv() => Happening::Resized,
        }
    }
}
