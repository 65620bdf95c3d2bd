//! Channels of a connection: sessions that run something, and byte streams to elsewhere.
//!
//! Whatever a session needs (environment, terminal, agent, command) is sent in one go and then
//! one answer is awaited. A channel that is not read stalls its whole connection (russh awaits
//! its queue): read until the end, or make sure that the connection carries nothing else.

use crate::error::{Error, ErrorKind, Phase};
use crate::pipe::Pipe;
use crate::refusal::Refusal;
use crate::request::{fits, gone};
use bytes::Bytes;
use futures_util::future::{Either, select};
use russh::client::{ChannelOpenHandle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Pty, Sig};
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::AsyncWrite;

/// A terminal for a session, RFC 4254 section 6.2.
#[derive(Debug, Clone, Default)]
pub struct PtyRequest {
    pub term: String,
    pub cols: u32,
    pub rows: u32,
    pub px_width: u32,
    pub px_height: u32,
    /// Opcode and argument, RFC 4254 section 8.
    pub modes: Vec<(u8, u32)>,
}

/// What arrives on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    Out(Bytes),
    Err(Bytes),
    /// No more output. The exit may still follow.
    Eof,
    Exit(u32),
    /// Ended by a signal (name without `SIG`).
    Signal {
        name: String,
        core_dumped: bool,
        message: String,
    },
    /// The connection was lost before all was told: the exit, and the end of the output.
    Cut,
}

impl ChannelEvent {
    fn bytes(&self) -> usize {
        match self {
            ChannelEvent::Out(bytes) | ChannelEvent::Err(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// A session channel. Dropping it closes it.
pub struct Channel {
    read: ChannelReadHalf,
    writer: ChannelWriter,
    /// Events that came before the answer to a request.
    early: VecDeque<ChannelEvent>,
    early_bytes: usize,
    ended: bool,
    /// The exit has been told.
    exited: bool,
    /// The end of the output has been told.
    whole: bool,
    /// An answer about the agent comes before that about a terminal, and both before the others.
    agent: AtomicU8,
    terminal: AtomicU8,
}

/// What may come before the answer to a request, in bytes, about. Servers answer first.
const EARLY: usize = 1 << 20;
/// What an event takes beside its bytes, about.
const EVENT: usize = 64;
/// For a server to close a channel that both sides have ended.
const LINGER: Duration = Duration::from_secs(2);
/// For a server to close a channel that was cut short, and what it may still send meanwhile.
const CUT: Duration = Duration::from_secs(5);
const CUT_BYTES: usize = 8 << 20;

/// States of [`Channel::agent`] and [`Channel::terminal`].
const NOT_ASKED: u8 = 0;
const ASKED: u8 = 1;
const REFUSED: u8 = 2;

/// The sending side; clones are the same channel.
#[derive(Clone)]
pub struct ChannelWriter {
    half: Arc<ChannelWriteHalf<Msg>>,
}

/// A channel the node wants to open. It waits for an answer; dropping this refuses it.
pub struct Incoming {
    channel: russh::Channel<Msg>,
    reply: ChannelOpenHandle,
}

impl Incoming {
    pub(crate) fn new(channel: russh::Channel<Msg>, reply: ChannelOpenHandle) -> Self {
        Incoming { channel, reply }
    }

    /// Opens it.
    pub async fn accept(self) -> Channel {
        self.reply.accept().await;
        Channel::new(self.channel)
    }

    /// Refuses it.
    pub async fn refuse(self, why: Refusal) {
        self.reply.reject(why.into()).await;
    }
}

impl Channel {
    pub(crate) fn new(channel: russh::Channel<Msg>) -> Self {
        let (read, half) = channel.split();
        let writer = ChannelWriter { half: Arc::new(half) };
        Channel {
            read,
            writer,
            early: VecDeque::new(),
            early_bytes: 0,
            ended: false,
            exited: false,
            whole: false,
            agent: AtomicU8::new(NOT_ASKED),
            terminal: AtomicU8::new(NOT_ASKED),
        }
    }

    /// Sends an environment variable; no answer is wanted.
    ///
    /// # Errors
    /// Too long, or the connection is gone.
    pub async fn env(&self, name: &str, value: &str) -> Result<(), Error> {
        fits("a variable", name.len() + value.len())?;
        self.writer.half.set_env(false, name, value).await.map_err(gone)
    }

    /// Asks for a terminal, after the agent was offered if it is. The answer is taken with that to
    /// the start of a command; see [`Channel::terminal_refused`].
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn request_pty(&self, pty: &PtyRequest) -> Result<(), Error> {
        let modes: Vec<(Pty, u32)> = pty
            .modes
            .iter()
            .filter_map(|(code, value)| Pty::from_u8(*code).map(|p| (p, *value)))
            .collect();
        let (cols, rows) = (pty.cols, pty.rows);
        let (width, height) = (pty.px_width, pty.px_height);
        self.terminal.store(ASKED, Relaxed);
        let asked =
            self.writer.half.request_pty(true, &pty.term, cols, rows, width, height, &modes);
        asked.await.map_err(gone)
    }

    /// Offers our agent to the remote side. The answer is taken with that to the start of a
    /// command; see [`Channel::agent_refused`].
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn agent_forward(&self) -> Result<(), Error> {
        self.agent.store(ASKED, Relaxed);
        self.writer.half.agent_forward(true).await.map_err(gone)
    }

    /// Waits for the answer to [`Channel::agent_forward`]; ask before a command is started.
    ///
    /// # Errors
    /// The channel or the connection is gone.
    pub async fn agent_answer(&mut self) -> Result<(), Error> {
        while self.agent.load(Relaxed) == ASKED {
            match self.read.wait().await {
                Some(answer @ (ChannelMsg::Success | ChannelMsg::Failure)) => {
                    answered(&self.agent, &answer);
                }
                None | Some(ChannelMsg::Close) => {
                    self.ended = true;
                    let lost = "the channel was closed before the command started".to_owned();
                    return Err(Error::new(Phase::Channel, ErrorKind::Lost(lost)));
                }
                Some(message) => self.keep_early(message)?,
            }
        }
        Ok(())
    }

    /// The remote side does not want our agent.
    pub fn agent_refused(&self) -> bool {
        self.agent.load(Relaxed) == REFUSED
    }

    /// The remote side gives no terminal: what was started goes without.
    pub fn terminal_refused(&self) -> bool {
        self.terminal.load(Relaxed) == REFUSED
    }

    /// Runs a command line and waits until the server has taken it.
    ///
    /// # Errors
    /// Too long, refused, or the connection is gone.
    pub async fn exec(&mut self, command: &[u8]) -> Result<(), Error> {
        fits("the command", command.len())?;
        self.writer.half.exec(true, command).await.map_err(gone)?;
        self.answer("exec").await
    }

    /// As [`Channel::exec`] for a command that gets no stdin: that it has ended goes out with it.
    ///
    /// # Errors
    /// As [`Channel::exec`].
    pub async fn exec_without_stdin(&mut self, command: &[u8]) -> Result<(), Error> {
        fits("the command", command.len())?;
        self.writer.half.exec(true, command).await.map_err(gone)?;
        self.writer.eof().await?;
        self.answer("exec").await
    }

    /// Starts the login shell.
    ///
    /// # Errors
    /// As [`Channel::exec`].
    pub async fn shell(&mut self) -> Result<(), Error> {
        self.writer.half.request_shell(true).await.map_err(gone)?;
        self.answer("shell").await
    }

    /// Starts a subsystem.
    ///
    /// # Errors
    /// As [`Channel::exec`].
    pub async fn subsystem(&mut self, name: &str) -> Result<(), Error> {
        self.writer.half.request_subsystem(true, name).await.map_err(gone)?;
        self.answer("subsystem").await
    }

    /// Starts a subsystem, with what it is told first: a way there and back less where the server
    /// takes bytes that early. OpenSSH gives no window before it has started something, and none
    /// at all where it refuses.
    ///
    /// # Errors
    /// As [`Channel::exec`].
    pub async fn subsystem_with(&mut self, name: &str, first: Bytes) -> Result<(), Error> {
        self.writer.half.request_subsystem(true, name).await.map_err(gone)?;
        let writer = self.writer();
        let (answer, write) = (pin!(self.answer("subsystem")), pin!(writer.write(first)));
        match select(answer, write).await {
            Either::Left((answered, write)) => {
                answered?;
                write.await
            }
            Either::Right((written, answer)) => {
                written?;
                answer.await
            }
        }
    }

    /// The next event; none once the channel is closed or the connection is lost (which of the
    /// two, the connection tells).
    pub async fn next(&mut self) -> Option<ChannelEvent> {
        if let Some(event) = self.early.pop_front() {
            return Some(event);
        }
        while !self.ended {
            match self.read.wait().await {
                Some(ChannelMsg::Close) => self.ended = true,
                None => {
                    self.ended = true;
                    return (!self.exited || !self.whole).then_some(ChannelEvent::Cut);
                }
                Some(message) => {
                    if let Some(event) = self.heard(message) {
                        return Some(event);
                    }
                }
            }
        }
        None
    }

    /// The message as an event, with note taken of what it ends.
    fn heard(&mut self, message: ChannelMsg) -> Option<ChannelEvent> {
        let event = event(message)?;
        match event {
            ChannelEvent::Exit(_) | ChannelEvent::Signal { .. } => self.exited = true,
            ChannelEvent::Eof => self.whole = true,
            _ => {}
        }
        Some(event)
    }

    /// Waits for CLOSE, once both sides have said that nothing more will come: a server closes
    /// such a channel by itself. russh keeps something of every channel that we close first until
    /// its connection ends.
    pub async fn closed(&mut self) {
        let end = async { while self.next().await.is_some() {} };
        // One that does not close is closed by dropping.
        let _ = tokio::time::timeout(LINGER, end).await;
    }

    /// Gives the channel up in the middle: says that nothing more will come, drops what does, and
    /// closes it only if the server has not after a while, or sends on and on. For forwards: a
    /// command would go on meanwhile.
    pub fn cut(mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.ended {
            return;
        }
        runtime.spawn(async move {
            let end = async {
                self.writer.eof().await.ok()?;
                let mut left = CUT_BYTES;
                while let Some(event) = self.next().await {
                    if let ChannelEvent::Out(bytes) | ChannelEvent::Err(bytes) = event {
                        left = left.checked_sub(bytes.len())?;
                    }
                }
                Some(())
            };
            // One that does not close is closed by dropping.
            let _ = tokio::time::timeout(CUT, end).await;
        });
    }

    /// As one stream of bytes.
    pub fn into_pipe(self) -> Pipe {
        Pipe::new(self)
    }

    /// The sending side.
    pub fn writer(&self) -> ChannelWriter {
        self.writer.clone()
    }

    /// What comes before an answer waits for it, but not without end.
    fn keep_early(&mut self, message: ChannelMsg) -> Result<(), Error> {
        let Some(event) = self.heard(message) else { return Ok(()) };
        self.early_bytes += EVENT + event.bytes();
        if self.early_bytes > EARLY {
            let text = "the server sends output and does not say whether the command has started";
            return Err(Error::new(Phase::Exec, ErrorKind::Unsupported(text.to_owned())));
        }
        self.early.push_back(event);
        Ok(())
    }

    async fn answer(&mut self, what: &str) -> Result<(), Error> {
        loop {
            let asked = [&self.agent, &self.terminal];
            let earlier = asked.into_iter().find(|state| state.load(Relaxed) == ASKED);
            match (self.read.wait().await, earlier) {
                (Some(about @ (ChannelMsg::Success | ChannelMsg::Failure)), Some(earlier)) => {
                    answered(earlier, &about);
                }
                (Some(ChannelMsg::Success), _) => return Ok(()),
                (Some(ChannelMsg::Failure), _) => {
                    let what = what.to_owned();
                    return Err(Error::new(Phase::Exec, ErrorKind::RequestRefused { what }));
                }
                (None | Some(ChannelMsg::Close), _) => {
                    self.ended = true;
                    let lost = "closed before the server said whether the command has started";
                    return Err(Error::new(Phase::Exec, ErrorKind::Lost(lost.to_owned())));
                }
                (Some(message), _) => self.keep_early(message)?,
            }
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Without CLOSE the server keeps the session. After the server's CLOSE russh has sent
        // ours already.
        if self.ended {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let half = self.writer.half.clone();
            runtime.spawn(async move { half.close().await });
        }
    }
}

impl ChannelWriter {
    /// As a stream of bytes; its end is EOF.
    pub(crate) fn bytes(&self) -> impl AsyncWrite + Send + 'static {
        self.half.make_writer()
    }

    /// Sends bytes; waits while the remote window is full.
    ///
    /// # Errors
    /// The channel or the connection is gone.
    pub async fn write(&self, bytes: Bytes) -> Result<(), Error> {
        self.half.data_bytes(bytes).await.map_err(gone)
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// The channel or the connection is gone.
    pub async fn eof(&self) -> Result<(), Error> {
        self.half.eof().await.map_err(gone)
    }

    /// Sends a signal (name without `SIG`) to the remote process; servers may ignore it.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn signal(&self, name: &str) -> Result<(), Error> {
        self.half.signal(signal(name)).await.map_err(gone)
    }

    /// Tells the terminal's new size.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn window_change(&self, pty: &PtyRequest) -> Result<(), Error> {
        let half = &self.half;
        half.window_change(pty.cols, pty.rows, pty.px_width, pty.px_height).await.map_err(gone)
    }

    /// Closes the channel in both directions.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn close(&self) -> Result<(), Error> {
        self.half.close().await.map_err(gone)
    }
}

/// Notes the answer to a request that came before the start of a command.
fn answered(state: &AtomicU8, answer: &ChannelMsg) {
    let refused = matches!(answer, ChannelMsg::Failure);
    state.store(if refused { REFUSED } else { NOT_ASKED }, Relaxed);
}

fn event(message: ChannelMsg) -> Option<ChannelEvent> {
    Some(match message {
        ChannelMsg::Data { data } => ChannelEvent::Out(data),
        // 1 is stderr, the only type RFC 4254 defines.
        ChannelMsg::ExtendedData { data, ext: 1 } => ChannelEvent::Err(data),
        ChannelMsg::Eof => ChannelEvent::Eof,
        ChannelMsg::ExitStatus { exit_status } => ChannelEvent::Exit(exit_status),
        ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, .. } => {
            ChannelEvent::Signal {
                name: signal_text(signal_name),
                core_dumped,
                message: error_message,
            }
        }
        _ => return None,
    })
}

const SIGNALS: &[(&str, Sig)] = &[
    ("ABRT", Sig::ABRT),
    ("ALRM", Sig::ALRM),
    ("FPE", Sig::FPE),
    ("HUP", Sig::HUP),
    ("ILL", Sig::ILL),
    ("INT", Sig::INT),
    ("KILL", Sig::KILL),
    ("PIPE", Sig::PIPE),
    ("QUIT", Sig::QUIT),
    ("SEGV", Sig::SEGV),
    ("TERM", Sig::TERM),
    ("USR1", Sig::USR1),
];

fn signal(name: &str) -> Sig {
    let known = SIGNALS.iter().find(|(n, _)| *n == name);
    known.map_or_else(|| Sig::Custom(name.to_owned()), |(_, sig)| sig.clone())
}

fn signal_text(sig: Sig) -> String {
    match sig {
        Sig::Custom(name) => name.chars().filter(char::is_ascii_alphanumeric).collect(),
        known => {
            let same = |s: &Sig| std::mem::discriminant(s) == std::mem::discriminant(&known);
            SIGNALS.iter().find(|(_, s)| same(s)).map_or("?", |(n, _)| n).to_owned()
        }
    }
}
