//! The forwards of a session: opened before it, and what becomes of them after it. What escapes do
//! with them is in `acts` and `command_line`.

use super::effective::{Effective, LogLevel};
use super::notation::target_of_open_port;
use super::{complain, say};
use bssh_client::Core;
use bssh_protocol::exec::Targets;
use bssh_protocol::forward::{ForwardKind, ForwardParams};
use bssh_protocol::methods::ForwardOpen;

/// What becomes of forwards when the session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwards {
    None,
    /// Connections through them are seen through to their end, as ssh does.
    Ours,
    /// They are left to a master that stays.
    Stay,
}

impl Forwards {
    pub(super) fn of(master_stays: bool, effective: &Effective) -> Self {
        match master_stays {
            true => Forwards::Stay,
            false if effective.forwards.is_empty() => Forwards::None,
            false => Forwards::Ours,
        }
    }
}

/// A forward that cannot listen is a warning, unless `ExitOnForwardFailure`.
///
/// # Errors
/// What is in the way, for people.
pub(super) async fn open(core: &Core, effective: &Effective, to: &Targets) -> Result<(), String> {
    for (kind, spec) in &effective.forwards {
        let params = ForwardParams {
            targets: to.clone(),
            kind: *kind,
            spec: spec.clone(),
            ..ForwardParams::default()
        };
        match core.call::<ForwardOpen>(&params).await {
            Ok(opened) => {
                let chosen = target_of_open_port(spec).zip(opened.port());
                let told = *kind == ForwardKind::Remote && effective.log_level >= LogLevel::Info;
                if let Some((target, port)) = chosen.filter(|_| told) {
                    say(&format!("Allocated port {port} for remote forward to {target}\r\n"));
                }
            }
            Err(error)
                if error.kind().starts_with("forward.") && !effective.exit_on_forward_failure =>
            {
                if effective.log_level >= LogLevel::Error {
                    complain(&format!("bssh: {}\n", error.advised()));
                }
            }
            Err(error) => return Err(error.advised()),
        }
    }
    Ok(())
}
