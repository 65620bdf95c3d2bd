//! A conversation: line after line, each done and told about.

use super::args::SftpArgs;
use super::carry;
use super::command::{self, Command, Line};
use super::remote::{Remote, join, shown};
use super::{Trouble, failed, listing, local, owner, paths};
use crate::{Around, say};
use bssh_protocol::fs::{
    FsHardLinkParams, FsLinkParams, FsMakeParams, FsRemoveParams, FsRenameParams,
};
use bssh_protocol::methods::{
    FsLink, FsMkdir, FsRealpath, FsRemove, FsRename, FsStatvfs, FsSymlink,
};
use bssh_protocol::transfer::PathBytes;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;

/// What comes after a line.
pub(super) enum Next {
    Line,
    /// `quit`
    End,
    Stop(Trouble),
}

/// What is known between two lines.
pub(super) struct Session<'a> {
    pub remote: Remote<'a>,
    pub args: &'a SftpArgs,
    pub around: &'a Around,
    /// Progress is shown.
    pub progress: bool,
    /// `lumask`
    pub umask: Option<u32>,
}

/// Payload on stdout; names are made harmless on a terminal.
pub(super) fn print(text: &[u8]) -> Result<(), Trouble> {
    let mut safe = Vec::new();
    let text = match std::io::stdout().is_terminal() {
        true => {
            for line in text.split_inclusive(|b| *b == b'\n') {
                bssh_term::harmless(line.strip_suffix(b"\n").unwrap_or(line), &mut safe);
                safe.extend(line.last().filter(|b| **b == b'\n'));
            }
            &safe
        }
        false => text,
    };
    bssh_term::try_put(text).map_err(|error| match error.kind() {
        // Whoever reads it has gone: there is nobody to do more for.
        std::io::ErrorKind::BrokenPipe => Trouble::Failed,
        _ => failed(&format!("stdout: {}", local::reason(&error))),
    })
}

impl<'a> Session<'a> {
    pub(super) fn new(remote: Remote<'a>, args: &'a SftpArgs, around: &'a Around) -> Session<'a> {
        let progress = !args.quiet && std::io::stderr().is_terminal();
        Session { remote, args, around, progress, umask: None }
    }

    /// The path of the command line: a directory to begin in, or something to get, and that is all.
    pub(super) async fn begin_at(&mut self, path: &[u8], local: Option<&OsStr>) -> Next {
        let begun = async {
            let dir = self.remote.absolute(path);
            if local.is_none() && self.remote.is_dir(&dir).await? {
                self.remark(&format!("Changing to: {}", shown(&dir)))?;
                self.change_to(Some(path)).await?;
                return Ok(false);
            }
            let to = local.map(|to| to.as_bytes().to_vec());
            self.get(path, to.as_deref(), command::Carry::default()).await.map(|()| true)
        };
        match begun.await {
            Ok(false) => Next::Line,
            Ok(true) => Next::End,
            Err(trouble) => Next::Stop(trouble),
        }
    }

    /// Does what a line says.
    pub(super) async fn line(&mut self, line: &[u8], echo: bool) -> Next {
        let (Line { command, forgiving, silent }, read) = command::read(line);
        if echo && !silent && print(&[b"sftp> ", line, b"\n"].concat()).is_err() {
            return Next::Stop(Trouble::Failed);
        }
        let done = match (read, command) {
            (Err(why), _) => Err(failed(&why)),
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(Command::Quit)) => return Next::End,
            (Ok(()), Some(command)) => {
                tokio::select! {
                    done = self.perform(command) => done,
                    _ = tokio::signal::ctrl_c() => Err(failed("\rInterrupt  ")),
                }
            }
        };
        match done {
            Err(Trouble::Failed) if self.args.batch.is_none() || forgiving => Next::Line,
            Err(trouble) => Next::Stop(trouble),
            Ok(()) => Next::Line,
        }
    }

    /// Something to say unless it is quiet.
    pub(super) fn remark(&self, text: &str) -> Result<(), Trouble> {
        match self.args.quiet {
            true => Ok(()),
            false => print(format!("{text}\n").as_bytes()),
        }
    }

    async fn perform(&mut self, command: Command) -> Result<(), Trouble> {
        match command {
            Command::Get { from, to, how } => self.get(&from, to.as_deref(), how).await,
            Command::Put { from, to, how } => self.put(&from, to.as_deref(), how).await,
            Command::Cd(path) => self.change_to(path.as_deref()).await,
            Command::Ls { path, how } => listing::ls(self, path.as_deref(), how).await,
            Command::Pwd => {
                let text = [b"Remote working directory: ", &self.remote.cwd[..], b"\n"];
                print(&text.concat())
            }
            Command::Mkdir(path) => self.make_dir(&path).await,
            Command::Rm(word) => self.remove(&word).await,
            Command::Rmdir(path) => {
                let path = self.remote.absolute(&path);
                self.remove_one(&path, "dir").await
            }
            Command::Rename { from, to, old_way } => self.rename(&from, &to, old_way).await,
            Command::Link { from, to } => self.link(&from, &to).await,
            Command::Symlink { text, name } => self.symlink(&text, &name).await,
            Command::Copy { from, to } => carry::copy(self, &from, &to).await,
            Command::Chmod { .. } | Command::Chown { .. } | Command::Chgrp { .. } => {
                owner::change(self, command).await
            }
            Command::Df { path, human, inodes } => {
                let path = self.remote.absolute(path.as_deref().unwrap_or_default());
                let at = self.remote.at(&path);
                let space = self.remote.ask::<FsStatvfs>(&at, || "remote statvfs".to_owned());
                print(listing::df(&space.await?, human, inodes).as_bytes())
            }
            other => self.here(other).await,
        }
    }

    /// Commands that need no node.
    async fn here(&mut self, command: Command) -> Result<(), Trouble> {
        let shell = self.around.environment.shell.as_ref();
        match command {
            Command::Lcd(path) => {
                let home = self.around.environment.home.as_deref();
                local::change_to(path.as_deref(), home)
            }
            Command::Lls(words) => {
                let ls =
                    if words.is_empty() { b"ls".to_vec() } else { [b"ls ", &words[..]].concat() };
                local::shell(shell, &ls).await;
                Ok(())
            }
            Command::Shell(line) => {
                local::shell(shell, &line).await;
                Ok(())
            }
            Command::Lpwd => {
                let dir = local::directory()?;
                print(&[b"Local working directory: ", &dir[..], b"\n"].concat())
            }
            Command::Lmkdir(path) => local::make_dir(&path),
            Command::Lumask(mask) => {
                self.umask = Some(mask & 0o777);
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask & 0o777));
                print(format!("Local umask: {mask:03o}\n").as_bytes())
            }
            Command::Progress => {
                self.progress = !self.progress;
                let state = if self.progress { "enabled" } else { "disabled" };
                print(format!("Progress meter {state}\n").as_bytes())
            }
            Command::Version => print(b"SFTP protocol version 3\n"),
            Command::Help => print(command::help().as_bytes()),
            _ => Ok(()),
        }
    }

    async fn change_to(&mut self, path: Option<&[u8]>) -> Result<(), Trouble> {
        let path = match path {
            None | Some(b"") => self.remote.home.clone(),
            Some(path) => self.remote.absolute(path),
        };
        let at = self.remote.at(&path);
        let what = || format!("realpath {}", shown(&path));
        let real = self.remote.ask::<FsRealpath>(&at, what).await?.path.0;
        let at = self.remote.at(&real);
        let stat = self.remote.ask::<bssh_protocol::methods::FsStat>(&at, || {
            format!("stat remote \"{}\"", shown(&real))
        });
        match stat.await?.r#type.as_str() {
            "dir" => {
                self.remote.cwd = real;
                Ok(())
            }
            "unknown" => Err(failed("Can't change directory: Can't check target")),
            _ => {
                let real = shown(&real);
                Err(failed(&format!("Can't change directory: \"{real}\" is not a directory")))
            }
        }
    }

    async fn make_dir(&self, path: &[u8]) -> Result<(), Trouble> {
        let path = self.remote.absolute(path);
        let params = FsMakeParams { at: self.remote.at(&path), parents: false, mode: Some(0o777) };
        let what = || format!("remote mkdir \"{}\"", shown(&path));
        self.remote.ask::<FsMkdir>(&params, what).await.map(drop)
    }

    async fn remove(&self, word: &[u8]) -> Result<(), Trouble> {
        let mut done = Ok(());
        for path in self.several(word).await? {
            self.remark(&format!("Removing {}", shown(&path)))?;
            done = self.remove_one(&path, "file").await;
            if self.ends(&done) {
                return done;
            }
        }
        done
    }

    /// What a word stands for; itself if there is nothing.
    pub(super) async fn several(&self, word: &[u8]) -> Result<Vec<Vec<u8>>, Trouble> {
        let found = paths::remote(&self.remote, word).await?;
        Ok(match found.is_empty() {
            true => vec![self.remote.absolute(&super::line::literal(word))],
            false => found.into_iter().map(|one| one.path).collect(),
        })
    }

    /// The rest of a command's paths is not looked at.
    pub(super) fn ends(&self, done: &Result<(), Trouble>) -> bool {
        match done {
            Ok(()) => false,
            Err(Trouble::Lost) => true,
            Err(Trouble::Failed) => self.args.batch.is_some(),
        }
    }

    async fn remove_one(&self, path: &[u8], only: &str) -> Result<(), Trouble> {
        let params = FsRemoveParams {
            at: self.remote.at(path),
            recursive: false,
            only: Some(only.to_owned()),
        };
        let what = || match only {
            "dir" => format!("remote rmdir \"{}\"", shown(path)),
            _ => format!("remote delete {}", shown(path)),
        };
        self.remote.ask::<FsRemove>(&params, what).await.map(drop)
    }

    async fn rename(&self, from: &[u8], to: &[u8], old_way: bool) -> Result<(), Trouble> {
        let [from, to] = [from, to].map(|path| self.remote.absolute(path));
        let what = || format!("remote rename \"{}\" to \"{}\"", shown(&from), shown(&to));
        let params = FsRenameParams {
            at: self.remote.at(&from),
            to: PathBytes(to.clone()),
            overwrite: !old_way,
        };
        self.remote.ask::<FsRename>(&params, what).await.map(drop)
    }

    async fn link(&self, from: &[u8], to: &[u8]) -> Result<(), Trouble> {
        let [from, to] = [from, to].map(|path| self.remote.absolute(path));
        let what = || format!("remote link \"{}\" to \"{}\"", shown(&from), shown(&to));
        let params = FsHardLinkParams { at: self.remote.at(&from), to: PathBytes(to.clone()) };
        self.remote.ask::<FsLink>(&params, what).await.map(drop)
    }

    async fn symlink(&self, text: &[u8], name: &[u8]) -> Result<(), Trouble> {
        let name = self.remote.absolute(name);
        let what = || format!("remote symlink file \"{}\" to \"{}\"", shown(text), shown(&name));
        let params = FsLinkParams { at: self.remote.at(&name), target: PathBytes(text.to_vec()) };
        self.remote.ask::<FsSymlink>(&params, what).await.map(drop)
    }

    /// Names that begin as a word does, for the line editor: the whole word each.
    pub(super) async fn complete(&self, word: &[u8], here: bool) -> Vec<(Vec<u8>, bool)> {
        let cut = word.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let (dir, begin) = word.split_at_checked(cut).unwrap_or((b"", word));
        let names: Vec<(Vec<u8>, bool)> = match here {
            true => {
                let dir = if dir.is_empty() { b"." } else { dir };
                let entries = std::fs::read_dir(OsStr::from_bytes(dir)).into_iter().flatten();
                let named =
                    |e: std::fs::DirEntry| (e.file_name().as_bytes().to_vec(), e.path().is_dir());
                entries.flatten().map(named).collect()
            }
            false => {
                let dir = self.remote.absolute(dir);
                let entries = self.remote.try_list(&dir).await.ok().flatten().unwrap_or_default();
                entries.into_iter().map(|e| (e.name.0, e.attr.r#type == "dir")).collect()
            }
        };
        let fits = |name: &[u8]| {
            name.starts_with(begin) && (!name.starts_with(b".") || begin.starts_with(b"."))
        };
        let fitting = names.into_iter().filter(|(name, _)| fits(name));
        let mut found: Vec<_> = fitting.map(|(name, is_dir)| (join(dir, &name), is_dir)).collect();
        found.sort();
        found
    }
}

/// A line for people who are told only what fails.
pub(super) fn note(text: &str) {
    say(text);
}
