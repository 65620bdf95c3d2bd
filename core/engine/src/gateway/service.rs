//! What a gateway's core may ask and tell.
//!
//! It is believed about the nodes it was given and about nothing else: a word about another one
//! ends it. Host keys are judged here, by the files and the policy of the node's own plan; a
//! password goes to a gateway only for a node whose key was found good.

use crate::failure::{failure, one_line, plain};
use crate::plan::Route;
use crate::questions::Questions;
use bssh_protocol::auth::{
    ConfirmAnswer, ConfirmQuestion, HostKeyAnswer, HostKeyQuestion, PromptAnswer, PromptKind,
    PromptQuestion, Secret, TrustScope,
};
use bssh_protocol::carried::Transfers;
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::followed::Taken;
use bssh_protocol::link::{Answering, Link, Notification, Reply, Request, Service};
use bssh_protocol::lock;
use bssh_protocol::methods::{
    AuthConfirm, AuthHostKey, AuthPrompt, Event, ExecDoneEvent, ExecNodeEvent, Method,
    TransferFileEvent,
};
use bssh_protocol::run::Runs;
use bssh_ssh::ask::Ask;
use bssh_ssh::host_key::{self, Presented};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, OnceCell};

/// What is wrong with one that says more of its nodes than may wait here.
const TOO_MUCH: &str = "it says more of its nodes than it may";

/// sudo's password, asked for once in a run.
pub(crate) type SudoSecret = Arc<OnceCell<Option<Secret>>>;

/// A node that a gateway was given, or a gateway behind it.
pub(super) struct Aim {
    /// What a person calls it.
    pub node: String,
    pub route: Arc<Route>,
    pub ask: Arc<dyn Ask>,
    /// The run's, where sudo may ask.
    pub sudo: Option<SudoSecret>,
    /// What we found wrong with its host key.
    pub fault: Mutex<Option<Failure>>,
    /// Its host key is the known one: passwords may be sent.
    pub trusted: AtomicBool,
}

impl Aim {
    /// Nothing is known of its host key yet.
    pub(super) fn new(
        node: String,
        route: &Arc<Route>,
        ask: Arc<dyn Ask>,
        sudo: Option<SudoSecret>,
    ) -> Arc<Aim> {
        let (fault, trusted) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Aim { node, route: route.clone(), ask, sudo, fault, trusted })
    }
}

/// The nodes a gateway was given.
#[derive(Default)]
pub(super) struct Given {
    now: Mutex<HashMap<String, Arc<Aim>>>,
    ever: Mutex<HashSet<String>>,
    lie: Mutex<Option<String>>,
    lied: Notify,
}

impl Given {
    /// A node it may speak of until [`Given::forget`]; the label it has there.
    pub(super) fn add(&self, aim: &Arc<Aim>) -> String {
        let mut now = lock(&self.now);
        let free = |label: &String| !now.contains_key(label);
        let label = std::iter::once(aim.node.clone())
            .chain((2..).map(|n| format!("{}#{n}", aim.node)))
            .find(free)
            .unwrap_or_default();
        lock(&self.ever).insert(label.clone());
        now.insert(label.clone(), aim.clone());
        label
    }

    /// A gateway behind it, which stays.
    pub(super) fn keep(&self, aim: &Arc<Aim>) {
        lock(&self.ever).insert(aim.node.clone());
        lock(&self.now).entry(aim.node.clone()).or_insert_with(|| aim.clone());
    }

    pub(super) fn forget(&self, label: &str) {
        lock(&self.now).remove(label);
    }

    /// It said something it has no business to say.
    pub(super) fn lied(&self, what: impl Into<String>) {
        lock(&self.lie).get_or_insert(what.into());
        self.lied.notify_one();
    }

    /// Waits for a lie.
    pub(super) async fn lie(&self) -> String {
        loop {
            if let Some(lie) = lock(&self.lie).clone() {
                return lie;
            }
            self.lied.notified().await;
        }
    }

    fn aim(&self, label: &str) -> Option<Arc<Aim>> {
        let aim = lock(&self.now).get(label).cloned();
        if aim.is_none() && !lock(&self.ever).contains(label) {
            self.lied(format!("it asks about {:?}, which it was not given", one_line(label)));
        }
        aim
    }
}

/// The frontend that a gateway's core sees: this core.
pub(super) struct ForGateway {
    pub gateway: String,
    pub runs: Arc<Runs>,
    pub transfers: Arc<Transfers>,
    pub given: Arc<Given>,
    pub questions: Arc<Questions>,
}

impl Service for ForGateway {
    fn request(&self, _: &Link, request: Request) -> Answering {
        let (given, questions) = (self.given.clone(), self.questions.clone());
        let gateway = self.gateway.clone();
        Box::pin(async move {
            match &*request.method {
                AuthHostKey::NAME => {
                    Reply::to::<AuthHostKey>(match request.params::<AuthHostKey>() {
                        Ok(question) => Ok(trust(&given, question).await),
                        Err(error) => Err(error),
                    })
                }
                AuthPrompt::NAME => Reply::to::<AuthPrompt>(match request.params::<AuthPrompt>() {
                    Ok(question) => Ok(prompt(&given, &questions, &gateway, question).await),
                    Err(error) => Err(error),
                }),
                AuthConfirm::NAME => {
                    Reply::to::<AuthConfirm>(match request.params::<AuthConfirm>() {
                        Ok(question) => Ok(confirm(&given, &questions, &gateway, question).await),
                        Err(error) => Err(error),
                    })
                }
                _ => Reply::unknown_method(&request),
            }
        })
    }

    fn notification(&self, link: &Link, notification: Notification) {
        // An event this side cannot read comes from a newer core: ignored, as unknown ones are.
        match &*notification.method {
            ExecNodeEvent::NAME => {
                if let Ok(event) = notification.event::<ExecNodeEvent>() {
                    if !self.runs.knows(event.run) && !lock(&self.given.ever).contains(&event.node)
                    {
                        let node = one_line(&event.node);
                        self.given.lied(format!("it speaks of {node:?}, which it was not given"));
                    } else if !self.runs.node(link, event, notification.params.len()) {
                        self.given.lied(TOO_MUCH);
                    }
                }
            }
            ExecDoneEvent::NAME => {
                if let Ok(event) = notification.event::<ExecDoneEvent>() {
                    self.runs.done(event);
                }
            }
            // Nobody asks it for a dry run.
            TransferFileEvent::NAME => {
                self.given.lied("it says what it would send, and was told to send");
            }
            _ => {
                if self.transfers.take(&notification) == Taken::TooMuch {
                    self.given.lied(TOO_MUCH);
                }
            }
        }
    }
}

/// Our own files and policy decide about a host key that the gateway was shown.
async fn trust(given: &Given, question: HostKeyQuestion) -> HostKeyAnswer {
    let Some(aim) = given.aim(&question.node) else { return HostKeyAnswer::Reject };
    let presented = question.key.blob.and_then(|blob| Presented::read(&blob.0));
    let verdict = match presented {
        None => Err(plain(Phase::HostKey, "hostKeyFile", "the gateway sent no readable host key")),
        Some(presented) => {
            let rules = &aim.route.plan.host_keys;
            let checked = host_key::check(rules, &presented, None, aim.ask.as_ref()).await;
            checked.map_err(|error| failure(&error))
        }
    };
    match verdict {
        Ok(verdict) => {
            aim.trusted.store(verdict.trusted, Ordering::Relaxed);
            HostKeyAnswer::Accept { scope: TrustScope::Once }
        }
        Err(why) => {
            *lock(&aim.fault) = Some(why);
            HostKeyAnswer::Reject
        }
    }
}

async fn prompt(
    given: &Given,
    questions: &Questions,
    gateway: &str,
    question: PromptQuestion,
) -> PromptAnswer {
    let Some(aim) = given.aim(&question.node) else { return PromptAnswer::Cancelled };
    let answers = match question.kind {
        PromptKind::Sudo => match &aim.sudo {
            Some(secret) => sudo(secret, questions, &aim.node, &question).await,
            None => None,
        },
        // A person's keys are here; a gateway has no business to ask for their passphrases.
        PromptKind::Passphrase => None,
        PromptKind::Password | PromptKind::KeyboardInteractive
            if aim.trusted.load(Ordering::Relaxed) =>
        {
            let fields = question.fields.into_iter().take(16);
            let question = PromptQuestion {
                node: aim.node.clone(),
                hop: Some(gateway.to_owned()),
                title: format!("{} (through {gateway})", one_line(&question.title)),
                instructions: question.instructions.map(|text| one_line(&text)),
                fields: fields
                    .map(|field| bssh_protocol::auth::PromptField {
                        label: one_line(&field.label),
                        ..field
                    })
                    .collect(),
                ..question
            };
            questions.pass_on(question).await
        }
        PromptKind::Password | PromptKind::KeyboardInteractive => None,
    };
    answers.map_or(PromptAnswer::Cancelled, |answers| PromptAnswer::Answered { answers })
}

/// sudo's password is the run's, whatever the way to a node.
async fn sudo(
    secret: &SudoSecret,
    questions: &Questions,
    node: &str,
    question: &PromptQuestion,
) -> Option<BTreeMap<String, Secret>> {
    let ask = || questions.secret(PromptKind::Sudo, "[sudo] password", node);
    let known = secret.get_or_init(ask).await.as_ref()?;
    let field = question.fields.first()?;
    Some(BTreeMap::from([(field.id.clone(), Secret::new(known.reveal()))]))
}

async fn confirm(
    given: &Given,
    questions: &Questions,
    gateway: &str,
    question: ConfirmQuestion,
) -> ConfirmAnswer {
    let Some(aim) = given.aim(&question.node) else { return ConfirmAnswer::No };
    let text = format!("{} (through {gateway})", one_line(&question.text));
    match questions.confirm(&aim.node, text).await {
        Some(true) => ConfirmAnswer::Yes,
        Some(false) => ConfirmAnswer::No,
        None => ConfirmAnswer::Cancelled,
    }
}
