//! One node's transfer, read from top to bottom: connect, start the file server, carry files, end.
//!
//! Whatever goes wrong with one file is a fault of that file; what goes wrong with the node is its
//! failure. Temporary files of a transfer that is given up are removed as far as the node lets us.

use super::bare::Bare;
use super::count::Count;
use super::disk::Disk;
use super::fault::Fault;
use super::run::{Options, TransferRun};
use super::{download, upload};
use crate::engine::Engine;
use crate::exec::connected;
use crate::failure::{failure, plain};
use crate::plan::{NodePlan, Route};
use crate::pool::Lease;
use crate::run::millis;
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::transfer::{TransferDirection, TransferState, Transferred};
use bssh_ssh::error::{Error, ErrorKind};
use bssh_ssh::sftp::Sftp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell, Semaphore, SemaphorePermit};

/// Files from here on are sent through several channels where the way is long.
pub(crate) const LARGE: u64 = 16 << 20;
/// A way this long is far.
const FAR: Duration = Duration::from_millis(10);
/// Channels beside the first one, where the way is far; most servers allow ten in all.
const LANES: usize = 8;
/// Bytes a second to reckon with when deciding how much is on the way.
const FAST: u64 = 400 << 20;
const LEAST_ON_THE_WAY: u64 = 2 << 20;
const MOST_ON_THE_WAY: u64 = 24 << 20;
/// The same for all nodes together.
const ALL_ON_THE_WAY: u64 = 48 << 20;
/// A block of a file that a later transfer may go on with is not further ahead of the first one
/// that has not arrived.
pub(crate) const MOST_AHEAD: u64 = 16 << 20;
/// How long a node may take to remove what we left there.
const TIDY: Duration = Duration::from_secs(3);
/// How long the file server may take to start.
const START: Duration = Duration::from_secs(30);
/// First pause before another try of a node; doubled each time.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Everything a node's transfer works with.
pub(crate) struct Job {
    pub sftp: Sftp,
    /// More channels for large files, opened for the first one. None: refused.
    lanes: [OnceCell<Option<Sftp>>; LANES],
    lease: Arc<Lease>,
    /// The file server of the node the sources lie on, if they are not here.
    pub source: Option<Sftp>,
    pub disk: Disk,
    pub count: Arc<Count>,
    pub options: Arc<Options>,
    pub run: Arc<TransferRun>,
    pub index: u32,
    /// The node's name.
    pub name: String,
    /// Blocks of one file on the way.
    pub depth: usize,
    on_the_way: Semaphore,
    most: usize,
    throttle: Option<Throttle>,
    next: AtomicU64,
}

/// At most so many bytes a second.
struct Throttle {
    rate: u64,
    /// When the next block may go.
    next: Mutex<Instant>,
}

impl Throttle {
    async fn wait(&self, bytes: usize) {
        let mut next = self.next.lock().await;
        let now = (*next).max(Instant::now());
        let takes = bytes as f64 / self.rate.max(1) as f64;
        *next = now + Duration::from_secs_f64(takes);
        tokio::time::sleep_until(now.into()).await;
    }
}

impl Job {
    /// Room for so many bytes; waits until others have arrived.
    pub(crate) async fn budget(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Fault> {
        let wanted = u32::try_from(bytes.clamp(1, self.most)).unwrap_or(u32::MAX);
        let permit = self.on_the_way.acquire_many(wanted).await;
        if let Some(throttle) = &self.throttle {
            throttle.wait(bytes).await;
        }
        permit.map_err(|_| Fault::fatal("internal", "the core is ending"))
    }

    /// A name nobody has.
    pub(crate) fn temporary_name(&self) -> Vec<u8> {
        let n = self.next.fetch_add(1, Relaxed);
        format!(".bssh-{}-{n:x}.tmp", self.run.nonce).into_bytes()
    }

    /// Times are kept.
    pub(crate) fn keeps(&self) -> bool {
        self.options.preserve || self.options.resume
    }

    /// Files on the way at once.
    pub(crate) fn files_at_once(&self) -> usize {
        let handles = self.sftp.limits().handles as usize;
        handles.saturating_sub(8).clamp(1, self.run.files)
    }

    /// How many channels beside the first one carry so many bytes: where the way is long, one
    /// channel's window is the limit.
    pub(crate) fn lanes_for(&self, bytes: u64) -> usize {
        if bytes < LARGE || self.sftp.round_trip() < FAR { 0 } else { LANES }
    }

    /// One of the channels beside the first one. A server that allows fewer sessions is slower,
    /// and that is all.
    pub(crate) async fn lane(&self, lane: usize) -> Option<&Sftp> {
        let opening = || async {
            let opening = async {
                let channel = self.lease.connection.open_session().await?;
                self.sftp.another(channel).await
            };
            tokio::time::timeout(START, opening).await.ok()?.ok()?.ok()
        };
        self.lanes.get(lane)?.get_or_init(opening).await.as_ref()
    }

    /// Bytes that a block may be ahead of the first one that has not arrived.
    pub(crate) fn ahead(&self) -> u64 {
        if self.options.resume { MOST_AHEAD } else { u64::MAX }
    }

    /// Bytes of one read.
    pub(crate) fn read_block(&self) -> u64 {
        let most = self.sftp.limits().read;
        u64::from(self.options.block.map_or(most, |block| block.min(most)))
    }

    /// Bytes of one write.
    pub(crate) fn write_block(&self) -> u64 {
        let most = self.sftp.limits().write;
        u64::from(self.options.block.map_or(most, |block| block.min(most)))
    }

    /// Says what is being done, if somebody wants to know.
    pub(crate) async fn tell(&self, action: &str, path: &[u8], bytes: u64) {
        if self.options.tell {
            self.would(action, path, bytes).await;
        }
    }

    /// Says what a dry run would do.
    pub(crate) async fn would(&self, action: &str, path: &[u8], bytes: u64) {
        self.run.would(self.index, action, path, bytes).await;
    }
}

/// Runs the transfer on one node, telling the frontend on the way.
pub(crate) async fn run_on_node(
    run: &Arc<TransferRun>,
    engine: &Engine,
    index: u32,
    node: &NodePlan,
) -> Transferred {
    let begun = Instant::now();
    let route = match &node.route {
        Ok(route) => route.bulk(),
        Err(failure) => return failed(failure.clone()),
    };
    let mut ended = on_route(run, engine, (index, node), &route).await;
    if let Some(failure) = &mut ended.failure {
        failure.after_ms = millis(begun.elapsed());
    }
    engine.pool().forget(&route);
    ended
}

fn failed(failure: Failure) -> Transferred {
    Transferred { failure: Some(failure), ..Transferred::default() }
}

async fn on_route(
    run: &Arc<TransferRun>,
    engine: &Engine,
    (index, node): (u32, &NodePlan),
    route: &Arc<Route>,
) -> Transferred {
    let started = async {
        let connect = |own| async move {
            let (lease, reused) = lease(run, engine, (index, node), (route, own)).await?;
            let state = TransferState::Connected(connected(&lease, route, reused));
            run.tell(index, node, state).await;
            Ok::<_, Failure>((lease, reused))
        };
        let (mut lease, kept) = connect(false).await?;
        let sftp = match engine.reach.shared(&route.key, &lease) {
            Some(sftp) => Some(sftp),
            None => match open_on((&mut lease, kept), || connect(true)).await {
                Err(failure) if failure.code == "noSftp" => None,
                opened => Some(opened?),
            },
        };
        let source = run.source(engine).await?;
        Ok::<_, Failure>((lease, sftp, source))
    };
    let cancelled = || plain(Phase::Dial, "cancelled", "cancelled while connecting");
    let started = tokio::select! {
        started = started => started,
        () = run.stopped() => Err(cancelled()),
    };
    let (lease, sftp, source) = match started {
        Ok(started) => started,
        Err(failure) => return failed(failure),
    };
    let begun = Instant::now();
    let count = run.count(index);
    let Some(sftp) = sftp else {
        let bare = Bare::new(run, &lease, (index, &node.name));
        let result = give_up_in_time(run, &count, bare.carry()).await;
        return ended(&lease, &count, result, begun).await;
    };
    let job = job(run, &lease, (sftp, source), (index, node), count.clone());
    let carried = async {
        match job.options.direction {
            TransferDirection::Upload => upload::upload(&job, run).await,
            TransferDirection::Download => download::download(&job).await,
        }
    };
    let result = give_up_in_time(run, &count, carried).await;
    tidy(&job).await;
    ended(&lease, &count, result, begun).await
}

/// Does the work until it is over, cancelled or at a standstill.
async fn give_up_in_time(
    run: &TransferRun,
    count: &Count,
    work: impl Future<Output = Result<(), Fault>>,
) -> Result<(), Fault> {
    tokio::select! {
        result = work => result,
        () = run.stopped() => Err(Fault::fatal("cancelled", "cancelled during the transfer")),
        limit = stalled(count, run.options.stall) => {
            let text = format!("nothing arrived for {} s", limit.as_secs_f64());
            Err(Fault::fatal("stalled", text))
        }
    }
}

async fn ended(
    lease: &Lease,
    count: &Count,
    result: Result<(), Fault>,
    begun: Instant,
) -> Transferred {
    let ended = Transferred { duration_ms: millis(begun.elapsed()), ..count.transferred() };
    match result {
        Err(fault) => Transferred { failure: Some(of_node(lease, fault).await), ..ended },
        Ok(()) if ended.n_faults > 0 => Transferred { failure: Some(of_files(&ended)), ..ended },
        Ok(()) => ended,
    }
}

/// A connection, retried as the user wants it; one that nobody else gets (`own`), or any.
async fn lease(
    run: &TransferRun,
    engine: &Engine,
    (index, node): (u32, &NodePlan),
    (route, own): (&Arc<Route>, bool),
) -> Result<(Arc<Lease>, bool), Failure> {
    let mut pause = RETRY_PAUSE;
    let mut attempt = 1;
    loop {
        run.tell(index, node, TransferState::Connecting { attempt }).await;
        let ask = engine.ask_for(&run.questions);
        let leased = match own {
            true => engine.pool().own(route, &ask).await,
            false => engine.pool().lease(route, &ask).await,
        };
        match leased {
            Err(error) if attempt <= run.retries && failure(&error).retryable => {
                tracing::info!("{}: {error}; trying again", node.name);
                tokio::time::sleep(pause).await;
                (pause, attempt) = (pause * 2, attempt + 1);
            }
            done => return done.map_err(|error| failure(&error)),
        }
    }
}

/// [`open`] on a connection that was just given out, and whether it had been kept. One that had
/// been and is found to be lost, or that has no room, is left for another: nothing was asked of it
/// yet.
pub(crate) async fn open_on<F: Future<Output = Result<(Arc<Lease>, bool), Failure>>>(
    (lease, mut kept): (&mut Arc<Lease>, bool),
    another: impl Fn() -> F,
) -> Result<Sftp, Failure> {
    loop {
        let failure = match open(lease).await {
            Err(failure) => failure,
            opened => return opened,
        };
        let again = match &*failure.code {
            "tooManySessions" => lease.give_way(kept),
            _ => kept && lease.is_closing(),
        };
        if !again {
            return Err(failure);
        }
        tracing::info!("{}; the connection was kept, and is made anew", failure.message);
        // One that is new is the last try.
        (*lease, kept) = another().await?;
    }
}

/// A conversation with the node's file server.
pub(crate) async fn open(lease: &Lease) -> Result<Sftp, Failure> {
    let opening = async {
        let channel = lease.connection.open_session().await?;
        Sftp::open(channel).await
    };
    match tokio::time::timeout(START, opening).await {
        Ok(Ok(Ok(sftp))) => Ok(sftp),
        Ok(Ok(Err(error))) => {
            let fault = Fault::from(error);
            Err(plain(Phase::Transfer, fault.code, fault.message))
        }
        Ok(Err(Error { kind: ErrorKind::RequestRefused { .. }, .. })) => Err(Failure {
            hint: Some("its sshd_config needs a line: Subsystem sftp internal-sftp".to_owned()),
            ..plain(Phase::Transfer, "noSftp", "the node has no file server (sftp)")
        }),
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(plain(Phase::Transfer, "timeout", "the node's file server does not start")),
    }
}

fn job(
    run: &Arc<TransferRun>,
    lease: &Arc<Lease>,
    (sftp, source): (Sftp, Option<Sftp>),
    (index, node): (u32, &NodePlan),
    count: Arc<Count>,
) -> Job {
    // A block's way begins at the node it is read on.
    let way = sftp.round_trip() + source.as_ref().map_or(Duration::ZERO, Sftp::round_trip);
    let rtt = u64::try_from(way.as_micros()).unwrap_or(u64::MAX);
    let wanted = rtt.saturating_mul(FAST / 1_000_000).clamp(LEAST_ON_THE_WAY, MOST_ON_THE_WAY);
    let share = ALL_ON_THE_WAY / run.at_once().max(1);
    let most = wanted.min(share).max(512 << 10);
    let block = u64::from(sftp.limits().read.max(sftp.limits().write));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let block = run.options.block.map_or(block, |b| block.min(b.into())).max(1);
    let depth = most.div_ceil(usize::try_from(block).unwrap_or(1)).clamp(2, 512);
    let throttle = |rate| Throttle { rate, next: Mutex::new(Instant::now()) };
    Job {
        depth: run.options.requests.unwrap_or(depth),
        sftp,
        lanes: Default::default(),
        lease: lease.clone(),
        source,
        throttle: run.options.limit.map(throttle),
        disk: run.disk.clone(),
        count,
        options: run.options.clone(),
        run: run.clone(),
        index,
        name: node.name.clone(),
        on_the_way: Semaphore::new(most),
        most,
        next: AtomicU64::new(u64::from(index) << 32),
    }
}

/// Resolves when nothing has happened for that long.
async fn stalled(count: &Count, limit: Option<Duration>) -> Duration {
    let Some(limit) = limit else { return std::future::pending().await };
    let mut seen = None;
    loop {
        let now = count.steps.load(Relaxed);
        if seen == Some(now) {
            return limit;
        }
        seen = Some(now);
        tokio::time::sleep(limit).await;
    }
}

async fn tidy(job: &Job) {
    let left = job.count.left_over();
    let removing = left.iter().map(|path| job.sftp.remove(path));
    // A node that is gone cannot be tidied.
    let _ = tokio::time::timeout(TIDY, futures_util::future::join_all(removing)).await;
}

async fn of_node(lease: &Lease, fault: Fault) -> Failure {
    if fault.code == "transportLost" && lease.connection.is_closed() {
        let why = failure(&lease.connection.closed().await);
        return Failure { phase: Phase::Transfer, ..why };
    }
    let retryable = matches!(fault.code, "transportLost" | "stalled");
    Failure { retryable, ..plain(Phase::Transfer, fault.code, fault.message) }
}

fn of_files(ended: &Transferred) -> Failure {
    let first = ended.faults.first().map_or_else(String::new, |fault| {
        format!(": {}: {}", String::from_utf8_lossy(&fault.path.0), fault.message)
    });
    let text = match ended.n_faults {
        1 => format!("1 file failed{first}"),
        n => format!("{n} files failed, the first{first}"),
    };
    plain(Phase::Transfer, "filesFailed", text)
}
