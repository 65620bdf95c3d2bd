//! The shared core: many links on one socket, over one set of connections.
//!
//! Each link is served by a task of its own, with an engine of its own, so that one that hangs
//! slows nobody. The core ends when nobody has been there for its idle time, on SIGTERM, or when
//! a frontend asks for it: then the socket goes first, and what runs gets its time.

use crate::claim::Claim;
use crate::house::House;
use crate::methods;
use crate::passing::{Passed, Reader};
use bssh_engine::{Commons, Engine, Environment};
use bssh_protocol::link::{Link, Options};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// How a shared core behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    /// How long it stays without frontends and work. None: for ever.
    pub(crate) idle: Option<Duration>,
    /// How long a connection nobody uses is kept.
    pub(crate) linger: Duration,
    /// It is ssh's control master.
    pub(crate) control: bool,
}

/// After an accept that failed, e.g. for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks for what was not used for long enough, which take time where much is kept.
const APART: Duration = Duration::from_millis(100);
/// How long what runs may take to end when nobody said.
const GRACE: Duration = Duration::from_secs(10);
/// How long links may take to tell their last words, when the time is over.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves until it is told to end, or idle for long enough.
///
/// # Errors
/// The socket cannot be used.
pub(crate) async fn serve(
    environment: Environment,
    claim: Claim,
    listener: std::os::unix::net::UnixListener,
    wishes: Wishes,
) -> io::Result<()> {
    bssh_engine::raise_limit();
    let uid = environment.uid;
    let listener = UnixListener::from_std(listener)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Where the end of children is ignored nobody learns it.
    let _taken = [signal(SignalKind::hangup())?, signal(SignalKind::child())?];
    let commons = Commons::shared(environment, wishes.linger);
    let house = House::shared(claim.socket().to_owned(), wishes.idle, wishes.control);
    let mut links = JoinSet::new();
    let numbers = AtomicU64::new(1);
    let mut empty_since = Instant::now();
    let mut watching = std::pin::pin!(commons.watch());
    let mut rested = Instant::now();
    let grace = loop {
        let changed = commons.changed();
        let now = Instant::now();
        let due = if now < rested {
            Some(rested)
        } else {
            rested = now + APART;
            commons.sweep()
        };
        // As ssh's master, it does not stay for forwards that nobody uses.
        let is_empty = commons.is_empty() || (wishes.control && commons.only_listens());
        if !is_empty {
            empty_since = Instant::now();
        }
        let idle = match house.is_leaving() && !commons.holds_connections() {
            true => Some(Duration::ZERO),
            false => wishes.idle,
        };
        let end = idle.filter(|_| is_empty).and_then(|idle| empty_since.checked_add(idle));
        if end.is_some_and(|end| end <= Instant::now()) {
            break Duration::ZERO;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => match is_ours(&socket, uid) {
                    true => {
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        links.spawn(attend(socket, number, commons.clone(), house.clone()));
                    }
                    false => tracing::warn!("another user tried to attach and was refused"),
                },
                Err(error) => {
                    tracing::warn!("cannot take a frontend: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = links.join_next() => {}
            () = &mut watching => {}
            () = changed => {}
            () = until(end.into_iter().chain(due).min()) => {}
            ending = house.ending() => break ending.grace.unwrap_or(GRACE),
            _ = terminate.recv() => break GRACE,
            _ = interrupt.recv() => break GRACE,
        }
    };
    claim.release();
    drop(listener);
    commons.close_idle();
    let over = async { while links.join_next().await.is_some() {} };
    let mut over = std::pin::pin!(over);
    if tokio::time::timeout(grace, &mut over).await.is_err() {
        house.expire();
        let _ = tokio::time::timeout(GOODBYE + Engine::GRACE, over).await;
    }
    commons.close_idle();
    Ok(())
}

/// Only our own user's processes get in, whatever the modes of files say.
fn is_ours(socket: &UnixStream, uid: u32) -> bool {
    socket.peer_cred().is_ok_and(|peer| peer.uid() == uid)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Serves one frontend, and then what it kept.
async fn attend(socket: UnixStream, number: u64, commons: Arc<Commons>, house: Arc<House>) {
    let ends = || -> io::Result<(UnixStream, UnixStream)> {
        let ours = socket.into_std()?;
        Ok((UnixStream::from_std(ours.try_clone()?)?, UnixStream::from_std(ours)?))
    };
    let (reader, writer) = match ends() {
        Ok(ends) => ends,
        Err(error) => return tracing::warn!("cannot serve a frontend: {error}"),
    };
    let passed = Arc::new(Passed::default());
    let lent = passed.clone();
    let engine = Engine::new(commons.clone(), Box::new(move |number| lent.copy(number)));
    commons.join(number, &engine);
    let service = methods::service(&engine, number, house.clone());
    let reader = Reader { socket: reader, passed: passed.clone() };
    let (link, task) = Link::start(reader, writer, service, Options::core());
    let mut task = Box::pin(engine.remarks().scope(task));
    let over = async {
        tokio::select! {
            () = house.expired() => {}
            () = engine.broken() => {}
        }
    };
    tokio::select! {
        end = &mut task => tracing::debug!("link {number} has ended: {end:?}"),
        () = over => {
            link.close();
            let _ = tokio::time::timeout(GOODBYE, task).await;
        }
    }
    // Readers of a pipe wait for its end.
    passed.close();
    commons.detach(number);
    engine.leave().await;
    tokio::select! {
        () = engine.rested() => {}
        () = house.expired() => engine.give_up().await,
    }
    commons.leave(number);
}
