//! The process environment as a value: below the frontends nobody asks the operating system.

use crate::clusters::Caching;
use crate::error::Error;
use crate::memory::Memory;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
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
    /// Permission bits that new files do not get; none: as this process's own umask has it.
    pub umask: Option<u32>,
    /// It is another process's: relative paths and child processes must be told.
    pub borrowed: bool,
    /// What was read before in its name.
    pub memory: Memory,
}

impl Environment {
    /// The same for the same person, place and variables, whatever is remembered of them.
    pub fn digest(&self, by: &impl BuildHasher) -> u64 {
        let Environment { home, cwd, user, uid, hostname, vars, umask, borrowed, memory: _ } = self;
        by.hash_one((home, cwd, user, uid, hostname, vars, umask, borrowed))
    }

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

    /// What `BSSH_CACHE_*` and `BSSH_ENV_CACHE_*` say.
    ///
    /// # Errors
    /// Variables that cannot be read.
    pub fn caching(&self) -> Result<Caching, Vec<Error>> {
        Caching::of(self)
    }

    /// A variable's value for an expansion, as the environment cache has it.
    pub(crate) fn remembered(&self, name: &str) -> Option<String> {
        // What is wrong with the limits is said where files are read.
        let caching = self.memory.caching(|| Caching::of(self).unwrap_or_default());
        self.memory.variable(name, caching.environment, || self.vars.get(name).cloned())
    }

    /// Where what we remember is: `$XDG_STATE_HOME/bssh`, or below `~/.local/state`.
    pub fn state(&self) -> PathBuf {
        let usual = || self.home.join(".local/state");
        self.var("XDG_STATE_HOME").map_or_else(usual, PathBuf::from).join("bssh")
    }

    /// The person's shell, for commands they have written.
    pub fn shell(&self) -> &str {
        self.var("SHELL").unwrap_or("/bin/sh")
    }

    /// A variable's value, if it is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}
