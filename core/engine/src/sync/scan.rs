//! The local side: every name below the root with its description, compared with the base.
//!
//! Directories are descriptors and no link is followed. What cannot be read is blocked, never
//! absent: an unreadable directory must not look like a deleted one.

use super::filter::{Filter, Part};
use super::model::{Base, Hash, LocalStat, Rel, Seen, Side, Thing};
use crate::transfer::{DEEPEST, Fault, LocalDir, join, split};
use ring::digest::{Context, SHA256};
use rustix::fs::{FileType, Stat};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

/// The local side as it was found.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub side: Side,
    pub stats: BTreeMap<Rel, LocalStat>,
    /// What cannot be read, and why.
    pub faults: Vec<(Rel, Fault)>,
    /// Temporary files of an earlier run.
    pub stale: Vec<Rel>,
}

/// Reads everything below the root. Takes a disk's time.
///
/// # Errors
/// `syncTooLarge`.
pub(crate) fn scan(
    root: &LocalDir,
    base: &Base,
    filter: &Filter,
    most: usize,
) -> Result<Local, Fault> {
    let mut local = Local::default();
    let mut walk = Walk { base, filter, most, local: &mut local };
    walk.dir(root, &Vec::new(), 0)?;
    Ok(local)
}

struct Walk<'a> {
    base: &'a Base,
    filter: &'a Filter,
    most: usize,
    local: &'a mut Local,
}

impl Walk<'_> {
    fn dir(&mut self, dir: &LocalDir, path: &Rel, depth: usize) -> Result<(), Fault> {
        let names = match dir.names() {
            Ok(names) if depth <= DEEPEST => names,
            Ok(_) => return self.blocked(path, Fault::new("loop", "directories are too deep")),
            Err(fault) => return self.blocked(path, fault),
        };
        for name in names {
            let child = join(path, &name);
            let stat = match dir.stat(&name) {
                Ok(Some(stat)) => stat,
                // Gone in the meantime.
                Ok(None) => continue,
                Err(fault) => {
                    self.blocked(&child, fault)?;
                    continue;
                }
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            match self.filter.part(&child, kind == FileType::Directory) {
                Part::Takes => self.one(dir, (&name, child), (kind, described(&stat)), depth)?,
                Part::LeftOut => {}
                Part::Stale => self.local.stale.push(child),
            }
            if self.local.side.len() > self.most {
                let text = format!("more than {} files and directories", self.most);
                return Err(Fault::fatal("syncTooLarge", text));
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        dir: &LocalDir,
        (name, child): (&[u8], Rel),
        (kind, stat): (FileType, LocalStat),
        depth: usize,
    ) -> Result<(), Fault> {
        let known = self.base.get(&child);
        let unchanged = known.is_some_and(|e| e.local == stat && !e.racy_local);
        let seen = match kind {
            FileType::Directory => match dir.dir(name) {
                Ok(inner) => {
                    let is_dir = known.is_some_and(|e| e.thing == Thing::Dir);
                    let seen = if is_dir { Seen::Same } else { Seen::Dir };
                    self.local.side.insert(child.clone(), seen);
                    self.local.stats.insert(child.clone(), stat);
                    return self.dir(&inner, &child, depth + 1);
                }
                Err(fault) => return self.blocked(&child, fault),
            },
            FileType::RegularFile if unchanged => Seen::Same,
            FileType::RegularFile => Seen::File { hash: None, exec: stat.mode & 0o100 != 0 },
            FileType::Symlink => {
                let text = match dir.read_link(name) {
                    Ok(text) => text,
                    Err(fault) => return self.blocked(&child, fault),
                };
                match self.filter.link(&child, &text) {
                    Ok(false) => return Ok(()),
                    Err(why) => Seen::Blocked(why),
                    Ok(true) => match known.is_some_and(|e| e.thing == Thing::Link(text.clone())) {
                        true => Seen::Same,
                        false => Seen::Link(text),
                    },
                }
            }
            _ => Seen::Blocked("special"),
        };
        self.local.stats.insert(child.clone(), stat);
        self.local.side.insert(child, seen);
        Ok(())
    }

    fn blocked(&mut self, path: &Rel, fault: Fault) -> Result<(), Fault> {
        if path.is_empty() {
            return Err(fault);
        }
        self.local.side.insert(path.clone(), Seen::Blocked(fault.code));
        self.local.faults.push((path.clone(), fault));
        Ok(())
    }
}

/// A file's description.
pub(crate) fn described(stat: &Stat) -> LocalStat {
    let time = |s, ns| i128::from(s) * 1_000_000_000 + i128::from(ns);
    LocalStat {
        dev: stat.st_dev,
        ino: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: time(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode & 0o7777,
    }
}

/// Changes this shortly before a look are not told apart from later ones.
const RACY_NS: i128 = 2_000_000_000;

/// The description may stay the same although the content changes.
pub(crate) fn is_racy(stat: &LocalStat, now_ns: i128) -> bool {
    stat.mtime_ns.max(stat.ctime_ns) + RACY_NS > now_ns
}

/// Now, as file systems count.
pub(crate) fn now_ns() -> i128 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    i128::try_from(now.as_nanos()).unwrap_or(i128::MAX)
}

/// A regular file at a path below the root, through no link.
pub(crate) fn open(root: &LocalDir, path: &[u8]) -> Result<File, Fault> {
    let (dir, name) = split(path);
    root.walk(dir)?.open(name)
}

/// The hash of a file that does not change meanwhile, with its description.
pub(crate) fn hash(root: &LocalDir, path: &[u8]) -> Result<(Hash, LocalStat), Fault> {
    let mut file = open(root, path)?;
    let before = described(&rustix::fs::fstat(&file)?);
    let mut hash = Context::new(&SHA256);
    let mut block = vec![0; 128 * 1024];
    loop {
        match file.read(&mut block)? {
            0 => break,
            n => hash.update(block.get(..n).unwrap_or_default()),
        }
    }
    match described(&rustix::fs::fstat(&file)?) == before {
        true => Ok((finished(hash), before)),
        false => Err(Fault::new("changed", "it changed while it was read")),
    }
}

/// A finished hash as bytes.
pub(crate) fn finished(hash: Context) -> Hash {
    let mut out = [0; 32];
    out.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}
