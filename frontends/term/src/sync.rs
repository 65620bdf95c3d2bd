//! A sync in words. Names of files are as the node says them: whoever shows a line makes it
//! harmless.

use crate::bytes_text;
use bssh_protocol::exec::Failure;
use bssh_protocol::sync::{SyncConflict, SyncPairStatus, SyncStep, Synced};
use std::time::{Duration, SystemTime};

/// A line about a sync.
pub type Line = Vec<u8>;

fn line(parts: &[&[u8]]) -> Line {
    parts.concat()
}

/// `push path`; none for a step that nobody would see.
pub fn sync_step(step: &SyncStep) -> Option<Line> {
    let action: &[u8] = match step.action.as_str() {
        "push" => b"push ",
        "pull" => b"pull ",
        "deleteThere" => b"delete-there ",
        "deleteHere" => b"delete-here ",
        "conflict" => b"conflict ",
        "skip" => b"skip ",
        _ => return None,
    };
    Some(line(&[action, &step.path.0]))
}

/// An open conflict: the path, and the node's file beside it.
pub fn sync_conflict(conflict: &SyncConflict) -> Line {
    match &conflict.copy {
        Some(copy) => line(&[&conflict.path.0, b"  ", &copy.0]),
        None => conflict.path.0.clone(),
    }
}

/// How one pair of directories stands.
pub fn sync_status(status: &SyncPairStatus) -> Vec<Line> {
    let node = format!("  {}:", status.node);
    let mut lines = vec![line(&[&status.local.0, node.as_bytes(), &status.remote.0])];
    let mut say = |text: String| lines.push(format!("  {text}").into_bytes());
    let (known, conflicts) = (status.known, status.conflicts);
    say(format!("{known} files and directories on both sides, {conflicts} open conflicts"));
    match &status.last {
        None => say("never synced".to_owned()),
        Some(last) => {
            let ago = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let ago = ago.saturating_sub(Duration::from_millis(last.unix_ms)).as_secs();
            let how = if last.failure.is_empty() { "ok" } else { &last.failure };
            say(format!("last {} {} ago: {how}", last.action, age(ago)));
        }
    }
    if status.pending_back {
        let text = "the node has changes that could not be fetched; bssh sync back does it";
        say(text.to_owned());
    }
    if let Some(pid) = status.held_by {
        say(format!("being synced now by process {pid}"));
    }
    lines
}

fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What went wrong, file by file.
pub fn sync_report(node: &str, result: &Synced) -> Vec<Line> {
    let head = format!("{node}: ");
    let head = head.as_bytes();
    let mut lines = Vec::new();
    for fault in &result.faults {
        lines.push(line(&[head, &fault.path.0, b": ", fault.message.as_bytes()]));
    }
    let untold = result.n_faults.saturating_sub(result.faults.len() as u64);
    if untold > 0 {
        lines.push(format!("{node}: {untold} more files failed").into_bytes());
    }
    for conflict in &result.conflicts {
        let path = &conflict.path.0;
        lines.push(match &conflict.copy {
            Some(copy) => {
                line(&[path, b": changed on both sides; the node's is here as ", &copy.0])
            }
            None => line(&[path, b": differs on both sides, nothing was done with it"]),
        });
    }
    for note in &result.notes {
        let why = match note.code.as_str() {
            "special" => "is no file, directory or link",
            "unsafeLink" => "is a link that leads outside of what is synced",
            "deadLink" => "is a link to nothing",
            "link" => "is a link on the node, and stays one there",
            "followed" => "has changed on the node and stays as it is here, behind a link",
            "protected" => "is protected and stays as it is here",
            "notEmpty" => "stays on the other side, because something else is in it",
            "keptHere" => "was deleted on the node and stays here",
            other => other,
        };
        lines.push(line(&[&note.path.0, b": ", why.as_bytes()]));
    }
    lines
}

/// Why the sync as a whole did not go well, if that is not said by its files.
pub fn sync_failure(result: &Synced) -> Option<&Failure> {
    result.failure.as_ref().filter(|failure| failure.code != "filesFailed")
}

/// `3 sent, 1 deleted here; 2.0 KiB in 0.1 s`.
pub fn sync_summary(result: &Synced) -> String {
    let parts = [
        (result.pushed, "sent"),
        (result.pulled, "fetched"),
        (result.deleted_there, "deleted on the node"),
        (result.deleted_here, "deleted here"),
    ];
    let did: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let did = match (did.is_empty(), &result.failure) {
        (false, _) => did.join(", "),
        (true, None) => "nothing to do".to_owned(),
        (true, Some(_)) => "nothing was done".to_owned(),
    };
    let seconds = Duration::from_millis(result.duration_ms).as_secs_f64();
    format!("{did}; {} in {seconds:.1} s", bytes_text(result.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_protocol::transfer::PathBytes;

    #[test]
    fn results_in_words() {
        let result = Synced { pushed: 3, deleted_there: 1, bytes: 2048, ..Synced::default() };
        assert_eq!(sync_summary(&result), "3 sent, 1 deleted on the node; 2.0 KiB in 0.0 s");
        let result = Synced { failure: Some(Failure::default()), ..Synced::default() };
        assert!(sync_summary(&result).starts_with("nothing was done; "));
        assert!(sync_summary(&Synced::default()).starts_with("nothing to do; "));
        let path = PathBytes(b"a\xff".to_vec());
        let conflict = SyncConflict { path, ..SyncConflict::default() };
        let result = Synced { conflicts: vec![conflict], n_faults: 2, ..Synced::default() };
        let lines = sync_report("n1", &result);
        assert_eq!(lines.first().map(Vec::as_slice), Some(&b"n1: 2 more files failed"[..]));
        assert!(lines.iter().any(|l| l.starts_with(b"a\xff: differs")), "{lines:?}");
    }
}
