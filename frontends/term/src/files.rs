//! A transfer in words. Names of files are as the node says them: whoever shows a line makes it
//! harmless.

use crate::{Line, bytes_text, rate};
use bssh_protocol::exec::{Failure, Summary};
use bssh_protocol::transfer::{TransferDone, Transferred};
use std::time::Duration;

/// What went wrong on a node, file by file; beyond `most` files are counted.
pub fn transfer_report(node: &str, ended: &Transferred, most: usize) -> Vec<Line> {
    let shown = ended.faults.iter().take(most);
    let mut lines: Vec<Line> = shown
        .map(|fault| {
            let side = if fault.here { " (here)" } else { "" };
            let why = format!(": {}{side}", fault.message);
            [format!("{node}: ").as_bytes(), &fault.path.0, why.as_bytes()].concat()
        })
        .collect();
    let untold = ended.n_faults.saturating_sub(lines.len() as u64);
    if untold > 0 {
        lines.push(format!("{node}: {untold} more files failed").into_bytes());
    }
    lines
}

/// Why a node's transfer as a whole did not go well, if that is not said by its files.
pub fn transfer_failure(ended: &Transferred) -> Option<&Failure> {
    ended.failure.as_ref().filter(|failure| failure.code != "filesFailed")
}

/// `3 files, 2.0 KiB in 0.1 s (20.0 KiB/s), 1 of 2 nodes failed`.
pub fn transfer_summary(done: &TransferDone) -> String {
    let Summary { nodes, ok, duration_ms, .. } = done.summary;
    let seconds = Duration::from_millis(duration_ms).as_secs_f64();
    let rate = bytes_text(rate(done.bytes, seconds));
    let bytes = bytes_text(done.bytes);
    let files = if done.files == 1 { "file" } else { "files" };
    let bad = match nodes.saturating_sub(ok) {
        0 => String::new(),
        bad => format!(", {bad} of {nodes} nodes failed"),
    };
    format!("{} {files}, {bytes} in {seconds:.1} s ({rate}/s){bad}", done.files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_protocol::transfer::{FileFault, PathBytes};

    #[test]
    fn ends_in_words() {
        let fault = |path: &[u8], here| FileFault {
            path: PathBytes(path.to_vec()),
            here,
            message: "denied".to_owned(),
            ..FileFault::default()
        };
        let faults = vec![fault(b"a\xff", true), fault(b"b", false)];
        let ended = Transferred { faults, n_faults: 5, ..Transferred::default() };
        let lines = transfer_report("n1", &ended, 1);
        assert_eq!(lines, [&b"n1: a\xff: denied (here)"[..], b"n1: 4 more files failed"]);
        let summary = Summary { nodes: 2, ok: 1, duration_ms: 1000, ..Summary::default() };
        let done = TransferDone { transfer: 1, summary, files: 1, bytes: 2048 };
        let want = "1 file, 2.0 KiB in 1.0 s (2.0 KiB/s), 1 of 2 nodes failed";
        assert_eq!(transfer_summary(&done), want);
    }
}
