//! What a core holds and has done, in numbers.

use crate::engine::{Caller, Engine};
use bssh_protocol::handshake::StatsResult;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

impl Engine {
    /// `core/stats`: of the whole core, but for the streams, which are this link's.
    pub fn stats(&self, caller: &Caller) -> StatsResult {
        let (streams, buffered) = caller.link.load();
        let (connections, idle) = self.pool().open();
        let (made, reused) = self.pool().made();
        let engines = self.commons.engines();
        let all = |count: fn(&Engine) -> usize| -> u64 {
            engines.iter().map(|engine| count(engine) as u64).sum()
        };
        let counts = &self.commons.jobs.counts;
        let so_far = |count: &AtomicU64| count.load(Relaxed);
        StatsResult {
            connections: connections as u64,
            idle: idle as u64,
            streams: streams as u64,
            runs: all(|engine| engine.runs().len()),
            buffered_bytes: buffered as u64,
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
            links: self.commons.attached() as u64,
            forwards: all(|engine| engine.forwards_along(None, false).forwards.len()),
            ptys: all(|engine| engine.own_ptys().len()),
            transfers: all(|engine| engine.transfer_list().transfers.len()),
            sessions: all(|engine| engine.own_sessions().len()),
            connections_made: made,
            connections_reused: reused,
            runs_over: so_far(&counts.runs),
            nodes_ok: so_far(&counts.ok),
            nodes_failed: so_far(&counts.failed),
            nodes_unreachable: so_far(&counts.unreachable),
        }
    }
}
