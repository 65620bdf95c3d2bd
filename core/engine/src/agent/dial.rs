//! A connection to the agent: retried while an agent restarts, bound to the SSH session, one
//! message out and one back.

use super::Rules;
use super::message::{Inbox, SUCCESS, framed, session_bind};
use super::status::{Agents, Tally};
use bssh_protocol::agent::Bind;
use bssh_ssh::Binding;
use bytes::Bytes;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Pauses between tries, and all of them together: an agent that a service manager restarts is
/// back by then.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const BUDGET: Duration = Duration::from_secs(5);

/// A connection to the agent.
pub(super) struct AgentLink {
    stream: UnixStream,
    inbox: Inbox,
    /// For one answer.
    patience: Duration,
}

impl AgentLink {
    /// Connects, for a node whose tries are counted. The path is looked at anew each time.
    ///
    /// # Errors
    /// No agent within five seconds; at once for what waiting does not mend.
    pub(super) async fn dial(
        rules: &Rules,
        agents: &Agents,
        tally: &Tally,
    ) -> io::Result<AgentLink> {
        let begun = Instant::now();
        let mut pause = PAUSE;
        loop {
            let path = socket(rules, agents)
                .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "there is no agent here"))?;
            let error = match UnixStream::connect(&path).await {
                Ok(stream) => {
                    let patience = rules.limits.request_timeout;
                    let inbox = Inbox::new(rules.limits.max_message);
                    return Ok(AgentLink { stream, inbox, patience });
                }
                Err(error) => error,
            };
            if !passes(&error) || begun.elapsed() + pause > BUDGET {
                let text = format!("agent {}: {error}", path.display());
                return Err(io::Error::new(error.kind(), text));
            }
            tally.dial_retries.fetch_add(1, Relaxed);
            tokio::time::sleep(crate::dialing::jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Binds the agent to the session, so that it can hide what is restricted to other
    /// destinations. False: the agent does not know that, and has no such keys.
    ///
    /// # Errors
    /// No binding although it is required, or the agent is gone.
    pub(super) async fn bind(&mut self, bind: Bind, binding: Option<&Binding>) -> io::Result<bool> {
        match (bind, binding) {
            (Bind::Off, _) => Ok(false),
            (Bind::Require, None) => Err(io::Error::other(
                "agentBindUnavailable: the connection has nothing to bind the agent to",
            )),
            (Bind::Require, Some(binding)) => {
                let answer = self.request(&session_bind(binding)).await?;
                Ok(answer.first() == Some(&SUCCESS))
            }
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The agent is gone, talks nonsense, or takes longer than `agent.request_timeout`.
    pub(super) async fn request(&mut self, message: &[u8]) -> io::Result<Bytes> {
        let patience = self.patience;
        let talk = async {
            self.stream.write_all(&framed(message)).await?;
            self.answer().await
        };
        tokio::time::timeout(patience, talk).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Returns when the agent hangs up or says something unasked.
    pub(super) async fn gone(&mut self) {
        let mut byte = [0; 1];
        // A readable socket outside a request is one that was closed.
        let _ = self.stream.read(&mut byte).await;
    }

    async fn answer(&mut self) -> io::Result<Bytes> {
        let mut buffer = [0; 4096];
        loop {
            let whole = self.inbox.next();
            let nonsense = |_| io::Error::new(ErrorKind::InvalidData, "the agent talks nonsense");
            if let Some(message) = whole.map_err(nonsense)? {
                return Ok(message);
            }
            match self.stream.read(&mut buffer).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => self.inbox.push(buffer.get(..n).unwrap_or_default()),
            }
        }
    }
}

/// The agent's socket right now.
pub(super) fn socket(rules: &Rules, agents: &Agents) -> Option<PathBuf> {
    rules.named.clone().or_else(|| agents.socket()).or_else(|| rules.usual.clone())
}

/// Waiting may mend it: the agent is being started, or busy.
fn passes(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionRefused, Interrupted, NotFound, WouldBlock};
    matches!(error.kind(), NotFound | ConnectionRefused | WouldBlock | Interrupted)
}
