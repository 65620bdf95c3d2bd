//! One at a time: a lock for each sync and for each local root, held by an open file.
//!
//! The file says who holds it. Waiting ends after [`WAIT`], with the holder's process id.

use crate::transfer::Fault;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a sync waits for the one before it.
pub(crate) const WAIT: Duration = Duration::from_secs(60);
/// How often it looks; a lock has no way to tell.
const AGAIN: Duration = Duration::from_millis(50);

/// A lock that is held. Dropping it, or the end of the process, gives it back.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// # Errors
    /// `syncLocked`, naming the holder; the file cannot be made.
    pub(crate) async fn take(path: &Path, wait: Duration) -> Result<Lock, Fault> {
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let begun = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if begun.elapsed() < wait => {
                    tokio::time::sleep(AGAIN).await;
                }
                Err(Errno::WOULDBLOCK) => {
                    let mut holder = String::new();
                    // Who it is makes the message better, and no more.
                    let _ = file.read_to_string(&mut holder);
                    let text = format!(
                        "another sync of the same files is under way (process {})",
                        holder.trim()
                    );
                    return Err(Fault::new("syncLocked", text));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        file.set_len(0)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Lock { _file: file })
    }

    /// The process that holds a lock, if one does.
    pub(crate) fn holder(path: &Path) -> Option<u32> {
        let mut file = File::open(path).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => {}
            _ => return None,
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_one_learns_who_is_first() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("locks/a");
        let first = Lock::take(&path, WAIT).await.unwrap();
        let fault = Lock::take(&path, Duration::from_millis(80)).await.unwrap_err();
        let me = std::process::id();
        assert_eq!(fault.code, "syncLocked");
        assert!(fault.message.contains(&me.to_string()), "{}", fault.message);
        assert_eq!(Lock::holder(&path), Some(me));
        drop(first);
        assert_eq!(Lock::holder(&path), None);
        Lock::take(&path, Duration::ZERO).await.unwrap();
    }
}
