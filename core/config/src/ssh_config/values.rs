//! The kinds of values `ssh_config` has: each checked and brought into the form `ssh -G` prints.
//!
//! Sets of words, numbers, times, sizes, names from fixed lists. Values with a grammar of their
//! own (forwards, jump hosts, environment) are in `special`; errors come without their place.

use super::algorithms::Family;

/// How a keyword's arguments are read.
pub(super) enum Kind {
    /// One of these words, whatever the case; printed as the second.
    Words(&'static [(&'static str, &'static str)]),
    Algorithms(&'static Family),
    Parse(fn(&mut Args<'_>) -> Result<Option<Parsed>, String>),
}

/// The arguments of one line.
pub(super) struct Args<'a> {
    pub keyword: &'a str,
    /// Unsplit, for commands.
    pub rest: &'a str,
    pub words: std::vec::IntoIter<String>,
}

/// A value: for the setter, and as printed (a line each).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub values: Vec<String>,
    pub shown: Vec<String>,
}

impl Kind {
    /// Reads the arguments; `None`: valid, but sets nothing (`ConnectTimeout none`).
    ///
    /// # Errors
    /// What is wrong, lower case, without the place.
    pub(super) fn parse(&self, args: &mut Args<'_>) -> Result<Option<Parsed>, String> {
        let parsed = match self {
            Kind::Words(table) => {
                let word = args.required()?;
                let found = table.iter().find(|(text, _)| text.eq_ignore_ascii_case(&word));
                let (_, shown) = found.ok_or_else(|| {
                    let known: Vec<&str> = table.iter().map(|(text, _)| *text).collect();
                    let keyword = args.keyword;
                    format!("{keyword}: unsupported option \"{word}\" ({})", known.join(", "))
                })?;
                Parsed::one(*shown)
            }
            Kind::Algorithms(family) => {
                let text = args.required()?;
                let names = family.assemble(&text);
                let names = names.map_err(|why| format!("{}: {why}", args.keyword))?;
                Parsed { shown: vec![family.shown(&text, &names)], values: names }
            }
            Kind::Parse(parse) => return self::finish(args, *parse),
        };
        args.end()?;
        Ok(Some(parsed))
    }
}

fn finish(
    args: &mut Args<'_>,
    parse: fn(&mut Args<'_>) -> Result<Option<Parsed>, String>,
) -> Result<Option<Parsed>, String> {
    let parsed = parse(args)?;
    args.end()?;
    Ok(parsed)
}

impl Parsed {
    pub(super) fn one(value: impl Into<String>) -> Parsed {
        let value = value.into();
        Parsed { values: vec![value.clone()], shown: vec![value] }
    }

    /// Set as `value`, printed as `shown`.
    pub(super) fn pair(value: impl Into<String>, shown: impl Into<String>) -> Parsed {
        Parsed { values: vec![value.into()], shown: vec![shown.into()] }
    }

    /// Several values, printed on one line.
    pub(super) fn line(values: Vec<String>) -> Parsed {
        Parsed { shown: vec![values.join(" ")], values }
    }
}

impl Args<'_> {
    pub(super) fn required(&mut self) -> Result<String, String> {
        let word = self.words.next().filter(|word| !word.is_empty());
        word.ok_or_else(|| format!("{}: missing argument", self.keyword))
    }

    /// All words; none may be empty, and each of `alone` must be the only one.
    pub(super) fn all(&mut self, alone: &[&str]) -> Result<Vec<String>, String> {
        let words: Vec<String> = self.words.by_ref().collect();
        for word in &words {
            if word.is_empty() {
                return Err(format!("keyword {} empty argument", self.keyword));
            }
            let single = alone.iter().any(|a| word.eq_ignore_ascii_case(a));
            if single && words.len() > 1 {
                let keyword = self.keyword;
                return Err(format!("keyword {keyword} \"{word}\" argument must appear alone"));
            }
        }
        Ok(words)
    }

    fn end(&mut self) -> Result<(), String> {
        match self.words.next() {
            None => Ok(()),
            Some(_) => Err(format!("keyword {} extra arguments at end of line", self.keyword)),
        }
    }
}

pub(super) const YES_NO: Kind =
    Kind::Words(&[("yes", "yes"), ("no", "no"), ("true", "yes"), ("false", "no")]);
pub(super) const TRUE_FALSE_ASK: Kind = Kind::Words(&[
    ("yes", "true"),
    ("no", "false"),
    ("true", "true"),
    ("false", "false"),
    ("ask", "ask"),
]);
pub(super) const TEXT: Kind = Kind::Parse(|args| args.required().map(Parsed::one).map(Some));
pub(super) const COMMAND: Kind = Kind::Parse(command);
pub(super) const NUMBER: Kind = Kind::Parse(number);
pub(super) const TIME: Kind = Kind::Parse(time);
pub(super) const FILES: Kind = Kind::Parse(|args| args.all(&["none"]).map(Parsed::line).map(Some));
pub(super) const PORT: Kind = Kind::Parse(port);
pub(super) const LOG_LEVEL: Kind = Kind::Words(&[
    // The first name of the level, which is what ssh prints.
    ("SILENT", "SILENT"),
    ("QUIET", "SILENT"),
    ("FATAL", "FATAL"),
    ("ERROR", "ERROR"),
    ("INFO", "INFO"),
    ("VERBOSE", "VERBOSE"),
    ("DEBUG", "DEBUG"),
    ("DEBUG1", "DEBUG"),
    ("DEBUG2", "DEBUG2"),
    ("DEBUG3", "DEBUG3"),
]);
pub(super) const FACILITY: Kind = Kind::Words(&[
    ("DAEMON", "DAEMON"),
    ("USER", "USER"),
    ("AUTH", "AUTH"),
    ("AUTHPRIV", "AUTHPRIV"),
    ("LOCAL0", "LOCAL0"),
    ("LOCAL1", "LOCAL1"),
    ("LOCAL2", "LOCAL2"),
    ("LOCAL3", "LOCAL3"),
    ("LOCAL4", "LOCAL4"),
    ("LOCAL5", "LOCAL5"),
    ("LOCAL6", "LOCAL6"),
    ("LOCAL7", "LOCAL7"),
]);
pub(super) const DIGEST: Kind = Kind::Words(&[
    ("MD5", "MD5"),
    ("SHA1", "SHA1"),
    ("SHA256", "SHA256"),
    ("SHA384", "SHA384"),
    ("SHA512", "SHA512"),
]);

/// The rest of the line as written.
fn command(args: &mut Args<'_>) -> Result<Option<Parsed>, String> {
    let text = args.rest.trim_start_matches([' ', '\t', '\r', '\n', '=']);
    args.words.by_ref().for_each(drop);
    Ok(Some(Parsed::one(text)))
}

fn number(args: &mut Args<'_>) -> Result<Option<Parsed>, String> {
    let keyword = args.keyword;
    let word = args.words.next().unwrap_or_default();
    if word.is_empty() {
        return Err(format!("{keyword}: integer value missing"));
    }
    match word.parse::<i64>() {
        Ok(n) if n < 0 => Err(format!("{keyword}: integer value too small")),
        Ok(n) if n > i64::from(i32::MAX) => Err(format!("{keyword}: integer value too large")),
        Ok(n) => Ok(Some(Parsed::one(n.to_string()))),
        Err(_) => Err(format!("{keyword}: integer value invalid")),
    }
}

fn time(args: &mut Args<'_>) -> Result<Option<Parsed>, String> {
    let word = args.words.next().unwrap_or_default();
    match word.as_str() {
        "" => Err(format!("{}: missing time value", args.keyword)),
        "none" => Ok(None),
        _ => {
            let seconds = seconds(&word);
            let seconds = seconds.ok_or_else(|| format!("{}: invalid time value", args.keyword))?;
            Ok(Some(Parsed::one(seconds.to_string())))
        }
    }
}

fn port(args: &mut Args<'_>) -> Result<Option<Parsed>, String> {
    let word = args.required()?;
    match super::destination::port_number(&word) {
        Some(port) if port != 0 => Ok(Some(Parsed::one(port.to_string()))),
        _ => Err(format!("bad port '{word}'")),
    }
}

/// `1h30m`, `90`, `1w`: seconds, at most `i32::MAX`.
pub(super) fn seconds(text: &str) -> Option<u32> {
    let mut total: u32 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        rest = rest.trim_start_matches([' ', '\t']);
        rest = rest.strip_prefix('+').unwrap_or(rest);
        let (digits, after) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let mut unit = after.chars();
        let multiplier = match unit.next().map(|c| c.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            Some(_) => return None,
        };
        total = digits.parse::<u32>().ok()?.checked_mul(multiplier)?.checked_add(total)?;
        rest = unit.as_str();
    }
    (!text.is_empty() && i32::try_from(total).is_ok()).then_some(total)
}

/// `16`, `1K`, `1.5G`: bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let power = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let scale = 1_u64 << power;
    let mut total = whole.checked_mul(scale)?;
    if !part.is_empty() {
        let digits = u32::try_from(part.len()).ok().filter(|&d| d <= 18)?;
        let part: u128 = part.parse::<u64>().ok()?.into();
        let part = part * u128::from(scale) / 10_u128.pow(digits);
        total = total.checked_add(u64::try_from(part).ok()?)?;
    }
    i64::try_from(total).ok()?;
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::{bytes, seconds};

    #[test]
    fn times() {
        let cases = [
            ("0", Some(0)),
            ("90", Some(90)),
            ("1h30m", Some(5400)),
            ("1W2D", Some(777_600)),
            ("10s5", Some(15)),
            ("", None),
            ("5x", None),
            ("-1", None),
            ("m", None),
            ("2147483648", None),
            ("4000w", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("16", Some(16)),
            ("1K", Some(1024)),
            ("1.5G", Some(1_610_612_736)),
            ("1k", Some(1024)),
            ("x", None),
            ("1KB", None),
            ("-1", None),
            ("9E", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
