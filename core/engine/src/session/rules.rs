//! What a session was opened with: its rules, where it begins, its agent.

use super::{Memory, Session, Stage};
use crate::agent::{Offer, Wish, stable_name};
use crate::engine::Engine;
use crate::plan::Route;
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::exec::Failure;
use bssh_protocol::session::{OnDisconnect, SessionExecParams, SessionOpenParams, Snapshot};
use bssh_protocol::session_state::SessionSaved;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the caller wished.
pub(super) struct Rules {
    pub(super) shell: Option<String>,
    pub(super) cwd: Option<String>,
    pub(super) snapshot: Snapshot,
    pub(super) exclude: Vec<String>,
    pub(super) stay_lost: bool,
    pub(super) on_disconnect: OnDisconnect,
    pub(super) forward_agent: bool,
    pub(super) agent: Option<AgentSettings>,
    /// Environment to begin with.
    pub(super) env: BTreeMap<String, String>,
    /// Of commands that say nothing themselves: time limit, grace, window of the output.
    limits: [Option<u64>; 3],
}

impl Rules {
    pub(super) fn new(params: &SessionOpenParams) -> Rules {
        let before = params.restore.as_ref().map(|saved| saved.shell.clone());
        Rules {
            shell: params.shell.clone().or(before.filter(|shell| !shell.is_empty())),
            // It is looked for from home.
            cwd: params.cwd.as_deref().map(|cwd| match cwd.strip_prefix("~/") {
                Some(rest) => format!("./{rest}"),
                None if cwd == "~" => ".".to_owned(),
                None => cwd.to_owned(),
            }),
            snapshot: params.snapshot,
            exclude: params.env_exclude.clone(),
            stay_lost: params.stay_lost,
            on_disconnect: params.on_disconnect,
            forward_agent: params.forward_agent,
            agent: params.agent.clone(),
            env: params.env.clone(),
            limits: [params.timeout_ms, params.kill_grace_ms, params.max_output],
        }
    }

    /// A command with what its session says where it says nothing itself.
    pub(super) fn of_command(&self, params: SessionExecParams) -> SessionExecParams {
        let [timeout_ms, kill_grace_ms, max_output] = self.limits;
        SessionExecParams {
            timeout_ms: params.timeout_ms.or(timeout_ms),
            kill_grace_ms: params.kill_grace_ms.or(kill_grace_ms),
            max_output: params.max_output.or(max_output),
            ..params
        }
    }
}

impl Memory {
    /// Of a session that begins, or goes on where another one was.
    pub(super) fn new(restore: Option<&SessionSaved>) -> Memory {
        Memory {
            stage: Stage::Connecting(1),
            cwd: restore.map(|saved| saved.cwd.clone().into()).unwrap_or_default(),
            home: String::new(),
            rev: restore.map_or(0, |saved| saved.rev.max(1)),
            state: restore.map(|saved| saved.state.0.clone()),
            running: BTreeMap::new(),
            dir: None,
            jobs: None,
            last: None,
        }
    }

    pub(super) fn shown_cwd(&self) -> String {
        String::from_utf8_lossy(&self.cwd).into_owned()
    }
}

impl Session {
    /// Offers the agent on one of its channels, if it is wanted.
    pub(super) async fn offer_agent(
        &self,
        engine: &Engine,
        (lease, route): (&Arc<crate::pool::Lease>, &Route),
        channel: &mut bssh_ssh::Channel,
    ) -> Result<Option<Offer>, Failure> {
        let offered = engine.offer_agent(&self.agent_wish(lease, route), channel).await;
        offered.map_err(|e| crate::failure::failure(&e))
    }

    fn agent_wish<'a>(&'a self, lease: &'a Arc<crate::pool::Lease>, route: &'a Route) -> Wish<'a> {
        let (forward, settings) = (self.rules.forward_agent, self.rules.agent.as_ref());
        Wish { lease, route, forward, settings, questions: &self.questions }
    }

    /// Whose path to the agent its commands get, if they get one.
    pub(super) fn stable_agent(&self, engine: &Engine, route: &Route) -> String {
        let wanted =
            self.rules.forward_agent || route.options.forward_agent_on || route.agent.forward;
        match wanted && route.agent.stable_path {
            true => stable_name(engine.env()),
            false => String::new(),
        }
    }
}
