//! What is to be uploaded: the local sources with everything below them, read once for all nodes.
//!
//! What is wrong with a source is a fault of its own; the rest is transferred. A directory that
//! contains itself by a link is noticed by the directories above it.

use super::fault::Fault;
use super::pattern::{self, Skip};
use bssh_protocol::transfer::Symlinks;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The sources.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub roots: Vec<Root>,
    /// Parents come before what is in them.
    pub items: Vec<Item>,
    pub faults: Vec<(Vec<u8>, Fault)>,
    pub files: u64,
    pub bytes: u64,
    pub skipped: u64,
    /// Links that are left out: their root and the path below it.
    pub left_out: Vec<(usize, Vec<u8>)>,
    /// The same of pipes, sockets and devices, which are faults besides.
    pub special: Vec<(usize, Vec<u8>)>,
}

/// One source.
#[derive(Debug)]
pub(crate) struct Root {
    /// Its own name. Empty: its contents are meant (`dir/.`).
    pub name: Vec<u8>,
    pub is_dir: bool,
}

/// A file, directory or link to send.
#[derive(Debug)]
pub(crate) struct Item {
    pub root: usize,
    /// The path below the root; empty for the root itself.
    pub inner: Vec<u8>,
    pub what: What,
    pub path: PathBuf,
    pub size: u64,
    pub mode: u32,
    /// Access and change, in seconds.
    pub times: (u32, u32),
    /// The change to the nanosecond, to know the same state again.
    pub changed_ns: i128,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Dir,
    File,
    /// A link with this text.
    Link(Vec<u8>),
}

/// A place below a root.
struct At {
    root: usize,
    inner: Vec<u8>,
    path: PathBuf,
}

/// How sources are read.
pub(crate) struct Reading<'a> {
    pub recursive: bool,
    pub symlinks: Symlinks,
    pub skip: &'a Skip,
    /// Sources may be patterns.
    pub expands: bool,
    /// Modes are kept with the bits beyond permissions (setuid and its like).
    pub exact_modes: bool,
}

/// Directories inside each other; more is a mistake or an attack.
pub(crate) const DEEPEST: usize = 256;

impl Tree {
    /// Reads everything. Takes a disk's time.
    pub(crate) fn read(sources: &[Vec<u8>], reading: &Reading<'_>) -> Tree {
        let mut tree = Tree::default();
        for source in sources {
            let paths = match reading.expands {
                true => tree.expand(source),
                false => vec![PathBuf::from(OsStr::from_bytes(source))],
            };
            for path in paths {
                tree.root(path, reading);
            }
        }
        tree
    }

    /// A pattern's names, in order; a name that is there stands for itself.
    fn expand(&mut self, source: &[u8]) -> Vec<PathBuf> {
        let literal = PathBuf::from(OsStr::from_bytes(source));
        if !pattern::is_pattern(source) || literal.symlink_metadata().is_ok() {
            return vec![literal];
        }
        let start = if source.starts_with(b"/") { "/" } else { "" };
        let mut found = vec![PathBuf::from(start)];
        for part in source.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
            if !pattern::is_pattern(part) {
                found.iter_mut().for_each(|path| path.push(OsStr::from_bytes(part)));
                found.retain(|path| path.symlink_metadata().is_ok());
                continue;
            }
            let mut next = Vec::new();
            for path in found {
                let here = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
                let names = std::fs::read_dir(here).into_iter().flatten().flatten();
                let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
                names.retain(|name| pattern::fits_name(part, name.as_bytes()));
                names.sort();
                next.extend(names.iter().map(|name| path.join(name)));
            }
            found = next;
        }
        if found.is_empty() {
            self.faults.push((source.to_vec(), Fault::new("notFound", "nothing fits the pattern")));
        }
        found
    }

    fn root(&mut self, path: PathBuf, reading: &Reading<'_>) {
        let name = last_name(path.as_os_str().as_bytes());
        let meta = match path.metadata() {
            Ok(meta) => meta,
            Err(error) => return self.fault(&path, error.into()),
        };
        if meta.is_dir() && !reading.recursive {
            let fault = Fault::new("isDirectory", "is a directory; -r takes it with its contents");
            return self.fault(&path, fault);
        }
        let root = self.roots.len();
        self.roots.push(Root { name, is_dir: meta.is_dir() });
        self.entry(&At { root, inner: Vec::new(), path }, &meta, &mut Vec::new(), reading);
    }

    fn entry(
        &mut self,
        at: &At,
        meta: &Metadata,
        above: &mut Vec<(u64, u64)>,
        reading: &Reading<'_>,
    ) {
        let what = match meta.file_type() {
            t if t.is_dir() => What::Dir,
            t if t.is_file() => What::File,
            t if t.is_symlink() => match std::fs::read_link(&at.path) {
                Ok(target) => What::Link(target.into_os_string().into_vec()),
                Err(error) => return self.fault(&at.path, error.into()),
            },
            _ => {
                self.skipped += 1;
                self.special.push((at.root, at.inner.clone()));
                return self.fault(&at.path, Fault::special());
            }
        };
        let is_dir = what == What::Dir;
        if what == What::File {
            self.files += 1;
            self.bytes += meta.len();
        }
        let second = |s: i64| u32::try_from(s).unwrap_or(if s < 0 { 0 } else { u32::MAX });
        self.items.push(Item {
            root: at.root,
            inner: at.inner.clone(),
            what,
            path: at.path.clone(),
            size: meta.len(),
            mode: meta.mode() & if reading.exact_modes { 0o7777 } else { 0o777 },
            times: (second(meta.atime()), second(meta.mtime())),
            changed_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        });
        if !is_dir {
            return;
        }
        let itself = (meta.dev(), meta.ino());
        if above.contains(&itself) || above.len() >= DEEPEST {
            return self.fault(&at.path, Fault::new("loop", "a directory that contains itself"));
        }
        above.push(itself);
        self.inside(at, above, reading);
        above.pop();
    }

    fn inside(&mut self, at: &At, above: &mut Vec<(u64, u64)>, reading: &Reading<'_>) {
        let entries =
            match std::fs::read_dir(&at.path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(entries) => entries,
                Err(error) => return self.fault(&at.path, error.into()),
            };
        let mut names: Vec<_> = entries.into_iter().map(|e| e.file_name()).collect();
        names.sort();
        for name in names {
            let child = join(&at.inner, name.as_bytes());
            let path = at.path.join(&name);
            let meta = match (path.symlink_metadata(), reading.symlinks) {
                (Ok(meta), Symlinks::Skip) if meta.is_symlink() => {
                    self.skipped += 1;
                    self.left_out.push((at.root, child));
                    continue;
                }
                (Ok(meta), Symlinks::Follow) if meta.is_symlink() => path.metadata(),
                (meta, _) => meta,
            };
            match meta {
                Ok(meta) if reading.skip.has(&child, meta.is_dir()) => {}
                Ok(meta) => {
                    self.entry(&At { root: at.root, inner: child, path }, &meta, above, reading);
                }
                Err(error) => self.fault(&path, error.into()),
            }
        }
    }

    fn fault(&mut self, path: &Path, fault: Fault) {
        self.faults.push((path.as_os_str().as_bytes().to_vec(), fault));
    }
}

/// `a` and `b` with one slash between; `b` alone if there is no `a`.
pub(crate) fn join(a: &[u8], b: &[u8]) -> Vec<u8> {
    match (a.last(), b) {
        (_, b"") => a.to_vec(),
        (None, b) => b.to_vec(),
        (Some(b'/'), b) => [a, b].concat(),
        (_, b) => [a, b"/", b].concat(),
    }
}

/// The last name of a path. Empty where the path means what is in a directory: `.`, `a/..`, `/`.
pub(crate) fn last_name(path: &[u8]) -> Vec<u8> {
    let mut names = path.split(|b| *b == b'/').filter(|n| !n.is_empty());
    match names.next_back() {
        None | Some(b"." | b"..") => Vec::new(),
        Some(name) => name.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(tree: &Tree) -> Vec<String> {
        tree.items.iter().map(|i| String::from_utf8_lossy(&i.inner).into_owned()).collect()
    }

    #[test]
    fn links_loops_and_patterns() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        std::fs::create_dir_all(root.join("d/e")).unwrap();
        std::fs::write(root.join("d/f.o"), "x").unwrap();
        std::fs::write(root.join("g"), "yy").unwrap();
        symlink("..", root.join("d/up")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let source = root.as_os_str().as_bytes().to_vec();
        let skip = Skip(vec![b"*.o".to_vec()]);
        let none = Skip::default();
        for (symlinks, skip, want, n_faults) in [
            (Symlinks::Preserve, &none, vec!["", "d", "d/e", "d/f.o", "d/up", "dangling", "g"], 0),
            (Symlinks::Skip, &none, vec!["", "d", "d/e", "d/f.o", "g"], 0),
            (Symlinks::Follow, &skip, vec!["", "d", "d/e", "d/up", "g"], 2),
        ] {
            let tree = Tree::read(
                std::slice::from_ref(&source),
                &Reading { recursive: true, symlinks, skip, expands: true, exact_modes: false },
            );
            assert_eq!(names(&tree), want, "{symlinks:?}");
            assert_eq!(tree.faults.len(), n_faults, "{symlinks:?} {:?}", tree.faults);
        }
        let reading = Reading {
            recursive: false,
            symlinks: Symlinks::Follow,
            skip: &none,
            expands: true,
            exact_modes: false,
        };
        let pattern = join(&source, b"?");
        let tree = Tree::read(&[pattern], &reading);
        assert_eq!((tree.roots.len(), tree.faults.len()), (1, 1), "g, and d which is a directory");
        assert_eq!(tree.bytes, 2);
        assert_eq!(Tree::read(&[join(&source, b"x*")], &reading).faults[0].1.code, "notFound");
    }

    #[test]
    fn what_is_no_file_is_named_as_such() {
        let home = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(home.path().join("s")).unwrap();
        let source = join(home.path().as_os_str().as_bytes(), b".");
        let reading = Reading {
            recursive: true,
            symlinks: Symlinks::Follow,
            skip: &Skip::default(),
            expands: true,
            exact_modes: false,
        };
        let tree = Tree::read(&[source], &reading);
        assert_eq!((names(&tree), tree.skipped), (vec![String::new()], 1));
        assert_eq!(tree.special, [(0, b"s".to_vec())]);
        assert!(tree.faults.iter().all(|(_, fault)| fault.is_special()), "{:?}", tree.faults);
    }

    #[test]
    fn last_names() {
        for (path, want) in
            [("a/b", "b"), ("a/b/", "b"), ("/", ""), (".", ""), ("a/.", ""), ("a/..", "")]
        {
            assert_eq!(last_name(path.as_bytes()), want.as_bytes(), "{path}");
        }
    }
}
