//! `bssh gate`: exactly the listed SSH hosts, for a sandbox.

use super::hold::{End, hold, needs_shared_core, steps};
use super::sandbox::sandboxed;
use super::{failed, print_json, table, warn};
use crate::args::Args;
use crate::verbs::GateVerb;
use crate::{exit, print, request, say};
use bssh_client::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::forward::ConnectionEntry;
use bssh_protocol::gate::{
    GateEvent, GateKick, GateListParams, GateListener, GateParams, GatePlan, GateRef, GateStop,
};
use bssh_protocol::methods::{
    GateCheck, GateConnections, GateKick as GateKickConn, GatePrepare, GateStart, GateStateEvent,
    GateStatus, GateStop as GateStopIt,
};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// Does what was asked of a gate.
pub(crate) async fn gate(core: &Core, args: &Args, verb: &GateVerb) -> u8 {
    let json = args.output.json.is_some();
    let params = |name: &String| GateParams {
        name: Some(name.clone()),
        settings: request::settings(args),
        ..GateParams::default()
    };
    match verb {
        GateVerb::Prepare { name } => match core.call::<GatePrepare>(&params(name)).await {
            Ok(plan) => shown(&plan, json),
            Err(error) => failed(&error),
        },
        GateVerb::Start { name, replace, .. } => {
            let params = GateParams { replace: *replace, ..params(name) };
            match core.call::<GateStart>(&params).await {
                Ok(started) => {
                    if args.connect.shared.detach {
                        return super::job::keep(core, vec![started.gate]).await;
                    }
                    match json {
                        true => print_json(&started),
                        false => print(&listeners(&started.listeners)),
                    };
                    hold::<GateStateEvent>(core, json, [started.gate].into(), line, end).await
                }
                Err(error) => failed(&error),
            }
        }
        GateVerb::Check { from_sandbox: Some(_), .. } if json => {
            say("bssh: --from-sandbox has no JSON; it is told line by line");
            exit::USAGE
        }
        GateVerb::Check { name, from_sandbox } => match core.call::<GateCheck>(&params(name)).await
        {
            Ok(checked) => {
                let mut good = checked.entries.iter().flat_map(|e| &e.steps).all(|step| step.ok);
                match json {
                    true => good &= print_json(&checked) == exit::OK,
                    false => checked.entries.iter().for_each(|entry| {
                        good &= steps(&entry.alias, &entry.steps);
                    }),
                }
                if let Some(command) = from_sandbox {
                    let plan = match core.call::<GatePrepare>(&params(name)).await {
                        Ok(plan) => plan,
                        Err(error) => return failed(&error),
                    };
                    good &= steps("sandbox", &sandboxed(command, &plan.listeners, &checked));
                }
                if good { exit::OK } else { exit::GENERAL }
            }
            Err(error) => failed(&error),
        },
        GateVerb::SshConfig { name, known_hosts } => {
            match core.call::<GatePrepare>(&params(name)).await {
                Ok(plan) if *known_hosts => print(&plan.known_hosts),
                Ok(plan) => {
                    warn(&plan.warnings);
                    print(&plan.ssh_config)
                }
                Err(error) => failed(&error),
            }
        }
        GateVerb::Pipe { name, host, port } => {
            match core.call::<GatePrepare>(&params(name)).await {
                Ok(plan) => pipe(&plan, host, *port).await,
                Err(error) => failed(&error),
            }
        }
        GateVerb::Stop { .. }
        | GateVerb::Status
        | GateVerb::Connections { .. }
        | GateVerb::Kick { .. }
            if !core.is_shared() =>
        {
            needs_shared_core("gates")
        }
        verb => running(core, verb, json).await.unwrap_or_else(|error| failed(&error)),
    }
}

/// What others have started, or has outlived who started it.
async fn running(core: &Core, verb: &GateVerb, json: bool) -> Result<u8, CallError> {
    Ok(match verb {
        GateVerb::Stop { name } => {
            let stop = GateStop { name: name.clone(), ..GateStop::default() };
            let mut stopped = core.call::<GateStopIt>(&stop).await?;
            // What `gate start --detach` has printed.
            if let (false, Ok(id)) = (stopped.stopped, name.parse()) {
                let stop = GateStop { gate: Some(id), ..GateStop::default() };
                stopped = core.call::<GateStopIt>(&stop).await?;
            }
            match (json, stopped.stopped) {
                (true, _) => print_json(&stopped),
                (false, true) => exit::OK,
                (false, false) => {
                    say(&format!("bssh: no gate \"{name}\" is running"));
                    exit::GENERAL
                }
            }
        }
        GateVerb::Connections { name } => {
            let list = core.call::<GateConnections>(&GateRef { name: name.clone() }).await?;
            let row = |c: &ConnectionEntry| {
                let bytes = format!("{} up, {} down", c.bytes_in, c.bytes_out);
                vec![c.conn.to_string(), c.peer.clone(), c.target.clone(), bytes]
            };
            match json {
                true => print_json(&list),
                false => print(&table(&list.connections.iter().map(row).collect::<Vec<_>>())),
            }
        }
        GateVerb::Kick { name, conn } => {
            core.call::<GateKickConn>(&GateKick { name: name.clone(), conn: *conn }).await?;
            exit::OK
        }
        _ => {
            let list = core.call::<GateStatus>(&GateListParams { all: true }).await?;
            if json {
                return Ok(print_json(&list));
            }
            let text = list.gates.iter().map(|gate| {
                let counts = (gate.connections, gate.opened, gate.failed, gate.denied);
                let (open, opened, failed, denied) = counts;
                format!(
                    "{}: {open} open of {opened}, {failed} failed, {denied} denied\n{}",
                    gate.name,
                    listeners(&gate.listeners)
                )
            });
            print(&text.collect::<String>())
        }
    })
}

fn shown(plan: &GatePlan, json: bool) -> u8 {
    if json {
        return print_json(plan);
    }
    warn(&plan.warnings);
    print(&format!("{}\n{}", plan.plan_id, listeners(&plan.listeners)))
}

fn listeners(all: &[GateListener]) -> String {
    let row = |l: &GateListener| {
        let via = l.via.as_ref().map(|via| format!("via {via}")).unwrap_or_default();
        vec![l.alias.clone(), l.listen.clone(), l.upstream.clone(), via]
    };
    table(&all.iter().map(row).collect::<Vec<_>>())
}

fn end(event: &GateEvent) -> Option<End> {
    let is_last = event.state == "stopped";
    is_last.then(|| End { of: event.gate, failed: event.error.is_some() })
}

fn line(event: &GateEvent) -> Option<String> {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    let words = [
        format!("gate {}: {}", event.name, event.state),
        part(&event.alias),
        part(&event.peer),
        part(&event.upstream),
        part(&event.reason),
        part(&event.error),
    ];
    Some(words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" "))
}

/// Stdin and stdout through the gate's socket.
async fn pipe(plan: &GatePlan, host: &str, port: u16) -> u8 {
    let path = plan.listeners.first().map(|l| l.listen.clone()).unwrap_or_default();
    if !path.starts_with('/') {
        say(&format!("bssh: gate '{}' is not in proxy mode", plan.name));
        return exit::USAGE;
    }
    let (host, name) = (host.to_owned(), plan.name.clone());
    // Blocking reads belong on a thread; the core has nothing to do meanwhile.
    let carried = tokio::task::spawn_blocking(move || carry(&path, &host, port)).await;
    match carried {
        Ok(Ok(())) => exit::OK,
        Ok(Err(error)) => {
            say(&format!("bssh: gate '{name}': {error}"));
            exit::GENERAL
        }
        Err(_) => exit::GENERAL,
    }
}

fn carry(path: &str, host: &str, port: u16) -> io::Result<()> {
    let mut socket = UnixStream::connect(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{path}: {e}; is it running?")))?;
    writeln!(socket, "{host} {port}")?;
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut answer = String::new();
    (&mut reader).take(64).read_line(&mut answer)?;
    if answer != "ok\n" {
        let kind = io::ErrorKind::PermissionDenied;
        return Err(io::Error::new(kind, format!("{host}:{port} is not listed")));
    }
    let mut up = socket.try_clone()?;
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut up);
        // The gate may have hung up first.
        let _ = up.shutdown(Shutdown::Write);
    });
    let mut block = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut block)? {
            0 => return Ok(()),
            n => bssh_term::try_put(block.get(..n).unwrap_or_default())?,
        }
    }
}
