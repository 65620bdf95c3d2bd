//! What is uploaded, as one core tells another: a [`Tree`] with where its sources lie there.

use super::tree::{Item, Root, Tree, What, join};
use bssh_protocol::transfer::{Listed, ListedItem, ListedRoot};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

const NANOS: i128 = 1_000_000_000;
/// A list that may be longer than this is not told: it has to fit into one frame.
const MOST: usize = 15 << 20;

impl Tree {
    /// The tree, lying at these places. None: it is too long to tell.
    pub(super) fn listed(&self, places: &[Vec<u8>]) -> Option<Listed> {
        // The longest way to write a byte, and everything else of an item.
        let length = |item: &Item| {
            let link = if let What::Link(text) = &item.what { text.len() } else { 0 };
            6 * (item.inner.len() + link) + 160
        };
        if self.items.iter().map(length).sum::<usize>() > MOST {
            return None;
        }
        let root = |(root, path): (&Root, &Vec<u8>)| ListedRoot {
            name: root.name.as_slice().into(),
            path: path.as_slice().into(),
            is_dir: root.is_dir,
        };
        let item = |item: &Item| ListedItem {
            root: item.root,
            inner: item.inner.as_slice().into(),
            link: match &item.what {
                What::Link(text) => Some(text.as_slice().into()),
                What::Dir | What::File => None,
            },
            is_dir: item.what == What::Dir,
            size: item.size,
            mode: item.mode,
            accessed: item.times.0,
            changed: item.times.1,
            changed_ns: u32::try_from(item.changed_ns.rem_euclid(NANOS)).unwrap_or(0),
        };
        Some(Listed {
            roots: self.roots.iter().zip(places).map(root).collect(),
            items: self.items.iter().map(item).collect(),
        })
    }
}

impl From<Listed> for Tree {
    fn from(listed: Listed) -> Tree {
        let place = |root: &ListedRoot| match root.path.0.strip_suffix(b"/") {
            Some(path) if !path.is_empty() => path.to_vec(),
            _ => root.path.0.clone(),
        };
        let places: Vec<Vec<u8>> = listed.roots.iter().map(place).collect();
        let mut tree = Tree::default();
        for root in listed.roots {
            tree.roots.push(Root { name: root.name.0, is_dir: root.is_dir });
        }
        for item in listed.items {
            let Some(place) = places.get(item.root) else { continue };
            let what = match (item.link, item.is_dir) {
                (Some(text), _) => What::Link(text.0),
                (None, true) => What::Dir,
                (None, false) => What::File,
            };
            if what == What::File {
                tree.files += 1;
                tree.bytes = tree.bytes.saturating_add(item.size);
            }
            tree.items.push(Item {
                root: item.root,
                path: OsString::from_vec(join(place, &item.inner.0)).into(),
                inner: item.inner.0,
                what,
                size: item.size,
                mode: item.mode,
                times: (item.accessed, item.changed),
                changed_ns: i128::from(item.changed) * NANOS + i128::from(item.changed_ns),
            });
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_told_and_lies_elsewhere() {
        let item = |inner: &[u8], what| Item {
            root: 0,
            inner: inner.to_vec(),
            what,
            path: "/here".into(),
            size: 7,
            mode: 0o640,
            times: (1, 2),
            changed_ns: 2_000_000_003,
        };
        let link = What::Link(b"\xfe".to_vec());
        let items = vec![item(b"", What::Dir), item(b"a/\xff", What::File), item(b"l", link)];
        let root = Root { name: b"n".to_vec(), is_dir: true };
        let tree = Tree { roots: vec![root], items, ..Tree::default() };
        let there = Tree::from(tree.listed(&[b"/there/n/".to_vec()]).unwrap());
        assert_eq!((there.files, there.bytes, &*there.roots[0].name), (1, 7, &b"n"[..]));
        for (here, there) in tree.items.iter().zip(&there.items) {
            let path = join(b"/there/n", &here.inner);
            assert_eq!(there.path.as_os_str().as_encoded_bytes(), path);
            assert_eq!((&here.what, here.times), (&there.what, there.times));
            assert_eq!((&here.inner, here.changed_ns), (&there.inner, there.changed_ns));
        }
        let long = Tree { items: vec![item(&vec![b'x'; MOST], What::File)], ..Tree::default() };
        assert_eq!(long.listed(&[]), None);
    }
}
