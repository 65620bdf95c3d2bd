//! YAML text to a tree in which every value knows its place.
//!
//! Bounded: depth, number of values (aliases count as often as they are used, so nested anchors
//! cannot explode) and size. Scalars stay text; who reads them decides what they mean. Merge keys
//! (`<<`) are applied. One document per file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::error::Error;

const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 1_000_000;

/// A value and its place, both 1-based.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Scalar(String),
    List(Vec<Value>),
    /// Keys in order, each once.
    Map(Vec<(Key, Value)>),
}

/// A key of a map and its place.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Value {
    pub(crate) fn scalar(text: &str) -> Value {
        Value { kind: Kind::Scalar(text.to_owned()), line: 0, column: 0 }
    }

    /// For messages: `expected a list, found a map`.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".into(),
            Kind::Scalar(text) => format!("\"{}\"", text.escape_debug()),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
        }
    }

    /// The entries of a map; nothing is an empty one.
    pub(crate) fn entries(&self) -> Option<&[(Key, Value)]> {
        match &self.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Null => Some(&[]),
            _ => None,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.entries()?.iter().find(|(k, _)| k.text == key).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text) => Some(text),
            _ => None,
        }
    }

    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::List(items) => items.iter().map(Value::size).sum(),
            Kind::Map(entries) => entries.iter().map(|(_, value)| 1 + value.size()).sum(),
            _ => 0,
        }
    }
}

/// Reads one document; an empty file is [`Kind::Null`].
///
/// # Errors
/// What is not YAML, duplicate keys, a second document, more depth or values than allowed.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Value, Error> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let done = match event {
            Ok((event, span)) => tree.take(event, span.start),
            Err(e) => Err((e.info().to_owned(), *e.marker())),
        };
        done.map_err(|(message, at)| {
            Error::plain(message).at(file, line(at), at.col() as u32 + 1)
        })?;
    }
    Ok(tree.root.unwrap_or(Value { kind: Kind::Null, line: 1, column: 1 }))
}

type Problem = (String, Marker);

#[derive(Default)]
struct Tree {
    root: Option<Value>,
    open: Vec<Frame>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

/// A list or map that is not closed yet.
struct Frame {
    value: Value,
    anchor: usize,
    /// In a map: the key that waits for its value, those that were seen, what `<<` brought.
    key: Option<Key>,
    seen: HashSet<String>,
    merged: Vec<(Key, Value)>,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, at: Marker) -> Result<(), Problem> {
        let place = |kind| Value { kind, line: line(at), column: at.col() as u32 + 1 };
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                let kind = if null { Kind::Null } else { Kind::Scalar(text.into_owned()) };
                self.put(place(kind), anchor, at)
            }
            Event::SequenceStart(anchor, _) => self.open(place(Kind::List(Vec::new())), anchor, at),
            Event::MappingStart(anchor, _) => self.open(place(Kind::Map(Vec::new())), anchor, at),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut frame) = self.open.pop() else { return Ok(()) };
                if let Kind::Map(entries) = &mut frame.value.kind {
                    let seen = &mut frame.seen;
                    entries.extend(
                        frame.merged.into_iter().filter(|(k, _)| seen.insert(k.text.clone())),
                    );
                }
                self.put(frame.value, frame.anchor, at)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(value) => {
                    let value =
                        Value { line: line(at), column: at.col() as u32 + 1, ..value.clone() };
                    self.values += value.size();
                    self.put(value, 0, at)
                }
                None => Err(("alias to a value that is not complete".into(), at)),
            },
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(("a second document; one per file is read".into(), at))
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, value: Value, anchor: usize, at: Marker) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err((format!("nested deeper than {MAX_DEPTH} levels"), at));
        }
        let frame = Frame { value, anchor, key: None, seen: HashSet::new(), merged: Vec::new() };
        self.open.push(frame);
        Ok(())
    }

    /// A complete value goes into the innermost open list or map.
    fn put(&mut self, value: Value, anchor: usize, at: Marker) -> Result<(), Problem> {
        self.values += 1;
        if anchor != 0 {
            self.values += value.size();
            self.anchors.insert(anchor, value.clone());
        }
        if self.values > MAX_VALUES {
            return Err((format!("more than {MAX_VALUES} values (aliases are counted)"), at));
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(value);
            return Ok(());
        };
        match &mut frame.value.kind {
            Kind::List(items) => items.push(value),
            Kind::Map(entries) => match frame.key.take() {
                None => frame.key = Some(key(value, at)?),
                Some(key) if key.text == "<<" => merge(value, &mut frame.merged, at)?,
                Some(key) => {
                    if !frame.seen.insert(key.text.clone()) {
                        let at = Marker::new(0, key.line as usize, key.column as usize - 1);
                        return Err((format!("key \"{}\" is given twice", key.text), at));
                    }
                    entries.push((key, value));
                }
            },
            _ => {}
        }
        Ok(())
    }
}

fn key(value: Value, at: Marker) -> Result<Key, Problem> {
    let Value { kind, line, column } = value;
    match kind {
        Kind::Scalar(text) => Ok(Key { text, line, column }),
        Kind::Null => Ok(Key { text: "null".into(), line, column }),
        _ => Err(("a key must be text".into(), at)),
    }
}

fn merge(value: Value, into: &mut Vec<(Key, Value)>, at: Marker) -> Result<(), Problem> {
    match value.kind {
        Kind::Map(entries) => into.extend(entries),
        Kind::List(maps) => {
            for map in maps {
                merge(map, into, at)?;
            }
        }
        _ => return Err(("\"<<\" takes a map".into(), at)),
    }
    Ok(())
}

fn line(at: Marker) -> u32 {
    at.line() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        parse(Path::new("f"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn places_and_merges() {
        let v = read("a: &x { k: 1, l: 2 }\nb:\n  <<: *x\n  l: 3\nc: [~, 'null']\n").unwrap();
        let b = v.get("b").unwrap();
        assert_eq!(
            (b.get("k").unwrap().text(), b.get("l").unwrap().text()),
            (Some("1"), Some("3"))
        );
        let l = b.get("l").unwrap();
        assert_eq!((l.line, l.column), (4, 6));
        let Kind::List(c) = &v.get("c").unwrap().kind else { panic!() };
        assert!(matches!(c[0].kind, Kind::Null) && c[1].text() == Some("null"));
        assert!(matches!(read("").unwrap().kind, Kind::Null));
    }

    #[test]
    fn refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for i in 1..12 {
            let refs = vec![format!("*a{}", i - 1); 10].join(",");
            bomb += &format!("a{i}: &a{i} [{refs}]\n");
        }
        let cases = [
            (bomb.as_str(), "more than"),
            ("a: 1\na: 2", "f line 2:1: key \"a\" is given twice"),
            ("a: 1\n---\nb: 2", "second document"),
            ("a: [1, 2", "f line"),
            ("? [a]\n: 1", "must be text"),
            (&"[".repeat(5000), "f line"),
            ("a: &x [*x]", "f line"),
            ("a: *nosuch", "f line"),
        ];
        for (text, message) in cases {
            let error = read(text).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
