//! `forward/dial`: one connection from a node to elsewhere (`ssh -W`), its two directions as
//! streams or whatever else a source and a sink may be.

use super::lost;
use crate::engine::{Caller, Engine};
use crate::failure::advised;
use crate::gateway::SudoSecret;
use crate::plan::NodePlan;
use crate::pool::Lease;
use crate::pump;
use crate::run::{Course, Outlet, Run};
use crate::sink::{Out, Sinks};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Action, ExecParams};
use bssh_protocol::forward::{DialDone, DialParams, Dialed};
use bssh_protocol::link::Link;
use bssh_protocol::methods::DialDoneEvent;
use bssh_protocol::stream::{Sink, WINDOW};
use bssh_ssh::Channel;
use std::sync::Arc;

/// A connection that is open: answer first, then [`Engine::forward_dial_launch`].
pub struct PreparedDial {
    pub dialed: Dialed,
    link: Link,
    lease: Arc<Lease>,
    channel: Channel,
    run: Run,
    out: Out,
}

impl Engine {
    /// `forward/dial`: connects to the node if need be, and from there.
    ///
    /// # Errors
    /// `forward.denied` when the node cannot or must not connect there; the connection's failure.
    pub async fn forward_dial(
        &self,
        caller: &Caller,
        params: DialParams,
    ) -> Result<PreparedDial, CallError> {
        let (route, _) = self.one_route(&params.targets).await?;
        let ask = self.ask_for(Engine::asking(caller));
        let (lease, _) = self.pool().lease(&route, &ask).await.map_err(|e| lost(&route, &e))?;
        let DialParams { host, port, source, sink, .. } = params;
        let denied = |e: bssh_ssh::error::Error| {
            let node = &route.plan.node;
            let text = format!("{node}: cannot connect to {host} port {port}: {}", advised(&e));
            CallError::new(Kind::ForwardDenied, text)
        };
        let opened = lease.connection.open_tcp_channel(&host, port, ("127.0.0.1", 0)).await;
        let channel = opened.map_err(denied)?;
        let ends = ExecParams {
            action: Action::Dial { host, port },
            stdin: source,
            stdout: sink,
            stderr: Sink::Discard,
            ..ExecParams::default()
        };
        // For one node it is read as it goes, and nothing has to fill it.
        let (stdin, input, _) = self.stdin(caller, &ends, 1)?;
        let sinks = Sinks::open(&ends, WINDOW, self)?;
        let to = Outlet::Link(caller.link.clone());
        let (out, _) = sinks.node(&to, 0);
        let dialed = Dialed { forward: self.new_id(), input, output: out.id() };
        let name = route.plan.node.clone();
        // Nobody steers it: it only is what the bytes of a run are carried for.
        let run = Run {
            id: dialed.forward,
            params: ends,
            nodes: vec![NodePlan { name, route: Ok(route), way: None }],
            timeout: None,
            retries: 0,
            guard: false,
            fanout: 1,
            course: Course::new(1),
            to,
            sinks,
            stdin,
            questions: Engine::asking(caller).clone(),
            secret: SudoSecret::default(),
        };
        Ok(PreparedDial { dialed, link: caller.link.clone(), lease, channel, run, out })
    }

    /// Carries both directions to their end; run it once the answer is on its way.
    pub async fn forward_dial_launch(self: Arc<Self>, prepared: PreparedDial) {
        let PreparedDial { dialed, link, lease, channel, run, out } = prepared;
        let mut gone = self.gone.subscribe();
        self.spawn(async move {
            let resident = lease.load.reside();
            let node = run.nodes.first().map(|node| &*node.name).unwrap_or_default();
            let end = tokio::select! {
                end = pump::dial(&run, node, (&lease, channel), out) => end,
                _ = gone.wait_for(|gone| *gone) => return,
            };
            drop(resident);
            let lost = lease.connection.is_closed();
            let lost = lost.then(|| "the connection to the node was lost".to_owned());
            let error = match (lost, end.failure) {
                (Some(lost), _) => Some(CallError::new(Kind::Disconnected, lost)),
                (None, Some(failure)) if failure.code == "outputOverflow" => {
                    Some(CallError::new(Kind::StreamOverflow, failure.message))
                }
                (None, failure) => {
                    failure.map(|failure| CallError::new(Kind::CancelledByCaller, failure.message))
                }
            };
            let done = DialDone { forward: dialed.forward, error };
            // A link that is lost needs no last word.
            let _ = link.notify::<DialDoneEvent>(&done).await;
        })
        .await;
    }
}
