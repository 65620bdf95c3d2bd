//! The other way: names to the shortest expression, exactly those names.
//!
//! A name is text and numbers in turn; names of the same text form a table with a column per
//! number. Rows that differ in one column only are joined there, column by column, until the table
//! is a few boxes (`r[1-2]n[1-3]`). Every box is a product, so nothing is added or lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use indexmap::{IndexMap, IndexSet};

/// Numbers that may vary in one name; further ones are text.
const MAX_COLUMNS: usize = 16;
/// A longer number is text: it would not fit 64 bits.
const MAX_DIGITS: usize = 18;
/// Stands for a number in the text of a name.
const GAP: char = '\0';

/// Names to one expression, sorted; `[::1]:22` and the like stand as they are.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut tables: BTreeMap<String, Vec<Vec<Number>>> = BTreeMap::new();
    for name in names {
        let (text, row) = split(name);
        tables.entry(text).or_default().push(row);
    }
    let mut out = String::new();
    for (text, rows) in tables {
        for r#box in shortest(&text, rows) {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(&r#box);
        }
    }
    out
}

/// Value and digits: ordered by value, then padding.
type Number = (u64, u8);
/// A set of numbers, by its place in `Sets`.
type SetId = u32;

/// Every distinct set of numbers, once; each sorted.
#[derive(Default)]
struct Sets(IndexSet<Box<[Number]>>);

impl Sets {
    fn id(&mut self, sorted: Box<[Number]>) -> SetId {
        self.0.insert_full(sorted).0 as SetId
    }

    fn get(&self, id: SetId) -> &[Number] {
        self.0.get_index(id as usize).map_or(&[], |set| set)
    }
}

/// The text with a gap for each number, and the numbers.
fn split(name: &str) -> (String, Vec<Number>) {
    if name.contains(['[', ']', GAP]) {
        return (name.to_owned(), Vec::new());
    }
    let (mut text, mut row) = (String::with_capacity(name.len()), Vec::new());
    let mut rest = name;
    while !rest.is_empty() {
        let at = rest.bytes().position(|b| b.is_ascii_digit()).unwrap_or(rest.len());
        let (before, tail) = rest.split_at(at);
        text.push_str(before);
        let n_digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, tail) = tail.split_at(n_digits);
        match digits.parse() {
            Ok(value) if n_digits <= MAX_DIGITS && row.len() < MAX_COLUMNS => {
                text.push(GAP);
                row.push((value, n_digits as u8));
            }
            _ => text.push_str(digits),
        }
        rest = tail;
    }
    (text, row)
}

/// The boxes of one table, joined from the last column on or from the first, whichever is shorter.
fn shortest(text: &str, mut rows: Vec<Vec<Number>>) -> Vec<String> {
    let mut sets = Sets::default();
    rows.sort_unstable();
    rows.dedup();
    let n_columns = rows.first().map_or(0, Vec::len);
    let rows: Vec<Vec<SetId>> = rows
        .into_iter()
        .map(|row| row.into_iter().map(|n| sets.id(Box::new([n]))).collect())
        .collect();
    let mut print = |columns: Vec<usize>| -> Vec<String> {
        let boxes = join(rows.clone(), &columns, &mut sets);
        boxes.iter().map(|r#box| render(text, r#box, &sets)).collect()
    };
    let a = print((0..n_columns).rev().collect());
    if n_columns < 2 || a.len() == 1 {
        return a;
    }
    let b = print((0..n_columns).collect());
    let length = |boxes: &[String]| boxes.iter().map(|b| b.len() + 1).sum::<usize>();
    if length(&b) < length(&a) { b } else { a }
}

fn join(mut rows: Vec<Vec<SetId>>, columns: &[usize], sets: &mut Sets) -> Vec<Vec<SetId>> {
    loop {
        let before = rows.len();
        for &column in columns {
            rows = join_column(rows, column, sets);
        }
        if rows.len() == before || rows.len() == 1 {
            return rows;
        }
    }
}

/// Rows that are equal but for one column become one row.
fn join_column(rows: Vec<Vec<SetId>>, column: usize, sets: &mut Sets) -> Vec<Vec<SetId>> {
    let mut joined: IndexMap<Vec<SetId>, Vec<SetId>> = IndexMap::with_capacity(rows.len());
    for mut row in rows {
        if let Some(cell) = row.get_mut(column) {
            let id = std::mem::replace(cell, SetId::MAX);
            joined.entry(row).or_default().push(id);
        }
    }
    let mut out = Vec::with_capacity(joined.len());
    for (mut row, ids) in joined {
        let id = match ids.as_slice() {
            [one] => *one,
            many => {
                let mut union: Vec<Number> =
                    many.iter().flat_map(|id| sets.get(*id)).copied().collect();
                union.sort_unstable();
                sets.id(union.into())
            }
        };
        if let Some(cell) = row.get_mut(column) {
            *cell = id;
        }
        out.push(row);
    }
    out
}

fn render(text: &str, row: &[SetId], sets: &Sets) -> String {
    let mut out = String::new();
    let mut cells = row.iter().map(|id| sets.get(*id));
    for (i, piece) in text.split(GAP).enumerate() {
        if i > 0
            && let Some(set) = cells.next()
        {
            render_set(set, &mut out);
        }
        out.push_str(piece);
    }
    out
}

/// `7`, `[1-3,7]`, `[08-11]`. Writing to a String cannot fail.
fn render_set(set: &[Number], out: &mut String) {
    if let [(value, len)] = set {
        let _ = write!(out, "{value:0width$}", width = usize::from(*len));
        return;
    }
    let mut open = '[';
    for (first, last, width) in runs(set) {
        out.push(std::mem::replace(&mut open, ','));
        let _ = write!(out, "{first:0width$}");
        if last > first {
            let _ = write!(out, "-{last:0width$}");
        }
    }
    out.push(']');
}

/// Runs of consecutive numbers with the same padding: first, last, width (0: none).
fn runs(set: &[Number]) -> Vec<(u64, u64, usize)> {
    let digits = |value: u64| value.checked_ilog10().map_or(1, |n| n as u8 + 1);
    let mut classes: HashMap<u8, BTreeSet<u64>> = HashMap::new();
    for &(value, len) in set {
        let width = if digits(value) < len { len } else { 0 };
        classes.entry(width).or_default().insert(value);
    }
    let mut plain = classes.remove(&0).unwrap_or_default();
    let mut runs = Vec::new();
    for (width, mut values) in classes {
        // 098, 099 go on with 100, which needs no padding to be as wide.
        let end = 10u64.pow(u32::from(width));
        let mut next = end / 10;
        if values.last() == Some(&(next - 1)) {
            while next < end && plain.remove(&next) {
                values.insert(next);
                next += 1;
            }
        }
        runs.extend(consecutive(&values).map(|(a, b)| (a, b, usize::from(width))));
    }
    runs.extend(consecutive(&plain).map(|(a, b)| (a, b, 0)));
    runs.sort_unstable();
    runs
}

fn consecutive(values: &BTreeSet<u64>) -> impl Iterator<Item = (u64, u64)> {
    let mut values = values.iter().copied().peekable();
    std::iter::from_fn(move || {
        let first = values.next()?;
        let mut last = first;
        while values.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        Some((first, last))
    })
}
