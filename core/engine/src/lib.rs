//! Jobs over many nodes: plan, pool, fan-out, exec, failures.
//!
//! Knows neither russh nor JSON: SSH is `bssh_ssh`, the outside is a link of `bssh_protocol`.
//! The way of a command: [`Engine::prepare`] (`plan`) → `run` (fan-out) → `exec` (one node) →
//! `pool` (its connection) → `pump` (its bytes) → `failure` or exit. The way of files is
//! `transfer`, single files are `fs`, trees kept the same are `sync`; runs through other cores are
//! `gateway`.

mod agent;
mod begin;
mod caches;
mod commons;
mod connect_plan;
mod connections;
mod control_socket;
mod descriptor;
mod descriptors;
mod dialing;
mod engine;
mod exec;
mod failure;
mod filed;
mod flight;
mod forward;
mod fs;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
mod gateway;
mod identity;
mod inquire;
mod jobs;
mod journal;
mod kept;
mod kill;
mod known;
mod lanes;
mod lines;
mod names;
mod plan;
mod pool;
mod pty;
mod pump;
mod questions;
mod record;
mod remarks;
mod run;
mod said;
mod session;
mod signals;
mod sink;
mod spool;
mod stats;
mod stdin;
mod stock;
mod sudo;
mod sync;
mod transfer;
mod unix_socket;
mod wake;
mod whole;
mod word;
mod work;

pub use bssh_config::Environment;
pub use commons::Commons;
pub use descriptors::raise_limit;
pub use engine::{Caller, Engine, Prepared};
pub use forward::PreparedDial;
pub use fs::{PreparedCopy, PreparedRead, PreparedWrite};
pub use jobs::Replay;
pub use pty::PreparedPty;
pub use remarks::{BANNER, Remarks, is_wanted, rank, record, remark};
pub use session::{PreparedExec, PreparedSessions};
pub use sync::PreparedSync;
pub use transfer::PreparedTransfer;
