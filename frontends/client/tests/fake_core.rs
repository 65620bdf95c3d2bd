//! The client against a core made of the protocol's own parts, over an in-memory pipe: handshake,
//! runs of many nodes, credit under a slow consumer, questions, loss.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use bssh_client::{
    Answer, Channel, Core, Error, Prompter, Run, RunEvent, Start, SyncEvent, Transfer,
    TransferEvent, window_for,
};
use bssh_protocol::auth::{
    ConfirmAnswer, ConfirmQuestion, HostKeyAnswer, HostKeyQuestion, PromptAnswer, PromptQuestion,
};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{
    Ended, ExecDone, ExecNode, ExecParams, ExecStarted, Exit, NodeState, Summary, Targets,
};
use bssh_protocol::handshake::{
    Chosen, CoreCapabilities, CoreInfo, CoreLimits, Empty, InitializeResult,
};
use bssh_protocol::link::{Link, Options};
use bssh_protocol::methods::{
    AuthConfirm, CorePing, ExecCancel, ExecDoneEvent, ExecNodeEvent, ExecStart, Initialize,
    SyncDoneEvent, SyncProgressEvent, SyncStart, TransferCancel, TransferDoneEvent,
    TransferFileEvent, TransferStart,
};
use bssh_protocol::registry::{Call, Router, RpcModule, register};
use bssh_protocol::stream::Source;
use bssh_protocol::sync::{SyncDone, SyncParams, SyncProgress, SyncStarted, SyncWhat};
use bssh_protocol::transfer::{
    PathBytes, TransferDone, TransferFile, TransferParams, TransferStarted,
};
use bssh_protocol::via::Via;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// What the fake core has seen.
#[derive(Default)]
struct Seen {
    sent: AtomicU64,
    cancelled: AtomicU64,
    stdin: Mutex<Vec<u8>>,
}

const PER_NODE: usize = 300_000;

fn hello() -> InitializeResult {
    InitializeResult {
        protocol: Chosen { major: 1, level: 1 },
        core: CoreInfo { name: "fake".into(), version: "0".into(), pid: 1 },
        session: 1,
        capabilities: CoreCapabilities { binary_frames: true, ..CoreCapabilities::default() },
        features: Default::default(),
        limits: CoreLimits {
            max_frame: 1 << 24,
            max_data: 65536,
            window: 65536,
            max_requests: 1024,
        },
    }
}

async fn state(link: &Link, index: u32, state: NodeState) {
    let event = ExecNode { run: 1, index, node: format!("n{index}"), state };
    link.notify::<ExecNodeEvent>(&event).await.unwrap();
}

/// Sends `PER_NODE` bytes, all equal to the node's index, on stdout and nothing on stderr.
async fn node(link: Link, seen: Arc<Seen>, index: u32, window: u64) -> Result<(), CallError> {
    state(&link, index, NodeState::Connecting { attempt: 1 }).await;
    let (mut out, err) = (link.new_sender(window), link.new_sender(window));
    let (stdout, stderr) = (Some(out.id()), Some(err.id()));
    state(&link, index, NodeState::Executing { stdout, stderr, no_pty: false }).await;
    for _ in 0..PER_NODE / 1000 {
        out.write(Bytes::from(vec![index as u8; 1000])).await?;
        seen.sent.fetch_add(1000, SeqCst);
    }
    out.finish().await?;
    err.finish().await?;
    let exit = Some(Exit::Status(0));
    let stdout_bytes = PER_NODE as u64;
    state(&link, index, NodeState::Ended(Ended { exit, stdout_bytes, ..Ended::default() })).await;
    Ok(())
}

async fn run(link: Link, seen: Arc<Seen>, nodes: u32, window: u64) {
    let work: Vec<JoinHandle<_>> =
        (0..nodes).map(|i| tokio::spawn(node(link.clone(), seen.clone(), i, window))).collect();
    for node in work {
        let _ = node.await;
    }
    let summary = Summary { nodes, ok: nodes, ..Summary::default() };
    let _ = link.notify::<ExecDoneEvent>(&ExecDone { run: 1, summary }).await;
}

fn start(seen: Arc<Seen>, call: &Call, params: &ExecParams) -> ExecStarted {
    let link = call.link.clone();
    let nodes: u32 = params.targets.nodes.parse().unwrap();
    let stdin = (params.stdin == Source::Stream).then(|| link.new_stream_id());
    if let Some(id) = stdin {
        let (mut receiver, seen) = (link.receiver(id, 65536), seen.clone());
        tokio::spawn(async move {
            while let Some(Ok(bytes)) = receiver.next().await {
                seen.stdin.lock().unwrap().extend_from_slice(&bytes);
            }
        });
    }
    let window = params.window.unwrap();
    call.then(async move {
        tokio::spawn(run(link, seen, nodes, window));
    });
    let nodes = (0..nodes).map(|n| format!("n{n}")).collect();
    ExecStarted { run: 1, nodes, stdin, warnings: Vec::new() }
}

const FILES: u64 = 20_000;

/// Speaks of many files with long names.
async fn tell_files(link: Link, seen: Arc<Seen>) {
    for bytes in 0..FILES {
        let (action, path) = ("file".to_owned(), PathBytes(vec![b'x'; 1000]));
        let file = TransferFile { transfer: 1, index: 0, action, path, bytes };
        link.notify::<TransferFileEvent>(&file).await.unwrap();
        seen.sent.fetch_add(1000, SeqCst);
    }
    let done = TransferDone { transfer: 1, summary: Summary::default(), files: 0, bytes: 0 };
    link.notify::<TransferDoneEvent>(&done).await.unwrap();
}

fn module(seen: Arc<Seen>) -> RpcModule<Arc<Seen>> {
    let mut module = RpcModule::new(seen);
    register::<Initialize, _, _, _>(&mut module, |_, call, params| async move {
        if !params.protocol.majors.contains(&1) {
            return Err(CallError::new(Kind::VersionUnsupported, "only major 1 is spoken here"));
        }
        call.link.peer_takes(params.capabilities.binary_frames, 65536);
        call.greeted(params.strict);
        Ok(hello())
    });
    register::<ExecStart, _, _, _>(&mut module, |seen: Arc<Arc<Seen>>, call, params| async move {
        Ok(start(Arc::clone(&seen), &call, &params))
    });
    register::<ExecCancel, _, _, _>(&mut module, |seen: Arc<Arc<Seen>>, _, _| async move {
        seen.cancelled.fetch_add(1, SeqCst);
        Ok(Empty {})
    });
    register::<TransferStart, _, _, _>(&mut module, |seen: Arc<Arc<Seen>>, call, _| async move {
        let link = call.link.clone();
        call.then(async move {
            tokio::spawn(tell_files(link, Arc::clone(&seen)));
        });
        Ok(TransferStarted { transfer: 1, nodes: vec!["n0".into()], warnings: Vec::new() })
    });
    register::<TransferCancel, _, _, _>(&mut module, |_, _, _| async move { Ok(Empty {}) });
    register::<SyncStart, _, _, _>(&mut module, |seen: Arc<Arc<Seen>>, call, params| async move {
        if params.what.id.as_deref() == Some("unreachable") {
            return Err(CallError::new(Kind::Disconnected, "n0: the connection was lost"));
        }
        let link = call.link.clone();
        call.then(async move {
            for files in 1..=3 {
                let progress = SyncProgress { sync: 1, files, ..SyncProgress::default() };
                link.notify::<SyncProgressEvent>(&progress).await.unwrap();
            }
            let done = SyncDone { sync: 1, ..SyncDone::default() };
            link.notify::<SyncDoneEvent>(&done).await.unwrap();
            seen.sent.store(1, SeqCst);
        });
        Ok(SyncStarted { sync: 1, node: "n0".into(), warnings: Vec::new() })
    });
    register::<CorePing, _, _, _>(&mut module, |_, call, Empty {}| async move {
        // Asks a person first.
        let question = ConfirmQuestion { prompt: 1, node: "n".into(), text: "sure?".into() };
        let answer = call.link.call::<AuthConfirm>(&question).await?;
        Ok(bssh_protocol::handshake::Pong { unix_ms: u64::from(answer == ConfirmAnswer::Yes) })
    });
    module
}

async fn attach(start: Start) -> (Core, Arc<Seen>, JoinHandle<()>) {
    let (a, b) = tokio::io::duplex(1 << 16);
    let ((ar, aw), (br, bw)) = (tokio::io::split(a), tokio::io::split(b));
    let seen = Arc::new(Seen::default());
    let module = module(seen.clone());
    let (_, task) = Link::start(ar, aw, Router::new(module), Options::core());
    let fake = tokio::spawn(async move { drop(task.await) });
    (Core::attach(br, bw, start).await.unwrap(), seen, fake)
}

fn params(nodes: u32) -> ExecParams {
    let targets = Targets { nodes: nodes.to_string(), ..Targets::default() };
    ExecParams { targets, ..ExecParams::default() }
}

async fn collect(run: &mut Run) -> (HashMap<u32, Vec<u8>>, Summary) {
    let (mut bytes, mut ended) = (HashMap::<u32, Vec<u8>>::new(), HashMap::new());
    loop {
        match run.next().await.unwrap() {
            RunEvent::Data { index, channel, bytes: more } => {
                assert_eq!(channel, Channel::Stdout);
                assert!(!ended.contains_key(&index), "data after the end of {index}");
                bytes.entry(index).or_default().extend_from_slice(&more);
            }
            RunEvent::Node(ExecNode { index, state: NodeState::Ended(end), .. }) => {
                ended.insert(index, end);
            }
            RunEvent::Node(_) | RunEvent::End { error: None, .. } => {}
            RunEvent::Done(summary) => {
                assert!(run.next().await.is_none());
                assert_eq!(ended.len(), summary.nodes as usize);
                return (bytes, summary);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn many_nodes_each_whole_and_in_order() {
    let (core, _, _fake) = attach(Start { strict: true, ..Start::default() }).await;
    assert_eq!(core.hello().core.name, "fake");
    let mut run = core.exec(params(200)).await.unwrap();
    assert_eq!(run.started.nodes.len(), 200);
    let (bytes, summary) = collect(&mut run).await;
    assert_eq!(summary.ok, 200);
    for (index, bytes) in bytes {
        assert_eq!(bytes.len(), PER_NODE);
        assert!(bytes.iter().all(|b| *b == index as u8));
    }
    assert_eq!(core.link().load(), (0, 0));
}

#[tokio::test]
async fn a_consumer_that_takes_nothing_stops_the_nodes_at_their_windows() {
    let (core, seen, _fake) = attach(Start::default()).await;
    let mut run = core.exec(ExecParams { window: Some(50_000), ..params(20) }).await.unwrap();
    // Until nothing moves any more: calls are answered behind everything that could be sent.
    let mut before = u64::MAX;
    while before != seen.sent.load(SeqCst) {
        before = seen.sent.load(SeqCst);
        for _ in 0..100 {
            core.call::<CorePing>(&Empty {}).await.unwrap();
        }
    }
    assert_eq!(before, 20 * 50_000);
    assert_eq!(collect(&mut run).await.1.ok, 20);
}

/// A transfer whose core has said as much as it may to somebody who does not listen.
async fn told_much() -> (Core, Transfer, u64, JoinHandle<()>) {
    let (core, seen, fake) = attach(Start::default()).await;
    let transfer = core.transfer(&TransferParams::default()).await.unwrap();
    let mut before = None;
    while before != Some(seen.sent.load(SeqCst)) {
        before = Some(seen.sent.load(SeqCst));
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
    (core, transfer, before.unwrap(), fake)
}

#[tokio::test]
async fn what_is_said_of_files_waits_for_a_slow_consumer() {
    let (_core, mut transfer, sent, _fake) = told_much().await;
    assert!((1 << 20..8 << 20).contains(&sent), "{sent} of {}", FILES * 1000);
    for n in 0..FILES {
        match transfer.next().await {
            Some(TransferEvent::File(file)) => assert_eq!(file.bytes, n),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(transfer.next().await, Some(TransferEvent::Done(_))));
}

#[tokio::test]
async fn nobody_waits_for_what_is_said_of_a_cancelled_transfer() {
    let (core, mut transfer, ..) = told_much().await;
    transfer.cancel().await.unwrap();
    assert!(matches!(transfer.next().await, Some(TransferEvent::Done(_))));
    let (other, left, ..) = told_much().await;
    drop(left);
    for core in [core, other] {
        core.call::<CorePing>(&Empty {}).await.unwrap();
    }
}

/// A sync of the configuration.
fn named(id: &str) -> SyncParams {
    let what = SyncWhat { id: Some(id.into()), ..SyncWhat::default() };
    SyncParams { what, ..SyncParams::default() }
}

#[tokio::test]
async fn only_the_last_progress_of_a_sync_waits() {
    let (core, seen, fake) = attach(Start::default()).await;
    let mut sync = core.sync(&named("work")).await.unwrap();
    while seen.sent.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // What was said before its answer has been read.
    core.call::<CorePing>(&Empty {}).await.unwrap();
    let Some(SyncEvent::Progress(last)) = sync.next().await else { panic!() };
    assert_eq!(last.files, 3);
    assert!(matches!(sync.next().await, Some(SyncEvent::Done(_))));
    assert!(sync.next().await.is_none());
    core.close().await;
    fake.await.unwrap();
}

#[tokio::test]
async fn a_lost_node_is_not_taken_for_a_lost_core() {
    let (core, _, fake) = attach(Start::default()).await;
    let why = core.sync(&named("unreachable")).await.unwrap_err();
    assert_eq!(why.message, "n0: the connection was lost");
    core.close().await;
    fake.await.unwrap();
}

#[tokio::test]
async fn an_older_core_is_not_asked_for_what_it_does_not_know() {
    let (core, _, _task) = attach(Start::default()).await;
    let via = Via { gateways: "gw1".to_owned(), ..Via::default() };
    let asked = core.exec(ExecParams { via: Some(via), ..params(1) }).await;
    let error = asked.expect_err("it says nothing of gateways");
    assert_eq!(error.code, Kind::VersionUnsupported.code(), "{error:?}");
    core.exec(params(1)).await.unwrap();
}

#[tokio::test]
async fn stdin_flows_and_a_dropped_run_is_cancelled() {
    let (core, seen, _fake) = attach(Start::default()).await;
    let mut run = core.exec(ExecParams { stdin: Source::Stream, ..params(1) }).await.unwrap();
    let mut stdin = run.stdin().unwrap();
    assert!(run.stdin().is_none());
    stdin.write(vec![b'x'; 200_000].into()).await.unwrap();
    stdin.finish().await.unwrap();
    while seen.stdin.lock().unwrap().len() < 200_000 {
        core.call::<CorePing>(&Empty {}).await.unwrap();
    }
    assert_eq!(seen.stdin.lock().unwrap().len(), 200_000);
    drop(run);
    core.call::<CorePing>(&Empty {}).await.unwrap();
    assert_eq!(seen.cancelled.load(SeqCst), 1);
}

struct Yes;
impl Prompter for Yes {
    fn kinds(&self) -> Vec<String> {
        vec!["confirm".into()]
    }
    fn host_key(&self, _: HostKeyQuestion) -> Answer<'_, HostKeyAnswer> {
        Box::pin(async { HostKeyAnswer::Reject })
    }
    fn prompt(&self, _: PromptQuestion) -> Answer<'_, PromptAnswer> {
        Box::pin(async { PromptAnswer::Cancelled })
    }
    fn confirm(&self, question: ConfirmQuestion) -> Answer<'_, ConfirmAnswer> {
        assert_eq!(question.text, "sure?");
        Box::pin(async { ConfirmAnswer::Yes })
    }
}

#[tokio::test]
async fn questions_reach_the_prompter() {
    let (core, _, _fake) = attach(Start::default()).await;
    assert_eq!(core.call::<CorePing>(&Empty {}).await.unwrap().unix_ms, 0);
    let (core, _, _fake) = attach(Start { prompter: Arc::new(Yes), ..Start::default() }).await;
    assert_eq!(core.call::<CorePing>(&Empty {}).await.unwrap().unix_ms, 1);
}

#[tokio::test]
async fn a_lost_core_ends_runs_and_calls() {
    let (core, _, fake) = attach(Start::default()).await;
    let mut run = core.exec(params(3)).await.unwrap();
    assert!(matches!(run.next().await, Some(RunEvent::Node(_))));
    fake.abort();
    let mut last = None;
    while let Some(event) = run.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(RunEvent::Lost(how)) if how == "the core closed the link"));
    let error = core.call::<CorePing>(&Empty {}).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.message.as_str()),
        ("disconnected", "the core closed the link")
    );
}

#[test]
fn windows_by_fanout() {
    for (fanout, window) in [(0, 1 << 20), (1, 1 << 20), (64, 256 << 10), (1000, 64 << 10)] {
        assert_eq!(window_for(fanout), window, "{fanout}");
    }
}

/// A core that is a shell script: answers `initialize`, then does what the test wants.
fn script(dir: &std::path::Path, then: &str) -> Start {
    use std::os::unix::fs::PermissionsExt;
    let hello = serde_json::to_string(&hello()).unwrap();
    let answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{hello}}}");
    let (path, n) = (dir.join("core"), answer.len());
    let text =
        format!("#!/bin/sh\nprintf 'Content-Length: {n}\\r\\n\\r\\n%s' '{answer}'\n{then}\n");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    Start { program: Some(path), lend_stdio: true, ..Start::default() }
}

#[tokio::test]
async fn how_the_process_ended_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [
        ("kill -9 $$", "the core was killed (signal 9)"),
        ("kill -15 $$", "the core was ended by signal 15"),
        ("exit 3", "the core ended with status 3"),
        // Our descriptors arrived, and nothing else.
        // Our descriptors arrived. (Tests beside this one may have more on their way.)
        (
            "ls -l /proc/$$/fd | grep -v ' [012] -> ' | grep -v '/core$' | grep -c ' -> ' | \
             (read n; [ $n -ge 3 ]) && exit 40",
            "the core ended with status 40",
        ),
        // Ends by itself when the link is closed.
        ("cat > /dev/null; exit 7", "the core ended with status 7"),
        // Does not, and is killed.
        ("exec sleep 1000", "the core was killed (signal 9)"),
    ];
    for (then, expected) in rows {
        let leave =
            std::time::Duration::from_millis(if then.starts_with("exec") { 50 } else { 9000 });
        let core = Core::start(Start { leave, ..script(dir.path(), then) }).await.unwrap();
        if then.starts_with("cat") || then.starts_with("exec") {
            assert_eq!(core.close().await.to_string(), expected);
        } else {
            assert_eq!(core.lost().await.to_string(), expected, "{then}");
            let error = core.call::<CorePing>(&Empty {}).await.unwrap_err();
            assert_eq!((error.kind(), error.message.as_str()), ("disconnected", expected));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_so() {
    let missing = Start { program: Some("/nonexistent/bssh".into()), ..Start::default() };
    let error = Core::start(missing).await.err().unwrap();
    assert!(error.to_string().starts_with("cannot start the core /nonexistent/bssh: "), "{error}");
    let no_core = Start { program: Some("/bin/false".into()), ..Start::default() };
    let error = Core::start(no_core).await.err().unwrap();
    assert!(matches!(&error, Error::Ended(lost) if lost.status == Some(1)), "{error}");
}
