//! Local directories that files from a node are put into.
//!
//! A directory is a descriptor; everything below it is reached by single names relative to it and
//! never through a symbolic link, so that nothing a node names lies outside of where the user
//! pointed. Work on files is done by a few threads, not by the engine's own.

use super::fault::Fault;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fchmod, fstat, futimens, linkat,
    mkdirat, openat, readlinkat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Threads that work on files at once.
const THREADS: usize = 8;

/// The threads that work on files.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Semaphore>);

impl Default for Disk {
    fn default() -> Self {
        Disk(Arc::new(Semaphore::new(THREADS)))
    }
}

impl Disk {
    /// Does something that may take a disk's time.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let gone = || Fault::fatal("internal", "the core is ending");
        let permit = self.0.clone().acquire_owned().await.map_err(|_| gone())?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| gone())?
    }
}

/// A local directory.
#[derive(Debug)]
pub(crate) struct LocalDir(OwnedFd);

impl LocalDir {
    /// Where the user pointed; links are followed.
    pub(crate) fn at(path: &Path) -> Result<LocalDir, Fault> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(LocalDir(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// A directory in this one, which is no link.
    pub(crate) fn dir(&self, name: &[u8]) -> Result<LocalDir, Fault> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(&self.0, inside(name)?, flags, Mode::empty()) {
            Ok(fd) => Ok(LocalDir(fd)),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(Fault::new("link", "a link or a file is where a directory should be"))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// The same, made if it is not there. True if it is new.
    pub(crate) fn make_dir(&self, name: &[u8], mode: u32) -> Result<(LocalDir, bool), Fault> {
        let new = match mkdirat(&self.0, inside(name)?, bits(mode)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        Ok((self.dir(name)?, new))
    }

    /// The directory at the end of these names, each a directory and no link.
    pub(crate) fn walk(&self, path: &[u8]) -> Result<LocalDir, Fault> {
        let mut at = LocalDir(self.0.try_clone()?);
        for name in path.split(|b| *b == b'/').filter(|n| !n.is_empty()) {
            at = at.dir(name)?;
        }
        Ok(at)
    }

    /// A new file that was not there before, open for reading too.
    pub(crate) fn create(&self, name: &[u8], mode: u32) -> Result<File, Fault> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(openat(&self.0, inside(name)?, flags, bits(mode))?.into())
    }

    /// A regular file that is there, or a new one.
    pub(crate) fn reopen(&self, name: &[u8], mode: u32) -> Result<File, Fault> {
        let flags =
            OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file: File = openat(&self.0, inside(name)?, flags, bits(mode))?.into();
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(Fault::new("link", "something else is where a file should be")),
        }
    }

    /// A regular file, to read.
    pub(crate) fn open(&self, name: &[u8]) -> Result<File, Fault> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file: File = openat(&self.0, inside(name)?, flags, Mode::empty())?.into();
        match FileType::from_raw_mode(fstat(&file)?.st_mode) {
            FileType::RegularFile => Ok(file),
            _ => Err(Fault::new("link", "something else is where a file should be")),
        }
    }

    /// Its device and number.
    pub(crate) fn itself(&self) -> Result<(u64, u64), Fault> {
        let stat = fstat(&self.0)?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// What a link says.
    pub(crate) fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, Fault> {
        Ok(readlinkat(&self.0, inside(name)?, Vec::new())?.into_bytes())
    }

    /// What is there, if anything; links are not followed.
    pub(crate) fn stat(&self, name: &[u8]) -> Result<Option<Stat>, Fault> {
        match statat(&self.0, inside(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(crate) fn is_link(&self, name: &[u8]) -> Result<bool, Fault> {
        let stat = self.stat(name)?;
        Ok(stat.is_some_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Symlink))
    }

    /// Gives a file its name; what had it is replaced.
    pub(crate) fn rename(&self, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        Ok(renameat(&self.0, inside(from)?, &self.0, inside(to)?)?)
    }

    /// The same from one directory to another.
    pub(crate) fn rename_to(&self, from: &[u8], dir: &LocalDir, to: &[u8]) -> Result<(), Fault> {
        Ok(renameat(&self.0, inside(from)?, &dir.0, inside(to)?)?)
    }

    /// Gives a file or link one more name, in another directory.
    pub(crate) fn link_to(&self, from: &[u8], dir: &LocalDir, to: &[u8]) -> Result<(), Fault> {
        Ok(linkat(&self.0, inside(from)?, &dir.0, inside(to)?, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, name: &[u8]) -> Result<(), Fault> {
        Ok(unlinkat(&self.0, inside(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Makes a link, over a file or link that is there.
    pub(crate) fn symlink(&self, target: &[u8], name: &[u8]) -> Result<(), Fault> {
        let (target, name) = (OsStr::from_bytes(target), inside(name)?);
        match symlinkat(target, &self.0, name) {
            Err(Errno::EXIST) => {
                unlinkat(&self.0, name, AtFlags::empty())?;
                Ok(symlinkat(target, &self.0, name)?)
            }
            done => Ok(done?),
        }
    }

    pub(crate) fn remove(&self, name: &[u8]) -> Result<(), Fault> {
        Ok(unlinkat(&self.0, inside(name)?, AtFlags::empty())?)
    }

    /// Removes a file, or a directory with all that is in it; says how many.
    pub(crate) fn remove_all(&self, name: &[u8]) -> Result<u64, Fault> {
        match unlinkat(&self.0, inside(name)?, AtFlags::empty()) {
            Ok(()) => return Ok(1),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
        let dir = self.dir(name)?;
        let mut n = 0;
        for name in dir.names()? {
            n += dir.remove_all(&name)?;
        }
        unlinkat(&self.0, inside(name)?, AtFlags::REMOVEDIR)?;
        Ok(n + 1)
    }

    /// Every name in it.
    pub(crate) fn names(&self) -> Result<Vec<Vec<u8>>, Fault> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Its own mode and times.
    pub(crate) fn settle(&self, mode: Option<u32>, times: Option<(u32, u32)>) -> Result<(), Fault> {
        settle(&self.0, mode, times)
    }
}

/// Sets a file's mode and times, where they are given.
pub(crate) fn settle(
    file: impl std::os::fd::AsFd,
    mode: Option<u32>,
    times: Option<(u32, u32)>,
) -> Result<(), Fault> {
    if let Some(mode) = mode {
        fchmod(&file, bits(mode))?;
    }
    if let Some((access, change)) = times {
        let at = |seconds: u32| Timespec { tv_sec: seconds.into(), tv_nsec: 0 };
        let times = Timestamps { last_access: at(access), last_modification: at(change) };
        futimens(&file, &times)?;
    }
    Ok(())
}

/// A name a node gave is one name, and leads nowhere.
pub(crate) fn inside(name: &[u8]) -> Result<&OsStr, Fault> {
    let bad = name.is_empty()
        || name == b"."
        || name == b".."
        || name.iter().any(|b| matches!(b, b'/' | 0));
    match bad {
        true => Err(Fault::fatal("unsafeName", "the node sent a name that leads elsewhere")),
        false => Ok(OsStr::from_bytes(name)),
    }
}

fn bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_is_reached_through_a_link_or_a_strange_name() {
        let home = tempfile::tempdir().unwrap();
        let (root, outside) = (home.path().join("root"), home.path().join("outside"));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(outside.join("d")).unwrap();
        std::fs::write(outside.join("f"), "old").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink(outside.join("f"), root.join("file")).unwrap();
        let dir = LocalDir::at(&root).unwrap();
        assert_eq!(dir.dir(b"link").unwrap_err().code, "link");
        assert_eq!(dir.make_dir(b"link", 0o755).unwrap_err().code, "link");
        assert_eq!(dir.walk(b"link/d").unwrap_err().code, "link");
        assert!(dir.reopen(b"file", 0o644).is_err());
        for name in [&b".."[..], b".", b"", b"a/b", b"/etc", b"a\0b"] {
            let fault = dir.create(name, 0o644).unwrap_err();
            assert!(fault.fatal && fault.code == "unsafeName", "{name:?}");
            assert!(dir.make_dir(name, 0o755).is_err() && dir.symlink(b"x", name).is_err());
        }
        dir.symlink(b"elsewhere", b"file").unwrap();
        assert_eq!(dir.remove_all(b"link").unwrap(), 1);
        assert_eq!(std::fs::read(outside.join("f")).unwrap(), b"old");
        assert!(outside.join("d").exists(), "a link is removed, not what it points to");
    }
}
