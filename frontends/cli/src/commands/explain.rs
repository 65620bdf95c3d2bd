//! `bssh explain NODE`: every value used to reach a node, and where it comes from.

use super::{failed, print_json, table, warn};
use crate::args::Args;
use crate::{print, request};
use bssh_client::Core;
use bssh_protocol::methods::NodeResolve;
use bssh_protocol::node::{EffectiveValue, ExplainParams, Explained};

/// Prints where the node is, the hops to it, and a line for every value.
pub(crate) async fn explain(core: &Core, args: &Args, node: &str) -> u8 {
    let settings = request::settings(args);
    let params = ExplainParams { node: node.to_owned(), settings, ..ExplainParams::default() };
    let explained = match core.call::<NodeResolve>(&params).await {
        Ok(explained) => explained,
        Err(error) => return failed(&error),
    };
    if args.output.json.is_some() {
        return print_json(&explained);
    }
    if !args.output.quiet {
        warn(&explained.warnings);
    }
    print(&text(&explained))
}

fn text(e: &Explained) -> String {
    let mut text = format!("{}: {}@{} port {}\n", e.node, e.user, e.host, e.port);
    if !e.hops.is_empty() {
        text.push_str(&format!("by way of {}\n", e.hops.join(", ")));
    }
    let row = |v: &EffectiveValue| {
        // What is applied is the normal case and needs no word.
        let status = if v.status == "applied" { String::new() } else { v.status.clone() };
        vec![v.keyword.clone(), v.value.clone(), v.origin.clone(), status]
    };
    text + &table(&e.values.iter().map(row).collect::<Vec<_>>())
}
