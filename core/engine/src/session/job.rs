//! Jobs: commands in the background of a session. They write to files of its directory, outlive
//! the connection, and are found again by the next one.

use super::payload::{LONGEST_LINE, Start};
use super::remote::Sent;
use super::{Session, nonce};
use crate::engine::Engine;
use crate::failure::failure;
use crate::lanes::Wanted;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::Failure;
use bssh_protocol::session::{
    JobEntry, JobKill, JobOutput, JobRead, JobRef, JobStart, SessionJobs, SessionRef,
};
use bssh_protocol::stream::Base64Bytes;
use std::sync::Arc;

/// The status of a job whose processes are gone and that left none.
const KILLED: &str = "137";

impl Engine {
    /// `job/start`.
    ///
    /// # Errors
    /// `handle.unknown`; an empty command; why the node does not take it, as `disconnected`.
    pub async fn job_start(&self, params: JobStart) -> Result<JobRef, CallError> {
        let (owner, session) = self.session(params.session)?;
        let engine = owner.as_deref().unwrap_or(self);
        if params.command.trim().is_empty() || params.command.contains('\0') {
            let text = "params.command: no command, or one with a NUL byte";
            return Err(CallError::new(Kind::InvalidParams, text).at("params.command"));
        }
        let job =
            engine.start_job(&session, &params.command).await.map_err(|f| lost(&session, &f))?;
        Ok(JobRef { session: session.id, job })
    }

    async fn start_job(&self, session: &Arc<Session>, command: &str) -> Result<u64, Failure> {
        let attached = session.ready().await?;
        let number = session.number();
        let cwd = session.memory().cwd.clone();
        let nonce = nonce();
        let stable = session
            .route
            .as_ref()
            .map_or_else(|_| String::new(), |route| session.stable_agent(self, route));
        let mut start = Start {
            dir: &attached.dir,
            shell: &attached.shell,
            kind: &attached.kind,
            number,
            update: false,
            state_file: &attached.state_file(),
            cwd: &cwd,
            command,
            env: ("", ""),
            fate: 'b',
            stable: &stable,
            terminal: false,
            mark: "",
            watchdog_s: 0,
            nonce: &nonce,
        };
        let mut line = start.line();
        if line.len() > LONGEST_LINE {
            attached.helper.write(&format!("{number}.in"), command.as_bytes()).await;
            start.command = "";
            line = start.line();
        }
        let (_seat, mut channel, _) = self.session_channel(session, None, Wanted::Any).await?;
        channel.exec(line.as_bytes()).await.map_err(|e| failure(&e))?;
        // Its starter ends at once.
        while channel.next().await.is_some() {}
        session.note_job(&attached.dir, JobEntry { job: number, command: command.to_owned() });
        Ok(number)
    }

    /// `job/read`.
    ///
    /// # Errors
    /// `handle.unknown`; the node is not there, as `disconnected`.
    pub async fn job_read(&self, params: &JobRead) -> Result<JobOutput, CallError> {
        let (_, session) = self.session(params.session)?;
        let attached = session.ready().await.map_err(|f| lost(&session, &f))?;
        // The status first: what is read after it is all there is.
        let file = format!("{}.rc", params.job);
        let mut status = attached.helper.read(&file, 0).await;
        if status.is_none() && attached.helper.signal("0", params.job).await == Some(Sent::NoSuch) {
            // Ended just now, or killed before it could say how.
            let killed = || Some(KILLED.into());
            status = attached.helper.read(&file, 0).await.or_else(killed);
        }
        let suffix = if params.stderr { "err" } else { "out" };
        let file = format!("{}.{suffix}", params.job);
        let unknown = || {
            let text = format!("no job {} in session {}", params.job, params.session);
            CallError::new(Kind::HandleUnknown, text).at("params.job")
        };
        let data = attached.helper.read(&file, params.offset).await.ok_or_else(unknown)?;
        let status = status.and_then(|s| String::from_utf8_lossy(&s).trim().parse().ok());
        Ok(JobOutput { data: Base64Bytes(data), status })
    }

    /// `session/jobs`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn session_jobs(&self, params: &SessionRef) -> Result<SessionJobs, CallError> {
        let (_, session) = self.session(params.session)?;
        let jobs = session.memory().jobs.as_ref().map(|(_, all)| all.clone());
        Ok(SessionJobs { jobs: jobs.unwrap_or_default() })
    }

    /// `job/kill`.
    ///
    /// # Errors
    /// As [`Engine::job_read`].
    pub async fn job_kill(&self, params: JobKill) -> Result<(), CallError> {
        let (_, session) = self.session(params.session)?;
        crate::signals::known(&params.signal)?;
        let attached = session.ready().await.map_err(|f| lost(&session, &f))?;
        attached.helper.signal(&params.signal, params.job).await;
        Ok(())
    }
}

pub(super) fn lost(session: &Session, failure: &Failure) -> CallError {
    let text = format!("{}: {}", session.node, failure.message);
    let error = CallError::new(Kind::Disconnected, text);
    failure.hint.as_ref().map_or(error.clone(), |hint| error.hint(hint.clone()))
}
