//! Everything that gives nodes names and groups, as one value: the configuration, the schedulers'
//! environment, group sources. Turns target expressions into nodes.
//!
//! What is slow or rare (ClusterShell's files, ssh_config's host names, commands) is read when it
//! is asked for first. How names of groups are looked up is in `resolver`.

use std::path::Path;
use std::sync::OnceLock;

use crate::clusters::{Cluster, Config, Interactive, load};
use crate::environment::Environment;
use crate::error::Error;
use crate::node::{Destination, Node};
use crate::nodeset::NodeSet;
use crate::resolver::Resolver;
use crate::sources::clustershell;
use crate::sources::topology::Topology;

/// All that is known about nodes before anything is dialed.
pub struct Inventory {
    pub(crate) env: Environment,
    pub(crate) config: Config,
    pub(crate) ssh_hosts: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    clustershell: OnceLock<Result<clustershell::Sources, Error>>,
}

/// A named group, for listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    /// `cluster`, `backendai`, `slurm`, `pbs`, or the source's name.
    pub source: String,
    pub nodes: Vec<String>,
    /// `file:line` or a variable, if known.
    pub origin: Option<String>,
}

impl Inventory {
    /// Reads the configuration: `config` (`--config`, must exist) or the usual places.
    ///
    /// # Errors
    /// Every problem of every file, not only the first one.
    pub fn load(env: &Environment, config: Option<&Path>) -> Result<Inventory, Vec<Error>> {
        Ok(Inventory {
            env: env.clone(),
            config: load(env, config)?,
            ssh_hosts: Box::new(Vec::new),
            clustershell: OnceLock::new(),
        })
    }

    /// Where `@ssh:` takes its names from: `Host` names without patterns in `ssh_config`.
    pub fn set_ssh_hosts(&mut self, names: impl Fn() -> Vec<String> + Send + Sync + 'static) {
        self.ssh_hosts = Box::new(names);
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is odd but not wrong, with its place.
    pub fn warnings(&self) -> &[Error] {
        &self.config.warnings
    }

    /// `interactive:` for these targets: a cluster's own settings count if they name it and nothing
    /// else.
    pub fn interactive(&self, expr: &str) -> Interactive {
        let expr = expr.trim();
        let name = match expr {
            "" => self.config.default_cluster.as_deref(),
            _ => expr.strip_prefix("@cluster:").or_else(|| expr.strip_prefix('@')),
        };
        let own = name.and_then(|name| self.config.clusters.get(name)).map(|c| &c.interactive);
        own.unwrap_or(&self.config.interactive).over(&self.config.interactive)
    }

    /// The nodes of a target expression without those of `exclude`, each once, in the order they
    /// are mentioned. An empty expression is `default_cluster`.
    ///
    /// # Errors
    /// A bad expression (with its column), an unknown group, a bad target, no nodes left.
    pub fn resolve(&self, expr: &str, exclude: &[String]) -> Result<Vec<Node>, Error> {
        let resolver = Resolver::new(self);
        let names = if expr.is_empty() {
            resolver.expand(&format!("@cluster:{}", self.default_cluster()?))?
        } else {
            resolver.expand(expr)?
        };
        let names = self.without(names, exclude)?;
        if names.is_empty() {
            return Err(Error::plain("no nodes are left to run on")
                .hint("see what an expression means with \"bssh nodes expand EXPR\""));
        }
        names
            .iter()
            .map(|name| {
                let destination = Destination::parse(name)?;
                let overrides = resolver.overrides(name);
                Ok(Node { name: name.to_owned(), destination, overrides })
            })
            .collect()
    }

    /// Who reaches whom from this machine, by a file in ClusterShell's format.
    ///
    /// # Errors
    /// The file cannot be read, or is no tree that starts here.
    pub fn topology(&self, file: &Path) -> Result<Topology, Error> {
        Topology::read(file, &self.env.hostname, &|expr| self.expand(expr, &[]))
    }

    /// The names only, which need not be valid targets; for `nodes expand`. May be empty.
    ///
    /// # Errors
    /// A bad expression, an unknown group.
    pub fn expand(&self, expr: &str, exclude: &[String]) -> Result<NodeSet, Error> {
        self.without(Resolver::new(self).expand(expr)?, exclude)
    }

    /// Groups that can be listed without running a command: clusters, the batch job, group files.
    /// One that cannot be resolved has no nodes here; `check` says why.
    pub fn groups(&self) -> Vec<Group> {
        let group = |(source, name): (&str, &str)| {
            let nodes = self.expand(&format!("@{source}:{name}"), &[]);
            Group {
                name: if name == "*" { source } else { name }.to_owned(),
                source: source.to_owned(),
                nodes: nodes.iter().flat_map(NodeSet::iter).map(str::to_owned).collect(),
                origin: self.cluster(source, name).map(|c| c.origin.clone()),
            }
        };
        self.names().map(group).collect()
    }

    /// Deeper than `load`: resolves every group and every node, and looks whether the files that
    /// clusters name exist.
    pub fn check(&self) -> Vec<Error> {
        let mut problems: Vec<Error> = self.clustershell().err().into_iter().collect();
        for (source, name) in self.names() {
            let cluster = self.cluster(source, name);
            let place = |e: Error| match cluster {
                Some(cluster) => in_cluster(e, cluster),
                None => e,
            };
            if cluster.is_some_and(|c| c.nodes.is_empty()) {
                problems.push(place(Error::plain(format!("cluster \"{name}\" has no nodes"))));
                continue;
            }
            match self.resolve(&format!("@{source}:{name}"), &[]) {
                Ok(nodes) if cluster.is_some() => {
                    problems.extend(missing_files(name, &nodes).into_iter().map(place));
                }
                Ok(_) => {}
                Err(e) => {
                    let message = format!("group \"{name}\": {}", e.message);
                    problems.push(place(Error { message, ..e }));
                }
            }
        }
        for (name, session) in &self.config.sessions {
            if let Err(e) = self.resolve(&session.target, &[]) {
                problems.push(Error { message: format!("session \"{name}\": {}", e.message), ..e });
            }
        }
        problems
    }

    /// ClusterShell's group sources, read once.
    pub(crate) fn clustershell(&self) -> Result<&clustershell::Sources, Error> {
        self.clustershell
            .get_or_init(|| clustershell::Sources::load(&self.env))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Source and name of what can be listed.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let clusters = self.config.clusters.keys().map(|name| match name.as_str() {
            crate::sources::backend_ai::NAME => ("backendai", name.as_str()),
            name => ("cluster", name),
        });
        let batch = [("SLURM_JOB_NODELIST", "slurm"), ("PBS_NODEFILE", "pbs")]
            .into_iter()
            .filter(|(variable, _)| self.env.var(variable).is_some())
            .map(|(_, name)| (name, "*"));
        let files = self.clustershell().into_iter().flat_map(clustershell::Sources::groups);
        clusters.chain(batch).chain(files)
    }

    fn cluster(&self, source: &str, name: &str) -> Option<&Cluster> {
        self.config.clusters.get(name).filter(|_| matches!(source, "cluster" | "backendai"))
    }

    fn default_cluster(&self) -> Result<&str, Error> {
        self.config.default_cluster.as_deref().ok_or_else(|| {
            Error::plain("no targets")
                .hint("name nodes with -H, a cluster with -C, or set default_cluster")
        })
    }

    fn without(&self, mut names: NodeSet, exclude: &[String]) -> Result<NodeSet, Error> {
        for expr in exclude {
            names.difference(&Resolver::new(self).expand(expr)?);
        }
        Ok(names)
    }
}

/// What is wrong with a cluster as a whole is wrong where it begins.
fn in_cluster(error: Error, cluster: &Cluster) -> Error {
    let place = cluster.origin.rsplit_once(':').and_then(|(f, l)| Some((f, l.parse().ok()?)));
    match place {
        Some((file, line)) => error.at(Path::new(file), line, cluster.column),
        None => error,
    }
}

/// Each file once.
fn missing_files(cluster: &str, nodes: &[Node]) -> Vec<Error> {
    let mut problems: Vec<Error> = Vec::new();
    let identities = nodes.iter().filter_map(|n| n.overrides.identity.as_deref());
    for (what, file) in identities.map(|file| ("ssh_key", file)) {
        let message =
            format!("cluster \"{cluster}\": {what} \"{}\" does not exist", file.display());
        if !file.exists() && problems.iter().all(|p| p.message != message) {
            problems.push(Error::plain(message));
        }
    }
    problems
}
