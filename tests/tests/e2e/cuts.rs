//! Links that are cut without a word, as when a laptop leaves a network: how soon that is noticed,
//! and what comes back. The core runs in a network namespace, the daemon outside.

use bssh_fixtures::processes;
use bssh_tests::net::{connect, echoes, free_port};
use bssh_tests::{Agent, Lab, Netns, Peer, Run, bssh, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

struct Far {
    lab: Lab,
    netns: Netns,
    peer: Peer,
}

impl Far {
    /// A core behind a cable to its node; keepalive every second, three in a row.
    fn new() -> Far {
        let (lab, netns) = (Lab::start(), Netns::start());
        let program = bssh().display().to_string();
        let peer = Peer::start_as(netns.command(&lab.home, &program), &[]);
        Far { lab, netns, peer }
    }

    fn targets(&self, more: &Value) -> Value {
        let mut params = json!({"nodes": self.netns.outside(), "settings": {
            "sshConfig": self.lab.sshd.ssh_config(),
            "options": ["ServerAliveInterval=1", "ServerAliveCountMax=2", "ConnectTimeout=2"]}});
        for (key, value) in more.as_object().unwrap() {
            params[key] = value.clone();
        }
        params
    }
}

/// (count + 1) × interval, and a second for the machine.
fn in_time(begun: Instant) -> bool {
    (Duration::from_secs(2)..Duration::from_millis(4500)).contains(&begun.elapsed())
}

#[test]
fn a_cut_run_fails_in_time_and_a_cut_node_cannot_be_dialed() {
    let mut far = Far::new();
    let mark = far.lab.home.path().join("mark");
    let command = format!("touch {}; sleep 600", mark.display());
    let params = far.targets(&json!({"action": {"command": command}}));
    let run = far.peer.call("exec/start", params)["run"].clone();
    assert!(until(SOON, || mark.exists()));
    far.netns.cut();
    let begun = Instant::now();
    let ended = far.peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
    assert_eq!(ended["params"]["failure"]["code"], "transportLost", "{ended}");
    assert!(in_time(begun), "after {:?}", begun.elapsed());
    let begun = Instant::now();
    let params = far.targets(&json!({"action": {"command": "true"}, "retries": 0,
        "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"}}));
    let run = far.peer.call("exec/start", params)["run"].clone();
    let ended = far.peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
    let failure = &ended["params"]["failure"];
    assert_eq!((&failure["phase"], &failure["code"]), (&"dial".into(), &"timeout".into()));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    // Nobody tells the node; what ran there ends with the connection the daemon still sees.
    far.lab.sshd.kill_sessions();
}

#[test]
fn a_cut_forward_comes_back_with_its_cable() {
    let mut far = Far::new();
    let remote = free_port();
    // The namespace is empty: any port is free there.
    let inside = 7007;
    // What the node listens on leads into the namespace: an echo there.
    let mut echo = far.netns.command(&far.lab.home, "python3");
    let code = format!(
        "import socket, threading\ns = socket.create_server(('127.0.0.1', {inside}))\n\
         def serve(c):\n    while True:\n        b = c.recv(4096)\n        if not b: break\n        c.sendall(b)\n    c.shutdown(1)\n\
         while True:\n    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()"
    );
    let _echo = Run::start({
        echo.args(["-c", &code]);
        echo
    });
    let spec = format!("{remote}:127.0.0.1:{inside}");
    let open = far.targets(&json!({"kind": "remote", "spec": spec, "keep": true, "watch": true}));
    far.peer.call("forward/open", open);
    assert!(until(SOON, || echoes(connect(remote), b"before").is_ok()));
    far.netns.cut();
    let begun = Instant::now();
    far.peer.wait_for("event/forward", |p| p["state"] == "reconnecting");
    assert!(in_time(begun), "after {:?}", begun.elapsed());
    far.netns.mend();
    // The daemon has to let go of the port first: it has not heard of the cut.
    far.lab.sshd.kill_sessions();
    far.peer.wait_for("event/forward", |p| p["state"] == "open");
    assert!(until(SOON, || echoes(connect(remote), b"after").is_ok()));
}

/// T3-7: black hole. The session is lost in time, is back with its cable, and has its state and
/// the agent.
#[test]
fn a_session_behind_a_black_hole_is_back_with_state_and_agent() {
    let mut far = Far::new();
    let agent = Agent::start(&far.lab.home, "agent");
    agent.add(&far.lab.home, &["-q", &far.lab.sshd.user_key().display().to_string()]);
    let params = far.targets(&json!({"forwardAgent": true, "agent": {"socket": agent.path()}}));
    let id = far.peer.call("session/open", params)["sessions"][0]["session"].clone();
    far.peer.wait_for("session/state", |p| p["state"] == "ready");
    let run = |far: &mut Far, command: &str| {
        let params = json!({"session": id, "command": command,
            "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"}});
        let exec = far.peer.call("session/exec", params)["exec"].clone();
        let done = far.peer.wait_for("session/execDone", |p| p["exec"] == exec);
        done["params"]["exit"]["status"].clone()
    };
    assert_eq!(run(&mut far, "export MINE=kept; cd /usr; ssh-add -l"), 0);
    far.netns.cut();
    let begun = Instant::now();
    far.peer.wait_for("session/state", |p| p["state"] == "lost");
    assert!(in_time(begun), "after {:?}", begun.elapsed());
    far.netns.mend();
    far.peer.wait_for("session/state", |p| p["state"] == "ready");
    assert_eq!(run(&mut far, "[ \"$MINE$PWD\" = kept/usr ] && ssh-add -l"), 0);
    let status = far.peer.call("agent/status", json!({}));
    assert_eq!(status["rejected"], 0, "{status}");
}

/// T2-4: black hole. Twenty commands under way are given up in time, with what is known of them;
/// the node, which hears nothing of it, ends what has a time limit by itself.
#[test]
fn commands_behind_a_black_hole_are_given_up_and_end_by_their_own_limit() {
    let mut far = Far::new();
    let open = far.targets(&json!({}));
    let id = far.peer.call("session/open", open)["sessions"][0]["session"].clone();
    far.peer.wait_for("session/state", |p| p["state"] == "ready");
    let dir = far.lab.sshd.file("begun");
    std::fs::create_dir(&dir).unwrap();
    let mut execs = Vec::new();
    for n in 0..20 {
        let fate = if n % 2 == 0 { "keep" } else { "kill" };
        // The one with a limit is kept, so that nobody else ends it.
        let (limit, end) = match n {
            0 => (5000, "sleep 1000.67"),
            _ => (0, "until [ -e go ]; do sleep 0.2; done"),
        };
        let command = format!("cd {}; touch {n}; {end}", dir.display());
        let params = json!({"session": id, "command": command, "state": "read",
            "onDisconnect": fate, "timeoutMs": limit});
        execs.push((n, fate, far.peer.call("session/exec", params)["exec"].clone()));
    }
    let begun = || std::fs::read_dir(&dir).map_or(0, Iterator::count);
    assert!(until(SOON, || begun() == 20), "{} have begun", begun());
    far.netns.cut();
    let cut = Instant::now();
    for (n, fate, exec) in execs {
        let done = far.peer.wait_for("session/execDone", |p| p["exec"] == exec);
        let done = &done["params"];
        if n == 0 && done["timedOut"] == true {
            continue;
        }
        assert_eq!(done["failure"]["code"], "transportLost", "{done}");
        let known = if fate == "keep" { "kept" } else { "unknown" };
        assert_eq!(done["remoteFate"], known, "{done}");
    }
    assert!(cut.elapsed() < SOON, "{:?}", cut.elapsed());
    std::fs::write(dir.join("go"), "").unwrap();
    far.lab.sshd.kill_sessions();
    // Five seconds, and thirty for us to have ended it.
    let left = || processes::with_text("sleep 1000.67").len();
    assert!(until(Duration::from_secs(90), || left() == 0), "{} are left", left());
}

#[test]
fn a_network_that_was_left_is_no_longer_the_local_one() {
    let mut far = Far::new();
    let inside = far.netns.inside();
    let config = format!("Match localnetwork {inside}/24\nPort 11\nHost *\nPort 22\n");
    let config = far.lab.home.write("config", config).unwrap();
    let mut port = || {
        let params = json!({"node": "n", "settings": {"sshConfig": config}});
        let explained = far.peer.call("node/resolve", params);
        let values = explained["values"].as_array().unwrap();
        let port = values.iter().find(|value| value["keyword"] == "port").unwrap();
        port["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(port(), "11");
    far.netns.leave();
    // The core asks for its addresses again after a while.
    assert!(until(SOON, || port() == "22"));
}
