//! A unified diff of two outputs, line by line.

use similar::{Algorithm, DiffTag, capture_diff_slices_deadline, group_diff_ops};
use std::time::{Duration, Instant};

/// Lines shown around a difference.
const CONTEXT: usize = 3;
/// After this long the diff is completed without looking for the shortest one.
const PATIENCE: Duration = Duration::from_secs(2);

/// The hunks that turn `old` into `new`, without file headers.
pub(crate) fn diff(old: &[u8], new: &[u8]) -> Vec<u8> {
    let (old, new) = (lines(old), lines(new));
    let deadline = Some(Instant::now() + PATIENCE);
    let ops = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline);
    let mut text = Vec::new();
    for hunk in group_diff_ops(ops, CONTEXT) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let a = range(first.old_range().start, last.old_range().end);
        let b = range(first.new_range().start, last.new_range().end);
        text.extend_from_slice(format!("@@ -{a} +{b} @@\n").as_bytes());
        for op in &hunk {
            let (tag, a, b) = op.as_tag_tuple();
            let old = old.get(a).unwrap_or_default();
            let new = new.get(b).unwrap_or_default();
            match tag {
                DiffTag::Equal => put(&mut text, b' ', old),
                _ => {
                    put(&mut text, b'-', old);
                    put(&mut text, b'+', new);
                }
            }
        }
    }
    text
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|b| *b == b'\n').collect()
}

fn put(text: &mut Vec<u8>, sign: u8, lines: &[&[u8]]) {
    for line in lines {
        text.push(sign);
        text.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            text.extend_from_slice(b"\n\\ No newline at the end\n");
        }
    }
}

/// As `diff -u` counts: first line and number of lines, the number left out if it is 1.
fn range(start: usize, end: usize) -> String {
    match end - start {
        1 => format!("{}", start + 1),
        n => format!("{},{n}", start + usize::from(n > 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks_as_diff_u_writes_them() {
        for (old, new, want) in [
            ("a\nb\n", "a\nb\n", ""),
            ("a\n", "b\n", "@@ -1 +1 @@\n-a\n+b\n"),
            ("a\n", "a", "@@ -1 +1 @@\n-a\n+a\n\\ No newline at the end\n"),
            ("a\nb\n", "a\nb\nc\n", "@@ -1,2 +1,3 @@\n a\n b\n+c\n"),
            ("1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\nx\n", "@@ -3,4 +3,4 @@\n 3\n 4\n 5\n-6\n+x\n"),
        ] {
            assert_eq!(String::from_utf8(diff(old.as_bytes(), new.as_bytes())).unwrap(), want);
        }
    }
}
