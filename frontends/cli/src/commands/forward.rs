//! `bssh forward add`: forwards on many nodes, kept until Ctrl-C. A lost connection comes back by
//! itself; what happens is told on stderr.

use super::hold::{End, hold, needs_shared_core};
use super::{failed, print_json, table};
use crate::args::Args;
use crate::verbs::ForwardVerb;
use crate::{exit, print, request, say};
use bssh_client::Core;
use bssh_protocol::auth::Secret;
use bssh_protocol::error::CallError;
use bssh_protocol::exec::Targets;
use bssh_protocol::forward::{
    ConfiguredParams, ForwardEntry, ForwardEvent, ForwardKind, ForwardList as ForwardEntries,
    ForwardListParams, ForwardParams, ForwardRef, SocksLogin,
};
use bssh_protocol::methods::{
    ForwardClose, ForwardConfigured, ForwardList, ForwardOpen, ForwardStateEvent, GroupResolve,
};
use bssh_protocol::node::ResolveParams;
use std::path::Path;
use std::sync::Arc;

/// Opens forwards and keeps them.
pub(crate) async fn forward(core: &Core, args: &Args, verb: &ForwardVerb) -> u8 {
    let ForwardVerb::Add { local, remote, dynamic, allow, socks_login, watch } = verb else {
        return of_shared_core(core, args, verb).await;
    };
    let mut specs = Vec::new();
    for (kind, list) in [
        (ForwardKind::Local, local),
        (ForwardKind::Remote, remote),
        (ForwardKind::Dynamic, dynamic),
    ] {
        specs.extend(list.iter().map(|spec| (kind, spec.clone())));
    }
    let login = match socks_login.as_deref().map(login).transpose() {
        Ok(login) => login,
        Err(why) => {
            say(&format!("bssh: {why}"));
            return exit::USAGE;
        }
    };
    let like = ForwardParams {
        targets: Targets { settings: request::settings(args), ..Targets::default() },
        keep: true,
        watch: *watch,
        allow: allow.clone(),
        login,
        ..ForwardParams::default()
    };
    match open_all(core, args, specs, &like).await {
        Ok(status) if status != exit::OK => return status,
        Ok(_) => {}
        Err(error) => return failed(&error),
    }
    let list = match core.call::<ForwardList>(&Default::default()).await {
        Ok(list) => list,
        Err(error) => return failed(&error),
    };
    let opened = list.forwards.iter().map(|f| f.forward);
    if args.connect.shared.detach {
        return super::job::keep(core, opened.collect()).await;
    }
    let opened = opened.collect();
    let json = args.output.json.is_some();
    show(&list, json, false);
    hold::<ForwardStateEvent>(core, json, opened, line, end).await
}

/// What was opened by others, or has outlived who opened it.
async fn of_shared_core(core: &Core, args: &Args, verb: &ForwardVerb) -> u8 {
    if !core.is_shared() {
        return needs_shared_core("forwards");
    }
    let done = match verb {
        ForwardVerb::Close { forward } => {
            core.call::<ForwardClose>(&ForwardRef { forward: *forward }).await.map(drop)
        }
        _ => core
            .call::<ForwardList>(&ForwardListParams { all: true, ..Default::default() })
            .await
            .map(|list| show(&list, args.output.json.is_some(), true)),
    };
    done.map_or_else(|error| failed(&error), |()| exit::OK)
}

async fn open_all(
    core: &Core,
    args: &Args,
    mut specs: Vec<(ForwardKind, String)>,
    like: &ForwardParams,
) -> Result<u8, CallError> {
    let settings = like.targets.settings.clone();
    if specs.is_empty() {
        let params = ConfiguredParams { settings: settings.clone() };
        let configured = core.call::<ForwardConfigured>(&params).await?;
        for (kind, list) in [
            (ForwardKind::Local, configured.local),
            (ForwardKind::Remote, configured.remote),
            (ForwardKind::Dynamic, configured.dynamic),
        ] {
            specs.extend(list.into_iter().map(|spec| (kind, spec)));
        }
    }
    if specs.is_empty() {
        say("bssh: no forward given, and none in the configuration (forwarding:)");
        return Ok(exit::USAGE);
    }
    let Targets { nodes: expr, exclude, .. } = request::targets(args);
    let nodes = core.call::<GroupResolve>(&ResolveParams { expr, exclude, settings }).await?.nodes;
    for (at, node) in nodes.iter().enumerate() {
        for (kind, spec) in &specs {
            let spec = match (*kind, at) {
                (ForwardKind::Remote, _) | (_, 0) => spec.clone(),
                (kind, at) => match nth(spec, kind, at) {
                    Some(spec) => spec,
                    None => {
                        say(&format!("bssh: {spec}: several nodes cannot share it; use port 0"));
                        return Ok(exit::USAGE);
                    }
                },
            };
            let mut params = ForwardParams { kind: *kind, spec, ..like.clone() };
            params.targets.nodes.clone_from(node);
            core.call::<ForwardOpen>(&params).await?;
        }
    }
    Ok(exit::OK)
}

/// The same forward for a later node: its port counts on, 0 stays 0. None: a socket.
fn nth(spec: &str, kind: ForwardKind, at: usize) -> Option<String> {
    let mut depth = 0_u32;
    let mut fields = vec![String::new()];
    for c in spec.chars() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => {
                fields.push(String::new());
                continue;
            }
            _ => {}
        }
        fields.last_mut()?.push(c);
    }
    let has_path = fields.last().is_some_and(|f| f.contains('/'));
    let behind = match (kind, has_path) {
        (ForwardKind::Dynamic, _) => 0,
        (_, true) => 1,
        (_, false) => 2,
    };
    let field = fields.len().checked_sub(behind + 1)?;
    let port: u16 = fields.get(field)?.parse().ok()?;
    if port != 0 {
        *fields.get_mut(field)? = port.checked_add(u16::try_from(at).ok()?)?.to_string();
    }
    Some(fields.join(":"))
}

/// `user:password`, the first line of a file.
fn login(path: &Path) -> Result<SocksLogin, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map(zeroize::Zeroizing::new).map_err(|e| format!("{}: {e}", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    match line.split_once(':') {
        Some((user, password)) if !user.is_empty() => {
            Ok(SocksLogin { user: user.to_owned(), password: Arc::new(Secret::new(password)) })
        }
        _ => Err(format!("{}: want user:password", path.display())),
    }
}

fn show(list: &ForwardEntries, json: bool, numbered: bool) {
    if json {
        print_json(list);
        return;
    }
    let row = |f: &ForwardEntry| {
        let number = numbered.then(|| f.forward.to_string());
        let rest = [f.node.clone(), f.kind.flag().to_owned(), f.bound.clone(), f.spec.clone()];
        number.into_iter().chain(rest).collect()
    };
    print(&table(&list.forwards.iter().map(row).collect::<Vec<_>>()));
}

fn end(event: &ForwardEvent) -> Option<End> {
    let is_last = event.state == "closed";
    is_last.then(|| End { of: event.forward, failed: event.error.is_some() })
}

fn line(event: &ForwardEvent) -> Option<String> {
    let about = match (&event.peer, &event.target) {
        (Some(peer), Some(target)) => format!(" {peer} to {target}"),
        (None, Some(target)) => format!(" to {target}"),
        _ => String::new(),
    };
    let error = event.error.as_ref().map(|e| format!(": {e}")).unwrap_or_default();
    Some(format!("{}: forward {}: {}{about}{error}", event.node, event.forward, event.state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_count_on() {
        let (l, d) = (ForwardKind::Local, ForwardKind::Dynamic);
        for (spec, kind, want) in [
            ("8080:localhost:80", l, Some("8082:localhost:80")),
            ("127.0.0.1:8080:localhost:80", l, Some("127.0.0.1:8082:localhost:80")),
            ("[::1]:8080:[::2]:80", l, Some("[::1]:8082:[::2]:80")),
            ("8080:/run/s", l, Some("8082:/run/s")),
            ("8080:run/s", l, Some("8082:run/s")),
            ("0:localhost:80", l, Some("0:localhost:80")),
            ("1080", d, Some("1082")),
            ("*:1080", d, Some("*:1082")),
            ("/run/s:localhost:80", l, None),
            ("65535:localhost:80", l, None),
        ] {
            assert_eq!(nth(spec, kind, 2).as_deref(), want, "{spec}");
        }
    }
}
