//! What the server listens on for us, and who takes the channels it opens.

use crate::channel::Incoming;
use crate::connect::Connection;
use crate::error::{Error, ErrorKind, Phase};
use crate::handler::Shared;
use crate::refusal::refused;
use std::collections::{HashMap, VecDeque};
use tokio::sync::mpsc;

/// Connections the server may have opened and nobody taken yet; more are refused.
const BACKLOG: usize = 512;

/// Where the server may open channels to: what we asked it to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Listening {
    /// The address we asked for, and the port the server has chosen.
    Tcp(String, u32),
    Unix(String),
    Agent,
}

/// Who takes the channels that the server opens.
#[derive(Default)]
pub(crate) struct Listeners {
    queues: HashMap<Listening, mpsc::Sender<Incoming>>,
    /// Requests to listen whose answer nobody has taken yet.
    asking: usize,
    /// Channels that may be of those: the first client can come together with the answer.
    early: VecDeque<(Listening, Incoming)>,
}

impl Listeners {
    /// Hands an open request over; whoever takes it answers. One that nobody asked for is refused,
    /// and so is one more than the queue holds.
    pub(crate) fn offer(&mut self, to: Listening, incoming: Incoming) {
        match self.queue(&to) {
            Some(queue) => drop(queue.try_send(incoming)),
            None if self.asking > 0 && self.early.len() < BACKLOG => {
                self.early.push_back((to, incoming));
            }
            None => {}
        }
    }

    /// Nobody will open a channel any more: whoever accepts learns it.
    pub(crate) fn clear(&mut self) {
        self.queues.clear();
        self.early.clear();
    }

    /// Who listens there. Servers name the address as they like, so a port that only one
    /// listener has is enough.
    fn queue(&self, to: &Listening) -> Option<&mpsc::Sender<Incoming>> {
        if let Some(queue) = self.queues.get(to) {
            return Some(queue);
        }
        let Listening::Tcp(_, wanted) = to else { return None };
        let mut same = self.queues.iter().filter(
            |(listening, _)| matches!(listening, Listening::Tcp(_, port) if port == wanted),
        );
        match (same.next(), same.next()) {
            (Some((_, queue)), None) => Some(queue),
            _ => None,
        }
    }
}

/// A request to listen, until its listener is known or there is none.
struct Asking<'a>(&'a Shared);

impl Shared {
    fn asking_to_listen(&self) -> Asking<'_> {
        self.state().listeners.asking += 1;
        Asking(self)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let listeners = &mut self.0.state().listeners;
        listeners.asking -= 1;
        for (to, incoming) in std::mem::take(&mut listeners.early) {
            listeners.offer(to, incoming);
        }
    }
}

impl Connection {
    /// Makes the node listen on a TCP port (0: it chooses).
    ///
    /// # Errors
    /// Refused, or the connection is lost.
    pub async fn listen_tcp(&self, bind: &str, port: u16) -> Result<RemoteListener, Error> {
        let _asking = self.inner.shared.asking_to_listen();
        let chosen = self.inner.handle.tcpip_forward(bind, port.into()).await;
        let chosen = match chosen {
            Ok(0) => u32::from(port),
            Ok(chosen) => chosen,
            Err(error) => return Err(self.listen_error(error)),
        };
        Ok(self.accept_at(Listening::Tcp(bind.to_owned(), chosen)))
    }

    /// Makes the node listen on a Unix socket.
    ///
    /// # Errors
    /// As [`Connection::listen_tcp`].
    pub async fn listen_unix(&self, path: &str) -> Result<RemoteListener, Error> {
        let _asking = self.inner.shared.asking_to_listen();
        let asked = self.inner.handle.streamlocal_forward(path).await;
        asked.map_err(|e| self.listen_error(e))?;
        Ok(self.accept_at(Listening::Unix(path.to_owned())))
    }

    /// Takes the agent channels the node opens; ask for them on a channel with
    /// [`crate::Channel::agent_forward`].
    pub fn accept_agent(&self) -> RemoteListener {
        self.accept_at(Listening::Agent)
    }

    fn accept_at(&self, listening: Listening) -> RemoteListener {
        let (sender, accepted) = mpsc::channel(BACKLOG);
        self.inner.shared.state().listeners.queues.insert(listening.clone(), sender);
        RemoteListener { connection: self.clone(), listening, accepted }
    }

    fn listen_error(&self, error: russh::Error) -> Error {
        match error {
            russh::Error::RequestDenied => {
                let what = "forward".to_owned();
                Error::new(Phase::Channel, ErrorKind::RequestRefused { what })
            }
            other => self.explain(refused(other, String::new())),
        }
    }
}

/// A listener on the node. Dropping it makes the node stop listening.
pub struct RemoteListener {
    connection: Connection,
    listening: Listening,
    accepted: mpsc::Receiver<Incoming>,
}

impl RemoteListener {
    /// The port the node listens on; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        match self.listening {
            Listening::Tcp(_, port) => u16::try_from(port).unwrap_or(0),
            _ => 0,
        }
    }

    /// The next connection, not answered yet; none once the SSH connection is over.
    pub async fn accept(&mut self) -> Option<Incoming> {
        self.accepted.recv().await
    }
}

impl Drop for RemoteListener {
    fn drop(&mut self) {
        self.connection.inner.shared.state().listeners.queues.remove(&self.listening);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (connection, listening) = (self.connection.clone(), self.listening.clone());
        runtime.spawn(async move {
            let handle = &connection.inner.handle;
            // The server forgets its listeners with the connection anyway.
            let _ = match listening {
                Listening::Tcp(bind, port) => handle.cancel_tcpip_forward(bind, port).await,
                Listening::Unix(path) => handle.cancel_streamlocal_forward(path).await,
                Listening::Agent => Ok(()),
            };
        });
    }
}
