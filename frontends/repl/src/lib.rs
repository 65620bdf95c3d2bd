//! The REPL: a line runs on all active nodes, each of which has a shell state of its own.
//!
//! A plain frontend: everything it does goes through the protocol, and the core owns the nodes'
//! sessions. The walk of a line: `input` (typed, in a thread of its own) → `words` (what it
//! means) → `session` (the loop: events of nodes, commands, signals) → `collect` (what they
//! said) → `show`. `:shell` leaves it for a raw terminal (`shell`) and comes back. `commands`,
//! `files`, `sync` and `acts` do what is not for the nodes' shells; `complete` is Tab and colours,
//! `paint` the colours of the configuration.

mod acts;
mod collect;
mod commands;
mod complete;
mod files;
mod input;
mod nodes;
mod paint;
mod session;
mod shell;
mod show;
mod sync;
mod words;

use bssh_client::{Core, ReplPlan};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::Targets;
use bssh_protocol::methods::{GroupResolve, SessionConfigured};
use bssh_protocol::node::ResolveParams;
use bssh_term::{Look, say};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use session::Wishes;
use shell::Left;
use std::io::IsTerminal;
use std::time::Duration;

/// How long a core may take to end after its last answer: it ends what runs on the nodes.
const LEAVE: Duration = Duration::from_secs(8);

/// The line editor's raw mode must not outlive us, however we end.
struct Settings(Option<Termios>);

impl Settings {
    fn save() -> Settings {
        let stdin = std::io::stdin();
        Settings(tcgetattr(&stdin).ok().filter(|_| stdin.is_terminal()))
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that has gone needs no restoring.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Runs the REPL and gives the exit status; what went wrong has been said on stderr.
pub async fn run(mut plan: ReplPlan, look: Look) -> u8 {
    let _settings = Settings::save();
    let core = match Core::obtain(std::mem::take(&mut plan.start), plan.persist).await {
        Ok(core) => core,
        Err(error) => {
            say(&format!("bssh: {error}"));
            return 1;
        }
    };
    let status = match begin(&core, plan, look).await {
        Ok(status) => status,
        Err(error) => {
            say(&format!("bssh: {}", error.advised()));
            2
        }
    };
    core.leave(LEAVE).await;
    status
}

/// # Errors
/// What is wrong with the request or the configuration.
async fn begin(core: &Core, mut plan: ReplPlan, look: Look) -> Result<u8, CallError> {
    let timeout = aim(core, &mut plan.targets, plan.session.as_deref()).await?;
    let configured = core.call::<SessionConfigured>(&plan.targets).await?;
    let wanted = configured.default_mode.as_deref() == Some("singleNode");
    // A session of the configuration is more than a plain shell.
    let plain = wanted && plan.session.is_none();
    let single = match plan.single {
        Some(single) => single,
        None => plain && is_one(core, &plan.targets).await,
    };
    if single {
        return Ok(match shell::shell(core, plan.targets, &plan.term, plan.agent).await {
            Ok(Left::Ended(status) | Left::Signal(status)) => status,
            Err(why) => {
                say(&format!("bssh: {why}"));
                255
            }
        });
    }
    let one_at_a_time = wanted && plan.single.is_none();
    let wishes = Wishes { plan, look, timeout, one_at_a_time, configured };
    session::session(core, wishes).await
}

/// A session of the configuration has its nodes, unless others are given; gives its time limit.
///
/// # Errors
/// There is none of this name.
async fn aim(
    core: &Core,
    targets: &mut Targets,
    session: Option<&str>,
) -> Result<Option<Duration>, CallError> {
    let Some(name) = session else { return Ok(None) };
    let missing = || {
        let text = format!("no session is called \"{name}\"");
        CallError::new(Kind::InvalidParams, text).hint("sessions: names them")
    };
    let defined = core.defined(&targets.settings, name).await?.ok_or_else(missing)?;
    if targets.nodes.is_empty() {
        targets.nodes = defined.target;
    }
    Ok(defined.timeout_ms.filter(|ms| *ms > 0).map(Duration::from_millis))
}

/// These targets are one node.
async fn is_one(core: &Core, targets: &Targets) -> bool {
    let params = ResolveParams {
        expr: targets.nodes.clone(),
        exclude: targets.exclude.clone(),
        settings: targets.settings.clone(),
    };
    core.call::<GroupResolve>(&params).await.is_ok_and(|found| found.nodes.len() == 1)
}
