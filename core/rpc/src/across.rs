//! The methods that look beyond their own link: jobs, connections and the journal of the core.

use crate::methods::Context;
use bssh_protocol::handshake::{Empty, Probed};
use bssh_protocol::methods as m;
use bssh_protocol::registry::{RpcModule, register};

pub(crate) fn register_all(module: &mut RpcModule<Context>) {
    register::<m::JobListAll, _, _, _>(module, |c, _, _| async move { Ok(c.engine.job_list()) });
    register::<m::JobWaitFor, _, _, _>(module, |c, _, p| async move {
        match p.session {
            Some(session) => c.engine.session_job_wait(session, &p).await,
            None => c.engine.job_wait(&p).await,
        }
    });
    register::<m::JobCancel, _, _, _>(module, |c, _, p| async move {
        c.engine.job_cancel(&p).map(|()| Empty {})
    });
    register::<m::JobNodesOf, _, _, _>(module, |c, _, p| async move { c.engine.job_nodes(&p) });
    register::<m::JobAttachTo, _, _, _>(module, |c, call, p| async move {
        let (replay, caller) = (c.engine.job_attach(&p)?, c.caller()?.clone());
        let (engine, started) = (c.engine.clone(), replay.started.clone());
        call.then(async move { engine.job_replay(caller, replay).await });
        Ok(started)
    });
    register::<m::ConnectionCheck, _, _, _>(module, |c, _, p| async move {
        c.engine.connection_check(&p).await
    });
    register::<m::ConnectionCloseAll, _, _, _>(module, |c, _, p| async move {
        let before = c.engine.connection_close(&p).await?;
        c.house.leave();
        Ok(before)
    });
    register::<m::CacheStats, _, _, _>(module, |c, _, p| async move { c.engine.cache_stats(&p) });
    register::<m::CacheClear, _, _, _>(module, |c, _, _| async move { Ok(c.engine.cache_clear()) });
    register::<m::CacheMaintain, _, _, _>(
        module,
        |c, _, _| async move { c.engine.cache_maintain() },
    );
    register::<m::JournalRead, _, _, _>(module, |c, _, p| async move { c.engine.journal_read(&p) });
    register::<m::LinkListAll, _, _, _>(module, |c, _, _| async move {
        Ok(c.engine.commons().list(c.number))
    });
    register::<m::CoreProbe, _, _, _>(module, |c, _, _| async move {
        let (alive, closed) = c.engine.commons().probe().await;
        Ok(Probed { alive, closed })
    });
    register::<m::CoreStats, _, _, _>(
        module,
        |c, _, _| async move { Ok(c.engine.stats(c.caller()?)) },
    );
    register::<m::SessionListAll, _, _, _>(
        module,
        |c, _, _| async move { Ok(c.engine.session_list()) },
    );
}
