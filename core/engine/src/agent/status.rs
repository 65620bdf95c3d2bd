//! What agent forwarding has done so far, and whether it would work: `agent/status`,
//! `agent/setSocket`, `agent/check`.

use super::Rules;
use super::dial::{AgentLink, socket};
use super::message::{REQUEST_IDENTITIES, identities, printable};
use super::relay::{AgentRelay, Shared};
use crate::engine::{Caller, Engine};
use crate::plan::Route;
use crate::pool::Lease;
use bssh_protocol::agent::{
    AgentCheck, AgentCheckParams, AgentKey, AgentSettings, AgentStatus, AgentStatusParams, Bind,
    CheckStep, SetSocket,
};
use bssh_protocol::error::CallError;
use bssh_ssh::{ChannelEvent, Connection, key_fingerprint, key_type};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counters of all agent forwarding of a core.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    opened: AtomicU64,
    live: AtomicI64,
    waiting: AtomicI64,
    pub rejected: AtomicU64,
    pub dial_retries: AtomicU64,
    pub bytes: AtomicU64,
    pub sign_ok: AtomicU64,
    pub sign_denied: AtomicU64,
    /// Other requests the policy has refused.
    pub refused: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    socket: Option<PathBuf>,
    bound: Option<bool>,
    error: Option<String>,
    /// How long the latest signatures took.
    signatures: VecDeque<Duration>,
}

/// Signatures whose time is kept.
const KEPT: usize = 256;
/// What a check of a node may take.
const CHECK: Duration = Duration::from_secs(30);

/// Counts one more as long as it is kept.
pub(super) struct Counted<'a>(&'a AtomicI64);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
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

    pub(super) fn queued(&self) -> Counted<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Counted(&self.waiting)
    }

    pub(super) fn live(&self) -> Counted<'_> {
        self.opened.fetch_add(1, Relaxed);
        self.live.fetch_add(1, Relaxed);
        Counted(&self.live)
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
    /// `agent/status`: the agent here, and what has been forwarded.
    pub async fn agent_status(&self, params: &AgentStatusParams) -> AgentStatus {
        let usual = self.env().var("SSH_AUTH_SOCK").map(PathBuf::from);
        let rules = Rules::new(params.agent.as_ref(), &Arc::default(), None, usual);
        let agents = &self.agents;
        let asked = tokio::time::timeout(STATUS, list(&rules, agents)).await;
        let keys = asked.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let count = |n: &AtomicU64| n.load(Relaxed);
        let now = |n: &AtomicI64| u64::try_from(n.load(Relaxed)).unwrap_or_default();
        let (opened, live) = (count(&agents.opened), now(&agents.live));
        let mut status = AgentStatus {
            socket: socket(&rules, agents).map(|path| path.display().to_string()),
            reachable: keys.is_ok(),
            error: keys.as_ref().err().map(ToString::to_string),
            keys: keys.unwrap_or_default(),
            opened,
            live,
            closed: opened.saturating_sub(live),
            queued: now(&agents.waiting),
            rejected: count(&agents.rejected),
            dial_retries: count(&agents.dial_retries),
            bytes: count(&agents.bytes),
            sign_ok: count(&agents.sign_ok),
            sign_denied: count(&agents.sign_denied),
            refused: count(&agents.refused),
            ..AgentStatus::default()
        };
        let told = agents.told();
        status.bind = match told.bound {
            Some(true) => "yes",
            Some(false) => "unsupported",
            None => "",
        }
        .to_owned();
        status.last_error = told.error.clone();
        let mut times: Vec<Duration> = told.signatures.iter().copied().collect();
        times.sort_unstable();
        let at = |percent: usize| {
            times.get(times.len().saturating_sub(1) * percent / 100).map(|t| t.as_secs_f64() * 1e3)
        };
        (status.sign_p50_ms, status.sign_p99_ms) = (at(50), at(99));
        status
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
            self.arm(&lease, &route, params.agent.as_ref(), Engine::asking(caller));
            let listed = tokio::time::timeout(CHECK, on_node(&lease)).await;
            let listed = listed.unwrap_or_else(|_| Err("no answer within 30 s".to_owned()));
            step("ssh-add -l on the node", listed);
        }
        Ok(AgentCheck { node, steps })
    }

    /// Makes a connection's agent channels be served, if they are not yet. False: no agent is
    /// known here, so that there is nothing to offer.
    pub(crate) fn arm(
        &self,
        lease: &Arc<Lease>,
        route: &Route,
        asked: Option<&AgentSettings>,
        questions: &Arc<crate::questions::Questions>,
    ) -> bool {
        if socket(&rules_for(asked, route), &self.agents).is_none() {
            return false;
        }
        let mut relay = lease.agent.lock().unwrap_or_else(PoisonError::into_inner);
        relay.get_or_insert_with(|| {
            let shared = Shared {
                node: route.plan.node.clone(),
                rules: rules_for(asked, route),
                agents: self.agents.clone(),
                questions: questions.clone(),
                allowed: Mutex::default(),
            };
            AgentRelay::start(&lease.connection, shared)
        });
        true
    }
}

/// Who is asked, and how, for a node.
pub(crate) fn rules_for(asked: Option<&AgentSettings>, route: &Route) -> Rules {
    let named = route.options.forward_agent.clone();
    Rules::new(asked, &route.agent, named, route.options.identity_agent.clone())
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
