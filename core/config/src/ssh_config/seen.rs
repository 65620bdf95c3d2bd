//! What a parsed file was read from, so that a change of any of it is noticed without reading.
//!
//! A change of mode or owner counts too: whether a file may be used at all depends on them.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::reader::expand;

/// Two changes within this time may leave the same time stamp: the clock of files ticks slowly.
const TICK: Duration = Duration::from_millis(20);

/// Files and patterns that were looked at.
#[derive(Debug, Default)]
pub(super) struct Seen {
    files: Vec<(PathBuf, Option<Stamp>)>,
    patterns: Vec<(String, Vec<PathBuf>)>,
    /// When the last file was opened.
    at: Option<SystemTime>,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
    /// The same, of its mode and owner too.
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Stamp {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    fn changed(&self) -> Option<SystemTime> {
        let seconds = Duration::from_secs(u64::try_from(self.changed.0).ok()?);
        let nanos = Duration::from_nanos(u64::try_from(self.changed.1).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(seconds + nanos)
    }
}

impl Seen {
    /// A file that was opened, or is missing.
    pub(super) fn file(&mut self, path: &Path, meta: Option<&Metadata>) {
        self.files.push((path.to_owned(), meta.map(Stamp::of)));
        self.at = Some(SystemTime::now());
    }

    /// A pattern and what it stood for; a name without wildcards is a file.
    pub(super) fn pattern(&mut self, pattern: &str, paths: &[PathBuf]) {
        if paths.first().is_none_or(|path| path.as_os_str() != pattern) {
            self.patterns.push((pattern.to_owned(), paths.to_vec()));
        }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().filter(|(_, stamp)| stamp.is_some()).map(|(path, _)| path.as_path())
    }

    /// All of it is as it was.
    pub(super) fn is_current(&self) -> bool {
        let same = |(path, stamp): &(PathBuf, Option<Stamp>)| match std::fs::metadata(path) {
            Ok(meta) => *stamp == Some(Stamp::of(&meta)),
            Err(error) => stamp.is_none() && error.kind() == ErrorKind::NotFound,
        };
        let stands = |(pattern, paths): &(String, Vec<PathBuf>)| {
            expand(pattern).is_ok_and(|now| now == *paths)
        };
        self.files.iter().all(same) && self.patterns.iter().all(stands)
    }

    /// No file had changed so recently that its next change could look the same.
    pub(super) fn is_settled(&self) -> bool {
        let Some(at) = self.at else { return true };
        let old = |stamp: &Stamp| {
            stamp.changed().and_then(|t| t.checked_add(TICK)).is_some_and(|t| t < at)
        };
        self.files.iter().filter_map(|(_, stamp)| stamp.as_ref()).all(old)
    }
}
