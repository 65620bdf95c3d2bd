//! The process environment as a value: below the frontends nobody asks the operating system.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
}

impl Environment {
    /// A variable's value, if it is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}
