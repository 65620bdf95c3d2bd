//! `bssh session`: the named sessions of the shared core, and their jobs.

use super::SessionVerb;
use crate::commands::{failed, print_json, table};
use crate::{exit, print, print_bytes, say};
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
    JobKill, JobRead, SessionEntry, SessionList, SessionRef, SessionState,
};
use bssh_protocol::session_state::{SessionCd, SessionSetenv, SessionUnsetenv};
use bssh_term::bare;
use std::collections::BTreeMap;

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
    let (name, node) = match verb {
        SessionVerb::Ls if json => return Ok(print_json(&SessionList { sessions: all })),
        SessionVerb::Ls => return Ok(print(&table(&all.iter().map(row).collect::<Vec<_>>()))),
        SessionVerb::Info { name, node }
        | SessionVerb::Reset { name, node }
        | SessionVerb::Close { name, node }
        | SessionVerb::Cd { name, node, .. }
        | SessionVerb::Setenv { name, node, .. }
        | SessionVerb::Unsetenv { name, node, .. }
        | SessionVerb::Snapshot { name, node }
        | SessionVerb::Wait { name, node, .. }
        | SessionVerb::Jobs { name, node }
        | SessionVerb::Output { name, node, .. }
        | SessionVerb::Kill { name, node, .. } => (name, node),
    };
    let is = |s: &&SessionEntry| {
        s.name.as_ref() == Some(name) && node.as_ref().is_none_or(|node| *node == s.node)
    };
    let found: Vec<SessionEntry> = all.iter().filter(is).cloned().collect();
    if found.is_empty() {
        say(&format!("bssh: no session {name}; bssh session ls shows those there are"));
        return Ok(exit::GENERAL);
    }
    match verb {
        SessionVerb::Info { .. } if json => {
            return Ok(print_json(&SessionList { sessions: found }));
        }
        SessionVerb::Info { .. } => {
            return Ok(print(&found.iter().map(info).collect::<Vec<_>>().join("\n")));
        }
        SessionVerb::Jobs { .. } => return jobs(core, &found, json).await,
        _ => {}
    }
    let mut worst = exit::OK;
    for entry in &found {
        worst = worst.max(with(core, verb, (entry.session, json)).await?);
    }
    Ok(worst)
}

/// What is done with each session by itself.
async fn with(
    core: &Core,
    verb: &SessionVerb,
    (session, json): (u64, bool),
) -> Result<u8, CallError> {
    match verb {
        SessionVerb::Ls | SessionVerb::Info { .. } | SessionVerb::Jobs { .. } => {}
        SessionVerb::Reset { .. } => {
            core.call::<SessionReset>(&SessionRef { session }).await?;
        }
        SessionVerb::Close { .. } => {
            core.call::<SessionClose>(&SessionRef { session }).await?;
        }
        SessionVerb::Cd { dir, .. } => {
            core.call::<SessionChangeDirectory>(&SessionCd { session, cwd: dir.clone() }).await?;
        }
        SessionVerb::Setenv { vars, .. } => {
            let pair = |text: &String| {
                text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
            };
            let Some(env) = vars.iter().map(pair).collect::<Option<BTreeMap<_, _>>>() else {
                say("bssh: want VARIABLE=VALUE");
                return Ok(exit::USAGE);
            };
            core.call::<SessionSetEnvironment>(&SessionSetenv { session, env }).await?;
        }
        SessionVerb::Unsetenv { vars, .. } => {
            let params = SessionUnsetenv { session, names: vars.clone() };
            core.call::<SessionUnsetEnvironment>(&params).await?;
        }
        SessionVerb::Snapshot { .. } => {
            let saved = core.call::<SessionSnapshotOf>(&SessionRef { session }).await?;
            return Ok(if json { print_json(&saved) } else { print_bytes(&saved.state.0) });
        }
        SessionVerb::Wait { job, .. } => {
            let params = JobHandle { job: *job, session: Some(session) };
            let ended = core.call::<JobWaitFor>(&params).await?;
            if json {
                print_json(&ended);
            }
            let status = ended.status.map(|s| u8::try_from(s & 0xff).unwrap_or(u8::MAX));
            return Ok(status.unwrap_or(exit::GENERAL));
        }
        SessionVerb::Output { job, stderr, offset, .. } => {
            let params = JobRead { session, job: *job, stderr: *stderr, offset: *offset };
            return output(core, params).await;
        }
        SessionVerb::Kill { job, signal, .. } => {
            let params = JobKill { session, job: *job, signal: signal.clone() };
            core.call::<JobKillGroup>(&params).await?;
        }
    }
    Ok(exit::OK)
}

async fn jobs(core: &Core, found: &[SessionEntry], json: bool) -> Result<u8, CallError> {
    let mut rows = Vec::new();
    for entry in found {
        let session = entry.session;
        for job in core.call::<SessionJobsOf>(&SessionRef { session }).await?.jobs {
            rows.push(vec![entry.node.clone(), job.job.to_string(), bare(&job.command)]);
        }
    }
    Ok(match json {
        true => print_json(&serde_json::json!({"jobs": rows})),
        false => print(&table(&rows)),
    })
}

/// What a job has written, as it is; gives its status.
async fn output(core: &Core, mut params: JobRead) -> Result<u8, CallError> {
    loop {
        let read = core.call::<JobReadOutput>(&params).await?;
        let bytes = read.data.0;
        let written = print_bytes(&bytes);
        if written != exit::OK {
            return Ok(written);
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
    vec![name, s.node.clone(), state(s), bare(&s.cwd)]
}

fn info(s: &SessionEntry) -> String {
    let mut rows = vec![
        ("name", s.name.clone().unwrap_or_default()),
        ("node", s.node.clone()),
        ("state", state(s)),
        ("directory", bare(&s.cwd)),
        ("revision", s.rev.to_string()),
        ("commands", s.execs.to_string()),
        ("jobs", s.jobs.to_string()),
    ];
    if let SessionState::Ready(ready) = &s.stage {
        rows.push(("shell", bare(&ready.shell)));
        rows.push(("home", bare(&ready.home)));
    }
    let rows = rows.into_iter().map(|(key, value)| vec![key.to_owned(), value]);
    table(&rows.collect::<Vec<_>>())
}

fn state(s: &SessionEntry) -> String {
    match &s.stage {
        SessionState::Connecting { .. } => "connecting".to_owned(),
        SessionState::Ready(_) => "ready".to_owned(),
        SessionState::Lost { failure: Failure { message, .. }, .. } => {
            format!("lost: {}", bare(message))
        }
        SessionState::Closed {} => "closed".to_owned(),
        SessionState::Other(_) => "?".to_owned(),
    }
}
