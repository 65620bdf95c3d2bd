//! The two ends of a sync at work: the local root, the node's file server, and what may be on the
//! way between them.

use super::filter::Filter;
use super::model::Rel;
use crate::descriptors::files_of_one;
use crate::pool::Lease;
use crate::transfer::{Disk, Fault, LocalDir, join};
use bssh_protocol::lock;
use bssh_ssh::sftp::Sftp;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// Bytes of all files that may be on the way.
const ON_THE_WAY: usize = 16 << 20;
/// Blocks of one file on the way.
pub(crate) const DEPTH: usize = 64;
/// How long a node may take to remove what we left there.
pub(crate) const TIDY: Duration = Duration::from_secs(3);
/// Requests about names at once.
pub(crate) const NAMES: usize = 128;

/// Both ends.
pub(crate) struct Ends {
    pub sftp: Sftp,
    pub lease: Arc<Lease>,
    pub disk: Disk,
    /// The local root.
    pub here: Arc<LocalDir>,
    /// Where it lies.
    pub root: PathBuf,
    /// The node's root, absolute.
    pub there: Vec<u8>,
    pub filter: Filter,
    /// What its files and directories may be, together.
    pub most_files: usize,
    /// The node's clock when we began, in seconds.
    pub clock: u32,
    /// Names the backups of this run.
    pub run: String,
    pub count: Arc<Count>,
    pub stop: Arc<Stop>,
    pub traffic: Traffic,
}

/// What is between the two ends.
pub(crate) struct Traffic {
    on_the_way: Semaphore,
    /// Files under way at once, as far as the limit of open files goes.
    files: usize,
    next: AtomicU64,
    /// Temporary files on the node that have no name yet.
    unnamed: Mutex<BTreeSet<Rel>>,
}

impl Default for Traffic {
    fn default() -> Self {
        let on_the_way = Semaphore::new(ON_THE_WAY);
        let (next, unnamed) = (AtomicU64::new(0), Mutex::default());
        Traffic { on_the_way, files: files_of_one(), next, unnamed }
    }
}

/// How far a run has got; anybody may read it.
#[derive(Default)]
pub(crate) struct Count {
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    pub total_files: AtomicU64,
    pub total_bytes: AtomicU64,
    /// Names are being taken: ending now has to wait.
    pub committing: AtomicU64,
}

impl Count {
    pub(crate) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }
}

/// Whether a run is to end.
pub(crate) struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Stop(watch::channel(false).0)
    }
}

impl Stop {
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn stopped(&self) {
        let mut stop = self.0.subscribe();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Ends {
    /// A path on the node.
    pub(crate) fn far(&self, path: &[u8]) -> Vec<u8> {
        join(&self.there, path)
    }

    /// A temporary name beside a path, which nobody has.
    pub(crate) fn temporary(&self, path: &[u8]) -> Rel {
        let n = self.traffic.next.fetch_add(1, Relaxed);
        let mut name = self.filter.temp.clone();
        name.extend(format!("{}-{n:x}.tmp", self.run).bytes());
        join(crate::transfer::split(path).0, &name)
    }

    /// A temporary file on the node that is to go unless it gets its name.
    pub(crate) fn unnamed(&self, temp: &Rel) {
        lock(&self.traffic.unnamed).insert(temp.clone());
    }

    /// It has its name, or is gone.
    pub(crate) fn named(&self, temp: &Rel) {
        lock(&self.traffic.unnamed).remove(temp);
    }

    /// Temporary files that have no name.
    pub(crate) fn left_over(&self) -> BTreeSet<Rel> {
        lock(&self.traffic.unnamed).clone()
    }

    /// Removes what has no name, as far as the node lets us.
    pub(crate) async fn tidy(&self) {
        let left = self.left_over();
        let removing = left.iter().map(|temp| super::put::discard(self, temp));
        // What stays is removed by a later run.
        let _ = tokio::time::timeout(TIDY, futures_util::future::join_all(removing)).await;
    }

    /// Room for so many bytes; waits until others have arrived.
    pub(crate) async fn budget(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Fault> {
        let wanted = u32::try_from(bytes.clamp(1, ON_THE_WAY)).unwrap_or(u32::MAX);
        let permit = self.traffic.on_the_way.acquire_many(wanted).await;
        permit.map_err(|_| Fault::fatal("internal", "the core is ending"))
    }

    /// Files under way at once.
    pub(crate) fn files_at_once(&self) -> usize {
        let handles = self.sftp.limits().handles as usize;
        handles.saturating_sub(8).clamp(1, self.traffic.files)
    }

    /// The node may have changed a file of this time once more without its time changing.
    pub(crate) fn is_racy(&self, mtime: u32) -> bool {
        mtime.saturating_add(2) >= self.clock
    }

    /// Does something on the disk with the local root.
    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LocalDir) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let here = self.here.clone();
        self.disk.run(move || work(&here)).await
    }
}
