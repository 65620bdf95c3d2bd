//! Everything about a plan that is not the content of files: directories, links, deletions, and
//! what only the base has to learn.

use super::apply::Work;
use super::backup::{self, How};
use super::ends::{Ends, NAMES};
use super::journal::Record;
use super::listing::described;
use super::model::{Entry, LocalStat, Rel, RemoteStat, Seen, Thing};
use super::reconcile::{Action, Clash, Plan};
use super::scan;
use crate::transfer::{Fault, LocalDir, explain, remote, split};
use bssh_ssh::sftp::{Attrs, Status};
use futures_util::future::join_all;

/// What the base learns without anything being carried.
pub(crate) fn agreed(work: &Work<'_>, plan: &Plan) -> Vec<Record> {
    let mut records = Vec::new();
    for (path, action) in plan {
        match action {
            Action::Forget => records.push(Record::Done(path.clone(), None)),
            Action::Agree => {
                let thing = match work.local.side.get(path) {
                    Some(Seen::Dir) => Thing::Dir,
                    Some(Seen::Link(text)) => Thing::Link(text.clone()),
                    Some(Seen::File { hash: Some(hash), exec }) => {
                        Thing::File { hash: *hash, exec: *exec }
                    }
                    _ => continue,
                };
                let entry = entry(work, path, thing);
                records.push(Record::Done(path.clone(), Some(entry)));
            }
            _ => {}
        }
    }
    records
}

/// An entry for what both sides have, as they were seen.
fn entry(work: &Work<'_>, path: &Rel, thing: Thing) -> Entry {
    let local = work.local.stats.get(path).copied().unwrap_or_default();
    let remote = work.remote.stats.get(path).copied().unwrap_or_default();
    Entry {
        thing,
        local,
        remote,
        racy_local: scan::is_racy(&local, scan::now_ns()),
        racy_remote: work.ends.is_racy(remote.mtime),
    }
}

fn dir_entry() -> Entry {
    Entry {
        thing: Thing::Dir,
        local: LocalStat::default(),
        remote: RemoteStat::default(),
        racy_local: false,
        racy_remote: false,
    }
}

fn is_dir(work: &Work<'_>, path: &Rel, seen: Option<&Seen>) -> bool {
    match seen {
        Some(Seen::Dir) => true,
        Some(Seen::Same) => work.base.get(path).is_some_and(|e| e.thing == Thing::Dir),
        _ => false,
    }
}

/// Directories that come to be on the node, parents first, and their modes.
fn new_there<'a>(work: &'a Work<'_>, plan: &'a Plan) -> impl Iterator<Item = (&'a Rel, u32)> {
    let pushed = plan.iter().filter(|(_, action)| **action == Action::Push);
    let dirs = pushed.filter(|(path, _)| is_dir(work, path, work.local.side.get(*path)));
    dirs.map(|(path, _)| (path, work.local.stats.get(path).map_or(0o755, |s| s.mode & 0o777)))
}

fn new_here<'a>(work: &'a Work<'_>, plan: &'a Plan) -> impl Iterator<Item = (&'a Rel, u32)> {
    let pulled = plan.iter().filter(|(_, action)| **action == Action::Pull);
    let dirs = pulled.filter(|(path, _)| is_dir(work, path, work.remote.side.get(*path)));
    dirs.map(|(path, _)| (path, work.remote.stats.get(path).map_or(0o755, |s| s.mode & 0o777)))
}

/// Makes directories on both sides, parents before children.
pub(crate) async fn make_dirs(work: &Work<'_>, plan: &Plan) -> Result<(), Fault> {
    let depth = |path: &Rel| path.iter().filter(|b| **b == b'/').count();
    let mut there: Vec<(&Rel, u32)> = new_there(work, plan).collect();
    there.sort_by_key(|(path, _)| depth(path));
    for level in there.chunk_by(|a, b| depth(a.0) == depth(b.0)) {
        for some in level.chunks(NAMES) {
            let making = some.iter().map(|(path, mode)| make_there(work.ends, path, *mode));
            let made = join_all(making).await;
            let made = some.iter().map(|(path, _)| *path).zip(made);
            made_dirs(work, made.map(|(path, made)| (path.clone(), made)).collect()).await?;
        }
    }
    let here: Vec<(Rel, u32)> = new_here(work, plan).map(|(p, mode)| (p.clone(), mode)).collect();
    let made = work
        .ends
        .on_disk(move |root| {
            let make = |(path, mode): (Rel, u32)| {
                let (dir, name) = split(&path);
                let made = root.walk(dir).and_then(|dir| dir.make_dir(name, mode | 0o700));
                (path, made.map(drop))
            };
            Ok(here.into_iter().map(make).collect::<Vec<_>>())
        })
        .await?;
    made_dirs(work, made).await
}

async fn made_dirs(work: &Work<'_>, made: Vec<(Rel, Result<(), Fault>)>) -> Result<(), Fault> {
    let mut records = Vec::new();
    for (path, made) in made {
        if made.is_err() {
            work.lose(&path);
        } else {
            records.push(Record::Done(path.clone(), Some(dir_entry())));
        }
        work.noted(&path, made)?;
    }
    work.record(records).await
}

/// Makes a directory; one that is there already is left as it is.
pub(crate) async fn make_there(ends: &Ends, path: &[u8], mode: u32) -> Result<(), Fault> {
    let far = ends.far(path);
    let Err(refused) = ends.sftp.make_dir(&far, &Attrs::permissions(mode | 0o700)).await else {
        return Ok(());
    };
    if refused.is_fatal() {
        return Err(refused.into());
    }
    match remote::lstat(&ends.sftp, &far).await?.map(|attrs| attrs.kind()) {
        Some(bssh_ssh::sftp::FileKind::Dir) => Ok(()),
        Some(_) => Err(Fault::new("notDirectory", "something else is there")),
        None => Err(explain(&ends.sftp, refused.into(), &far).await),
    }
}

/// New directories get their modes once nothing more happens in them.
pub(crate) async fn settle_dirs(work: &Work<'_>, plan: &Plan) -> Result<(), Fault> {
    let there: Vec<(&Rel, u32)> = new_there(work, plan).collect();
    for some in there.chunks(NAMES) {
        let setting = some.iter().map(|(path, mode)| async move {
            let attrs = Attrs::permissions(*mode);
            (*path, work.ends.sftp.set_stat(&work.ends.far(path), &attrs).await)
        });
        for (path, set) in join_all(setting).await {
            let lost = set.as_ref().is_err_and(|e| e.is(Status::NoSuchFile));
            work.noted(path, if lost { Ok(()) } else { set.map_err(Fault::from) })?;
        }
    }
    let here: Vec<(Rel, u32)> = new_here(work, plan).map(|(p, mode)| (p.clone(), mode)).collect();
    work.ends
        .on_disk(move |root| {
            for (path, mode) in here.into_iter().rev().filter(|(_, mode)| mode & 0o700 != 0o700) {
                root.walk(&path)?.settle(Some(mode), None)?;
            }
            Ok(())
        })
        .await
}

/// Saves what the node had and is about to lose in a conflict.
pub(crate) async fn save_losers(work: &Work<'_>, plan: &Plan) -> Result<(), Fault> {
    for (path, _) in plan.iter().filter(|(_, action)| **action == Action::PushOver) {
        let Some(stat) = work.remote.stats.get(path).copied() else { continue };
        if !matches!(work.remote.side.get(path), Some(Seen::File { .. })) {
            continue;
        }
        let saved = super::get::save(work.ends, path, stat).await;
        if saved.is_err() {
            work.lose(path);
        }
        work.noted(path, saved)?;
    }
    Ok(())
}

/// Links of the plan, on both sides.
pub(crate) async fn links(work: &Work<'_>, plan: &Plan) -> Result<(), Fault> {
    for (path, action) in plan {
        let (l, r) = (work.local.side.get(path), work.remote.side.get(path));
        let text = |seen: Option<&Seen>| match seen {
            Some(Seen::Link(text)) => Some(text.clone()),
            Some(Seen::Same) => match &work.base.get(path)?.thing {
                Thing::Link(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        };
        let done = match action {
            Action::Push | Action::PushOver => match text(l) {
                Some(text) => link_there(work, path, &text).await.map(|()| (text, true)),
                None => continue,
            },
            Action::Pull => match text(r) {
                Some(text) => link_here(work, path, &text).await.map(|()| (text, false)),
                None => continue,
            },
            // There is no copy of a link: both sides stay.
            Action::KeepBoth if text(r).is_some() => {
                work.tally().clash(path, Clash::Link);
                continue;
            }
            _ => continue,
        };
        match done {
            Ok((text, pushed)) => {
                let thing = Thing::Link(text);
                work.record(vec![Record::Done(path.clone(), Some(entry(work, path, thing)))])
                    .await?;
                let mut tally = work.tally();
                if pushed { tally.pushed += 1 } else { tally.pulled += 1 }
            }
            Err(fault) => work.noted(path, Err(fault))?,
        }
    }
    Ok(())
}

async fn link_there(work: &Work<'_>, path: &Rel, text: &[u8]) -> Result<(), Fault> {
    let ends = work.ends;
    let far = ends.far(path);
    if !work.remote.side.contains_key(path) {
        return Ok(ends.sftp.symlink(text, &far).await?);
    }
    let temp = ends.temporary(path);
    ends.sftp.symlink(text, &ends.far(&temp)).await?;
    ends.unnamed(&temp);
    rename_there(ends, (&ends.far(&temp), &far), true).await?;
    ends.named(&temp);
    Ok(())
}

async fn link_here(work: &Work<'_>, path: &Rel, text: &[u8]) -> Result<(), Fault> {
    let (path, text, run) = (path.clone(), text.to_vec(), work.ends.run.clone());
    let before = work.local.stats.get(&path).copied();
    let before = before.filter(|_| work.local.side.contains_key(&path));
    let temp = work.ends.temporary(&path);
    work.ends
        .on_disk(move |here| {
            let (dir, name) = split(&path);
            let dir = here.walk(dir)?;
            unchanged_here(&dir, name, before.as_ref())?;
            let temp = split(&temp).1;
            dir.symlink(&text, temp)?;
            if before.is_some() {
                backup::keep(here, &run, &path, How::Link)?;
            }
            dir.rename(temp, name)
        })
        .await
}

fn unchanged_here(dir: &LocalDir, name: &[u8], before: Option<&LocalStat>) -> Result<(), Fault> {
    match dir.stat(name)?.map(|stat| scan::described(&stat)).as_ref() == before {
        true => Ok(()),
        false => Err(Fault::new("changed", "it has changed here meanwhile")),
    }
}

/// Gives something on the node its name; what has it is replaced at once, or in two steps in
/// which it is lost at no time.
pub(crate) async fn rename_there(
    ends: &Ends,
    (from, to): (&[u8], &[u8]),
    replaces: bool,
) -> Result<(), Fault> {
    if ends.sftp.has("posix-rename@openssh.com") || !replaces {
        return Ok(ends.sftp.rename(from, to).await?);
    }
    let aside = [from, b".old"].concat();
    ends.sftp.rename_new(to, &aside).await?;
    if let Err(error) = ends.sftp.rename_new(from, to).await {
        ends.sftp.rename_new(&aside, to).await?;
        return Err(error.into());
    }
    Ok(ends.sftp.remove(&aside).await?)
}

/// Deletions, leaves first.
pub(crate) async fn delete(work: &Work<'_>, plan: &Plan) -> Result<(), Fault> {
    let depth = |path: &Rel| path.iter().filter(|b| **b == b'/').count();
    let chosen = |wanted: Action| {
        let fits = plan.iter().filter(move |(_, action)| **action == wanted);
        let mut paths: Vec<&Rel> = fits.map(|(path, _)| path).collect();
        paths.sort_by_key(|path| std::cmp::Reverse(depth(path)));
        paths
    };
    let there = chosen(Action::DeleteRemote);
    for level in there.chunk_by(|a, b| depth(a) == depth(b)) {
        for some in level.chunks(NAMES) {
            let deleting = some.iter().map(|path| delete_there(work, path));
            let deleted = some.iter().copied().zip(join_all(deleting).await).collect();
            deleted_all(work, deleted, |tally| &mut tally.deleted_there).await?;
        }
    }
    let here = chosen(Action::DeleteLocal);
    for path in here {
        let deleted = delete_here(work, path).await;
        deleted_all(work, vec![(path, deleted)], |tally| &mut tally.deleted_here).await?;
    }
    Ok(())
}

async fn deleted_all(
    work: &Work<'_>,
    deleted: Vec<(&Rel, Result<bool, Fault>)>,
    counter: fn(&mut super::apply::Tally) -> &mut u64,
) -> Result<(), Fault> {
    let mut records = Vec::new();
    for (path, deleted) in deleted {
        match deleted {
            Ok(true) => {
                *counter(&mut work.tally()) += 1;
                records.push(Record::Done(path.clone(), None));
            }
            Ok(false) => {
                // It stays for what is in it, and is nobody's deletion any more.
                work.tally().notes.push((path.clone(), "notEmpty"));
                records.push(Record::Done(path.clone(), None));
            }
            Err(fault) => work.noted(path, Err(fault))?,
        }
    }
    work.record(records).await
}

/// True: gone. False: a directory that something else is still in.
async fn delete_there(work: &Work<'_>, path: &Rel) -> Result<bool, Fault> {
    let (sftp, far) = (&work.ends.sftp, work.ends.far(path));
    if work.base.get(path).is_some_and(|e| e.thing == Thing::Dir) {
        return match sftp.remove_dir(&far).await {
            Err(error) if error.is(Status::NoSuchFile) => Ok(true),
            Err(error) if error.is(Status::Failure) => Ok(false),
            done => Ok(done.map(|()| true)?),
        };
    }
    // Checked again right before: an edit beats a deletion.
    let known = work.remote.stats.get(path);
    match remote::lstat(sftp, &far).await? {
        None => Ok(true),
        Some(attrs) if Some(&described(&attrs)) == known => {
            sftp.remove(&far).await?;
            Ok(true)
        }
        Some(_) => Err(Fault::new("changed", "it has changed on the node meanwhile")),
    }
}

async fn delete_here(work: &Work<'_>, path: &Rel) -> Result<bool, Fault> {
    let is_dir = work.base.get(path).is_some_and(|e| e.thing == Thing::Dir);
    let (path, run) = (path.clone(), work.ends.run.clone());
    let before = work.local.stats.get(&path).copied();
    work.ends
        .on_disk(move |here| {
            let (dir, name) = split(&path);
            let dir = here.walk(dir)?;
            if is_dir {
                return match dir.remove_dir(name) {
                    Err(fault) if fault.code == "notEmpty" => Ok(false),
                    Err(fault) if fault.is_missing() => Ok(true),
                    done => done.map(|()| true),
                };
            }
            unchanged_here(&dir, name, before.as_ref())?;
            backup::keep(here, &run, &path, How::Move)?;
            Ok(true)
        })
        .await
}
