//! Streams that their frontend gives up: what reads them is ended, and does not take the part for
//! the whole.

use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Action, ExecParams, NodeState};
use bssh_protocol::link::StreamSender;
use bssh_protocol::methods::{
    ExecNodeEvent, ExecStart, PtyInputOwnerEvent, PtyOpen, PtyTakeInput, SessionExec,
    SessionExecDoneEvent, SessionOpen,
};
use bssh_protocol::pty::{PTY_WINDOW, PtyOpenParams, PtyView};
use bssh_protocol::session::{SessionExecParams, SessionOpenParams};
use bssh_protocol::stream::{Source, StreamId, WINDOW};
use bssh_tests::{Driver, Lab, Run, Shared};
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A lab and a core.
fn with_core(test: impl AsyncFnOnce(&Lab, Driver)) {
    let lab = Lab::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = Driver::start(&lab.home, &lab.sshd.ssh_config()).await;
        test(&lab, driver).await;
    });
}

/// Sends a part of a stream, and gives up the rest.
async fn give_up(driver: &Driver, stream: Option<StreamId>) {
    let mut stdin: StreamSender = driver.link.sender(stream.unwrap(), WINDOW);
    stdin.write("a part\n".into()).await.unwrap();
    stdin.reset(CallError::new(Kind::CancelledByCaller, "the disk is gone"));
}

#[test]
fn a_command_whose_stdin_is_given_up_never_sees_its_end() {
    with_core(async |lab, driver| {
        for (n, (nodes, guard)) in
            [("127.0.0.1", true), ("127.0.0.1", false), ("127.0.0.[1-2]", true)]
                .into_iter()
                .enumerate()
        {
            let mark = lab.home.path().join(format!("mark{n}"));
            let command = format!("cat; touch {}", mark.display());
            let params = ExecParams {
                targets: driver.targets(nodes),
                action: Action::Command(command),
                stdin: Source::Stream,
                guard: Some(guard),
                ..ExecParams::default()
            };
            let started = driver.call::<ExecStart>(&params).await;
            give_up(&driver, started.stdin).await;
            let ended = driver
                .event::<ExecNodeEvent>(|e| {
                    e.run == started.run && matches!(e.state, NodeState::Ended(_))
                })
                .await;
            let NodeState::Ended(ended) = ended.state else { panic!("it ended") };
            let failure = ended.failure.expect("a failure");
            assert_eq!(failure.code, "stdinReset", "{nodes} {guard}: {failure:?}");
            assert!(failure.message.ends_with("the disk is gone"), "{failure:?}");
            // Without a guard that is the server's to see to.
            assert!(!guard || !mark.exists(), "{nodes}: it took the part for the whole");
        }
        driver.close().await;
    });
}

#[test]
fn a_command_of_a_session_is_ended_too_and_the_session_goes_on() {
    with_core(async |lab, driver| {
        let targets = driver.targets("127.0.0.1");
        let params = SessionOpenParams { targets, ..SessionOpenParams::default() };
        let session = driver.call::<SessionOpen>(&params).await.sessions[0].session;
        let mark = lab.home.path().join("mark");
        let run = async |command: String, stdin: Source| {
            let params = SessionExecParams { session, command, stdin, ..Default::default() };
            driver.call::<SessionExec>(&params).await
        };
        let started = run(format!("cat; touch {}", mark.display()), Source::Stream).await;
        give_up(&driver, started.stdin).await;
        let done = driver.event::<SessionExecDoneEvent>(|e| e.exec == started.exec).await;
        assert_eq!(done.failure.expect("a failure").code, "stdinReset");
        assert!(!mark.exists(), "it took the part for the whole");
        let next = run("true".to_owned(), Source::Null).await.exec;
        let done = driver.event::<SessionExecDoneEvent>(|e| e.exec == next).await;
        assert!(done.failure.is_none(), "{done:?}");
        driver.close().await;
    });
}

#[test]
fn a_terminal_whose_input_is_given_up_stays_and_can_be_typed_at_again() {
    with_core(async |_, driver| {
        let params = PtyOpenParams {
            targets: driver.targets("127.0.0.1"),
            command: Some("PS1='$ ' exec sh".to_owned()),
            term: "vt100".to_owned(),
            cols: 80,
            rows: 24,
            ..PtyOpenParams::default()
        };
        let pty = driver.call::<PtyOpen>(&params).await;
        let mut out = driver.link.receiver(pty.output, PTY_WINDOW);
        driver.until(&mut out, "$ ").await;
        let input = driver.link.sender(pty.input, WINDOW);
        input.reset(CallError::new(Kind::CancelledByCaller, "no more"));
        driver.event::<PtyInputOwnerEvent>(|e| e.pty == pty.pty && e.output.is_none()).await;
        let view = PtyView { pty: pty.pty, output: pty.output };
        let input = driver.call::<PtyTakeInput>(&view).await.input;
        let mut keys = driver.link.sender(input, WINDOW);
        keys.write("echo ag''ain\r".into()).await.unwrap();
        driver.until(&mut out, "again").await;
        drop((keys, out));
        driver.close().await;
    });
}

/// The memory of a process is a file whose first page cannot be read, as is one of a disk that
/// fails. Commands that would take the part for the whole are ended, and say why.
#[test]
fn a_stdin_that_cannot_be_read_to_its_end_ends_the_command() {
    let shared = Shared::new(Lab::start());
    let whole = shared.lab.home.path().join("whole");
    let command = format!("cat && touch {}", whole.display());
    for (words, status) in [
        (&["127.0.0.1"][..], 255),
        (&["-H", "127.0.0.1", "--"], 10),
        (&["-H", "127.0.0.[1-2]", "--"], 10),
        (&["run", "-S", "dev", "127.0.0.1", "--"], 255),
    ] {
        let mut run = shared.lab.command(&[words, &[&command]].concat());
        run.stdin(File::open(format!("/proc/{}/mem", std::process::id())).unwrap());
        run.stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = Run::start_as(run).finish(SOON).expect_status(status);
        assert!(done.stderr.contains("Input/output error"), "{words:?}: {}", done.stderr);
        // In ssh's grammar that is the server's to see to.
        let is_ssh = words == ["127.0.0.1"];
        assert!(std::fs::remove_file(&whole).is_err() || is_ssh, "{words:?}: a part is the whole");
    }
    // A directory has no bytes, as with ssh.
    let mut run = shared.lab.command(&["127.0.0.1", &command]);
    run.stdin(File::open("/").unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Run::start_as(run).finish(SOON).expect_status(0);
    assert!(whole.exists());
}
