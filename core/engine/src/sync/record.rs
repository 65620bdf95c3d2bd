//! How entries, intents and conflicts are written to the store's files: fixed order, lengths in
//! front, little endian. A reader that runs out of bytes gives nothing, and never panics.

use super::model::{Entry, Hash, LocalStat, RemoteStat, Thing};

/// Bytes being written.
#[derive(Default)]
pub(super) struct Out(pub(super) Vec<u8>);

impl Out {
    pub(super) fn u8(&mut self, n: u8) -> &mut Out {
        self.0.push(n);
        self
    }

    pub(super) fn u32(&mut self, n: u32) -> &mut Out {
        self.0.extend(n.to_le_bytes());
        self
    }

    pub(super) fn u64(&mut self, n: u64) -> &mut Out {
        self.0.extend(n.to_le_bytes());
        self
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Out {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend(bytes);
        self
    }

    pub(super) fn hash(&mut self, hash: &Hash) -> &mut Out {
        self.0.extend(hash);
        self
    }

    pub(super) fn maybe_hash(&mut self, hash: Option<&Hash>) -> &mut Out {
        match hash {
            None => self.u8(0),
            Some(hash) => self.u8(1).hash(hash),
        }
    }

    pub(super) fn entry(&mut self, entry: &Entry) -> &mut Out {
        match &entry.thing {
            Thing::Dir => self.u8(0),
            Thing::File { hash, exec } => self.u8(1 + u8::from(*exec)).hash(hash),
            Thing::Link(text) => self.u8(3).bytes(text),
        };
        let (l, r) = (&entry.local, &entry.remote);
        self.u64(l.dev).u64(l.ino).u64(l.size);
        self.0.extend(l.mtime_ns.to_le_bytes());
        self.0.extend(l.ctime_ns.to_le_bytes());
        self.u32(l.mode);
        self.u64(r.size).u32(r.mtime).u32(r.mode);
        self.u8(u8::from(entry.racy_local) | u8::from(entry.racy_remote) << 1)
    }
}

/// Bytes being read.
pub(super) struct In<'a>(pub(super) &'a [u8]);

impl In<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = self.u32()? as usize;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first.to_vec())
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn hash(&mut self) -> Option<Hash> {
        self.array()
    }

    pub(super) fn maybe_hash(&mut self) -> Option<Option<Hash>> {
        match self.u8()? {
            0 => Some(None),
            _ => Some(Some(self.hash()?)),
        }
    }

    pub(super) fn entry(&mut self) -> Option<Entry> {
        let thing = match self.u8()? {
            0 => Thing::Dir,
            kind @ (1 | 2) => Thing::File { hash: self.hash()?, exec: kind == 2 },
            3 => Thing::Link(self.bytes()?),
            _ => return None,
        };
        let (dev, ino, size) = (self.u64()?, self.u64()?, self.u64()?);
        let mtime_ns = i128::from_le_bytes(self.array()?);
        let ctime_ns = i128::from_le_bytes(self.array()?);
        let local = LocalStat { dev, ino, size, mtime_ns, ctime_ns, mode: self.u32()? };
        let remote = RemoteStat { size: self.u64()?, mtime: self.u32()?, mode: self.u32()? };
        let racy = self.u8()?;
        Some(Entry { thing, local, remote, racy_local: racy & 1 != 0, racy_remote: racy & 2 != 0 })
    }
}
