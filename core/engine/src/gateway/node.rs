//! One node's part of a run that goes through gateways, read from top to bottom: choose a gateway,
//! give it the node, carry its bytes, take its result; if it is lost, choose another.
//!
//! What may have run is never run again unless the caller said that it may be. A gateway says
//! that a command is about to begin before it begins, and has that out of its hands; so when only
//! its core has ended, what it had not said has not happened. When the way to it is lost, nothing
//! is known.

use super::service::Aim;
use super::way::{Post, Way, lines};
use super::{Gateway, Gone, Wanted};
use crate::engine::Engine;
use crate::exec::failed;
use crate::failure::{one_line, plain, unwritten};
use crate::plan::{NodePlan, Route};
use crate::run::{Order, Run, has_streams, millis};
use crate::sink::Out;
use crate::stdin::{Broken, Stdin};
use bssh_protocol::error::Kind;
use bssh_protocol::exec::{
    CancelRun, Connected, Ended, ExecNode, ExecParams, Failure, Killed, NodeState, Phase, SignalRun,
};
use bssh_protocol::link::StreamSender;
use bssh_protocol::lock;
use bssh_protocol::methods::{ExecCancel, ExecSignal, ExecStart};
use bssh_protocol::run::{Channel, Run as Remote, RunEvent, Windows};
use bssh_protocol::stream::{Sink, Source, WINDOW};
use bssh_protocol::via::{Planned, Via};
use bytes::Bytes;
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, broadcast};

/// How long a gateway may take to end a command that was cancelled.
const KILL: Duration = Duration::from_secs(10);
/// Texts of a gateway are cut there, in characters.
const WORDS: usize = 500;

/// A node and its way.
pub(crate) struct Trip<'a> {
    pub run: &'a Run,
    pub engine: &'a Engine,
    pub index: u32,
    pub node: &'a NodePlan,
    pub route: &'a Arc<Route>,
    pub way: &'a Way,
}

/// How a try went.
enum Try {
    Ended(Ended),
    /// The gateway is gone.
    Lost(Gone),
    /// It does not want the node.
    Refused(Failure),
}

/// What is kept from one try to the next.
#[derive(Default)]
struct State {
    /// The ends of our own sinks, opened once.
    outs: Option<(Out, Option<Out>)>,
    /// The command may have begun.
    begun: bool,
    /// Its stdin came straight from the frontend, and some of it is gone.
    fed: AtomicBool,
    stdout_bytes: u64,
    stderr_bytes: u64,
}

/// Runs the action on one node, through whichever gateway is best.
pub(crate) async fn through(trip: Trip<'_>) -> Ended {
    let (run, index) = (trip.run, trip.index);
    run.tell(index, trip.node, NodeState::Connecting { attempt: 1 }).await;
    let mut state = State::default();
    let mut ended = loop {
        let Some((post, _place)) = trip.way.first.choose() else {
            let text = format!("no gateway is left ({})", trip.way.first.reasons());
            break failed(plain(Phase::Dial, "noGateway", text));
        };
        let gateway = match trip.gateway(post).await {
            Ok(gateway) => gateway,
            Err(why) => {
                post.take_down(why);
                continue;
            }
        };
        match trip.go(&gateway, &mut state).await {
            Try::Ended(ended) => break ended,
            Try::Refused(why) => break failed(why),
            Try::Lost(gone) => {
                post.take_down(plain(Phase::Exec, "gatewayLost", gone.why.clone()));
                if let Some(why) = trip.uncertain(&state, &gone, post) {
                    break Ended {
                        failure: Some(why),
                        stdout_bytes: state.stdout_bytes,
                        stderr_bytes: state.stderr_bytes,
                        ..Ended::default()
                    };
                }
                run.set_waiting(index);
                state.begun = false;
            }
        }
    };
    if let Some((stdout, stderr)) = state.outs.take() {
        let (output, [out, err]) = run.sinks.finish(stdout, stderr).await;
        ended.output = output;
        if let Err(gone) = out.and(err) {
            ended.failure.get_or_insert_with(|| unwritten(gone));
        }
    }
    if let Some(failure) = ended.failure.as_mut().filter(|f| f.code == "noGateway") {
        failure.hint = Some("--via none goes to the nodes directly".to_owned());
    }
    ended
}

impl Trip<'_> {
    /// The core on a post.
    async fn gateway(&self, post: &Post) -> Result<Arc<Gateway>, Failure> {
        let Trip { run, engine, way, .. } = *self;
        let (questions, agent) = (&run.questions, run.params.agent.as_ref());
        let wanted = Wanted { engine, questions, agent, means: &way.means };
        engine.gateways.get(&wanted, &post.route.clone()?).await
    }

    /// Why the node may not be given to another gateway. None: it may.
    fn uncertain(&self, state: &State, gone: &Gone, post: &Post) -> Option<Failure> {
        // What a gateway behind it has begun may not have been said here yet.
        let known = gone.heard_out && self.way.rest.is_empty();
        let may_have_run = has_streams(&self.run.params.action) && (state.begun || !known);
        let again = self.way.means.retry_safe && !state.fed.load(Ordering::Relaxed);
        if !may_have_run || again {
            return None;
        }
        let text = match state.begun {
            true => "while the command ran: how it ended is not known",
            false => "when the command may have begun: whether it ran is not known",
        };
        Some(Failure {
            hint: Some(
                "it was not run again; with --retry-safe it would be, through another gateway"
                    .to_owned(),
            ),
            hop: Some(post.name.clone()),
            ..plain(
                Phase::Exec,
                "gatewayLost",
                format!("gateway {} was lost {text} ({})", post.name, gone.why),
            )
        })
    }

    /// One try.
    async fn go(&self, gateway: &Gateway, state: &mut State) -> Try {
        let aim = self.aim(self.node.name.clone(), self.route);
        let label = gateway.given.add(&aim);
        let params = self.params(gateway, &label).await;
        let begun = Instant::now();
        let outcome = self.follow(gateway, (&label, params), state).await;
        gateway.given.forget(&label);
        match outcome {
            Try::Ended(mut ended) => {
                if let Some(failure) = &mut ended.failure {
                    own_words(failure, &gateway.name, lock(&aim.fault).take());
                }
                if ended.duration_ms == 0 {
                    ended.duration_ms = millis(begun.elapsed());
                }
                Try::Ended(ended)
            }
            other => other,
        }
    }

    fn aim(&self, node: String, route: &Arc<Route>) -> Arc<Aim> {
        let run = self.run;
        let ask = self.engine.ask_for(&run.questions)(route);
        Aim::new(node, route, ask, run.params.sudo.then(|| run.secret.clone()))
    }

    /// What the gateway is told: everything is decided but the address.
    async fn params(&self, gateway: &Gateway, label: &str) -> ExecParams {
        let asked = &self.run.params;
        let mut tiers = Vec::new();
        for tier in &self.way.rest {
            let mut named = Vec::new();
            for (name, route) in tier.named(self.index as usize) {
                gateway.given.keep(&self.aim(name.to_owned(), route));
                named.push(Planned { name: name.to_owned(), options: lines(route).await });
            }
            tiers.push(named);
        }
        let means = &self.way.means;
        let via = Via {
            tiers,
            push: Some(means.push),
            program: means.program.clone(),
            retry_safe: means.retry_safe,
            ..Via::default()
        };
        let env = self.route.env.iter().cloned().chain(asked.env.clone());
        let timeout = self.run.timeout.map_or(0, millis);
        ExecParams {
            planned: vec![Planned { name: label.to_owned(), options: lines(self.route).await }],
            via: Some(via).filter(|via| !via.tiers.is_empty()),
            action: asked.action.clone(),
            stdin: match &self.run.stdin {
                Stdin::Null => Source::Null,
                _ => Source::Stream,
            },
            stdout: sink(&asked.stdout),
            stderr: sink(&asked.stderr),
            env: env.collect(),
            fanout: Some(means.share),
            timeout_ms: Some(timeout),
            retries: Some(self.run.retries),
            sudo: asked.sudo,
            gather: asked.gather,
            guard: Some(self.run.guard),
            window: Some(asked.window.unwrap_or(WINDOW)),
            forward_agent: asked.forward_agent
                || self.route.options.forward_agent_on
                || self.route.agent.forward,
            agent: asked.agent.clone().map(|mut settings| {
                // The socket is one of this machine.
                settings.socket = None;
                settings
            }),
            ..ExecParams::default()
        }
    }

    /// Starts the node there and sees it through.
    async fn follow(
        &self,
        gateway: &Gateway,
        (label, params): (&str, ExecParams),
        state: &mut State,
    ) -> Try {
        let windows = Windows { output: params.window.unwrap_or(WINDOW), stdin: gateway.window };
        let (link, runs) = (gateway.link.clone(), gateway.runs.clone());
        let gather = params.gather;
        let open = move |started| {
            let run = runs.open(&link, started, windows);
            if gather { run.gathered() } else { run }
        };
        let mut remote = match gateway.link.call_then::<ExecStart, _>(&params, open).await {
            Ok(remote) => remote,
            Err(error) if error.code == Kind::Disconnected.code() => {
                return Try::Lost(gateway.gone().await);
            }
            Err(error) => {
                let text = format!("gateway {} refuses it: {}", gateway.name, error.message);
                return Try::Refused(plain(Phase::Resolve, "gatewayRefused", cut(&text)));
            }
        };
        if remote.started.nodes != [label] {
            gateway.given.lied("it started other nodes than it was given");
            return Try::Lost(gateway.gone().await);
        }
        let (id, stdin) = (remote.started.run, remote.stdin());
        let go = Notify::new();
        let mut orders = self.run.orders();
        let feed = pin!(self.feed(stdin, &go, &self.run.stdin));
        let fed = AtomicBool::new(false);
        let outcome = {
            let carry = pin!(self.carry(gateway, label, &mut remote, (state, &go, &fed)));
            let mut carry = pin!(async {
                match select(carry, feed).await {
                    Either::Left((outcome, _)) => outcome,
                    // stdin may end long before its node.
                    Either::Right((Ok(()), carry)) => carry.await,
                    Either::Right((Err(broken), carry)) => {
                        gateway.link.ask::<ExecCancel>(&CancelRun { run: id, nodes: Vec::new() });
                        // Why it was ended says more than that it was.
                        let _ = tokio::time::timeout(KILL, carry).await;
                        Try::Ended(failed(broken.failure()))
                    }
                }
            });
            let mut stopped = pin!(self.run.stopped(self.index));
            loop {
                let order = tokio::select! {
                    biased;
                    outcome = &mut carry => break unasked(gateway, outcome).await,
                    () = &mut stopped => {
                        gateway.link.ask::<ExecCancel>(&CancelRun { run: id, nodes: Vec::new() });
                        let ended = tokio::time::timeout(KILL, carry).await;
                        break ended.unwrap_or_else(|_| Try::Ended(cancelled()));
                    }
                    order = orders.recv() => order,
                };
                match order {
                    Ok(Order::Signal { nodes, name })
                        if nodes.is_empty() || nodes.contains(&self.index) =>
                    {
                        let signal = SignalRun { run: id, nodes: Vec::new(), signal: name };
                        gateway.link.ask::<ExecSignal>(&signal);
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        state.fed.fetch_or(fed.load(Ordering::Relaxed), Ordering::Relaxed);
        outcome
    }

    /// Sends stdin once the command has begun.
    async fn feed(
        &self,
        to: Option<StreamSender>,
        go: &Notify,
        stdin: &Stdin,
    ) -> Result<(), Broken> {
        let Some(mut to) = to else { return Ok(()) };
        go.notified().await;
        let mut place = stdin.open().await;
        while let Some(bytes) = place.next().await? {
            if to.write(bytes).await.is_err() {
                return Ok(());
            }
        }
        // The node may have ended already.
        let _ = to.finish().await;
        Ok(())
    }

    /// Takes what the gateway says about the node until it has ended.
    async fn carry(
        &self,
        gateway: &Gateway,
        label: &str,
        remote: &mut Remote,
        (state, go, fed): (&mut State, &Notify, &AtomicBool),
    ) -> Try {
        let mut ended = None;
        while let Some(event) = remote.next().await {
            match event {
                RunEvent::Node(ExecNode { index, node, state: now, .. }) => {
                    if index != 0 || node != label {
                        gateway.given.lied(format!(
                            "it speaks of {:?} where it was given {label:?}",
                            one_line(&node)
                        ));
                        return Try::Lost(gateway.gone().await);
                    }
                    match now {
                        NodeState::Ended(Ended { output: Some(_), .. }) => {
                            gateway.given.lied("it names output that it has not sent");
                            return Try::Lost(gateway.gone().await);
                        }
                        NodeState::Ended(how) => ended = Some(how),
                        other => self.now(gateway, other, state).await,
                    }
                    if state.outs.is_some() {
                        let direct = matches!(self.run.stdin, Stdin::Direct(_));
                        fed.fetch_or(direct, Ordering::Relaxed);
                        go.notify_one();
                    }
                }
                RunEvent::Data { channel, bytes, .. } => {
                    if let Err(gone) = write(state, channel, bytes).await {
                        return Try::Ended(failed(unwritten(gone)));
                    }
                }
                RunEvent::End { .. } => {}
                RunEvent::Done(_) => {
                    let silent = || plain(Phase::Exec, "noExit", "the gateway said no result");
                    return Try::Ended(ended.unwrap_or_else(|| failed(silent())));
                }
                RunEvent::Lost(_) => break,
            }
        }
        match ended {
            Some(ended) => Try::Ended(ended),
            None => Try::Lost(gateway.gone().await),
        }
    }

    /// The node is in another state there.
    async fn now(&self, gateway: &Gateway, now: NodeState, state: &mut State) {
        let run = self.run;
        let told = match now {
            NodeState::Connecting { attempt } if attempt > 1 => NodeState::Connecting { attempt },
            NodeState::Connected(there) => {
                if has_streams(&run.params.action) {
                    state.begun = true;
                    run.set_executing(self.index);
                }
                NodeState::Connected(through_gateway(&there, &gateway.name))
            }
            NodeState::Executing { no_pty, .. } => {
                let outs = state.outs.get_or_insert_with(|| run.sinks.node(&run.to, self.index));
                NodeState::Executing {
                    stdout: outs.0.id(),
                    stderr: outs.1.as_ref().and_then(Out::id),
                    no_pty,
                }
            }
            _ => return,
        };
        run.tell(self.index, self.node, told).await;
    }
}

/// A failure in words that are ours where we know better, and harmless where they are not.
pub(super) fn own_words(failure: &mut Failure, gateway: &str, fault: Option<Failure>) {
    if let Some(fault) = fault.filter(|_| failure.phase == Phase::HostKey) {
        *failure = fault;
    }
    failure.message = format!("{} (through {gateway})", cut(&failure.message));
    failure.code = cut(&failure.code);
    failure.hint = failure.hint.as_deref().map(cut);
    failure.hop = failure.hop.as_deref().map(cut);
    if failure.phase == Phase::Auth {
        let hint = "a gateway logs in with the keys of your agent (ssh-add -l) and its own; \
                    identity files stay here";
        failure.hint = Some(hint.to_owned());
    }
}

/// How a gateway is connected to a node.
pub(super) fn through_gateway(there: &Connected, gateway: &str) -> Connected {
    Connected {
        gateway: gateway.to_owned(),
        address: cut(&there.address),
        user: cut(&there.user),
        host_key: cut(&there.host_key),
        auth: cut(&there.auth),
        ..there.clone()
    }
}

fn cancelled() -> Ended {
    let text = "cancelled; the gateway did not say how it ended";
    Ended { killed: Some(Killed::Unconfirmed), ..failed(plain(Phase::Exec, "cancelled", text)) }
}

async fn write(
    state: &mut State,
    channel: Channel,
    bytes: Bytes,
) -> Result<(), crate::descriptor::Gone> {
    let n = bytes.len() as u64;
    let Some((stdout, stderr)) = &mut state.outs else { return Ok(()) };
    match (channel, stderr) {
        (Channel::Stderr, Some(stderr)) => {
            state.stderr_bytes += n;
            stderr.write(bytes).await
        }
        (Channel::Stdout, _) | (_, None) => {
            state.stdout_bytes += n;
            stdout.write(bytes).await
        }
    }
}

/// Cancelled, and not by us: the gateway's core is ending, as its machine may be.
async fn unasked(gateway: &Gateway, outcome: Try) -> Try {
    let cancelled = |ended: &Ended| ended.failure.as_ref().is_some_and(|f| f.code == "cancelled");
    match &outcome {
        Try::Ended(ended) if cancelled(ended) => {
            let gone = tokio::time::timeout(KILL, gateway.gone()).await;
            gone.map_or(outcome, Try::Lost)
        }
        _ => outcome,
    }
}

fn sink(ours: &Sink) -> Sink {
    match ours {
        Sink::Discard => Sink::Discard,
        Sink::Merge => Sink::Merge,
        Sink::Stream | Sink::File(_) | Sink::Fd(_) => Sink::Stream,
    }
}

/// A gateway's words, harmless and not too many.
pub(super) fn cut(text: &str) -> String {
    one_line(text).chars().take(WORDS).collect()
}
