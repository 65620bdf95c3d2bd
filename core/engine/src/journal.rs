//! The audit journal: one JSON line for what was asked of a core, and one for how it ended.
//!
//! Who, when, what, on which nodes, with which result. No output, no environment, no secrets:
//! a command line is written as it was typed, so secrets do not belong there (as `ps` shows it,
//! too). A file that cannot be written is reported once and stops nothing.

use crate::engine::Engine;
use crate::jobs::title;
use crate::run::{Class, Run, millis};
use bssh_config::Environment;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::Summary;
use bssh_protocol::handshake::{JournalLines, JournalParams};
use bssh_protocol::lock;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

/// Beyond this size, in bytes, the journal is begun anew; so many older ones are kept.
const SIZE: u64 = 4 << 20;
const OLDER: usize = 4;
/// Longest command line written, in characters.
const LINE: usize = 4096;
/// Names of nodes written; more are only counted.
const NODES: usize = 64;

/// Where a core writes what it does.
pub(crate) struct Journal {
    /// None: a child core, whose frontend is its witness.
    path: Option<PathBuf>,
    file: Mutex<Option<File>>,
}

/// A value of a line.
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(u64),
    List(&'a [String]),
}

impl Journal {
    pub(crate) fn new(path: Option<PathBuf>) -> Journal {
        Journal { path, file: Mutex::new(None) }
    }

    /// The journal's place in an environment.
    pub(crate) fn place(env: &Environment) -> PathBuf {
        env.state().join("journal.jsonl")
    }

    /// A run has begun; `who` is the kind of the frontend.
    pub(crate) fn begun(&self, run: &Run, who: &str, user: &str) {
        let title = title(run);
        let names: Vec<String> =
            run.nodes.iter().take(NODES).map(|node| node.name.clone()).collect();
        let title: String = title.chars().take(LINE).collect();
        self.write(&[
            ("event", Value::Text("begun")),
            ("job", Value::Number(run.id)),
            ("user", Value::Text(user)),
            ("frontend", Value::Text(who)),
            ("command", Value::Text(&title)),
            ("count", Value::Number(run.nodes.len() as u64)),
            ("nodes", Value::List(&names)),
        ]);
    }

    /// A run is over.
    pub(crate) fn over(&self, run: &Run, summary: &Summary) {
        let bad: Vec<String> = {
            let ends = run.ends();
            let both = run.nodes.iter().zip(ends.iter());
            let bad = both.filter(|(_, class)| **class != Some(Class::Ok));
            bad.take(NODES).map(|(node, _)| node.name.clone()).collect()
        };
        let number = |n: u32| Value::Number(u64::from(n));
        self.write(&[
            ("event", Value::Text("over")),
            ("job", Value::Number(run.id)),
            ("ok", number(summary.ok)),
            ("failed", number(summary.failed)),
            ("unreachable", number(summary.unreachable)),
            ("denied", number(summary.denied)),
            ("lost", number(summary.lost)),
            ("cancelled", number(summary.cancelled)),
            ("durationMs", Value::Number(millis(run.course.begun.elapsed()))),
            ("notOk", Value::List(&bad)),
        ]);
    }

    /// Something else: a forward, a pty, a transfer, a session, with what it is about.
    pub(crate) fn note(&self, event: &str, job: u64, about: &str) {
        self.write(&[
            ("event", Value::Text(event)),
            ("job", Value::Number(job)),
            ("about", Value::Text(about)),
        ]);
    }

    fn write(&self, values: &[(&str, Value<'_>)]) {
        let Some(path) = &self.path else { return };
        let mut file = lock(&self.file);
        let line = line(values);
        let written = match file.as_mut() {
            Some(file) if file.metadata().is_ok_and(|meta| meta.len() < SIZE) => Ok(file),
            _ => open(path).map(|opened| file.insert(opened)),
        };
        if let Err(error) = written.and_then(|file| file.write_all(line.as_bytes())) {
            tracing::warn!("the journal {}: {error}", path.display());
        }
    }
}

impl Engine {
    /// `journal/read`.
    ///
    /// # Errors
    /// The journal is there and cannot be read.
    pub fn journal_read(&self, params: &JournalParams) -> Result<JournalLines, CallError> {
        let path = Journal::place(self.env());
        let mut text = String::new();
        for path in [path.with_extension("jsonl.1"), path] {
            match std::fs::read_to_string(&path) {
                Ok(more) => text.push_str(&more),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let why = format!("{}: {error}", path.display());
                    return Err(CallError::new(Kind::Internal, why));
                }
            }
        }
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(params.last as usize);
        let newest = lines.get(from..).unwrap_or_default();
        Ok(JournalLines { lines: newest.iter().map(|line| (*line).to_owned()).collect() })
    }
}

/// Opens the journal, after moving one that is full out of the way.
fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.len() >= SIZE) {
        let older = |n: usize| path.with_extension(format!("jsonl.{n}"));
        for n in (1..OLDER).rev() {
            // One that is not there yet need not move.
            let _ = std::fs::rename(older(n), older(n + 1));
        }
        std::fs::rename(path, older(1))?;
    }
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    File::options().append(true).create(true).mode(0o600).custom_flags(no_link).open(path)
}

/// One line of JSON with the time in front.
fn line(values: &[(&str, Value<'_>)]) -> String {
    let time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let mut out = format!("{{\"unixMs\":{},\"core\":{}", millis(time), std::process::id());
    for (name, value) in values {
        out.push_str(&format!(",\"{name}\":"));
        match value {
            Value::Number(number) => out.push_str(&number.to_string()),
            Value::Text(text) => quote(text, &mut out),
            Value::List(all) => {
                for (at, text) in all.iter().enumerate() {
                    out.push(if at == 0 { '[' } else { ',' });
                    quote(text, &mut out);
                }
                out.push_str(if all.is_empty() { "[]" } else { "]" });
            }
        }
    }
    out.push_str("}\n");
    out
}

/// A JSON string.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_makes_room_and_lines_stay_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b/journal.jsonl");
        let journal = Journal::new(Some(path.clone()));
        let long = "x\n\"\u{1b}".repeat(100_000);
        for job in 0..20 {
            journal.note("forward", job, &long);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("\"}\n") && text.contains("x\\u000a\\\"\\u001bx"));
        assert!(path.with_extension("jsonl.1").exists());
        for line in text.lines() {
            assert!(line.starts_with("{\"unixMs\":") && line.ends_with('}'));
        }
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
