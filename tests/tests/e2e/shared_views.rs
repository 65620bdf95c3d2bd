//! Several frontends on one core: a terminal that two look at and one types, which outlives the
//! one that opened it; a frontend that hangs and slows nobody; who may end the core.

use bssh_protocol::exec::{Action, ExecParams};
use bssh_protocol::handshake::{LinkCloseParams, ShutdownParams};
use bssh_protocol::job::JobHandle;
use bssh_protocol::methods::{
    CoreShutdown, ExecStart, JobCancel, LinkClose, LinkListAll, PtyAttachView, PtyExitedEvent,
    PtyInputOwnerEvent, PtyOpen, PtyTakeInput, PtyWriteInput,
};
use bssh_protocol::pty::{PTY_WINDOW, PtyAttach, PtyFrom, PtyOpenParams, PtyView, PtyWrite};
use bssh_protocol::stream::WINDOW;
use bssh_tests::{Driver, Lab, Run, Shared, net};
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

#[test]
fn a_terminal_has_one_who_types_and_outlives_its_frontend() {
    with_shared(|shared| async move {
        let (one, two) = (frontend(&shared).await, frontend(&shared).await);
        let params = PtyOpenParams {
            targets: one.targets("127.0.0.1"),
            command: Some("PS1='$ ' exec sh".to_owned()),
            term: "vt100".to_owned(),
            cols: 80,
            rows: 24,
            ..PtyOpenParams::default()
        };
        let pty = one.call::<PtyOpen>(&params).await;
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
