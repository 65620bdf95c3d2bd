//! Lines, typed by a person: the line editor in a thread of its own, with a history.
//!
//! The thread reads a line only when it is told to, so that the terminal belongs to others in
//! between. What its helper wants to know (to complete a path, say) is asked of the same queue
//! that lines come through; [`ASKS`] may wait there.

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, Helper};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

/// Lines kept in a history.
const HISTORY: usize = 1000;
/// Questions on their way; one person types one line at a time.
const ASKS: usize = 4;

/// What came of a prompt.
#[derive(Debug)]
pub enum Edited<Q> {
    /// A line, without its end.
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the end of a file.
    End,
    /// The terminal is gone.
    Failed(String),
    /// The helper wants to know something; the line comes later.
    Asked(Q),
}

/// The line editor. Its thread ends with it, once the line that is being typed is done.
#[derive(Debug)]
pub struct Lines<Q> {
    prompts: blocking::SyncSender<String>,
    edited: mpsc::Receiver<Edited<Q>>,
}

impl<Q: Send + 'static> Lines<Q> {
    /// Starts the editor. `helper` gets the way to ask.
    ///
    /// # Errors
    /// There is no terminal, and no file to read from.
    pub fn start<H: Helper + Send + 'static>(
        history: Option<PathBuf>,
        helper: impl FnOnce(mpsc::Sender<Edited<Q>>) -> H,
    ) -> Result<Lines<Q>, String> {
        let config = Config::builder()
            .max_history_size(HISTORY)
            .and_then(|b| b.history_ignore_dups(true))
            .map_err(|e| e.to_string())?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor: Editor<H, FileHistory> =
            Editor::with_config(config).map_err(|e| e.to_string())?;
        let (tell, edited) = mpsc::channel(ASKS);
        editor.set_helper(Some(helper(tell.clone())));
        if let Some(file) = &history {
            // There is none at first.
            let _ = editor.load_history(file);
        }
        let (prompts, wanted) = blocking::sync_channel::<String>(1);
        let edit = move || {
            while let Ok(prompt) = wanted.recv() {
                let edited = match editor.readline(&prompt) {
                    Ok(line) => Edited::Line(line),
                    Err(ReadlineError::Interrupted) => Edited::Interrupted,
                    Err(ReadlineError::Eof) => Edited::End,
                    Err(error) => Edited::Failed(error.to_string()),
                };
                if let (Edited::Line(line), Some(file)) = (&edited, &history)
                    && editor.add_history_entry(line).unwrap_or(false)
                {
                    keep(&mut editor, file);
                }
                if tell.blocking_send(edited).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("lines".to_owned());
        thread.spawn(edit).map_err(|e| e.to_string())?;
        Ok(Lines { prompts, edited })
    }

    /// Asks for a line; it comes through [`Lines::next`].
    pub fn ask(&self, prompt: &str) {
        // Only one line is asked for at a time.
        let _ = self.prompts.try_send(prompt.to_owned());
    }

    /// The next line or question.
    pub async fn next(&mut self) -> Edited<Q> {
        self.edited.recv().await.unwrap_or(Edited::End)
    }
}

/// Writes the history down, for its owner only. One that cannot be written is no reason to stop.
fn keep<H: Helper>(editor: &mut Editor<H, FileHistory>, file: &Path) {
    if !file.exists() {
        if let Some(dir) = file.parent() {
            let _ = std::fs::create_dir_all(dir);
        }
        let _ = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    }
    let _ = editor.append_history(file).or_else(|_| editor.save_history(file));
    let _ = std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600));
}
