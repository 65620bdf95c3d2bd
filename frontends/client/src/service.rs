//! What the core may ask of a frontend: answers to its questions, and a place for its events.

use crate::core::{Handles, Remarks};
use crate::prompter::Prompter;
use crate::sessions::SessionEvent;
use bssh_protocol::backlog::Backlog;
use bssh_protocol::followed::Taken;
use bssh_protocol::handshake::LogRecord;
use bssh_protocol::link::{Answering, Link, Notification, Reply, Request, Service};
use bssh_protocol::methods::{
    AuthConfirm, AuthHostKey, AuthPrompt, Event, ExecDoneEvent, ExecNodeEvent, FsTaskDoneEvent,
    LogRecordEvent, Method, PromptDoneEvent, PtyExitedEvent, SessionExecDoneEvent,
    SessionExecRetryEvent, SessionStateEvent,
};
use std::io::Write;
use std::sync::Arc;
use tokio::sync::mpsc;

pub(crate) struct Frontend {
    pub(crate) prompter: Arc<dyn Prompter>,
    pub(crate) handles: Handles,
    /// What is said of single files and was not taken.
    pub(crate) backlog: Arc<Backlog>,
    /// Other events. When nobody takes them, further ones are left out.
    pub(crate) events: mpsc::Sender<Notification>,
    /// Takes remarks instead of stderr.
    pub(crate) remarks: Option<Remarks>,
}

impl Frontend {
    /// What a child core that was not asked to tell us writes to our stderr itself.
    fn remark(&self, record: &LogRecord) {
        remark(self.remarks.as_ref(), record);
    }
}

/// Shows a remark where it is wanted.
pub(crate) fn remark(remarks: Option<&Remarks>, record: &LogRecord) {
    match remarks {
        Some(remarks) if record.level != "banner" => remarks(record),
        // A remark that cannot be shown is no reason to stop.
        _ => drop(std::io::stderr().write_all(record.line().as_bytes())),
    }
}

impl Service for Frontend {
    async fn ready(&self) {
        self.backlog.room().await;
    }

    fn request(&self, _: &Link, request: Request) -> Answering {
        let prompter = self.prompter.clone();
        Box::pin(async move {
            match &*request.method {
                AuthHostKey::NAME => match request.params::<AuthHostKey>() {
                    Ok(question) => Reply::to::<AuthHostKey>(Ok(prompter.host_key(question).await)),
                    Err(error) => Reply::to::<AuthHostKey>(Err(error)),
                },
                AuthPrompt::NAME => match request.params::<AuthPrompt>() {
                    Ok(question) => Reply::to::<AuthPrompt>(Ok(prompter.prompt(question).await)),
                    Err(error) => Reply::to::<AuthPrompt>(Err(error)),
                },
                AuthConfirm::NAME => match request.params::<AuthConfirm>() {
                    Ok(question) => Reply::to::<AuthConfirm>(Ok(prompter.confirm(question).await)),
                    Err(error) => Reply::to::<AuthConfirm>(Err(error)),
                },
                _ => Reply::unknown_method(&request),
            }
        })
    }

    fn notification(&self, link: &Link, notification: Notification) {
        let handles = &self.handles;
        // An event this side cannot read comes from a newer core: ignored, as unknown ones are.
        match &*notification.method {
            ExecNodeEvent::NAME => {
                if let Ok(event) = notification.event::<ExecNodeEvent>() {
                    // All that our own core says is taken.
                    let _ = handles.runs.node(link, event, notification.params.len());
                }
            }
            ExecDoneEvent::NAME => {
                if let Ok(event) = notification.event::<ExecDoneEvent>() {
                    handles.runs.done(event);
                }
            }
            SessionStateEvent::NAME => {
                if let Ok(event) = notification.event::<SessionStateEvent>() {
                    handles.sessions.push(SessionEvent::State(event), None);
                }
            }
            SessionExecRetryEvent::NAME => {
                if let Ok(event) = notification.event::<SessionExecRetryEvent>() {
                    handles.sessions.push(SessionEvent::Retry(event), None);
                }
            }
            SessionExecDoneEvent::NAME => {
                if let Ok(event) = notification.event::<SessionExecDoneEvent>() {
                    handles.sessions.push(SessionEvent::Done(Box::new(event)), None);
                }
            }
            PtyExitedEvent::NAME => {
                if let Ok(event) = notification.event::<PtyExitedEvent>() {
                    handles.ptys.exited(event);
                }
            }
            FsTaskDoneEvent::NAME => {
                if let Ok(event) = notification.event::<FsTaskDoneEvent>() {
                    handles.tasks.done(event);
                }
            }
            // Questions that are withdrawn are cancelled, which the link sees to.
            PromptDoneEvent::NAME => {}
            LogRecordEvent::NAME => {
                if let Ok(record) = notification.event::<LogRecordEvent>() {
                    self.remark(&record);
                }
            }
            name if name.starts_with("event/") => {
                // Full: whoever is interested sees a gap in the numbers.
                let _ = self.events.try_send(notification);
            }
            _ => {
                if handles.transfers.take(&notification) == Taken::Another {
                    handles.syncs.take(&notification);
                }
            }
        }
    }
}
