//! The connections of a gate: limits, who may go where, greetings, relay, and an event for each.

use super::door::{Door, passes};
use super::inspect::{GREETING, Objection, Pin, exchange, greeting};
use super::plan::Plan;
use super::upstream::{Connected, Failed, connect};
use crate::engine::Engine;
use crate::forward::relay::{Limits, Reason, relay};
use crate::forward::traffic::Traffic;
use crate::forward::{Asked, request};
use crate::run::millis;
use bssh_protocol::exec::Settings;
use bssh_protocol::gate::{GateEntry, GateEvent, GateId, GateMode, Restart};
use bssh_protocol::lock;
use bssh_ssh::BoxStream;
use bytes::Bytes;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, split};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What the tasks of one gate share.
pub(super) struct Gate {
    pub id: GateId,
    pub plan: Plan,
    pub settings: Settings,
    pub engine: Arc<Engine>,
    pub traffic: Arc<Traffic<GateEvent>>,
    /// Connections, also those of a gate this one took the place of.
    pub connections: Arc<Mutex<JoinSet<()>>>,
    /// What a new plan may take over.
    pub listeners: Mutex<Vec<(SocketAddr, Arc<TcpListener>)>>,
    /// Open connections of each entry.
    pub open: Vec<AtomicU32>,
}

const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const ACCEPT_LATER: Duration = Duration::from_secs(5);
/// For a client to say where it wants to go.
const REQUEST: Duration = Duration::from_secs(10);

/// Why a connection may not be.
struct Denial<'a> {
    /// The entry it was for, if that is known.
    entry: Option<&'a GateEntry>,
    /// Where it wanted to go, if not there.
    to: Option<String>,
    error: Option<String>,
    rule: &'static str,
}

impl<'a> Denial<'a> {
    fn of(rule: &'static str) -> Denial<'a> {
        Denial { entry: None, to: None, error: None, rule }
    }
}

/// A request that is none.
fn unread<'a>(why: &str) -> Option<Denial<'a>> {
    Some(Denial { error: Some(why.to_owned()), ..Denial::of("error") })
}

impl Gate {
    pub(super) fn tell(&self, state: &str, fill: impl FnOnce(&mut GateEvent)) {
        self.traffic.tell(|seq, dropped| {
            let mut event = GateEvent {
                seq,
                dropped,
                gate: self.id,
                name: self.plan.spec.name.clone(),
                state: state.to_owned(),
                ..GateEvent::default()
            };
            fill(&mut event);
            event
        });
    }

    /// Accepts until it is aborted; whatever goes wrong is waited out, or the door opened again.
    pub(super) async fn accept(self: Arc<Self>, mut door: Door) {
        let mut pause = ACCEPT_AGAIN;
        loop {
            let error = match door.next().await {
                Ok((stream, peer, entry)) => {
                    pause = ACCEPT_AGAIN;
                    self.admit(stream, peer, entry);
                    continue;
                }
                Err(error) => error,
            };
            self.tell("acceptFailed", |e| e.error = Some(error.to_string()));
            if !passes(&error) {
                let Some(again) = self.again(door, &error).await else { return };
                door = again;
                continue;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ACCEPT_LATER);
        }
    }

    /// Serves a connection if there is room for one more. Those count, too, that have not said
    /// yet where they want to go, or are not there yet.
    fn admit(self: &Arc<Self>, stream: BoxStream, peer: String, entry: Option<usize>) {
        let number = self.traffic.number();
        let mut all = lock(&self.connections);
        while all.try_join_next().is_some() {}
        if all.len() < self.plan.spec.max_conns as usize {
            all.spawn(self.clone().one(number, stream, peer, entry));
            return;
        }
        drop(all);
        let entry = entry.and_then(|at| self.plan.spec.entries.get(at));
        self.denied(number, &peer, &Denial { entry, ..Denial::of("limit") });
    }

    /// Opens a door again that cannot accept any more, however long that takes. None: the gate
    /// ends instead (`restart: never`).
    async fn again(&self, door: Door, error: &std::io::Error) -> Option<Door> {
        tracing::warn!("gate {}: a listener has failed: {error}", self.plan.spec.name);
        let failed = |error: String| self.tell("listenerFailed", |e| e.error = Some(error));
        failed(error.to_string());
        if self.plan.spec.restart == Restart::Never {
            let (engine, name, id) = (self.engine.clone(), self.plan.spec.name.clone(), self.id);
            let why = Some(error.to_string());
            let end = async move {
                engine.gate_end(&name, Some(id), Some(0), why).await;
            };
            self.engine.spawn(end).await;
            return None;
        }
        let mut pause = ACCEPT_AGAIN;
        self.forget(&door);
        let place = door.close()?;
        loop {
            match place.open().await {
                Ok(door) => {
                    self.remember(&door);
                    self.tell("listening", |_| {});
                    return Some(door);
                }
                Err(error) => failed(error.to_string()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ACCEPT_LATER);
        }
    }

    /// Takes a listener out of those a new plan may take over.
    fn forget(&self, door: &Door) {
        let Some(listener) = door.listener() else { return };
        let mut all = lock(&self.listeners);
        all.retain(|(_, one)| !Arc::ptr_eq(one, listener));
    }

    fn remember(&self, door: &Door) {
        let Some(listener) = door.listener() else { return };
        let Ok(address) = listener.local_addr() else { return };
        let mut all = lock(&self.listeners);
        all.push((address, listener.clone()));
    }

    async fn one(
        self: Arc<Self>,
        number: u64,
        near: BoxStream,
        peer: String,
        entry: Option<usize>,
    ) {
        let entry = match entry {
            Some(at) => Ok((at, near)),
            None => {
                let asked = tokio::time::timeout(REQUEST, self.asked(near)).await;
                asked.unwrap_or_else(|_| Err(unread("it has not said where it wants to go")))
            }
        };
        let (at, near) = match entry {
            Ok(found) => found,
            Err(None) => return,
            Err(Some(denial)) => return self.denied(number, &peer, &denial),
        };
        let Some(entry) = self.plan.spec.entries.get(at) else { return };
        let Some(_place) = self.place(at, entry) else {
            let denial = Denial { entry: Some(entry), ..Denial::of("limit") };
            return self.denied(number, &peer, &denial);
        };
        self.carry(near, number, &peer, entry).await;
    }

    /// One connection of an entry more, if there may be.
    fn place(&self, at: usize, entry: &GateEntry) -> Option<Place<'_>> {
        let open = self.open.get(at)?;
        let most = entry.max_conns;
        let taken = open.fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1));
        taken.is_ok().then_some(Place(open))
    }

    /// Asks a client where it wants to go. An error is why not there; none: it has gone.
    async fn asked(&self, near: BoxStream) -> Result<(usize, BoxStream), Option<Denial<'_>>> {
        let asked = match self.plan.spec.mode {
            GateMode::Socks => request(near).await,
            _ => line(near).await,
        };
        let Asked { mut near, head, host, port, granted, denied } =
            asked.map_err(|error| match error.kind() {
                ErrorKind::Other => unread(&error.to_string()),
                _ => None,
            })?;
        let listed = |e: &GateEntry| {
            let same = |name: &str| name.eq_ignore_ascii_case(&host);
            e.port == port && (same(&e.hostname) || same(&e.alias))
        };
        let found = self.plan.spec.entries.iter().position(listed);
        let answer = if found.is_some() { granted } else { denied };
        let answered = near.write_all(&answer).await;
        let to = Some(format!("{host}:{port}"));
        let at = found.ok_or_else(|| Some(Denial { to, ..Denial::of("notListed") }))?;
        answered.map_err(|_| None)?;
        Ok((at, after(head, near)))
    }

    fn denied(&self, number: u64, peer: &str, denial: &Denial<'_>) {
        self.traffic.denied.fetch_add(1, Relaxed);
        let upstream = |entry: &GateEntry| format!("{}:{}", entry.hostname, entry.port);
        let to = denial.to.clone().or_else(|| denial.entry.map(upstream)).unwrap_or_default();
        let to: String = to.chars().filter(|c| !c.is_control()).take(300).collect();
        let rule = denial.rule;
        let why = denial.error.as_deref().unwrap_or(rule);
        tracing::warn!("gate {}: {peer} may not go to \"{to}\": {why}", self.plan.spec.name);
        self.tell("connDenied", |e| {
            e.conn = Some(number);
            e.peer = Some(peer.to_owned());
            e.alias = denial.entry.map(|entry| entry.alias.clone());
            e.upstream = Some(to).filter(|to| !to.is_empty());
            e.reason = Some(rule.to_owned());
            e.error.clone_from(&denial.error);
        });
    }

    async fn carry(&self, near: BoxStream, number: u64, peer: &str, entry: &GateEntry) {
        let begun = Instant::now();
        let wanted = format!("{}:{}", entry.hostname, entry.port);
        let upstream = match connect(&self.engine, &self.plan, entry, &self.settings).await {
            Ok(upstream) => upstream,
            Err(Failed::Denied(why)) => {
                let denial = Denial { entry: Some(entry), to: Some(why), ..Denial::of("address") };
                return self.denied(number, peer, &denial);
            }
            Err(Failed::Dial(why)) => {
                self.traffic.failed.fetch_add(1, Relaxed);
                return self.tell("connClose", |e| {
                    e.conn = Some(number);
                    e.peer = Some(peer.to_owned());
                    e.alias = Some(entry.alias.clone());
                    e.upstream = Some(wanted);
                    e.via = entry.via.clone();
                    e.ms = Some(millis(begun.elapsed()));
                    e.reason = Some("dialFailed".to_owned());
                    e.error = Some(why);
                });
            }
        };
        let named = upstream.named.clone();
        let live = self.traffic.enter(number, peer.to_owned(), named.clone());
        let about = |e: &mut GateEvent| {
            e.conn = Some(number);
            e.peer = Some(peer.to_owned());
            e.alias = Some(entry.alias.clone());
            e.upstream = Some(named.clone());
            e.via = entry.via.clone();
        };
        self.tell("connOpen", about);
        let (reason, error) = match self.inspected(near, upstream.stream, entry).await {
            Err(Objection::NotSsh) => ("notSsh", None),
            Err(Objection::HostKeyMismatch) => ("hostKeyMismatch", None),
            Ok((near, far)) => {
                let idle = Some(Duration::from_millis(self.plan.spec.idle_timeout_ms));
                let limits =
                    Limits { buffer: 64 * 1024, idle: idle.filter(|idle| !idle.is_zero()) };
                let (far, _kept) = far.into_far();
                match relay((near, Bytes::new()), far, None, &live.carried, limits).await {
                    Reason::Error(why) => ("error", Some(why)),
                    reason => (reason.word(), None),
                }
            }
        };
        self.tell("connClose", |e| {
            about(e);
            e.ms = Some(millis(begun.elapsed()));
            e.bytes_up = Some(live.carried.up.load(Relaxed));
            e.bytes_down = Some(live.carried.down.load(Relaxed));
            e.reason = Some(reason.to_owned());
            e.error = error;
        });
    }

    /// Both ends again once both have greeted, and the host key was the right one.
    async fn inspected(
        &self,
        near: BoxStream,
        far: Connected,
        entry: &GateEntry,
    ) -> Result<(BoxStream, Connected), Objection> {
        let pin = entry.host_key.as_deref().and_then(Pin::parse);
        if !self.plan.spec.banner_check && pin.is_none() {
            return Ok((near, far));
        }
        match far {
            Connected::Socket(far) => {
                let (near, far) = greeted(near, far, pin).await?;
                Ok((near, Connected::Socket(far)))
            }
            Connected::Channel(channel, lease, resident) => {
                let (near, channel) = greeted(near, *channel, pin).await?;
                Ok((near, Connected::Channel(Box::new(channel), lease, resident)))
            }
        }
    }
}

async fn greeted<F>(near: BoxStream, far: F, pin: Option<Pin>) -> Result<(BoxStream, F), Objection>
where
    F: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (mut near_read, mut near_write) = split(near);
    let (mut far_read, mut far_write) = split(far);
    let up = async {
        let rest = greeting(&mut near_read, &mut far_write).await?;
        far_write.write_all(&rest).await.map_err(|_| Objection::NotSsh)?;
        if pin.is_some() {
            // The client's key exchange goes on while the server's is looked at.
            let _ = tokio::io::copy(&mut near_read, &mut far_write).await;
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    let down = async {
        let rest = greeting(&mut far_read, &mut near_write).await?;
        let rest = match &pin {
            Some(pin) => exchange(pin, rest, &mut far_read, &mut near_write).await?,
            None => rest.freeze(),
        };
        near_write.write_all(&rest).await.map_err(|_| Objection::NotSsh)
    };
    let both = async {
        match pin.is_some() {
            false => tokio::try_join!(up, down).map(|_| ()),
            true => tokio::select! {
                up = up => up,
                down = down => down,
            },
        }
    };
    tokio::time::timeout(GREETING, both).await.unwrap_or(Err(Objection::NotSsh))?;
    Ok((near_read.unsplit(near_write), far_read.unsplit(far_write)))
}

/// Reads `HOST PORT`, a client's first line in mode `proxy`.
async fn line(near: BoxStream) -> io::Result<Asked> {
    let mut near = BufReader::new(near);
    let mut line = String::new();
    let read = (&mut near).take(1024).read_line(&mut line).await;
    if read.is_ok_and(|n| n == 0) {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let parts = line.strip_suffix('\n').and_then(|line| line.trim().split_once(' '));
    let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    let (host, port) = parts.ok_or_else(|| io::Error::other("no line HOST PORT"))?;
    let head = Bytes::copy_from_slice(near.buffer());
    let (granted, denied) = (b"ok\n".to_vec(), b"denied\n".to_vec());
    Ok(Asked { near: near.into_inner(), head, host, port, granted, denied })
}

/// The stream, after what was read of it already.
fn after(head: Bytes, near: BoxStream) -> BoxStream {
    if head.is_empty() {
        return near;
    }
    let (read, write) = split(near);
    Box::new(tokio::io::join(io::Cursor::new(head).chain(read), write))
}

/// An open connection's place among those of its entry.
struct Place<'a>(&'a AtomicU32);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
