//! One output stream of a session's command on its way to the frontend: what the login shell says
//! before the command begins is left out, and so is the middle of what is longer than wanted; then
//! all of it is in a file.

use crate::whole::{Whole, Wholes};
use bssh_protocol::link::{Link, StreamSender};
use bssh_protocol::methods::StreamGapEvent;
use bssh_protocol::session::OutputFile;
use bssh_protocol::stream::StreamGap;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

/// A login shell that says more than this is not listened to any more.
const MOST_NOISE: usize = 1 << 20;

pub(super) struct Output {
    link: Link,
    /// None: the frontend takes no more.
    sender: Option<StreamSender>,
    nonce: Vec<u8>,
    /// What came before the command; none once it has begun.
    noise: Option<BytesMut>,
    window: Option<Window>,
    /// Bytes of the command.
    pub total: u64,
}

/// The first and the last bytes of a stream.
struct Window {
    head_left: usize,
    tail: VecDeque<u8>,
    tail_most: usize,
    left_out: u64,
    /// What was sent, until it is in the file.
    head: Vec<u8>,
    /// The beginning of a character whose rest has not come yet.
    held: Bytes,
    /// Where files go, and what a new one's name begins with.
    wholes: (Arc<Wholes>, String),
    /// All of it, once something is left out.
    whole: Option<Whole>,
}

impl Output {
    /// To a stream; without one it goes nowhere.
    pub(super) fn new(
        link: &Link,
        sender: Option<StreamSender>,
        most: Option<(u64, (Arc<Wholes>, String))>,
    ) -> Output {
        let window = most.map(|(most, wholes)| {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let head_left = most / 5 * 2;
            Window {
                head_left,
                tail: VecDeque::new(),
                tail_most: most - head_left,
                left_out: 0,
                head: Vec::new(),
                held: Bytes::new(),
                wholes,
                whole: None,
            }
        });
        Output { link: link.clone(), sender, nonce: Vec::new(), noise: None, window, total: 0 }
    }

    /// What comes now is noise until this is said.
    pub(super) fn begin(&mut self, nonce: &str) {
        self.nonce = nonce.as_bytes().to_vec();
        self.noise = Some(BytesMut::new());
    }

    /// The command has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.noise.is_none()
    }

    /// Takes what arrived. Waits while the frontend takes no more.
    pub(super) async fn take(&mut self, bytes: Bytes) {
        let bytes = match &mut self.noise {
            None => bytes,
            Some(noise) => {
                let from = noise.len().saturating_sub(self.nonce.len());
                noise.extend_from_slice(&bytes);
                let seen = noise.get(from..).unwrap_or_default();
                let at = seen.windows(self.nonce.len()).position(|w| w == self.nonce);
                let Some(at) = at else {
                    if noise.len() > MOST_NOISE {
                        let keep = noise.len() - self.nonce.len();
                        let _ = noise.split_to(keep);
                    }
                    return;
                };
                let _ = noise.split_to(from + at + self.nonce.len());
                self.noise.take().unwrap_or_default().freeze()
            }
        };
        self.total += bytes.len() as u64;
        let now = match &mut self.window {
            Some(window) => window.take(bytes),
            None => bytes,
        };
        self.send(now).await;
    }

    async fn send(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if let Some(sender) = &mut self.sender
            && sender.write(bytes).await.is_err()
        {
            self.sender = None;
        }
    }

    /// Sends what was kept back, and the end; gives the bytes of all of it, and the file.
    pub(super) async fn finish(mut self) -> (u64, Option<OutputFile>) {
        let mut file = None;
        if let Some(mut window) = self.window.take() {
            window.settle();
            let to = self.total - window.tail.len() as u64;
            if let Some(sender) = self.sender.as_ref().filter(|_| window.left_out > 0) {
                let gap = StreamGap { stream: sender.id(), from: to - window.left_out, to };
                // A link that is lost ends the command.
                let _ = self.link.notify::<StreamGapEvent>(&gap).await;
            }
            file = window.whole.take().map(Whole::end);
            self.send(std::mem::take(&mut window.held)).await;
            self.send(Vec::from(window.tail).into()).await;
        }
        if let Some(sender) = self.sender {
            let _ = sender.finish().await;
        }
        (self.total, file)
    }
}

impl Window {
    /// Gives what is sent now.
    fn take(&mut self, bytes: Bytes) -> Bytes {
        let mut bytes = match self.held.is_empty() {
            true => bytes,
            false => [std::mem::take(&mut self.held), bytes].concat().into(),
        };
        let most = self.head_left.min(bytes.len());
        let now = bytes.split_to(most - torn(bytes.get(..most).unwrap_or_default()));
        if self.head_left > 0 {
            self.head.extend_from_slice(&now);
        }
        if most < self.head_left {
            self.head_left -= now.len();
            self.held = bytes;
            return now;
        }
        self.head_left = 0;
        let over = (self.tail.len() + bytes.len()).saturating_sub(self.tail_most);
        if over > 0 && self.left_out == 0 {
            self.begin_file();
        }
        if let Some(whole) = &mut self.whole {
            whole.write(&bytes);
        }
        self.tail.extend(&bytes);
        self.tail.drain(..over);
        self.left_out += over as u64;
        now
    }

    /// Something is about to be left out: what came so far goes into a file.
    fn begin_file(&mut self) {
        let (wholes, name) = &self.wholes;
        self.whole = wholes.begin(name);
        let head = std::mem::take(&mut self.head);
        if let Some(whole) = &mut self.whole {
            whole.write(&head);
            let (older, newer) = self.tail.as_slices();
            whole.write(older);
            whole.write(newer);
        }
    }

    /// The rest of a character whose beginning was left out is left out, too.
    fn settle(&mut self) {
        if self.left_out > 0 {
            let rest = self.tail.iter().take(3).take_while(|b| **b & 0xc0 == 0x80).count();
            self.tail.drain(..rest);
            self.left_out += rest as u64;
        }
    }
}

/// Length of a character in UTF-8 that has only begun at the end of these bytes.
fn torn(bytes: &[u8]) -> usize {
    let first = |b: &u8| b & 0xc0 != 0x80;
    let back = bytes.iter().rev().take(3).position(first).map_or(0, |at| at + 1);
    let length = match bytes.len().checked_sub(back).and_then(|at| bytes.get(at)) {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    if back < length { back } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::torn;

    #[test]
    fn a_character_that_has_only_begun_is_seen() {
        for (bytes, want) in [
            (&b""[..], 0),
            (b"ab", 0),
            ("aü".as_bytes(), 0),
            (b"a\xc3", 1),
            (b"\xe2\x82", 2),
            ("€".as_bytes(), 0),
            (b"x\xf0\x9f\x98", 3),
            ("😀".as_bytes(), 0),
            // Not UTF-8: nothing is waited for.
            (b"\x80\x80\x80\x80", 0),
        ] {
            assert_eq!(torn(bytes), want, "{bytes:?}");
        }
    }
}
