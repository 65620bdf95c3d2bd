//! The environment variables of the line CLI, read once and in one place. What concerns the core
//! (`BSSH_CONNECT_TIMEOUT`, `SSH_AUTH_SOCK`, …) is the core's to read.

use crate::ssh::Background;
use bssh_protocol::auth::Secret;
use std::ffi::OsString;
use std::path::PathBuf;

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// `NO_COLOR`
    pub no_color: bool,
    /// `CLICOLOR_FORCE`
    pub force_color: bool,
    /// `TERM`
    pub term: String,
    /// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is not empty.
    pub locale: String,
    /// `SSH_ASKPASS`
    pub askpass: Option<OsString>,
    /// `SSH_ASKPASS_REQUIRE`
    pub askpass_require: String,
    /// `DISPLAY` or `WAYLAND_DISPLAY` is set.
    pub display: bool,
    /// `BSSH_PASSWORD`
    pub password: Option<Secret>,
    /// `BSSH_CORE`: another core than this executable.
    pub core: Option<PathBuf>,
    /// `BSSH_PERSIST`
    pub persist: String,
    /// `XDG_STATE_HOME`, or `.local/state` in the home directory.
    pub state: Option<PathBuf>,
    /// `HOME`
    pub home: Option<PathBuf>,
    /// `SHELL`
    pub shell: Option<OsString>,
    /// `BSSH_BACKGROUND`
    pub background: Background,
}

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn capture() -> Self {
        Environment::from(|name| {
            #[allow(clippy::disallowed_methods, reason = "the one place where the CLI reads it")]
            std::env::var_os(name).filter(|value| !value.is_empty())
        })
    }

    /// A copy of this process would not become our core, or has a password that a core must not have.
    pub(crate) fn wants_no_copy(&self) -> bool {
        let other = self.core.is_some() || !self.persist.is_empty();
        other || self.background == Background::Hold || self.password.is_some()
    }

    fn from(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| get(name).and_then(|v| v.into_string().ok());
        let first = |names: &[&str]| names.iter().find_map(|n| text(n)).unwrap_or_default();
        Environment {
            no_color: get("NO_COLOR").is_some(),
            force_color: get("CLICOLOR_FORCE").is_some_and(|v| v != "0"),
            term: first(&["TERM"]),
            locale: first(&["LC_ALL", "LC_CTYPE", "LANG"]),
            askpass: get("SSH_ASKPASS"),
            askpass_require: first(&["SSH_ASKPASS_REQUIRE"]),
            display: get("DISPLAY").or_else(|| get("WAYLAND_DISPLAY")).is_some(),
            password: text("BSSH_PASSWORD").map(Secret::new),
            core: get("BSSH_CORE").map(PathBuf::from),
            persist: first(&["BSSH_PERSIST"]),
            state: get("XDG_STATE_HOME")
                .map(PathBuf::from)
                .or_else(|| Some(PathBuf::from(get("HOME")?).join(".local/state"))),
            home: get("HOME").map(PathBuf::from),
            shell: get("SHELL"),
            background: Background::of(&get),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_says_something_counts() {
        let get = |name: &str| match name {
            "LANG" => Some("C.UTF-8".into()),
            "CLICOLOR_FORCE" => Some("0".into()),
            _ => None,
        };
        let environment = Environment::from(get);
        assert_eq!(environment.locale, "C.UTF-8");
        assert!(!environment.force_color && !environment.no_color);
    }
}
