//! What is completed in a line that is being typed. Paths are completed by the loop, which answers
//! while it waits for the line.

use super::command::{COMMANDS, Paths};
use super::line;
use bssh_term::{Edited, Lines};
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use std::path::PathBuf;
use std::sync::mpsc as blocking;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a node may take to complete a path.
const COMPLETION: Duration = Duration::from_secs(2);

/// What came of a prompt.
pub(super) type Typed = Edited<Ask>;

/// A path to complete.
pub(super) struct Ask {
    pub word: Vec<u8>,
    /// On this side.
    pub here: bool,
    pub answer: blocking::SyncSender<Vec<(Vec<u8>, bool)>>,
}

/// Starts the line editor.
///
/// # Errors
/// There is no terminal.
pub(super) fn input(history: Option<PathBuf>) -> Result<Lines<Ask>, String> {
    Lines::start(history, |ask| Completion { ask })
}

struct Completion {
    ask: mpsc::Sender<Typed>,
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Hinter for Completion {
    type Hint = String;
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        typed: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = typed.get(..at).unwrap_or(typed);
        let Ok(cut) = line::read(typed.as_bytes()) else { return Ok((at, Vec::new())) };
        // One more letter would be a word of its own.
        let longer = line::read(format!("{typed}x").as_bytes());
        let fresh = longer.is_ok_and(|longer| longer.words.len() > cut.words.len());
        let n_words = cut.words.len() + usize::from(fresh);
        if n_words <= 1 {
            let word = typed.trim_start();
            let start = at.saturating_sub(word.len());
            let names = COMMANDS.iter().filter(|(name, ..)| name.starts_with(word));
            let pair =
                |name: &str| Pair { display: name.to_owned(), replacement: format!("{name} ") };
            return Ok((start, names.map(|(name, ..)| pair(name)).collect()));
        }
        let command = cut.words.first().map(Vec::as_slice).unwrap_or_default();
        let known = COMMANDS.iter().find(|(n, ..)| n.as_bytes().eq_ignore_ascii_case(command));
        let mut here = match known {
            Some((_, Paths::Here, _)) => true,
            Some((_, Paths::Remote, _)) => false,
            _ => return Ok((at, Vec::new())),
        };
        // The second path of get and put lies on the other side.
        let paths = cut.words.iter().skip(1).filter(|w| !w.starts_with(b"-")).count();
        let second = paths + usize::from(fresh) > 1;
        let both = matches!(known, Some((n, ..)) if n.ends_with("get") || n.ends_with("put"));
        here ^= both && second;
        let last = if fresh { Vec::new() } else { cut.words.last().cloned().unwrap_or_default() };
        let word = line::literal(&last);
        let start = if fresh { at } else { word_start(typed) };
        Ok((start, self.paths(word, here, cut.open.map(char::from))))
    }
}

impl Completion {
    fn paths(&self, word: Vec<u8>, here: bool, quote: Option<char>) -> Vec<Pair> {
        let (answer, answered) = blocking::sync_channel(1);
        let asked = self.ask.blocking_send(Typed::Asked(Ask { word, here, answer }));
        let found = match asked {
            Ok(()) => answered.recv_timeout(COMPLETION).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let single = found.len() == 1;
        let pair = |(path, is_dir): (Vec<u8>, bool)| {
            // What is no UTF-8 cannot be typed.
            let path = String::from_utf8(path).ok()?;
            let mut replacement = quote.map(String::from).unwrap_or_default();
            replacement.push_str(&line::typed(&path, quote));
            if is_dir {
                replacement.push('/');
            } else if single {
                replacement.extend(quote);
                replacement.push(' ');
            }
            let name = path.rsplit('/').next().unwrap_or(&path);
            let display = name.chars().filter(|c| !c.is_control()).collect();
            Some(Pair { display, replacement })
        };
        found.into_iter().filter_map(pair).collect()
    }
}

/// Where the last word begins, with its quote.
fn word_start(typed: &str) -> usize {
    let (mut start, mut quote, mut escaped, mut inside) = (0, None, false, false);
    for (at, c) in typed.char_indices() {
        match (escaped, quote, c) {
            (true, ..) => escaped = false,
            (_, _, '\\') => escaped = true,
            (_, Some(q), _) => quote = (c != q).then_some(q),
            (_, None, '"' | '\'') => quote = Some(c),
            (_, None, ' ' | '\t') => {
                inside = false;
                continue;
            }
            _ => {}
        }
        if !inside {
            (start, inside) = (at, true);
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_begins_with_its_quote() {
        for (typed, want) in
            [("get a", 4), ("get 'a b", 4), (r"get a\ b", 4), ("get \"x y\" z", 10), ("ls", 0)]
        {
            assert_eq!(word_start(typed), want, "{typed}");
        }
    }
}
