//! `bssh cache-stats`: what the core remembers of files and variables it has read.

use super::{failed, print_json, table};
use crate::{exit, print, say};
use bssh_client::Core;
use bssh_protocol::cache::{CacheParams, CacheState, CacheStats as Stats};
use bssh_protocol::error::CallError;
use bssh_protocol::methods::{CacheClear, CacheMaintain, CacheStats};

/// What is to be done.
pub(crate) enum Wish {
    Show { detailed: bool },
    Clear,
    Maintain,
}

/// Shows the figures, or forgets.
pub(crate) async fn cache(core: &Core, wish: Wish, json: bool) -> u8 {
    if !core.is_shared() {
        say(
            "bssh: no shared core runs: every command has a core of its own, which remembers until \
             its end\nhint: bssh core serve starts one, and so does --persist",
        );
    }
    match act(core, wish, json).await {
        Ok(status) => status,
        Err(error) => failed(&error),
    }
}

async fn act(core: &Core, wish: Wish, json: bool) -> Result<u8, CallError> {
    let empty = Default::default();
    let dropped = match wish {
        Wish::Show { detailed } => {
            let stats = core.call::<CacheStats>(&CacheParams { detailed }).await?;
            return Ok(if json { print_json(&stats) } else { print(&text(&stats)) });
        }
        Wish::Clear => core.call::<CacheClear>(&empty).await?,
        Wish::Maintain => core.call::<CacheMaintain>(&empty).await?,
    };
    match json {
        true => Ok(print_json(&dropped)),
        false => Ok(match print(&format!("{} entries dropped\n", dropped.dropped)) {
            0 => exit::OK,
            status => status,
        }),
    }
}

fn text(stats: &Stats) -> String {
    let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![row(&[
        "cache",
        "use",
        "most",
        "for",
        "entries",
        "hits",
        "misses",
        "changed",
        "expired",
        "evicted",
        "passed by",
    ])];
    rows.extend(stats.caches.iter().map(|cache| {
        let mut cells = row(&[&cache.name, if cache.enabled { "on" } else { "off" }]);
        cells.extend([cache.size.to_string(), seconds(cache.ttl_ms)]);
        let counts = [
            cache.entries,
            cache.hits,
            cache.misses,
            cache.changed,
            cache.expired,
            cache.evicted,
            cache.passed_by,
        ];
        cells.extend(counts.iter().map(u64::to_string));
        cells
    }));
    let held: String = stats.caches.iter().filter(|c| !c.held.is_empty()).map(entries).collect();
    table(&rows) + &held
}

/// The entries of one cache, the one used last first.
fn entries(cache: &CacheState) -> String {
    let rows = cache.held.iter().map(|entry| {
        let hits = format!("{} hits", entry.hits);
        vec![entry.name.clone(), seconds(entry.age_ms), hits, entry.files.join(" ")]
    });
    format!("\n{}\n{}", cache.name, table(&rows.collect::<Vec<_>>()))
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_protocol::cache::CacheEntry;

    #[test]
    fn figures_stand_in_columns_and_entries_below() {
        let held = vec![CacheEntry {
            name: "/h/.ssh/config".into(),
            age_ms: 2500,
            hits: 3,
            files: vec!["/h/.ssh/more".into()],
        }];
        let cache = CacheState {
            name: "sshConfig".into(),
            enabled: true,
            size: 100,
            ttl_ms: 300_000,
            entries: 1,
            hits: 3,
            misses: 1,
            held,
            ..CacheState::default()
        };
        assert_eq!(
            text(&Stats { caches: vec![cache] }),
            "cache      use  most  for    entries  hits  misses  changed  expired  evicted  passed by\n\
             sshConfig  on   100   300 s  1        3     1       0        0        0        0\n\n\
             sshConfig\n/h/.ssh/config  2 s  3 hits  /h/.ssh/more\n"
        );
    }
}
