//! `--output-dir`: each node's bytes as they are in `NODE.out` and `NODE.err`, and
//! `summary.json`.
//!
//! A thousand nodes must not need two thousand descriptors: bytes are collected up to [`CHUNK`]
//! and appended by opening the file for a moment.

use super::json::summary_json;
use super::{Nodes, Piece, side};
use bssh_protocol::exec::Summary;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Bytes held per stream.
const CHUNK: usize = 32 << 10;

/// The directory and what is not written yet.
#[derive(Debug)]
pub(crate) struct Dir {
    path: PathBuf,
    held: Vec<[Vec<u8>; 2]>,
}

const ENDINGS: [&str; 2] = ["out", "err"];

impl Dir {
    /// Makes the directory and, empty, every node's files, so that nothing of an earlier run is
    /// taken for this one's.
    ///
    /// # Errors
    /// The directory or a file cannot be made; the message names it.
    pub(crate) fn new(path: &Path, nodes: &Nodes) -> Result<Self, String> {
        let dir = Dir {
            path: path.to_owned(),
            held: std::iter::repeat_with(Default::default).take(nodes.len()).collect(),
        };
        named(path, fs::create_dir_all(path))?;
        for name in &nodes.names {
            for ending in ENDINGS {
                let file = dir.file(name, ending);
                named(&file, File::create(&file))?;
            }
        }
        Ok(dir)
    }

    /// Takes bytes of a node.
    ///
    /// # Errors
    /// As [`Dir::new`].
    pub(crate) fn data(&mut self, piece: Piece<'_>, name: &str) -> Result<(), String> {
        let i = side(piece.channel);
        let held = self.held.get_mut(piece.node).and_then(|h| h.get_mut(i));
        let Some(held) = held else { return Ok(()) };
        held.extend_from_slice(piece.bytes);
        if held.len() < CHUNK {
            return Ok(());
        }
        let bytes = std::mem::take(held);
        self.append(name, i, &bytes)
    }

    /// A node has ended: writes what is left.
    ///
    /// # Errors
    /// As [`Dir::new`].
    pub(crate) fn ended(&mut self, node: usize, name: &str) -> Result<(), String> {
        let held = self.held.get_mut(node).map(std::mem::take).unwrap_or_default();
        for (i, bytes) in held.iter().enumerate().filter(|(_, b)| !b.is_empty()) {
            self.append(name, i, bytes)?;
        }
        Ok(())
    }

    /// The run is over: writes `summary.json`.
    ///
    /// # Errors
    /// As [`Dir::new`].
    pub(crate) fn done(&self, summary: &Summary, nodes: &Nodes) -> Result<(), String> {
        let file = self.path.join("summary.json");
        named(&file, fs::write(&file, summary_json(summary, nodes)))
    }

    fn append(&self, name: &str, i: usize, bytes: &[u8]) -> Result<(), String> {
        let file = self.file(name, ENDINGS.get(i).copied().unwrap_or_default());
        let opened = File::options().append(true).create(true).open(&file);
        named(&file, opened.and_then(|mut f| f.write_all(bytes)))
    }

    fn file(&self, node: &str, ending: &str) -> PathBuf {
        self.path.join(format!("{}.{ending}", file_name(node)))
    }
}

/// A node's name as a file name: what could leave the directory, hide the file or confuse a
/// shell is written as `%XX`. Different names stay different.
fn file_name(node: &str) -> String {
    let mut name = String::new();
    for (i, c) in node.char_indices() {
        let safe = c.is_alphanumeric() || "_-@:[]+,=".contains(c) || (c == '.' && i > 0);
        match safe {
            true => name.push(c),
            false => {
                let mut bytes = [0; 4];
                let bytes = c.encode_utf8(&mut bytes).bytes();
                bytes.for_each(|b| name.push_str(&format!("%{b:02X}")));
            }
        }
    }
    name
}

fn named<T>(path: &Path, result: io::Result<T>) -> Result<T, String> {
    result.map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::{err, nodes, out};
    use super::*;

    #[test]
    fn bytes_are_written_as_they_are() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("new/dir");
        let nodes = nodes("a b/../c");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("a.out"), "of an earlier run").unwrap();
        let mut dir = Dir::new(&path, &nodes).unwrap();
        let big = vec![0xff; 100_000];
        dir.data(out(0, &big), "a").unwrap();
        dir.data(out(0, b"tail\0"), "a").unwrap();
        dir.data(err(1, b"e"), "b/../c").unwrap();
        dir.ended(0, "a").unwrap();
        dir.ended(1, "b/../c").unwrap();
        dir.done(&Summary::default(), &nodes).unwrap();
        assert_eq!(fs::read(path.join("a.out")).unwrap(), [big, b"tail\0".to_vec()].concat());
        assert_eq!(fs::read(path.join("a.err")).unwrap(), b"");
        assert_eq!(fs::read(path.join("b%2F..%2Fc.err")).unwrap(), b"e");
        assert!(path.join("summary.json").exists());
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        for (node, want) in [
            ("web1.example.com", "web1.example.com"),
            ("root@[::1]:22", "root@[::1]:22"),
            ("..", "%2E."),
            ("/etc/passwd", "%2Fetc%2Fpasswd"),
            ("a%2Fb", "a%252Fb"),
            ("a b\n", "a%20b%0A"),
        ] {
            assert_eq!(file_name(node), want);
        }
    }
}
