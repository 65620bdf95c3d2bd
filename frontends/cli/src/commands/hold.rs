//! What lives as long as this command: shows its events until a signal or the core's end.

use super::watch::listening;
use crate::{exit, print, say};
use bssh_client::Core;
use bssh_protocol::link::Notification;
use bssh_protocol::methods::Event;
use bssh_term::{Signal, Signals, bare};

/// A command for a core that outlives this process.
pub(super) fn needs_shared_core(what: &str) -> u8 {
    say(&format!(
        "bssh: {what} live in the process that opened them, and no shared core runs\n\
         hint: --detach leaves them to the shared core"
    ));
    exit::USAGE
}

/// Shows events of one kind until a signal ends it, which is the way it is meant to end.
pub(super) async fn hold<E: Event>(
    core: &Core,
    json: bool,
    show: impl Fn(&E::Params) -> Option<String>,
) -> u8 {
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let Some(mut events) = core.events() else { return exit::GENERAL };
    let tell = |event: Notification| {
        let Ok(event) = event.event::<E>() else { return };
        match json {
            true => drop(super::print_json(&event)),
            false => drop(show(&event).map(|line| say(&line))),
        }
    };
    loop {
        tokio::select! {
            signal = signals.next() => return match signal {
                Signal::HangUp => signal.status(),
                Signal::Interrupt | Signal::Terminate => exit::OK,
            },
            Some(event) = events.recv() => if E::NAME == &*event.method { tell(event) },
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
