//! Sessions of the configuration: `sessions:`, and a request filled in with one of them.

use crate::engine::Engine;
use crate::plan::config_error;
use crate::run::millis;
use bssh_config::Inventory;
use bssh_config::clusters::sessions::Session as Definition;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::Settings;
use bssh_protocol::node::GroupListParams;
use bssh_protocol::session::{OnDisconnect, SessionOpenParams, Snapshot};
use bssh_protocol::session_state::{DefinedSession, DefinedSessions};
use std::path::PathBuf;

impl Engine {
    /// `session/defined`.
    ///
    /// # Errors
    /// A bad file.
    pub fn session_defined(&self, params: &GroupListParams) -> Result<DefinedSessions, CallError> {
        let inventory = self.definitions(&params.settings)?;
        let session = |(name, session): (&String, &Definition)| DefinedSession {
            name: name.clone(),
            target: session.target.clone(),
            cwd: session.cwd.clone(),
            timeout_ms: session.timeout.map(millis),
            max_output: session.max_output,
        };
        let sessions = inventory.config().sessions.iter().map(session).collect();
        Ok(DefinedSessions { sessions })
    }

    /// The request as it is meant: what it does not say, the session it names says.
    pub(super) fn with_definition(
        &self,
        params: &SessionOpenParams,
    ) -> Result<SessionOpenParams, CallError> {
        let params = params.clone();
        let Some(name) = params.defined.as_deref() else { return Ok(params) };
        let inventory = self.definitions(&params.targets.settings)?;
        let known = &inventory.config().sessions;
        let definition = known.get(name).cloned().ok_or_else(|| unknown(name, known.keys()))?;
        Ok(filled(params, definition))
    }

    fn definitions(&self, settings: &Settings) -> Result<Inventory, CallError> {
        let config = settings.config.as_ref().map(PathBuf::from);
        Inventory::load(self.env(), config.as_deref()).map_err(|e| config_error(&e))
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> CallError {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let known = match known.as_slice() {
        [] => "the configuration has none (sessions:)".to_owned(),
        names => format!("there are {}", names.join(", ")),
    };
    let text = format!("no session is called \"{name}\"; {known}");
    CallError::new(Kind::ConfigInvalid, text).at("params.defined")
}

fn filled(mut params: SessionOpenParams, definition: Definition) -> SessionOpenParams {
    if params.targets.nodes.is_empty() && params.targets.destination.is_none() {
        params.targets.nodes = definition.target;
    }
    if definition.plain {
        params.snapshot = Snapshot::Plain;
    }
    if definition.keep {
        params.on_disconnect = OnDisconnect::Keep;
    }
    if params.sync.is_empty() {
        params.sync = definition.sync;
    }
    let mut env = definition.env;
    env.append(&mut params.env);
    params.env_exclude.extend(definition.env_exclude);
    SessionOpenParams {
        env,
        shell: params.shell.or(definition.shell),
        cwd: params.cwd.or(definition.cwd),
        forward_agent: params.forward_agent || definition.forward_agent,
        timeout_ms: params.timeout_ms.or(definition.timeout.map(millis)),
        kill_grace_ms: params.kill_grace_ms.or(definition.kill_grace.map(millis)),
        max_output: params.max_output.or(definition.max_output),
        spool: params.spool.or(definition.spool),
        ..params
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_a_request_says_goes_first() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut definition = Definition::default();
        definition.target = "n[1-2]".to_owned();
        definition.shell = Some("/bin/zsh".to_owned());
        definition.cwd = Some("~/app".to_owned());
        (definition.plain, definition.keep, definition.forward_agent) = (true, true, true);
        definition.env = [pair("A", "1"), pair("B", "2")].into();
        definition.env_exclude = vec!["LANG".to_owned()];
        definition.sync = vec!["app".to_owned()];
        definition.timeout = Some(Duration::from_secs(3));
        definition.kill_grace = Some(Duration::from_secs(1));
        (definition.max_output, definition.spool) = (Some(10), Some(20));
        let all = filled(SessionOpenParams::default(), definition.clone());
        assert_eq!(all.targets.nodes, "n[1-2]");
        assert_eq!((all.shell.as_deref(), all.cwd.as_deref()), (Some("/bin/zsh"), Some("~/app")));
        assert_eq!((all.snapshot, all.on_disconnect), (Snapshot::Plain, OnDisconnect::Keep));
        assert!(all.forward_agent && all.sync == ["app"] && all.env_exclude == ["LANG"]);
        assert_eq!((all.timeout_ms, all.kill_grace_ms), (Some(3000), Some(1000)));
        assert_eq!((all.max_output, all.spool, all.env.len()), (Some(10), Some(20), 2));
        let mut said = SessionOpenParams::default();
        said.targets.nodes = "other".to_owned();
        said.shell = Some("/bin/sh".to_owned());
        said.env = [pair("A", "mine")].into();
        (said.timeout_ms, said.max_output, said.spool) = (Some(0), Some(1), Some(0));
        let said = filled(said, definition);
        assert_eq!(
            (said.targets.nodes.as_str(), said.shell.as_deref()),
            ("other", Some("/bin/sh"))
        );
        assert_eq!((said.env["A"].as_str(), said.env["B"].as_str()), ("mine", "2"));
        assert_eq!((said.timeout_ms, said.max_output, said.spool), (Some(0), Some(1), Some(0)));
    }
}
