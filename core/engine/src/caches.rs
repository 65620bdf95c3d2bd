//! `cache/*`: what the core remembers of files and variables ([`bssh_config::Memory`]).

use crate::engine::Engine;
use crate::plan::config_error;
use crate::run::millis;
use bssh_config::memory::{Figures, Held};
use bssh_protocol::cache::{CacheDropped, CacheEntry, CacheParams, CacheState, CacheStats};
use bssh_protocol::error::CallError;

impl Engine {
    /// `cache/stats`.
    ///
    /// # Errors
    /// Limits that cannot be read (`BSSH_CACHE_*`).
    pub fn cache_stats(&self, params: &CacheParams) -> Result<CacheStats, CallError> {
        let caching = self.env().caching().map_err(|e| config_error(&e))?;
        let [files, variables] = self.env().memory.figures(caching);
        let state = |name, figures| state(name, figures, params.detailed);
        Ok(CacheStats { caches: vec![state("sshConfig", files), state("environment", variables)] })
    }

    /// `cache/clear`.
    pub fn cache_clear(&self) -> CacheDropped {
        CacheDropped { dropped: self.env().memory.clear() as u64 }
    }

    /// `cache/maintain`.
    ///
    /// # Errors
    /// As [`Engine::cache_stats`].
    pub fn cache_maintain(&self) -> Result<CacheDropped, CallError> {
        let caching = self.env().caching().map_err(|e| config_error(&e))?;
        Ok(CacheDropped { dropped: self.env().memory.maintain(caching) as u64 })
    }
}

fn state(name: &str, figures: Figures, detailed: bool) -> CacheState {
    let entry = |held: Held| CacheEntry {
        name: held.name,
        age_ms: millis(held.age),
        hits: held.hits,
        files: held.files,
    };
    let held = figures.held.into_iter().filter(|_| detailed).map(entry).collect();
    CacheState {
        name: name.to_owned(),
        enabled: figures.limits.enabled,
        size: figures.limits.size as u64,
        ttl_ms: millis(figures.limits.ttl),
        entries: figures.entries as u64,
        hits: figures.hits,
        misses: figures.misses,
        changed: figures.changed,
        expired: figures.expired,
        evicted: figures.evicted,
        passed_by: figures.passed_by,
        held,
    }
}
