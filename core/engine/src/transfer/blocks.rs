//! The blocks of one file, taken by everybody who carries it: several at a time on each channel,
//! and where the way is long, on several channels.
//!
//! Nobody is further ahead of the first block that has not arrived than allowed, so that what an
//! interrupted transfer leaves is complete up to there. Holes are left out.

use super::fault::Fault;
use super::node::Job;
use bssh_protocol::lock;
use bssh_ssh::sftp::RemoteFile;
use futures_util::future::{try_join, try_join_all};
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// Holes that are smaller are carried as zeros: a request costs more.
const LEAST_HOLE: u64 = 256 << 10;
/// Holes of one file that are known; more of them are carried as zeros.
const MOST_HOLES: usize = 1 << 16;

/// What is left of a file.
pub(crate) struct Blocks {
    state: Mutex<State>,
    /// A block has arrived, or the last one was taken.
    moved: Notify,
    block: u64,
    /// Bytes that a block may be ahead of the first that has not arrived.
    ahead: u64,
}

struct State {
    /// What nobody has taken.
    left: VecDeque<Range<u64>>,
    /// Where the blocks that are on the way begin.
    running: BTreeSet<u64>,
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub at: u64,
    pub length: usize,
}

impl Blocks {
    /// Of these parts of a file, in order.
    pub(crate) fn new(parts: Vec<Range<u64>>, block: u64, ahead: u64) -> Blocks {
        let left = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let state = Mutex::new(State { left, running: BTreeSet::new() });
        Blocks { state, moved: Notify::new(), block: block.max(1), ahead }
    }

    /// Bytes that nobody has taken.
    pub(crate) fn left(&self) -> u64 {
        self.state().left.iter().map(|part| part.end - part.start).sum()
    }

    /// The next block, once it may be on its way; none if all are.
    async fn take(&self) -> Option<Piece> {
        loop {
            let moved = self.moved.notified();
            {
                let mut state = self.state();
                let next = state.left.front()?.start;
                let first = state.running.first().copied().unwrap_or(next);
                if next.saturating_sub(first) < self.ahead {
                    return Some(self.taken(&mut state, next));
                }
            }
            moved.await;
        }
    }

    fn taken(&self, state: &mut State, at: u64) -> Piece {
        let mut length = 0;
        if let Some(part) = state.left.front_mut() {
            length = self.block.min(part.end - part.start);
            part.start += length;
            if part.is_empty() {
                state.left.pop_front();
            }
        }
        state.running.insert(at);
        if state.left.is_empty() {
            self.moved.notify_waiters();
        }
        Piece { at, length: usize::try_from(length).unwrap_or(0) }
    }

    fn arrived(&self, piece: Piece) {
        self.state().running.remove(&piece.at);
        self.moved.notify_waiters();
    }

    /// Resolves when the last block has been taken.
    async fn all_taken(&self) {
        loop {
            let moved = self.moved.notified();
            if self.state().left.is_empty() {
                return;
            }
            moved.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// How a block is carried, and how the file is opened on another channel (none: it is carried
/// without that channel).
pub(crate) trait Carrier: Sync {
    fn carry(&self, file: &RemoteFile, piece: Piece) -> impl Future<Output = Result<(), Fault>>;
    fn open(&self, lane: &bssh_ssh::sftp::Sftp) -> impl Future<Output = Option<RemoteFile>>;
}

/// Carries all blocks; more channels join as they open.
pub(crate) async fn carry(
    job: &Job,
    file: &RemoteFile,
    blocks: &Blocks,
    carrier: &impl Carrier,
) -> Result<(), Fault> {
    let lanes = job.lanes_for(blocks.left());
    let depth = match lanes {
        0 => job.depth,
        lanes => job.depth.div_ceil(lanes + 1) + 1,
    };
    let others = try_join_all((0..lanes).map(|lane| along(job, lane, (blocks, depth), carrier)));
    // The first fault ends them all: what it has taken never arrives.
    try_join(over(file, (blocks, depth), carrier), others).await.map(|_| ())
}

/// Carries blocks over one more channel, once it is open.
async fn along(
    job: &Job,
    lane: usize,
    (blocks, depth): (&Blocks, usize),
    carrier: &impl Carrier,
) -> Result<(), Fault> {
    let opening = async {
        let lane = job.lane(lane).await?;
        carrier.open(lane).await
    };
    let opened = tokio::select! {
        opened = opening => opened,
        // It comes too late.
        () = blocks.all_taken() => None,
    };
    let Some(file) = opened else { return Ok(()) };
    over(&file, (blocks, depth), carrier).await?;
    Ok(file.close().await?)
}

/// Carries blocks over one channel, so many at a time, until there are no more.
async fn over(
    file: &RemoteFile,
    (blocks, depth): (&Blocks, usize),
    carrier: &impl Carrier,
) -> Result<(), Fault> {
    let worker = || async {
        while let Some(piece) = blocks.take().await {
            carrier.carry(file, piece).await?;
            blocks.arrived(piece);
        }
        Ok::<_, Fault>(())
    };
    try_join_all((0..depth).map(|_| worker())).await.map(|_| ())
}

/// The parts of a local file that hold data, from `offset` on. What is before `dense` is one part,
/// holes or not.
pub(crate) fn parts(file: &File, (offset, size): (u64, u64), dense: u64) -> Vec<Range<u64>> {
    use std::os::unix::fs::MetadataExt;
    let whole = std::iter::once(offset..size).collect();
    match file.metadata() {
        // As many blocks as bytes: no holes to look for.
        Ok(stat) if stat.blocks().saturating_mul(512) < size => {}
        _ => return whole,
    }
    let mut parts: Vec<Range<u64>> = Vec::new();
    if offset < dense {
        parts.push(offset..dense.min(size));
    }
    let mut at = offset.max(dense);
    while at < size && parts.len() < MOST_HOLES {
        let Some(data) = next_data(file, at) else { return whole };
        let data = data.start.min(size)..data.end.min(size);
        at = data.end.max(at + 1);
        match parts.last_mut() {
            Some(last) if data.start.saturating_sub(last.end) < LEAST_HOLE => last.end = data.end,
            _ => parts.push(data),
        }
    }
    if at < size {
        parts.push(at..size);
    }
    parts
}

/// Where data is next; nowhere: at the end of everything. None: this cannot be told here.
fn next_data(file: &File, at: u64) -> Option<Range<u64>> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Some(u64::MAX..u64::MAX),
        Err(_) => return None,
    };
    Some(start..seek(file, SeekFrom::Hole(start)).ok()?)
}

/// Only zeros: looked at in pieces, so that the first other byte ends it.
pub(crate) fn is_hole(bytes: &[u8]) -> bool {
    bytes.chunks(64).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[tokio::test]
    async fn nobody_is_far_ahead_of_what_has_not_arrived() {
        let blocks = Blocks::new(vec![0..10, 50..60], 4, 8);
        let (one, two) = (blocks.take().await.unwrap(), blocks.take().await.unwrap());
        assert_eq!((one.at, one.length, two.at, blocks.left()), (0, 4, 4, 12));
        // 8 is too far from 0.
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), blocks.take());
        assert!(waiting.await.is_err());
        let (three, ()) = tokio::join!(blocks.take(), async { blocks.arrived(one) });
        assert_eq!(three, Some(Piece { at: 8, length: 2 }));
        blocks.arrived(two);
        blocks.arrived(three.unwrap());
        // Nothing is on the way: a hole is no distance.
        let rest = [blocks.take().await.unwrap(), blocks.take().await.unwrap()];
        assert_eq!(rest.map(|p| (p.at, p.length)), [(50, 4), (54, 4)]);
        let (last, ()) = tokio::join!(blocks.take(), async { blocks.arrived(rest[0]) });
        assert_eq!((last.unwrap().length, blocks.take().await), (2, None));
        blocks.all_taken().await;
    }

    #[test]
    fn parts_of_a_file_leave_holes_out() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = dir.path().join("f");
        let file = File::options().create_new(true).read(true).write(true).open(path).unwrap();
        let (mib, size) = (1 << 20, 1 << 30);
        file.set_len(size).unwrap();
        assert_eq!(parts(&file, (0, size), 0).iter().map(|p| p.end - p.start).sum::<u64>(), 0);
        file.write_all_at(&[1; 4096], 5 * mib).unwrap();
        file.write_all_at(&[1; 4096], 5 * mib + 8192).unwrap();
        file.write_all_at(&[1; 4096], size - 4096).unwrap();
        let data = parts(&file, (0, size), 0);
        assert_eq!(data, [5 * mib..5 * mib + 12288, size - 4096..size]);
        // What may hold something else on the other side is written over.
        let data = parts(&file, (mib, size), 2 * mib);
        assert_eq!(data, [mib..2 * mib, 5 * mib..5 * mib + 12288, size - 4096..size]);
        assert!(is_hole(&[0; 200]) && is_hole(&[]));
        assert!(!is_hole(&[&[0; 199][..], &[1]].concat()));
    }
}
