//! Which gateways a node may go through, decided before anything is dialed.
//!
//! A tier is a set of gateways any of which will do; a way is the tiers between here and a node.
//! Only the first tier is ours: the rest is told to whoever is next.

use crate::plan::{NodePlan, Planner, Route, targets_error};
use bssh_config::ssh_config::carried;
use bssh_config::{Destination, Topology};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Action, ExecParams, Failure, Phase};
use bssh_protocol::lock;
use bssh_protocol::via::{Planned, Via};
use bssh_ssh::host_key;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// So many gateways of a deeper tier are named to the one before it, different ones for
/// different nodes.
const NAMED: usize = 4;

/// How a node is reached.
#[derive(Clone)]
pub(crate) struct Way {
    pub(super) first: Arc<Tier>,
    pub(super) rest: Vec<Arc<Tier>>,
    pub(super) means: Arc<Means>,
}

/// Gateways any of which will do.
pub(super) struct Tier {
    posts: Vec<Post>,
}

/// One gateway as one run sees it.
pub(super) struct Post {
    pub name: String,
    pub route: Result<Arc<Route>, Failure>,
    /// Nodes it is busy with.
    load: AtomicUsize,
    /// Why it takes no more.
    down: Mutex<Option<Failure>>,
}

/// How gateways are used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Means {
    pub push: bool,
    pub program: Option<String>,
    pub retry_safe: bool,
    /// Nodes at once that one gateway will be busy with, about.
    pub share: u32,
}

/// A node's place at a post.
pub(super) struct Place<'a>(&'a Post);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Post {
    fn new(name: String, route: Result<Arc<Route>, Failure>) -> Post {
        let down = Mutex::new(route.as_ref().err().cloned());
        Post { name, route, load: AtomicUsize::new(0), down }
    }

    pub(super) fn down(&self) -> Option<Failure> {
        lock(&self.down).clone()
    }

    /// This run gives it nothing more. The first reason stays.
    pub(super) fn take_down(&self, why: Failure) {
        let mut down = lock(&self.down);
        if down.is_none() {
            tracing::warn!("gateway {}: {}; its nodes go through others", self.name, why.message);
            *down = Some(why);
        }
    }
}

impl Tier {
    /// The gateway with the least to do, and a place there. None: none is left.
    pub(super) fn choose(&self) -> Option<(&Post, Place<'_>)> {
        let up = self.posts.iter().filter(|post| post.down().is_none());
        let post = up.min_by_key(|post| post.load.load(Ordering::Relaxed))?;
        post.load.fetch_add(1, Ordering::Relaxed);
        Some((post, Place(post)))
    }

    /// Why none is left.
    pub(super) fn reasons(&self) -> String {
        let reason = |post: &Post| Some(format!("{}: {}", post.name, post.down()?.message));
        self.posts.iter().filter_map(reason).collect::<Vec<_>>().join("; ")
    }

    /// What the tier before it is told, for its `turn`th node.
    pub(super) fn named(&self, turn: usize) -> impl Iterator<Item = (&str, &Arc<Route>)> {
        let routed =
            self.posts.iter().filter_map(|post| Some((&*post.name, post.route.as_ref().ok()?)));
        let all: Vec<_> = routed.collect();
        let skip = if all.len() > NAMED { turn % all.len() } else { 0 };
        let n = all.len();
        all.into_iter().cycle().skip(skip).take(n.min(NAMED))
    }
}

/// Gives every node its way, and says how many connections of our own the run may need at once.
///
/// # Errors
/// What gateways cannot do; an expression or a topology that cannot be read.
pub(crate) async fn lay(
    planner: &Planner,
    params: &ExecParams,
    nodes: &mut [NodePlan],
    fanout: usize,
) -> Result<usize, CallError> {
    let configured = planner.inventory().map(|i| i.config().gateways.clone()).unwrap_or_default();
    let via = params.via.clone().unwrap_or_default();
    let able = able(params);
    let topology = via.topology.clone().map(Into::into).or_else(|| {
        // What the configuration says is for those who can follow it.
        configured.topology.clone().filter(|_| via.gateways.is_empty() && able.is_ok())
    });
    let asked = !via.tiers.is_empty() || topology.is_some() || !via.gateways.is_empty();
    if !asked || via.gateways == "none" {
        return Ok(fanout.min(nodes.len()));
    }
    able.map_err(|what| {
        let text = format!("{what} does not go through gateways");
        CallError::new(Kind::InvalidParams, text).at("params.via").hint("via: none goes directly")
    })?;
    let mut layer = Layer { planner, known: HashMap::new() };
    if !via.tiers.is_empty() {
        layer.told(&via, nodes)?;
    } else if let Some(file) = topology {
        layer.by_topology(&via, &file, nodes).await?;
    } else {
        layer.by_expression(&via, nodes).await?;
    }
    let firsts: usize = layer.first_posts(nodes);
    let share = fanout.min(nodes.len()).div_ceil(firsts.max(1));
    let means = Arc::new(Means {
        push: via.push.unwrap_or(configured.push),
        program: via.program.or(configured.program),
        retry_safe: via.retry_safe,
        share: u32::try_from(share).unwrap_or(u32::MAX),
    });
    for way in nodes.iter_mut().filter_map(|node| node.way.as_mut()) {
        way.means = means.clone();
    }
    let direct = nodes.iter().filter(|node| node.way.is_none()).count();
    Ok(fanout.min(direct + firsts))
}

/// Err: what it is that no gateway does.
fn able(params: &ExecParams) -> Result<(), &'static str> {
    match &params.action {
        _ if params.pty.is_some() => Err("a terminal"),
        _ if params.targets.destination.is_some() => Err("a plain ssh"),
        Action::Command(_) | Action::CommandBytes(_) | Action::Connect => Ok(()),
        Action::Shell => Err("a login shell"),
        Action::Subsystem(_) => Err("a subsystem"),
        Action::Dial { .. } => Err("a connection from the node (-W)"),
        Action::Hold => Err("a connection that is held open (-N)"),
    }
}

/// Tiers that were made already, by their names.
struct Layer<'a> {
    planner: &'a Planner,
    known: HashMap<String, Arc<Tier>>,
}

impl Layer<'_> {
    /// The tiers another core has planned.
    fn told(&mut self, via: &Via, nodes: &mut [NodePlan]) -> Result<(), CallError> {
        let post = |gateway: &Planned| {
            Post::new(gateway.name.clone(), self.planner.planned_route(gateway))
        };
        let tier =
            |posts: &Vec<Planned>| Arc::new(Tier { posts: posts.iter().map(post).collect() });
        let tiers: Vec<_> = via.tiers.iter().map(tier).collect();
        nodes.iter_mut().for_each(|node| node.way = way(tiers.clone()));
        Ok(())
    }

    async fn by_expression(&mut self, via: &Via, nodes: &mut [NodePlan]) -> Result<(), CallError> {
        let tier = self.tier(&via.gateways).await?;
        for node in nodes {
            // A gateway that is a target itself is reached directly.
            if tier.posts.iter().all(|post| post.name != node.name) {
                node.way = way(vec![tier.clone()]);
            }
        }
        Ok(())
    }

    async fn by_topology(
        &mut self,
        via: &Via,
        file: &Path,
        nodes: &mut [NodePlan],
    ) -> Result<(), CallError> {
        if !via.gateways.is_empty() {
            let text = "gateways and a topology at once: one of them says who reaches whom";
            return Err(CallError::new(Kind::InvalidParams, text).at("params.via"));
        }
        let inventory = self.inventory()?;
        let file = self.planner.here(file);
        let topology = inventory.topology(&file).map_err(|e| targets_error(&e))?;
        for node in nodes {
            let names = match tiers(&topology, &node.name) {
                Ok(names) => names,
                Err(why) => {
                    node.route =
                        Err(crate::failure::plain(Phase::Resolve, "noWay", why.to_string()));
                    continue;
                }
            };
            let mut made = Vec::new();
            for set in names.into_iter().flatten() {
                let names: Vec<_> = set.iter().collect();
                made.push(self.tier(&names.join(",")).await?);
            }
            node.way = way(made);
        }
        Ok(())
    }

    fn inventory(&self) -> Result<&bssh_config::Inventory, CallError> {
        self.planner.inventory().ok_or_else(|| {
            let text = "gateways are for targets of the cluster grammar (-H, -C, -g)";
            CallError::new(Kind::InvalidParams, text).at("params.via")
        })
    }

    async fn tier(&mut self, expr: &str) -> Result<Arc<Tier>, CallError> {
        if let Some(tier) = self.known.get(expr) {
            return Ok(tier.clone());
        }
        let gateways = self.inventory()?.resolve(expr, &[]).map_err(|e| targets_error(&e))?;
        let mut posts = Vec::with_capacity(gateways.len());
        for node in &gateways {
            posts.push(Post::new(node.name.clone(), self.planner.aside(node).await));
        }
        let tier = Arc::new(Tier { posts });
        self.known.insert(expr.to_owned(), tier.clone());
        Ok(tier)
    }

    /// Gateways we connect to ourselves.
    fn first_posts(&self, nodes: &[NodePlan]) -> usize {
        let firsts = nodes.iter().filter_map(|node| node.way.as_ref()).map(|way| &way.first);
        let firsts: HashMap<_, _> =
            firsts.map(|tier| (Arc::as_ptr(tier), tier.posts.len())).collect();
        firsts.values().sum()
    }
}

fn way(tiers: Vec<Arc<Tier>>) -> Option<Way> {
    let mut tiers = tiers.into_iter();
    let first = tiers.next()?;
    Some(Way { first, rest: tiers.collect(), means: Arc::default() })
}

/// A node's tiers: a topology may name it as it is named here, or by its host only.
fn tiers<'a>(
    topology: &'a Topology,
    name: &str,
) -> Result<Option<Vec<&'a bssh_config::nodeset::NodeSet>>, bssh_config::Error> {
    match topology.tiers(name)? {
        Some(tiers) => Ok(Some(tiers)),
        None => match Destination::parse(name) {
            Ok(destination) => topology.tiers(&destination.host),
            Err(_) => Ok(None),
        },
    }
}

/// How another machine reaches the end of a route. Host keys we know are asked for first.
pub(super) async fn lines(route: &Route) -> Vec<String> {
    let mut lines = carried(&route.options);
    if route.plan.algorithms.host_keys.is_empty() {
        let known = host_key::preferred_types(&route.plan.host_keys).await;
        if !known.is_empty() {
            lines.push(format!("hostkeyalgorithms={}", known.join(",")));
        }
    }
    lines
}
