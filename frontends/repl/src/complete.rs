//! What Tab completes and how a line is coloured while it is typed.
//!
//! Names of nodes and of our commands are known here; commands and paths on the node are asked of
//! the loop. Paths of this machine are looked up at once, for `:upload` and `:download`.

use crate::input::{Ask, Asked, Typed, Typing, Words};
use crate::paint::Role;
use crate::sync::VERBS;
use crate::words;
use bssh_protocol::lock;
use rustyline::Context;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use std::borrow::Cow;
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a node may take to complete something.
const COMPLETION: Duration = Duration::from_secs(2);
/// Completions of paths at most, here or on a node.
pub(crate) const MOST_PATHS: usize = 200;
/// What a shell would take apart in a path.
const SPECIAL: &str = " \t'\"\\$`&;|<>()*?[]{}!#";

pub(crate) struct Helper {
    words: Words,
    ask: mpsc::Sender<Typed>,
    typing: Arc<Mutex<Typing>>,
}

impl Helper {
    pub(crate) fn new(
        words: Words,
        ask: mpsc::Sender<Typed>,
        typing: Arc<Mutex<Typing>>,
    ) -> Helper {
        Helper { words, ask, typing }
    }

    /// Asks the loop, which asks a node.
    fn there(&self, what: Asked, prefix: &str) -> Vec<String> {
        let (answer, answered) = blocking::sync_channel(1);
        let ask = Ask { what, prefix: prefix.to_owned(), answer };
        match self.ask.blocking_send(Typed::Asked(ask)) {
            Ok(()) => answered.recv_timeout(COMPLETION).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}

impl rustyline::Helper for Helper {}
impl Validator for Helper {}

impl Hinter for Helper {
    type Hint = String;

    /// Called with every change of the line; there is nothing to hint at.
    fn hint(&self, line: &str, at: usize, _: &Context<'_>) -> Option<String> {
        let mut typing = lock(&self.typing);
        (typing.line, typing.at) = (line.to_owned(), at);
        None
    }
}

/// What the word under the cursor is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Ours,
    /// Of `:sync`.
    Verb(usize),
    /// A node, from this byte on; one of the commands about nodes if it is the first word.
    Node(usize),
    Command(usize),
    Path(usize),
    /// Here first, or there first.
    File(usize, bool),
}

/// Begins the last word: behind a blank that is not quoted, or a sign that ends words.
fn word_start(typed: &str) -> usize {
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in typed.char_indices() {
        if !escaped && (c.is_whitespace() || ",=|&;(".contains(c)) {
            start = at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    start
}

fn place(typed: &str, switch: &str) -> Place {
    let start = word_start(typed);
    let before = typed.get(..start).unwrap_or_default().trim_end();
    let first = typed.split_whitespace().next().unwrap_or_default();
    match first {
        _ if start == 0 && typed.starts_with(':') => Place::Ours,
        _ if typed.starts_with(switch) && first != format!("{switch}broadcast") => {
            Place::Node(start.max(switch.len()))
        }
        ":shell" | ":agent" => Place::Node(start),
        ":sync" if before == ":sync" => Place::Verb(start),
        ":upload" | ":sync" => Place::File(start, true),
        ":download" => Place::File(start, false),
        _ if first.starts_with(':') && before != ":bg" => Place::Path(start),
        _ => {
            let begins = before.is_empty()
                || before.ends_with(['|', '&', ';', '('])
                || before == ":bg"
                || before == format!("{switch}broadcast");
            let word = typed.get(start..).unwrap_or_default();
            match begins && !word.contains('/') {
                true => Place::Command(start),
                false => Place::Path(start),
            }
        }
    }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = line.get(..at).unwrap_or(line);
        let switch = self.words.switch.as_str();
        let word = |from: usize| typed.get(from..).unwrap_or_default();
        let bare = |from: usize| word(from).replace('\\', "");
        let (start, found, is_path) = match place(typed, switch) {
            Place::Ours => {
                let own = words::names(switch).filter(|n| n.starts_with(typed));
                (0, own.collect(), false)
            }
            Place::Verb(from) => {
                let verbs = VERBS.iter().filter(|verb| verb.starts_with(word(from)));
                (from, verbs.map(|verb| (*verb).to_owned()).collect(), false)
            }
            Place::Node(from) => {
                let nodes = self.words.names.iter().filter(|n| n.starts_with(word(from)));
                let mut found: Vec<String> = nodes.cloned().collect();
                if from == switch.len() && typed.starts_with(switch) {
                    let own = words::names(switch);
                    let own = own.filter_map(|n| Some(n.strip_prefix(switch)?.to_owned()));
                    found.extend(own.filter(|n| n.starts_with(word(from))));
                }
                (from, found, false)
            }
            Place::Command(from) if word(from).is_empty() => (from, Vec::new(), false),
            Place::Command(from) => (from, self.there(Asked::Command, word(from)), false),
            Place::Path(from) => (from, self.there(Asked::Path, &bare(from)), true),
            Place::File(from, here_first) => {
                let (here, there) = (|| here(&bare(from)), || self.there(Asked::Path, &bare(from)));
                let mut found = if here_first { here() } else { there() };
                if found.is_empty() {
                    found = if here_first { there() } else { here() };
                }
                (from, found, true)
            }
        };
        let pair = |text: String| Pair {
            replacement: if is_path { quoted(&text) } else { text.clone() },
            display: text,
        };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

/// A path with a backslash before everything a shell would take apart.
fn quoted(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if SPECIAL.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Paths of this machine.
fn here(prefix: &str) -> Vec<String> {
    let (dir, begin) = prefix.rsplit_once('/').map_or(("", prefix), |(dir, name)| (dir, name));
    let shown = prefix.strip_suffix(begin).unwrap_or_default();
    let dir = match (dir, prefix.starts_with('/')) {
        ("", true) => "/",
        ("", false) => ".",
        (dir, _) => dir,
    };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let fits = name.starts_with(begin) && (!begin.is_empty() || !name.starts_with('.'));
            let is_dir = entry.path().is_dir();
            fits.then(|| format!("{shown}{name}{}", if is_dir { "/" } else { "" }))
        })
        .filter(|path| !path.chars().any(char::is_control))
        .take(MOST_PATHS)
        .collect();
    found.sort();
    found
}

impl Highlighter for Helper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        match self.words.paint.look.colors {
            true => Cow::Owned(self.colored(line)),
            false => Cow::Borrowed(line),
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        default: bool,
    ) -> Cow<'b, str> {
        match default {
            true => Cow::Owned(self.words.paint.paint(Role::Prompt, prompt)),
            false => Cow::Borrowed(prompt),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.words.paint.look.colors && kind != CmdKind::MoveCursor
    }
}

impl Helper {
    fn colored(&self, line: &str) -> String {
        let paint = &self.words.paint;
        let switch = self.words.switch.as_str();
        let (word, _) = line.split_once(' ').unwrap_or((line, ""));
        let rest = line.get(word.len()..).unwrap_or_default();
        let ours = line.starts_with(':') || line.starts_with(switch);
        match ours {
            true if words::names(switch).any(|name| name == word) => {
                format!("{}{rest}", paint.paint(Role::Command, word))
            }
            // A group of nodes cannot be looked up with every key.
            true if line.starts_with(switch) => paint.paint(Role::Node, line),
            true => format!("{}{rest}", paint.paint(Role::Error, word)),
            false => self.quotes(line),
        }
    }

    /// Texts in quotes in one colour, one that is not closed in another.
    fn quotes(&self, line: &str) -> String {
        let mut out = String::with_capacity(line.len());
        let (mut rest, mut escaped) = (line, false);
        while let Some(c) = rest.chars().next() {
            let quote = !escaped && matches!(c, '\'' | '"');
            escaped = c == '\\' && !escaped;
            let taken = match quote {
                false => c.len_utf8(),
                true => match end_of_quote(rest, c) {
                    Some(end) => end,
                    None => {
                        out.push_str(&self.words.paint.paint(Role::Warning, rest));
                        return out;
                    }
                },
            };
            let (now, later) = rest.split_at(taken);
            match quote {
                true => out.push_str(&self.words.paint.paint(Role::Success, now)),
                false => out.push_str(now),
            }
            rest = later;
        }
        out
    }
}

/// Bytes up to and with the closing quote.
fn end_of_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return Some(at + 1);
        }
        escaped = c == '\\' && !escaped && quote == '"';
    }
    None
}

/// What a shell is asked for completions of a path or of a command's name.
pub(crate) fn completing(ask: &Ask) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    match ask.what {
        Asked::Path => {
            let (home, rest) = match ask.prefix.strip_prefix("~/") {
                Some(rest) => ("~/", rest),
                None => ("", ask.prefix.as_str()),
            };
            let rest = quote(rest);
            format!("ls -dp -- {home}{rest}* 2>/dev/null | head -n {MOST_PATHS}")
        }
        // bash knows functions, aliases and builtins as well; everything else looks along PATH.
        Asked::Command => {
            let word = quote(&ask.prefix);
            format!(
                "{{ compgen -c -- {word} 2>/dev/null || PATH=\"$PATH\" sh -c 'IFS=:; for d in $PATH; \
                 do for f in \"$d/$1\"*; do [ -f \"$f\" ] && [ -x \"$f\" ] && printf \"%s\\n\" \
                 \"${{f##*/}}\"; done; done' sh {word}; }} | sort -u | head -n {MOST_PATHS}"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_words() {
        for (typed, want) in [
            (":up", Place::Ours),
            ("!web", Place::Node(1)),
            ("!web1,we", Place::Node(6)),
            (":shell w", Place::Node(7)),
            ("unam", Place::Command(0)),
            ("ls | gre", Place::Command(5)),
            ("!broadcast upt", Place::Command(11)),
            (":bg mak", Place::Command(4)),
            ("./run", Place::Path(0)),
            ("cat /et", Place::Path(4)),
            ("cat a\\ b", Place::Path(4)),
            ("X=/et", Place::Path(2)),
            (":upload a", Place::File(8, true)),
            (":sync p", Place::Verb(6)),
            (":sync push a", Place::File(11, true)),
            (":download a", Place::File(10, false)),
        ] {
            assert_eq!(place(typed, "!"), want, "{typed}");
        }
    }

    #[test]
    fn paths_of_this_machine_and_blanks() {
        assert_eq!(quoted("a b$"), "a\\ b\\$");
        assert!(here("/et").contains(&"/etc/".to_owned()));
        assert!(here("Cargo.t").contains(&"Cargo.toml".to_owned()));
        assert!(here("/no/such/dir/").is_empty());
        assert_eq!(end_of_quote("'a' b", '\''), Some(3));
        assert_eq!(end_of_quote("\"a\\\"b\"", '"'), Some(6));
        assert_eq!(end_of_quote("'a", '\''), None);
    }
}
