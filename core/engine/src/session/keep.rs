//! A session's life: connected, lost, connected again with its state put back, closed.
//!
//! One task per session. It owns the helper and tells the frontend; commands wait for it and use
//! what it has attached.

use super::payload::HelperStart;
use super::remote::Helper;
use super::{Attached, GONE, Session, Stage, nonce};
use crate::dialing::jittered;
use crate::engine::Engine;
use crate::failure::{failure, plain};
use crate::lanes::Wanted;
use crate::plan::Route;
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::methods::SessionStateEvent;
use bssh_protocol::session::{SessionReady, SessionState, SessionStateChange, Snapshot};
use bytes::BytesMut;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a login shell may take to show what it has.
const LOGIN: Duration = Duration::from_secs(15);
/// How long a plain one may take.
const PLAIN: Duration = Duration::from_secs(10);
/// First pause before a lost session is tried again; doubled up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a helper may take to end what runs.
const GOODBYE: Duration = Duration::from_secs(6);
/// A state that is larger is not kept; the session goes on without a way back.
const MOST_STATE: usize = 16 << 20;

/// Keeps a session until it is closed.
pub(super) async fn keep(engine: Arc<Engine>, session: Arc<Session>) {
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        tell(&session, Stage::Connecting(attempt)).await;
        let attached = tokio::select! {
            attached = attach(&engine, &session) => attached,
            () = session.closed() => break,
        };
        let failure = match attached {
            Ok((attached, serving, ready)) => {
                (pause, attempt) = (PAUSE, 0);
                stay(&session, attached, serving, ready).await
            }
            Err(failure) => failure,
        };
        if session.is_closed() {
            break;
        }
        let again = failure.retryable && !session.rules.stay_lost;
        let anew = failure.code == "reset";
        let wait = again.then(|| jittered(pause));
        if !anew {
            tell(&session, Stage::Lost(failure, wait)).await;
            tokio::select! {
                () = session.closed() => break,
                () = session.kick.notified() => {}
                () = sleep(wait) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
        attempt += 1;
    }
    session.noted.over(&match session.stage() {
        Stage::Lost(failure, _) => {
            format!("{} while lost ({})", engine.parting(session.id), failure.code)
        }
        _ => engine.parting(session.id).to_owned(),
    });
    tell(&session, Stage::Closed).await;
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// The session is there until its connection or its helper is lost, it is reset, or closed.
async fn stay(
    session: &Session,
    attached: Arc<Attached>,
    serving: impl Future<Output = ()>,
    ready: SessionReady,
) -> Failure {
    let mut serving = std::pin::pin!(serving);
    tell(session, Stage::Ready(attached.clone(), ready)).await;
    let connection = attached.connection.clone();
    let why = tokio::select! {
        error = connection.closed() => failure(&error),
        () = &mut serving => {
            let lost = attached.lost().await;
            if lost.code == GONE {
                // The commands go on and are not to be ended.
                session.memory().dir = None;
            }
            return lost;
        }
        () = session.closed() => {
            attached.helper.bye();
            let _ = tokio::time::timeout(GOODBYE, serving).await;
            return plain(Phase::Exec, "closed", "closed");
        }
        () = session.reset.notified() => {
            session.forget();
            plain(Phase::Exec, "reset", "reset")
        }
    };
    // It ends what runs, and commands notice.
    attached.helper.stop();
    let _ = tokio::time::timeout(GOODBYE, serving).await;
    why
}

type AttachedNow<S> = (Arc<Attached>, S, SessionReady);

async fn attach(
    engine: &Engine,
    session: &Session,
) -> Result<AttachedNow<impl Future<Output = ()> + use<>>, Failure> {
    let route = session.route.as_ref().map_err(Clone::clone)?;
    let _turn = session.gate.acquire().await;
    let before = session.remembered();
    let adopt = before.adopt.clone().unwrap_or_default();
    let old = before.dir.clone().unwrap_or_default();
    let mut warnings = Vec::new();
    let wished = match (before.state.is_some(), session.rules.snapshot) {
        (true, _) => "none",
        (false, Snapshot::Login) => "login",
        (false, Snapshot::Plain) => "plain",
    };
    let started = match start(engine, session, route, (&adopt, &old, wished)).await {
        Err(failure) if wished == "login" && failure.code == "sessionUnsupported" => {
            start(engine, session, route, (&adopt, &old, "plain")).await
        }
        started => started,
    };
    let (helper, facts, serving, connection) = started?;
    if wished == "login" && facts.snapshot != "login" {
        warnings.push("the login shell did not start; the environment is a plain one".to_owned());
    }
    session.memory().dir = Some(facts.dir.clone());
    let attached = Arc::new(Attached::new(helper, connection, &facts));
    // The helper is served beside us from here on.
    let mut serving = Box::pin(serving);
    let restored = before.state.is_some();
    let setting_up = async {
        match &before.state {
            Some(state) => {
                let put = attached.helper.write("r.st", state).await;
                put.then(|| attached.set_state_file("r.st"))
            }
            None => {
                let mut state = read_all(&attached.helper, "0.st").await?;
                if !session.rules.env.is_empty() {
                    let exported = super::payload::exports(&session.rules.env);
                    state = [state.as_ref(), exported.as_bytes()].concat().into();
                    attached.helper.write("0.st", &state).await.then_some(())?;
                }
                session.set_state(state, None);
                Some(())
            }
        }
    };
    let set_up = tokio::select! {
        set_up = setting_up => set_up,
        () = &mut serving => None,
    };
    if set_up.is_none() {
        let lost = "the session's helper on the node has gone";
        return Err(Failure { retryable: true, ..plain(Phase::Exec, "sessionLost", lost) });
    }
    let (cwd, rev) = session.settle(&facts, restored);
    let ready = SessionReady {
        shell: facts.shell.clone(),
        home: facts.home.clone(),
        cwd,
        rev,
        restored,
        warnings,
    };
    Ok((attached, serving, ready))
}

type Started<S> = (Helper, super::remote::Facts, S, bssh_ssh::Connection);

async fn start(
    engine: &Engine,
    session: &Session,
    route: &Arc<Route>,
    (adopt, before, snapshot): (&str, &str, &str),
) -> Result<Started<impl Future<Output = ()> + use<>>, Failure> {
    let (seat, channel, offer) = engine.session_channel(session, None, Wanted::Any).await?;
    for (name, value) in &route.env {
        channel.env(name, value).await.map_err(|e| failure(&e))?;
    }
    let connection = seat.lease().connection.clone();
    let within = if snapshot == "login" { LOGIN } else { PLAIN };
    let start = HelperStart {
        nonce: &nonce(),
        adopt,
        before,
        shell: session.rules.shell.as_deref().unwrap_or_default(),
        snapshot,
        // One that comes back is where it was.
        cwd: session.rules.cwd.as_deref().filter(|_| snapshot != "none").unwrap_or_default(),
        exclude: &session.rules.exclude,
    };
    let (helper, facts, serving) = Helper::start((channel, offer), seat, &start, within).await?;
    Ok((helper, facts, serving, connection))
}

/// A file of the session's directory, whole.
pub(super) async fn read_all(helper: &Helper, file: &str) -> Option<bytes::Bytes> {
    let mut all = BytesMut::new();
    loop {
        let part = helper.read(file, all.len() as u64).await?;
        all.extend_from_slice(&part);
        if all.len() > MOST_STATE {
            return None;
        }
        if part.len() < 1 << 20 {
            return Some(all.freeze());
        }
    }
}

async fn tell(session: &Session, stage: Stage) {
    let state = stage.state();
    session.enter(stage);
    let (id, node) = (session.id, session.node.clone());
    let event = SessionStateChange { session: id, node, state };
    // A link that is lost ends the session.
    let _ = session.link.notify::<SessionStateEvent>(&event).await;
}

impl Stage {
    pub(super) fn state(&self) -> SessionState {
        match self {
            Stage::Connecting(attempt) => SessionState::Connecting { attempt: *attempt },
            Stage::Ready(_, ready) => SessionState::Ready(ready.clone()),
            Stage::Lost(failure, wait) => SessionState::Lost {
                failure: failure.clone(),
                retry_ms: wait.map(crate::run::millis),
            },
            Stage::Closed => SessionState::Closed {},
        }
    }
}

impl Attached {
    fn new(
        helper: Helper,
        connection: bssh_ssh::Connection,
        facts: &super::remote::Facts,
    ) -> Attached {
        Attached {
            helper,
            connection,
            dir: facts.dir.clone(),
            shell: facts.shell.clone(),
            kind: facts.kind.clone(),
            state_file: Mutex::new("0.st".to_owned()),
        }
    }
}
