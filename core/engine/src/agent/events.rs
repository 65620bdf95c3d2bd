//! `event/agent`: what nodes do with the agent, told to the frontend that has forwarded it.
//!
//! Never waited for: a frontend that does not read misses events, and the next one says how many.

use super::relay::Shared;
use bssh_protocol::agent::AgentEvent;
use bssh_protocol::methods::AgentUseEvent;
use std::sync::atomic::Ordering::Relaxed;

impl Shared {
    /// Tells of a channel.
    pub(super) fn tell(&self, channel: u64, state: &str, fill: impl FnOnce(&mut AgentEvent)) {
        let agents = &self.agents;
        let dropped = agents.untold.swap(0, Relaxed);
        let mut event = AgentEvent {
            seq: agents.events.fetch_add(1, Relaxed) + 1,
            node: self.node.clone(),
            channel,
            state: state.to_owned(),
            dropped,
            ..AgentEvent::default()
        };
        fill(&mut event);
        if !self.questions.link().try_notify::<AgentUseEvent>(&event) {
            agents.untold.fetch_add(dropped + 1, Relaxed);
        }
    }
}
