//! One element of an expression that names nodes: text and bracketed ranges.
//!
//! Everything is counted before anything is expanded, so that `a[1-99999]b[1-99999]` costs nothing.
//! Numbers keep their padding: `[01-10]` is two digits wide throughout, as in pdsh.

use std::fmt::Write;

/// Text with ranges, counted but not expanded.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    /// At least two names.
    Ranges(Vec<Range>),
}

/// `start-end/step`; numbers are filled up with zeros to `width`.
#[derive(Debug)]
pub(super) struct Range {
    start: u64,
    end: u64,
    step: u64,
    width: usize,
}

impl Pattern {
    pub(super) fn push(&mut self, c: char) {
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => self.parts.push(Part::Text(c.to_string())),
        }
    }

    /// A single number becomes text, so every bracket that is kept multiplies the names.
    pub(super) fn push_ranges(&mut self, ranges: Vec<Range>) {
        match ranges.as_slice() {
            [one] if one.count() == 1 => {
                let mut text = String::new();
                one.write(0, &mut text);
                text.chars().for_each(|c| self.push(c));
            }
            _ => self.parts.push(Part::Ranges(ranges)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// True where a `[` may open an IPv6 address: at the start or behind a user or scheme.
    pub(super) fn at_host(&self) -> bool {
        match self.parts.last() {
            None => true,
            Some(Part::Text(text)) => text.ends_with('@') || text == "ssh://",
            Some(Part::Ranges(_)) => false,
        }
    }

    /// How many names this means; duplicates count.
    pub(super) fn count(&self) -> u64 {
        self.parts.iter().fold(1, |n, part| match part {
            Part::Text(_) => n,
            Part::Ranges(ranges) => {
                n.saturating_mul(ranges.iter().fold(0, |m: u64, r| m.saturating_add(r.count())))
            }
        })
    }

    /// Calls `each` with every name, the last bracket running fastest. To be counted first:
    /// brackets nest the recursion, and `count` below a million means at most 20 of them.
    pub(super) fn for_each<E>(
        &self,
        each: &mut impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        descend(&self.parts, &mut String::new(), each)
    }
}

fn descend<E>(
    parts: &[Part],
    name: &mut String,
    each: &mut impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let Some((part, rest)) = parts.split_first() else { return each(name) };
    let len = name.len();
    match part {
        Part::Text(text) => {
            name.push_str(text);
            descend(rest, name, each)?;
        }
        Part::Ranges(ranges) => {
            for (range, i) in ranges.iter().flat_map(|r| (0..r.count()).map(move |i| (r, i))) {
                range.write(i, name);
                descend(rest, name, each)?;
                name.truncate(len);
            }
        }
    }
    name.truncate(len);
    Ok(())
}

impl Range {
    /// Reads `start`, `start-end` or `start-end/step` from its three parts, each decimal digits.
    pub(super) fn new(start: &str, end: Option<&str>, step: Option<&str>) -> Result<Range, String> {
        let last = end.unwrap_or(start);
        let range = Range {
            start: number(start)?,
            end: number(last)?,
            step: step.map_or(Ok(1), number)?,
            width: width(start, last)?,
        };
        match (&range, end) {
            (Range { step: 0, .. }, _) => Err("a step of 0".into()),
            (_, None) if step.is_some() => Err("a step needs a range: start-end/step".into()),
            (r, _) if r.start > r.end => Err(format!("range \"{start}-{last}\" runs backwards")),
            _ => Ok(range),
        }
    }

    fn count(&self) -> u64 {
        ((self.end - self.start) / self.step).saturating_add(1)
    }

    fn write(&self, i: u64, to: &mut String) {
        let value = self.start + i * self.step;
        // Writing to a String cannot fail.
        let _ = write!(to, "{value:0width$}", width = self.width);
    }
}

fn number(digits: &str) -> Result<u64, String> {
    digits.parse().map_err(|_| format!("number \"{digits}\" is too large"))
}

/// Both ends must agree about padding; `01-100` is read as pdsh does.
fn width(start: &str, end: &str) -> Result<usize, String> {
    let padded = |s: &str| s.len() > 1 && s.starts_with('0');
    match (padded(start), padded(end)) {
        (false, false) => Ok(0),
        (true, false) if start.len() <= end.len() => Ok(start.len()),
        _ if start.len() == end.len() => Ok(start.len()),
        _ => Err(format!("padding differs in range \"{start}-{end}\"")),
    }
}
