//! A pair of roots ready to be worked on: locks, store, both roots, lease, and what an earlier run
//! left is dealt with.

use super::ends::{Count, Ends, Stop, TIDY, Traffic};
use super::journal::Record;
use super::lease::{self, Held, RENEW};
use super::lock::{Lock, WAIT};
use super::options::{Options, Pair};
use super::round::Wanted;
use super::store::{Identity, Store};
use super::{backup, filter, recover};
use crate::pool::Lease;
use crate::transfer::{Disk, Fault, LocalDir, join, remote};
use bssh_protocol::lock;
use bssh_protocol::sync::SyncAction;
use bssh_ssh::sftp::{Attrs, FileKind, Sftp};
use ring::digest::{SHA256, digest};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// An open pair.
pub(crate) struct Opened {
    pub ends: Ends,
    pub store: Arc<Mutex<Store>>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// An earlier run may have left temporary files on the node.
    littered: AtomicBool,
    /// None: a dry run.
    held: Option<Held>,
    _locks: (Lock, Lock),
}

/// What a pair is opened with.
pub(crate) struct With<'a> {
    pub options: &'a Options,
    pub pair: &'a Pair,
    pub wanted: Wanted,
    pub lease: Arc<Lease>,
    pub sftp: Sftp,
    pub count: Arc<Count>,
    pub stop: Arc<Stop>,
}

/// Opens a pair.
///
/// # Errors
/// Whatever is in the way; nothing has been changed then but directories of ours.
pub(crate) async fn open(with: With<'_>) -> Result<Opened, Fault> {
    let (options, pair) = (with.options, with.pair);
    let dir = options.state.join(&pair.key);
    let first = Lock::take(&dir.join("lock"), WAIT).await?;
    let store = Store::open(&dir)?;
    let is_new = store.base.is_empty();
    // A root that was there once is made again only if that is wished: all would look deleted.
    let makes = (is_new || with.wanted.force_delete) && !with.wanted.dry_run;
    let makes_here = makes && with.wanted.action != SyncAction::Push;
    let local = local_root(&pair.local, makes_here)?;
    let root_lock = options.state.join("roots").join(format!("{}.lock", hex(&local.1)));
    let second = Lock::take(&root_lock, WAIT).await?;
    let makes_there = makes && with.wanted.action != SyncAction::Back;
    let dry = with.wanted.dry_run;
    let there = remote_root(&with.sftp, &pair.remote, (makes_there, dry && is_new)).await?;
    let machine = machine(&options.state, &pair.local)?;
    let held = match dry {
        // Nothing is changed, so nobody has to be kept away.
        true => None,
        false => Some(lease::take(&with.sftp, &there, &machine, WAIT).await?),
    };
    let nonce = held.as_ref().map_or_else(lease::nonce, |held| held.nonce.clone());
    if let Some(held) = held.as_ref().filter(|_| is_same_tree(&local.1, &there, &nonce)) {
        held.release(&with.sftp).await;
        let text = "the two directories are the same, or one is inside the other";
        return Err(Fault::fatal("syncSameTree", text));
    }
    let mut notes: Vec<String> = Vec::new();
    if let Some(who) = held.as_ref().and_then(|held| held.expired.as_ref()) {
        notes.push(format!("took over from {who}, which has not been heard of for a minute"));
    }
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let nonce = nonce.get(..8).unwrap_or_default();
    let ends = Ends {
        disk: Disk::default(),
        traffic: Traffic::default(),
        lease: with.lease,
        here: Arc::new(local.0),
        root: local.1.clone(),
        there,
        filter: pair.filter.clone(),
        most_files: options.most_files,
        clock: held.as_ref().map_or(0, |held| held.clock),
        run: format!("{}-{nonce}", filter::utc(now)),
        count: with.count,
        stop: with.stop,
        sftp: with.sftp,
    };
    let littered = AtomicBool::new(store.littered);
    let store = Arc::new(Mutex::new(store));
    let opened = Opened { ends, store, notes, littered, held, _locks: (first, second) };
    match ready(opened, options).await {
        Ok(opened) => Ok(opened),
        Err((opened, fault)) => {
            opened.close().await;
            Err(fault)
        }
    }
}

/// Checks that the base belongs to this root, and deals with what was left.
async fn ready(mut opened: Opened, options: &Options) -> Result<Opened, (Box<Opened>, Fault)> {
    let prepared = async {
        let ends = &opened.ends;
        let dry = opened.held.is_none();
        let identity = Identity {
            host_key: ends.lease.connection.facts().host_key.clone(),
            root: ends.there.clone(),
            token: lease::token(&ends.sftp, &ends.there, dry).await?,
        };
        let known = lock(&opened.store).identity.clone();
        let mut notes = Vec::new();
        if known != identity {
            if !lock(&opened.store).base.is_empty() {
                notes.push(
                    "the node or its directory is another one than before: starting anew"
                        .to_owned(),
                );
            }
            let store = opened.store.clone();
            let restart = move || match dry {
                true => {
                    lock(&store).base.clear();
                    Ok(())
                }
                false => Ok(lock(&store).restart(identity)?),
            };
            ends.disk.run(restart).await?;
        }
        if dry {
            return Ok(notes);
        }
        let n = recover::recover(ends, &opened.store).await?;
        if n > 0 {
            notes.push(format!("an earlier sync was cut off; {n} files were taken care of"));
        }
        let age = options.backup;
        ends.on_disk(move |here| backup::prune(here, age)).await?;
        Ok::<_, Fault>(notes)
    };
    match prepared.await {
        Ok(notes) => {
            opened.notes.extend(notes);
            Ok(opened)
        }
        Err(fault) => Err((Box::new(opened), fault)),
    }
}

impl Opened {
    /// Keeps the lease for as long as it is polled. Resolves when that fails.
    pub(crate) async fn stay(&self) -> Fault {
        loop {
            tokio::time::sleep(RENEW).await;
            let Some(held) = &self.held else { continue };
            if let Err(fault) = held.renew(&self.ends.sftp).await {
                return fault.while_doing("the node's lease cannot be renewed");
            }
        }
    }

    /// Temporary files of an earlier run may be on the node, and nobody has looked yet.
    pub(crate) fn is_littered(&self) -> bool {
        self.littered.load(Relaxed)
    }

    /// There are none any more.
    pub(crate) fn swept(&self) {
        self.littered.store(false, Relaxed);
    }

    /// Gives everything back.
    pub(crate) async fn close(&self) {
        self.ends.tidy().await;
        if !self.is_littered() && self.ends.left_over().is_empty() {
            let store = self.store.clone();
            let clean = move || {
                let mut store = lock(&store);
                match store.littered {
                    true => Ok(store.done(vec![Record::Littered(false)])?),
                    false => Ok(()),
                }
            };
            // Unknown is littered: the next run looks.
            let _ = self.ends.disk.run(clean).await;
        }
        if let Some(held) = &self.held {
            // A node that does not answer lets it expire.
            let _ = tokio::time::timeout(TIDY, held.release(&self.ends.sftp)).await;
        }
    }
}

fn hex(path: &Path) -> String {
    let hash = digest(&SHA256, path.as_os_str().as_bytes());
    hash.as_ref().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// The local root and its real path.
fn local_root(path: &Path, make: bool) -> Result<(LocalDir, std::path::PathBuf), Fault> {
    if make {
        std::fs::create_dir_all(path)?;
    }
    let named = |fault: Fault| fault.while_doing(&path.display().to_string());
    let real = path.canonicalize().map_err(|e| named(missing_root(e.into())))?;
    Ok((LocalDir::at(&real).map_err(named)?, real))
}

/// Its own cause, with advice of its own.
fn missing_root(fault: Fault) -> Fault {
    match fault.is_missing() {
        true => Fault::new("syncHalted", "the directory is not there"),
        false => fault,
    }
}

/// The node's root, absolute: made if that is wished, or taken to be empty.
async fn remote_root(
    sftp: &Sftp,
    path: &[u8],
    (make, may_be_absent): (bool, bool),
) -> Result<Vec<u8>, Fault> {
    let path = remote::absolute(sftp, path).await?;
    if make {
        let ends = path.iter().enumerate().filter(|(at, b)| **b == b'/' && *at > 0);
        let mut dirs: Vec<&[u8]> = ends.filter_map(|(at, _)| path.get(..at)).collect();
        dirs.push(&path);
        // The server takes them in order; those that are there are left as they are.
        let attrs = Attrs::default();
        let making = dirs.iter().map(|dir| sftp.make_dir(dir, &attrs));
        futures_util::future::join_all(making).await;
    }
    let (real, stat) =
        futures_util::future::join(sftp.real_path(&path), remote::stat(sftp, &path)).await;
    let named = String::from_utf8_lossy(&path).into_owned();
    match stat?.map(|attrs| attrs.kind()) {
        Some(FileKind::Dir) => Ok(real?.to_vec()),
        Some(_) => Err(Fault::new("notDirectory", format!("{named} on the node is no directory"))),
        None if may_be_absent => Ok(path),
        None => {
            let text = format!("the directory {named} is not there on the node");
            Err(Fault::new("syncHalted", text))
        }
    }
}

/// Who we are, for others: this host and directory, and a number that is ours.
fn machine(state: &Path, local: &Path) -> Result<String, Fault> {
    let file = state.join("machine");
    let id = match std::fs::read_to_string(&file) {
        Ok(text) if text.trim().len() == 32 => text.trim().to_owned(),
        _ => {
            let id = lease::nonce();
            let mut options = std::fs::OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&file)?;
            file.write_all(id.as_bytes())?;
            id
        }
    };
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    let local = String::from_utf8_lossy(local.as_os_str().as_bytes()).replace(['\n', '\r'], " ");
    Ok(format!("{host}:{local} ({id})"))
}

/// The node's root is a directory of this machine, and overlaps with ours.
fn is_same_tree(local: &Path, there: &[u8], nonce: &str) -> bool {
    let has_it = |root: &Path| {
        let owner = root.join(std::ffi::OsStr::from_bytes(&join(filter::OWN, b"lease/owner")));
        std::fs::read_to_string(owner).is_ok_and(|text| text.contains(nonce))
    };
    if local.ancestors().any(has_it) {
        return true;
    }
    let there = Path::new(std::ffi::OsStr::from_bytes(there));
    has_it(there) && there.canonicalize().is_ok_and(|real| real.starts_with(local))
}
