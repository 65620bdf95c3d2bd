//! The main job: start a run, show its events, turn the summary into an exit status.

use super::watch::{Watch, listening};
use super::{Ui, failed, warn};
use crate::args::ExitRule;
use crate::request::{Mode, Request, ViewPlan};
use crate::{exit, say};
use bssh_client::{Core, Run};
use bssh_term::Signals;
use std::time::Duration;

/// How long a cancelled run may take to show what it has.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs a command (or a ping) on the nodes.
pub(crate) async fn exec(core: &Core, request: Request, ui: &Ui) -> u8 {
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let started = tokio::select! {
        started = core.exec(request.params) => started,
        signal = signals.next() => return signal.status(),
    };
    let run = match started {
        Ok(run) => run,
        Err(error) => return failed(&error),
    };
    if !request.view.quiet {
        warn(&run.started.warnings);
    }
    follow(core, run, (&request.view, request.rule), (ui, &mut signals)).await
}

/// Shows somebody else's run to its end.
pub(super) async fn watch(core: &Core, run: Run, how: (&ViewPlan, ExitRule), ui: &Ui) -> u8 {
    match listening(Signals::listen()) {
        Ok(mut signals) => follow(core, run, how, (ui, &mut signals)).await,
        Err(status) => status,
    }
}

async fn follow(
    core: &Core,
    run: Run,
    (view, rule): (&ViewPlan, ExitRule),
    (ui, signals): (&Ui, &mut Signals),
) -> u8 {
    let mut watch = match Watch::new(core, run, view, ui) {
        Ok(watch) => watch,
        Err(why) => {
            say(&format!("bssh: {why}"));
            return exit::GENERAL;
        }
    };
    let over = watch.follow(signals).await;
    let json = matches!(view.mode, Mode::Json | Mode::JsonSummary);
    let finished = tokio::select! {
        finished = watch.finish(&over, json) => finished,
        signal = signals.next() => Err(signal.status()),
        // Who wants it to end must not wait for a reader that pauses.
        () = tokio::time::sleep(LAST_WORDS), if over.ended_by.is_some() => Ok(()),
    };
    let kept = ui.last.as_ref().map_or(Ok(()), |last| last.save(watch.ends()));
    // Only @failed and its like suffer, and only when they are used.
    if let (Err(error), true) = (kept, view.verbose) {
        say(&format!("bssh: the nodes of this run are not kept: {error}"));
    }
    match (finished, over.ended_by, over.result) {
        (Err(status), ..) | (_, Some(status), _) => status,
        (_, _, Err(_)) => exit::GENERAL,
        (_, _, Ok(summary)) => {
            let ends = watch.ends().map(|(_, ended)| ended);
            let status = exit::status(rule, &summary, ends);
            // Results that could not be written are no success.
            if watch.is_incomplete() { status.max(exit::GENERAL) } else { status }
        }
    }
}
