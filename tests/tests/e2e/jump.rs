//! Nodes behind a jump host: one connection to it carries them all.

use bssh_fixtures::{Behaviour, EmbeddedNodes, Home};
use bssh_tests::{Lab, Run, bssh};
use std::time::Duration;

#[test]
fn two_nodes_share_one_connection_to_the_jump_host() {
    let nodes = EmbeddedNodes::start(3).unwrap();
    let words = ["-H", "demo[2-3]", "-J", "demo1", "--json", "echo $NODE; echo $SSH_CONNECTION"];
    let done = Lab::on_nodes(&nodes, &words).expect_status(0);
    for (name, node) in done.endings() {
        assert!(node.stdout.starts_with(name.as_bytes()), "{name}: {node:?}");
    }
    assert_eq!(nodes.connections(), [1, 1, 1]);
}

#[test]
fn a_failure_names_the_hop() {
    let denied = Behaviour { deny_auth: true, ..Behaviour::default() };
    let nodes = EmbeddedNodes::with(vec![denied, Behaviour::default()]).unwrap();
    let done = Lab::on_nodes(&nodes, &["-H", "demo2", "-J", "demo1", "--json", "true"]);
    let node = &done.endings()["demo2"];
    assert_eq!(node.cause(), "auth/authFailed", "{}", done.text());
    assert_eq!(node.event["failure"]["hop"], "demo1");
    assert_eq!(nodes.connections()[1], 0);
}

/// stdout is not read until the quiet node is done; what the loud one sends must wait somewhere
/// that holds up nobody.
#[test]
fn a_node_that_is_not_read_holds_up_no_other_behind_its_jump_host() {
    let nodes = EmbeddedNodes::start(3).unwrap();
    let home = Home::new().unwrap();
    nodes.write_client_files(home.path()).unwrap();
    let done = home.path().join("quiet-is-done");
    let script = format!(
        "[ $NODE = demo3 ] || exec head -c 50000000 /dev/zero; sleep 1; touch {}",
        done.display()
    );
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = home.command(bssh());
    command.arg("-F").arg(home.path().join("ssh_config"));
    command.args(["-H", "demo[2-3]", "-J", "demo1", "-N", &script]).stdout(writer);
    let run = Run::start_as(command);
    assert!(bssh_tests::until(Duration::from_secs(30), || done.exists()), "demo3 is held up");
    let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    run.finish(Duration::from_secs(60)).expect_status(0);
    assert!(drain.join().unwrap().unwrap() >= 50_000_000, "nothing is lost");
}
