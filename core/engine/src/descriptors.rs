//! How many nodes, and files of each, the limit of open files allows at once.
//!
//! Whoever finds no descriptor fails in odd ways, long after it was asked for: so room is made
//! before a run begins, and what has none waits for its turn.

use crate::plan::{NodePlan, Route};
use crate::pool::Pool;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::HashSet;

/// Files of one node under way at once; a server's handles may allow fewer.
pub(crate) const FILES: usize = 96;
/// More would be of no use, and there are programs that close one after the other.
const ENOUGH: u64 = 65_536;
/// Descriptors a core needs besides those of its connections.
const OTHERS: u64 = 48;
/// Descriptors of a connection through a program: its stdin, stdout, stderr and its end.
const PROXY: u64 = 4;
/// Descriptors of a file under way: itself, and the directory it is in.
const FILE: u64 = 2;
/// For so many files of each node, connections nobody uses are closed.
const SOME_FILES: u64 = 8;

/// Raises the limit of open files as far as that is allowed and of use: what is usual is for programs
/// that have a few.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.map_or(ENOUGH, |most| most.min(ENOUGH));
    if current.is_some_and(|now| now < most) {
        // Where that is too much, what there is has to do.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    }
}

/// Descriptors of a connection along a route.
fn of_connection(route: &Route) -> u64 {
    if route.plan.proxy_command.is_some() { PROXY } else { 1 }
}

/// Makes room for so many of these nodes at once, with up to so many files each: closes what others
/// have left and nobody uses. How many there is room for.
pub(crate) fn affordable(
    pool: &Pool,
    nodes: &[NodePlan],
    (fanout, files): (usize, usize),
    warnings: &mut Vec<String>,
) -> (usize, usize) {
    let routes = || nodes.iter().filter_map(|node| node.route.as_deref().ok());
    let connection = routes().map(of_connection).max().unwrap_or(1);
    let needed = |files: u64| fanout as u64 * (connection + files * FILE) + OTHERS;
    let Some(limit) = getrlimit(Resource::Nofile).current else { return (fanout, files) };
    let taken = match limit < needed(files as u64) + pool.count() as u64 * PROXY {
        false => 0,
        true => {
            let own: HashSet<&str> = routes().map(|route| &*route.key).collect();
            let least = needed(SOME_FILES.min(files as u64));
            pool.make_room(&own, limit.saturating_sub(least), of_connection)
        }
    };
    let room = Room { all: limit.saturating_sub(OTHERS + taken), connection };
    let (nodes, files) = room.share(fanout, files);
    if nodes < fanout {
        warnings.push(format!(
            "only {nodes} nodes at once: the limit of open files is too low (ulimit -n)"
        ));
    }
    (nodes, files)
}

/// How many files of the only node there is room for.
pub(crate) fn files_of_one() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    Room { all: limit.saturating_sub(OTHERS), connection: 1 }.share(1, FILES).1
}

struct Room {
    all: u64,
    /// Descriptors of one.
    connection: u64,
}

impl Room {
    /// As many nodes as possible; for each as many files as are left room for, and at least one
    /// where some are wanted.
    fn share(&self, fanout: usize, files: usize) -> (usize, usize) {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let least = self.connection + files.min(1) as u64 * FILE;
        let nodes = fanout.min(number(self.all / least).max(1));
        let each = self.all / (nodes as u64).max(1);
        let left = number(each.saturating_sub(self.connection) / FILE);
        (nodes, files.min(left.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_come_before_files_and_something_is_always_possible() {
        let share = |all, connection, fanout, files| Room { all, connection }.share(fanout, files);
        for (given, want) in [
            // Commands.
            ((1000, 1, 100, 0), (100, 0)),
            ((16, 1, 100, 0), (16, 0)),
            ((0, 1, 100, 0), (1, 0)),
            ((976, 4, 1000, 0), (244, 0)),
            // Files.
            ((1_000_000, 1, 100, 96), (100, 96)),
            ((976, 1, 40, 96), (40, 11)),
            ((16, 1, 40, 96), (5, 1)),
            ((208, 1, 1, 96), (1, 96)),
            ((0, 4, 40, 96), (1, 1)),
        ] {
            let (all, connection, fanout, files) = given;
            assert_eq!(share(all, connection, fanout, files), want, "{given:?}");
        }
    }
}
