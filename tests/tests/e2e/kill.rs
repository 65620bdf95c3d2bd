//! Nothing survives on the nodes: not a timeout, not a Ctrl-C, not a dead core, not a dead
//! frontend. The command ignores TERM and has a child in the background.

use bssh_fixtures::SshdOptions;
use bssh_fixtures::processes::{self, Process};
use bssh_protocol::Ignored;
use bssh_tests::{Lab, Peer, Run, Shared, until};
use rustix::process::Signal;
use serde_json::json;
use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

const START: Duration = Duration::from_secs(30);
const GONE: Duration = Duration::from_secs(10);

/// A run of the stubborn command on two nodes, and the mark its processes carry.
struct Stubborn {
    lab: Lab,
    mark: &'static str,
}

impl Stubborn {
    fn new(mark: &'static str) -> Stubborn {
        Stubborn { lab: Lab::start(), mark }
    }

    /// Starts it and waits until all of it runs, long enough to be guarded.
    fn start(&self, options: &[&str]) -> Run {
        let mark = self.mark;
        let script = format!("sh -c 'trap \"\" TERM; sleep 1000.{mark} & sleep 1001.{mark}'");
        let mut words = vec!["-H", "127.0.0.[1-2]", "--json"];
        words.extend(options);
        words.push(&script);
        let run = Run::start(self.lab.command(&words));
        assert!(until(START, || self.sleeping().len() == 4), "{:?}", self.sleeping());
        run
    }

    /// What runs on the nodes.
    fn sleeping(&self) -> Vec<Process> {
        let mut found = processes::with_text(self.mark);
        found.retain(|p| p.command.starts_with("sleep "));
        found
    }

    #[track_caller]
    fn assert_gone(&self) {
        assert!(until(GONE, || self.sleeping().is_empty()), "left: {:?}", self.sleeping());
    }
}

/// The helper that ends orphans is started once a command has run for a moment.
fn guarded(run: &Run) {
    let end = std::time::Instant::now() + Duration::from_millis(1500);
    until(Duration::from_secs(2), || std::time::Instant::now() > end);
    assert!(!processes::descendants(run.pid()).is_empty(), "it still runs");
}

#[test]
fn a_timeout_ends_all_of_it_and_confirms_it() {
    let stubborn = Stubborn::new("1010");
    let done = stubborn.start(&["--timeout", "2"]).finish(START).expect_status(5);
    assert!(stubborn.sleeping().is_empty(), "{:?}", stubborn.sleeping());
    for (name, node) in done.endings() {
        assert_eq!(node.cause(), "exec/timeout", "{name}");
        assert_eq!(node.event["killed"], "confirmed", "{name}: {}", node.event);
    }
}

#[test]
fn a_command_with_an_environment_of_its_own_is_ended_like_any_other() {
    let stubborn = Stubborn::new("5050");
    let words = ["-H", "127.0.0.1", "--json", "--timeout", "1", "exec env -i sleep 1000.5050"];
    let done = stubborn.lab.run(&words).expect_status(5);
    assert!(stubborn.sleeping().is_empty(), "{:?}", stubborn.sleeping());
    assert_eq!(done.endings()["127.0.0.1"].event["killed"], "confirmed", "{}", done.text());
}

#[test]
fn a_command_whose_output_nobody_takes_any_more_is_ended() {
    let stubborn = Stubborn::new("6060");
    let mut peer = Peer::start(&stubborn.lab.home, &[], &[]);
    let params = json!({"nodes": "127.0.0.1", "action": {"command": "echo there; sleep 1000.6060"},
        "settings": {"sshConfig": stubborn.lab.sshd.ssh_config()},
        "stdout": {"file": "/dev/full"}, "stderr": {"file": "/dev/null"}});
    let run = peer.call("exec/start", params)["run"].clone();
    let ended = peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
    assert_eq!(ended["params"]["failure"]["code"], "sinkGone", "{ended}");
    assert_eq!(ended["params"]["killed"], "confirmed", "{ended}");
    assert!(stubborn.sleeping().is_empty(), "{:?}", stubborn.sleeping());
}

/// The helper's words come over the connection that nobody reads on for the sink's sake.
#[test]
fn a_timeout_ends_a_command_whose_output_nobody_reads() {
    let lab = Lab::start();
    let flood = "trap '' TERM PIPE; while :; do echo 1016.1016 2>/dev/null; done";
    let mut command = lab.command(&["-H", "127.0.0.1", "--timeout", "2", "--json", flood]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut run = command.spawn().unwrap();
    // On the node, not in our own words.
    let flooding =
        || processes::with_text("echo 1016.1016").iter().any(|p| !p.command.contains("--timeout"));
    assert!(until(START, flooding), "it has begun");
    assert!(until(GONE, || !flooding()), "it goes on, though its time is over");
    let mut text = String::new();
    run.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let ended = text.lines().find(|line| line.contains("\"state\":\"ended\"")).unwrap_or_default();
    assert!(ended.contains("\"killed\":\"confirmed\""), "{ended}");
    assert_eq!(run.wait().unwrap().code(), Some(5));
}

#[test]
fn ctrl_c_once_tells_and_twice_ends() {
    let stubborn = Stubborn::new("2020");
    let mut run = stubborn.start(&[]);
    run.signal(Signal::INT);
    run.wait_for("Ctrl-C", START);
    assert_eq!(stubborn.sleeping().len(), 4, "the first Ctrl-C ends nothing");
    run.signal(Signal::INT);
    let done = run.finish(START).expect_status(130);
    assert!(stubborn.sleeping().is_empty(), "{:?}", stubborn.sleeping());
    for (name, node) in done.endings() {
        assert_eq!(node.cause(), "exec/cancelled", "{name}");
        assert_eq!(node.event["killed"], "confirmed", "{name}: {}", node.event);
    }
}

/// By nohup, or by a script that has put it into the background.
#[test]
fn a_signal_it_was_started_to_ignore_ends_nothing() {
    let stubborn = Stubborn::new("7070");
    for words in [
        &["-H", "127.0.0.1", "sleep 2.7070; echo whole"][..],
        &["127.0.0.1", "sleep 2.7070; echo whole"],
    ] {
        let run = Run::start(stubborn.lab.ignoring("INT,HUP", words));
        assert!(until(START, || !stubborn.sleeping().is_empty()));
        // So do the programs it starts, such as a ProxyCommand.
        let core = std::fs::read_to_string(format!("/proc/{}/status", run.core_pid())).unwrap();
        assert!([2, 1].iter().all(|number| Ignored::of(&core).has(*number)), "{core}");
        for signal in [Signal::INT, Signal::HUP, Signal::INT] {
            run.signal(signal);
        }
        let done = run.finish(START).expect_status(0);
        assert!(done.text().contains("whole"), "{}", done.text());
        assert!(!done.stderr.contains("Ctrl-C"), "{}", done.stderr);
    }
}

#[test]
fn a_killed_core_is_reported_and_leaves_nothing() {
    let stubborn = Stubborn::new("3030");
    let run = stubborn.start(&[]);
    guarded(&run);
    assert!(processes::kill(run.core_pid()));
    let done = run.finish(START).expect_status(1);
    assert!(done.stderr.contains("the core was killed (signal 9)"), "{}", done.stderr);
    stubborn.assert_gone();
}

#[test]
fn a_killed_frontend_takes_its_core_and_its_commands_along() {
    let stubborn = Stubborn::new("4040");
    let run = stubborn.start(&[]);
    guarded(&run);
    let core = run.core_pid();
    run.signal(Signal::KILL);
    stubborn.assert_gone();
    let core_runs = || processes::all().iter().any(|p| p.pid == core);
    assert!(until(GONE, || !core_runs()), "the core is still there");
}

/// A lab whose login shell has a startup file that takes so many seconds.
fn slow_shell(seconds: &str) -> Lab {
    let line = format!("ForceCommand sleep {seconds}; exec bash -c \"$SSH_ORIGINAL_COMMAND\"");
    Lab::with(&SshdOptions { extra: vec![line], ..SshdOptions::default() })
}

#[test]
fn a_helper_that_comes_late_spares_the_next_command_of_its_connection() {
    let shared = Shared::new(slow_shell("0.3"));
    for _ in 0..3 {
        for command in ["true", "sleep 1; echo whole"] {
            let words = ["-H", "127.0.0.1", "--persist", "1m", command];
            shared.lab.run(&words).expect_status(0);
        }
    }
    assert!(shared.logins() < 6, "connections are kept");
}

#[test]
fn where_the_helper_takes_too_long_a_command_runs_to_its_end_and_can_be_ended() {
    let lab = slow_shell("6");
    let own = ["-H", "127.0.0.1", "--persist", "no"];
    let done = lab.run(&[&own[..], &["sleep 2; echo whole"]].concat()).expect_status(0);
    assert!(done.text().contains("whole"), "{}", done.text());
    let endless = ["--json", "--timeout", "1", "sleep 1000.8080"];
    let done = lab.run(&[&own[..], &endless].concat()).expect_status(5);
    assert_eq!(done.endings()["127.0.0.1"].event["killed"], "confirmed", "{}", done.text());
    assert!(processes::with_text("sleep 1000.8080").is_empty());
}
