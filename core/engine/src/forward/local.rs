//! -L and -D: listens here, connects from the node.

use super::lanes::Flow;
use super::listen::Listener;
use super::relay::Far;
use super::socks::{FAILED, NOT_ALLOWED, REFUSED, SUCCEEDED, UNREACHABLE};
use super::spec::Target;
use super::work::{Stage, Work, say};
use crate::failure::advised;
use crate::pool::Lease;
use bssh_ssh::BoxStream;
use bssh_ssh::error::{Error, ErrorKind, Phase};
use bssh_ssh::{Channel, Connection, Refusal};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Pauses after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const ACCEPT_LATER: Duration = Duration::from_secs(5);

/// Serves a bound listener until its connection is lost for good.
pub(super) async fn serve(work: Arc<Work>, listener: Listener, lease: Arc<Lease>) {
    tokio::select! {
        () = work.keep(lease) => {}
        () = accept_all(&work, listener) => {}
    }
}

async fn accept_all(work: &Arc<Work>, listener: Listener) {
    let mut connections = JoinSet::new();
    let mut pause = ACCEPT_AGAIN;
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < work.most => match accepted {
                Ok((near, peer)) => {
                    pause = ACCEPT_AGAIN;
                    connections.spawn(outward(work.clone(), near, peer));
                }
                Err(error) => {
                    if pause == ACCEPT_AGAIN {
                        let node = &work.route.plan.node;
                        tracing::warn!("{node}: forward: cannot accept, new clients wait: {error}");
                        work.tell("acceptFailed", Some(error.to_string()), None);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(ACCEPT_LATER);
                }
            },
            Some(_) = connections.join_next() => {}
            () = work.reached(Stage::Draining) => break,
        }
    }
    drop(listener);
    work.reach(Stage::Deaf);
    while connections.join_next().await.is_some() {}
}

/// One connection.
async fn outward(work: Arc<Work>, near: BoxStream, peer: SocketAddr) {
    let number = work.traffic.number();
    let Some(mut client) = work.client(near, number, &peer.to_string()).await else { return };
    let lanes = match work.lanes().await {
        Ok(lanes) => lanes,
        Err(why) => return work.failed(client, number, (FAILED, why)).await,
    };
    let flow = lanes.flow(work.engine.pool()).await;
    drop(lanes);
    let opening = open(&flow, &client.target, peer);
    let opened = match work.dial {
        Some(limit) => tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| {
            let said = format!("no answer within {} s", limit.as_secs_f64());
            let kind = ErrorKind::ChannelRefused { reason: Refusal::ConnectFailed, said };
            Err(Error::new(Phase::Channel, kind))
        }),
        None => opening.await,
    };
    match opened {
        Ok(channel) => {
            say(&mut client.near, client.version, SUCCEEDED).await;
            let ends = ((client.near, client.head), Far::Channel(Box::new(channel)));
            let names = (peer.to_string(), client.target.to_string());
            work.carry(ends, Some(&flow), number, names).await;
        }
        Err(error) => {
            work.failed(client, number, (code(&error), advised(&error))).await;
        }
    }
}

async fn open(flow: &Flow, target: &Target, peer: SocketAddr) -> Result<Channel, Error> {
    let connection: &Connection = &flow.lease().connection;
    match target {
        Target::Tcp { host, port } => {
            let from = peer.ip().to_string();
            connection.open_tcp_channel(host, *port, (&from, peer.port())).await
        }
        Target::Unix(path) => connection.open_unix_channel(path).await,
        Target::Socks => connection.open_tcp_channel("", 0, ("", 0)).await,
    }
}

/// The SOCKS 5 reply for a target that was not reached.
fn code(error: &Error) -> u8 {
    let ErrorKind::ChannelRefused { reason, said } = &error.kind else { return FAILED };
    match reason {
        Refusal::Prohibited => NOT_ALLOWED,
        // As resolvers and kernels say it.
        Refusal::ConnectFailed if said.contains("not known") || said.contains("unreachable") => {
            UNREACHABLE
        }
        Refusal::ConnectFailed => REFUSED,
        Refusal::Shortage | Refusal::Unknown | Refusal::Other(_) => FAILED,
    }
}
