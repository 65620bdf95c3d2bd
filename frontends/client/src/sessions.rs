//! Sessions seen from a frontend: what becomes of them, and the bytes and ends of their commands,
//! in one queue, in the order they arrived.
//!
//! The queue is bounded by credit, as a run's is: one window per stream, and more as
//! [`Sessions::next`] hands bytes out. Events are few per session and command and are never
//! dropped.

use crate::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::exec::Settings;
use bssh_protocol::link::{Link, StreamItem, StreamSender, StreamTarget};
use bssh_protocol::lock;
use bssh_protocol::methods::{
    SessionDefined, SessionExec, SessionOpen, SessionResizeExec, SessionSignalExec,
};
use bssh_protocol::node::GroupListParams;
use bssh_protocol::run::Channel;
use bssh_protocol::session::{
    ExecId, SessionExecDone, SessionExecParams, SessionExecRetry, SessionOpenParams, SessionSignal,
    SessionStateChange, SessionsOpened,
};
use bssh_protocol::session_state::{DefinedSession, SessionResize};
use bssh_protocol::stream::StreamId;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// What happened in a session.
#[derive(Debug)]
pub enum SessionEvent {
    State(SessionStateChange),
    /// A command sent bytes.
    Data {
        exec: ExecId,
        channel: Channel,
        bytes: Bytes,
    },
    /// A command is run again: its connection was lost.
    Retry(SessionExecRetry),
    /// A command is over; it follows all of its data.
    Done(Box<SessionExecDone>),
    /// The core is gone, with how it ended. Nothing follows.
    Lost(String),
}

impl Core {
    /// The configuration's session of this name, if it has one.
    ///
    /// # Errors
    /// A bad file.
    pub async fn defined(
        &self,
        settings: &Settings,
        name: &str,
    ) -> Result<Option<DefinedSession>, CallError> {
        let params = GroupListParams { settings: settings.clone() };
        let known = self.call::<SessionDefined>(&params).await?;
        Ok(known.sessions.into_iter().find(|session| session.name == name))
    }
}

/// Every session of a link.
#[derive(Debug, Clone)]
pub struct Sessions {
    link: Link,
    queue: Arc<Queue>,
}

#[derive(Default)]
pub(crate) struct Queue {
    events: Mutex<VecDeque<Queued>>,
    arrived: Notify,
}

/// An event, and the bytes of a stream that are consumed with it.
type Queued = (SessionEvent, Option<(StreamId, usize)>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} events)", self.events().len())
    }
}

impl Queue {
    fn events(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        lock(&self.events)
    }

    pub(crate) fn push(&self, event: SessionEvent, bytes: Option<(StreamId, usize)>) {
        self.events().push_back((event, bytes));
        self.arrived.notify_one();
    }
}

impl Sessions {
    pub(crate) fn new(link: Link, queue: Arc<Queue>) -> Sessions {
        Sessions { link, queue }
    }

    /// Opens a session on each node; what becomes of them are events.
    ///
    /// # Errors
    /// What is wrong with the request as a whole.
    pub async fn open(&self, params: &SessionOpenParams) -> Result<SessionsOpened, CallError> {
        self.link.call::<SessionOpen>(params).await
    }

    /// Runs a command; its bytes and its end are events.
    ///
    /// # Errors
    /// `handle.unknown`; what is wrong with the command.
    pub async fn exec(&self, params: &SessionExecParams) -> Result<ExecId, CallError> {
        self.exec_fed(params).await.map(|(exec, _)| exec)
    }

    /// The same with the sending end of stdin, if `params.stdin` is a stream.
    ///
    /// # Errors
    /// As [`Sessions::exec`].
    pub async fn exec_fed(
        &self,
        params: &SessionExecParams,
    ) -> Result<(ExecId, Option<StreamSender>), CallError> {
        let window = params.window.unwrap_or(bssh_protocol::stream::WINDOW);
        let (link, queue) = (self.link.clone(), self.queue.clone());
        self.link
            .call_then::<SessionExec, _>(params, move |started| {
                let exec = started.exec;
                let streams =
                    [(started.stdout, Channel::Stdout), (started.stderr, Channel::Stderr)];
                for (id, channel) in streams {
                    let target = Arc::new(Target { queue: queue.clone(), exec, channel });
                    link.receive_into(id, window, u64::from(id), target);
                }
                // What the core takes of a stream before it says more.
                let first = bssh_protocol::stream::WINDOW;
                (exec, started.stdin.map(|id| link.sender(id, first)))
            })
            .await
    }

    /// Sends a signal (its name without `SIG`) to a command's process group.
    ///
    /// # Errors
    /// `handle.unknown`: it is over.
    pub async fn signal(&self, session: u64, exec: ExecId, signal: &str) -> Result<(), CallError> {
        let params = SessionSignal { session, exec: Some(exec), signal: signal.to_owned() };
        self.link.call::<SessionSignalExec>(&params).await.map(drop)
    }

    /// Tells a command's terminal its new size.
    ///
    /// # Errors
    /// `handle.unknown`: it is over.
    pub async fn resize(
        &self,
        (session, exec): (u64, ExecId),
        (cols, rows): (u32, u32),
    ) -> Result<(), CallError> {
        let params = SessionResize { session, exec, cols, rows };
        self.link.call::<SessionResizeExec>(&params).await.map(drop)
    }

    /// The next event; waits for one. Taking `Data` gives the command credit for as many bytes.
    pub async fn next(&self) -> SessionEvent {
        loop {
            let next = self.queue.events().pop_front();
            match next {
                None => self.queue.arrived.notified().await,
                Some((event, bytes)) => {
                    if let Some((stream, n)) = bytes {
                        self.link.consumed(stream, n);
                    }
                    return event;
                }
            }
        }
    }
}

struct Target {
    queue: Arc<Queue>,
    exec: ExecId,
    channel: Channel,
}

impl StreamTarget for Target {
    fn deliver(&self, tag: u64, item: StreamItem) {
        // The end of a stream is told by the end of its command.
        if let StreamItem::Data(bytes) = item {
            let taken = (StreamId::try_from(tag).unwrap_or_default(), bytes.len());
            let (exec, channel) = (self.exec, self.channel);
            self.queue.push(SessionEvent::Data { exec, channel, bytes }, Some(taken));
        }
    }
}
