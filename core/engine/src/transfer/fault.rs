//! Why a file could not be transferred: one table from errors of both sides to stable codes.

use crate::failure::reason;
use bssh_ssh::sftp::{SftpError, Status};
use std::io;

/// Something went wrong with a file, or with the whole node.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub code: &'static str,
    pub message: String,
    /// The node cannot go on.
    pub fatal: bool,
    /// It went wrong here, not on the node.
    pub here: bool,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), fatal: false, here: false }
    }

    /// The other side cannot be trusted or reached any more.
    pub(crate) fn fatal(code: &'static str, message: impl Into<String>) -> Fault {
        Fault { fatal: true, ..Fault::new(code, message) }
    }

    /// What is neither file, directory nor link is not transferred.
    pub(crate) fn special() -> Fault {
        Fault::new("special", "is no file, directory or link")
    }

    /// More than anybody who claims to be empty has to say.
    pub(crate) fn endless() -> Fault {
        Fault::new("changed", "it claims to be empty and does not end")
    }

    /// The same, with what was being done in front.
    pub(crate) fn while_doing(self, what: &str) -> Fault {
        Fault { message: format!("{what}: {}", self.message), ..self }
    }

    /// It is left out for what it is; nothing went wrong with reading it.
    pub(crate) fn is_special(&self) -> bool {
        self.code == "special"
    }

    /// There is no such file.
    pub(crate) fn is_missing(&self) -> bool {
        self.code == "notFound"
    }
}

impl From<SftpError> for Fault {
    fn from(error: SftpError) -> Self {
        let (code, fatal) = match &error {
            SftpError::Status { status, .. } => match status {
                Status::NoSuchFile => ("notFound", false),
                Status::PermissionDenied => ("permission", false),
                Status::Unsupported => ("unsupported", false),
                Status::Eof => ("changed", false),
                Status::Failure | Status::Other(_) => ("failure", false),
            },
            SftpError::Broken(_) => ("protocolBroken", true),
            SftpError::Lost(_) => ("transportLost", true),
            SftpError::Unsupported(_) => ("unsupported", false),
        };
        Fault { code, message: error.to_string(), fatal, here: false }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::NotFound => "notFound",
            io::ErrorKind::PermissionDenied => "permission",
            io::ErrorKind::AlreadyExists => "exists",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "noSpace",
            io::ErrorKind::DirectoryNotEmpty => "notEmpty",
            io::ErrorKind::NotADirectory => "notDirectory",
            io::ErrorKind::IsADirectory => "isDirectory",
            io::ErrorKind::InvalidFilename => "badName",
            _ => "io",
        };
        let text = reason(error);
        let mut letters = text.chars();
        let first = letters.next().map(|c| c.to_ascii_lowercase());
        let text: String = first.into_iter().chain(letters).collect();
        Fault { here: true, ..Fault::new(code, text) }
    }
}

impl From<rustix::io::Errno> for Fault {
    fn from(errno: rustix::io::Errno) -> Self {
        io::Error::from(errno).into()
    }
}
