//! `bssh sync`: start one, show how it gets on and how it ended; or ask what it remembers.
//!
//! Ctrl-C ends a sync: what is half there goes, and files that are being put in place are waited
//! for. A second one says so and waits as well.

use super::follow::{Follow, Next};
use super::watch::listening;
use super::{Ui, failed, failed_whole, print_json, table, warn};
use crate::args::{Args, ExitRule, Json};
use crate::output::{Bars, SyncLines};
use crate::sync::{SyncRequest, SyncVerb, request};
use crate::{exit, print, say};
use bssh_client::{Core, Sync, SyncEvent};
use bssh_protocol::exec::{Ended, Phase, Summary};
use bssh_protocol::methods::{SyncConflicts, SyncResolve, SyncRestore, SyncStatus};
use bssh_protocol::sync::{SyncBackup, SyncBackups, SyncParams, Synced};
use bssh_protocol::transfer::NodeProgress;
use bssh_term::{
    Line, Signals, bytes_text, plain, sync_conflict, sync_failure, sync_report, sync_status,
    sync_summary,
};
use std::time::Duration;

/// How long the core may take to end a sync that is given up: longer than files that are being
/// put in place are waited for.
const CANCEL_GRACE: Duration = Duration::from_secs(14);

/// Does what was asked, and returns the exit status.
pub(crate) async fn sync(core: &Core, args: &Args, verb: &SyncVerb, ui: &Ui) -> u8 {
    let request = match request(args, verb) {
        Ok(request) => request,
        Err(why) => {
            say(&format!("bssh: {why}"));
            return exit::USAGE;
        }
    };
    let json = args.output.json;
    let shown = match request {
        SyncRequest::Start(params) => return start(core, &params, args, ui).await,
        SyncRequest::Status(what) => core.call::<SyncStatus>(&what).await.map(|status| {
            shown(json, &status, || lines(status.pairs.iter().flat_map(sync_status)))
        }),
        SyncRequest::Conflicts(what) => core
            .call::<SyncConflicts>(&what)
            .await
            .map(|found| shown(json, &found, || lines(found.conflicts.iter().map(sync_conflict)))),
        SyncRequest::Resolve(params) => core.call::<SyncResolve>(&params).await.map(|found| {
            let status = shown(json, &found, String::new);
            if status == exit::OK && json.is_none() && !args.output.quiet {
                say("decided; the next `bssh sync run` carries it out");
            }
            status
        }),
        SyncRequest::Restore(params) => core.call::<SyncRestore>(&params).await.map(|found| {
            shown(json, &found, || match params.path {
                None => backups(&found),
                Some(_) => String::new(),
            })
        }),
    };
    shown.unwrap_or_else(|error| failed(&error))
}

fn shown(json: Option<Json>, object: &impl serde::Serialize, text: impl FnOnce() -> String) -> u8 {
    match json {
        Some(_) => print_json(object),
        None => print(&text()),
    }
}

fn lines(lines: impl Iterator<Item = Line>) -> String {
    lines.map(|line| plain(&line) + "\n").collect()
}

fn backups(found: &SyncBackups) -> String {
    let row = |b: &SyncBackup| vec![b.run.clone(), bytes_text(b.size), plain(&b.path.0)];
    table(&found.backups.iter().map(row).collect::<Vec<_>>())
}

async fn start(core: &Core, params: &SyncParams, args: &Args, ui: &Ui) -> u8 {
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let started = tokio::select! {
        started = core.sync(params) => started,
        signal = signals.next() => return signal.status(),
    };
    let sync = match started {
        Ok(sync) => sync,
        Err(error) => return failed(&error),
    };
    if !args.output.quiet {
        warn(&sync.started.warnings);
    }
    let node = sync.started.node.clone();
    let (done, ended_by) = follow(sync, args, &mut signals, ui).await;
    let result = match done {
        Ok(result) => result,
        Err(how) => {
            say(&format!("bssh: {how}"));
            return ended_by.unwrap_or(exit::GENERAL);
        }
    };
    let quiet = args.output.quiet || args.output.json.is_some();
    if args.output.json.is_none() {
        report(&node, &result);
    }
    if !quiet && ui.style.err_terminal && !params.dry_run {
        say(&sync_summary(&result));
    }
    ended_by.unwrap_or_else(|| status(&result))
}

/// As for a run with one node.
fn status(result: &Synced) -> u8 {
    let mut summary = Summary { nodes: 1, ..Summary::default() };
    let counter = match &result.failure {
        None => &mut summary.ok,
        Some(failure) => match (&failure.phase, failure.code.as_str()) {
            (_, "cancelled") => &mut summary.cancelled,
            (_, "transportLost") => &mut summary.lost,
            (Phase::Transfer, _) => &mut summary.failed,
            (Phase::Auth, _) => &mut summary.denied,
            (Phase::Channel | Phase::Exec, _) => &mut summary.lost,
            _ => &mut summary.unreachable,
        },
    };
    *counter = 1;
    let ended = Ended { failure: result.failure.clone(), ..Ended::default() };
    exit::status(ExitRule::Default, &summary, std::iter::once(Some(&ended)))
}

async fn follow(
    mut sync: Sync,
    args: &Args,
    signals: &mut Signals,
    ui: &Ui,
) -> (Result<Synced, String>, Option<u8>) {
    let mut bars = Bars::new(vec![sync.started.node.clone()], ui.style);
    let mut lines = SyncLines::new(args.output.json, ui.style.out_terminal);
    let quiet = args.output.quiet;
    let shows = ui.style.err_terminal && !quiet && args.output.json != Some(Json::Events);
    let mut course = Follow::new(signals, CANCEL_GRACE);
    lines.start(&sync.started);
    let done = loop {
        let event = match course.next(sync.next()).await {
            Next::Event(Some(event)) => event,
            Next::Event(None) => break Err("the sync ended early".to_owned()),
            Next::Signal(signal) => {
                bars.hide();
                if !course.end(signal.status(), sync.cancel()).await {
                    say("bssh: ending; files that are being put in place are waited for");
                }
                continue;
            }
            Next::Tick => {
                bars.draw_unless(ui.prompter.is_open());
                continue;
            }
            Next::Late => break Err("the core did not end the sync".to_owned()),
        };
        lines.event(&event);
        match event {
            SyncEvent::Progress(p) => {
                course.shows |= shows && p.total_files > 0;
                let (files, bytes) = (p.files, p.bytes);
                let (total_files, total_bytes) = (p.total_files, p.total_bytes);
                bars.note(&[NodeProgress { index: 0, files, bytes, total_files, total_bytes }]);
            }
            SyncEvent::State(change) => {
                course.shows &= change.state != "watching";
                if let (Some(text), false) = (change.message, quiet) {
                    bars.hide();
                    say(&format!("bssh: {}: {text}", sync.started.node));
                }
            }
            SyncEvent::Round(result) => {
                bars.hide();
                if args.output.json.is_none() {
                    report(&sync.started.node, &result);
                    if !quiet {
                        say(&sync_summary(&result));
                    }
                }
            }
            SyncEvent::Step(_) | SyncEvent::Conflict(_) => {}
            SyncEvent::Done(result) => break Ok(result),
            SyncEvent::Lost(how) => break Err(how),
        }
        if lines.is_full() && lines.flush() != exit::OK {
            course.end(exit::OUTPUT_CLOSED, sync.cancel()).await;
        }
    };
    bars.hide();
    if let Ok(result) = &done {
        lines.last(result);
    }
    let flushed = lines.flush();
    if flushed != exit::OK {
        course.ended_by.get_or_insert(flushed);
    }
    (done, course.ended_by)
}

/// What went wrong, file by file and as a whole.
fn report(node: &str, result: &Synced) {
    sync_report(node, result).iter().for_each(|line| say(&format!("bssh: {}", plain(line))));
    if let Some(failure) = sync_failure(result) {
        failed_whole(node, failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_protocol::exec::Failure;

    #[test]
    fn ends_become_statuses() {
        let with = |phase, code: &str| Synced {
            failure: Some(Failure { phase, code: code.to_owned(), ..Failure::default() }),
            ..Synced::default()
        };
        for (result, want) in [
            (Synced::default(), 0),
            (with(Phase::Transfer, "conflicts"), 5),
            (with(Phase::Transfer, "syncHalted"), 5),
            (with(Phase::Dial, "refused"), 3),
            (with(Phase::Auth, "authFailed"), 4),
            (with(Phase::Transfer, "transportLost"), 10),
        ] {
            assert_eq!(status(&result), want, "{:?}", result.failure);
        }
    }
}
