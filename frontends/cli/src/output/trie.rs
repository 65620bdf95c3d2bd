//! Outputs compared while they arrive: a trie of byte strings.
//!
//! Nodes that have sent the same bytes so far stand at the same place, and those bytes are held
//! once. A node that is ahead extends its edge, the others are compared with it; one that
//! differs continues on a branch of its own. So ten identical outputs of 10 MB cost 10 MB, and
//! two places are equal exactly if their outputs are.

use std::collections::HashMap;

/// Outputs that share their beginnings.
#[derive(Debug)]
pub(crate) struct Trie {
    edges: Vec<Edge>,
    /// Where a branch leaves: edge, offset and its first byte.
    branches: HashMap<(usize, usize, u8), usize>,
}

/// How far a node has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    edge: usize,
    at: usize,
}

#[derive(Debug, Default)]
struct Edge {
    bytes: Vec<u8>,
    /// The place this edge branches off.
    from: Place,
}

impl Default for Trie {
    fn default() -> Self {
        Trie { edges: vec![Edge::default()], branches: HashMap::new() }
    }
}

impl Place {
    /// Nothing was sent.
    pub(crate) fn is_start(self) -> bool {
        self == Place::default()
    }
}

impl Trie {
    /// Where a node stands that stood at `place` and has sent `bytes`.
    pub(crate) fn advance(&mut self, mut place: Place, mut bytes: &[u8]) -> Place {
        while let Some(first) = bytes.first() {
            let Some(edge) = self.edges.get_mut(place.edge) else { return place };
            let ahead = edge.bytes.get(place.at..).unwrap_or_default();
            if ahead.is_empty() {
                edge.bytes.extend_from_slice(bytes);
                place.at += bytes.len();
                return place;
            }
            let same = common(ahead, bytes);
            if same == 0 {
                place = Place { edge: self.branch(place, *first), at: 0 };
                continue;
            }
            place.at += same;
            bytes = bytes.get(same..).unwrap_or_default();
        }
        place
    }

    /// What was sent up to `place`, in pieces.
    pub(crate) fn pieces(&self, place: Place) -> Vec<&[u8]> {
        let mut pieces = Vec::new();
        let mut place = place;
        while let Some(edge) = self.edges.get(place.edge).filter(|_| place.at > 0) {
            pieces.push(edge.bytes.get(..place.at).unwrap_or_default());
            place = edge.from;
        }
        pieces.reverse();
        pieces
    }

    /// The branch that begins with `first`, made if there is none.
    fn branch(&mut self, from: Place, first: u8) -> usize {
        let edges = &mut self.edges;
        *self.branches.entry((from.edge, from.at, first)).or_insert_with(|| {
            edges.push(Edge { bytes: Vec::new(), from });
            edges.len() - 1
        })
    }
}

/// Length of the common beginning; compares in blocks, which is a memcmp.
fn common(a: &[u8], b: &[u8]) -> usize {
    const BLOCK: usize = 256;
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let same = blocks.take_while(|(x, y)| x == y).count() * BLOCK;
    let rest = a.iter().skip(same).zip(b.iter().skip(same));
    same + rest.take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_equal_exactly_if_outputs_are() {
        let outputs = ["", "a", "ab", "abc", "abd", "xyz", "ab", "abc", "abdxyz", "x"];
        for step in 1..4 {
            let mut trie = Trie::default();
            let mut places = vec![Place::default(); outputs.len()];
            // Interleaved: each output comes in pieces of `step`, round robin.
            for from in (0..8).step_by(step) {
                for (place, output) in places.iter_mut().zip(outputs) {
                    let to = (from + step).min(output.len());
                    let piece = output.as_bytes().get(from..to).unwrap_or_default();
                    *place = trie.advance(*place, piece);
                }
            }
            for (i, a) in outputs.iter().enumerate() {
                assert_eq!(trie.pieces(places[i]).concat(), a.as_bytes());
                for (j, b) in outputs.iter().enumerate() {
                    assert_eq!(places[i] == places[j], a == b, "{a:?} {b:?} step {step}");
                }
            }
        }
    }

    #[test]
    fn identical_outputs_are_held_once() {
        let mut trie = Trie::default();
        let chunk = vec![b'x'; 32_768];
        let mut places = [Place::default(); 10];
        for _ in 0..32 {
            for place in &mut places {
                *place = trie.advance(*place, &chunk);
            }
        }
        assert_eq!(trie.edges.len(), 1);
        assert_eq!(trie.edges[0].bytes.len(), 1 << 20);
    }
}
