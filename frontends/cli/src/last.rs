//! `@ok`, `@failed` and `@unreachable` of the last run.
//!
//! A core lives as long as its command, so the frontend keeps these three sets: as host files in
//! the state directory, one node a line. In an expression `@failed` becomes `^FILE`, which is
//! what the core can read.

use crate::request::host_file;
use crate::{exit, say};
use bssh_client::Core;
use bssh_protocol::exec::Ended;
use bssh_protocol::job::JobNodes;
use bssh_protocol::methods::JobNodesOf;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where the sets of the last run are kept.
#[derive(Debug, Clone)]
pub(crate) struct LastRun {
    dir: PathBuf,
}

const SETS: [&str; 3] = ["ok", "failed", "unreachable"];

impl LastRun {
    /// `state` is `$XDG_STATE_HOME` or `~/.local/state`.
    pub(crate) fn new(state: &Path) -> Self {
        LastRun { dir: state.join("bssh").join("last") }
    }

    /// Replaces the names of the sets in an expression, as far as there was a run.
    pub(crate) fn expand(&self, expr: &str) -> String {
        let mut out = String::with_capacity(expr.len());
        let mut rest = expr;
        while let Some((before, after)) = rest.split_once('@') {
            out.push_str(before);
            let starts = before.is_empty() && out.is_empty() || out.ends_with(SEPARATORS);
            let name = after.split(SEPARATORS).next().unwrap_or_default();
            let file = self.dir.join(name);
            match starts && SETS.contains(&name) && file.exists() {
                true => out.push_str(&host_file(&file.to_string_lossy())),
                false => out.push_str(&format!("@{name}")),
            }
            rest = after.get(name.len()..).unwrap_or_default();
        }
        out + rest
    }

    /// Keeps the sets of a run.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(crate) fn save<'a>(
        &self,
        ends: impl Iterator<Item = (&'a str, Option<&'a Ended>)>,
    ) -> io::Result<()> {
        let mut sets = [String::new(), String::new(), String::new()];
        let [ok, failed, unreachable] = &mut sets;
        for (node, ended) in ends {
            let line = format!("{node}\n");
            match ended {
                Some(ended) if ended.is_ok() => ok.push_str(&line),
                Some(ended) if ended.is_unreachable() => {
                    failed.push_str(&line);
                    unreachable.push_str(&line);
                }
                _ => failed.push_str(&line),
            }
        }
        fs::create_dir_all(&self.dir)?;
        for (name, text) in SETS.iter().zip(sets) {
            let file = self.dir.join(name);
            // Most runs end like the one before; replacing a file costs a disk access.
            if fs::read(&file).is_ok_and(|old| old == text.as_bytes()) {
                continue;
            }
            // Another bssh may read it just now.
            let new = self.dir.join(format!(".{name}.{}", std::process::id()));
            fs::write(&new, text)?;
            fs::rename(&new, file)?;
        }
        Ok(())
    }
}

/// Replaces `@job:ID` and `@job:ID.ok|failed|unreachable` in an expression by the nodes of that
/// job, in a file the core can read.
///
/// # Errors
/// The status, after saying what is wrong.
pub(crate) async fn expand_jobs(
    expr: &str,
    core: &Core,
    state: Option<&Path>,
) -> Result<String, u8> {
    let mut out = String::new();
    let mut rest = expr;
    while let Some((before, after)) = rest.split_once("@job:") {
        let name = after.split(SEPARATORS).next().unwrap_or_default();
        let (job, which) = name.split_once('.').unwrap_or((name, ""));
        let wrong = |why: String| {
            say(&format!("bssh: @job:{name}: {why}"));
            exit::USAGE
        };
        let job = job.parse().map_err(|_| wrong("want the number of a job".to_owned()))?;
        let params = JobNodes { job, which: which.to_owned() };
        let nodes = core.call::<JobNodesOf>(&params).await.map_err(|e| wrong(e.to_string()))?;
        let dir = state.ok_or_else(|| wrong("there is no home to keep it in".to_owned()))?;
        let dir = dir.join("bssh/last");
        let file = dir.join(format!("job-{name}"));
        let text: String = nodes.nodes.iter().map(|node| format!("{node}\n")).collect();
        let kept = fs::create_dir_all(&dir).and_then(|()| fs::write(&file, text));
        kept.map_err(|e| wrong(format!("{}: {e}", file.display())))?;
        out.push_str(&format!("{before}{}", host_file(&file.to_string_lossy())));
        rest = after.get(name.len()..).unwrap_or_default();
    }
    Ok(out + rest)
}

/// What may stand between names.
const SEPARATORS: [char; 8] = [',', '!', '&', '^', ' ', '\t', '\n', ';'];

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_protocol::exec::{Exit, Failure, Phase};

    #[test]
    fn the_sets_of_the_last_run_can_be_named() {
        let temp = tempfile::tempdir().unwrap();
        let last = LastRun::new(temp.path());
        assert_eq!(last.expand("@failed,a"), "@failed,a", "no run yet");
        let exit = |n| Ended { exit: Some(Exit::Status(n)), ..Ended::default() };
        let dial = Failure { phase: Phase::Dial, ..Failure::default() };
        let (zero, one) = (exit(0), exit(1));
        let gone = Ended { failure: Some(dial), ..Ended::default() };
        let ends = [("a", Some(&zero)), ("b", Some(&one)), ("u@c:22", Some(&gone)), ("d", None)];
        last.save(ends.into_iter()).unwrap();
        let read = |name| fs::read_to_string(temp.path().join("bssh/last").join(name)).unwrap();
        assert_eq!(SETS.map(read), ["a\n", "b\nu@c:22\nd\n", "u@c:22\n"]);
        let dir = temp.path().join("bssh/last").display().to_string();
        for (expr, want) in [
            ("@failed", "^D/failed"),
            ("@failed,x!@ok", "^D/failed,x!^D/ok"),
            ("@failed2,joe@ok,@src:ok", "@failed2,joe@ok,@src:ok"),
            ("a,u@b:22&@unreachable", "a,u@b:22&^D/unreachable"),
            ("n[1-3]", "n[1-3]"),
        ] {
            assert_eq!(last.expand(expr), want.replace('D', &dir), "{expr}");
        }
        assert_eq!(fs::read_dir(temp.path().join("bssh/last")).unwrap().count(), 3);
    }
}
