//! Tasks on files seen from a frontend: a copy is awaited to its `fs/taskDone`.

use crate::core::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::methods::{FsCopy, FsTaskCancel};
use bssh_protocol::task::{FsCopyParams, FsTaskDone, FsTaskRef, TaskId};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::oneshot;

/// The tasks of a link that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    waiting: Mutex<HashMap<TaskId, oneshot::Sender<Box<FsTaskDone>>>>,
}

impl Core {
    /// Copies files between here and a node, or between two, and waits for the end. Dropping the
    /// future gives the copy up.
    ///
    /// # Errors
    /// As [`Core::exec`]; what goes wrong on the way is in the answer.
    pub async fn copy(&self, params: &FsCopyParams) -> Result<FsTaskDone, CallError> {
        let (link, tasks) = (self.link().clone(), self.handles.tasks.clone());
        let known = move |started: FsTaskRef| tasks.open(&link, started.task);
        match self.begin::<FsCopy, _>(params, known).await?.end().await {
            Some(done) => Ok(*done),
            None => Err(self.explain().await),
        }
    }
}

impl Tasks {
    /// Makes a task known. Called by the reader, before it reads the task's end.
    pub(crate) fn open(&self, link: &Link, task: TaskId) -> Waiting {
        let (sender, done) = oneshot::channel();
        self.lock().insert(task, sender);
        Waiting { link: link.clone(), task, done, over: false }
    }

    pub(crate) fn done(&self, done: FsTaskDone) {
        let waiting = self.lock().remove(&done.task);
        // Whoever waited may have gone.
        if let Some(sender) = waiting {
            let _ = sender.send(Box::new(done));
        }
    }

    /// The core is gone: so are its tasks.
    pub(crate) fn lost(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, oneshot::Sender<Box<FsTaskDone>>>> {
        lock(&self.waiting)
    }
}

/// A task that is under way. Dropping it gives the task up.
pub(crate) struct Waiting {
    link: Link,
    task: TaskId,
    done: oneshot::Receiver<Box<FsTaskDone>>,
    over: bool,
}

impl Waiting {
    /// Its end; none if the core went first.
    pub(crate) async fn end(mut self) -> Option<Box<FsTaskDone>> {
        let done = (&mut self.done).await.ok();
        self.over = true;
        done
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.link.ask::<FsTaskCancel>(&FsTaskRef { task: self.task });
        }
    }
}
