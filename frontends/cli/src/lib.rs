//! The line CLI: ssh grammar and cluster grammar.
//!
//! [`main`] decides which grammar a command line is written in (`grammar`) and hands over to
//! `ssh` (one destination, byte-exact), `sftp` (files of one node, as sftp does) or `cluster`
//! (many nodes). The walk of a cluster command:
//! `args` (what was typed) → `request` (what was meant) → `commands` (what is done) → `output`
//! (what is shown) → `exit` (what the shell gets).

mod agent_args;
mod args;
mod cluster;
mod commands;
mod completion;
#[cfg(test)]
mod documented;
mod environment;
mod exit;
mod files;
mod grammar;
mod help;
mod last;
mod named;
mod output;
mod persist;
mod prompt;
mod refused;
mod request;
mod sftp;
mod shared_verbs;
mod ssh;
mod sync;
mod terminals;
mod tui;
mod verbs;
mod via_args;

use bssh_client::{CoreMain, Persist, ReplPlan, Standby, Start};
use bssh_protocol::handshake::ClientInfo;
pub(crate) use bssh_term::say;
use bssh_term::{ColorChoice, Look, Terminal};
use environment::Environment;
use grammar::Grammar;
use output::Style;
use prompt::TerminalPrompter;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::pin::Pin;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a REPL and gives its exit status.
pub type Repl = fn(ReplPlan, Look) -> Pin<Box<dyn Future<Output = u8>>>;

/// Runs the line CLI with the words of its command line, the program's name first, and returns
/// the exit status. What went wrong has been said on stderr. `repl` runs `bssh repl`, `core` what
/// `bssh core` is. Must be called while this process has one thread.
#[inline(never)] // In the executable's `main` its frame would be paid for by everybody.
pub fn main(words: &[OsString], repl: Repl, core: CoreMain) -> u8 {
    let (program, words) = match words.split_first() {
        Some((program, words)) => (program.as_os_str(), words),
        None => (OsStr::new("bssh"), words),
    };
    let grammar = grammar::decide(program, words);
    // Answered before anything is built: scripts ask for it again and again.
    if grammar != Grammar::Ssh && words.first().is_some_and(|w| w == "-V" || w == "--version") {
        return print(&format!("bssh {}\n", env!("CARGO_PKG_VERSION")));
    }
    if let Grammar::Refused(why) = &grammar {
        say(&format!("bssh: {why}"));
        return exit::USAGE;
    }
    let around = Around::new(repl, core);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("bssh: cannot start: {error}"));
            return exit::GENERAL;
        }
    };
    restore_before_panics();
    let status = runtime.block_on(async {
        // Whoever started us may ignore the end of children: then nobody here would learn it.
        let _children = signal(SignalKind::child());
        choose(grammar, words, &around).await
    });
    // A thread may still wait for an answer at a prompt; it ends with the process.
    runtime.shutdown_background();
    bssh_term::restore();
    status
}

/// A panic's message needs a terminal that is in order, and so does whoever comes after it.
fn restore_before_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tui::leave_screen();
        bssh_term::restore();
        report(panic);
    }));
}

async fn choose(grammar: Grammar, words: &[OsString], around: &Around) -> u8 {
    match grammar {
        Grammar::Cluster => cluster::run(words, around, None).await,
        Grammar::ClusterIfKnown(name) => match cluster::known(words, &name, around).await {
            Ok(core) => cluster::run(words, around, Some(core)).await,
            Err(clusters) => {
                let status = ssh_grammar(words, around).await;
                if status == exit::TRANSPORT && !clusters.is_empty() && !is_host(&name).await {
                    let clusters = clusters.join(", ");
                    say(&format!("hint: {name} is no cluster either; clusters are {clusters}"));
                }
                status
            }
        },
        Grammar::Sftp => sftp::run(words.get(1..).unwrap_or_default(), around).await,
        Grammar::Ssh | Grammar::Refused(_) => ssh_grammar(words, around).await,
    }
}

/// There is a host of this name, as far as can be told without ssh's files.
async fn is_host(name: &str) -> bool {
    let host = name.rsplit_once('@').map_or(name, |(_, host)| host);
    tokio::net::lookup_host((host, 22)).await.is_ok()
}

async fn ssh_grammar(words: &[OsString], around: &Around) -> u8 {
    let words = match words.split_first() {
        Some((first, rest)) if first == "ssh" => rest,
        _ => words,
    };
    around.prompter.set_fatal(true);
    ssh::run(words, around).await
}

/// What every command is handed: the environment, read once, and who answers questions.
pub(crate) struct Around {
    environment: Environment,
    standby: Standby,
    prompter: Arc<TerminalPrompter>,
    /// `BSSH_PERSIST`, or what is wrong with it.
    persist: Result<Option<Persist>, String>,
    repl: Repl,
}

impl Around {
    fn new(repl: Repl, core: CoreMain) -> Self {
        let mut environment = Environment::capture();
        // Before anything else is there: it would be there twice.
        let standby = match environment.wants_no_copy() {
            true => Standby::default(),
            false => Standby::prepare(core),
        };
        let prompter = Arc::new(TerminalPrompter::new(&mut environment));
        let persist = match environment.persist.as_str() {
            "" => Ok(None),
            text => persist::parse(text).map(Some).map_err(|e| format!("BSSH_PERSIST: {e}")),
        };
        Around { environment, standby, prompter, persist, repl }
    }

    /// How to draw on an output.
    fn look(&self, choice: ColorChoice, is_terminal: bool) -> Look {
        let Environment { no_color, force_color, term, locale, .. } = &self.environment;
        let (no_color, force_color) = (*no_color, *force_color);
        Look::new(Terminal { is_terminal, choice, no_color, force_color, term, locale })
    }

    fn style(&self, choice: ColorChoice) -> Style {
        let (out_terminal, err_terminal) =
            (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        let (out, err) = (self.look(choice, out_terminal), self.look(choice, err_terminal));
        Style { out, err, out_terminal, err_terminal }
    }

    /// How a command of this kind starts a core.
    fn starting(&self, kind: &str) -> Start {
        let usual = Start::default();
        Start {
            program: self.environment.core.clone(),
            standby: self.standby.clone(),
            prompter: self.prompter.clone(),
            client: ClientInfo { kind: kind.to_owned(), ..usual.client },
            ..usual
        }
    }
}

/// Payload on stdout, outside of a run. The exit status says whether it was taken.
pub(crate) fn print(text: &str) -> u8 {
    print_bytes(text.as_bytes())
}

/// The same, as it is.
pub(crate) fn print_bytes(bytes: &[u8]) -> u8 {
    bssh_term::try_put(bytes).map_or_else(cannot_print, |()| exit::OK)
}

/// The status for a stdout that cannot be written to. Its reader has gone: no words needed.
pub(crate) fn cannot_print(error: impl Into<std::io::Error>) -> u8 {
    let error = error.into();
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return exit::OUTPUT_CLOSED;
    }
    say(&format!("bssh: stdout: {error}"));
    exit::GENERAL
}
