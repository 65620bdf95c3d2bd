//! `get`, `put` and `copy`: what a word stands for, said first and then carried by one transfer.

use super::command::Carry;
use super::paths::{self, Match};
use super::remote::{join, reason, shown};
use super::session::{Session, note, print};
use super::{Trouble, failed, local};
use crate::output::Bars;
use bssh_client::TransferEvent;
use bssh_protocol::methods::FsStat;
use bssh_protocol::task::{FsCopyParams, FsPlace};
use bssh_protocol::transfer::{
    FileFault, PathBytes, Symlinks, TransferDirection, TransferFile, TransferParams, TransferState,
    Transferred,
};
use bssh_term::{ColorChoice, bytes_text, rate};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval_at};

/// A transfer that is faster shows no progress.
const PROGRESS_AFTER: Duration = Duration::from_millis(300);
const PROGRESS_EVERY: Duration = Duration::from_millis(150);

/// What is carried, and what to call it.
struct Load<'a> {
    direction: TransferDirection,
    matches: &'a [Match],
    /// Where to, for the core.
    to: Vec<u8>,
    how: Carry,
}

impl Session<'_> {
    /// `get`
    pub(super) async fn get(
        &self,
        word: &[u8],
        to: Option<&[u8]>,
        how: Carry,
    ) -> Result<(), Trouble> {
        let matches = paths::remote(&self.remote, word).await?;
        if matches.is_empty() {
            let path = shown(&self.remote.absolute(&super::line::literal(word)));
            return Err(failed(&format!("File \"{path}\" not found.")));
        }
        let into = to.is_some_and(|to| Path::new(OsStr::from_bytes(to)).is_dir());
        if let (Some(to), 2.., false) = (to, matches.len(), into) {
            let to = shown(to);
            let text = "Multiple source paths, but destination";
            return Err(failed(&format!("{text} \"{to}\" is not a directory")));
        }
        let how = self.with_flags(how);
        let word = if how.append { "Resuming" } else { "Fetching" };
        let mut done = Ok(());
        let (wanted, refused) = split(&matches, how);
        for one in &matches {
            let place = place(to, into || matches.len() > 1, one.name());
            self.remark(&format!("{word} {} to {}", shown(&one.marked()), shown(&place)))?;
        }
        for one in refused {
            let path = shown(&one.marked());
            done = Err(failed(&format!("download {path}: not a regular file")));
        }
        if !wanted.is_empty() {
            let to = absolute_here(to.unwrap_or(b"."))?;
            let direction = TransferDirection::Download;
            self.carry(&Load { direction, matches: &wanted, to, how }).await?;
        }
        done
    }

    /// `put`
    pub(super) async fn put(
        &self,
        word: &[u8],
        to: Option<&[u8]>,
        how: Carry,
    ) -> Result<(), Trouble> {
        let matches = paths::here(word);
        let target = to.map(|to| self.remote.absolute(to));
        let into = match &target {
            Some(target) => self.remote.is_dir(target).await?,
            None => true,
        };
        if let (Some(target), 2.., false) = (&target, matches.len(), into) {
            let to = shown(target);
            let text = "Multiple paths match, but destination";
            return Err(failed(&format!("{text} \"{to}\" is not a directory")));
        }
        let how = self.with_flags(how);
        let word = if how.append { "Resuming upload of" } else { "Uploading" };
        let mut done = Ok(());
        let there = |one: &Match| match Path::new(OsStr::from_bytes(&one.path)).metadata() {
            Ok(_) => true,
            Err(error) => {
                note(&format!("stat {}: {}", shown(&one.path), local::reason(&error)));
                false
            }
        };
        let n_all = matches.len();
        let matches: Vec<Match> = matches.into_iter().filter(there).collect();
        if matches.len() < n_all {
            done = Err(Trouble::Failed);
        }
        let target = target.unwrap_or_else(|| self.remote.cwd.clone());
        let (wanted, refused) = split(&matches, how);
        for one in &matches {
            let place = if into { join(&target, one.name()) } else { target.clone() };
            self.remark(&format!("{word} {} to {}", shown(&one.marked()), shown(&place)))?;
        }
        for one in refused {
            let path = shown(&one.marked());
            done = Err(failed(&format!("local \"{path}\" is not a regular file")));
        }
        if !wanted.is_empty() {
            let direction = TransferDirection::Upload;
            self.carry(&Load { direction, matches: &wanted, to: target, how }).await?;
        }
        done
    }

    /// The command's flags with those of the command line.
    fn with_flags(&self, how: Carry) -> Carry {
        Carry {
            append: how.append || self.args.append,
            fsync: how.fsync || self.args.fsync,
            preserve: how.preserve || self.args.preserve,
            recursive: how.recursive || self.args.recursive,
        }
    }

    async fn carry(&self, load: &Load<'_>) -> Result<(), Trouble> {
        let down = load.direction == TransferDirection::Download;
        let mut from = Vec::new();
        for one in load.matches {
            from.push(PathBytes(if down { one.path.clone() } else { absolute_here(&one.path)? }));
        }
        let params = TransferParams {
            targets: self.remote.targets.clone(),
            direction: load.direction,
            from,
            to: PathBytes(load.to.clone()),
            recursive: load.how.recursive,
            preserve: load.how.preserve,
            fsync: load.how.fsync,
            append: load.how.append,
            literal: true,
            tell: load.how.recursive,
            symlinks: Symlinks::Skip,
            limit: self.args.limit,
            block: self.args.block,
            requests: self.args.requests,
            umask: self.umask,
            stall_ms: Some(0),
            ..TransferParams::default()
        };
        let begun = Instant::now();
        let ended = self.follow(&params, load).await?;
        for fault in &ended.faults {
            note(&told(fault, load));
        }
        if let Some(failure) = &ended.failure {
            if failure.code != "filesFailed" {
                note(&failure.message);
            }
            let lost = matches!(failure.code.as_str(), "transportLost" | "protocolBroken");
            return Err(if lost { Trouble::Lost } else { Trouble::Failed });
        }
        if self.progress {
            let seconds = begun.elapsed().as_secs_f64();
            let (bytes, rate) = (bytes_text(ended.bytes), bytes_text(rate(ended.bytes, seconds)));
            note(&format!("{} files, {bytes} in {seconds:.1} s ({rate}/s)", ended.files));
        }
        Ok(())
    }

    /// Waits for a transfer, showing how it gets on.
    async fn follow(
        &self,
        params: &TransferParams,
        load: &Load<'_>,
    ) -> Result<Transferred, Trouble> {
        let started = self.remote.core.transfer(params).await;
        let mut transfer = started.map_err(|error| failed(&error.advised()))?;
        let mut bars =
            Bars::new(transfer.started.nodes.clone(), self.around.style(ColorChoice::Auto));
        let mut ticks = interval_at((Instant::now() + PROGRESS_AFTER).into(), PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended = None;
        loop {
            let event = tokio::select! {
                event = transfer.next() => event,
                _ = ticks.tick(), if self.progress => {
                    bars.draw_unless(self.around.prompter.is_open());
                    continue;
                }
            };
            match event {
                Some(TransferEvent::Progress(nodes)) => bars.note(&nodes),
                Some(TransferEvent::Node(event)) => {
                    bars.state(event.index as usize, &event.state);
                    if let TransferState::Ended(how) = event.state {
                        ended = Some(how);
                    }
                }
                Some(TransferEvent::File(file)) => {
                    bars.hide();
                    self.entered(&file, load)?;
                }
                Some(TransferEvent::Done(_)) | None => break,
                Some(TransferEvent::Lost(how)) => {
                    bars.hide();
                    note(&format!("bssh: {how}"));
                    return Err(Trouble::Lost);
                }
            }
        }
        bars.hide();
        ended.ok_or(Trouble::Failed)
    }

    /// A directory that is begun, a link that is left out.
    fn entered(&self, file: &TransferFile, load: &Load<'_>) -> Result<(), Trouble> {
        let down = load.direction == TransferDirection::Download;
        let source = source(&file.path.0, load);
        // -q leaves remarks out; a batch has them.
        if file.action == "skip" && self.args.log_level == "error" {
            return Ok(());
        }
        match (file.action.as_str(), down) {
            ("dir", true) => print(&[b"Retrieving ", &source[..], b"\n"].concat()),
            ("dir", false) => {
                // The one that was named has a slash behind, as patterns have it.
                let named = load.matches.iter().any(|one| one.path == source);
                let slash: &[u8] = if named && !source.ends_with(b"/") { b"/" } else { b"" };
                print(&[b"Entering ", &source[..], slash, b"\n"].concat())
            }
            ("skip", true) => {
                note(&format!("download \"{}\": not a regular file", shown(&source)));
                Ok(())
            }
            ("skip", false) => {
                let name = source.rsplit(|b| *b == b'/').next().unwrap_or(&source);
                note(&format!("{}: not a regular file", shown(name)));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// `copy`: the node does it by itself.
pub(super) async fn copy(session: &Session<'_>, from: &[u8], to: &[u8]) -> Result<(), Trouble> {
    let remote = &session.remote;
    if !remote.features.extensions.iter().any(|name| name == "copy-data") {
        return Err(failed("Server does not support copy-data extension"));
    }
    let [from, to] = [from, to].map(|path| remote.absolute(path));
    let at = remote.at(&from);
    let what = || format!("stat remote \"{}\"", shown(&from));
    let attr = remote.ask::<FsStat>(&at, what).await?;
    if attr.r#type != "file" {
        return Err(failed(&format!("Cannot copy non-regular file: {}", shown(&from))));
    }
    let place = |path: &[u8]| FsPlace {
        node: Some(remote.targets.clone()),
        path: PathBytes(path.to_vec()),
    };
    let params =
        FsCopyParams { from: place(&from), to: place(&to), exact: true, ..FsCopyParams::default() };
    let done = remote.core.copy(&params).await;
    let failure = match done {
        Ok(done) => match (done.failure, done.errors.first()) {
            (None, _) => return Ok(()),
            (Some(_), Some(fault)) => reason(&fault.code).to_owned(),
            (Some(failure), None) => failure.message,
        },
        Err(error) => error.message,
    };
    let (from, to) = (shown(&from), shown(&to));
    Err(failed(&format!("Couldn't copy file \"{from}\" to \"{to}\": {failure}")))
}

/// What can be carried, and the directories that need `-R`.
fn split(matches: &[Match], how: Carry) -> (Vec<Match>, Vec<&Match>) {
    let fits = |one: &&Match| how.recursive || !one.is_dir;
    (matches.iter().filter(fits).cloned().collect(), matches.iter().filter(|m| !fits(m)).collect())
}

/// Where something goes on this side, for people.
fn place(to: Option<&[u8]>, into: bool, name: &[u8]) -> Vec<u8> {
    match to {
        None => name.to_vec(),
        Some(to) if into => join(to, name),
        Some(to) => to.to_vec(),
    }
}

/// The core has a working directory of its own.
fn absolute_here(path: &[u8]) -> Result<Vec<u8>, Trouble> {
    match path {
        [b'/', ..] => Ok(path.to_vec()),
        b"." => local::directory(),
        _ => Ok(join(&local::directory()?, path)),
    }
}

/// The source that has become this.
fn source(target: &[u8], load: &Load<'_>) -> Vec<u8> {
    let down = load.direction == TransferDirection::Download;
    let target = match down {
        // Downloads are told by the path below the target.
        true => target,
        false => target.strip_prefix(&load.to[..]).unwrap_or(target),
    };
    let target = target.strip_prefix(b"/").unwrap_or(target);
    for one in load.matches {
        if let Some(rest) = target.strip_prefix(one.name())
            && (rest.is_empty() || rest.starts_with(b"/"))
        {
            return [one.path.strip_suffix(b"/").unwrap_or(&one.path), rest].concat();
        }
    }
    // A single source under another name.
    let cut = if down { target.iter().position(|b| *b == b'/') } else { Some(0) };
    let rest = cut.and_then(|at| target.get(at..)).unwrap_or_default();
    match load.matches.first() {
        Some(one) if rest.is_empty() => one.path.clone(),
        Some(one) => join(&one.path, rest.strip_prefix(b"/").unwrap_or(rest)),
        None => target.to_vec(),
    }
}

/// A fault in sftp's words.
fn told(fault: &FileFault, load: &Load<'_>) -> String {
    let down = load.direction == TransferDirection::Download;
    let path = shown(&fault.path.0);
    let known = matches!(fault.code.as_str(), "notFound" | "permission");
    match (down, fault.here, fault.code.as_str()) {
        (true, _, "larger") => {
            format!("Unable to resume download of \"{path}\": {}", fault.message)
        }
        (false, _, "exists") => {
            format!("resume \"{}\": {}", shown(&source(&fault.path.0, load)), fault.message)
        }
        (true, false, code) if known => format!("remote open \"{path}\": {}", reason(code)),
        (false, false, code) if known => format!("dest open \"{path}\": {}", reason(code)),
        (false, true, code) if known => format!("open local \"{path}\": {}", reason(code)),
        (true, true, code) if known => {
            let to = if load.matches.len() == 1 { shown(&load.to) } else { path };
            format!("open local \"{to}\": {}", reason(code))
        }
        (true, ..) => format!("download \"{path}\": {}", fault.message),
        (false, ..) => format!("upload \"{path}\": {}", fault.message),
    }
}
