//! A frontend made of nothing but the protocol crate: a core as a child, calls, and every event
//! it sends, each wait with a deadline.

use crate::bssh;
use bssh_fixtures::Home;
use bssh_protocol::error::CallError;
use bssh_protocol::exec::{Settings, Targets};
use bssh_protocol::handshake::{
    ClientCapabilities, ClientInfo, InitializeParams, LEVEL, MAJOR, Offer,
};
use bssh_protocol::link::{
    Answering, Link, Notification, Options, Reply, Request, Service, StreamReceiver,
};
use bssh_protocol::methods::{Event, Initialize, Method};
use bssh_protocol::stream::StreamId;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::Child;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Nothing that works takes this long, also on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// A core and the link to it.
pub struct Driver {
    pub link: Link,
    seen: Arc<Seen>,
    /// None: a core that others use, too.
    child: Option<Child>,
    task: JoinHandle<()>,
    ssh_config: String,
}

#[derive(Default)]
struct Seen {
    events: Mutex<Vec<(String, Value)>>,
    arrived: Notify,
}

struct Collect(Arc<Seen>);

impl Service for Collect {
    fn request(&self, _: &Link, request: Request) -> Answering {
        Box::pin(async move { Reply::unknown_method(&request) })
    }

    fn notification(&self, _: &Link, notification: Notification) {
        let params: Value = serde_json::from_slice(&notification.params).expect("JSON");
        self.0.events.lock().expect("no panic").push((notification.method.to_string(), params));
        self.0.arrived.notify_waiters();
    }
}

impl Driver {
    /// Starts `bssh core --stdio` and shakes hands, strictly.
    pub async fn start(home: &Home, ssh_config: &Path) -> Driver {
        let mut command = tokio::process::Command::from(home.command(bssh()));
        command.args(["core", "--stdio"]).kill_on_drop(true);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a core");
        let reader = child.stdout.take().expect("piped");
        let writer = child.stdin.take().expect("piped");
        Driver::over(reader, writer, Some(child), ssh_config).await
    }

    /// Attaches to a core that listens there.
    pub async fn attach(socket: &Path, ssh_config: &Path) -> Driver {
        let stream = tokio::net::UnixStream::connect(socket).await.expect("a core that listens");
        let (reader, writer) = stream.into_split();
        Driver::over(reader, writer, None, ssh_config).await
    }

    async fn over(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        child: Option<Child>,
        ssh_config: &Path,
    ) -> Driver {
        let seen = Arc::new(Seen::default());
        let (link, task) = Link::start(reader, writer, Collect(seen.clone()), Options::frontend());
        let task = tokio::spawn(async move { drop(task.await) });
        let name = || "test".to_owned();
        let params = InitializeParams {
            protocol: Offer { majors: vec![MAJOR], level: LEVEL },
            client: ClientInfo { name: name(), version: name(), kind: "program".to_owned() },
            capabilities: ClientCapabilities { binary_frames: true, ..Default::default() },
            limits: None,
            strict: true,
            environment: None,
        };
        let hello = link.call::<Initialize>(&params).await.expect("a core that answers");
        link.peer_takes(hello.capabilities.binary_frames, hello.limits.max_data);
        let ssh_config = ssh_config.display().to_string();
        Driver { link, seen, child, task, ssh_config }
    }

    /// A node set on the test's daemon.
    pub fn targets(&self, nodes: &str) -> Targets {
        let ssh_config = Some(self.ssh_config.clone());
        let settings = Settings { ssh_config, ..Settings::default() };
        Targets { nodes: nodes.to_owned(), settings, ..Targets::default() }
    }

    /// Calls a method; an error fails the test.
    #[track_caller]
    pub fn call<'a, M: Method>(
        &'a self,
        params: &'a M::Params,
    ) -> impl Future<Output = M::Result> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            self.try_call::<M>(params)
                .await
                .unwrap_or_else(|e| panic!("{caller}: {}: {e}", M::NAME))
        }
    }

    /// Calls a method.
    pub async fn try_call<M: Method>(&self, params: &M::Params) -> Result<M::Result, CallError> {
        let answer = tokio::time::timeout(DEADLINE, self.link.call::<M>(params)).await;
        answer.unwrap_or_else(|_| panic!("no answer to {} within {DEADLINE:?}", M::NAME))
    }

    /// Waits for an event that fits, also one that came before.
    #[track_caller]
    pub fn event<'a, E: Event>(
        &'a self,
        fits: impl Fn(&E::Params) -> bool + 'a,
    ) -> impl Future<Output = E::Params> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let search = async {
                loop {
                    let arrived = self.seen.arrived.notified();
                    if let Some(found) = self.events::<E>().into_iter().find(&fits) {
                        return found;
                    }
                    arrived.await;
                }
            };
            let found = tokio::time::timeout(DEADLINE, search).await;
            found.unwrap_or_else(|_| panic!("{caller}: no such {}: {:?}", E::NAME, self.all()))
        }
    }

    /// Every event of a kind so far.
    pub fn events<E: Event>(&self) -> Vec<E::Params> {
        let all = self.all().into_iter().filter(|(method, _)| method == E::NAME);
        all.map(|(_, params)| serde_json::from_value(params).expect("the event's shape")).collect()
    }

    /// Every event so far.
    pub fn all(&self) -> Vec<(String, Value)> {
        self.seen.events.lock().expect("no panic").clone()
    }

    /// A stream's bytes to its end.
    pub async fn rest(&self, stream: StreamId, window: u64) -> Vec<u8> {
        let mut receiver = self.link.receiver(stream, window);
        let mut all = Vec::new();
        let read = async {
            while let Some(bytes) = receiver.next().await {
                all.extend_from_slice(&bytes.expect("the stream goes to its end"));
            }
        };
        tokio::time::timeout(DEADLINE, read).await.expect("an end of the stream in time");
        all
    }

    /// Reads on until `text` was seen; gives all that was read.
    pub async fn until(&self, receiver: &mut StreamReceiver, text: &str) -> String {
        let mut all = Vec::new();
        let read = async {
            while !contains(&all, text.as_bytes()) {
                let bytes = receiver.next().await.unwrap_or_else(|| panic!("the stream ended"));
                all.extend_from_slice(&bytes.expect("a stream that goes on"));
            }
        };
        let seen = tokio::time::timeout(DEADLINE, read).await;
        let text_so_far = String::from_utf8_lossy(&all).into_owned();
        assert!(seen.is_ok(), "{text:?} not seen in {text_so_far:?}");
        text_so_far
    }

    /// The core's process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().and_then(Child::id).expect("it runs")).expect("a pid")
    }

    /// Closes the link and waits until the core has ended.
    pub async fn close(mut self) {
        self.link.close();
        if let Some(child) = &mut self.child {
            let ended = tokio::time::timeout(DEADLINE, child.wait()).await;
            assert!(ended.expect("the core ends with its link").expect("our child").success());
        }
        self.task.abort();
        // Gone before anything else happens, whoever drives us.
        let _ = self.task.await;
    }
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len().max(1)).any(|window| window == part)
}
