//! `:upload` and `:download`: files of the active nodes, with their progress.
//!
//! A path on the nodes that is not absolute begins where the shells are, so they must be in one
//! place; `~/x` begins at home.

use crate::session::Repl;
use bssh_client::{Transfer, TransferEvent};
use bssh_protocol::transfer::{
    NodeProgress, PathBytes, TransferDirection, TransferDone, TransferParams, TransferState,
    Transferred,
};
use bssh_term::{bytes_text, plain, transfer_failure, transfer_report, transfer_summary};
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// Causes shown of one node; the rest is counted.
const MOST_FAULTS: usize = 20;

/// What was typed behind `:upload` or `:download`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub up: bool,
    pub recursive: bool,
    pub preserve: bool,
    pub resume: bool,
    pub verify: bool,
    pub delete: bool,
    pub dry_run: bool,
    pub from: Vec<String>,
    pub to: String,
}

pub(crate) const FLAGS: &[&str] =
    &["-r", "--preserve", "--resume", "--verify", "--delete", "--dry-run"];

/// Reads the words of a transfer.
///
/// # Errors
/// What is wrong with them, for people.
pub(crate) fn read(words: Vec<String>, up: bool) -> Result<Files, String> {
    let mut files = Files { up, ..Files::default() };
    let mut only_paths = false;
    for word in words {
        match word.as_str() {
            _ if only_paths => files.from.push(word),
            "--" => only_paths = true,
            "-r" | "--recursive" => files.recursive = true,
            "--preserve" => files.preserve = true,
            "--resume" => files.resume = true,
            "--verify" => files.verify = true,
            "--delete" => files.delete = true,
            "--dry-run" => files.dry_run = true,
            _ if word.starts_with('-') => {
                return Err(format!("{word}: there are {}", FLAGS.join(", ")));
            }
            _ => files.from.push(word),
        }
    }
    match (files.from.len(), files.from.pop()) {
        (2.., Some(to)) if !files.delete || files.recursive => {
            files.to = to;
            Ok(files)
        }
        (2.., _) => Err("--delete needs -r".to_owned()),
        _ if up => Err("needs paths: :upload [-r] HERE… THERE".to_owned()),
        _ => Err("needs paths: :download [-r] THERE… HERE".to_owned()),
    }
}

/// How a transfer ended.
enum Over {
    Done(TransferDone),
    Lost(String),
}

impl Repl<'_> {
    /// Carries files to or from the active nodes. Ctrl-C gives it up; finished files stay.
    pub(crate) async fn transfer(&mut self, files: Files) {
        let params = match self.active().and_then(|nodes| self.transfer_params(&files, &nodes)) {
            Ok(params) => params,
            Err(why) => return self.wrong(&why),
        };
        let transfer = match self.core.transfer(&params).await {
            Ok(transfer) => transfer,
            Err(error) => return self.refused(&error),
        };
        for warning in &transfer.started.warnings {
            crate::say(&format!("bssh: warning: {warning}"));
        }
        let names = transfer.started.nodes.clone();
        let mut ends: Vec<Option<Transferred>> = vec![None; names.len()];
        match self.follow(transfer, &mut ends).await {
            Over::Lost(how) => self.wrong(&how),
            Over::Done(done) => {
                for (name, ended) in names.iter().zip(&ends) {
                    self.tell_faults(name, ended.as_ref());
                }
                self.screen.line(&transfer_summary(&done));
                self.status = u8::from(done.summary.ok < done.summary.nodes);
            }
        }
    }

    fn transfer_params(&self, files: &Files, nodes: &[usize]) -> Result<TransferParams, String> {
        let nodes: Vec<_> = nodes.iter().filter_map(|n| self.nodes.all.get(*n)).collect();
        let cwd = nodes.first().map(|n| n.cwd.as_str()).unwrap_or_default();
        let same = nodes.iter().all(|n| n.cwd == cwd);
        let there = |path: &String| {
            let free = path == "~" || path.starts_with('/') || path.starts_with("~/");
            let path_there = nodes.first().filter(|_| free || same).and_then(|n| n.path(path));
            path_there.map(|path| PathBytes(path.into_bytes())).ok_or_else(|| {
                format!(
                    "{path}: the active nodes are in different directories; begin it with / or ~/"
                )
            })
        };
        let here = |path: &String| Ok(PathBytes(path.clone().into_bytes()));
        let (from, to) = match files.up {
            true => (files.from.iter().map(here).collect(), there(&files.to)),
            false => (files.from.iter().map(there).collect::<Result<_, String>>(), here(&files.to)),
        };
        let names: Vec<&str> = nodes.iter().map(|n| n.name.as_str()).collect();
        Ok(TransferParams {
            targets: self.only(&names.join(",")),
            direction: match files.up {
                true => TransferDirection::Upload,
                false => TransferDirection::Download,
            },
            from: from?,
            to: to?,
            recursive: files.recursive,
            preserve: files.preserve,
            resume: files.resume,
            verify: files.verify,
            delete: files.delete,
            dry_run: files.dry_run,
            ..TransferParams::default()
        })
    }

    async fn follow(&mut self, mut transfer: Transfer, ends: &mut [Option<Transferred>]) -> Over {
        let mut progress = vec![NodeProgress::default(); ends.len()];
        let mut ticks = interval_at(Instant::now() + PROGRESS_EVERY, PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shows = std::io::stderr().is_terminal();
        let sessions = self.sessions.clone();
        let over = loop {
            let event = tokio::select! {
                event = transfer.next() => event,
                event = sessions.next() => {
                    self.idle(event, None);
                    continue;
                }
                signal = self.signals.next() => {
                    self.heard(signal);
                    // One that is over by now needs none.
                    let _ = transfer.cancel().await;
                    continue;
                }
                _ = ticks.tick(), if shows => {
                    draw(&line(&progress, ends));
                    continue;
                }
            };
            match event {
                Some(TransferEvent::Progress(nodes)) => {
                    for node in nodes {
                        if let Some(place) = progress.get_mut(node.index as usize) {
                            *place = node;
                        }
                    }
                }
                Some(TransferEvent::Node(event)) => {
                    if let (TransferState::Ended(ended), Some(place)) =
                        (event.state, ends.get_mut(event.index as usize))
                    {
                        *place = Some(ended);
                    }
                }
                Some(TransferEvent::File(file)) => {
                    let name = transfer.started.nodes.get(file.index as usize);
                    let name = name.map_or("?", String::as_str);
                    let head = format!("{name}: {} ", file.action);
                    self.screen.plain(&[head.as_bytes(), &file.path.0].concat());
                }
                Some(TransferEvent::Done(done)) => break Over::Done(done),
                Some(TransferEvent::Lost(how)) => break Over::Lost(how),
                None => break Over::Lost("the transfer ended early".to_owned()),
            }
            if self.over.is_some() {
                break Over::Lost("ended".to_owned());
            }
        };
        if shows {
            draw("");
        }
        over
    }

    fn tell_faults(&mut self, name: &str, ended: Option<&Transferred>) {
        let Some(ended) = ended.filter(|ended| ended.failure.is_some()) else { return };
        for line in transfer_report(name, ended, MOST_FAULTS) {
            self.screen.error(&plain(&line));
        }
        if let Some(failure) = transfer_failure(ended) {
            let hint = failure.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
            self.screen.error(&format!("{name}: {}{hint}", failure.message));
        }
    }
}

/// One line about all nodes together.
fn line(progress: &[NodeProgress], ends: &[Option<Transferred>]) -> String {
    let sum = |f: fn(&NodeProgress) -> u64| progress.iter().map(f).sum::<u64>();
    let done = ends.iter().filter(|e| e.is_some()).count();
    let (bytes, all) = (bytes_text(sum(|p| p.bytes)), bytes_text(sum(|p| p.total_bytes)));
    format!("{done}/{} nodes  {bytes} of {all}", ends.len())
}

/// The line under everything else; nothing removes it.
fn draw(text: &str) {
    // Progress that cannot be shown is no loss.
    let _ = std::io::stderr().write_all(format!("\r{text}\x1b[K").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn paths_and_flags() {
        let got = read(words("-r --delete a b /c"), true).unwrap();
        assert!(got.recursive && got.delete && got.up);
        assert_eq!((got.from.join(" "), got.to.as_str()), ("a b".to_owned(), "/c"));
        assert_eq!(read(words("-- -r x"), false).unwrap().from, ["-r"]);
        for line in ["", "a", "--delete a b", "-z a b"] {
            assert!(read(words(line), false).is_err(), "{line}");
        }
    }
}
