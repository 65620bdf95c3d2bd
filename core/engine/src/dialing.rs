//! How a connection comes to be: through its hop, and again where a try was bad luck.

use crate::plan::Route;
use crate::pool::{AskFor, Lease, Pool};
use crate::stock::Warm;
use bssh_ssh::error::{Error, ErrorKind, Phase};
use bssh_ssh::{Pipe, Via, connect};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// First pause after a busy server's refusal; doubled up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Between two tries at an address that cannot be dialed, as in ssh.
const DIAL_PAUSE: Duration = Duration::from_secs(1);
/// The time to dial, over all tries, where none is set.
const DIAL_BUDGET: Duration = Duration::from_secs(30);

impl Pool {
    /// A connection that nobody has yet.
    ///
    /// # Errors
    /// That of the last try.
    pub(crate) async fn dialed(
        &self,
        route: &Arc<Route>,
        ask: &AskFor<'_>,
    ) -> Result<Arc<Lease>, Error> {
        let begun = Instant::now();
        let budget = route.plan.timeouts.dial.unwrap_or(DIAL_BUDGET);
        let (mut pause, mut tries) = (PAUSE, 1);
        loop {
            let error = match self.attempt(route, ask).await {
                Ok(lease) => return Ok(lease),
                Err(error) => error,
            };
            let dial = error.phase == Phase::Dial && tries < route.dial_tries;
            let over = tries >= route.busy_tries || begun.elapsed() + pause >= budget;
            if !dial && (over || !is_bad_luck(&error)) {
                return Err(error);
            }
            tokio::time::sleep(if dial { DIAL_PAUSE } else { jittered(pause) }).await;
            (pause, tries) = ((pause * 2).min(LONGEST_PAUSE), tries + 1);
        }
    }

    async fn attempt(&self, route: &Arc<Route>, ask: &AskFor<'_>) -> Result<Arc<Lease>, Error> {
        let (hop, via) = match &route.hop {
            None => (None, Via::Dial),
            Some(hop) => {
                let at = |error| hop.named(error);
                let (lease, _) = self.hop(hop, ask).await.map_err(at)?;
                // Before it is asked for anything: it may be left unread until then.
                let resident = lease.load.reside();
                let stream = behind(&lease, route).await.map_err(at)?;
                (Some((lease, resident)), Via::Stream(Box::new(stream)))
            }
        };
        match connect(route.plan.clone(), via, ask(route)).await {
            Ok(connection) => {
                Ok(self.new_lease(route, Warm { connection, hop, ahead: None, socket: None }))
            }
            Err(error) => Err(match hop {
                Some((hop, _)) => through(&hop, error).await,
                None => error,
            }),
        }
    }

    /// [`Pool::lease`] in a box: a hop may have hops.
    fn hop<'a>(
        &'a self,
        hop: &'a Arc<Route>,
        ask: &'a AskFor<'_>,
    ) -> BoxFuture<'a, Result<(Arc<Lease>, bool), Error>> {
        Box::pin(self.lease(hop, ask))
    }
}

/// A node's address, dialed from the hop before it: no longer than from here.
async fn behind(hop: &Lease, route: &Route) -> Result<Pipe, Error> {
    let (to, limit) = (&route.plan.address, route.plan.timeouts.dial);
    let opening = hop.connection.open_tcp(&to.host, to.port, ("127.0.0.1", 0));
    let Some(limit) = limit else { return opening.await };
    tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| {
        let address = format!("{} port {}", to.host, to.port);
        let seconds = limit.as_secs_f64();
        Err(Error::new(Phase::Dial, ErrorKind::DialTimeout { address, seconds }))
    })
}

/// A login through a hop failed. Where the hop's connection is lost, that is why.
async fn through(hop: &Lease, error: Error) -> Error {
    let may = matches!(
        error.kind,
        ErrorKind::ClosedEarly { .. } | ErrorKind::AuthClosed { .. } | ErrorKind::Lost(_)
    );
    if !may {
        return error;
    }
    match hop.lost(false).await {
        Some(lost) => hop.route.named(Error { phase: error.phase, ..lost }),
        None => error,
    }
}

/// MaxStartups closes connections before or in the handshake; a full backlog resets them. A hop
/// that is lost is dialed again for the nodes behind it. A proxy command that ends is no such sign:
/// it would be run, and would log in and speak, many times.
fn is_bad_luck(error: &Error) -> bool {
    let hop_lost = error.hop.is_some()
        && matches!(error.kind, ErrorKind::Lost(_) | ErrorKind::KeepaliveTimeout { .. });
    // It is we who have none, until another connection ends.
    let no_descriptor = |source: &std::io::Error| {
        let errno = rustix::io::Errno::from_io_error(source);
        matches!(errno, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
    };
    hop_lost
        || matches!(&error.kind, ErrorKind::ClosedEarly { .. })
        || matches!(&error.kind, ErrorKind::Dial { source, .. } if no_descriptor(source))
}

/// Four fifths to six fifths of a pause, so that a thousand nodes do not come back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.subsec_nanos());
    pause * 4 / 5 + pause * (nanos / 64 % 1000) / 2500
}
