//! Ending what runs on a node, and making sure that it ends when we are gone.
//!
//! Commands go out byte for byte, so nothing is wrapped around them. A [`Guard`] is a small
//! POSIX-shell helper (`kill.sh`) on a second channel of the same connection: it finds the
//! command's processes as children of its own server process, signals their groups, and sees
//! them gone. Once armed it is also a dead-man switch: end of file on its stdin, which is what a
//! lost link or a killed core looks like, ends them too. It is armed by a word of ours that follows
//! its first one: a helper that starts so late that nobody waits for it any more finds another
//! command in place of its own, and must spare it. A connection with a guard carries one command
//! only; [`crate::pool`] sees to that.

use crate::pool::Lease;
use bssh_protocol::exec::Killed;
use bssh_ssh::{Channel, ChannelEvent};
use bytes::Bytes;
use std::time::Duration;

/// A command this young needs no dead-man switch yet: most are over before, and the switch costs
/// the node a process.
pub(crate) const ARM_AFTER: Duration = Duration::from_millis(200);
/// How long the helper may take to start.
const START: Duration = Duration::from_secs(5);
/// TERM, two seconds, KILL, four seconds, and the way there and back.
const FINISH: Duration = Duration::from_secs(9);

/// An armed helper.
pub(crate) struct Guard {
    channel: Channel,
    /// What it said beyond the last full line.
    heard: Vec<u8>,
}

impl Guard {
    /// Starts the helper. None if the node refuses (no more sessions, no shell, forced command).
    pub(crate) async fn arm(lease: &Lease) -> Option<Guard> {
        tokio::time::timeout(START, Guard::start(lease)).await.ok().flatten()
    }

    async fn start(lease: &Lease) -> Option<Guard> {
        let mut channel = lease.open_session().await.ok()?;
        channel.exec(bootstrap().as_bytes()).await.ok()?;
        let mut guard = Guard { channel, heard: Vec::new() };
        if !guard.line().await?.starts_with("READY") {
            return None;
        }
        guard.say("A\n").await?;
        Some(guard)
    }

    /// Ends the command: TERM, then KILL; confirmed when its processes were seen to be gone.
    pub(crate) async fn kill(&mut self) -> Killed {
        let ended = async {
            self.say("K\n").await?;
            loop {
                match self.line().await?.as_str() {
                    "GONE" => return Some(Killed::Confirmed),
                    "LEFT" => return None,
                    _ => {}
                }
            }
        };
        let ended = tokio::time::timeout(FINISH, ended).await;
        ended.ok().flatten().unwrap_or(Killed::Unconfirmed)
    }

    /// Sends a signal (name without `SIG`) to the command's process groups.
    pub(crate) async fn signal(&mut self, name: &str) {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric());
        if plain && self.say(&format!("S {name}\n")).await.is_some() {
            let _ = tokio::time::timeout(START, self.line()).await;
        }
    }

    /// The command has ended by itself: the helper may go.
    pub(crate) async fn dismiss(mut self) {
        if self.say("Q\n").await.is_some() {
            // Its channel is closed with the connection; waiting would only cost time.
            let _ = self.channel.writer().eof().await;
        }
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        self.channel.writer().write(Bytes::copy_from_slice(text.as_bytes())).await.ok()
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.heard.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            match self.channel.next().await? {
                // A login shell that talks is no reason to grow.
                ChannelEvent::Out(bytes) if self.heard.len() < 64 * 1024 => {
                    self.heard.extend_from_slice(&bytes);
                }
                _ => {}
            }
        }
    }
}

/// Ends a command that has no guard yet. A node that is slow to start the helper may use the time
/// that it does not need for killing.
pub(crate) async fn kill(lease: &Lease) -> Killed {
    let ended = async { Some(Guard::start(lease).await?.kill().await) };
    let ended = tokio::time::timeout(START + FINISH, ended).await;
    ended.ok().flatten().unwrap_or(Killed::Unconfirmed)
}

const SCRIPT: &str = include_str!("kill.sh");

/// The helper as a command line that any login shell passes on unharmed: nothing in it but
/// letters, digits and octal escapes between single quotes.
fn bootstrap() -> String {
    use std::fmt::Write as _;
    let code = SCRIPT.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
    let mut escaped = String::with_capacity(4 * code.len());
    for byte in code.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => escaped.push(char::from(byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\0{byte:03o}");
            }
        }
    }
    format!("exec /bin/sh -c 'eval \"$(printf %b \"$1\")\"' sh '{escaped}'")
}
