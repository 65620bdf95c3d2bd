//! `bssh nodes`: node sets for scripts, like nodeset(1).

use super::{failed, warn};
use crate::args::Args;
use crate::verbs::NodesVerb;
use crate::{exit, print, request, say};
use bssh_client::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::methods::{GroupFold, GroupResolve};
use bssh_protocol::node::{FoldParams, ResolveParams};
use std::hash::{BuildHasher, RandomState};
use std::io::Read;

/// Expands, folds, counts, picks from or splits a node set.
pub(crate) async fn nodes(core: &Core, args: &Args, verb: &NodesVerb) -> u8 {
    let expr = match expression(args, verb.exprs()) {
        Ok(expr) => expr,
        Err(why) => {
            say(&format!("bssh: {why}"));
            return exit::USAGE;
        }
    };
    let text = match text(core, args, verb, expr).await {
        Ok(text) => text,
        Err(error) => return failed(&error),
    };
    print(&text)
}

async fn text(
    core: &Core,
    args: &Args,
    verb: &NodesVerb,
    expr: String,
) -> Result<String, CallError> {
    let targets = request::targets(args);
    let params = ResolveParams { expr, exclude: targets.exclude, settings: targets.settings };
    let names = core.call::<GroupResolve>(&params).await?;
    if !args.output.quiet {
        warn(&names.warnings);
    }
    let names = names.nodes;
    let sets = match verb {
        NodesVerb::Expand { .. } => return Ok(names.iter().map(|n| format!("{n}\n")).collect()),
        NodesVerb::Count { .. } => return Ok(format!("{}\n", names.len())),
        NodesVerb::Fold { .. } => vec![names],
        NodesVerb::Pick { n, .. } => vec![pick(names, *n)],
        NodesVerb::Split { n, .. } => split(&names, *n as usize),
    };
    let folded = core.call::<GroupFold>(&FoldParams { sets }).await?.exprs;
    Ok(folded.iter().map(|e| format!("{e}\n")).collect())
}

/// The arguments (each a set of its own, united), else the targets flags, else stdin.
fn expression(args: &Args, exprs: &[String]) -> Result<String, String> {
    let targets = request::targets(args).nodes;
    if !exprs.is_empty() {
        let all = exprs.iter().chain(Some(&targets).filter(|t| !t.is_empty()));
        return Ok(all.cloned().collect::<Vec<_>>().join(","));
    }
    if !targets.is_empty() {
        return Ok(targets);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| format!("stdin: {e}"))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.is_empty() {
        true => Err("no nodes given".to_owned()),
        false => Ok(words.join(",")),
    }
}

/// `n` nodes at random, in their order.
fn pick(names: Vec<String>, n: usize) -> Vec<String> {
    let random = RandomState::new();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_cached_key(|i| random.hash_one(i));
    order.truncate(n);
    order.sort_unstable();
    let mut wanted = order.into_iter().peekable();
    let all = names.into_iter().enumerate();
    all.filter(|(i, _)| wanted.next_if_eq(i).is_some()).map(|(_, name)| name).collect()
}

/// At most `n` parts of nearly equal size, in order; the first ones are larger.
fn split(names: &[String], n: usize) -> Vec<Vec<String>> {
    let n = n.clamp(1, names.len().max(1));
    let (size, larger) = (names.len() / n, names.len() % n);
    let mut rest = names;
    let mut parts = Vec::new();
    for i in 0..n {
        let (part, later) =
            rest.split_at_checked(size + usize::from(i < larger)).unwrap_or((rest, &[]));
        rest = later;
        parts.push(part.to_vec());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("n{i}")).collect()
    }

    #[test]
    fn parts_are_nearly_equal_and_in_order() {
        for (total, n, sizes) in [(7, 3, vec![3, 2, 2]), (2, 5, vec![1, 1]), (4, 1, vec![4])] {
            let parts = split(&names(total), n);
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
            assert_eq!(parts.concat(), names(total));
        }
    }

    #[test]
    fn picked_nodes_keep_their_order() {
        for n in [0, 1, 5, 10, 99] {
            let picked = pick(names(10), n);
            assert_eq!(picked.len(), n.min(10));
            assert!(picked.is_sorted());
        }
        let first: std::collections::HashSet<_> = (0..200).map(|_| pick(names(10), 1)).collect();
        assert!(first.len() > 5, "picks at random");
    }
}
