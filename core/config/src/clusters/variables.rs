//! `$VAR`, `${VAR}` and `~` in what the configuration says.
//!
//! Only that: no commands, no defaults, no nesting. What a variable holds is not expanded again.

use std::path::PathBuf;

use crate::environment::Environment;

/// The text with variables replaced, and the names of those that are not set (left as they stand).
pub(super) fn expand<'a>(text: &'a str, env: &Environment) -> (String, Vec<&'a str>) {
    let mut out = String::with_capacity(text.len());
    let mut missing = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, tail) = match after.strip_prefix('{') {
            Some(braced) => braced.split_once('}').unwrap_or(("", after)),
            None => after.split_at(after.bytes().take_while(|b| is_name_byte(*b)).count()),
        };
        let valid =
            name.bytes().all(is_name_byte) && !name.starts_with(|c: char| c.is_ascii_digit());
        if name.is_empty() || !valid {
            out.push('$');
            rest = after;
            continue;
        }
        match env.remembered(name).filter(|value| !value.is_empty()) {
            Some(value) => out.push_str(&value),
            None => {
                missing.push(name);
                out.push('$');
                out.push_str(after.get(..after.len() - tail.len()).unwrap_or_default());
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    (out, missing)
}

/// A leading `~` or `~/` is the home directory.
pub(crate) fn home(path: &str, env: &Environment) -> PathBuf {
    match path.strip_prefix('~') {
        Some("") => env.home.clone(),
        Some(rest) if rest.starts_with('/') => env.home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let vars = [("A", "1"), ("LONG_NAME", "x y"), ("D", "$A"), ("E", "")];
        let env = Environment {
            home: "/h".into(),
            vars: vars.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Environment::default()
        };
        let cases: &[(&str, &str, &[&str])] = &[
            ("n$A", "n1", &[]),
            ("n${A}b", "n1b", &[]),
            ("$A$A-${LONG_NAME}", "11-x y", &[]),
            ("$D", "$A", &[]),
            ("$NO.x ${NO} $E", "$NO.x ${NO} $E", &["NO", "NO", "E"]),
            ("$", "$", &[]),
            ("$$A", "$1", &[]),
            ("${A", "${A", &[]),
            ("$1 ${a-b}", "$1 ${a-b}", &[]),
            ("é$Aé", "é1é", &[]),
        ];
        for (text, want, missing) in cases {
            assert_eq!(expand(text, &env), ((*want).to_owned(), missing.to_vec()), "{text}");
        }
        for (path, want) in [("~", "/h"), ("~/k", "/h/k"), ("~u/k", "~u/k"), ("/~", "/~")] {
            assert_eq!(home(path, &env), PathBuf::from(want));
        }
    }
}
