//! Expansion of `%` tokens, `${VARIABLE}` and `~` in values.
//!
//! `man ssh_config`, section TOKENS, says which keyword takes which tokens; the callers pass them
//! as a string of letters. Unknown tokens and unset variables are errors, as in ssh.

use std::fmt::Write;

use super::sha1;
use crate::environment::Environment;

/// The tokens most keywords take.
pub(super) const USUAL: &str = "CLdhijklnpru";

/// What the tokens stand for, for one destination.
pub(super) struct Tokens<'a> {
    pub env: &'a Environment,
    /// `%h`
    pub host: &'a str,
    /// `%n`
    pub original: &'a str,
    /// `%p`
    pub port: u16,
    /// `%r`
    pub user: &'a str,
    /// `%k`
    pub key_alias: &'a str,
    /// `%j`, as written: `user@host:port`, or empty.
    pub jump: &'a str,
}

impl Tokens<'_> {
    /// Expands the tokens in `letters`. A `%` before a letter of `kept` stays, and so does `%%`
    /// then, so that the caller can expand those later.
    ///
    /// # Errors
    /// A token that is not known here, a `%` at the end.
    pub(super) fn percent(&self, text: &str, letters: &str, kept: &str) -> Result<String, String> {
        if !text.contains('%') {
            return Ok(text.to_owned());
        }
        let mut out = String::with_capacity(text.len() + 32);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') => out.push_str(if kept.is_empty() { "%" } else { "%%" }),
                Some(letter) if letters.contains(letter) => {
                    let from = out.len();
                    self.push(letter, &mut out);
                    if !kept.is_empty() {
                        let escaped = out.split_off(from).replace('%', "%%");
                        out.push_str(&escaped);
                    }
                }
                Some(letter) if kept.contains(letter) => out.extend(['%', letter]),
                Some(letter) => return Err(format!("unknown token %{letter} in \"{text}\"")),
                None => return Err(format!("\"{text}\" ends with a lone %")),
            }
        }
        Ok(out)
    }

    /// `~`, then tokens, then variables: paths.
    ///
    /// # Errors
    /// As [`Tokens::percent`] and [`variables`]; a `~user` that is not known.
    pub(super) fn path(&self, text: &str) -> Result<String, String> {
        let text = tilde(text, self.env)?;
        if !text.contains(['%', '$']) {
            return Ok(text);
        }
        // One pass in ssh: what a token or a variable stands for is not expanded again.
        let mut out = String::with_capacity(text.len() + 32);
        let mut rest = text.as_str();
        while let Some(at) = rest.find("${") {
            let (head, tail) = rest.split_at(at);
            out.push_str(&self.percent(head, USUAL, "")?);
            let end = tail.find('}').ok_or_else(|| unclosed(tail))?;
            let (variable, after) = tail.split_at(end + 1);
            out.push_str(&variables(variable, self.env)?);
            rest = after;
        }
        out.push_str(&self.percent(rest, USUAL, "")?);
        Ok(out)
    }

    fn push(&self, letter: char, out: &mut String) {
        match letter {
            'C' => out.push_str(&self.connection_hash()),
            'L' => out.push_str(self.env.hostname.split('.').next().unwrap_or_default()),
            'd' => out.push_str(&self.env.home.to_string_lossy()),
            'h' => out.push_str(self.host),
            'i' => push_number(out, self.env.uid),
            'j' => out.push_str(self.jump),
            'k' => out.push_str(self.key_alias),
            'l' => out.push_str(&self.env.hostname),
            'n' => out.push_str(self.original),
            'p' => push_number(out, self.port.into()),
            'r' => out.push_str(self.user),
            'T' => out.push_str("NONE"),
            'u' => out.push_str(&self.env.user),
            _ => {}
        }
    }

    /// `%C`: SHA-1 of local host, host, port, user (and jump host since OpenSSH 9.6, when any).
    fn connection_hash(&self) -> String {
        let text =
            format!("{}{}{}{}{}", self.env.hostname, self.host, self.port, self.user, self.jump);
        sha1::hex(text.as_bytes())
    }
}

/// Expands `${NAME}`.
///
/// # Errors
/// A variable that is not set, `${` without `}`.
pub(super) fn variables(text: &str, env: &Environment) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once("${") {
        out.push_str(head);
        let (name, after) = tail.split_once('}').ok_or_else(|| unclosed(tail))?;
        let value = env.remembered(name);
        out.push_str(&value.ok_or_else(|| format!("environment variable {name} is not set"))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Checks `${NAME}` without needing the variables.
///
/// # Errors
/// `${` without `}`, an empty name.
pub(super) fn check_variables(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some((_, tail)) = rest.split_once("${") {
        match tail.split_once('}') {
            Some((name, after)) if !name.is_empty() => rest = after,
            _ => return Err(unclosed(tail)),
        }
    }
    Ok(())
}

/// Expands `~` and `~/…` to the home directory, `~user/…` to that of a user in `/etc/passwd`.
///
/// # Errors
/// There is no such user.
pub(super) fn tilde(text: &str, env: &Environment) -> Result<String, String> {
    let Some(rest) = text.strip_prefix('~') else { return Ok(text.to_owned()) };
    let (user, path) = rest.split_once('/').unwrap_or((rest, ""));
    let home = match user {
        "" => env.home.to_string_lossy(),
        _ if user == env.user => env.home.to_string_lossy(),
        _ => home_of(user).ok_or_else(|| format!("no user {user} in /etc/passwd"))?.into(),
    };
    let slash = if home.ends_with('/') { "" } else { "/" };
    Ok(format!("{home}{slash}{}", path.trim_start_matches('/')))
}

fn home_of(user: &str) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut lines = passwd.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        fields.next().filter(|name| *name == user).and(fields.nth(4)).map(str::to_owned)
    })
}

fn push_number(out: &mut String, number: u32) {
    // Writing to a String does not fail.
    let _ = write!(out, "{number}");
}

fn unclosed(text: &str) -> String {
    format!("environment variable \"{text}\" is missing the closing \"}}\" or a name")
}

#[cfg(test)]
mod tests {
    use super::{Tokens, USUAL, check_variables, tilde};
    use crate::environment::Environment;

    fn env() -> Environment {
        Environment {
            home: "/home/u".into(),
            cwd: "/".into(),
            user: "u".into(),
            uid: 7,
            hostname: "box.lan".into(),
            vars: [("A".to_owned(), "x%h".to_owned())].into(),
            ..Environment::default()
        }
    }

    #[test]
    fn expansions() {
        let env = env();
        let tokens = Tokens {
            env: &env,
            host: "real",
            original: "alias",
            port: 22,
            user: "bob",
            key_alias: "key",
            jump: "",
        };
        let cases = [
            ("%%h", "%h"),
            ("%h-%n-%p-%r-%u-%i-%k-%l-%L-%d", "real-alias-22-bob-u-7-key-box.lan-box-/home/u"),
            ("~/%h/${A}", "/home/u/real/x%h"),
            ("%C", "907e9ce2da71bf780bf324068636e555a1ca7101"),
            ("$A", "$A"),
        ];
        for (text, expected) in cases {
            assert_eq!(tokens.path(text).unwrap(), expected, "{text}");
        }
        for text in ["%", "%z", "${B}", "${A", "~nobody-there/x"] {
            assert!(tokens.path(text).is_err(), "{text}");
        }
        assert_eq!(tokens.percent("%f %%h %h", USUAL, "fHIKt").unwrap(), "%f %%h real");
        assert!(check_variables("${}").is_err());
        assert_eq!(tilde("~", &env).unwrap(), "/home/u/");
        assert_eq!(tilde("a~", &env).unwrap(), "a~");
        assert_eq!(tilde("~root/k", &env).unwrap(), "/root/k");
        assert_eq!(tilde("~daemon", &env).unwrap(), "/usr/sbin/");
    }
}
