//! Ways that were planned before: a request that asks the same of the same files gets them as
//! they are, instead of evaluating the files for each of a thousand nodes again.
//!
//! A way is known as long as a connection along it is in use or kept; nothing is kept here.

use crate::plan::Route;
use bssh_config::clusters::Pool;
use bssh_config::clusters::agent::Agent;
use bssh_config::ssh_config::FilesRead;
use bssh_config::{Environment, Node};
use bssh_protocol::lock;
use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Requests that differ in more than their nodes: frontends with environments of their own.
const MOST_PAGES: usize = 8;
/// From here on a page is searched for ways that are over before it grows.
const SWEEP_FROM: usize = 64;

/// What decides a way besides the node.
pub(crate) struct Asked<'a> {
    pub files: FilesRead,
    pub env: &'a Environment,
    pub options: Vec<String>,
    pub defaults: Vec<String>,
    pub many: bool,
    pub agent: Arc<Agent>,
    pub pool: Pool,
}

/// What tells environments apart: variables may be secrets, and outlive their frontend nowhere.
type Digest = [u64; 2];

/// The ways of a core.
#[derive(Default)]
pub(crate) struct Known {
    /// The requests asked last at the end.
    pages: Mutex<Vec<Arc<Page>>>,
    digests: [RandomState; 2],
}

/// The ways of requests that asked the same.
pub(crate) struct Page {
    files: FilesRead,
    env: Digest,
    options: Vec<String>,
    defaults: Vec<String>,
    many: bool,
    agent: Arc<Agent>,
    pool: Pool,
    ways: Mutex<HashMap<String, (Node, Weak<Route>)>>,
}

impl Known {
    /// The page of a request, empty if it is the first of its kind.
    pub(crate) fn page(&self, asked: Asked<'_>) -> Arc<Page> {
        let [one, other] = &self.digests;
        let env = [asked.env.digest(one), asked.env.digest(other)];
        let mut pages = lock(&self.pages);
        let page = match pages.iter().position(|page| page.is_of(&asked, env)) {
            Some(at) => pages.remove(at),
            None => Arc::new(Page::new(asked, env)),
        };
        if pages.len() >= MOST_PAGES {
            pages.remove(0);
        }
        pages.push(page.clone());
        page
    }
}

impl Page {
    fn new(asked: Asked<'_>, env: Digest) -> Page {
        let Asked { files, env: _, options, defaults, many, agent, pool } = asked;
        Page { files, env, options, defaults, many, agent, pool, ways: Mutex::default() }
    }

    fn is_of(&self, asked: &Asked<'_>, env: Digest) -> bool {
        (&self.files, self.env, self.many) == (&asked.files, env, asked.many)
            && (&self.options, &self.defaults) == (&asked.options, &asked.defaults)
            && (&self.agent, self.pool) == (&asked.agent, asked.pool)
    }

    fn ways(&self) -> MutexGuard<'_, HashMap<String, (Node, Weak<Route>)>> {
        lock(&self.ways)
    }

    /// The way to a node, if it is known.
    pub(crate) fn way(&self, node: &Node) -> Option<Arc<Route>> {
        let ways = self.ways();
        let (same, way) = ways.get(&node.name)?;
        way.upgrade().filter(|_| same == node)
    }

    /// Remembers the way to a node.
    pub(crate) fn note(&self, node: &Node, way: &Arc<Route>) {
        let mut ways = self.ways();
        if ways.len() >= SWEEP_FROM && ways.len() == ways.capacity() {
            ways.retain(|_, (_, way)| way.strong_count() > 0);
        }
        ways.insert(node.name.clone(), (node.clone(), Arc::downgrade(way)));
    }
}
