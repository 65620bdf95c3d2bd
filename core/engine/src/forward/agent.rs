//! The local agent, reachable from a node: each channel the node opens is relayed to the socket.

use super::relay::{Counters, relay};
use bssh_ssh::Connection;
use std::path::Path;
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, JoinSet};

/// Agent connections of one node at once; further ones wait.
const MOST: usize = 64;

/// A relay at work; dropping it ends it.
pub(crate) struct AgentRelay {
    task: AbortHandle,
}

impl AgentRelay {
    /// Takes the agent channels of a connection. Ask for them on the session's channel.
    pub(crate) fn start(connection: &Connection, socket: &Path) -> Self {
        let mut channels = connection.accept_agent();
        let socket = socket.to_owned();
        let task = tokio::spawn(async move {
            let mut relays = JoinSet::new();
            loop {
                tokio::select! {
                    channel = channels.accept(), if relays.len() < MOST => {
                        let Some(channel) = channel else { return };
                        let socket = socket.clone();
                        relays.spawn(async move {
                            let agent = UnixStream::connect(&socket).await;
                            let relayed = match agent {
                                Ok(agent) => relay(agent, channel, &Counters::default()).await,
                                Err(error) => Err(error),
                            };
                            if let Err(error) = relayed {
                                tracing::warn!("agent {}: {error}", socket.display());
                            }
                        });
                    }
                    Some(_) = relays.join_next() => {}
                }
            }
        });
        AgentRelay { task: task.abort_handle() }
    }
}

impl Drop for AgentRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
