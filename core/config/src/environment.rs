//! The process environment as a value: below the frontends nobody asks the operating system.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Who runs the command, where, with which variables. Captured once at the edge.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub home: PathBuf,
    pub cwd: PathBuf,
    /// Login name of the local user.
    pub user: String,
    pub uid: u32,
    /// This machine's host name, as `gethostname` gives it.
    pub hostname: String,
    /// The environment variables.
    pub vars: BTreeMap<String, String>,
    /// It is another process's: relative paths and child processes must be told.
    pub borrowed: bool,
}

impl Environment {
    /// A path as this environment means it.
    pub fn here(&self, path: impl AsRef<Path>) -> PathBuf {
        match self.borrowed {
            true => self.cwd.join(path),
            false => path.as_ref().to_owned(),
        }
    }

    /// What a child process needs to know: where it runs, and its variables.
    pub fn for_children(&self) -> Option<(PathBuf, BTreeMap<String, String>)> {
        self.borrowed.then(|| (self.cwd.clone(), self.vars.clone()))
    }

    /// A variable's value, if it is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}
