//! When two requests may share a connection: same place, same trust, same person.
//!
//! Everything that decides where a connection leads, whether its node is believed and who is
//! logged in counts, and so does the environment that was used for it: two terminals with two
//! agents have two connections. A server offers an agent to all that runs on a connection, so whether
//! and which agent is forwarded counts, unless a `ControlPath` says that it is to be shared. What
//! only says how long to wait or whom to ask does not count.

use bssh_config::Environment;
use bssh_config::ssh_config::HostOptions;
use bssh_ssh::plan::ConnectPlan;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Equal for plans that may share a connection. A `ControlPath` keeps connections apart as different
/// sockets would. `forwards`: the configuration's `agent:` forwards the agent.
pub(crate) fn identity(
    plan: &ConnectPlan,
    env: &Environment,
    options: &HostOptions,
    forwards: bool,
) -> u64 {
    let (keys, auth) = (&plan.host_keys, &plan.auth);
    let trust = (&keys.policy, &keys.names, &keys.user_files, &keys.global_files);
    let trust = (trust, &keys.command, &keys.revoked, keys.skip_loopback);
    let strength = (&keys.ca_signatures, keys.min_rsa_bits, &auth.accepted, auth.min_rsa_bits);
    let who = (&auth.methods, &auth.identities, &auth.certificates, auth.identities_only);
    let how = (&plan.algorithms, &plan.keepalive, plan.tcp_keepalive, plan.window);
    let path = &options.control_path;
    let agent = (options.forward_agent_on || forwards, &options.forward_agent);
    let place = (&plan.address, &plan.proxy_command, path, path.is_none().then_some(agent));
    let mut hash = Hashing(DefaultHasher::new());
    // A hasher takes all it is given.
    let _ = write!(hash, "{place:?}{trust:?}{strength:?}{who:?}{:?}{how:?}", auth.agent);
    (&env.home, env.var("SSH_AUTH_SOCK")).hash(&mut hash.0);
    if plan.proxy_command.is_some() || keys.command.is_some() {
        // Their programs see all of it.
        (&env.cwd, &env.vars).hash(&mut hash.0);
    }
    hash.0.finish()
}

/// Text that is only hashed.
struct Hashing(DefaultHasher);

impl Write for Hashing {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
