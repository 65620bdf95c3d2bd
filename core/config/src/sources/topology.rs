//! Who reaches whom: ClusterShell's `topology.conf(5)`.
//!
//! ```text
//! [routes]
//! admin: gw[1-4]
//! gw[1-4]: rack[1-2]gw
//! rack[1-2]gw: node[1-1000]
//! ```
//!
//! The machine we are on is the root, and every node has at most one way from there: a list of
//! tiers, each a set of gateways any of which will do. Names are labels; nothing is looked up.

use super::MAX_FILE;
use super::ini::{key_value, sections};
use crate::clusters::read_text;
use crate::error::Error;
use crate::nodeset::NodeSet;
use std::path::{Path, PathBuf};

/// The routes of one file, checked.
#[derive(Debug)]
pub struct Topology {
    file: PathBuf,
    routes: Vec<Route>,
    /// The routes that start at our machine.
    roots: Vec<usize>,
}

#[derive(Debug)]
struct Route {
    from: NodeSet,
    to: NodeSet,
    line: u32,
    text: String,
}

/// Turns an expression into names.
pub(crate) type Expand<'a> = dyn Fn(&str) -> Result<NodeSet, Error> + 'a;

impl Topology {
    /// Reads the file as seen from the machine `hostname`.
    ///
    /// # Errors
    /// It cannot be read; a line that is no route; two routes to one node; no route starts here.
    pub(crate) fn read(
        file: &Path,
        hostname: &str,
        expand: &Expand<'_>,
    ) -> Result<Topology, Error> {
        let missing = || Error::plain("no such topology file").at(file, 0, 0);
        let text = read_text(file, MAX_FILE)?.ok_or_else(missing)?;
        let mut routes: Vec<Route> = Vec::new();
        // `[Main]` is the section's old name.
        let named =
            |name: &str| name.eq_ignore_ascii_case("routes") || name.eq_ignore_ascii_case("main");
        for (line, text) in sections(&text).iter().filter(|s| named(s.name)).flat_map(|s| &s.lines)
        {
            let wrong = |why: String| Error::plain(why).at(file, *line, 0);
            let (from, to) = key_value(text)
                .filter(|(from, to)| !from.is_empty() && !to.is_empty())
                .ok_or_else(|| wrong("expected \"GATEWAYS: NODES\"".to_owned()))?;
            let read = |expr| expand(expr).map_err(|e| wrong(e.message));
            let route =
                Route { from: read(from)?, to: read(to)?, line: *line, text: text.to_string() };
            for (other, set) in routes.iter().map(|r| (r, &r.to)).chain([(&route, &route.from)]) {
                if let Some(name) = common(set, &route.to) {
                    let text = format!("{name} is reached by \"{}\" already", other.text);
                    return Err(wrong(text));
                }
            }
            routes.push(route);
        }
        if routes.is_empty() {
            return Err(Error::plain("no routes: expected a section [routes]").at(file, 0, 0));
        }
        let topology = Topology { file: file.to_owned(), roots: roots(&routes, hostname), routes };
        if topology.roots.is_empty() {
            let text = format!("no route starts at this machine, {hostname}");
            return Err(Error::plain(text).at(file, 0, 0).hint(
                "name it on the left of a route, or leave only one name there that nothing leads to",
            ));
        }
        Ok(topology)
    }

    /// The gateways on the way to a node, the first tier first. `None`: it is reached directly.
    ///
    /// # Errors
    /// The file names the node, but no way leads to it from here.
    pub fn tiers(&self, node: &str) -> Result<Option<Vec<&NodeSet>>, Error> {
        let Some(at) = self.routes.iter().position(|route| route.to.contains(node)) else {
            return Ok(None);
        };
        let Some(mut tiers) = self.up(at) else {
            let line = self.routes.get(at).map_or(0, |route| route.line);
            let text = format!("nothing leads from here to the gateways of {node}");
            return Err(Error::plain(text).at(&self.file, line, 0));
        };
        tiers.reverse();
        Ok(Some(tiers).filter(|tiers| !tiers.is_empty()))
    }

    /// The gateways between a route's nodes and the root, nearest to the nodes first. `None`:
    /// there is no way, or it leads in a circle.
    fn up(&self, mut at: usize) -> Option<Vec<&NodeSet>> {
        let mut tiers = Vec::new();
        while !self.roots.contains(&at) {
            let from = &self.routes.get(at)?.from;
            tiers.push(from);
            if tiers.len() > self.routes.len() {
                return None;
            }
            let all = |to: &NodeSet| from.iter().all(|name| to.contains(name));
            at = self.routes.iter().position(|route| all(&route.to))?;
        }
        Some(tiers)
    }
}

/// Routes that start here; if this machine is in none of them, at the only place that nothing
/// leads to.
fn roots(routes: &[Route], hostname: &str) -> Vec<usize> {
    let short = hostname.split('.').next().unwrap_or(hostname);
    let here = |set: &NodeSet| set.contains(hostname) || set.contains(short);
    let starts = |which: &dyn Fn(&Route) -> bool| -> Vec<usize> {
        (0..).zip(routes).filter(|(_, route)| which(route)).map(|(at, _)| at).collect()
    };
    let found = starts(&|route| here(&route.from));
    if !found.is_empty() {
        return found;
    }
    let tops = starts(&|route| routes.iter().all(|r| common(&r.to, &route.from).is_none()));
    let sets = tops.iter().filter_map(|at| routes.get(*at)).map(|route| &route.from);
    let same = |set: &NodeSet, other: &NodeSet| {
        set.len() == other.len() && set.iter().all(|name| other.contains(name))
    };
    let mut sets = sets.peekable();
    let first = sets.peek().copied();
    match first.is_some_and(|first| sets.all(|set| same(first, set))) {
        true => tops,
        false => Vec::new(),
    }
}

fn common<'a>(a: &'a NodeSet, b: &NodeSet) -> Option<&'a str> {
    a.iter().find(|name| b.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodeset::{NoGroups, expand};

    fn read(routes: &str, hostname: &str) -> Result<Topology, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("topology.conf");
        std::fs::write(&file, format!("# a comment\n[routes]\n{routes}")).unwrap();
        Topology::read(&file, hostname, &|e| expand(e, &NoGroups)).map_err(|e| e.message)
    }

    fn way(topology: &Topology, node: &str) -> String {
        let tier = |set: &&NodeSet| set.iter().collect::<Vec<_>>().join("+");
        let tiers = topology.tiers(node).unwrap();
        tiers.map_or("direct".to_owned(), |l| l.iter().map(tier).collect::<Vec<_>>().join(" > "))
    }

    #[test]
    fn levels_are_those_between_here_and_the_node() {
        let three = "rio0: rio[10-13]\nrio[10-11]: rio[100-240]\nrio[12-13]: rio[300-440]\n";
        let topology = read(three, "rio0.example.com").unwrap();
        assert_eq!(way(&topology, "rio150"), "rio10+rio11");
        assert_eq!(way(&topology, "rio300"), "rio12+rio13");
        assert_eq!(way(&topology, "rio10"), "direct");
        assert_eq!(way(&topology, "elsewhere"), "direct");
        let deep = "admin: g[1-2]\ng[1-2] : s[1-2]\ns[1-2]: n[1-9]\ng[1-2] = m1\n";
        let topology = read(deep, "laptop").unwrap();
        assert_eq!(way(&topology, "n4"), "g1+g2 > s1+s2");
        assert_eq!(way(&topology, "m1"), "g1+g2");
        // The same file seen from a gateway.
        assert_eq!(way(&read(deep, "g2").unwrap(), "n4"), "s1+s2");
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for (routes, why) in [
            ("", "no routes"),
            ("a b\n", "expected \"GATEWAYS: NODES\""),
            ("a:\n", "expected \"GATEWAYS: NODES\""),
            ("a: a\n", "is reached by"),
            ("r: a\nr: a\n", "is reached by"),
            ("a: b\nb: a\n", "no route starts at this machine"),
            ("p: x\nq: y\n", "no route starts at this machine"),
        ] {
            let error = read(routes, "laptop").unwrap_err();
            assert!(error.contains(why), "{routes:?}: {error}");
        }
        for routes in ["r: g1\ng[1-2]: n1\n", "r: x\nn2: n1\nn1: n2\n"] {
            let error = read(routes, "laptop").unwrap().tiers("n1").unwrap_err();
            assert!(error.message.contains("nothing leads from here"), "{routes:?}: {error}");
        }
    }
}
