//! An upload that a node's core passes on: it has the files already, and sends them to the nodes it
//! is given. What it says of others ends it, as with a run.

use super::node::{cut, own_words, through_gateway};
use super::service::Aim;
use super::way::lines;
use super::{Gateway, Wanted};
use crate::failure::plain;
use crate::plan::Route;
use bssh_protocol::carried::{Transfer, TransferEvent};
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::lock;
use bssh_protocol::methods::{TransferCancel, TransferStart};
use bssh_protocol::transfer::{
    NodeProgress, TransferNode, TransferParams, TransferRef, TransferState, Transferred,
};
use bssh_protocol::via::Planned;
use std::sync::Arc;

/// Faults of one node that are taken from a seed.
const MOST_FAULTS: usize = 1000;
/// Files or bytes that one node may be said to have got: those of all nodes are added up.
const MOST: u64 = 1 << 50;

/// What a seed is to do.
pub(crate) struct Order<'a> {
    /// All but the nodes.
    pub params: TransferParams,
    pub nodes: Vec<(&'a str, &'a Arc<Route>)>,
}

/// A core that passes an upload on. Dropping it before the end cancels that.
pub(crate) struct Seed {
    transfer: Transfer,
    given: Named,
}

/// What a seed says. Nodes are numbered as in its order.
pub(crate) enum Word {
    Node(usize, Box<TransferState>),
    Progress(Vec<NodeProgress>),
    /// It has done what it could. Nothing follows.
    Done,
    /// It is gone, with how that was. Nothing follows.
    Lost(String),
}

/// The nodes it may speak of, as long as this is there.
struct Named {
    gateway: Arc<Gateway>,
    aims: Vec<(String, Arc<Aim>)>,
}

impl Drop for Named {
    fn drop(&mut self) {
        self.aims.iter().for_each(|(label, _)| self.gateway.given.forget(label));
    }
}

impl Seed {
    /// Starts it on the node at the end of a route.
    ///
    /// # Errors
    /// No core can run there, or it is one that can pass nothing on.
    pub(crate) async fn start(
        wanted: &Wanted<'_>,
        at: &Arc<Route>,
        order: Order<'_>,
    ) -> Result<Seed, Failure> {
        let gateway = wanted.engine.gateways.get(wanted, at).await?;
        if !gateway.relays {
            return Err(plain(Phase::Exec, "gatewayVersion", "its bssh cannot pass files on"));
        }
        let mut given = Named { gateway: gateway.clone(), aims: Vec::new() };
        let mut planned = Vec::new();
        for (name, route) in order.nodes {
            let ask = wanted.engine.ask_for(wanted.questions)(route);
            let aim = Aim::new(name.to_owned(), route, ask, None);
            let label = gateway.given.add(&aim);
            given.aims.push((label.clone(), aim));
            if label != name {
                // Paths may have the node's name in them.
                let text = format!("another run of ours has it at work on {name}");
                return Err(plain(Phase::Exec, "gatewayBusy", text));
            }
            planned.push(Planned { name: label, options: lines(route).await });
        }
        let params = TransferParams { planned, ..order.params };
        let (link, transfers) = (gateway.link.clone(), gateway.transfers.clone());
        let open = move |started| transfers.open(&link, started);
        let transfer = gateway.link.call_then::<TransferStart, _>(&params, open).await;
        let transfer = transfer.map_err(|error| {
            let text = format!("it refuses: {}", cut(&error.message));
            plain(Phase::Exec, "gatewayRefused", text)
        })?;
        if !transfer.started.nodes.iter().eq(given.aims.iter().map(|(label, _)| label)) {
            gateway.given.lied("it started other nodes than it was given");
        }
        Ok(Seed { transfer, given })
    }

    /// What it says next.
    pub(crate) async fn next(&mut self) -> Word {
        match self.transfer.next().await {
            Some(TransferEvent::Node(event)) => self.node(event).await,
            Some(TransferEvent::Progress(mut nodes)) => {
                nodes.retain(|node| (node.index as usize) < self.given.aims.len());
                nodes.iter_mut().flat_map(counts).for_each(|n| *n = (*n).min(MOST));
                Word::Progress(nodes)
            }
            Some(TransferEvent::Done(_)) => Word::Done,
            Some(TransferEvent::Lost(why)) => Word::Lost(why),
            // A dry run's, which ends it as a lie.
            Some(TransferEvent::File(_)) => Word::Lost(self.given.gateway.gone().await.why),
            None => Word::Lost("it has ended".to_owned()),
        }
    }

    async fn node(&self, event: TransferNode) -> Word {
        let (gateway, at) = (&self.given.gateway, event.index as usize);
        let aim = self.given.aims.get(at).filter(|(label, _)| *label == event.node);
        let Some((_, aim)) = aim else {
            gateway.given.lied(format!("it speaks of {:?} as its {at}", cut(&event.node)));
            return Word::Lost(gateway.gone().await.why);
        };
        let state = match event.state {
            TransferState::Connected(there) => {
                TransferState::Connected(through_gateway(&there, &gateway.name))
            }
            TransferState::Ended(ended) => TransferState::Ended(self.ended(ended, aim)),
            other => other,
        };
        Word::Node(at, Box::new(state))
    }

    fn ended(&self, mut ended: Transferred, aim: &Aim) -> Transferred {
        if let Some(failure) = &mut ended.failure {
            own_words(failure, &self.given.gateway.name, lock(&aim.fault).take());
        }
        for n in [
            &mut ended.files,
            &mut ended.bytes,
            &mut ended.dirs,
            &mut ended.links,
            &mut ended.skipped,
            &mut ended.deleted,
            &mut ended.resumed_bytes,
            &mut ended.n_faults,
        ] {
            *n = (*n).min(MOST);
        }
        ended.faults.truncate(MOST_FAULTS);
        for fault in &mut ended.faults {
            (fault.code, fault.message) = (cut(&fault.code), cut(&fault.message));
        }
        ended
    }

    /// Gives up what is under way; its end is still to come.
    pub(crate) fn cancel(&self) {
        let transfer = self.transfer.started.transfer;
        self.given.gateway.link.ask::<TransferCancel>(&TransferRef { transfer });
    }
}

fn counts(node: &mut NodeProgress) -> [&mut u64; 4] {
    [&mut node.files, &mut node.bytes, &mut node.total_files, &mut node.total_bytes]
}
