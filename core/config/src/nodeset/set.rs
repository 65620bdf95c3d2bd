//! A set of node names that keeps the order in which they were first mentioned.

use indexmap::IndexSet;

/// Node names, each once, in the order of their first mention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSet {
    names: IndexSet<Box<str>>,
}

impl NodeSet {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Adds a name; false if it was there.
    pub fn insert(&mut self, name: impl Into<Box<str>>) -> bool {
        self.names.insert(name.into())
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    pub fn union(&mut self, other: NodeSet) {
        self.names.extend(other.names);
    }

    pub fn difference(&mut self, other: &NodeSet) {
        self.names.retain(|name| !other.contains(name));
    }

    pub fn intersection(&mut self, other: &NodeSet) {
        self.names.retain(|name| other.contains(name));
    }

    /// What is in one of the two only.
    pub fn symmetric_difference(&mut self, mut other: NodeSet) {
        let both: NodeSet = self.names.iter().filter(|n| other.contains(n)).cloned().collect();
        self.difference(&both);
        other.difference(&both);
        self.union(other);
    }

    /// Parts of nearly equal size, in order; the first ones are larger. No part is empty.
    #[must_use]
    pub fn split(&self, n: usize) -> Vec<NodeSet> {
        let n = n.clamp(1, self.len().max(1));
        let (size, larger) = (self.len() / n, self.len() % n);
        let mut names = self.names.iter().cloned();
        (0..n)
            .map(|i| NodeSet {
                names: names.by_ref().take(size + usize::from(i < larger)).collect(),
            })
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// `n` nodes at random, in the order of the set. The same seed picks the same nodes.
    #[must_use]
    pub fn pick(&self, n: usize, seed: u64) -> NodeSet {
        let mut state = seed;
        let mut left = n.min(self.len());
        let mut names = IndexSet::with_capacity(left);
        for (i, name) in self.names.iter().enumerate() {
            let candidates = (self.len() - i) as u64;
            if split_mix(&mut state) % candidates < left as u64 {
                names.insert(name.clone());
                left -= 1;
            }
        }
        NodeSet { names }
    }
}

impl<T: Into<Box<str>>> FromIterator<T> for NodeSet {
    fn from_iter<I: IntoIterator<Item = T>>(names: I) -> NodeSet {
        NodeSet { names: names.into_iter().map(Into::into).collect() }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to pick nodes, not for secrets.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
