//! From a plan to an authenticated connection: dial, handshake with host-key check, log in.

use crate::algorithms;
use crate::ask::Ask;
use crate::auth;
use crate::dial::dial;
use crate::error::{Error, ErrorKind, Phase};
use crate::handler::{Handler, Shared, handshake_error};
use crate::host_key;
use crate::plan::ConnectPlan;
use crate::proxy::Proxy;
use crate::wire::{BoxStream, Carrier, KillSwitch, Wire};
use russh::client::{Config, Handle};
use russh::keys::PublicKey;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// What carries a new connection.
pub enum Via {
    /// TCP, or the plan's proxy command.
    Dial,
    /// A channel through a hop.
    Stream(BoxStream),
}

/// What was agreed on.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Where we are connected to: `127.0.0.1 port 22`, or the host behind a hop.
    pub address: String,
    pub host_key_type: String,
    /// `SHA256:…`
    pub host_key: String,
    /// The method that let us in.
    pub auth: String,
    pub kex: String,
    pub cipher: String,
    /// From dialing to being let in.
    pub connect: Duration,
    /// The host key is one to trust: false if another was known and policy let it through.
    pub trusted: bool,
}

/// One authenticated connection. Clones are the same connection; dropping the last one ends it.
#[derive(Clone)]
pub struct Connection {
    pub(crate) inner: Arc<Inner>,
}

/// What an agent is told about a connection (`session-bind@openssh.com`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// As the server sent it; a certificate if it has one.
    pub host_key: Vec<u8>,
    /// The hash of the first key exchange.
    pub session_id: Vec<u8>,
    /// The host key's signature of it, verified.
    pub signature: Vec<u8>,
}

pub(crate) struct Inner {
    pub(crate) handle: Handle<Handler>,
    pub(crate) shared: Arc<Shared>,
    facts: Facts,
    kill: KillSwitch,
    /// Channels nobody waits for any more; each keeps the connection.
    pub(crate) given_up: AtomicUsize,
    /// What goes on beside the connection's users; ends with it.
    _tasks: JoinSet<()>,
}

/// Window of a channel: what the server may send before we say that we took it.
const WINDOW: u32 = 2 << 20;
/// How long a server takes at most to send what it may send now.
const SETTLING: Duration = Duration::from_millis(50);
/// A server that has not answered within this time may have more to say whenever it does.
const SLOWEST: Duration = Duration::from_secs(60);
/// Messages of a channel that may wait to be read: more than a window of full packets.
const fn channel_queue(window: u32) -> usize {
    2 * (window as usize / PACKET as usize)
}
const PACKET: u32 = 32 * 1024;

/// How long a server may take to prove that it has its host keys.
const PROOF: Duration = Duration::from_secs(5);

/// Gets one connection. Dropping the future leaves neither a socket nor a task.
///
/// # Errors
/// The phase it failed in, and why.
pub async fn connect(
    plan: Arc<ConnectPlan>,
    via: Via,
    ask: Arc<dyn Ask>,
) -> Result<Connection, Error> {
    let begun = Instant::now();
    let proxied = matches!(via, Via::Dial) && plan.proxy_command.is_some();
    let (carrier, peer, address) = carrier(&plan, via, &ask).await?;
    let (wire, kill) = Wire::new(carrier);
    ask.say(|| format!("Local version string {CLIENT_ID}"));
    let shared = Shared::new();
    // Dropped with this future, and as soon as the handshake is over.
    let (waiting, wanted) = oneshot::channel();
    let wanted = Some(wanted);
    let (told, rules) = (shared.clone(), plan.clone());
    let handler = Handler { shared: told, plan: rules, ask: ask.clone(), peer, wanted };
    let config = Arc::new(config(&plan).await?);
    let handshake = russh::client::connect_stream(config, wire, handler);
    let handshake =
        within(plan.timeouts.handshake, || shared.asking.load(Ordering::Relaxed), handshake).await;
    drop(waiting);
    if !kill.software().is_empty() {
        let software = kill.software();
        ask.say(|| format!("Remote protocol version 2.0, remote software version {software}"));
    }
    let mut handle = handshake.ok_or_else(|| timed_out(&plan))?.map_err(|e| {
        match handshake_error(e, &shared, &address) {
            // Nothing is known of a server there: the command has ended, or closed its stdout.
            Error { kind: ErrorKind::ClosedEarly { .. }, .. } if proxied => {
                let said = "it ended before a server answered".to_owned();
                Error::new(Phase::Dial, ErrorKind::ProxyCommand(said))
            }
            error => error,
        }
    })?;
    let verdict = shared.state().verdict.take().unwrap_or_default();
    ask.say(|| format!("Authenticating to {address} as '{}'", plan.user));
    let done =
        auth::authenticate(&mut handle, (&plan, kill.software()), &verdict, ask.as_ref()).await;
    let done = match done {
        Err(error) if matches!(error.kind, ErrorKind::TooManyAuthFailures { .. }) => {
            Err(auth::closed(error, shared.said().await.as_deref()))
        }
        done => done,
    }?;
    let facts = {
        let state = shared.state();
        Facts {
            address,
            host_key_type: verdict.key_type.clone(),
            host_key: verdict.fingerprint.clone(),
            auth: done.method,
            kex: state.kex.clone(),
            cipher: state.cipher.clone(),
            connect: begun.elapsed(),
            trusted: verdict.trusted,
        }
    };
    let inner = Arc::new_cyclic(|inner| {
        let mut tasks = JoinSet::new();
        if verdict.updatable {
            let announced = shared.announced.subscribe();
            tasks.spawn(learn_keys(inner.clone(), announced, plan, ask));
        }
        let given_up = AtomicUsize::new(0);
        Inner { handle, shared, facts, kill, given_up, _tasks: tasks }
    });
    Ok(Connection { inner })
}

/// Waits for the server to announce its host keys, has it prove the new ones, and files them
/// (`UpdateHostKeys`). Whoever uses the connection does not wait for that.
async fn learn_keys(
    inner: Weak<Inner>,
    mut announced: watch::Receiver<Vec<PublicKey>>,
    plan: Arc<ConnectPlan>,
    ask: Arc<dyn Ask>,
) {
    let rules = &plan.host_keys;
    let keys = match announced.wait_for(|keys| !keys.is_empty()).await {
        Ok(keys) => {
            let wanted = |key: &&PublicKey| host_key::is_wanted(&plan.algorithms.host_keys, key);
            host_key::to_learn(rules, &keys.iter().filter(wanted).cloned().collect::<Vec<_>>())
        }
        Err(_) => None,
    };
    let (Some(keys), Some(inner)) = (keys, inner.upgrade()) else { return };
    let proof = tokio::time::timeout(PROOF, inner.handle.hostkeys_prove(keys.clone())).await;
    if matches!(proof, Ok(Ok(()))) {
        host_key::learn(rules, &keys, ask.as_ref()).await;
    }
}

async fn carrier(
    plan: &ConnectPlan,
    via: Via,
    ask: &Arc<dyn Ask>,
) -> Result<(Carrier, Option<IpAddr>, String), Error> {
    let named = format!("{} port {}", plan.address.host, plan.address.port);
    match (via, &plan.proxy_command) {
        (Via::Stream(stream), _) => {
            ask.say(|| format!("Connected to {named} through a jump host."));
            Ok((Carrier::Other(stream), None, named))
        }
        (Via::Dial, Some(command)) => {
            ask.say(|| format!("Executing proxy command: exec {}", command.text));
            let proxy = Proxy::start(command, plan.children.as_ref(), ask)?;
            Ok((Carrier::Other(Box::new(proxy)), None, named))
        }
        (Via::Dial, None) => {
            let told = Some(ask.as_ref());
            let tcp = dial(&plan.address, plan.tcp_keepalive, plan.timeouts.dial, told).await?;
            limit_silence(&tcp, plan);
            let peer = tcp.peer_addr().ok();
            let named = peer.map_or(named, |p| format!("{} port {}", p.ip(), p.port()));
            Ok((tcp.into(), peer.map(|p| p.ip()), named))
        }
    }
}

/// What is written and not acknowledged must not wait longer than keepalive messages do.
fn limit_silence(tcp: &tokio::net::TcpStream, plan: &ConnectPlan) {
    let limit = plan.keepalive.interval.saturating_mul(plan.keepalive.count.saturating_add(1));
    if let (false, Ok(limit)) = (limit.is_zero(), u32::try_from(limit.as_millis())) {
        // Where the system knows no such limit, the keepalive messages are one.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_user_timeout(tcp, limit);
    }
}

async fn config(plan: &ConnectPlan) -> Result<Config, Error> {
    let host_keys = match plan.algorithms.host_keys.is_empty() {
        true => host_key::preferred_types(&plan.host_keys).await,
        false => plan.algorithms.host_keys.clone(),
    };
    // To the library no count is no limit; to ssh it is an interval without an answer.
    let (interval, count) = match (plan.keepalive.interval, plan.keepalive.count) {
        (interval, 0) => (interval / 2, 1),
        (interval, count) => (interval, count),
    };
    let interval = Some(interval).filter(|i| !i.is_zero());
    let window = plan.window.unwrap_or(WINDOW);
    let mut config = Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(CLIENT_ID)),
        window_size: window,
        maximum_packet_size: PACKET,
        channel_buffer_size: channel_queue(window),
        preferred: algorithms::preferred(&plan.algorithms, &host_keys)?,
        inactivity_timeout: None,
        keepalive_interval: interval,
        keepalive_max: usize::try_from(count).unwrap_or(usize::MAX),
        nodelay: true,
        ..Config::default()
    };
    let bytes = plan.algorithms.rekey_bytes.map_or(REKEY, |bytes| bytes.min(REKEY));
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    config.limits.rekey_read_limit = bytes;
    config.limits.rekey_write_limit = bytes;
    config.limits.rekey_time_limit = plan.algorithms.rekey_time.unwrap_or(NEVER);
    Ok(config)
}

/// What one key of a cipher with blocks of 128 bits is good for, in bytes: RFC 4344 section 3.2,
/// and what ssh does without `RekeyLimit`. Seldom is better, too: while keys are exchanged the
/// library takes two windows of what is on its way, and ends a connection of more
/// (docs/upstream-russh.md).
const REKEY: u64 = 64 << 30;
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

const CLIENT_ID: &str = concat!("SSH-2.0-bssh_", env!("CARGO_PKG_VERSION"));

/// Awaits a step, but no longer than `limit` of the time in which nobody is being asked.
pub(crate) async fn within<F: Future>(
    limit: Option<Duration>,
    asking: impl Fn() -> bool,
    step: F,
) -> Option<F::Output> {
    let Some(limit) = limit else { return Some(step.await) };
    tokio::pin!(step);
    loop {
        match tokio::time::timeout(limit, &mut step).await {
            Ok(done) => return Some(done),
            Err(_) if asking() => {}
            Err(_) => return None,
        }
    }
}

fn timed_out(plan: &ConnectPlan) -> Error {
    let seconds = plan.timeouts.handshake.unwrap_or_default().as_secs_f64();
    Error::new(Phase::Handshake, ErrorKind::HandshakeTimeout { seconds })
}

impl Connection {
    /// What was agreed on.
    pub fn facts(&self) -> &Facts {
        &self.inner.facts
    }

    /// What binds an agent to this connection: host key, session id, the host key's signature.
    /// None if the key exchange gave none.
    pub fn binding(&self) -> Option<Binding> {
        let binding = self.inner.handle.agent_session_binding()?;
        Some(Binding {
            host_key: binding.host_key().to_vec(),
            session_id: binding.session_id().to_vec(),
            signature: binding.signature().to_vec(),
        })
    }

    /// Waits for the end of the connection, and says why it ended.
    pub async fn closed(&self) -> Error {
        let mut ended = self.inner.shared.ended.subscribe();
        let why = ended.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        let unknown = || ErrorKind::Lost(String::new());
        Error::new(Phase::Exec, why.map_or_else(unknown, |why| why.kind()))
    }

    /// The connection has ended.
    pub fn is_closed(&self) -> bool {
        self.inner.handle.is_closed()
    }

    /// The connection has ended, or the server has closed it and that was not read yet: nothing new
    /// is to begin here.
    pub fn is_closing(&self) -> bool {
        self.is_closed() || self.inner.kill.has_hung_up()
    }

    /// The node still answers, within this time.
    pub async fn answers(&self, limit: Duration) -> bool {
        let asked = tokio::time::timeout(limit, self.inner.handle.send_ping()).await;
        matches!(asked, Ok(Ok(()))) && !self.is_closed()
    }

    /// Returns once the server has nothing more to send, if all keeps silent: after a pause it has
    /// answered twice. With the first answer it has heard what we have taken, and goes on with
    /// what was held up for want of window; that comes before the second. Never returns where it
    /// does not answer.
    pub async fn settled(&self, pause: Duration) {
        for pause in [pause, SETTLING] {
            tokio::time::sleep(pause).await;
            if !self.answers(SLOWEST).await {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks for new keys, RFC 4253 section 9; what is on the way is not lost.
    pub async fn rekey(&self) {
        // A connection that is gone needs no keys.
        let _ = self.inner.handle.rekey_soon().await;
    }

    /// Says goodbye and ends the connection.
    pub async fn close(&self) {
        let bye = russh::Disconnect::ByApplication;
        // A connection that is gone needs no goodbye.
        let _ = self.inner.handle.disconnect(bye, "", "").await;
    }

    /// A lost connection says why itself.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match (&error.kind, self.inner.shared.ended.borrow().as_ref()) {
            (ErrorKind::Lost(_), Some(why)) => Error::new(error.phase, why.kind()),
            _ => error,
        }
    }
}
