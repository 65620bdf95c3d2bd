//! One file from a node: written beside its final name, then renamed over it.
//!
//! The server's size is what is asked for; less is a fault, and more is never read. Blocks are
//! asked for many at a time; all files of a node share one budget of bytes on the way.

use super::blocks::{self, Blocks, Carrier, Piece};
use super::disk::{LocalDir, settle};
use super::fault::Fault;
use super::node::Job;
use super::origin::far_block;
use super::send::{MOST_UNSAID, UNSURE, part_name};
use super::verify;
use bssh_protocol::task::Overwrite;
use bssh_ssh::sftp::{Attrs, RemoteFile, Sftp, flags};
use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt};
use rustix::fs::{FileType, Stat};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A file to fetch.
pub(crate) struct Wanted {
    pub path: Vec<u8>,
    pub attrs: Attrs,
    pub dir: Arc<LocalDir>,
    pub name: Vec<u8>,
}

/// What is made of it: everything decided before bytes come.
struct Plan {
    part: Part,
    offset: u64,
    /// How long the file is: what is before that is written over, holes too.
    length: u64,
    /// Mode and times at the end.
    mode: Option<u32>,
    times: Option<(u32, u32)>,
}

/// A file that is removed unless it gets its final name: also when the transfer is given up.
struct Part {
    dir: Arc<LocalDir>,
    name: Vec<u8>,
    keep: bool,
}

impl Part {
    /// Gives it its final name.
    fn take_name(mut self, name: &[u8]) -> Result<(), Fault> {
        self.dir.rename(&self.name, name)?;
        self.keep = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.keep {
            // Best effort: the cause is what matters.
            let _ = self.dir.remove(&self.name);
        }
    }
}

/// Fetches a file.
pub(crate) async fn fetch(job: &Job, wanted: &Wanted) -> Result<(), Fault> {
    let remote = job.sftp.open_file(&wanted.path, flags::READ, &Attrs::default()).await?;
    let size = match wanted.attrs.size {
        Some(size) => size,
        None => remote.stat().await?.size.unwrap_or(0),
    };
    let anew = differs(job, wanted, &remote, size).await?;
    let Some((local, plan)) = prepare(job, wanted, (size, anew)).await? else {
        job.count.add(&job.count.skipped, 1);
        return Ok(());
    };
    let filled = match size {
        0 => unsaid(job, &remote, &local).await,
        _ if job.options.append => {
            in_order(job, &remote, &local, (plan.offset, size)).await.map(|()| size)
        }
        _ => fill(job, wanted, (&remote, &local), (&plan, size)).await,
    };
    let name = wanted.name.clone();
    let fsync = job.options.fsync;
    let (part, mode, times) = (plan.part, plan.mode, plan.times);
    let verify = job.options.verify.then(|| local.clone());
    job.disk
        .run(move || {
            let size = filled?;
            if local.metadata()?.len() < size {
                // It ends with a hole.
                local.set_len(size)?;
            }
            settle(&*local, mode, times)?;
            if fsync {
                local.sync_all()?;
            }
            part.take_name(&name)
        })
        .await?;
    if let Some(local) = verify {
        verify::must_be(verify::downloaded(job, &remote, local).await?)?;
    }
    job.count.add(&job.count.files, 1);
    Ok(())
}

/// What is here would be taken for the file, but is to be compared, and differs.
async fn differs(
    job: &Job,
    wanted: &Wanted,
    remote: &RemoteFile,
    size: u64,
) -> Result<bool, Fault> {
    if !(job.options.resume && job.options.verify) {
        return Ok(false);
    }
    let (dir, name, attrs) = (wanted.dir.clone(), wanted.name.clone(), wanted.attrs);
    let look = move || {
        let old = dir.stat(&name)?.filter(|old| looks_same(old, &attrs, size));
        old.map(|_| dir.open(&name)).transpose()
    };
    match job.disk.run(look).await? {
        None => Ok(false),
        Some(local) => Ok(!verify::downloaded(job, remote, Arc::new(local)).await?),
    }
}

/// Whether a local file is, by size and time, what a node has.
fn looks_same(old: &Stat, attrs: &Attrs, size: u64) -> bool {
    let change = attrs.times.map(|(_, change)| i64::from(change));
    FileType::from_raw_mode(old.st_mode) == FileType::RegularFile
        && u64::try_from(old.st_size) == Ok(size)
        && change == Some(old.st_mtime)
}

/// Looks at what is there and makes the file to write to; `anew`: it is no other's. None: it is
/// there already.
async fn prepare(
    job: &Job,
    wanted: &Wanted,
    (size, anew): (u64, bool),
) -> Result<Option<(Arc<File>, Plan)>, Fault> {
    let (dir, name, attrs) = (wanted.dir.clone(), wanted.name.clone(), wanted.attrs);
    let (preserve, keeps, resume) = (job.options.preserve, job.keeps(), job.options.resume);
    let (append, overwrite) = (job.options.append, job.options.overwrite);
    let umask = job.options.umask;
    let temporary = job.temporary_name();
    let node = job.name.clone();
    job.disk
        .run(move || {
            let old = dir.stat(&name)?;
            let kind = old.as_ref().map(|s| FileType::from_raw_mode(s.st_mode));
            match kind {
                None | Some(FileType::RegularFile | FileType::Symlink) => {}
                Some(FileType::Directory) => {
                    return Err(Fault::new("isDirectory", "a directory is there"));
                }
                Some(_) => return Err(Fault::new("special", "a device, pipe or socket is there")),
            }
            if overwrite == Overwrite::Fail && kind.is_some() {
                return Err(Fault::new("exists", "it is there already"));
            }
            let old = old.filter(|_| kind == Some(FileType::RegularFile));
            let same = |old: &Stat| !anew && looks_same(old, &attrs, size);
            if resume && old.as_ref().is_some_and(same) {
                return Ok(None);
            }
            let change = attrs.times.map_or(0, |(_, change)| i64::from(change));
            match (overwrite, &old) {
                (Overwrite::Newer, Some(old)) if old.st_mtime >= change => return Ok(None),
                _ => {}
            }
            let said = attrs.mode.unwrap_or(0o644) & 0o777;
            // Writable for us, as scp makes them.
            let open = (said | 0o200) & !umask.unwrap_or(0);
            let mode = match (preserve, &old) {
                (true, _) => Some(said),
                (false, Some(old)) => Some(old.st_mode & 0o7777),
                (false, None) => umask.map(|_| open),
            };
            let times = attrs.times.filter(|_| keeps);
            let first = if preserve { 0o600 } else { open };
            if let (true, Some(old)) = (append, &old) {
                let offset = u64::try_from(old.st_size).unwrap_or(0);
                if size > 0 && offset > size {
                    return Err(Fault::new("larger", "local file is larger than remote"));
                }
                let file = Arc::new(dir.reopen(&name, first)?);
                let part = Part { dir, name, keep: true };
                return Ok(Some((file, Plan { part, offset, length: offset, mode, times })));
            }
            if !resume {
                let file = Arc::new(dir.create(&temporary, first)?);
                let part = Part { dir, name: temporary, keep: false };
                return Ok(Some((file, Plan { part, offset: 0, length: 0, mode, times })));
            }
            // It stays: the next transfer goes on with it.
            let name = part_name(&name, &format!("{node} {size} {change}"));
            let file = dir.reopen(&name, first)?;
            let part = Part { dir, name, keep: true };
            let there = file.metadata()?.len();
            let length = there.min(size);
            let offset = length.saturating_sub(UNSURE);
            file.set_len(length)?;
            Ok(Some((Arc::new(file), Plan { part, offset, length, mode, times })))
        })
        .await
        .inspect(|made| {
            if let Some((_, plan)) = made {
                job.count.add(&job.count.resumed, plan.offset);
            }
        })
}

/// Fetches what is left of a file. Gives its size.
async fn fill(
    job: &Job,
    wanted: &Wanted,
    (remote, local): (&RemoteFile, &Arc<File>),
    (plan, size): (&Plan, u64),
) -> Result<u64, Fault> {
    let left = plan.offset.min(size)..size;
    let blocks = Blocks::new(vec![left], job.read_block(), job.ahead());
    let end = AtomicU64::new(size);
    let fetching = Fetching { job, wanted, remote, local, dense: plan.length, end: &end };
    super::blocks::carry(job, remote, &blocks, &fetching).await?;
    Ok(end.into_inner())
}

/// How the blocks of a file are fetched.
struct Fetching<'a> {
    job: &'a Job,
    wanted: &'a Wanted,
    remote: &'a RemoteFile,
    local: &'a Arc<File>,
    /// Holes are not left out before this.
    dense: u64,
    /// The size of the file.
    end: &'a AtomicU64,
}

impl Fetching<'_> {
    /// The size of a file that the kernel makes up (as in `/sys`) is a guess, and says so by
    /// staying. Such a file is read at once.
    async fn is_guess(&self, file: &RemoteFile, start: u64) -> bool {
        let said = self.end.load(Relaxed);
        let at_once = start == 0 && said <= self.job.read_block();
        at_once && file.stat().await.is_ok_and(|now| now.size == Some(said))
    }
}

impl Carrier for Fetching<'_> {
    /// One block, asked for again where the server sent less of it.
    async fn carry(&self, file: &RemoteFile, Piece { mut at, length }: Piece) -> Result<(), Fault> {
        let job = self.job;
        let _permit = job.budget(length).await?;
        let (start, mut left) = (at, u32::try_from(length).unwrap_or(u32::MAX));
        while left > 0 {
            let pieces = match file.read(at, left).await {
                Err(error) if error.is_eof() && self.is_guess(file, start).await => {
                    self.end.store(at, Relaxed);
                    return Ok(());
                }
                Err(error) if error.is_eof() => {
                    return Err(Fault::new("changed", "it is shorter than the node said"));
                }
                pieces => pieces?,
            };
            let got: usize = pieces.iter().map(Bytes::len).sum();
            write(job, self.local, pieces, (at, self.dense)).await?;
            job.count.add(&job.count.bytes, got as u64);
            at += got as u64;
            left = left.saturating_sub(u32::try_from(got).unwrap_or(u32::MAX));
        }
        Ok(())
    }

    /// A file that is not the same any more is not used.
    async fn open(&self, lane: &Sftp) -> Option<RemoteFile> {
        let none = Attrs::default();
        let opening = lane.open_file(&self.wanted.path, flags::READ, &none);
        let (known, file) = futures_util::future::join(self.remote.stat(), opening).await;
        let (known, file) = (known.ok()?, file.ok()?);
        let now = file.stat().await.ok()?;
        let looks = |attrs: &Attrs| (attrs.size, attrs.owner, attrs.mode, attrs.times.map(|t| t.1));
        (looks(&now) == looks(&known)).then_some(file)
    }
}

/// As [`fill`], but nothing is written before what is in front of it: the file is right as far
/// as it goes at any time.
async fn in_order(
    job: &Job,
    remote: &RemoteFile,
    local: &Arc<File>,
    (offset, size): (u64, u64),
) -> Result<(), Fault> {
    let (mut running, mut asked, mut at) = (FuturesOrdered::new(), offset, offset);
    loop {
        while running.len() < job.depth && asked < size {
            let length = u32::try_from(job.read_block().min(size - asked)).unwrap_or(0);
            let start = asked;
            running.push_back(async move {
                let permit = job.budget(length as usize).await?;
                Ok::<_, Fault>((far_block(remote, start, length).await?, permit))
            });
            asked += u64::from(length);
        }
        let Some(block) = running.next().await else { return Ok(()) };
        let (pieces, _permit) = block?;
        let got: usize = pieces.iter().map(Bytes::len).sum();
        write(job, local, pieces, (at, u64::MAX)).await?;
        job.count.add(&job.count.bytes, got as u64);
        at += got as u64;
    }
}

/// Writes what has arrived, and leaves holes where there are only zeros. Not before `dense`: there
/// something else may be in the file.
async fn write(
    job: &Job,
    local: &Arc<File>,
    pieces: Vec<Bytes>,
    (at, dense): (u64, u64),
) -> Result<(), Fault> {
    let local = local.clone();
    job.disk
        .run(move || {
            let mut at = at;
            for piece in pieces {
                if at < dense || !blocks::is_hole(&piece) {
                    local.write_all_at(&piece, at)?;
                }
                at += piece.len() as u64;
            }
            Ok(())
        })
        .await
}

/// A file of unknown size, one block after the other. Gives its size.
async fn unsaid(job: &Job, remote: &RemoteFile, local: &Arc<File>) -> Result<u64, Fault> {
    let mut at = 0;
    while at < MOST_UNSAID {
        let pieces = match remote.read(at, job.sftp.limits().read).await {
            Err(error) if error.is_eof() => return Ok(at),
            pieces => pieces?,
        };
        let got: usize = pieces.iter().map(Bytes::len).sum();
        write(job, local, pieces, (at, u64::MAX)).await?;
        job.count.add(&job.count.bytes, got as u64);
        at += got as u64;
    }
    Err(Fault::endless())
}
