//! Why a channel is not opened, in the words of RFC 4254 and of who refuses it.

use crate::error::{Error, ErrorKind, Phase};
use russh::ChannelOpenFailure;

/// Why a channel is refused, RFC 4254 section 5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not allowed.
    Prohibited,
    /// The target could not be reached.
    ConnectFailed,
    /// Too many at once.
    Shortage,
    /// Channels of this kind are unknown.
    Unknown,
    /// A reason the RFC does not have.
    Other(u32),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self, self.words()) {
            (Refusal::ConnectFailed, _) => f.write_str("the server could not connect"),
            (Refusal::Other(code), _) => write!(f, "refused by the server: reason {code}"),
            (_, words) => write!(f, "refused by the server: {words}"),
        }
    }
}

impl Refusal {
    /// As the RFC and ssh name it.
    fn words(self) -> &'static str {
        match self {
            Refusal::Prohibited => "administratively prohibited",
            Refusal::ConnectFailed => "connect failed",
            Refusal::Shortage => "resource shortage",
            Refusal::Unknown => "unknown channel type",
            Refusal::Other(_) => "",
        }
    }

    /// The server's words say no more than the reason does; the first are OpenSSH's.
    fn says_as_much(self, said: &str) -> bool {
        said == "open failed" || said.eq_ignore_ascii_case(self.words())
    }
}

impl From<Refusal> for ChannelOpenFailure {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::Prohibited => ChannelOpenFailure::AdministrativelyProhibited,
            Refusal::ConnectFailed => ChannelOpenFailure::ConnectFailed,
            Refusal::Shortage => ChannelOpenFailure::ResourceShortage,
            Refusal::Unknown => ChannelOpenFailure::UnknownChannelType,
            Refusal::Other(code) => ChannelOpenFailure::Other { code, reason: String::new() },
        }
    }
}

impl From<ChannelOpenFailure> for Refusal {
    fn from(why: ChannelOpenFailure) -> Self {
        match why {
            ChannelOpenFailure::AdministrativelyProhibited => Refusal::Prohibited,
            ChannelOpenFailure::ConnectFailed => Refusal::ConnectFailed,
            ChannelOpenFailure::ResourceShortage => Refusal::Shortage,
            ChannelOpenFailure::UnknownChannelType => Refusal::Unknown,
            ChannelOpenFailure::Other { code, .. } => Refusal::Other(code),
        }
    }
}

/// The server's refusal to open a channel, as an error, with what it has `said` about it.
pub(crate) fn refused(error: russh::Error, mut said: String) -> Error {
    let kind = match error {
        russh::Error::ChannelOpenFailure(reason) => {
            let reason = Refusal::from(reason);
            if reason.says_as_much(&said) {
                said.clear();
            }
            ErrorKind::ChannelRefused { reason, said }
        }
        other => ErrorKind::Lost(other.to_string()),
    };
    Error::new(Phase::Channel, kind)
}
