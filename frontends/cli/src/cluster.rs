//! The cluster grammar from words to exit status.

use crate::args::{Args, ColorWhen, ConfigVerb, Sub};
use crate::commands::{self, Ui};
use crate::last::LastRun;
use crate::request::{self, Mode, Terminals};
use crate::shared_verbs::SharedVerb;
use crate::verbs::ForwardVerb;
use crate::{
    Around, completion, exit, files, help, last, named, persist, print, refused, say, terminals,
    tui, via_args,
};
use bssh_client::{Core, Persist, ReplPlan, Start};
use bssh_protocol::methods::GroupList;
use bssh_protocol::node::GroupListParams;
use bssh_term::ColorChoice;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

/// How long a core may take to end after its last answer.
const LEAVE: Duration = Duration::from_secs(2);

/// How long a shared core stays that was started for a detached job, after its end: long enough
/// to ask for its output.
const DETACHED: Persist = Persist::For(Some(Duration::from_secs(3600)));

/// Runs a command of the cluster grammar, with a core that was started already or a new one.
pub(crate) async fn run(words: &[OsString], around: &Around, core: Option<Core>) -> u8 {
    let mut args = match parse(words) {
        Ok(args) => args,
        Err(status) => return status,
    };
    let last = around.environment.state.as_deref().map(LastRun::new);
    for expr in args.exprs_mut() {
        *expr = last.as_ref().map_or_else(|| expr.clone(), |last| last.expand(expr));
    }
    let here = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let why = via_args::refused(&args).or_else(|| refused::refused(&args, here));
    if let Some(why) = why.or_else(|| request::nameless(&args)) {
        return wrong(&why);
    }
    match &args.subcommand {
        Some(Sub::Completions { shell }) => return print(&completion::script(*shell)),
        Some(Sub::Man { page, dir }) => return man(page.as_deref(), dir.as_deref()),
        Some(Sub::Help { names }) => return about(names),
        Some(Sub::Run(run)) => {
            drop(core);
            return in_session(&args, around, Some(run)).await;
        }
        Some(Sub::Session { .. }) => return in_session(&args, around, None).await,
        Some(Sub::Shared(verb)) => return shared(verb, &args, around).await,
        Some(Sub::Repl { single_node, multiplex, session }) => {
            drop(core);
            let persist = match wanted(&args, around) {
                Ok(wanted) => wanted.unwrap_or_default(),
                Err(status) => return status,
            };
            let environment = &around.environment;
            let plan = ReplPlan {
                targets: request::targets(&args),
                start: around.starting("cli"),
                persist,
                term: environment.term.clone(),
                history: environment.state.as_ref().map(|dir| dir.join("bssh/history")),
                fanout: args.run.fanout,
                session: session.clone(),
                single: (*single_node || *multiplex).then_some(*single_node),
                agent: (args.connect.agent.forwards(), args.connect.agent.settings()),
            };
            let look = around.look(color(&args), std::io::stdout().is_terminal());
            return (around.repl)(plan, look).await;
        }
        None if args.words.is_empty() && args.connect.tty == 0 => {
            say("bssh: no command given\nhint: bssh -H NODES COMMAND…, bssh HOST, or bssh --help");
            return exit::USAGE;
        }
        _ => {}
    }
    let core = match core {
        Some(core) => core,
        None => match start(&args, around).await {
            Ok(core) => core,
            Err(status) => return status,
        },
    };
    let ui = ui(&args, around, last);
    let status = match job_sets(&mut args, &core, around).await {
        Ok(()) => dispatch(&args, &core, &ui, &around.environment.term).await,
        Err(status) => status,
    };
    core.leave(LEAVE).await;
    status
}

/// It is about what a core holds.
fn looks_at_core(args: &Args) -> bool {
    matches!(
        &args.subcommand,
        Some(Sub::Shared(_) | Sub::Forward { verb: ForwardVerb::Ls | ForwardVerb::Close { .. } })
    )
}

/// What is asked of the shared core needs one that runs, and never a child.
async fn shared(verb: &SharedVerb, args: &Args, around: &Around) -> u8 {
    let json = args.output.json.is_some();
    match verb {
        SharedVerb::Core { verb } => {
            commands::shared::core(verb, json, around.starting("cli")).await
        }
        SharedVerb::CacheStats { detailed, clear, maintain } => {
            let wish = match (clear, maintain) {
                (true, _) => commands::cache::Wish::Clear,
                (_, true) => commands::cache::Wish::Maintain,
                _ => commands::cache::Wish::Show { detailed: *detailed },
            };
            match start(args, around).await {
                Ok(core) => commands::cache::cache(&core, wish, json).await,
                Err(status) => status,
            }
        }
        SharedVerb::Log { last } => match start(args, around).await {
            Ok(core) => commands::shared::log(&core, *last, json).await,
            Err(status) => status,
        },
        SharedVerb::Job { verb } => {
            let core = match commands::shared::running(around.starting("cli")).await {
                Ok(core) => core,
                Err(status) => return status,
            };
            let ui = ui(args, around, None);
            let terminals = Terminals { stdin: true, stdout: ui.style.out_terminal };
            let how = request::how(args, terminals);
            commands::job::job(&core, verb, how, &ui).await
        }
    }
}

/// Puts the nodes of jobs (`@job:3.failed`) in their places.
async fn job_sets(args: &mut Args, core: &Core, around: &Around) -> Result<(), u8> {
    for expr in args.exprs_mut().filter(|expr| expr.contains("@job:")) {
        *expr = last::expand_jobs(expr, core, around.environment.state.as_deref()).await?;
    }
    Ok(())
}

/// What needs the shared core: a command in a session (started if need be), or a look at them.
async fn in_session(args: &Args, around: &Around, run: Option<&named::RunIn>) -> u8 {
    let core = match run {
        None => commands::shared::running(around.starting("cli")).await,
        Some(_) => match wanted(args, around) {
            Ok(wanted) => named::shared_core(around.starting("cli"), wanted).await,
            Err(status) => Err(status),
        },
    };
    let core = match core {
        Ok(core) => core,
        Err(status) => return status,
    };
    let status = match (run, &args.subcommand) {
        (Some(run), _) => {
            named::run(&core, args, run, (ui(args, around, None).style, &around.environment.term))
                .await
        }
        (None, Some(Sub::Session { verb })) => {
            named::look(&core, verb, args.output.json.is_some()).await
        }
        _ => exit::GENERAL,
    };
    core.leave(LEAVE).await;
    status
}

/// A core, if the configuration knows a cluster of this name.
///
/// # Errors
/// It does not, but these.
pub(crate) async fn known(
    words: &[OsString],
    name: &str,
    around: &Around,
) -> Result<Core, Vec<String>> {
    let args = Args::read(words).map_err(|_| Vec::new())?;
    let core = start(&args, around).await.map_err(|_| Vec::new())?;
    let params = GroupListParams { settings: request::settings(&args) };
    let groups = match core.call::<GroupList>(&params).await {
        Ok(list) => list.groups,
        Err(error) => {
            say(&format!("bssh: warning: -C is taken as ssh's: {}", error.advised()));
            return Err(Vec::new());
        }
    };
    let clusters = groups.into_iter().filter(|g| matches!(&*g.source, "cluster" | "backendai"));
    let names: Vec<String> = clusters.map(|g| g.name).collect();
    if names.iter().any(|known| known == name) { Ok(core) } else { Err(names) }
}

async fn dispatch(args: &Args, core: &Core, ui: &Ui, term: &str) -> u8 {
    let words = match &args.subcommand {
        None => Some(&args.words),
        Some(Sub::Exec { words }) => Some(words),
        Some(Sub::Ping) => None,
        Some(Sub::Upload(files)) => {
            return commands::transfer(core, files::request(args, files, true), ui).await;
        }
        Some(Sub::Download(files)) => {
            return commands::transfer(core, files::request(args, files, false), ui).await;
        }
        Some(Sub::Sync(verb)) => return commands::sync(core, args, verb, ui).await,
        Some(Sub::List) => return commands::list(core, args).await,
        Some(Sub::Nodes { verb }) => return commands::nodes(core, args, verb).await,
        Some(Sub::Explain { node }) => return commands::explain(core, args, node).await,
        Some(Sub::Config { verb: ConfigVerb::Check }) => return commands::check(core, args).await,
        Some(Sub::Forward { verb }) => return commands::forward(core, args, verb).await,
        Some(Sub::Gate { verb }) => return commands::gate(core, args, verb).await,
        Some(Sub::Agent { verb }) => return commands::agent(core, args, verb).await,
        Some(
            Sub::Completions { .. }
            | Sub::Man { .. }
            | Sub::Help { .. }
            | Sub::Repl { .. }
            | Sub::Run(_)
            | Sub::Session { .. }
            | Sub::Shared(_),
        ) => {
            return exit::GENERAL;
        }
    };
    let stdin = std::io::stdin().is_terminal();
    match terminals::is_wanted(args, stdin && ui.style.out_terminal) {
        Ok(false) => {}
        Ok(true) => {
            let action = words.filter(|words| !words.is_empty()).map(|w| request::action(w));
            return match action.transpose() {
                Ok(action) => terminals::terminals(core, args, action, (ui, term)).await,
                Err(why) => wrong(&why),
            };
        }
        Err(why) => return wrong(&why),
    }
    let terminals = Terminals { stdin, stdout: ui.style.out_terminal };
    match request::request(args, words.map(Vec::as_slice), terminals, term) {
        Ok(request) if args.connect.shared.detach => commands::job::detach(core, request).await,
        Ok(request) if request.view.mode == Mode::Tui => tui::tui(core, request, ui).await,
        Ok(request) => commands::exec(core, request, ui).await,
        Err(why) => wrong(&why),
    }
}

fn wrong(why: &str) -> u8 {
    say(&format!("bssh: {why}"));
    exit::USAGE
}

/// The arguments, or the status after saying what is wrong with them.
fn parse(words: &[OsString]) -> Result<Args, u8> {
    Args::read(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => print(&help::asked_for(words)),
        ErrorKind::DisplayVersion => print(&error.render().to_string()),
        _ => {
            let text = error.render().to_string();
            say(&format!("bssh: {}", text.strip_prefix("error: ").unwrap_or(&text).trim_end()));
            if let Some(Sub::Ping | Sub::List | Sub::Man { .. }) = subcommand(words) {
                say("hint: to run a command of that name on the nodes, put -- before it");
            }
            exit::USAGE
        }
    })
}

/// The subcommand, if the words up to it are right.
fn subcommand(words: &[OsString]) -> Option<Sub> {
    (1..=words.len()).filter_map(|n| Args::read(words.get(..n)?).ok()?.subcommand).next()
}

async fn start(args: &Args, around: &Around) -> Result<Core, u8> {
    let log_level = match args.output.verbose {
        0 | 1 => None,
        2 => Some("debug1"),
        _ => Some("debug3"),
    };
    let log_level = log_level.map(str::to_owned);
    let start =
        || Start { lend_stdio: true, log_level: log_level.clone(), ..around.starting("cli") };
    // What looks at the user's core means the one that runs, ssh's control master too.
    let wanted = match looks_at_core(args) {
        true => Some(wanted(args, around)?.unwrap_or_default()),
        false => wanted(args, around)?,
    };
    persist::core(start, wanted, || request::settings(args)).await.map_err(|error| {
        say(&format!("bssh: {error}"));
        exit::GENERAL
    })
}

/// Which core the command line or the environment wants; none: neither says.
fn wanted(args: &Args, around: &Around) -> Result<Option<Persist>, u8> {
    let said = around.persist.clone().map_err(|why| {
        say(&format!("bssh: {why}"));
        exit::USAGE
    });
    let wanted = args.connect.shared.persist.or(said?);
    match wanted {
        // A job without a core would have no home.
        None | Some(Persist::IfThere) if args.connect.shared.detach => Ok(Some(DETACHED)),
        Some(Persist::Never) if args.connect.shared.detach => {
            say("bssh: --detach needs a shared core, which --persist or BSSH_PERSIST rules out");
            Err(exit::USAGE)
        }
        wanted => Ok(wanted),
    }
}

fn ui(args: &Args, around: &Around, last: Option<LastRun>) -> Ui {
    Ui { style: around.style(color(args)), prompter: around.prompter.clone(), last }
}

fn color(args: &Args) -> ColorChoice {
    match args.output.color {
        ColorWhen::Auto => ColorChoice::Auto,
        ColorWhen::Always => ColorChoice::Always,
        ColorWhen::Never => ColorChoice::Never,
    }
}

fn man(page: Option<&str>, directory: Option<&Path>) -> u8 {
    let written = match directory {
        Some(directory) => help::write_manual(directory).map(|()| Vec::new()),
        None => help::manual(page),
    };
    match written {
        Ok(text) => print(&String::from_utf8_lossy(&text)),
        Err(error) => {
            say(&format!("bssh: {error}"));
            exit::GENERAL
        }
    }
}

fn about(names: &[String]) -> u8 {
    match help::about(names) {
        Ok(text) => print(&text),
        Err(why) => {
            say(&format!("bssh: {why}"));
            exit::USAGE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_named_like_a_subcommand_is_noticed() {
        let words = ["-H", "a", "ping", "-c1", "b"].map(OsString::from);
        assert!(matches!(subcommand(&words), Some(Sub::Ping)));
        assert_eq!(parse(&words).err(), Some(exit::USAGE));
    }
}
