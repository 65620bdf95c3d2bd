//! Jobs: everything with an id that can be listed, waited for and ended, whoever started it.
//!
//! A job's id is its handle: a run's, a transfer's, a forward's, a pty's or a session's. A run
//! started with `lifetime: "core"` belongs to no link: its output is recorded, and any link can
//! read it from any offset, also when the run is over, until it is forgotten. (`job/start`,
//! `job/read` and `job/kill` are another thing: background jobs inside a session.)

use crate::exec::Summary;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A job's id: unique per core process, never reused.
pub type JobId = u64;

/// How long a handle lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Lifetime {
    /// As long as its link.
    #[default]
    Connection,
    /// Until it is over, whoever is there.
    Core,
}

impl Lifetime {
    /// The usual one, which need not be sent.
    pub fn is_default(&self) -> bool {
        *self == Lifetime::default()
    }
}

/// Result of `job/list`: what runs, and what is over and not forgotten yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    pub jobs: Vec<JobEntry>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobEntry {
    pub job: JobId,
    /// `run`, `transfer`, `forward`, `pty`, `session`, or `background` for a session's job.
    pub kind: String,
    /// What it does: a command line, a forward's specification.
    pub title: String,
    pub nodes: u32,
    /// Nodes that are done.
    pub ended: u32,
    pub running: bool,
    /// It outlives its link.
    pub detached: bool,
    /// Since it was started, in milliseconds.
    pub age_ms: u64,
    /// Bytes of output recorded so far, those no longer kept included.
    pub bytes: u64,
    /// A session's background job: its exit status, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// A run's counts, once it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// One job.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct JobHandle {
    pub job: JobId,
    /// `job/wait`: the job is one of this session's background, by its number there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
}

/// Parameters of `job/attach`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobAttach {
    pub job: JobId,
    /// Bytes of output to leave out.
    #[serde(skip_serializing_if = "is_zero")]
    pub from: u64,
    /// Stay until the run is over; else `exec/done` comes after what there is, with the counts so
    /// far.
    pub follow: bool,
    /// First credit of each stream, in bytes. None: `limits.window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Parameters of `job/nodes`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobNodes {
    pub job: JobId,
    /// `ok`, `failed` (the unreachable ones included) or `unreachable`; empty: all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub which: String,
}
