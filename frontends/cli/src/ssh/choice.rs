//! Which core an ssh session talks to: one of its own, the user's shared one, or the control master
//! that its configuration names.

use super::args::{Mode, SshArgs};
use super::background::Background;
use super::{control, log};
use crate::{Around, persist};
use bssh_client::{Core, Persist, Start};
use bssh_protocol::node::Explained;

/// The core a session talks to first.
///
/// # Errors
/// The log cannot be opened, or there is no core: one line for people.
pub(super) async fn start_core(
    args: &SshArgs,
    around: &Around,
    wanted: Option<Persist>,
) -> Result<Core, String> {
    if let Some(path) = &args.log_file {
        log::to_file(path.as_ref())
            .map_err(|e| format!("cannot open the log {}: {e}", path.to_string_lossy()))?;
    }
    if args.syslog {
        log::to_syslog();
    }
    let core = persist::core(|| starting(args, around), wanted, || args.settings.clone()).await;
    core.map_err(|e| e.to_string())
}

/// The core that ControlMaster and its like ask for, unless our environment names one; `core` is
/// the one that has read them.
///
/// # Errors
/// As [`start_core`].
pub(super) async fn wanted_core(
    core: Core,
    args: &SshArgs,
    around: &Around,
    explained: &Explained,
) -> Result<Core, String> {
    let runs = args.mode == Mode::Run;
    let wanted = match (control::wanted(&explained.values), &around.persist) {
        (Some(wanted @ Persist::For(_)), Ok(None)) if runs && !core.is_shared() => wanted,
        // Who names a ControlPath, or asks about it, looks for the master.
        (Some(Persist::IfThere | Persist::For(_)), Ok(None)) if !core.is_shared() => {
            let running = Core::running(starting(args, around)).await;
            return Ok(running.ok().flatten().unwrap_or(core));
        }
        (Some(Persist::Never), _) if runs && core.is_shared() => Persist::Never,
        _ => return Ok(core),
    };
    drop(core);
    start_core(args, around, Some(wanted)).await
}

fn starting(args: &SshArgs, around: &Around) -> Start {
    Start {
        log_level: Some(args.log_level().unwrap_or_else(|| "info".to_owned())),
        remarks: log::remarks(),
        lend_stdio: around.environment.background != Background::Hold,
        apart: around.environment.background == Background::Hold,
        // Else it was asked for by name.
        control: around.persist == Ok(None),
        ..around.starting("ssh")
    }
}
