//! "Did you mean": the nearest of the allowed words to one that is not allowed.
//!
//! Edit distance with swaps counted as one, as people make them.

/// The nearest word, if it is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3).max(1);
    allowed
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance; three rows of the table are enough.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().take(64).collect();
    let b: Vec<char> = b.to_lowercase().chars().take(64).collect();
    let mut older = Vec::new();
    let mut old: Vec<usize> = (0..=b.len()).collect();
    let cell = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let mut best = (cell(&old, j) + usize::from(ca != cb))
                .min(cell(&old, j + 1) + 1)
                .min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca);
            if swapped {
                best = best.min(cell(&older, j - 1) + 1);
            }
            row.push(best);
        }
        older = std::mem::replace(&mut old, row);
    }
    cell(&old, b.len())
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typos() {
        let keys = ["nodes", "user", "ssh_key", "known_hosts", "jump_host"];
        let cases = [
            ("node", Some("nodes")),
            ("usre", Some("user")),
            ("sshkey", Some("ssh_key")),
            ("know_host", Some("known_hosts")),
            ("jumphost", Some("jump_host")),
            ("colour", None),
            ("x", None),
        ];
        for (word, want) in cases {
            assert_eq!(nearest(word, keys), want, "{word}");
        }
    }
}
