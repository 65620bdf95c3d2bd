//! Bytes that wait for somebody slow and do not fit into memory: a file without a name, which
//! goes with the process.

use bytes::Bytes;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Bytes one file takes.
const MOST: u64 = 256 << 20;

/// The file. It only grows; whoever has read everything drops it.
#[derive(Debug)]
pub(crate) struct Filed {
    file: File,
    written: u64,
}

impl Filed {
    /// # Errors
    /// There is no place for temporary files.
    pub(crate) fn new() -> io::Result<Filed> {
        Ok(Filed { file: tempfile::tempfile()?, written: 0 })
    }

    /// Keeps bytes, and says where.
    ///
    /// # Errors
    /// It is full, or the disk is.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.written;
        if at + bytes.len() as u64 > MOST {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(at)
    }

    /// Bytes that were kept.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn read(&self, at: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }

    /// Bytes that were kept so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }
}
