//! A gateway's core on a session channel: its stdin and stdout as a stream of bytes for a link,
//! and what it says besides.

use crate::failure::one_line;
use bssh_protocol::lock;
use bssh_ssh::{Channel, ChannelEvent};
use bytes::{Bytes, BytesMut};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

/// Bytes on the way between the channel and the link, in each direction; more waits.
pub(super) const ROOM: usize = 256 << 10;
/// Of what it says on stderr so much is kept, the last.
const TAIL: usize = 2048;
/// Every message of a core begins with this.
const OPENING: &[u8] = b"Content-Length:";

/// What was heard beside the protocol.
#[derive(Default)]
pub(super) struct Heard {
    stderr: BytesMut,
    /// What came instead of the protocol.
    rubbish: Option<String>,
    exit: Option<String>,
    /// stdout was read to its end.
    pub whole: bool,
}

impl Heard {
    /// Why it has ended, as far as it says.
    pub(super) fn why(&self) -> String {
        let stderr = one_line(String::from_utf8_lossy(&self.stderr).trim());
        let exit = self.exit.as_deref().unwrap_or("it has ended");
        match (&self.rubbish, stderr.is_empty()) {
            (Some(rubbish), _) => format!("it says {rubbish:?} instead of the protocol"),
            (None, true) => exit.to_owned(),
            (None, false) => format!("{exit}: {stderr}"),
        }
    }

    /// It was no core from the beginning.
    pub(super) fn is_rubbish(&self) -> bool {
        self.rubbish.is_some()
    }

    fn note(&mut self, bytes: &[u8]) {
        self.stderr.extend_from_slice(bytes);
        let over = self.stderr.len().saturating_sub(TAIL);
        let _ = self.stderr.split_to(over);
    }
}

/// Carries both directions until the channel has ended or is no core's.
pub(super) async fn carry(mut channel: Channel, end: DuplexStream, heard: &Mutex<Heard>) {
    let writer = channel.writer();
    let (mut from_link, mut to_link) = tokio::io::split(end);
    let up = async {
        let mut buffer = BytesMut::with_capacity(64 << 10);
        while let Ok(1..) = from_link.read_buf(&mut buffer).await {
            if writer.write(buffer.split().freeze()).await.is_err() {
                break;
            }
        }
        // Its core ends when its stdin does.
        let _ = writer.eof().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = up => {}
        () = down(&mut channel, &mut to_link, heard) => {}
    }
}

async fn down(
    channel: &mut Channel,
    to_link: &mut (impl AsyncWrite + Unpin),
    heard: &Mutex<Heard>,
) {
    let mut opening = BytesMut::new();
    let mut opened = false;
    while let Some(event) = channel.next().await {
        let mut bytes = match event {
            ChannelEvent::Out(bytes) => bytes,
            other => {
                aside(other, &mut lock(heard));
                continue;
            }
        };
        if !opened {
            opening.extend_from_slice(&bytes);
            match judge(&opening) {
                None => continue,
                Some(false) => {
                    lock(heard).rubbish = Some(shown(&opening));
                    return;
                }
                Some(true) => (opened, bytes) = (true, opening.split().freeze()),
            }
        }
        if write(to_link, bytes).await.is_err() {
            return;
        }
    }
    if !opened && !opening.is_empty() {
        lock(heard).rubbish = Some(shown(&opening));
    }
}

fn aside(event: ChannelEvent, heard: &mut Heard) {
    match event {
        ChannelEvent::Out(_) | ChannelEvent::Cut => {}
        ChannelEvent::Err(bytes) => heard.note(&bytes),
        ChannelEvent::Eof => heard.whole = true,
        ChannelEvent::Exit(status) => heard.exit = Some(format!("it exited with status {status}")),
        ChannelEvent::Signal { name, .. } => {
            heard.exit = Some(format!("it was ended by signal {}", one_line(&name)));
        }
    }
}

/// Whether these are the first bytes of a core. None: too few to tell.
fn judge(bytes: &[u8]) -> Option<bool> {
    let n = bytes.len().min(OPENING.len());
    match bytes.get(..n) == OPENING.get(..n) {
        false => Some(false),
        true => (n == OPENING.len()).then_some(true),
    }
}

fn shown(bytes: &[u8]) -> String {
    let first = bytes.get(..bytes.len().min(120)).unwrap_or_default();
    one_line(String::from_utf8_lossy(first).trim())
}

async fn write(to: &mut (impl AsyncWrite + Unpin), bytes: Bytes) -> std::io::Result<()> {
    to.write_all(&bytes).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_told_from_anything_else_by_its_first_bytes() {
        for (bytes, verdict) in [
            (&b"Content-Length: 3\r\n"[..], Some(true)),
            (b"Cont", None),
            (b"Welcome to gw1!\n", Some(false)),
            (b"Contents\n", Some(false)),
        ] {
            assert_eq!(judge(bytes), verdict, "{bytes:?}");
        }
    }

    #[test]
    fn the_last_words_are_kept() {
        let mut heard = Heard::default();
        (0..1000).for_each(|_| heard.note(b"noise "));
        aside(ChannelEvent::Err(b"sh: bssh: not found\n"[..].into()), &mut heard);
        aside(ChannelEvent::Exit(127), &mut heard);
        let why = heard.why();
        assert!(why.starts_with("it exited with status 127: "), "{why}");
        assert!(why.ends_with("sh: bssh: not found") && why.len() < TAIL + 80, "{why}");
    }
}
