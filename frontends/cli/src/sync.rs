//! `bssh sync`: what was typed, and what was meant by it.
//!
//! A sync is named by its name in the configuration, or by its two directories: one here, and
//! scp's `host:path`.

use crate::args::Args;
use crate::files::host_and_path;
use crate::request;
use bssh_protocol::exec::Targets;
use bssh_protocol::sync::{
    SyncAction, SyncDelete, SyncParams, SyncPolicy, SyncResolveParams, SyncRestoreParams, SyncTake,
    SyncWhat,
};
use bssh_protocol::transfer::PathBytes;
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// What follows `bssh sync`.
#[derive(Debug, Subcommand)]
pub(crate) enum SyncVerb {
    /// Show what `run` would do, and change nothing
    Plan(SyncArgs),
    /// Send what has changed here
    Push(DoArgs),
    /// Fetch what has changed on the node
    Back(DoArgs),
    /// Both ways
    Run(DoArgs),
    /// Both ways, again and again until Ctrl-C; changes here go at once
    Watch(SyncArgs),
    /// How a sync stands, without asking the node
    Status(SyncArgs),
    /// Files that both sides have changed, and nobody has decided about
    Conflicts(SyncArgs),
    /// Decide a conflict; the next run carries it out
    Resolve {
        #[command(flatten)]
        which: SyncArgs,
        /// The file, below the directory that is synced
        #[arg(long, value_name = "FILE")]
        path: OsString,
        /// Which side is right; what the other had is saved
        #[arg(long, value_name = "SIDE", value_enum)]
        take: Side,
    },
    /// List what a sync has replaced or deleted here, or put one of them back
    Restore {
        #[command(flatten)]
        which: SyncArgs,
        /// The file to put back, below the directory that is synced
        #[arg(long, value_name = "FILE")]
        path: Option<OsString>,
        /// The run that saved it, as the list shows it [the newest]
        #[arg(long, value_name = "RUN", requires = "path")]
        run: Option<String>,
    },
}

/// Which sync, and its rules.
#[derive(Debug, ClapArgs)]
pub(crate) struct SyncArgs {
    /// NAME of the configuration's `sync:`, or DIR HOST:DIR
    #[arg(value_name = "SYNC", required = true, num_args = 1..=2)]
    pub which: Vec<OsString>,
    /// Leave out files whose name (with a slash in it: whose path) fits; DIR/ for directories only
    #[arg(long, value_name = "PATTERN")]
    pub skip: Vec<OsString>,
    /// What becomes of files that both sides have changed
    #[arg(long, value_name = "RULE", value_enum)]
    pub conflict: Option<Conflict>,
    /// Which deletions are carried over: those made here, those of both sides, none
    #[arg(long, value_name = "RULE", value_enum)]
    pub delete: Option<Delete>,
}

/// The same for what changes something.
#[derive(Debug, ClapArgs)]
pub(crate) struct DoArgs {
    #[command(flatten)]
    pub sync: SyncArgs,
    /// Change nothing, say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Delete also where it looks like a mistake: most of a tree, or an empty directory
    #[arg(long)]
    pub force_delete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Conflict {
    /// the node's comes here under another name
    KeepBoth,
    /// the node's replaces the local one
    RemoteWins,
    /// the local one replaces the node's
    LocalWins,
    /// nothing at all is done
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Delete {
    Push,
    Both,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    Local,
    Remote,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum SyncRequest {
    Start(SyncParams),
    Status(SyncWhat),
    Conflicts(SyncWhat),
    Resolve(SyncResolveParams),
    Restore(SyncRestoreParams),
}

/// # Errors
/// One line for people.
pub(crate) fn request(args: &Args, verb: &SyncVerb) -> Result<SyncRequest, String> {
    let started = |action, sync: &SyncArgs, (dry_run, force_delete)| {
        let what = what(args, sync)?;
        Ok(SyncRequest::Start(SyncParams { what, action, dry_run, force_delete }))
    };
    let flags = |done: &DoArgs| (done.dry_run, done.force_delete);
    let bytes = |path: &OsString| PathBytes(path.as_bytes().to_vec());
    match verb {
        SyncVerb::Plan(sync) => started(SyncAction::Plan, sync, (false, false)),
        SyncVerb::Push(done) => started(SyncAction::Push, &done.sync, flags(done)),
        SyncVerb::Back(done) => started(SyncAction::Back, &done.sync, flags(done)),
        SyncVerb::Run(done) => started(SyncAction::Run, &done.sync, flags(done)),
        SyncVerb::Watch(sync) => started(SyncAction::Watch, sync, (false, false)),
        SyncVerb::Status(sync) => Ok(SyncRequest::Status(what(args, sync)?)),
        SyncVerb::Conflicts(sync) => Ok(SyncRequest::Conflicts(what(args, sync)?)),
        SyncVerb::Resolve { which, path, take } => Ok(SyncRequest::Resolve(SyncResolveParams {
            what: what(args, which)?,
            path: bytes(path),
            take: match take {
                Side::Local => SyncTake::Local,
                Side::Remote => SyncTake::Remote,
            },
        })),
        SyncVerb::Restore { which, path, run } => Ok(SyncRequest::Restore(SyncRestoreParams {
            what: what(args, which)?,
            path: path.as_ref().map(bytes),
            run: run.clone(),
        })),
    }
}

fn what(args: &Args, sync: &SyncArgs) -> Result<SyncWhat, String> {
    let targets = request::targets(args);
    if !targets.nodes.is_empty() {
        return Err("a sync names its node itself: bssh sync run DIR HOST:DIR".to_owned());
    }
    let settings = targets.settings;
    let bytes = |path: &OsString| PathBytes(path.as_bytes().to_vec());
    let mut what = SyncWhat {
        skip: sync.skip.iter().map(bytes).collect(),
        conflict: sync.conflict.map(|rule| match rule {
            Conflict::KeepBoth => SyncPolicy::KeepBoth,
            Conflict::RemoteWins => SyncPolicy::RemoteWins,
            Conflict::LocalWins => SyncPolicy::LocalWins,
            Conflict::Fail => SyncPolicy::Fail,
        }),
        delete: sync.delete.map(|rule| match rule {
            Delete::Push => SyncDelete::Push,
            Delete::Both => SyncDelete::Both,
            Delete::Never => SyncDelete::Never,
        }),
        ..SyncWhat::default()
    };
    match sync.which.as_slice() {
        [id] => {
            let id = id.to_string_lossy().into_owned();
            if id.contains('/') || id.contains(':') {
                return Err(format!(
                    "{id}: the other directory is missing\nhint: bssh sync run DIR HOST:DIR"
                ));
            }
            what.id = Some(id);
            what.targets = Targets { settings, ..Targets::default() };
        }
        [local, remote] => {
            let Some((host, path)) = host_and_path(remote.as_bytes()) else {
                let remote = remote.to_string_lossy();
                return Err(format!(
                    "{remote}: expected HOST:DIR\nhint: bssh sync run DIR HOST:DIR"
                ));
            };
            if host_and_path(local.as_bytes()).is_some() {
                let text = "the first directory is here; a path with a colon needs ./ in front";
                return Err(text.to_owned());
            }
            let path = if path.is_empty() { b"." } else { path };
            (what.local, what.remote) = (Some(bytes(local)), Some(PathBytes(path.to_vec())));
            let nodes = String::from_utf8_lossy(host).into_owned();
            what.targets = Targets { nodes, settings, ..Targets::default() };
        }
        _ => return Err("expected a name, or two directories".to_owned()),
    }
    Ok(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Sub;

    fn read(line: &str) -> Result<SyncRequest, String> {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let args = Args::read(&words).map_err(|e| e.to_string())?;
        match &args.subcommand {
            Some(Sub::Sync(verb)) => request(&args, verb),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_or_two_directories() {
        for (line, id, nodes, remote) in [
            ("sync run work", Some("work"), "", None),
            ("sync push ./app web1:app", None, "web1", Some("app")),
            ("sync watch app u@[::1]:/srv", None, "u@[::1]", Some("/srv")),
            ("sync plan app web1:", None, "web1", Some(".")),
        ] {
            let Ok(SyncRequest::Start(p)) = read(line) else { panic!("{line}") };
            let there = p.what.remote.map(|r| String::from_utf8(r.0).unwrap());
            assert_eq!((p.what.id.as_deref(), there.as_deref()), (id, remote), "{line}");
            assert_eq!(p.what.targets.nodes, nodes, "{line}");
        }
        for line in [
            "sync run",
            "sync run ./app",
            "sync run a b",
            "sync run h:a h:b",
            "sync run a h:b c",
            "-H a sync run work",
            "sync watch --dry-run work",
            "sync plan --force-delete work",
            "sync resolve work",
            "sync restore work --run x",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn flags_become_parameters() {
        let line = "sync run --skip *.o --conflict local-wins --delete both --dry-run \
                    --force-delete work";
        let Ok(SyncRequest::Start(p)) = read(line) else { panic!() };
        assert!(p.dry_run && p.force_delete && p.action == SyncAction::Run);
        assert_eq!(p.what.skip, [PathBytes(b"*.o".to_vec())]);
        assert_eq!(p.what.conflict, Some(SyncPolicy::LocalWins));
        assert_eq!(p.what.delete, Some(SyncDelete::Both));
        let Ok(SyncRequest::Resolve(p)) = read("sync resolve work --path a/b --take remote") else {
            panic!()
        };
        assert_eq!((p.take, p.path), (SyncTake::Remote, PathBytes(b"a/b".to_vec())));
    }
}
