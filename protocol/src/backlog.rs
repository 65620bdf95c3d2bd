//! What the followers of a link were told and have not taken yet, where there is something to tell
//! of every file: while it is too much, the link's reader waits, and so does whoever writes to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::sync::Notify;

/// With more than this, in bytes, nothing is read.
const MOST: usize = 4 << 20;
/// What an event takes besides its bytes.
const OVERHEAD: usize = 128;

/// All of a link.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    freed: Notify,
}

/// What one follower has not taken. Dropping it makes room.
#[derive(Debug)]
pub struct Share {
    backlog: Arc<Backlog>,
    bytes: usize,
    closed: bool,
}

impl Backlog {
    /// A follower's share, which is nothing yet.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { backlog: self.clone(), bytes: 0, closed: false }
    }

    /// Waits until there is room. For the link's reader alone.
    pub async fn room(&self) {
        while self.bytes.load(SeqCst) > MOST {
            self.freed.notified().await;
        }
    }
}

impl Share {
    /// An event of so many bytes waits; false if nobody wants it any more.
    #[must_use]
    pub fn add(&mut self, bytes: usize) -> bool {
        if !self.closed {
            self.bytes += bytes + OVERHEAD;
            self.backlog.bytes.fetch_add(bytes + OVERHEAD, SeqCst);
        }
        !self.closed
    }

    /// An event of so many bytes was taken.
    pub fn taken(&mut self, bytes: usize) {
        self.free((bytes + OVERHEAD).min(self.bytes));
    }

    /// Nobody wants what waits, nor what comes.
    pub fn close(&mut self) {
        self.closed = true;
        self.free(self.bytes);
    }

    fn free(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.backlog.bytes.fetch_sub(bytes, SeqCst);
        self.backlog.freed.notify_one();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn there_is_room_again_once_it_is_taken_or_nobody_wants_it() {
        let backlog = Arc::new(Backlog::default());
        let has_room = || backlog.room().now_or_never().is_some();
        let (mut one, mut other) = (backlog.share(), backlog.share());
        assert!(one.add(MOST - OVERHEAD) && has_room() && other.add(1) && !has_room());
        one.taken(MOST - OVERHEAD);
        assert!(has_room() && one.add(MOST) && !has_room());
        one.close();
        assert!(has_room() && !one.add(MOST) && has_room(), "it is closed");
        one.taken(MOST);
        assert!(other.add(MOST) && !has_room());
        drop(other);
        assert!(has_room());
        assert_eq!(backlog.bytes.load(SeqCst), 0);
    }
}
