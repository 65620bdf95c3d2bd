//! The output of a pty: its last bytes in memory, for views of any speed.
//!
//! Offsets count from the pty's first byte. What leaves memory before the owner of the input has
//! seen it goes to an unlinked file, up to a limit; whoever asks for bytes that are gone is told
//! how many.

use bssh_protocol::lock;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

/// Kept in the file for a slow owner, in bytes. More would only be stale once it is shown.
pub(super) const IN_FILE: u64 = 16 << 20;

pub(super) struct Tape {
    kept: Mutex<Kept>,
    most: usize,
    /// The end so far, and whether that is all.
    grown: watch::Sender<(u64, bool)>,
    /// The owner has seen more.
    pub(super) moved: Notify,
}

struct Kept {
    memory: VecDeque<u8>,
    /// Offset of the first byte in memory.
    start: u64,
    file: Option<Filed>,
    /// What the owner of the input needs next.
    owner: Option<u64>,
}

/// Offsets `from..to` of the tape, where `to` is the start of memory.
struct Filed {
    file: File,
    from: u64,
    to: u64,
}

/// What is at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// Nothing is kept before this offset.
    Gone(u64),
    /// Nothing yet.
    Nothing,
}

impl Tape {
    pub(super) fn new(most: usize) -> Tape {
        let kept = Kept { memory: VecDeque::new(), start: 0, file: None, owner: Some(0) };
        let (grown, _) = watch::channel((0, false));
        Tape { kept: Mutex::new(kept), most: most.max(1), grown, moved: Notify::new() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    /// More output. Never waits.
    pub(super) fn push(&self, bytes: &[u8]) {
        let end = self.kept().push(bytes, self.most);
        self.grown.send_modify(|(length, _)| *length = end);
    }

    /// No more output will come.
    pub(super) fn close(&self) {
        self.grown.send_modify(|(_, all)| *all = true);
    }

    /// Waits for something after this offset; false when nothing will come.
    pub(super) async fn after(&self, at: u64) -> bool {
        let mut grown = self.grown.subscribe();
        let seen = grown.wait_for(|(end, all)| *end > at || *all).await;
        seen.is_ok_and(|seen| seen.0 > at)
    }

    pub(super) fn read(&self, at: u64, most: usize) -> Piece {
        self.kept().read(at, most)
    }

    /// The first offset kept, and the end.
    pub(super) fn range(&self) -> (u64, u64) {
        let kept = self.kept();
        (kept.start, kept.start + kept.memory.len() as u64)
    }

    /// The owner needs this next; none: nobody owns the input.
    pub(super) fn set_owner(&self, at: Option<u64>) {
        let mut kept = self.kept();
        kept.owner = at;
        let all_seen = |f: &Filed| at.is_none_or(|at| at >= f.to);
        if kept.file.as_ref().is_some_and(all_seen) {
            kept.file = None;
        }
        drop(kept);
        self.moved.notify_one();
    }

    /// The owner is so far behind that more output would have to be put aside.
    pub(super) fn is_behind(&self) -> bool {
        let kept = self.kept();
        let end = kept.start + kept.memory.len() as u64;
        kept.owner.is_some_and(|at| end.saturating_sub(at) >= self.most as u64)
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8], most: usize) -> u64 {
        self.memory.extend(bytes);
        let over = self.memory.len().saturating_sub(most);
        let start = self.start + over as u64;
        if over > 0 {
            if self.owner.is_some_and(|at| at < start) && self.put_aside(over).is_err() {
                // The owner loses it, and is told.
                self.file = None;
            }
            self.memory.drain(..over);
            self.start = start;
        }
        self.start + self.memory.len() as u64
    }

    fn put_aside(&mut self, n: usize) -> std::io::Result<()> {
        let start = self.start;
        let filed = match &mut self.file {
            Some(filed) => filed,
            None => {
                let file = tempfile::tempfile()?;
                self.file.insert(Filed { file, from: start, to: start })
            }
        };
        if filed.to - filed.from + n as u64 > IN_FILE {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let (front, back) = self.memory.as_slices();
        let first = front.get(..n.min(front.len())).unwrap_or_default();
        let second = back.get(..n - first.len()).unwrap_or_default();
        filed.file.write_all(first)?;
        filed.file.write_all(second)?;
        filed.to += n as u64;
        Ok(())
    }

    fn read(&self, at: u64, most: usize) -> Piece {
        if at >= self.start {
            let length = self.memory.len();
            let from = usize::try_from(at - self.start).unwrap_or(length).min(length);
            let to = from.saturating_add(most).min(length);
            let bytes: Vec<u8> = self.memory.range(from..to).copied().collect();
            return if bytes.is_empty() { Piece::Nothing } else { Piece::Bytes(bytes.into()) };
        }
        let Some(filed) = self.file.as_ref().filter(|f| f.from <= at && at < f.to) else {
            let older = self.file.as_ref().map(|f| f.from).filter(|from| at < *from);
            return Piece::Gone(older.unwrap_or(self.start));
        };
        let n = usize::try_from(filed.to - at).unwrap_or(most).min(most);
        let mut buffer = vec![0; n];
        match filed.file.read_exact_at(&mut buffer, at - filed.from) {
            Ok(()) => Piece::Bytes(buffer.into()),
            Err(_) => Piece::Gone(self.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(piece: &Piece) -> String {
        match piece {
            Piece::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_owner_misses_nothing_and_others_are_told() {
        let tape = Tape::new(4);
        tape.push(b"abcdefgh");
        assert_eq!(tape.range(), (4, 8));
        assert_eq!(text(&tape.read(0, 3)), "abc");
        assert_eq!(text(&tape.read(3, 9)), "d");
        assert_eq!(text(&tape.read(4, 9)), "efgh");
        assert!(tape.is_behind());
        tape.set_owner(Some(6));
        assert!(!tape.is_behind());
        assert_eq!(tape.read(0, 3), Piece::Gone(4));
        tape.push(b"ij");
        assert_eq!(text(&tape.read(6, 9)), "ghij");
        assert_eq!(tape.read(10, 9), Piece::Nothing);
        tape.set_owner(None);
        tape.push(b"klmnop");
        assert_eq!(tape.read(6, 9), Piece::Gone(12));
    }

    #[test]
    fn an_owner_that_never_reads_loses_the_oldest() {
        let tape = Tape::new(1 << 20);
        let block = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            tape.push(&block);
        }
        let Piece::Gone(to) = tape.read(0, 1) else { panic!("the file is bounded") };
        assert!(to > 0 && tape.range() == (19 << 20, 20 << 20));
        assert!(matches!(tape.read(to, 1), Piece::Bytes(_)));
    }
}
