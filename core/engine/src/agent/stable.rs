//! A path on the node that leads to the agent whatever connection there is (`agent.stable_path`):
//! a link in `~/.ssh`, so that tmux and daemons keep their agent over a reconnect.
//!
//! A small shell script on a channel of its own makes the link, and takes it away when its stdin
//! ends: with the connection, or with the core.

use crate::session::bootstrap;
use bssh_config::Environment;
use bssh_ssh::{Channel, ChannelEvent, Connection};
use std::time::Duration;

const SCRIPT: &str = include_str!("stable.sh");
/// How long a node may take to make the link.
const WITHIN: Duration = Duration::from_secs(10);
/// Most bytes of its answer.
const MOST: usize = 8 * 1024;

/// The link on a node. Dropping it takes the link away.
pub(crate) struct StableLink {
    _channel: Channel,
    /// Where it is.
    pub path: String,
}

/// Whose link it is: user and machine, so that a person can write it down.
pub(crate) fn name(env: &Environment) -> String {
    let part = |text: &str| -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        text.chars().map(plain).take(32).collect()
    };
    let host = env.hostname.split('.').next().unwrap_or_default();
    format!("{}-{}", part(&env.user), part(host))
}

impl StableLink {
    /// Makes the link, on a connection whose node has taken the agent.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(super) async fn make(connection: &Connection, name: &str) -> Result<StableLink, String> {
        let making = async {
            let mut channel = connection.open_session().await.map_err(|e| e.to_string())?;
            // Some servers give each channel a socket of its own; the others refuse a second one.
            channel.agent_forward().await.map_err(|e| e.to_string())?;
            let line = bootstrap(&format!("I={name}\n{SCRIPT}"));
            channel.exec(line.as_bytes()).await.map_err(|e| e.to_string())?;
            let answer = answer(&mut channel).await;
            match answer.split_once(' ') {
                Some(("OK", path)) => Ok(StableLink { _channel: channel, path: path.to_owned() }),
                Some(("NO", why)) => Err(why.to_owned()),
                _ => Err("the node runs no command of ours".to_owned()),
            }
        };
        let slow = || format!("no answer within {} s", WITHIN.as_secs());
        tokio::time::timeout(WITHIN, making).await.unwrap_or_else(|_| Err(slow()))
    }
}

/// The script's first words, past whatever the login shell says.
async fn answer(channel: &mut Channel) -> String {
    let mut said = Vec::new();
    while let Some(event) = channel.next().await {
        let ChannelEvent::Out(bytes) = event else { continue };
        said.extend_from_slice(&bytes);
        let text = String::from_utf8_lossy(&said);
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let ours = whole.lines().find(|l| l.starts_with("OK /") || l.starts_with("NO "));
        match ours {
            Some(line) => return line.to_owned(),
            None if said.len() > MOST => break,
            None => {}
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_named_after_user_and_machine() {
        let env = Environment {
            user: "an ne".to_owned(),
            hostname: "lap-top.example.org".to_owned(),
            ..Environment::default()
        };
        assert_eq!(name(&env), "an_ne-lap_top");
    }
}
