//! Bounds of what waits for whoever follows a run or a transfer. What is said of nodes is bounded where
//! it comes from a core that is not our own.

use bytes::{Bytes, BytesMut};

/// Bytes that are put together are at most so many.
const PIECE: usize = 64 << 10;
/// What may wait for each node, in bytes.
const EACH: usize = 64 << 10;
/// What an event takes besides its bytes.
const OVERHEAD: usize = 256;

/// So often something may be said of each node, from first to last.
const TIMES: usize = 256;

/// What is said of nodes: how much of it may wait, and how often anything may be said.
#[derive(Debug)]
pub(crate) struct Words {
    most: usize,
    waiting: usize,
    left: usize,
}

impl Words {
    /// So many bytes may wait, and more for each node.
    pub(crate) fn new(most: usize, nodes: usize) -> Words {
        let most = most.saturating_add(nodes.saturating_mul(EACH));
        Words { most, waiting: 0, left: nodes.saturating_mul(TIMES) }
    }

    /// So many bytes are said and wait; false if that is more than may.
    #[must_use]
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        self.waiting = self.waiting.saturating_add(bytes).saturating_add(OVERHEAD);
        self.waiting <= self.most
    }

    /// An event of so many bytes was taken.
    pub(crate) fn taken(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_sub(bytes).saturating_sub(OVERHEAD);
    }
}

/// Bytes of a stream, as they came or put together.
pub(crate) enum Pieces {
    One(Bytes),
    Joined(BytesMut),
}

impl Pieces {
    /// Adds bytes; false if they are too many for one.
    pub(crate) fn join(&mut self, bytes: &[u8]) -> bool {
        let before = match self {
            Pieces::One(one) => one.len(),
            Pieces::Joined(joined) => joined.len(),
        };
        if before + bytes.len() > PIECE {
            return false;
        }
        match self {
            Pieces::One(one) => {
                let mut joined = BytesMut::with_capacity(2 * (before + bytes.len()));
                joined.extend_from_slice(one);
                joined.extend_from_slice(bytes);
                *self = Pieces::Joined(joined);
            }
            Pieces::Joined(joined) => joined.extend_from_slice(bytes),
        }
        true
    }

    pub(crate) fn whole(self) -> Bytes {
        match self {
            Pieces::One(one) => one,
            Pieces::Joined(joined) => joined.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_and_what_is_said_have_an_end() {
        let mut words = Words::new(1000, 1);
        assert!(words.add(60_000) && !words.add(60_000), "too much waits");
        words.taken(60_000);
        words.taken(60_000);
        assert!(words.add(60_000), "it was taken");
        let mut words = Words::new(1000, 1);
        for _ in 0..TIMES {
            assert!(words.add(1));
            words.taken(1);
        }
        assert!(!words.add(1), "said too often");
        assert!(!Words::new(1000, 0).add(1), "nobody to speak of");
    }
}
