//! `:forward`, `:gate` and `:agent`: what other commands of the line CLI do, for the nodes and
//! the life of this REPL. It owns its core, so what was opened here can be listed and closed here.

use crate::session::Repl;
use bssh_protocol::agent::{AgentCheckParams, AgentStatusParams, CheckStep};
use bssh_protocol::exec::Targets;
use bssh_protocol::forward::{ForwardEvent, ForwardKind, ForwardParams, ForwardRef};
use bssh_protocol::gate::{GateEvent, GateParams, GateStop};
use bssh_protocol::link::Notification;
use bssh_protocol::methods::{
    AgentCheck, AgentStatus, Event, ForwardClose, ForwardList, ForwardOpen, ForwardStateEvent,
    GateCheck, GatePrepare, GateStart, GateStateEvent, GateStatus, GateStop as StopGate,
};
use bssh_term::bare;

/// What follows `:forward`, `:gate` or `:agent`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Forwards,
    Forward(ForwardKind, String),
    CloseForward(u64),
    Gates,
    Gate(GateAct, String),
    Agent,
    /// A node; none: the first active one.
    Doctor(Option<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateAct {
    Prepare,
    Start,
    Stop,
    Check,
}

pub(crate) const FORWARD: &str =
    ":forward lists, :forward -L|-R|-D SPEC opens on the active nodes, :forward close N";
pub(crate) const GATE: &str = ":gate lists, :gate prepare|start|stop|check NAME";
pub(crate) const AGENT: &str = ":agent shows its keys, :agent doctor [NODE] tries it on a node";

/// Reads the words behind one of the three.
///
/// # Errors
/// What there is, for people.
pub(crate) fn read(command: &str, words: &[String]) -> Result<Act, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let spec = |kind, spec: &str| Ok(Act::Forward(kind, spec.to_owned()));
    let gate = |act, name: &str| Ok(Act::Gate(act, name.to_owned()));
    match (command, words.as_slice()) {
        (":forward", [] | ["list" | "ls"]) => Ok(Act::Forwards),
        (":forward", ["-L", text]) => spec(ForwardKind::Local, text),
        (":forward", ["-R", text]) => spec(ForwardKind::Remote, text),
        (":forward", ["-D", text]) => spec(ForwardKind::Dynamic, text),
        (":forward", ["close", n]) => n
            .parse()
            .map(Act::CloseForward)
            .map_err(|_| format!("{n}: a forward's number; {FORWARD}")),
        (":forward", _) => Err(FORWARD.to_owned()),
        (":gate", [] | ["status"]) => Ok(Act::Gates),
        (":gate", ["prepare", name]) => gate(GateAct::Prepare, name),
        (":gate", ["start", name]) => gate(GateAct::Start, name),
        (":gate", ["stop", name]) => gate(GateAct::Stop, name),
        (":gate", ["check", name]) => gate(GateAct::Check, name),
        (":gate", _) => Err(GATE.to_owned()),
        (":agent", [] | ["status"]) => Ok(Act::Agent),
        (":agent", ["doctor"]) => Ok(Act::Doctor(None)),
        (":agent", ["doctor", node]) => Ok(Act::Doctor(Some((*node).to_owned()))),
        _ => Err(AGENT.to_owned()),
    }
}

impl Repl<'_> {
    pub(crate) async fn act(&mut self, act: Act) {
        match act {
            Act::Forwards => self.forwards().await,
            Act::Forward(kind, spec) => self.open_forward(kind, &spec).await,
            Act::CloseForward(forward) => {
                let closed = self.core.call::<ForwardClose>(&ForwardRef { forward }).await;
                if let Err(error) = closed {
                    self.refused(&error);
                }
            }
            Act::Gates => self.gates().await,
            Act::Gate(act, name) => self.gate(act, name).await,
            Act::Agent => self.agent().await,
            Act::Doctor(node) => self.doctor(node).await,
        }
    }

    pub(crate) fn only(&self, node: &str) -> Targets {
        let settings = self.targets.settings.clone();
        Targets { nodes: node.to_owned(), settings, ..Targets::default() }
    }

    async fn forwards(&mut self) {
        match self.core.call::<ForwardList>(&Default::default()).await {
            Ok(list) if list.forwards.is_empty() => self.screen.line("no forwards; :help"),
            Ok(list) => {
                for f in list.forwards {
                    let kind = f.kind.flag();
                    self.screen.line(&format!(
                        "[{}] {}  {kind} {}  on {}  {}  {} open",
                        f.forward, f.node, f.spec, f.bound, f.state, f.connections
                    ));
                }
            }
            Err(error) => self.refused(&error),
        }
    }

    async fn open_forward(&mut self, kind: ForwardKind, spec: &str) {
        let nodes = match self.active() {
            Ok(nodes) => nodes,
            Err(why) => return self.wrong(&why),
        };
        for n in nodes {
            let Some(name) = self.nodes.all.get(n).map(|n| n.name.clone()) else { continue };
            let params = ForwardParams {
                targets: self.only(&name),
                kind,
                spec: spec.to_owned(),
                keep: true,
                ..ForwardParams::default()
            };
            match self.core.call::<ForwardOpen>(&params).await {
                Ok(opened) => {
                    let text = format!("[{}] {name}  on {}", opened.forward, opened.bound);
                    self.screen.line(&text);
                }
                Err(error) => self.wrong(&format!("{name}: {}", error.advised())),
            }
        }
    }

    async fn gates(&mut self) {
        match self.core.call::<GateStatus>(&Default::default()).await {
            Ok(list) if list.gates.is_empty() => self.screen.line("no gate runs; :help"),
            Ok(list) => {
                for gate in list.gates {
                    let (open, denied) = (gate.connections, gate.denied);
                    self.screen.line(&format!("{}  {open} open  {denied} denied", gate.name));
                    self.listeners(&gate.listeners);
                }
            }
            Err(error) => self.refused(&error),
        }
    }

    fn listeners(&mut self, all: &[bssh_protocol::gate::GateListener]) {
        for l in all {
            let via = l.via.as_ref().map(|via| format!("  via {via}")).unwrap_or_default();
            self.screen.line(&format!("  {}  {}  to {}{via}", l.alias, l.listen, l.upstream));
        }
    }

    async fn gate(&mut self, act: GateAct, name: String) {
        let settings = self.targets.settings.clone();
        let params = GateParams { name: Some(name.clone()), settings, ..GateParams::default() };
        let done = match act {
            GateAct::Prepare => self.core.call::<GatePrepare>(&params).await.map(|plan| {
                plan.warnings.iter().for_each(|w| crate::say(&format!("bssh: warning: {w}")));
                self.listeners(&plan.listeners);
            }),
            GateAct::Start => self.core.call::<GateStart>(&params).await.map(|started| {
                self.listeners(&started.listeners);
            }),
            GateAct::Stop => {
                let params = GateStop { name: name.clone(), ..GateStop::default() };
                self.core.call::<StopGate>(&params).await.map(|stopped| {
                    if !stopped.stopped {
                        self.wrong(&format!("no gate {name} runs; :gate lists them"));
                    }
                })
            }
            GateAct::Check => self.core.call::<GateCheck>(&params).await.map(|checked| {
                checked.entries.iter().for_each(|e| self.steps(&e.alias, &e.steps));
            }),
        };
        if let Err(error) = done {
            self.refused(&error);
        }
    }

    fn steps(&mut self, of: &str, steps: &[CheckStep]) {
        for step in steps {
            let text = bare(&format!("{of}: {}: {}", step.step, step.detail));
            match step.ok {
                true => self.screen.line(&text),
                false => self.wrong(&text),
            }
        }
    }

    async fn agent(&mut self) {
        let settings = self.targets.settings.clone();
        let params = AgentStatusParams { agent: self.agent.1.clone(), settings, target: None };
        match self.core.call::<AgentStatus>(&params).await {
            Ok(status) => {
                let socket = status.socket.as_deref().unwrap_or("no agent");
                match &status.error {
                    Some(error) => self.wrong(&format!("{socket}: {error}")),
                    None => self.screen.line(&format!("{socket}: {} keys", status.keys.len())),
                }
                for key in &status.keys {
                    let text = format!("{}  {}  {}", key.fingerprint, key.kind, key.comment);
                    self.screen.line(&bare(&text));
                }
            }
            Err(error) => self.refused(&error),
        }
    }

    async fn doctor(&mut self, node: Option<String>) {
        let Some(found) = self.meant_by(node).await else { return };
        let name = found.first().and_then(|n| self.nodes.all.get(*n)).map(|n| n.name.clone());
        let Some(name) = name else { return };
        let params = AgentCheckParams { targets: self.only(&name), agent: self.agent.1.clone() };
        match self.core.call::<AgentCheck>(&params).await {
            Ok(checked) => self.steps(&checked.node, &checked.steps),
            Err(error) => self.refused(&error),
        }
    }
}

/// A line about a forward or a gate, if people should know.
pub(crate) fn news(event: &Notification) -> Option<String> {
    let text = match &*event.method {
        ForwardStateEvent::NAME => {
            let ForwardEvent { node, forward, state, error, .. } =
                event.event::<ForwardStateEvent>().ok()?;
            let why = error.map(|e| format!(": {e}")).unwrap_or_default();
            format!("{node}: forward {forward}: {state}{why}")
        }
        GateStateEvent::NAME => {
            let GateEvent { name, state, alias, upstream, reason, .. } =
                event.event::<GateStateEvent>().ok()?;
            if !matches!(state.as_str(), "connDenied" | "acceptFailed" | "stopped") {
                return None;
            }
            let words = [alias, upstream, reason].into_iter().flatten().collect::<Vec<_>>();
            format!("gate {name}: {state} {}", words.join(" "))
        }
        _ => return None,
    };
    Some(bare(text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_acts() {
        let read = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let command = words.next().unwrap_or_default();
            read(&command, &words.collect::<Vec<_>>())
        };
        for (line, want) in [
            (":forward", Act::Forwards),
            (":forward -L 1:a:2", Act::Forward(ForwardKind::Local, "1:a:2".to_owned())),
            (":forward close 3", Act::CloseForward(3)),
            (":gate start g", Act::Gate(GateAct::Start, "g".to_owned())),
            (":agent doctor n1", Act::Doctor(Some("n1".to_owned()))),
            (":agent", Act::Agent),
        ] {
            assert_eq!(read(line), Ok(want), "{line}");
        }
        for line in [":forward -L", ":forward close x", ":gate start", ":agent x"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
