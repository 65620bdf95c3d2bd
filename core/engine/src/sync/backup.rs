//! What a sync replaces or deletes here is kept for a while, in `.bssh-sync/backup/RUN/PATH` of the
//! local root.

use super::filter::OWN;
use super::model::Rel;
use crate::transfer::{Fault, LocalDir, join, split};
use std::time::Duration;

/// How the file gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It stays until something else takes its name.
    Link,
    Move,
}

/// A backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The run that made it; begins with its time.
    pub run: String,
    pub path: Rel,
    pub size: u64,
}

/// Where backups are.
fn place(here: &LocalDir) -> Result<LocalDir, Fault> {
    let own = here.make_dir(OWN, 0o700)?.0;
    Ok(own.make_dir(b"backup", 0o700)?.0)
}

/// The directory a path's backup goes to, made if it is not there.
pub(crate) fn dir(here: &LocalDir, run: &str, path: &[u8]) -> Result<LocalDir, Fault> {
    let mut at = place(here)?.make_dir(run.as_bytes(), 0o700)?.0;
    for name in split(path).0.split(|b| *b == b'/').filter(|n| !n.is_empty()) {
        at = at.make_dir(name, 0o700)?.0;
    }
    Ok(at)
}

/// Keeps a file or link that is about to go.
pub(crate) fn keep(here: &LocalDir, run: &str, path: &[u8], how: How) -> Result<(), Fault> {
    let to = dir(here, run, path)?;
    let (from, name) = split(path);
    let from = here.walk(from)?;
    let kept = match how {
        How::Move => from.rename_to(name, &to, name),
        How::Link => match from.link_to(name, &to, name) {
            // A file system without hard links: it is away for a moment, and never lost.
            Err(fault) if fault.code != "exists" => from.rename_to(name, &to, name),
            done => done,
        },
    };
    match kept {
        // The same path twice in one run: the first one is the user's.
        Err(fault) if fault.code == "exists" => Ok(()),
        kept => kept.map_err(|fault| fault.while_doing("cannot save what would be replaced")),
    }
}

/// Every backup, the oldest run first.
pub(crate) fn all(here: &LocalDir) -> Result<Vec<Kept>, Fault> {
    let backups = match here.dir(OWN).and_then(|own| own.dir(b"backup")) {
        Ok(backups) => backups,
        Err(fault) if fault.is_missing() => return Ok(Vec::new()),
        Err(fault) => return Err(fault),
    };
    let mut runs = backups.names()?;
    runs.sort();
    let mut kept = Vec::new();
    for run in runs {
        let text = String::from_utf8_lossy(&run).into_owned();
        list(&backups.dir(&run)?, &text, &Rel::new(), &mut kept)?;
    }
    Ok(kept)
}

fn list(at: &LocalDir, run: &str, path: &Rel, kept: &mut Vec<Kept>) -> Result<(), Fault> {
    let mut names = at.names()?;
    names.sort();
    for name in names {
        let child = join(path, &name);
        match at.dir(&name) {
            Ok(inner) => list(&inner, run, &child, kept)?,
            Err(_) => {
                let size = at.stat(&name)?.map_or(0, |s| u64::try_from(s.st_size).unwrap_or(0));
                kept.push(Kept { run: run.to_owned(), path: child, size });
            }
        }
    }
    Ok(())
}

/// Puts a backup back; what is there now is kept in its turn.
pub(crate) fn restore(here: &LocalDir, run: &str, path: &[u8], now: &str) -> Result<(), Fault> {
    let from = here.dir(OWN)?.dir(b"backup")?.dir(run.as_bytes())?;
    let (dir, name) = split(path);
    let from = from.walk(dir)?;
    if from.stat(name)?.is_none() {
        return Err(Fault::new("notFound", "there is no such backup"));
    }
    let mut to = here.walk(b"")?;
    for name in dir.split(|b| *b == b'/').filter(|n| !n.is_empty()) {
        to = to.make_dir(name, 0o755)?.0;
    }
    if to.stat(name)?.is_some() {
        keep(here, now, path, How::Move)?;
    }
    from.rename_to(name, &to, name)
}

/// Removes backups that are older than this.
pub(crate) fn prune(here: &LocalDir, age: Duration) -> Result<(), Fault> {
    let Ok(backups) = here.dir(OWN).and_then(|own| own.dir(b"backup")) else { return Ok(()) };
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let oldest = super::filter::utc(now.saturating_sub(age).as_secs());
    for run in backups.names()? {
        // Names begin with their time, so that they sort by it.
        if run.as_slice() < oldest.as_bytes() {
            backups.remove_all(&run)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_can_come_back() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::write(root.join("d/f"), "one").unwrap();
        let here = LocalDir::at(root).unwrap();
        keep(&here, "20260101T000000Z-a", b"d/f", How::Link).unwrap();
        std::fs::write(root.join("d/new"), "two").unwrap();
        std::fs::rename(root.join("d/new"), root.join("d/f")).unwrap();
        keep(&here, "20260102T000000Z-b", b"d/f", How::Move).unwrap();
        assert!(!root.join("d/f").exists());
        let kept = all(&here).unwrap();
        let runs: Vec<_> = kept.iter().map(|k| (k.run.as_str(), k.path.as_slice())).collect();
        assert_eq!(
            runs,
            [("20260101T000000Z-a", &b"d/f"[..]), ("20260102T000000Z-b", &b"d/f"[..])]
        );
        restore(&here, "20260101T000000Z-a", b"d/f", "20260103T000000Z-c").unwrap();
        assert_eq!(std::fs::read(root.join("d/f")).unwrap(), b"one");
        restore(&here, "20260102T000000Z-b", b"d/f", "20260103T000000Z-c").unwrap();
        assert_eq!(std::fs::read(root.join("d/f")).unwrap(), b"two");
        let kept = all(&here).unwrap();
        assert_eq!((kept.len(), kept[0].run.as_str()), (1, "20260103T000000Z-c"));
        prune(&here, Duration::from_secs(100 * 365 * 86_400)).unwrap();
        assert_eq!(all(&here).unwrap().len(), 1, "young enough");
        prune(&here, Duration::ZERO).unwrap();
        let left = all(&here).unwrap();
        assert!(left.is_empty() || left[0].run > super::super::filter::utc(0));
    }
}
