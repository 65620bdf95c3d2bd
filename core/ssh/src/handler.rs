//! What russh calls us for: the host key, the end, and channels the server opens.
//!
//! Nothing is awaited here but the host-key decision, before which nothing else can happen.
//! Channels that were not asked for are refused; asked-for ones go into a bounded queue.

use crate::algorithms;
use crate::ask::{Ask, Note, NoteLevel};
use crate::channel::Incoming;
use crate::error::{Error, ErrorKind, Phase};
use crate::host_key::{self, Presented, Verdict};
use crate::listening::{Listeners, Listening};
use crate::locking::lock;
use crate::plan::ConnectPlan;
use crate::refusal::refused;
use russh::client::{ChannelOpenHandle, DisconnectReason, Msg, Session};
use russh::keys::{HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Channel, ChannelId, ChannelOpenFailure, Names};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// For the end of a connection to be told.
const MOMENT: Duration = Duration::from_secs(1);

/// What handler and connection both see.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Why the connection ended, once it has.
    pub(crate) ended: watch::Sender<Option<End>>,
    /// The host keys the server says it has, not proven yet.
    pub(crate) announced: watch::Sender<Vec<PublicKey>>,
    /// A person is being asked: the handshake's clock stands still.
    pub(crate) asking: AtomicBool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) verdict: Option<Verdict>,
    /// Why the host key was refused.
    pub(crate) refused: Option<Error>,
    pub(crate) kex: String,
    pub(crate) cipher: String,
    pub(crate) listeners: Listeners,
    /// Channels that wait for the server to open them.
    opening: usize,
    /// What it has said about those it refuses, oldest first; never more than `opening`.
    said: VecDeque<String>,
}

/// A channel that waits to be opened. russh gives the reason of a refusal and not the server's
/// words; answers come in the order in which they are taken here.
pub(crate) struct Opening<'a>(&'a Shared);

impl Opening<'_> {
    /// Why it was not opened.
    pub(crate) fn refused(&self, error: russh::Error) -> Error {
        let said = match error {
            russh::Error::ChannelOpenFailure(_) => self.0.state().said.pop_front(),
            _ => None,
        };
        refused(error, said.unwrap_or_default())
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.opening -= 1;
        if state.opening == 0 {
            // Those that nobody waited for any more.
            state.said.clear();
        }
    }
}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Shared {
            state: Mutex::default(),
            ended: watch::channel(None).0,
            announced: watch::channel(Vec::new()).0,
            asking: AtomicBool::new(false),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A channel is about to be opened.
    pub(crate) fn opening(&self) -> Opening<'_> {
        self.state().opening += 1;
        Opening(self)
    }

    /// What the server said when it ended the connection, if it has. Its end is told a moment after
    /// whoever waits for an answer has heard that there is none.
    pub(crate) async fn said(&self) -> Option<String> {
        let mut ended = self.ended.subscribe();
        let end = tokio::time::timeout(MOMENT, ended.wait_for(Option::is_some)).await;
        match end.ok()?.ok()?.as_ref() {
            Some(End::Said(text)) => Some(text.clone()),
            _ => None,
        }
    }

    fn end(&self, why: End) {
        self.ended.send_if_modified(|ended| ended.is_none() && ended.replace(why).is_none());
        // Nobody will open a channel any more: whoever accepts learns it.
        self.state().listeners.clear();
    }
}

/// One connection's handler.
pub(crate) struct Handler {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: Arc<ConnectPlan>,
    pub(crate) ask: Arc<dyn Ask>,
    pub(crate) peer: Option<IpAddr>,
    /// Fails once nobody waits for the connection any more; taken by the first check.
    pub(crate) wanted: Option<oneshot::Receiver<Infallible>>,
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.shared.end(End::Said("the connection was closed".to_owned()));
    }
}

impl Handler {
    /// Hands an open request to whoever listens there.
    fn offer(&self, to: Listening, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        self.shared.state().listeners.offer(to, Incoming::new(channel, reply));
    }
}

impl russh::client::Handler for Handler {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let offered = &self.plan.algorithms.host_keys;
        if !algorithms::names(offered, key) {
            let theirs = key.public_key().algorithm().as_str().to_owned();
            self.shared.state().refused = Some(no_common(KEY, offered, &[theirs]));
            return Ok(false);
        }
        let presented = Presented::from(key);
        self.shared.asking.store(true, Ordering::Relaxed);
        let rules = &self.plan.host_keys;
        let wanted = self.wanted.take();
        let given_up = async {
            match wanted {
                Some(wanted) => drop(wanted.await),
                // A later check is of a connection that is there.
                None => std::future::pending().await,
            }
        };
        // russh checks in a task of its own, which outlives whoever gives the connection up: the
        // question is withdrawn, and an answer that comes too late changes nothing.
        let decided = tokio::select! {
            decided = host_key::check(rules, &presented, self.peer, self.ask.as_ref()) => decided,
            () = given_up => return Ok(false),
        };
        self.shared.asking.store(false, Ordering::Relaxed);
        let mut state = self.shared.state();
        match decided {
            Ok(verdict) => state.verdict = Some(verdict),
            Err(error) => state.refused = Some(error),
        }
        Ok(state.refused.is_none())
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut Session) -> Result<(), russh::Error> {
        if self.plan.banner {
            let text = printable_lines(banner);
            self.ask.note(Note { level: NoteLevel::Banner, text });
        }
        Ok(())
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let mut state = self.shared.state();
        names.kex.as_ref().clone_into(&mut state.kex);
        names.cipher.as_ref().clone_into(&mut state.cipher);
        drop(state);
        let ask = self.ask.as_ref();
        ask.say(|| format!("kex: algorithm: {}", names.kex.as_ref()));
        ask.say(|| format!("kex: host key algorithm: {}", names.key));
        for (way, mac, compression) in [
            ("server->client", &names.server_mac, &names.server_compression),
            ("client->server", &names.client_mac, &names.client_compression),
        ] {
            ask.say(|| {
                let cipher = names.cipher.as_ref();
                let with_mac = !cipher.starts_with("chacha20-") && !cipher.contains("-gcm@");
                let mac = if with_mac { mac.as_ref() } else { "<implicit>" };
                let compression = match format!("{compression:?}").as_str() {
                    "None" => "none",
                    _ => "zlib",
                };
                format!("kex: {way} cipher: {cipher} MAC: {mac} compression: {compression}")
            });
        }
        // Scripts count the key exchanges of a session by this line of ssh's.
        ask.say(|| "SSH2_MSG_NEWKEYS sent".to_owned());
        Ok(())
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        keys: Vec<PublicKey>,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.shared.announced.send_replace(keys);
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<russh::Error>,
    ) -> Result<(), russh::Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let text: String = info.message.chars().filter(|c| !c.is_control()).collect();
                self.shared.end(End::Said(format!("the server disconnected: {text}")));
                Ok(())
            }
            DisconnectReason::Error(error) => {
                self.shared.end(lost(&error, self.plan.keepalive.count.max(1)));
                Err(error)
            }
        }
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        _: ChannelOpenFailure,
        text: &str,
        _: &str,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        let mut state = self.shared.state();
        if state.said.len() < state.opening {
            state.said.push_back(text);
        }
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.offer(Listening::Tcp(address.to_owned(), port), channel, reply);
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.offer(Listening::Unix(path.to_owned()), channel, reply);
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.offer(Listening::Agent, channel, reply);
        Ok(())
    }

    fn should_accept_unknown_server_channel(
        &mut self,
        _: ChannelId,
        _: &str,
    ) -> impl Future<Output = bool> + Send {
        std::future::ready(false)
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }
}

/// `SHA256:…` of a key as it goes over the wire, whether we can read it or not.
pub fn key_fingerprint(blob: &[u8]) -> String {
    use base64::Engine;
    let digest = ring::digest::digest(&ring::digest::SHA256, blob);
    format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest))
}

/// A key's type as it goes over the wire, such as `ssh-ed25519`.
pub fn key_type(blob: &[u8]) -> String {
    let name = blob
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?));
    let name = name.filter(|n| n.len() <= 64).unwrap_or_default();
    name.iter().copied().filter(u8::is_ascii_graphic).map(char::from).collect()
}

/// A server's text for a terminal: lines, tabs, and nothing else that drives it.
fn printable_lines(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\r' | '\n' | '\t')).collect()
}

/// `SHA256:…` of a key.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// So many keepalive messages had no answer: the node may not know of it.
    Silent(u32),
    Said(String),
}

impl End {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            End::Silent(count) => ErrorKind::KeepaliveTimeout { count: *count },
            End::Said(why) => ErrorKind::Lost(why.clone()),
        }
    }
}

fn lost(error: &russh::Error, keepalives: u32) -> End {
    End::Said(match error {
        russh::Error::KeepaliveTimeout => return End::Silent(keepalives),
        russh::Error::HUP | russh::Error::Disconnect => "closed by the server".to_owned(),
        russh::Error::IO(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "closed by the server".to_owned()
        }
        // As ssh says it: the bytes were changed on the way.
        russh::Error::PacketAuth | russh::Error::DecryptionError => {
            "message authentication code incorrect".to_owned()
        }
        other => other.to_string(),
    })
}

/// A failed handshake in our words.
pub(crate) fn handshake_error(error: russh::Error, shared: &Shared, address: &str) -> Error {
    if let Some(refused) = shared.state().refused.take() {
        return refused;
    }
    let kind = match error {
        russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, ours, theirs } => {
            return no_common(KEY, &ours, &theirs);
        }
        russh::Error::NoCommonAlgo { kind, ours, theirs } => {
            return no_common(&format!("{kind:?}").to_lowercase(), &ours, &theirs);
        }
        russh::Error::HUP | russh::Error::Disconnect => {
            ErrorKind::ClosedEarly { address: address.to_owned() }
        }
        russh::Error::IO(e) if is_reset(&e) => {
            ErrorKind::ClosedEarly { address: address.to_owned() }
        }
        other => ErrorKind::Handshake(other.to_string()),
    };
    Error::new(Phase::Handshake, kind)
}

const KEY: &str = "host key type";

fn no_common(what: &str, ours: &[String], theirs: &[String]) -> Error {
    let (ours, theirs) = (ours.join(","), theirs.join(","));
    let kind = ErrorKind::NoCommonAlgorithm { what: what.to_owned(), ours, theirs };
    Error::new(Phase::Handshake, kind)
}

fn is_reset(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
