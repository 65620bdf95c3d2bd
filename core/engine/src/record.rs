//! What a run without a link has said so far, for those who ask later.
//!
//! Events of nodes are all kept; of the output the newest bytes are, and how many are gone is
//! known. A reader is slowed down by nobody and slows nobody down.

use bssh_protocol::exec::{ExecNode, Summary};
use bssh_protocol::lock;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// Output kept of one run, in bytes.
const MOST: usize = 8 << 20;
/// What a piece of output costs besides its bytes.
const PIECE: usize = 96;

/// One run's record.
pub(crate) struct Record {
    kept: Mutex<Kept>,
    /// The number of the next entry; for ever, once the run is over.
    next: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    entries: BTreeMap<u64, Entry>,
    /// The entries that are output, oldest first.
    output: VecDeque<u64>,
    next: u64,
    /// What the output costs.
    size: usize,
    /// Bytes of output so far.
    total: u64,
}

/// Something that happened, in order.
#[derive(Clone)]
pub(crate) enum Entry {
    Node(ExecNode),
    /// Output of a node; `at` is its place among all bytes of the run.
    Data {
        index: u32,
        stderr: bool,
        at: u64,
        bytes: Bytes,
    },
    Done(Summary),
}

impl Record {
    pub(crate) fn new() -> Arc<Record> {
        Arc::new(Record { kept: Mutex::default(), next: watch::channel(0).0 })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    /// An event of a node.
    pub(crate) fn node(&self, event: ExecNode) {
        self.add(Entry::Node(event));
    }

    /// The last entry.
    pub(crate) fn done(&self, summary: Summary) {
        self.add(Entry::Done(summary));
    }

    fn add(&self, entry: Entry) {
        let mut kept = self.kept();
        let number = kept.next;
        kept.entries.insert(number, entry);
        kept.next += 1;
        drop(kept);
        self.next.send_replace(number + 1);
    }

    /// Output of a node; the oldest goes if there is too much.
    pub(crate) fn output(&self, index: u32, stderr: bool, bytes: &[u8]) {
        let mut kept = self.kept();
        let (number, at) = (kept.next, kept.total);
        kept.total += bytes.len() as u64;
        kept.size += bytes.len() + PIECE;
        kept.next += 1;
        kept.output.push_back(number);
        // A slice may hold on to a larger buffer.
        let bytes = Bytes::copy_from_slice(bytes);
        kept.entries.insert(number, Entry::Data { index, stderr, at, bytes });
        while kept.size > MOST {
            let Some(oldest) = kept.output.pop_front() else { break };
            if let Some(Entry::Data { bytes, .. }) = kept.entries.remove(&oldest) {
                kept.size -= bytes.len() + PIECE;
            }
        }
        drop(kept);
        self.next.send_replace(number + 1);
    }

    /// Bytes of output so far, and bytes kept.
    pub(crate) fn bytes(&self) -> (u64, usize) {
        let kept = self.kept();
        (kept.total, kept.size)
    }

    /// The first entry from this number on, with its own number.
    pub(crate) fn read(&self, from: u64) -> Option<(u64, Entry)> {
        self.kept().entries.range(from..).next().map(|(n, entry)| (*n, entry.clone()))
    }

    /// Returns when there is an entry of this number.
    pub(crate) async fn reached(&self, number: u64) {
        // It never fails while we are here.
        let _ = self.next.subscribe().wait_for(|next| *next > number).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_output_is_kept_and_the_rest_is_counted() {
        let record = Record::new();
        record.node(ExecNode {
            run: 1,
            index: 0,
            node: "a".into(),
            state: bssh_protocol::exec::NodeState::Connecting { attempt: 1 },
        });
        for _ in 0..300 {
            record.output(0, false, &[b'x'; 64 << 10]);
        }
        let (total, kept) = record.bytes();
        assert_eq!(total, 300 << 16);
        assert!(kept <= MOST && kept > MOST / 2, "{kept}");
        assert!(matches!(record.read(0), Some((0, Entry::Node(_)))), "events stay");
        let Some((_, Entry::Data { at, .. })) = record.read(1) else { panic!("output") };
        assert!(at > 0);
    }
}
