//! Runs through gateways: other cores, run over SSH on nodes nearer to the targets.
//!
//! A gateway's core is driven as any frontend drives a core, over the stdin and stdout of
//! `bssh core --stdio` on a session channel. The run stays here: its order, fanout, batches and
//! limits are [`crate::run`]'s, and each node whose turn it is is given to the gateway that has
//! the fewest (`way`, `node`). What the gateway asks is answered here: host keys from our own files,
//! passwords by our frontend (`service`). A gateway that is lost loses what it was running; what
//! surely had not begun goes to another one.
//!
//! Reading order: `way` (who goes where), `node` (one node's part of a run), `start` (a gateway's
//! core), `push` (our executable on a gateway), `wire` (its bytes), `service` (its questions),
//! `seed` (an upload that such a core passes on).

mod node;
mod push;
mod seed;
mod service;
mod start;
mod way;
mod wire;

pub(crate) use node::{Trip, through};
pub(crate) use seed::{Order as SeedOrder, Seed, Word};
pub(crate) use service::SudoSecret;
pub(crate) use way::{Means, Way, lay};

use crate::engine::Engine;
use crate::plan::Route;
use crate::questions::Questions;
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::carried::Transfers;
use bssh_protocol::exec::Failure;
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::run::Runs;
use service::Given;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as Flight, watch};
use tokio::task::JoinSet;

/// The gateways of one link, kept until it ends.
#[derive(Default)]
pub(crate) struct Gateways {
    known: Mutex<HashMap<String, Arc<Flight<Slot>>>>,
    /// What drives their links.
    tasks: Mutex<JoinSet<()>>,
    /// What to push: our own executable, read once.
    pushed: tokio::sync::OnceCell<Arc<push::Executable>>,
}

/// For so long a gateway that could not be had is not asked again.
const REMEMBERED: Duration = Duration::from_secs(30);

/// One gateway of a link, now or lately.
#[derive(Default)]
struct Slot {
    gateway: Option<Arc<Gateway>>,
    failed: Option<(Instant, Failure)>,
}

/// A core on a gateway, at our command.
pub(crate) struct Gateway {
    name: String,
    link: Link,
    /// First credit of a stdin stream, in bytes.
    window: u64,
    runs: Arc<Runs>,
    transfers: Arc<Transfers>,
    given: Arc<Given>,
    /// It can pass an upload on.
    relays: bool,
    gone: watch::Receiver<Option<Gone>>,
}

/// Who wants a gateway, and how it is used.
pub(crate) struct Wanted<'a> {
    pub engine: &'a Engine,
    pub questions: &'a Arc<Questions>,
    pub agent: Option<&'a AgentSettings>,
    pub means: &'a Means,
}

/// How a gateway was lost.
#[derive(Debug, Clone)]
pub(crate) struct Gone {
    pub why: String,
    /// All it ever said has arrived: only its core has ended, not the way to it.
    pub heard_out: bool,
}

impl Gateways {
    /// The core at the end of a route: the one that is there, or a new one. Nodes that want the
    /// same one wait for one start, and share its failure.
    async fn get(&self, wanted: &Wanted<'_>, route: &Arc<Route>) -> Result<Arc<Gateway>, Failure> {
        let means = wanted.means;
        let key = format!("{} {:?} {}", route.key, means.program, means.push);
        let flight = lock(&self.known).entry(key).or_default().clone();
        let mut slot = flight.lock().await;
        if let Some(gateway) = slot.gateway.as_ref().filter(|gateway| !gateway.link.has_ended()) {
            return Ok(gateway.clone());
        }
        let lately = slot.failed.as_ref().filter(|(when, _)| when.elapsed() < REMEMBERED);
        if let Some((_, why)) = lately {
            return Err(why.clone());
        }
        *slot = Slot::default();
        match start::start(wanted, route).await {
            Ok(gateway) => {
                let gateway = Arc::new(gateway);
                slot.gateway = Some(gateway.clone());
                Ok(gateway)
            }
            Err(why) => {
                slot.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    /// Ends them all.
    pub(crate) async fn close(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        lock(&self.known).clear();
        tasks.shutdown().await;
    }
}

impl Gateway {
    /// How it was lost; waits for that.
    async fn gone(&self) -> Gone {
        let mut gone = self.gone.clone();
        let known = gone.wait_for(Option::is_some).await.ok().and_then(|gone| gone.clone());
        known.unwrap_or_else(|| Gone { why: "it was given up".to_owned(), heard_out: false })
    }
}
