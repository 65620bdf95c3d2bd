//! One output stream of a session's command on its way to the frontend: what the login shell says
//! before the command begins is left out, and so is the middle of what is longer than wanted.

use bssh_protocol::link::{Link, StreamSender};
use bssh_protocol::methods::StreamGapEvent;
use bssh_protocol::stream::StreamGap;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

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
}

impl Output {
    /// To a stream; without one it goes nowhere.
    pub(super) fn new(link: &Link, sender: Option<StreamSender>, most: Option<u64>) -> Output {
        let window = most.map(|most| {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let head_left = most / 5 * 2;
            Window { head_left, tail: VecDeque::new(), tail_most: most - head_left, left_out: 0 }
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

    /// Sends what was kept back, and the end.
    pub(super) async fn finish(mut self) -> u64 {
        if let Some(window) = self.window.take() {
            let to = self.total - window.tail.len() as u64;
            if let Some(sender) = self.sender.as_ref().filter(|_| window.left_out > 0) {
                let gap = StreamGap { stream: sender.id(), from: to - window.left_out, to };
                // A link that is lost ends the command.
                let _ = self.link.notify::<StreamGapEvent>(&gap).await;
            }
            self.send(Vec::from(window.tail).into()).await;
        }
        if let Some(sender) = self.sender {
            let _ = sender.finish().await;
        }
        self.total
    }
}

impl Window {
    /// Gives what is sent now.
    fn take(&mut self, mut bytes: Bytes) -> Bytes {
        let now = bytes.split_to(self.head_left.min(bytes.len()));
        self.head_left -= now.len();
        self.tail.extend(&bytes);
        let over = self.tail.len().saturating_sub(self.tail_most);
        self.tail.drain(..over);
        self.left_out += over as u64;
        now
    }
}
