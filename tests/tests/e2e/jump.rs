//! Nodes behind a jump host: one connection to it carries them all.

use crate::session::with_core;
use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, processes};
use bssh_protocol::exec::{Action, Ended, ExecNode, ExecParams, Exit, Killed, NodeState};
use bssh_protocol::methods::{ExecNodeEvent, ExecStart};
use bssh_protocol::stream::{StreamId, WINDOW};
use bssh_tests::{Driver, Lab, Peer, Run, bssh, until};
use serde_json::json;
use std::io::Read;
use std::time::{Duration, Instant};

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

/// The reason by the RFC's name, and the server's own words where they say more.
#[test]
fn a_jump_host_that_opens_no_channel_says_why() {
    for (code, words, said) in [
        (1, "open failed", "administratively prohibited"),
        (1, "Administratively prohibited", "administratively prohibited"),
        (1, "\x1b[31mnot\r\nto demo2", "administratively prohibited: [31mnotto demo2"),
        (2, "Network is unreachable", "the server could not connect: Network is unreachable"),
        (4, "", "resource shortage"),
        (42, "full moon", "reason 42: full moon"),
    ] {
        let refuse_channels = Some((code, words.to_owned()));
        let picky = Behaviour { refuse_channels, ..Behaviour::default() };
        let nodes = EmbeddedNodes::with(vec![picky, Behaviour::default()]).unwrap();
        let done = Lab::on_nodes(&nodes, &["-H", "demo2", "-J", "demo1", "--json", "true"]);
        let node = &done.endings()["demo2"];
        assert_eq!(node.cause(), "channel/channelRefused", "{}", done.text());
        assert_eq!(node.event["failure"]["hop"], "demo1");
        let message = node.event["failure"]["message"].as_str().unwrap();
        assert!(message.ends_with(said), "{message:?} {said:?}");
        let hint = node.event["failure"]["hint"].as_str().unwrap_or_default();
        assert_eq!(hint.contains("AllowTcpForwarding"), code == 1, "{hint}");
    }
}

/// The server's own words for a session it does not open, where they are not OpenSSH's usual ones.
#[test]
fn a_node_that_opens_no_session_says_why() {
    for (code, words, said) in [
        (2, "open failed", "no more sessions on this connection"),
        (1, "commands\x1b are for admins", "administratively prohibited: commands are for admins)"),
    ] {
        let refuse_channels = Some((code, words.to_owned()));
        let picky = Behaviour { refuse_channels, ..Behaviour::default() };
        let nodes = EmbeddedNodes::with(vec![picky]).unwrap();
        let done = Lab::on_nodes(&nodes, &["-H", "demo1", "--json", "true"]);
        let node = &done.endings()["demo1"];
        assert_eq!(node.cause(), "channel/tooManySessions", "{}", done.text());
        let message = node.event["failure"]["message"].as_str().unwrap();
        assert!(message.ends_with(said), "{message:?} {said:?}");
    }
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
    assert!(until(Duration::from_secs(30), || done.exists()), "demo3 is held up");
    let drain = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    run.finish(Duration::from_secs(60)).expect_status(0);
    assert!(drain.join().unwrap().unwrap() >= 50_000_000, "nothing is lost");
}

/// What is kept for a slow reader has an end, and the command ends there, though it wants to go
/// on: the others behind the jump host notice nothing, and what was kept is still to be had.
#[test]
fn a_command_that_says_more_than_is_kept_is_ended_and_holds_up_no_other() {
    let lab = Lab::start();
    let go = lab.home.path().join("go");
    let command = format!(
        "case $SSH_CONNECTION in *127.0.0.2*) trap '' TERM PIPE; yes 1000.68; sleep 1000.68;; esac; \
         until [ -e {} ]; do sleep 0.1; done; head -c 3000000 /dev/zero",
        go.display()
    );
    with_core(&lab, |driver| async move {
        let mut targets = driver.targets("127.0.0.[2-3]");
        targets.settings.options.push("ProxyJump=127.0.0.4".to_owned());
        let action = Action::Command(command);
        driver.call::<ExecStart>(&ExecParams { targets, action, ..ExecParams::default() }).await;
        let (loud, quiet) = (stdout(&driver, 0).await, stdout(&driver, 1).await);
        let noise = ["yes 1000.68", "sleep 1000.68"];
        let noisy = || processes::all().iter().any(|p| noise.contains(&p.command.as_str()));
        assert!(until(Duration::from_secs(20), noisy));
        let is_over = until(Duration::from_secs(120), || !noisy());
        assert!(is_over, "it is ended without being read");
        std::fs::write(&go, "").unwrap();
        assert_eq!(driver.rest(quiet, WINDOW).await.len(), 3_000_000, "it is held up");
        assert_eq!(ended(&driver, 1).await.exit, Some(Exit::Status(0)));
        let kept = driver.rest(loud, WINDOW).await;
        let whole = kept.iter().zip(b"1000.68\n".iter().cycle()).all(|(a, b)| a == b);
        assert!(whole && (256 << 20..260 << 20).contains(&kept.len()), "{whole} {}", kept.len());
        let end = ended(&driver, 0).await;
        let failure = end.failure.unwrap();
        assert_eq!((failure.code.as_str(), end.exit), ("outputOverflow", None));
        assert!(failure.hint.unwrap().contains("--output-dir"));
        assert_eq!((end.killed, end.stdout_bytes), (Some(Killed::Confirmed), kept.len() as u64));
        assert!(!noisy());
        driver.close().await;
    });
}

/// What the hop cannot dial is left in time, and what it opens later is closed.
#[test]
fn a_node_behind_a_hop_is_not_waited_for_longer_than_one_dialed_from_here() {
    let slow_tcp = Duration::from_secs(5);
    let nodes = EmbeddedNodes::with(vec![Behaviour { slow_tcp, ..Behaviour::default() }]).unwrap();
    let home = Home::new().unwrap();
    nodes.write_client_files(home.path()).unwrap();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = dead.local_addr().unwrap().port();
    let config = home.path().join("ssh_config");
    let settings = json!({
        "sshConfig": config,
        "options": ["ProxyJump=demo1", "ConnectTimeout=1", format!("Port={port}")],
    });
    let mut peer = Peer::start(&home, &[], &[]);
    // It stays connected to the hop: with the connection everything on it would go.
    let hop = json!({"nodes": "demo1", "settings": {"sshConfig": config}, "action": "hold"});
    peer.call("exec/start", hop);
    peer.wait_for("exec/node", |p| p["state"] == "connected");
    let action = json!({"command": "true"});
    let begun = Instant::now();
    let ended = peer.exec(json!({"nodes": "127.0.0.1", "settings": settings, "action": action}));
    assert!(begun.elapsed() < slow_tcp, "{ended}");
    let failure = &ended["failure"];
    assert_eq!((&failure["code"], &failure["phase"]), (&json!("timeout"), &json!("dial")));
    assert_eq!(failure["hop"], "demo1", "{ended}");
    let (mut late, _) = dead.accept().unwrap();
    late.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(late.read(&mut [0; 1]).unwrap(), 0, "it is closed");
}

#[test]
fn a_hop_that_is_lost_is_named() {
    let cut = Behaviour { drop_after: Some(1_000_000), ..Behaviour::default() };
    let nodes = EmbeddedNodes::with(vec![cut, Behaviour::default()]).unwrap();
    let words = ["-H", "demo2", "-J", "demo1", "--json", "head -c 9000000 /dev/zero"];
    let done = Lab::on_nodes(&nodes, &words);
    let node = &done.endings()["demo2"];
    assert_eq!(node.event["failure"]["code"], "transportLost", "{}", node.event);
    assert_eq!(node.event["failure"]["hop"], "demo1", "{}", node.event);
}

/// The node behind it has only accepted so far: it is not the one that is busy.
#[test]
fn a_hop_that_is_lost_during_the_handshake_behind_it_is_named() {
    let lab = Lab::start();
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port().to_string();
    let config = lab.sshd.ssh_config();
    let mut command = lab.home.command(bssh());
    command.arg("-F").arg(config).args(["-J", "127.0.0.2", "-p", &port, "127.0.0.1", "true"]);
    let run = Run::start(command);
    let behind = mute.accept().unwrap();
    lab.sshd.cut();
    let done = run.finish(Duration::from_secs(30)).expect_status(255);
    let said = &done.stderr;
    assert!(said.contains("127.0.0.1 (at 127.0.0.2): connection lost"), "{said}");
    drop(behind);
}

async fn stdout(driver: &Driver, index: u32) -> StreamId {
    let is_executing =
        |e: &ExecNode| e.index == index && matches!(e.state, NodeState::Executing { .. });
    match driver.event::<ExecNodeEvent>(is_executing).await.state {
        NodeState::Executing { stdout, .. } => stdout.unwrap(),
        _ => unreachable!(),
    }
}

async fn ended(driver: &Driver, index: u32) -> Ended {
    let has_ended = |e: &ExecNode| e.index == index && matches!(e.state, NodeState::Ended(_));
    match driver.event::<ExecNodeEvent>(has_ended).await.state {
        NodeState::Ended(ended) => ended,
        _ => unreachable!(),
    }
}
