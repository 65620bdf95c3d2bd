//! How names of groups are looked up, for one resolved expression.
//!
//! Without a source, in this order: clusters, the batch job (`@slurm`, `@pbs`), ClusterShell's
//! default source. With one: `cluster`, `backendai`, `slurm`, `pbs`, `ssh` (names of `ssh_config`,
//! patterns allowed), then ClusterShell's sources. Within a group of a ClusterShell source, `@name`
//! is a group of that source. Every group is resolved once, and what groups say about reaching a
//! node is noted by the node's name; the first mention wins.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::clusters::{Cluster, home};
use crate::error::Error;
use crate::inventory::Inventory;
use crate::node::{Destination, NodeOverrides};
use crate::nodeset::{Groups, NodeSet, expand, matches_glob};
use crate::sources::{Member, backend_ai, batch, host_file};

/// Groups within groups.
const MAX_DEPTH: usize = 64;
/// Groups of a run that has ended: frontends, which know of runs, put its nodes in their place.
const RUN_GROUPS: [&str; 3] = ["ok", "failed", "unreachable"];

pub(crate) struct Resolver<'a> {
    inventory: &'a Inventory,
    notes: RefCell<Notes>,
}

#[derive(Default)]
struct Notes {
    /// `None`: being resolved.
    groups: HashMap<(Option<String>, String), Option<Vec<String>>>,
    overrides: HashMap<String, NodeOverrides>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(inventory: &'a Inventory) -> Resolver<'a> {
        Resolver { inventory, notes: RefCell::default() }
    }

    pub(crate) fn expand(&self, expr: &str) -> Result<NodeSet, Error> {
        expand(expr, &Context { resolver: self, source: None, depth: 0 })
    }

    pub(crate) fn overrides(&self, name: &str) -> NodeOverrides {
        self.notes.borrow().overrides.get(name).cloned().unwrap_or_default()
    }

    fn note(&self, name: &str, overrides: NodeOverrides) {
        self.notes.borrow_mut().overrides.entry(name.to_owned()).or_insert(overrides);
    }
}

/// Where in the nesting of groups a name is looked up.
#[derive(Clone, Copy)]
struct Context<'a> {
    resolver: &'a Resolver<'a>,
    /// The ClusterShell source whose group is being expanded.
    source: Option<&'a str>,
    depth: usize,
}

impl Groups for Context<'_> {
    fn group(&self, source: Option<&str>, name: &str) -> Result<Option<Vec<String>>, Error> {
        let source = source.or(self.source);
        let key = (source.map(str::to_owned), name.to_owned());
        let label = source.map_or_else(|| format!("@{name}"), |s| format!("@{s}:{name}"));
        match self.resolver.notes.borrow_mut().groups.entry(key.clone()) {
            Entry::Occupied(known) => match known.get() {
                Some(names) => return Ok(Some(names.clone())),
                None => return Err(Error::plain(format!("group \"{label}\" contains itself"))),
            },
            Entry::Vacant(_) if self.depth >= MAX_DEPTH => {
                let message = format!("group \"{label}\": nested deeper than {MAX_DEPTH} groups");
                return Err(Error::plain(message));
            }
            Entry::Vacant(new) => new.insert(None),
        };
        let found = match source {
            None => self.any(name),
            Some(source) => self.of_source(source, name),
        };
        let mut notes = self.resolver.notes.borrow_mut();
        match &found {
            Ok(Some(names)) => notes.groups.insert(key, Some(names.clone())),
            _ => notes.groups.remove(&key),
        };
        found
    }

    fn known(&self) -> Vec<String> {
        let name = |(source, name)| match source {
            "cluster" | "backendai" => name,
            "slurm" | "pbs" => source,
            _ => name,
        };
        self.resolver.inventory.names().map(|pair| name(pair).to_owned()).collect()
    }

    fn file(&self, path: &str) -> Result<Vec<String>, Error> {
        if self.depth >= MAX_DEPTH {
            return Err(Error::plain(format!("host file \"{path}\": does it contain itself?")));
        }
        let env = &self.resolver.inventory.env;
        let path = env.cwd.join(home(path, env));
        self.members(host_file::read(&path)?, None, Some(&path))
    }
}

impl Context<'_> {
    fn any(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let inventory = self.resolver.inventory;
        if let Some(names) = self.clusters(name)? {
            return Ok(Some(names));
        }
        if let Some(names) = self.batch(name)? {
            return Ok(Some(names));
        }
        let sources = inventory.clustershell()?;
        if let Some(default) = &sources.default
            && let Some(names) = self.of_source(default, name)?
        {
            return Ok(Some(names));
        }
        if RUN_GROUPS.contains(&name) {
            return Err(Error::plain(format!("group \"@{name}\": no run has ended yet")));
        }
        Ok((name == "*").then(Vec::new))
    }

    fn of_source(&self, source: &str, name: &str) -> Result<Option<Vec<String>>, Error> {
        let inventory = self.resolver.inventory;
        match source {
            "cluster" => return self.clusters(name),
            "backendai" => {
                return self.clusters(if is_all(name) { backend_ai::NAME } else { name });
            }
            "slurm" | "pbs" if is_all(name) => return self.batch(source),
            "ssh" => return Ok(self.ssh_hosts(name)),
            _ => {}
        }
        let sources = inventory.clustershell()?;
        if !sources.contains(source) {
            return Ok(None);
        }
        match sources.group(source, name)? {
            Some(members) => self.members(members, Some(source), None).map(Some),
            None => Ok(None),
        }
    }

    /// A cluster, or all of them; `None` if there is none.
    fn clusters(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let clusters = &self.resolver.inventory.config.clusters;
        if !is_all(name) {
            return clusters.get(name).map(|cluster| self.cluster(cluster)).transpose();
        }
        if clusters.is_empty() {
            return Ok(None);
        }
        let mut all = NodeSet::default();
        for cluster in clusters.values() {
            all.union(self.cluster(cluster)?.into_iter().collect());
        }
        Ok(Some(all.iter().map(str::to_owned).collect()))
    }

    /// Entries for one host with different ports are told apart by the port in their names.
    fn cluster(&self, cluster: &Cluster) -> Result<Vec<String>, Error> {
        let weaker = cluster.overrides.clone().or(&self.resolver.inventory.config.node_defaults);
        let mut nodes: Vec<(String, NodeOverrides)> = Vec::new();
        for node in &cluster.nodes {
            let overrides = node.overrides.clone().or(&weaker);
            let names = expand(&node.name, &self.deeper(None))
                .map_err(|e| Error { message: format!("{}: {}", node.origin, e.message), ..e })?;
            nodes.extend(names.iter().map(|name| (name.to_owned(), overrides.clone())));
        }
        let mut ports: HashMap<&str, Option<u16>> = HashMap::with_capacity(nodes.len());
        let mut shared: HashSet<String> = HashSet::new();
        for (name, overrides) in &nodes {
            if *ports.entry(name).or_insert(overrides.port) != overrides.port {
                shared.insert(name.clone());
            }
        }
        let mut names = Vec::with_capacity(nodes.len());
        for (mut name, overrides) in nodes {
            if shared.contains(&name) {
                name = with_port(name, overrides.port);
            }
            self.resolver.note(&name, overrides);
            names.push(name);
        }
        Ok(names)
    }

    fn batch(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        let env = &self.resolver.inventory.env;
        let members = match name {
            "slurm" => batch::slurm(env),
            "pbs" => batch::pbs(env)?,
            _ => None,
        };
        members.map(|members| self.members(members, None, None)).transpose()
    }

    fn ssh_hosts(&self, pattern: &str) -> Option<Vec<String>> {
        let pattern = if pattern.is_empty() { "*" } else { pattern };
        let mut names = (self.resolver.inventory.ssh_hosts)();
        names.retain(|name| matches_glob(pattern, name));
        Some(names).filter(|names| !names.is_empty() || pattern == "*")
    }

    /// Expands what a source gave; a bad expression is an error at its line of the file.
    fn members(
        &self,
        members: Vec<Member>,
        source: Option<&str>,
        file: Option<&PathBuf>,
    ) -> Result<Vec<String>, Error> {
        let context = self.deeper(source);
        let mut all = NodeSet::default();
        for member in members {
            let names = expand(&member.expr, &context).map_err(|e| match file {
                Some(file) => {
                    let column = e.column;
                    e.at(file, member.line, column)
                }
                None => e,
            })?;
            if member.overrides != NodeOverrides::default() {
                names.iter().for_each(|name| self.resolver.note(name, member.overrides.clone()));
            }
            all.union(names);
        }
        Ok(all.iter().map(str::to_owned).collect())
    }

    fn deeper<'b>(&'b self, source: Option<&'b str>) -> Context<'b> {
        Context { resolver: self.resolver, source, depth: self.depth + 1 }
    }
}

fn is_all(name: &str) -> bool {
    matches!(name, "" | "*")
}

/// `host:port`, `[v6]:port`; a name that says its port, or a node without one, stays.
fn with_port(name: String, port: Option<u16>) -> String {
    match port {
        Some(port) if Destination::parse(&name).is_ok_and(|d| d.port.is_none()) => {
            if name.parse::<Ipv6Addr>().is_ok() {
                format!("[{name}]:{port}")
            } else {
                format!("{name}:{port}")
            }
        }
        _ => name,
    }
}
