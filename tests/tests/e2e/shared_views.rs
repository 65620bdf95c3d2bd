//! Several frontends on one core: a terminal that two look at and one types, which outlives the
//! one that opened it; a frontend that hangs and slows nobody; who may end the core; what the
//! journal says of it all.

use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Action, ExecParams, NodeState};
use bssh_protocol::forward::{DialParams, ForwardKind, ForwardParams, ForwardRef};
use bssh_protocol::handshake::{LinkCloseParams, ShutdownParams};
use bssh_protocol::job::JobHandle;
use bssh_protocol::methods::{
    CoreShutdown, DialDoneEvent, ExecDoneEvent, ExecNodeEvent, ExecStart, ForwardClose,
    ForwardDial, ForwardOpen, JobCancel, LinkClose, LinkListAll, PtyAttachView, PtyExitedEvent,
    PtyInputOwnerEvent, PtyListAll, PtyOpen, PtyTakeInput, PtyWriteInput, SessionOpen,
};
use bssh_protocol::pty::{
    PTY_WINDOW, PtyAttach, PtyFrom, PtyOpenParams, PtyOpened, PtyView, PtyWrite,
};
use bssh_protocol::session::SessionOpenParams;
use bssh_protocol::stream::{Sink, Source, WINDOW};
use bssh_tests::{Driver, Lab, Run, Shared, net, until};
use serde_json::Value;
use std::io::Read;
use std::time::{Duration, Instant};

/// A shared core, and frontends of it.
fn with_shared<F: Future<Output = ()>>(test: impl FnOnce(Shared) -> F) {
    let shared = Shared::new(Lab::start());
    let mut serve = shared.lab.home.command(bssh_tests::bssh());
    serve.args(["core", "serve"]);
    Run::start(serve).finish(Duration::from_secs(60)).expect_status(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(shared));
}

async fn frontend(shared: &Shared) -> Driver {
    Driver::attach(&shared.socket(), &shared.lab.sshd.ssh_config()).await
}

/// A terminal on a node.
async fn terminal(driver: &Driver, command: &str) -> PtyOpened {
    let params = PtyOpenParams {
        targets: driver.targets("127.0.0.1"),
        command: Some(command.to_owned()),
        term: "vt100".to_owned(),
        cols: 80,
        rows: 24,
        ..PtyOpenParams::default()
    };
    driver.call::<PtyOpen>(&params).await
}

#[test]
fn a_terminal_has_one_who_types_and_outlives_its_frontend() {
    with_shared(|shared| async move {
        let (one, two) = (frontend(&shared).await, frontend(&shared).await);
        let pty = terminal(&one, "PS1='$ ' exec sh").await;
        let mut out = one.link.receiver(pty.output, PTY_WINDOW);
        let mut keys = one.link.sender(pty.input, WINDOW);
        keys.write("echo fi''rst\r".into()).await.unwrap();
        one.until(&mut out, "first").await;
        let from = PtyFrom::Replay;
        let attach = PtyAttach { pty: pty.pty, from, read_only: true, window: None };
        let view = two.call::<PtyAttachView>(&attach).await;
        let mut seen = two.link.receiver(view.output, PTY_WINDOW);
        two.until(&mut seen, "first").await;
        let typed = PtyWrite { pty: pty.pty, text: Some("x".to_owned()), data: None };
        let refused = two.try_call::<PtyWriteInput>(&typed).await.unwrap_err();
        assert_eq!(refused.kind(), "handle.notOwner");
        one.call::<LinkClose>(&LinkCloseParams { keep: vec![pty.pty] }).await;
        drop(out);
        one.close().await;
        two.event::<PtyInputOwnerEvent>(|e| e.output.is_none()).await;
        let take = PtyView { pty: pty.pty, output: view.output };
        let input = two.call::<PtyTakeInput>(&take).await.input;
        let mut keys = two.link.sender(input, WINDOW);
        keys.write("echo se''cond; exit 4\r".into()).await.unwrap();
        two.until(&mut seen, "second").await;
        two.event::<PtyExitedEvent>(|e| e.pty == pty.pty).await;
        two.close().await;
    });
}

#[test]
fn a_frontend_that_hangs_slows_nobody() {
    with_shared(|shared| async move {
        let hanging = frontend(&shared).await;
        let action = Action::Command("yes".to_owned());
        let targets = hanging.targets("127.0.0.1");
        let params = ExecParams { targets, action, ..ExecParams::default() };
        let run = hanging.call::<ExecStart>(&params).await.run;
        // Its streams are never read.
        let begun = Instant::now();
        for _ in 0..3 {
            let words = ["-H", "127.0.0.1", "head -c 3000000 /dev/zero | wc -c"];
            let done = shared.lab.run(&words).expect_status(0);
            assert!(done.text().contains("3000000"), "{}", done.text());
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        let other = frontend(&shared).await;
        let links = other.call::<LinkListAll>(&Default::default()).await.links;
        assert_eq!((links.len(), links.iter().filter(|link| link.own).count()), (2, 1));
        let refused = other.try_call::<CoreShutdown>(&ShutdownParams::default()).await;
        assert_eq!(refused.unwrap_err().kind(), "handle.notOwner");
        other.call::<JobCancel>(&JobHandle { job: run, ..JobHandle::default() }).await;
        other.close().await;
        hanging.close().await;
    });
}

/// Also on a connection that others share, and on their way through a hop.
#[test]
fn a_reader_that_stops_slows_nobody_on_its_connection() {
    with_shared(|shared| async move {
        let flood = format!("127.0.0.1:{}", net::serve(net::flood));
        let direct = ["127.0.0.1", "echo hi"].as_slice();
        for (loud, quiet) in [
            (["127.0.0.1", "cat /dev/zero"].as_slice(), direct),
            (&["-tt", "127.0.0.1", "cat /dev/zero"], direct),
            (&["-W", &flood, "127.0.0.1"], direct),
            (
                &["-J", "127.0.0.4", "127.0.0.1", "cat /dev/zero"],
                &["-J", "127.0.0.4", "127.0.0.2", "echo hi"],
            ),
        ] {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let mut command = shared.lab.command(loud);
            command.stdin(std::process::Stdio::piped()).stdout(writer);
            let run = Run::start_as(command);
            // It speaks, and is not read any more.
            reader.read_exact(&mut vec![0; 1 << 20]).unwrap();
            for _ in 0..3 {
                let done = Run::start(shared.lab.command(quiet)).finish(Duration::from_secs(60));
                assert_eq!(done.expect_status(0).text(), "hi\n", "{loud:?}");
            }
            drop((reader, run));
        }
    });
}

#[test]
fn what_is_no_run_has_an_end_in_the_journal_too() {
    with_shared(|shared| async move {
        let one = frontend(&shared).await;
        let pty = terminal(&one, "exit 3").await.pty;
        one.event::<PtyExitedEvent>(|e| e.pty == pty).await;
        let forward = async |kind, spec: &str| {
            let (targets, spec) = (one.targets("127.0.0.1"), spec.to_owned());
            let params = ForwardParams { targets, kind, spec, ..ForwardParams::default() };
            one.call::<ForwardOpen>(&params).await.forward
        };
        let closed = forward(ForwardKind::Local, "0:db:5432").await;
        let left = forward(ForwardKind::Dynamic, "0").await;
        one.call::<ForwardClose>(&ForwardRef { forward: closed }).await;
        let (targets, name) = (one.targets("127.0.0.1"), Some("s".to_owned()));
        let params = SessionOpenParams { targets, name, ..SessionOpenParams::default() };
        let session = one.call::<SessionOpen>(&params).await.sessions[0].session;
        one.close().await;
        let log = || -> Vec<Value> {
            let text = shared.lab.run(&["log", "--json"]).expect_status(0).text();
            text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
        };
        for (kind, job, about, how) in [
            ("pty", pty, "127.0.0.1: exit 3", "exit 3"),
            ("forward", closed, "127.0.0.1 0:db:5432 at ", "closed"),
            ("forward", left, "127.0.0.1 0 at ", "left"),
            ("session", session, "127.0.0.1 s", "left"),
        ] {
            let of = |event: &str| {
                log().into_iter().find(|line| line["job"] == job && line["event"] == event)
            };
            assert!(until(Duration::from_secs(60), || of("over").is_some()), "{kind}: {:?}", log());
            let (begun, over) = (of(kind).unwrap(), of("over").unwrap());
            for line in [&begun, &over] {
                assert!(line["about"].as_str().unwrap().starts_with(about), "{line}");
                assert_eq!((&line["frontend"], &line["user"]), (&"program".into(), &begun["user"]));
            }
            assert_eq!((&over["kind"], &over["how"]), (&kind.into(), &how.into()), "{over}");
            assert!(over["durationMs"].is_u64() && begun["user"].is_string(), "{over}");
        }
        let people = shared.lab.run(&["log"]).expect_status(0).text();
        assert!(people.contains("how=left"), "{people}");
    });
}

#[test]
fn a_view_of_a_quiet_terminal_goes_with_its_frontend() {
    with_shared(|shared| async move {
        let (one, two) = (frontend(&shared).await, frontend(&shared).await);
        let pty = terminal(&one, "sleep 1007.96").await.pty;
        let attach = PtyAttach { pty, from: PtyFrom::Live, read_only: true, window: None };
        two.call::<PtyAttachView>(&attach).await;
        let views = async || one.call::<PtyListAll>(&Default::default()).await.ptys[0].views;
        assert_eq!(views().await, 2);
        two.close().await;
        let gone = async { while views().await > 1 {} };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("nobody looks any more");
        one.close().await;
    });
}

#[test]
fn a_dialed_connection_that_nobody_reads_slows_nobody_on_its_connection() {
    with_shared(|shared| async move {
        let (one, two) = (frontend(&shared).await, frontend(&shared).await);
        let params = DialParams {
            targets: one.targets("127.0.0.1"),
            host: "127.0.0.1".to_owned(),
            port: net::serve(net::flood),
            source: Source::Stream,
            sink: Sink::Stream,
        };
        let dialed = one.call::<ForwardDial>(&params).await;
        // It speaks, and is not read any more.
        let mut output = one.link.receiver(dialed.output.unwrap(), WINDOW);
        output.next().await.unwrap().unwrap();
        let flood = Instant::now();
        let mut n = 0;
        while n < 20 || flood.elapsed() < Duration::from_secs(2) {
            let action = Action::Command("echo hi".to_owned());
            let (targets, guard) = (two.targets("127.0.0.1"), Some(false));
            let params = ExecParams { targets, action, guard, ..ExecParams::default() };
            let run = two.call::<ExecStart>(&params).await.run;
            two.event::<ExecDoneEvent>(|e| e.run == run && e.summary.ok == 1).await;
            n += 1;
        }
        let reused = |state: &NodeState| matches!(state, NodeState::Connected(c) if c.reused);
        assert!(two.events::<ExecNodeEvent>().iter().any(|e| reused(&e.state)), "it is shared");
        // Given up, it ends.
        let input = one.link.sender(dialed.input.unwrap(), WINDOW);
        input.reset(CallError::new(Kind::CancelledByCaller, "no more"));
        let done = one.event::<DialDoneEvent>(|e| e.forward == dialed.forward).await;
        assert!(done.error.unwrap().message.contains("no more"));
        drop(output);
        one.close().await;
        two.close().await;
    });
}
