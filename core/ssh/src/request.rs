//! Requests on a channel: what fits into one, and that it could not be sent.

use crate::error::{Error, ErrorKind, Phase};

/// What OpenSSH takes as one packet is 256 KiB; one that is longer ends the connection, and all
/// that others have on it. So much less is left for its frame.
const LONGEST: usize = (256 << 10) - 1024;

/// # Errors
/// It is longer than a request may be.
pub(crate) fn fits(what: &str, bytes: usize) -> Result<(), Error> {
    if bytes <= LONGEST {
        return Ok(());
    }
    let text = format!(
        "{what} is {bytes} bytes long, and a server takes {LONGEST} at most: \
         put it into a file there, or on stdin"
    );
    Err(Error::new(Phase::Exec, ErrorKind::Unsupported(text)))
}

pub(crate) fn gone(error: russh::Error) -> Error {
    let text = match error {
        russh::Error::SendError => "the connection is closed".to_owned(),
        other => other.to_string(),
    };
    Error::new(Phase::Channel, ErrorKind::Lost(text))
}
