//! Gates of a core: prepare, start, stop, and what they are doing.
//!
//! Starting is all or nothing, and the same plan again changes nothing. A gate belongs to the
//! links that started it and goes with the last of them, unless it is kept.

use super::bind::bind;
use super::owners::Owners;
use super::plan::{Plan, plan};
use super::serve::Gate;
use super::upstream::loops;
use crate::engine::{Caller, Engine};
use crate::forward::traffic::Traffic;
use crate::plan::Planner;
use bssh_config::Inventory;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::gate::{
    GateEntry, GateId, GateParams, GatePlan, GateSpec, GateStarted, GateStop, GateStopped,
};
use bssh_protocol::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinHandle};

/// Every gate of the core, by name. Locked while one starts or stops: the others wait.
#[derive(Default)]
pub(crate) struct Gates {
    pub(super) running: Mutex<BTreeMap<String, Running>>,
    /// The same by their numbers.
    numbers: std::sync::Mutex<BTreeSet<GateId>>,
}

pub(super) struct Running {
    gate: Arc<Gate>,
    owners: Arc<Owners>,
    tasks: Vec<JoinHandle<()>>,
    telling: AbortHandle,
    socket: Option<PathBuf>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some(path) = &self.socket {
            // Somebody else may have removed it; there is nobody to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Gates {
    /// A link is gone: ends those it alone has started, connections too, but for what is kept.
    pub(crate) async fn leave(&self, engine: &Engine, kept: &BTreeSet<u64>) {
        let mut all = self.running.lock().await;
        let engines = engine.commons.engines();
        let over = all.iter().filter_map(|(name, running)| {
            let id = running.gate.id;
            if !kept.contains(&id) {
                running.owners.leave(engine);
            }
            let is_kept = engines.iter().any(|engine| engine.is_kept(id));
            (running.owners.are_gone(id) && !is_kept).then(|| name.clone())
        });
        for name in over.collect::<Vec<_>>() {
            let Some(mut running) = all.remove(&name) else { continue };
            running.stop_listening().await;
            running.connections().abort_all();
            running.telling.abort();
            self.numbers().remove(&running.gate.id);
        }
    }

    pub(crate) fn has(&self, id: GateId) -> bool {
        self.numbers().contains(&id)
    }

    fn numbers(&self) -> std::sync::MutexGuard<'_, BTreeSet<GateId>> {
        lock(&self.numbers)
    }
}

/// The last event of a gate.
pub(super) const STOPPED: &str = "stopped";

impl Running {
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// This link has started it, too.
    pub(super) fn is_of(&self, engine: &Engine) -> bool {
        self.owners.has(engine, self.gate.id)
    }

    /// Returns when its addresses are free for others.
    async fn stop_listening(&mut self) {
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
            // Cancelled, which is what was wanted.
            let _ = task.await;
        }
        lock(&self.gate.listeners).clear();
    }

    /// What listens on an address.
    pub(super) fn listener(&self, address: &SocketAddr) -> Option<Arc<TcpListener>> {
        let all = lock(&self.gate.listeners);
        all.iter().find(|(at, _)| at == address).map(|(_, listener)| listener.clone())
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, tokio::task::JoinSet<()>> {
        lock(&self.gate.connections)
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

    /// What is wrong with the configuration's gates, each with its place.
    pub(crate) fn gate_problems(&self, inventory: &Inventory) -> Vec<bssh_config::Error> {
        let wrong = |(name, gate): (&String, &bssh_config::clusters::gates::Gate)| {
            let CallError { message, data, .. } = plan(&spec(name, gate), self.env()).err()?;
            let hint = data.and_then(|data| data.hint);
            Some(bssh_config::Error { message, hint, ..gate.place.clone() })
        };
        inventory.config().gates.iter().filter_map(wrong).collect()
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
        if let Some(entry) = loops(&plan).await {
            let (alias, host) = (&entry.alias, &entry.hostname);
            let text =
                format!("gate '{name}': entry '{alias}': hostname: {host} is the gate itself");
            return Err(CallError::new(Kind::GateInvalid, text));
        }
        let mut running = self.commons.gates.running.lock().await;
        let same = |old: &&Running| old.gate.plan.shown.plan_id == plan.shown.plan_id;
        if let Some(old) = running.get(&name).filter(same) {
            old.owners.enter(self, &caller.link, old.gate.id);
            return Ok(old.started());
        }
        let old = running.get(&name);
        if old.is_some() && !params.replace {
            let text = format!("gate '{name}' is running with another plan");
            return Err(CallError::new(Kind::GateRunningOtherPlan, text)
                .hint("replace (--replace) takes its place; open connections go on"));
        }
        let (doors, listeners, socket) = bind(&plan, old).await?;
        let id = self.new_id();
        // What is open goes on under the new gate.
        let (traffic, connections, owners, telling) = match old {
            Some(Running { gate, owners, telling, .. }) => {
                (gate.traffic.clone(), gate.connections.clone(), owners.clone(), telling.clone())
            }
            None => {
                let (traffic, events) = Traffic::new();
                let owners = Arc::<Owners>::default();
                let telling = tokio::spawn(owners.clone().tell(events)).abort_handle();
                (traffic, Arc::default(), owners, telling)
            }
        };
        owners.enter(self, &caller.link, id);
        if let Some(old) = old {
            old.gate.tell(STOPPED, |_| {});
        }
        let gate = Arc::new(Gate {
            id,
            open: plan.spec.entries.iter().map(|_| Default::default()).collect(),
            plan,
            settings: params.settings.clone(),
            engine: self.clone(),
            traffic,
            connections,
            listeners: std::sync::Mutex::new(listeners),
        });
        let tasks = doors.into_iter().map(|door| tokio::spawn(gate.clone().accept(door)));
        let tasks = tasks.collect();
        let new = Running { gate, owners, tasks, telling, socket };
        let started = new.started();
        self.gate_replaces(id, old.map(|old| old.gate.id));
        if let Some(mut old) = running.insert(name, new)
            && running.values().any(|r| r.socket.is_some() && r.socket == old.socket)
        {
            // The new gate's socket has its place already.
            old.socket = None;
        }
        Ok(started)
    }

    /// A gate is kept as the one it takes the place of.
    fn gate_replaces(&self, id: GateId, old: Option<GateId>) {
        let mut numbers = self.commons.gates.numbers();
        numbers.insert(id);
        let Some(old) = old else { return };
        numbers.remove(&old);
        for engine in self.commons.engines().iter().filter(|engine| engine.is_kept(old)) {
            engine.keep_on([id].into_iter());
        }
    }

    /// `gate/stop`: stops accepting, lets connections drain, closes the rest.
    pub async fn gate_stop(&self, params: &GateStop) -> GateStopped {
        let name = match params.gate {
            None => Some(params.name.clone()),
            Some(id) => {
                let running = self.commons.gates.running.lock().await;
                let found = running.iter().find(|(_, running)| running.gate.id == id);
                found.map(|(name, _)| name.clone())
            }
        };
        match name {
            Some(name) => self.gate_end(&name, params.gate, params.drain_ms, None).await,
            None => GateStopped::default(),
        }
    }

    /// Stops a gate; `only`: if it is still this one. `why`: nobody has asked for it.
    pub(super) async fn gate_end(
        &self,
        name: &str,
        only: Option<GateId>,
        drain_ms: Option<u64>,
        why: Option<String>,
    ) -> GateStopped {
        let stopping = {
            let mut running = self.commons.gates.running.lock().await;
            let meant = running.get(name).is_some_and(|r| only.is_none_or(|id| r.gate.id == id));
            let mut stopping = if meant { running.remove(name) } else { None };
            if let Some(stopping) = &mut stopping {
                // While nobody can start it again.
                stopping.stop_listening().await;
            }
            stopping
        };
        let Some(stopping) = stopping else { return GateStopped::default() };
        self.commons.gates.numbers().remove(&stopping.gate.id);
        self.commons.tell();
        let traffic = stopping.gate.traffic.clone();
        let before = traffic.n_live() as u64;
        let drain = drain_ms.unwrap_or(stopping.gate.plan.spec.drain_ms);
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
        stopping.gate.tell(STOPPED, |e| e.error = why);
        GateStopped { stopped: true, drained: before.saturating_sub(closed), closed }
    }
}

/// The configuration's gate in the protocol's words.
fn spec(name: &str, gate: &bssh_config::clusters::gates::Gate) -> GateSpec {
    use bssh_config::clusters::gates::GateMode as M;
    use bssh_protocol::gate::{AddressMode, GateMode, Restart};
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
        deny_addrs: gate.deny_addrs.clone(),
        restart: if gate.restart { Restart::Always } else { Restart::Never },
        drain_ms: millis(gate.drain),
        socks_port: gate.socks_port,
        socket: gate.socket.as_ref().map(|p| p.display().to_string()),
    }
}
