//! The place of a shared core: its directory, its socket, and the lock that makes two starters
//! yield one core.
//!
//! Whoever holds the lock may look whether somebody listens, and put a socket in place by
//! renaming it: so the name always leads to a core that listens, or to a dead one's socket, which
//! refuses connections and is replaced.

use bssh_engine::Environment;
use bssh_protocol::place::{self, FileKind, Seen};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A directory that is ours, and nobody else's.
pub(crate) struct Claim {
    directory: PathBuf,
    socket: PathBuf,
    /// Which file our socket is: another one at its name is not ours to remove.
    own: (u64, u64),
}

/// What became of the attempt to be the core.
pub(crate) enum Claimed {
    Ours(Claim, UnixListener),
    /// Somebody listens already.
    Taken(PathBuf),
}

impl Claim {
    /// Becomes the user's core, unless there is one.
    ///
    /// # Errors
    /// A place that cannot be trusted or used, each with what to do.
    pub(crate) fn take(env: &Environment) -> Result<Claimed, String> {
        let (directory, socket) = place_of(env)?;
        let at = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
        let _lock = lock(&directory).map_err(|e| at(&directory, e))?;
        if let Some(seen) = look(&socket).map_err(|e| at(&socket, e))? {
            place::trusted(&socket, seen, FileKind::Socket, env.uid)?;
            if UnixStream::connect(&socket).is_ok() {
                return Ok(Claimed::Taken(socket));
            }
        }
        let fresh = directory.join(format!("v1.{}", std::process::id()));
        let listener = listen(&fresh).map_err(|e| at(&fresh, e))?;
        std::fs::rename(&fresh, &socket).map_err(|e| at(&socket, e))?;
        let own = rustix::fs::lstat(&socket).map_err(|e| at(&socket, e.into()))?;
        let claim = Claim { directory, socket, own: (own.st_dev, own.st_ino) };
        Ok(Claimed::Ours(claim, listener))
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Nobody new finds us from now on; another core may take the name.
    pub(crate) fn release(&self) {
        // Without the lock somebody else may be putting its socket there.
        let Ok(_lock) = lock(&self.directory) else { return };
        let there = rustix::fs::lstat(&self.socket).map(|s| (s.st_dev, s.st_ino));
        if there.is_ok_and(|there| there == self.own) {
            let _ = std::fs::remove_file(&self.socket);
        }
    }
}

/// The directory, made and checked, and the socket's name in it.
///
/// # Errors
/// As [`Claim::take`].
pub(crate) fn place_of(env: &Environment) -> Result<(PathBuf, PathBuf), String> {
    let directory = place::directory(env.var("XDG_RUNTIME_DIR"), env.var("TMPDIR"), env.uid);
    let socket = place::socket(&directory);
    if socket.as_os_str().len() > place::LONGEST - SUFFIX {
        return Err(format!("{} is too long for a socket's name", socket.display()));
    }
    make(&directory, env.uid)?;
    Ok((directory, socket))
}

/// What a process id may add to a socket's name.
const SUFFIX: usize = 8;

/// Makes the directory if it is not there, and checks it.
fn make(directory: &Path, uid: u32) -> Result<(), String> {
    let at = |e: io::Error| format!("{}: {e}", directory.display());
    match rustix::fs::mkdir(directory, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(format!("cannot make {}", at(error.into()))),
    }
    let seen = look(directory).map_err(at)?;
    let gone = || at(io::ErrorKind::NotFound.into());
    place::trusted(directory, seen.ok_or_else(gone)?, FileKind::Directory, uid)
}

/// What is there; links are not followed.
fn look(path: &Path) -> io::Result<Option<Seen>> {
    let stat = match rustix::fs::lstat(path) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => FileKind::Directory,
        FileType::Socket => FileKind::Socket,
        _ => FileKind::Other,
    };
    Ok(Some(Seen { kind, owner: stat.st_uid, mode: stat.st_mode & 0o7777 }))
}

/// Waits for the others who are starting; they take milliseconds.
fn lock(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = rustix::fs::openat(CWD, directory.join("lock"), flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    // One who died in the middle may have had our number.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
