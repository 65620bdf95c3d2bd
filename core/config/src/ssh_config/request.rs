//! The door: which files, which destination, which options; and the calls that answer.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::canonical::canonicalize;
use super::destination::check_names;
use super::eval::{Chosen, Evaluation, Executed};
use super::finish;
use super::options::HostOptions;
use super::reader::{Entry, FileKey, Mode, Parsed, option_line, parse};
use crate::clusters::Cache;
use crate::environment::Environment;
use crate::error::Error;
use crate::node::Destination;

/// The system's file.
const SYSTEM: &str = "/etc/ssh/ssh_config";

/// Which files are read, as `-F` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ConfigFile {
    /// `~/.ssh/config`, then `/etc/ssh/ssh_config`; either may be missing.
    #[default]
    Default,
    /// `-F none`.
    None,
    /// `-F FILE`; must exist, and no other file is read.
    File(PathBuf),
}

/// The files of one [`ConfigFile`], read, split into directives and checked.
#[derive(Debug)]
pub struct SshConfig {
    env: Environment,
    files: Vec<Arc<Parsed>>,
    defaults: HostOptions,
    warnings: Vec<Error>,
    host_names: Vec<String>,
    executed: Executed,
}

/// Which files were read. Equal as long as nothing in them has changed and they are remembered.
#[derive(Debug, Clone)]
pub struct FilesRead(Vec<Arc<Parsed>>);

impl PartialEq for FilesRead {
    fn eq(&self, other: &FilesRead) -> bool {
        let same = |(a, b): (&Arc<Parsed>, &Arc<Parsed>)| Arc::ptr_eq(a, b);
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

/// What a name was found as, for `CanonicalizeHostname`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The canonical name of a CNAME chain, if there is one.
    pub cname: Option<String>,
}

/// What is known about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Found(Found),
    Missing,
    /// Not asked yet: the evaluation ends with an error, and is to be made again.
    Pending,
}

/// Resolves a name (of a domain: fully qualified, with a dot at the end).
pub type Lookup<'a> = dyn Fn(&str) -> Answer + 'a;

/// One destination to evaluate the files for. Lines are `Keyword=value` or `Keyword value`, as
/// after `-o`. For each keyword the first value wins, in the order of the fields below.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Command-line options, in order: `-o` lines, `-p` as `Port=…`, `-l` as `User=…` and so on.
    pub options: &'a [String],
    /// The destination; its user and port are weaker than `options`, stronger than the rest.
    pub destination: &'a Destination,
    /// Lines stronger than the files (a cluster's settings for the node).
    pub overrides: &'a [String],
    /// Lines weaker than the files (bssh's own defaults).
    pub defaults: &'a [String],
    /// The remote command, for `Match command` and the checks ssh does with it.
    pub command: Option<&'a str>,
    /// Looks a name up for `CanonicalizeHostname`; `None`: names are not canonicalised.
    pub lookup: Option<&'a Lookup<'a>>,
    /// For `-G` and `explain`: refused keywords are only reported in `origins`.
    pub explain: bool,
}

impl<'a> Request<'a> {
    /// Only a destination.
    pub fn new(destination: &'a Destination) -> Request<'a> {
        Request {
            options: &[],
            destination,
            overrides: &[],
            defaults: &[],
            command: None,
            lookup: None,
            explain: false,
        }
    }
}

impl SshConfig {
    /// Reads the files, following `Include`.
    ///
    /// # Errors
    /// Every problem of every file: unreadable, bad owner or permissions, bad lines.
    pub fn load(env: &Environment, file: &ConfigFile) -> Result<SshConfig, Vec<Error>> {
        let limits = env.caching()?.ssh_config;
        let own = env.home.join(".ssh/config");
        let user = Mode { user: true, guarded: true, depth: 0 };
        let places = match file {
            ConfigFile::None => Vec::new(),
            ConfigFile::File(path) => vec![(path.as_path(), Mode { guarded: false, ..user })],
            ConfigFile::Default => vec![
                (own.as_path(), user),
                (Path::new(SYSTEM), Mode { user: false, guarded: false, depth: 0 }),
            ],
        };
        let (mut files, mut errors, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for (path, mode) in places {
            match remembered(env, path, mode, limits) {
                Ok(Ok(parsed)) => files.push(parsed),
                Ok(Err(problems)) => errors.extend(problems),
                Err(e) => {
                    let why = Error::plain(format!("cannot read {}: {e}", path.display()));
                    match (file, e.kind()) {
                        (ConfigFile::File(_), _) => errors.push(why),
                        (_, ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                        // As ssh, which goes on without.
                        _ => warnings.push(why),
                    }
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut host_names: Vec<String> = Vec::new();
        for file in &files {
            warnings.extend_from_slice(&file.warnings);
            let new: Vec<_> =
                file.host_names.iter().filter(|name| !host_names.contains(name)).cloned().collect();
            host_names.extend(new);
        }
        let (env, defaults, executed) = (env.clone(), finish::defaults(env), Executed::default());
        Ok(SshConfig { env, files, defaults, warnings, host_names, executed })
    }

    /// The effective options of one destination.
    ///
    /// # Errors
    /// Bad lines in the request, unknown keywords, values that cannot be expanded, refused
    /// keywords, a host or user name that is not safe.
    pub fn resolve(&self, request: &Request<'_>) -> Result<HostOptions, Vec<Error>> {
        let mut errors = Vec::new();
        let options = option_lines(request.options, &mut errors);
        let named = option_lines(&named(request.destination), &mut errors);
        let overrides = option_lines(request.overrides, &mut errors);
        let weak = option_lines(request.defaults, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut evaluation = Evaluation {
            env: &self.env,
            request: *request,
            chosen: Chosen::default(),
            final_host: None,
            errors: Vec::new(),
            applied: Vec::new(),
            executed: &self.executed,
        };
        evaluation.lines(&options);
        evaluation.lines(&named);
        check_names(&request.destination.host, evaluation.chosen.value("user"))
            .map_err(|why| vec![Error::plain(why)])?;
        evaluation.lines(&overrides);
        self.files.iter().for_each(|file| evaluation.file(&file.entries));
        let host = evaluation.host().map_err(|e| vec![e])?;
        let (host, again) =
            canonicalize(&evaluation, host).map_err(|why| vec![Error::plain(why)])?;
        if again || self.files.iter().any(|file| file.wants_final) {
            evaluation.start_final(host.clone());
            // What was wrong in the first pass is not wrong twice.
            let n_errors = evaluation.errors.len();
            self.files.iter().for_each(|file| evaluation.file(&file.entries));
            if n_errors > 0 {
                evaluation.errors.truncate(n_errors);
            }
        }
        evaluation.lines(&weak);
        finish::finish(evaluation, &self.defaults, host)
    }

    /// The files, if what they say of a destination depends on nothing but them, the request and
    /// the environment, and on names that were looked up.
    pub fn lasting(&self) -> Option<FilesRead> {
        let fleeting = self.files.iter().any(|file| file.is_fleeting);
        (!fleeting).then(|| FilesRead(self.files.clone()))
    }

    /// Names in `Host` lines that are not patterns, each once, in order: for `@ssh:` and completion.
    pub fn host_names(&self) -> &[String] {
        &self.host_names
    }

    /// The files that were read, included ones too.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().flat_map(|file| file.paths())
    }

    /// What is odd but not wrong, and what ssh warns about.
    pub fn warnings(&self) -> &[Error] {
        &self.warnings
    }
}

/// A file, as it was read before if nothing has changed since.
fn remembered(
    env: &Environment,
    path: &Path,
    mode: Mode,
    limits: Cache,
) -> std::io::Result<Result<Arc<Parsed>, Vec<Error>>> {
    if !limits.enabled {
        return Ok(parse(env, path, mode)?.map(Arc::new));
    }
    let key = FileKey::of(env, path, mode);
    if let Some(parsed) = env.memory.file(&key, limits) {
        return Ok(Ok(parsed));
    }
    let parsed = parse(env, path, mode)?.map(Arc::new);
    if let Ok(parsed) = &parsed {
        env.memory.keep_file(key, parsed, limits);
    }
    Ok(parsed)
}

fn option_lines(lines: &[String], errors: &mut Vec<Error>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(lines.len());
    for line in lines {
        match option_line(line) {
            Ok(entry) => entries.extend(entry),
            Err(e) => errors.push(e),
        }
    }
    entries
}

/// What the destination says, as lines.
fn named(destination: &Destination) -> Vec<String> {
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let user = destination.user.as_ref().map(|user| format!("User \"{}\"", quote(user)));
    let port = destination.port.map(|port| format!("Port {port}"));
    user.into_iter().chain(port).collect()
}
