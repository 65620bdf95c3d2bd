//! The table of `BSSH_*` variables that override what the files say.
//!
//! `BSSH_CONFIG` is read in `places`; `BSSH_PASSWORD` and `BSSH_CORE` are the frontends' business.

use super::reader::{Field, Reader};
use super::schema::{MAX_FANOUT, buffer, persist, put, size, small};
use super::{Caching, Config};
use crate::environment::Environment;
use crate::error::Error;
use crate::yaml::Value;

const VARIABLES: &[Field<Config>] = &[
    Field {
        name: "BSSH_MAX_PARALLEL",
        read: |c, v, r| put(&mut c.fanout, size(r, v, 1, MAX_FANOUT)),
    },
    Field {
        name: "BSSH_CONNECT_TIMEOUT",
        read: |c, v, r| put(&mut c.connect_timeout, r.duration(v).map(Some)),
    },
    Field { name: "BSSH_BUFFER_SIZE", read: |c, v, r| put(&mut c.buffer_size, buffer(r, v)) },
    Field {
        name: "BSSH_FORWARD_TIMEOUT",
        read: |c, v, r| put(&mut c.forwarding.timeout, r.duration(v).map(Some)),
    },
    Field {
        name: "BSSH_FORWARD_RETRIES",
        read: |c, v, r| put(&mut c.forwarding.retry_attempts, small(r, v, 0, 1000).map(Some)),
    },
    Field {
        name: "BSSH_FORWARD_BUFFER",
        read: |c, v, r| put(&mut c.forwarding.buffer_size, buffer(r, v)),
    },
    Field { name: "BSSH_PERSIST", read: |c, v, r| put(&mut c.core.persist, persist(v, r)) },
];

/// Those about caches, which count without a configuration, too.
const CACHES: &[Field<Caching>] = &[
    Field { name: "BSSH_CACHE_ENABLED", read: |c, v, r| put(&mut c.ssh_config.enabled, r.flag(v)) },
    Field {
        name: "BSSH_CACHE_SIZE",
        read: |c, v, r| put(&mut c.ssh_config.size, size(r, v, 1, 100_000)),
    },
    Field { name: "BSSH_CACHE_TTL", read: |c, v, r| put(&mut c.ssh_config.ttl, r.duration(v)) },
    Field {
        name: "BSSH_ENV_CACHE_ENABLED",
        read: |c, v, r| put(&mut c.environment.enabled, r.flag(v)),
    },
    Field {
        name: "BSSH_ENV_CACHE_SIZE",
        read: |c, v, r| put(&mut c.environment.size, size(r, v, 1, 100_000)),
    },
    Field {
        name: "BSSH_ENV_CACHE_TTL",
        read: |c, v, r| put(&mut c.environment.ttl, r.duration(v)),
    },
];

/// Applies every variable that is set; returns the problems, each naming its variable.
pub(super) fn apply(config: &mut Config, env: &Environment) -> Vec<Error> {
    let mut problems = read(VARIABLES, config, env);
    problems.append(&mut read(CACHES, &mut config.caching, env));
    problems
}

/// What is said about caches.
///
/// # Errors
/// Every variable that cannot be read.
pub(super) fn caching(env: &Environment) -> Result<Caching, Vec<Error>> {
    let mut caching = Caching::default();
    let problems = read(CACHES, &mut caching, env);
    if problems.is_empty() { Ok(caching) } else { Err(problems) }
}

fn read<T>(variables: &[Field<T>], into: &mut T, env: &Environment) -> Vec<Error> {
    let mut problems = Vec::new();
    for variable in variables {
        if let Some(text) = env.var(variable.name) {
            let mut reader = Reader::of_variable(variable.name, env);
            (variable.read)(into, &Value::scalar(text), &mut reader);
            problems.append(&mut reader.problems);
        }
    }
    problems
}
