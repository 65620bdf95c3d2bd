//! Values of the configuration to types. Every problem is collected with its place; what is wrong
//! is left out of the result, so that one typo does not hide the next.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::nearest;
use super::variables::{expand, home};
use crate::environment::Environment;
use crate::error::Error;
use crate::yaml::{Kind, Value};

/// One key of a table: its name, what it does, how it is read.
pub(super) struct Field<T> {
    pub(super) name: &'static str,
    pub(super) read: fn(&mut T, &Value, &mut Reader<'_>),
}

/// Reads values of one file, or of environment variables.
pub(super) struct Reader<'a> {
    env: &'a Environment,
    /// `None`: the value of the variable named in `prefix`.
    file: Option<&'a Path>,
    prefix: String,
    pub(super) problems: Vec<Error>,
    pub(super) warnings: Vec<Error>,
}

impl<'a> Reader<'a> {
    pub(super) fn of_file(file: &'a Path, env: &'a Environment) -> Reader<'a> {
        Reader {
            env,
            file: Some(file),
            prefix: String::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Messages about the variable's value start with its name.
    pub(super) fn of_variable(name: &str, env: &'a Environment) -> Reader<'a> {
        Reader {
            env,
            file: None,
            prefix: format!("{name}: "),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// `file:line` of a value, for `explain` and listings.
    pub(super) fn origin(&self, line: u32) -> String {
        match self.file {
            Some(file) => format!("{}:{line}", file.display()),
            None => self.prefix.trim_end_matches(": ").to_owned(),
        }
    }

    pub(super) fn problem(&mut self, at: &Value, message: impl Display) {
        let error = self.place(at.line, at.column, message);
        self.problems.push(error);
    }

    pub(super) fn expected(&mut self, what: &str, found: &Value) {
        self.problem(found, format!("expected {what}, found {}", found.describe()));
    }

    /// Reads a map by its table of keys; other keys are problems.
    pub(super) fn table<T>(&mut self, into: &mut T, value: &Value, fields: &[Field<T>]) {
        let Some(entries) = value.entries() else { return self.expected("a map", value) };
        for (key, value) in entries {
            match fields.iter().find(|f| f.name == key.text) {
                Some(field) => (field.read)(into, value, self),
                None => {
                    let names = fields.iter().map(|f| f.name);
                    let advice = match nearest(&key.text, names.clone()) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => format!("allowed: {}", names.collect::<Vec<_>>().join(", ")),
                    };
                    let message = format!("unknown key \"{}\", {advice}", key.text);
                    self.problems.push(self.place(key.line, key.column, message));
                }
            }
        }
    }

    /// Text that is not empty.
    pub(super) fn text(&mut self, value: &Value) -> Option<String> {
        match value.text() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            _ => {
                self.expected("text", value);
                None
            }
        }
    }

    /// Text in which variables are expanded.
    pub(super) fn expanded(&mut self, value: &Value) -> Option<String> {
        let text = self.text(value)?;
        let (expanded, missing) = expand(&text, self.env);
        for name in missing {
            let message =
                format!("variable \"{name}\" is not set, \"{text}\" is left as it stands");
            let warning = self.place(value.line, value.column, message);
            self.warnings.push(warning);
        }
        Some(expanded)
    }

    /// A path: variables and `~` are expanded.
    pub(super) fn path(&mut self, value: &Value) -> Option<PathBuf> {
        self.expanded(value).map(|text| home(&text, self.env))
    }

    pub(super) fn flag(&mut self, value: &Value) -> Option<bool> {
        match value.text().map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "yes" | "on" | "1") => Some(true),
            Some("false" | "no" | "off" | "0") => Some(false),
            _ => {
                self.expected("true or false", value);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, value: &Value, min: u64, max: u64) -> Option<u64> {
        let digits = value.text().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|t| t.parse().ok()) {
            Some(n) if (min..=max).contains(&n) => Some(n),
            _ => {
                self.expected(&format!("a number from {min} to {max}"), value);
                None
            }
        }
    }

    /// Seconds (`10`, `2.5`), or numbers with units (`500ms`, `30s`, `10m`, `1h30m`, `2d`).
    pub(super) fn duration(&mut self, value: &Value) -> Option<Duration> {
        let duration = value.text().and_then(parse_duration);
        if duration.is_none() {
            self.expected("a duration like 10, 2.5, 30s, 10m or 1h30m", value);
        }
        duration
    }

    /// A list of one kind; nothing is an empty one.
    pub(super) fn list<T>(
        &mut self,
        value: &Value,
        mut item: impl FnMut(&mut Self, &Value) -> Option<T>,
    ) -> Vec<T> {
        match &value.kind {
            Kind::Null => Vec::new(),
            Kind::List(items) => items.iter().filter_map(|v| item(self, v)).collect(),
            Kind::Scalar(_) | Kind::Map(_) => {
                self.expected("a list", value);
                Vec::new()
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, value: &Value, words: &[(&str, T)]) -> Option<T> {
        let found = value.text().and_then(|t| words.iter().find(|(word, _)| *word == t));
        if found.is_none() {
            let allowed: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.expected(&format!("one of {}", allowed.join(", ")), value);
        }
        found.map(|(_, chosen)| *chosen)
    }

    /// A problem at a place of this file, not yet collected.
    pub(super) fn place(&self, line: u32, column: u32, message: impl Display) -> Error {
        let error = Error::plain(format!("{}{message}", self.prefix));
        match self.file {
            Some(file) => error.at(file, line, column),
            None => error,
        }
    }
}

const UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

fn parse_duration(text: &str) -> Option<Duration> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain {
        return text.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    }
    let (mut rest, mut total) = (text, 0u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = tail;
    }
    Some(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations() {
        let cases = [
            ("10", Some(10_000)),
            ("0", Some(0)),
            ("2.5", Some(2500)),
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("2d", Some(172_800_000)),
            ("", None),
            (".", None),
            ("1e3", None),
            ("-1", None),
            ("10 s", None),
            ("s", None),
            ("10x", None),
            ("99999999999999999999d", None),
            ("é", None),
        ];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text).map(|d| d.as_millis()), millis, "{text}");
        }
    }
}
