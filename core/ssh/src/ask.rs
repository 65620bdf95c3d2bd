//! Questions for a person, and remarks for whoever watches. The layer above decides who is asked
//! and how; here a question is a value and the answer a future.

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Whoever answers for a connection. Several connections may ask at once.
pub trait Ask: Send + Sync {
    /// May this unknown host key be trusted?
    fn host_key<'a>(&'a self, question: HostKeyQuestion) -> BoxFuture<'a, HostKeyAnswer>;
    /// One answer per field, or `None` if the person declined (or there is nobody to ask).
    fn prompt<'a>(&'a self, prompt: Prompt) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>>;
    /// Yes or no; no if there is nobody to ask.
    fn confirm<'a>(&'a self, text: String) -> BoxFuture<'a, bool>;
    /// Something worth telling. Must not block.
    fn note(&self, note: Note);
    /// Who is asked: the same for those whose questions one person gets, 0 for nobody.
    fn person(&self) -> usize;
    /// Somebody hears remarks for `-v`.
    fn is_verbose(&self) -> bool;
}

impl dyn Ask + '_ {
    /// A remark for `-v`, made only if somebody hears it.
    pub fn say(&self, text: impl FnOnce() -> String) {
        if self.is_verbose() {
            self.note(Note { level: NoteLevel::Verbose(1), text: text() });
        }
    }
}

/// Who is asked by whoever does something for others, too: those who have another person need not
/// wait for an answer that may never come.
#[derive(Default)]
pub struct Asked(watch::Sender<Option<usize>>);

/// A person is being asked, as long as it is kept.
pub struct Asking<'a>(&'a Asked);

impl Asked {
    /// This person is being asked.
    pub fn now(&self, person: usize) -> Asking<'_> {
        self.0.send_replace(Some(person));
        Asking(self)
    }

    /// Returns once another person than this one is being asked.
    pub async fn another(&self, than: usize) {
        // It cannot fail: the sender is ours.
        let _ = self.0.subscribe().wait_for(|p| p.is_some_and(|p| p != than)).await;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.0.send_replace(None);
    }
}

/// An unknown host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyQuestion {
    /// The name it would be filed under.
    pub host: String,
    /// e.g. `ssh-ed25519`.
    pub key_type: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// The key, or its certificate, as RFC 4253 section 6.6 writes it.
    pub blob: Vec<u8>,
    /// Other names the same key is known by.
    pub other_names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyAnswer {
    /// Trust it; `store` files it as well.
    Accept {
        store: bool,
    },
    Reject,
}

/// Fields for a person to fill in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pub kind: PromptKind,
    pub title: String,
    pub instructions: Option<String>,
    pub fields: Vec<Field>,
    /// 1 for the first time.
    pub attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptKind {
    Password,
    Passphrase,
    KeyboardInteractive,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub label: String,
    /// Show what is typed.
    pub echo: bool,
}

/// A remark, made printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub level: NoteLevel,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteLevel {
    /// The server's own words before it lets anybody in; lines of their own, shown as warnings are.
    Banner,
    /// A line of a program's stderr that the person would have seen, had they started it.
    Program,
    /// Shown unless the user asked for silence.
    Error,
    /// Shown unless the user asked for errors only.
    Warning,
    /// Shown with `-v`, `-vv`, `-vvv`.
    Verbose(u8),
}
