//! What is said about a node elsewhere than in `ssh_config`, as its lines; and what of our
//! environment goes to it.

use bssh_config::ssh_config::{HostOptions, matches_pattern};
use bssh_config::{Environment, Inventory, NodeOverrides};
use std::path::PathBuf;
use std::time::Duration;

/// Connect timeout of the cluster grammar; ssh's own has none.
const CONNECT: Duration = Duration::from_secs(30);
/// What holds for nodes that another core has planned: it is asked about their host keys.
pub(crate) const ASKED: [&str; 5] = [
    "StrictHostKeyChecking=ask",
    "UserKnownHostsFile=none",
    "GlobalKnownHostsFile=none",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
];

/// bssh's own defaults, as `ssh_config` lines.
pub(crate) fn default_lines(inventory: &Inventory) -> Vec<String> {
    let config = inventory.config();
    let connect = config.connect_timeout.unwrap_or(CONNECT);
    let mut lines = vec![
        "StrictHostKeyChecking=accept-new".to_owned(),
        // A thousand nodes would rewrite known_hosts a thousand times.
        "UpdateHostKeys=no".to_owned(),
        format!("ConnectTimeout={}", connect.as_secs().max(1)),
    ];
    let (interval, count) =
        config.keepalive.as_ref().map_or((Duration::from_secs(30), 3), |k| (k.interval, k.count));
    lines.push(format!("ServerAliveInterval={}", interval.as_secs()));
    lines.push(format!("ServerAliveCountMax={count}"));
    lines
}

/// A cluster's settings for a node, as `ssh_config` lines.
pub(crate) fn override_lines(overrides: &NodeOverrides) -> Vec<String> {
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let path = |p: &PathBuf| quote(&p.to_string_lossy());
    let mut lines = Vec::new();
    lines.extend(overrides.host.as_ref().map(|v| format!("HostName \"{}\"", quote(v))));
    lines.extend(overrides.port.map(|v| format!("Port {v}")));
    lines.extend(overrides.user.as_ref().map(|v| format!("User \"{}\"", quote(v))));
    lines.extend(overrides.identity.as_ref().map(|v| format!("IdentityFile \"{}\"", path(v))));
    lines.extend(
        overrides.known_hosts.as_ref().map(|v| format!("UserKnownHostsFile \"{}\"", path(v))),
    );
    lines.extend(overrides.jump_host.as_ref().map(|v| format!("ProxyJump {v}")));
    lines
}

/// `SetEnv`, then the variables `SendEnv` names that are set here.
pub(crate) fn environment(options: &HostOptions, env: &Environment) -> Vec<(String, String)> {
    let picked = env.vars.iter().filter(|(name, _)| {
        let (mut yes, mut no) = (false, false);
        for pattern in &options.send_env {
            match pattern.strip_prefix('-') {
                Some(pattern) => no |= matches_pattern(name, pattern),
                None => yes |= matches_pattern(name, pattern),
            }
        }
        yes && !no
    });
    let picked = picked.map(|(n, v)| (n.clone(), v.clone()));
    picked.chain(options.set_env.iter().cloned()).collect()
}
