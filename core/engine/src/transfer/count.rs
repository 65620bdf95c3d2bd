//! What a node's transfer has done so far: counters anybody may read, faults, and files that are
//! to be removed again.

use super::fault::Fault;
use bssh_protocol::lock;
use bssh_protocol::transfer::{FileFault, NodeProgress, Transferred};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

/// Faults that are kept; the others are counted.
const MOST_FAULTS: usize = 1000;

/// One node's counters.
#[derive(Default)]
pub(crate) struct Count {
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    pub dirs: AtomicU64,
    pub links: AtomicU64,
    pub skipped: AtomicU64,
    pub deleted: AtomicU64,
    pub resumed: AtomicU64,
    pub total_files: AtomicU64,
    pub total_bytes: AtomicU64,
    /// Anything that shows that the node is alive.
    pub steps: AtomicU64,
    faults: Mutex<Faults>,
    temporary: Mutex<BTreeSet<Vec<u8>>>,
    places: OnceLock<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct Faults {
    kept: Vec<FileFault>,
    n: u64,
}

impl Count {
    pub(crate) fn add(&self, counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
        self.steps.fetch_add(1, Relaxed);
    }

    /// A file that is not transferred, and why.
    pub(crate) fn fault(&self, path: &[u8], fault: &Fault) {
        self.steps.fetch_add(1, Relaxed);
        let mut faults = lock(&self.faults);
        faults.n += 1;
        if faults.kept.len() < MOST_FAULTS {
            faults.kept.push(FileFault {
                path: path.into(),
                code: fault.code.to_owned(),
                message: crate::failure::one_line(&fault.message),
                here: fault.here,
            });
        }
    }

    /// A file on the node that has no business there if we end now.
    pub(crate) fn temporary(&self, path: &[u8]) {
        lock(&self.temporary).insert(path.to_vec());
    }

    /// It has its final name, or is gone.
    pub(crate) fn settled(&self, path: &[u8]) {
        lock(&self.temporary).remove(path);
    }

    pub(crate) fn left_over(&self) -> BTreeSet<Vec<u8>> {
        std::mem::take(&mut *lock(&self.temporary))
    }

    /// Where each source goes on the node.
    pub(crate) fn goes_to(&self, places: &[Vec<u8>]) {
        self.places.get_or_init(|| places.to_vec());
    }

    pub(crate) fn places(&self) -> Option<&[Vec<u8>]> {
        self.places.get().map(Vec::as_slice)
    }

    /// How far another core has got with the node.
    pub(crate) fn note(&self, now: &NodeProgress) {
        self.files.store(now.files, Relaxed);
        self.bytes.store(now.bytes, Relaxed);
        self.total_files.store(now.total_files, Relaxed);
        self.total_bytes.store(now.total_bytes, Relaxed);
    }

    pub(crate) fn progress(&self, index: u32) -> NodeProgress {
        NodeProgress {
            index,
            files: self.files.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            total_files: self.total_files.load(Relaxed),
            total_bytes: self.total_bytes.load(Relaxed),
        }
    }

    pub(crate) fn transferred(&self) -> Transferred {
        let mut faults = lock(&self.faults);
        Transferred {
            failure: None,
            files: self.files.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            dirs: self.dirs.load(Relaxed),
            links: self.links.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
            deleted: self.deleted.load(Relaxed),
            resumed_bytes: self.resumed.load(Relaxed),
            n_faults: faults.n,
            faults: std::mem::take(&mut faults.kept),
            duration_ms: 0,
        }
    }
}
