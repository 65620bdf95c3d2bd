//! What a run that was killed had begun: finished where that is safe, undone where it is not.
//!
//! Doing nothing would be safe as well, because a name is taken at once or not at all and the
//! next comparison sees what is there; this saves sending the file again.

use super::apply::lock;
use super::ends::Ends;
use super::journal::{Intent, Place, Record};
use super::model::{Hash, Rel};
use super::store::Store;
use super::{filter, names, remote_hash, scan, sides};
use crate::transfer::{Fault, remote, split};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What becomes of an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The name is taken now.
    Finish,
    /// The temporary file goes.
    Undo,
    /// There is nothing left to do.
    Over,
}

/// `temp` and `target` are the hashes of what is there.
fn fate(intent: &Intent, temp: Option<Hash>, target: Option<Hash>) -> Fate {
    match temp {
        None => Fate::Over,
        // A conflict copy is made anew, with its record.
        Some(_) if filter::is_copy(split(&intent.path).1) => Fate::Undo,
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
    ends.on_disk(move |here| {
        for intent in near {
            let hash = |path: &Rel| scan::hash(here, path).ok().map(|(hash, _)| hash);
            let fate = fate(&intent, hash(&intent.temp), hash(&intent.path));
            let (dir, name) = split(&intent.path);
            let (dir, temp) = match here.walk(dir) {
                Ok(dir) => (dir, split(&intent.temp).1),
                Err(_) => continue,
            };
            match fate {
                Fate::Finish => {
                    if dir.stat(name)?.is_some() {
                        super::backup::keep(here, &run, &intent.path, super::backup::How::Link)?;
                    }
                    dir.rename(temp, name)?;
                }
                Fate::Undo => dir.remove(temp)?,
                Fate::Over => {}
            }
        }
        Ok(())
    })
    .await?;
    recover_far(ends, &far).await?;
    let base = lock(store).base.clone();
    let void = |i: &Intent| Record::Done(i.path.clone(), base.get(&i.path).cloned());
    let records = intents.iter().map(void).collect();
    let store = store.clone();
    ends.disk.run(move || Ok(lock(&store).done(records)?)).await?;
    Ok(intents.len())
}

async fn recover_far(ends: &Ends, intents: &[Intent]) -> Result<(), Fault> {
    let mut there = BTreeMap::new();
    for path in intents.iter().flat_map(|i| [&i.temp, &i.path]) {
        if let Some(attrs) = remote::lstat(&ends.sftp, &ends.far(path)).await? {
            there.insert(path.clone(), attrs.size.unwrap_or(0));
        }
    }
    let paths: Vec<Rel> = there.keys().cloned().collect();
    let mut hashes = match paths.is_empty() {
        true => BTreeMap::new(),
        false => remote_hash::hashes(&ends.lease.connection, &ends.there, &paths).await,
    };
    for (path, size) in &there {
        if !hashes.contains_key(path)
            && let Ok(hash) = sides::fetch_hash(ends, path, *size).await
        {
            hashes.insert(path.clone(), hash);
        }
    }
    for intent in intents {
        let hash = |path: &Rel| hashes.get(path).copied();
        let (temp, path) = (ends.far(&intent.temp), ends.far(&intent.path));
        match fate(intent, hash(&intent.temp), hash(&intent.path)) {
            Fate::Finish => {
                let replaces = there.contains_key(&intent.path);
                names::rename_there(ends, (&temp, &path), replaces).await?;
            }
            Fate::Undo => ends.sftp.remove(&temp).await?,
            Fate::Over => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (Some(old), None, Some(new), Fate::Over),
            (None, None, Some(new), Fate::Over),
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
    }
}
