//! The journal: what is about to get its final name (intent), and what has become of it (done),
//! appended one after the other so that a crash at any moment loses nothing.
//!
//! A record is its length, a check, and its bytes; one that was cut or spoiled ends the journal,
//! and what follows it was never promised to anybody. Intents reach the disk before the names
//! they announce are taken.

use super::model::{Entry, Hash, Rel};
use super::record::{In, Out};
use ring::digest::{SHA256, digest};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Which side a name is taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Local,
    Remote,
}

/// A temporary file that is about to be renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    pub path: Rel,
    pub place: Place,
    /// Its name below the root.
    pub temp: Rel,
    /// What is at the path now, if it is a file.
    pub old: Option<Hash>,
    pub new: Hash,
}

/// A conflict whose other side lies beside the file, under another name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub path: Rel,
    pub copy: Rel,
    /// What the node had.
    pub theirs: Entry,
}

/// How the last run ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LastRun {
    pub unix_ms: u64,
    /// Empty: there was none.
    pub action: String,
    /// Empty: all was well.
    pub failure: String,
    /// The node has changes that could not be fetched.
    pub pending_back: bool,
}

impl LastRun {
    pub(super) fn write(&self, out: &mut Out) {
        out.u64(self.unix_ms).bytes(self.action.as_bytes()).bytes(self.failure.as_bytes());
        out.u8(u8::from(self.pending_back));
    }

    pub(super) fn read(from: &mut In<'_>) -> Option<LastRun> {
        let (unix_ms, action, failure) = (from.u64()?, from.text()?, from.text()?);
        Some(LastRun { unix_ms, action, failure, pending_back: from.u8()? != 0 })
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Intent(Intent),
    /// The base has this entry now, or none.
    Done(Rel, Option<Entry>),
    Opened(Conflict),
    /// The conflict with this copy is over.
    Closed(Rel),
    Last(LastRun),
    /// There may be temporary files of ours on the node.
    Littered(bool),
}

impl Record {
    fn write(&self) -> Vec<u8> {
        let mut out = Out::default();
        match self {
            Record::Intent(i) => {
                let place = u8::from(i.place == Place::Remote);
                out.u8(1).u8(place).bytes(&i.path).bytes(&i.temp);
                out.maybe_hash(i.old.as_ref()).hash(&i.new);
            }
            Record::Done(path, entry) => {
                out.u8(2).bytes(path).u8(u8::from(entry.is_some()));
                if let Some(entry) = entry {
                    out.entry(entry);
                }
            }
            Record::Opened(c) => {
                out.u8(3).bytes(&c.path).bytes(&c.copy).entry(&c.theirs);
            }
            Record::Closed(copy) => {
                out.u8(4).bytes(copy);
            }
            Record::Last(last) => last.write(out.u8(5)),
            Record::Littered(littered) => drop(out.u8(6).u8(u8::from(*littered))),
        }
        out.0
    }

    fn read(bytes: &[u8]) -> Option<Record> {
        let mut from = In(bytes);
        Some(match from.u8()? {
            1 => {
                let place = if from.u8()? == 1 { Place::Remote } else { Place::Local };
                let (path, temp) = (from.bytes()?, from.bytes()?);
                let (old, new) = (from.maybe_hash()?, from.hash()?);
                Record::Intent(Intent { path, place, temp, old, new })
            }
            2 => {
                let path = from.bytes()?;
                let entry = match from.u8()? {
                    0 => None,
                    _ => Some(from.entry()?),
                };
                Record::Done(path, entry)
            }
            3 => {
                let (path, copy, theirs) = (from.bytes()?, from.bytes()?, from.entry()?);
                Record::Opened(Conflict { path, copy, theirs })
            }
            4 => Record::Closed(from.bytes()?),
            5 => Record::Last(LastRun::read(&mut from)?),
            6 => Record::Littered(from.u8()? != 0),
            _ => return None,
        })
    }
}

/// The open journal.
pub(crate) struct Journal(File);

impl Journal {
    /// The records that are there, and the journal to append to. What was cut is cut off.
    pub(crate) fn open(path: &Path) -> io::Result<(Journal, Vec<Record>)> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (records, good) = read_all(&bytes);
        if good < bytes.len() {
            file.set_len(good as u64)?;
        }
        Ok((Journal(file), records))
    }

    /// Appends records; with `durable` they are on the disk when this returns.
    pub(crate) fn append(&mut self, records: &[Record], durable: bool) -> io::Result<()> {
        let mut bytes = Vec::new();
        for record in records {
            let body = record.write();
            bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend(check(&body));
            bytes.extend(body);
        }
        self.0.write_all(&bytes)?;
        if durable { self.0.sync_data() } else { Ok(()) }
    }

    /// The records that are there, for somebody who must not change anything.
    pub(crate) fn peek(path: &Path) -> io::Result<(Journal, Vec<Record>)> {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes)?;
        Ok((Journal(file), read_all(&bytes).0))
    }

    /// Everything is in the manifest.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        self.0.set_len(0)
    }
}

/// The first bytes of a record's hash.
fn check(body: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.iter_mut().zip(digest(&SHA256, body).as_ref()).for_each(|(to, from)| *to = *from);
    check
}

/// The records up to the first bad one, and how many bytes they take.
fn read_all(bytes: &[u8]) -> (Vec<Record>, usize) {
    let (mut records, mut good) = (Vec::new(), 0);
    let mut rest = bytes;
    while let Some((record, length)) = next(rest) {
        good += length;
        records.push(record);
        rest = rest.get(length..).unwrap_or_default();
    }
    (records, good)
}

fn next(bytes: &[u8]) -> Option<(Record, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (said, rest) = rest.split_first_chunk::<8>()?;
    let body = rest.get(..length)?;
    if check(body) != *said {
        return None;
    }
    Some((Record::read(body)?, 12 + length))
}
