//! A small client for ssh-agent: list keys, sign, take keys (draft-ietf-sshm-ssh-agent).
//!
//! Written for a thousand connections that ask at once: the list is fetched once every few
//! seconds, and only a few requests are open at a time. Keys this program cannot decode are left
//! out instead of failing the list. Answers are bounded in size and time.

use russh::keys::PrivateKey;
use russh::keys::agent::AgentSessionBinding;
use russh::keys::key::parse_public_key;
use russh::keys::ssh_encoding::Encode;
use russh::keys::ssh_key::public::KeyData;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

/// A key the agent holds.
#[derive(Debug)]
pub(crate) struct AgentKey {
    pub(crate) key: KeyData,
    /// The key as the agent wrote it: how to name it when signing.
    pub(crate) blob: Vec<u8>,
    pub(crate) comment: String,
}

type Keys = Arc<Vec<AgentKey>>;
/// What an agent answered, and when. Whoever asks holds it, so that it is asked once.
type Answer = Arc<Mutex<Option<(Instant, Result<Keys, String>)>>>;

const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const ADD_IDENTITY: u8 = 17;
const ADD_ID_CONSTRAINED: u8 = 25;
const CONSTRAIN_LIFETIME: u8 = 1;
const CONSTRAIN_CONFIRM: u8 = 2;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;

const MAX_MESSAGE: usize = 256 * 1024;
/// Agents whose lists are remembered.
const MAX_LISTED: usize = 64;
/// How long a list stays good: a key may be added any time.
const FRESH: Duration = Duration::from_secs(1);
/// How long an agent that did not answer is left alone.
const SULKS: Duration = Duration::from_secs(5);
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// Signing may wait for a person: `ssh-add -c`, a touch of a token.
const SIGN_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests open at once; the agent's listen queue is short.
static OPEN: Semaphore = Semaphore::const_new(16);
static LISTED: Mutex<Option<HashMap<PathBuf, Answer>>> = Mutex::const_new(None);

/// The agent's keys, at most a second old.
///
/// # Errors
/// There is no agent, or it does not answer sensibly.
pub(crate) async fn keys(socket: &Path) -> Result<Keys, String> {
    let answer = {
        let mut listed = LISTED.lock().await;
        let listed = listed.get_or_insert_default();
        if listed.len() > MAX_LISTED {
            listed.retain(|_, answer| Arc::strong_count(answer) > 1);
        }
        listed.entry(socket.to_owned()).or_default().clone()
    };
    let mut answer = answer.lock().await;
    let is_good = |(at, answer): &&(Instant, Result<Keys, String>)| {
        at.elapsed() < if answer.is_ok() { FRESH } else { SULKS }
    };
    if let Some((_, known)) = answer.as_ref().filter(is_good) {
        return known.clone();
    }
    let new = match request(socket, None, &[REQUEST_IDENTITIES], LIST_TIMEOUT).await {
        Ok(answer) => decode_keys(&answer).map(Arc::new).ok_or_else(|| NONSENSE.to_owned()),
        Err(error) => Err(error.to_string()),
    };
    *answer = Some((Instant::now(), new.clone()));
    new
}

/// The message that tells an agent which server a connection leads to, before the login: keys
/// restricted to destinations (`ssh-add -h`) sign only then.
pub(crate) fn session_bind(binding: &AgentSessionBinding) -> Vec<u8> {
    let mut message = vec![EXTENSION];
    let (key, id) = (binding.host_key(), binding.session_id().as_ref());
    for part in [b"session-bind@openssh.com".as_slice(), key, id, binding.signature()] {
        put_string(&mut message, part);
    }
    // Not forwarded: the login is our own.
    message.push(0);
    message
}

/// Lets the agent sign; `flags` choose the hash of an RSA signature (2: SHA-256, 4: SHA-512).
/// `bind` goes first: [`session_bind`].
///
/// # Errors
/// It refuses, or does not answer within a minute.
pub(crate) async fn sign(
    socket: &Path,
    bind: Option<&[u8]>,
    key: &[u8],
    data: &[u8],
    flags: u32,
) -> io::Result<Vec<u8>> {
    let mut message = vec![SIGN_REQUEST];
    for part in [key, data] {
        put_string(&mut message, part);
    }
    message.extend_from_slice(&flags.to_be_bytes());
    let answer = request(socket, bind, &message, SIGN_TIMEOUT).await?;
    match answer.split_first() {
        Some((&SIGN_RESPONSE, mut rest)) => {
            take_string(&mut rest).map(<[u8]>::to_vec).ok_or_else(|| io::Error::other(NONSENSE))
        }
        Some((&FAILURE, _)) => Err(io::Error::other("agent refused operation")),
        _ => Err(io::Error::other(NONSENSE)),
    }
}

/// Gives a private key to the agent. `lifetime`: seconds until it is forgotten.
///
/// # Errors
/// It refuses, or does not answer.
pub(crate) async fn add(
    socket: &Path,
    key: &PrivateKey,
    confirm: bool,
    lifetime: Option<u32>,
) -> io::Result<()> {
    let constrained = confirm || lifetime.is_some();
    let mut message = Zeroizing::new(Vec::with_capacity(8 * 1024));
    message.push(if constrained { ADD_ID_CONSTRAINED } else { ADD_IDENTITY });
    key.key_data().encode(&mut *message).map_err(io::Error::other)?;
    put_string(&mut message, key.comment().as_bytes());
    if let Some(seconds) = lifetime {
        message.push(CONSTRAIN_LIFETIME);
        message.extend_from_slice(&seconds.to_be_bytes());
    }
    if confirm {
        message.push(CONSTRAIN_CONFIRM);
    }
    let answer = request(socket, None, &message, LIST_TIMEOUT).await?;
    // The list is another one now.
    LISTED.lock().await.get_or_insert_default().remove(socket);
    match answer.first() {
        Some(&SUCCESS) => Ok(()),
        _ => Err(io::Error::other("agent refused operation")),
    }
}

const NONSENSE: &str = "the agent's answer makes no sense";

/// Appends an SSH string (RFC 4251 section 5).
pub(crate) fn put_string(to: &mut Vec<u8>, bytes: &[u8]) {
    // Longer ones are refused by whoever reads them; nothing here comes near.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
}

/// Takes an SSH string off the front.
pub(crate) fn take_string<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = from.split_first_chunk::<4>()?;
    let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *from = rest;
    Some(string)
}

fn decode_keys(answer: &[u8]) -> Option<Vec<AgentKey>> {
    let (&IDENTITIES_ANSWER, rest) = answer.split_first()? else { return None };
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut keys = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let blob = take_string(&mut rest)?;
        let comment = String::from_utf8_lossy(take_string(&mut rest)?);
        if let Ok(key) = parse_public_key(blob) {
            let comment = comment.chars().filter(|c| !c.is_control()).collect();
            keys.push(AgentKey { key: key.key_data().clone(), blob: blob.to_vec(), comment });
        }
    }
    Some(keys)
}

/// One request on a connection of its own. An agent that does not know how to bind has no keys
/// that need it: its answer to `bind` does not matter.
async fn request(
    socket: &Path,
    bind: Option<&[u8]>,
    message: &[u8],
    limit: Duration,
) -> io::Result<Vec<u8>> {
    let talk = async {
        let _open = OPEN.acquire().await.map_err(io::Error::other)?;
        let mut agent = UnixStream::connect(socket).await?;
        if let Some(bind) = bind {
            exchange(&mut agent, bind).await?;
        }
        exchange(&mut agent, message).await
    };
    tokio::time::timeout(limit, talk).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn exchange(agent: &mut UnixStream, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut framed = Zeroizing::new(Vec::with_capacity(message.len() + 4));
    put_string(&mut framed, message);
    agent.write_all(&framed).await?;
    let length = agent.read_u32().await? as usize;
    if length == 0 || length > MAX_MESSAGE {
        return Err(io::Error::other(NONSENSE));
    }
    let mut answer = vec![0; length];
    agent.read_exact(&mut answer).await?;
    Ok(answer)
}
