//! One round: look at both sides, decide, carry it out.

use super::apply::{Tally, Work, apply, fatal};
use super::journal::{Conflict, Record};
use super::listing::{self, Remote};
use super::model::{Base, Rel, Seen, parents};
use super::open::Opened;
use super::options::Options;
use super::reconcile::{Action, Clash, Direction, Plan, Policy, mass_deletion, reconcile, towards};
use super::run::Told;
use super::scan::{self, Local};
use super::sides;
use super::total::Way;
use crate::transfer::{Fault, split};
use bssh_protocol::lock;
use bssh_protocol::sync::SyncAction;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

/// What a round is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub action: SyncAction,
    /// Only say what would be done.
    pub dry_run: bool,
    pub force_delete: bool,
}

/// Both sides as they were found, and what is to be done about them.
struct Compared {
    base: Base,
    local: Local,
    remote: Remote,
    plan: Plan,
}

/// Does a round. The tally tells what was done, also when it ended early.
pub(crate) async fn round(
    opened: &Opened,
    options: &Options,
    wanted: Wanted,
    told: &Told,
) -> (Tally, Result<(), Fault>) {
    let compared = match compare(opened, options, wanted, told).await {
        Ok(compared) => compared,
        Err(fault) => return (Tally::default(), Err(fault)),
    };
    let Compared { base, local, remote, plan } = &compared;
    let mut tally = Tally::default();
    tally.faults.extend(local.faults.iter().cloned());
    tally.faults.extend(remote.faults.iter().cloned());
    if wanted.dry_run {
        tell_plan(&compared, told).await;
        note_plan(plan, &mut tally);
        name_copies(opened, &mut tally);
        return (tally, Ok(()));
    }
    if let Err(fault) = may(options, wanted, &compared) {
        if fault.code == "conflicts" {
            note_plan(plan, &mut tally);
        }
        return (tally, Err(fault));
    }
    expect(opened, &compared);
    for (path, action) in plan {
        if *action == Action::Forget && local.side.contains_key(path) {
            tally.notes.push((path.clone(), "keptHere"));
        }
    }
    let work = Work {
        ends: &opened.ends,
        store: &opened.store,
        base,
        local,
        remote,
        tally: Mutex::new(tally),
        lost: Mutex::default(),
    };
    let done = match apply(&work, plan).await {
        Ok(()) => sweep(opened, wanted.action, &compared).await,
        fault => fault,
    };
    let mut tally = work.tally.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    name_copies(opened, &mut tally);
    let fetched = |action: Option<&Action>| {
        !matches!(action, Some(Action::Pull | Action::KeepBoth | Action::DeleteLocal))
    };
    tally.unfetched =
        !remote.faults.is_empty() || !tally.faults.iter().all(|(path, _)| fetched(plan.get(path)));
    (tally, done)
}

/// Conflicts that are open have copies, though this round made none.
fn name_copies(opened: &Opened, tally: &mut Tally) {
    let open = open_conflicts(opened);
    for (path, way) in tally.conflicts.iter_mut().filter(|(_, way)| *way == Way::Fetch) {
        if let Some(conflict) = open.get(path) {
            *way = Way::Decide(conflict.copy.clone());
        }
    }
}

async fn compare(
    opened: &Opened,
    options: &Options,
    wanted: Wanted,
    told: &Told,
) -> Result<Compared, Fault> {
    told.state("comparing", None).await;
    close_conflicts(opened).await?;
    let ends = &opened.ends;
    let base = lock(&opened.store).base.clone();
    let (known, filter, most) = (base.clone(), ends.filter.clone(), ends.most_files);
    let root = ends.root.clone();
    let scanning = ends.on_disk(move |here| scan::scan((here, &root), &known, &filter, most));
    let (mut local, mut remote, mut fresh);
    if wanted.action == SyncAction::Push {
        local = scanning.await?;
        remote = Remote::as_known(&base, &local.side, &ends.filter);
        fresh = sides::settle(ends, &base, &mut local, &mut remote).await?;
        let touched = touched(&local, &remote);
        if !touched.is_empty() {
            listing::look(ends, &base, &touched, &mut remote).await?;
            fresh = sides::settle(ends, &base, &mut local, &mut remote).await?;
        }
    } else {
        let listing = async {
            match listing::list(ends, &base).await {
                // A plan for a directory that is not there yet.
                Err(fault) if fault.is_missing() && wanted.dry_run => Ok(Remote::default()),
                listing => listing,
            }
        };
        (local, remote) = futures_util::future::try_join(scanning, listing).await?;
        fresh = sides::settle(ends, &base, &mut local, &mut remote).await?;
    }
    if !fresh.is_empty() && !wanted.dry_run {
        let records = fresh.into_iter().map(|(path, entry)| Record::Done(path, Some(entry)));
        let (records, store) = (records.collect(), opened.store.clone());
        ends.disk.run(move || Ok(lock(&store).done(records)?)).await.map_err(fatal)?;
    }
    let all = reconcile(&base, &local.side, &remote.side, &options.rules);
    let direction = match wanted.action {
        SyncAction::Push => Direction::Push,
        SyncAction::Back => Direction::Back,
        _ => Direction::Both,
    };
    let mut plan = towards(all, direction, &local.side);
    restrict((opened, options), &mut plan, &local, &remote);
    Ok(Compared { base, local, remote, plan })
}

/// What a push has to look at on the node: what differs here, and the directories on the way there,
/// which may have gone or become links.
fn touched(local: &Local, remote: &Remote) -> BTreeSet<Rel> {
    let changed = local.side.iter().filter(|(_, seen)| **seen != Seen::Same);
    let gone = remote.side.keys().filter(|path| !local.side.contains_key(*path));
    let mut touched = BTreeSet::new();
    for path in changed.map(|(path, _)| path).chain(gone) {
        touched.extend(parents(path).map(<[u8]>::to_vec));
        touched.insert(path.clone());
    }
    touched
}

/// What is protected stays, and so does what is reached through a link; a conflict that is known
/// makes no second copy.
fn restrict(
    (opened, options): (&Opened, &Options),
    plan: &mut Plan,
    local: &Local,
    remote: &Remote,
) {
    let open = open_conflicts(opened);
    for (path, action) in plan.iter_mut() {
        let here = matches!(action, Action::Pull | Action::DeleteLocal | Action::KeepBoth);
        if here && options.protect.has(path, false) {
            *action = Action::Clash(Clash::Blocked("protected"));
        }
        if here && local.really(path).is_some() {
            *action = Action::Clash(match *action {
                Action::KeepBoth => Clash::Link,
                _ => Clash::Blocked("followed"),
            });
        }
        // There is no place to save a link in.
        if *action == Action::PushOver && matches!(remote.side.get(path), Some(Seen::Link(_))) {
            *action = Action::Clash(Clash::Link);
        }
        let known = open.get(path).map(|conflict| &conflict.theirs.remote);
        if *action == Action::KeepBoth && known.is_some() && known == remote.stats.get(path) {
            *action = Action::Clash(Clash::Open);
        }
    }
}

/// Open conflicts by their paths; of several the newest.
fn open_conflicts(opened: &Opened) -> BTreeMap<Rel, Conflict> {
    let store = lock(&opened.store);
    store.conflicts.values().map(|c| (c.path.clone(), c.clone())).collect()
}

/// A conflict whose copy is gone has been decided: what is here now is right, and the node's
/// state of then is what it replaces.
async fn close_conflicts(opened: &Opened) -> Result<(), Fault> {
    let conflicts: Vec<Conflict> = lock(&opened.store).conflicts.values().cloned().collect();
    if conflicts.is_empty() {
        return Ok(());
    }
    let store = opened.store.clone();
    let close = move |here: &crate::transfer::LocalDir| {
        let is_there = |copy: &Rel| {
            let (dir, name) = split(copy);
            here.walk(dir).and_then(|dir| dir.stat(name)).is_ok_and(|stat| stat.is_some())
        };
        let (left, gone): (Vec<_>, Vec<_>) =
            conflicts.into_iter().partition(|conflict| is_there(&conflict.copy));
        let mut records = Vec::new();
        for conflict in gone {
            if left.iter().all(|other| other.path != conflict.path) {
                records.push(Record::Done(conflict.path, Some(conflict.theirs)));
            }
            records.push(Record::Closed(conflict.copy));
        }
        Ok(lock(&store).done(records)?)
    };
    opened.ends.on_disk(close).await.map_err(fatal)
}

/// Whether the plan may be carried out.
fn may(options: &Options, wanted: Wanted, compared: &Compared) -> Result<(), Fault> {
    let Compared { base, local, remote, plan } = compared;
    let halted = |text: String| Err(Fault::fatal("syncHalted", text));
    if !wanted.force_delete && !base.is_empty() {
        for (side, name) in [(&local.side, "here"), (&remote.side, "on the node")] {
            if side.is_empty() {
                return halted(format!("the directory {name} is empty, and was not before"));
            }
        }
        if let Some((n, of)) = mass_deletion(plan, base) {
            return halted(format!("{n} of {of} files and directories would be deleted"));
        }
    }
    let clashes = plan.values().filter(|a| **a == Action::Clash(Clash::Content)).count();
    if options.rules.policy == Policy::Fail && clashes > 0 {
        let text = format!("{clashes} files were changed on both sides; nothing was done");
        return Err(Fault::fatal("conflicts", text));
    }
    let comes = plan.iter().filter(|(_, a)| matches!(a, Action::Pull | Action::KeepBoth));
    let sizes = comes.filter_map(|(path, _)| remote.stats.get(path));
    let bytes = sizes.fold(0_u64, |sum, stat| sum.saturating_add(stat.size));
    if bytes > options.most_bytes {
        let most = options.most_bytes;
        let text = format!("{bytes} bytes would come from the node; max_bytes allows {most}");
        return Err(Fault::fatal("syncTooLarge", text));
    }
    Ok(())
}

/// How much there is to do.
fn expect(opened: &Opened, compared: &Compared) {
    let (mut files, mut bytes) = (0, 0_u64);
    for (path, action) in &compared.plan {
        if let Some(size) = carried(compared, path, *action) {
            files += 1;
            bytes = bytes.saturating_add(size);
        }
    }
    opened.ends.count.total_files.fetch_add(files, Relaxed);
    opened.ends.count.total_bytes.fetch_add(bytes, Relaxed);
}

/// The size of what is carried for a path, if it is a file.
fn carried(compared: &Compared, path: &Rel, action: Action) -> Option<u64> {
    let is_file = |seen: Option<&Seen>| matches!(seen, Some(Seen::File { .. } | Seen::Same));
    match action {
        Action::Push | Action::PushOver if is_file(compared.local.side.get(path)) => {
            compared.local.stats.get(path).map(|stat| stat.size)
        }
        Action::Pull | Action::KeepBoth if is_file(compared.remote.side.get(path)) => {
            compared.remote.stats.get(path).map(|stat| stat.size)
        }
        _ => None,
    }
}

/// Conflicts and what is left out, of a plan that is not carried out.
fn note_plan(plan: &Plan, tally: &mut Tally) {
    for (path, action) in plan {
        match action {
            Action::KeepBoth => tally.clash(path, Clash::Content),
            Action::Clash(clash) => tally.clash(path, *clash),
            _ => {}
        }
    }
}

async fn tell_plan(compared: &Compared, told: &Told) {
    for (path, action) in &compared.plan {
        let name = match action {
            Action::Push | Action::PushOver => "push",
            Action::Pull => "pull",
            Action::DeleteRemote => "deleteThere",
            Action::DeleteLocal => "deleteHere",
            Action::Agree => "agree",
            Action::Forget => "forget",
            Action::KeepBoth => "conflict",
            Action::Clash(Clash::Blocked(_)) => "skip",
            Action::Clash(_) => "conflict",
        };
        let bytes = carried(compared, path, *action).unwrap_or(0);
        told.step(name, path, bytes).await;
    }
}

/// Temporary files that an earlier run could not remove. A push has to look for them, once there
/// may be any.
async fn sweep(opened: &Opened, action: SyncAction, compared: &Compared) -> Result<(), Fault> {
    let looks = action == SyncAction::Push && opened.is_littered();
    let found = match looks {
        true => listing::list(&opened.ends, &compared.base).await?.stale,
        false => compared.remote.stale.clone(),
    };
    let mut is_clean = looks || action != SyncAction::Push;
    for temp in &found {
        match opened.ends.sftp.remove(&opened.ends.far(temp)).await {
            Err(error) if error.is_fatal() => return Err(error.into()),
            removed => is_clean &= removed.is_ok(),
        }
    }
    if is_clean {
        opened.swept();
    }
    let stale = compared.local.stale.clone();
    opened
        .ends
        .on_disk(move |here| {
            for temp in stale {
                let (dir, name) = split(&temp);
                // What stays is tried again next time.
                let _ = here.walk(dir).and_then(|dir| dir.remove(name));
            }
            Ok(())
        })
        .await
}
