//! `fs/copy` and the tasks of `fs/*`: who they are, and how they are given up.
//!
//! A copy between here and a node, or between two nodes, is a transfer that speaks as a task. On
//! one node the node copies by itself where it can.

use super::{error, failed};
use crate::engine::{Caller, Engine};
use crate::failure::plain;
use crate::plan::NodePlan;
use crate::run::millis;
use crate::transfer::{CopyPlan, Fault, PreparedTransfer, join, remote, split};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Phase, Targets};
use bssh_protocol::link::Link;
use bssh_protocol::lock;
use bssh_protocol::methods::FsTaskDoneEvent;
use bssh_protocol::task::{
    FsCopyParams, FsTaskDone, FsTaskEntry, FsTaskList, FsTaskRef, Overwrite, TaskId,
};
use bssh_ssh::sftp::{Attrs, FileKind, Sftp, flags};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::watch;

/// The writes and node-side copies of a core; other copies are transfers.
#[derive(Default)]
pub(crate) struct Tasks {
    open: Mutex<BTreeMap<TaskId, Entry>>,
}

struct Entry {
    kind: &'static str,
    path: Vec<u8>,
    begun: Instant,
    stop: Arc<Stop>,
}

/// Tells a task to end.
pub(super) struct Stop(watch::Sender<bool>);

impl Stop {
    pub(super) async fn wait(&self) {
        let mut stop = self.0.subscribe();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Tasks {
    pub(super) fn add(&self, task: TaskId, kind: &'static str, path: &[u8]) -> Arc<Stop> {
        let stop = Arc::new(Stop(watch::channel(false).0));
        let entry = Entry { kind, path: path.to_vec(), begun: Instant::now(), stop: stop.clone() };
        self.open().insert(task, entry);
        stop
    }

    pub(super) fn remove(&self, task: TaskId) {
        self.open().remove(&task);
    }

    /// Gives them all up.
    pub(crate) fn cancel_all(&self) {
        for entry in self.open().values() {
            entry.stop.0.send_replace(true);
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<TaskId, Entry>> {
        lock(&self.open)
    }
}

/// A copy that is about to start: answer first, then [`Engine::fs_copy_launch`].
pub struct PreparedCopy {
    pub task: FsTaskRef,
    work: Work,
}

enum Work {
    Transfer(PreparedTransfer),
    /// The node copies one file by itself.
    Within(Box<Within>),
}

struct Within {
    sftp: Sftp,
    link: Link,
    params: FsCopyParams,
    stop: Arc<Stop>,
}

impl Engine {
    /// `fs/copy`: plans.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub async fn fs_copy(
        &self,
        caller: &Caller,
        params: FsCopyParams,
    ) -> Result<PreparedCopy, CallError> {
        let node = async |targets: &Option<Targets>| match targets {
            Some(targets) => self.one_node(targets).await.map(Some),
            None => Ok(None),
        };
        let (from, to) = (node(&params.from.node).await?, node(&params.to.node).await?);
        let task = FsTaskRef { task: self.new_id() };
        if let (Some(from), Some(to), Some(targets)) = (&from, &to, &params.to.node)
            && same(from, to)
        {
            let sftp = self.reach(caller, targets).await?;
            let path = remote::absolute(&sftp, &params.from.path.0).await.map_err(failed)?;
            let kind = sftp.stat(&path).await.map_err(error)?.kind();
            if kind == FileKind::File && sftp.has("copy-data") {
                let stop = self.fs_tasks.add(task.task, "copy", &params.to.path.0);
                let within = Within { sftp, link: caller.link.clone(), params, stop };
                return Ok(PreparedCopy { task, work: Work::Within(Box::new(within)) });
            }
        }
        let prepared = self.copy_prepare(caller, CopyPlan { id: task.task, from, to, params })?;
        Ok(PreparedCopy { task, work: Work::Transfer(prepared) })
    }

    /// Starts a prepared copy; `fs/taskDone` follows.
    pub async fn fs_copy_launch(self: Arc<Self>, prepared: PreparedCopy) {
        let within = match prepared.work {
            Work::Transfer(transfer) => return self.transfer_launch(transfer).await,
            Work::Within(within) => within,
        };
        let (engine, task) = (self.clone(), prepared.task.task);
        self.spawn(async move {
            let done = tokio::select! {
                done = within.copy(task) => done,
                () = within.stop.wait() => Err(Fault::new("cancelled", "cancelled")),
            };
            let done = match done {
                Ok((files, bytes, skipped)) => {
                    FsTaskDone { task, files, bytes, skipped, ..FsTaskDone::default() }
                }
                Err(fault) => FsTaskDone {
                    task,
                    failure: Some(plain(Phase::Transfer, fault.code, fault.message)),
                    ..FsTaskDone::default()
                },
            };
            engine.fs_tasks.remove(task);
            let _ = within.link.notify::<FsTaskDoneEvent>(&done).await;
        })
        .await;
    }

    /// `fs/taskCancel`.
    ///
    /// # Errors
    /// `handle.unknown`.
    pub fn fs_task_cancel(&self, task: FsTaskRef) -> Result<(), CallError> {
        if let Some(entry) = self.fs_tasks.open().get(&task.task) {
            entry.stop.0.send_replace(true);
            return Ok(());
        }
        match self.transfers.cancel_task(task.task) {
            true => Ok(()),
            false => {
                let text = format!("no task {}", task.task);
                Err(CallError::new(Kind::HandleUnknown, text).at("params.task"))
            }
        }
    }

    /// `fs/taskList`.
    pub fn fs_task_list(&self) -> FsTaskList {
        let mut tasks = self.transfers.tasks();
        tasks.extend(self.fs_tasks.open().iter().map(|(task, entry)| FsTaskEntry {
            task: *task,
            kind: entry.kind.to_owned(),
            path: entry.path[..].into(),
            running_ms: millis(entry.begun.elapsed()),
        }));
        tasks.sort_by_key(|entry| entry.task);
        FsTaskList { tasks }
    }
}

/// Two ends are the same node, as the same user.
fn same(a: &NodePlan, b: &NodePlan) -> bool {
    match (&a.route, &b.route) {
        (Ok(a), Ok(b)) => a.key == b.key,
        _ => false,
    }
}

impl Within {
    /// Files, bytes and what was left as it is.
    async fn copy(&self, task: TaskId) -> Result<(u64, u64, u64), Fault> {
        let (sftp, p) = (&self.sftp, &self.params);
        let from = remote::absolute(sftp, &p.from.path.0).await?;
        let mut to = remote::absolute(sftp, &p.to.path.0).await?;
        let attrs = sftp.stat(&from).await?;
        let mut old = remote::stat(sftp, &to).await?;
        if !p.exact && old.is_some_and(|a| a.kind() == FileKind::Dir) {
            to = join(&to, split(&from).1);
            old = remote::stat(sftp, &to).await?;
        }
        match (p.overwrite, old.map(|a| a.kind())) {
            (_, Some(FileKind::Dir)) => {
                return Err(Fault::new("isDirectory", "a directory is there"));
            }
            (Overwrite::Fail, Some(_)) => {
                return Err(Fault::new("exists", "it is there already"));
            }
            (Overwrite::Newer, Some(_)) if old.and_then(|a| a.times) >= attrs.times => {
                return Ok((0, 0, 1));
            }
            _ => {}
        }
        let part = join(split(&to).0, format!(".bssh-fs-{task:x}.tmp").as_bytes());
        let copied = self.fill(&from, &part, &attrs).await;
        let placed = match copied {
            Ok(()) => sftp.rename(&part, &to).await.map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        if let Err(fault) = placed {
            // The cause is what matters.
            let _ = sftp.remove(&part).await;
            return Err(fault);
        }
        Ok((1, attrs.size.unwrap_or(0), 0))
    }

    async fn fill(&self, from: &[u8], part: &[u8], attrs: &Attrs) -> Result<(), Fault> {
        let source = self.sftp.open_file(from, flags::READ, &Attrs::default()).await?;
        let how = flags::WRITE | flags::CREATE | flags::EXCLUSIVE;
        let mode = Attrs::permissions(attrs.mode.unwrap_or(0o644) & 0o777);
        let copy = self.sftp.open_file(part, how, &mode).await?;
        source.copy_to(0, &copy).await?;
        if self.params.preserve {
            let mode = attrs.mode.map(|mode| mode & 0o7777);
            copy.set_stat(&Attrs { mode, times: attrs.times, ..Attrs::default() }).await?;
        }
        Ok(copy.close().await?)
    }
}
