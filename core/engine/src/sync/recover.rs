//! What a run that was killed had begun: finished where that is safe, undone where it is not.
//!
//! Doing nothing would be safe as well, because a name is taken at once or not at all and the
//! next comparison sees what is there; this saves sending the file again.

use super::backup::{self, How};
use super::ends::Ends;
use super::journal::{Intent, Place, Record};
use super::listing::described;
use super::model::{Entry, Hash, LocalStat, Rel, RemoteStat, Thing};
use super::store::Store;
use super::{filter, names, remote_hash, scan, sides};
use crate::transfer::{Fault, LocalDir, remote, split};
use bssh_protocol::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What becomes of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The name is taken now.
    Finish,
    /// The temporary file goes.
    Undo,
    /// The name was taken; only the base does not know.
    Taken,
    /// A conflict copy that nobody was told of goes to the backups: it is made anew.
    Aside,
    /// There is nothing left to do.
    Over,
}

/// `temp` and `target` are the hashes of what is there.
fn fate(intent: &Intent, temp: Option<Hash>, target: Option<Hash>) -> Fate {
    let is_copy = filter::is_copy(split(&intent.path).1);
    match temp {
        None if target == Some(intent.new) && is_copy => Fate::Aside,
        None if target == Some(intent.new) => Fate::Taken,
        None => Fate::Over,
        // A conflict copy is made anew, with its record.
        Some(_) if is_copy => Fate::Undo,
        Some(hash) if hash == intent.new && target == intent.old => Fate::Finish,
        Some(_) => Fate::Undo,
    }
}

/// Deals with every intent that is open.
///
/// # Errors
/// What ends the conversation with the node; the store cannot be written.
pub(crate) async fn recover(ends: &Ends, store: &Arc<Mutex<Store>>) -> Result<usize, Fault> {
    let intents = lock(store).intents.clone();
    if intents.is_empty() {
        return Ok(0);
    }
    let (far, near): (Vec<Intent>, Vec<Intent>) =
        intents.iter().cloned().partition(|i| i.place == Place::Remote);
    let run = ends.run.clone();
    let mut taken = ends.on_disk(move |here| recover_near(here, &run, near)).await?;
    taken.extend(recover_far(ends, &far).await?);
    let base = lock(store).base.clone();
    let record = |intent: &Intent| {
        // Void, unless the name was taken: nothing has changed for the base.
        let known = || base.get(&intent.path).cloned();
        let entry = taken.get(&intent.path).cloned().or_else(known);
        Record::Done(intent.path.clone(), entry)
    };
    let records = intents.iter().map(record).collect();
    let store = store.clone();
    ends.disk.run(move || Ok(lock(&store).done(records)?)).await?;
    Ok(intents.len())
}

/// What the base learns: the content, and nothing that would spare looking at it again.
fn learned(intent: &Intent, size: u64, exec: bool) -> (Rel, Entry) {
    let entry = Entry {
        thing: Thing::File { hash: intent.new, exec },
        local: LocalStat { size, ..LocalStat::default() },
        remote: RemoteStat { size, ..RemoteStat::default() },
        racy_local: true,
        racy_remote: true,
    };
    (intent.path.clone(), entry)
}

fn recover_near(
    here: &LocalDir,
    run: &str,
    intents: Vec<Intent>,
) -> Result<BTreeMap<Rel, Entry>, Fault> {
    let mut taken = BTreeMap::new();
    for intent in intents {
        let hash = |path: &Rel| scan::hash(here, path, None).ok();
        let (temp, target) = (hash(&intent.temp), hash(&intent.path));
        let fate = fate(&intent, temp.map(|(hash, _)| hash), target.map(|(hash, _)| hash));
        let (dir, name) = split(&intent.path);
        let Ok(dir) = here.walk(dir) else { continue };
        let temp_name = split(&intent.temp).1;
        let stat = match fate {
            Fate::Finish => {
                if dir.stat(name)?.is_some() {
                    backup::keep(here, run, &intent.path, How::Link)?;
                }
                dir.rename(temp_name, name)?;
                temp
            }
            Fate::Undo => {
                dir.remove(temp_name)?;
                None
            }
            Fate::Aside => {
                backup::keep(here, run, &intent.path, How::Move)?;
                None
            }
            Fate::Taken => target,
            Fate::Over => None,
        };
        taken.extend(stat.map(|(_, s)| learned(&intent, s.size, s.mode & 0o100 != 0)));
    }
    Ok(taken)
}

async fn recover_far(ends: &Ends, intents: &[Intent]) -> Result<BTreeMap<Rel, Entry>, Fault> {
    let mut there = BTreeMap::new();
    for path in intents.iter().flat_map(|i| [&i.temp, &i.path]) {
        if let Some(attrs) = remote::lstat(&ends.sftp, &ends.far(path)).await? {
            there.insert(path.clone(), described(&attrs));
        }
    }
    let paths: Vec<Rel> = there.keys().cloned().collect();
    let mut hashes = match paths.is_empty() {
        true => BTreeMap::new(),
        false => remote_hash::hashes(&ends.lease.connection, &ends.there, &paths).await,
    };
    for (path, stat) in &there {
        if !hashes.contains_key(path)
            && let Ok(hash) = sides::fetch_hash(ends, path, stat.size).await
        {
            hashes.insert(path.clone(), hash);
        }
    }
    let mut taken = BTreeMap::new();
    for intent in intents {
        let hash = |path: &Rel| hashes.get(path).copied();
        let (temp, path) = (ends.far(&intent.temp), ends.far(&intent.path));
        let stat = match fate(intent, hash(&intent.temp), hash(&intent.path)) {
            Fate::Finish => {
                let replaces = there.contains_key(&intent.path);
                names::rename_there(ends, (&temp, &path), replaces).await?;
                there.get(&intent.temp)
            }
            Fate::Undo => {
                ends.sftp.remove(&temp).await?;
                None
            }
            Fate::Taken => there.get(&intent.path),
            // Copies are made here only.
            Fate::Aside | Fate::Over => None,
        };
        taken.extend(stat.map(|s| learned(intent, s.size, s.mode & 0o100 != 0)));
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn every_moment_a_run_can_be_killed_at() {
        let (old, new, other) = ([1; 32], [2; 32], [3; 32]);
        let intent = |path: &str, old| Intent {
            path: path.as_bytes().to_vec(),
            place: Place::Local,
            temp: b".bssh-s.tmp".to_vec(),
            old,
            new,
        };
        for (before, temp, target, want) in [
            // Killed after the intent, before the name was taken.
            (Some(old), Some(new), Some(old), Fate::Finish),
            (None, Some(new), None, Fate::Finish),
            // After it was taken.
            (Some(old), None, Some(new), Fate::Taken),
            (None, None, Some(new), Fate::Taken),
            // Somebody has written to the name since.
            (Some(old), Some(new), Some(other), Fate::Undo),
            (None, Some(new), Some(other), Fate::Undo),
            (Some(old), Some(new), None, Fate::Undo),
            // The temporary file did not reach the disk whole.
            (Some(old), Some(other), Some(old), Fate::Undo),
            (Some(old), None, Some(old), Fate::Over),
            (None, None, None, Fate::Over),
        ] {
            assert_eq!(fate(&intent("f", before), temp, target), want, "{before:?} {temp:?}");
        }
        let copy = intent("f.conflict-remote-20260101T000000Z-01020304", None);
        assert_eq!(fate(&copy, Some(new), None), Fate::Undo);
        assert_eq!(fate(&copy, None, Some(new)), Fate::Aside);
        assert_eq!(fate(&copy, None, None), Fate::Over);
    }

    /// The steps of `name_here` with a kill after each of them, and what is made of it; twice,
    /// because that may be killed as well.
    #[test]
    fn killed_between_two_steps_here_the_new_file_is_whole_and_the_old_one_kept() {
        let path = b"d/f".to_vec();
        for (was_there, n_steps) in [(true, 0), (true, 1), (true, 2), (false, 0), (false, 2)] {
            let home = tempfile::tempdir().unwrap();
            let file = home.path().join("d/f");
            std::fs::create_dir(home.path().join("d")).unwrap();
            std::fs::write(home.path().join("d/.bssh-s.tmp"), "new").unwrap();
            let here = LocalDir::at(home.path()).unwrap();
            if was_there {
                std::fs::write(&file, "the old one").unwrap();
            }
            let hash = |path: &[u8]| scan::hash(&here, path, None).ok().map(|(hash, _)| hash);
            let temp = b"d/.bssh-s.tmp".to_vec();
            let (old, new) = (hash(&path), hash(&temp).unwrap());
            let intent = Intent { path: path.clone(), place: Place::Local, temp, old, new };
            if n_steps >= 1 && was_there {
                backup::keep(&here, "run1", &path, How::Link).unwrap();
            }
            if n_steps >= 2 {
                here.walk(b"d").unwrap().rename(b".bssh-s.tmp", b"f").unwrap();
            }
            for _ in 0..2 {
                let taken = recover_near(&here, "run2", vec![intent.clone()]).unwrap();
                assert_eq!(taken[&path].thing, Thing::File { hash: new, exec: false });
                assert_eq!(std::fs::read(&file).unwrap(), b"new", "{was_there} {n_steps}");
            }
            let names = std::fs::read_dir(home.path().join("d")).unwrap().count();
            assert_eq!(names, 1, "nothing of ours is left");
            let kept = backup::all(&here).unwrap();
            assert_eq!(kept.iter().any(|one| one.path == path && one.size == 11), was_there);
        }
        // Somebody's edit since then is nobody's to replace.
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".t"), "new").unwrap();
        std::fs::write(home.path().join("f"), "edited").unwrap();
        let here = LocalDir::at(home.path()).unwrap();
        let new = scan::hash(&here, b".t", None).unwrap().0;
        let (path, temp, old) = (b"f".to_vec(), b".t".to_vec(), Some([0; 32]));
        let intent = Intent { path, place: Place::Local, temp, old, new };
        assert!(recover_near(&here, "run", vec![intent]).unwrap().is_empty());
        assert_eq!(std::fs::read(home.path().join("f")).unwrap(), b"edited");
        assert!(!home.path().join(".t").exists());
        // A conflict copy that is in no record would be there twice.
        let path = b"f.conflict-remote-20260101T000000Z-01020304".to_vec();
        let copy = home.path().join(OsStr::from_bytes(&path));
        std::fs::write(&copy, "new").unwrap();
        let intent = Intent {
            path: path.clone(),
            place: Place::Local,
            temp: b".t".to_vec(),
            old: None,
            new,
        };
        assert!(recover_near(&here, "run", vec![intent]).unwrap().is_empty());
        assert!(!copy.exists());
        assert!(backup::all(&here).unwrap().iter().any(|one| one.path == path));
    }
}
