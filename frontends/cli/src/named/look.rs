//! `bssh session`: the named sessions of the shared core, and their jobs.

use super::SessionVerb;
use crate::commands::{failed, print_json, table};
use crate::{exit, print, say};
use bssh_client::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::exec::Failure;
use bssh_protocol::job::JobHandle;
use bssh_protocol::methods::{
    JobKillGroup, JobReadOutput, JobWaitFor, SessionChangeDirectory, SessionClose, SessionJobsOf,
    SessionListAll, SessionReset, SessionSetEnvironment, SessionSnapshotOf,
    SessionUnsetEnvironment,
};
use bssh_protocol::session::{
    JobKill, JobRead, SessionCd, SessionEntry, SessionList, SessionRef, SessionSetenv,
    SessionState, SessionUnsetenv,
};
use std::collections::BTreeMap;
use std::io::Write;

/// The job runs: EX_TEMPFAIL of sysexits.
const RUNS: u8 = 75;

/// Does what was asked of the sessions; gives the exit status.
pub(crate) async fn look(core: &Core, verb: &SessionVerb, json: bool) -> u8 {
    let all = match core.call::<SessionListAll>(&Default::default()).await {
        Ok(list) => list.sessions.into_iter().filter(|s| s.kept).collect(),
        Err(error) => return failed(&error),
    };
    match asked(core, verb, (all, json)).await {
        Ok(status) => status,
        Err(error) => failed(&error),
    }
}

async fn asked(
    core: &Core,
    verb: &SessionVerb,
    (all, json): (Vec<SessionEntry>, bool),
) -> Result<u8, CallError> {
    let of = |name: &String, node: &Option<String>| {
        let is = |s: &&SessionEntry| {
            s.name.as_ref() == Some(name) && node.as_ref().is_none_or(|node| *node == s.node)
        };
        let found: Vec<SessionEntry> = all.iter().filter(is).cloned().collect();
        if found.is_empty() {
            say(&format!("bssh: no session {name}; bssh session ls shows those there are"));
        }
        found
    };
    Ok(match verb {
        SessionVerb::Ls if json => print_json(&SessionList { sessions: all }),
        SessionVerb::Ls => print(&table(&all.iter().map(row).collect::<Vec<_>>())),
        SessionVerb::Info { name, node } => match of(name, node) {
            found if found.is_empty() => exit::GENERAL,
            found if json => print_json(&SessionList { sessions: found }),
            found => print(&found.iter().map(info).collect::<Vec<_>>().join("\n")),
        },
        SessionVerb::Reset { name, node } => {
            let found = of(name, node);
            for session in found.iter().map(|s| s.session) {
                core.call::<SessionReset>(&SessionRef { session }).await?;
            }
            done(&found)
        }
        SessionVerb::Close { name, node } => {
            let found = of(name, node);
            for session in found.iter().map(|s| s.session) {
                core.call::<SessionClose>(&SessionRef { session }).await?;
            }
            done(&found)
        }
        SessionVerb::Cd { name, dir, node } => {
            let found = of(name, node);
            for session in found.iter().map(|s| s.session) {
                let params = SessionCd { session, cwd: dir.clone() };
                core.call::<SessionChangeDirectory>(&params).await?;
            }
            done(&found)
        }
        SessionVerb::Setenv { name, vars, node } => {
            let pair = |text: &String| {
                text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
            };
            let Some(env) = vars.iter().map(pair).collect::<Option<BTreeMap<_, _>>>() else {
                say("bssh: want VARIABLE=VALUE");
                return Ok(exit::USAGE);
            };
            let found = of(name, node);
            for session in found.iter().map(|s| s.session) {
                let params = SessionSetenv { session, env: env.clone() };
                core.call::<SessionSetEnvironment>(&params).await?;
            }
            done(&found)
        }
        SessionVerb::Unsetenv { name, vars, node } => {
            let found = of(name, node);
            for session in found.iter().map(|s| s.session) {
                let params = SessionUnsetenv { session, names: vars.clone() };
                core.call::<SessionUnsetEnvironment>(&params).await?;
            }
            done(&found)
        }
        SessionVerb::Snapshot { name, node } => {
            let found = of(name, node);
            for session in found.iter().map(|s| s.session) {
                let saved = core.call::<SessionSnapshotOf>(&SessionRef { session }).await?;
                let status = match json {
                    true => print_json(&saved),
                    false => write(&saved.state.0),
                };
                if status != exit::OK {
                    return Ok(status);
                }
            }
            done(&found)
        }
        SessionVerb::Wait { name, job, node } => {
            let found = of(name, node);
            let mut worst = done(&found);
            for entry in &found {
                let params = JobHandle { job: *job, session: Some(entry.session) };
                let ended = core.call::<JobWaitFor>(&params).await?;
                let status = ended.status.map(|s| u8::try_from(s & 0xff).unwrap_or(u8::MAX));
                worst = worst.max(status.unwrap_or(exit::GENERAL));
                if json {
                    print_json(&ended);
                }
            }
            worst
        }
        SessionVerb::Jobs { name, node } => {
            let found = of(name, node);
            let mut rows = Vec::new();
            for entry in &found {
                let session = entry.session;
                for job in core.call::<SessionJobsOf>(&SessionRef { session }).await?.jobs {
                    rows.push(vec![
                        entry.node.clone(),
                        job.job.to_string(),
                        harmless(&job.command),
                    ]);
                }
            }
            match json {
                true => print_json(&serde_json::json!({"jobs": rows})),
                false => print(&table(&rows)).max(done(&found)),
            }
        }
        SessionVerb::Output { name, job, node, stderr, offset } => {
            let found = of(name, node);
            let mut worst = done(&found);
            for entry in &found {
                let params =
                    JobRead { session: entry.session, job: *job, stderr: *stderr, offset: *offset };
                worst = worst.max(output(core, params).await?);
            }
            worst
        }
        SessionVerb::Kill { name, job, node, signal } => {
            let found = of(name, node);
            for entry in &found {
                let (session, signal) = (entry.session, signal.clone());
                core.call::<JobKillGroup>(&JobKill { session, job: *job, signal }).await?;
            }
            done(&found)
        }
    })
}

fn done(found: &[SessionEntry]) -> u8 {
    if found.is_empty() { exit::GENERAL } else { exit::OK }
}

/// Bytes as they are.
fn write(bytes: &[u8]) -> u8 {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => exit::OK,
        Err(_) => exit::OUTPUT_CLOSED,
    }
}

/// What a job has written, as it is; gives its status.
async fn output(core: &Core, mut params: JobRead) -> Result<u8, CallError> {
    loop {
        let read = core.call::<JobReadOutput>(&params).await?;
        let bytes = read.data.0;
        if write(&bytes) != exit::OK {
            return Ok(exit::OUTPUT_CLOSED);
        }
        params.offset += bytes.len() as u64;
        if bytes.is_empty() {
            let status = read.status.map(|s| u8::try_from(s & 0xff).unwrap_or(u8::MAX));
            return Ok(status.unwrap_or(RUNS));
        }
    }
}

fn row(s: &SessionEntry) -> Vec<String> {
    let name = s.name.clone().unwrap_or_default();
    vec![name, s.node.clone(), state(s), harmless(&s.cwd)]
}

fn info(s: &SessionEntry) -> String {
    let mut rows = vec![
        ("name", s.name.clone().unwrap_or_default()),
        ("node", s.node.clone()),
        ("state", state(s)),
        ("directory", harmless(&s.cwd)),
        ("revision", s.rev.to_string()),
        ("commands", s.execs.to_string()),
        ("jobs", s.jobs.to_string()),
    ];
    if let SessionState::Ready(ready) = &s.stage {
        rows.push(("shell", harmless(&ready.shell)));
        rows.push(("home", harmless(&ready.home)));
    }
    let rows = rows.into_iter().map(|(key, value)| vec![key.to_owned(), value]);
    table(&rows.collect::<Vec<_>>())
}

fn state(s: &SessionEntry) -> String {
    match &s.stage {
        SessionState::Connecting { .. } => "connecting".to_owned(),
        SessionState::Ready(_) => "ready".to_owned(),
        SessionState::Lost { failure: Failure { message, .. }, .. } => {
            format!("lost: {}", harmless(message))
        }
        SessionState::Closed {} => "closed".to_owned(),
        SessionState::Other(_) => "?".to_owned(),
    }
}

fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
