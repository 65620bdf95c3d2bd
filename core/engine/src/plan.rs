//! Targets to plans: everything decided before dialing.
//!
//! Files are read once per request; evaluating one node costs no system call. Who wins: command
//! line, then what the target itself says, then the node's cluster, then `ssh_config`, then our
//! defaults. A node whose plan cannot be made is a failure of that node, not of the request.

use crate::connect_plan::connect_plan;
use crate::failure;
use crate::gateway::Way;
use crate::identity::identity;
use crate::known::{Asked, Known, Page};
use crate::lines::{ASKED, default_lines, environment, override_lines};
use crate::names::Names;
use bssh_config::clusters::Pool;
use bssh_config::clusters::agent::Agent;
use bssh_config::ssh_config::{self, ConfigFile, HostOptions, JumpHost, Request, SshConfig};
use bssh_config::{Destination, Environment, Inventory, Node, NodeOverrides};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Failure, Phase, Settings, Targets};
use bssh_protocol::via::Planned;
use bssh_ssh::error::Error;
use bssh_ssh::plan::{Children, ConnectPlan};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Hops one destination may need; more is a loop in the configuration.
const MOST_HOPS: usize = 16;
/// Many nodes behind one busy server must not fail for that; ssh itself tries once.
const BUSY_TRIES: u32 = 12;
/// What a request is planned with.
pub(crate) struct Planner {
    env: Environment,
    options: Vec<String>,
    ssh: SshConfig,
    /// None: ssh grammar, where no cluster is known.
    inventory: Option<Inventory>,
    /// Many nodes, not one as ssh has it.
    many: bool,
    /// Lines weaker than the files.
    defaults: Vec<String>,
    /// What programs started for a connection are told.
    children: Option<Arc<Children>>,
    agent: Arc<Agent>,
    pool: Pool,
    /// What was planned before.
    known: Option<Arc<Page>>,
}

/// One node of a request.
pub(crate) struct NodePlan {
    pub name: String,
    pub route: Result<Arc<Route>, Failure>,
    /// The gateways it is reached through; none: directly.
    pub way: Option<Way>,
}

/// The way to a node: hops first, the node last.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// The same route has the same key.
    pub key: String,
    pub hop: Option<Arc<Route>>,
    pub plan: Arc<ConnectPlan>,
    /// Tries at a server that is busy before it counts as a failure.
    pub busy_tries: u32,
    /// Tries at an address that cannot be dialed (`ConnectionAttempts`).
    pub dial_tries: u32,
    /// Environment to send: `SetEnv`, and what `SendEnv` picks.
    pub env: Vec<(String, String)>,
    pub options: Arc<HostOptions>,
    /// The configuration's `agent:`.
    pub agent: Arc<Agent>,
    /// The configuration's `defaults.pool:`.
    pub pool: Pool,
    /// A `ControlMaster`'s `ControlPath`, where a socket shows that it is there.
    pub control: Option<PathBuf>,
}

/// What a node may send ahead on a connection for files: a long way holds much.
const BULK_WINDOW: u32 = 16 << 20;

impl Route {
    /// An error that happened at this hop.
    pub(crate) fn named(&self, mut error: Error) -> Error {
        error.hop.get_or_insert_with(|| self.plan.node.clone());
        error
    }

    /// The same way on a connection where an agent is forwarded, if it is to be: the node gives it
    /// to all that runs there. A `ControlPath` says that it is to be shared.
    pub(crate) fn forwarding(self: &Arc<Self>, agent: bool) -> Arc<Route> {
        let known = self.agent.forward || self.options.forward_agent_on;
        if !agent || known || self.options.control_path.is_some() {
            return self.clone();
        }
        Arc::new(Route { key: format!("{} agent", self.key), ..(**self).clone() })
    }

    /// The same way on a connection for files, which nothing else uses.
    pub(crate) fn bulk(&self) -> Arc<Route> {
        let plan = ConnectPlan { window: Some(BULK_WINDOW), ..(*self.plan).clone() };
        let key = format!("{} bulk", self.key);
        Arc::new(Route { key, plan: Arc::new(plan), control: None, ..self.clone() })
    }
}

impl Planner {
    /// Reads the files a request is planned with.
    ///
    /// # Errors
    /// `config.invalid`: every problem, each with its place.
    pub(crate) fn new(
        env: &Environment,
        settings: &Settings,
        clusters: bool,
    ) -> Result<Self, CallError> {
        let file = match settings.ssh_config.as_deref() {
            None => ConfigFile::Default,
            Some("none") => ConfigFile::None,
            Some(path) => ConfigFile::File(env.here(path)),
        };
        let ssh = SshConfig::load(env, &file).map_err(|e| config_error(&e))?;
        let mut defaults = settings.defaults.clone();
        let inventory = match clusters {
            false => None,
            true => {
                let config = settings.config.as_ref().map(PathBuf::from);
                let mut inventory =
                    Inventory::load(env, config.as_deref()).map_err(|e| config_error(&e))?;
                let names = ssh.host_names().to_vec();
                inventory.set_ssh_hosts(move || names.clone());
                defaults.extend(default_lines(&inventory));
                Some(inventory)
            }
        };
        let options = settings.options.clone();
        let children = env.for_children().map(|(cwd, vars)| Arc::new(Children { cwd, vars }));
        let said = inventory.as_ref().map(|i| (i.config().agent.clone(), i.config().pool));
        let (agent, pool) = said.unwrap_or_default();
        let (env, many) = (env.clone(), clusters);
        let known = None;
        Ok(Planner { env, options, ssh, inventory, many, defaults, children, agent, pool, known })
    }

    /// Takes ways from what was planned before, and leaves there what is planned now.
    pub(crate) fn know(&mut self, known: &Known) {
        self.known = self.ssh.lasting().map(|files| {
            known.page(Asked {
                files,
                env: &self.env,
                options: self.options.clone(),
                defaults: self.defaults.clone(),
                many: self.many,
                agent: self.agent.clone(),
                pool: self.pool,
            })
        });
    }

    /// For nodes that another core has planned: no file of ours counts, and host keys are asked
    /// about.
    ///
    /// # Errors
    /// As [`Planner::new`].
    pub(crate) fn told(env: &Environment) -> Result<Self, CallError> {
        let none = Settings { ssh_config: Some("none".to_owned()), ..Settings::default() };
        let planner = Planner::new(env, &none, false)?;
        Ok(Planner { options: ASKED.map(str::to_owned).to_vec(), many: true, ..planner })
    }

    /// The nodes of a run or a transfer with their plans.
    ///
    /// # Errors
    /// As [`Planner::nodes`].
    pub(crate) async fn of_run(
        &self,
        targets: &Targets,
        planned: &[Planned],
    ) -> Result<Vec<NodePlan>, CallError> {
        let told = |p: &Planned| NodePlan {
            name: p.name.clone(),
            route: self.planned_route(p),
            way: None,
        };
        match planned.is_empty() {
            true => self.nodes(targets).await,
            false => Ok(planned.iter().map(told).collect()),
        }
    }

    /// The way to a node as another core has planned it, its name included.
    pub(crate) fn planned_route(&self, planned: &Planned) -> Result<Arc<Route>, Failure> {
        let options = [self.options.as_slice(), &planned.options].concat();
        let destination = Destination { host: planned.name.clone(), ..Destination::default() };
        let request = Request { options: &options, ..Request::new(&destination) };
        let options = self.ssh.resolve(&request).map_err(|e| resolve_failure(&e))?;
        Ok(self.finish(&planned.name, options, None))
    }

    /// The way to a node that is not what the request is about, such as a gateway: options of the
    /// command line do not hold for it.
    pub(crate) async fn aside(&self, node: &Node) -> Result<Arc<Route>, Failure> {
        Names::default().planned(|names| self.route_with(node, &[], names)).await
    }

    /// What the configuration knows about groups; none in the ssh grammar.
    pub(crate) fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    /// A path as the request means it.
    pub(crate) fn here(&self, path: &Path) -> PathBuf {
        self.env.here(path)
    }

    /// The ssh_config files that were read.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.ssh.paths()
    }

    /// Things to tell the user that are no errors.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let inventory = self.inventory.iter().flat_map(|i| i.warnings());
        self.ssh.warnings().iter().chain(inventory).map(ToString::to_string).collect()
    }

    /// The nodes that targets mean, with their plans.
    ///
    /// # Errors
    /// `targets.invalid`: an expression that cannot be read, or that names nothing.
    pub(crate) async fn nodes(&self, targets: &Targets) -> Result<Vec<NodePlan>, CallError> {
        let nodes = match (&targets.destination, &self.inventory) {
            (Some(literal), _) => {
                let destination =
                    ssh_config::destination(literal).map_err(|e| targets_error(&e))?;
                vec![Node {
                    name: literal.clone(),
                    destination,
                    overrides: NodeOverrides::default(),
                }]
            }
            (None, Some(inventory)) => inventory
                .resolve(&targets.nodes, &targets.exclude)
                .map_err(|e| targets_error(&e))?,
            (None, None) => Vec::new(),
        };
        let plan = |node: &Node, names: &Names| NodePlan {
            name: node.name.clone(),
            route: self.route(node, names),
            way: None,
        };
        let names = Names::default();
        Ok(names.planned(|names| nodes.iter().map(|n| plan(n, names)).collect()).await)
    }

    /// The effective options of one node, for `explain`.
    pub(crate) async fn explain(
        &self,
        node: &Node,
        command: Option<&str>,
    ) -> Result<HostOptions, Vec<bssh_config::Error>> {
        let overrides = override_lines(&node.overrides);
        let explain = |names: &Names| {
            self.ssh.resolve(&Request {
                options: &self.options,
                destination: &node.destination,
                overrides: &overrides,
                defaults: &self.defaults,
                command,
                lookup: Some(&|name| names.ask(name)),
                explain: true,
            })
        };
        Names::default().planned(explain).await
    }

    /// The hops of a node, first hop first, for `explain`.
    pub(crate) async fn hops(&self, node: &Node) -> Vec<String> {
        let mut hops = Vec::new();
        let route = Names::default().planned(|names| self.route(node, names)).await;
        let mut at = route.ok().and_then(|r| r.hop.clone());
        while let Some(route) = at {
            hops.insert(0, route.plan.node.clone());
            at = route.hop.clone();
        }
        hops
    }

    fn route(&self, node: &Node, names: &Names) -> Result<Arc<Route>, Failure> {
        let known = self.known.as_deref();
        if let Some(way) = known.and_then(|known| known.way(node)) {
            return Ok(way);
        }
        let way = self.route_with(node, &self.options, names)?;
        if let Some(known) = known.filter(|_| names.none_asked()) {
            known.note(node, &way);
        }
        Ok(way)
    }

    fn route_with(
        &self,
        node: &Node,
        options: &[String],
        names: &Names,
    ) -> Result<Arc<Route>, Failure> {
        let overrides = override_lines(&node.overrides);
        let request = Request {
            options,
            destination: &node.destination,
            overrides: &overrides,
            defaults: &self.defaults,
            command: None,
            lookup: Some(&|name| names.ask(name)),
            explain: false,
        };
        let options = self.ssh.resolve(&request).map_err(|e| resolve_failure(&e))?;
        let hop = self.hop(&options.proxy_jump, 0, names)?;
        Ok(self.finish(&node.name, options, hop))
    }

    /// The last of these hops, reached through the others. Options of the command line are for
    /// the destination only, as with ssh.
    fn hop(
        &self,
        jumps: &[JumpHost],
        depth: usize,
        names: &Names,
    ) -> Result<Option<Arc<Route>>, Failure> {
        let mut route: Option<Arc<Route>> = None;
        for (at, jump) in jumps.iter().enumerate() {
            if depth + at >= MOST_HOPS {
                let text = format!(
                    "more than {MOST_HOPS} jump hosts: does {} lead back to itself?",
                    jump.host
                );
                return Err(failure::plain(Phase::Resolve, "jumpLoop", text));
            }
            let destination =
                Destination { user: jump.user.clone(), host: jump.host.clone(), port: jump.port };
            let request = Request {
                defaults: &self.defaults,
                lookup: Some(&|name| names.ask(name)),
                ..Request::new(&destination)
            };
            let options = self.ssh.resolve(&request).map_err(|e| resolve_failure(&e))?;
            // Only the first hop's own ProxyJump counts: the list says how the others are reached.
            if at == 0 {
                route = self.hop(&options.proxy_jump, depth + 1, names)?;
            }
            route = Some(self.finish(&jump.host, options, route));
        }
        Ok(route)
    }

    fn finish(&self, name: &str, options: HostOptions, hop: Option<Arc<Route>>) -> Arc<Route> {
        let mut plan = connect_plan(name, &options, self.env.shell(), self.many);
        self.settle(&mut plan);
        // One for each of a thousand nodes would help nobody.
        let path = options.control_path.as_ref().filter(|_| options.control_master && !self.many);
        let through = hop.as_ref().map_or("", |h| h.key.as_str());
        let key = format!(
            "{}@{}:{} {:x} via {through}",
            plan.user,
            plan.address.host,
            plan.address.port,
            identity(&plan, &self.env, &options, self.agent.forward),
        );
        Arc::new(Route {
            key,
            hop,
            dial_tries: options.connection_attempts,
            busy_tries: match self.many {
                true => BUSY_TRIES,
                false => options.connection_attempts,
            },
            env: environment(&options, &self.env),
            control: path.map(|path| self.env.here(path)),
            plan: Arc::new(plan),
            options: Arc::new(options),
            agent: self.agent.clone(),
            pool: self.pool,
        })
    }
}

impl Planner {
    /// A plan means the same wherever the core runs.
    fn settle(&self, plan: &mut ConnectPlan) {
        let (auth, keys) = (&mut plan.auth, &mut plan.host_keys);
        let lists = [&mut auth.identities, &mut auth.certificates, &mut keys.user_files];
        let lists = lists.into_iter().chain([&mut keys.global_files]).flatten();
        for path in lists.chain(&mut keys.revoked).chain(&mut auth.agent) {
            *path = self.env.here(&*path);
        }
        keys.children.clone_from(&self.children);
        plan.children.clone_from(&self.children);
    }
}

fn resolve_failure(errors: &[bssh_config::Error]) -> Failure {
    let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let hint = errors.iter().find_map(|e| e.hint.clone());
    Failure { hint, ..failure::plain(Phase::Resolve, "config", text) }
}

/// All problems of the files, one line each.
pub(crate) fn config_error(errors: &[bssh_config::Error]) -> CallError {
    call_error(Kind::ConfigInvalid, errors)
}

pub(crate) fn targets_error(error: &bssh_config::Error) -> CallError {
    call_error(Kind::TargetsInvalid, std::slice::from_ref(error))
}

fn call_error(kind: Kind, errors: &[bssh_config::Error]) -> CallError {
    let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let error = CallError::new(kind, text);
    match errors.iter().find_map(|e| e.hint.clone()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
