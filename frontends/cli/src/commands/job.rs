//! `bssh job …`: what runs in the shared core, whoever started it. `--detach` starts such a job.

use super::exec::watch;
use super::terminal;
use super::{Ui, failed, print_json, table, warn};
use crate::exit::{self, status};
use crate::request::{Mode, Request, ViewPlan};
use crate::shared_verbs::JobVerb;
use crate::{args::ExitRule, print, say};
use bssh_client::Core;
use bssh_protocol::exec::{Ended, ExecParams};
use bssh_protocol::handshake::{Empty, LinkCloseParams};
use bssh_protocol::job::{JobAttach, JobEntry, JobHandle, JobId, Lifetime};
use bssh_protocol::methods::{JobCancel, JobListAll, JobWaitFor, LinkClose, PtyListAll};

/// Starts a run that belongs to no frontend, and prints its number.
pub(crate) async fn detach(core: &Core, request: Request) -> u8 {
    let params = ExecParams { lifetime: Lifetime::Core, ..request.params };
    match core.launch(params).await {
        Ok(started) => {
            warn(&started.warnings);
            print(&format!("{}\n", started.run))
        }
        Err(error) => failed(&error),
    }
}

/// Leaves what this frontend has opened to the core, and prints the numbers.
pub(crate) async fn keep(core: &Core, jobs: Vec<JobId>) -> u8 {
    let numbers: String = jobs.iter().map(|job| format!("{job}\n")).collect();
    match core.call::<LinkClose>(&LinkCloseParams { keep: jobs }).await {
        Ok(Empty {}) => print(&numbers),
        Err(error) => failed(&error),
    }
}

pub(crate) async fn job(
    core: &Core,
    verb: &JobVerb,
    (plan, rule): (ViewPlan, ExitRule),
    ui: &Ui,
) -> u8 {
    match verb {
        JobVerb::Ls => list(core, &plan).await,
        JobVerb::Wait { job } => wait(core, *job, (&plan, rule)).await,
        JobVerb::Kill { job } => {
            let ended = core.call::<JobCancel>(&JobHandle { job: *job, session: None }).await;
            ended.map_or_else(|error| failed(&error), |Empty {}| exit::OK)
        }
        JobVerb::Attach { job, from } => {
            match core.call::<PtyListAll>(&Empty {}).await {
                Err(error) => return failed(&error),
                Ok(list) => {
                    if let Some(pty) = list.ptys.iter().find(|pty| pty.pty == *job) {
                        if *from > 0 {
                            say(&format!("bssh: job {job} is a terminal; --from is for runs"));
                            return exit::USAGE;
                        }
                        return terminal::attach(core, (*job, &pty.node)).await;
                    }
                }
            }
            let params = JobAttach { job: *job, from: *from, follow: true, window: None };
            match core.attach_job(params).await {
                Ok(run) => watch(core, run, (&plan, rule), ui).await,
                Err(error) => failed(&error),
            }
        }
        JobVerb::Logs { job, from } => {
            let params = JobAttach { job: *job, from: *from, follow: false, window: None };
            match core.attach_job(params).await {
                // How the run has ended is not how reading it has.
                Ok(run) => match watch(core, run, (&plan, rule), ui).await {
                    exit::OUTPUT_CLOSED => exit::OUTPUT_CLOSED,
                    _ => exit::OK,
                },
                Err(error) => failed(&error),
            }
        }
    }
}

async fn list(core: &Core, plan: &ViewPlan) -> u8 {
    let list = match core.call::<JobListAll>(&Empty {}).await {
        Ok(list) => list,
        Err(error) => return failed(&error),
    };
    if is_json(plan) {
        return print_json(&list);
    }
    let rows: Vec<Vec<String>> = list.jobs.iter().map(row).collect();
    print(&table(&rows))
}

fn is_json(plan: &ViewPlan) -> bool {
    matches!(plan.mode, Mode::Json | Mode::JsonSummary)
}

fn state(job: &JobEntry) -> String {
    match (&job.summary, job.running) {
        (_, true) if job.nodes > 1 => format!("{}/{} nodes done", job.ended, job.nodes),
        (_, true) => "running".to_owned(),
        (Some(sum), _) if sum.ok == sum.nodes => "done".to_owned(),
        (Some(sum), _) => format!("{} of {} failed", sum.nodes - sum.ok, sum.nodes),
        (None, _) => "over".to_owned(),
    }
}

fn row(job: &JobEntry) -> Vec<String> {
    let detached = if job.detached { "detached" } else { "" };
    vec![
        job.job.to_string(),
        job.kind.clone(),
        state(job),
        format!("{} s", job.age_ms / 1000),
        detached.to_owned(),
        bssh_term::bare(&job.title),
    ]
}

/// Waits for its end; how it ended is the status, and is said where it is not well.
async fn wait(core: &Core, job: JobId, (plan, rule): (&ViewPlan, ExitRule)) -> u8 {
    let entry = match core.call::<JobWaitFor>(&JobHandle { job, session: None }).await {
        Ok(entry) => entry,
        Err(error) => return failed(&error),
    };
    let ended = entry
        .summary
        .as_ref()
        .map_or(exit::OK, |summary| status(rule, summary, std::iter::empty::<Option<&Ended>>()));
    if is_json(plan) {
        return print_json(&entry).max(ended);
    }
    if ended != exit::OK {
        say(&format!("bssh: job {job}: {}\nhint: bssh job logs {job} shows why", state(&entry)));
    }
    ended
}
