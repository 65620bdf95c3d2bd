//! A core and the link to it: start, call, end, and notice when it dies.
//!
//! One task per core drives the link and reaps the process. Dropping [`Core`] closes the link;
//! the core then ends by itself, and is killed if it does not within [`Start::leave`].

use crate::child::{self, Lent, Lost, Process};
use crate::prompter::{NoPrompter, Prompter};
use crate::pty::Ptys;
use crate::service::Frontend;
use crate::sessions::{Queue, SessionEvent, Sessions};
use crate::shared;
use crate::standby::Standby;
use crate::sync::Syncs;
use crate::tasks::Tasks;
use bssh_protocol::backlog::Backlog;
use bssh_protocol::carried::{Transfer, Transfers};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{ExecParams, ExecStarted};
use bssh_protocol::handshake::{
    ClientCapabilities, ClientInfo, InitializeParams, InitializeResult, LEVEL, LogRecord, MAJOR,
    Offer,
};
use bssh_protocol::job::JobAttach;
use bssh_protocol::link::{Link, LinkTask, Notification, Options};
use bssh_protocol::lock;
use bssh_protocol::methods::{ExecStart, Initialize, JobAttachTo, Method, TransferStart};
use bssh_protocol::run::{Run, Runs, Windows, window_for};
use bssh_protocol::stream::{Sink, Source};
use bssh_protocol::transfer::TransferParams;
use bssh_protocol::via;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};

/// How long what a dead core has written may take to be read.
const DRAIN: Duration = Duration::from_secs(1);
/// Events that wait to be taken.
const EVENTS: usize = 1024;
/// The fanout of a run that names none.
const FANOUT: u32 = 64;

/// Takes what the core remarks on, but no banner of a server: that is for the person.
pub type Remarks = Arc<dyn Fn(&LogRecord) + Send + Sync>;

/// How to start a core.
pub struct Start {
    /// The executable. None: our own.
    pub program: Option<PathBuf>,
    /// A core that stands by, to be used instead of running our own executable anew.
    pub standby: Standby,
    /// How much the core remarks on: an `ssh_config` `LogLevel` in lower case. None: warnings.
    pub log_level: Option<String>,
    /// Takes the core's remarks. None: our stderr.
    pub remarks: Option<Remarks>,
    /// Lends our own stdin, stdout and stderr to the core, for `Source::Fd(0)`, `Sink::Fd(1)` and
    /// `Sink::Fd(2)`: [`Core::exec`] puts in the numbers the core knows them by.
    pub lend_stdio: bool,
    /// What a child core writes to its stderr comes to ours through us: it does not keep ours open.
    pub apart: bool,
    /// A shared core that has to be started is ssh's control master.
    pub control: bool,
    /// Answers the core's questions.
    pub prompter: Arc<dyn Prompter>,
    /// Who we are.
    pub client: ClientInfo,
    /// The core refuses parameters it does not know (for tests).
    pub strict: bool,
    /// How long the handshake may take.
    pub timeout: Duration,
    /// How long the core may take to end once its link is closed; then it is killed.
    pub leave: Duration,
}

impl Start {
    pub(crate) fn again(&self) -> Start {
        Start {
            program: self.program.clone(),
            standby: self.standby.clone(),
            log_level: self.log_level.clone(),
            remarks: self.remarks.clone(),
            prompter: self.prompter.clone(),
            client: self.client.clone(),
            ..*self
        }
    }

    /// What follows `core`.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--stdio".into()];
        if let Some(level) = &self.log_level {
            arguments.extend(["--log".into(), level.into()]);
        }
        arguments
    }
}

impl Default for Start {
    fn default() -> Self {
        Start {
            program: None,
            standby: Standby::default(),
            log_level: None,
            remarks: None,
            lend_stdio: false,
            apart: false,
            control: false,
            prompter: Arc::new(NoPrompter),
            client: ClientInfo {
                name: "bssh".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                kind: "program".to_owned(),
            },
            strict: false,
            timeout: Duration::from_secs(20),
            leave: Duration::from_secs(5),
        }
    }
}

/// Why there is no core.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot start the core {}: {source}", program.display())]
    Spawn { program: PathBuf, source: std::io::Error },
    #[error("the core did not answer: {0}")]
    Ended(Lost),
    #[error("the core did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("no shared core: {0}")]
    Shared(String),
    #[error("the core refused the link: {0}")]
    Refused(CallError),
}

/// What a link to a core is made of.
pub(crate) enum Carrier {
    Child(Process),
    /// The user's shared core, which must be told our surroundings.
    Shared,
    /// Somebody else made it.
    Given,
}

/// A core at work.
pub struct Core {
    link: Link,
    pub(crate) handles: Handles,
    lost: watch::Receiver<Option<Lost>>,
    pub(crate) lent: Option<Lent>,
    hello: InitializeResult,
    events: Mutex<Option<mpsc::Receiver<Notification>>>,
}

/// What a link owns.
#[derive(Clone)]
pub(crate) struct Handles {
    pub(crate) runs: Arc<Runs>,
    pub(crate) ptys: Arc<Ptys>,
    pub(crate) sessions: Arc<Queue>,
    pub(crate) transfers: Arc<Transfers>,
    pub(crate) syncs: Arc<Syncs>,
    pub(crate) tasks: Arc<Tasks>,
}

impl Handles {
    fn of(backlog: &Arc<Backlog>) -> Handles {
        Handles {
            runs: Arc::default(),
            ptys: Arc::default(),
            sessions: Arc::default(),
            transfers: Arc::new(Transfers::of(backlog.clone())),
            syncs: Arc::new(Syncs::of(backlog.clone())),
            tasks: Arc::default(),
        }
    }

    /// The core is gone: so are they.
    fn lost(&self, how: &str) {
        self.runs.lost(how);
        self.ptys.lost();
        self.transfers.lost(how);
        self.syncs.lost(how);
        self.tasks.lost();
        self.sessions.push(SessionEvent::Lost(how.to_owned()), None);
    }
}

impl Core {
    /// Starts a core as our child and shakes hands. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The executable cannot be started, or what it runs is no core of this major version.
    pub async fn start(start: Start) -> Result<Core, Error> {
        let (child, socket, lent) = child::start(&start)?;
        let (reader, writer) = socket.into_split();
        let mut core = Core::shake_hands(reader, writer, Carrier::Child(child), start).await?;
        core.lent = lent;
        Ok(core)
    }

    /// Others may use this core, and it outlives us.
    pub fn is_shared(&self) -> bool {
        self.hello.capabilities.shared
    }

    /// It is ssh's control master, there for those that name a ControlPath.
    pub fn is_control(&self) -> bool {
        self.hello.capabilities.control
    }

    /// Shakes hands with a core that is there already.
    ///
    /// # Errors
    /// As [`Core::start`].
    pub async fn attach(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        start: Start,
    ) -> Result<Core, Error> {
        Core::shake_hands(reader, writer, Carrier::Given, start).await
    }

    pub(crate) async fn shake_hands(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        carrier: Carrier,
        start: Start,
    ) -> Result<Core, Error> {
        let shared = matches!(carrier, Carrier::Shared);
        let backlog = Arc::new(Backlog::default());
        let handles = Handles::of(&backlog);
        let params = InitializeParams {
            protocol: Offer { majors: vec![MAJOR], level: LEVEL },
            client: start.client,
            capabilities: ClientCapabilities {
                binary_frames: true,
                prompts: start.prompter.kinds(),
                fd_passing: shared,
                // Else a child core writes to the stderr it shares with us.
                log: (shared || start.remarks.is_some())
                    .then(|| start.log_level.unwrap_or_else(|| "info".to_owned())),
                ..ClientCapabilities::default()
            },
            limits: None,
            strict: start.strict,
            environment: shared.then(shared::environment),
        };
        let (sender, events) = mpsc::channel(EVENTS);
        let service = Frontend {
            prompter: start.prompter,
            handles: handles.clone(),
            backlog,
            events: sender,
            remarks: start.remarks,
        };
        let (link, task) = Link::start(reader, writer, service, Options::frontend());
        let (tell, mut lost) = watch::channel(None);
        // Ends with the link or the process, whichever is first; see `watch_over`.
        let child = match carrier {
            Carrier::Child(child) => Some((child, start.leave)),
            Carrier::Shared | Carrier::Given => None,
        };
        tokio::spawn(watch_over(task, child, handles.clone(), tell));
        let hello = tokio::time::timeout(start.timeout, link.call::<Initialize>(&params)).await;
        let hello = match hello {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) if error.code == Kind::Disconnected.code() => {
                return Err(Error::Ended(how_it_ended(&mut lost).await));
            }
            failed => {
                link.close();
                return Err(match failed {
                    Ok(Err(error)) => Error::Refused(error),
                    _ => Error::Silent(start.timeout),
                });
            }
        };
        link.peer_takes(hello.capabilities.binary_frames, hello.limits.max_data);
        let events = Mutex::new(Some(events));
        Ok(Core { link, handles, lost, lent: None, hello, events })
    }

    /// What the core said about itself.
    pub fn hello(&self) -> &InitializeResult {
        &self.hello
    }

    /// The link, for streams and anything else that is not a plain call.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Calls a method.
    ///
    /// # Errors
    /// The core's error; `disconnected`, saying how it ended, when the core is gone.
    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Result, CallError> {
        self.explained(self.link.call::<M>(params).await).await
    }

    /// The `event/…` notifications, for the first who asks.
    pub fn events(&self) -> Option<mpsc::Receiver<Notification>> {
        lock(&self.events).take()
    }

    /// Starts a run. A window that is not set is chosen by the fanout.
    ///
    /// # Errors
    /// As [`Core::call`]: only what is wrong with the whole request; what goes wrong with a node
    /// is an event of the run.
    pub async fn exec(&self, mut params: ExecParams) -> Result<Run, CallError> {
        self.takes(&params)?;
        let output =
            *params.window.get_or_insert_with(|| window_for(params.fanout.unwrap_or(FANOUT)));
        self.lend(&mut params);
        let windows = Windows { output, stdin: self.hello.limits.window };
        let (link, runs) = (self.link.clone(), self.handles.runs.clone());
        self.begin::<ExecStart, _>(&params, move |started| runs.open(&link, started, windows)).await
    }

    /// Starts a run without following it; for one that outlives this link.
    ///
    /// # Errors
    /// As [`Core::exec`].
    pub async fn launch(&self, mut params: ExecParams) -> Result<ExecStarted, CallError> {
        self.takes(&params)?;
        self.lend(&mut params);
        self.call::<ExecStart>(&params).await
    }

    /// Follows a recorded run as if it had been started here; dropping it ends nothing.
    ///
    /// # Errors
    /// `handle.unknown`; a run whose output went to another frontend.
    pub async fn attach_job(&self, mut params: JobAttach) -> Result<Run, CallError> {
        let output = *params.window.get_or_insert_with(|| window_for(FANOUT));
        let windows = Windows { output, stdin: self.hello.limits.window };
        let (link, runs) = (self.link.clone(), self.handles.runs.clone());
        let seen = move |started| runs.open(&link, started, windows).watched();
        self.begin::<JobAttachTo, _>(&params, seen).await
    }

    /// The sessions of this link. One consumer at a time takes their events.
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.link.clone(), self.handles.sessions.clone())
    }

    /// Starts a transfer.
    ///
    /// # Errors
    /// As [`Core::exec`].
    pub async fn transfer(&self, params: &TransferParams) -> Result<Transfer, CallError> {
        let (link, transfers) = (self.link.clone(), self.handles.transfers.clone());
        self.begin::<TransferStart, _>(params, move |started| transfers.open(&link, started)).await
    }

    /// Starts what is followed: `known` makes it known before its first event is read.
    pub(crate) async fn begin<M: Method, T: Send + 'static>(
        &self,
        params: &M::Params,
        known: impl FnOnce(M::Result) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        self.explained(self.link.call_then::<M, _>(params, known).await).await
    }

    /// An answer, or how the core ended, if it is the core that has gone and no node.
    async fn explained<T>(&self, answer: Result<T, CallError>) -> Result<T, CallError> {
        match answer {
            Err(error) if error.code == Kind::Disconnected.code() && self.link.has_ended() => {
                Err(self.explain().await)
            }
            answer => answer,
        }
    }

    /// A shared core may be older than we are, and would take no notice of what it does not know.
    fn takes(&self, params: &ExecParams) -> Result<(), CallError> {
        let wanted = params.via.as_ref().is_some_and(|via| via.gateways != "none");
        if !wanted || self.hello.features.contains_key(via::FEATURE) {
            return Ok(());
        }
        let version = &self.hello.core.version;
        let text = format!("this core (bssh {version}) knows no gateways");
        let hint = "--persist no does without it; bssh core stop lets a newer one take its place";
        Err(CallError::new(Kind::VersionUnsupported, text).at("params.via").hint(hint))
    }

    /// Our own stdin, stdout and stderr under the core's numbers.
    fn lend(&self, params: &mut ExecParams) {
        let number = |own: i32| {
            let at = usize::try_from(own).ok()?;
            self.lent.as_ref()?.get(at).copied()
        };
        if let Source::Fd(fd) = &mut params.stdin {
            *fd = number(*fd).unwrap_or(*fd);
        }
        for sink in [&mut params.stdout, &mut params.stderr] {
            if let Sink::Fd(fd) = sink {
                *fd = number(*fd).unwrap_or(*fd);
            }
        }
    }

    /// Waits until the core is gone, and says how it ended.
    pub async fn lost(&self) -> Lost {
        how_it_ended(&mut self.lost.clone()).await
    }

    /// Closes the link and waits until the core has ended.
    pub async fn close(self) -> Lost {
        self.link.close();
        self.lost().await
    }

    /// The same when all is said: a core that hangs must not hold us back for longer than this.
    pub async fn leave(self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.close()).await;
    }

    pub(crate) async fn explain(&self) -> CallError {
        CallError::new(Kind::Disconnected, self.lost().await.to_string())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.link.close();
    }
}

async fn how_it_ended(lost: &mut watch::Receiver<Option<Lost>>) -> Lost {
    let unknown = Lost { status: None, signal: None };
    match lost.wait_for(Option::is_some).await {
        Ok(lost) => lost.clone().unwrap_or(unknown),
        Err(_) => unknown,
    }
}

/// Drives the link and reaps the process. Bounded: once the process is over the link has [`DRAIN`],
/// once the link is over the process has [`Start::leave`].
async fn watch_over(
    mut task: LinkTask,
    child: Option<(Process, Duration)>,
    handles: Handles,
    tell: watch::Sender<Option<Lost>>,
) {
    let lost = match child {
        None => {
            task.await;
            Lost { status: None, signal: None }
        }
        Some((mut child, leave)) => {
            let early = tokio::select! {
                status = child.wait() => Some(status),
                _ = &mut task => None,
            };
            let status = match early {
                Some(status) => {
                    // What it wrote before it died is still in the socket.
                    let _ = tokio::time::timeout(DRAIN, task).await;
                    status
                }
                None => match tokio::time::timeout(leave, child.wait()).await {
                    Ok(status) => status,
                    Err(_) => {
                        child.kill();
                        child.wait().await
                    }
                },
            };
            status.map_or(Lost { status: None, signal: None }, Lost::from)
        }
    };
    handles.lost(&lost.to_string());
    // Nobody may be interested.
    let _ = tell.send(Some(lost));
}
