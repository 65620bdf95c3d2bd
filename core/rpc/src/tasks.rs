//! Which method of `fs/*` that takes its time calls what: streams, copies, their tasks, and syncs.
//! Small requests are in [`crate::methods`].

use crate::methods::Context;
use bssh_protocol::handshake::Empty;
use bssh_protocol::methods as m;
use bssh_protocol::registry::{RpcModule, register};

pub(crate) fn tasks(module: &mut RpcModule<Context>) {
    register::<m::FsOpenRead, _, _, _>(module, |c, call, p| async move {
        let caller = c.caller()?.clone();
        let prepared = c.engine.fs_open_read(&caller, p).await?;
        let (engine, opened) = (c.engine.clone(), prepared.opened.clone());
        call.then(async move { engine.fs_read_launch(prepared).await });
        Ok(opened)
    });
    register::<m::FsOpenWrite, _, _, _>(module, |c, call, p| async move {
        let caller = c.caller()?.clone();
        let prepared = c.engine.fs_open_write(&caller, p).await?;
        let (engine, writing) = (c.engine.clone(), prepared.writing.clone());
        call.then(async move { engine.fs_write_launch(prepared).await });
        Ok(writing)
    });
    register::<m::FsCopy, _, _, _>(module, |c, call, p| async move {
        let caller = c.caller()?.clone();
        let prepared = c.engine.fs_copy(&caller, p).await?;
        let (engine, task) = (c.engine.clone(), prepared.task);
        call.then(async move { engine.fs_copy_launch(prepared).await });
        Ok(task)
    });
    register::<m::FsTaskCancel, _, _, _>(module, |c, _, p| async move {
        c.engine.fs_task_cancel(p).map(|()| Empty {})
    });
    register::<m::FsTaskListAll, _, _, _>(
        module,
        |c, _, _| async move { Ok(c.engine.fs_task_list()) },
    );
}

pub(crate) fn syncs(module: &mut RpcModule<Context>) {
    register::<m::SyncStart, _, _, _>(module, |c, call, p| async move {
        let prepared = c.engine.sync_prepare(c.caller()?, &p).await?;
        let (engine, started) = (c.engine.clone(), prepared.started.clone());
        call.then(async move { engine.sync_launch(prepared).await });
        Ok(started)
    });
    register::<m::SyncCancel, _, _, _>(module, |c, _, p| async move {
        c.engine.sync_cancel(p.sync).await.map(|()| Empty {})
    });
    register::<m::SyncList, _, _, _>(module, |c, _, _| async move { Ok(c.engine.sync_list()) });
    register::<m::SyncStatus, _, _, _>(
        module,
        |c, _, p| async move { c.engine.sync_status(&p).await },
    );
    register::<m::SyncConflicts, _, _, _>(module, |c, _, p| async move {
        c.engine.sync_conflicts(&p).await
    });
    register::<m::SyncResolve, _, _, _>(module, |c, _, p| async move {
        c.engine.sync_resolve(&p).await
    });
    register::<m::SyncRestore, _, _, _>(module, |c, _, p| async move {
        c.engine.sync_restore(&p).await
    });
}
