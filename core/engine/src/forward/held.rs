//! Bytes that wait for a slow client: some in memory, the rest in an unlinked file, up to a limit
//! for each connection and one for all.

use crate::filed;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Kept in memory, in bytes: less than a channel's window, so that one stall costs no file.
const IN_MEMORY: usize = 1 << 20;
/// Kept in all files together, in bytes.
const IN_FILES: u64 = 1 << 30;
/// Read back at once, in bytes.
const PIECE: u64 = 256 << 10;

/// What one write takes: bytes, and pieces.
const BATCH: usize = 512 << 10;
const PIECES: usize = 16;

static FILED: AtomicU64 = AtomicU64::new(0);

/// A queue of bytes with one owner.
#[derive(Debug, Default)]
pub(super) struct Held {
    queue: VecDeque<Bytes>,
    in_memory: usize,
    file: Option<Filed>,
}

#[derive(Debug)]
struct Filed {
    file: filed::Filed,
    read: u64,
}

/// There is no room left.
#[derive(Debug)]
pub(super) struct Full;

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.file.is_none()
    }

    /// More would have to go to the file.
    pub(super) fn has_room(&self) -> bool {
        self.in_memory < IN_MEMORY && self.file.is_none()
    }

    /// Keeps bytes behind those that are there.
    pub(super) fn keep(&mut self, bytes: Bytes) -> Result<(), Full> {
        if self.has_room() {
            self.in_memory += bytes.len();
            self.queue.push_back(bytes);
            return Ok(());
        }
        let length = bytes.len() as u64;
        let filed = match &mut self.file {
            Some(filed) => filed,
            None => {
                let file = filed::Filed::new().map_err(|_| Full)?;
                self.file.insert(Filed { file, read: 0 })
            }
        };
        if FILED.load(Relaxed) + length > IN_FILES {
            return Err(Full);
        }
        filed.file.keep(&bytes).map_err(|_| Full)?;
        FILED.fetch_add(length, Relaxed);
        Ok(())
    }

    /// Enough for one write.
    pub(super) fn is_batch(&self) -> bool {
        self.in_memory >= BATCH
    }

    /// The first pieces, in order, and how many there are.
    pub(super) fn front(&mut self) -> io::Result<([IoSlice<'_>; PIECES], usize)> {
        if let (true, Some(filed)) = (self.queue.is_empty(), &mut self.file) {
            let length = (filed.file.written() - filed.read).min(PIECE);
            let piece = filed.file.read(filed.read, usize::try_from(length).unwrap_or_default())?;
            filed.read += length;
            if filed.read == filed.file.written() {
                self.file = None;
            }
            self.in_memory += piece.len();
            self.queue.push_back(piece);
        }
        let mut pieces = [IoSlice::new(&[]); PIECES];
        let mut n = 0;
        for (piece, bytes) in pieces.iter_mut().zip(&self.queue) {
            *piece = IoSlice::new(bytes);
            n += 1;
        }
        Ok((pieces, n))
    }

    /// The first `n` bytes are no longer needed.
    pub(super) fn taken(&mut self, mut n: usize) {
        self.in_memory -= n;
        while let Some(first) = self.queue.front_mut() {
            if n < first.len() {
                first.advance(n);
                return;
            }
            n -= first.len();
            self.queue.pop_front();
        }
    }
}

impl Drop for Filed {
    fn drop(&mut self) {
        FILED.fetch_sub(self.file.written(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_in_order_through_memory_and_file() {
        let mut held = Held::default();
        let piece = |n: usize| Bytes::from(vec![n as u8; 100_000]);
        for n in 0..40 {
            held.keep(piece(n)).unwrap();
        }
        assert!(!held.has_room() && FILED.load(Relaxed) > 0);
        let mut back = Vec::new();
        while !held.is_empty() {
            let (front, n) = held.front().unwrap();
            let front = front[..n].iter().flat_map(|piece| piece.iter().copied());
            let some: Vec<u8> = front.take(170_001).collect();
            held.taken(some.len());
            back.extend_from_slice(&some);
        }
        let want: Vec<u8> = (0..40).flat_map(|n| piece(n).to_vec()).collect();
        assert!(back == want, "{} bytes", back.len());
        assert_eq!(held.in_memory, 0);
        assert!(held.has_room());
    }
}
