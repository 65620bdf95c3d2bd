//! Names looked up for `CanonicalizeHostname`, between two passes of planning.
//!
//! Planning is a calculation and waits for nothing: it asks here, and a name that is not known
//! yet ends the pass. What was asked for is then looked up, all at once and beside everything
//! else the core does, and the pass is made again. Answers are kept for one request.

use bssh_config::ssh_config::{Answer, Found};
use bssh_protocol::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a name server may take. Then the name counts as not found, as with ssh when its own
/// resolver gives up, which takes 5 s for each server.
const LIMIT: Duration = Duration::from_secs(15);
/// Names looked up at once: each takes a thread.
const AT_ONCE: usize = 64;

/// Looks one name up; may block.
type Resolver = dyn Fn(&str) -> Option<Found> + Send + Sync;

/// What one request knows about names.
pub(crate) struct Names {
    resolver: Arc<Resolver>,
    limit: Duration,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    known: BTreeMap<String, Option<Found>>,
    wanted: BTreeSet<String>,
}

impl Default for Names {
    fn default() -> Self {
        Names::new(Arc::new(by_system), LIMIT)
    }
}

impl Names {
    fn new(resolver: Arc<Resolver>, limit: Duration) -> Names {
        Names { resolver, limit, notes: Mutex::default() }
    }

    /// Makes `plan` until every name it asks for is known.
    pub(crate) async fn planned<T>(&self, plan: impl Fn(&Names) -> T) -> T {
        loop {
            let planned = plan(self);
            if !self.learn().await {
                return planned;
            }
        }
    }

    /// The plans so far depend on no name.
    pub(crate) fn none_asked(&self) -> bool {
        let notes = self.notes();
        notes.known.is_empty() && notes.wanted.is_empty()
    }

    /// What is known about a name; one that is not is looked up after this pass.
    pub(crate) fn ask(&self, name: &str) -> Answer {
        let mut notes = self.notes();
        match notes.known.get(name) {
            Some(Some(found)) => Answer::Found(found.clone()),
            Some(None) => Answer::Missing,
            None => {
                notes.wanted.insert(name.to_owned());
                Answer::Pending
            }
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.notes)
    }

    /// Looks up what was asked for; false if that was nothing.
    async fn learn(&self) -> bool {
        let mut wanted = std::mem::take(&mut self.notes().wanted).into_iter();
        let mut looking = JoinSet::new();
        let mut asked = false;
        loop {
            while looking.len() < AT_ONCE {
                let Some(name) = wanted.next() else { break };
                asked = true;
                looking.spawn(look_up(name, self.resolver.clone(), self.limit));
            }
            match looking.join_next().await {
                Some(Ok((name, found))) => drop(self.notes().known.insert(name, found)),
                // The runtime ends, and this with it.
                Some(Err(_)) => return false,
                None => return asked,
            }
        }
    }
}

async fn look_up(
    name: String,
    resolver: Arc<Resolver>,
    limit: Duration,
) -> (String, Option<Found>) {
    let asked = name.clone();
    let looking = tokio::task::spawn_blocking(move || resolver(&asked));
    match tokio::time::timeout(limit, looking).await {
        Ok(found) => (name, found.unwrap_or_default()),
        Err(_) => {
            let seconds = limit.as_secs_f64();
            tracing::warn!(
                "resolve: no answer about {name} within {seconds} s; it counts as unknown"
            );
            (name, None)
        }
    }
}

/// Asks the system, and for the name an alias stands for.
fn by_system(name: &str) -> Option<Found> {
    use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};
    let hints = AddrInfoHints {
        flags: CANONNAME,
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let first = getaddrinfo(Some(name), None, Some(hints)).ok()?.next()?.ok()?;
    Some(Found { cname: first.canonname })
}

/// `AI_CANONNAME` of `netdb.h`, the same on every system we know of.
const CANONNAME: i32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Instant;

    fn found(cname: &str) -> Option<Found> {
        Some(Found { cname: Some(cname.to_owned()) })
    }

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "a name server that takes its time")]
    async fn what_is_asked_for_is_looked_up_once_and_all_at_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let slow = Arc::new(move |name: &str| {
            count.fetch_add(1, Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            (!name.starts_with("no")).then(|| found("real")).flatten()
        });
        let names = Names::new(slow, Duration::from_secs(60));
        let begun = Instant::now();
        let hosts: Vec<String> = (0..20).map(|n| format!("h{n}")).collect();
        let plan = |names: &Names| {
            let first = |host: &String| match names.ask(&format!("no-{host}")) {
                Answer::Missing => names.ask(host),
                other => other,
            };
            hosts.iter().map(first).collect::<Vec<_>>()
        };
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let mut n_ticks = 0;
        let mut planned = std::pin::pin!(names.planned(plan));
        let answers = loop {
            tokio::select! {
                answers = &mut planned => break answers,
                _ = ticks.tick() => n_ticks += 1,
            }
        };
        assert_eq!(answers, vec![Answer::Found(found("real").unwrap()); 20]);
        assert_eq!(asked.load(Relaxed), 40, "each name once");
        assert!(n_ticks > 10, "others went on meanwhile: {n_ticks} ticks");
        assert!(begun.elapsed() < Duration::from_secs(3), "one after the other");
    }

    #[tokio::test]
    async fn a_name_server_that_hangs_is_given_up() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Mutex::new(held);
        let hangs = Arc::new(move |_: &str| {
            let _ = held.lock().unwrap().recv();
            found("late")
        });
        let names = Names::new(hangs, Duration::from_millis(50));
        assert_eq!(names.planned(|names| names.ask("h")).await, Answer::Missing);
        drop(release);
    }

    #[test]
    fn the_system_is_asked_for_the_real_name() {
        let found = by_system("localhost").expect("every system knows it");
        assert!(found.cname.is_some_and(|name| !name.is_empty()));
        assert_eq!(by_system("no-such-name.invalid."), None);
    }
}
