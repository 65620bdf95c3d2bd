//! Where the configuration is, and what is stronger than what.
//!
//! Strongest first: `--config FILE` or `BSSH_CONFIG` (then no other file is read) · Backend.AI's
//! environment · `./config.yaml` · `$XDG_CONFIG_HOME/bssh/config.yaml` or
//! `~/.config/bssh/config.yaml`; `BSSH_*` variables override single values of all of them. The
//! places lie on top of each other key by key; a cluster is taken whole from the strongest one.
//!
//! Other programs have a `./config.yaml`, too: one that is not ours by its keys is left alone with
//! a warning. It is ours if `clusters` is a map, or if at least half of its keys are ours.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::schema::TOP;
use super::{Config, nearest, overrides, sessions};
use crate::environment::Environment;
use crate::error::Error;
use crate::sources::backend_ai;
use crate::yaml::{Kind, Value, parse};

/// A larger configuration is a mistake.
const MAX_SIZE: u64 = 16 << 20;

/// Reads every place; `explicit` is `--config`.
///
/// # Errors
/// All problems of all places.
pub(crate) fn load(env: &Environment, explicit: Option<&Path>) -> Result<Config, Vec<Error>> {
    let mut config = Config::default();
    let mut problems = Vec::new();
    let explicit =
        explicit.map(Path::to_owned).or_else(|| env.var("BSSH_CONFIG").map(PathBuf::from));
    if explicit.is_none() {
        let directory = match env.var("XDG_CONFIG_HOME").filter(|dir| dir.starts_with('/')) {
            Some(dir) => PathBuf::from(dir),
            None => env.home.join(".config"),
        };
        let user =
            Place { file: directory.join("bssh/config.yaml"), required: false, shared: false };
        user.read_into(&mut config, env, &mut problems);
        let here = Place { file: env.cwd.join("config.yaml"), required: false, shared: true };
        if here.file != user.file {
            here.read_into(&mut config, env, &mut problems);
        }
    }
    backend_ai::add_cluster(env, &mut config);
    if let Some(file) = explicit {
        let file = Place { file: env.cwd.join(file), required: true, shared: false };
        file.read_into(&mut config, env, &mut problems);
    }
    config.files.reverse();
    problems.extend(overrides::apply(&mut config, env));
    problems.extend(check_default(&config));
    problems.extend(sessions::check(&config));
    config.warnings.extend(config.without_effect());
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

struct Place {
    file: PathBuf,
    /// A missing file is an error.
    required: bool,
    /// The name is used by other programs.
    shared: bool,
}

impl Place {
    fn read_into(&self, config: &mut Config, env: &Environment, problems: &mut Vec<Error>) {
        match self.read() {
            Ok(Found::Nothing) => {}
            Ok(Found::Foreign(why)) => {
                let why = format!("not a bssh configuration ({why}), not read");
                config.warnings.push(Error::plain(why).at(&self.file, 0, 0));
            }
            Ok(Found::Ours(value)) => {
                let mut reader = Reader::of_file(&self.file, env);
                reader.table(config, &value, TOP);
                problems.append(&mut reader.problems);
                config.warnings.append(&mut reader.warnings);
                config.files.push(self.file.clone());
            }
            Err(error) => problems.push(error),
        }
    }

    fn read(&self) -> Result<Found, Error> {
        let text = match read_text(&self.file, MAX_SIZE) {
            Ok(Some(text)) => text,
            Ok(None) if self.required => {
                return Err(Error::plain("no such file").at(&self.file, 0, 0));
            }
            Ok(None) => return Ok(Found::Nothing),
            Err(_) if self.shared => return Ok(Found::Foreign("cannot be read".into())),
            Err(error) => return Err(error),
        };
        match parse(&self.file, &text) {
            Ok(value) if self.shared && !is_ours(&value) => {
                Ok(Found::Foreign("none of its keys is known".into()))
            }
            Ok(value) => Ok(Found::Ours(value)),
            Err(error) if self.shared && !text.lines().any(|l| l.starts_with("clusters:")) => {
                Ok(Found::Foreign(error.message))
            }
            Err(error) => Err(error),
        }
    }
}

enum Found {
    Nothing,
    Foreign(String),
    Ours(Value),
}

fn is_ours(value: &Value) -> bool {
    let Some(entries) = value.entries() else { return false };
    let known = entries.iter().filter(|(key, _)| TOP.iter().any(|f| f.name == key.text)).count();
    let clusters = value.get("clusters").is_some_and(|v| matches!(v.kind, Kind::Map(_)));
    clusters || 2 * known >= entries.len()
}

fn check_default(config: &Config) -> Option<Error> {
    let name = config.default_cluster.as_ref()?;
    if config.clusters.contains_key(name) {
        return None;
    }
    let error = config.default_missing.clone()?;
    Some(match nearest(name, config.clusters.keys().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean \"{near}\"?")),
        None => error,
    })
}

/// The text of a file that may be missing, which must be UTF-8 and not larger than `max` bytes.
pub(crate) fn read_text(file: &Path, max: u64) -> Result<Option<String>, Error> {
    let wrong = |why: String| Error::plain(why).at(file, 0, 0);
    let missing = |e: &std::io::Error| {
        matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
    };
    let open = match std::fs::File::open(file) {
        Ok(open) => open,
        Err(e) if missing(&e) => return Ok(None),
        Err(e) => return Err(wrong(format!("cannot be opened: {e}"))),
    };
    let mut bytes = Vec::new();
    match open.take(max + 1).read_to_end(&mut bytes) {
        Ok(n) if n as u64 > max => return Err(wrong(format!("larger than {max} bytes"))),
        Ok(_) => {}
        Err(e) => return Err(wrong(format!("cannot be read: {e}"))),
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(e) => {
            let good = e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default();
            let line = good.iter().filter(|b| **b == b'\n').count() as u32 + 1;
            Err(Error::plain("not UTF-8").at(file, line, 0))
        }
    }
}
