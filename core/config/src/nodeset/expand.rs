//! The parser: a node set expression to the names it means.
//!
//! One pass over the characters, no recursion on input, work bounded by [`MAX_NODES`]. `[` opens a
//! range unless it stands where a host begins and what follows holds a colon: `[::1]:22` is an IPv6
//! address, `[1-3]` is three names.

use std::borrow::Cow;

use super::pattern::{Pattern, Range};
use super::{Groups, MAX_NODES, NodeSet};
use crate::clusters::nearest;
use crate::error::Error;
use crate::node::is_v6;

/// How much of a long expression an error shows.
const SHOWN: usize = 60;
/// Stands before the first element.
const START: char = '\0';

/// The nodes an expression means, in the order of first mention. An empty expression is an empty
/// set; lines count as separated by commas.
///
/// # Errors
/// A bad expression with the column (1-based, in characters), an unknown group, too many nodes.
pub fn expand(expr: &str, groups: &dyn Groups) -> Result<NodeSet, Error> {
    let mut parser = Parser { expr, chars: expr.char_indices().peekable(), groups, named: 0 };
    parser.expression().map_err(|problem| match problem {
        Problem::Here(message, at) => wrong(expr, &message, at),
        Problem::Unknown(name, at) => {
            let error = wrong(expr, &format!("unknown group \"@{name}\""), at);
            let known = groups.known();
            match nearest(&name, known.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean \"@{near}\"?")),
                None if known.is_empty() => error,
                None => error.hint(format!("known groups: {}", known.join(", "))),
            }
        }
        Problem::Elsewhere(error) => error,
    })
}

/// Is this an expression? Groups and files are not looked up.
///
/// # Errors
/// As [`expand`].
pub fn check(expr: &str) -> Result<(), Error> {
    struct Anything;
    impl Groups for Anything {
        fn group(&self, _: Option<&str>, _: &str) -> Result<Option<Vec<String>>, Error> {
            Ok(Some(Vec::new()))
        }
        fn file(&self, _: &str) -> Result<Vec<String>, Error> {
            Ok(Vec::new())
        }
    }
    expand(expr, &Anything).map(drop)
}

struct Parser<'a> {
    expr: &'a str,
    chars: std::iter::Peekable<std::str::CharIndices<'a>>,
    groups: &'a dyn Groups,
    /// Names made so far.
    named: usize,
}

enum Problem {
    /// Message and byte offset into the expression.
    Here(String, usize),
    /// A group nobody knows, and the byte offset.
    Unknown(String, usize),
    /// From a group or a file, which names its own place.
    Elsewhere(Error),
}

fn here<T>(message: impl Into<String>, at: usize) -> Result<T, Problem> {
    Err(Problem::Here(message.into(), at))
}

fn is_operator(c: char) -> bool {
    matches!(c, ',' | '!' | '&' | '^')
}

impl<'a> Parser<'a> {
    fn expression(&mut self) -> Result<NodeSet, Problem> {
        let mut set = NodeSet::default();
        self.skip_space(true);
        if self.peek().is_none() {
            return Ok(set);
        }
        let mut operator = START;
        loop {
            let operand = self.operand(operator)?;
            match operator {
                '!' => set.difference(&operand),
                '&' => set.intersection(&operand),
                '^' => set.symmetric_difference(operand),
                _ => set.union(operand),
            }
            self.skip_space(true);
            match self.peek() {
                None => return Ok(set),
                Some(c) if is_operator(c) => operator = c,
                Some(_) => {
                    operator = ',';
                    continue;
                }
            }
            self.chars.next();
            self.skip_space(true);
        }
    }

    /// One element; the cursor is on its first character.
    fn operand(&mut self, operator: char) -> Result<NodeSet, Problem> {
        let at = self.offset();
        match self.peek() {
            Some('^') => {
                self.chars.next();
                let path = self.path()?;
                if path.is_empty() {
                    return here("missing file name after \"^\"", at);
                }
                let names = self.groups.file(&path).map_err(Problem::Elsewhere)?;
                self.spend(names.len(), at)?;
                Ok(names.into_iter().collect())
            }
            Some('@') => {
                self.chars.next();
                let pattern = self.pattern()?;
                self.group(&pattern, at)
            }
            Some(c) if !is_operator(c) => {
                let pattern = self.pattern()?;
                self.nodes(&pattern, at)
            }
            Some(c) if operator == START => here(format!("missing node before \"{c}\""), at),
            _ => here(format!("missing node after \"{operator}\""), at),
        }
    }

    /// Text and ranges up to an operator or the end of the line.
    fn pattern(&mut self) -> Result<Pattern, Problem> {
        let mut pattern = Pattern::default();
        let mut v6 = None;
        while let Some(&(at, c)) = self.chars.peek() {
            match c {
                '\n' => break,
                c if is_operator(c) => break,
                c if c.is_whitespace() => {
                    self.skip_space(false);
                    match self.peek() {
                        Some(c) if c != '\n' && !is_operator(c) => {
                            return here("a name has no spaces; separate nodes with \",\"", at);
                        }
                        _ => break,
                    }
                }
                c if c.is_control() => return here("control character", at),
                '[' if pattern.at_host() && self.opens_v6(at)? => v6 = Some(at),
                '[' => {
                    self.chars.next();
                    let ranges = self.ranges()?;
                    pattern.push_ranges(ranges);
                    continue;
                }
                ']' if v6.take().is_none() => return here("unexpected \"]\"", at),
                _ => {}
            }
            pattern.push(c);
            self.chars.next();
        }
        match v6 {
            Some(_) => here("missing \"]\"", self.expr.len()),
            None => Ok(pattern),
        }
    }

    /// Does the bracket at this offset hold an address? Ranges never hold a colon; addresses may
    /// hold ranges.
    fn opens_v6(&self, at: usize) -> Result<bool, Problem> {
        let inner = self.expr.get(at + 1..).unwrap_or_default();
        let end = inner.find(['[', ']']).unwrap_or(inner.len());
        let (address, rest) = inner.split_at(end);
        if rest.starts_with(']') && address.contains(':') && !is_v6(address) {
            return here(format!("\"{address}\" is neither an IPv6 address nor a range"), at);
        }
        Ok(address.contains(':'))
    }

    /// What stands in brackets, up to and with the closing one.
    fn ranges(&mut self) -> Result<Vec<Range>, Problem> {
        let mut ranges = Vec::new();
        loop {
            self.skip_space(true);
            let at = self.offset();
            let start = self.digits("a number")?;
            let end =
                if self.accept('-') { Some(self.digits("the end of the range")?) } else { None };
            let step = if self.accept('/') { Some(self.digits("the step")?) } else { None };
            let range = Range::new(start, end, step).map_err(|m| Problem::Here(m, at))?;
            ranges.push(range);
            if self.accept(']') {
                return Ok(ranges);
            }
            if !self.accept(',') {
                return self.unexpected("\",\" or \"]\"");
            }
        }
    }

    fn digits(&mut self, what: &str) -> Result<&'a str, Problem> {
        self.skip_space(true);
        let start = self.offset();
        while self.chars.next_if(|(_, c)| c.is_ascii_digit()).is_some() {}
        match self.expr.get(start..self.offset()) {
            Some(digits) if !digits.is_empty() => Ok(digits),
            _ => self.unexpected(what),
        }
    }

    fn unexpected<T>(&mut self, wanted: &str) -> Result<T, Problem> {
        match self.chars.peek() {
            None => here("missing \"]\"", self.expr.len()),
            Some(&(at, c)) => here(format!("expected {wanted}, found \"{c}\""), at),
        }
    }

    fn nodes(&mut self, pattern: &Pattern, at: usize) -> Result<NodeSet, Problem> {
        let groups = self.groups;
        let mut set = NodeSet::default();
        self.for_each(pattern, at, &mut |name| {
            if name.contains(['*', '?']) {
                let known =
                    groups.group(None, "*").map_err(Problem::Elsewhere)?.unwrap_or_default();
                let before = set.len();
                known.into_iter().filter(|n| matches_glob(name, n)).for_each(|n| {
                    set.insert(n);
                });
                if set.len() == before {
                    return here(format!("no known node matches \"{name}\""), at);
                }
            } else {
                set.insert(name);
            }
            Ok(())
        })?;
        Ok(set)
    }

    fn group(&mut self, pattern: &Pattern, at: usize) -> Result<NodeSet, Problem> {
        if pattern.is_empty() {
            return here("missing group name after \"@\"", at);
        }
        let groups = self.groups;
        let mut set = NodeSet::default();
        let mut members = 0;
        self.for_each(pattern, at, &mut |name| {
            let (source, group) = match name.split_once(':') {
                Some((source, group)) => (Some(source), group),
                None => (None, name),
            };
            match groups.group(source, group).map_err(Problem::Elsewhere)? {
                Some(names) => {
                    members += names.len();
                    names.into_iter().for_each(|n| {
                        set.insert(n);
                    });
                    Ok(())
                }
                None => Err(Problem::Unknown(name.to_owned(), at)),
            }
        })?;
        self.spend(members, at)?;
        Ok(set)
    }

    fn for_each(
        &mut self,
        pattern: &Pattern,
        at: usize,
        each: &mut impl FnMut(&str) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        self.spend(usize::try_from(pattern.count()).unwrap_or(usize::MAX), at)?;
        pattern.for_each(each)
    }

    /// Counts names before they are made; those that an operator removes again count, too.
    fn spend(&mut self, names: usize, at: usize) -> Result<(), Problem> {
        self.named = self.named.saturating_add(names);
        if self.named > MAX_NODES {
            return here(format!("{} nodes, at most {MAX_NODES} are allowed", self.named), at);
        }
        Ok(())
    }

    /// A file name: in quotes, where a backslash takes what follows as it is; or up to an operator
    /// or the end of the line, without spaces around it.
    fn path(&mut self) -> Result<Cow<'a, str>, Problem> {
        let start = self.offset();
        if self.chars.next_if(|(_, c)| *c == '"').is_none() {
            while self.chars.next_if(|(_, c)| *c != '\n' && !is_operator(*c)).is_some() {}
            return Ok(self.expr.get(start..self.offset()).unwrap_or_default().trim().into());
        }
        let mut path = String::new();
        while let Some((_, c)) = self.chars.next() {
            match c {
                '"' => return Ok(path.into()),
                '\\' => path.extend(self.chars.next().map(|(_, c)| c)),
                c => path.push(c),
            }
        }
        here("missing closing quote of the file name", start)
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_space(true);
        self.chars.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn skip_space(&mut self, lines: bool) {
        while self.chars.next_if(|(_, c)| c.is_whitespace() && (lines || *c != '\n')).is_some() {}
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|(_, c)| *c)
    }

    fn offset(&mut self) -> usize {
        self.chars.peek().map_or(self.expr.len(), |(at, _)| *at)
    }
}

/// `*` any text, `?` one character; linear in time but for backtracking to the last `*`.
pub(crate) fn matches_glob(pattern: &str, name: &str) -> bool {
    let (mut p, mut n) = (pattern.chars(), name.chars());
    let mut retry = None;
    loop {
        match (p.clone().next(), n.clone().next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                p.next();
                retry = Some((p.clone(), n.clone()));
            }
            (Some(a), Some(b)) if a == '?' || a == b => {
                p.next();
                n.next();
            }
            _ => {
                let Some((after, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                (p, n) = (after.clone(), from.clone());
            }
        }
    }
}

/// The error with its span; the end of the text is shown as its last column.
fn wrong(expr: &str, message: &str, at: usize) -> Error {
    let n_chars = expr.chars().count();
    let column = (expr.get(..at).map_or(n_chars, |before| before.chars().count()) + 1).min(n_chars);
    let column = column.max(1);
    let from = if n_chars <= SHOWN { 0 } else { column.saturating_sub(SHOWN / 2) };
    let mut shown: String = expr.chars().skip(from).take(SHOWN).collect();
    if from > 0 {
        shown.insert(0, '…');
    }
    if from + SHOWN < n_chars {
        shown.push('…');
    }
    let mut error = Error::plain(format!(
        "node set \"{}\": {message} at column {column}",
        shown.escape_debug()
    ));
    error.column = column as u32;
    error
}
