//! A client of SFTP version 3, byte-exact and pipelined.
//!
//! Names and handles are bytes, requests may be answered in any order, as many may be on the way
//! as the caller starts: every method is one request, and its future is sent when first polled.
//! A server that breaks the protocol ends the conversation with [`SftpError::Broken`]. Extensions
//! of OpenSSH are used where the server offers them. Reading order: `packet`, `session`, `ops`.

#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod ops;
mod packet;
mod session;
#[cfg(test)]
mod tests;

pub use ops::{Entry, RemoteFile, Space, flags};
pub use packet::{Attrs, Block, FileKind};

use crate::channel::Channel;
use crate::error::Error;
use packet::{Broken, Packet, Request, kind};
use session::{Incoming, Outgoing, Session};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A conversation with a node's file server. Clones are the same one; the last one closes it.
#[derive(Clone)]
pub struct Sftp {
    session: Arc<Session>,
    facts: Arc<Facts>,
}

/// What the server said about itself.
struct Facts {
    extensions: BTreeMap<Vec<u8>, Vec<u8>>,
    limits: Limits,
    round_trip: Duration,
}

/// What one request may carry, and how many files may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub read: u32,
    pub write: u32,
    pub handles: u32,
}

/// The version we speak.
const VERSION: u32 = 3;
/// What every server takes (the draft asks for 32 KiB; few allow fewer than 100 open files).
const SAFE: Limits = Limits { read: 32 * 1024, write: 32 * 1024, handles: 64 };
/// More than this in one request gains nothing.
const LARGEST: u32 = 255 * 1024;
const MOST_HANDLES: u32 = 512;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SftpError {
    /// The server refused, and the conversation goes on.
    #[error("{}", status_text(*.status, .message))]
    Status { status: Status, message: String },
    /// The server does not keep to the protocol; the conversation is over.
    #[error("the server broke the file transfer protocol: {0}")]
    Broken(String),
    /// The channel or its connection is gone.
    #[error("{0}")]
    Lost(String),
    #[error("the server has no {0}")]
    Unsupported(&'static str),
}

/// The draft's status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Eof,
    NoSuchFile,
    PermissionDenied,
    /// Anything the other codes do not say: it exists, it is not empty, there is no room.
    Failure,
    Unsupported,
    Other(u32),
}

impl SftpError {
    /// The server refused for this reason.
    pub fn is(&self, wanted: Status) -> bool {
        matches!(self, SftpError::Status { status, .. } if *status == wanted)
    }

    /// Nothing more can be asked.
    pub fn is_fatal(&self) -> bool {
        matches!(self, SftpError::Broken(_) | SftpError::Lost(_))
    }

    /// The end of a file or a directory.
    pub fn is_eof(&self) -> bool {
        self.is(Status::Eof)
    }
}

impl From<Broken> for SftpError {
    fn from(broken: Broken) -> Self {
        SftpError::Broken(broken.0)
    }
}

impl Sftp {
    /// Starts the subsystem on a session channel.
    ///
    /// # Errors
    /// Refused (the outer error: there is no file server), or what answers is no SFTP server.
    pub async fn open(mut channel: Channel) -> Result<Result<Sftp, SftpError>, Error> {
        channel.subsystem_with("sftp", Request::init(VERSION)).await?;
        let writer = channel.writer();
        Ok(Sftp::over(channel, writer).await)
    }

    /// Another conversation with the same server, of which nothing is asked that is known.
    ///
    /// # Errors
    /// As [`Sftp::open`].
    pub async fn another(&self, mut channel: Channel) -> Result<Result<Sftp, SftpError>, Error> {
        channel.subsystem_with("sftp", Request::init(VERSION)).await?;
        let writer = channel.writer();
        let started = Session::start(channel, writer).await;
        Ok(started.and_then(|(session, hello)| {
            extensions(hello)?;
            Ok(Sftp { session: Arc::new(session), facts: self.facts.clone() })
        }))
    }

    /// Our first packet is on its way.
    async fn over(incoming: impl Incoming, outgoing: impl Outgoing) -> Result<Sftp, SftpError> {
        let begun = Instant::now();
        let (session, hello) = Session::start(incoming, outgoing).await?;
        let mut round_trip = begun.elapsed();
        let extensions = extensions(hello)?;
        let facts = Facts { extensions, limits: SAFE, round_trip };
        let mut sftp = Sftp { session: Arc::new(session), facts: Arc::new(facts) };
        let begun = Instant::now();
        let limits = match sftp.has("limits@openssh.com") {
            true => sftp.ask_limits().await?,
            false => SAFE,
        };
        // The first answer also waited for the server to start.
        round_trip = match sftp.has("limits@openssh.com") {
            true => begun.elapsed(),
            false => round_trip,
        };
        let extensions = sftp.facts.extensions.clone();
        sftp.facts = Arc::new(Facts { extensions, limits, round_trip });
        Ok(sftp)
    }

    /// Nothing more can be asked.
    pub fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    /// Resolves when something is being waited for and the server has been silent for that long,
    /// give or take a quarter.
    pub async fn silent(&self, limit: Duration) {
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            let now = self.session.pulse();
            if now.is_none() || now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() >= limit {
                return;
            }
            tokio::time::sleep(limit / 4).await;
        }
    }

    /// What one request may carry.
    pub fn limits(&self) -> Limits {
        self.facts.limits
    }

    /// How long a request and its answer take.
    pub fn round_trip(&self) -> Duration {
        self.facts.round_trip
    }

    /// The server offers this extension.
    pub fn has(&self, extension: &str) -> bool {
        self.facts.extensions.contains_key(extension.as_bytes())
    }

    /// Every extension the server offers.
    pub fn extensions(&self) -> impl Iterator<Item = &[u8]> {
        self.facts.extensions.keys().map(Vec::as_slice)
    }

    async fn ask_limits(&self) -> Result<Limits, SftpError> {
        let reply = self.ask(Request::extended("limits@openssh.com")).await?;
        let mut fields = match reply.kind {
            kind::EXTENDED_REPLY => reply.fields(),
            _ => return Ok(SAFE),
        };
        let (packet, read) = (fields.u64()?, fields.u64()?);
        let (write, handles) = (fields.u64()?, fields.u64()?);
        // 0: no limit is known. Room for the head of a packet is left.
        let most = |said: u64, safe: u32, most: u32| match said {
            0 => safe,
            said => u32::try_from(said).unwrap_or(most).min(most),
        };
        let room = most(packet, LARGEST, u32::MAX).saturating_sub(1024).max(4096);
        Ok(Limits {
            read: most(read, SAFE.read, LARGEST).min(room).max(4096),
            write: most(write, SAFE.write, LARGEST).min(room).max(4096),
            handles: most(handles, SAFE.handles, MOST_HANDLES).max(8),
        })
    }

    /// Sends a request, whatever the reply.
    async fn ask(&self, request: Request) -> Result<Packet, SftpError> {
        self.session.ask(|id| request.sealed(id)).await
    }

    /// Nothing that comes after this can be trusted.
    fn broken(&self, what: impl Into<String>) -> SftpError {
        let error = SftpError::Broken(what.into());
        self.session.fail(error.clone());
        error
    }
}

fn extensions(hello: Packet) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, SftpError> {
    if hello.kind != kind::VERSION {
        return Err(SftpError::Broken("the first packet is no version".to_owned()));
    }
    if hello.id < 3 {
        return Err(SftpError::Broken(format!("version {} is not supported", hello.id)));
    }
    let mut fields = hello.fields();
    let mut extensions = BTreeMap::new();
    while !fields.is_empty() {
        extensions.insert(fields.string()?.to_vec(), fields.string()?.to_vec());
    }
    Ok(extensions)
}

/// The server's words are often less than its code says.
fn status_text(status: Status, message: &str) -> String {
    match status {
        Status::NoSuchFile => "no such file or directory".to_owned(),
        Status::PermissionDenied => "permission denied".to_owned(),
        Status::Failure if message.eq_ignore_ascii_case("failure") || message.is_empty() => {
            "the server could not do it and does not say why".to_owned()
        }
        Status::Unsupported => "not supported by the server".to_owned(),
        _ => message.to_owned(),
    }
}
