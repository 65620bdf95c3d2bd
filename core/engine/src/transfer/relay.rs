//! An upload that goes to one node only, which passes it on to the others (`relay`).
//!
//! The first node that takes everything is the seed: a core is started there as on a gateway, and
//! gets the other nodes with a list of what it is to send. What it cannot do is done from here: a
//! node it does not reach, or all of them where no core can run. If it is lost, the next node that
//! is left becomes the seed.

use super::run::{Numbered, Tally, TransferRun};
use crate::engine::Engine;
use crate::failure::plain;
use crate::gateway::{Means, Seed, SeedOrder, Wanted, Word};
use bssh_protocol::exec::{Failure, Phase, Targets, Threshold};
use bssh_protocol::transfer::{TransferParams, TransferState, Transferred};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// So many nodes are tried as seeds.
const SEEDS: usize = 3;
/// How long a seed may be silent beyond what a node may be.
const GRACE: Duration = Duration::from_secs(15);

/// How an upload is passed on.
pub(crate) struct Relay {
    pub means: Means,
    /// What was asked for.
    pub params: TransferParams,
}

/// Serves nodes through a seed as far as that goes; gives back those that are left.
pub(crate) async fn spread<'a>(
    run: &'a Arc<TransferRun>,
    engine: &Engine,
    tally: &mut Tally,
    mut nodes: Vec<Numbered<'a>>,
) -> Vec<Numbered<'a>> {
    let Some(relay) = run.relay.as_deref().filter(|_| !run.options.dry_run) else { return nodes };
    for _ in 0..SEEDS {
        if nodes.len() < 2 || tally.give_up || run.is_stopped() {
            return nodes;
        }
        let (index, seed) = nodes.remove(0);
        let ended = super::node::run_on_node(run, engine, index, seed).await;
        let failure = ended.failure.clone();
        run.ended(index, seed, tally, ended).await;
        let lost = match failure {
            None => pass_on(run, engine, tally, (relay, (index, seed)), &mut nodes).await,
            // What is wrong with the sources is so for every node.
            Some(why) if why.code == "filesFailed" => Err(why),
            // It was not reached, which it says itself.
            Some(_) => continue,
        };
        let name = &seed.name;
        match lost {
            Ok(None) => return nodes,
            Ok(Some(why)) => tracing::warn!("{name} passes nothing on any more: {why}"),
            Err(why) => {
                let why = why.message;
                tracing::warn!("{name} cannot pass files on: {why}; the others get them from here");
                return nodes;
            }
        }
    }
    nodes
}

/// Has the seed serve the nodes; what is left in them it has not served. Some: it was lost.
async fn pass_on<'a>(
    run: &'a Arc<TransferRun>,
    engine: &Engine,
    tally: &mut Tally,
    (relay, seed): (&Relay, Numbered<'a>),
    nodes: &mut Vec<Numbered<'a>>,
) -> Result<Option<String>, Failure> {
    let (served, mut left): (Vec<_>, Vec<_>) =
        nodes.iter().copied().partition(|(_, node)| node.route.is_ok());
    let order = SeedOrder {
        params: params(run, relay, seed.0, tally)?,
        nodes: served
            .iter()
            .filter_map(|(_, node)| Some((&*node.name, node.route.as_ref().ok()?)))
            .collect(),
    };
    let means =
        Means { share: u32::try_from(served.len()).unwrap_or(u32::MAX), ..relay.means.clone() };
    let wanted = Wanted { engine, questions: &run.questions, agent: None, means: &means };
    let route = seed.1.route.as_ref().map_err(Failure::clone)?;
    let work = Seed::start(&wanted, route, order).await?;
    let mut open: Vec<Option<Numbered<'_>>> = served.into_iter().map(Some).collect();
    let (lost, unserved) = follow(run, tally, work, &mut open).await;
    if let Some((node, why)) = unserved {
        let name = &seed.1.name;
        tracing::warn!("whom {name} cannot serve gets the files from here, first {node}: {why}");
    }
    left.extend(open.into_iter().flatten());
    left.sort_by_key(|(index, _)| *index);
    left.iter().for_each(|(index, _)| run.count(*index).note(&Default::default()));
    *nodes = left;
    Ok(lost)
}

/// What the seed is asked for.
fn params(
    run: &TransferRun,
    relay: &Relay,
    seed: u32,
    tally: &Tally,
) -> Result<TransferParams, Failure> {
    let cannot = |text: &str| plain(Phase::Transfer, "noRelay", text);
    let tree = run.tree_read().ok_or_else(|| cannot("the sources are not the same for all"))?;
    let count = run.count(seed);
    let places = count.places().ok_or_else(|| cannot("it has no file server"))?;
    let listed = tree.listed(places).ok_or_else(|| cannot("there are too many files to name"))?;
    Ok(TransferParams {
        targets: Targets::default(),
        relay: None,
        listed: Some(listed),
        fanout: Some(u32::try_from(run.at_once()).unwrap_or(u32::MAX)),
        retries: Some(run.retries),
        fail_fast: tally.bad_left().map(Threshold::Nodes),
        ..relay.params.clone()
    })
}

/// Sees it through. Gives back how the seed was lost, and the first node it left to us with why.
async fn follow<'a>(
    run: &Arc<TransferRun>,
    tally: &mut Tally,
    mut seed: Seed,
    open: &mut [Option<Numbered<'a>>],
) -> (Option<String>, Option<(String, String)>) {
    let (mut unserved, mut stopped, mut gave_up) = (None, false, None);
    loop {
        let limit = match stopped {
            true => GRACE,
            false => run.options.stall.map_or(Duration::MAX, |stall| stall + GRACE),
        };
        let word = tokio::select! {
            word = timeout(limit, seed.next()) => word,
            () = run.stopped(), if !stopped => {
                stopped = true;
                seed.cancel();
                continue;
            }
        };
        let place = |at: usize| open.get(at).copied().flatten();
        match word {
            Err(_) => return (Some("it says nothing any more".to_owned()), unserved),
            Ok(Word::Lost(why)) => return (gave_up.or(Some(why)), unserved),
            Ok(Word::Done) => return (gave_up, unserved),
            Ok(Word::Progress(nodes)) => {
                for now in nodes {
                    if let Some((index, _)) = place(now.index as usize) {
                        run.count(index).note(&now);
                    }
                }
            }
            Ok(Word::Node(at, state)) => {
                let Some((index, node)) = place(at) else { continue };
                match *state {
                    // Its machine may be going down, or it counts as failed whom we have yet to try.
                    TransferState::Ended(ended)
                        if is_cancelled(&ended) && !(stopped || tally.give_up) =>
                    {
                        gave_up = Some("it has given up".to_owned());
                    }
                    TransferState::Ended(ended) => match unserved_because(&ended) {
                        Some(why) => drop(unserved.get_or_insert((node.name.clone(), why))),
                        None => {
                            run.ended(index, node, tally, ended).await;
                            open.get_mut(at).and_then(Option::take);
                        }
                    },
                    state => run.tell(index, node, state).await,
                }
            }
        }
    }
}

/// Why a node is ours all the same: the seed did not reach it, or could not read what it has.
fn unserved_because(ended: &Transferred) -> Option<String> {
    let failure = ended.failure.as_ref()?;
    let unreached = failure.phase != Phase::Transfer && !is_cancelled(ended);
    let unread = ended.faults.iter().any(|fault| fault.here);
    (unreached || unread).then(|| failure.message.clone())
}

fn is_cancelled(ended: &Transferred) -> bool {
    ended.failure.as_ref().is_some_and(|failure| failure.code == "cancelled")
}
