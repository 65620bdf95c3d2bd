//! The local agent, reachable from a node: each channel the node opens is relayed to the socket.

use super::relay::{Carried, Far, Limits, relay};
use bssh_ssh::{Connection, Incoming, Refusal};
use bytes::Bytes;
use std::path::{Path, PathBuf};
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
                        relays.spawn(one(channel, socket.clone()));
                    }
                    Some(_) = relays.join_next() => {}
                }
            }
        });
        AgentRelay { task: task.abort_handle() }
    }
}

/// One connection to the agent; the node learns at once if there is none.
async fn one(incoming: Incoming, socket: PathBuf) {
    match UnixStream::connect(&socket).await {
        Ok(agent) => {
            let far = Far::Channel(Box::new(incoming.accept().await));
            let near = (Box::new(agent) as _, Bytes::new());
            relay(near, far, None, &Carried::default(), Limits::default()).await;
        }
        Err(error) => {
            tracing::warn!("agent {}: {error}", socket.display());
            incoming.refuse(Refusal::ConnectFailed).await;
        }
    }
}

impl Drop for AgentRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
