//! From one node to here: directories are listed and made while files already arrive.
//!
//! What waits to be done is a stack, so that it holds one directory's names at each depth and no
//! more. Links are made last, when nothing is written through them any more.

use super::disk::{Disk, LocalDir};
use super::fault::Fault;
use super::fetch::{Wanted, fetch};
use super::node::Job;
use super::options::Options;
use super::remote;
use super::tree::{DEEPEST, join, last_name};
use super::upload::{distinct, noted};
use bssh_protocol::lock;
use bssh_protocol::transfer::Symlinks;
use bssh_ssh::sftp::{Attrs, Entry, FileKind};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, Weak};

/// Names of all directories together that one transfer takes from a node.
const MOST_FILES: u64 = 20_000_000;

/// Something that waits to be done.
enum Work {
    Dir(Found),
    File(Found),
}

/// Something on the node, and where it goes.
struct Found {
    path: Vec<u8>,
    attrs: Attrs,
    /// None: not there, in a dry run.
    dir: Option<Arc<Place>>,
    name: Vec<u8>,
    /// Names from the root of the target, for messages and for later.
    local: Vec<u8>,
    /// The path below its source.
    inner: Vec<u8>,
    depth: usize,
    /// Where links on the way led from and to.
    above: Arc<Vec<Bytes>>,
}

/// A directory of the target: open while somebody works in it, and opened again for whoever comes
/// later. There may be more of them than files may be open.
struct Place {
    root: Arc<LocalDir>,
    /// Names from the root.
    path: Vec<u8>,
    open: Mutex<Weak<LocalDir>>,
}

impl Place {
    fn new(root: &Arc<LocalDir>, path: &[u8], open: &Arc<LocalDir>) -> Arc<Place> {
        let open = Mutex::new(Arc::downgrade(open));
        Arc::new(Place { root: root.clone(), path: path.to_vec(), open })
    }

    async fn open(&self, disk: &Disk) -> Result<Arc<LocalDir>, Fault> {
        if let Some(dir) = lock(&self.open).upgrade() {
            return Ok(dir);
        }
        let (root, path) = (self.root.clone(), self.path.clone());
        let dir = Arc::new(disk.run(move || root.walk(&path)).await?);
        *lock(&self.open) = Arc::downgrade(&dir);
        Ok(dir)
    }
}

/// What is left for the end.
#[derive(Default)]
struct Later {
    links: Vec<(Found, Vec<u8>)>,
    /// Modes and times of directories.
    dirs: Vec<(Vec<u8>, Attrs)>,
}

/// What came of one piece of work.
#[derive(Default)]
struct Outcome {
    more: Vec<Work>,
    links: Vec<(Found, Vec<u8>)>,
    dir: Option<(Vec<u8>, Attrs)>,
}

/// Fetches everything.
pub(crate) async fn download(job: &Job) -> Result<(), Fault> {
    let mut found = Vec::new();
    for source in &job.options.sources_for(&job.name) {
        let paths = match job.options.expands() {
            true => remote::expand(&job.sftp, source).await,
            false => Ok(vec![source.clone()]),
        };
        match paths {
            Ok(paths) => found.extend(paths),
            Err(fault) => noted(job, source, Err(fault))?,
        }
    }
    let mut sources = Vec::new();
    for path in found {
        match remote::stat(&job.sftp, &path).await {
            Ok(Some(attrs)) if attrs.kind() == FileKind::Dir && !job.options.recursive => {
                let fault =
                    Fault::new("isDirectory", "is a directory; -r takes it with its contents");
                job.count.fault(&path, &fault);
            }
            Ok(Some(attrs)) => sources.push((path, attrs)),
            Ok(None) => {
                job.count.fault(&path, &Fault::new("notFound", "no such file or directory"))
            }
            Err(fault) => noted(job, &path, Err(fault))?,
        }
    }
    if sources.is_empty() {
        return Ok(());
    }
    let to = PathBuf::from(OsStr::from_bytes(&job.options.to_for(&job.name)));
    let (root, roots) = match root(job, &to, sources).await {
        Ok(root) => root,
        Err(fault) => return noted(job, to.as_os_str().as_bytes(), Err(fault)),
    };
    let later = carry(job, roots).await?;
    finish(job, root, later).await
}

/// The local directory everything goes below, and what goes there under which name.
async fn root(
    job: &Job,
    to: &Path,
    sources: Vec<(Vec<u8>, Attrs)>,
) -> Result<(Option<Arc<LocalDir>>, Vec<Work>), Fault> {
    let (root, own_name) = root_dir(&job.disk, &job.options, to, sources.len() > 1).await?;
    let is_dir = |attrs: &Attrs| attrs.kind() == FileKind::Dir;
    let names: Vec<_> = sources.iter().map(|(path, a)| (last_name(path), is_dir(a))).collect();
    distinct(names.iter().map(|(name, is_dir)| (name.as_slice(), *is_dir)))?;
    let mut works = Vec::new();
    for (path, attrs) in sources {
        let is_dir = is_dir(&attrs);
        let name = own_name.clone().unwrap_or_else(|| last_name(&path));
        let found = Found {
            path,
            attrs,
            dir: root.as_ref().map(|root| Place::new(root, b"", root)),
            local: name.clone(),
            name,
            inner: Vec::new(),
            depth: 0,
            above: Arc::default(),
        };
        match attrs.kind() {
            _ if is_dir => works.push(Work::Dir(found)),
            FileKind::Special => {
                job.count.fault(&found.path, &Fault::special());
            }
            _ => works.push(Work::File(found)),
        }
        if !is_dir {
            expect(job, &attrs);
        }
    }
    works.reverse();
    Ok((root, works))
}

/// The directory that downloads go below, and the copy's own name if it has one. None: there is no
/// directory yet, in a dry run.
pub(crate) async fn root_dir(
    disk: &Disk,
    options: &Options,
    to: &Path,
    several: bool,
) -> Result<(Option<Arc<LocalDir>>, Option<Vec<u8>>), Fault> {
    let several = several || options.into_dir;
    let exact = options.exact;
    let (make, dry) = (options.into_dir, options.dry_run);
    let path = to.to_path_buf();
    disk.run(move || {
        if make && !dry {
            std::fs::create_dir_all(&path)?;
        }
        if path.is_dir() && !exact {
            return Ok((Some(Arc::new(LocalDir::at(&path)?)), None));
        }
        if make {
            return Ok((None, None));
        }
        if several {
            return Err(Fault::new("notFound", "there is no such directory"));
        }
        // The user's own link to a file is meant to be written through.
        let path = path.canonicalize().unwrap_or(path);
        let name = last_name(path.as_os_str().as_bytes());
        if name.is_empty() {
            return Err(Fault::new("notFound", "there is no such directory"));
        }
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = LocalDir::at(parent.unwrap_or(Path::new(".")))?;
        Ok((Some(Arc::new(parent)), Some(name)))
    })
    .await
}

fn expect(job: &Job, attrs: &Attrs) {
    job.count.total_files.fetch_add(1, Relaxed);
    job.count.total_bytes.fetch_add(attrs.size.unwrap_or(0), Relaxed);
}

/// Does all the work there is, and what comes of it.
async fn carry(job: &Job, mut stack: Vec<Work>) -> Result<Later, Fault> {
    let mut later = Later::default();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < job.files_at_once() {
            let Some(work) = stack.pop() else { break };
            running.push(one(job, work));
        }
        let Some(outcome) = running.next().await else { return Ok(later) };
        let outcome = outcome?;
        stack.extend(outcome.more);
        later.links.extend(outcome.links);
        later.dirs.extend(outcome.dir);
    }
}

fn one(job: &Job, work: Work) -> BoxFuture<'_, Result<Outcome, Fault>> {
    Box::pin(async move {
        match work {
            Work::File(found) => {
                let size = found.attrs.size.unwrap_or(0);
                let Some(place) = found.dir.as_ref().filter(|_| !job.options.dry_run) else {
                    job.would("file", &found.local, size).await;
                    return Ok(Outcome::default());
                };
                job.tell("file", &found.local, size).await;
                let fetched = async {
                    let dir = place.open(&job.disk).await?;
                    let (path, name) = (found.path.clone(), found.name.clone());
                    fetch(job, &Wanted { path, attrs: found.attrs, dir, name }).await
                };
                noted(job, &found.path, fetched.await)?;
                Ok(Outcome::default())
            }
            Work::Dir(found) => match dir(job, &found).await {
                Err(fault) => noted(job, &found.path, Err(fault)).map(|()| Outcome::default()),
                outcome => outcome,
            },
        }
    })
}

/// Makes a directory here and lists the one there.
async fn dir(job: &Job, found: &Found) -> Result<Outcome, Fault> {
    if found.depth > DEEPEST {
        return Err(Fault::new("loop", "directories are too deep"));
    }
    let preserve = job.options.preserve;
    let mask = job.options.umask.filter(|_| !preserve);
    let mode = found.attrs.mode.unwrap_or(0o755) & 0o777 & !mask.unwrap_or(0);
    let name = found.name.clone();
    let dry = job.options.dry_run;
    // As in uploads: the user's own link to where everything goes is meant.
    let gives_way = job.options.delete && !found.inner.is_empty();
    if dry || job.options.tell {
        job.would("dir", &found.local, 0).await;
    }
    let (here, new) = match &found.dir {
        None => (None, false),
        Some(parent) if name.is_empty() => (Some(parent.open(&job.disk).await?), false),
        Some(parent) => {
            let parent = parent.open(&job.disk).await?;
            let make = move || match dry {
                true => Ok((parent.dir(&name).ok().map(Arc::new), false)),
                false => {
                    if gives_way && parent.is_link(&name)? {
                        parent.remove(&name)?;
                    }
                    let (dir, new) = parent.make_dir(&name, mode | 0o700)?;
                    Ok((Some(Arc::new(dir)), new))
                }
            };
            job.disk.run(make).await?
        }
    };
    let entries = remote::list(&job.sftp, &found.path).await?;
    if job.count.total_files.load(Relaxed) > MOST_FILES {
        return Err(Fault::fatal("tooManyFiles", "the node's directories do not end"));
    }
    if let Some(here) = here.as_ref().filter(|_| job.options.delete) {
        delete(job, found, here, &entries).await?;
    }
    job.count.add(&job.count.dirs, 1);
    let mut outcome = Outcome::default();
    if preserve || (new && mask.is_some()) || mode & 0o700 != 0o700 {
        let attrs = Attrs { mode: Some(mode), ..found.attrs };
        outcome.dir = Some((found.local.clone(), attrs));
    }
    let root = found.dir.as_ref().map(|place| &place.root);
    let here = root.zip(here.as_ref()).map(|(root, here)| Place::new(root, &found.local, here));
    for entry in entries.into_iter().rev() {
        let path = join(&found.path, &entry.name);
        let sorted = sort(job, found, &here, entry, &mut outcome).await;
        noted(job, &path, sorted)?;
    }
    Ok(outcome)
}

/// What one name of a directory means for us.
async fn sort(
    job: &Job,
    parent: &Found,
    here: &Option<Arc<Place>>,
    entry: Entry,
    outcome: &mut Outcome,
) -> Result<(), Fault> {
    let mut found = Found {
        path: join(&parent.path, &entry.name),
        attrs: entry.attrs,
        dir: here.clone(),
        local: join(&parent.local, &entry.name),
        inner: join(&parent.inner, &entry.name),
        name: entry.name.to_vec(),
        depth: parent.depth + 1,
        above: parent.above.clone(),
    };
    if found.attrs.kind() == FileKind::Link {
        match job.options.symlinks {
            Symlinks::Skip => {
                job.tell("skip", &found.local, 0).await;
                job.count.add(&job.count.skipped, 1);
                return Ok(());
            }
            Symlinks::Follow => found.attrs = job.sftp.stat(&found.path).await?,
            Symlinks::Preserve => {}
        }
    }
    let kind = found.attrs.kind();
    if job.options.skip.has(&found.inner, kind == FileKind::Dir) {
        return Ok(());
    }
    match kind {
        FileKind::Dir => {
            if entry.attrs.kind() == FileKind::Link {
                found.above = remote::along(&job.sftp, &found.path, found.above.to_vec()).await?;
            }
            outcome.more.push(Work::Dir(found));
        }
        FileKind::File | FileKind::Unknown => {
            expect(job, &found.attrs);
            outcome.more.push(Work::File(found));
        }
        FileKind::Link => {
            let text = job.sftp.read_link(&found.path).await?.to_vec();
            outcome.links.push((found, text));
        }
        FileKind::Special => {
            job.count.add(&job.count.skipped, 1);
            return Err(Fault::special());
        }
    }
    Ok(())
}

/// Removes here what is not there.
async fn delete(
    job: &Job,
    found: &Found,
    here: &Arc<LocalDir>,
    entries: &[Entry],
) -> Result<(), Fault> {
    let wanted: HashSet<Vec<u8>> = entries.iter().map(|e| e.name.to_vec()).collect();
    let (here, skip) = (here.clone(), job.options.skip.clone());
    let (inner, dry) = (found.inner.clone(), job.options.dry_run);
    let gone = job
        .disk
        .run(move || {
            let mut gone = Vec::new();
            for name in here.names()?.into_iter().filter(|name| !wanted.contains(name)) {
                let is_dir = here.dir(&name).is_ok();
                if !skip.has(&join(&inner, &name), is_dir) {
                    let n = if dry { Ok(0) } else { here.remove_all(&name) };
                    gone.push((name, n));
                }
            }
            Ok(gone)
        })
        .await?;
    for (name, n) in gone {
        let local = join(&found.local, &name);
        match n {
            Ok(_) if dry => job.would("delete", &local, 0).await,
            Ok(n) => job.count.add(&job.count.deleted, n),
            Err(fault) => noted(job, &local, Err(fault))?,
        }
    }
    Ok(())
}

/// Links, then what directories look like, the inner ones first.
async fn finish(job: &Job, root: Option<Arc<LocalDir>>, mut later: Later) -> Result<(), Fault> {
    for (found, text) in later.links {
        let Some(place) = found.dir.filter(|_| !job.options.dry_run) else {
            job.would("link", &found.local, 0).await;
            continue;
        };
        let name = found.name;
        let made = match place.open(&job.disk).await {
            Ok(dir) => job.disk.run(move || dir.symlink(&text, &name)).await,
            Err(fault) => Err(fault),
        };
        if made.is_ok() {
            job.count.add(&job.count.links, 1);
        }
        noted(job, &found.path, made)?;
    }
    let Some(root) = root.filter(|_| !job.options.dry_run) else { return Ok(()) };
    later.dirs.sort_by(|a, b| b.0.cmp(&a.0));
    let preserve = job.options.preserve;
    let settled = job
        .disk
        .run(move || {
            let settle = |(local, attrs): (Vec<u8>, Attrs)| {
                let times = attrs.times.filter(|_| preserve);
                let mode = attrs.mode.map(|mode| mode & 0o777);
                root.walk(&local)?.settle(mode, times)
            };
            Ok(later.dirs.into_iter().map(|d| (d.0.clone(), settle(d))).collect::<Vec<_>>())
        })
        .await?;
    for (local, settled) in settled {
        noted(job, &local, settled)?;
    }
    Ok(())
}
