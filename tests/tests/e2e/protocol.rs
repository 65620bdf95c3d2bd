//! Programs that speak to the core without our client: a short script that only knows the
//! document, and a peer that sends garbage.

use bssh_fixtures::Home;
use bssh_tests::{Lab, Peer, Run, bssh};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_forty_line_script_runs_a_command_on_two_nodes() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/two_nodes.py");
    let text = std::fs::read_to_string(script).unwrap();
    assert!(text.lines().count() <= 45, "it is meant to be short");
    let lab = Lab::start();
    let mut python = lab.home.command("python3");
    python.arg(script).arg(bssh()).arg(lab.sshd.ssh_config());
    python.args(["127.0.0.[1-2]", "echo $SSH_CONNECTION"]);
    let done = Run::start(python).finish(DEADLINE).expect_status(0);
    let mut nodes: Vec<_> = done.text().lines().map(str::to_owned).collect();
    nodes.retain(|line| !line.is_empty());
    nodes.sort();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
    for (node, line) in ["127.0.0.1", "127.0.0.2"].iter().zip(&nodes) {
        assert!(line.starts_with(node) && line.contains(&format!(" {node} ")), "{line}");
    }
}

#[test]
fn garbage_is_survived_and_the_core_goes_with_its_stdin() {
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocol":{"majors":[1],"level":1},"client":{"name":"t","version":"1","kind":"program"}}}"#;
    let ping = r#"{"jsonrpc":"2.0","id":"after","method":"core/ping","params":{}}"#;
    for garbage in [
        frame(b"{\"a\":]}"),
        frame(b"[]"),
        frame(b"\xff\xfe\x00"),
        frame(b"{}"),
        frame(br#"{"jsonrpc":"2.0","id":99,"method":"no/such","params":{}}"#),
        frame(br#"{"jsonrpc":"2.0","id":98,"method":"exec/start","params":{"nodes":7}}"#),
        frame(br#"{"jsonrpc":"2.0","id":12345,"result":{}}"#),
        frame(b"\xb1\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00abc"),
        frame("[".repeat(100_000).as_bytes()),
    ] {
        let mut run = Run::start(core());
        let case = String::from_utf8_lossy(&garbage[..garbage.len().min(80)]).into_owned();
        assert!(run.write(&frame(hello.as_bytes())), "{case}");
        assert!(run.write(&garbage), "{case}");
        assert!(run.write(&frame(ping.as_bytes())), "{case}");
        run.wait_for("\"after\"", DEADLINE);
        let done = run.finish(DEADLINE).expect_status(0);
        assert!(!done.stderr.contains("panicked"), "{case}: {}", done.stderr);
    }
}

#[test]
fn a_signal_that_there_is_not_is_refused_with_those_that_there_are() {
    let mut peer = Peer::start(&Home::new().unwrap(), &[], &[]);
    let signal = |name: &str| json!({"run": 1, "signal": name});
    let error = peer.try_call("exec/signal", signal("BOGUS")).unwrap_err();
    assert_eq!((&error["code"], &error["data"]["at"]), (&json!(-32602), &json!("params.signal")));
    assert!(error["message"].as_str().unwrap().contains("known are ABRT"), "{error}");
    let error = peer.try_call("exec/signal", signal("TERM")).unwrap_err();
    assert_eq!(error["data"]["kind"], "handle.unknown", "{error}");
}

#[test]
fn what_is_no_protocol_at_all_ends_without_a_panic() {
    for noise in
        [&b""[..], b"\n\n\n", b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"{\"a\":", b"{}\n{\n"]
    {
        let mut run = Run::start(core());
        run.write(noise);
        let done = run.finish(DEADLINE);
        assert!(done.status.is_some_and(|s| s < 100), "{noise:?}: {:?}", done.status);
        assert!(!done.stderr.contains("panicked"), "{noise:?}: {}", done.stderr);
    }
}

fn core() -> Command {
    let home = Home::new().unwrap();
    let mut command = home.command(bssh());
    command.args(["core", "--stdio"]).current_dir("/");
    command
}

fn frame(body: &[u8]) -> Vec<u8> {
    [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}
