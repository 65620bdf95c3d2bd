//! Sessions over ways that are long, or that end just when a command has.

use crate::session::{Shell, command, with_core};
use bssh_fixtures::{delayed, processes};
use bssh_protocol::exec::Exit;
use bssh_protocol::session::{SessionExecParams, SessionOpenParams, StateUse};
use bssh_protocol::stream::WINDOW;
use bssh_tests::{Lab, until};
use std::time::Duration;

const NODE: &str = "127.0.0.1";
const SOON: Duration = Duration::from_secs(20);

/// More than the window holds: when the command has ended, its last output waits on the node until
/// that hears what was read, longer than the silence of somebody who holds the output open.
#[test]
fn what_is_held_up_at_the_end_of_a_command_is_waited_for() {
    let lab = Lab::start();
    let node = std::net::SocketAddr::from(([127, 0, 0, 1], lab.sshd.port()));
    let port = delayed(node, Duration::from_millis(250)).unwrap();
    with_core(&lab, |driver| async move {
        let mut targets = driver.targets(NODE);
        targets.settings.options.push(format!("Port={port}"));
        let (shell, _) =
            Shell::open(&driver, SessionOpenParams { targets, ..Default::default() }).await;
        let ran = shell.run("head -c 2130000 /dev/zero").await;
        assert_eq!((ran.end().as_str(), ran.out.len()), ("status 0", 2_130_000));
        assert!(!ran.done.detached_output);
        // Somebody who only holds it is not waited for, however long the way is.
        let ran = shell.run("sleep 1000.69 & echo here").await;
        assert_eq!((ran.end().as_str(), ran.text()), ("status 0", "here\n"));
        assert!(ran.done.detached_output);
        for left in processes::all().iter().filter(|p| p.command == "sleep 1000.69") {
            processes::kill(left.pid);
        }
        driver.close().await;
    });
}

/// The state comes after the exit. A command whose state is lost has failed: the next one would
/// otherwise run in another directory than its user believes.
#[test]
fn a_command_whose_state_is_lost_after_its_exit_has_failed() {
    let lab = Lab::start();
    let sshd = &lab.sshd;
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, NODE).await;
        shell.check("cd /usr", "status 0", "").await;
        // The helper hands nothing over any more.
        let text = "cd /var; read -r n < \"$__d/owner\"; kill -STOP $n; echo $n; : 1000.70";
        let first = shell.start(command(text)).await;
        let mut out = driver.link.receiver(first.started.stdout, WINDOW);
        let helper = driver.until(&mut out, "\n").await;
        assert!(until(SOON, || processes::with_text(": 1000.70").is_empty()));
        // What another one says comes behind the exit of the first.
        let reader = SessionExecParams { state: StateUse::Read, ..command("pwd") };
        let second = shell.start(reader).await;
        let mut out = driver.link.receiver(second.started.stdout, WINDOW);
        assert_eq!(driver.until(&mut out, "\n").await, "/usr\n");
        sshd.cut();
        let failure = first.done().await.failure.unwrap();
        processes::kill(helper.trim().parse().unwrap());
        assert_eq!(failure.code, "transportLost");
        let hint = failure.hint.unwrap();
        assert!(hint.contains("exited with status 0, but the session is as it was"), "{hint}");
        assert_eq!(second.done().await.exit, Some(Exit::Status(0)), "it was to leave nothing");
        shell.check("pwd", "status 0", "/usr\n").await;
        driver.close().await;
    });
}
