//! `sessions:` — named shells, and how they begin: for `bssh run -S NAME` and `bssh repl`.

use super::Config;
use super::nearest;
use super::reader::{Field, Reader};
use super::schema::put;
use crate::error::Error;
use crate::yaml::{Kind, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// One session. What a request says itself goes first; `None`: the usual.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Its nodes.
    pub target: String,
    /// By its path on the node.
    pub shell: Option<String>,
    /// Where it begins.
    pub cwd: Option<String>,
    /// It begins with what a command over ssh has, not with what a login shell has.
    pub plain: bool,
    /// Variables it begins with.
    pub env: BTreeMap<String, String>,
    /// Variables no command gets.
    pub env_exclude: Vec<String>,
    /// What has changed here is sent before a command runs.
    pub sync: Vec<String>,
    pub forward_agent: bool,
    /// A command whose connection is lost goes on.
    pub keep: bool,
    /// Of each command; zero: none.
    pub timeout: Option<Duration>,
    /// From TERM to KILL.
    pub kill_grace: Option<Duration>,
    /// Bytes shown of each stream.
    pub max_output: Option<u64>,
    /// Bytes of whole streams in files here.
    pub spool: Option<u64>,
    /// Names in `sync` that are none, found when everything has been read: each as a problem.
    pub(super) unknown: Vec<(String, Error)>,
}

const SESSION: &[Field<Session>] = &[
    Field { name: "target", read: |s, v, r| put(&mut s.target, r.expanded(v)) },
    Field { name: "shell", read: |s, v, r| s.shell = absolute(v, r) },
    Field { name: "cwd", read: |s, v, r| s.cwd = r.text(v) },
    Field { name: "snapshot", read: |s, v, r| put(&mut s.plain, r.choice(v, SNAPSHOT)) },
    Field { name: "env", read: |s, v, r| s.env = env(v, r) },
    Field { name: "env_exclude", read: |s, v, r| s.env_exclude = r.list(v, variable) },
    Field { name: "sync", read: syncs },
    Field { name: "forward_agent", read: |s, v, r| put(&mut s.forward_agent, r.flag(v)) },
    Field { name: "on_disconnect", read: |s, v, r| put(&mut s.keep, r.choice(v, FATES)) },
    Field { name: "timeout", read: |s, v, r| s.timeout = r.duration(v) },
    Field { name: "kill_grace", read: |s, v, r| s.kill_grace = r.duration(v) },
    Field { name: "max_output", read: |s, v, r| s.max_output = bytes(v, r) },
    Field { name: "spool", read: |s, v, r| s.spool = bytes(v, r) },
];

const SNAPSHOT: &[(&str, bool)] = &[("login", false), ("plain", true)];
const FATES: &[(&str, bool)] = &[("kill", false), ("keep", true)];

/// A shell by its name could be any file of that name.
fn absolute(v: &Value, r: &mut Reader<'_>) -> Option<String> {
    let path = r.text(v)?;
    if !path.starts_with('/') {
        r.expected("the shell's whole path on the node", v);
        return None;
    }
    Some(path)
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn variable(r: &mut Reader<'_>, v: &Value) -> Option<String> {
    let name = v.text().filter(|name| is_variable(name));
    if name.is_none() {
        r.expected("the name of a variable", v);
    }
    name.map(str::to_owned)
}

/// Variables and their values, in which ours are expanded.
fn env(v: &Value, r: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(entries) = v.entries() else {
        r.expected("a map of variables", v);
        return env;
    };
    for (key, value) in entries {
        if !is_variable(&key.text) {
            let at = Value { line: key.line, column: key.column, kind: Kind::Null };
            r.problem(&at, format!("\"{}\" is no name of a variable", key.text.escape_debug()));
            continue;
        }
        let value = match value.text() {
            Some("") => Some(String::new()),
            _ => r.expanded(value),
        };
        env.extend(value.map(|value| (key.text.clone(), value)));
    }
    env
}

/// Bytes (`65536`), or with a unit of 1024 (`64K`, `10M`, `1G`).
fn bytes(v: &Value, r: &mut Reader<'_>) -> Option<u64> {
    let parsed = v.text().and_then(|text| {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(digits.len()..)? {
            "" => 1,
            "K" | "k" => 1 << 10,
            "M" | "m" => 1 << 20,
            "G" | "g" => 1 << 30,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(unit)
    });
    if parsed.is_none() {
        r.expected("bytes like 65536, 64K, 10M or 1G", v);
    }
    parsed
}

fn syncs(session: &mut Session, v: &Value, r: &mut Reader<'_>) {
    let mut unknown = Vec::new();
    session.sync = r.list(v, |r, v| {
        let name = r.text(v)?;
        let message = format!("no sync is called \"{}\"", name.escape_debug());
        unknown.push((name.clone(), r.place(v.line, v.column, message)));
        Some(name)
    });
    session.unknown = unknown;
}

/// The value of `sessions:`.
pub(super) fn sessions(config: &mut Config, v: &Value, r: &mut Reader<'_>) {
    let Some(entries) = v.entries() else { return r.expected("a map of sessions", v) };
    for (key, value) in entries {
        let at = Value { line: key.line, column: key.column, kind: Kind::Null };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if key.text.is_empty() || !key.text.chars().all(plain) {
            r.problem(&at, format!("\"{}\" cannot be a session's name", key.text.escape_debug()));
            continue;
        }
        let mut session = Session::default();
        r.table(&mut session, value, SESSION);
        if session.target.is_empty() {
            r.problem(&at, "a session needs \"target\"");
            continue;
        }
        config.sessions.insert(key.text.clone(), session);
    }
}

/// Syncs that sessions name and no place has.
pub(super) fn check(config: &Config) -> Vec<Error> {
    let named = config.sessions.values().flat_map(|session| &session.unknown);
    let missing = named.filter(|(name, _)| !config.sync.contains_key(name));
    let problem = |(name, error): &(String, Error)| {
        let near = nearest(name, config.sync.keys().map(String::as_str));
        match near {
            Some(near) => error.clone().hint(format!("did you mean \"{near}\"?")),
            None => error.clone().hint("sync: names them"),
        }
    };
    missing.map(problem).collect()
}
