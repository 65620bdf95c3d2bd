//! One connection's agent channels, from the node's wish to CLOSE.
//!
//! A channel is read at all times, also while the agent or a person takes long: what comes
//! meanwhile waits in a bounded buffer, and a node that sends more loses its channel. So a slow
//! agent holds up only its own channel.

use super::dial::AgentLink;
use super::message::{
    FAILURE, Inbox, Malformed, REQUEST_IDENTITIES, SIGN_REQUEST, SIGN_RESPONSE, framed, identities,
    printable, sign_request,
};
use super::policy::{Verdict, judge, visible};
use super::status::{Agents, Entry, Stage, Tally, list};
use super::{PARTIAL, Rules};
use crate::questions::Questions;
use bssh_protocol::lock;
use bssh_ssh::{Channel, ChannelEvent, Connection, Incoming, Refusal, key_fingerprint};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

/// After so long a person is told that it is the agent that is waited for.
const LONG: Duration = Duration::from_secs(10);
/// For what the agent calls a key: a question can do without.
const NAMES: Duration = Duration::from_secs(3);

/// A relay at work; dropping it ends it, with all its channels.
pub(crate) struct AgentRelay {
    task: AbortHandle,
    /// Whether the node has taken the agent, once it is known.
    pub(super) verdict: watch::Sender<Option<bool>>,
}

/// What the channels of one connection share.
pub(crate) struct Shared {
    pub node: String,
    pub rules: Rules,
    pub agents: Arc<Agents>,
    /// What this node does is counted there.
    pub tally: Arc<Tally>,
    pub questions: Arc<Questions>,
    /// Keys a person has agreed to.
    pub allowed: Mutex<HashSet<String>>,
    /// What the agent calls its keys, by fingerprint, as it last listed them.
    pub names: Mutex<HashMap<String, String>>,
}

impl AgentRelay {
    /// Takes the agent channels of a connection. Ask for them on a session's channel.
    pub(crate) fn start(connection: &Connection, shared: Shared) -> Self {
        let mut channels = connection.accept_agent();
        let (connection, shared) = (connection.clone(), Arc::new(shared));
        let limits = shared.rules.limits.clone();
        let places = Arc::new(Semaphore::new(limits.max_concurrent));
        let task = tokio::spawn(crate::remarks::whose().scope(async move {
            let mut tasks = JoinSet::new();
            loop {
                tokio::select! {
                    channel = channels.accept() => {
                        let Some(channel) = channel else { return };
                        if tasks.len() >= limits.max_concurrent + limits.queue {
                            shared.tally.reject("full");
                            shared.tell(shared.agents.number(), "rejected", |e| e.reason = Some("full".to_owned()));
                            channel.refuse(Refusal::Shortage).await;
                            continue;
                        }
                        let binding = connection.binding();
                        tasks.spawn(one(channel, shared.clone(), places.clone(), binding));
                    }
                    Some(_) = tasks.join_next() => {}
                }
            }
        }));
        AgentRelay { task: task.abort_handle(), verdict: watch::channel(None).0 }
    }
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, HashMap<String, String>> {
        lock(&self.names)
    }

    /// The agent has listed its keys.
    fn are_called(&self, names: HashMap<String, String>) {
        *self.names() = names;
    }

    /// What a person calls the key of a request; the agent is asked if it has not said so yet.
    async fn name_of(&self, request: &[u8]) -> Option<String> {
        let key = key_fingerprint(sign_request(request)?.0);
        let known = self.names().get(&key).cloned();
        let name = match known {
            Some(name) => name,
            None => {
                let listed = tokio::time::timeout(NAMES, list(&self.rules, &self.agents)).await;
                let keys = listed.ok()?.ok()?;
                self.are_called(keys.into_iter().map(|k| (k.fingerprint, k.comment)).collect());
                self.names().get(&key).cloned()?
            }
        };
        Some(name).filter(|name| !name.is_empty())
    }
}

impl Drop for AgentRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One channel: a place, the agent, and only then an answer to the node.
async fn one(
    incoming: Incoming,
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    binding: Option<bssh_ssh::Binding>,
) {
    let tally = &shared.tally;
    let place_in_list = tally.enter(shared.agents.number());
    let number = place_in_list.number;
    let refused = |reason: &'static str, why: &dyn std::fmt::Display| {
        tally.reject(reason);
        tracing::warn!("{}: agent forwarding: {why}", shared.node);
        tally.set_error(format!("{}: {why}", shared.node));
        shared.tell(number, "rejected", |e| {
            e.reason = Some(reason.to_owned());
            e.error = Some(why.to_string());
        });
    };
    let place = tokio::time::timeout(shared.rules.limits.queue_wait, places.acquire()).await;
    let Ok(Ok(_place)) = place else {
        refused("full", &"too many agent connections at once");
        return incoming.refuse(Refusal::Shortage).await;
    };
    place_in_list.is_now(Stage::Dialing);
    let agent = match ready(&shared, binding.as_ref()).await {
        Ok(agent) => agent,
        Err(NotReady { reason, error }) => {
            refused(reason, &error);
            return incoming.refuse(Refusal::ConnectFailed).await;
        }
    };
    place_in_list.is_now(Stage::Open);
    let begun = Instant::now();
    let channel = incoming.accept().await;
    shared.tell(number, "opened", |_| {});
    let entry = place_in_list;
    let conversation = Conversation { channel, agent, shared: shared.clone(), binding, entry };
    let carried = conversation.carry().await;
    if let Err(error) = &carried {
        tracing::warn!("{}: agent forwarding: {error}", shared.node);
        tally.set_error(format!("{}: {error}", shared.node));
    }
    shared.tell(number, "closed", |e| {
        e.ms = Some(crate::run::millis(begun.elapsed()));
        e.error = carried.err().map(|error| error.to_string());
    });
}

/// Why an agent cannot be had.
struct NotReady {
    reason: &'static str,
    error: io::Error,
}

/// An agent that is connected and bound.
async fn ready(
    shared: &Shared,
    binding: Option<&bssh_ssh::Binding>,
) -> Result<AgentLink, NotReady> {
    let because = |reason| move |error| NotReady { reason, error };
    let dialed = AgentLink::dial(&shared.rules, &shared.agents, &shared.tally).await;
    let mut agent = dialed.map_err(because("noAgent"))?;
    let bound = patiently(&shared.node, agent.bind(shared.rules.bind, binding)).await;
    let bound = bound.map_err(because("unbound"))?;
    shared.tally.set_bound(bound);
    Ok(agent)
}

/// A channel at work. Dropping it closes the channel.
struct Conversation {
    channel: Channel,
    agent: AgentLink,
    shared: Arc<Shared>,
    binding: Option<bssh_ssh::Binding>,
    entry: Entry,
}

impl Conversation {
    /// Carries requests until the node or the agent hangs up; then EOF, and CLOSE by dropping.
    async fn carry(mut self) -> io::Result<()> {
        let mut inbox = Inbox::new(self.shared.rules.limits.max_message);
        let mut ended = false;
        loop {
            loop {
                let request = match inbox.next() {
                    Ok(Some(request)) => request,
                    Ok(None) => break,
                    Err(Malformed) => return self.fail().await,
                };
                self.shared.tally.bytes.fetch_add(request.len() as u64, Relaxed);
                let answer = self.answer(&request, &mut inbox, &mut ended).await?;
                let writer = self.channel.writer();
                if writer.write(framed(&answer)).await.is_err() {
                    return Ok(());
                }
            }
            if ended {
                break;
            }
            let idle = self.shared.rules.limits.idle_timeout;
            let limit = if inbox.len() > 0 { PARTIAL } else { idle };
            tokio::select! {
                event = self.channel.next() => match event {
                    Some(ChannelEvent::Out(bytes)) => inbox.push(&bytes),
                    Some(ChannelEvent::Eof) => ended = true,
                    Some(_) => {}
                    None => return Ok(()),
                },
                () = self.agent.gone(), if inbox.len() == 0 => ended = true,
                () = tokio::time::sleep(limit) => ended = true,
            }
        }
        self.entry.is_now(Stage::Closing);
        // The channel may be closed already.
        let _ = self.channel.writer().eof().await;
        self.channel.closed().await;
        Ok(())
    }

    /// A message too long, or an empty one: "failure", and the end.
    async fn fail(self) -> io::Result<()> {
        let writer = self.channel.writer();
        // The channel may be closed already.
        let _ = writer.write(framed(&[FAILURE])).await;
        let _ = writer.eof().await;
        Err(io::Error::other("a malformed message from the node"))
    }

    /// The answer to one request. The channel is read meanwhile.
    async fn answer(
        &mut self,
        request: &[u8],
        inbox: &mut Inbox,
        ended: &mut bool,
    ) -> io::Result<Bytes> {
        let Conversation { channel, agent, shared, binding, entry } = self;
        // What a node may send while it waits for an answer.
        let ahead = 2 * shared.rules.limits.max_message;
        let answering = decide(request, agent, shared, binding.as_ref(), entry.number);
        let mut answering = std::pin::pin!(answering);
        loop {
            tokio::select! {
                answer = &mut answering => return answer,
                event = channel.next(), if !*ended => match event {
                    Some(ChannelEvent::Out(bytes)) => {
                        inbox.push(&bytes);
                        if inbox.len() > ahead {
                            return Err(io::Error::other("the node sends without waiting"));
                        }
                    }
                    Some(ChannelEvent::Eof) => *ended = true,
                    Some(_) => {}
                    None => return Err(io::Error::other("the node closed the channel early")),
                },
            }
        }
    }
}

/// Refuses, asks a person, or lets the agent answer.
async fn decide(
    request: &[u8],
    agent: &mut AgentLink,
    shared: &Shared,
    binding: Option<&bssh_ssh::Binding>,
    channel: u64,
) -> io::Result<Bytes> {
    let refusal = Bytes::from_static(&[FAILURE]);
    let is_sign = request.first() == Some(&SIGN_REQUEST);
    let key = || sign_request(request).map(|(key, _)| key_fingerprint(key));
    let tally = &shared.tally;
    if let Some(why) = objection(request, shared).await {
        tracing::warn!("{}: agent request refused: {why}", shared.node);
        let (count, state) = match is_sign {
            true => (&tally.sign_denied, "denied"),
            false => (&tally.refused, "refused"),
        };
        count.fetch_add(1, Relaxed);
        shared.tell(channel, state, |e| (e.key, e.reason) = (key(), Some(why.to_owned())));
        return Ok(refusal);
    }
    let begun = Instant::now();
    let answer = match patiently(&shared.node, agent.request(request)).await {
        // A list may be asked for again; a signature not: a person might be asked twice.
        Err(_) if request.first() == Some(&REQUEST_IDENTITIES) => {
            *agent = ready(shared, binding).await.map_err(|why| why.error)?;
            agent.request(request).await
        }
        answer => answer,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!("{}: the agent did not answer: {error}", shared.node);
            tally.set_error(format!("{}: {error}", shared.node));
            shared.tell(channel, "failed", |e| (e.key, e.error) = (key(), Some(error.to_string())));
            return Ok(refusal);
        }
    };
    if is_sign && answer.first() == Some(&SIGN_RESPONSE) {
        let took = begun.elapsed();
        tally.signed(took);
        shared.tell(channel, "signed", |e| {
            (e.key, e.ms) = (key(), Some(crate::run::millis(took)));
        });
    }
    if let Some(keys) = identities(&answer) {
        let keys =
            keys.into_iter().map(|(key, comment)| (key_fingerprint(key), printable(comment)));
        shared.are_called(keys.collect());
    }
    Ok(visible(&shared.rules, &answer).map_or(answer, Bytes::from))
}

/// Waits, and says what for if it takes long.
async fn patiently<T>(node: &str, talk: impl Future<Output = T>) -> T {
    let mut talk = std::pin::pin!(talk);
    if let Ok(done) = tokio::time::timeout(LONG, &mut talk).await {
        return done;
    }
    let limit = LONG.as_secs();
    tracing::warn!(
        "{node}: the agent here has not answered for {limit} s: does it wait for a touch or an \
         answer, or is it stopped?"
    );
    talk.await
}

/// Why a request is not passed on.
async fn objection(request: &[u8], shared: &Shared) -> Option<&'static str> {
    let verdict = {
        let allowed = lock(&shared.allowed);
        judge(&shared.rules, request, &allowed, &shared.node)
    };
    let (text, remember) = match verdict {
        Verdict::Pass => return None,
        Verdict::Refuse(why) => return Some(why),
        Verdict::Ask { text, remember } => (text, remember),
    };
    let text = match shared.name_of(request).await {
        Some(name) => format!("{text} (\"{name}\"). Allow it?"),
        None => format!("{text}. Allow it?"),
    };
    let asking = shared.questions.confirm(&shared.node, text);
    match tokio::time::timeout(shared.rules.limits.confirm_timeout, asking).await {
        Ok(Some(true)) => {
            let mut allowed = lock(&shared.allowed);
            allowed.extend(remember);
            None
        }
        Ok(Some(false)) => Some("a person said no"),
        Ok(None) => Some("it needs a person's consent and there is nobody to ask"),
        Err(_) => Some("nobody answered in time"),
    }
}
