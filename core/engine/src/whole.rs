//! Whole outputs in files of this machine, where a frontend was sent a part: `outputs` with the
//! user's state.
//!
//! Each core has a directory there, locked as long as it lives; what one that was killed has left
//! is removed by the next one. A session's files go with it, and before that the oldest one goes
//! when they all together would be larger than allowed.

use bssh_config::Environment;
use bssh_protocol::lock;
use bssh_protocol::session::OutputFile;
use rustix::fs::FlockOperation;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use tempfile::{Builder, TempDir, TempPath};

/// Bytes of one session's files, unless it was told otherwise.
const MOST: u64 = 1 << 30;

/// The place of a core's files. Made when the first one is.
pub(crate) struct Outputs {
    root: PathBuf,
    uid: u32,
    own: Mutex<Option<Own>>,
}

/// A core's own directory, and its lock.
struct Own {
    dir: TempDir,
    _lock: File,
}

impl Outputs {
    pub(crate) fn new(env: &Environment) -> Outputs {
        Outputs { root: env.state().join("outputs"), uid: env.uid, own: Mutex::default() }
    }

    fn make(&self, name: &str) -> io::Result<(File, TempPath)> {
        let mut own = lock(&self.own);
        let own = match own.take().filter(|own| own.dir.path().is_dir()) {
            Some(there) => own.insert(there),
            None => own.insert(self.settle()?),
        };
        Ok(Builder::new().prefix(name).tempfile_in(own.dir.path())?.into_parts())
    }

    /// Removes what dead cores have left, and makes our own directory.
    fn settle(&self) -> io::Result<Own> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
        let meta = std::fs::symlink_metadata(&self.root)?;
        if !meta.is_dir() || meta.uid() != self.uid || meta.mode() & 0o077 != 0 {
            let why = format!("{} is not ours alone", self.root.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        // Nobody removes a directory between its making and its locking.
        let root = File::open(&self.root)?;
        rustix::fs::flock(&root, FlockOperation::LockExclusive)?;
        for entry in std::fs::read_dir(&self.root)?.flatten() {
            if is_dead(&entry.path()) {
                // What cannot be removed now is tried again by the next core.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
        let private = Permissions::from_mode(0o700);
        let dir = Builder::new().prefix("core.").permissions(private).tempdir_in(&self.root)?;
        let lock = File::open(dir.path())?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Own { dir, _lock: lock })
    }
}

/// A directory whose core has gone.
fn is_dead(path: &Path) -> bool {
    let is_dir = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let free = |dir: File| rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive).is_ok();
    is_dir && File::open(path).is_ok_and(free)
}

/// The files of one session.
pub(crate) struct Wholes {
    outputs: Arc<Outputs>,
    most: u64,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    path: TempPath,
    bytes: u64,
    /// It is being written.
    open: bool,
}

impl Wholes {
    /// `most`: bytes of all files together.
    pub(crate) fn new(outputs: Arc<Outputs>, most: Option<u64>) -> Arc<Wholes> {
        Arc::new(Wholes { outputs, most: most.unwrap_or(MOST), kept: Mutex::default() })
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        lock(&self.kept)
    }

    /// A file for a stream. None: there are to be none.
    pub(crate) fn begin(self: &Arc<Self>, name: &str) -> Option<Whole> {
        if self.most == 0 {
            return None;
        }
        let mut told = OutputFile::default();
        let file = match self.outputs.make(name) {
            Ok((file, path)) => {
                told.path = Some(path.display().to_string());
                self.kept().push(Kept { path, bytes: 0, open: true });
                Some(file)
            }
            Err(error) => {
                told.error = Some(format!("no file could be made: {error}"));
                None
            }
        };
        Some(Whole { wholes: self.clone(), file, told })
    }

    /// How many of so many bytes may be added to a file; older files make room.
    fn room(&self, path: Option<&str>, wanted: usize) -> usize {
        let mut kept = self.kept();
        let sum = |kept: &[Kept]| kept.iter().map(|k| k.bytes).sum::<u64>();
        while sum(&kept) + wanted as u64 > self.most {
            let Some(oldest) = kept.iter().position(|k| !k.open) else { break };
            kept.remove(oldest);
        }
        let left = self.most.saturating_sub(sum(&kept));
        let room = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some(own) = kept.iter_mut().find(|k| k.path.to_str() == path) {
            own.bytes += room as u64;
        }
        room
    }

    fn close(&self, path: Option<&str>) {
        self.kept().iter_mut().filter(|k| k.path.to_str() == path).for_each(|k| k.open = false);
    }
}

/// A file that is being written.
pub(crate) struct Whole {
    wholes: Arc<Wholes>,
    /// None: nothing more is written.
    file: Option<File>,
    told: OutputFile,
}

impl Whole {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let room = self.wholes.room(self.told.path.as_deref(), bytes.len());
        let (now, rest) = bytes.split_at(room);
        let written = file.write_all(now);
        if written.is_ok() {
            self.told.bytes += now.len() as u64;
        }
        self.told.error = match written {
            Ok(()) if rest.is_empty() => return,
            Ok(()) => Some("the session's files are as large as they may be".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        self.file = None;
    }

    /// What there is to tell of it.
    pub(crate) fn end(self) -> OutputFile {
        self.told.clone()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        self.wholes.close(self.told.path.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(root: &Path) -> Arc<Outputs> {
        let uid = rustix::process::getuid().as_raw();
        Arc::new(Outputs { root: root.join("outputs"), uid, own: Mutex::default() })
    }

    fn file(wholes: &Arc<Wholes>, bytes: &[u8]) -> OutputFile {
        let mut whole = wholes.begin("1.stdout.").unwrap();
        bytes.chunks(7).for_each(|part| whole.write(part));
        whole.end()
    }

    #[test]
    fn files_are_private_bounded_and_go_with_their_session() {
        let dir = tempfile::tempdir().unwrap();
        let outputs = outputs(dir.path());
        let wholes = Wholes::new(outputs.clone(), Some(100));
        let first = file(&wholes, &[b'a'; 40]);
        let path = PathBuf::from(first.path.unwrap());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!((mode(&outputs.root), first.bytes, first.error), (0o700, 40, None));
        assert_eq!(std::fs::read(&path).unwrap(), [b'a'; 40]);
        // The oldest makes room; one that is too long by itself is cut, and says so.
        let second = file(&wholes, &[b'b'; 50]);
        assert!(path.exists());
        let third = file(&wholes, &[b'c'; 30]);
        assert!(!path.exists() && Path::new(second.path.as_ref().unwrap()).exists());
        let long = file(&wholes, &[b'd'; 120]);
        assert!(long.bytes == 100 && long.error.unwrap().contains("as large as they may be"));
        assert!(!Path::new(third.path.as_ref().unwrap()).exists());
        assert_eq!(std::fs::read(long.path.as_ref().unwrap()).unwrap(), [b'd'; 100]);
        drop(wholes);
        assert!(!Path::new(&long.path.unwrap()).exists());
        assert!(Wholes::new(outputs, Some(0)).begin("x").is_none());
    }

    #[test]
    fn what_a_dead_core_has_left_is_removed_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let living = Wholes::new(outputs(dir.path()), None);
        let kept = file(&living, b"kept").path.unwrap();
        // Nobody holds the lock of this one.
        let dead = dir.path().join("outputs/core.dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("1.stdout.x"), "left").unwrap();
        let next = Wholes::new(outputs(dir.path()), None);
        assert_eq!(file(&next, b"new").error, None);
        assert!(!dead.exists() && Path::new(&kept).exists());
        // Where others could look, nothing is written.
        let open = tempfile::tempdir().unwrap();
        let root = open.path().join("outputs");
        std::fs::create_dir(&root).unwrap();
        std::fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
        let refused = file(&Wholes::new(outputs(open.path()), None), b"x");
        assert!(refused.path.is_none() && refused.error.unwrap().contains("not ours alone"));
    }
}
