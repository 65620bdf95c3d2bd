//! `upload` and `download`: what was typed, and what was meant by it.
//!
//! Nodes come from the targets flags, or from scp's `host:path`; not from both. An upload's
//! sources may lie on another node, as scp spells it: `upload a:path b:path`.

use crate::args::{Args, Json, duration};
use crate::request;
use bssh_protocol::exec::Targets;
use bssh_protocol::transfer::{PathBytes, Relay, Symlinks, TransferDirection, TransferParams};
use clap::{Args as ClapArgs, ValueEnum};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Flags and paths of a transfer.
#[derive(Debug, ClapArgs)]
pub(crate) struct FileArgs {
    /// Directories with everything in them
    #[arg(short = 'r', long)]
    pub recursive: bool,
    /// Keep modes and times exactly
    #[arg(long)]
    pub preserve: bool,
    /// Go on where an earlier transfer was cut off; keeps times, so that what is complete is known
    #[arg(long)]
    pub resume: bool,
    /// Read everything back and compare
    #[arg(long)]
    pub verify: bool,
    /// Remove what is in the target directories but not in the sources
    #[arg(long, requires = "recursive")]
    pub delete: bool,
    /// Change nothing, say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Make sure that each file is on the disk before it takes its name
    #[arg(long)]
    pub fsync: bool,
    /// Leave out files whose name (with a slash in it: whose path) fits; DIR/ for directories only
    #[arg(long, value_name = "PATTERN")]
    pub skip: Vec<OsString>,
    /// Symbolic links inside directories
    #[arg(long, value_name = "WHAT", value_enum, default_value = "follow")]
    pub symlinks: Links,
    /// Send everything to one node only, which passes it on to the others (upload)
    #[arg(long)]
    pub relay: bool,
    /// Give up on a node after so long without a byte (0: never)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub stall: Option<Duration>,
    /// Sources, then the target; {node} is the node's name
    #[arg(value_name = "PATH", required = true, num_args = 2..)]
    pub paths: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Links {
    /// copy what they point to
    Follow,
    /// copy the links
    Preserve,
    /// leave them out
    Skip,
}

/// A transfer as the user wants it.
#[derive(Debug)]
pub(crate) struct FileRequest {
    pub params: TransferParams,
    pub json: Option<Json>,
    pub quiet: bool,
    pub verbose: bool,
    /// The shared core goes on alone.
    pub detach: bool,
}

/// # Errors
/// One line for people.
pub(crate) fn request(args: &Args, files: &FileArgs, up: bool) -> Result<FileRequest, String> {
    let mut targets = request::targets(args);
    let mut paths: Vec<&[u8]> = files.paths.iter().map(|p| p.as_bytes()).collect();
    let mut to = paths.pop().unwrap_or_default();
    let mut source = None;
    if targets.nodes.is_empty() {
        let from = one_host(&mut paths)?;
        let there = one_host(std::slice::from_mut(&mut to))?;
        targets.nodes = match (up, from, there) {
            (true, from, Some(node)) => {
                source = from.map(|nodes| Box::new(Targets { nodes, ..targets.clone() }));
                node
            }
            (false, Some(node), None) => node,
            (false, Some(_), Some(_)) => {
                let to = String::from_utf8_lossy(to);
                return Err(format!(
                    "{to}: this side is here; a path with a colon needs ./ in front\nhint: from \
                     node to node it is `bssh upload HOST:SRC HOST:DST`"
                ));
            }
            (up, ..) => {
                let hint = if up { "upload SRC HOST:DST" } else { "download HOST:SRC DST" };
                return Err(format!("no node is named\nhint: bssh {hint}, or -H NODES"));
            }
        };
    }
    if files.relay && (!up || source.is_some()) {
        return Err(RELAY.to_owned());
    }
    let via = &args.connect.via;
    if via.via_push && !files.relay {
        return Err("--via-push is for gateways and --relay".to_owned());
    }
    let bytes = |p: &&[u8]| PathBytes(p.to_vec());
    let run = &args.run;
    let params = TransferParams {
        targets,
        direction: if up { TransferDirection::Upload } else { TransferDirection::Download },
        from: paths.iter().map(bytes).collect(),
        to: bytes(&to),
        recursive: files.recursive,
        preserve: files.preserve,
        resume: files.resume,
        verify: files.verify,
        delete: files.delete,
        dry_run: files.dry_run,
        fsync: files.fsync,
        skip: files.skip.iter().map(|p| PathBytes(p.as_bytes().to_vec())).collect(),
        symlinks: match files.symlinks {
            Links::Follow => Symlinks::Follow,
            Links::Preserve => Symlinks::Preserve,
            Links::Skip => Symlinks::Skip,
        },
        fanout: run.fanout,
        retries: run.retry,
        fail_fast: run.fail_fast,
        stall_ms: files.stall.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        source,
        relay: files.relay.then(|| Relay { push: via.via_push.then_some(true), program: None }),
        ..TransferParams::default()
    };
    let o = &args.output;
    let detach = args.connect.shared.detach;
    Ok(FileRequest { params, json: o.json, quiet: o.quiet, verbose: o.verbose > 0, detach })
}

/// Where there is no `--relay`.
const RELAY: &str = "--relay is for an upload of what is here\nhint: without it the files of \
HOST:SRC come from that node, through here";

/// Takes the one host off paths that have it, or says that none has.
fn one_host(paths: &mut [&[u8]]) -> Result<Option<String>, String> {
    let hosts: Vec<_> = paths.iter().map(|path| host_and_path(path)).collect();
    let Some(Some((host, _))) = hosts.first() else {
        return match paths.iter().zip(&hosts).find(|(_, host)| host.is_some()) {
            None => Ok(None),
            Some((path, _)) => Err(format!(
                "{}: some paths are here and some are not; a path with a colon needs ./ in front",
                String::from_utf8_lossy(path)
            )),
        };
    };
    let host = String::from_utf8_lossy(host).into_owned();
    for (path, found) in paths.iter_mut().zip(&hosts) {
        match found {
            Some((name, rest)) if *name == host.as_bytes() => *path = rest,
            Some(_) => {
                return Err("paths on different hosts\nhint: -H HOST,HOST for several".to_owned());
            }
            None => {
                let path = String::from_utf8_lossy(path);
                return Err(format!("{path}: some paths are on {host} and this one is not"));
            }
        }
    }
    Ok(Some(host))
}

/// scp's `host:path`, `user@host:path`, `[v6]:path`. A slash before the colon makes it a path.
pub(crate) fn host_and_path(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == b'@').map_or(0, |at| at + 1);
    let colon = match text.get(at) {
        Some(b'[') => {
            let close = text.iter().position(|b| *b == b']')?;
            // Ranges end in a bracket as well: web[1-3]:path.
            close + text.get(close..)?.iter().position(|b| *b == b':')?
        }
        _ => text.iter().position(|b| *b == b':')?,
    };
    let (host, path) = (text.get(..colon)?, text.get(colon + 1..)?);
    let is_host = !host.is_empty() && !host.contains(&b'/');
    is_host.then_some((host, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Sub;

    fn read(line: &str) -> Result<TransferParams, String> {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let args = Args::read(&words).map_err(|e| e.to_string())?;
        let request = match &args.subcommand {
            Some(Sub::Upload(files)) => request(&args, files, true),
            Some(Sub::Download(files)) => request(&args, files, false),
            other => panic!("{other:?}"),
        };
        request.map(|r| r.params)
    }

    #[test]
    fn nodes_come_from_flags_or_paths() {
        for (line, nodes, from, to) in [
            ("upload -r ./site web1:/srv/", "web1", "./site", "/srv/"),
            ("upload a u@[::1]:b", "u@[::1]", "a", "b"),
            ("upload a web[1-3]:", "web[1-3]", "a", ""),
            ("-H a,b upload x:y z:w", "a,b", "x:y", "z:w"),
            ("download h:/etc/x .", "h", "/etc/x", "."),
            ("upload ./a:b h:c", "h", "./a:b", "c"),
        ] {
            let p = read(line).unwrap();
            let text = |p: &PathBytes| String::from_utf8_lossy(&p.0).into_owned();
            assert_eq!((&*p.targets.nodes, &*text(&p.from[0]), &*text(&p.to)), (nodes, from, to));
        }
        let p = read("upload -r a:x a:y b,c:z").unwrap();
        assert_eq!((&*p.source.unwrap().nodes, &*p.targets.nodes, p.from.len()), ("a", "b,c", 2));
        let p = read("--via-push upload --relay a b,c:d").unwrap();
        assert_eq!(p.relay.unwrap().push, Some(true));
        for line in [
            "upload a b",
            "upload a:x b:y c:z",
            "upload x b:y c:z",
            "upload b:y x c:z",
            "download a:x b:y .",
            "download a:x b:y",
            "upload -H a x",
            "upload --delete -H a x y",
            "upload --relay a:x b:y",
            "download --relay a:x .",
            "--via-push upload a b:c",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn flags_become_parameters() {
        let p = read(
            "-f 3 --retry 2 upload -r --preserve --resume --verify --delete --dry-run --fsync \
             --skip *.o --skip t/ --symlinks preserve --stall 2m a h:b",
        )
        .unwrap();
        assert!(p.recursive && p.preserve && p.resume && p.verify && p.delete && p.dry_run);
        assert!(p.fsync && p.skip.len() == 2 && p.symlinks == Symlinks::Preserve);
        assert_eq!((p.fanout, p.retries, p.stall_ms), (Some(3), Some(2), Some(120_000)));
    }
}
