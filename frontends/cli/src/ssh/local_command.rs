//! `LocalCommand`: run here, in the user's shell, between logging in and the session.
//!
//! The connection is held by a run of its own meanwhile, and stays for the session that follows.

use super::OURS;
use super::effective::Effective;
use super::failed::failed;
use bssh_client::{Core, Run, RunEvent};
use bssh_protocol::exec::{Action, ExecParams, NodeState, Targets};
use bssh_protocol::stream::{Sink, Source};
use std::ffi::OsStr;

/// The command of a session, if it has one.
pub(super) struct LocalCommand<'a> {
    /// Tokens expanded, by the core.
    pub text: Option<&'a str>,
    pub shell: Option<&'a OsStr>,
}

/// What came of it.
pub(super) enum Held {
    /// There is no command.
    Nothing,
    /// The command has run; the connection lives as long as this run.
    Connection(Run),
    /// There is no connection; that has been said, and this is the exit code.
    Ended(u8),
}

impl LocalCommand<'_> {
    /// Connects, runs the command and waits for it. Its exit status means nothing, as in ssh.
    ///
    /// # Errors
    /// The core is lost, or the shell cannot be started.
    pub(super) async fn run(
        &self,
        core: &Core,
        effective: &Effective,
        targets: &Targets,
    ) -> Result<Held, String> {
        let Some(text) = self.text else { return Ok(Held::Nothing) };
        let params = ExecParams {
            targets: targets.clone(),
            action: Action::Hold,
            stdin: Source::Null,
            stdout: Sink::Discard,
            stderr: Sink::Discard,
            ..ExecParams::default()
        };
        let mut run = core.exec(params).await.map_err(|e| e.advised())?;
        loop {
            match run.next().await {
                Some(RunEvent::Node(event)) => match &event.state {
                    NodeState::Connected(_) => break,
                    NodeState::Ended(ended) => {
                        let failure = ended.failure.clone().unwrap_or_default();
                        return Ok(Held::Ended(failed(effective, &event.node, &failure)));
                    }
                    _ => {}
                },
                Some(RunEvent::Data { .. } | RunEvent::End { .. }) => {}
                Some(RunEvent::Lost(how)) => return Err(how),
                Some(RunEvent::Done(_)) | None => return Ok(Held::Ended(OURS)),
            }
        }
        let shell = self.shell.unwrap_or(OsStr::new("/bin/sh"));
        let status = tokio::process::Command::new(shell).arg("-c").arg(text).status().await;
        status.map_err(|e| format!("{}: {e}", shell.to_string_lossy()))?;
        Ok(Held::Connection(run))
    }
}
