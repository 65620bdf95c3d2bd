//! The local side: every name below the root with its description, compared with the base.
//!
//! Directories are descriptors and no link is followed, unless that is wanted: then what is read
//! through one is sent, and nothing is ever written through it. What cannot be read is blocked,
//! never absent: an unreadable directory must not look like a deleted one.

use super::filter::{Filter, Part};
use super::model::{Base, Hash, LocalStat, Rel, Seen, Side, Thing, parents};
use crate::transfer::{DEEPEST, Fault, LocalDir, join, split};
use bssh_config::clusters::sync::SyncLinks;
use ring::digest::{Context, SHA256};
use rustix::fs::{FileType, Stat};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The local side as it was found.
#[derive(Debug, Default)]
pub(crate) struct Local {
    pub side: Side,
    pub stats: BTreeMap<Rel, LocalStat>,
    /// What cannot be read, and why.
    pub faults: Vec<(Rel, Fault)>,
    /// Temporary files of an earlier run.
    pub stale: Vec<Rel>,
    /// Links that are followed, and where they lead.
    pub followed: BTreeMap<Rel, PathBuf>,
}

impl Local {
    /// Where a path that is reached through a link really lies.
    pub(crate) fn really(&self, path: &[u8]) -> Option<PathBuf> {
        if self.followed.is_empty() {
            return None;
        }
        let mut above: Vec<&[u8]> = parents(path).collect();
        above.push(path);
        // The last link on the way is the one that counts.
        let (link, to) = above.iter().rev().find_map(|p| self.followed.get_key_value(*p))?;
        let rest = path.get(link.len() + 1..).unwrap_or_default();
        Some(if rest.is_empty() { to.clone() } else { to.join(OsStr::from_bytes(rest)) })
    }
}

/// Reads everything below the root. Takes a disk's time.
///
/// # Errors
/// `syncTooLarge`.
pub(crate) fn scan(
    (root, at): (&LocalDir, &Path),
    base: &Base,
    filter: &Filter,
    most: usize,
) -> Result<Local, Fault> {
    let mut local = Local::default();
    let mut walk = Walk {
        base,
        filter,
        most,
        root: at.canonicalize().ok(),
        above: Vec::new(),
        local: &mut local,
    };
    walk.dir((root, at), &Vec::new(), 0)?;
    Ok(local)
}

/// A directory, and its path.
type At<'a> = (&'a LocalDir, &'a Path);

struct Walk<'a> {
    base: &'a Base,
    filter: &'a Filter,
    most: usize,
    /// Where the root really lies.
    root: Option<PathBuf>,
    /// The directories we are in, by device and number.
    above: Vec<(u64, u64)>,
    local: &'a mut Local,
}

impl Walk<'_> {
    fn dir(&mut self, dir: At<'_>, path: &Rel, depth: usize) -> Result<(), Fault> {
        let itself = dir.0.itself()?;
        if self.above.contains(&itself) {
            return self.blocked(path, Fault::new("loop", "a directory that contains itself"));
        }
        self.above.push(itself);
        let read = self.inside(dir, path, depth);
        self.above.pop();
        read
    }

    fn inside(&mut self, at: At<'_>, path: &Rel, depth: usize) -> Result<(), Fault> {
        let dir = at.0;
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
                Part::Takes => self.one(at, (&name, child), (kind, described(&stat)), depth)?,
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
        (dir, at): At<'_>,
        (name, child): (&[u8], Rel),
        (kind, stat): (FileType, LocalStat),
        depth: usize,
    ) -> Result<(), Fault> {
        let known = self.base.get(&child);
        let unchanged = known.is_some_and(|e| e.local == stat && !e.racy_local);
        if kind == FileType::Symlink && self.filter.links == SyncLinks::Follow {
            return self.follow(at, (name, child), depth);
        }
        let seen = match kind {
            FileType::Directory => match dir.dir(name) {
                Ok(inner) => {
                    let is_dir = known.is_some_and(|e| e.thing == Thing::Dir);
                    let seen = if is_dir { Seen::Same } else { Seen::Dir };
                    self.local.side.insert(child.clone(), seen);
                    self.local.stats.insert(child.clone(), stat);
                    let at = at.join(OsStr::from_bytes(name));
                    return self.dir((&inner, &at), &child, depth + 1);
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

    /// What a link leads to, in its place.
    fn follow(
        &mut self,
        at: &Path,
        (name, child): (&[u8], Rel),
        depth: usize,
    ) -> Result<(), Fault> {
        let link = at.join(OsStr::from_bytes(name));
        let real = match link.canonicalize() {
            Ok(real) if self.filter.unsafe_links || self.is_inside(&real) => real,
            Ok(_) => return self.leave(child, "unsafeLink"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.leave(child, "deadLink");
            }
            Err(error) => return self.blocked(&child, error.into()),
        };
        let (parent, name) = split(real.as_os_str().as_bytes());
        if name.is_empty() {
            return self.leave(child, "unsafeLink");
        }
        let found = LocalDir::at(Path::new(OsStr::from_bytes(parent)))
            .and_then(|dir| Ok((dir.stat(name)?, dir)));
        let (stat, parent_dir) = match found {
            Ok((Some(stat), dir)) => (stat, dir),
            Ok((None, _)) => return self.leave(child, "deadLink"),
            Err(fault) => return self.blocked(&child, fault),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_dir = kind == FileType::Directory;
        if self.filter.part(&child, is_dir) != Part::Takes {
            return Ok(());
        }
        self.local.followed.insert(child.clone(), real.clone());
        let parent = (&parent_dir, Path::new(OsStr::from_bytes(parent)));
        self.one(parent, (name, child), (kind, described(&stat)), depth)
    }

    fn is_inside(&self, real: &Path) -> bool {
        self.root.as_deref().is_some_and(|root| real.starts_with(root) && real != root)
    }

    /// It is left alone, and said to be.
    fn leave(&mut self, path: Rel, why: &'static str) -> Result<(), Fault> {
        self.local.side.insert(path, Seen::Blocked(why));
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

/// A regular file at a path below the root, through no link; or where a link was found to lead,
/// through no other one.
pub(crate) fn open(root: &LocalDir, path: &[u8], really: Option<&Path>) -> Result<File, Fault> {
    let (dir, name) = split(really.map_or(path, |real| real.as_os_str().as_bytes()));
    match really {
        None => root.walk(dir)?.open(name),
        Some(_) => LocalDir::at(Path::new("/"))?.walk(dir)?.open(name),
    }
}

/// The hash of a file that does not change meanwhile, with its description.
pub(crate) fn hash(
    root: &LocalDir,
    path: &[u8],
    really: Option<&Path>,
) -> Result<(Hash, LocalStat), Fault> {
    let mut file = open(root, path, really)?;
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
