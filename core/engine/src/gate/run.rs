//! Gates of a core: prepare, start, stop, and what they are doing.
//!
//! Starting is all or nothing, and the same plan again changes nothing. A gate belongs to the
//! link that started it and goes with it.

use super::bind::bind;
use super::plan::{Plan, plan};
use super::serve::Gate;
use crate::engine::{Caller, Engine};
use crate::forward::traffic::Traffic;
use crate::plan::Planner;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::forward::Connections;
use bssh_protocol::gate::{
    GateEntry, GateEvent, GateKick, GateList, GateParams, GatePlan, GateRef, GateSpec, GateStarted,
    GateStatus, GateStop, GateStopped,
};
use bssh_protocol::link::Link;
use bssh_protocol::methods::GateStateEvent;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;

/// Every gate of the core, by name. Locked while one starts or stops: the others wait.
#[derive(Default)]
pub(crate) struct Gates {
    running: Mutex<BTreeMap<String, Running>>,
    next: AtomicU64,
}

pub(super) struct Running {
    gate: Arc<Gate>,
    pub(super) listeners: Vec<(SocketAddr, Arc<TcpListener>)>,
    tasks: Vec<AbortHandle>,
    telling: AbortHandle,
    socket: Option<PathBuf>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        if let Some(path) = &self.socket {
            // Somebody else may have removed it; there is nobody to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Gates {
    /// Ends all of them, connections too.
    pub(crate) async fn close_all(&self) {
        for (_, running) in std::mem::take(&mut *self.running.lock().await) {
            running.connections().abort_all();
            running.telling.abort();
        }
    }
}

impl Running {
    fn connections(&self) -> std::sync::MutexGuard<'_, tokio::task::JoinSet<()>> {
        self.gate.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self) -> GateStarted {
        GateStarted {
            gate: self.gate.id,
            plan_id: self.gate.plan.shown.plan_id.clone(),
            listeners: self.gate.plan.shown.listeners.clone(),
        }
    }
}

impl Engine {
    /// `gate/prepare`: touches nothing but the configuration.
    ///
    /// # Errors
    /// `gate.notFound`, `gate.invalid`, `gate.portCollision`; a bad file.
    pub fn gate_prepare(&self, params: &GateParams) -> Result<GatePlan, CallError> {
        Ok(self.gate_plan(params)?.shown)
    }

    pub(super) fn gate_plan(&self, params: &GateParams) -> Result<Plan, CallError> {
        let spec = match (&params.inline, &params.name) {
            (Some(spec), _) => spec.clone(),
            (None, Some(name)) => self.gate_configured(name, params)?,
            (None, None) => {
                return Err(CallError::new(Kind::InvalidParams, "no gate named").at("params.name"));
            }
        };
        plan(&spec, self.env())
    }

    fn gate_configured(&self, name: &str, params: &GateParams) -> Result<GateSpec, CallError> {
        let planner = Planner::new(self.env(), &params.settings, true)?;
        let gates = planner.inventory().map(|i| &i.config().gates);
        let found = gates.and_then(|gates| gates.get(name));
        let known = || {
            let names: Vec<&String> = gates.into_iter().flat_map(|g| g.keys()).collect();
            format!("the configuration has {names:?}")
        };
        let missing =
            || CallError::new(Kind::GateNotFound, format!("no gate \"{name}\"")).hint(known());
        found.map(|gate| spec(name, gate)).ok_or_else(missing)
    }

    /// `gate/start`: all listeners or none.
    ///
    /// # Errors
    /// As [`Engine::gate_prepare`]; `gate.addressInUse` and its relatives naming the listener;
    /// `gate.runningOtherPlan`.
    pub async fn gate_start(
        self: &Arc<Self>,
        caller: &Caller,
        params: &GateParams,
    ) -> Result<GateStarted, CallError> {
        let plan = self.gate_plan(params)?;
        let changed = params.plan_id.as_ref().is_some_and(|id| *id != plan.shown.plan_id);
        if changed {
            let text = "the configuration has changed since the plan was made";
            return Err(CallError::new(Kind::GateRunningOtherPlan, text));
        }
        let name = plan.spec.name.clone();
        let mut running = self.gates.running.lock().await;
        let old = running.get(&name);
        if let Some(old) = old {
            if old.gate.plan.shown.plan_id == plan.shown.plan_id {
                return Ok(old.started());
            }
            if !params.replace {
                let text = format!("gate '{name}' is running with another plan");
                return Err(CallError::new(Kind::GateRunningOtherPlan, text)
                    .hint("replace takes its place; open connections go on"));
            }
        }
        let (doors, listeners, socket) = bind(&plan, old).await?;
        let id = self.gates.next.fetch_add(1, Relaxed) + 1;
        // What is open goes on under the new gate.
        let (traffic, connections, telling) = match old {
            Some(old) => {
                (old.gate.traffic.clone(), old.gate.connections.clone(), old.telling.clone())
            }
            None => {
                let (traffic, events) = Traffic::new();
                let telling = tokio::spawn(tell(events, caller.link.clone())).abort_handle();
                (traffic, Arc::default(), telling)
            }
        };
        let gate = Arc::new(Gate {
            id,
            open: plan.spec.entries.iter().map(|_| Default::default()).collect(),
            plan,
            settings: params.settings.clone(),
            engine: self.clone(),
            traffic,
            connections,
        });
        let tasks = doors.into_iter().map(|door| tokio::spawn(gate.clone().accept(door)));
        let tasks = tasks.map(|task| task.abort_handle()).collect();
        let new = Running { gate, listeners, tasks, telling, socket };
        let started = new.started();
        if let Some(mut old) = running.insert(name, new)
            && running.values().any(|r| r.socket.is_some() && r.socket == old.socket)
        {
            // The new gate's socket has its place already.
            old.socket = None;
        }
        Ok(started)
    }

    /// `gate/stop`: stops accepting, lets connections drain, closes the rest.
    pub async fn gate_stop(&self, params: &GateStop) -> GateStopped {
        let Some(stopping) = self.gates.running.lock().await.remove(&params.name) else {
            return GateStopped::default();
        };
        stopping.tasks.iter().for_each(AbortHandle::abort);
        let traffic = stopping.gate.traffic.clone();
        let before = traffic.n_live() as u64;
        let drain = params.drain_ms.unwrap_or(stopping.gate.plan.spec.drain_ms);
        let deadline = tokio::time::Instant::now() + Duration::from_millis(drain);
        while traffic.n_live() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let closed = traffic.n_live() as u64;
        for entry in traffic.list().connections {
            stopping.gate.tell("connClose", |e| {
                e.conn = Some(entry.conn);
                e.peer = Some(entry.peer);
                e.upstream = Some(entry.target);
                e.ms = Some(entry.age_ms);
                e.bytes_up = Some(entry.bytes_in);
                e.bytes_down = Some(entry.bytes_out);
                e.reason = Some("gateStopped".to_owned());
            });
        }
        stopping.connections().abort_all();
        stopping.gate.tell("stopped", |_| {});
        GateStopped { stopped: true, drained: before.saturating_sub(closed), closed }
    }

    /// `gate/status`.
    pub async fn gate_status(&self) -> GateList {
        let running = self.gates.running.lock().await;
        let status = |r: &Running| {
            let traffic = &r.gate.traffic;
            let (bytes_up, bytes_down) = traffic.bytes();
            GateStatus {
                gate: r.gate.id,
                name: r.gate.plan.spec.name.clone(),
                plan_id: r.gate.plan.shown.plan_id.clone(),
                listeners: r.gate.plan.shown.listeners.clone(),
                connections: traffic.n_live() as u64,
                opened: traffic.opened.load(Relaxed),
                failed: traffic.failed.load(Relaxed),
                denied: traffic.denied.load(Relaxed),
                bytes_up,
                bytes_down,
            }
        };
        GateList { gates: running.values().map(status).collect() }
    }

    /// `gate/connections`.
    ///
    /// # Errors
    /// `gate.notFound`.
    pub async fn gate_connections(&self, params: &GateRef) -> Result<Connections, CallError> {
        Ok(self.gate_traffic(&params.name).await?.list())
    }

    /// `gate/kick`.
    ///
    /// # Errors
    /// `gate.notFound`, `handle.unknown`.
    pub async fn gate_kick(&self, params: &GateKick) -> Result<(), CallError> {
        let unknown = || {
            let text = format!("no connection {}", params.conn);
            CallError::new(Kind::HandleUnknown, text).at("params.conn")
        };
        let traffic = self.gate_traffic(&params.name).await?;
        traffic.kick(params.conn).then_some(()).ok_or_else(unknown)
    }

    async fn gate_traffic(&self, name: &str) -> Result<Arc<Traffic<GateEvent>>, CallError> {
        let running = self.gates.running.lock().await;
        let missing =
            || CallError::new(Kind::GateNotFound, format!("no gate \"{name}\" is running"));
        running.get(name).map(|r| r.gate.traffic.clone()).ok_or_else(missing)
    }
}

/// Passes a gate's events on to its link.
async fn tell(mut events: mpsc::Receiver<GateEvent>, link: Link) {
    while let Some(event) = events.recv().await {
        if link.notify::<GateStateEvent>(&event).await.is_err() {
            return;
        }
    }
}

/// The configuration's gate in the protocol's words.
fn spec(name: &str, gate: &bssh_config::clusters::gates::Gate) -> GateSpec {
    use bssh_config::clusters::gates::GateMode as M;
    use bssh_protocol::gate::{AddressMode, GateMode};
    let millis = crate::run::millis;
    GateSpec {
        name: name.to_owned(),
        mode: match gate.mode {
            M::Listen => GateMode::Listen,
            M::Proxy => GateMode::Proxy,
            M::Socks => GateMode::Socks,
        },
        listen_addr: gate.listen_addr.clone(),
        address_mode: match gate.per_upstream {
            true => AddressMode::PerUpstream,
            false => AddressMode::Shared,
        },
        entries: gate
            .entries
            .iter()
            .map(|e| GateEntry {
                alias: e.alias.clone(),
                hostname: e.hostname.clone(),
                port: e.port,
                host_key: e.host_key.clone(),
                via: e.via.clone(),
                max_conns: e.max_conns,
                connect_timeout_ms: millis(e.connect_timeout),
            })
            .collect(),
        max_conns: gate.max_conns,
        idle_timeout_ms: millis(gate.idle_timeout),
        banner_check: gate.banner_check,
        deny_private: gate.deny_private,
        drain_ms: millis(gate.drain),
        socks_port: gate.socks_port,
        socket: gate.socket.as_ref().map(|p| p.display().to_string()),
    }
}
