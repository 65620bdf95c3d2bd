//! Carries out a plan: directories, files, links, deletions, and what only the base has to learn.
//!
//! Files arrive under temporary names; as many as are complete then take their names together,
//! after the journal has been told. A file that fails stays as it was and is listed; the others
//! go on.

use super::backup;
use super::ends::{Count, Ends};
use super::get::{Get, get};
use super::journal::{Conflict, Intent, Place, Record};
use super::listing::Remote;
use super::model::{Base, Entry, Hash, LocalStat, Rel, Seen, Thing, parents};
use super::names;
use super::put::{Put, discard, put};
use super::reconcile::{Action, Clash, Plan};
use super::scan::{self, Local};
use super::store::Store;
use super::total::Way;
use crate::transfer::{Fault, LocalDir, split};
use bssh_protocol::lock;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::timeout;

/// How long names that are being taken are waited for when a run is to end.
const DEFER: Duration = Duration::from_secs(10);
/// Names that are taken together at most.
const BATCH: usize = 256;

/// A file under its temporary name.
pub(crate) struct Ready {
    pub intent: Intent,
    pub entry: Entry,
    /// What has to be at its name here.
    pub before: Option<LocalStat>,
    /// Something is there already.
    pub replaces: bool,
    /// It is the node's side of a conflict about this path, and gets a name of its own.
    pub copy_of: Option<Rel>,
}

/// What has been done and what has not.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub pushed: u64,
    pub pulled: u64,
    pub deleted_there: u64,
    pub deleted_here: u64,
    pub conflicts: Vec<(Rel, Way)>,
    pub faults: Vec<(Rel, Fault)>,
    /// What was left out on purpose, and why.
    pub notes: Vec<(Rel, &'static str)>,
    /// The node has changes that could not be fetched.
    pub unfetched: bool,
}

impl Tally {
    /// Nothing is done with a path, for this reason.
    pub(crate) fn clash(&mut self, path: &Rel, clash: Clash) {
        if let Clash::Blocked(why) | Clash::Unsent(why) = clash {
            // All else has been told by whoever could not read it.
            if !is_note(why) {
                return;
            }
            self.notes.push((path.clone(), why));
        }
        let way = match clash {
            Clash::Blocked(_) => return,
            Clash::Content | Clash::Open => Way::Fetch,
            Clash::Type | Clash::Link | Clash::Unsent(_) => Way::Remove,
        };
        self.conflicts.push((path.clone(), way));
    }
}

/// Everything a plan is carried out with.
pub(crate) struct Work<'a> {
    pub ends: &'a Ends,
    pub store: &'a Arc<Mutex<Store>>,
    pub base: &'a Base,
    pub local: &'a Local,
    pub remote: &'a Remote,
    pub tally: Mutex<Tally>,
    /// Directories that could not be made, and what must not be written over.
    pub lost: Mutex<BTreeSet<Rel>>,
}

impl Work<'_> {
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// A file's fault is written down; a node's ends the run.
    pub(crate) fn noted(&self, path: &Rel, done: Result<(), Fault>) -> Result<(), Fault> {
        match done {
            Err(fault) if !fault.fatal => {
                self.tally().faults.push((path.clone(), fault));
                Ok(())
            }
            done => done,
        }
    }

    /// It cannot be carried, and that has been complained about.
    fn is_lost(&self, path: &Rel) -> bool {
        let lost = lock(&self.lost);
        lost.contains(path) || (!lost.is_empty() && parents(path).any(|dir| lost.contains(dir)))
    }

    /// Nothing at or below this path is carried any more.
    pub(crate) fn lose(&self, path: &Rel) {
        lock(&self.lost).insert(path.clone());
    }

    /// Tells the base.
    pub(crate) async fn record(&self, records: Vec<Record>) -> Result<(), Fault> {
        let store = self.store.clone();
        let write = move || Ok(lock(&store).done(records)?);
        self.ends.disk.run(write).await.map_err(fatal)
    }

    /// The hash at a path on one side, where it is known.
    fn hash_of(&self, path: &Rel, seen: Option<&Seen>) -> Option<Hash> {
        match seen? {
            Seen::File { hash, .. } => *hash,
            Seen::Same => match &self.base.get(path)?.thing {
                Thing::File { hash, .. } => Some(*hash),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Without its store a run cannot go on.
pub(crate) fn fatal(fault: Fault) -> Fault {
    Fault { fatal: true, ..fault.while_doing("cannot keep the sync's state") }
}

/// Does it all.
///
/// # Errors
/// What ended the run early. What was done until then is in the tally and in the base.
pub(crate) async fn apply(work: &Work<'_>, plan: &Plan) -> Result<(), Fault> {
    for (path, action) in plan {
        if let Action::Clash(clash) = action {
            work.tally().clash(path, *clash);
        }
    }
    let mut records = names::agreed(work, plan);
    let pushes = plan.values().any(|a| matches!(a, Action::Push | Action::PushOver));
    if pushes && !lock(work.store).littered {
        records.push(Record::Littered(true));
    }
    work.record(records).await?;
    let steps = async {
        names::make_dirs(work, plan).await?;
        names::save_losers(work, plan).await?;
        Ok::<_, Fault>(())
    };
    tokio::select! {
        done = steps => done?,
        () = work.ends.stop.stopped() => return Err(cancelled()),
    }
    files(work, plan).await?;
    let steps = async {
        names::links(work, plan).await?;
        names::delete(work, plan).await?;
        names::settle_dirs(work, plan).await
    };
    tokio::select! {
        done = steps => done,
        () = work.ends.stop.stopped() => Err(cancelled()),
    }
}

/// Why something is left alone that nobody else complains about.
fn is_note(why: &str) -> bool {
    matches!(why, "special" | "unsafeLink" | "deadLink" | "link" | "followed" | "protected")
}

fn cancelled() -> Fault {
    Fault::fatal("cancelled", "cancelled; what was complete by then is in place")
}

/// Sends and fetches the plan's files.
async fn files(work: &Work<'_>, plan: &Plan) -> Result<(), Fault> {
    let mut waiting = plan.iter().filter_map(|(path, action)| job(work, path, *action));
    let mut carrying = FuturesUnordered::new();
    let mut ready: Vec<Ready> = Vec::new();
    let mut committing: Option<BoxFuture<'_, Result<(), Fault>>> = None;
    let mut stopped = pin!(work.ends.stop.stopped());
    let ended = loop {
        while carrying.len() < work.ends.files_at_once() && ready.len() < BATCH {
            let Some(job) = waiting.next() else { break };
            carrying.push(carry(work, job));
        }
        if committing.is_none() && !ready.is_empty() {
            committing = Some(Box::pin(commit(work, std::mem::take(&mut ready))));
        }
        if carrying.is_empty() && committing.is_none() {
            break Ok(());
        }
        tokio::select! {
            biased;
            () = &mut stopped => break Err(cancelled()),
            done = under_way(&mut committing), if committing.is_some() => {
                committing = None;
                if done.is_err() {
                    break done;
                }
            }
            Some((path, carried)) = carrying.next(), if !carrying.is_empty() => match carried {
                Ok(one) => ready.push(one),
                Err(fault) => {
                    if let Err(fault) = work.noted(&path, Err(fault)) {
                        break Err(fault);
                    }
                }
            },
        }
    };
    // What is only half there goes; names that are being taken are taken.
    drop(carrying);
    let done = match committing {
        // Cut off after that, the journal tells the next run.
        Some(commit) => timeout(DEFER, commit).await.unwrap_or_else(|_| Err(cancelled())),
        None => Ok(()),
    };
    for one in ready {
        give_up(work, &one).await;
    }
    ended.and(done)
}

/// One file to carry.
enum Job {
    Put(Put),
    Get(Get),
}

fn job(work: &Work<'_>, path: &Rel, action: Action) -> Option<Job> {
    if work.is_lost(path) {
        return None;
    }
    let (l, r) = (work.local.side.get(path), work.remote.side.get(path));
    let is_file = |seen: Option<&Seen>| match seen {
        Some(Seen::File { .. }) => true,
        Some(Seen::Same) => {
            work.base.get(path).is_some_and(|e| matches!(e.thing, Thing::File { .. }))
        }
        _ => false,
    };
    match action {
        Action::Push | Action::PushOver if is_file(l) => Some(Job::Put(Put {
            path: path.clone(),
            really: work.local.really(path),
            there: work.remote.stats.get(path).copied().filter(|_| r.is_some()),
            old: work.hash_of(path, r),
        })),
        Action::Pull | Action::KeepBoth if is_file(r) => Some(Job::Get(Get {
            path: path.clone(),
            there: work.remote.stats.get(path).copied().unwrap_or_default(),
            before: work.local.stats.get(path).copied().filter(|_| l.is_some()),
            old: work.hash_of(path, l),
            expected: work.hash_of(path, r),
            as_copy: action == Action::KeepBoth,
        })),
        _ => None,
    }
}

async fn carry(work: &Work<'_>, job: Job) -> (Rel, Result<Ready, Fault>) {
    match job {
        Job::Put(one) => (one.path.clone(), put(work.ends, one).await),
        Job::Get(one) => (one.path.clone(), get(work.ends, one).await),
    }
}

async fn under_way(committing: &mut Option<BoxFuture<'_, Result<(), Fault>>>) -> Result<(), Fault> {
    match committing {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}

/// Files that were ready and do not get their names.
async fn give_up(work: &Work<'_>, one: &Ready) {
    let temp = one.intent.temp.clone();
    match one.intent.place {
        // The run removes them in one go when it ends.
        Place::Remote => {}
        Place::Local => {
            let removed = work.ends.on_disk(move |here| {
                let (dir, name) = split(&temp);
                here.walk(dir)?.remove(name)
            });
            // The next run removes what stays.
            let _ = removed.await;
        }
    }
}

/// Gives files their names.
async fn commit(work: &Work<'_>, ready: Vec<Ready>) -> Result<(), Fault> {
    work.ends.count.committing.fetch_add(1, Relaxed);
    let done = take_names(work, ready).await;
    work.ends.count.committing.fetch_sub(1, Relaxed);
    done
}

async fn take_names(work: &Work<'_>, ready: Vec<Ready>) -> Result<(), Fault> {
    let intents: Vec<Intent> = ready.iter().map(|one| one.intent.clone()).collect();
    let store = work.store.clone();
    work.ends.disk.run(move || Ok(lock(&store).intend(intents)?)).await.map_err(fatal)?;
    let (far, near): (Vec<_>, Vec<_>) =
        ready.into_iter().partition(|one| one.intent.place == Place::Remote);
    let far = far.into_iter().map(|one| async move {
        let named = name_there(work.ends, &one).await;
        (one, named)
    });
    let run = work.ends.run.clone();
    let near = work.ends.on_disk(move |here| {
        let one = |mut one: Ready| {
            let named = name_here(here, &run, &mut one);
            (one, named)
        };
        Ok(near.into_iter().map(one).collect::<Vec<_>>())
    });
    let (far, near) = futures_util::future::join(join_all(far), near).await;
    let mut records = Vec::new();
    for (one, named) in far.into_iter().chain(near?) {
        let path = one.copy_of.clone().unwrap_or_else(|| one.intent.path.clone());
        match named {
            Ok(()) => {
                Count::add(&work.ends.count.files, 1);
                records.push(settled(work, one));
            }
            Err(fault) => {
                if one.intent.place == Place::Remote && !fault.fatal {
                    discard(work.ends, &one.intent.temp).await;
                }
                // The intent is void: nothing has changed for the base.
                let named = one.intent.path;
                let known = work.base.get(&named).cloned();
                records.push(Record::Done(named, known));
                work.noted(&path, Err(fault))?;
            }
        }
    }
    work.record(records).await
}

/// What the base learns from a file that has its name.
fn settled(work: &Work<'_>, one: Ready) -> Record {
    let mut tally = work.tally();
    match (one.intent.place, one.copy_of) {
        (Place::Local, Some(path)) => {
            let copy = one.intent.path;
            tally.conflicts.push((path.clone(), Way::Decide(copy.clone())));
            Record::Opened(Conflict { path, copy, theirs: one.entry })
        }
        (Place::Local, None) => {
            tally.pulled += 1;
            Record::Done(one.intent.path, Some(one.entry))
        }
        (Place::Remote, _) => {
            tally.pushed += 1;
            Record::Done(one.intent.path, Some(one.entry))
        }
    }
}

async fn name_there(ends: &Ends, one: &Ready) -> Result<(), Fault> {
    let (from, to) = (ends.far(&one.intent.temp), ends.far(&one.intent.path));
    names::rename_there(ends, (&from, &to), one.replaces).await?;
    ends.named(&one.intent.temp);
    Ok(())
}

/// Here the file must be what was seen; it is saved before it is replaced.
fn name_here(here: &LocalDir, run: &str, one: &mut Ready) -> Result<(), Fault> {
    let path = &one.intent.path;
    let (dir, name) = split(path);
    let (dir, temp) = (here.walk(dir)?, split(&one.intent.temp).1);
    let now = dir.stat(name)?.map(|stat| scan::described(&stat));
    if now != one.before {
        // The cause is what matters.
        let _ = dir.remove(temp);
        return Err(Fault::new("changed", "it has changed here meanwhile"));
    }
    if now.is_some() {
        backup::keep(here, run, path, backup::How::Link)?;
    }
    let written = dir.stat(temp)?.map(|stat| scan::described(&stat));
    dir.rename(temp, name)?;
    let named = dir.stat(name)?.map(|stat| scan::described(&stat));
    // Somebody may have been faster than our look: then it is hashed next time.
    let same = |a: &LocalStat, b: &LocalStat| {
        (a.ino, a.size, a.mtime_ns, a.mode) == (b.ino, b.size, b.mtime_ns, b.mode)
    };
    if let (Some(written), Some(named)) = (written, named)
        && same(&written, &named)
    {
        one.entry.local = named;
        one.entry.racy_local = scan::is_racy(&named, scan::now_ns());
    }
    Ok(())
}
