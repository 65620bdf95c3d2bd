//! One node's part of a run, read from top to bottom: connect, start, carry bytes, end.
//!
//! Whatever goes wrong here is a [`Failure`] of this node. While a command runs, five things may
//! end it: itself, its time limit, a cancel, more output than can be kept for a slow reader, and
//! nobody who takes it.
//! All but the first kill its processes on the node.

use crate::begin::{UNKNOWN, gets_stdin, taken};
use crate::engine::Engine;
use crate::failure::{failure, incomplete, overflow, plain, unfinished};
use crate::gateway::{Trip, through};
use crate::kill::{self, ARM_AFTER, Guard};
use crate::plan::{NodePlan, Route};
use crate::pool::Lease;
use crate::pump::{self, End, Pump, Signs};
use crate::run::{Order, Run, millis};
use bssh_protocol::exec::{Action, Connected, Ended, Exit, Failure, Killed, NodeState, Phase};
use bssh_ssh::PtyRequest;
use bssh_ssh::error::{Error, ErrorKind};
use futures_util::future::{Either, FutureExt, join, maybe_done, select};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, broadcast};

/// First pause before another try of a node; doubled each time.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How long output may still come once its command was killed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// One node's part of a run, along its route.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub run: &'a Run,
    pub engine: &'a Engine,
    pub index: u32,
    pub node: &'a NodePlan,
    pub route: &'a Arc<Route>,
    /// It has a connection.
    pub connected: &'a AtomicBool,
}

/// Runs the action on one node, telling the frontend on the way.
pub(crate) async fn run_on_node(run: &Run, engine: &Engine, index: u32, node: &NodePlan) -> Ended {
    let begun = Instant::now();
    let mut ended = match &node.route {
        Err(failure) => failed(failure.clone()),
        Ok(route) => {
            let connected = &AtomicBool::new(false);
            let whole = async {
                match &node.way {
                    None => Part { run, engine, index, node, route, connected }.carried_out().await,
                    Some(way) => {
                        Box::pin(through(Trip { run, engine, index, node, route, way })).await
                    }
                }
            };
            let whole = pin!(whole);
            // A command under way ends itself when it is cancelled, to kill what it started.
            let connecting = pin!(run.stopped(index));
            match select(whole, connecting).await {
                Either::Left((ended, _)) => ended,
                Either::Right(((), whole)) => match run.is_executing(index) {
                    true => whole.await,
                    false => failed(given_up(connected.load(Ordering::Relaxed))),
                },
            }
        }
    };
    if let Some(failure) = &mut ended.failure {
        failure.after_ms = millis(begun.elapsed());
    }
    if let Ok(route) = &node.route {
        engine.pool().forget(route);
    }
    ended
}

/// Cancelled before the command was asked for.
fn given_up(connected: bool) -> Failure {
    match connected {
        false => plain(Phase::Dial, "cancelled", "cancelled while connecting"),
        true => plain(Phase::Channel, "cancelled", "cancelled before the command was asked for"),
    }
}

/// What has no exit.
pub(crate) fn failed(failure: Failure) -> Ended {
    Ended { failure: Some(failure), ..Ended::default() }
}

impl Part<'_> {
    /// A remark for `-v`.
    pub(crate) fn say(self, text: impl FnOnce() -> String) {
        if self.run.questions.is_verbose() {
            (self.engine.ask_for(&self.run.questions))(self.route).say(text);
        }
    }

    async fn carried_out(self) -> Ended {
        let Part { run, index, node, route, .. } = self;
        let (lease, reused) = match self.lease().await {
            Ok(lease) => lease,
            Err(error) => return failed(failure(&error)),
        };
        self.connected.store(true, Ordering::Relaxed);
        run.tell(index, node, NodeState::Connected(connected(&lease, route, reused))).await;
        match &run.params.action {
            Action::Connect => Ended::default(),
            Action::Hold => {
                run.set_executing(index);
                tokio::select! {
                    error = lease.closed() => failed(failure(&error)),
                    () = run.stopped(index) => {
                        failed(plain(Phase::Exec, "cancelled", "cancelled"))
                    }
                    // `ssh -O stop`: nothing is left to hold it for.
                    () = lease.let_go() => Ended::default(),
                }
            }
            _ => {
                // Whoever gave us the node must know, whatever becomes of us, that it may run now.
                if !run.params.planned.is_empty() {
                    run.flushed().await;
                }
                let ended = self.start(lease, reused).await;
                ended.unwrap_or_else(|error| failed(failure(&error)))
            }
        }
    }

    /// A connection, retried as the user wants it.
    async fn lease(self) -> Result<(Arc<Lease>, bool), Error> {
        let Part { run, engine, index, node, route, .. } = self;
        let mut pause = RETRY_PAUSE;
        for attempt in 1.. {
            run.tell(index, node, NodeState::Connecting { attempt }).await;
            let ask = engine.ask_for(&run.questions);
            // What is guarded has its connection for itself; where connections are kept that is
            // cheap, and no other link's commands can be on it.
            let leased = match run.guard && engine.pool().lingers() {
                true => engine.pool().own(route, &ask).await,
                false => engine.pool().lease(route, &ask).await,
            };
            match leased {
                Err(error) if attempt <= run.retries && failure(&error).retryable => {
                    tracing::info!("{}: {error}; trying again", node.name);
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                done => return done,
            }
        }
        Err(Error::new(
            bssh_ssh::error::Phase::Dial,
            ErrorKind::Unsupported("too many attempts".to_owned()),
        ))
    }

    /// Starts the action on a channel of its own and sees it through.
    async fn start(self, lease: Arc<Lease>, reused: bool) -> Result<Ended, Error> {
        let Part { run, index, node, .. } = self;
        if let Action::Dial { host, port } = &run.params.action {
            return Box::pin(self.dial(&lease, host, *port)).await;
        }
        let (lease, _resident, mut channel) = self.session(lease, reused).await?;
        let offer = self.prepare(&mut channel, &lease).await?;
        let sudo = run.params.sudo.then(crate::sudo::Sudo::new);
        // It may run before we hear so: from here on it is ended, not only left.
        run.set_executing(index);
        // With an agent on it, a connection is not kept.
        let kept = run.guard && offer.is_none();
        let ahead = async {
            if kept {
                lease.think_ahead();
            }
        };
        let asking = join(self.request(&mut channel, sudo.as_ref()), ahead);
        if !taken(run, index, asking.map(|(answer, _)| answer)).await? {
            return Ok(failed(plain(Phase::Exec, "cancelled", UNKNOWN)));
        }
        if let Some(offer) = offer {
            offer.settle(&channel).await;
        }
        let (stdout, stderr) = run.sinks.node(&run.to, index);
        let executing = NodeState::Executing {
            stdout: stdout.id(),
            stderr: stderr.as_ref().and_then(crate::sink::Out::id),
            no_pty: channel.terminal_refused(),
        };
        run.tell(index, node, executing).await;
        let stdin = match gets_stdin(run) {
            true => Some(run.stdin.open().await),
            false => None,
        };
        let (node, lease, signs) = (&*node.name, &lease, &Signs::default());
        let pump = Pump { channel, stdin, stdout, stderr, sudo, run, node, lease, signs };
        let ended = attend(run, index, lease, pump).await;
        lease.give_back();
        Ok(ended)
    }
}

pub(crate) fn connected(lease: &Lease, route: &Route, reused: bool) -> Connected {
    let facts = lease.connection.facts();
    Connected {
        reused,
        address: facts.address.clone(),
        user: route.plan.user.clone(),
        host_key: facts.host_key.clone(),
        auth: facts.auth.clone(),
        connect_ms: millis(facts.connect),
        gateway: String::new(),
    }
}

/// Why we end a command.
enum Stop {
    Cancelled,
    TimedOut(Duration),
    /// It says more than can be kept for a slow reader, or stdin cannot go on: the pump knows.
    BrokenOff,
    /// Nobody takes what it says any more.
    Unheard(Failure),
}

/// Carries a command's bytes to its end, or ends it.
async fn attend(run: &Run, index: u32, lease: &Arc<Lease>, pump: Pump<'_>) -> Ended {
    let begun = Instant::now();
    let (writer, signs) = (pump.channel.writer(), pump.signs);
    let mut orders = run.orders();
    let mut pump = pin!(maybe_done(pump.carry()));
    let mut guard: Option<Guard> = None;
    let (now, arming) = (Notify::new(), AtomicBool::new(false));
    let mut arm = pin!(arm(run.guard, lease, (&now, &arming)));
    let mut armed = false;
    let mut stop = pin!(stop(run, index));
    let why = loop {
        let order = tokio::select! {
            biased;
            () = &mut pump => break None,
            why = &mut stop => break Some(why),
            () = signs.broken_off.notified() => break Some(Stop::BrokenOff),
            helper = &mut arm, if !armed => {
                (guard, armed) = (helper, true);
                continue;
            }
            order = orders.recv() => order,
        };
        match order {
            Ok(Order::Signal { nodes, name }) if nodes.is_empty() || nodes.contains(&index) => {
                // Few servers heed it; the helper is for the others.
                let _ = writer.signal(&name).await;
                if !armed {
                    now.notify_one();
                    guard = beside(pump.as_mut(), arm.as_mut()).await;
                    armed = true;
                } else if guard.is_none() {
                    guard = beside(pump.as_mut(), Box::pin(Guard::arm(lease))).await;
                }
                if let Some(guard) = &mut guard {
                    beside(pump.as_mut(), Box::pin(guard.signal(&name))).await;
                }
            }
            Ok(Order::Resize { cols, rows, px_width, px_height }) => {
                let size = PtyRequest { cols, rows, px_width, px_height, ..PtyRequest::default() };
                let _ = writer.window_change(&size).await;
            }
            Ok(Order::Rekey) => lease.connection.rekey().await,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => {}
        }
    };
    let unheard = pump.as_mut().output_mut().filter(|end| run.guard && end.unheard);
    let why = match (why, unheard.and_then(|end| end.failure.take())) {
        (Some(why), _) => why,
        (None, Some(failure)) => Stop::Unheard(failure),
        (None, None) => {
            if let Some(guard) = guard {
                guard.dismiss().await;
            }
            return ended(lease, pump.take_output().unwrap_or_default(), begun).await;
        }
    };
    // A slow sink must not keep the connection from saying how that goes.
    signs.read_on.notify_one();
    // A helper that is on its way is waited for: two would take each other for the command's.
    if !armed && arming.load(Ordering::Relaxed) {
        guard = beside(pump.as_mut(), arm).await;
    }
    let killed = match (run.guard, &mut guard) {
        (false, _) => None,
        (true, Some(guard)) => Some(beside(pump.as_mut(), Box::pin(guard.kill())).await),
        (true, None) => Some(beside(pump.as_mut(), Box::pin(kill::kill(lease))).await),
    };
    if let Stop::BrokenOff = why {
        // What was kept is still shown, as long as it is wanted.
        select(pump.as_mut(), stop).await;
    }
    // Output that comes later is nobody's any more.
    if tokio::time::timeout(LAST_WORDS, pump.as_mut()).await.is_err() {
        let leave = async { tokio::join!(writer.close(), pump.as_mut()) };
        let _ = tokio::time::timeout(LAST_WORDS, leave).await;
    }
    let end = pump.take_output().unwrap_or_default();
    stopped(&why, killed, end, begun)
}

/// Lets the pump go on while something else is awaited.
async fn beside<P: Future<Output = ()>, T>(pump: Pin<&mut P>, other: impl Future<Output = T>) -> T {
    let other = pin!(other);
    match select(pump, other).await {
        Either::Left(((), other)) => other.await,
        Either::Right((done, _)) => done,
    }
}

/// Sends the helper: after a while if it is `wanted`, and when it is needed `now`.
async fn arm(
    wanted: bool,
    lease: &Arc<Lease>,
    (now, begun): (&Notify, &AtomicBool),
) -> Option<Guard> {
    tokio::select! {
        () = tokio::time::sleep(ARM_AFTER), if wanted => {}
        () = now.notified() => {}
    }
    begun.store(true, Ordering::Relaxed);
    // In a box, as all that few commands come to: a thousand nodes have no room for it.
    Box::pin(Guard::arm(lease)).await
}

async fn stop(run: &Run, index: u32) -> Stop {
    let limit = async {
        match run.timeout {
            Some(limit) => {
                tokio::time::sleep(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = run.stopped(index) => Stop::Cancelled,
        limit = limit => Stop::TimedOut(limit),
    }
}

/// How a command ended by itself.
async fn ended(lease: &Lease, end: End, begun: Instant) -> Ended {
    let base = Ended {
        stdout_bytes: end.stdout_bytes,
        stderr_bytes: end.stderr_bytes,
        duration_ms: millis(begun.elapsed()),
        output: end.output,
        ..Ended::default()
    };
    if let Some(failure) = end.failure {
        return Ended { failure: Some(failure), exit: end.exit, ..base };
    }
    if end.exit.is_some() && !end.cut {
        return Ended { exit: end.exit, ..base };
    }
    let mut failure = unfinished(lease, end.cut).await;
    if let Some(exit) = end.exit {
        failure.hint = Some(incomplete(&exit));
    }
    Ended { failure: Some(failure), ..base }
}

fn stopped(why: &Stop, killed: Option<Killed>, end: End, begun: Instant) -> Ended {
    let failure = match why {
        Stop::Cancelled => plain(Phase::Exec, "cancelled", "cancelled while the command ran"),
        Stop::TimedOut(limit) => Failure {
            hint: Some("--timeout SECONDS sets the limit, 0 is none".to_owned()),
            ..plain(
                Phase::Exec,
                "timeout",
                format!("the command ran longer than {} s", limit.as_secs_f64()),
            )
        },
        Stop::BrokenOff => end.failure.unwrap_or_else(|| overflow(pump::ELSEWHERE)),
        Stop::Unheard(failure) => failure.clone(),
    };
    Ended {
        exit: None::<Exit>,
        failure: Some(failure),
        stdout_bytes: end.stdout_bytes,
        stderr_bytes: end.stderr_bytes,
        duration_ms: millis(begun.elapsed()),
        killed,
        output: end.output,
    }
}
