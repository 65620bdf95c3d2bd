//! Which core a command line wants: `--persist`, then `BSSH_PERSIST`, then what the configuration
//! says (`core.persist`, and ssh_config's `ControlPersist` in the ssh grammar).
//!
//! Only a core can read the configuration. Where nobody else has decided and no shared core runs,
//! the child is asked; if it is to be a shared one, the child goes and that one is started.

use crate::args::duration;
use bssh_client::{Core, Error, Persist, Start};
use bssh_protocol::exec::Settings;
use bssh_protocol::methods::ConfigPersist;
use bssh_protocol::node::PersistParams;
use std::time::Duration;

/// Reads a time, `yes` (for ever) or `no` (a core of its own).
///
/// # Errors
/// What was expected.
pub(crate) fn parse(text: &str) -> Result<Persist, String> {
    match text {
        "no" | "off" | "false" | "0" => Ok(Persist::Never),
        "yes" | "true" => Ok(Persist::For(None)),
        time => duration(time).map(|time| Persist::For(Some(time))),
    }
}

/// The core to use. `start` makes the way to start one; it may be needed twice.
///
/// # Errors
/// Why there is none.
pub(crate) async fn core(
    start: impl Fn() -> Start,
    wanted: Option<Persist>,
    settings: impl FnOnce() -> Settings,
) -> Result<Core, Error> {
    let mut core = Core::obtain(start(), wanted.unwrap_or_default()).await?;
    // Who did not name its ControlPath has a connection of its own, as with ssh.
    if wanted.is_none() && core.is_control() {
        core = Core::obtain(start(), Persist::Never).await?;
    }
    if wanted.is_some() || core.is_shared() || start().program.is_some() {
        return Ok(core);
    }
    let settings = settings();
    // What is read from a pipe is there once: for the command, and no shared core could read it.
    let is_lasting = |path: &str| std::fs::metadata(path).map_or(true, |m| m.is_file());
    if !settings.config.as_deref().is_none_or(is_lasting) {
        return Ok(core);
    }
    let asked = core.call::<ConfigPersist>(&PersistParams { settings }).await;
    // What is wrong with the configuration is said by the command itself.
    match asked.ok().and_then(|answer| answer.persist_ms) {
        None => Ok(core),
        Some(ms) => {
            drop(core);
            let stay = Some(Duration::from_millis(ms));
            Core::obtain(start(), Persist::For(stay)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_for_ever_or_not_at_all() {
        assert_eq!(parse("10m"), Ok(Persist::For(Some(Duration::from_secs(600)))));
        assert_eq!(parse("yes"), Ok(Persist::For(None)));
        assert_eq!(parse("off"), Ok(Persist::Never));
        assert!(parse("soon").is_err());
    }
}
