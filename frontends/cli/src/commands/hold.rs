//! What lives as long as this command: shows its events until a signal, its own or the core's end.

use super::watch::listening;
use crate::{exit, print, say};
use bssh_client::Core;
use bssh_protocol::link::Notification;
use bssh_protocol::methods::Event;
use bssh_term::{Signal, Signals, bare};
use std::collections::BTreeSet;

/// A command for a core that outlives this process.
pub(super) fn needs_shared_core(what: &str) -> u8 {
    say(&format!(
        "bssh: {what} live in the process that opened them, and no shared core runs\n\
         hint: --detach leaves them to the shared core"
    ));
    exit::USAGE
}

/// Something that is held has ended.
pub(super) struct End {
    pub of: u64,
    /// Nobody has asked for it.
    pub failed: bool,
}

/// Shows events of one kind until a signal ends it, which is the way it is meant to end, or all
/// that is held has ended.
pub(super) async fn hold<E: Event>(
    core: &Core,
    json: bool,
    mut held: BTreeSet<u64>,
    show: impl Fn(&E::Params) -> Option<String>,
    end: impl Fn(&E::Params) -> Option<End>,
) -> u8 {
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let Some(mut events) = core.events() else { return exit::GENERAL };
    let mut status = exit::OK;
    let mut tell = |event: Notification| {
        let Ok(event) = event.event::<E>() else { return false };
        match json {
            true => drop(super::print_json(&event)),
            false => drop(show(&event).map(|line| say(&bare(&line)))),
        }
        let Some(end) = end(&event).filter(|end| held.remove(&end.of)) else { return false };
        if end.failed {
            status = exit::GENERAL;
        }
        held.is_empty()
    };
    loop {
        tokio::select! {
            signal = signals.next() => return match signal {
                Signal::HangUp => signal.status(),
                Signal::Interrupt | Signal::Terminate => exit::OK,
            },
            Some(event) = events.recv() => if E::NAME == &*event.method && tell(event) {
                return status;
            },
            lost = core.lost() => {
                say(&format!("bssh: {lost}"));
                return exit::GENERAL;
            }
        }
    }
}

/// Steps of a check, one a line; whether all of them are good.
pub(super) fn steps(of: &str, steps: &[bssh_protocol::agent::CheckStep]) -> bool {
    let mut text = String::new();
    for step in steps {
        let word = if step.ok { "ok" } else { "failed" };
        text.push_str(&format!("{of}: {}: {word}: {}\n", step.step, bare(&step.detail)));
    }
    print(&text) == exit::OK && steps.iter().all(|step| step.ok)
}
