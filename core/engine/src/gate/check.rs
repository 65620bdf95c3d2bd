//! `gate/check`: whether each upstream can be reached, speaks SSH, and has the pinned host key.

use super::inspect::{GREETING, Pin, greeting};
use super::plan::Plan;
use super::upstream::{Connected, Failed, allowed, connect};
use crate::engine::Engine;
use bssh_protocol::agent::CheckStep;
use bssh_protocol::error::CallError;
use bssh_protocol::gate::{EntryChecked, GateChecked, GateEntry, GateParams};
use bssh_ssh::BoxStream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// `gate/check`: name, connection, greeting and host key of each upstream.
    ///
    /// # Errors
    /// As [`Engine::gate_prepare`].
    pub async fn gate_check(
        self: &Arc<Self>,
        params: &GateParams,
    ) -> Result<GateChecked, CallError> {
        let plan = self.gate_plan(params)?;
        let mut entries = Vec::new();
        for entry in &plan.spec.entries {
            let steps = self.gate_check_entry(&plan, entry, params).await;
            entries.push(EntryChecked { alias: entry.alias.clone(), steps });
        }
        Ok(GateChecked { entries })
    }

    async fn gate_check_entry(
        self: &Arc<Self>,
        plan: &Plan,
        entry: &GateEntry,
        params: &GateParams,
    ) -> Vec<CheckStep> {
        let step = |step: &str, outcome: Result<String, String>| CheckStep {
            step: step.to_owned(),
            ok: outcome.is_ok(),
            detail: outcome.unwrap_or_else(|why| why),
        };
        let failed = |f: Failed| match f {
            Failed::Denied(why) | Failed::Dial(why) => why,
        };
        let mut steps = Vec::new();
        if entry.via.is_none() {
            let limit = Duration::from_millis(entry.connect_timeout_ms);
            let found = allowed(plan, entry, limit).await;
            let text = |all: Vec<SocketAddr>| {
                all.iter().map(|a| a.ip().to_string()).collect::<Vec<_>>().join(", ")
            };
            steps.push(step("address", found.map(text).map_err(failed)));
        }
        let upstream = match connect(self, plan, entry, &params.settings).await {
            Ok(upstream) => {
                steps.push(step("connect", Ok(upstream.named.clone())));
                upstream
            }
            Err(error) => {
                steps.push(step("connect", Err(failed(error))));
                return steps;
            }
        };
        let (mut stream, _kept) = whole(upstream.stream);
        let mut line = Vec::new();
        let greeted = tokio::time::timeout(GREETING, greeting(&mut stream, &mut line)).await;
        let said = || String::from_utf8_lossy(&line).trim().to_owned();
        if !matches!(greeted, Ok(Ok(_))) {
            steps.push(step("banner", Err("it does not greet as SSH does".to_owned())));
            return steps;
        }
        steps.push(step("banner", Ok(said())));
        if let Some(pin) = entry.host_key.as_deref().and_then(Pin::parse) {
            let seen = match connect(self, plan, entry, &params.settings).await {
                Ok(upstream) => host_key(&pin, upstream.stream).await,
                Err(error) => Err(failed(error)),
            };
            steps.push(step("host key", seen));
        }
        steps
    }
}

/// The key the server shows, if it is the pinned one.
async fn host_key(pin: &Pin, stream: Connected) -> Result<String, String> {
    let (stream, _kept) = whole(stream);
    let shown = tokio::time::timeout(GREETING, bssh_ssh::host_key_of(stream)).await;
    match shown {
        Ok(Some(key)) if pin.is(&key) => Ok(key),
        Ok(Some(key)) => Err(format!("it shows {key}, another one is pinned")),
        _ => Err("it shows no key".to_owned()),
    }
}

type Kept = Option<(Arc<crate::pool::Lease>, crate::pool::Resident)>;

fn whole(stream: Connected) -> (BoxStream, Kept) {
    match stream {
        Connected::Socket(stream) => (stream, None),
        Connected::Channel(channel, lease, resident) => (channel, Some((lease, resident))),
    }
}
