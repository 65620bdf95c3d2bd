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
use bssh_protocol::exec::{Exit, Failure, Summary};
use bssh_protocol::handshake::{JournalLines, JournalParams};
use bssh_protocol::lock;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

/// Beyond this size, in bytes, the journal is begun anew; so many older ones are kept.
const SIZE: u64 = 4 << 20;
const OLDER: usize = 4;
/// How something ends whose frontend has gone.
const LEFT: &str = "left";
/// Longest command line written, in characters.
const LINE: usize = 4096;
/// Names of nodes written; more are only counted.
const NODES: usize = 64;
/// Bytes of lines in one answer: a frame holds them, whatever they look like in JSON.
const ANSWER: usize = 2 << 20;

/// Where a core writes what it does.
pub(crate) struct Journal {
    /// None: a child core, whose frontend is its witness.
    path: Option<PathBuf>,
    file: Mutex<Pen>,
}

#[derive(Default)]
struct Pen {
    file: Option<File>,
    /// The last line was not written, or in part.
    torn: bool,
}

/// A value of a line.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Number(u64),
    List(&'a [String]),
}

impl Journal {
    pub(crate) fn new(path: Option<PathBuf>) -> Journal {
        Journal { path, file: Mutex::default() }
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

    fn write(&self, values: &[(&str, Value<'_>)]) {
        let Some(path) = &self.path else { return };
        let Pen { file, torn } = &mut *lock(&self.file);
        let start = if *torn { "\n" } else { "" };
        let line = format!("{start}{}", line(values));
        let written = match file.as_mut() {
            Some(file) if file.metadata().is_ok_and(|meta| meta.len() < SIZE) => Ok(file),
            _ => open(path).map(|opened| file.insert(opened)),
        };
        let written = written.and_then(|file| file.write_all(line.as_bytes()));
        // Said once for all lines that a full disk does not take.
        let was_torn = std::mem::replace(torn, written.is_err());
        if let (Err(error), false) = (written, was_torn) {
            tracing::warn!("the journal {}: {error}", path.display());
        }
    }
}

/// A forward, a pty, a transfer or a session that the journal says has begun.
pub(crate) struct Noted {
    journal: Arc<Journal>,
    kind: &'static str,
    job: u64,
    who: [String; 2],
    about: String,
    begun: Instant,
    is_over: AtomicBool,
}

impl Noted {
    /// How it has ended; only the first word counts.
    pub(crate) fn over(&self, how: &str) {
        if !self.is_over.swap(true, Relaxed) {
            let took = Value::Number(millis(self.begun.elapsed()));
            self.write("over", &[("how", Value::Text(how)), ("durationMs", took)]);
        }
    }

    fn write(&self, event: &str, more: &[(&str, Value<'_>)]) {
        let [user, frontend] = &self.who;
        let mut values = vec![("event", Value::Text(event)), ("job", Value::Number(self.job))];
        if event != self.kind {
            values.push(("kind", Value::Text(self.kind)));
        }
        values.extend([
            ("user", Value::Text(user)),
            ("frontend", Value::Text(frontend)),
            ("about", Value::Text(&self.about)),
        ]);
        values.extend_from_slice(more);
        self.journal.write(&values);
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.over(LEFT);
    }
}

/// How a command ended, in a word or two.
pub(crate) fn ending(exit: Option<&Exit>, failure: Option<&Failure>) -> String {
    match (failure, exit) {
        (Some(failure), _) => failure.code.clone(),
        (None, Some(Exit::Status(status))) => format!("exit {status}"),
        (None, Some(Exit::Signal(name))) => format!("signal {name}"),
        (None, None) => "unknown".to_owned(),
    }
}

impl Engine {
    /// Notes that something begins; its end follows when it is told, or when this is dropped.
    pub(crate) fn note(&self, kind: &'static str, job: u64, about: &str) -> Noted {
        let noted = Noted {
            journal: self.commons.journal.clone(),
            kind,
            job,
            who: [self.env().user.clone(), self.kind().to_owned()],
            about: about.chars().take(LINE).collect(),
            begun: Instant::now(),
            is_over: AtomicBool::new(false),
        };
        noted.write(kind, &[]);
        noted
    }

    /// Why something of this link ends that is ended from here.
    pub(crate) fn parting(&self, job: u64) -> &'static str {
        match *self.gone.borrow() && !self.is_kept(job) {
            true => LEFT,
            false => "closed",
        }
    }

    /// `journal/read`.
    ///
    /// # Errors
    /// The journal is there and cannot be read.
    pub fn journal_read(&self, params: &JournalParams) -> Result<JournalLines, CallError> {
        read(&Journal::place(self.env()), params)
    }
}

/// Where a journal that was full is, the newest as 1.
fn older(path: &Path, n: usize) -> PathBuf {
    path.with_extension(format!("jsonl.{n}"))
}

/// The newest lines of all files there are, but for the `skip` newest. One file is held at a time.
fn read(path: &Path, params: &JournalParams) -> Result<JournalLines, CallError> {
    let (mut skip, mut room) = (params.skip, ANSWER);
    let (mut lines, mut more) = (VecDeque::new(), false);
    let files = std::iter::once(path.to_owned()).chain((1..=OLDER).map(|n| older(path, n)));
    'newest: for path in files {
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                return Err(CallError::new(Kind::Internal, why));
            }
        };
        // A full disk or a cut of the power may have torn some.
        for line in String::from_utf8_lossy(&text).lines().rev().filter(|l| l.ends_with('}')) {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let is_enough = lines.len() >= params.last as usize;
            more = !is_enough && !lines.is_empty() && line.len() > room;
            if is_enough || more {
                break 'newest;
            }
            room = room.saturating_sub(line.len());
            lines.push_front(line.to_owned());
        }
    }
    Ok(JournalLines { lines: lines.into(), more })
}

/// Opens the journal, after moving one that is full out of the way.
fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.len() >= SIZE) {
        for n in (1..OLDER).rev() {
            // One that is not there yet need not move.
            let _ = std::fs::rename(older(path, n), older(path, n + 1));
        }
        std::fs::rename(path, older(path, 1))?;
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
            journal.write(&[("job", Value::Number(job)), ("about", Value::Text(&long))]);
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

    #[test]
    fn a_torn_line_takes_no_other_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"unixMs\":1}\n{\"unixMs\":2,\"co").unwrap();
        let journal = Journal::new(Some(path.clone()));
        lock(&journal.file).torn = true;
        journal.write(&[("job", Value::Number(7))]);
        journal.write(&[("job", Value::Number(8))]);
        let lines = read(&path, &JournalParams { last: 9, skip: 0 }).unwrap().lines;
        let ends: Vec<&str> =
            lines.iter().filter_map(|l| l.rsplit_once(':')).map(|l| l.1).collect();
        assert_eq!(ends, ["1}", "7}", "8}"]);
        assert!(!lock(&journal.file).torn);
    }

    #[test]
    fn every_file_that_is_kept_is_read_and_an_answer_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        for (n, file) in [(0, older(&path, 4)), (1, older(&path, 2)), (2, path.clone())] {
            let lines: Vec<String> = (0..100).map(|line| format!("{}}}", n * 100 + line)).collect();
            std::fs::write(file, lines.join("\n") + "\n").unwrap();
        }
        let ask = |last, skip| {
            let lines = read(&path, &JournalParams { last, skip }).unwrap().lines;
            lines
                .iter()
                .map(|line| line.trim_end_matches('}').parse().unwrap())
                .collect::<Vec<u32>>()
        };
        assert_eq!(ask(1000, 0), (0..300).collect::<Vec<_>>());
        assert_eq!(ask(102, 0), (198..300).collect::<Vec<_>>());
        assert_eq!(ask(3, 199), [98, 99, 100]);
        assert!(ask(3, 300).is_empty());
        std::fs::write(&path, format!("{}}}\n", "x".repeat(ANSWER / 2 - 1)).repeat(4)).unwrap();
        let size = |skip| {
            let JournalLines { lines, more } =
                read(&path, &JournalParams { last: 9, skip }).unwrap();
            (lines.len(), more)
        };
        assert_eq!([size(0), size(2), size(4)], [(2, true), (2, true), (9, false)]);
    }
}
