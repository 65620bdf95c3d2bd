//! How the local agent is forwarded: flags of the cluster grammar.

use bssh_protocol::agent::{AgentSettings, Confirm};
use clap::{Args as ClapArgs, ValueEnum};

/// What nodes may do with the agent. Any of these flags forwards it.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct AgentArgs {
    /// Forward the local agent
    #[arg(short = 'A', id = "forward_agent", global = true)]
    forward: bool,
    /// Forward the agent with these keys only
    #[arg(long, value_name = "SHA256:…", value_delimiter = ',', global = true)]
    agent_keys: Vec<String>,
    /// Forward the agent, and ask before a node uses a key
    #[arg(long, value_name = "WHEN", global = true)]
    agent_confirm: Option<When>,
    /// Forward the agent at this socket
    #[arg(long, value_name = "SOCKET", global = true)]
    agent_sock: Option<String>,
    /// Forward the agent; a node that does not take it is a failed node
    #[arg(long, global = true)]
    agent_require: bool,
}

/// When a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Never,
    /// The first time for each key
    First,
    Always,
}

impl AgentArgs {
    /// The agent is to be forwarded.
    pub(crate) fn forwards(&self) -> bool {
        self.forward || self.settings().is_some()
    }

    /// A person is to be asked.
    pub(crate) fn confirms(&self) -> bool {
        matches!(self.agent_confirm, Some(When::First | When::Always))
    }

    /// What was said about how.
    pub(crate) fn settings(&self) -> Option<AgentSettings> {
        let settings = AgentSettings {
            socket: self.agent_sock.clone(),
            keys: self.agent_keys.clone(),
            confirm: match self.agent_confirm {
                None | Some(When::Never) => Confirm::Never,
                Some(When::First) => Confirm::First,
                Some(When::Always) => Confirm::Always,
            },
            require: self.agent_require,
            ..AgentSettings::default()
        };
        let said = self.agent_confirm.is_some() || settings != AgentSettings::default();
        said.then_some(settings)
    }
}
