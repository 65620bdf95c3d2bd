//! Terminals through the protocol: a shell that is typed to, views that come and go, readers
//! that are slow, floods that delay nobody, and what is left when the link goes.

use bssh_fixtures::processes;
use bssh_protocol::exec::Exit;
use bssh_protocol::link::StreamSender;
use bssh_protocol::methods::{
    PtyAttachView, PtyClose, PtyDetach, PtyExitedEvent, PtyInputOwnerEvent, PtyListAll, PtyOpen,
    PtyResizeTo, PtyResizedEvent, PtyTakeInput, PtyWriteInput, StreamGapEvent,
};
use bssh_protocol::pty::{
    PTY_WINDOW, PtyAttach, PtyFrom, PtyOpenParams, PtyOpened, PtyRef, PtyResize, PtyView, PtyWrite,
};
use bssh_protocol::stream::WINDOW;
use bssh_tests::{Driver, Lab, until};
use std::time::{Duration, Instant};

/// A lab, a core, and what a test does with them.
fn with_core<F: Future<Output = ()>>(test: impl FnOnce(Driver) -> F) {
    let lab = Lab::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = Driver::start(&lab.home, &lab.sshd.ssh_config()).await;
        test(driver).await;
    });
}

async fn open(driver: &Driver, node: &str, command: &str) -> PtyOpened {
    let command = Some(command.to_owned());
    let params = PtyOpenParams {
        targets: driver.targets(node),
        command,
        term: "vt100".to_owned(),
        cols: 81,
        rows: 25,
        ..PtyOpenParams::default()
    };
    driver.call::<PtyOpen>(&params).await
}

fn keys(driver: &Driver, opened: &PtyOpened) -> StreamSender {
    driver.link.sender(opened.input, WINDOW)
}

#[test]
fn a_shell_is_typed_to_resized_and_left() {
    with_core(|driver| async move {
        let pty = open(&driver, "127.0.0.1", "PS1='$ ' exec sh").await;
        let mut out = driver.link.receiver(pty.output, PTY_WINDOW);
        let mut keys = keys(&driver, &pty);
        keys.write("stty size; echo $TERM\r".into()).await.unwrap();
        driver.until(&mut out, "25 81\r\nvt100").await;
        let size = PtyResize { pty: pty.pty, cols: 100, rows: 30, px_width: 0, px_height: 0 };
        driver.call::<PtyResizeTo>(&size).await;
        driver
            .event::<PtyResizedEvent>(|e| e.pty == pty.pty && (e.cols, e.rows) == (100, 30))
            .await;
        let text = Some("stty size\r".to_owned());
        driver.call::<PtyWriteInput>(&PtyWrite { pty: pty.pty, text, data: None }).await;
        driver.until(&mut out, "30 100").await;
        let list = driver.call::<PtyListAll>(&Default::default()).await.ptys;
        assert_eq!((list.len(), list[0].cols, list[0].owner), (1, 100, Some(pty.output)));
        keys.write("exit 7\r".into()).await.unwrap();
        let exited = driver.event::<PtyExitedEvent>(|e| e.pty == pty.pty).await;
        assert_eq!(exited.exit, Some(Exit::Status(7)), "{exited:?}");
        assert!(driver.call::<PtyListAll>(&Default::default()).await.ptys.is_empty());
        let gone = driver.try_call::<PtyClose>(&PtyRef { pty: pty.pty }).await.unwrap_err();
        assert_eq!(gone.kind(), "handle.unknown");
        driver.close().await;
    });
}

#[test]
fn views_come_and_go_without_a_hole_and_one_types() {
    with_core(|driver| async move {
        let pty = open(&driver, "127.0.0.1", "stty -echo; echo ready; exec cat").await;
        let mut first = driver.link.receiver(pty.output, PTY_WINDOW);
        let mut keys = keys(&driver, &pty);
        driver.until(&mut first, "ready").await;
        keys.write("one\r".into()).await.unwrap();
        driver.until(&mut first, "one\r\n").await;
        // A second view sees what was, and what comes.
        let attach = PtyAttach { pty: pty.pty, read_only: true, ..PtyAttach::default() };
        let second = driver.call::<PtyAttachView>(&attach).await;
        assert_eq!((second.at, second.input, second.cols), (0, None, 81));
        let mut watching = driver.link.receiver(second.output, PTY_WINDOW);
        keys.write("two\r".into()).await.unwrap();
        assert_eq!(driver.until(&mut watching, "two\r\n").await, "ready\r\none\r\ntwo\r\n");
        // It takes the input: the first view's keys are refused from now on.
        let view = PtyView { pty: pty.pty, output: second.output };
        let input = driver.call::<PtyTakeInput>(&view).await.input;
        driver.event::<PtyInputOwnerEvent>(|e| e.output == Some(second.output)).await;
        let mut others = driver.link.sender(input, WINDOW);
        others.write("three\r".into()).await.unwrap();
        driver.until(&mut first, "three\r\n").await;
        let refused = until_refused(&mut keys).await;
        assert!(refused, "two cannot type at once");
        // By offset, and what cannot be had.
        let from = |from| PtyAttach { pty: pty.pty, from, read_only: true, window: None };
        let third = driver.call::<PtyAttachView>(&from(PtyFrom::Offset(7))).await;
        let mut tail = driver.link.receiver(third.output, PTY_WINDOW);
        assert!(driver.until(&mut tail, "three").await.starts_with("one\r\n"));
        assert!(driver.try_call::<PtyAttachView>(&from(PtyFrom::Offset(9999))).await.is_err());
        // The pty goes on with nobody looking, and is found again.
        for output in [pty.output, second.output, third.output] {
            driver.call::<PtyDetach>(&PtyView { pty: pty.pty, output }).await;
        }
        driver.event::<PtyInputOwnerEvent>(|e| e.output.is_none()).await;
        let nobody = PtyWrite { pty: pty.pty, text: Some("x".to_owned()), data: None };
        let error = driver.try_call::<PtyWriteInput>(&nobody).await.unwrap_err();
        assert_eq!(error.kind(), "handle.notOwner");
        let again = PtyAttach { pty: pty.pty, ..PtyAttach::default() };
        let again = driver.call::<PtyAttachView>(&again).await;
        let mut seen = driver.link.receiver(again.output, PTY_WINDOW);
        let mut keys = driver.link.sender(again.input.unwrap(), WINDOW);
        keys.write("four\r".into()).await.unwrap();
        let all = driver.until(&mut seen, "four\r\n").await;
        assert_eq!(all, "ready\r\none\r\ntwo\r\nthree\r\nfour\r\n");
        driver.call::<PtyClose>(&PtyRef { pty: pty.pty }).await;
        driver.event::<PtyExitedEvent>(|e| e.pty == pty.pty).await;
        driver.close().await;
    });
}

/// The server says that a channel is closed only when its shell has ended; nobody waits for that.
#[test]
fn a_terminal_that_is_hung_up_on_is_over_at_once() {
    with_core(|driver| async move {
        let slow = "trap '' HUP; echo ready; while :; do sleep 1000.65; done";
        for command in ["sh", "bash", slow] {
            let pty = open(&driver, "127.0.0.1", command).await;
            let mut out = driver.link.receiver(pty.output, PTY_WINDOW);
            let mut keys = keys(&driver, &pty);
            keys.write("echo read\"\"y\r".into()).await.unwrap();
            driver.until(&mut out, "ready").await;
            let begun = Instant::now();
            driver.call::<PtyClose>(&PtyRef { pty: pty.pty }).await;
            let exited = driver.event::<PtyExitedEvent>(|e| e.pty == pty.pty).await;
            assert!(begun.elapsed() < Duration::from_secs(2), "{command}: {:?}", begun.elapsed());
            assert_eq!(exited.failure.unwrap().code, "cancelled", "{command}");
        }
        for process in processes::with_text("1000.65") {
            processes::kill(process.pid);
        }
        driver.close().await;
    });
}

async fn until_refused(keys: &mut StreamSender) -> bool {
    let typing = async { while keys.write("x".into()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), typing).await.is_ok()
}

/// 3 MB of numbered lines, more than any window and than what is kept.
const LINES: &str = "stty raw; seq 1000000 1400000";

#[test]
fn a_slow_owner_misses_nothing_and_a_slow_guest_is_told_what() {
    with_core(|driver| async move {
        // Alone on its connection (the node waits), and beside another pty (the core keeps it).
        for beside in [false, true] {
            let node = if beside { "127.0.0.3" } else { "127.0.0.2" };
            let other = if beside { Some(open(&driver, node, "cat").await) } else { None };
            let command = format!("read go; {LINES}");
            let pty = open(&driver, node, &command).await;
            let guest = PtyAttach { pty: pty.pty, read_only: true, ..PtyAttach::default() };
            let guest = driver.call::<PtyAttachView>(&guest).await;
            let mut slow = driver.link.receiver(pty.output, PTY_WINDOW);
            let mut keys = keys(&driver, &pty);
            keys.write("\r".into()).await.unwrap();
            let mut all = driver.until(&mut slow, "1000001\n").await.into_bytes();
            // Nobody reads for a moment: whatever is to be dropped is dropped now.
            tokio::time::timeout(Duration::from_millis(700), std::future::pending::<()>())
                .await
                .unwrap_err();
            while let Some(bytes) = slow.next().await {
                all.extend_from_slice(&bytes.unwrap());
            }
            let lines = all.split(|b| *b == b'\n').filter(|l| l.len() == 7).count();
            assert!(all.ends_with(b"1400000\n"), "beside {beside}");
            assert!((400_000..=400_001).contains(&lines), "beside {beside}: {lines} lines");
            assert!(!driver.events::<StreamGapEvent>().iter().any(|g| g.stream == pty.output));
            let got = driver.rest(guest.output, PTY_WINDOW).await.len() as u64;
            let gaps = driver.events::<StreamGapEvent>();
            let gaps = gaps.iter().filter(|g| g.stream == guest.output);
            let missed: u64 = gaps.map(|g| g.to - g.from).sum();
            let exited = driver.event::<PtyExitedEvent>(|e| e.pty == pty.pty).await;
            assert_eq!(got + missed, exited.bytes, "beside {beside}: every byte is accounted for");
            assert!(!beside || missed > 0, "the guest was too slow");
            if let Some(other) = other {
                driver.call::<PtyClose>(&PtyRef { pty: other.pty }).await;
            }
        }
        driver.close().await;
    });
}

#[test]
fn a_flood_delays_no_other_pty() {
    with_core(|driver| async move {
        let flood = open(&driver, "127.0.0.1", "yes").await;
        let quiet = open(&driver, "127.0.0.1", "stty -echo; echo ready; exec cat").await;
        let mut out = driver.link.receiver(quiet.output, PTY_WINDOW);
        let mut keys = keys(&driver, &quiet);
        driver.until(&mut out, "ready").await;
        // The flood's view is never read: nothing of it may be in the way.
        let mut worst = Duration::ZERO;
        for n in 0..30 {
            let begun = Instant::now();
            keys.write(format!("{n}!\r").into()).await.unwrap();
            driver.until(&mut out, &format!("{n}!")).await;
            worst = worst.max(begun.elapsed());
        }
        // 50 ms on a machine of one's own; here others compile.
        assert!(worst < Duration::from_millis(1000), "{worst:?}");
        driver.call::<PtyClose>(&PtyRef { pty: flood.pty }).await;
        driver.event::<PtyExitedEvent>(|e| e.pty == flood.pty).await;
        driver.close().await;
    });
}

#[test]
fn a_hundred_ptys_are_small_and_go_with_their_link() {
    with_core(|driver| async move {
        let mut open_ptys = Vec::new();
        for n in 0..100 {
            let node = format!("127.0.0.{}", 1 + n % 10);
            let pty = open(&driver, &node, "echo here; exec sleep 1000.77").await;
            open_ptys.push(driver.link.receiver(pty.output, PTY_WINDOW));
        }
        for out in &mut open_ptys {
            driver.until(out, "here").await;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", driver.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(kib < 50 * 1024, "the core with 100 ptys: {kib} KiB");
        assert_eq!(driver.call::<PtyListAll>(&Default::default()).await.ptys.len(), 100);
        driver.close().await;
        let left = || processes::with_text("sleep 1000.77");
        assert!(until(Duration::from_secs(10), || left().is_empty()), "{:?}", left());
    });
}

#[test]
fn a_dead_node_is_an_error_that_says_why() {
    with_core(|driver| async move {
        let mut targets = driver.targets("127.0.0.1");
        targets.settings.options = vec!["Port=1".to_owned()];
        let params = PtyOpenParams { targets, ..PtyOpenParams::default() };
        let error = driver.try_call::<PtyOpen>(&params).await.unwrap_err();
        assert!(error.message.contains("127.0.0.1: connection refused"), "{error}");
        driver.close().await;
    });
}
