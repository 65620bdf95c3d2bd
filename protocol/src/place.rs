//! Where a user's shared core listens, and what makes the place trustworthy. Both sides compute
//! and check the same: the core before it listens, a frontend before it connects.
//!
//! Only names and rules: nothing here touches a file. The major version is in the socket's name,
//! so that cores of two majors can live side by side.

use crate::handshake::MAJOR;
use std::path::{Path, PathBuf};

/// The longest path a Unix socket may have, in bytes (macOS; Linux takes four more).
pub const LONGEST: usize = 103;

/// The directory of a user's cores: `bssh` in `XDG_RUNTIME_DIR`, else `bssh-UID` in `TMPDIR` or
/// `/tmp`. Both variables count only if they are absolute.
pub fn directory(runtime: Option<&str>, temp: Option<&str>, uid: u32) -> PathBuf {
    let absolute = |dir: Option<&str>| dir.map(PathBuf::from).filter(|dir| dir.is_absolute());
    match (absolute(runtime), absolute(temp)) {
        (Some(dir), _) => dir.join("bssh"),
        (None, temp) => temp.unwrap_or_else(|| PathBuf::from("/tmp")).join(format!("bssh-{uid}")),
    }
}

/// The socket in such a directory.
pub fn socket(directory: &Path) -> PathBuf {
    directory.join(format!("v{MAJOR}.sock"))
}

/// What kind of file something is; links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Directory,
    Socket,
    /// A link above all.
    Other,
}

/// What `lstat` says of a path.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub kind: FileKind,
    pub owner: u32,
    /// Permission bits.
    pub mode: u32,
}

/// May this user's core live here, or be looked for here?
///
/// # Errors
/// Why not, and what to do.
pub fn trusted(path: &Path, seen: Seen, wanted: FileKind, uid: u32) -> Result<(), String> {
    let shown = path.display();
    let what = if wanted == FileKind::Socket { "socket" } else { "directory" };
    if seen.kind != wanted {
        return Err(format!("{shown} is not a {what} (links are not followed); remove it"));
    }
    if seen.owner != uid {
        return Err(format!("{shown} belongs to user {}, not to {uid}", seen.owner));
    }
    if seen.mode & 0o077 != 0 {
        let mode = seen.mode & 0o777;
        return Err(format!("{shown} has mode {mode:04o}: others must not get in; chmod go= it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_directory_comes_first() {
        for (runtime, temp, want) in [
            (Some("/run/user/7"), Some("/t"), "/run/user/7/bssh"),
            (Some("run"), Some("/t"), "/t/bssh-7"),
            (None, None, "/tmp/bssh-7"),
        ] {
            assert_eq!(directory(runtime, temp, 7), Path::new(want));
        }
        assert_eq!(socket(Path::new("/d")), Path::new("/d/v1.sock"));
    }

    #[test]
    fn only_our_own_closed_places_are_trusted() {
        let path = Path::new("/d");
        let seen = |kind, owner, mode| Seen { kind, owner, mode };
        let ask = |s| trusted(path, s, FileKind::Directory, 7).err().unwrap_or_default();
        assert_eq!(ask(seen(FileKind::Directory, 7, 0o700)), "");
        assert!(ask(seen(FileKind::Other, 7, 0o777)).contains("links are not followed"));
        assert!(ask(seen(FileKind::Directory, 8, 0o700)).contains("belongs to user 8"));
        assert!(ask(seen(FileKind::Directory, 7, 0o750)).contains("mode 0750"));
    }
}
