//! The work of a link: every task is owned, and one that panics is noticed.

use futures_util::future::FutureExt;
use std::panic::AssertUnwindSafe;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

/// What goes on for one link. Dropping it ends all of that.
pub(crate) struct Work {
    tasks: Mutex<JoinSet<()>>,
    broken: watch::Sender<bool>,
}

impl Default for Work {
    fn default() -> Work {
        Work { tasks: Mutex::default(), broken: watch::channel(false).0 }
    }
}

impl Work {
    pub(crate) async fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().await;
        while tasks.try_join_next().is_some() {}
        let broken = self.broken.clone();
        tasks.spawn(AssertUnwindSafe(task).catch_unwind().map(move |ended| {
            if ended.is_err() {
                broken.send_replace(true);
            }
        }));
    }

    /// Returns when nothing goes on any more.
    pub(crate) async fn over(&self) {
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }

    /// Returns once a task has panicked.
    pub(crate) async fn broken(&self) {
        // The sender is ours, and there as long as we are.
        let _ = self.broken.subscribe().wait_for(|broken| *broken).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_noticed_and_other_work_goes_on() {
        let work = Work::default();
        let (tell, told) = tokio::sync::oneshot::channel();
        work.start(async { panic!("as it is tested") }).await;
        work.broken().await;
        work.start(async { tell.send(1).unwrap() }).await;
        assert_eq!(told.await, Ok(1));
        work.over().await;
    }
}
