//! What was read before, kept for later requests: parsed `ssh_config` files and variables.
//!
//! One [`Memory`] belongs to a core; each environment that is handed in carries it. A file counts
//! while its time to live is not over and nothing it was read from has changed; of variables only
//! names of [`NAMES`] and [`PREFIXES`] are kept, and only as long as their frontend is there.
//! Limits are those of the environment that asks (`BSSH_CACHE_*`, `BSSH_ENV_CACHE_*`).

use crate::clusters::{Cache, Caching};
use crate::ssh_config::{FileKey, Parsed};
use lru::LruCache;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Variables that are kept; never `PATH`, never what changes how programs are loaded.
pub const NAMES: &[&str] =
    &["HOME", "USER", "LOGNAME", "SHELL", "SSH_AUTH_SOCK", "TMPDIR", "HOSTNAME", "LANG"];
/// So are variables that begin like this.
pub const PREFIXES: &[&str] = &["XDG_", "LC_"];

/// What a core remembers, as one environment sees it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    shelves: Arc<Shelves>,
    /// Whose variables are meant.
    owner: u64,
    caching: OnceLock<Caching>,
}

#[derive(Debug, Default)]
struct Shelves {
    files: Shelf<FileKey, Arc<Parsed>>,
    variables: Shelf<(u64, String), String>,
}

/// A cache in figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub limits: Cache,
    /// Held now.
    pub entries: usize,
    pub hits: u64,
    pub misses: u64,
    /// Dropped because a file it was read from had changed.
    pub changed: u64,
    /// Dropped because it was too old.
    pub expired: u64,
    /// Dropped to make room.
    pub evicted: u64,
    /// Looked up without being remembered: names that are not kept.
    pub passed_by: u64,
    /// Newest first.
    pub held: Vec<Held>,
}

/// One entry; never a variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub name: String,
    pub age: Duration,
    pub hits: u64,
    /// The other files it was read from.
    pub files: Vec<String>,
}

impl Memory {
    /// The same memory for another environment, whose variables are its own.
    #[must_use]
    pub fn of_another(&self, owner: u64) -> Memory {
        Memory { shelves: self.shelves.clone(), owner, caching: OnceLock::new() }
    }

    /// The limits of the environment that asks.
    pub(crate) fn caching(&self, read: impl FnOnce() -> Caching) -> Caching {
        *self.caching.get_or_init(read)
    }

    pub(crate) fn file(&self, key: &FileKey, limits: Cache) -> Option<Arc<Parsed>> {
        self.shelves.files.get(key, limits, |file| file.is_current())
    }

    pub(crate) fn keep_file(&self, key: FileKey, file: &Arc<Parsed>, limits: Cache) {
        if file.is_settled() {
            self.shelves.files.put(key, file.clone(), limits);
        }
    }

    /// A variable: the one remembered, or what `read` gives.
    pub(crate) fn variable(
        &self,
        name: &str,
        limits: Cache,
        read: impl FnOnce() -> Option<String>,
    ) -> Option<String> {
        let variables = &self.shelves.variables;
        if !limits.enabled || !is_kept(name) {
            variables.lock().passed_by += u64::from(limits.enabled);
            return read();
        }
        let key = (self.owner, name.to_owned());
        if let Some(value) = variables.get(&key, limits, |_| true) {
            return Some(value);
        }
        let value = read()?;
        variables.put(key, value.clone(), limits);
        Some(value)
    }

    /// The frontend whose environment this is has gone.
    pub fn forget_variables(&self) {
        self.shelves.variables.lock().drop_where(|(owner, _), _| *owner == self.owner);
    }

    /// Both caches in figures: files, variables.
    pub fn figures(&self, caching: Caching) -> [Figures; 2] {
        let files = self.shelves.files.figures(caching.ssh_config, |key, file| {
            (key.path.display().to_string(), file.others(&key.path))
        });
        let variables = self
            .shelves
            .variables
            .figures(caching.environment, |(_, name), _| (name.clone(), Vec::new()));
        [files, variables]
    }

    /// Forgets everything; how much that was.
    pub fn clear(&self) -> usize {
        self.shelves.files.lock().drop_where(|_, _| true)
            + self.shelves.variables.lock().drop_where(|_, _| true)
    }

    /// Forgets what is too old, has changed, or is more than there may be; how much that was.
    pub fn maintain(&self, caching: Caching) -> usize {
        self.shelves.files.tidy(caching.ssh_config, |file| file.is_current())
            + self.shelves.variables.tidy(caching.environment, |_| true)
    }
}

fn is_kept(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Entries, the one used last first.
#[derive(Debug)]
struct Shelf<K: Hash + Eq, V>(Mutex<Inner<K, V>>);

#[derive(Debug)]
struct Inner<K: Hash + Eq, V> {
    held: LruCache<K, Entry<V>>,
    hits: u64,
    misses: u64,
    changed: u64,
    expired: u64,
    evicted: u64,
    passed_by: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    since: Instant,
    hits: u64,
}

impl<K: Hash + Eq, V> Default for Shelf<K, V> {
    fn default() -> Self {
        let held = LruCache::new(NonZeroUsize::MIN);
        let (hits, misses, changed) = (0, 0, 0);
        let (expired, evicted, passed_by) = (0, 0, 0);
        Shelf(Mutex::new(Inner { held, hits, misses, changed, expired, evicted, passed_by }))
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shelf<K, V> {
    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &K, limits: Cache, is_current: impl Fn(&V) -> bool) -> Option<V> {
        let mut inner = self.lock();
        let Some(entry) = inner.held.get_mut(key) else {
            inner.misses += 1;
            return None;
        };
        if entry.since.elapsed() < limits.ttl && is_current(&entry.value) {
            entry.hits += 1;
            let value = entry.value.clone();
            inner.hits += 1;
            return Some(value);
        }
        match entry.since.elapsed() < limits.ttl {
            true => inner.changed += 1,
            false => inner.expired += 1,
        }
        inner.misses += 1;
        inner.held.pop(key);
        None
    }

    fn put(&self, key: K, value: V, limits: Cache) {
        let mut inner = self.lock();
        // It grows with whoever may have most; `fit` counts what goes.
        let most = NonZeroUsize::MIN.saturating_add(inner.held.len().max(limits.size));
        inner.held.resize(most);
        inner.held.put(key, Entry { value, since: Instant::now(), hits: 0 });
        inner.fit(limits.size);
    }

    fn tidy(&self, limits: Cache, is_current: impl Fn(&V) -> bool) -> usize {
        let mut inner = self.lock();
        let expired = inner.drop_where(|_, entry| entry.since.elapsed() >= limits.ttl);
        let changed = inner.drop_where(|_, entry| !is_current(&entry.value));
        inner.expired += expired as u64;
        inner.changed += changed as u64;
        expired + changed + inner.fit(limits.size)
    }

    fn figures(&self, limits: Cache, name: impl Fn(&K, &V) -> (String, Vec<String>)) -> Figures {
        let inner = self.lock();
        let held = inner.held.iter().map(|(key, entry)| {
            let (name, files) = name(key, &entry.value);
            Held { name, age: entry.since.elapsed(), hits: entry.hits, files }
        });
        Figures {
            limits,
            entries: inner.held.len(),
            hits: inner.hits,
            misses: inner.misses,
            changed: inner.changed,
            expired: inner.expired,
            evicted: inner.evicted,
            passed_by: inner.passed_by,
            held: held.collect(),
        }
    }
}

impl<K: Hash + Eq + Clone, V> Inner<K, V> {
    /// Drops what was not used for longest, until no more than `size` are left.
    fn fit(&mut self, size: usize) -> usize {
        let surplus = self.held.len().saturating_sub(size);
        (0..surplus).for_each(|_| drop(self.held.pop_lru()));
        self.evicted += surplus as u64;
        surplus
    }

    fn drop_where(&mut self, is_over: impl Fn(&K, &Entry<V>) -> bool) -> usize {
        let over = self.held.iter().filter(|(key, entry)| is_over(key, entry));
        let over: Vec<K> = over.map(|(key, _)| key.clone()).collect();
        over.iter().for_each(|key| drop(self.held.pop(key)));
        over.len()
    }
}
