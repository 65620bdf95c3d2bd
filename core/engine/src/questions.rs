//! Questions of a connection, put to the frontend whose request led to them; remarks to the log.
//!
//! A person answers one question at a time, so questions wait for each other. A frontend that
//! announced no prompts is not asked: the node then fails with what would have been needed.

use crate::remarks::{BANNER, OURS, Remarks};
use bssh_protocol::auth::{
    ConfirmAnswer, ConfirmQuestion, HostKeyAnswer as Told, HostKeyInfo, HostKeyQuestion as Asked,
    PromptAnswer, PromptDone, PromptField, PromptKind as Kind, PromptQuestion, Secret, TrustScope,
};
use bssh_protocol::error::CallError;
use bssh_protocol::link::Link;
use bssh_protocol::methods::{AuthConfirm, AuthHostKey, AuthPrompt, Method, PromptDoneEvent};
use bssh_protocol::stream::Base64Bytes;
use bssh_protocol::via::CHECKS_HOST_KEYS;
use bssh_ssh::ask::{Ask, HostKeyAnswer, HostKeyQuestion, Note, NoteLevel, Prompt, PromptKind};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;
use tracing::Level;
use zeroize::Zeroizing;

/// Who answers for one link.
pub(crate) struct Questions {
    link: Link,
    /// What the frontend can show, as it announced it.
    kinds: Vec<String>,
    /// Held by the question a person is looking at.
    turn: Mutex<()>,
    next: AtomicU64,
    remarks: Arc<Remarks>,
}

impl Questions {
    pub(crate) fn new(link: Link, kinds: Vec<String>, remarks: Arc<Remarks>) -> Arc<Self> {
        let (turn, next) = (Mutex::new(()), AtomicU64::new(1));
        Arc::new(Questions { link, kinds, turn, next, remarks })
    }

    /// The link whose frontend answers.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Somebody hears remarks for `-v`.
    pub(crate) fn is_verbose(&self) -> bool {
        self.remarks.is_verbose()
    }

    fn can(&self, kind: &str) -> bool {
        self.kinds.iter().any(|k| k == kind)
    }

    /// Asks for one secret, such as sudo's password.
    pub(crate) async fn secret(&self, kind: Kind, title: &str, node: &str) -> Option<Secret> {
        let field = PromptField { id: "0".to_owned(), label: title.to_owned(), echo: false };
        let question = PromptQuestion {
            prompt: self.number(),
            node: node.to_owned(),
            hop: None,
            kind,
            title: title.to_owned(),
            instructions: None,
            fields: vec![field],
            attempt: 1,
        };
        self.ask(question).await?.into_values().next()
    }

    /// Asks for consent. None: there is nobody to ask.
    pub(crate) async fn confirm(&self, node: &str, text: String) -> Option<bool> {
        if !self.can("confirm") {
            return None;
        }
        let _turn = self.turn.lock().await;
        let question = ConfirmQuestion { prompt: self.number(), node: node.to_owned(), text };
        match self.put::<AuthConfirm>(question.prompt, &question).await {
            Ok(ConfirmAnswer::Yes) => Some(true),
            Ok(_) => Some(false),
            Err(_) => None,
        }
    }

    /// Passes on what a gateway's core asks: a password, a passphrase, an answer. `None`: declined,
    /// or there is nobody to ask.
    pub(crate) async fn pass_on(
        &self,
        question: PromptQuestion,
    ) -> Option<BTreeMap<String, Secret>> {
        self.ask(PromptQuestion { prompt: self.number(), ..question }).await
    }

    /// Puts a question. Once it is no longer open the frontend is told, however that came about:
    /// one that is dropped is withdrawn.
    async fn put<M: Method>(
        &self,
        prompt: u64,
        question: &M::Params,
    ) -> Result<M::Result, CallError> {
        let _open = Open { link: &self.link, prompt };
        self.link.call::<M>(question).await
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks one question at a time: a person reads one at a time.
    async fn ask(&self, question: PromptQuestion) -> Option<BTreeMap<String, Secret>> {
        let announced = match question.kind {
            Kind::Passphrase => "passphrase",
            Kind::Password | Kind::KeyboardInteractive | Kind::Sudo => "password",
        };
        if !self.can(announced) {
            return None;
        }
        let _turn = self.turn.lock().await;
        match self.put::<AuthPrompt>(question.prompt, &question).await {
            Ok(PromptAnswer::Answered { answers }) => Some(answers),
            _ => None,
        }
    }
}

/// A question a person may be looking at.
struct Open<'a> {
    link: &'a Link,
    prompt: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.link.post::<PromptDoneEvent>(&PromptDone { prompt: self.prompt });
    }
}

/// [`Questions`] in the name of one node.
pub(crate) struct AskAbout {
    pub(crate) questions: Arc<Questions>,
    pub(crate) node: String,
    pub(crate) heard: Heard,
    /// Remarks for `-v` name the node.
    pub(crate) labels: bool,
}

/// What `LogLevel` lets through of remarks that are no debugging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Heard {
    Nothing,
    Errors,
    Warnings,
}

impl Heard {
    pub(crate) fn of(level: &str) -> Heard {
        match level {
            "QUIET" | "FATAL" => Heard::Nothing,
            "ERROR" => Heard::Errors,
            _ => Heard::Warnings,
        }
    }
}

impl Ask for AskAbout {
    fn host_key<'a>(&'a self, question: HostKeyQuestion) -> BoxFuture<'a, HostKeyAnswer> {
        async move {
            if !self.questions.can("hostKey") {
                return HostKeyAnswer::Reject;
            }
            // Somebody who need not read may be asked many things at once.
            let _turn = match self.questions.can(CHECKS_HOST_KEYS) {
                true => None,
                false => Some(self.questions.turn.lock().await),
            };
            let asked = Asked {
                prompt: self.questions.number(),
                node: self.node.clone(),
                hop: None,
                host: question.host,
                key: HostKeyInfo {
                    kind: question.key_type,
                    fingerprint: question.fingerprint,
                    blob: Some(Base64Bytes(question.blob.into())),
                },
                known: question.other_names,
            };
            match self.questions.put::<AuthHostKey>(asked.prompt, &asked).await {
                Ok(Told::Accept { scope }) => {
                    HostKeyAnswer::Accept { store: scope == TrustScope::File }
                }
                _ => HostKeyAnswer::Reject,
            }
        }
        .boxed()
    }

    fn prompt<'a>(&'a self, prompt: Prompt) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>> {
        async move {
            let kind = match prompt.kind {
                PromptKind::Password => Kind::Password,
                PromptKind::Passphrase => Kind::Passphrase,
                PromptKind::KeyboardInteractive => Kind::KeyboardInteractive,
            };
            let ids: Vec<String> = (0..prompt.fields.len()).map(|n| n.to_string()).collect();
            let fields = ids.iter().zip(prompt.fields).map(|(id, f)| PromptField {
                id: id.clone(),
                label: f.label,
                echo: f.echo,
            });
            let question = PromptQuestion {
                prompt: self.questions.number(),
                node: self.node.clone(),
                hop: None,
                kind,
                title: prompt.title,
                instructions: prompt.instructions,
                fields: fields.collect(),
                attempt: prompt.attempt,
            };
            let answers = self.questions.ask(question).await?;
            let reveal = |id: &String| {
                Zeroizing::new(answers.get(id).map(|s| s.reveal().to_owned()).unwrap_or_default())
            };
            Some(ids.iter().map(reveal).collect())
        }
        .boxed()
    }

    fn confirm<'a>(&'a self, text: String) -> BoxFuture<'a, bool> {
        async move {
            if !self.questions.can("confirm") {
                return false;
            }
            let _turn = self.questions.turn.lock().await;
            let (prompt, node) = (self.questions.number(), self.node.clone());
            let question = ConfirmQuestion { prompt, node, text };
            let answer = self.questions.put::<AuthConfirm>(prompt, &question).await;
            matches!(answer, Ok(ConfirmAnswer::Yes))
        }
        .boxed()
    }

    fn person(&self) -> usize {
        Arc::as_ptr(&self.questions).addr()
    }

    fn is_verbose(&self) -> bool {
        self.questions.is_verbose()
    }

    fn note(&self, mut note: Note) {
        if self.labels && matches!(note.level, NoteLevel::Verbose(_)) {
            note.text = format!("{}: {}", self.node, note.text);
        }
        let (level, target) = match note.level {
            NoteLevel::Banner | NoteLevel::Warning if self.heard < Heard::Warnings => return,
            NoteLevel::Error if self.heard < Heard::Errors => return,
            NoteLevel::Banner => (Level::WARN, BANNER),
            NoteLevel::Program | NoteLevel::Error => (Level::ERROR, OURS),
            NoteLevel::Warning => (Level::WARN, OURS),
            NoteLevel::Verbose(0 | 1) => (Level::INFO, OURS),
            NoteLevel::Verbose(2) => (Level::DEBUG, OURS),
            NoteLevel::Verbose(_) => (Level::TRACE, OURS),
        };
        // Connections have tasks of their own, in nobody's name.
        if self.questions.remarks.take(level, target, &note.text) {
            return;
        }
        match level {
            Level::ERROR => tracing::error!("{}", note.text),
            Level::WARN if target == BANNER => tracing::warn!(target: BANNER, "{}", note.text),
            Level::WARN => tracing::warn!("{}", note.text),
            Level::INFO => tracing::info!("{}", note.text),
            Level::DEBUG => tracing::debug!("{}", note.text),
            _ => tracing::trace!("{}", note.text),
        }
    }
}
