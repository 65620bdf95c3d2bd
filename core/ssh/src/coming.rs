//! Channels on their way. Whoever waits for one may give it up; the server opens it all the same,
//! and keeps what is behind it until we close it.

use crate::channel::Channel;
use crate::connect::{Connection, Inner};
use crate::error::{Error, ErrorKind, Phase};
use crate::pipe::Pipe;
use crate::refusal::Refusal;
use futures_util::future::{BoxFuture, select};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

impl Connection {
    /// Opens a session channel, RFC 4254 section 6.1.
    ///
    /// # Errors
    /// Phase channel: refused (MaxSessions), or the connection is lost.
    pub async fn open_session(&self) -> Result<Channel, Error> {
        let connection = self.clone();
        Coming::new(&self.inner, async move { connection.new_session().await }).await
    }

    async fn new_session(&self) -> Result<Channel, Error> {
        let opening = self.inner.shared.opening();
        match self.inner.handle.channel_open_session().await {
            Ok(channel) => Ok(Channel::new(channel)),
            Err(error) => match opening.refused(error) {
                // OpenSSH answers "connect failed" when MaxSessions is reached; others differ, and
                // may mean something else by it.
                Error { kind: ErrorKind::ChannelRefused { reason, said }, .. } => {
                    let said = match reason {
                        Refusal::ConnectFailed => String::new(),
                        _ => ErrorKind::ChannelRefused { reason, said }.to_string(),
                    };
                    Err(Error::new(Phase::Channel, ErrorKind::TooManySessions { said }))
                }
                error => Err(self.explain(error)),
            },
        }
    }

    /// As [`Connection::open_tcp_channel`], as one stream of bytes.
    ///
    /// # Errors
    /// As [`Connection::open_tcp_channel`].
    pub async fn open_tcp(
        &self,
        host: &str,
        port: u16,
        origin: (&str, u16),
    ) -> Result<Pipe, Error> {
        self.open_tcp_channel(host, port, origin).await.map(Channel::into_pipe)
    }

    /// Connects from the node to a TCP address; `origin` is who asked. Its packets are taken as
    /// they come.
    ///
    /// # Errors
    /// Phase channel: refused, unreachable from there, or the connection is lost.
    pub async fn open_tcp_channel(
        &self,
        host: &str,
        port: u16,
        origin: (&str, u16),
    ) -> Result<Channel, Error> {
        let (connection, port, from_port) = (self.clone(), port.into(), origin.1.into());
        let (host, from) = (host.to_owned(), origin.0.to_owned());
        let opening = async move {
            let (handle, opening) = (&connection.inner.handle, connection.inner.shared.opening());
            let opened = handle.channel_open_direct_tcpip(host, port, from, from_port).await;
            opened.map(Channel::new).map_err(|e| connection.explain(opening.refused(e)))
        };
        Coming::new(&self.inner, opening).await
    }

    /// Connects from the node to a Unix socket there.
    ///
    /// # Errors
    /// As [`Connection::open_tcp_channel`].
    pub async fn open_unix_channel(&self, path: &str) -> Result<Channel, Error> {
        let (connection, path) = (self.clone(), path.to_owned());
        let opening = async move {
            let (handle, opening) = (&connection.inner.handle, connection.inner.shared.opening());
            let opened = handle.channel_open_direct_streamlocal(path).await;
            opened.map(Channel::new).map_err(|e| connection.explain(opening.refused(e)))
        };
        Coming::new(&self.inner, opening).await
    }
}

/// A channel that is being opened. One that is given up is closed when it comes.
struct Coming {
    /// None once it has come.
    opening: Option<BoxFuture<'static, Result<Channel, Error>>>,
    of: Weak<Inner>,
}

/// How often it is looked whether a connection is used for anything else.
const LOOK: Duration = Duration::from_secs(1);

impl Coming {
    /// `opening` keeps the connection once.
    fn new(
        of: &Arc<Inner>,
        opening: impl Future<Output = Result<Channel, Error>> + Send + 'static,
    ) -> Coming {
        Coming { opening: Some(Box::pin(opening)), of: Arc::downgrade(of) }
    }
}

impl Future for Coming {
    type Output = Result<Channel, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(opening) = &mut self.opening else { return Poll::Pending };
        let come = opening.as_mut().poll(cx);
        if come.is_ready() {
            self.opening = None;
        }
        come
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let Some(opening) = self.opening.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let of = self.of.clone();
        runtime.spawn(async move {
            if let Some(inner) = of.upgrade() {
                inner.given_up.fetch_add(1, Relaxed);
            }
            // Only what is given up would keep the connection: it goes, and its channels with it.
            let unused = pin!(async {
                while is_used(&of) {
                    tokio::time::sleep(LOOK).await;
                }
            });
            drop(select(opening, unused).await);
            if let Some(inner) = of.upgrade() {
                inner.given_up.fetch_sub(1, Relaxed);
            }
        });
    }
}

fn is_used(of: &Weak<Inner>) -> bool {
    of.upgrade().is_some_and(|inner| of.strong_count() - 1 > inner.given_up.load(Relaxed))
}
