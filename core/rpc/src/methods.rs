//! Which method calls what. A handler is a few lines: the engine does the work.

use crate::across;
use crate::house::{Ending, House};
use crate::log;
use bssh_engine::{Caller, Engine};
use bssh_protocol::error::{CallError, ErrorData, Kind};
use bssh_protocol::handshake::{
    Chosen, CoreCapabilities, CoreInfo, CoreLimits, Empty, InfoResult, InitializeParams,
    InitializeResult, LEVEL, LogLevelParams, MAJOR, Pong, ShutdownParams,
};
use bssh_protocol::registry::{Call, Router, RpcModule, register};
use bssh_protocol::{frame, methods as m, schema, stream};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// What the handlers of one link share.
pub(crate) struct Context {
    pub(crate) engine: Arc<Engine>,
    /// Set by `initialize`.
    caller: OnceLock<Caller>,
    /// The link's number.
    pub(crate) number: u64,
    pub(crate) house: Arc<House>,
}

impl Context {
    /// Every method but `initialize` comes after it.
    pub(crate) fn caller(&self) -> Result<&Caller, CallError> {
        self.caller
            .get()
            .ok_or_else(|| CallError::new(Kind::NotInitialized, "initialize comes first"))
    }
}

/// The service of one link.
pub(crate) fn service(engine: &Arc<Engine>, number: u64, house: Arc<House>) -> Router {
    let context = Context { engine: engine.clone(), caller: OnceLock::new(), number, house };
    let mut module = RpcModule::new(context);
    core(&mut module);
    nodes(&mut module);
    exec(&mut module);
    forwards(&mut module);
    ptys(&mut module);
    sessions(&mut module);
    transfers(&mut module);
    fs(&mut module);
    crate::tasks::syncs(&mut module);
    crate::tasks::tasks(&mut module);
    connections(&mut module);
    agent(&mut module);
    gate(&mut module);
    across::register_all(&mut module);
    Router::new(module)
}

fn core(module: &mut RpcModule<Context>) {
    register::<m::Initialize, _, _, _>(
        module,
        |c, call, p| async move { initialize(&c, &call, p) },
    );
    register::<m::Shutdown, _, _, _>(module, |c, call, p| async move { shut_down(&c, &call, &p) });
    register::<m::CoreShutdown, _, _, _>(
        module,
        |c, call, p| async move { shut_down(&c, &call, &p) },
    );
    register::<m::LinkClose, _, _, _>(module, |c, call, p| async move {
        c.engine.keep(&p.keep)?;
        let link = call.link.clone();
        call.then(async move { link.close() });
        Ok(Empty {})
    });
    register::<m::LogSetLevel, _, _, _>(module, |c, _, p| async move { set_log_level(&c, &p) });
    register::<m::RpcDiscover, _, _, _>(module, |_, _, _| async move { Ok(schema::openrpc()) });
    register::<m::CorePing, _, _, _>(module, |_, _, _| async move {
        let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Ok(Pong { unix_ms: u64::try_from(clock.as_millis()).unwrap_or(u64::MAX) })
    });
    register::<m::CoreInfo, _, _, _>(module, |c, _, _| async move {
        Ok(InfoResult {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            uptime_ms: millis(c.house.begun.elapsed()),
            protocol: Chosen { major: MAJOR, level: LEVEL },
            socket: c.house.socket.as_ref().map(|path| path.display().to_string()),
            idle_ms: c.house.idle.map(millis),
        })
    });
}

fn nodes(module: &mut RpcModule<Context>) {
    register::<m::GroupResolve, _, _, _>(module, |c, _, p| async move { c.engine.resolve(&p) });
    register::<m::GroupFold, _, _, _>(module, |c, _, p| async move { Ok(c.engine.fold(&p)) });
    register::<m::GroupList, _, _, _>(module, |c, _, p| async move { c.engine.groups(&p) });
    register::<m::NodeResolve, _, _, _>(
        module,
        |c, _, p| async move { c.engine.explain(&p).await },
    );
    register::<m::ConfigPersist, _, _, _>(
        module,
        |c, _, p| async move { c.engine.config_persist(&p) },
    );
    register::<m::ConfigCheck, _, _, _>(module, |c, _, p| async move { Ok(c.engine.check(&p)) });
}

fn exec(module: &mut RpcModule<Context>) {
    register::<m::ExecStart, _, _, _>(module, |c, call, p| async move {
        let prepared = c.engine.prepare(c.caller()?, p).await?;
        let (engine, started) = (c.engine.clone(), prepared.started.clone());
        call.then(async move { engine.launch(prepared).await });
        Ok(started)
    });
    register::<m::ExecCancel, _, _, _>(module, |c, _, p| async move {
        c.engine.cancel(&p).map(|()| Empty {})
    });
    register::<m::ExecSignal, _, _, _>(module, |c, _, p| async move {
        c.engine.signal(p).map(|()| Empty {})
    });
    register::<m::ExecResize, _, _, _>(module, |c, _, p| async move {
        c.engine.resize(&p).map(|()| Empty {})
    });
    register::<m::ExecRekey, _, _, _>(module, |c, _, p| async move {
        c.engine.rekey(p).map(|()| Empty {})
    });
    register::<m::ExecList, _, _, _>(module, |c, _, _| async move { Ok(c.engine.list()) });
}

fn forwards(module: &mut RpcModule<Context>) {
    register::<m::ForwardOpen, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.forward_open(&caller, p).await
    });
    register::<m::ForwardDial, _, _, _>(module, |c, call, p| async move {
        let caller = c.caller()?.clone();
        let prepared = c.engine.forward_dial(&caller, p).await?;
        let (engine, dialed) = (c.engine.clone(), prepared.dialed.clone());
        call.then(async move { engine.forward_dial_launch(prepared).await });
        Ok(dialed)
    });
    register::<m::ForwardClose, _, _, _>(module, |c, _, p| async move {
        c.engine.forward_close(p.forward).map(|()| Empty {})
    });
    register::<m::ForwardDrain, _, _, _>(module, |c, _, p| async move {
        c.engine.forward_drain(&p).await.map(|()| Empty {})
    });
    register::<m::ForwardList, _, _, _>(module, |c, _, p| async move {
        c.engine.forward_list(&p).await
    });
}

fn ptys(module: &mut RpcModule<Context>) {
    register::<m::PtyOpen, _, _, _>(module, |c, call, p| async move {
        let caller = c.caller()?.clone();
        let prepared = c.engine.pty_open(&caller, p).await?;
        let (engine, opened) = (c.engine.clone(), prepared.opened.clone());
        call.then(async move { engine.pty_launch(prepared).await });
        Ok(opened)
    });
    register::<m::PtyWriteInput, _, _, _>(module, |c, _, p| async move {
        c.engine.pty_write(c.caller()?, p).await.map(|()| Empty {})
    });
    register::<m::PtyResizeTo, _, _, _>(module, |c, _, p| async move {
        c.engine.pty_resize(&p).await.map(|()| Empty {})
    });
    register::<m::PtyAttachView, _, _, _>(module, |c, call, p| async move {
        let attached = c.engine.pty_attach(c.caller()?, &p)?;
        call.then(c.engine.clone().pty_begin(call.link.clone(), p.pty, attached.output));
        Ok(attached)
    });
    register::<m::PtyDetach, _, _, _>(module, |c, _, p| async move {
        c.engine.pty_detach(c.caller()?, &p).map(|()| Empty {})
    });
    register::<m::PtyTakeInput, _, _, _>(module, |c, call, p| async move {
        let input = c.engine.pty_take_input(c.caller()?, &p)?;
        call.then(c.engine.clone().pty_begin(call.link.clone(), p.pty, p.output));
        Ok(input)
    });
    register::<m::PtyClose, _, _, _>(module, |c, _, p| async move {
        c.engine.pty_close(&p).map(|()| Empty {})
    });
    register::<m::PtyListAll, _, _, _>(module, |c, _, _| async move { Ok(c.engine.pty_list()) });
}

fn sessions(module: &mut RpcModule<Context>) {
    register::<m::SessionOpen, _, _, _>(module, |c, call, p| async move {
        if p.keep && !c.house.is_shared() {
            let text = "params.keep: a session outlives its link in a shared core only";
            return Err(CallError::new(Kind::InvalidParams, text).at("params.keep"));
        }
        let prepared = c.engine.session_open(c.caller()?, &p).await?;
        let (engine, opened) = (c.engine.clone(), prepared.opened.clone());
        call.then(async move { engine.sessions_launch(prepared).await });
        Ok(opened)
    });
    register::<m::SessionExec, _, _, _>(module, |c, call, p| async move {
        let prepared = c.engine.session_exec(c.caller()?, p)?;
        let (engine, started) = (c.engine.clone(), prepared.started.clone());
        call.then(async move { engine.exec_launch(prepared).await });
        Ok(started)
    });
    register::<m::SessionSignalExec, _, _, _>(module, |c, _, p| async move {
        c.engine.session_signal(&p).map(|()| Empty {})
    });
    register::<m::SessionResizeExec, _, _, _>(module, |c, _, p| async move {
        c.engine.session_resize(&p).map(|()| Empty {})
    });
    register::<m::SessionChangeDirectory, _, _, _>(module, |c, _, p| async move {
        c.engine.session_cd(c.caller()?, &p).await
    });
    register::<m::SessionSetEnvironment, _, _, _>(module, |c, _, p| async move {
        c.engine.session_setenv(c.caller()?, &p).await
    });
    register::<m::SessionUnsetEnvironment, _, _, _>(module, |c, _, p| async move {
        c.engine.session_unsetenv(c.caller()?, &p).await
    });
    register::<m::SessionSnapshotOf, _, _, _>(module, |c, _, p| async move {
        c.engine.session_snapshot(&p).await
    });
    register::<m::SessionConnect, _, _, _>(module, |c, _, p| async move {
        c.engine.session_connect(&p).map(|()| Empty {})
    });
    register::<m::SessionReset, _, _, _>(module, |c, _, p| async move {
        c.engine.session_reset(&p).map(|()| Empty {})
    });
    register::<m::SessionClose, _, _, _>(module, |c, _, p| async move {
        c.engine.session_close(&p).map(|()| Empty {})
    });
    register::<m::SessionInfo, _, _, _>(module, |c, _, p| async move { c.engine.session_info(&p) });
    register::<m::JobStartIn, _, _, _>(
        module,
        |c, _, p| async move { c.engine.job_start(p).await },
    );
    register::<m::JobReadOutput, _, _, _>(
        module,
        |c, _, p| async move { c.engine.job_read(&p).await },
    );
    register::<m::JobKillGroup, _, _, _>(module, |c, _, p| async move {
        c.engine.job_kill(p).await.map(|()| Empty {})
    });
    register::<m::SessionJobsOf, _, _, _>(
        module,
        |c, _, p| async move { c.engine.session_jobs(&p) },
    );
    register::<m::SessionConfigured, _, _, _>(module, |c, _, p| async move {
        c.engine.session_configured(&p)
    });
    register::<m::SessionDefined, _, _, _>(module, |c, _, p| async move {
        c.engine.session_defined(&p)
    });
}

fn transfers(module: &mut RpcModule<Context>) {
    register::<m::TransferStart, _, _, _>(module, |c, call, p| async move {
        let prepared = c.engine.transfer_prepare(c.caller()?, p).await?;
        let (engine, started) = (c.engine.clone(), prepared.started.clone());
        call.then(async move { engine.transfer_launch(prepared).await });
        Ok(started)
    });
    register::<m::TransferCancel, _, _, _>(module, |c, _, p| async move {
        c.engine.transfer_cancel(p.transfer).map(|()| Empty {})
    });
    register::<m::TransferList, _, _, _>(
        module,
        |c, _, _| async move { Ok(c.engine.transfer_list()) },
    );
}

fn fs(module: &mut RpcModule<Context>) {
    register::<m::FsClose, _, _, _>(module, |c, _, p| async move { c.engine.fs_close(&p).await });
    register::<m::FsStat, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_stat(&caller, p).await
    });
    register::<m::FsLstat, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_lstat(&caller, p).await
    });
    register::<m::FsRealpath, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_realpath(&caller, p).await
    });
    register::<m::FsReadlink, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_readlink(&caller, p).await
    });
    register::<m::FsStatvfs, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_statvfs(&caller, p).await
    });
    register::<m::FsList, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_list(&caller, p).await
    });
    register::<m::FsReadSmall, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_read_small(&caller, p).await
    });
    register::<m::FsWriteSmall, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_write_small(&caller, p).await
    });
    register::<m::FsMkdir, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_mkdir(&caller, p).await
    });
    register::<m::FsRemove, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_remove(&caller, p).await
    });
    register::<m::FsRename, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_rename(&caller, p).await
    });
    register::<m::FsSetattr, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_setattr(&caller, p).await
    });
    register::<m::FsSymlink, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_symlink(&caller, p).await
    });
    register::<m::FsLink, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_link(&caller, p).await
    });
    register::<m::FsFeaturesOf, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_features(&caller, p).await
    });
    register::<m::FsOwners, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.fs_owners(&caller, p).await
    });
}

fn connections(module: &mut RpcModule<Context>) {
    register::<m::ForwardConnections, _, _, _>(module, |c, _, p| async move {
        c.engine.forward_connections(p.forward)
    });
    register::<m::ForwardConfigured, _, _, _>(module, |c, _, p| async move {
        c.engine.forward_configured(&p)
    });
    register::<m::ForwardKick, _, _, _>(module, |c, _, p| async move {
        c.engine.forward_kick(&p).map(|()| Empty {})
    });
}

fn agent(module: &mut RpcModule<Context>) {
    register::<m::AgentStatus, _, _, _>(module, |c, _, p| async move {
        c.engine.agent_status(&p).await
    });
    register::<m::AgentSetSocket, _, _, _>(module, |c, _, p| async move {
        c.engine.agent_set_socket(p);
        Ok(Empty {})
    });
    register::<m::AgentCheck, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.agent_check(&caller, &p).await
    });
}

fn gate(module: &mut RpcModule<Context>) {
    register::<m::GatePrepare, _, _, _>(module, |c, _, p| async move { c.engine.gate_prepare(&p) });
    register::<m::GateStart, _, _, _>(module, |c, _, p| async move {
        let caller = c.caller()?.clone();
        c.engine.gate_start(&caller, &p).await
    });
    register::<m::GateStop, _, _, _>(
        module,
        |c, _, p| async move { Ok(c.engine.gate_stop(&p).await) },
    );
    register::<m::GateStatus, _, _, _>(module, |c, _, p| async move {
        Ok(c.engine.gate_status(&p).await)
    });
    register::<m::GateCheck, _, _, _>(
        module,
        |c, _, p| async move { c.engine.gate_check(&p).await },
    );
    register::<m::GateConnections, _, _, _>(module, |c, _, p| async move {
        c.engine.gate_connections(&p).await
    });
    register::<m::GateKick, _, _, _>(module, |c, _, p| async move {
        c.engine.gate_kick(&p).await.map(|()| Empty {})
    });
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A link's own remarks, or the log of a core that has only this link.
fn set_log_level(context: &Context, params: &LogLevelParams) -> Result<Empty, CallError> {
    let level = log::Level::named(&params.level).ok_or_else(|| {
        let text = format!("level: {:?} is none of quiet, error, info, debug1 to 3", params.level);
        CallError::new(Kind::InvalidParams, text)
    })?;
    if !context.engine.remarks().set_level(level.of_tracing()) && !context.house.is_shared() {
        log::set_level(level);
    }
    Ok(Empty {})
}

fn initialize(
    context: &Context,
    call: &Call,
    params: InitializeParams,
) -> Result<InitializeResult, CallError> {
    if !params.protocol.majors.contains(&MAJOR) {
        let text = format!("this core speaks protocol {MAJOR}");
        let mut error = CallError::new(Kind::VersionUnsupported, text);
        let data = error.data.get_or_insert_with(|| Box::new(ErrorData::default()));
        data.supported = vec![MAJOR];
        return Err(error);
    }
    let capabilities = params.capabilities;
    let remarks = context.engine.remarks();
    let caller = Caller::new(call.link.clone(), capabilities.prompts, remarks.clone());
    if context.caller.set(caller).is_err() {
        return Err(CallError::new(Kind::InvalidRequest, "initialize was called already"));
    }
    call.link.peer_takes(capabilities.binary_frames, frame::MAX_DATA);
    if let Some(level) = capabilities.log.as_deref().and_then(log::Level::named) {
        remarks.send_to(&call.link, level.of_tracing());
    }
    if let Some(environment) = params.environment {
        context.engine.set_environment(environment);
    }
    context.engine.set_kind(&params.client.kind);
    context.engine.commons().introduce(context.number, params.client);
    call.greeted(params.strict);
    Ok(InitializeResult {
        protocol: Chosen { major: MAJOR, level: LEVEL.min(params.protocol.level.max(1)) },
        core: CoreInfo {
            name: "bssh".to_owned(),
            version: VERSION.to_owned(),
            pid: std::process::id(),
        },
        session: context.number,
        capabilities: CoreCapabilities {
            binary_frames: true,
            inherited_fds: !context.house.is_shared(),
            fd_passing: context.house.is_shared(),
            shared: context.house.is_shared(),
            control: context.house.control,
        },
        features: BTreeMap::from([
            ("exec".to_owned(), 1),
            ("forward".to_owned(), 1),
            ("pty".to_owned(), 1),
            ("transfer".to_owned(), 1),
            ("fs".to_owned(), 1),
            ("sync".to_owned(), 1),
            ("agent".to_owned(), 1),
            ("gate".to_owned(), 1),
            (bssh_protocol::via::FEATURE.to_owned(), 1),
            (bssh_protocol::transfer::RELAYS.to_owned(), 1),
        ]),
        limits: CoreLimits {
            max_frame: frame::MAX_FRAME,
            max_data: frame::MAX_DATA,
            window: stream::WINDOW,
            max_requests: 1024,
        },
    })
}

/// A core that others use needs force.
fn shut_down(context: &Context, call: &Call, params: &ShutdownParams) -> Result<Empty, CallError> {
    let others = context.engine.commons().others(context.number);
    if others > 0 && !params.force {
        let text = format!("{others} other frontends are attached to this core");
        let error = CallError::new(Kind::HandleNotOwner, text);
        return Err(error.hint("force ends it all the same"));
    }
    let (house, grace) = (context.house.clone(), params.grace_ms.map(Duration::from_millis));
    call.then(async move { house.end(Ending { grace }) });
    Ok(Empty {})
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
