//! Writing known_hosts: learn a key, replace a host's keys.
//!
//! Every change happens under an exclusive lock on the file and looks at it once more first, so
//! that many connections and processes learn a key once. Replacing writes a new file and renames
//! it; whoever waited for the lock of the old one notices and starts over.

use super::{BASE64, FILES, Hosts, KnownFile, Line, Marker, load};
use crate::file_cache::is_missing;
use base64::Engine;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// Bytes of a salt and of a hash: SHA-1.
pub(super) const SALT: usize = 20;
/// How long another process may hold the lock.
const LOCK_TRIES: u32 = 250;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Written,
    /// It is there already.
    Nothing,
    /// Another key was filed for the host in the meantime.
    OtherKey,
}

/// Files a key under a name.
///
/// # Errors
/// The file cannot be created, locked within 5 s, or written.
pub(crate) async fn add(
    path: &Path,
    name: &str,
    key: (&str, &[u8]),
    hash: bool,
) -> io::Result<Change> {
    let mut file = locked(path).await?;
    let known = load(path).map_err(|e| io::Error::other(e.to_string()))?.unwrap_or_default();
    let same_name = known.find(&name.to_ascii_lowercase());
    let plain: Vec<Vec<u8>> =
        same_name.iter().filter(|l| l.marker == Marker::None).filter_map(|l| l.blob()).collect();
    let unfinished = known.unfinished;
    drop(known);
    if !plain.is_empty() {
        let same = plain.iter().any(|blob| blob == key.1);
        return Ok(if same { Change::Nothing } else { Change::OtherKey });
    }
    let line = line(name, key, hash)?;
    let text = if unfinished { format!("\n{line}") } else { line };
    let before = file.seek(SeekFrom::End(0))?;
    file.write_all(text.as_bytes())?;
    FILES.follow(path, before, |known| known.extend(text.as_bytes()));
    Ok(Change::Written)
}

/// Makes the plain entries of a name exactly these keys; other lines stay as they are.
///
/// # Errors
/// As [`add`].
pub(crate) async fn replace(
    path: &Path,
    name: &str,
    keys: &[(String, Vec<u8>)],
    hash: bool,
) -> io::Result<()> {
    let mut file = locked(path).await?;
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    let mut old = Vec::new();
    file.read_to_end(&mut old)?;
    let wanted = name.to_ascii_lowercase();
    let (mut new, mut have) = (Vec::with_capacity(old.len()), Vec::new());
    for raw in old.split_inclusive(|b| *b == b'\n') {
        let ours = Line::parse(0, raw)
            .filter(|l| l.marker == Marker::None && l.hosts.matches(&wanted))
            .and_then(|l| l.blob());
        match ours {
            Some(blob) if !keys.iter().any(|(_, k)| *k == blob) => continue,
            Some(blob) => have.push(blob),
            None => {}
        }
        new.extend_from_slice(raw);
        if !raw.ends_with(b"\n") {
            new.push(b'\n');
        }
    }
    for (key_type, blob) in keys.iter().filter(|(_, blob)| !have.contains(blob)) {
        new.extend_from_slice(line(name, (key_type, blob), hash)?.as_bytes());
    }
    if new == old {
        return Ok(());
    }
    // Through a symbolic link, the file it points to is the one to replace.
    let target = path.canonicalize()?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let fresh = target.with_extension(format!("bssh-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)
        .and_then(|mut f| f.write_all(&new).and_then(|()| f.sync_all()))
        .and_then(|()| std::fs::rename(&fresh, &target));
    if written.is_err() {
        // What is half written is of no use to anybody.
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

impl KnownFile {
    /// The line numbers' worth of reasons not to touch a name's entries: markers, patterns and
    /// lists of names were written by hand.
    pub(crate) fn is_by_hand(&self, name: &str) -> bool {
        self.find(name).iter().any(|line| match &line.hosts {
            _ if line.marker != Marker::None => true,
            Hosts::Plain(names) => **names != *name,
            Hosts::Patterns(_) => true,
            Hosts::Hashed { .. } => false,
        })
    }
}

pub(super) fn salted(salt: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt)
}

fn line(name: &str, (key_type, blob): (&str, &[u8]), hash: bool) -> io::Result<String> {
    let name = if hash { hashed(name)? } else { name.to_ascii_lowercase() };
    Ok(format!("{name} {key_type} {}\n", BASE64.encode(blob)))
}

fn hashed(name: &str) -> io::Result<String> {
    let mut salt = [0; SALT];
    SystemRandom::new().fill(&mut salt).map_err(|_| io::Error::other("no random numbers"))?;
    let hash = hmac::sign(&salted(&salt), name.to_ascii_lowercase().as_bytes());
    Ok(format!("|1|{}|{}", BASE64.encode(salt), BASE64.encode(hash)))
}

/// Opens the file for changing it, creating what is missing, and waits for its lock.
async fn locked(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    for _ in 0..LOCK_TRIES {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) if is_current(path, &file)? => return Ok(file),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other("another process keeps it locked"))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// The file was not replaced while we waited.
fn is_current(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(theirs) => Ok(ours.ino() == theirs.ino() && ours.dev() == theirs.dev()),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
