//! `bssh upload` and `bssh download`: start a transfer, show how it gets on and how it ended.
//!
//! Ctrl-C gives the transfer up; finished files stay. Once more gives up waiting for its end.

use super::follow::{Follow, Next};
use super::watch::listening;
use super::{Ui, failed, failed_whole, warn};
use crate::args::{ExitRule, Json};
use crate::files::FileRequest;
use crate::output::{Bars, TransferLines, describe};
use crate::{exit, print_bytes, say};
use bssh_client::{Core, Transfer, TransferEvent};
use bssh_protocol::exec::Ended;
use bssh_protocol::transfer::{TransferDone, TransferState, Transferred};
use bssh_term::{Signals, plain, transfer_failure, transfer_report, transfer_summary};
use std::time::Duration;

/// How long the core may take to end a transfer that is given up.
const CANCEL_GRACE: Duration = Duration::from_secs(8);

/// How it ended for us.
struct Over {
    done: Result<TransferDone, String>,
    /// A signal's or a closed stdout's status.
    ended_by: Option<u8>,
}

/// Carries files, and returns the exit status.
pub(crate) async fn transfer(core: &Core, request: Result<FileRequest, String>, ui: &Ui) -> u8 {
    let request = match request {
        Ok(request) => request,
        Err(why) => {
            say(&format!("bssh: {why}"));
            return exit::USAGE;
        }
    };
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let started = tokio::select! {
        started = core.transfer(&request.params) => started,
        signal = signals.next() => return signal.status(),
    };
    let transfer = match started {
        Ok(transfer) => transfer,
        Err(error) => return failed(&error),
    };
    if !request.quiet {
        warn(&transfer.started.warnings);
    }
    if request.detach {
        return super::job::keep(core, vec![transfer.leave()]).await;
    }
    let names = transfer.started.nodes.clone();
    let mut ends: Vec<Option<Transferred>> = vec![None; names.len()];
    let over = follow(transfer, &request, &mut signals, (&mut ends, ui)).await;
    let shown = conclude(&over, &request, (&names, &ends), ui);
    let as_run: Vec<Option<Ended>> = ends
        .iter()
        .map(|e| e.as_ref().map(|e| Ended { failure: e.failure.clone(), ..Ended::default() }))
        .collect();
    if let Some(last) = &ui.last {
        let ends = names.iter().map(String::as_str).zip(as_run.iter().map(Option::as_ref));
        // Only @failed and its like suffer.
        let _ = last.save(ends);
    }
    match (shown, over.ended_by, over.done) {
        (Err(status), ..) | (_, Some(status), _) => status,
        (_, _, Err(_)) => exit::GENERAL,
        (_, _, Ok(done)) => {
            exit::status(ExitRule::Default, &done.summary, as_run.iter().map(Option::as_ref))
        }
    }
}

async fn follow(
    mut transfer: Transfer,
    request: &FileRequest,
    signals: &mut Signals,
    (ends, ui): (&mut [Option<Transferred>], &Ui),
) -> Over {
    let mut bars = Bars::new(transfer.started.nodes.clone(), ui.style);
    let mut lines = TransferLines::new(request.json);
    let mut course = Follow::new(signals, CANCEL_GRACE);
    course.shows = ui.style.err_terminal && !request.quiet && request.json != Some(Json::Events);
    let mut done = Err("the transfer ended early".to_owned());
    lines.start(&transfer.started);
    loop {
        let event = match course.next(transfer.next()).await {
            Next::Event(event) => event,
            Next::Signal(signal) => {
                if !course.end(signal.status(), transfer.cancel()).await {
                    done = Err("no longer waiting for the transfer to end".to_owned());
                    break;
                }
                continue;
            }
            Next::Tick => {
                bars.draw_unless(ui.prompter.is_open());
                continue;
            }
            Next::Late => {
                done = Err("the core did not end the transfer".to_owned());
                break;
            }
        };
        match event {
            Some(TransferEvent::Progress(nodes)) => {
                lines.progress(transfer.started.transfer, &nodes);
                bars.note(&nodes);
            }
            Some(TransferEvent::Node(event)) => {
                lines.node(&event);
                if let (TransferState::Connected(how), true) = (&event.state, request.verbose) {
                    bars.hide();
                    say(&format!("bssh: {}: connected, {}", event.node, describe(how)));
                }
                bars.state(event.index as usize, &event.state);
                if let (TransferState::Ended(ended), Some(place)) =
                    (event.state, ends.get_mut(event.index as usize))
                {
                    *place = Some(ended);
                }
            }
            Some(TransferEvent::File(file)) => {
                let names = &transfer.started.nodes;
                let name = names.get(file.index as usize).map_or("?", String::as_str);
                lines.file(&file, (names.len() > 1).then_some(name), ui.style.out_terminal);
            }
            Some(TransferEvent::Done(all)) => {
                done = Ok(all);
                break;
            }
            Some(TransferEvent::Lost(how)) => {
                done = Err(how);
                break;
            }
            None => break,
        }
        if lines.is_full() && lines.flush() != exit::OK {
            course.end(exit::OUTPUT_CLOSED, transfer.cancel()).await;
            break;
        }
    }
    bars.hide();
    let flushed = lines.flush();
    if flushed != exit::OK {
        course.ended_by.get_or_insert(flushed);
    }
    Over { done, ended_by: course.ended_by }
}

/// The last words. The error is the status of a stdout that takes nothing.
fn conclude(
    over: &Over,
    request: &FileRequest,
    (names, ends): (&[String], &[Option<Transferred>]),
    ui: &Ui,
) -> Result<(), u8> {
    if let Err(how) = &over.done {
        let n_open = ends.iter().filter(|e| e.is_none()).count();
        say(&format!("bssh: {how}; no result from {n_open} of {} nodes", ends.len()));
    }
    if let Some(json) = request.json {
        let text = match &over.done {
            Ok(done) => TransferLines::last(json, done, names, ends),
            Err(_) => Vec::new(),
        };
        return match print_bytes(&text) {
            exit::OK => Ok(()),
            status => Err(status),
        };
    }
    for (name, ended) in names.iter().zip(ends) {
        let Some(ended) = ended else { continue };
        report(name, ended);
    }
    if let (Ok(done), true) = (&over.done, ui.style.err_terminal && !request.quiet) {
        say(&transfer_summary(done));
    }
    Ok(())
}

/// What went wrong on a node, file by file.
fn report(name: &str, ended: &Transferred) {
    let lines = transfer_report(name, ended, usize::MAX);
    lines.iter().for_each(|line| say(&format!("bssh: {}", plain(line))));
    if let Some(failure) = transfer_failure(ended) {
        failed_whole(name, failure);
    }
}
