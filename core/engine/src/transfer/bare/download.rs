//! Files from a node without a file server: one `tar` for each source, taken apart here.
//!
//! What a name of the archive may do is decided here, as for listings over SFTP: single names
//! below the target, never through a link, links made last, no setuid bits.

use super::shell::{Ended, quoted_pattern};
use super::tape::{Head, Tape, padding};
use super::{Bare, path};
use crate::transfer::disk::{LocalDir, inside, settle};
use crate::transfer::download::root_dir;
use crate::transfer::fault::Fault;
use crate::transfer::pattern;
use crate::transfer::send::split;
use crate::transfer::tree::{DEEPEST, join};
use crate::word::quoted;
use bssh_protocol::transfer::Symlinks;
use bytes::Bytes;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Where an entry goes below the root, and its path below the source.
type Place = (Vec<u8>, Vec<u8>);

/// A mode and times for the end.
type Later = (Vec<u8>, u32, u32);

/// One source on its way.
struct Source<'a> {
    bare: &'a Bare,
    root: Arc<LocalDir>,
    /// The copy's own name, if it has another one.
    own: Option<Vec<u8>>,
    /// What names of the archive begin with; may be a pattern.
    wanted: Vec<u8>,
    links: Vec<(Vec<u8>, Vec<u8>)>,
    dirs: Vec<Later>,
}

pub(super) async fn download(bare: &Bare) -> Result<(), Fault> {
    let sources = bare.options.sources_for(&bare.name);
    let to = bare.options.to_for(&bare.name);
    let several = sources.len() > 1 || sources.iter().any(|s| pattern::is_pattern(s));
    let there = PathBuf::from(OsStr::from_bytes(&to));
    let (root, own) = match root_dir(&bare.disk, &bare.options, &there, several).await {
        Ok((Some(root), own)) => (root, own),
        Ok((None, _)) => return Ok(()),
        Err(fault) => return bare.noted(&to, Err(fault)),
    };
    for source in &sources {
        let done = one(bare, source, (&root, &own)).await;
        bare.noted(source, done)?;
    }
    Ok(())
}

async fn one(
    bare: &Bare,
    source: &[u8],
    (root, own): (&Arc<LocalDir>, &Option<Vec<u8>>),
) -> Result<(), Fault> {
    let at = path(source)?;
    let at = at.strip_suffix(b"/").filter(|at| !at.is_empty()).unwrap_or(&at);
    let (dir, name) = split(at);
    if pattern::is_pattern(dir) {
        return Err(Fault::new("unsupported", "a pattern in a directory needs sftp"));
    }
    let (dir, name): (&[u8], &[u8]) = match name {
        b"" | b"." | b".." => (at, b"."),
        name => (if dir.is_empty() { b"." } else { dir }, name),
    };
    let follow = bare.options.symlinks == Symlinks::Follow;
    let word = if pattern::is_pattern(name) { quoted_pattern(name) } else { quoted(name) };
    let flags: &[u8] = if follow { b"-chf" } else { b"-cf" };
    // A link that is named is followed; those inside are what the user wants them to be.
    let script = [
        b"cd -- ",
        &quoted(dir)[..],
        b" || exit 1; n=",
        &quoted(name),
        b"; if [ -L \"$n\" ]; then if [ -d \"$n\" ]; then exec tar ",
        flags,
        b" - \"./$n/.\"; else exec tar -chf - \"./$n\"; fi; fi; exec tar ",
        flags,
        b" - ./",
        &word,
    ]
    .concat();
    let channel = bare.start(&script).await?;
    // It reads nothing.
    let _ = channel.writer().eof().await;
    let mut tape = Tape::new(channel);
    let mut source = Source {
        bare,
        root: root.clone(),
        own: own.clone(),
        wanted: if name == b"." { Vec::new() } else { name.to_vec() },
        links: Vec::new(),
        dirs: Vec::new(),
    };
    while let Some(head) = tape.next().await? {
        let left = head.size + padding(head.size);
        match source.entry(&mut tape, &head).await {
            Ok(taken) => tape.skip(left.saturating_sub(taken)).await?,
            Err((fault, _)) if fault.code == "isDirectory" && head.kind == b'5' => {
                return Err(fault);
            }
            Err((fault, taken)) => {
                bare.noted(&head.name, Err(fault))?;
                tape.skip(left.saturating_sub(taken)).await?;
            }
        }
    }
    source.finish().await?;
    let ended = Ended { status: tape.status.unwrap_or(1), out: Vec::new(), err: tape.err };
    match ended.status {
        0 => Ok(()),
        _ => Err(ended.fault()),
    }
}

/// What went wrong, and how many bytes of the entry had been taken.
type Stopped = (Fault, u64);

impl Source<'_> {
    /// Takes one entry; says how many of its bytes.
    async fn entry(&mut self, tape: &mut Tape, head: &Head) -> Result<u64, Stopped> {
        let none = |fault: Fault| (fault, 0);
        let Some((local, inner)) = self.local(&head.name).map_err(none)? else { return Ok(0) };
        let is_dir = head.kind == b'5';
        let mut prefixes = inner.iter().enumerate().filter(|(_, b)| **b == b'/');
        let skip = &self.bare.options.skip;
        if prefixes.any(|(at, _)| skip.has(inner.get(..at).unwrap_or_default(), true))
            || (!inner.is_empty() && skip.has(&inner, is_dir))
        {
            return Ok(0);
        }
        let mask = self.bare.options.umask.filter(|_| !self.bare.options.preserve);
        let mode = head.mode & 0o777 & !mask.unwrap_or(0);
        if is_dir {
            if !self.bare.options.recursive {
                let text = "is a directory; -r takes it with its contents";
                return Err(none(Fault::new("isDirectory", text)));
            }
            let new = self.make_dir(&local, mode).await.map_err(none)?;
            self.bare.count.add(&self.bare.count.dirs, 1);
            if self.bare.options.preserve || (new && mask.is_some()) || mode & 0o700 != 0o700 {
                self.dirs.push((local, mode, head.mtime));
            }
            return Ok(0);
        }
        match head.kind {
            0 | b'0' | b'7' => self.file(tape, head, &local).await,
            b'1' => self.again(&local, head).await.map(|()| 0).map_err(none),
            b'2' if self.bare.options.symlinks == Symlinks::Skip => {
                self.bare.count.add(&self.bare.count.skipped, 1);
                Ok(0)
            }
            b'2' => {
                self.links.push((local, head.link.clone()));
                Ok(0)
            }
            _ => Err(none(Fault::special())),
        }
    }

    /// Where an entry goes below the root, and its path below the source; none for the directory
    /// whose contents were asked for.
    fn local(&self, name: &[u8]) -> Result<Option<Place>, Fault> {
        let mut names = name.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".");
        if name.starts_with(b"/") {
            return Err(Fault::fatal("unsafeName", "the node sent a name that leads elsewhere"));
        }
        let mut local = Vec::new();
        if !self.wanted.is_empty() {
            let Some(first) = names.next() else { return Ok(None) };
            inside(first)?;
            let fits = first == self.wanted || pattern::fits_name(&self.wanted, first);
            if !fits {
                return Err(Fault::fatal("unsafeName", "the node sent what was not asked for"));
            }
            local = self.own.clone().unwrap_or_else(|| first.to_vec());
        } else if let Some(own) = &self.own {
            local.clone_from(own);
        }
        let mut inner = Vec::new();
        for (depth, name) in names.enumerate() {
            inside(name)?;
            if depth > DEEPEST {
                return Err(Fault::new("loop", "directories are too deep"));
            }
            inner = join(&inner, name);
        }
        let local = join(&local, &inner);
        Ok((!local.is_empty()).then_some((local, inner)))
    }

    /// True if it is new.
    async fn make_dir(&self, local: &[u8], mode: u32) -> Result<bool, Fault> {
        let (root, local) = (self.root.clone(), local.to_vec());
        let make = move || {
            let (parent, name) = split(&local);
            root.walk(parent)?.make_dir(name, mode | 0o700).map(|(_, new)| new)
        };
        self.bare.disk.run(make).await
    }

    async fn file(&self, tape: &mut Tape, head: &Head, local: &[u8]) -> Result<u64, Stopped> {
        let count = &self.bare.count;
        count.total_files.fetch_add(1, Relaxed);
        count.total_bytes.fetch_add(head.size, Relaxed);
        let mut part = self.begin(local, head).await.map_err(|fault| (fault, 0))?;
        let mut taken = 0;
        while taken < head.size {
            let piece = tape.some(head.size - taken).await.map_err(|fault| (fault, taken))?;
            if piece.is_empty() {
                return Err((Fault::fatal("transportLost", "the archive ends early"), taken));
            }
            taken += piece.len() as u64;
            let n = piece.len() as u64;
            part = part.write(self.bare, piece).await.map_err(|fault| (fault, taken))?;
            count.add(&count.bytes, n);
        }
        part.place(self.bare).await.map_err(|fault| (fault, taken))?;
        count.add(&count.files, 1);
        Ok(taken)
    }

    /// Another name of a file that came before.
    async fn again(&self, local: &[u8], head: &Head) -> Result<(), Fault> {
        let Some((known, _)) = self.local(&head.link)? else {
            return Err(Fault::new("notFound", "a second name of nothing"));
        };
        let mut part = self.begin(local, head).await?;
        let root = self.root.clone();
        let part = self
            .bare
            .disk
            .run(move || {
                let (dir, name) = split(&known);
                let dir = root.walk(dir)?;
                if dir.stat(name)?.is_none() {
                    return Err(Fault::new("notFound", "a second name of nothing"));
                }
                std::io::copy(&mut dir.reopen(name, 0o600)?, &mut part.file)?;
                Ok(part)
            })
            .await?;
        part.place(self.bare).await?;
        self.bare.count.add(&self.bare.count.files, 1);
        Ok(())
    }

    async fn begin(&self, local: &[u8], head: &Head) -> Result<Growing, Fault> {
        let (root, local) = (self.root.clone(), local.to_vec());
        let (temporary, preserve) = (self.bare.temporary_name(), self.bare.options.preserve);
        let (umask, mode, mtime) = (self.bare.options.umask, head.mode & 0o777, head.mtime);
        let begin = move || {
            let (parent, name) = split(&local);
            let dir = root.walk(parent)?;
            let old = dir.stat(name)?;
            let kind = old.as_ref().map(|s| rustix::fs::FileType::from_raw_mode(s.st_mode));
            use rustix::fs::FileType;
            let old_mode = match kind {
                None | Some(FileType::Symlink) => None,
                Some(FileType::RegularFile) => old.map(|s| s.st_mode & 0o7777),
                Some(FileType::Directory) => {
                    return Err(Fault::new("isDirectory", "a directory is there"));
                }
                Some(_) => return Err(Fault::new("special", "a device, pipe or socket is there")),
            };
            let open = (mode | 0o200) & !umask.unwrap_or(0);
            let file = dir.create(&temporary, if preserve { 0o600 } else { open })?;
            let mode = if preserve { Some(mode) } else { old_mode.or(umask.map(|_| open)) };
            let times = preserve.then_some((mtime, mtime));
            Ok(Growing { dir, file, temporary, name: name.to_vec(), mode, times, placed: false })
        };
        self.bare.disk.run(begin).await
    }

    /// Links, then what directories look like, the inner ones first.
    async fn finish(self) -> Result<(), Fault> {
        let bare = self.bare;
        for (local, text) in self.links {
            let (root, path) = (self.root.clone(), local.clone());
            let make = move || {
                let (parent, name) = split(&path);
                root.walk(parent)?.symlink(&text, name)
            };
            let made = bare.disk.run(make).await;
            bare.count.add(&bare.count.links, u64::from(made.is_ok()));
            bare.noted(&local, made)?;
        }
        for (local, mode, mtime) in self.dirs.into_iter().rev() {
            let (root, path) = (self.root.clone(), local.clone());
            let times = bare.options.preserve.then_some((mtime, mtime));
            let set = bare.disk.run(move || root.walk(&path)?.settle(Some(mode), times)).await;
            bare.noted(&local, set)?;
        }
        Ok(())
    }
}

/// A file that is removed unless it gets its final name.
struct Growing {
    dir: LocalDir,
    file: File,
    temporary: Vec<u8>,
    name: Vec<u8>,
    mode: Option<u32>,
    times: Option<(u32, u32)>,
    placed: bool,
}

impl Growing {
    async fn write(mut self, bare: &Bare, piece: Bytes) -> Result<Growing, Fault> {
        let write = move || {
            self.file.write_all(&piece)?;
            Ok(self)
        };
        bare.disk.run(write).await
    }

    async fn place(mut self, bare: &Bare) -> Result<(), Fault> {
        let place = move || {
            settle(&self.file, self.mode, self.times)?;
            self.dir.rename(&self.temporary, &self.name)?;
            self.placed = true;
            Ok(())
        };
        bare.disk.run(place).await
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if !self.placed {
            // Best effort: the cause is what matters.
            let _ = self.dir.remove(&self.temporary);
        }
    }
}
