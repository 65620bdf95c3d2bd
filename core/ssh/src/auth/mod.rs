//! Logging in: which methods in which order, until the server is content (RFC 4252).
//!
//! The order is OpenSSH's: the configured methods, as far as the server takes them; a partial
//! success starts over with what it still wants. No "none" request comes first unless there is
//! no key to offer: that saves a round trip per connection. `publickey` and `prompted` do the
//! single methods.

mod prompted;
mod publickey;

use crate::ask::{Ask, HostKeyAnswer, HostKeyQuestion, Note, Prompt};
use crate::connect::within;
use crate::error::{Error, ErrorKind, Phase};
use crate::host_key::Verdict;
use crate::plan::ConnectPlan;
use futures_util::future::BoxFuture;
use publickey::Candidate;
use russh::client::{AuthResult, Handle, Handler};
use russh::{MethodKind, MethodSet};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// How we got in.
pub(crate) struct AuthDone {
    /// e.g. `publickey`.
    pub(crate) method: String,
}

/// Logs in to a server, which names its `software`, with whatever the plan allows.
///
/// # Errors
/// Phase auth: everything was refused, the server hung up, or it does not answer.
pub(crate) async fn authenticate<H: Handler>(
    handle: &mut Handle<H>,
    (plan, software): (&ConnectPlan, &str),
    verdict: &Verdict,
    ask: &dyn Ask,
) -> Result<AuthDone, Error> {
    let ask = &Person { ask, asked: AtomicUsize::new(0) };
    let login = Login {
        handle,
        plan,
        ask,
        passwords: verdict.trusted && !plan.auth.batch,
        tried: Vec::new(),
        allowed: None,
        rsa: None,
        hostbound: publickey::knows_hostbound(software),
    };
    let limit = plan.timeouts.auth;
    let busy = || ask.asked.load(Ordering::Relaxed) > 0;
    match within(limit, busy, login.run()).await {
        Some(done) => done,
        None => {
            let seconds = limit.unwrap_or_default().as_secs_f64();
            Err(Error::new(Phase::Auth, ErrorKind::AuthTimeout { seconds }))
        }
    }
}

/// Whoever is asked, and whether somebody is being asked: then the clock stands still.
struct Person<'a> {
    ask: &'a dyn Ask,
    asked: AtomicUsize,
}

impl Ask for Person<'_> {
    fn host_key<'a>(&'a self, question: HostKeyQuestion) -> BoxFuture<'a, HostKeyAnswer> {
        self.ask.host_key(question)
    }

    fn prompt<'a>(&'a self, prompt: Prompt) -> BoxFuture<'a, Option<Vec<Zeroizing<String>>>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = self.ask.prompt(prompt).await;
            self.asked.fetch_sub(1, Ordering::Relaxed);
            answer
        })
    }

    fn confirm<'a>(&'a self, text: String) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let answer = self.ask.confirm(text).await;
            self.asked.fetch_sub(1, Ordering::Relaxed);
            answer
        })
    }

    fn note(&self, note: Note) {
        self.ask.note(note);
    }

    fn person(&self) -> usize {
        self.ask.person()
    }

    fn is_verbose(&self) -> bool {
        self.ask.is_verbose()
    }
}

impl Person<'_> {
    /// Awaits a program that may ask a person by itself: the clock stands still as well.
    async fn waiting<F: Future>(&self, step: F) -> F::Output {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let done = step.await;
        self.asked.fetch_sub(1, Ordering::Relaxed);
        done
    }
}

/// A login under way.
struct Login<'a, H: Handler> {
    handle: &'a mut Handle<H>,
    plan: &'a ConnectPlan,
    ask: &'a Person<'a>,
    /// Passwords and the like may be asked for and sent.
    passwords: bool,
    tried: Vec<String>,
    /// What the server takes, once it has said so.
    allowed: Option<MethodSet>,
    /// The hash for RSA signatures; the inner `None`: the server takes none we would make.
    rsa: Option<&'static [Option<russh::keys::HashAlg>]>,
    /// The server takes [`publickey::HOSTBOUND`].
    hostbound: bool,
}

/// The methods we can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    PublicKey,
    Keyboard,
    Password,
}

const METHODS: &[(Method, MethodKind, &str)] = &[
    (Method::PublicKey, MethodKind::PublicKey, "publickey"),
    (Method::Keyboard, MethodKind::KeyboardInteractive, "keyboard-interactive"),
    (Method::Password, MethodKind::Password, "password"),
];

/// What an attempt led to.
#[derive(PartialEq, Eq)]
enum Step {
    In,
    Refused,
    /// Accepted, and the server wants more.
    Partial,
    /// Nothing more to try with this method.
    Exhausted,
}

/// What each method has left.
struct Left {
    keys: VecDeque<Candidate>,
    keyboard: u32,
    password: u32,
}

impl<H: Handler> Login<'_, H> {
    async fn run(mut self) -> Result<AuthDone, Error> {
        let mut left = Left { keys: self.candidates().await, keyboard: 0, password: 0 };
        if left.keys.is_empty() && self.is_let_in().await? {
            return Ok(AuthDone { method: "none".to_owned() });
        }
        for key in &left.keys {
            self.say(|| format!("Will attempt key: {}", key.shown()));
        }
        let (mut partial, mut before) = (0, None);
        while let Some((method, name)) = self.next(&left) {
            if before.replace(method) != Some(method) {
                self.say(|| format!("Next authentication method: {name}"));
            }
            match self.attempt(method, &mut left).await? {
                Step::In => {
                    self.say(|| format!("Authentication succeeded ({name})."));
                    return Ok(AuthDone { method: name.to_owned() });
                }
                Step::Partial if partial < MAX_PARTIAL => {
                    partial += 1;
                    self.say(|| format!("Authenticated using \"{name}\" with partial success."));
                    // Keys that were taken are taken; the others may count now.
                    (left.keyboard, left.password) = (0, 0);
                }
                Step::Exhausted => match method {
                    Method::PublicKey => left.keys.clear(),
                    Method::Keyboard => left.keyboard = u32::MAX,
                    Method::Password => left.password = u32::MAX,
                },
                Step::Refused | Step::Partial => {}
            }
        }
        // No key could be offered: the server has not said yet what it takes.
        if self.allowed.is_none() && self.is_let_in().await? {
            return Ok(AuthDone { method: "none".to_owned() });
        }
        let allowed = self.allowed.as_deref().unwrap_or_default();
        let remaining = allowed.iter().map(|m| <&str>::from(m).to_owned()).collect();
        Err(auth_error(ErrorKind::AuthFailed { tried: self.tried, remaining }))
    }

    /// Asks for a login without proof: mostly to hear what the server takes.
    async fn is_let_in(&mut self) -> Result<bool, Error> {
        let answer = self.handle.authenticate_none(&self.plan.user).await;
        Ok(matches!(self.judge(answer, String::new).await?, Step::In))
    }

    /// The next method in the configured order that the server takes and that has tries left.
    fn next(&self, left: &Left) -> Option<(Method, &'static str)> {
        let prompts = self.plan.auth.password_prompts;
        self.plan.auth.methods.iter().find_map(|wanted| {
            let (method, kind, name) = METHODS.iter().find(|(_, _, name)| name == wanted)?;
            let taken = self.allowed.as_ref().is_none_or(|allowed| allowed.contains(kind));
            let possible = match method {
                Method::PublicKey => !left.keys.is_empty(),
                Method::Keyboard => self.passwords && left.keyboard < prompts,
                Method::Password => self.passwords && left.password < prompts,
            };
            (taken && possible).then_some((*method, *name))
        })
    }

    async fn attempt(&mut self, method: Method, left: &mut Left) -> Result<Step, Error> {
        match method {
            Method::PublicKey => {
                let Some(key) = left.keys.pop_front() else { return Ok(Step::Exhausted) };
                let step = self.public_key(&key).await?;
                let allowed = self.allowed.as_ref();
                let judged = allowed.is_none_or(|a| a.contains(&MethodKind::PublicKey));
                if step == Step::Refused && !judged {
                    // Its turn comes when keys are taken.
                    left.keys.push_front(key);
                }
                Ok(step)
            }
            Method::Keyboard => {
                left.keyboard += 1;
                self.keyboard(left.keyboard).await
            }
            Method::Password => {
                left.password += 1;
                self.password(left.password).await
            }
        }
    }

    /// Notes what the server said; `what` names the attempt for the list of failures.
    async fn judge(
        &mut self,
        answer: Result<AuthResult, russh::Error>,
        what: impl FnOnce() -> String,
    ) -> Result<Step, Error> {
        let (remaining, partial) = match answer {
            Ok(AuthResult::Success) => return Ok(Step::In),
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                (remaining_methods, partial_success)
            }
            Err(russh::Error::RecvError | russh::Error::SendError) => return Err(self.hung_up()),
            Err(error) => return Err(auth_error(ErrorKind::Lost(error.to_string()))),
        };
        let what = what();
        if !what.is_empty() {
            let outcome = if partial { "accepted, but more is wanted" } else { "refused" };
            self.tried.push(format!("{what}: {outcome}"));
        }
        if remaining.is_empty() && !partial {
            // The session ends a moment after it has told us.
            tokio::task::yield_now().await;
            if self.handle.is_closed() {
                return Err(self.hung_up());
            }
        }
        self.say(|| {
            let names: Vec<&str> = remaining.iter().map(<&str>::from).collect();
            format!("Authentications that can continue: {}", names.join(","))
        });
        self.allowed = Some(remaining);
        Ok(if partial { Step::Partial } else { Step::Refused })
    }

    /// The server closed the connection; why is for [`closed`] to say.
    fn hung_up(&mut self) -> Error {
        let tried = std::mem::take(&mut self.tried);
        auth_error(match tried.is_empty() {
            true => ErrorKind::Lost(CLOSED.to_owned()),
            false => ErrorKind::TooManyAuthFailures { tried },
        })
    }

    /// A remark for `-v`.
    fn say(&self, text: impl FnOnce() -> String) {
        self.ask.ask.say(text);
    }
}

const CLOSED: &str = "closed by the server during authentication";

/// The error of a login that the server broke off, by what it `said` when it did so.
pub(crate) fn closed(error: Error, said: Option<&str>) -> Error {
    let too_many = |text: &str| text.to_ascii_lowercase().contains("too many authentication");
    match said {
        Some(text) if too_many(text) => error,
        said => auth_error(ErrorKind::AuthClosed { how: said.unwrap_or(CLOSED).to_owned() }),
    }
}

/// A server that is never content does not keep us busy for ever.
const MAX_PARTIAL: u32 = 16;

fn auth_error(kind: ErrorKind) -> Error {
    Error::new(Phase::Auth, kind)
}
