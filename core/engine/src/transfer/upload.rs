//! The sources to one node: directories first, level by level, then files, then links, then what
//! directories look like in the end.

use super::crowd::Crowd;
use super::fault::Fault;
use super::node::Job;
use super::remote;
use super::run::TransferRun;
use super::send::{send, send_link};
use super::tree::{Item, Tree, What, join};
use bssh_ssh::sftp::{Attrs, FileKind};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Requests about directories and links at once.
const AT_ONCE: usize = 64;

/// A tree on its way to one node.
struct Upload<'a> {
    job: &'a Job,
    tree: Arc<Tree>,
    /// Where each root goes.
    places: Vec<Vec<u8>>,
    /// Directories that we made: nothing was in them.
    fresh: HashSet<Vec<u8>>,
    /// Directories that could not be made.
    failed: HashSet<Vec<u8>>,
}

/// Sends everything.
pub(crate) async fn upload(job: &Job, run: &TransferRun) -> Result<(), Fault> {
    let tree = run.tree(&job.name, job.source.as_ref()).await?;
    job.count.total_files.store(tree.files, Relaxed);
    job.count.total_bytes.store(tree.bytes, Relaxed);
    job.count.add(&job.count.skipped, tree.skipped);
    for (path, fault) in &tree.faults {
        job.count.fault(path, fault);
    }
    let places = match places(job, &tree).await {
        Ok(places) => places,
        Err(fault) if fault.fatal => return Err(fault),
        Err(fault) => {
            job.count.fault(&job.options.to_for(&job.name), &fault);
            return Ok(());
        }
    };
    job.count.goes_to(&places);
    let none = HashSet::new;
    let mut upload = Upload { job, tree, places, fresh: none(), failed: none() };
    if job.options.dry_run {
        return upload.tell().await;
    }
    for (root, inner) in upload.tree.left_out.iter().filter(|_| job.options.tell) {
        job.tell("skip", &upload.below(*root, inner), 0).await;
    }
    upload.make_dirs().await?;
    upload.send_files().await?;
    upload.send_links().await?;
    if job.options.delete {
        upload.delete().await?;
    }
    upload.settle_dirs().await
}

/// Where each source goes: into a directory that is there, or under the name that was given.
async fn places(job: &Job, tree: &Tree) -> Result<Vec<Vec<u8>>, Fault> {
    let wanted = job.options.to_for(&job.name);
    let to = match job.options.expands() {
        true => remote::absolute(&job.sftp, &wanted).await?,
        false => wanted,
    };
    let there = remote::stat(&job.sftp, &to).await?.map(|attrs| attrs.kind());
    let there = there.filter(|kind| !(job.options.exact && *kind == FileKind::Dir));
    place(tree, &to, there)
}

/// The same, once it is known what is there.
pub(crate) fn place(
    tree: &Tree,
    to: &[u8],
    there: Option<FileKind>,
) -> Result<Vec<Vec<u8>>, Fault> {
    let is_dir = there == Some(FileKind::Dir);
    let needs_dir = tree.roots.len() > 1 || (to.ends_with(b"/") && !only_dirs(tree));
    if needs_dir && !is_dir {
        return Err(match there {
            Some(_) => Fault::new("notDirectory", "is no directory"),
            None => Fault::new("notFound", "there is no such directory"),
        });
    }
    if !is_dir && there.is_some() && tree.roots.iter().any(|root| root.is_dir) {
        return Err(Fault::new("notDirectory", "is no directory"));
    }
    distinct(tree.roots.iter().map(|root| (root.name.as_slice(), root.is_dir)))?;
    let place = |name: &[u8]| if is_dir { join(to, name) } else { to.to_vec() };
    Ok(tree.roots.iter().map(|root| place(&root.name)).collect())
}

/// Of two sources of one name, one would replace the other; only directories become one. Of each
/// its name and whether it is a directory.
pub(crate) fn distinct<'a>(sources: impl Iterator<Item = (&'a [u8], bool)>) -> Result<(), Fault> {
    let mut seen = HashMap::new();
    for (name, is_dir) in sources {
        if seen.insert(name, is_dir).is_some_and(|other| !(other && is_dir)) {
            let name = String::from_utf8_lossy(name);
            let message = format!("two sources are called {name}: one would replace the other");
            return Err(Fault::new("sameName", message));
        }
    }
    Ok(())
}

fn only_dirs(tree: &Tree) -> bool {
    tree.roots.iter().all(|root| root.is_dir)
}

impl Upload<'_> {
    fn target(&self, item: &Item) -> Vec<u8> {
        self.below(item.root, &item.inner)
    }

    fn below(&self, root: usize, inner: &[u8]) -> Vec<u8> {
        let place = self.places.get(root).map(Vec::as_slice).unwrap_or_default();
        let place = place.strip_suffix(b"/").filter(|p| !p.is_empty()).unwrap_or(place);
        join(place, inner)
    }

    fn items<'a>(&'a self, fits: impl Fn(&What) -> bool + 'a) -> impl Iterator<Item = &'a Item> {
        self.tree.items.iter().filter(move |item| fits(&item.what))
    }

    /// The directory it lies in was not made, and has been complained about.
    fn is_lost(&self, target: &[u8]) -> bool {
        !self.failed.is_empty()
            && target.iter().enumerate().any(|(at, b)| {
                *b == b'/' && target.get(..at).is_some_and(|dir| self.failed.contains(dir))
            })
    }

    fn is_fresh(&self, target: &[u8]) -> bool {
        self.fresh.contains(super::send::split(target).0)
    }

    async fn tell(&self) -> Result<(), Fault> {
        for item in &self.tree.items {
            let action = match item.what {
                What::Dir => "dir",
                What::File => "file",
                What::Link(_) => "link",
            };
            self.job.would(action, &self.target(item), item.size).await;
        }
        if self.job.options.delete {
            for (path, _) in self.surplus().await? {
                self.job.would("delete", &path, 0).await;
            }
        }
        Ok(())
    }

    /// Makes the directories, parents before children.
    async fn make_dirs(&mut self) -> Result<(), Fault> {
        let all = self.tree.items.iter().filter(|item| item.what == What::Dir);
        let dirs: Vec<_> = all.map(|item| (self.target(item), item)).collect();
        let depth = |path: &[u8]| path.iter().filter(|b| **b == b'/').count();
        let mut levels = std::collections::BTreeMap::<usize, Vec<_>>::new();
        for (path, item) in dirs {
            levels.entry(depth(&path)).or_default().push((path, item));
        }
        for level in levels.into_values() {
            let level: Vec<_> = level.into_iter().filter(|(path, _)| !self.is_lost(path)).collect();
            let job = self.job;
            let (mut level, mut making) = (level.into_iter(), FuturesUnordered::new());
            loop {
                while making.len() < AT_ONCE {
                    let Some((path, item)) = level.next() else { break };
                    making.push(make_dir(job, path, item));
                }
                let Some((path, made)) = making.next().await else { break };
                match made {
                    Ok(new) => {
                        job.tell("dir", &path, 0).await;
                        job.count.add(&job.count.dirs, 1);
                        if new {
                            self.fresh.insert(path);
                        }
                    }
                    Err(fault) if fault.fatal => return Err(fault),
                    Err(fault) => {
                        job.count.fault(&path, &fault);
                        self.failed.insert(path);
                    }
                }
            }
        }
        Ok(())
    }

    async fn send_files(&self) -> Result<(), Fault> {
        let mut crowd = Crowd::new(self.job.files_at_once());
        for item in &self.tree.items {
            let target = self.target(item);
            if item.what == What::File && !self.is_lost(&target) {
                crowd.add(self.send_file(item, target)).await?;
            }
        }
        crowd.finish().await
    }

    async fn send_file(&self, item: &Item, target: Vec<u8>) -> Result<(), Fault> {
        self.job.tell("file", &target, item.size).await;
        let sent = send(self.job, item, &target, self.is_fresh(&target)).await;
        noted(self.job, &target, sent)
    }

    async fn send_links(&self) -> Result<(), Fault> {
        let mut crowd = Crowd::new(AT_ONCE);
        for item in &self.tree.items {
            let target = self.target(item);
            if let (What::Link(text), false) = (&item.what, self.is_lost(&target)) {
                crowd.add(self.send_one_link(item, text, target)).await?;
            }
        }
        crowd.finish().await
    }

    async fn send_one_link(&self, item: &Item, text: &[u8], target: Vec<u8>) -> Result<(), Fault> {
        let sent = match &self.job.source {
            None => send_link(self.job, text, &target).await,
            Some(source) => match source.read_link(item.path.as_os_str().as_bytes()).await {
                Ok(text) => send_link(self.job, &text, &target).await,
                Err(error) => Err(Fault::from(error)),
            },
        };
        if sent.is_ok() {
            self.job.count.add(&self.job.count.links, 1);
        }
        noted(self.job, &target, sent)
    }

    /// What is in the target directories and has no source. Nothing if a source could not be read:
    /// then what is missing here may be there.
    async fn surplus(&self) -> Result<Vec<(Vec<u8>, FileKind)>, Fault> {
        if !self.tree.faults.iter().all(|(_, fault)| fault.is_special()) {
            let text = "nothing is deleted because not every source could be read";
            let to = self.job.options.to_for(&self.job.name);
            self.job.count.fault(&to, &Fault::new("notDeleted", text));
            return Ok(Vec::new());
        }
        // What is there and is not sent keeps its name there, too.
        let not_sent = self.tree.left_out.iter().chain(&self.tree.special);
        let not_sent = not_sent.map(|(root, inner)| self.below(*root, inner));
        let sent = self.tree.items.iter().map(|item| self.target(item));
        let wanted: BTreeSet<Vec<u8>> = sent.chain(not_sent).collect();
        let mut surplus = Vec::new();
        for item in self.items(|what| *what == What::Dir) {
            let dir = self.target(item);
            if self.fresh.contains(&dir) || self.is_lost(&dir) || self.failed.contains(&dir) {
                continue;
            }
            let entries = match remote::list(&self.job.sftp, &dir).await {
                Err(fault) if fault.is_missing() => continue,
                entries => entries?,
            };
            for entry in entries {
                let (path, kind) = (join(&dir, &entry.name), entry.attrs.kind());
                let inner = join(&item.inner, &entry.name);
                let left_out = self.job.options.skip.has(&inner, kind == FileKind::Dir);
                if !wanted.contains(&path) && !left_out {
                    surplus.push((path, kind));
                }
            }
        }
        Ok(surplus)
    }

    async fn delete(&self) -> Result<(), Fault> {
        for (path, kind) in self.surplus().await? {
            match remote::remove_all(&self.job.sftp, &path, kind, 0).await {
                Ok(n) => self.job.count.add(&self.job.count.deleted, n),
                Err(fault) => noted(self.job, &path, Err(fault))?,
            }
        }
        Ok(())
    }

    /// Modes and times of directories, once nothing more happens in them.
    async fn settle_dirs(&self) -> Result<(), Fault> {
        let preserve = self.job.options.preserve;
        let mut crowd = Crowd::new(AT_ONCE);
        for item in self.tree.items.iter().filter(|item| item.what == What::Dir) {
            let path = self.target(item);
            let closed = self.fresh.contains(&path) && item.mode & 0o700 != 0o700;
            let there = !self.is_lost(&path) && !self.failed.contains(&path);
            if there && (preserve || closed) {
                crowd.add(self.settle_dir(item, path)).await?;
            }
        }
        crowd.finish().await
    }

    async fn settle_dir(&self, item: &Item, path: Vec<u8>) -> Result<(), Fault> {
        let times = self.job.options.preserve.then_some(item.times);
        let attrs = Attrs { mode: Some(item.mode), times, ..Attrs::default() };
        let set = self.job.sftp.set_stat(&path, &attrs).await.map_err(Fault::from);
        noted(self.job, &path, set)
    }
}

/// The directory, and whether it is new.
async fn make_dir(job: &Job, path: Vec<u8>, item: &Item) -> (Vec<u8>, Result<bool, Fault>) {
    let made = made_dir(job, &path, item).await;
    (path, made)
}

async fn made_dir(job: &Job, path: &[u8], item: &Item) -> Result<bool, Fault> {
    let attrs = Attrs::permissions(item.mode | 0o700);
    let error = match job.sftp.make_dir(path, &attrs).await {
        Ok(()) => return Ok(true),
        Err(error) if error.is_fatal() => return Err(error.into()),
        Err(error) => error,
    };
    let is_link = |attrs: Option<Attrs>| attrs.is_some_and(|a| a.kind() == FileKind::Link);
    // As in `send`: what such a link leads to may be deleted.
    let gives_way = job.options.delete && !item.inner.is_empty();
    if gives_way && is_link(remote::lstat(&job.sftp, path).await?) {
        job.sftp.remove(path).await?;
        job.sftp.make_dir(path, &attrs).await?;
        return Ok(true);
    }
    match remote::stat(&job.sftp, path).await?.map(|attrs| attrs.kind()) {
        Some(FileKind::Dir) => Ok(false),
        Some(_) => Err(Fault::new("notDirectory", "is no directory")),
        None => Err(error.into()),
    }
}

/// A file's fault is written down; a node's ends it.
pub(crate) fn noted(job: &Job, path: &[u8], done: Result<(), Fault>) -> Result<(), Fault> {
    match done {
        Err(fault) if !fault.fatal => {
            job.count.fault(path, &fault);
            Ok(())
        }
        done => done,
    }
}
