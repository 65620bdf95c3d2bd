//! A gateway's core: connect, put the executable there if wanted, start it, shake hands, drive it.

use super::service::{ForGateway, Given};
use super::wire::{self, Heard};
use super::{Gateway, Gone, Wanted, push};
use crate::agent::Wish;
use crate::failure::{failure, one_line, plain};
use crate::plan::Route;
use crate::word::quoted;
use bssh_protocol::carried::Transfers;
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::handshake::{
    ClientCapabilities, ClientInfo, InitializeParams, InitializeResult, LEVEL, MAJOR, Offer,
};
use bssh_protocol::link::{Link, LinkTask, Options};
use bssh_protocol::lock;
use bssh_protocol::methods::{CorePing, Initialize};
use bssh_protocol::run::Runs;
use bssh_protocol::transfer::RELAYS;
use bssh_protocol::via::{CHECKS_HOST_KEYS, FEATURE};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// How long a core may take to shake hands where the connection's own limits say nothing.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long one that is given up may take to end what runs.
const FAREWELL: Duration = Duration::from_secs(1);
/// What it asks and was not answered yet may be so long, in bytes.
const QUESTIONS: usize = 1 << 20;

/// A new core at the end of a route.
///
/// # Errors
/// The gateway cannot be reached, has no bssh, or one that is too old; `hop` names it.
pub(super) async fn start(wanted: &Wanted<'_>, route: &Arc<Route>) -> Result<Gateway, Failure> {
    let Wanted { engine, questions, agent: settings, means } = *wanted;
    let name = route.plan.node.clone();
    let at = |mut failure: Failure| {
        failure.hop.get_or_insert_with(|| name.clone());
        failure
    };
    let ask = engine.ask_for(questions);
    let (lease, _) = engine.pool().own(route, &ask).await.map_err(|e| at(failure(&e)))?;
    let program = match means.push {
        true => push::push(engine, &lease).await.map_err(at)?,
        false => means.program.clone().unwrap_or_else(|| "bssh".to_owned()),
    };
    let mut channel = lease.connection.open_session().await.map_err(|e| at(failure(&e)))?;
    let wish = Wish { lease: &lease, route, forward: true, settings, questions };
    let offer = engine.offer_agent(&wish, &mut channel).await.map_err(|e| at(failure(&e)))?;
    let command = [quoted(program.as_bytes()), b" core --stdio".to_vec()].concat();
    channel.exec(&command).await.map_err(|e| at(failure(&e)))?;
    if let Some(offer) = offer {
        // Where it is refused a gateway has its own keys.
        offer.settle(&channel).await;
    }
    let (ours, theirs) = tokio::io::duplex(wire::ROOM);
    let (reader, writer) = tokio::io::split(ours);
    let (runs, given) = (Arc::new(Runs::strict()), Arc::<Given>::default());
    let transfers = Arc::new(Transfers::strict());
    let service = ForGateway {
        gateway: name.clone(),
        runs: runs.clone(),
        transfers: transfers.clone(),
        given: given.clone(),
        questions: questions.clone(),
    };
    // A run's streams are known before their bytes come, and questions are short.
    let options = Options { early_window: 0, max_request_bytes: QUESTIONS, ..Options::frontend() };
    let (link, task) = Link::start(reader, writer, service, options);
    let heard = Arc::new(Mutex::new(Heard::default()));
    let (tell, gone) = watch::channel(None);
    let drive = Drive {
        link: link.clone(),
        runs: runs.clone(),
        transfers: transfers.clone(),
        given: given.clone(),
        heard: heard.clone(),
        patience: patience(route),
    };
    let carried = {
        let heard = heard.clone();
        async move {
            wire::carry(channel, theirs, &heard).await;
            drop(lease);
        }
    };
    let driven = engine.remarks.scope(drive.until_gone(carried, task, tell));
    lock(&engine.gateways.tasks).spawn(driven);
    let (name, relays) = (name.clone(), false);
    let mut gateway = Gateway { name, link, window: 0, runs, transfers, given, relays, gone };
    match greet(&gateway, route).await {
        Ok(hello) => {
            gateway.link.peer_takes(hello.capabilities.binary_frames, hello.limits.max_data);
            gateway.window = hello.limits.window;
            gateway.relays = hello.features.contains_key(RELAYS);
            Ok(gateway)
        }
        Err(why) => {
            gateway.link.close();
            Err(at(why))
        }
    }
}

/// The first request, and whether the other side is one that can do this.
async fn greet(gateway: &Gateway, route: &Route) -> Result<InitializeResult, Failure> {
    let limit = route.plan.timeouts.handshake.unwrap_or(HANDSHAKE);
    let params = InitializeParams {
        protocol: Offer { majors: vec![MAJOR], level: LEVEL },
        client: ClientInfo {
            name: "bssh".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kind: "core".to_owned(),
        },
        capabilities: ClientCapabilities {
            binary_frames: true,
            prompts: ["hostKey", CHECKS_HOST_KEYS, "password", "confirm"]
                .map(str::to_owned)
                .to_vec(),
            ..ClientCapabilities::default()
        },
        limits: None,
        strict: false,
        environment: None,
    };
    let called = tokio::time::timeout(limit, gateway.link.call::<Initialize>(&params)).await;
    let hello = match called {
        Err(_) => {
            let text = format!("its bssh core did not answer within {} s", limit.as_secs());
            return Err(plain(Phase::Exec, "gatewayStart", text));
        }
        Ok(Err(error)) if error.code == Kind::Disconnected.code() => {
            let why = gateway.gone().await.why;
            return Err(missing(plain(
                Phase::Exec,
                "gatewayStart",
                format!("no bssh core: {why}"),
            )));
        }
        Ok(Err(error)) => return Err(outdated(&one_line(&error.message))),
        Ok(Ok(hello)) => hello,
    };
    if hello.protocol.major != MAJOR {
        return Err(outdated(&format!("it speaks protocol {}", hello.protocol.major)));
    }
    if !hello.features.contains_key(FEATURE) {
        let version = one_line(&hello.core.version);
        return Err(outdated(&format!("its bssh {version} cannot be a gateway")));
    }
    Ok(hello)
}

fn missing(failure: Failure) -> Failure {
    let hint = "bssh has to be in the gateway's PATH, or gateways.program of the configuration says \
                where; --via-push puts this one there; nothing may be printed at login";
    Failure { hint: Some(hint.to_owned()), ..failure }
}

fn outdated(why: &str) -> Failure {
    let hint = "install the same bssh there, or let --via-push put this one there";
    let failure = plain(Phase::Exec, "gatewayVersion", why);
    Failure { hint: Some(hint.to_owned()), ..failure }
}

/// How long a core may be silent when it is asked whether it is there; none: for ever.
fn patience(route: &Route) -> Option<Duration> {
    let keepalive = &route.plan.keepalive;
    let limit = keepalive.interval * keepalive.count.saturating_add(1);
    Some(limit).filter(|limit| !limit.is_zero())
}

/// What a gateway's task knows.
struct Drive {
    link: Link,
    runs: Arc<Runs>,
    transfers: Arc<Transfers>,
    given: Arc<Given>,
    heard: Arc<Mutex<Heard>>,
    patience: Option<Duration>,
}

impl Drive {
    /// Carries bytes and drives the link until the gateway is gone, and says how that was.
    async fn until_gone(
        self,
        carried: impl Future<Output = ()>,
        task: LinkTask,
        tell: watch::Sender<Option<Gone>>,
    ) {
        let gone = {
            let mut both = std::pin::pin!(async { tokio::join!(carried, task) });
            let given_up = tokio::select! {
                _ = &mut both => None,
                why = self.given.lie() => Some(why),
                () = self.silent() => Some("its core answers no more".to_owned()),
            };
            if given_up.is_some() {
                self.link.close();
                // Its own core ends what it runs when its stdin ends.
                let _ = tokio::time::timeout(FAREWELL, both).await;
            }
            let heard = lock(&self.heard);
            match given_up {
                Some(why) => Gone { why, heard_out: false },
                None => Gone { why: heard.why(), heard_out: heard.whole && !heard.is_rubbish() },
            }
        };
        let why = gone.why.clone();
        // Whoever is told by its run asks how it was.
        tell.send_replace(Some(gone));
        self.runs.lost(&why);
        self.transfers.lost(&why);
    }

    /// Returns when the core does not answer.
    async fn silent(&self) {
        let Some(limit) = self.patience else { return std::future::pending().await };
        loop {
            tokio::time::sleep(limit / 2).await;
            let asked = self.link.call::<CorePing>(&bssh_protocol::handshake::Empty {});
            match tokio::time::timeout(limit, asked).await {
                Err(_) => return,
                // It has ended, which is noticed elsewhere.
                Ok(Err(CallError { code, .. })) if code == Kind::Disconnected.code() => {
                    return std::future::pending().await;
                }
                Ok(_) => {}
            }
        }
    }
}
