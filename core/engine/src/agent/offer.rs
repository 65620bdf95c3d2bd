//! Telling a node that there is an agent: on each channel that starts something, once or with an
//! answer awaited if the command must not run without it.
//!
//! sshd gives a connection one socket and refuses every further wish on it, so that a refusal
//! counts only if the connection's first wish was refused, too.

use super::relay::{AgentRelay, Shared};
use super::stable::{self, StableLink};
use super::{Rules, dial};
use crate::engine::Engine;
use crate::plan::Route;
use crate::pool::Lease;
use crate::questions::Questions;
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::lock;
use bssh_ssh::Channel;
use bssh_ssh::error::{Error, ErrorKind as Cause, Phase};
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// For the answer to a connection's first wish, where a later one has its own already.
const FIRST: Duration = Duration::from_secs(10);

/// What was asked for, and on which connection.
pub(crate) struct Wish<'a> {
    pub lease: &'a Arc<Lease>,
    pub route: &'a Route,
    /// The request says so; `ForwardAgent` and the configuration may say it, too.
    pub forward: bool,
    pub settings: Option<&'a AgentSettings>,
    pub questions: &'a Arc<Questions>,
}

/// A wish that is on its way. [`Offer::settle`] once the channel has its first answer.
pub(crate) struct Offer {
    verdict: watch::Sender<Option<bool>>,
    is_first: bool,
    node: String,
}

impl Wish<'_> {
    fn is_wanted(&self) -> bool {
        self.forward || self.route.options.forward_agent_on || self.route.agent.forward
    }

    pub(super) fn rules(&self) -> Rules {
        rules_for(self.settings, self.route)
    }
}

/// Who is asked, and how, for a node.
pub(super) fn rules_for(asked: Option<&AgentSettings>, route: &Route) -> Rules {
    let named = route.options.forward_agent.clone();
    Rules::new(asked, &route.agent, named, route.options.identity_agent.clone())
}

impl Engine {
    /// Offers the agent on a channel that is about to start something, if it is wanted. What it
    /// returns is to be settled after the start.
    ///
    /// # Errors
    /// It is required and there is none, or the node does not want it; the connection is gone.
    pub(crate) async fn offer_agent(
        &self,
        wish: &Wish<'_>,
        channel: &mut Channel,
    ) -> Result<Option<Offer>, Error> {
        if !wish.is_wanted() {
            return Ok(None);
        }
        let rules = wish.rules();
        let node = &wish.route.plan.node;
        if !wish.lease.connection.facts().trusted {
            let error = Error::new(Phase::HostKey, Cause::Untrusted { what: "agent forwarding" });
            if rules.required {
                return Err(error);
            }
            tracing::error!("{node}: {error}");
            return Ok(None);
        }
        if let Err(why) = self.is_there(&rules).await {
            if rules.required {
                return Err(Error::new(Phase::Channel, Cause::AgentUnavailable(why)));
            }
            // It may come later, if it is known where.
            tracing::warn!(
                "{node}: agentUnavailable: {why}; bssh agent status shows what is there"
            );
        }
        let Some(offer) = self.arm(wish) else { return Ok(None) };
        channel.agent_forward().await?;
        if !rules.required && !rules.limits.stable_path {
            return Ok(Some(offer));
        }
        channel.agent_answer().await?;
        let taken = offer.settle(channel).await;
        if rules.required && !taken {
            return Err(Error::new(Phase::Channel, Cause::AgentRefused));
        }
        if taken && rules.limits.stable_path {
            Box::pin(self.link(wish.lease, node)).await;
        }
        Ok(None)
    }

    /// Whether somebody listens at the agent's socket right now. One that is busy does.
    async fn is_there(&self, rules: &Rules) -> Result<(), String> {
        let path = dial::socket(rules, &self.agents).ok_or("no socket is known")?;
        match UnixStream::connect(&path).await {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                Err(format!("{}: {error}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Makes a connection's agent channels be served, if they are not yet. None: no agent is known
    /// here, so that there is nothing to offer.
    pub(super) fn arm(&self, wish: &Wish<'_>) -> Option<Offer> {
        let rules = wish.rules();
        dial::socket(&rules, &self.agents)?;
        let node = wish.route.plan.node.clone();
        let mut relay = lock(&wish.lease.agent);
        let is_first = relay.is_none();
        let relay = relay.get_or_insert_with(|| {
            let shared = Shared {
                node: node.clone(),
                rules,
                tally: self.agents.of(&node),
                agents: self.agents.clone(),
                questions: wish.questions.clone(),
                allowed: Mutex::default(),
                names: Mutex::default(),
            };
            AgentRelay::start(&wish.lease.connection, shared)
        });
        Some(Offer { verdict: relay.verdict.clone(), is_first, node })
    }

    /// Makes the node's stable path lead to this connection's socket, if it does not yet.
    async fn link(&self, lease: &Lease, node: &str) {
        let mut link = lease.agent_link.lock().await;
        if link.is_some() {
            return;
        }
        match StableLink::make(&lease.connection, &stable::name(self.env())).await {
            Ok(made) => {
                tracing::info!("{node}: the agent is at {}", made.path);
                *link = Some(made);
            }
            Err(why) => tracing::warn!("{node}: no stable path to the agent: {why}"),
        }
    }
}

impl Offer {
    /// Whether the node has taken the agent; tells if not.
    pub(crate) async fn settle(&self, channel: &Channel) -> bool {
        let taken = match (channel.agent_refused(), self.is_first) {
            (false, _) => true,
            (true, true) => false,
            (true, false) => {
                let mut verdict = self.verdict.subscribe();
                let first = verdict.wait_for(Option::is_some);
                let first = tokio::time::timeout(FIRST, first).await;
                matches!(first, Ok(Ok(taken)) if *taken == Some(true))
            }
        };
        if self.is_first || taken {
            self.verdict.send_replace(Some(taken));
        }
        if !taken && self.is_first {
            let node = &self.node;
            tracing::warn!(
                "{node}: agentForwardRefused: the node does not allow agent forwarding \
                 (AllowAgentForwarding of its sshd_config, no-agent-forwarding of the key)"
            );
        }
        taken
    }
}
