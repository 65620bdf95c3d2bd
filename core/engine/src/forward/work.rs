//! One forward at work: what its listener and its connections share, and its SSH connection,
//! which may be lost and come back.

use super::acl::Acl;
use super::lanes::{Lanes, SWEEP};
use super::relay::{Far, Limits, Reason, relay};
use super::remote;
use super::socks::{self, Login, Socks, Step, Version};
use super::spec::{Listen, Target};
use super::traffic::Traffic;
use crate::engine::Engine;
use crate::journal::Noted;
use crate::plan::Route;
use crate::pool::Lease;
use crate::questions::Questions;
use bssh_protocol::forward::{ForwardEvent, ForwardId};
use bssh_protocol::lock;
use bssh_ssh::BoxStream;
use bssh_ssh::RemoteListener;
use bssh_ssh::error::{Error, ErrorKind as Cause, Phase};
use bytes::Bytes;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// What one forward's tasks share.
pub(super) struct Work {
    pub id: ForwardId,
    pub engine: Arc<Engine>,
    pub questions: Arc<Questions>,
    pub route: Arc<Route>,
    pub target: Target,
    pub acl: Acl,
    pub login: Option<Login>,
    pub limits: Limits,
    /// For reaching a target. None: as long as it takes.
    pub dial: Option<Duration>,
    pub most: usize,
    /// Outlive a lost connection.
    pub keep: bool,
    /// Tries in a row to connect again. None: until the forward is closed.
    pub tries: Option<u32>,
    /// Tell of connections, too.
    pub watch: bool,
    pub traffic: Arc<Traffic<ForwardEvent>>,
    pub lanes: watch::Sender<Option<Arc<Lanes>>>,
    pub stage: watch::Sender<Stage>,
    /// Why there is no connection.
    pub trouble: Mutex<Option<String>>,
    /// Its lines in the journal, once it listens.
    pub noted: OnceLock<Noted>,
}

/// How far a forward has come; none goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Serving,
    /// Nobody new is wanted; it is over with the last connection.
    Draining,
    /// Nothing listens any more.
    Deaf,
    /// It no longer serves anybody.
    Over,
}

/// First pause before connecting again; doubled up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a client waits for a connection that is coming back.
const WAIT: Duration = Duration::from_secs(10);
/// How long a SOCKS client may take to say where it wants to go.
const REQUEST: Duration = Duration::from_secs(120);

/// A client's end, and bytes of it that were read ahead.
pub(super) struct Client {
    pub near: BoxStream,
    pub head: Bytes,
    pub target: Target,
    pub version: Option<Version>,
}

impl Work {
    /// It has come so far.
    pub(super) fn reach(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let further = stage > *now;
            *now = stage.max(*now);
            further
        });
    }

    /// Returns when it has come so far.
    pub(super) async fn reached(&self, stage: Stage) {
        // It never fails while we are here.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    /// Serves until it is over, and says so to those who wait for that.
    pub(super) async fn see_through(self: Arc<Self>, serving: impl Future<Output = ()>) {
        serving.await;
        self.over("drained");
        self.reach(Stage::Over);
        self.engine.commons.tell();
    }

    /// Tells of the forward's own state.
    pub(super) fn tell(&self, state: &str, error: Option<String>, attempt: Option<u32>) {
        if state == "closed" {
            self.over(error.as_deref().unwrap_or(state));
        }
        let node = self.route.plan.node.clone();
        self.traffic.tell(|seq, dropped| ForwardEvent {
            seq,
            dropped,
            forward: self.id,
            node,
            state: state.to_owned(),
            error,
            attempt,
            ..ForwardEvent::default()
        });
    }

    /// Notes how it has ended; only the first word counts.
    pub(super) fn over(&self, how: &str) {
        if let Some(noted) = self.noted.get() {
            noted.over(how);
        }
    }

    /// Tells of a connection, if anybody wants to know.
    fn tell_conn(&self, state: &str, number: u64, fill: impl FnOnce(&mut ForwardEvent)) {
        if !self.watch {
            return;
        }
        self.traffic.tell(|seq, dropped| {
            let mut event = ForwardEvent {
                seq,
                dropped,
                forward: self.id,
                node: self.route.plan.node.clone(),
                state: state.to_owned(),
                conn: Some(number),
                ..ForwardEvent::default()
            };
            fill(&mut event);
            event
        });
    }

    /// Keeps the connection, its lanes included; returns when it is lost for good.
    pub(super) async fn keep(&self, mut lease: Arc<Lease>) {
        loop {
            let error = self.serve(lease).await;
            if !self.keep {
                return self.tell("closed", Some(error.to_string()), None);
            }
            match self.again(&error, None).await {
                Ok((again, _)) => lease = again,
                Err(why) => return self.tell("closed", Some(why), None),
            }
        }
    }

    /// Offers the connection to clients until it is lost.
    pub(super) async fn serve(&self, lease: Arc<Lease>) -> Error {
        let lanes = Lanes::new(lease.clone(), self.route.clone());
        self.lanes.send_replace(Some(lanes.clone()));
        let mut sweep = tokio::time::interval(SWEEP);
        let error = loop {
            tokio::select! {
                error = lease.connection.closed() => break error,
                _ = sweep.tick() => lanes.sweep().await,
            }
        };
        self.lanes.send_replace(None);
        error
    }

    /// Connects again, with growing pauses, until that succeeds and the node listens (if wanted).
    ///
    /// # Errors
    /// Why the last try failed, when there were as many as the configuration has.
    pub(super) async fn again(
        &self,
        error: &Error,
        on_node: Option<&Listen>,
    ) -> Result<(Arc<Lease>, Option<RemoteListener>), String> {
        let (mut why, mut pause, mut attempt) = (error.to_string(), PAUSE, 0_u32);
        loop {
            if self.tries.is_some_and(|tries| attempt >= tries) {
                return Err(format!("{why} (tried again {attempt} times)"));
            }
            attempt = attempt.saturating_add(1);
            self.set_trouble(Some(why.clone()));
            self.tell("reconnecting", Some(why), Some(attempt));
            tokio::time::sleep(crate::dialing::jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.attempt(on_node).await {
                Ok(done) => {
                    self.set_trouble(None);
                    self.tell("open", None, Some(attempt));
                    return Ok(done);
                }
                Err(error) => why = error.to_string(),
            }
        }
    }

    async fn attempt(
        &self,
        on_node: Option<&Listen>,
    ) -> Result<(Arc<Lease>, Option<RemoteListener>), Error> {
        let ask = self.engine.ask_for(&self.questions);
        let (lease, _) = self.engine.pool().lease(&self.route, &ask).await?;
        trusted(&lease)?;
        let listener = match on_node {
            Some(listen) => Some(remote::listen(&lease.connection, listen).await?.0),
            None => None,
        };
        Ok((lease, listener))
    }

    fn set_trouble(&self, why: Option<String>) {
        *lock(&self.trouble) = why;
    }

    /// The connection's lanes; waits a little while they are coming back.
    pub(super) async fn lanes(&self) -> Result<Arc<Lanes>, String> {
        let mut lanes = self.lanes.subscribe();
        let ready = tokio::time::timeout(WAIT, lanes.wait_for(Option::is_some)).await;
        match ready {
            Ok(Ok(lanes)) => lanes.clone().ok_or_else(|| "no connection".to_owned()),
            _ => Err("the connection to the node is lost".to_owned()),
        }
    }

    /// Asks a SOCKS client where it wants to go, and whether it may.
    pub(super) async fn client(&self, near: BoxStream, number: u64, peer: &str) -> Option<Client> {
        let client = match &self.target {
            Target::Socks => {
                let asked = tokio::time::timeout(REQUEST, request(near, self.login.clone())).await;
                match asked {
                    Ok(Ok(client)) => client,
                    Ok(Err(error)) => {
                        tracing::debug!("forward: {peer}: {error}");
                        return None;
                    }
                    Err(_) => return None,
                }
            }
            fixed => Client { near, head: Bytes::new(), target: fixed.clone(), version: None },
        };
        if self.acl.permits(&client.target) {
            return Some(client);
        }
        self.traffic.denied.fetch_add(1, Relaxed);
        let node = &self.route.plan.node;
        tracing::warn!("{node}: forward: {peer} may not go to {}", client.target);
        self.tell_conn("connDenied", number, |event| {
            event.peer = Some(peer.to_owned());
            event.target = Some(client.target.to_string());
        });
        let Client { mut near, version, .. } = client;
        say(&mut near, version, socks::NOT_ALLOWED).await;
        None
    }

    /// The target was not reached: tells the client.
    pub(super) async fn failed(&self, client: Client, number: u64, (code, why): (u8, String)) {
        let Client { mut near, version, target, .. } = client;
        self.unreached(&target, number, why);
        say(&mut near, version, code).await;
    }

    /// The target was not reached.
    pub(super) fn unreached(&self, target: &Target, number: u64, why: String) {
        self.traffic.failed.fetch_add(1, Relaxed);
        tracing::warn!("{}: forward to {target}: {why}", self.route.plan.node);
        self.tell_conn("connFailed", number, |event| {
            event.target = Some(target.to_string());
            event.error = Some(why);
        });
    }

    /// Carries one connection from here to its end.
    pub(super) async fn carry(
        &self,
        ends: ((BoxStream, Bytes), Far),
        flow: Option<&super::lanes::Flow>,
        number: u64,
        (peer, target): (String, String),
    ) {
        let entry = self.traffic.enter(number, peer.clone(), target.clone());
        // Where a core goes once nobody uses its forwards, this begins and ends its waiting.
        self.engine.commons.tell();
        self.tell_conn("connOpen", number, |event| {
            event.peer = Some(peer);
            event.target = Some(target);
        });
        let (near, far) = ends;
        let reason = relay(near, far, flow, &entry.carried, self.limits).await;
        match &reason {
            Reason::Error(why) => tracing::info!("{}: forward: {why}", self.route.plan.node),
            Reason::SlowReader => {
                let node = &self.route.plan.node;
                tracing::warn!("{node}: forward: a client that reads too slowly was cut off");
            }
            _ => {}
        }
        self.tell_conn("connClose", number, |event| {
            event.bytes_in = Some(entry.carried.up.load(Relaxed));
            event.bytes_out = Some(entry.carried.down.load(Relaxed));
            event.reason = Some(reason.word().to_owned());
            if let Reason::Error(why) = reason {
                event.error = Some(why);
            }
        });
        drop(entry);
        self.engine.commons.tell();
    }
}

/// Forwards lead nowhere over a connection whose host key is not the known one (ssh does so, too).
///
/// # Errors
/// It is such a one.
pub(super) fn trusted(lease: &Lease) -> Result<(), Error> {
    match lease.connection.facts().trusted {
        true => Ok(()),
        false => {
            let what = Cause::Untrusted { what: "port forwarding" };
            Err(Error::new(Phase::HostKey, what))
        }
    }
}

/// Answers a SOCKS client; others have no answer to wait for.
pub(super) async fn say(near: &mut BoxStream, version: Option<Version>, code: u8) {
    if let Some(version) = version {
        // A client that is gone shows when it is read.
        let _ = near.write_all(&socks::reply(version, code)).await;
    }
}

/// A client that has said where it wants to go, and waits for an answer.
pub(crate) struct Asked {
    pub near: BoxStream,
    /// What it has sent already for the other side.
    pub head: Bytes,
    pub host: String,
    pub port: u16,
    /// The answer if it may go there, and if not.
    pub granted: Vec<u8>,
    pub denied: Vec<u8>,
}

/// Asks a SOCKS client where it wants to go; the answer is the caller's.
///
/// # Errors
/// It has gone, or (kind `Other`) it was refused.
pub(crate) async fn request_of(near: BoxStream) -> io::Result<Asked> {
    let Client { near, head, target, version } = request(near, None).await?;
    let (Target::Tcp { host, port }, Some(version)) = (target, version) else {
        return Err(io::Error::other("no host and port"));
    };
    let reply = |code: u8| socks::reply(version, code);
    let (granted, denied) = (reply(socks::SUCCEEDED), reply(socks::NOT_ALLOWED));
    Ok(Asked { near, head, host, port, granted, denied })
}

async fn request(mut near: BoxStream, login: Option<Login>) -> io::Result<Client> {
    let mut socks = Socks::new(login);
    let mut buffer = [0_u8; 512];
    let mut step = Step::More;
    loop {
        step = match step {
            Step::More => match near.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => socks.feed(buffer.get(..n).unwrap_or_default()),
            },
            Step::Say(reply) => {
                near.write_all(&reply).await?;
                socks.feed(&[])
            }
            Step::Connect { version, host, port, rest } => {
                let target = Target::Tcp { host, port };
                return Ok(Client { near, head: rest.into(), target, version: Some(version) });
            }
            Step::Refuse { reply, why } => {
                near.write_all(&reply).await?;
                near.shutdown().await?;
                return Err(io::Error::other(why));
            }
        };
    }
}
