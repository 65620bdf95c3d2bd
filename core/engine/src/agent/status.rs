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
use bssh_protocol::exec::Targets;
use bssh_protocol::lock;
use bssh_ssh::{ChannelEvent, Connection, key_fingerprint, key_type};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// All agent forwarding of a link.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    /// Events so far, and those that nobody took.
    pub events: AtomicU64,
    pub untold: AtomicU64,
    /// Channels so far.
    channels: AtomicU64,
    socket: Mutex<Option<PathBuf>>,
    /// For each node that was ever offered the agent.
    nodes: Mutex<BTreeMap<String, Arc<Tally>>>,
}

/// Counters of what one node has done with the agent.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    opened: AtomicU64,
    pub dial_retries: AtomicU64,
    pub bytes: AtomicU64,
    pub sign_denied: AtomicU64,
    /// Other requests the policy has refused.
    pub refused: AtomicU64,
    sign_ok: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    bound: Option<bool>,
    error: Option<(Instant, String)>,
    rejections: BTreeMap<&'static str, u64>,
    channels: BTreeMap<u64, Open>,
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
    tally: Arc<Tally>,
    pub number: u64,
}

impl Entry {
    pub(super) fn is_now(&self, stage: Stage) {
        if stage == Stage::Open {
            self.tally.opened.fetch_add(1, Relaxed);
        }
        if let Some(open) = self.tally.told().channels.get_mut(&self.number) {
            open.stage = stage;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tally.told().channels.remove(&self.number);
    }
}

impl Agents {
    /// The socket a frontend has set.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        lock(&self.socket).clone()
    }

    /// What is counted for a node.
    pub(super) fn of(&self, node: &str) -> Arc<Tally> {
        lock(&self.nodes).entry(node.to_owned()).or_default().clone()
    }

    /// The number of one more channel.
    pub(super) fn number(&self) -> u64 {
        self.channels.fetch_add(1, Relaxed) + 1
    }

    /// Adds what was counted for a node, or for all.
    fn add_to(&self, sum: &mut Sum, node: Option<&str>) {
        for (name, tally) in &*lock(&self.nodes) {
            if node.is_none_or(|node| node == name) {
                tally.add_to(sum, name);
            }
        }
    }
}

/// Tallies put together.
struct Sum {
    status: AgentStatus,
    times: Vec<Duration>,
    error: Option<(Instant, String)>,
    bound: Option<bool>,
}

impl Sum {
    fn whole(self) -> AgentStatus {
        let Sum { mut status, mut times, error, bound } = self;
        status.closed = status.opened.saturating_sub(status.live);
        status.last_error = error.map(|(_, why)| why);
        let bind = bound.map_or("", |bound| if bound { "yes" } else { "unsupported" });
        bind.clone_into(&mut status.bind);
        times.sort_unstable();
        let at = |percent: usize| {
            times.get(times.len().saturating_sub(1) * percent / 100).map(|t| t.as_secs_f64() * 1e3)
        };
        (status.sign_p50_ms, status.sign_p99_ms) = (at(50), at(99));
        status
    }
}

impl Tally {
    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }

    /// The node has opened a channel, which has this number.
    pub(super) fn enter(self: &Arc<Self>, number: u64) -> Entry {
        let open = Open { stage: Stage::Queued, since: Instant::now() };
        self.told().channels.insert(number, open);
        Entry { tally: self.clone(), number }
    }

    fn add_to(&self, sum: &mut Sum, node: &str) {
        let count = |n: &AtomicU64| n.load(Relaxed);
        let (told, status) = (self.told(), &mut sum.status);
        let live = told.channels.values().filter(|open| open.stage.is_live()).count();
        status.opened += count(&self.opened);
        status.live += live as u64;
        status.queued += (told.channels.len() - live) as u64;
        status.rejected += told.rejections.values().sum::<u64>();
        for (reason, n) in &told.rejections {
            *status.rejections.entry((*reason).to_owned()).or_default() += n;
        }
        status.channels.extend(told.channels.values().map(|open| channel(node, open)));
        status.dial_retries += count(&self.dial_retries);
        status.bytes += count(&self.bytes);
        status.sign_ok += count(&self.sign_ok);
        status.sign_denied += count(&self.sign_denied);
        status.refused += count(&self.refused);
        if let Some(bound) = told.bound {
            sum.bound = Some(bound && sum.bound.unwrap_or(true));
        }
        sum.error = sum.error.take().into_iter().chain(told.error.clone()).max();
        sum.times.extend(&told.signatures);
    }

    pub(super) fn reject(&self, reason: &'static str) {
        *self.told().rejections.entry(reason).or_default() += 1;
    }

    pub(super) fn set_error(&self, why: String) {
        self.told().error = Some((Instant::now(), why));
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
    /// `agent/status`: the agent here, and what this core has forwarded, for whichever link; of one
    /// node, with the agent that it would get, if one is named.
    ///
    /// # Errors
    /// A bad file; what is named is not one node.
    pub async fn agent_status(&self, params: &AgentStatusParams) -> Result<AgentStatus, CallError> {
        let (rules, node) = self.agent_rules(params).await?;
        let agents = &self.agents;
        let asked = tokio::time::timeout(STATUS, list(&rules, agents)).await;
        let keys = asked.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let path = socket(&rules, agents).map(|path| path.display().to_string());
        let status = AgentStatus {
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
        let mut sum = Sum { status, times: Vec::new(), error: None, bound: None };
        all.iter().for_each(|agents| agents.add_to(&mut sum, node.as_deref()));
        Ok(sum.whole())
    }

    /// Whose agent is asked about, and the node if it is one's.
    async fn agent_rules(
        &self,
        params: &AgentStatusParams,
    ) -> Result<(Rules, Option<String>), CallError> {
        let settings = params.settings.clone();
        if let Some(target) = &params.target {
            let targets = Targets { nodes: target.clone(), settings, ..Targets::default() };
            let one = self.one_route(&targets).await;
            let (route, _) = one.map_err(|error| error.at("params.target"))?;
            return Ok((rules_for(params.agent.as_ref(), &route), Some(route.plan.node.clone())));
        }
        let planner = Planner::new(self.env(), &settings, true)?;
        let usual = self.env().var("SSH_AUTH_SOCK").map(PathBuf::from);
        let configured = planner.inventory().map(|i| i.config().agent.clone()).unwrap_or_default();
        Ok((Rules::new(params.agent.as_ref(), &configured, None, usual), None))
    }

    /// `agent/setSocket`: where the agent is from now on.
    pub fn agent_set_socket(&self, params: SetSocket) {
        *lock(&self.agents.socket) = params.path.map(PathBuf::from);
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
        let route = self.one_route(&params.targets).await?.0.forwarding(true);
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

fn channel(node: &str, open: &Open) -> AgentChannel {
    AgentChannel {
        node: node.to_owned(),
        state: open.stage.word().to_owned(),
        age_ms: crate::run::millis(open.since.elapsed()),
    }
}

/// The agent's keys, by a connection of its own.
pub(super) async fn list(rules: &Rules, agents: &Agents) -> std::io::Result<Vec<AgentKey>> {
    let mut agent = AgentLink::dial(rules, agents, &Tally::default()).await?;
    let answer = agent.request(&[REQUEST_IDENTITIES]).await?;
    let keys = identities(&answer).ok_or_else(|| std::io::Error::other("no list of keys"))?;
    let key = |(key, comment): &(&[u8], &[u8])| AgentKey {
        fingerprint: key_fingerprint(key),
        kind: key_type(key),
        comment: printable(comment),
    };
    Ok(keys.iter().map(key).collect())
}

async fn bind(rules: &Rules, agents: &Agents, to: &Connection) -> Result<String, String> {
    let dialed = AgentLink::dial(rules, agents, &Tally::default()).await;
    let mut agent = dialed.map_err(|e| e.to_string())?;
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
            ChannelEvent::Cut => status = None,
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
