//! What a sync remembers on the disk: the base, open conflicts, how the last run went.
//!
//! A manifest (written beside its name, then renamed) holds the state of some moment, the journal
//! what has happened since. Both together are the state, whenever the process may have ended. The
//! manifest's end is a hash of the rest: one that does not fit is not believed, and the sync
//! starts anew, which costs time and loses nothing.

use super::journal::{Conflict, Intent, Journal, LastRun, Record};
use super::model::{Base, Entry, Rel};
use super::record::{In, Out};
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Begins a manifest; another layout has another number.
const MAGIC: &[u8] = b"bssh sync 1\n";
/// A journal this long is worth a new manifest.
const LONG: usize = 20_000;

/// What the base belongs to. With another identity the base means nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The node's host key, `SHA256:…`.
    pub host_key: String,
    /// The root on the node, absolute.
    pub root: Vec<u8>,
    /// What was written into that root when the sync began.
    pub token: String,
}

/// The store of one pair of roots.
pub(crate) struct Store {
    dir: PathBuf,
    pub identity: Identity,
    pub last: LastRun,
    /// There may be temporary files of ours on the node.
    pub littered: bool,
    pub base: Base,
    /// By their copies.
    pub conflicts: BTreeMap<Rel, Conflict>,
    /// What an earlier run had begun and not ended.
    pub intents: Vec<Intent>,
    journal: Journal,
    n_records: usize,
}

impl Store {
    /// Opens the store in a directory, which is made. The caller holds its lock.
    ///
    /// # Errors
    /// The directory or its files cannot be read or written.
    pub(crate) fn open(dir: &Path) -> io::Result<Store> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let (mut journal, records) = Journal::open(&dir.join("journal"))?;
        let manifest = Store::manifest(dir)?;
        if manifest.is_spoiled() {
            // A journal without its manifest means nothing either.
            journal.clear()?;
        }
        Ok(Store::of(dir, manifest, (journal, records)))
    }

    /// The state as it stands, without the right to change it: for `status`. None: never used.
    pub(crate) fn peek(dir: &Path) -> io::Result<Option<Store>> {
        if !dir.join("journal").exists() {
            return Ok(None);
        }
        let journal = Journal::peek(&dir.join("journal"))?;
        Ok(Some(Store::of(dir, Store::manifest(dir)?, journal)))
    }

    fn manifest(dir: &Path) -> io::Result<Manifest> {
        match std::fs::read(dir.join("manifest")) {
            Ok(bytes) => {
                Ok(read(&bytes).map_or(Manifest::Spoiled, |parts| Manifest::Read(Box::new(parts))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::None),
            Err(error) => Err(error),
        }
    }

    fn of(dir: &Path, manifest: Manifest, (journal, records): (Journal, Vec<Record>)) -> Store {
        let spoiled = manifest.is_spoiled();
        let mut store = Store {
            dir: dir.to_path_buf(),
            identity: Identity::default(),
            last: LastRun::default(),
            littered: false,
            base: Base::new(),
            conflicts: BTreeMap::new(),
            intents: Vec::new(),
            journal,
            n_records: records.len(),
        };
        if let Manifest::Read(parts) = manifest {
            let Parts { identity, last, base, conflicts, littered } = *parts;
            (store.identity, store.last, store.littered) = (identity, last, littered);
            (store.base, store.conflicts) = (base, conflicts);
        }
        if !spoiled {
            records.into_iter().for_each(|record| store.replay(record));
        }
        store
    }

    fn replay(&mut self, record: Record) {
        match record {
            Record::Intent(intent) => {
                self.intents.retain(|i| i.path != intent.path);
                self.intents.push(intent);
            }
            Record::Done(path, entry) => {
                self.intents.retain(|i| i.path != path);
                self.set(path, entry);
            }
            Record::Last(last) => self.last = last,
            Record::Littered(littered) => self.littered = littered,
            Record::Opened(conflict) => {
                self.intents.retain(|i| i.path != conflict.copy);
                self.conflicts.insert(conflict.copy.clone(), conflict);
            }
            Record::Closed(copy) => drop(self.conflicts.remove(&copy)),
        }
    }

    fn set(&mut self, path: Rel, entry: Option<Entry>) {
        match entry {
            Some(entry) => drop(self.base.insert(path, entry)),
            None => drop(self.base.remove(&path)),
        }
    }

    /// Names are about to be taken. On the disk when this returns.
    pub(crate) fn intend(&mut self, intents: Vec<Intent>) -> io::Result<()> {
        let records: Vec<Record> = intents.into_iter().map(Record::Intent).collect();
        self.n_records += records.len();
        self.journal.append(&records, true)
    }

    /// What has been done.
    pub(crate) fn done(&mut self, records: Vec<Record>) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.n_records += records.len();
        self.journal.append(&records, false)?;
        records.into_iter().for_each(|record| self.replay(record));
        match self.n_records > LONG {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }

    /// Writes the manifest and clears the journal.
    pub(crate) fn checkpoint(&mut self) -> io::Result<()> {
        let (temp, name) = (self.dir.join("manifest.new"), self.dir.join("manifest"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
        file.write_all(&self.write())?;
        file.sync_data()?;
        std::fs::rename(&temp, &name)?;
        File::open(&self.dir)?.sync_data()?;
        self.journal.clear()?;
        self.n_records = 0;
        Ok(())
    }

    /// Forgets everything: another node, or another root.
    pub(crate) fn restart(&mut self, identity: Identity) -> io::Result<()> {
        self.base.clear();
        self.intents.clear();
        self.conflicts.clear();
        self.littered = false;
        self.identity = identity;
        self.checkpoint()
    }

    fn write(&self) -> Vec<u8> {
        let mut out = Out(MAGIC.to_vec());
        let (identity, last) = (&self.identity, &self.last);
        out.bytes(identity.host_key.as_bytes()).bytes(&identity.root);
        out.bytes(identity.token.as_bytes());
        last.write(&mut out);
        out.u64(self.base.len() as u64);
        for (path, entry) in &self.base {
            out.bytes(path).entry(entry);
        }
        out.u64(self.conflicts.len() as u64);
        for conflict in self.conflicts.values() {
            out.bytes(&conflict.path).bytes(&conflict.copy).entry(&conflict.theirs);
        }
        out.u8(u8::from(self.littered));
        let check = digest(&SHA256, &out.0);
        out.0.extend(check.as_ref());
        out.0
    }
}

/// What the manifest's file turned out to be.
enum Manifest {
    None,
    Spoiled,
    Read(Box<Parts>),
}

impl Manifest {
    fn is_spoiled(&self) -> bool {
        matches!(self, Manifest::Spoiled)
    }
}

/// What a manifest says.
struct Parts {
    identity: Identity,
    last: LastRun,
    base: Base,
    conflicts: BTreeMap<Rel, Conflict>,
    littered: bool,
}

fn read(bytes: &[u8]) -> Option<Parts> {
    let (body, said) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if digest(&SHA256, body).as_ref() != said {
        return None;
    }
    let mut from = In(body.strip_prefix(MAGIC)?);
    let (host_key, root, token) = (from.text()?, from.bytes()?, from.text()?);
    let identity = Identity { host_key, root, token };
    let last = LastRun::read(&mut from)?;
    let mut base = Base::new();
    for _ in 0..from.u64()? {
        base.insert(from.bytes()?, from.entry()?);
    }
    let mut conflicts = BTreeMap::new();
    for _ in 0..from.u64()? {
        let (path, copy, theirs) = (from.bytes()?, from.bytes()?, from.entry()?);
        conflicts.insert(copy.clone(), Conflict { path, copy, theirs });
    }
    // Earlier versions did not know.
    let littered = from.u8().is_none_or(|n| n != 0);
    Some(Parts { identity, last, base, conflicts, littered })
}

#[cfg(test)]
mod tests {
    use super::super::journal::Place;
    use super::super::model::{LocalStat, RemoteStat, Thing};
    use super::*;

    fn entry(n: u8) -> Entry {
        Entry {
            thing: match n % 4 {
                0 => Thing::Dir,
                1 => Thing::Link(vec![0xff, n]),
                kind => Thing::File { hash: [n; 32], exec: kind == 2 },
            },
            local: LocalStat { ino: n.into(), mtime_ns: -5, mode: 0o755, ..LocalStat::default() },
            remote: RemoteStat { size: 3, mtime: n.into(), mode: 0o644 },
            racy_local: n.is_multiple_of(2),
            racy_remote: n.is_multiple_of(3),
        }
    }

    fn state(store: &Store) -> (Base, BTreeMap<Rel, Conflict>, Vec<Intent>) {
        (store.base.clone(), store.conflicts.clone(), store.intents.clone())
    }

    /// Whatever moment a run is killed at, what was recorded until then is there, and no more.
    #[test]
    fn a_journal_cut_anywhere_is_read_up_to_there() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("store");
        let mut store = Store::open(&dir).unwrap();
        store.identity.host_key = "SHA256:x".to_owned();
        store.base.insert(b"old".to_vec(), entry(1));
        store.checkpoint().unwrap();
        let journal = dir.join("journal");
        let length = || std::fs::metadata(&journal).unwrap().len();
        let mut steps = vec![(0, state(&store))];
        for n in 0..5_u8 {
            let path = vec![b'f', n % 5];
            let intent = Intent {
                path: path.clone(),
                place: if n % 2 == 0 { Place::Local } else { Place::Remote },
                temp: vec![b't', n],
                old: (n % 3 == 0).then_some([n; 32]),
                new: [n; 32],
            };
            store.intend(vec![intent.clone()]).unwrap();
            let mut known = steps.last().unwrap().1.clone();
            known.2.retain(|i| i.path != path);
            known.2.push(intent);
            steps.push((length(), known.clone()));
            let conflict = Conflict { path: path.clone(), copy: vec![b'c', n], theirs: entry(n) };
            for record in [
                Record::Done(path.clone(), (n != 3).then(|| entry(n))),
                Record::Opened(conflict.clone()),
                Record::Closed(vec![b'c', n / 2]),
            ] {
                store.done(vec![record]).unwrap();
                steps.push((length(), state(&store)));
            }
        }
        let bytes = std::fs::read(&journal).unwrap();
        for cut in 0..=bytes.len() {
            std::fs::write(&journal, &bytes[..cut]).unwrap();
            let want = steps.iter().rev().find(|(at, _)| *at as usize <= cut).unwrap();
            let store = Store::open(&dir).unwrap();
            assert_eq!(state(&store), want.1, "cut at {cut}");
            assert_eq!(store.identity.host_key, "SHA256:x");
        }
        // A byte that is wrong ends it there as well.
        for at in (0..bytes.len()).step_by(7) {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 0x10;
            std::fs::write(&journal, &spoiled).unwrap();
            let found = state(&Store::open(&dir).unwrap());
            let want = steps.iter().rev().find(|(good, _)| *good as usize <= at).unwrap();
            assert_eq!(found, want.1, "spoiled at {at}");
        }
    }

    #[test]
    fn a_manifest_comes_back_or_is_not_believed() {
        let home = tempfile::tempdir().unwrap();
        let mut store = Store::open(home.path()).unwrap();
        for n in 0..50 {
            store.done(vec![Record::Done(vec![n + 1], Some(entry(n)))]).unwrap();
        }
        store.last.failure = "x".to_owned();
        store.checkpoint().unwrap();
        store.done(vec![Record::Done(b"late".to_vec(), Some(entry(3)))]).unwrap();
        let want = state(&store);
        drop(store);
        let again = Store::open(home.path()).unwrap();
        assert_eq!((state(&again), again.last.failure.as_str()), (want, "x"));
        let manifest = home.path().join("manifest");
        let bytes = std::fs::read(&manifest).unwrap();
        for at in (0..bytes.len()).step_by(97) {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 1;
            std::fs::write(&manifest, &spoiled).unwrap();
            assert!(Store::open(home.path()).unwrap().base.is_empty(), "byte {at}");
            std::fs::write(&manifest, &bytes[..at]).unwrap();
            assert!(Store::open(home.path()).unwrap().base.is_empty(), "cut at {at}");
        }
    }
}
