//! One ssh session from typed words to exit code: configuration, forwards, terminal, command.
//!
//! Bulk bytes do not pass through here: the core writes to our own stdout and stderr, lent to it
//! as descriptors 4 and 5, and reads our stdin (3) unless a keyboard needs the escape filter.

use super::args::{self, Mode, SshArgs};
use super::background::Background;
use super::choice::{start_core, wanted_core};
use super::effective::{Effective, LogLevel, Tty, values};
use super::failed::failed;
use super::forwards::{self, Forwards};
use super::keyboard::{Keyboard, Typed};
use super::local_command::{Held, LocalCommand};
use super::notation::{place, stdio_forward};
use super::stdin::Stdin;
use super::{OURS, acts, background, command_line, complain, control, log, once, query, say};
use crate::Around;
use bssh_client::{Core, Run, RunEvent};
use bssh_protocol::exec::{
    Action, Connected, Ended, ExecParams, Exit, NodeState, PtyRequest, Targets,
};
use bssh_protocol::handshake::LogLevelParams;
use bssh_protocol::methods::{LogSetLevel, NodeResolve};
use bssh_protocol::node::{ExplainParams, Explained};
use bssh_protocol::stream::{Sink, Source};
use bssh_term::{Signal, Signals, put};
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use tokio::signal::unix::{self, SignalKind};

/// Our own stdin, stdout and stderr, lent to the core.
const STDIN: i32 = 0;
const STDOUT: i32 = 1;
const STDERR: i32 = 2;

/// Runs a session and gives its exit code; errors have been shown.
pub(crate) async fn run(words: &[OsString], around: &Around) -> u8 {
    let mut args = match args::parse(words.iter().cloned()) {
        Ok(args) => args,
        Err(error) => return fail(&error),
    };
    match &args.mode {
        Mode::Version => {
            say(&format!("bssh {}, SSH protocol 2.0\n", env!("CARGO_PKG_VERSION")));
            return 0;
        }
        Mode::Query(what) => return answer_query(what),
        Mode::Run | Mode::PrintConfig | Mode::Control(_) => {}
    }
    let again = around.environment.background != Background::No;
    let _kept = match once::keep(&mut args.settings.ssh_config, again) {
        Ok(kept) => kept,
        Err(why) => return fail(&why),
    };
    match session(&args, words, around).await {
        Ok(code) => code,
        Err(Trouble { quiet: true, .. }) => OURS,
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
    complain(&format!("bssh: {message}\n"));
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
    if crate::print(text) == 0 { 0 } else { OURS }
}

async fn session(args: &SshArgs, words: &[OsString], around: &Around) -> Result<u8, Trouble> {
    let core = start_core(args, around, around.persist.clone()?).await?;
    let explained = resolve(&core, args).await?;
    if args.mode == Mode::PrintConfig {
        let lines = explained.values.iter().map(|v| format!("{} {}\n", v.keyword, v.value));
        return Ok(print(&lines.collect::<String>()));
    }
    for facility in values(&explained.values, "syslogfacility") {
        log::set_facility(&facility.value);
    }
    let effective = Effective::new(args, &explained.values)?;
    let quiet = effective.log_level < LogLevel::Error;
    // The command line's own level is the core's already.
    if args.log_level().is_none() && effective.log_level != LogLevel::Info {
        let level = LogLevelParams { level: effective.log_level.name().to_owned() };
        // What is asked for next comes after it, and its answer says nothing.
        core.link().ask::<LogSetLevel>(&level);
    }
    // The copy in the background has nothing new to say.
    let warned = around.environment.background != Background::No || quiet;
    for warning in explained.warnings.iter().filter(|_| !warned) {
        say(&format!("bssh: {warning}\n"));
    }
    if effective.background && around.environment.background == Background::No {
        drop(core);
        let holds = effective.action == Action::Hold && args.stdio_forward.is_none();
        return background::detach(words, holds).map_err(|e| e.to_string().into());
    }
    let core = wanted_core(core, args, around, &explained).await?;
    let targets = targets(args, &effective);
    if let Mode::Control(asked) = args.mode
        && let Some(code) =
            control::control(&core, (args, asked), &effective, targets.clone()).await
    {
        return Ok(code);
    }
    let cannot = |error| format!("cannot listen for signals: {error}");
    let mut signals = Signals::listen().map_err(cannot)?;
    let resized = unix::signal(SignalKind::window_change()).map_err(cannot)?;
    let pty = wants_pty(&effective);
    let local = explained.local_command.as_deref();
    let held = tokio::select! {
        held = ahead(&core, &effective, &targets, (local, around)) => held?,
        // Whoever asks something at the terminal puts it in order again.
        signal = signals.next() => {
            bssh_term::die_of(signal.number().into());
            return Ok(OURS);
        }
    };
    let held = match held {
        Held::Ended(code) => return Ok(code),
        Held::Nothing => None,
        Held::Connection(run) => Some(run),
    };
    let params =
        params(args, &effective, targets.clone(), pty.then(|| around.environment.term.clone()))?;
    let run = core.exec(params).await.map_err(|e| e.advised())?;
    let session = Session {
        core: &core,
        effective: &effective,
        around,
        targets,
        run,
        pty,
        level: effective.log_level,
        signals,
        forwards: Forwards::of(control::stays(&core, &explained.values), &effective),
        stdin: Stdin::None,
        begun: held.is_some() || !effective.forwards.is_empty(),
        keyboard: None,
    };
    let stay = session.forwards == Forwards::Stay;
    let code = session.drive(resized).await;
    drop(held);
    if stay {
        // A core that has gone keeps nothing.
        let _ = control::leave_forwards(&core).await;
    }
    Ok(code)
}

/// What comes before the session: forwards, and the local command.
async fn ahead(
    core: &Core,
    effective: &Effective,
    targets: &Targets,
    (local, around): (Option<&str>, &Around),
) -> Result<Held, Trouble> {
    let quiet = effective.log_level < LogLevel::Error;
    let opened = forwards::open(core, effective, targets).await;
    opened.map_err(|message| Trouble { message, quiet })?;
    let before = LocalCommand { text: local, shell: around.environment.shell.as_deref() };
    Ok(before.run(core, effective, targets).await?)
}

fn targets(args: &SshArgs, effective: &Effective) -> Targets {
    let mut settings = args.settings.clone();
    // Decided with the command in view, which the plan of a connection does not have. What is typed
    // is the node's: there is nobody to ask beside a session.
    let typed = !effective.stdin_null && effective.action != Action::Hold;
    let update = match effective.update_host_keys.as_str() {
        "ask" if typed && io::stdin().is_terminal() => "no",
        update => update,
    };
    settings.options.insert(0, format!("UpdateHostKeys={update}"));
    let destination = Some(args.destination.clone());
    Targets { destination, settings, ..Targets::default() }
}

async fn resolve(core: &Core, args: &SshArgs) -> Result<Explained, String> {
    let command = args.command.as_ref().map(|c| String::from_utf8_lossy(c).into_owned());
    let params = ExplainParams {
        node: args.destination.clone(),
        literal: true,
        command,
        keywords: (args.mode != Mode::PrintConfig).then(Effective::keywords),
        settings: args.settings.clone(),
    };
    core.call::<NodeResolve>(&params).await.map_err(|e| e.advised())
}

/// ssh's rule: a terminal only if stdin is one, unless it was asked for twice.
fn wants_pty(effective: &Effective) -> bool {
    let local = io::stdin().is_terminal() && !effective.stdin_null;
    match effective.tty {
        Tty::No => false,
        Tty::Forced => true,
        Tty::Usual | Tty::Wanted => {
            if !local && effective.log_level >= LogLevel::Info {
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
        Some(to) => {
            let (host, port) = stdio_forward(to)?;
            Action::Dial { host, port }
        }
        None => effective.action.clone(),
    };
    let stdin = match (&pty, effective.stdin_null || action == Action::Hold) {
        (_, true) => Source::Null,
        (Some(_), false) => Source::Stream,
        (None, false) => Source::Fd(STDIN),
    };
    let (stdout, stderr) = match action {
        Action::Hold => (Sink::Discard, Sink::Discard),
        _ => (Sink::Fd(STDOUT), Sink::Fd(STDERR)),
    };
    Ok(ExecParams {
        targets,
        action,
        stdin,
        stdout,
        stderr,
        pty: pty.map(pty_request),
        timeout_ms: Some(0),
        guard: Some(false),
        forward_agent: effective.agent,
        ..ExecParams::default()
    })
}

/// As ssh asks for it: where nothing is known nothing is made up.
fn pty_request(term: String) -> PtyRequest {
    let like = bssh_term::terminal(&term, (0, 0));
    PtyRequest { term, ..like }
}

/// A session under way.
struct Session<'a> {
    core: &'a Core,
    effective: &'a Effective,
    around: &'a Around,
    targets: Targets,
    run: Run,
    pty: bool,
    /// `LogLevel`, until `~v` or `~V` change it.
    level: LogLevel,
    signals: Signals,
    forwards: Forwards,
    stdin: Stdin,
    /// We are logged in: until then a signal ends us as if nobody listened.
    begun: bool,
    keyboard: Option<Keyboard>,
}

/// The one closed set of things that can happen to a session.
enum Happening {
    Run(Option<RunEvent>),
    Typed(Typed),
    Signal(Signal),
    Resized,
}

impl Session<'_> {
    async fn drive(mut self, mut resized: unix::Signal) -> u8 {
        loop {
            let happening = tokio::select! {
                event = self.run.next() => Happening::Run(event),
                typed = typed(&mut self.keyboard), if !self.stdin.is_busy() => {
                    Happening::Typed(typed)
                }
                () = self.stdin.written() => continue,
                signal = self.signals.next() => Happening::Signal(signal),
                _ = resized.recv() => Happening::Resized,
            };
            let over = match happening {
                Happening::Run(event) => self.on_event(event).await,
                Happening::Typed(typed) => self.on_typed(typed).await,
                Happening::Resized => {
                    self.resize().await;
                    None
                }
                Happening::Signal(signal) => Some(self.killed(signal)),
            };
            if let Some(code) = over {
                return code;
            }
        }
    }

    /// Without a command, SIGTERM is the way it is meant to end.
    fn killed(&mut self, signal: Signal) -> u8 {
        self.leave_terminal(true);
        if !self.begun {
            bssh_term::die_of(signal.number().into());
        }
        if self.effective.action == Action::Hold && signal == Signal::Terminate {
            return 0;
        }
        self.note(LogLevel::Verbose, &format!("Killed by signal {}.\r\n", signal.number()));
        OURS
    }

    async fn on_event(&mut self, event: Option<RunEvent>) -> Option<u8> {
        match event {
            Some(RunEvent::Node(event)) => match event.state {
                NodeState::Connected(how) => self.connected(&event.node, &how),
                NodeState::Executing { no_pty, .. } if self.pty => self.take_terminal(!no_pty),
                NodeState::Ended(ended) => Some(self.ended(&event.node, &ended).await),
                _ => None,
            },
            Some(RunEvent::Data { .. } | RunEvent::End { .. }) => None,
            Some(RunEvent::Lost(how)) => {
                self.leave_terminal(true);
                Some(fail(&how))
            }
            Some(RunEvent::Done(_)) | None => Some(OURS),
        }
    }

    /// Only now: until here the terminal belonged to questions, and Ctrl-C to us. A node that gives
    /// none leaves ours as it is, or is not what was asked for.
    fn take_terminal(&mut self, given: bool) -> Option<u8> {
        if !given {
            if self.level >= LogLevel::Error {
                complain("PTY allocation request failed on channel 0\r\n");
            }
            if self.effective.tty != Tty::Usual {
                return Some(OURS);
            }
        }
        self.stdin = Stdin::of(self.run.stdin());
        match Keyboard::open(self.effective, given) {
            Ok(keyboard) => self.keyboard = Some(keyboard),
            Err(error) => return Some(fail(&format!("cannot read the keyboard: {error}"))),
        }
        None
    }

    /// Gives the terminal back. `undo`: the node cannot clean up after itself any more.
    fn leave_terminal(&mut self, undo: bool) -> bool {
        let had_terminal = self.keyboard.take().is_some();
        if undo && had_terminal && io::stdout().is_terminal() {
            put(bssh_term::UNDO.as_bytes());
        }
        had_terminal
    }

    fn connected(&mut self, node: &str, how: &Connected) -> Option<u8> {
        self.begun = true;
        self.around.prompter.set_fatal(false);
        if !how.reused {
            let (place, method) = (place(&how.address), &how.auth);
            let text = format!("Authenticated to {node} ({place}) using \"{method}\".\r\n");
            self.note(LogLevel::Verbose, &text);
        }
        let talks = self.level >= LogLevel::Debug1;
        let leave = || background::leave(self.around.environment.background, talks);
        match self.effective.background.then(leave) {
            Some(Err(error)) => Some(fail(&format!("cannot go to the background: {error}"))),
            _ => None,
        }
    }

    /// Says how it ended, as ssh does, and gives the exit code.
    async fn ended(&mut self, node: &str, ended: &Ended) -> u8 {
        let had_terminal = self.leave_terminal(ended.failure.is_some());
        if let Some(failure) = &ended.failure {
            return failed(self.effective, node, failure);
        }
        if self.forwards == Forwards::Ours {
            tokio::select! {
                // A core that is gone carries nothing either.
                _ = acts::see_through(self.core) => {}
                signal = self.signals.next() => return self.killed(signal),
            }
        }
        if had_terminal {
            self.note(
                LogLevel::Info,
                &format!("Connection to {} closed.\r\n", self.effective.host),
            );
        }
        match &ended.exit {
            Some(Exit::Status(status)) => {
                self.note(LogLevel::Debug1, &format!("debug1: Exit status {status}\r\n"));
                u8::try_from(status & 0xff).unwrap_or(OURS)
            }
            // ssh has no status to give for a command that a signal ended.
            Some(Exit::Signal(_)) => OURS,
            None => 0,
        }
    }

    async fn on_typed(&mut self, typed: Typed) -> Option<u8> {
        match typed {
            Typed::Bytes(bytes) => self.stdin.write(bytes),
            Typed::End => {
                if let Some(stdin) = self.stdin.take() {
                    let _ = stdin.finish().await;
                }
            }
            Typed::Disconnect => {
                self.leave_terminal(true);
                let host = &self.effective.host;
                self.note(LogLevel::Info, &format!("Connection to {host} closed.\r\n"));
                return Some(OURS);
            }
            // What was resized meanwhile was told to whoever had the terminal.
            Typed::Resumed => self.resize().await,
            Typed::ListForwards => acts::list_forwards(self.core).await,
            Typed::Rekey => acts::rekey(self.core, self.run.started.run).await,
            Typed::Verbosity(up, typed) => {
                self.level = acts::verbosity(self.core, self.level, up, &typed).await;
            }
            Typed::Background => {
                self.leave_terminal(false);
                let done =
                    acts::background(self.core, self.run.started.run, self.stdin.take()).await;
                return Some(done.map_or_else(|error| fail(&error.advised()), |()| 0));
            }
            Typed::Command(line) => {
                if self.forwards == Forwards::None {
                    self.forwards = Forwards::Ours;
                }
                command_line::run(self.core, &self.targets, &line).await;
            }
        }
        None
    }

    async fn resize(&self) {
        if let (Some(_), Some(size)) = (&self.keyboard, bssh_term::size(io::stdin().as_fd())) {
            // A run that is over has no terminal to resize.
            let _ = self.run.resize(size.cols, size.rows).await;
        }
    }

    fn note(&self, level: LogLevel, text: &str) {
        if self.level >= level {
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
