//! One connection for all who want the same one: one of them makes it, the others wait.
//!
//! While the maker asks a person something, those who have another person do not wait: an answer
//! may never come, and what they would be asked is for them to see. They make one of their own.

use crate::pool::Lease;
use bssh_ssh::ask::{Ask, Asked, HostKeyAnswer, HostKeyQuestion, Note, Prompt};
use futures_util::future::{BoxFuture, FutureExt};
use std::sync::{Arc, Weak};
use tokio::sync::{Mutex, MutexGuard};
use zeroize::Zeroizing;

/// A route's connection, or its place while it is being made.
#[derive(Default)]
pub(crate) struct Flight {
    slot: Mutex<Weak<Lease>>,
    /// The person the maker waits for.
    asked: Asked,
}

impl Flight {
    /// The connection's place, once nobody else is making it. None: the maker waits for another
    /// person than this one.
    pub(crate) async fn turn(&self, us: impl Fn() -> usize) -> Option<MutexGuard<'_, Weak<Lease>>> {
        if let Ok(slot) = self.slot.try_lock() {
            return Some(slot);
        }
        let us = us();
        tokio::select! {
            biased;
            slot = self.slot.lock() => Some(slot),
            () = self.asked.another(us) => None,
        }
    }

    /// Somebody has the connection; false also while it is being made.
    pub(crate) fn is_used(&self) -> bool {
        self.slot.try_lock().is_ok_and(|slot| slot.strong_count() > 0)
    }

    /// Nobody has it, and nobody makes it.
    pub(crate) fn is_free(&self) -> bool {
        self.slot.try_lock().is_ok_and(|slot| slot.strong_count() == 0)
    }
}

/// Asks for the maker, and lets the others know meanwhile.
pub(crate) struct Maker {
    pub ask: Arc<dyn Ask>,
    pub flight: Arc<Flight>,
}

impl Ask for Maker {
    fn host_key<'a>(&'a self, question: HostKeyQuestion) -> BoxFuture<'a, HostKeyAnswer> {
        async move {
            let _asking = self.flight.asked.now(self.person());
            self.ask.host_key(question).await
        }
        .boxed()
    }

    fn prompt<'a>(&'a self, prompt: Prompt) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>> {
        async move {
            let _asking = self.flight.asked.now(self.person());
            self.ask.prompt(prompt).await
        }
        .boxed()
    }

    fn confirm<'a>(&'a self, text: String) -> BoxFuture<'a, bool> {
        async move {
            let _asking = self.flight.asked.now(self.person());
            self.ask.confirm(text).await
        }
        .boxed()
    }

    fn note(&self, note: Note) {
        self.ask.note(note);
    }

    fn person(&self) -> usize {
        self.ask.person()
    }

    fn is_verbose(&self) -> bool {
        self.ask.is_verbose()
    }
}
