//! What the gates of a core are doing, whoever started them.

use super::run::Running;
use crate::engine::Engine;
use crate::forward::traffic::Traffic;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::forward::Connections;
use bssh_protocol::gate::{GateEvent, GateKick, GateList, GateListParams, GateRef, GateStatus};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
    /// `gate/status`.
    pub async fn gate_status(&self, params: &GateListParams) -> GateList {
        let running = self.commons.gates.running.lock().await;
        let mine = |r: &&Running| params.all || r.is_of(self);
        GateList { gates: running.values().filter(mine).map(status).collect() }
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
        let running = self.commons.gates.running.lock().await;
        let missing =
            || CallError::new(Kind::GateNotFound, format!("no gate \"{name}\" is running"));
        running.get(name).map(|r| r.gate().traffic.clone()).ok_or_else(missing)
    }
}

fn status(running: &Running) -> GateStatus {
    let gate = running.gate();
    let traffic = &gate.traffic;
    let (bytes_up, bytes_down) = traffic.bytes();
    GateStatus {
        gate: gate.id,
        name: gate.plan.spec.name.clone(),
        plan_id: gate.plan.shown.plan_id.clone(),
        listeners: gate.plan.shown.listeners.clone(),
        connections: traffic.n_live() as u64,
        opened: traffic.opened.load(Relaxed),
        failed: traffic.failed.load(Relaxed),
        denied: traffic.denied.load(Relaxed),
        bytes_up,
        bytes_down,
    }
}
