//! Files to directives: read once, `Include` followed, every line checked.
//!
//! What depends on the destination (which blocks apply, `IgnoreUnknown`) is left to `eval`.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keywords::{DEPRECATED, KEYWORDS, UNSUPPORTED, find};
use super::lexer::{self, Line};
use super::matcher::{Criterion, Test};
use super::patterns::is_literal;
use super::seen::Seen;
use super::tokens::tilde;
use super::values::Args;
use crate::environment::Environment;
use crate::error::Error;

/// Includes may be nested this deep, as in ssh.
const DEPTH_MAX: usize = 16;
/// A configuration file larger than this is not one.
const BYTES_MAX: u64 = 16 << 20;

/// One line that says something, and where it is.
#[derive(Debug)]
pub(super) struct Entry {
    pub place: Place,
    pub directive: Directive,
}

#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `None`: command line.
    pub file: Option<Arc<Path>>,
    pub line: u32,
}

#[derive(Debug)]
pub(super) enum Directive {
    /// Patterns, and whether each is negated.
    Host(Vec<(bool, String)>),
    Match(Vec<Criterion>),
    /// The files, in order.
    Include(Vec<Vec<Entry>>),
    Set(Setting),
    /// An error unless `IgnoreUnknown` covers it.
    Unknown(String),
}

/// One checked value.
#[derive(Debug)]
pub(super) struct Setting {
    /// Index in [`KEYWORDS`].
    pub row: usize,
    pub values: Vec<String>,
    pub shown: Vec<Arc<str>>,
    pub origin: Arc<str>,
    pub place: Place,
    /// From the system's file.
    pub system: bool,
}

impl Place {
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        let error = Error::plain(message);
        match &self.file {
            Some(file) => error.at(file, self.line, 0),
            None => Error { message: format!("command-line line 0: {}", error.message), ..error },
        }
    }

    fn origin(&self) -> Arc<str> {
        match &self.file {
            Some(file) => format!("{}:{}", file.display(), self.line).into(),
            None => "command line".into(),
        }
    }
}

/// One line of the command line or of a request.
///
/// # Errors
/// A bad line; `Host`, `Match` and `Include`, which belong into files.
pub(super) fn option_line(text: &str) -> Result<Option<Entry>, Error> {
    let place = Place { file: None, line: 0 };
    let line = lexer::line(text).map_err(|why| place.error(why))?;
    let Some(line) = line else { return Ok(None) };
    if matches!(line.keyword.as_str(), "host" | "match" | "include") {
        let keyword = line.keyword;
        return Err(place.error(format!("{keyword} is not supported as a command-line option")));
    }
    let mut ignored = Vec::new();
    let directive = setting(&line, &place, false, &mut ignored).map_err(|why| place.error(why))?;
    Ok(directive.map(|directive| Entry { place, directive }))
}

/// A file with its includes, read and checked.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(super) entries: Vec<Entry>,
    pub(super) warnings: Vec<Error>,
    pub(super) wants_final: bool,
    /// What it says may be another thing a moment later: a `Match` asks a program or the network.
    pub(super) is_fleeting: bool,
    pub(super) host_names: Vec<String>,
    seen: Seen,
}

impl Parsed {
    /// What was read, included files too.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.seen.files()
    }
}

/// What decides what a file is parsed to, besides its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    pub path: PathBuf,
    mode: Mode,
    home: PathBuf,
    user: String,
    uid: u32,
}

/// Reads a file with its includes.
///
/// # Errors
/// It cannot be read; else every problem in it.
pub(super) fn parse(
    env: &Environment,
    path: &Path,
    mode: Mode,
) -> std::io::Result<Result<Parsed, Vec<Error>>> {
    let mut reader = Reader { env, errors: Vec::new(), looped: false, parsed: Parsed::default() };
    let entries = reader.file(path, mode)?;
    Ok(match reader.errors.is_empty() {
        true => Ok(Parsed { entries, ..reader.parsed }),
        false => Err(reader.errors),
    })
}

impl FileKey {
    pub(super) fn of(env: &Environment, path: &Path, mode: Mode) -> FileKey {
        let (path, home, user) = (path.to_owned(), env.home.clone(), env.user.clone());
        FileKey { path, mode, home, user, uid: env.uid }
    }
}

impl Parsed {
    /// Nothing it was read from has changed.
    pub(crate) fn is_current(&self) -> bool {
        self.seen.is_current()
    }

    /// A change of a file it was read from could not be missed.
    pub(crate) fn is_settled(&self) -> bool {
        self.seen.is_settled()
    }

    /// The files it was read from, but one.
    pub(crate) fn others(&self, but: &Path) -> Vec<String> {
        self.seen.files().filter(|path| *path != but).map(|p| p.display().to_string()).collect()
    }
}

/// What reading finds out.
struct Reader<'e> {
    env: &'e Environment,
    errors: Vec<Error>,
    /// Includes were nested too deep.
    looped: bool,
    parsed: Parsed,
}

/// How one file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mode {
    /// A user's file: `~` in `Include`, relative to `~/.ssh`.
    pub user: bool,
    /// Refuse files that others may write.
    pub guarded: bool,
    pub depth: usize,
}

impl Reader<'_> {
    /// The directives of a file; `None` if there is none or it cannot be used.
    fn file(&mut self, path: &Path, mode: Mode) -> std::io::Result<Vec<Entry>> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        self.parsed.seen.file(path, Some(&metadata));
        let trusted = metadata.uid() == 0 || metadata.uid() == self.env.uid;
        // Writable for a group is fine if it is the owner's own group, as on Debian.
        let others = if metadata.gid() == metadata.uid() { 0o002 } else { 0o022 };
        if mode.guarded && (!trusted || metadata.mode() & others != 0) {
            let shown = path.display();
            self.errors.push(
                Error::plain(format!("bad owner or permissions on {shown}"))
                    .hint(format!("chmod go-w {shown}")),
            );
            return Ok(Vec::new());
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let path: Arc<Path> = path.into();
        let mut entries = Vec::new();
        for (number, text) in (1..).zip(text.split_terminator('\n')) {
            let place = Place { file: Some(Arc::clone(&path)), line: number };
            match self.line(text, &place, mode) {
                Ok(None) => {}
                Ok(Some(directive)) => entries.push(Entry { place, directive }),
                Err(why) => self.errors.push(place.error(why)),
            }
        }
        Ok(entries)
    }

    fn line(&mut self, text: &str, place: &Place, mode: Mode) -> Result<Option<Directive>, String> {
        let Some(line) = lexer::line(text)? else { return Ok(None) };
        match line.keyword.as_str() {
            "host" => self.host(&line).map(Some),
            "match" => self.match_line(&line).map(Some),
            "include" => self.include(&line, mode).map(Some),
            _ => {
                let system = !mode.user;
                let mut warnings = Vec::new();
                let directive = setting(&line, place, system, &mut warnings)?;
                self.parsed.warnings.extend(warnings.into_iter().map(|why| place.error(why)));
                Ok(directive)
            }
        }
    }

    fn host(&mut self, line: &Line<'_>) -> Result<Directive, String> {
        let patterns = words(line)?;
        for pattern in &patterns {
            if is_literal(pattern) && !self.parsed.host_names.contains(pattern) {
                self.parsed.host_names.push(pattern.clone());
            }
        }
        let split = |pattern: String| match pattern.strip_prefix('!') {
            Some(rest) => (true, rest.to_owned()),
            None => (false, pattern),
        };
        Ok(Directive::Host(patterns.into_iter().map(split).collect()))
    }

    fn match_line(&mut self, line: &Line<'_>) -> Result<Directive, String> {
        lexer::words(line.rest).ok_or("invalid quotes")?;
        let criteria = Criterion::parse(line.rest);
        let criteria = criteria.map_err(|why| format!("bad Match condition: {why}"))?;
        let tests = |tests: &[Test]| criteria.iter().any(|c| tests.contains(&c.test));
        self.parsed.wants_final |= tests(&[Test::Final]);
        self.parsed.is_fleeting |= tests(&[Test::Exec, Test::LocalNetwork]);
        Ok(Directive::Match(criteria))
    }

    fn include(&mut self, line: &Line<'_>, mode: Mode) -> Result<Directive, String> {
        // A loop is reported once, not for each of its 2^16 ways.
        if self.looped {
            return Ok(Directive::Include(Vec::new()));
        }
        if mode.depth >= DEPTH_MAX {
            self.looped = true;
            return Err("too many recursive configuration includes".into());
        }
        let inner = Mode { guarded: true, depth: mode.depth + 1, ..mode };
        let mut files = Vec::new();
        for word in words(line)? {
            if word.starts_with('~') && !mode.user {
                return Err(format!("bad include path {word}"));
            }
            let base = if mode.user { "~/.ssh" } else { "/etc/ssh" };
            let anchored =
                if word.starts_with(['/', '~']) { word } else { format!("{base}/{word}") };
            let pattern = tilde(&anchored, self.env)?;
            let paths = expand(&pattern)?;
            self.parsed.seen.pattern(&pattern, &paths);
            for path in paths {
                match self.file(&path, inner) {
                    Ok(entries) => files.push(entries),
                    Err(e) if e.kind() == ErrorKind::NotFound => {
                        self.parsed.seen.file(&path, None);
                    }
                    Err(e) => return Err(format!("include: cannot read {}: {e}", path.display())),
                }
            }
        }
        Ok(Directive::Include(files))
    }
}

/// Any keyword but `Host`, `Match` and `Include`.
fn setting(
    line: &Line<'_>,
    place: &Place,
    system: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Directive>, String> {
    let keyword = line.keyword.as_str();
    let words = lexer::words(line.rest).ok_or("invalid quotes")?;
    if DEPRECATED.contains(&keyword) {
        return Ok(None);
    }
    if UNSUPPORTED.contains(&keyword) {
        warnings.push(format!("unsupported option \"{keyword}\""));
        return Ok(None);
    }
    let Some(row) = find(keyword) else { return Ok(Some(Directive::Unknown(keyword.to_owned()))) };
    let Some(known) = KEYWORDS.get(row) else { return Ok(None) };
    let mut args = Args { keyword, rest: line.rest, words: words.into_iter() };
    let Some(parsed) = known.kind.parse(&mut args)? else { return Ok(None) };
    Ok(Some(Directive::Set(Setting {
        row,
        values: parsed.values,
        shown: parsed.shown.into_iter().map(Arc::from).collect(),
        origin: place.origin(),
        place: place.clone(),
        system,
    })))
}

fn words(line: &Line<'_>) -> Result<Vec<String>, String> {
    let words = lexer::words(line.rest).ok_or("invalid quotes")?;
    match words.iter().any(String::is_empty) {
        true => Err(format!("keyword {} empty argument", line.keyword)),
        false => Ok(words),
    }
}

/// Files that match, sorted; a name without wildcards is itself.
pub(super) fn expand(pattern: &str) -> Result<Vec<PathBuf>, String> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![pattern.into()]);
    }
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let paths = glob::glob_with(pattern, options);
    let paths = paths.map_err(|why| format!("glob failed for {pattern}: {why}"))?;
    Ok(paths.filter_map(Result::ok).collect())
}
