//! One command on the node: a script for its shell, bytes in, bytes out, and how it ended.

use super::Bare;
use crate::transfer::fault::Fault;
use crate::word::quoted;
use bssh_ssh::error::{Error, ErrorKind};
use bssh_ssh::{Channel, ChannelEvent};

/// Most of what a command says is not kept.
const KEPT: usize = 64 * 1024;

/// How a command ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub status: u32,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

impl Ended {
    /// Why it failed, in the words of the first line it wrote.
    pub(super) fn fault(&self) -> Fault {
        let text = String::from_utf8_lossy(&self.err);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        let has = |part: &str| text.contains(part);
        match self.status {
            21 => return Fault::new("isDirectory", "a directory is there"),
            22 => return Fault::new("changed", "not all of it arrived"),
            _ => {}
        }
        let code = match () {
            () if has("No space left") || has("quota") => "noSpace",
            () if has("Permission denied") || has("Operation not permitted") => "permission",
            () if has("No such file") => "notFound",
            () if has("Read-only") => "readOnly",
            () if has("not found") && self.status == 127 => "unsupported",
            () => "failure",
        };
        match line.is_empty() {
            true => Fault::new(code, format!("the command ended with status {}", self.status)),
            false => Fault::new(code, line),
        }
    }
}

/// A pattern whose other characters are quoted.
pub(super) fn quoted_pattern(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut plain, mut open) = (Vec::new(), false);
    for byte in text {
        let pattern = matches!(byte, b'*' | b'?' | b'[' | b']') || (open && b"!^-".contains(byte));
        open = (open || *byte == b'[') && *byte != b']';
        if !pattern {
            plain.push(*byte);
            continue;
        }
        if !plain.is_empty() {
            out.extend(quoted(&std::mem::take(&mut plain)));
        }
        out.push(*byte);
    }
    if !plain.is_empty() {
        out.extend(quoted(&plain));
    }
    out
}

fn lost(error: &Error) -> Fault {
    Fault::fatal("transportLost", error.to_string())
}

/// The connection was lost while something ran.
pub(super) fn cut() -> Fault {
    Fault::fatal("transportLost", "the connection was lost")
}

impl Bare {
    /// Starts a script in the node's shell, whatever the login shell is.
    pub(super) async fn start(&self, script: &[u8]) -> Result<Channel, Fault> {
        let command = [b"exec sh -c ", &quoted(script)[..]].concat();
        let started = async {
            let mut channel = self.lease.connection.open_session().await?;
            channel.exec(&command).await?;
            Ok::<_, Error>(channel)
        };
        started.await.map_err(|error| match error.kind {
            ErrorKind::RequestRefused { .. } => {
                Fault::fatal("noSftp", "the node has no file server (sftp) and runs no commands")
            }
            _ => lost(&error),
        })
    }

    /// Runs a script without input.
    pub(super) async fn run(&self, script: &[u8]) -> Result<Ended, Fault> {
        let channel = self.start(script).await?;
        // A command that is gone says so by its end.
        let _ = channel.writer().eof().await;
        self.end(channel).await
    }

    /// Reads a command to its end.
    pub(super) async fn end(&self, mut channel: Channel) -> Result<Ended, Fault> {
        let mut ended = Ended { status: u32::MAX, ..Ended::default() };
        while let Some(event) = channel.next().await {
            let keep = |kept: &mut Vec<u8>, bytes: &[u8]| {
                let room = KEPT.saturating_sub(kept.len());
                kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            };
            match event {
                ChannelEvent::Out(bytes) => keep(&mut ended.out, &bytes),
                ChannelEvent::Err(bytes) => keep(&mut ended.err, &bytes),
                ChannelEvent::Exit(status) => ended.status = status,
                ChannelEvent::Cut => return Err(cut()),
                ChannelEvent::Eof | ChannelEvent::Signal { .. } => {}
            }
        }
        self.count.add(&self.count.steps, 0);
        match ended.status {
            u32::MAX if self.lease.connection.is_closed() => Err(cut()),
            _ => Ok(ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_reach_the_command_as_they_are() {
        assert_eq!(quoted_pattern(b"a b*[!0-9].log"), b"'a b'*[!'0'-'9']'.log'");
        assert_eq!(quoted_pattern(b"$(x)"), b"'$(x)'");
    }
}
