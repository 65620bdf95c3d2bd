//! Parsed files, kept for the whole process: a thousand connections read one file once.
//!
//! A file counts as unchanged while its time, size and inode are. Nothing is watched; every use
//! costs one `stat`. Bounded: past [`LIMIT`] files everything is forgotten and read again.

use crate::locking::lock;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Files remembered at most.
const LIMIT: usize = 1024;
/// Bytes of a file at most: none of them is a place for bulk data.
const MAX_BYTES: u64 = 64 << 20;

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    seconds: i64,
    nanoseconds: i64,
    size: u64,
    inode: u64,
    device: u64,
}

impl Stamp {
    fn of(meta: &std::fs::Metadata) -> Self {
        Stamp {
            seconds: meta.mtime(),
            nanoseconds: meta.mtime_nsec(),
            size: meta.size(),
            inode: meta.ino(),
            device: meta.dev(),
        }
    }
}

type Files<T> = HashMap<PathBuf, (Stamp, Arc<T>)>;

/// A cache of one kind of parsed file.
pub(crate) struct FileCache<T> {
    files: Mutex<Option<Files<T>>>,
}

impl<T> FileCache<T> {
    pub(crate) const fn new() -> Self {
        FileCache { files: Mutex::new(None) }
    }

    /// The parsed file; `None` if there is none.
    ///
    /// # Errors
    /// It exists and cannot be read, is too large, or `parse` refuses it.
    pub(crate) fn load(
        &self,
        path: &Path,
        parse: impl FnOnce(&[u8]) -> io::Result<T>,
    ) -> io::Result<Option<Arc<T>>> {
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stamp = Stamp::of(&meta);
        if let Some((known, file)) = self.lock().get_or_insert_default().get(path)
            && *known == stamp
        {
            return Ok(Some(file.clone()));
        }
        if meta.len() > MAX_BYTES {
            return Err(io::Error::other("file too large"));
        }
        let file = Arc::new(parse(&std::fs::read(path)?)?);
        let mut guard = self.lock();
        let files = guard.get_or_insert_default();
        if files.len() >= LIMIT {
            files.clear();
        }
        files.insert(path.to_owned(), (stamp, file.clone()));
        Ok(Some(file))
    }

    /// Changes the remembered file the way the one on disk has just been changed by us, which
    /// saves reading it again. `before` is its size until then.
    pub(crate) fn follow(&self, path: &Path, before: u64, change: impl FnOnce(&mut T)) {
        let mut guard = self.lock();
        let files = guard.get_or_insert_default();
        let changed = files.get_mut(path).and_then(|(stamp, file)| {
            // A device (/dev/null) keeps nothing of what is written to it.
            let now = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
            let now = Stamp::of(&now);
            let same = stamp.size == before && stamp.inode == now.inode;
            change(Arc::get_mut(file).filter(|_| same)?);
            *stamp = now;
            Some(())
        });
        if changed.is_none() {
            files.remove(path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Files<T>>> {
        lock(&self.files)
    }
}

pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
