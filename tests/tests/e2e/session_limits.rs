//! What sessions are limited to: output that is kept for a slow reader, connections to a node and
//! commands on each of them.

use crate::session::{Shell, command, with_core};
use bssh_fixtures::processes;
use bssh_protocol::exec::Exit;
use bssh_protocol::methods::SessionSignalExec;
use bssh_protocol::session::{SessionExecParams, SessionOpenParams, SessionSignal, StateUse};
use bssh_protocol::stream::WINDOW;
use bssh_tests::{Lab, until};
use std::time::Duration;

const NODE: &str = "127.0.0.1";
const SOON: Duration = Duration::from_secs(20);

/// What is kept for a slow reader has an end; whoever shares the connection notices nothing.
#[test]
fn a_command_that_says_too_much_is_ended_and_holds_up_nobody() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, NODE).await;
        let noisy = || processes::all().iter().any(|p| p.command == "yes 1000.67");
        let begin = |text: &str, max_output| {
            let state = StateUse::Read;
            let kill_grace_ms = Some(500);
            shell.start(SessionExecParams { state, max_output, kill_grace_ms, ..command(text) })
        };
        // Nobody reads it, and it does not heed TERM.
        let running = begin("trap '' TERM; yes 1000.67", None).await;
        assert!(until(SOON, noisy));
        shell.check("echo beside", "status 0", "beside\n").await;
        assert!(until(Duration::from_secs(120), || !noisy()), "it is ended without being read");
        shell.check("echo beside", "status 0", "beside\n").await;
        let mut out = driver.link.receiver(running.started.stdout, WINDOW);
        let (mut n, mut whole) = (0, true);
        while let Some(Ok(bytes)) = out.next().await {
            let at = n % 8;
            whole &= bytes.iter().zip(b"1000.67\n".iter().cycle().skip(at)).all(|(a, b)| a == b);
            n += bytes.len();
        }
        assert!(whole && (256 << 20..260 << 20).contains(&n), "{n} bytes, in order: {whole}");
        let done = running.done().await;
        let failure = done.failure.unwrap();
        assert_eq!((failure.code.as_str(), done.exit), ("outputOverflow", None));
        assert!(failure.hint.unwrap().contains("--max-output"));
        assert_eq!(done.stdout_bytes, n as u64);
        // Where only a part is wanted, nothing has to be kept for anybody.
        let running = begin("yes | head -c 300000000", Some(1000)).await;
        let done = running.done().await;
        assert_eq!((done.exit, done.stdout_bytes), (Some(Exit::Status(0)), 300_000_000));
        assert_eq!(done.stdout_file.unwrap().bytes, 300_000_000);
        assert_eq!(driver.rest(running.started.stdout, WINDOW).await.len(), 1000);
        driver.close().await;
    });
}

/// `defaults.pool` of the configuration.
#[test]
fn connections_and_commands_on_each_are_as_many_as_the_configuration_says() {
    let lab = Lab::start();
    let config = |name: &str, pool: &str| {
        let text = format!("defaults: {{ pool: {{ {pool} }} }}\n");
        Some(lab.home.write(name, text).unwrap().display().to_string())
    };
    let patient = config("patient.yaml", "max_connections: 1, sessions_per_connection: 2");
    let two = config("two.yaml", "max_connections: 2, sessions_per_connection: 2, wait: 10ms");
    let turn = lab.sshd.file("turn").display().to_string();
    with_core(&lab, |driver| async move {
        let open = |node: &str, config: &Option<String>| {
            let mut targets = driver.targets(node);
            targets.settings.config.clone_from(config);
            Shell::open(&driver, SessionOpenParams { targets, ..Default::default() })
        };
        let read = |text: &str| SessionExecParams { state: StateUse::Read, ..command(text) };
        // The session's helper has one place, so that its commands take turns in the other one.
        let (shell, _) = open(NODE, &patient).await;
        let text = format!("echo ${{SSH_CONNECTION}}; mkdir {turn} && sleep 0.2 && rmdir {turn}");
        let mut running = Vec::new();
        for _ in 0..4 {
            running.push(shell.start(read(&text)).await);
        }
        let mut connections = std::collections::BTreeSet::new();
        for one in &running {
            let ran = one.end().await;
            assert_eq!(ran.end(), "status 0", "{ran:?}");
            connections.insert(ran.text().to_owned());
        }
        assert_eq!(connections.len(), 1, "{connections:?}");
        // One beside the helper, two on a second connection, and no room for a fourth.
        let (shell, _) = open("127.0.0.2", &two).await;
        let mut running = Vec::new();
        for n in 0..3 {
            let one = shell.start(read(&format!("echo $SSH_CONNECTION; sleep 1000.7{n}"))).await;
            let mut out = driver.link.receiver(one.started.stdout, WINDOW);
            connections.insert(driver.until(&mut out, "\n").await);
            running.push(one);
        }
        assert_eq!(connections.len(), 3, "{connections:?}");
        // A signal between a shell's fork and the exec of its command is lost to the command.
        let sleeps = |n| {
            let mut all = processes::with_text(&format!("1000.7{n}")).into_iter();
            all.any(|process| process.command.starts_with("sleep "))
        };
        assert!(until(SOON, || (0..3).all(sleeps)), "a command has not begun");
        let done = shell.exec(read("echo no room")).await.done;
        let failure = done.failure.unwrap();
        assert_eq!(failure.code, "tooManySessions", "{failure:?}");
        assert!(failure.hint.unwrap().contains("defaults.pool"));
        let all = SessionSignal { session: shell.id, exec: None, signal: "TERM".to_owned() };
        driver.call::<SessionSignalExec>(&all).await;
        for one in &running {
            assert!(one.done().await.interrupted);
        }
        shell.check("echo room", "status 0", "room\n").await;
        driver.close().await;
    });
}
