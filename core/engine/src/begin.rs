//! From a connection to a command that has begun: its channel, what goes ahead of it, and the
//! request. Whatever the node is to answer has a time limit.

use crate::agent::{Offer, Wish};
use crate::exec::Part;
use crate::failure::unfinished;
use crate::pool::{Lease, Resident};
use crate::pty::terminal;
use crate::pump;
use crate::run::Run;
use crate::stdin::Stdin;
use crate::sudo::Sudo;
use bssh_protocol::exec::{Action, Ended, Exit, NodeState};
use bssh_ssh::Channel;
use bssh_ssh::error::{Error, ErrorKind, Phase as At};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// How long a node that is no longer wanted may take to say whether it has started the command.
const WORD: Duration = Duration::from_secs(5);
/// How long a busy node may take for an answer, however fast it is to be connected to.
const BUSY: Duration = Duration::from_secs(10);
pub(crate) const UNKNOWN: &str = "cancelled while the command was being started; it may run";

const SESSION: (At, &str) = (At::Channel, "the request for a session");
const AGENT: (At, &str) = (At::Channel, "the offer of the agent");
const COMMAND: (At, &str) = (At::Exec, "the request for the command, which may run,");
const ELSEWHERE: (At, &str) = (At::Channel, "the request for a connection from there");

impl Part<'_> {
    /// A session channel. A guarded command gets a connection without another one on it; a server
    /// that allows no more sessions gets another connection, and so does one whose connection
    /// was kept and is found to be lost: nothing was asked of it yet.
    pub(crate) async fn session(
        self,
        mut lease: Arc<Lease>,
        mut reused: bool,
    ) -> Result<(Arc<Lease>, Resident, Channel), Error> {
        let Part { run, engine, node, route, .. } = self;
        let ask = engine.ask_for(&run.questions);
        loop {
            if !run.guard || lease.take() {
                let resident = lease.load.reside();
                let error = match self.within(SESSION, lease.open_session()).await {
                    Ok(channel) => return Ok((lease, resident, channel)),
                    Err(error) => error,
                };
                match error.kind {
                    ErrorKind::TooManySessions { .. } if lease.give_way(reused) => {
                        lease.give_back()
                    }
                    ErrorKind::Lost(_) | ErrorKind::KeepaliveTimeout { .. } if reused => {
                        tracing::info!("{}: {error}; it was kept, and is made anew", node.name);
                    }
                    _ => return Err(error),
                }
            }
            // One that is new is the last try.
            (lease, reused) = engine.pool().own(route, &ask).await?;
        }
    }

    /// What goes ahead of the command: agent, environment, terminal.
    pub(crate) async fn prepare(
        self,
        channel: &mut Channel,
        lease: &Arc<Lease>,
    ) -> Result<Option<Offer>, Error> {
        let Part { run, engine, route, .. } = self;
        let (forward, settings) = (run.params.forward_agent, run.params.agent.as_ref());
        let wish = Wish { lease, route, forward, settings, questions: &run.questions };
        let offer = self.within(AGENT, engine.offer_agent(&wish, channel)).await?;
        if let Some(pty) = &run.params.pty {
            channel.request_pty(&terminal(pty)).await?;
        }
        let asked = run.params.env.iter();
        for (name, value) in route.env.iter().map(|(n, v)| (n, v)).chain(asked) {
            self.say(|| format!("Sending env {name}"));
            channel.env(name, value).await?;
        }
        Ok(offer)
    }

    /// The request for what is to run, answered.
    pub(crate) async fn request(
        self,
        channel: &mut Channel,
        sudo: Option<&Sudo>,
    ) -> Result<(), Error> {
        self.within(COMMAND, self.asked(channel, sudo)).await
    }

    async fn asked(self, channel: &mut Channel, sudo: Option<&Sudo>) -> Result<(), Error> {
        let run = self.run;
        let command: &[u8] = match &run.params.action {
            Action::Command(line) => line.as_bytes(),
            Action::CommandBytes(line) => &line.0,
            Action::Subsystem(name) => return channel.subsystem(name).await,
            _ => return channel.shell().await,
        };
        self.say(|| {
            format!("Sending command: {}", String::from_utf8_lossy(command).escape_debug())
        });
        match sudo {
            Some(sudo) => channel.exec(&sudo.command(command)).await,
            None if gets_stdin(run) => channel.exec(command).await,
            None => channel.exec_without_stdin(command).await,
        }
    }

    /// Connects from the node to elsewhere (`ssh -W`) and carries the bytes until the far side has
    /// ended.
    pub(crate) async fn dial(
        self,
        lease: &Arc<Lease>,
        host: &str,
        port: u16,
    ) -> Result<Ended, Error> {
        let Part { run, index, node, .. } = self;
        let _resident = lease.load.reside();
        let opening = lease.connection.open_tcp_channel(host, port, ("127.0.0.1", 0));
        let channel = self.within(ELSEWHERE, opening).await?;
        run.set_executing(index);
        let (stdout, _) = run.sinks.node(&run.to, index);
        let executing = NodeState::Executing { stdout: stdout.id(), stderr: None, no_pty: false };
        run.tell(index, node, executing).await;
        let end = pump::dial(run, &node.name, (lease, channel), stdout).await;
        let (stdout_bytes, mut failure) = (end.stdout_bytes, end.failure);
        if end.cut && failure.is_none() {
            failure = Some(unfinished(lease, true).await);
        }
        let exit = failure.is_none().then_some(Exit::Status(0));
        Ok(Ended { stdout_bytes, exit, failure, ..Ended::default() })
    }

    /// Awaits what the node is to answer: as long as its command may run, or else as connecting
    /// may take. Until then nobody could say that it hangs.
    async fn within<T>(
        self,
        (phase, what): (At, &'static str),
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let connecting = self.route.plan.timeouts.dial.map(|limit| limit.max(BUSY));
        let Some(limit) = self.run.timeout.or(connecting) else { return answer.await };
        tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
            let seconds = limit.as_secs_f64();
            Err(Error::new(phase, ErrorKind::Unanswered { what, seconds }))
        })
    }
}

/// Asks for the command and waits for the answer; false if it is not wanted any more, and the
/// node does not say whether it has started it.
pub(crate) async fn taken(
    run: &Run,
    index: u32,
    asking: impl Future<Output = Result<(), Error>>,
) -> Result<bool, Error> {
    let asked = pin!(asking);
    match select(asked, pin!(run.stopped(index))).await {
        Either::Left((answer, _)) => answer.map(|()| true),
        Either::Right(((), asked)) => match tokio::time::timeout(WORD, asked).await {
            Ok(answer) => answer.map(|()| true),
            Err(_) => Ok(false),
        },
    }
}

/// False: a command whose stdin ends with the request for it.
pub(crate) fn gets_stdin(run: &Run) -> bool {
    let is_command = matches!(run.params.action, Action::Command(_) | Action::CommandBytes(_));
    !(is_command && matches!(run.stdin, Stdin::Null)) || run.params.sudo
}
