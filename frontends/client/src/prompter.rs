//! Who answers the core's questions. The line CLI asks on the terminal; without anybody to ask,
//! [`NoPrompter`] declines, and the node fails with what would have been needed.

use bssh_protocol::auth::{
    ConfirmAnswer, ConfirmQuestion, HostKeyAnswer, HostKeyQuestion, PromptAnswer, PromptQuestion,
};
use std::pin::Pin;

/// An answer in the making. Dropped when the core withdraws the question.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers questions; several may be open at once.
pub trait Prompter: Send + Sync {
    /// What can be asked here, for the handshake: `hostKey`, `password`, `otp`, `passphrase`,
    /// `confirm`.
    fn kinds(&self) -> Vec<String>;
    /// `auth/hostKey`.
    fn host_key(&self, question: HostKeyQuestion) -> Answer<'_, HostKeyAnswer>;
    /// `auth/prompt`.
    fn prompt(&self, question: PromptQuestion) -> Answer<'_, PromptAnswer>;
    /// `auth/confirm`.
    fn confirm(&self, question: ConfirmQuestion) -> Answer<'_, ConfirmAnswer>;
}

/// Nobody to ask: declines everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompter;

impl Prompter for NoPrompter {
    fn kinds(&self) -> Vec<String> {
        Vec::new()
    }
    fn host_key(&self, _: HostKeyQuestion) -> Answer<'_, HostKeyAnswer> {
        Box::pin(std::future::ready(HostKeyAnswer::Reject))
    }
    fn prompt(&self, _: PromptQuestion) -> Answer<'_, PromptAnswer> {
        Box::pin(std::future::ready(PromptAnswer::Cancelled))
    }
    fn confirm(&self, _: ConfirmQuestion) -> Answer<'_, ConfirmAnswer> {
        Box::pin(std::future::ready(ConfirmAnswer::Cancelled))
    }
}
