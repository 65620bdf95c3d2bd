//! `:sync`: directories here and on the nodes kept the same, as `bssh sync` does it.
//!
//! A name stands for a sync of the configuration, which names its node itself; two directories
//! are kept the same on each active node, one after the other. A directory there that is not
//! absolute begins where the node's shell is, as with `:upload`.

use crate::session::Repl;
use bssh_client::{Sync, SyncEvent};
use bssh_protocol::exec::Targets;
use bssh_protocol::methods::{SyncConflicts, SyncStatus};
use bssh_protocol::sync::{SyncAction, SyncDelete, SyncParams, SyncPolicy, SyncWhat, Synced};
use bssh_protocol::transfer::PathBytes;
use bssh_term::{sync_conflict, sync_failure, sync_report, sync_status, sync_step, sync_summary};

/// What was typed behind `:sync`.
#[derive(Debug, PartialEq)]
pub(crate) struct SyncLine {
    verb: Verb,
    which: Which,
    flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start(SyncAction),
    Status,
    Conflicts,
}

#[derive(Debug, PartialEq, Eq)]
enum Which {
    /// Of the configuration.
    Named(String),
    /// Here, and on the active nodes.
    Directories(String, String),
}

#[derive(Debug, Default, PartialEq)]
struct Flags {
    dry_run: bool,
    force_delete: bool,
    skip: Vec<PathBytes>,
    conflict: Option<SyncPolicy>,
    delete: Option<SyncDelete>,
}

/// What `:sync` begins with.
pub(crate) const VERBS: &[&str] = &["plan", "push", "back", "run", "status", "conflicts"];

const SYNC: &str = ":sync plan|push|back|run|status|conflicts NAME, or HERE THERE for \
                               the active nodes";

/// Reads the words of a sync.
///
/// # Errors
/// What is wrong with them, for people.
pub(crate) fn read(words: Vec<String>) -> Result<SyncLine, String> {
    let mut words = words.into_iter();
    let verb = match words.next().as_deref() {
        Some("plan") => Verb::Start(SyncAction::Plan),
        Some("push") => Verb::Start(SyncAction::Push),
        Some("back") => Verb::Start(SyncAction::Back),
        Some("run") => Verb::Start(SyncAction::Run),
        Some("status") => Verb::Status,
        Some("conflicts") => Verb::Conflicts,
        Some(verb @ ("watch" | "resolve" | "restore")) => {
            return Err(format!("bssh sync {verb} does that beside the REPL; {SYNC}"));
        }
        _ => return Err(SYNC.to_owned()),
    };
    let mut flags = Flags::default();
    let mut paths = Vec::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--dry-run" => flags.dry_run = true,
            "--force-delete" => flags.force_delete = true,
            "--skip" => flags.skip.push(PathBytes(value()?.into_bytes())),
            "--conflict" => flags.conflict = Some(conflict(&value()?)?),
            "--delete" => flags.delete = Some(delete(&value()?)?),
            _ if word.starts_with('-') => {
                let there_are = "--dry-run, --force-delete, --skip, --conflict, --delete";
                return Err(format!("{word}: there are {there_are}"));
            }
            _ => paths.push(word),
        }
    }
    let changes = matches!(verb, Verb::Start(action) if action != SyncAction::Plan);
    if (flags.dry_run || flags.force_delete) && !changes {
        return Err("--dry-run and --force-delete are for push, back and run".to_owned());
    }
    let which = match (paths.pop(), paths.pop(), paths.pop()) {
        (Some(name), None, None) if !name.contains('/') => Which::Named(name),
        (Some(there), Some(here), None) => Which::Directories(here, there),
        _ => return Err(SYNC.to_owned()),
    };
    Ok(SyncLine { verb, which, flags })
}

fn conflict(word: &str) -> Result<SyncPolicy, String> {
    Ok(match word {
        "keep-both" => SyncPolicy::KeepBoth,
        "remote-wins" => SyncPolicy::RemoteWins,
        "local-wins" => SyncPolicy::LocalWins,
        "fail" => SyncPolicy::Fail,
        _ => return Err("--conflict keep-both|remote-wins|local-wins|fail".to_owned()),
    })
}

fn delete(word: &str) -> Result<SyncDelete, String> {
    Ok(match word {
        "push" => SyncDelete::Push,
        "both" => SyncDelete::Both,
        "never" => SyncDelete::Never,
        _ => return Err("--delete push|both|never".to_owned()),
    })
}

impl Repl<'_> {
    /// Does it on one node after the other; Ctrl-C ends the one under way and all that follow.
    pub(crate) async fn sync(&mut self, line: SyncLine) {
        let all = match self.meant(&line) {
            Ok(all) => all,
            Err(why) => return self.wrong(&why),
        };
        let mut worst = 0;
        for what in all {
            let status = match line.verb {
                Verb::Start(action) => {
                    let (dry_run, force_delete) = (line.flags.dry_run, line.flags.force_delete);
                    self.start_sync(SyncParams { what, action, dry_run, force_delete }).await
                }
                Verb::Status => match self.core.call::<SyncStatus>(&what).await {
                    Ok(found) => {
                        found
                            .pairs
                            .iter()
                            .flat_map(sync_status)
                            .for_each(|l| self.screen.plain(&l));
                        Ok(0)
                    }
                    Err(error) => Err(error.advised()),
                },
                Verb::Conflicts => match self.core.call::<SyncConflicts>(&what).await {
                    Ok(found) => {
                        found
                            .conflicts
                            .iter()
                            .map(sync_conflict)
                            .for_each(|l| self.screen.plain(&l));
                        Ok(0)
                    }
                    Err(error) => Err(error.advised()),
                },
            };
            match status {
                Ok(status) => worst = worst.max(status),
                Err(why) => return self.wrong(&why),
            }
        }
        self.status = worst;
    }

    /// Which trees are meant: one sync, or one for each active node.
    fn meant(&self, line: &SyncLine) -> Result<Vec<SyncWhat>, String> {
        let flags = &line.flags;
        let like = SyncWhat {
            skip: flags.skip.clone(),
            conflict: flags.conflict,
            delete: flags.delete,
            ..SyncWhat::default()
        };
        let settings = &self.targets.settings;
        let (here, there) = match &line.which {
            Which::Named(name) => {
                let targets = Targets { settings: settings.clone(), ..Targets::default() };
                return Ok(vec![SyncWhat { targets, id: Some(name.clone()), ..like }]);
            }
            Which::Directories(here, there) => (here, there),
        };
        let nodes = self.active()?;
        let nodes = nodes.iter().filter_map(|n| self.nodes.all.get(*n));
        let path = |node: &crate::nodes::Node| {
            let lost =
                || format!("{}: {there}: the node is not there; begin it with / or ~/", node.name);
            node.path(there).ok_or_else(lost)
        };
        nodes
            .map(|node| {
                Ok(SyncWhat {
                    targets: self.only(&node.name),
                    local: Some(PathBytes(here.clone().into_bytes())),
                    remote: Some(PathBytes(path(node)?.into_bytes())),
                    ..like.clone()
                })
            })
            .collect()
    }

    /// # Errors
    /// Why it could not be begun, or why nothing more is known of it.
    async fn start_sync(&mut self, params: SyncParams) -> Result<u8, String> {
        let sync = self.core.sync(&params).await.map_err(|error| error.advised())?;
        for warning in &sync.started.warnings {
            crate::say(&format!("bssh: warning: {warning}"));
        }
        let node = sync.started.node.clone();
        let result = self.follow_sync(sync).await?;
        for line in sync_report(&node, &result) {
            self.screen.plain(&line);
        }
        if let Some(failure) = sync_failure(&result) {
            let hint = failure.hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
            self.screen.error(&format!("{node}: {}{hint}", failure.message));
            if failure.code == "cancelled" {
                return Err(format!("{node}: the sync was ended"));
            }
        }
        if params.action != SyncAction::Plan && !params.dry_run {
            self.screen.line(&format!("{node}: {}", sync_summary(&result)));
        }
        Ok(u8::from(result.failure.is_some()))
    }

    async fn follow_sync(&mut self, mut sync: Sync) -> Result<Synced, String> {
        let node = sync.started.node.clone();
        let sessions = self.sessions.clone();
        loop {
            let event = tokio::select! {
                event = sync.next() => event,
                event = sessions.next() => {
                    self.idle(event, None);
                    continue;
                }
                signal = self.signals.next() => {
                    self.heard(signal);
                    // One that is over by now needs none.
                    let _ = sync.cancel().await;
                    continue;
                }
            };
            match event {
                Some(SyncEvent::Step(step)) => {
                    if let Some(line) = sync_step(&step) {
                        self.screen.plain(&line);
                    }
                }
                Some(SyncEvent::State(change)) => {
                    if let Some(text) = change.message {
                        self.screen.plain(format!("{node}: {text}").as_bytes());
                    }
                }
                Some(SyncEvent::Done(result)) => return Ok(result),
                Some(SyncEvent::Lost(how)) => return Err(how),
                None => return Err("the sync ended early".to_owned()),
                Some(SyncEvent::Progress(_) | SyncEvent::Conflict(_) | SyncEvent::Round(_)) => {}
            }
            if self.over.is_some() {
                return Err("ended".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_two_directories() {
        let read = |line: &str| read(line.split(' ').map(str::to_owned).collect());
        let got = read("push --dry-run --skip *.o --delete both work").unwrap();
        assert_eq!(got.verb, Verb::Start(SyncAction::Push));
        assert_eq!(got.which, Which::Named("work".to_owned()));
        assert!(got.flags.dry_run && got.flags.delete == Some(SyncDelete::Both));
        let got = read("status ./app /srv/app").unwrap();
        assert_eq!(got.which, Which::Directories("./app".to_owned(), "/srv/app".to_owned()));
        for line in [
            "",
            "push",
            "push ./app",
            "push a b c",
            "plan --dry-run work",
            "run --skip",
            "run --conflict x work",
            "watch work",
            "x work",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
