//! Doors for `tests/fuzz` to what is private here. Not in any build but a fuzzer's.

#![allow(clippy::panic, missing_docs, reason = "a fuzzer wants panics")]

use crate::known_hosts::{KnownFile, Revoked};
use crate::sftp::fuzzing as files;

/// A file read at once or in two parts has the same keys.
pub fn known_hosts(cut: u8, bytes: &[u8]) {
    let whole = KnownFile::parse(bytes);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
    let (first, rest) = lines.split_at(usize::from(cut).min(lines.len()));
    let mut parts = KnownFile::parse(&first.concat());
    parts.extend(&rest.concat());
    for name in ["host", "[host]:22", "10.0.0.1", ""] {
        let [mut at_once, mut in_parts] = [Vec::new(), Vec::new()];
        whole.collect(name, "f", true, &mut at_once);
        parts.collect(name, "f", true, &mut in_parts);
        let keys = |all: &[crate::known_hosts::Entry]| -> Vec<Vec<u8>> {
            all.iter().map(|e| e.blob.clone()).collect()
        };
        assert_eq!(keys(&at_once), keys(&in_parts));
    }
    if let Ok(revoked) = Revoked::parse(bytes) {
        let _ = (revoked.has_key(bytes), revoked.has_certificate(bytes, 7, "id"));
    }
    let list = [b"SSHKRL\n\0", bytes].concat();
    if let Ok(revoked) = Revoked::parse(&list) {
        let _ = (revoked.has_key(bytes), revoked.has_certificate(bytes, u64::from(cut), "id"));
    }
}

/// Packets are the same however they are cut.
pub fn sftp(piece: u8, bytes: &[u8]) {
    let at_once = files::packets(bytes, bytes.len());
    assert_eq!(at_once, files::packets(bytes, usize::from(piece)));
}
