//! `--max-output`: how much of each stream of a node is shown. What is left out is counted and
//! reported, never silently dropped.

use super::{Nodes, Piece, Screen, side};
use bssh_client::Channel;

/// Counts what was shown and what was not.
#[derive(Debug)]
pub(crate) struct Limit {
    most: u64,
    seen: Vec<[u64; 2]>,
}

impl Limit {
    pub(crate) fn new(most: u64, nodes: &Nodes) -> Self {
        Limit { most, seen: vec![[0; 2]; nodes.len()] }
    }

    /// The part of a piece that may be shown.
    pub(crate) fn admit<'a>(&mut self, piece: Piece<'a>) -> Piece<'a> {
        let seen = self.seen.get_mut(piece.node).and_then(|s| s.get_mut(side(piece.channel)));
        let Some(seen) = seen else { return piece };
        let left = usize::try_from(self.most.saturating_sub(*seen)).unwrap_or(usize::MAX);
        *seen += piece.bytes.len() as u64;
        Piece { bytes: piece.bytes.get(..left).unwrap_or(piece.bytes), ..piece }
    }

    /// Says what was left out of a node's streams.
    pub(crate) fn ended(&self, node: usize, name: &str, screen: &mut Screen) {
        let seen = self.seen.get(node).copied().unwrap_or_default();
        for (channel, word) in [(Channel::Stdout, "stdout"), (Channel::Stderr, "stderr")] {
            let total = seen.get(side(channel)).copied().unwrap_or_default();
            if total > self.most {
                let omitted = total - self.most;
                screen.say(&format!(
                    "bssh: {name}: {omitted} bytes of {word} omitted (--max-output)"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::{err, nodes, out};
    use super::super::{Screen, To};
    use super::*;

    #[test]
    fn the_rest_is_counted() {
        let mut limit = Limit::new(4, &nodes("a"));
        let got: Vec<_> =
            ["ab", "cde", "f"].map(|t| limit.admit(out(0, t.as_bytes())).bytes.len()).into();
        assert_eq!(got, [2, 2, 0]);
        assert_eq!(limit.admit(err(0, b"1234")).bytes, b"1234");
        let mut screen = Screen::default();
        limit.ended(0, "a", &mut screen);
        assert_eq!(screen.text(To::Err), "bssh: a: 2 bytes of stdout omitted (--max-output)\n");
    }
}
