//! Files on a node as an editor asks for them: one program, one link, no command line.

use bssh_protocol::error::CallError;
use bssh_protocol::exec::{Settings, Targets};
use bssh_protocol::fs::{
    FsAttrParams, FsClose, FsLinkParams, FsListParams, FsMakeParams, FsPath, FsReadParams,
    FsRemoveParams, FsRenameParams, FsWriteParams,
};
use bssh_protocol::handshake::{
    ClientCapabilities, ClientInfo, Empty, InitializeParams, MAJOR, Offer,
};
use bssh_protocol::link::{Answering, Link, Notification, Options, Reply, Request, Service};
use bssh_protocol::methods as m;
use bssh_protocol::stream::Base64Bytes;
use bssh_protocol::task::{
    FS_WINDOW, FsCopyParams, FsOpenReadParams, FsOpenWriteParams, FsPlace, FsTaskRef, Overwrite,
};
use bssh_tests::{Driver, Lab, bssh, until};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Answers nothing.
struct Editor;

impl Service for Editor {
    fn request(&self, _: &Link, request: Request) -> Answering {
        Box::pin(async move { Reply::unknown_method(&request) })
    }
    fn notification(&self, _: &Link, _: Notification) {}
}

fn kind(error: CallError) -> String {
    error.data.map(|d| d.kind).unwrap_or_default()
}

/// Runs a conversation with a core of its own.
fn talk<F: Future<Output = ()>>(lab: &Lab, conversation: impl FnOnce(Link, Targets) -> F) {
    let settings = Settings {
        ssh_config: Some(lab.sshd.ssh_config().display().to_string()),
        ..Settings::default()
    };
    let targets = Targets { nodes: "127.0.0.1".to_owned(), settings, ..Targets::default() };
    let mut command = tokio::process::Command::from(lab.home.command(bssh()));
    command.args(["core", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let whole = async {
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (link, task) = Link::start(stdout, stdin, Editor, Options::frontend());
        let task = tokio::spawn(task);
        let hello = InitializeParams {
            protocol: Offer { majors: vec![MAJOR], level: 1 },
            client: ClientInfo { name: "editor".into(), version: "1".into(), kind: "test".into() },
            capabilities: ClientCapabilities::default(),
            limits: None,
            strict: true,
            environment: None,
        };
        let hello = link.call::<m::Initialize>(&hello).await.unwrap();
        assert_eq!(hello.features["fs"], 1);
        conversation(link.clone(), targets).await;
        link.call::<m::CoreShutdown>(&Default::default()).await.unwrap_or(Empty {});
        drop(link);
        let _ = task.await;
        child.wait().await.unwrap();
    };
    let done =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), whole).await });
    assert!(done.is_ok(), "the conversation hangs");
}

#[test]
fn an_editor_reads_writes_and_keeps_house() {
    let lab = Lab::start();
    let root = lab.home.path().join("work");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a"), "one").unwrap();
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o751)).unwrap();
    talk(&lab, |link, targets| {
        let root = root.clone();
        async move {
            let at = |path: &Path| FsPath {
                targets: targets.clone(),
                path: path.as_os_str().as_encoded_bytes().into(),
            };
            let (a, b) = (root.join("a"), root.join("b"));
            let read = FsReadParams { at: at(&a), max_bytes: None };
            let content = link.call::<m::FsReadSmall>(&read).await.unwrap();
            assert_eq!((&content.data.0[..], content.attr.mode), (&b"one"[..], Some(0o751)));
            // Written over, only as long as it is what was read; the mode stays.
            let write = |path: &Path, data: &'static str, etag: Option<&str>| FsWriteParams {
                at: at(path),
                data: Base64Bytes(data.into()),
                if_etag: etag.map(str::to_owned),
                mode: None,
            };
            let written =
                link.call::<m::FsWriteSmall>(&write(&a, "two", Some(&content.etag))).await.unwrap();
            assert_ne!(written.etag, content.etag);
            let stale = link.call::<m::FsWriteSmall>(&write(&a, "3", Some(&content.etag))).await;
            assert_eq!(kind(stale.unwrap_err()), "fs.conflict");
            let taken = link.call::<m::FsWriteSmall>(&write(&a, "3", Some(""))).await;
            assert_eq!(kind(taken.unwrap_err()), "fs.conflict");
            link.call::<m::FsWriteSmall>(&write(&b, "new", Some(""))).await.unwrap();
            assert_eq!(fs::read(&a).unwrap(), b"two");
            assert_eq!(fs::metadata(&a).unwrap().mode() & 0o777, 0o751);
            let small = FsReadParams { at: at(&a), max_bytes: Some(2) };
            let large = link.call::<m::FsReadSmall>(&small).await.unwrap_err();
            assert_eq!(kind(large), "limit.exceeded");
            // Names, links, attributes.
            let rename = |to: &Path, overwrite| FsRenameParams {
                at: at(&b),
                to: to.as_os_str().as_encoded_bytes().into(),
                overwrite,
            };
            let taken = link.call::<m::FsRename>(&rename(&a, false)).await;
            assert_eq!(kind(taken.unwrap_err()), "fs.exists");
            link.call::<m::FsRename>(&rename(&a, true)).await.unwrap();
            assert_eq!(fs::read(&a).unwrap(), b"new");
            let attrs = FsAttrParams {
                at: at(&a),
                mode: Some(0o600),
                times_ms: Some((1_000_000, 2_000_000)),
                ..Default::default()
            };
            link.call::<m::FsSetattr>(&attrs).await.unwrap();
            let to_a = FsLinkParams { at: at(&root.join("link")), target: b"a"[..].into() };
            link.call::<m::FsSymlink>(&to_a).await.unwrap();
            let through = link.call::<m::FsStat>(&at(&root.join("link"))).await.unwrap();
            assert_eq!((&*through.r#type, through.mtime_ms), ("file", Some(2_000_000)));
            let itself = link.call::<m::FsLstat>(&at(&root.join("link"))).await.unwrap();
            assert_eq!(itself.r#type, "link");
            let text = link.call::<m::FsReadlink>(&at(&root.join("link"))).await.unwrap();
            assert_eq!(text.path.0, b"a");
            let real = link.call::<m::FsRealpath>(&at(&root.join("link"))).await.unwrap();
            assert_eq!(real.path.0, fs::canonicalize(&a).unwrap().as_os_str().as_encoded_bytes());
            assert!(link.call::<m::FsStatvfs>(&at(&root)).await.unwrap().total > 0);
            // Directories.
            let make = FsMakeParams { at: at(&root.join("x/y/z")), parents: true, mode: None };
            link.call::<m::FsMkdir>(&make).await.unwrap();
            link.call::<m::FsMkdir>(&make).await.unwrap();
            let make = FsMakeParams { parents: false, ..make };
            assert_eq!(kind(link.call::<m::FsMkdir>(&make).await.unwrap_err()), "fs.exists");
            let remove =
                |path: &Path, recursive| FsRemoveParams { at: at(path), recursive, only: None };
            let full = link.call::<m::FsRemove>(&remove(&root.join("x"), false)).await;
            assert_eq!(kind(full.unwrap_err()), "fs.notEmpty");
            let removed = link.call::<m::FsRemove>(&remove(&root.join("x"), true)).await.unwrap();
            assert_eq!(removed.removed, 3);
            link.call::<m::FsRemove>(&remove(&root.join("link"), true)).await.unwrap();
            assert!(a.exists(), "the link went, not what it pointed to");
            let gone = link.call::<m::FsStat>(&at(&root.join("x"))).await.unwrap_err();
            assert_eq!((gone.code, kind(gone)), (1050, "fs.notFound".to_owned()));
        }
    });
}

#[test]
fn a_large_directory_comes_in_pages() {
    let lab = Lab::start();
    let root = lab.home.path().join("many");
    fs::create_dir(&root).unwrap();
    for n in 0..250 {
        fs::write(root.join(format!("f{n:03}")), "").unwrap();
    }
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    talk(&lab, |link, targets| async move {
        let path = root.as_os_str().as_encoded_bytes().into();
        let mut params =
            FsListParams { at: FsPath { targets, path }, limit: Some(100), ..Default::default() };
        let mut names = Vec::new();
        let mut pages = 0;
        loop {
            let page = link.call::<m::FsList>(&params).await.unwrap();
            assert!(page.entries.iter().all(|e| e.attr.r#type == "file" && e.attr.size == Some(0)));
            names.extend(page.entries.into_iter().map(|e| e.name.0));
            pages += 1;
            match page.cursor {
                Some(cursor) => params.cursor = Some(cursor),
                None => break,
            }
        }
        assert_eq!((names.len(), pages), (251, 3));
        assert_eq!((&names[7][..], &names[250][..]), (&b"f007"[..], &b"\xff"[..]));
        let late = link.call::<m::FsList>(&params).await.unwrap_err();
        assert_eq!(kind(late), "handle.unknown");
    });
}

/// Bytes of which no block is like another.
fn noise(n: usize) -> Vec<u8> {
    bssh_tests::net::noise(n)
}

fn run<F: Future<Output = ()>>(conversation: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(conversation);
}

#[test]
fn a_large_file_comes_and_goes_as_a_stream() {
    let lab = Lab::start();
    let root = lab.home.path().join("work");
    fs::create_dir(&root).unwrap();
    let content = noise(9_000_001);
    fs::write(root.join("big"), &content).unwrap();
    run(async {
        let core = Driver::start(&lab.home, &lab.sshd.ssh_config()).await;
        let at = |name: &str| FsPath {
            targets: core.targets("127.0.0.1"),
            path: root.join(name).as_os_str().as_encoded_bytes().into(),
        };
        let read = FsOpenReadParams { at: at("big"), window: Some(1 << 20), ..Default::default() };
        let opened = core.call::<m::FsOpenRead>(&read).await;
        assert_eq!(opened.attr.size, Some(9_000_001));
        assert!(core.rest(opened.stream, 1 << 20).await == content);
        let part = FsOpenReadParams { offset: 5_000_000, length: Some(100_000), ..read };
        let opened = core.call::<m::FsOpenRead>(&part).await;
        assert!(core.rest(opened.stream, 1 << 20).await == content[5_000_000..5_100_000]);
        let proc = FsOpenReadParams {
            at: FsPath { path: b"/proc/version"[..].into(), ..at("") },
            ..Default::default()
        };
        let opened = core.call::<m::FsOpenRead>(&proc).await;
        assert!(core.rest(opened.stream, FS_WINDOW).await.starts_with(b"Linux"));
        // Written whole, with a mode; then only over what it was.
        let write = FsOpenWriteParams {
            at: at("copy"),
            size: Some(9_000_001),
            mode: Some(0o640),
            if_etag: Some(String::new()),
        };
        let writing = core.call::<m::FsOpenWrite>(&write).await;
        let mut sender = core.link.sender(writing.stream, writing.window);
        for piece in content.chunks(70_000) {
            sender.write(piece.to_vec().into()).await.unwrap();
            assert!(!root.join("copy").exists(), "it is not there before its end");
        }
        let listed = core.call::<m::FsTaskListAll>(&Empty {}).await;
        assert_eq!((listed.tasks.len(), &*listed.tasks[0].kind), (1, "write"));
        sender.finish().await.unwrap();
        let done = core.event::<m::FsTaskDoneEvent>(|d| d.task == writing.task).await;
        assert!(done.failure.is_none() && done.bytes == 9_000_001, "{done:?}");
        assert!(fs::read(root.join("copy")).unwrap() == content);
        assert_eq!(fs::metadata(root.join("copy")).unwrap().mode() & 0o777, 0o640);
        let taken = core.try_call::<m::FsOpenWrite>(&write).await.unwrap_err();
        assert_eq!(kind(taken), "fs.conflict");
        // Given up in three ways, the old file stays and nothing else does.
        let again = FsOpenWriteParams { if_etag: done.etag, size: None, ..write };
        for way in 0..3 {
            let again = FsOpenWriteParams { size: (way == 2).then_some(5), ..again.clone() };
            let writing = core.call::<m::FsOpenWrite>(&again).await;
            let mut sender = core.link.sender(writing.stream, writing.window);
            sender.write("abc".into()).await.unwrap();
            match way {
                0 => drop(sender),
                1 => {
                    let task = FsTaskRef { task: writing.task };
                    core.call::<m::FsTaskCancel>(&task).await;
                }
                _ => sender.finish().await.unwrap(),
            }
            let done = core.event::<m::FsTaskDoneEvent>(|d| d.task == writing.task).await;
            assert!(done.failure.is_some(), "{way}");
        }
        assert!(fs::read(root.join("copy")).unwrap() == content);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
        core.close().await;
    });
}

#[test]
fn copies_are_tasks_between_any_two_places() {
    let lab = Lab::start();
    let home = lab.home.path();
    for (name, text) in [("src/a", "1"), ("src/sub/b", "2"), ("one", "one"), ("old", "old")] {
        lab.home.write(name, text).unwrap();
    }
    fs::write(home.join("src/big"), noise(3_000_000)).unwrap();
    fs::set_permissions(home.join("src/a"), fs::Permissions::from_mode(0o4750)).unwrap();
    std::os::unix::fs::symlink("a", home.join("src/link")).unwrap();
    run(async {
        let core = Driver::start(&lab.home, &lab.sshd.ssh_config()).await;
        let path = |name: &str| home.join(name).as_os_str().as_encoded_bytes().into();
        let here = |name: &str| FsPlace { node: None, path: path(name) };
        let on =
            |node: &str, name: &str| FsPlace { node: Some(core.targets(node)), path: path(name) };
        let copy = |from: FsPlace, to: FsPlace| FsCopyParams {
            from,
            to,
            recursive: true,
            preserve: true,
            checksum: true,
            progress_token: Some("p".into()),
            ..Default::default()
        };
        let core = &core;
        let done = |params: FsCopyParams| async move {
            let task = core.call::<m::FsCopy>(&params).await.task;
            core.event::<m::FsTaskDoneEvent>(move |d| d.task == task).await
        };
        for (from, to, name) in [
            (here("src"), on("127.0.0.1", "up"), "up"),
            (on("127.0.0.1", "src"), here("down"), "down"),
            (on("127.0.0.1", "src"), on("127.0.0.2", "across"), "across"),
            (on("127.0.0.1", "src"), on("127.0.0.1", "within"), "within"),
        ] {
            let done = done(copy(from, to)).await;
            assert!(done.failure.is_none(), "{name}: {done:?}");
            assert_eq!((done.files, done.bytes), (4, 3_000_003), "{name}");
            let read = |file: &str| fs::read(home.join(name).join(file)).unwrap();
            assert!(
                read("big") == noise(3_000_000) && read("sub/b") == b"2" && read("link") == b"1"
            );
            // A node that is fetched from gives us no setuid files.
            let bits = if name == "down" { 0o750 } else { 0o4750 };
            let mode = fs::metadata(home.join(name).join("a")).unwrap().mode();
            assert_eq!(mode & 0o7777, bits, "{name}");
        }
        assert!(!core.events::<m::ProgressEvent>().is_empty());
        // One file on one node: the node copies by itself.
        let one = copy(on("127.0.0.1", "one"), on("127.0.0.1", "two"));
        assert!(done(one.clone()).await.failure.is_none());
        assert_eq!(fs::read(home.join("two")).unwrap(), b"one");
        // A link that is there is there, too.
        std::os::unix::fs::symlink("old", home.join("link")).unwrap();
        let local = FsCopyParams { to: here("link"), ..one.clone() };
        for to in [on("127.0.0.1", "old"), on("127.0.0.2", "old"), local.to] {
            let fail = FsCopyParams { to, overwrite: Overwrite::Fail, ..one.clone() };
            let refused = done(fail).await;
            assert!(refused.failure.is_some(), "{refused:?}");
            assert_eq!(fs::read(home.join("old")).unwrap(), b"old");
        }
        assert!(home.join("link").is_symlink());
        let nowhere = FsCopyParams { to: here("x"), from: here("one"), ..one };
        assert!(core.try_call::<m::FsCopy>(&nowhere).await.is_err());
        let unknown = core.try_call::<m::FsTaskCancel>(&FsTaskRef { task: 9999 }).await;
        assert_eq!(kind(unknown.unwrap_err()), "handle.unknown");
    });
}

#[test]
fn a_closed_nodes_connection_is_gone_and_comes_back() {
    let lab = Lab::start();
    let sshd = &lab.sshd;
    talk(&lab, |link, targets| async move {
        let at = FsPath { targets: targets.clone(), path: b"/".as_slice().into() };
        let close = FsClose { targets };
        assert!(!link.call::<m::FsClose>(&close).await.unwrap().closed, "nothing is kept yet");
        link.call::<m::FsStat>(&at).await.unwrap();
        assert!(link.call::<m::FsClose>(&close).await.unwrap().closed);
        let closes = || {
            sshd.log().matches("Disconnected from user").count()
                + sshd.log().matches("Connection closed by").count()
        };
        assert!(until(Duration::from_secs(20), || closes() == 1), "{}", sshd.log());
        link.call::<m::FsStat>(&at).await.unwrap();
    });
}
