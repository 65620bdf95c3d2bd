//! ssh's shared connections: `ControlMaster`, `ControlPath`, `ControlPersist`, and `-O`.
//!
//! The user's shared core is the master of every host. A `ControlPath` keeps connections apart by
//! its text, as different sockets would; the socket that the core makes there only shows that it is
//! there, and OpenSSH's own `ssh -S` is turned away. The messages and exit codes of `-O` are ssh's.

use super::args::SshArgs;
use super::effective::{Effective, values};
use super::notation::target_of_open_port;
use super::{OURS, complain, say};
use bssh_client::{Core, Persist};
use bssh_protocol::connection::{ConnectionClose, ConnectionParams, Ending};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::Targets;
use bssh_protocol::forward::{
    DRAINING, DrainParams, ForwardEntry, ForwardKind, ForwardListParams, ForwardParams,
};
use bssh_protocol::handshake::LinkCloseParams;
use bssh_protocol::methods::{
    ConnectionCheck, ConnectionCloseAll, ForwardDrain, ForwardList, ForwardOpen, LinkClose,
};
use bssh_protocol::node::EffectiveValue;
use std::time::Duration;

/// What `-O` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Check,
    Exit,
    Stop,
    Forward,
    Cancel,
    /// A session over the master's connection, and over no other.
    Proxy,
}

impl Control {
    /// # Errors
    /// One line for people.
    pub(super) fn parse(word: &str) -> Result<Control, String> {
        Ok(match word {
            "check" => Control::Check,
            "exit" => Control::Exit,
            "stop" => Control::Stop,
            "forward" => Control::Forward,
            "cancel" => Control::Cancel,
            "proxy" => Control::Proxy,
            other => return Err(format!("invalid multiplex command \"{other}\"")),
        })
    }
}

/// Which core the configuration wants for a host (`IfThere`: the control master, if one runs);
/// none: it does not say.
pub(super) fn wanted(told: &[EffectiveValue]) -> Option<Persist> {
    let get = |key: &'static str| values(told, key).next().map(|v| v.value.as_str());
    let path = get("controlpath").filter(|path| !path.is_empty())?;
    if path == "none" {
        return Some(Persist::Never);
    }
    let master = matches!(get("controlmaster"), Some("true" | "yes" | "auto" | "ask" | "autoask"));
    if !master {
        return Some(Persist::IfThere);
    }
    Some(match get("controlpersist") {
        Some("yes") => Persist::For(None),
        Some(seconds) => Persist::For(Some(seconds.parse().map_or(LEAST, Duration::from_secs))),
        None => Persist::For(Some(LEAST)),
    })
}

/// The session's master stays after it, and its forwards with it (`ControlPersist`).
pub(super) fn stays(core: &Core, values: &[EffectiveValue]) -> bool {
    let stays = match wanted(values) {
        Some(Persist::For(stay)) => stay != Some(LEAST),
        _ => false,
    };
    stays && core.is_shared()
}

/// Leaves this session's forwards to a master that stays.
///
/// # Errors
/// The core does not let go of us.
pub(super) async fn leave_forwards(core: &Core) -> Result<(), CallError> {
    let forwards = core.call::<ForwardList>(&ForwardListParams::default()).await?.forwards;
    let keep = forwards.iter().map(|f| f.forward).collect();
    core.call::<LinkClose>(&LinkCloseParams { keep }).await.map(drop)
}

/// Without `ControlPersist` the master goes with its last session; it needs a moment to get one.
const LEAST: Duration = Duration::from_secs(2);

/// Does what `-O` asks for; gives the exit code, or none if a session over the master's
/// connection is what it asks for.
pub(super) async fn control(
    core: &Core,
    (args, asked): (&SshArgs, Control),
    effective: &Effective,
    targets: Targets,
) -> Option<u8> {
    let params = ConnectionParams { targets };
    let found = match core.is_shared() {
        true => core.call::<ConnectionCheck>(&params).await,
        false => Ok(Default::default()),
    };
    match found {
        Err(error) => return Some(failed(&error)),
        Ok(found) if found.open + found.idle == 0 => {
            say(&format!("bssh: no shared connection to {}\r\n", args.destination));
            return Some(OURS);
        }
        Ok(_) => {}
    }
    let done = match asked {
        Control::Proxy => return None,
        Control::Check => {
            say(&format!("Master running (pid={})\r\n", core.hello().core.pid));
            Ok(())
        }
        Control::Exit => close(core, params, Ending::Now, "Exit request sent.\r\n").await,
        Control::Stop => {
            close(core, params, Ending::WithLast, "Stop listening request sent.\r\n").await
        }
        Control::Forward => forward(core, effective, params.targets).await,
        Control::Cancel => cancel(core, effective, params.targets).await,
    };
    Some(done.map_or_else(|error| failed(&error), |()| 0))
}

fn failed(error: &CallError) -> u8 {
    complain(&format!("bssh: {}\r\n", error.advised()));
    OURS
}

async fn close(
    core: &Core,
    params: ConnectionParams,
    ending: Ending,
    told: &str,
) -> Result<(), CallError> {
    let params = ConnectionClose { targets: params.targets, ending };
    core.call::<ConnectionCloseAll>(&params).await?;
    say(told);
    Ok(())
}

/// Opens the forwards of the command line; they stay with the connection.
async fn forward(core: &Core, effective: &Effective, targets: Targets) -> Result<(), CallError> {
    let (mut keep, mut done) = (Vec::new(), Ok(()));
    for (kind, spec) in &effective.forwards {
        let (targets, spec) = (targets.clone(), spec.clone());
        let params = ForwardParams { targets, kind: *kind, spec, ..ForwardParams::default() };
        let opened = match core.call::<ForwardOpen>(&params).await {
            Ok(opened) => opened,
            // As with ssh, those before it stay and those behind it are not tried.
            Err(error) => {
                done = Err(error);
                break;
            }
        };
        let chosen = target_of_open_port(&params.spec).and(opened.port());
        if let Some(port) = chosen.filter(|_| *kind == ForwardKind::Remote) {
            // A script wants to know it.
            crate::print(&format!("{port}\n"));
        }
        keep.push(opened.forward);
    }
    core.call::<LinkClose>(&LinkCloseParams { keep }).await?;
    done
}

/// Ends the listening of the forwards the command line names; what is open goes on.
async fn cancel(core: &Core, effective: &Effective, targets: Targets) -> Result<(), CallError> {
    let params = ForwardListParams { all: true, targets: Some(targets) };
    let mut all = core.call::<ForwardList>(&params).await?.forwards;
    all.retain(|f| f.state != DRAINING);
    let mut missing = Vec::new();
    for (kind, spec) in &effective.forwards {
        let named = |f: &&ForwardEntry| f.kind == *kind && f.spec == *spec;
        if !all.iter().any(|f| named(&f)) {
            missing.push(spec.as_str());
        }
        for forward in all.iter().filter(named) {
            core.call::<ForwardDrain>(&DrainParams { forward: forward.forward, wait: false })
                .await?;
        }
    }
    match missing.as_slice() {
        [] => Ok(()),
        specs => {
            let text = format!("no such forward on the connection: {}", specs.join(", "));
            Err(CallError::new(Kind::HandleUnknown, text))
        }
    }
}
