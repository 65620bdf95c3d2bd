//! -R: listens on the node, connects from here.

use super::lanes::Flow;
use super::relay::Far;
use super::socks::{FAILED, REFUSED, SUCCEEDED};
use super::spec::{Listen, Target};
use super::work::{Client, Stage, Work, say};
use crate::pool::Lease;
use bssh_ssh::BoxStream;
use bssh_ssh::error::{Error, ErrorKind, Phase};
use bssh_ssh::plan::Address;
use bssh_ssh::{Channel, Connection, Incoming, Refusal, RemoteListener, dial};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

/// Makes the node listen; what it listens on, port 0 resolved.
///
/// # Errors
/// It refuses, or is gone.
pub(super) async fn listen(
    connection: &Connection,
    listen: &Listen,
) -> Result<(RemoteListener, Listen), Error> {
    match listen {
        Listen::Unix(path) => {
            let (connection, path) = (connection.clone(), path.clone());
            let listener = whole(async move { connection.listen_unix(&path).await }).await?;
            Ok((listener, listen.clone()))
        }
        Listen::Tcp { bind, port } => {
            // As ssh: whether others may connect is the server's GatewayPorts to decide.
            let asked = match bind.as_deref() {
                None => "localhost",
                Some("*") => "",
                Some(host) => host,
            };
            let (connection, asked, port) = (connection.clone(), asked.to_owned(), *port);
            let listener = whole(async move { connection.listen_tcp(&asked, port).await }).await?;
            let bound = Listen::Tcp { bind: bind.clone(), port: listener.port() };
            Ok((listener, bound))
        }
    }
}

/// Waits for the node's answer whatever becomes of who asked: a listener that nobody takes is
/// dropped, and so taken back.
async fn whole(
    asking: impl Future<Output = Result<RemoteListener, Error>> + Send + 'static,
) -> Result<RemoteListener, Error> {
    let lost =
        |e: tokio::task::JoinError| Error::new(Phase::Channel, ErrorKind::Lost(e.to_string()));
    tokio::spawn(asking).await.map_err(lost)?
}

/// Serves a listener on the node until its connection is lost for good.
pub(super) async fn serve(
    work: Arc<Work>,
    mut lease: Arc<Lease>,
    (mut listener, bound): (RemoteListener, Listen),
) {
    let mut connections = JoinSet::new();
    'serving: loop {
        let resident = lease.load.reside();
        loop {
            tokio::select! {
                incoming = listener.accept(), if connections.len() < work.most => {
                    let Some(incoming) = incoming else { break };
                    connections.spawn(inward(work.clone(), lease.clone(), incoming));
                }
                Some(_) = connections.join_next() => {}
                () = work.reached(Stage::Draining) => break 'serving,
            }
        }
        drop(resident);
        let error = lease.connection.closed().await;
        if !work.keep {
            return work.tell("closed", Some(error.to_string()), None);
        }
        let again = tokio::select! {
            again = work.again(&error, Some(&bound)) => again,
            () = work.reached(Stage::Draining) => break,
        };
        match again {
            Ok((again, Some(listening))) => (lease, listener) = (again, listening),
            Ok(_) => return,
            Err(why) => return work.tell("closed", Some(why), None),
        }
    }
    drop(listener);
    work.reach(Stage::Deaf);
    while connections.join_next().await.is_some() {}
}

/// One connection. The node learns whether it is open once the target answers.
async fn inward(work: Arc<Work>, lease: Arc<Lease>, incoming: Incoming) {
    let number = work.traffic.number();
    let flow = Flow::on(&lease);
    match &work.target {
        Target::Socks => socks(&work, &flow, incoming, number).await,
        target => match reach(target, &work).await {
            Ok(near) => {
                let far = Far::Channel(Box::new(incoming.accept().await));
                let names = (lease.connection.facts().address.clone(), target.to_string());
                work.carry(((near, Bytes::new()), far), Some(&flow), number, names).await;
            }
            Err((_, why)) => {
                incoming.refuse(Refusal::ConnectFailed).await;
                work.unreached(target, number, why);
            }
        },
    }
}

/// A SOCKS client on the node: here its channel is the near end.
async fn socks(work: &Arc<Work>, flow: &Flow, incoming: Incoming, number: u64) {
    let peer = flow.lease().connection.facts().address.clone();
    let (near, carrier) = tokio::io::duplex(DUPLEX);
    let channel: Channel = incoming.accept().await;
    let carried = super::relay::Carried::default();
    let ends = ((Box::new(carrier) as BoxStream, Bytes::new()), Far::Channel(Box::new(channel)));
    let shuttle = super::relay::relay(ends.0, ends.1, Some(flow), &carried, work.limits);
    let talk = async {
        let Some(mut client) = work.client(Box::new(near), number, &peer).await else { return };
        match reach(&client.target, work).await {
            Ok(there) => {
                say(&mut client.near, client.version, SUCCEEDED).await;
                let Client { near, head, target, .. } = client;
                let names = (peer.clone(), target.to_string());
                work.carry(((near, head), Far::Stream(there)), None, number, names).await;
            }
            Err((code, why)) => work.failed(client, number, (code, why)).await,
        }
    };
    let mut shuttle = std::pin::pin!(shuttle);
    tokio::select! {
        _ = &mut shuttle => return,
        () = talk => {}
    }
    // What was said last still has to go through.
    let _ = tokio::time::timeout(LAST_WORDS, shuttle).await;
}

const LAST_WORDS: Duration = Duration::from_secs(5);

/// Between a channel and its SOCKS conversation, in bytes each way.
const DUPLEX: usize = 64 * 1024;

/// Connects from here; else a SOCKS reply and why.
async fn reach(target: &Target, work: &Work) -> Result<BoxStream, (u8, String)> {
    match target {
        Target::Tcp { host, port } => {
            let address = Address {
                host: host.clone(),
                port: *port,
                family: work.route.plan.address.family,
                bind: None,
                interface: None,
            };
            match dial(&address, true, work.dial, None).await {
                Ok(tcp) => Ok(Box::new(tcp)),
                Err(Error { kind: kind @ ErrorKind::Refused { .. }, .. }) => {
                    Err((REFUSED, kind.to_string()))
                }
                Err(error) => Err((FAILED, error.to_string())),
            }
        }
        Target::Unix(path) => match UnixStream::connect(path).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err((FAILED, error.to_string())),
        },
        Target::Socks => Err((FAILED, "no target".to_owned())),
    }
}
