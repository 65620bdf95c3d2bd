//! Calls that change a session's state without a command of the caller's, and its state in words.

use super::{Order, Session};
use crate::agent::Offer;
use crate::engine::{Caller, Engine};
use crate::failure::failure;
use crate::lanes::{Seat, Wanted};
use crate::pty::terminal;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Exit, Failure, PtyRequest};
use bssh_protocol::job::{JobEntry as Job, JobHandle};
use bssh_protocol::session::{JobRead, SessionExecParams, SessionRef};
use bssh_protocol::session_state::{
    SessionCd, SessionPlace, SessionResize, SessionSaved, SessionSetenv, SessionUnsetenv,
};
use bssh_protocol::stream::Base64Bytes;
use bssh_ssh::Channel;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a background job is asked whether it has ended: at first, and at most.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_AT_MOST: Duration = Duration::from_secs(1);

impl Engine {
    /// `session/cd`.
    ///
    /// # Errors
    /// `handle.unknown`; the directory is not there, as `invalidParams`; the node is not there.
    pub async fn session_cd(
        self: &Arc<Self>,
        caller: &Caller,
        params: &SessionCd,
    ) -> Result<SessionPlace, CallError> {
        let command = match params.cwd.as_str() {
            "~" => "cd".to_owned(),
            path => match path.strip_prefix("~/") {
                Some(rest) => format!("cd -- ~/{}", super::quote(rest)),
                None => format!("cd -- {}", super::quote(path)),
            },
        };
        self.change(caller, params.session, (command, "params.cwd")).await
    }

    /// `session/setenv`.
    ///
    /// # Errors
    /// As [`Engine::session_cd`]; a name that is no variable's.
    pub async fn session_setenv(
        self: &Arc<Self>,
        caller: &Caller,
        params: &SessionSetenv,
    ) -> Result<SessionPlace, CallError> {
        names(params.env.keys(), "params.env")?;
        let mut command = ":".to_owned();
        for (name, value) in &params.env {
            // Writing to a String cannot fail.
            let _ = write!(command, "; export {name}={}", super::quote(value));
        }
        self.change(caller, params.session, (command, "params.env")).await
    }

    /// `session/unsetenv`.
    ///
    /// # Errors
    /// As [`Engine::session_setenv`].
    pub async fn session_unsetenv(
        self: &Arc<Self>,
        caller: &Caller,
        params: &SessionUnsetenv,
    ) -> Result<SessionPlace, CallError> {
        names(params.names.iter(), "params.names")?;
        let command = format!("unset {}", params.names.join(" "));
        self.change(caller, params.session, (command, "params.names")).await
    }

    /// Runs a line of ours in its turn.
    async fn change(
        self: &Arc<Self>,
        caller: &Caller,
        id: u64,
        (command, at): (String, &str),
    ) -> Result<SessionPlace, CallError> {
        if command.contains('\0') {
            let text = format!("{at}: a NUL byte cannot be given to a shell");
            return Err(CallError::new(Kind::InvalidParams, text).at(at));
        }
        let (owner, session) = self.session(id)?;
        let engine = owner.unwrap_or_else(|| self.clone());
        let params = SessionExecParams { session: id, command, ..SessionExecParams::default() };
        let job = self.job((session.clone(), &caller.link), params, (None, None));
        // It goes on to its end also when nobody waits for the answer any more.
        let (tell, told) = oneshot::channel();
        self.clone().spawn(async move { drop(tell.send(job.run(&engine, false).await)) }).await;
        let ended = |_| CallError::new(Kind::Disconnected, "the core is ending".to_owned());
        let done = told.await.map_err(ended)?;
        if let Some(failure) = &done.failure {
            return Err(super::job::lost(&session, failure));
        }
        match done.exit {
            Some(Exit::Status(0)) => Ok(SessionPlace { cwd: done.cwd, rev: done.rev }),
            _ => {
                let text = format!("{at}: {}: the shell did not take it", session.node);
                Err(CallError::new(Kind::InvalidParams, text).at(at))
            }
        }
    }

    /// `session/snapshot`.
    ///
    /// # Errors
    /// `handle.unknown`; the node has not been there yet.
    pub async fn session_snapshot(&self, params: &SessionRef) -> Result<SessionSaved, CallError> {
        let (_, session) = self.session(params.session)?;
        let shell = match session.ready().await {
            Ok(attached) => attached.shell.clone(),
            // What was known before it was lost.
            Err(failure) if session.memory().state.is_none() => {
                return Err(super::job::lost(&session, &failure));
            }
            Err(_) => session.rules.shell.clone().unwrap_or_default(),
        };
        let memory = session.memory();
        let state = memory.state.clone().unwrap_or_default();
        Ok(SessionSaved {
            shell,
            cwd: memory.shown_cwd(),
            rev: memory.rev,
            state: Base64Bytes(state),
        })
    }

    /// `session/resize`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn session_resize(&self, params: &SessionResize) -> Result<(), CallError> {
        let (_, session) = self.session(params.session)?;
        let (cols, rows) = (params.cols, params.rows);
        let size = bssh_ssh::PtyRequest { cols, rows, ..bssh_ssh::PtyRequest::default() };
        let memory = session.memory();
        let Some(running) = memory.running.get(&params.exec) else {
            let text = format!("no command {} runs in session {}", params.exec, params.session);
            return Err(CallError::new(Kind::HandleUnknown, text).at("params.exec"));
        };
        // One that has that many orders on the way gets the next size.
        let _ = running.orders.try_send(Order::Resize(size));
        Ok(())
    }

    /// `job/wait` for a job in the background of a session. A lost connection is waited for, too.
    ///
    /// # Errors
    /// `handle.unknown`; the node does not come back.
    pub async fn session_job_wait(&self, id: u64, handle: &JobHandle) -> Result<Job, CallError> {
        let (_, session) = self.session(id)?;
        let jobs = session.memory().jobs.as_ref().map(|(_, all)| all.clone()).unwrap_or_default();
        let Some(job) = jobs.into_iter().find(|entry| entry.job == handle.job) else {
            let text = format!("no job {} in session {id}", handle.job);
            return Err(CallError::new(Kind::HandleUnknown, text).at("params.job"));
        };
        let read = JobRead { session: id, job: job.job, ..JobRead::default() };
        let mut pause = LOOK;
        let status = loop {
            match self.job_read(&JobRead { offset: u64::MAX >> 1, ..read.clone() }).await {
                Ok(output) if output.status.is_some() => break output.status,
                Ok(_) => {}
                Err(error) if error.code == Kind::Disconnected.code() => {
                    if session.is_closed() || session.ready().await.is_err() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_AT_MOST);
        };
        Ok(Job {
            job: job.job,
            kind: "background".to_owned(),
            title: job.command,
            nodes: 1,
            ended: 1,
            status,
            ..Job::default()
        })
    }

    /// A channel for something of a session, with its agent and a terminal. The offer is settled
    /// once the channel has been started.
    pub(super) async fn session_channel(
        &self,
        session: &Session,
        pty: Option<&PtyRequest>,
        lane: Wanted,
    ) -> Result<(Seat, Channel, Option<Offer>), Failure> {
        let route = session.route.as_ref().map_err(Clone::clone)?;
        let ask = self.ask_for(&session.questions);
        let opened = self.lanes.open(self.pool(), (route, lane), &ask).await;
        let (seat, mut channel) = opened.map_err(|e| failure(&e))?;
        let offer = session.offer_agent(self, (seat.lease(), route), &mut channel).await?;
        if let Some(pty) = pty {
            channel.request_pty(&terminal(pty)).await.map_err(|e| failure(&e))?;
        }
        Ok((seat, channel, offer))
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>, at: &str) -> Result<(), CallError> {
    let mut names = names.peekable();
    if names.peek().is_none() {
        return Err(CallError::new(Kind::InvalidParams, format!("{at}: none given")).at(at));
    }
    match names.find(|name| !super::payload::is_name(name)) {
        None => Ok(()),
        Some(bad) => {
            let text = format!("{at}: {bad:?} is no name of a variable");
            Err(CallError::new(Kind::InvalidParams, text).at(at))
        }
    }
}
