//! Lines, typed by a person, and lines of ours above the one that is being typed. Completion of
//! remote paths is asked of the loop, which answers while it waits for the line; a node that does
//! not answer in time completes nothing.
//!
//! What is completed and how lines are coloured is in `complete`.

use crate::complete::Helper;
use crate::paint::{Paint, Role};
use bssh_protocol::lock;
use bssh_term::{Edited, Lines, put};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex};

/// What came of a prompt.
pub(crate) type Typed = Edited<Ask>;

/// A question of the completer.
#[derive(Debug)]
pub(crate) struct Ask {
    pub what: Asked,
    /// As typed so far, without quotes.
    pub prefix: String,
    pub answer: blocking::SyncSender<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Path,
    Command,
}

/// The line editor.
pub(crate) struct Input {
    lines: Lines<Ask>,
    /// None: nobody types, lines come from a file.
    typing: Option<Arc<Mutex<Typing>>>,
    paint: Paint,
}

/// What the editor knows by itself.
pub(crate) struct Words {
    /// Nodes and groups.
    pub names: Vec<String>,
    /// What begins a line about nodes.
    pub switch: String,
    pub paint: Paint,
}

/// The line that is being typed, as far as it is known outside the editor.
#[derive(Default)]
pub(crate) struct Typing {
    /// As it is drawn.
    pub prompt: String,
    pub line: String,
    /// Byte offset of the cursor.
    pub at: usize,
}

impl Input {
    /// Starts the editor. `words` are what can be completed here.
    ///
    /// # Errors
    /// No terminal and no file to read from.
    pub(crate) fn start(history: Option<PathBuf>, words: Words) -> Result<Input, String> {
        let typing = Arc::new(Mutex::new(Typing::default()));
        let paint = words.paint.clone();
        let is_typed = std::io::stdin().is_terminal();
        // The lines of a script are nobody's history.
        let history = history.filter(|_| is_typed);
        let lines = Lines::start(history, |tell| Helper::new(words, tell, typing.clone()))?;
        let typing = Some(typing).filter(|_| is_typed);
        Ok(Input { lines, typing, paint })
    }

    /// Asks for a line; it comes through [`Input::next`].
    pub(crate) fn ask(&self, prompt: &str) {
        // Where nobody types, a prompt would stand among what the nodes say.
        let Some(typing) = &self.typing else { return self.lines.ask("") };
        let painted = self.paint.paint(Role::Prompt, prompt);
        *lock(typing) = Typing { prompt: painted, ..Typing::default() };
        self.lines.ask(prompt);
    }

    pub(crate) async fn next(&mut self) -> Typed {
        self.lines.next().await
    }

    /// A line above the one that is being typed, which is drawn again. (The editor could do it,
    /// but then holds back what was typed ahead.)
    pub(crate) fn say(&self, line: &str) {
        let Some(typing) = &self.typing else { return crate::say(line) };
        let typing = lock(typing);
        let after = typing.line.get(typing.at..).map_or(0, |rest| rest.chars().count());
        let back = if after > 0 { format!("\x1b[{after}D") } else { String::new() };
        let text = format!("\r\x1b[J{line}\n{}{}{back}", typing.prompt, typing.line);
        put(text.as_bytes());
    }
}
