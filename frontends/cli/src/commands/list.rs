//! `bssh list`: every cluster and group the configuration knows.

use super::{failed, print_json, table, warn};
use crate::args::Args;
use crate::{print, request, say};
use bssh_client::Core;
use bssh_protocol::methods::GroupList;
use bssh_protocol::node::GroupListParams;

/// Prints name, source, number of nodes, the nodes, and where it is written.
pub(crate) async fn list(core: &Core, args: &Args) -> u8 {
    let params = GroupListParams { settings: request::settings(args) };
    let list = match core.call::<GroupList>(&params).await {
        Ok(list) => list,
        Err(error) => return failed(&error),
    };
    if args.output.json.is_some() {
        return print_json(&list);
    }
    if !args.output.quiet {
        warn(&list.warnings);
    }
    if list.groups.is_empty() {
        say("bssh: no clusters or groups are configured");
    }
    let rows: Vec<Vec<String>> = list
        .groups
        .into_iter()
        .map(|g| vec![g.name, g.source, g.count.to_string(), g.nodes, g.origin.unwrap_or_default()])
        .collect();
    print(&table(&rows))
}
