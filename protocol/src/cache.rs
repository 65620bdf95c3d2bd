//! What a core remembers of files and variables it has read, in figures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of `cache/stats`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CacheParams {
    /// Name every entry, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub detailed: bool,
}

/// Result of `cache/stats`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct CacheStats {
    pub caches: Vec<CacheState>,
}

/// One cache. Limits are those of the link that asks, counts those of the core.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CacheState {
    /// `sshConfig` (parsed files, by path) or `environment` (variables, by name).
    pub name: String,
    /// This link's requests use it.
    pub enabled: bool,
    /// Entries at most.
    pub size: u64,
    /// How long an entry counts, in milliseconds.
    pub ttl_ms: u64,
    /// Held now.
    pub entries: u64,
    pub hits: u64,
    pub misses: u64,
    /// Dropped because a file it was read from had changed.
    pub changed: u64,
    /// Dropped because it was too old.
    pub expired: u64,
    /// Dropped to make room.
    pub evicted: u64,
    /// Names that were looked up and are never kept.
    pub passed_by: u64,
    /// With `detailed`: the entries, the one used last first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<CacheEntry>,
}

/// One entry; of a variable the name, never the value.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CacheEntry {
    pub name: String,
    /// In milliseconds.
    pub age_ms: u64,
    pub hits: u64,
    /// The files it includes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// Result of `cache/clear` and `cache/maintain`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CacheDropped {
    /// Entries.
    pub dropped: u64,
}
