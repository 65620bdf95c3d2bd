//! A watch: rounds again and again. A local change goes to the node at once; what the node has
//! changed is found by looking, now and then.
//!
//! On Linux the system tells of local changes (inotify); where it does not, or has no room for so
//! many directories, the regular look finds them a little later.

use super::open::Opened;
use super::options::Pair;
use super::round::Wanted;
use super::run::SyncRun;
use super::total::{Total, merge};
use crate::engine::Engine;
use crate::run::millis;
use bssh_protocol::exec::Failure;
use bssh_protocol::sync::{SyncAction, Synced};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Changes come in bursts; this long after the first one they are looked at together.
const SETTLE: Duration = Duration::from_millis(50);
/// The first pause before a lost node is tried again, and the longest.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a watch goes.
struct Course<'a> {
    result: &'a mut Synced,
    /// All nodes have been reached once: one that is lost is tried again.
    was_there: bool,
    /// The next pause; short again after a round.
    pause: Duration,
}

/// Watches all pairs until it is ended or cannot go on.
pub(crate) async fn watch(
    run: &SyncRun,
    engine: &Engine,
    result: &mut Synced,
) -> Result<(), Failure> {
    let mut course = Course { result, was_there: false, pause: PAUSE };
    loop {
        let failure = match all(run, engine, &mut course).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if run.stop.is_stopped() && failure.code != "cancelled" {
            return Ok(());
        }
        if !course.was_there || !failure.retryable || run.stop.is_stopped() {
            return Err(failure);
        }
        run.pause(&failure, course.pause).await;
        course.pause = (course.pause * 2).min(LONGEST_PAUSE);
    }
}

async fn all(run: &SyncRun, engine: &Engine, course: &mut Course<'_>) -> Result<(), Failure> {
    let mut open = Vec::new();
    let mut ended = Ok(());
    for pair in &run.options.pairs {
        match run.open(engine, pair).await {
            Ok(opened) => open.push((pair, opened)),
            Err(failure) => {
                ended = Err(failure);
                break;
            }
        }
    }
    if ended.is_ok() {
        course.was_there = true;
        ended = rounds(run, &open, course).await;
    }
    for (_, opened) in &open {
        opened.close().await;
    }
    ended
}

async fn rounds(
    run: &SyncRun,
    open: &[(&Pair, Opened)],
    course: &mut Course<'_>,
) -> Result<(), Failure> {
    let roots: Vec<&Path> = open.iter().map(|(pair, _)| pair.local.as_path()).collect();
    let mut changes = Changes::new();
    let mut action = SyncAction::Run;
    loop {
        // Changes from here on are for the next round.
        changes.forget(&roots).await;
        for (pair, opened) in open {
            let begun = Instant::now();
            let wanted = Wanted { action, ..run.wanted };
            let mut total = Total::default();
            let done = run.one_round(opened, pair, wanted, &mut total).await;
            total.result.duration_ms = millis(begun.elapsed());
            let failure = done.clone().err().or_else(|| total.incomplete());
            let one = total.told(failure);
            merge(course.result, &one);
            let did = one.pushed + one.pulled + one.deleted_there + one.deleted_here;
            if did > 0 || one.failure.is_some() {
                run.told.round(one).await;
            }
            match done {
                // Somebody has to look at it; nothing is done until it is in order again.
                Err(failure) if failure.code == "syncHalted" || failure.code == "conflicts" => {}
                done => done?,
            }
        }
        course.pause = PAUSE;
        run.told.state("watching", None).await;
        action = tokio::select! {
            () = run.stop.stopped() => return Ok(()),
            () = changes.next() => SyncAction::Push,
            () = tokio::time::sleep(run.options.interval) => SyncAction::Run,
        };
        if action == SyncAction::Push {
            tokio::time::sleep(SETTLE).await;
        }
    }
}

/// Local changes, as the system tells of them.
struct Changes {
    #[cfg(target_os = "linux")]
    notify: Option<linux::Notify>,
}

impl Changes {
    fn new() -> Changes {
        Changes {
            #[cfg(target_os = "linux")]
            notify: linux::Notify::new().ok(),
        }
    }

    /// What has happened until now is known; new directories are watched as well.
    async fn forget(&mut self, roots: &[&Path]) {
        #[cfg(target_os = "linux")]
        if let Some(notify) = &self.notify
            && notify.forget(roots).await.is_err()
        {
            self.notify = None;
        }
    }

    /// Resolves at the next change. Never, where the system does not tell.
    async fn next(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(notify) = &self.notify
            && notify.next().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::{Path, PathBuf};
    use rustix::fs::inotify;
    use rustix::io::Errno;
    use std::io;
    use std::sync::Arc;
    use tokio::net::unix::pipe::Receiver;

    /// Directories that are watched; more are left to the regular look.
    const MOST: usize = 65_536;

    /// What an event has before its name: watch, mask, cookie, length of the name.
    const HEAD: usize = 16;

    /// An inotify instance; its events are read like a pipe's bytes.
    pub(super) struct Notify {
        events: Arc<Receiver>,
    }

    impl Notify {
        pub(super) fn new() -> io::Result<Notify> {
            let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
            Ok(Notify { events: Arc::new(Receiver::from_owned_fd_unchecked(fd)?) })
        }

        /// Watches every directory below the roots. What changes meanwhile is told of afterwards.
        pub(super) async fn forget(&self, roots: &[&Path]) -> io::Result<()> {
            self.drain();
            let events = self.events.clone();
            let roots: Vec<PathBuf> = roots.iter().map(|root| root.to_path_buf()).collect();
            // There may be many below them, and others want their core.
            tokio::task::spawn_blocking(move || {
                // Where the user pointed, links are followed.
                let real = roots.into_iter().map(|root| root.canonicalize().unwrap_or(root));
                add(&events, real.collect())
            })
            .await?
        }

        /// Takes what is there; true if it concerns somebody.
        fn drain(&self) -> bool {
            let mut buffer = [0; 64 * 1024];
            let mut found = false;
            while let Ok(n) = self.events.try_read(&mut buffer) {
                if n == 0 {
                    break;
                }
                found |= names(buffer.get(..n).unwrap_or_default());
            }
            found
        }

        pub(super) async fn next(&self) -> io::Result<()> {
            loop {
                self.events.readable().await?;
                if self.drain() {
                    return Ok(());
                }
            }
        }
    }

    /// Watches every directory below some; one that is watched already stays so.
    fn add(events: &Receiver, mut open: Vec<PathBuf>) -> io::Result<()> {
        use inotify::WatchFlags as W;
        let flags = W::CREATE
            | W::CLOSE_WRITE
            | W::DELETE
            | W::MOVED_FROM
            | W::MOVED_TO
            | W::ATTRIB
            | W::ONLYDIR
            | W::DONT_FOLLOW;
        let mut n = 0;
        while let Some(dir) = open.pop() {
            if dir.file_name().is_some_and(|name| name == ".bssh-sync") {
                continue;
            }
            n += 1;
            if n > MOST {
                return Ok(());
            }
            match inotify::add_watch(events, &dir, flags) {
                Ok(_) => {}
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => continue,
                // The user may not have more.
                Err(Errno::NOSPC) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(entry.path());
                }
            }
        }
        Ok(())
    }

    /// Some event is about something else than our own temporary files.
    fn names(mut events: &[u8]) -> bool {
        while let Some((head, rest)) = events.split_first_chunk::<HEAD>() {
            let [.., a, b, c, d] = *head;
            let length = u32::from_ne_bytes([a, b, c, d]) as usize;
            let Some((name, rest)) = rest.split_at_checked(length) else { return true };
            if !name.starts_with(b".bssh-") {
                return true;
            }
            events = rest;
        }
        false
    }
}
