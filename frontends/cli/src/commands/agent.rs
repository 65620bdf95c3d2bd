//! `bssh agent`: the agent here, and whether a node could use it.

use super::hold::steps;
use super::{failed, print_json, table};
use crate::args::Args;
use crate::verbs::AgentVerb;
use crate::{exit, print, request};
use bssh_client::Core;
use bssh_protocol::agent::{AgentChannel, AgentCheckParams, AgentStatus, AgentStatusParams};
use bssh_protocol::methods::{AgentCheck, AgentStatus as Status};

/// Shows the agent's keys, or every step of a forwarded request.
pub(crate) async fn agent(core: &Core, args: &Args, verb: &AgentVerb) -> u8 {
    match verb {
        AgentVerb::Status { node } => status(core, args, node.as_deref()).await,
        AgentVerb::Doctor { node } => doctor(core, args, node.as_deref()).await,
    }
}

async fn status(core: &Core, args: &Args, node: Option<&str>) -> u8 {
    let (agent, settings) = (args.connect.agent.settings(), request::settings(args));
    let target = node.map(str::to_owned);
    let status = match core.call::<Status>(&AgentStatusParams { agent, settings, target }).await {
        Ok(status) => status,
        Err(error) => return failed(&error),
    };
    let reached = if status.reachable { exit::OK } else { exit::GENERAL };
    if args.output.json.is_some() {
        return print_json(&status).max(reached);
    }
    let socket = status.socket.as_deref().unwrap_or("none");
    let mut text = match &status.error {
        Some(error) => format!("{socket}: {error}\n"),
        None => format!("{socket}: {} keys\n", status.keys.len()),
    };
    let row = |k: &bssh_protocol::agent::AgentKey| {
        vec![k.fingerprint.clone(), k.kind.clone(), bssh_term::bare(&k.comment)]
    };
    text.push_str(&table(&status.keys.iter().map(row).collect::<Vec<_>>()));
    if status.opened + status.rejected > 0 || !status.channels.is_empty() {
        let AgentStatus { opened, live, queued, rejected, sign_ok, sign_denied, .. } = &status;
        text.push_str(&format!(
            "nodes: {live} open of {opened}, {queued} waiting, {rejected} rejected, \
             {sign_ok} signatures, {sign_denied} refused\n"
        ));
        let row = |c: &AgentChannel| {
            vec![c.node.clone(), c.state.clone(), format!("{} s", c.age_ms / 1000)]
        };
        text.push_str(&table(&status.channels.iter().map(row).collect::<Vec<_>>()));
    }
    print(&text).max(reached)
}

async fn doctor(core: &Core, args: &Args, node: Option<&str>) -> u8 {
    let mut targets = request::targets(args);
    if let Some(node) = node {
        node.clone_into(&mut targets.nodes);
    }
    let params = AgentCheckParams { targets, agent: args.connect.agent.settings() };
    let checked = match core.call::<AgentCheck>(&params).await {
        Ok(checked) => checked,
        Err(error) => return failed(&error),
    };
    let good = checked.steps.iter().all(|s| s.ok);
    let status = if good { exit::OK } else { exit::GENERAL };
    match args.output.json {
        Some(_) => print_json(&checked).max(status),
        None if steps(&checked.node, &checked.steps) => exit::OK,
        None => exit::GENERAL,
    }
}
