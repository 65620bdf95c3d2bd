//! The helper of a session on its node: a small shell script on a channel of its own that hands
//! over what commands leave behind and signals their process groups.
//!
//! One task owns the channel and serves one request after the other. The end of the channel is
//! the end of the helper, and the other way round: once it hears nothing more it ends what still
//! runs and removes its directory.

use super::payload::HelperStart;
use crate::agent::Offer;
use crate::failure::{failure, plain};
use crate::lanes::Seat;
use bssh_protocol::exec::{Failure, Phase};
use bssh_ssh::{Channel, ChannelEvent};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// How long a helper may take for an answer before it is given up.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to end what runs and to tidy up.
const LEAVE: Duration = Duration::from_secs(4);
/// Requests that may wait; more wait to be asked.
const QUEUE: usize = 64;
/// Most bytes of one answer, and of noise before the first one.
const MOST: usize = (1 << 20) + 64;

/// What a helper said about itself and its node.
pub(super) struct Facts {
    pub kind: String,
    /// What the state began with: `login`, `plain`, or `none` when it is to be put back.
    pub snapshot: String,
    pub dir: String,
    pub home: String,
    pub shell: String,
    pub cwd: Vec<u8>,
}

const BYE: &str = "BYE\n";

/// The way to a running helper. Clones are the same helper.
#[derive(Clone)]
pub(super) struct Helper {
    asks: mpsc::Sender<Ask>,
    stop: Arc<Notify>,
}

struct Ask {
    text: Bytes,
    answer: oneshot::Sender<Answer>,
}

enum Answer {
    Code(i32),
    Data(Option<Bytes>),
}

impl Helper {
    /// Starts a helper. The future beside it serves it and has to be driven.
    pub(super) async fn start(
        (mut channel, offer): (Channel, Option<Offer>),
        seat: Seat,
        start: &HelperStart<'_>,
        within: Duration,
    ) -> Result<(Helper, Facts, impl Future<Output = ()> + use<>), Failure> {
        channel.exec(start.line().as_bytes()).await.map_err(|e| failure(&e))?;
        if let Some(offer) = offer {
            offer.settle(&channel).await;
        }
        let mut wire = Wire { channel, heard: BytesMut::new() };
        let greeting = tokio::time::timeout(within, greet(&mut wire, start.nonce)).await;
        let facts = match greeting {
            Ok(Some(Greeting::Ready(facts))) => facts,
            Ok(Some(Greeting::Refused(why))) => return Err(why),
            Ok(None) if seat.lease().connection.is_closed() => {
                return Err(failure(&seat.lease().connection.closed().await));
            }
            Ok(None) | Err(_) => return Err(unsupported()),
        };
        let (asks, queue) = mpsc::channel(QUEUE);
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let serving = async move {
            tokio::select! {
                () = serve(&mut wire, queue) => {}
                () = stopped.notified() => {}
            }
            let _ = wire.channel.writer().eof().await;
            let silence = async { while wire.channel.next().await.is_some() {} };
            // Whoever waits for the end of the session waits for this.
            let _ = tokio::time::timeout(LEAVE, silence).await;
            drop(wire);
            drop(seat);
        };
        Ok((Helper { asks, stop }, facts, serving))
    }

    /// Ends it for good: nothing is kept, jobs neither.
    pub(super) fn bye(&self) {
        let (answer, _) = oneshot::channel();
        // With so much to do it is not idle, and notices the end of its channel instead.
        if self.asks.try_send(Ask { text: BYE.into(), answer }).is_err() {
            self.stop();
        }
    }

    /// Ends it: it then ends what runs but jobs, and tidies up.
    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Nobody serves it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.asks.is_closed()
    }

    /// Sends a signal to a command's process group. None: the helper is gone.
    pub(super) async fn signal(&self, name: &str, number: u64) -> Option<Sent> {
        match self.ask(format!("SIG {name} {number}\n").into()).await? {
            Answer::Code(0) => Some(Sent::Yes),
            Answer::Code(2) => Some(Sent::Reused),
            _ => Some(Sent::NoSuch),
        }
    }

    /// What a command has left: its first line says how, then comes its directory.
    pub(super) async fn end_of(&self, number: u64) -> Option<Left> {
        let Answer::Data(Some(bytes)) = self.ask(format!("END {number}\n").into()).await? else {
            return Some(Left::Nothing);
        };
        Some(Left::of(&bytes))
    }

    /// A part of a file, at most 1 MiB. None: there is none, or no helper.
    pub(super) async fn read(&self, file: &str, offset: u64) -> Option<Bytes> {
        match self.ask(format!("GET {file} {offset}\n").into()).await? {
            Answer::Data(bytes) => bytes,
            Answer::Code(_) => None,
        }
    }

    /// Writes a file. False: it could not be written.
    pub(super) async fn write(&self, file: &str, bytes: &[u8]) -> bool {
        let mut text = BytesMut::from(format!("PUT {file} {}\n", bytes.len()).as_bytes());
        text.extend_from_slice(bytes);
        matches!(self.ask(text.freeze()).await, Some(Answer::Code(0)))
    }

    /// Removes a file, some time.
    pub(super) async fn remove(&self, file: &str) {
        let (answer, _) = oneshot::channel();
        let ask = Ask { text: format!("RM {file}\n").into(), answer };
        // Without a helper there is nothing to remove.
        let _ = self.asks.send(ask).await;
    }

    async fn ask(&self, text: Bytes) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask { text, answer }).await.ok()?;
        answered.await.ok()
    }
}

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Yes,
    /// Not started yet, or over.
    NoSuch,
    /// The number belongs to somebody else by now.
    Reused,
}

/// What a command has left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    State {
        /// Its name on the node need not be text.
        cwd: Vec<u8>,
        is_new: bool,
    },
    /// Its directory was not there; it did not run.
    NoDirectory,
    /// It replaced its shell, or was killed.
    Nothing,
}

impl Left {
    fn of(bytes: &[u8]) -> Left {
        let body = bytes.strip_suffix(b"\n.\n").unwrap_or_default();
        let state = |cwd: &[u8], is_new| Left::State { cwd: cwd.to_owned(), is_new };
        match (body.strip_prefix(b"new\n"), body.strip_prefix(b"same\n")) {
            _ if bytes == b"gone\n" => Left::NoDirectory,
            (Some(cwd), _) => state(cwd, true),
            (_, Some(cwd)) => state(cwd, false),
            _ => Left::Nothing,
        }
    }
}

async fn serve(wire: &mut Wire, mut queue: mpsc::Receiver<Ask>) {
    loop {
        let ask = tokio::select! {
            ask = queue.recv() => ask,
            // It says nothing by itself: this is its end.
            _ = wire.channel.next() => return,
        };
        let Some(ask) = ask else { return };
        let (silent, last) = (ask.text.starts_with(b"RM "), ask.text.as_ref() == BYE.as_bytes());
        if wire.channel.writer().write(ask.text).await.is_err() {
            return;
        }
        if last {
            return;
        }
        if silent {
            continue;
        }
        match tokio::time::timeout(ANSWER, wire.answer()).await {
            // Whoever asked may have gone.
            Ok(Some(answer)) => drop(ask.answer.send(answer)),
            _ => return,
        }
    }
}

struct Wire {
    channel: Channel,
    heard: BytesMut,
}

impl Wire {
    async fn more(&mut self) -> Option<()> {
        loop {
            match self.channel.next().await? {
                ChannelEvent::Out(bytes) if self.heard.len() < MOST + MOST => {
                    self.heard.extend_from_slice(&bytes);
                    return Some(());
                }
                ChannelEvent::Out(_) => return None,
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.heard.iter().position(|b| *b == b'\n') {
                let line = self.heard.split_to(end + 1);
                return Some(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            }
            if self.heard.len() > MOST {
                return None;
            }
            self.more().await?;
        }
    }

    async fn answer(&mut self) -> Option<Answer> {
        let line = self.line().await?;
        if let Some(code) = line.strip_prefix("R ") {
            return Some(Answer::Code(code.trim().parse().ok()?));
        }
        match line.strip_prefix("D ")?.trim() {
            "-1" => Some(Answer::Data(None)),
            length => {
                let length: usize = length.parse().ok().filter(|n| *n <= MOST)?;
                while self.heard.len() <= length {
                    self.more().await?;
                }
                let bytes = self.heard.split_to(length).freeze();
                let _ = self.heard.split_to(1);
                Some(Answer::Data(Some(bytes)))
            }
        }
    }

    async fn bytes(&mut self) -> Option<Vec<u8>> {
        match self.answer().await? {
            Answer::Data(Some(bytes)) => Some(bytes.into()),
            _ => None,
        }
    }

    async fn text(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(&self.bytes().await?).into_owned())
    }
}

enum Greeting {
    Ready(Facts),
    Refused(Failure),
}

/// Reads past whatever the login shell says, up to the helper's own first words.
async fn greet(wire: &mut Wire, nonce: &str) -> Option<Greeting> {
    loop {
        let line = wire.line().await?;
        let mut words = line.split(' ');
        let refused = |text: &str| Greeting::Refused(plain(Phase::Exec, "sessionFailed", text));
        match (words.next(), words.next() == Some(nonce)) {
            (Some("NOSHELL"), true) => return Some(refused("there is no such shell on the node")),
            (Some("NOCWD"), true) => {
                let hint =
                    "once it is there, or with another one: reset the session, or open it anew";
                let text = "the directory the session is to begin in is not on the node";
                let failure = plain(Phase::Exec, "cwdMissing", text);
                return Some(Greeting::Refused(Failure { hint: Some(hint.to_owned()), ..failure }));
            }
            (Some("NODIR"), true) => {
                return Some(refused("no directory of our own can be made on the node"));
            }
            (Some("READY"), true) => {}
            _ => continue,
        }
        let kind = words.nth(1)?.to_owned();
        let snapshot = words.next()?.to_owned();
        let known = kind.bytes().all(|b| b.is_ascii_lowercase());
        let facts = Facts {
            kind,
            snapshot,
            dir: wire.text().await?,
            home: wire.text().await?,
            shell: wire.text().await?,
            cwd: wire.bytes().await?,
        };
        return known.then_some(Greeting::Ready(facts));
    }
}

fn unsupported() -> Failure {
    let text = "no session is possible: the node runs no command of ours";
    let hint =
        "a forced command, a restricted shell, or an appliance; single commands may still work";
    Failure { hint: Some(hint.to_owned()), ..plain(Phase::Exec, "sessionUnsupported", text) }
}
