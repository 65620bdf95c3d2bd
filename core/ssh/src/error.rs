//! Why a connection or a channel could not be had: phase, kind, hop.

use crate::refusal::Refusal;
use std::io;

/// A failed step, and where on the way it happened.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    pub phase: Phase,
    pub kind: ErrorKind,
    /// The jump host it happened at, if not at the node itself.
    pub hop: Option<String>,
}

/// Steps of a connection's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Resolve,
    Dial,
    Handshake,
    HostKey,
    Auth,
    Channel,
    Exec,
}

/// What went wrong. Texts are one line, lower case; anything from the remote side is made
/// printable before it comes here.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("connection refused by {address}")]
    Refused { address: String },
    #[error("no answer from {address} within {seconds:.1} s")]
    DialTimeout { address: String, seconds: f64 },
    #[error("{address}: {source}")]
    Dial { address: String, source: io::Error },
    #[error("proxy command failed: {0}")]
    ProxyCommand(String),
    /// The peer hung up or sent something that is not SSH.
    #[error("handshake failed: {0}")]
    Handshake(String),
    /// The peer closed before it sent its version (MaxStartups looks like this).
    #[error("connection closed by {address} before the handshake")]
    ClosedEarly { address: String },
    #[error("no answer to the handshake within {seconds:.1} s")]
    HandshakeTimeout { seconds: f64 },
    #[error("no common {what}: we offer {ours}, the server {theirs}")]
    NoCommonAlgorithm { what: String, ours: String, theirs: String },
    /// Nothing is left of a configured list.
    #[error("none of the {keyword} asked for is supported: {wanted}; supported: {supported}")]
    NoSupportedAlgorithm { keyword: &'static str, wanted: String, supported: String },
    #[error(
        "No {key_type} host key is known for {host} and you have requested strict checking ({fingerprint})"
    )]
    HostKeyUnknown { host: String, key_type: String, fingerprint: String },
    /// Somebody may be listening in, or the server was set up anew.
    #[error(
        "REMOTE HOST IDENTIFICATION HAS CHANGED: {host} has the {key_type} key {fingerprint}, \
         {known_at} has another key"
    )]
    HostKeyChanged { host: String, key_type: String, fingerprint: String, known_at: String },
    #[error("host key for {host} is revoked ({revoked_at})")]
    HostKeyRevoked { host: String, fingerprint: String, revoked_at: String },
    /// A known_hosts file exists and cannot be read: nothing is trusted.
    #[error("cannot read {file}: {source}")]
    HostKeyFile { file: String, source: io::Error },
    #[error("host certificate refused: {0}")]
    HostCertificate(String),
    #[error("permission denied ({})", .remaining.join(","))]
    AuthFailed {
        /// Every attempt, e.g. `publickey /home/a/.ssh/id_ed25519 SHA256:…: refused`.
        tried: Vec<String>,
        /// Methods the server would still take.
        remaining: Vec<String>,
    },
    #[error("too many authentication failures")]
    TooManyAuthFailures { tried: Vec<String> },
    /// After attempts that were refused; the server's own words, if it had any.
    #[error("{how}")]
    AuthClosed { how: String },
    #[error("no answer to authentication within {seconds:.1} s")]
    AuthTimeout { seconds: f64 },
    /// With what the server says about it beyond the reason, which may be nothing.
    #[error("{reason}{}{said}", if said.is_empty() { "" } else { ": " })]
    ChannelRefused { reason: Refusal, said: String },
    /// MaxSessions, with what the server says about it where that is not OpenSSH's usual words.
    #[error(
        "the server allows no more sessions on this connection{}",
        if said.is_empty() { String::new() } else { format!(" ({said})") }
    )]
    TooManySessions { said: String },
    /// Policy let a connection through whose host key is not the known one.
    #[error("{what} is disabled to avoid man-in-the-middle attacks: the host key has changed")]
    Untrusted { what: &'static str },
    /// AllowAgentForwarding, or `no-agent-forwarding` for the key.
    #[error("the node does not allow agent forwarding, which is required")]
    AgentRefused,
    /// There is none to forward, though one is required.
    #[error("there is no agent to forward, which is required: {0}")]
    AgentUnavailable(String),
    #[error("the server refused the {what} request")]
    RequestRefused { what: String },
    /// It may have been heard.
    #[error("no answer to {what} within {seconds:.1} s")]
    Unanswered { what: &'static str, seconds: f64 },
    #[error("connection lost: {0}")]
    Lost(String),
    #[error("connection lost: no answer to {count} keepalive messages")]
    KeepaliveTimeout { count: u32 },
    #[error("{0}")]
    Unsupported(String),
}

impl Error {
    /// An error at the node itself.
    pub fn new(phase: Phase, kind: ErrorKind) -> Self {
        Error { phase, kind, hop: None }
    }
}
