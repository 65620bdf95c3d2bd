//! The client against a scripted server that may be hostile: no network, no real files.

use super::packet::{Assembler, Packet, Request, kind};
use super::session::{Incoming, Outgoing};
use super::{Attrs, Block, Sftp, SftpError, Status, flags};
use bytes::{BufMut, Bytes, BytesMut};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

struct Pipe<T>(T);

impl Incoming for Pipe<mpsc::Receiver<Bytes>> {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

impl Outgoing for Pipe<mpsc::Sender<Bytes>> {
    async fn send(&mut self, bytes: Bytes) -> bool {
        self.0.send(bytes).await.is_ok()
    }
}

/// A server that answers each request with what the script says.
async fn serve(
    extensions: &[&str],
    mut script: impl FnMut(Packet) -> Vec<Bytes> + Send + 'static,
) -> (Result<Sftp, SftpError>, JoinHandle<()>) {
    let (to_server, mut from_client) = mpsc::channel::<Bytes>(64);
    let (to_client, from_server) = mpsc::channel(64);
    let mut hello = Request::new(kind::VERSION, 0);
    for name in extensions {
        hello = hello.string(name.as_bytes()).string(b"1");
    }
    let hello = hello.sealed(3);
    let server = tokio::spawn(async move {
        let mut assembler = Assembler::default();
        while let Some(bytes) = from_client.recv().await {
            assembler.push(bytes);
            while let Some(packet) = assembler.next().unwrap() {
                let replies = match packet.kind {
                    kind::INIT => vec![hello.clone()],
                    _ => script(packet),
                };
                for reply in replies {
                    if to_client.send(reply).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    to_server.send(Request::init(3)).await.unwrap();
    (Sftp::over(Pipe(from_server), Pipe(to_server)).await, server)
}

fn reply(kind: u8, id: u32) -> Request {
    // Sealed under the id by the caller.
    let _ = id;
    Request::new(kind, 0)
}

fn status(id: u32, code: u32) -> Bytes {
    reply(kind::STATUS, id).u32(code).string(b"Failure").string(b"").sealed(id)
}

fn handle(id: u32, bytes: &[u8]) -> Bytes {
    reply(kind::HANDLE, id).string(bytes).sealed(id)
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("an answer in time")
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let mut held = Vec::new();
    let (sftp, _server) = serve(&[], move |packet| match packet.kind {
        kind::OPEN => vec![handle(packet.id, b"\xff\0\x80")],
        kind::READ => {
            let id = packet.id;
            let mut fields = packet.fields();
            assert_eq!(fields.string().unwrap(), &b"\xff\0\x80"[..], "the handle, byte for byte");
            let at = fields.u64().unwrap();
            held.push(reply(kind::DATA, id).string(at.to_string().as_bytes()).sealed(id));
            match held.len() {
                8 => held.drain(..).rev().collect(),
                _ => Vec::new(),
            }
        }
        _ => vec![status(packet.id, 0)],
    })
    .await;
    let sftp = sftp.unwrap();
    within(async {
        let file = sftp.open_file(b"\xfe\xff", flags::READ, &Attrs::default()).await.unwrap();
        let reads = (0..8).map(|at| file.read(at * 1000, 100));
        for (at, read) in futures_util::future::join_all(reads).await.into_iter().enumerate() {
            assert_eq!(read.unwrap().concat(), (at * 1000).to_string().into_bytes());
        }
        file.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_conversation() {
    type Answer = fn(u32) -> Vec<Bytes>;
    let cases: &[(&str, Answer)] = &[
        ("more data than was asked for", |id| {
            vec![reply(kind::DATA, id).string(&[0; 11]).sealed(id)]
        }),
        ("data without a byte", |id| vec![reply(kind::DATA, id).string(b"").sealed(id)]),
        ("a reply to no request", |id| vec![status(id + 77, 0)]),
        ("a packet of", |_| vec![Bytes::from_static(b"\xff\xff\xff\xff\x65\0\0\0\0")]),
        ("a packet of", |_| vec![Bytes::from_static(b"\0\0\0\x01\x65\0\0\0\0")]),
        ("a reply of kind 105", |id| {
            vec![reply(kind::ATTRS, id).attrs(&Attrs::default()).sealed(id)]
        }),
        ("shorter than its fields", |id| vec![reply(kind::STATUS, id).sealed(id)]),
        ("success without a result", |id| vec![status(id, 0)]),
        ("another length", |id| {
            let mut bytes = BytesMut::from(&b"\0\0\0\x0b\x67"[..]);
            bytes.put_u32(id);
            bytes.put_slice(b"\0\0\0\x09ab");
            vec![bytes.freeze()]
        }),
    ];
    for (what, answer) in cases {
        let (sftp, _server) = serve(&[], move |packet| match packet.kind {
            kind::OPEN => vec![handle(packet.id, b"h")],
            _ => answer(packet.id),
        })
        .await;
        let sftp = sftp.unwrap();
        within(async {
            let file = sftp.open_file(b"x", flags::READ, &Attrs::default()).await.unwrap();
            let error = file.read(0, 10).await.unwrap_err();
            assert!(matches!(&error, SftpError::Broken(text) if text.contains(what)), "{error:?}");
            let later = sftp.stat(b"x").await.unwrap_err();
            assert!(later.is_fatal(), "{what}: {later:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn listings_that_lie_are_refused() {
    for (what, body) in [
        ("shorter", &b"\xff\xff\xff\xff"[..]),
        ("shorter", b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\0"),
        ("without a name", b"\0\0\0\0"),
    ] {
        let (sftp, _server) = serve(&[], move |packet| match packet.kind {
            kind::OPENDIR => vec![handle(packet.id, b"h")],
            kind::READDIR => {
                let mut bytes = BytesMut::new();
                bytes.put_u32(u32::try_from(5 + body.len()).unwrap());
                bytes.put_u8(kind::NAME);
                bytes.put_u32(packet.id);
                bytes.put_slice(body);
                vec![bytes.freeze()]
            }
            _ => vec![status(packet.id, 0)],
        })
        .await;
        let sftp = sftp.unwrap();
        let dir = within(sftp.open_dir(b"x")).await.unwrap();
        let error = within(dir.list()).await.unwrap_err();
        assert!(matches!(&error, SftpError::Broken(text) if text.contains(what)), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_of_another_kind_is_no_server() {
    let (to_server, _from_client) = mpsc::channel(64);
    let (to_client, from_server) = mpsc::channel(64);
    to_client.send(Bytes::from_static(b"Welcome to the login shell\n")).await.unwrap();
    let sftp = within(Sftp::over(Pipe(from_server), Pipe(to_server))).await;
    assert!(matches!(sftp.err(), Some(SftpError::Broken(_))));
}

#[tokio::test]
async fn a_handle_that_nobody_waits_for_is_closed() {
    let (closed, mut closes) = mpsc::channel(8);
    let mut opened = None;
    let (sftp, _server) = serve(&[], move |packet| match packet.kind {
        kind::OPEN => {
            opened = Some(packet.id);
            Vec::new()
        }
        kind::STAT => {
            let late = handle(opened.take().unwrap(), b"late");
            vec![late, status(packet.id, 2)]
        }
        kind::CLOSE => {
            let id = packet.id;
            closed.try_send(packet.fields().string().unwrap()).unwrap();
            vec![status(id, 0)]
        }
        _ => vec![status(packet.id, 0)],
    })
    .await;
    let sftp = sftp.unwrap();
    within(async {
        {
            let attrs = Attrs::default();
            let open = std::pin::pin!(sftp.open_file(b"x", flags::READ, &attrs));
            let gone = tokio::time::timeout(Duration::from_millis(50), open).await;
            assert!(gone.is_err(), "given up");
        }
        assert!(sftp.stat(b"x").await.unwrap_err().is(Status::NoSuchFile));
        assert_eq!(closes.recv().await.unwrap(), &b"late"[..]);
        // A file that is dropped is closed as well.
        let (sftp, _server) = serve(&[], {
            let mut n = 0;
            move |packet| {
                n += 1;
                assert!(n < 3 || packet.kind == kind::STAT, "one open, one close");
                match packet.kind {
                    kind::OPEN => vec![handle(packet.id, b"h")],
                    _ => vec![status(packet.id, 2)],
                }
            }
        })
        .await;
        let sftp = sftp.unwrap();
        drop(sftp.open_file(b"x", flags::READ, &Attrs::default()).await.unwrap());
        assert!(sftp.stat(b"x").await.unwrap_err().is(Status::NoSuchFile));
    })
    .await;
}

#[tokio::test]
async fn limits_are_taken_but_not_believed() {
    for (said, want) in [
        ([262_144, 261_120, 261_120, 1019], (261_120, 261_120, 512)),
        ([0, 0, 0, 0], (32_768, 32_768, 64)),
        ([u64::MAX, u64::MAX, u64::MAX, u64::MAX], (261_120, 261_120, 512)),
        ([1, 1, 1, 1], (4096, 4096, 8)),
    ] {
        let (sftp, _server) = serve(&["limits@openssh.com"], move |packet| {
            let mut answer = reply(kind::EXTENDED_REPLY, packet.id);
            for number in said {
                answer = answer.u64(number);
            }
            vec![answer.sealed(packet.id)]
        })
        .await;
        let limits = sftp.unwrap().limits();
        assert_eq!((limits.read, limits.write, limits.handles), want, "{said:?}");
    }
}

#[tokio::test]
async fn symlinks_go_the_way_of_openssh_and_writes_arrive_whole() {
    let (seen, mut sent) = mpsc::channel(8);
    let (sftp, _server) = serve(&[], move |packet| {
        let id = packet.id;
        match packet.kind {
            kind::OPEN => return vec![handle(id, b"h")],
            kind::SYMLINK | kind::WRITE => {
                let is_write = packet.kind == kind::WRITE;
                let mut fields = packet.fields();
                let first = fields.string().unwrap();
                if is_write {
                    assert_eq!(fields.u64().unwrap(), 5);
                }
                seen.try_send((first, fields.string().unwrap())).unwrap();
            }
            _ => {}
        }
        vec![status(id, 0)]
    })
    .await;
    let sftp = sftp.unwrap();
    within(async {
        sftp.symlink(b"target", b"link").await.unwrap();
        assert_eq!(sent.recv().await.unwrap(), (b"target"[..].into(), b"link"[..].into()));
        let file = sftp.open_file(b"x", flags::WRITE, &Attrs::default()).await.unwrap();
        let mut block = Block::new(300_000);
        block.resize(300_000).fill(7);
        file.write(5, block).await.unwrap();
        let (handle, data) = sent.recv().await.unwrap();
        assert_eq!((handle, data.len()), (b"h"[..].into(), 300_000));
    })
    .await;
}
