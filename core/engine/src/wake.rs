//! The machine slept, or has another address: connections that look well may be dead. Every one
//! is asked at once, and what does not answer is closed, so that whoever uses it comes back with a
//! new one instead of waiting for its keepalive.
//!
//! Sleep shows as wall time that the monotonic clock did not see; a clock that was set forward
//! looks the same and costs no more than a question to each node. Addresses of the loopback and
//! of single links are not counted: they come and go with every container.

use crate::commons::Commons;
use crate::pool::Pool;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

/// Between two looks; a sleeper is noticed so soon after waking.
const EVERY: Duration = Duration::from_secs(2);
/// Wall time that is missing on the other clock by more is sleep.
const SLEPT: Duration = Duration::from_secs(5);
/// How long a connection in use may take to answer: after waking, networks take a while to be
/// there, and a command that lives is worth the wait.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is compared from one look to the next.
#[derive(Debug, Clone)]
struct Seen {
    awake: Instant,
    wall: SystemTime,
    /// None: nobody has asked, or there is no list.
    addresses: Option<BTreeSet<IpAddr>>,
}

/// What has happened in between.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Slept(Duration),
    Addresses,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Slept(time) => write!(f, "this machine slept for {} s", time.as_secs()),
            Change::Addresses => f.write_str("this machine has other addresses"),
        }
    }
}

impl Seen {
    fn now() -> Seen {
        Seen { addresses: addresses(), ..Seen::clocks() }
    }

    /// Without the addresses, which nobody needs before there is a connection.
    fn clocks() -> Seen {
        Seen { awake: Instant::now(), wall: SystemTime::now(), addresses: None }
    }

    /// What is different now.
    fn change(&self, now: &Seen) -> Option<Change> {
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        let slept = wall.saturating_sub(now.awake.duration_since(self.awake));
        if slept > SLEPT {
            return Some(Change::Slept(slept));
        }
        let (before, after) = (self.addresses.as_ref()?, now.addresses.as_ref()?);
        (before != after).then_some(Change::Addresses)
    }
}

/// Our addresses that others reach us at.
fn addresses() -> Option<BTreeSet<IpAddr>> {
    let all = if_addrs::get_if_addrs().ok()?;
    let others = all.iter().filter(|one| !one.is_loopback() && !one.is_link_local());
    Some(others.map(|one| one.ip()).collect())
}

impl Commons {
    /// Watches for sleep and other addresses, for ever.
    pub async fn watch(&self) {
        let mut seen = Seen::clocks();
        loop {
            tokio::time::sleep(EVERY).await;
            let now = if self.pool.has_connections() { Seen::now() } else { Seen::clocks() };
            if let Some(change) = seen.change(&now) {
                let (alive, closed) = self.probe().await;
                tracing::info!("{change}: {alive} connections still work, {closed} were closed");
                // What has changed meanwhile is a change of its own.
                seen = Seen { addresses: now.addresses, ..Seen::clocks() };
            } else {
                seen = now;
            }
        }
    }

    /// Asks every connection for a sign of life and closes those that give none; how many of
    /// either there were.
    pub async fn probe(&self) -> (u64, u64) {
        self.pool.probe(PATIENCE).await
    }
}

impl Pool {
    async fn probe(&self, patience: Duration) -> (u64, u64) {
        let (used, idle) = self.kept();
        let used = join_all(used.into_iter().map(|connection| async move {
            let alive = connection.answers(patience).await;
            if !alive {
                let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
            }
            alive
        }));
        let (used, idle) = tokio::join!(used, idle);
        let count = |alive: bool| {
            let of = |all: &[bool]| all.iter().filter(|one| **one == alive).count() as u64;
            of(&used) + of(&idle)
        };
        (count(true), count(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_and_addresses_are_told_from_time_that_goes_by() {
        let at = |addresses: &[[u8; 4]]| Some(addresses.iter().map(|ip| (*ip).into()).collect());
        let home = Seen { addresses: at(&[[192, 0, 2, 7]]), ..Seen::clocks() };
        let later = |awake: u64, wall: u64| Seen {
            awake: home.awake + Duration::from_secs(awake),
            wall: home.wall + Duration::from_secs(wall),
            ..home.clone()
        };
        assert_eq!(home.change(&later(2, 2)), None);
        // A busy machine looks late, and a clock is corrected.
        assert_eq!(home.change(&later(30, 31)), None);
        assert_eq!(home.change(&Seen { wall: home.wall - EVERY, ..later(2, 2) }), None);
        assert_eq!(home.change(&later(2, 3602)), Some(Change::Slept(Duration::from_secs(3600))));
        for addresses in [at(&[[198, 51, 100, 1]]), at(&[])] {
            let moved = Seen { addresses, ..later(2, 2) };
            assert_eq!(home.change(&moved), Some(Change::Addresses));
        }
        let unknown = Seen { addresses: None, ..later(2, 2) };
        assert_eq!((home.change(&unknown), unknown.change(&home)), (None, None));
    }
}
