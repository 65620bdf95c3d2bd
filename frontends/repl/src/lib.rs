//! The REPL: a line runs on all active nodes, each of which has a shell state of its own.
//!
//! A plain frontend: everything it does goes through the protocol, and the core owns the nodes'
//! sessions. The walk of a line: `input` (typed, in a thread of its own) → `words` (what it
//! means) → `session` (the loop: events of nodes, commands, signals) → `collect` (what they
//! said) → `show`. `:shell` leaves it for a raw terminal (`shell`) and comes back. `commands`,
//! `files`, `sync` and `acts` do what is not for the nodes' shells; `complete` is Tab and colours, `paint`
//! the colours of the configuration.

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

use bssh_client::{Core, Persist, Start};
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::exec::Targets;
use bssh_protocol::methods::{GroupResolve, SessionConfigured};
use bssh_protocol::node::ResolveParams;
use bssh_term::Look;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

/// What a REPL is made of; the command line has read it.
pub struct Plan {
    pub targets: Targets,
    pub start: Start,
    /// Which core it wants.
    pub persist: Persist,
    pub look: Look,
    /// `TERM`
    pub term: String,
    /// Where the history goes; none: nowhere.
    pub history: Option<PathBuf>,
    /// How many nodes are connected to at once.
    pub fanout: Option<u32>,
    /// The configuration's session it begins as.
    pub session: Option<String>,
    /// A plain shell on the one node instead; none: what the configuration says.
    pub single: Option<bool>,
    /// Forward the local agent, and how.
    pub forward_agent: bool,
    pub agent: Option<AgentSettings>,
}

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
pub async fn run(plan: Plan) -> u8 {
    let _settings = Settings::save();
    let Plan { start, persist, look, term, history, fanout, single, session, .. } = plan;
    let mut targets = plan.targets;
    let agent = (plan.forward_agent, plan.agent);
    let only_configured = single.is_none();
    let core = match Core::obtain(start, persist).await {
        Ok(core) => core,
        Err(error) => {
            say(&format!("bssh: {error}"));
            return 1;
        }
    };
    let timeout = match aim(&core, &mut targets, session.as_deref()).await {
        Ok(timeout) => timeout,
        Err(why) => {
            say(&format!("bssh: {why}"));
            return 2;
        }
    };
    let status = match core.call::<SessionConfigured>(&targets).await {
        Ok(configured) => {
            let wanted = configured.default_mode.as_deref() == Some("singleNode");
            let single = single.unwrap_or(wanted && is_one(&core, &targets).await);
            if single {
                shell::shell(&core, targets, &term, agent).await.unwrap_or_else(|why| {
                    say(&format!("bssh: {why}"));
                    255
                })
            } else {
                let one_at_a_time = wanted && only_configured;
                let wishes = session::Wishes {
                    targets,
                    look,
                    term,
                    history,
                    fanout,
                    session,
                    timeout,
                    one_at_a_time,
                    configured,
                    agent,
                };
                session::session(&core, wishes).await
            }
        }
        Err(error) => {
            say(&format!("bssh: {}", error.message));
            2
        }
    };
    // The status is known; a core that hangs must not hold it back.
    let _ = tokio::time::timeout(LEAVE, core.close()).await;
    status
}

/// A session of the configuration has its nodes, unless others are given; gives its time limit.
///
/// # Errors
/// There is none of this name.
async fn aim(
    core: &Core,
    targets: &mut Targets,
    session: Option<&str>,
) -> Result<Option<Duration>, String> {
    let Some(name) = session else { return Ok(None) };
    let found = core.defined(&targets.settings, name).await.map_err(|error| error.message)?;
    let missing = || format!("no session is called \"{name}\"\nhint: sessions: names them");
    let defined = found.ok_or_else(missing)?;
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

/// A line for people on stderr. A stderr that is gone cannot be told about.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
