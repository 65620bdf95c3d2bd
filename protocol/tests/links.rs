//! Two peers over an in-memory pipe: calls, order, cancellation, credit, bad peers, the end.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::ExecDone;
use bssh_protocol::handshake::{Empty, Pong};
use bssh_protocol::link::{
    Answering, Link, LinkEnd, LinkTask, Notification, Options, Reply, Request, Service, StreamItem,
    StreamTarget,
};
use bssh_protocol::methods::{CoreInfo, CorePing, CoreStats, ExecDoneEvent, Method};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::Notify;

/// Pings are answered, `core/info` never is, `core/stats` asks the peer back first.
#[derive(Default, Clone)]
struct Peer {
    seen: Arc<Mutex<Vec<String>>>,
    heard: Arc<Notify>,
    dropped: Arc<AtomicUsize>,
}

struct Counted(Arc<AtomicUsize>);
impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Service for Peer {
    fn request(&self, link: &Link, request: Request) -> Answering {
        self.seen.lock().unwrap().push(format!("{} {}", request.method, request.id));
        let (link, alive) = (link.clone(), Counted(self.dropped.clone()));
        Box::pin(async move {
            match &*request.method {
                CorePing::NAME => Reply::to::<CorePing>(Ok(Pong { unix_ms: 5 })),
                CoreStats::NAME => {
                    let pong = link.call::<CorePing>(&Empty {}).await;
                    let then = async move {
                        let done = ExecDone { run: 1, summary: Default::default() };
                        link.notify::<ExecDoneEvent>(&done).await.unwrap();
                    };
                    Reply::new(pong).then(Some(Box::pin(then)))
                }
                CoreInfo::NAME => {
                    std::future::pending::<()>().await;
                    drop(alive);
                    Reply::unknown_method(&request)
                }
                _ => Reply::unknown_method(&request),
            }
        })
    }
    fn notification(&self, _: &Link, notification: Notification) {
        self.seen.lock().unwrap().push(notification.method.into());
        self.heard.notify_one();
    }
}

fn pair() -> (Link, LinkTask, Link, LinkTask, Peer) {
    let (a, b) = duplex(1 << 16);
    let ((ar, aw), (br, bw)) = (tokio::io::split(a), tokio::io::split(b));
    let peer = Peer::default();
    let (core, core_task) = Link::start(ar, aw, Peer::default(), Options::core());
    let (front, front_task) = Link::start(br, bw, peer.clone(), Options::frontend());
    core.peer_takes(true, 65536);
    front.peer_takes(true, 65536);
    (core, core_task, front, front_task, peer)
}

/// A core's link whose peer is the test itself, byte by byte.
fn raw(options: Options) -> (Link, tokio::task::JoinHandle<LinkEnd>, DuplexStream, Peer) {
    let (a, b) = duplex(1 << 20);
    let (reader, writer) = tokio::io::split(a);
    let peer = Peer::default();
    let (link, task) = Link::start(reader, writer, peer.clone(), options);
    (link, tokio::spawn(task), b, peer)
}

#[tokio::test]
async fn calls_go_both_ways_and_answers_come_before_what_follows_them() {
    let (core, core_task, front, front_task, peer) = pair();
    let _tasks = (tokio::spawn(core_task), tokio::spawn(front_task));
    assert_eq!(front.call::<CorePing>(&Empty {}).await.unwrap().unix_ms, 5);
    // The core asks back while it answers.
    let error = front.call::<CoreStats>(&Empty {}).await;
    assert!(error.is_ok(), "{error:?}");
    peer.heard.notified().await;
    assert_eq!(*peer.seen.lock().unwrap(), ["core/ping \"c1\"", "exec/done"]);
    assert_eq!(core.call::<CorePing>(&Empty {}).await.unwrap().unix_ms, 5);
    let unknown = front.call::<bssh_protocol::methods::ExecList>(&Empty {}).await.unwrap_err();
    assert_eq!(unknown.code, -32601);
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_there() {
    let (a, b) = duplex(1 << 16);
    let ((ar, aw), (br, bw)) = (tokio::io::split(a), tokio::io::split(b));
    let peer = Peer::default();
    let (_core, core_task) = Link::start(ar, aw, peer.clone(), Options::core());
    let (front, front_task) = Link::start(br, bw, Peer::default(), Options::frontend());
    let _tasks = (tokio::spawn(core_task), tokio::spawn(front_task));
    {
        let mut call = Box::pin(front.call::<CoreInfo>(&Empty {}));
        tokio::select! {
            _ = &mut call => panic!("is never answered"),
            pong = front.call::<CorePing>(&Empty {}) => drop(pong),
        }
    }
    // The next answer comes after the cancellation was read.
    front.call::<CorePing>(&Empty {}).await.unwrap();
    front.call::<CorePing>(&Empty {}).await.unwrap();
    assert_eq!(peer.dropped.load(SeqCst), 4);
}

#[tokio::test]
async fn bytes_arrive_whole_and_the_end_comes_before_later_notifications() {
    for binary in [true, false] {
        let (core, core_task, front, front_task, peer) = pair();
        core.peer_takes(binary, 65536);
        let _tasks = (tokio::spawn(core_task), tokio::spawn(front_task));
        let mut sender = core.new_sender(100_000);
        let mut receiver = front.receiver(sender.id(), 100_000);
        let text: Bytes = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
        let sent = text.clone();
        let sending = tokio::spawn(async move {
            sender.write(sent).await.unwrap();
            sender.finish().await.unwrap();
            let done = ExecDone { run: 1, summary: Default::default() };
            core.notify::<ExecDoneEvent>(&done).await.unwrap();
        });
        let mut got = Vec::new();
        while let Some(bytes) = receiver.next().await {
            assert!(peer.seen.lock().unwrap().is_empty() || got.len() + 100_000 >= text.len());
            got.extend_from_slice(&bytes.unwrap());
        }
        assert!(got == text, "binary {binary}");
        sending.await.unwrap();
        peer.heard.notified().await;
        assert_eq!(front.load(), (0, 0));
    }
}

#[derive(Default)]
struct Held(Mutex<Vec<(u64, usize)>>, Notify);
impl StreamTarget for Held {
    fn deliver(&self, tag: u64, item: StreamItem) {
        let n = if let StreamItem::Data(bytes) = item { bytes.len() } else { 0 };
        self.0.lock().unwrap().push((tag, n));
        self.1.notify_one();
    }
}

#[tokio::test]
async fn a_stream_nobody_takes_from_stops_at_its_window_and_holds_up_no_other() {
    let (core, core_task, front, front_task, _) = pair();
    let _tasks = (tokio::spawn(core_task), tokio::spawn(front_task));
    let held = Arc::new(Held::default());
    let mut senders: Vec<_> = (0..100).map(|_| core.new_sender(10_000)).collect();
    for (tag, sender) in senders.iter().enumerate() {
        front.receive_into(sender.id(), 10_000, tag as u64, held.clone());
    }
    let mut stuck = Vec::new();
    for mut sender in senders.drain(..) {
        stuck.push(tokio::spawn(async move { sender.write(vec![7; 50_000].into()).await }));
    }
    let mut open = core.new_sender(10_000);
    let mut receiver = front.receiver(open.id(), 10_000);
    let flow = async {
        open.write(vec![1; 500_000].into()).await.unwrap();
        open.finish().await.unwrap();
    };
    let take = async {
        let mut n = 0;
        while let Some(bytes) = receiver.next().await {
            n += bytes.unwrap().len();
        }
        n
    };
    assert_eq!(tokio::join!(flow, take).1, 500_000);
    let total: usize = held.0.lock().unwrap().iter().map(|(_, n)| n).sum();
    assert_eq!(total, 100 * 10_000);
    assert!(stuck.iter().all(|s| !s.is_finished()));
    // One of them is taken from, and goes on; refusing another ends its sender.
    front.consumed(1, 10_000);
    front.refuse(2, CallError::new(Kind::StreamOverflow, "no more"));
    let error = stuck.remove(1).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), "stream.overflow");
    held.1.notified().await;
    while held.0.lock().unwrap().iter().filter(|(tag, _)| *tag == 0).count() < 2 {
        held.1.notified().await;
    }
}

#[tokio::test]
async fn bytes_may_come_before_their_receiver() {
    let (core, core_task, front, front_task, _) = pair();
    let _tasks = (tokio::spawn(core_task), tokio::spawn(front_task));
    let mut sender = core.new_sender(1000);
    let id = sender.id();
    sender.write("early".into()).await.unwrap();
    sender.finish().await.unwrap();
    core.call::<CorePing>(&Empty {}).await.unwrap();
    let mut receiver = front.receiver(id, 1000);
    assert_eq!(receiver.next().await.unwrap().unwrap(), "early");
    assert!(receiver.next().await.is_none());
    drop(core.new_sender(10));
    core.call::<CorePing>(&Empty {}).await.unwrap();
    let error = front.receiver(id + 1, 10).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), "cancelled.byCaller");
}

async fn send(peer: &mut DuplexStream, body: &str) {
    let text = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    peer.write_all(text.as_bytes()).await.unwrap();
}

async fn receive(peer: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(peer.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.trim().strip_prefix("Content-Length: ").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    peer.read_exact(&mut body).await.unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn a_confused_peer_is_told_and_the_link_stays_up() {
    let (_link, _task, mut peer, _) = raw(Options::core());
    send(&mut peer, r#"{"jsonrpc":"2.0","id":0,"method":"core/ping"}"#).await;
    receive(&mut peer).await;
    let rows = [
        (r#"{"jsonrpc":"2.0","id":1,"method":"nope"}"#, r#""id":1,"error":{"code":-32601"#),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"core/ping","params":[1]}"#,
            r#""id":1,"error":{"code":-32602"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"core/ping"}"#,
            r#""$/error","params":{"error":{"code":-32600"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"core/ping"}"#,
            r#""$/error","params":{"error":{"code":-32600"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":-1,"method":"core/ping"}"#,
            r#""$/error","params":{"error":{"code":-32600"#,
        ),
        (r#"{"a":1}"#, r#""$/error","params":{"error":{"code":-32600"#),
        (r#"{"a":"#, r#""$/error","params":{"error":{"code":-32700"#),
        ("[]", r#""$/error","params":{"error":{"code":-32600"#),
        ("\u{1}", r#""$/error","params":{"error":{"code":-32600"#),
        (
            r#"{"jsonrpc":"2.0","method":"stream/grant","params":{"stream":"x"}}"#,
            r#""about":"stream/grant""#,
        ),
    ];
    for (message, answer) in rows {
        send(&mut peer, message).await;
        let got = receive(&mut peer).await;
        assert!(got.contains(answer), "{message}\n{got}");
    }
    // No answers at all to these.
    for silent in [
        r#"{"jsonrpc":"2.0","id":77,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":"c99","error":{"code":1,"message":"x","extra":1}}"#,
        r#"{"jsonrpc":"2.0","method":"new/event","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":5}}"#,
        r#"{"jsonrpc":"2.0","method":"stream/grant","params":{"stream":9,"limit":9}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"core/ping","params":{},"more":true}"#,
    ] {
        send(&mut peer, silent).await;
    }
    assert!(receive(&mut peer).await.contains(r#""id":3,"result":{"unixMs":5}"#));
}

#[tokio::test]
async fn cancelled_and_surplus_requests_are_answered() {
    let (_link, _task, mut peer, _) = raw(Options { max_requests: 2, ..Options::core() });
    for id in ["1", "\"x\"", "3", "1"] {
        send(&mut peer, &format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"core/info"}}"#)).await;
    }
    assert!(receive(&mut peer).await.contains(r#""id":3,"error":{"code":1083"#));
    assert!(receive(&mut peer).await.contains(r#""id":1,"error":{"code":1083"#));
    send(&mut peer, r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"x"}}"#).await;
    assert!(receive(&mut peer).await.contains(r#""id":"x","error":{"code":-32800"#));
    // One string, written in two ways.
    send(&mut peer, r#"{"jsonrpc":"2.0","id":"a\/\u00e9","method":"core/info"}"#).await;
    send(&mut peer, r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"a/é"}}"#).await;
    assert!(receive(&mut peer).await.contains(r#""id":"a\/\u00e9","error":{"code":-32800"#));
    send(&mut peer, r#"{"jsonrpc":"2.0","id":1,"method":"core/info"}"#).await;
    assert!(receive(&mut peer).await.contains("unanswered"));
}

#[tokio::test]
async fn few_large_requests_are_as_many_as_may_be_unanswered() {
    let (_link, _task, mut peer, _) = raw(Options { max_request_bytes: 1000, ..Options::core() });
    let ask = |id: u32, n: usize| {
        let pad = "x".repeat(n);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"core/info","params":{{"x":"{pad}"}}}}"#)
    };
    for (id, n) in [(1, 500), (2, 5000), (3, 1)] {
        send(&mut peer, &ask(id, n)).await;
    }
    assert!(receive(&mut peer).await.contains(r#""id":3,"error":{"code":1083"#));
    send(&mut peer, r#"{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":2}}"#).await;
    assert!(receive(&mut peer).await.contains(r#""id":2,"error":{"code":-32800"#));
    send(&mut peer, &ask(3, 1)).await;
    send(&mut peer, &ask(3, 1)).await;
    assert!(receive(&mut peer).await.contains("a request with this id"), "there is room again");
}

#[tokio::test]
async fn a_window_violation_resets_that_stream_only() {
    let (link, _task, mut peer, _) = raw(Options::core());
    let mut good = link.receiver(1, 100);
    let mut over = link.receiver(2, 100);
    let mut gap = link.receiver(3, 100);
    let frame = |stream: u32, offset: u64, n: usize| {
        let mut out = bytes::BytesMut::new();
        bssh_protocol::frame::encode_data_head(&mut out, stream, offset, n);
        out.extend_from_slice(&vec![b'x'; n]);
        out
    };
    for bytes in [frame(2, 0, 101), frame(3, 5, 1), frame(2, 101, 5), frame(1, 0, 10)] {
        peer.write_all(&bytes).await.unwrap();
    }
    assert_eq!(over.next().await.unwrap().unwrap_err().kind(), "stream.windowViolation");
    assert_eq!(gap.next().await.unwrap().unwrap_err().kind(), "stream.windowViolation");
    assert_eq!(good.next().await.unwrap().unwrap().len(), 10);
    for _ in 0..2 {
        assert!(receive(&mut peer).await.contains("stream/reset"));
    }
}

#[tokio::test]
async fn lines_are_answered_in_lines_also_after_the_end_of_input() {
    let (_link, task, mut peer, _) = raw(Options::core());
    peer.write_all(b"{not JSON\n").await.unwrap();
    peer.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"core/ping\"}\n").await.unwrap();
    peer.shutdown().await.unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).await.unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("{\"jsonrpc\":\"2.0\",\"method\":\"$/error\""), "{text}");
    assert!(lines[1].starts_with("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":"));
    assert!(matches!(task.await.unwrap(), LinkEnd::Eof));
}

#[tokio::test]
async fn the_end_is_told_to_everyone_who_waits() {
    let (core, core_task, front, front_task, _) = pair();
    let running = tokio::spawn(front_task);
    let core_task = tokio::spawn(core_task);
    let mut receiver = front.receiver(7, 100);
    let mut sender = front.sender(8, 0);
    let call = front.call::<CoreInfo>(&Empty {});
    let write = sender.write("x".into());
    let kill = async { core_task.abort() };
    let (called, wrote, got, ()) = tokio::join!(call, write, receiver.next(), kill);
    assert_eq!(called.unwrap_err().kind(), "disconnected");
    assert_eq!(wrote.unwrap_err().kind(), "disconnected");
    assert_eq!(got.unwrap().unwrap_err().kind(), "disconnected");
    assert!(matches!(running.await.unwrap(), LinkEnd::Eof));
    assert_eq!(front.call::<CorePing>(&Empty {}).await.unwrap_err().kind(), "disconnected");
    assert!(core.has_ended());
}

#[tokio::test]
async fn close_writes_what_is_queued_first() {
    let (link, task, mut peer, _) = raw(Options::core());
    let done = ExecDone { run: 1, summary: Default::default() };
    for _ in 0..1000 {
        link.notify::<ExecDoneEvent>(&done).await.unwrap();
    }
    link.close();
    assert!(matches!(task.await.unwrap(), LinkEnd::Closed));
    let mut text = Vec::new();
    peer.read_to_end(&mut text).await.unwrap();
    assert_eq!(String::from_utf8(text).unwrap().matches("exec/done").count(), 1000);
}

#[tokio::test]
async fn a_call_is_over_with_its_answer_whatever_that_looks_like() {
    let (link, _task, mut peer, _) = raw(Options::core());
    send(&mut peer, r#"{"jsonrpc":"2.0","id":0,"method":"core/ping"}"#).await;
    receive(&mut peer).await;
    for (answer, code, message) in [
        (r#""error":{"code":-32603,"message":"x","data":"a string"}"#, -32603, "x"),
        (r#""error":{"code":7,"message":"x","data":{"retryable":"maybe"}}"#, 7, "x"),
        (r#""error":{"message":"x"}"#, -32603, "x"),
        (r#""error":"x""#, -32603, "an error that cannot be read"),
        (r#""result":1,"method":5"#, -32600, "cannot read the message"),
    ] {
        let call = link.call::<CorePing>(&Empty {});
        let told = async {
            let asked: serde_json::Value = serde_json::from_str(&receive(&mut peer).await).unwrap();
            let id = &asked["id"];
            send(&mut peer, &format!(r#"{{"jsonrpc":"2.0","id":{id},{answer}}}"#)).await;
        };
        let (answered, ()) = tokio::join!(call, told);
        let error = answered.unwrap_err();
        assert_eq!(error.code, code, "{answer}: {error}");
        assert!(error.message.starts_with(message), "{answer}: {error}");
    }
}
