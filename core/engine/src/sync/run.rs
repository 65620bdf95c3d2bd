//! A sync from `sync/start` to `sync/done`: its pairs one after the other, tried again when the
//! connection is lost, with a word now and then about how far it has got.

use super::apply::Tally;
use super::ends::{Count, Stop};
use super::journal::{LastRun, Record};
use super::model::Rel;
use super::open::{Opened, With, open};
use super::options::{Options, Pair};
use super::round::{Wanted, round};
use super::total::Total;
use super::watch;
use crate::dialing::jittered;
use crate::engine::Engine;
use crate::failure::{failure, one_line, plain};
use crate::questions::Questions;
use crate::run::millis;
use crate::transfer::Fault;
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::methods::{
    Event, SyncConflictEvent as ConflictEvent, SyncDoneEvent, SyncProgressEvent, SyncRoundEvent,
    SyncStateEvent, SyncStepEvent,
};
use bssh_protocol::sync::{
    SyncAction, SyncConflict, SyncConflictEvent, SyncDone, SyncId, SyncProgress, SyncStateChange,
    SyncStep, Synced,
};
use bssh_ssh::sftp::Sftp;
use futures_util::future::{BoxFuture, TryFutureExt};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Pauses before a sync whose connection was lost is tried again; after the last it is given up.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];
/// How often the frontend is told how far it has got.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// One sync.
pub(crate) struct SyncRun {
    pub id: SyncId,
    pub options: Options,
    pub wanted: Wanted,
    pub questions: Arc<Questions>,
    pub begun: Instant,
    pub told: Told,
    pub stop: Arc<Stop>,
    pub count: Arc<Count>,
    /// Temporary files on the node that could not be removed, because it was gone.
    pub left: Mutex<BTreeSet<Rel>>,
}

/// Where a sync tells of itself; none: its result is all that is wanted. A link that is lost ends
/// it.
pub(crate) struct Told {
    pub link: Option<Link>,
    pub sync: SyncId,
}

impl Told {
    async fn tell<E: Event>(&self, event: &E::Params) {
        if let Some(link) = &self.link {
            let _ = link.notify::<E>(event).await;
        }
    }

    pub(crate) async fn state(&self, state: &str, message: Option<String>) {
        let message = message.map(|text| one_line(&text));
        let event = SyncStateChange { sync: self.sync, state: state.to_owned(), message };
        self.tell::<SyncStateEvent>(&event).await;
    }

    pub(crate) async fn step(&self, action: &str, path: &[u8], bytes: u64) {
        let (sync, action) = (self.sync, action.to_owned());
        let event = SyncStep { sync, action, path: path.into(), bytes };
        self.tell::<SyncStepEvent>(&event).await;
    }

    async fn conflict(&self, conflict: &SyncConflict) {
        let event = SyncConflictEvent { sync: self.sync, conflict: conflict.clone() };
        self.tell::<ConflictEvent>(&event).await;
    }

    pub(crate) async fn round(&self, result: Synced) {
        let event = SyncDone { sync: self.sync, result };
        self.tell::<SyncRoundEvent>(&event).await;
    }
}

impl SyncRun {
    /// Ends it: what is half there goes, names that are being taken are taken.
    pub(crate) async fn cancel(&self) {
        self.stop.stop();
        if self.count.committing.load(Relaxed) > 0 {
            let text = "files are being put in place; a moment";
            self.told.state("deferred", Some(text.to_owned())).await;
        }
    }

    /// Does everything and says how it ended.
    pub(crate) async fn drive(self: Arc<Self>, engine: &Engine) {
        let mut total = Total::default();
        let ended = {
            let all = self.pairs(engine, &mut total);
            let telling = self.tell_progress();
            tokio::select! {
                ended = all => ended,
                () = telling => Ok(()),
            }
        };
        total.result.duration_ms = millis(self.begun.elapsed());
        let failure = ended.err().or_else(|| total.incomplete());
        let event = SyncDone { sync: self.id, result: total.told(failure) };
        self.told.tell::<SyncDoneEvent>(&event).await;
    }

    async fn pairs(&self, engine: &Engine, total: &mut Total) -> Result<(), Failure> {
        if self.wanted.action == SyncAction::Watch {
            return watch::watch(self, engine, &mut total.result).await;
        }
        for pair in &self.options.pairs {
            self.pair(engine, pair, total).await?;
        }
        Ok(())
    }

    /// One pair, tried again as long as the connection is what failed.
    async fn pair(&self, engine: &Engine, pair: &Pair, total: &mut Total) -> Result<(), Failure> {
        lock(&self.left).clear();
        let mut tries = Tries { run: self, engine, pair, total, was_there: false };
        persist((&self.told, &self.stop, &CLOCK), &mut tries).await
    }

    /// Waits before another try.
    pub(crate) async fn pause(&self, failure: &Failure, pause: Duration) {
        wait((&self.told, &self.stop, &CLOCK), failure, pause).await;
    }

    async fn attempt(
        &self,
        engine: &Engine,
        pair: &Pair,
        (total, was_there): (&mut Total, &mut bool),
    ) -> Result<(), Failure> {
        let opened = self.open(engine, pair).await?;
        *was_there = true;
        // What the try before could not remove goes with what this one leaves.
        lock(&self.left).iter().for_each(|temp| opened.ends.unnamed(temp));
        let done = self.one_round(&opened, pair, self.wanted, total).await;
        opened.close().await;
        *lock(&self.left) = opened.ends.left_over();
        done
    }

    /// A round while the lease is kept; adds to the total what it has done.
    pub(crate) async fn one_round(
        &self,
        opened: &Opened,
        pair: &Pair,
        wanted: Wanted,
        total: &mut Total,
    ) -> Result<(), Failure> {
        let before = self.count.bytes.load(Relaxed);
        let (tally, done) = tokio::select! {
            done = round(opened, &self.options, wanted, &self.told) => done,
            fault = opened.stay() => (Tally::default(), Err(fault)),
            fault = self.stalled(&opened.ends.sftp) => (Tally::default(), Err(fault)),
        };
        let unfetched = tally.unfetched || done.is_err();
        let mut one = Total::of(pair, tally);
        for (conflict, _) in &one.conflicts {
            self.told.conflict(conflict).await;
        }
        one.result.bytes = self.count.bytes.load(Relaxed).saturating_sub(before);
        one.result.known = lock(&opened.store).base.len() as u64;
        let done = match done {
            Ok(()) => Ok(()),
            Err(fault) => Err(of(opened, fault).await),
        };
        let failure = done.clone().err().or_else(|| one.incomplete());
        total.add(one);
        if !wanted.dry_run {
            self.remember(opened, wanted, (failure, unfetched)).await?;
        }
        done
    }

    /// A connection, and everything else a pair needs.
    pub(crate) async fn open(&self, engine: &Engine, pair: &Pair) -> Result<Opened, Failure> {
        self.told.state("connecting", None).await;
        let route = self.options.route.bulk();
        let ask = engine.ask_for(&self.questions);
        let opening = async {
            let leased = engine.pool().lease(&route, &ask).await;
            let (mut lease, kept) = leased.map_err(|error| failure(&error))?;
            let another = || engine.pool().own(&route, &ask).map_err(|error| failure(&error));
            let sftp = crate::transfer::open_on((&mut lease, kept), another).await?;
            let (options, wanted, told) = (&self.options, self.wanted, sftp.clone());
            let (count, stop) = (self.count.clone(), self.stop.clone());
            let with = With { options, pair, wanted, lease, sftp, count, stop };
            tokio::select! {
                opened = open(with) => opened,
                fault = self.stalled(&told) => Err(fault),
            }
            .map_err(|fault| failure_of(&fault))
        };
        let opened = tokio::select! {
            opened = opening => opened?,
            () = self.stop.stopped() => return Err(plain(Phase::Dial, "cancelled", "cancelled")),
        };
        for note in &opened.notes {
            self.told.state("note", Some(note.clone())).await;
        }
        Ok(opened)
    }

    /// Resolves when the node has been silent for too long.
    async fn stalled(&self, sftp: &Sftp) -> Fault {
        let Some(limit) = self.options.stall else { return std::future::pending().await };
        sftp.silent(limit).await;
        let text = format!("the node has not answered for {} s", limit.as_secs_f64());
        Fault::fatal("stalled", text)
    }

    async fn remember(
        &self,
        opened: &Opened,
        wanted: Wanted,
        (failure, unfetched): (Option<Failure>, bool),
    ) -> Result<(), Failure> {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let action = match wanted.action {
            SyncAction::Plan => "plan",
            SyncAction::Push => "push",
            SyncAction::Back => "back",
            SyncAction::Run => "run",
            SyncAction::Watch => "watch",
        };
        let before = lock(&opened.store).last.pending_back;
        let last = LastRun {
            unix_ms: millis(now),
            action: action.to_owned(),
            failure: failure.map(|f| f.message).unwrap_or_default(),
            pending_back: match wanted.action {
                SyncAction::Push => before,
                _ => unfetched,
            },
        };
        let store = opened.store.clone();
        let written =
            opened.ends.disk.run(move || Ok(lock(&store).done(vec![Record::Last(last)])?));
        written.await.map_err(|fault| failure_of(&fault))
    }

    /// Never ends.
    async fn tell_progress(&self) {
        let mut ticks = tokio::time::interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = SyncProgress { sync: self.id, ..SyncProgress::default() };
        loop {
            ticks.tick().await;
            let now = SyncProgress {
                sync: self.id,
                files: self.count.files.load(Relaxed),
                bytes: self.count.bytes.load(Relaxed),
                total_files: self.count.total_files.load(Relaxed),
                total_bytes: self.count.total_bytes.load(Relaxed),
            };
            if now != said {
                said = now;
                self.told.tell::<SyncProgressEvent>(&now).await;
            }
        }
    }
}

/// What is tried until it works.
trait Attempt: Send {
    fn attempt(&mut self) -> BoxFuture<'_, Result<(), Failure>>;
    /// The node was reached, now or before.
    fn was_there(&self) -> bool;
}

/// A pair that is tried.
struct Tries<'a> {
    run: &'a SyncRun,
    engine: &'a Engine,
    pair: &'a Pair,
    total: &'a mut Total,
    was_there: bool,
}

impl Attempt for Tries<'_> {
    fn attempt(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
        let state = (&mut *self.total, &mut self.was_there);
        Box::pin(self.run.attempt(self.engine, self.pair, state))
    }

    fn was_there(&self) -> bool {
        self.was_there
    }
}

/// Lets time pass.
type Clock = dyn Fn(Duration) -> BoxFuture<'static, ()> + Sync;
const CLOCK: fn(Duration) -> BoxFuture<'static, ()> = |time| Box::pin(tokio::time::sleep(time));

/// Tries, and tries again after each of the pauses as long as the connection is what failed. A
/// node that was never reached is not tried again.
async fn persist(
    (told, stop, clock): (&Told, &Stop, &Clock),
    tries: &mut dyn Attempt,
) -> Result<(), Failure> {
    let mut pauses = PAUSES.iter();
    loop {
        let failure = match tries.attempt().await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let again = tries.was_there() && failure.retryable && !stop.is_stopped();
        let Some(pause) = pauses.next().filter(|_| again) else { return Err(failure) };
        wait((told, stop, clock), &failure, *pause).await;
    }
}

/// Waits about so long, or until the sync is to end.
async fn wait((told, stop, clock): (&Told, &Stop, &Clock), failure: &Failure, pause: Duration) {
    let pause = jittered(pause);
    let text = format!("{}; again in {:.0} s", failure.message, pause.as_secs_f64());
    told.state("waiting", Some(text)).await;
    tokio::select! {
        () = clock(pause) => {}
        () = stop.stopped() => {}
    }
}

/// A fault as the failure of the sync.
fn failure_of(fault: &Fault) -> Failure {
    let retryable = matches!(fault.code, "transportLost" | "timeout" | "stalled");
    let hint = match fault.code {
        "syncHalted" => Some("if that is meant, --force-delete goes on"),
        "syncLocked" => Some("wait for it, or end that process"),
        "syncTooLarge" => Some("leave more out (ignore), or raise max_bytes or max_files"),
        _ => None,
    };
    let hint = hint.map(str::to_owned);
    let side = if fault.here { " (here)" } else { "" };
    Failure {
        retryable,
        hint,
        ..plain(Phase::Transfer, fault.code, format!("{}{side}", fault.message))
    }
}

/// The same, where the connection knows better.
async fn of(opened: &Opened, fault: Fault) -> Failure {
    let connection = &opened.ends.lease.connection;
    if fault.code == "transportLost" && connection.is_closed() {
        let why = failure(&connection.closed().await);
        return Failure { phase: Phase::Transfer, retryable: true, ..why };
    }
    failure_of(&fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair whose tries end like this: with a code, or well; and whether the node was reached.
    struct Script {
        ends: Vec<(&'static str, bool)>,
        n: usize,
    }

    impl Attempt for Script {
        fn attempt(&mut self) -> BoxFuture<'_, Result<(), Failure>> {
            self.n += 1;
            let (code, _) = self.ends.get(self.n - 1).copied().unwrap_or(("transportLost", true));
            Box::pin(async move {
                match code {
                    "" => Ok(()),
                    code => Err(failure_of(&Fault::fatal(code, "gone"))),
                }
            })
        }

        fn was_there(&self) -> bool {
            self.ends.iter().take(self.n).any(|end| end.1) || self.n > self.ends.len()
        }
    }

    /// How often it is tried, the pauses in seconds by a clock that does not wait, and the end.
    fn tried(ends: &[(&'static str, bool)]) -> (usize, Vec<f64>, Result<(), String>) {
        let (told, stop) = (Told { link: None, sync: 1 }, Stop::default());
        let pauses = Arc::<Mutex<Vec<f64>>>::default();
        let noted = pauses.clone();
        let clock = move |pause: Duration| -> BoxFuture<'static, ()> {
            noted.lock().unwrap().push(pause.as_secs_f64());
            Box::pin(std::future::ready(()))
        };
        let mut script = Script { ends: ends.to_vec(), n: 0 };
        let done = to_its_end(persist((&told, &stop, &clock), &mut script));
        (script.n, pauses.lock().unwrap().clone(), done.map_err(|failure| failure.code))
    }

    fn to_its_end<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn a_lost_connection_is_tried_again_after_two_four_and_eight_seconds() {
        let lost = ("transportLost", true);
        let (n, pauses, done) = tried(&[]);
        assert_eq!((n, pauses.len(), done), (4, 3, Err("transportLost".to_owned())));
        for (real, pause) in pauses.iter().zip([2.0, 4.0, 8.0]) {
            assert!((0.8 * pause..=1.2 * pause).contains(real), "{real} for {pause}");
        }
        // Once it was there, it is tried again also while it cannot be reached.
        let (n, pauses, done) = tried(&[lost, ("transportLost", false), ("", true)]);
        assert_eq!((n, pauses.len(), done), (3, 2, Ok(())));
        // What another try cannot change, and a node that was never there, are reported at once.
        for end in [("noSpace", true), ("permission", true), ("transportLost", false)] {
            let (n, pauses, done) = tried(&[end]);
            assert_eq!((n, pauses.len(), done), (1, 0, Err(end.0.to_owned())));
        }
    }

    #[test]
    fn a_sync_that_is_given_up_does_not_wait() {
        let (told, stop) = (Told { link: None, sync: 1 }, Arc::new(Stop::default()));
        let given_up = stop.clone();
        let clock = move |_: Duration| -> BoxFuture<'static, ()> {
            given_up.stop();
            Box::pin(std::future::pending())
        };
        let mut script = Script { ends: Vec::new(), n: 0 };
        let done = to_its_end(persist((&told, &stop, &clock), &mut script));
        assert_eq!((script.n, done.map_err(|f| f.code)), (2, Err("transportLost".to_owned())));
    }
}
