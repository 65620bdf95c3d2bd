//! One file to a node: written beside its final name, then renamed over it.
//!
//! Whatever ends a transfer, the old file is whole or the new one is. Blocks are read and sent
//! many at a time; all files of a node share one budget of bytes on the way.

use super::blocks::{self, Blocks, Carrier, Piece};
use super::crowd::Row;
use super::fault::Fault;
use super::node::Job;
use super::origin::{self, Origin};
use super::tree::{Item, join};
use super::{remote, verify};
use bssh_protocol::task::Overwrite;
use bssh_ssh::sftp::{Attrs, FileKind, RemoteFile, Sftp, SftpError, Status, flags};
use ring::digest;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Blocks on the way may not have arrived in order: what an earlier transfer left counts only up
/// to here before its end, which is more than may have been on the way.
pub(crate) const UNSURE: u64 = super::node::MOST_AHEAD + (1 << 20);

/// A file that claims to be empty and is not is read up to here.
pub(crate) const MOST_UNSAID: u64 = 256 << 20;
/// Its owner may write to a file.
const WRITABLE: u32 = 0o200;

/// A file to write to on the node.
struct Opened {
    file: RemoteFile,
    name: Vec<u8>,
    /// How much of it is right already.
    offset: u64,
    /// How long it is: what is before that is written over, holes too.
    length: u64,
    /// The mode it gets at the end, if nothing else decides that.
    like: Option<Attrs>,
}

/// Sends a file to `target`. `fresh`: nothing is there.
pub(crate) async fn send(job: &Job, item: &Item, target: &[u8], fresh: bool) -> Result<(), Fault> {
    let (target, old) = match fresh {
        true => (target.to_vec(), None),
        false => there(job, item, target).await?,
    };
    let replaces = old.is_some();
    match old.map(|o| o.kind()) {
        None | Some(FileKind::File | FileKind::Unknown | FileKind::Link) => {}
        Some(FileKind::Dir) => return Err(Fault::new("isDirectory", "a directory is there")),
        Some(_) => return Err(Fault::new("special", "a device, pipe or socket is there")),
    }
    if let (Overwrite::Fail, true) = (job.options.overwrite, replaces) {
        return Err(Fault::new("exists", "it is there already"));
    }
    // A link that is replaced says nothing about the file.
    let old = old.filter(|old| old.kind() != FileKind::Link);
    let same = |old: &Attrs| {
        old.size == Some(item.size) && old.times.is_some_and(|(_, change)| change == item.times.1)
    };
    if job.options.resume && old.as_ref().is_some_and(same) && is_same(job, item, &target).await? {
        job.count.add(&job.count.skipped, 1);
        return Ok(());
    }
    let is_newer = |old: &Attrs| old.times.is_some_and(|(_, change)| change >= item.times.1);
    if job.options.overwrite == Overwrite::Newer && old.as_ref().is_some_and(is_newer) {
        job.count.add(&job.count.skipped, 1);
        return Ok(());
    }
    if let (true, Some(old)) = (job.options.append, &old) {
        return append(job, item, &target, old).await;
    }
    let opened = open(job, item, &target).await?;
    let small = item.size <= job.write_block() && opened.offset == 0;
    let like = old.as_ref().or(opened.like.as_ref());
    let done = match small {
        true => fill_small(job, item, &opened.file, like).await,
        false => match fill(job, item, &opened).await {
            Ok(()) => finish(job, item, &opened.file, like).await,
            Err(fault) => Err(fault),
        },
    };
    let part = opened.name.clone();
    drop(opened);
    let placed = match done {
        Ok(()) => place(job, &part, &target, replaces).await,
        Err(fault) => Err(fault),
    };
    if let Err(fault) = placed {
        // Before the room is given back that it has taken.
        let fault = explain(&job.sftp, fault, &target).await;
        if job.options.resume {
            // It is what the next transfer goes on with.
            job.count.settled(&part);
        } else if !fault.fatal && job.sftp.remove(&part).await.is_ok() {
            job.count.settled(&part);
        }
        return Err(fault);
    }
    job.count.settled(&part);
    if job.options.verify {
        verify::must_be(verify::uploaded(job, item, &target).await?)?;
    }
    job.count.add(&job.count.files, 1);
    Ok(())
}

/// What looks the same is the same, unless both are to be read and differ.
async fn is_same(job: &Job, item: &Item, target: &[u8]) -> Result<bool, Fault> {
    Ok(!job.options.verify || verify::uploaded(job, item, target).await?)
}

/// Where the file really is, and what is there. A link is followed; but with `delete` one inside
/// of the target gives way: it may lead to what has no source and is deleted.
async fn there(job: &Job, item: &Item, target: &[u8]) -> Result<(Vec<u8>, Option<Attrs>), Fault> {
    let follows = !job.options.delete || item.inner.is_empty();
    match remote::lstat(&job.sftp, target).await? {
        Some(attrs) if follows && attrs.kind() == FileKind::Link => {
            let real = job.sftp.real_path(target).await?.to_vec();
            let attrs = remote::stat(&job.sftp, &real).await?;
            Ok((real, attrs))
        }
        attrs => Ok((target.to_vec(), attrs)),
    }
}

/// The file to write to, which may be there in part.
async fn open(job: &Job, item: &Item, target: &[u8]) -> Result<Opened, Fault> {
    let (dir, name) = split(target);
    let attrs = Attrs::permissions(if job.options.preserve { 0o600 } else { item.mode });
    let failed = |error: SftpError| Fault::from(error).while_doing("cannot make a file there");
    if !job.options.resume {
        let part = join(dir, &job.temporary_name());
        let how = flags::WRITE | flags::CREATE | flags::EXCLUSIVE;
        job.count.temporary(&part);
        let file = job.sftp.open_file(&part, how, &attrs).await.map_err(failed)?;
        return Ok(Opened { file, name: part, offset: 0, length: 0, like: None });
    }
    // Whoever goes on with it must be able to write to it.
    let attrs = Attrs::permissions(attrs.mode.unwrap_or_default() | WRITABLE);
    let state = format!("{} {}", item.size, item.changed_ns);
    let part = join(dir, &part_name(name, &state));
    let file =
        job.sftp.open_file(&part, flags::WRITE | flags::CREATE, &attrs).await.map_err(failed)?;
    let now = file.stat().await?;
    let size = now.size.unwrap_or(0);
    let like = now.mode.filter(|_| item.mode & WRITABLE == 0);
    let like = like.map(|mode| Attrs::permissions(mode & !WRITABLE));
    let offset = size.min(item.size).saturating_sub(UNSURE);
    if size > item.size {
        file.set_stat(&Attrs { size: Some(item.size), ..Attrs::default() }).await?;
    }
    job.count.add(&job.count.resumed, offset);
    Ok(Opened { file, name: part, offset, length: size.min(item.size), like })
}

/// The name of what an interrupted transfer leaves: the same for the same state of the same file.
pub(crate) fn part_name(name: &[u8], state: &str) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(name);
    hash.update(state.as_bytes());
    let hash = hash.finish();
    let hex: String = hash.as_ref().iter().take(10).map(|b| format!("{b:02x}")).collect();
    format!(".bssh-{hex}.part").into_bytes()
}

/// Goes on at the end of a file that is there. Blocks leave in order, so that what is there at
/// any time is right as far as it goes.
async fn append(job: &Job, item: &Item, target: &[u8], old: &Attrs) -> Result<(), Fault> {
    let there = old.size.unwrap_or(0);
    if there >= item.size {
        return Err(Fault::new("exists", "destination file same size or larger"));
    }
    let file = job.sftp.open_file(target, flags::WRITE, &Attrs::default()).await?;
    job.count.add(&job.count.resumed, there);
    let origin = origin::open(job, item).await?;
    let (mut row, mut at) = (Row::new(job.depth), there);
    while at < item.size {
        let length = usize::try_from(job.write_block().min(item.size - at)).unwrap_or(0);
        let permit = job.budget(length).await?;
        let data = origin.block(job, at, length).await?;
        let (file, start) = (&file, at);
        row.add(async move {
            file.write(start, data).await?;
            drop(permit);
            job.count.add(&job.count.bytes, length as u64);
            Ok(())
        })
        .await?;
        at += length as u64;
    }
    row.finish().await?;
    finish(job, item, &file, Some(old)).await?;
    job.count.add(&job.count.files, 1);
    Ok(())
}

/// Sends what is left of a file.
async fn fill(job: &Job, item: &Item, opened: &Opened) -> Result<(), Fault> {
    if item.size == opened.offset {
        return Ok(());
    }
    let origin = origin::open(job, item).await?;
    let parts = origin.parts(job, (opened.offset, item.size), opened.length).await?;
    let blocks = Blocks::new(parts, job.write_block(), job.ahead());
    // Holes are there already.
    let holes = (item.size - opened.offset).saturating_sub(blocks.left());
    job.count.add(&job.count.bytes, holes);
    let sending = Sending { job, origin, opened, end: AtomicU64::new(opened.length) };
    super::blocks::carry(job, &opened.file, &blocks, &sending).await?;
    let n_sent = sending.end.load(Relaxed);
    if n_sent < item.size {
        // It ends with a hole.
        opened.file.set_stat(&Attrs { size: Some(item.size), ..Attrs::default() }).await?;
    }
    Ok(())
}

/// How the blocks of a file are sent.
struct Sending<'a> {
    job: &'a Job,
    origin: Origin,
    opened: &'a Opened,
    /// The end of what has been written.
    end: AtomicU64,
}

impl Carrier for Sending<'_> {
    async fn carry(&self, file: &RemoteFile, Piece { at, length }: Piece) -> Result<(), Fault> {
        let job = self.job;
        let _permit = job.budget(length).await?;
        let data = self.origin.block(job, at, length).await?;
        // A node that files are read on does not say where holes are.
        let is_hole = at >= self.opened.length
            && matches!(self.origin, Origin::Node(_))
            && blocks::is_hole(data.data());
        if !is_hole {
            file.write(at, data).await?;
            self.end.fetch_max(at + length as u64, Relaxed);
        }
        job.count.add(&job.count.bytes, length as u64);
        Ok(())
    }

    async fn open(&self, lane: &Sftp) -> Option<RemoteFile> {
        lane.open_file(&self.opened.name, flags::WRITE, &Attrs::default()).await.ok()
    }
}

/// A file of one block: everything leaves at once, as the server takes a file's requests in order.
async fn fill_small(
    job: &Job,
    item: &Item,
    file: &RemoteFile,
    old: Option<&Attrs>,
) -> Result<(), Fault> {
    let length = usize::try_from(item.size).unwrap_or(0);
    let permit = job.budget(length).await?;
    let whole = origin::whole(job, item, length).await?;
    if length == 0 && !whole.is_empty() {
        fill_unsaid(job, item, file).await?;
        return finish(job, item, file, old).await;
    }
    let n_read = whole.len() as u64;
    let writing = async {
        match whole.is_empty() {
            true => Ok(()),
            false => file.write(0, whole).await,
        }
    };
    let finishing = finish(job, item, file, old);
    let (written, finished) = futures_util::future::join(writing, finishing).await;
    written?;
    finished?;
    drop(permit);
    job.count.add(&job.count.bytes, n_read);
    Ok(())
}

/// A file that claims to be empty and is not (as in `/proc`), one block after the other.
async fn fill_unsaid(job: &Job, item: &Item, file: &RemoteFile) -> Result<(), Fault> {
    let origin = origin::open(job, item).await?;
    let most = usize::try_from(job.write_block()).unwrap_or(usize::MAX);
    let mut at = 0;
    while at < MOST_UNSAID {
        let permit = job.budget(most).await?;
        let block = origin.some(job, at, most).await?;
        let n_read = block.len() as u64;
        if n_read == 0 {
            return Ok(());
        }
        file.write(at, block).await?;
        drop(permit);
        job.count.add(&job.count.bytes, n_read);
        at += n_read;
    }
    Err(Fault::endless())
}

/// Mode, times, disk; in one go, as the server does them in order.
async fn finish(
    job: &Job,
    item: &Item,
    file: &RemoteFile,
    old: Option<&Attrs>,
) -> Result<(), Fault> {
    let mode = match (job.options.preserve, old.and_then(|o| o.mode)) {
        (true, _) => Some(item.mode),
        // As if it had been written over.
        (false, Some(mode)) => Some(mode & 0o7777),
        (false, None) => None,
    };
    let times = job.keeps().then_some(item.times);
    let attrs = Attrs { mode, times, ..Attrs::default() };
    let wanted = attrs != Attrs::default();
    let setting = async { if wanted { file.set_stat(&attrs).await } else { Ok(()) } };
    let syncing = async { if job.options.fsync { file.sync().await } else { Ok(()) } };
    let (set, synced, closed) = futures_util::future::join3(setting, syncing, file.close()).await;
    set?;
    synced?;
    Ok(closed?)
}

/// Gives the file its name.
pub(crate) async fn place(
    job: &Job,
    part: &[u8],
    target: &[u8],
    replace: bool,
) -> Result<(), Fault> {
    if job.sftp.has("posix-rename@openssh.com") || !replace {
        return Ok(job.sftp.rename(part, target).await?);
    }
    // In two steps, so that the old file is lost at no time.
    let (dir, _) = split(target);
    let aside = join(dir, &job.temporary_name());
    job.sftp.rename_new(target, &aside).await?;
    if let Err(error) = job.sftp.rename_new(part, target).await {
        job.sftp.rename_new(&aside, target).await?;
        return Err(error.into());
    }
    Ok(job.sftp.remove(&aside).await?)
}

/// A server says "failure" for many things; a full disk is one that can be told.
pub(crate) async fn explain(sftp: &Sftp, fault: Fault, target: &[u8]) -> Fault {
    if fault.code != "failure" {
        return fault;
    }
    let (dir, _) = split(target);
    let dir: &[u8] = if dir.is_empty() { b"." } else { dir };
    match sftp.space(dir).await {
        Ok(space) if space.available == 0 || (space.inodes > 0 && space.inodes_free == 0) => {
            Fault::new("noSpace", "no space left on the node's disk")
        }
        Ok(space) if space.read_only => Fault::new("readOnly", "the file system is read-only"),
        _ => fault,
    }
}

/// Makes a link, over a file or link that is there.
pub(crate) async fn send_link(job: &Job, text: &[u8], target: &[u8]) -> Result<(), Fault> {
    match job.sftp.symlink(text, target).await {
        Err(error) if error.is(Status::Failure) => {}
        done => return Ok(done?),
    }
    if remote::lstat(&job.sftp, target).await?.is_some_and(|a| a.kind() == FileKind::Dir) {
        return Err(Fault::new("isDirectory", "a directory is there"));
    }
    let part = join(split(target).0, &job.temporary_name());
    job.sftp.symlink(text, &part).await?;
    job.count.temporary(&part);
    place(job, &part, target, true).await?;
    job.count.settled(&part);
    Ok(())
}

/// The directory (empty: where paths start) and the name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        None => (b"", path),
        Some(0) => (b"/", path.get(1..).unwrap_or_default()),
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
    }
}
