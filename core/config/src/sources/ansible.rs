//! Ansible inventories as groups of hosts, whichever of the two formats they were written in.
//!
//! Taken over are hosts, groups, children and what says how a host is reached. A host's own
//! variables win over its groups', a child's over its parent's, as in Ansible.

use indexmap::{IndexMap, IndexSet};

use super::Member;
use crate::error::Error;
use crate::node::NodeOverrides;
use crate::nodeset::MAX_NODES;

/// Groups within groups of which the order of variables is right.
const MAX_DEPTH: usize = 32;

/// Groups by name; hosts by name, each with what it says itself.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(super) hosts: IndexMap<String, NodeOverrides>,
    pub(super) groups: IndexMap<String, AnsibleGroup>,
}

#[derive(Debug, Default)]
pub(super) struct AnsibleGroup {
    pub(super) hosts: Vec<String>,
    pub(super) children: Vec<String>,
    pub(super) vars: NodeOverrides,
}

impl Inventory {
    /// A host of a group; its variables are added to what is known of it.
    pub(super) fn add_host(&mut self, group: &str, name: &str, vars: NodeOverrides) {
        let host = self.hosts.entry(name.to_owned()).or_default();
        *host = vars.or(host);
        self.group(group).hosts.push(name.to_owned());
    }

    pub(super) fn group(&mut self, name: &str) -> &mut AnsibleGroup {
        self.groups.entry(name.to_owned()).or_default()
    }

    /// The hosts of a group and its children; `all` is every host.
    pub(crate) fn members(&self, group: &str) -> Option<Vec<Member>> {
        if group != "all" && !self.groups.contains_key(group) {
            return None;
        }
        let mut vars: IndexMap<&str, NodeOverrides> = IndexMap::new();
        self.collect_vars(&mut vars);
        let nothing = NodeOverrides::default();
        let member = |name: &str| Member {
            expr: name.to_owned(),
            overrides: self
                .hosts
                .get(name)
                .cloned()
                .unwrap_or_default()
                .or(vars.get(name).unwrap_or(&nothing)),
            line: 0,
        };
        Some(self.names(group).into_iter().map(member).collect())
    }

    /// Hosts of a group, then of its children; each group is visited once, so loops end.
    fn names<'a>(&'a self, group: &'a str) -> IndexSet<&'a str> {
        if group == "all" {
            return self.hosts.keys().map(String::as_str).collect();
        }
        let mut names = IndexSet::new();
        let mut visited = IndexSet::new();
        let mut waiting = vec![group];
        while let Some(name) = waiting.pop() {
            if let Some(group) = self.groups.get(name).filter(|_| visited.insert(name)) {
                names.extend(group.hosts.iter().map(String::as_str));
                waiting.extend(group.children.iter().rev().map(String::as_str));
            }
        }
        names
    }

    /// Variables of groups by host, deepest group first, `all` last.
    fn collect_vars<'a>(&'a self, vars: &mut IndexMap<&'a str, NodeOverrides>) {
        let depths = self.depths();
        let mut order: Vec<_> = self.groups.iter().collect();
        order.sort_by_key(|(name, _)| {
            std::cmp::Reverse(if *name == "all" {
                0
            } else {
                depths.get(name.as_str()).copied().unwrap_or(1)
            })
        });
        for (name, group) in order.into_iter().filter(|(_, g)| g.vars != NodeOverrides::default()) {
            for host in self.names(name) {
                let known = vars.entry(host).or_default();
                *known = std::mem::take(known).or(&group.vars);
            }
        }
    }

    /// How far below the top each group is; at most `MAX_DEPTH` passes.
    fn depths(&self) -> IndexMap<&str, usize> {
        let mut depths: IndexMap<&str, usize> =
            self.groups.keys().map(|n| (n.as_str(), 1)).collect();
        for _ in 0..MAX_DEPTH {
            let mut changed = false;
            for (name, group) in &self.groups {
                let below = depths.get(name.as_str()).map_or(2, |d| d + 1);
                for child in &group.children {
                    if let Some(depth) = depths.get_mut(child.as_str()).filter(|d| **d < below) {
                        (*depth, changed) = (below, true);
                    }
                }
            }
            if !changed {
                break;
            }
        }
        depths
    }
}

/// Puts one variable where it belongs; others are none of our business.
pub(super) fn set_variable(vars: &mut NodeOverrides, key: &str, value: &str) -> Result<(), Error> {
    match key {
        "ansible_host" | "ansible_ssh_host" => vars.host = Some(value.to_owned()),
        "ansible_user" | "ansible_ssh_user" => vars.user = Some(value.to_owned()),
        "ansible_ssh_private_key_file" | "ansible_private_key_file" => {
            vars.identity = Some(value.into());
        }
        "ansible_port" | "ansible_ssh_port" => match value.parse() {
            Ok(port) if port != 0 => vars.port = Some(port),
            _ => return Err(Error::plain(format!("{key}: \"{value}\" is not a port (1-65535)"))),
        },
        _ => {}
    }
    Ok(())
}

/// `web[01:10].example.com`, `db-[a:f]`, `n[1:9:2]`: both ends are included.
pub(super) fn expand_ranges(pattern: &str) -> Result<Vec<String>, Error> {
    let wrong = |why: &str| Error::plain(format!("host \"{pattern}\": {why}"));
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('[') {
        let (range, tail) = after.split_once(']').ok_or_else(|| wrong("missing \"]\""))?;
        let values = range_values(range).ok_or_else(|| wrong("a bad range; use [start:end]"))?;
        if names.len().saturating_mul(values.len()) > MAX_NODES {
            return Err(wrong("too many hosts"));
        }
        names = names
            .iter()
            .flat_map(|name| values.iter().map(move |value| format!("{name}{before}{value}")))
            .collect();
        rest = tail;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

fn range_values(range: &str) -> Option<Vec<String>> {
    let mut parts = range.split(':');
    let (start, end) = (parts.next()?, parts.next()?);
    let step = parts.next().map_or(Some(1), |s| s.parse::<usize>().ok()).filter(|s| *s > 0)?;
    if parts.next().is_some() {
        return None;
    }
    let letter = |s: &str| s.chars().next().filter(|c| s.len() == 1 && c.is_ascii_alphabetic());
    if let (Some(a), Some(b)) = (letter(start), letter(end)) {
        let values: Vec<_> = (a..=b).step_by(step).map(String::from).collect();
        return Some(values).filter(|v| !v.is_empty());
    }
    let number = |s: &str| s.parse::<u64>().ok().filter(|_| s.bytes().all(|b| b.is_ascii_digit()));
    let (a, b) = (number(start)?, number(end)?);
    let width = if start.starts_with('0') { start.len() } else { 0 };
    if b < a || b - a >= MAX_NODES as u64 {
        return None;
    }
    Some((a..=b).step_by(step).map(|n| format!("{n:0width$}")).collect())
}
