//! SFTP version 3 on the wire (draft-ietf-secsh-filexfer-02, and what OpenSSH does instead):
//! packets cut out of a channel's bytes, fields read and written.
//!
//! Everything read here was sent by somebody who may be hostile: lengths are checked before
//! anything is taken, and a packet that does not hold what it says is [`Broken`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::VecDeque;

/// Largest packet taken from a server. OpenSSH sends at most 256 KiB.
const MAX_PACKET: usize = 1 << 20;

/// Numbers of requests and replies.
pub(super) mod kind {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const LSTAT: u8 = 7;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const SETSTAT: u8 = 9;
    pub(crate) const FSETSTAT: u8 = 10;
    pub(crate) const OPENDIR: u8 = 11;
    pub(crate) const READDIR: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const RMDIR: u8 = 15;
    pub(crate) const REALPATH: u8 = 16;
    pub(crate) const STAT: u8 = 17;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const READLINK: u8 = 19;
    pub(crate) const SYMLINK: u8 = 20;
    pub(crate) const EXTENDED: u8 = 200;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const NAME: u8 = 104;
    pub(crate) const ATTRS: u8 = 105;
    pub(crate) const EXTENDED_REPLY: u8 = 201;
}

/// The other side does not keep to the protocol, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken(pub(super) String);

/// What is known about a file. Absent: not said, or not to be changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attrs {
    pub size: Option<u64>,
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// Type and permission bits, as in `st_mode`.
    pub mode: Option<u32>,
    /// Last access and last change, in seconds since 1970.
    pub times: Option<(u32, u32)>,
}

/// What kind of file the mode says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    File,
    Dir,
    Link,
    /// Devices, pipes, sockets.
    Special,
    Unknown,
}

impl Attrs {
    pub fn kind(&self) -> FileKind {
        match self.mode.map(|mode| mode & 0o170_000) {
            Some(0o100_000) => FileKind::File,
            Some(0o040_000) => FileKind::Dir,
            Some(0o120_000) => FileKind::Link,
            None | Some(0) => FileKind::Unknown,
            Some(_) => FileKind::Special,
        }
    }

    /// Only permission bits.
    pub fn permissions(bits: u32) -> Attrs {
        Attrs { mode: Some(bits), ..Attrs::default() }
    }

    fn put(&self, out: &mut BytesMut) {
        let flags = u32::from(self.size.is_some())
            | u32::from(self.owner.is_some()) << 1
            | u32::from(self.mode.is_some()) << 2
            | u32::from(self.times.is_some()) << 3;
        out.put_u32(flags);
        if let Some(size) = self.size {
            out.put_u64(size);
        }
        if let Some((user, group)) = self.owner {
            out.put_u32(user);
            out.put_u32(group);
        }
        if let Some(mode) = self.mode {
            out.put_u32(mode);
        }
        if let Some((access, change)) = self.times {
            out.put_u32(access);
            out.put_u32(change);
        }
    }
}

/// A request being written. Its length and id are filled in when it is sent.
pub(super) struct Request(BytesMut);

impl Request {
    pub(super) fn new(kind: u8, room: usize) -> Request {
        let mut out = BytesMut::with_capacity(room + 64);
        out.put_u32(0);
        out.put_u8(kind);
        out.put_u32(0);
        Request(out)
    }

    /// `INIT` has a version where others have their id.
    pub(super) fn init(version: u32) -> Bytes {
        Request::new(kind::INIT, 0).sealed(version)
    }

    pub(super) fn extended(name: &str) -> Request {
        Request::new(kind::EXTENDED, 0).string(name.as_bytes())
    }

    pub(super) fn string(mut self, bytes: &[u8]) -> Request {
        // A path of 4 GiB is no path; the server refuses what it cannot read.
        self.0.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.put_slice(bytes);
        self
    }

    pub(super) fn u32(mut self, number: u32) -> Request {
        self.0.put_u32(number);
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Request {
        self.0.put_u64(number);
        self
    }

    pub(super) fn attrs(mut self, attrs: &Attrs) -> Request {
        attrs.put(&mut self.0);
        self
    }

    /// The bytes to send, under this id.
    pub(super) fn sealed(self, id: u32) -> Bytes {
        let mut out = self.0;
        let length = u32::try_from(out.len().saturating_sub(4)).unwrap_or(u32::MAX);
        put_at(&mut out, 0, length);
        put_at(&mut out, 5, id);
        out.freeze()
    }
}

fn put_at(out: &mut [u8], at: usize, number: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

/// Data for one write, filled in place behind the room for its request: nothing is copied again.
#[derive(Debug)]
pub struct Block(BytesMut);

/// Length, kind, id, handle (at most 256 bytes), offset, length of the data.
const BLOCK_HEAD: usize = 9 + 4 + 256 + 8 + 4;

impl Block {
    /// Room for so many bytes of data.
    pub fn new(capacity: usize) -> Block {
        let mut out = BytesMut::with_capacity(BLOCK_HEAD + capacity);
        out.put_bytes(0, BLOCK_HEAD);
        Block(out)
    }

    /// Appends data.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Makes the data this long, zero bytes first, to be written over.
    pub fn resize(&mut self, length: usize) -> &mut [u8] {
        self.0.resize(BLOCK_HEAD + length, 0);
        self.data_mut()
    }

    /// Keeps the first bytes only.
    pub fn truncate(&mut self, length: usize) {
        self.0.truncate(BLOCK_HEAD + length);
    }

    pub fn data(&self) -> &[u8] {
        self.0.get(BLOCK_HEAD..).unwrap_or_default()
    }

    fn data_mut(&mut self) -> &mut [u8] {
        self.0.get_mut(BLOCK_HEAD..).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.data().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A `WRITE` request, its head put right before the data.
    pub(super) fn sealed(mut self, id: u32, handle: &[u8], offset: u64) -> Bytes {
        let head = 9 + 4 + handle.len() + 8 + 4;
        let start = BLOCK_HEAD.saturating_sub(head);
        let data = u32::try_from(self.len()).unwrap_or(u32::MAX);
        let length = u32::try_from(head - 4).unwrap_or(u32::MAX).saturating_add(data);
        if let Some(mut place) = self.0.get_mut(start..BLOCK_HEAD) {
            place.put_u32(length);
            place.put_u8(kind::WRITE);
            place.put_u32(id);
            place.put_u32(u32::try_from(handle.len()).unwrap_or(u32::MAX));
            place.put_slice(handle);
            place.put_u64(offset);
            place.put_u32(data);
        }
        self.0.freeze().slice(start..)
    }
}

/// One packet from the server.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) kind: u8,
    /// The request it answers; in `VERSION` the version.
    pub(super) id: u32,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Fields(Bytes),
    /// File data as it came, not joined.
    Data(Vec<Bytes>),
}

impl Packet {
    /// The fields behind the id.
    pub(super) fn fields(self) -> Fields {
        match self.body {
            Body::Fields(bytes) => Fields(bytes),
            Body::Data(_) => Fields(Bytes::new()),
        }
    }
}

/// Cuts a channel's bytes into packets.
#[derive(Default)]
pub(super) struct Assembler {
    pieces: VecDeque<Bytes>,
    held: usize,
}

impl Assembler {
    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.held += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// The next whole packet, if it has come.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, Broken> {
        let Some(mut head) = self.peek::<4>() else { return Ok(None) };
        let length = head.as_slice().get_u32() as usize;
        if !(5..=MAX_PACKET).contains(&length) {
            return Err(Broken(format!("a packet of {length} bytes")));
        }
        if self.held < 4 + length {
            return Ok(None);
        }
        head = [0; 4];
        self.copy(&mut head);
        let mut head = [0; 5];
        self.copy(&mut head);
        let (kind, id) = (head[0], head.get(1..).unwrap_or_default().get_u32());
        let mut left = length - 5;
        if kind != kind::DATA {
            let body = Body::Fields(self.join(left));
            return Ok(Some(Packet { kind, id, body }));
        }
        if left < 4 {
            return Err(Broken("data without a length".to_owned()));
        }
        let mut said = [0; 4];
        self.copy(&mut said);
        left -= 4;
        if u32::from_be_bytes(said) as usize != left {
            return Err(Broken("data of another length than its packet".to_owned()));
        }
        Ok(Some(Packet { kind, id, body: Body::Data(self.take(left)) }))
    }

    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        let mut out = [0; N];
        let mut bytes = self.pieces.iter().flat_map(|p| p.iter());
        for place in &mut out {
            *place = *bytes.next()?;
        }
        Some(out)
    }

    fn take(&mut self, mut length: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while length > 0 {
            let Some(mut piece) = self.pieces.pop_front() else { break };
            let now = piece.split_to(length.min(piece.len()));
            if !piece.is_empty() {
                self.pieces.push_front(piece);
            }
            length -= now.len();
            self.held -= now.len();
            taken.push(now);
        }
        taken
    }

    fn join(&mut self, length: usize) -> Bytes {
        let mut taken = self.take(length);
        match taken.len() {
            0 => Bytes::new(),
            1 => taken.pop().unwrap_or_default(),
            _ => taken.concat().into(),
        }
    }

    fn copy(&mut self, out: &mut [u8]) {
        let bytes = self.join(out.len());
        if bytes.len() == out.len() {
            out.copy_from_slice(&bytes);
        }
    }
}

/// Reads the fields of a packet.
pub(super) struct Fields(Bytes);

impl Fields {
    #[cfg(fuzzing)]
    pub(super) fn of(bytes: Bytes) -> Fields {
        Fields(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u32(&mut self) -> Result<u32, Broken> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    pub(super) fn u64(&mut self) -> Result<u64, Broken> {
        self.need(8)?;
        Ok(self.0.get_u64())
    }

    pub(super) fn string(&mut self) -> Result<Bytes, Broken> {
        let length = self.u32()? as usize;
        self.need(length)?;
        Ok(self.0.split_to(length))
    }

    /// A string that holds fields of its own.
    pub(super) fn list(&mut self) -> Result<Fields, Broken> {
        self.string().map(Fields)
    }

    pub(super) fn attrs(&mut self) -> Result<Attrs, Broken> {
        let flags = self.u32()?;
        let mut attrs = Attrs::default();
        if flags & 1 != 0 {
            attrs.size = Some(self.u64()?);
        }
        if flags & 2 != 0 {
            attrs.owner = Some((self.u32()?, self.u32()?));
        }
        if flags & 4 != 0 {
            attrs.mode = Some(self.u32()?);
        }
        if flags & 8 != 0 {
            attrs.times = Some((self.u32()?, self.u32()?));
        }
        if flags & 0x8000_0000 != 0 {
            // Each pair takes bytes, so a lie about their number ends soon.
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attrs)
    }

    fn need(&self, length: usize) -> Result<(), Broken> {
        match self.0.len() >= length {
            true => Ok(()),
            false => Err(Broken("a packet is shorter than its fields".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_however_the_bytes_are_cut() {
        let mut bytes = Request::new(kind::HANDLE, 0).string(b"\0\0\0\x80").sealed(7).to_vec();
        bytes.extend(Request::new(kind::DATA, 0).string(b"0123456789").sealed(8));
        for cut in 1..bytes.len() {
            let mut assembler = Assembler::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                assembler.push(Bytes::copy_from_slice(piece));
                while let Some(packet) = assembler.next().unwrap() {
                    seen.push(packet);
                }
            }
            assert_eq!(seen.len(), 2, "{cut}");
            let data = seen.pop().unwrap();
            let Body::Data(pieces) = data.body else { panic!("{data:?}") };
            assert_eq!((data.id, pieces.concat()), (8, b"0123456789".to_vec()));
            let handle = seen.pop().unwrap();
            assert_eq!((handle.kind, handle.id), (kind::HANDLE, 7));
            assert_eq!(handle.fields().string().unwrap(), &b"\0\0\0\x80"[..]);
        }
    }

    #[test]
    fn lengths_that_lie_are_noticed() {
        for bytes in [
            &b"\0\0\0\x04\x65\0\0\0"[..],
            b"\0\x10\0\x01\x65\0\0\0\0",
            b"\xff\xff\xff\xff\x65\0\0\0\0",
            b"\0\0\0\x09\x67\0\0\0\0\0\0\0\x01",
            b"\0\0\0\x0a\x67\0\0\0\0\0\0\0\x02x",
            b"\0\0\0\x05\x67\0\0\0\0",
        ] {
            let mut assembler = Assembler::default();
            assembler.push(Bytes::copy_from_slice(bytes));
            assert!(assembler.next().is_err(), "{bytes:?}");
        }
        let mut fields = Fields(Bytes::from_static(b"\x80\0\0\0\xff\xff\xff\xff\0\0\0\0"));
        assert!(fields.attrs().is_err());
        assert!(Fields(Bytes::from_static(b"\0\0\0\x05ab")).string().is_err());
    }

    #[test]
    fn attributes_come_back_as_they_went() {
        let attrs = Attrs {
            size: Some(1 << 40),
            owner: Some((1, u32::MAX)),
            mode: Some(0o100_644),
            times: Some((3, 4)),
        };
        for attrs in [attrs, Attrs::default(), Attrs::permissions(0o40_755)] {
            let mut out = BytesMut::new();
            attrs.put(&mut out);
            assert_eq!(Fields(out.freeze()).attrs().unwrap(), attrs);
        }
        assert_eq!(Attrs::permissions(0o40_755).kind(), FileKind::Dir);
    }

    #[test]
    fn a_block_becomes_a_write_without_a_copy() {
        let mut block = Block::new(5);
        block.extend(b"hello");
        let bytes = block.sealed(3, b"\xff\xfe", 9);
        let want = Request::new(kind::WRITE, 0).string(b"\xff\xfe").u64(9).string(b"hello");
        assert_eq!(bytes, want.sealed(3));
    }
}
