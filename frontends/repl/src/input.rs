//! Lines, typed by a person: the line editor in a thread of its own, with history and completion.
//!
//! The thread reads a line only when it is told to, so that the terminal belongs to commands and
//! to `:shell` in between. Completion of remote paths is asked of the loop, which answers while it
//! waits for the line; a node that does not answer in time completes nothing.
//!
//! What is completed and how lines are coloured is in `complete`.

use crate::complete::Helper;
use crate::paint::{Paint, Role};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Lines kept.
const HISTORY: usize = 1000;
/// Questions for the loop; one person types one at a time.
const ASKS: usize = 4;

/// What came of a prompt.
#[derive(Debug)]
pub(crate) enum Typed {
    Line(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D, or the end of a file.
    End,
    /// The terminal is gone.
    Failed(String),
    /// Something is to be completed, on the node.
    Complete(Ask),
}

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
    prompts: blocking::SyncSender<String>,
    typed: mpsc::Receiver<Typed>,
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
        let config = Config::builder()
            .max_history_size(HISTORY)
            .and_then(|b| b.history_ignore_dups(true))
            .map_err(|e| e.to_string())?
            .history_ignore_space(true)
            .completion_type(rustyline::CompletionType::List)
            .build();
        let mut editor: Editor<Helper, FileHistory> =
            Editor::with_config(config).map_err(|e| e.to_string())?;
        let (tell, typed) = mpsc::channel(ASKS);
        let typing = Arc::new(Mutex::new(Typing::default()));
        let paint = words.paint.clone();
        editor.set_helper(Some(Helper::new(words, tell.clone(), typing.clone())));
        if let Some(file) = &history {
            // There is none at first.
            let _ = editor.load_history(file);
        }
        let (prompts, wanted) = blocking::sync_channel::<String>(1);
        std::thread::spawn(move || {
            while let Ok(prompt) = wanted.recv() {
                let typed = match editor.readline(&prompt) {
                    Ok(line) => Typed::Line(line),
                    Err(ReadlineError::Interrupted) => Typed::Interrupted,
                    Err(ReadlineError::Eof) => Typed::End,
                    Err(error) => Typed::Failed(error.to_string()),
                };
                if let Typed::Line(line) = &typed
                    && editor.add_history_entry(line).unwrap_or(false)
                {
                    keep(&mut editor, history.as_ref());
                }
                if tell.blocking_send(typed).is_err() {
                    return;
                }
            }
        });
        let typing = Some(typing).filter(|_| std::io::stdin().is_terminal());
        Ok(Input { prompts, typed, typing, paint })
    }

    /// Asks for a line; it comes through [`Input::next`].
    pub(crate) fn ask(&self, prompt: &str) {
        if let Some(typing) = &self.typing {
            let prompt = self.paint.paint(Role::Prompt, prompt);
            *lock(typing) = Typing { prompt, ..Typing::default() };
        }
        // Only one line is asked for at a time.
        let _ = self.prompts.try_send(prompt.to_owned());
    }

    pub(crate) async fn next(&mut self) -> Typed {
        self.typed.recv().await.unwrap_or(Typed::End)
    }

    /// A line above the one that is being typed, which is drawn again. (The editor could do it,
    /// but then holds back what was typed ahead.)
    pub(crate) fn say(&self, line: &str) {
        let Some(typing) = &self.typing else { return crate::say(line) };
        let typing = lock(typing);
        let after = typing.line.get(typing.at..).map_or(0, |rest| rest.chars().count());
        let back = if after > 0 { format!("\x1b[{after}D") } else { String::new() };
        let text = format!("\r\x1b[J{line}\n{}{}{back}", typing.prompt, typing.line);
        let mut out = std::io::stdout().lock();
        // A screen that has gone cannot be told about.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

pub(crate) fn lock(typing: &Mutex<Typing>) -> MutexGuard<'_, Typing> {
    typing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the history down, for its owner only.
fn keep(editor: &mut Editor<Helper, FileHistory>, file: Option<&PathBuf>) {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let Some(file) = file else { return };
    if !file.exists() {
        if let Some(dir) = file.parent() {
            let _ = std::fs::create_dir_all(dir);
        }
        let _ = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    }
    // A history that cannot be written is no reason to stop.
    let _ = editor.append_history(file).or_else(|_| editor.save_history(file));
    let _ = std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600));
}
