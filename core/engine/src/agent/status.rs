//! What agent forwarding has done so far, and whether it would work: `agent/status`,
//! `agent/setSocket`, `agent/check`.

use super::Rules;
use super::dial::{AgentLink, socket};
use super::message::{REQUEST_IDENTITIES, identities, printable};
use super::offer::{Wish, rules_for};
use crate::engine::{Caller, Engine};
use crate::plan::Planner;
use crate::pool::Lease;
use bssh_protocol::agent::{
    AgentChannel, AgentCheck, AgentCheckParams, AgentKey, AgentStatus, AgentStatusParams, Bind,
    CheckStep, SetSocket,
};
use bssh_protocol::error::CallError;
use bssh_ssh::{ChannelEvent, Connection, key_fingerprint, key_type};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counters of all agent forwarding of a core.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    opened: AtomicU64,
    pub dial_retries: AtomicU64,
    pub bytes: AtomicU64,
    pub sign_ok: AtomicU64,
    pub sign_denied: AtomicU64,
    /// Other requests the policy has refused.
    pub refused: AtomicU64,
    /// Events so far, and those that nobody took.
    pub events: AtomicU64,
    pub untold: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    socket: Option<PathBuf>,
    bound: Option<bool>,
    error: Option<String>,
    rejections: BTreeMap<&'static str, u64>,
    channels: BTreeMap<u64, Open>,
    /// The next channel's number.
    next: u64,
    /// How long the latest signatures took.
    signatures: VecDeque<Duration>,
}

/// Signatures whose time is kept.
const KEPT: usize = 256;
/// What a check of a node may take.
const CHECK: Duration = Duration::from_secs(30);

/// A channel a node has opened.
#[derive(Debug)]
struct Open {
    node: String,
    stage: Stage,
    since: Instant,
}

/// How far a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Queued,
    Dialing,
    Open,
    Closing,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Dialing => "dialing",
            Stage::Open => "open",
            Stage::Closing => "closing",
        }
    }

    fn is_live(self) -> bool {
        matches!(self, Stage::Open | Stage::Closing)
    }
}

/// A channel's place in the list; dropping it takes it out.
pub(super) struct Entry {
    agents: Arc<Agents>,
    pub number: u64,
}

impl Entry {
    pub(super) fn is_now(&self, stage: Stage) {
        if stage == Stage::Open {
            self.agents.opened.fetch_add(1, Relaxed);
        }
        if let Some(open) = self.agents.told().channels.get_mut(&self.number) {
            open.stage = stage;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.agents.told().channels.remove(&self.number);
    }
}

impl Agents {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket a frontend has set.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        self.told().socket.clone()
    }

    /// A node has opened a channel.
    pub(super) fn enter(self: &Arc<Self>, node: &str) -> Entry {
        let mut told = self.told();
        told.next += 1;
        let number = told.next;
        let open = Open { node: node.to_owned(), stage: Stage::Queued, since: Instant::now() };
        told.channels.insert(number, open);
        Entry { agents: self.clone(), number }
    }

    /// Adds what was counted, and how long signatures took.
    fn add_to(&self, status: &mut AgentStatus, times: &mut Vec<Duration>) {
        let count = |n: &AtomicU64| n.load(Relaxed);
        let told = self.told();
        let live = told.channels.values().filter(|open| open.stage.is_live()).count();
        status.opened += count(&self.opened);
        status.live += live as u64;
        status.queued += (told.channels.len() - live) as u64;
        status.rejected += told.rejections.values().sum::<u64>();
        for (reason, n) in &told.rejections {
            *status.rejections.entry((*reason).to_owned()).or_default() += n;
        }
        status.channels.extend(told.channels.values().map(channel));
        status.dial_retries += count(&self.dial_retries);
        status.bytes += count(&self.bytes);
        status.sign_ok += count(&self.sign_ok);
        status.sign_denied += count(&self.sign_denied);
        status.refused += count(&self.refused);
        let bind = match told.bound {
            Some(true) => "yes",
            Some(false) => "unsupported",
            None => "",
        };
        if !bind.is_empty() {
            bind.clone_into(&mut status.bind);
        }
        status.last_error = told.error.clone().or(status.last_error.take());
        times.extend(&told.signatures);
    }

    pub(super) fn reject(&self, reason: &'static str) {
        *self.told().rejections.entry(reason).or_default() += 1;
    }

    pub(super) fn set_error(&self, why: String) {
        self.told().error = Some(why);
    }

    pub(super) fn set_bound(&self, bound: bool) {
        self.told().bound = Some(bound);
    }

    pub(super) fn signed(&self, took: Duration) {
        self.sign_ok.fetch_add(1, Relaxed);
        let mut told = self.told();
        if told.signatures.len() >= KEPT {
            told.signatures.pop_front();
        }
        told.signatures.push_back(took);
    }
}

/// An agent that does not list its keys within this time is as good as gone.
const STATUS: Duration = Duration::from_secs(5);

impl Engine {
    /// `agent/status`: the agent here, and what this core has forwarded, for whichever link.
    ///
    /// # Errors
    /// A bad file.
    pub async fn agent_status(&self, params: &AgentStatusParams) -> Result<AgentStatus, CallError> {
        let planner = Planner::new(self.env(), &params.settings, true)?;
        let usual = self.env().var("SSH_AUTH_SOCK").map(PathBuf::from);
        let configured = planner.inventory().map(|i| i.config().agent.clone()).unwrap_or_default();
        let rules = Rules::new(params.agent.as_ref(), &configured, None, usual);
        let agents = &self.agents;
        let asked = tokio::time::timeout(STATUS, list(&rules, agents)).await;
        let keys = asked.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let path = socket(&rules, agents).map(|path| path.display().to_string());
        let mut status = AgentStatus {
            socket: path,
            reachable: keys.is_ok(),
            error: keys.as_ref().err().map(ToString::to_string),
            keys: keys.unwrap_or_default(),
            ..AgentStatus::default()
        };
        let mut all: Vec<Arc<Agents>> =
            self.commons.engines().iter().map(|engine| engine.agents.clone()).collect();
        if !all.iter().any(|one| Arc::ptr_eq(one, agents)) {
            all.push(agents.clone());
        }
        let mut times = Vec::new();
        all.iter().for_each(|agents| agents.add_to(&mut status, &mut times));
        status.closed = status.opened.saturating_sub(status.live);
        times.sort_unstable();
        let at = |percent: usize| {
            times.get(times.len().saturating_sub(1) * percent / 100).map(|t| t.as_secs_f64() * 1e3)
        };
        (status.sign_p50_ms, status.sign_p99_ms) = (at(50), at(99));
        Ok(status)
    }

    /// `agent/setSocket`: where the agent is from now on.
    pub fn agent_set_socket(&self, params: SetSocket) {
        self.agents.told().socket = params.path.map(PathBuf::from);
    }

    /// `agent/check`: the whole way of an agent request, step by step.
    ///
    /// # Errors
    /// The targets are not one node.
    pub async fn agent_check(
        &self,
        caller: &Caller,
        params: &AgentCheckParams,
    ) -> Result<AgentCheck, CallError> {
        let (route, _) = self.one_route(&params.targets).await?;
        let rules = rules_for(params.agent.as_ref(), &route);
        let mut steps = Vec::new();
        let mut step = |step: &str, outcome: Result<String, String>| {
            let ok = outcome.is_ok();
            let detail = outcome.unwrap_or_else(|why| why);
            steps.push(CheckStep { step: step.to_owned(), ok, detail });
            ok
        };
        let keys = list(&rules, &self.agents).await;
        let many = |keys: Vec<AgentKey>| format!("{} keys", keys.len());
        step("agent", keys.map(many).map_err(|e| e.to_string()));
        let ask = self.ask_for(Engine::asking(caller));
        let lease = self.pool().lease(&route, &ask).await.map(|(lease, _)| lease);
        let node = route.plan.node.clone();
        let connected = lease.as_ref().map(|l| l.connection.facts().address.clone());
        step("connect", connected.map_err(ToString::to_string));
        if let Ok(lease) = lease {
            let bound = bind(&rules, &self.agents, &lease.connection).await;
            step("bind", bound);
            let settings = params.agent.as_ref();
            let questions = Engine::asking(caller);
            let wish = Wish { lease: &lease, route: &route, forward: true, settings, questions };
            self.arm(&wish);
            let listed = tokio::time::timeout(CHECK, on_node(&lease)).await;
            let listed = listed.unwrap_or_else(|_| Err("no answer within 30 s".to_owned()));
            step("ssh-add -l on the node", listed);
        }
        Ok(AgentCheck { node, steps })
    }
}

fn channel(open: &Open) -> AgentChannel {
    AgentChannel {
        node: open.node.clone(),
        state: open.stage.word().to_owned(),
        age_ms: crate::run::millis(open.since.elapsed()),
    }
}

async fn list(rules: &Rules, agents: &Agents) -> std::io::Result<Vec<AgentKey>> {
    let answer = AgentLink::dial(rules, agents).await?.request(&[REQUEST_IDENTITIES]).await?;
    let keys = identities(&answer).ok_or_else(|| std::io::Error::other("no list of keys"))?;
    let key = |(key, comment): &(&[u8], &[u8])| AgentKey {
        fingerprint: key_fingerprint(key),
        kind: key_type(key),
        comment: printable(comment),
    };
    Ok(keys.iter().map(key).collect())
}

async fn bind(rules: &Rules, agents: &Agents, to: &Connection) -> Result<String, String> {
    let mut agent = AgentLink::dial(rules, agents).await.map_err(|e| e.to_string())?;
    let binding = to.binding();
    match (rules.bind, agent.bind(rules.bind, binding.as_ref()).await) {
        (Bind::Off, _) => Ok("off".to_owned()),
        (_, Ok(true)) => Ok("the agent knows the session".to_owned()),
        (_, Ok(false)) => Ok("the agent does not support session-bind".to_owned()),
        (_, Err(error)) => Err(error.to_string()),
    }
}

/// What the node sees.
async fn on_node(lease: &Lease) -> Result<String, String> {
    let text = |e: bssh_ssh::error::Error| e.to_string();
    let mut channel = lease.connection.open_session().await.map_err(text)?;
    channel.agent_forward().await.map_err(text)?;
    channel.exec(b"ssh-add -l").await.map_err(text)?;
    if channel.agent_refused() {
        return Err("agentForwardRefused: the node does not allow agent forwarding".to_owned());
    }
    let (mut said, mut status) = (Vec::new(), None);
    while let Some(event) = channel.next().await {
        match event {
            ChannelEvent::Out(bytes) | ChannelEvent::Err(bytes) if said.len() < 65_536 => {
                said.extend_from_slice(&bytes);
            }
            ChannelEvent::Exit(code) => status = Some(code),
            _ => {}
        }
    }
    let lines: Vec<String> = said.split(|b| *b == b'\n').map(printable).collect();
    let lines = lines.iter().filter(|l| !l.is_empty()).count();
    match status {
        Some(0) => Ok(format!("{lines} keys")),
        // No identities: the agent answers, which is what was asked.
        Some(1) => Ok("no keys".to_owned()),
        _ => Err(printable(&said)),
    }
}
