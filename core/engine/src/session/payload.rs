//! What is sent to a node to start a helper or a command: one line that any login shell passes on
//! unharmed to `/bin/sh`.
//!
//! Nothing in it but letters, digits, a few plain marks and octal escapes between single quotes,
//! in words short enough for csh.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const HELPER: &str = include_str!("helper.sh");
const OUTER: &str = include_str!("outer.sh");
const INNER: &str = include_str!("inner.sh");

/// csh takes no word of more than 1024 bytes.
const WORD: usize = 900;
/// A longer line is no argument on Linux (128 KiB).
pub(super) const LONGEST_LINE: usize = 96 * 1024;

/// What a helper is told.
pub(super) struct HelperStart<'a> {
    pub nonce: &'a str,
    /// A directory of before, with jobs in it.
    pub adopt: &'a str,
    /// Where the helper of a connection that was lost has been: what it may have left is ended.
    pub before: &'a str,
    pub shell: &'a str,
    /// `login`, `plain` or `none`.
    pub snapshot: &'a str,
    pub cwd: &'a str,
    pub exclude: &'a [String],
}

impl HelperStart<'_> {
    pub(super) fn line(&self) -> String {
        let inner = code(INNER).replace("@EXCLUDED@", &self.exclude.join(" "));
        let around = code(OUTER).replace("@INNER@", &inner.replace('\'', "'\\''"));
        bootstrap(&format!(
            "Z={} A={} R={} Y={} V={} C={} O={}\n{}",
            self.nonce,
            quote(self.adopt),
            quote(self.before),
            quote(self.shell),
            self.snapshot,
            quote(self.cwd),
            quote(&around),
            code(HELPER)
        ))
    }
}

/// What a command is started with; see `outer.sh`.
pub(super) struct Start<'a> {
    pub dir: &'a str,
    pub shell: &'a str,
    pub kind: &'a str,
    pub number: u64,
    pub update: bool,
    pub state_file: &'a str,
    pub cwd: &'a [u8],
    /// Empty: in the file `NUMBER.in`.
    pub command: &'a str,
    /// Code before and after it, for its own environment.
    pub env: (&'a str, &'a str),
    /// `d`, `k` or `b`.
    pub fate: char,
    /// Whose stable path to the agent it gets; empty: the connection's own socket.
    pub stable: &'a str,
    /// It has a terminal: its streams are one.
    pub terminal: bool,
    /// What marks its processes, if they are to be found when they leave its group.
    pub mark: &'a str,
    pub watchdog_s: u64,
    pub nonce: &'a str,
}

impl Start<'_> {
    pub(super) fn line(&self) -> String {
        bootstrap(&format!(
            "J= S={} K={} D={} N={} M={} F={} W={} X={} E={} P={} G={} T={} L={} Z={} U={} Q={}\n. \"$D/o\"",
            quote(self.shell),
            self.kind,
            quote(self.dir),
            self.number,
            if self.update { 'u' } else { 'r' },
            self.state_file,
            quote_bytes(self.cwd),
            quote(self.command),
            quote(self.env.0),
            quote(self.env.1),
            self.fate,
            self.stable,
            self.watchdog_s,
            self.nonce,
            if self.terminal { "t" } else { "" },
            self.mark
        ))
    }
}

/// Code that sets variables before a command, and code that puts back what was there.
pub(super) fn env<'a>(vars: impl Iterator<Item = (&'a String, &'a String)>) -> (String, String) {
    let (mut before, mut after) = (String::new(), String::new());
    for (name, value) in vars {
        // Writing to a String cannot fail.
        let _ = writeln!(
            before,
            "[ -n \"${{{name}+x}}\" ] && __o_{name}=${name}; \"$__b\" export {name}={}",
            quote(value)
        );
        let _ = writeln!(
            after,
            "if [ -n \"${{__o_{name}+x}}\" ]; then \"$__b\" export {name}=\"$__o_{name}\"; else \"$__b\" unset {name}; fi"
        );
    }
    (before, after)
}

/// Code that exports variables.
pub(super) fn exports(vars: &BTreeMap<String, String>) -> String {
    let line = |(name, value): (&String, &String)| format!("export {name}={}\n", quote(value));
    vars.iter().map(line).collect()
}

/// A name every shell takes for a variable.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// One word for sh.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// One word for sh that need not be text: what is not comes from printf.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut word = String::new();
    for part in bytes.utf8_chunks() {
        word.push_str(&quote(part.valid()));
        if !part.invalid().is_empty() {
            let octal = part.invalid().iter().map(|byte| format!("\\{byte:03o}"));
            word.push_str(&format!("\"$(printf '{}')\"", octal.collect::<String>()));
        }
    }
    word
}

/// A script without its comments.
fn code(script: &str) -> String {
    script.lines().filter(|l| !l.starts_with('#')).flat_map(|l| [l, "\n"]).collect()
}

/// sh code as a command line for any login shell.
pub(crate) fn bootstrap(code: &str) -> String {
    let mut line =
        "exec /bin/sh -c 'P=;for a do P=$P$a;done;eval \"$(printf %b \"$P\")\"' sh '".to_owned();
    let mut length = 0;
    for byte in code.bytes() {
        if length > WORD {
            line.push_str("' '");
            length = 0;
        }
        if byte.is_ascii_alphanumeric() || b" _./=,:".contains(&byte) {
            line.push(char::from(byte));
            length += 1;
        } else {
            let _ = write!(line, "\\0{byte:03o}");
            length += 5;
        }
    }
    line.push('\'');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_shell_passes_a_line_on() {
        let text = "it's \"$HOME\" `x` \\ !! ü\n\ttab  end ".repeat(60);
        for shell in ["sh", "bash", "zsh", "ksh93", "mksh", "fish", "csh"] {
            let line = bootstrap(&format!("printf %s {}", quote(&text)));
            let run = std::process::Command::new(shell).arg("-c").arg(&line).output();
            let out = run.unwrap_or_else(|e| panic!("{shell}: {e}; apt-get install it"));
            assert_eq!(String::from_utf8_lossy(&out.stdout), text, "{shell}");
        }
    }

    #[test]
    fn names_are_names() {
        for (name, want) in [("A", true), ("_a1", true), ("", false), ("1a", false), ("a-b", false)]
        {
            assert_eq!(is_name(name), want, "{name}");
        }
    }
}
