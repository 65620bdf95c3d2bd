//! The shared core in bad times and with several frontends: killed, asked by strangers of the
//! same user, told secrets.

use bssh_fixtures::{SshdOptions, processes};
use bssh_tests::{Agent, Delay, Lab, Run, Shared, until};
use rustix::process::{Signal, kill_process};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn shared() -> Shared {
    Shared::new(Lab::start())
}

fn sleeping(mark: &str) -> usize {
    let mut found = processes::with_text(mark);
    found.retain(|p| p.command.starts_with("sleep "));
    found.len()
}

#[test]
fn a_killed_core_leaves_nothing_and_the_next_command_works() {
    let shared = shared();
    let persist = ["-H", "127.0.0.1", "--persist", "1m"];
    shared.lab.run(&[&persist[..], &["true"]].concat()).expect_status(0);
    let run = Run::start(shared.lab.command(&["-H", "127.0.0.[1-2]", "sleep 1005.88"]));
    let mut forward =
        Run::start(shared.lab.command(&["-H", "127.0.0.1", "forward", "add", "-D", "0"]));
    forward.wait_for("-D", SOON);
    let pty = Run::start(shared.lab.command(&["-tt", "127.0.0.1", "sleep 1006.88"]));
    assert!(until(SOON, || sleeping("1005.88") == 2 && sleeping("1006.88") == 1));
    // Guards are armed once a command has run for a moment.
    let end = std::time::Instant::now() + Duration::from_millis(1500);
    until(SOON, || std::time::Instant::now() > end);
    assert!(processes::descendants(run.pid()).is_empty(), "no core of its own");
    shared.kill();
    for (what, run, status) in [("run", run, 1), ("forward", forward, 1), ("pty", pty, 255)] {
        let done = run.finish(SOON);
        assert!(done.stderr.contains("core"), "{what}: {}", done.stderr);
        assert_eq!(done.status, Some(status), "{what}");
    }
    assert!(until(SOON, || sleeping("1005.88") + sleeping("1006.88") == 0));
    shared.lab.run(&["-H", "127.0.0.1", "true"]).expect_status(0);
    shared.lab.run(&[&persist[..], &["true"]].concat()).expect_status(0);
}

/// What others may do with a downloaded file is for its user to say, whoever started the core.
#[test]
fn downloads_have_the_umask_of_their_own_terminal() {
    let shared = shared();
    let home = &shared.lab.home;
    std::fs::create_dir(home.path().join("source")).unwrap();
    let file = home.write("source/file", "x").unwrap();
    for (path, mode) in [(file.parent().unwrap(), 0o775), (&*file, 0o664)] {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let under = |umask: &str, words: &[&str]| {
        let mut command = shared.lab.home.command(Path::new("sh"));
        command.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]).arg(bssh_tests::bssh());
        command.arg("-F").arg(shared.lab.sshd.ssh_config()).args(words);
        Run::start(command).finish(SOON).expect_status(0);
    };
    under("022", &["-H", "127.0.0.1", "--persist", "1m", "true"]);
    let from = file.parent().unwrap().display().to_string();
    for (umask, dir, file) in [("077", 0o700, 0o600), ("002", 0o775, 0o664), ("027", 0o750, 0o640)]
    {
        let to = home.path().join(umask);
        under(umask, &["-H", "127.0.0.1", "download", "-r", &from, &to.display().to_string()]);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&to), mode(&to.join("file"))], [dir, file], "{umask}");
    }
}

/// Connections that nobody uses make room for those of other nodes.
#[test]
fn what_is_kept_leaves_descriptors_for_others() {
    let shared = shared();
    let mut core = shared.lab.home.command(Path::new("sh"));
    core.args(["-c", "ulimit -n 150; exec \"$@\"", "sh"]).arg(bssh_tests::bssh());
    core.args(["core", "serve", "--idle", "60", "--linger", "60"]);
    Run::start(core).finish(SOON).expect_status(0);
    let ok = |nodes: &str| {
        let done = shared.lab.run(&["-H", nodes, "-f", "80", "--json", "true"]).expect_status(0);
        assert_eq!(done.summary()["ok"], 80, "{nodes}");
    };
    ok("127.0.1.[1-80]");
    ok("127.0.2.[1-80]");
    let before = shared.logins();
    ok("127.0.2.[1-80]");
    assert_eq!(shared.logins(), before, "their own stay");
}

/// With as many commands left behind as the server allows sessions, the connection that is kept is
/// of no use, and another one is made.
#[test]
fn commands_that_outlive_their_frontends_take_no_room_from_others() {
    let shared = Shared::new(Lab::with(&SshdOptions { max_sessions: 2, ..Default::default() }));
    shared.lab.run(&["-H", "127.0.0.1", "--persist", "1m", "true"]).expect_status(0);
    let file = shared.lab.home.write("file", "x").unwrap().display().to_string();
    let (to, here) = (format!("{file}.copy"), shared.lab.home.path().join("tree"));
    std::fs::create_dir(&here).unwrap();
    let there = format!("127.0.0.1:{}.there", here.display());
    for words in [
        &["127.0.0.1", "echo in"][..],
        &["-tt", "127.0.0.1", "echo in"],
        &["-H", "127.0.0.1", "echo in"],
        &["-H", "127.0.0.1", "upload", &file, &to],
        &["run", "-S", "s", "127.0.0.1", "--", "echo in"],
        &["sync", "run", &here.display().to_string(), &there],
    ] {
        let already = sleeping("1008.88");
        for n in 1..=2 {
            let run = Run::start(shared.lab.command(&["127.0.0.1", "exec sleep 1008.88"]));
            assert!(until(SOON, || sleeping("1008.88") == already + n));
            run.signal(Signal::KILL);
            run.finish(SOON);
        }
        shared.lab.run(words).expect_status(0);
    }
    for process in processes::with_text("1008.88") {
        processes::kill(process.pid);
    }
}

/// `ssh` with the agent of this terminal and no key file.
fn terminal(shared: &Shared, agent: &Agent) -> Command {
    let config = std::fs::read_to_string(shared.lab.sshd.ssh_config()).unwrap();
    let keyless = config.lines().filter(|line| !line.trim_start().starts_with("Identit"));
    let text: String = keyless.map(|line| format!("{line}\n")).collect();
    let file = shared.lab.home.write("keyless", text).unwrap();
    let mut command = shared.lab.home.command(bssh_tests::bssh());
    command.arg("-F").arg(file).args(["-o", "BatchMode=yes", "127.0.0.1", "echo in"]);
    command.env("SSH_AUTH_SOCK", agent.socket());
    command
}

#[test]
fn two_terminals_with_two_agents_do_not_mix() {
    let shared = shared();
    let (mine, other) =
        (Agent::start(&shared.lab.home, "mine"), Agent::start(&shared.lab.home, "other"));
    mine.add(&shared.lab.home, &["-q", &shared.lab.sshd.user_key().display().to_string()]);
    shared.lab.run(&["-H", "127.0.0.1", "--persist", "1m", "true"]).expect_status(0);
    let before = shared.logins();
    for _ in 0..2 {
        let done = Run::start(terminal(&shared, &mine)).finish(SOON).expect_status(0);
        assert_eq!(done.text(), "in\n");
    }
    assert_eq!(shared.logins(), before + 1, "one terminal, one connection");
    let refused = Run::start(terminal(&shared, &other)).finish(SOON).expect_status(255);
    assert!(refused.stderr.contains("denied"), "{}", refused.stderr);
    // Relative paths are the frontend's.
    let desk = shared.lab.home.path().join("desk");
    std::fs::create_dir(&desk).unwrap();
    std::fs::copy(shared.lab.sshd.user_key(), desk.join("key")).unwrap();
    let mut command = shared.lab.command(&["-o", "IdentityAgent=none", "-i", "key"]);
    command.args(["-o", "IdentitiesOnly=yes", "127.0.0.1", "true"]).current_dir(&desk);
    Run::start(command).finish(SOON).expect_status(0);
    std::fs::write(desk.join("file"), "x").unwrap();
    let to = format!("{}/copy", desk.display());
    let mut upload = shared.lab.command(&["-H", "127.0.0.1", "upload", "file", &to]);
    Run::start({
        upload.current_dir(&desk);
        upload
    })
    .finish(SOON)
    .expect_status(0);
    assert_eq!(std::fs::read_to_string(to).unwrap(), "x");
}

#[test]
fn no_secret_is_written_anywhere() {
    const CANARY: &str = "canary-5ecret";
    let shared = shared();
    let log = shared.lab.home.path().join("core.log");
    let mut serve = shared.lab.home.command(bssh_tests::bssh());
    serve.args(["core", "serve", "--log", "debug3", "--log-file"]).arg(&log);
    Run::start(serve).finish(SOON).expect_status(0);
    let mut command = shared.lab.command(&["-vvv", "-o", "PreferredAuthentications=password"]);
    command.args(["-o", "PubkeyAuthentication=no", "127.0.0.1", "true"]);
    command.env("BSSH_PASSWORD", CANARY).env("TOKEN", CANARY);
    let done = Run::start(command).finish(SOON).expect_status(255);
    assert!(done.stderr.contains("debug1: "), "remarks reach the frontend: {}", done.stderr);
    let mut all = done.stderr;
    for words in [&["core", "status", "--json"][..], &["log", "--json"], &["job", "ls", "--json"]] {
        all.push_str(&shared.lab.run(words).expect_status(0).text());
    }
    let state = shared.lab.home.path().join(".local/state/bssh");
    for path in [log, state.join("core.log"), state.join("journal.jsonl")] {
        all.push_str(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")));
    }
    let pid = shared.pid().unwrap().as_raw_nonzero();
    all.push_str(&std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap());
    all.push_str(&std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap());
    assert!(!all.contains(CANARY), "{all}");
}

#[test]
fn the_journal_and_the_numbers_say_what_was_done() {
    let shared = shared();
    let run = |words: &[&str]| {
        shared.lab.run(&[&["-H", "127.0.0.[1-2]", "--persist", "1m"], words].concat())
    };
    run(&["echo hidden-output"]).expect_status(0);
    run(&["exit 3"]).expect_status(5);
    let log = shared.lab.run(&["log", "--json"]).expect_status(0).text();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), 4, "{log}");
    assert_eq!(lines[0]["event"], "begun");
    assert_eq!(lines[0]["command"], "echo hidden-output");
    assert_eq!(lines[0]["nodes"], serde_json::json!(["127.0.0.1", "127.0.0.2"]));
    assert_eq!((&lines[1]["event"], &lines[1]["ok"]), (&"over".into(), &2.into()));
    assert_eq!((&lines[3]["failed"], &lines[3]["job"]), (&2.into(), &lines[2]["job"]));
    assert_eq!(log.matches("hidden-output").count(), 1, "no output");
    let people = shared.lab.run(&["log", "--last", "1"]).expect_status(0).text();
    assert!(people.contains("over") && people.contains("failed=2"), "{people}");
    let status = shared.lab.run(&["--json", "core", "status"]).expect_status(0).text();
    assert_eq!(status.matches("\"links\"").count(), 1, "{status}");
    let metrics = shared.lab.run(&["core", "metrics"]).expect_status(0).text();
    for line in ["bssh_runs_total 2", "bssh_nodes_ok_total 2", "bssh_nodes_failed_total 2"] {
        assert!(metrics.lines().any(|have| have == line), "{line}\n{metrics}");
    }
    assert!(metrics.contains("bssh_connections_reused_total 2"), "{metrics}");
}

#[test]
fn connections_that_died_unnoticed_are_closed_when_the_core_looks() {
    let shared = shared();
    shared.lab.run(&["-H", "127.0.0.[1-2]", "--persist", "5m", "true"]).expect_status(0);
    let status = || shared.lab.run_bare(&["core", "status"]).expect_status(0).text();
    assert!(status().contains("2 idle"), "{}", status());
    let mut old = bssh_tests::OldClient::attach(&shared.socket(), "v1.L1.json");
    let client = serde_json::json!({ "name": "t", "version": "0", "kind": "program" });
    let offer = serde_json::json!({ "majors": [1], "level": 1 });
    old.call("initialize", serde_json::json!({ "protocol": offer, "client": client }));
    assert_eq!(old.call_new("core/probe"), serde_json::json!({ "alive": 2, "closed": 0 }));
    // One of the daemon's children answers no more, as behind a network that is gone.
    let children = processes::descendants(shared.lab.sshd.pid());
    let stopped = children.iter().find(|p| p.parent == shared.lab.sshd.pid()).expect("a session");
    let pid = rustix::process::Pid::from_raw(stopped.pid).expect("a pid");
    for process in processes::descendants(stopped.pid).iter().map(|p| p.pid).chain([stopped.pid]) {
        let pid = rustix::process::Pid::from_raw(process).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("our process");
    }
    assert_eq!(old.call_new("core/probe"), serde_json::json!({ "alive": 1, "closed": 1 }));
    assert!(status().contains("1 idle"), "{}", status());
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
}

#[test]
fn another_core_takes_the_place_of_one_that_finishes_its_work() {
    let shared = shared();
    let persist = ["-H", "127.0.0.1", "--persist", "1m"];
    shared.lab.run(&[&persist[..], &["true"]].concat()).expect_status(0);
    let old = shared.pid().expect("a core");
    let [held, go] = ["held", "go"].map(|name| shared.lab.home.path().join(name));
    let (file, end) = (held.display(), go.display());
    let script = format!("touch {file}; until [ -e {end} ]; do sleep 0.05; done; echo done");
    let run = Run::start(shared.lab.command(&["-H", "127.0.0.1", &script]));
    assert!(until(SOON, || held.exists()));
    let words = ["core", "stop", "--force", "--grace", "2m"];
    let stop = Run::start(shared.lab.command(&words));
    assert!(until(SOON, || !shared.socket().exists()), "the place is free at once");
    shared.lab.run(&[&persist[..], &["true"]].concat()).expect_status(0);
    let new = shared.pid().expect("another core");
    assert_ne!(old, new);
    std::fs::write(&go, "").unwrap();
    assert!(run.finish(SOON).expect_status(0).text().contains("done"));
    stop.finish(SOON).expect_status(0);
    assert!(until(SOON, || rustix::process::test_kill_process(old).is_err()), "the old one ends");
    assert_eq!(shared.pid(), Some(new), "and leaves the place alone");
}

#[test]
fn a_warm_command_takes_one_way_there_and_back() {
    const ONE_WAY: Duration = Duration::from_millis(300);
    let shared = shared();
    let far = Delay::start(shared.lab.sshd.port(), ONE_WAY);
    let port = format!("Port={}", far.port());
    let command = ["-o", &port, "-H", "127.0.0.1", "--persist", "1m", "echo in"];
    let took = || {
        let begun = std::time::Instant::now();
        assert!(shared.lab.run(&command).expect_status(0).text().contains("in"));
        begun.elapsed()
    };
    took();
    let after_a_while = |_| {
        let end = std::time::Instant::now() + 3 * ONE_WAY;
        until(SOON, || std::time::Instant::now() > end);
        took()
    };
    let best = (0..3).map(after_a_while).min().unwrap();
    assert!(best >= 2 * ONE_WAY, "{best:?}: this way is shorter than it should be");
    assert!(best < 4 * ONE_WAY, "{best:?}: more than once there and back");
    assert_eq!(shared.logins(), 1);
}

#[test]
fn a_kept_connection_that_is_lost_as_it_is_given_out_is_made_anew() {
    let shared = shared();
    let way = Delay::start(shared.lab.sshd.port(), Duration::ZERO);
    let port = format!("Port={}", way.port());
    let here = shared.lab.home.write("here", "contents").unwrap().display().to_string();
    let there = shared.lab.home.path().join("there").display().to_string();
    let common = ["-o", &port, "-H", "127.0.0.1", "--persist", "1m"];
    let upload = [&common[..], &["upload", &here, &there]].concat();
    let in_session = [&common[..], &["run", "-S", "s", "--", "cat", &there]].concat();
    shared.lab.run(&upload).expect_status(0);
    for (logins, words) in [(1, &upload), (2, &in_session)] {
        assert_eq!(shared.logins(), logins);
        way.set_trap();
        let done = shared.lab.run(words).expect_status(0);
        assert!(!way.trap_is_set(), "{words:?}: it went another way");
        assert_eq!(shared.logins(), logins + 1, "{words:?}");
        assert!(logins == 1 || done.text().contains("contents"), "{}", done.text());
    }
}

#[test]
fn a_way_that_was_planned_before_is_planned_anew_when_the_files_say_something_else() {
    let shared = shared();
    let base = std::fs::read_to_string(shared.lab.sshd.ssh_config()).unwrap();
    let file = shared.lab.home.write("changing", "").unwrap();
    let run = |line: &str| {
        std::fs::write(&file, format!("{line}\n{base}")).unwrap();
        let mut command = shared.lab.home.command(bssh_tests::bssh());
        command.arg("-F").arg(&file).args(["-H", "127.0.0.1", "--persist", "1m", "--no-prefix"]);
        Run::start({
            command.arg("echo [$LC_MARK]");
            command
        })
        .finish(SOON)
        .expect_status(0)
        .text()
    };
    for _ in 0..2 {
        assert_eq!(run("SetEnv LC_MARK=one"), "[one]\n");
    }
    assert_eq!(run("SetEnv LC_MARK=two"), "[two]\n");
    let flag = shared.lab.home.path().join("flag");
    let asks = format!("Match exec \"test -e {}\"\nSetEnv LC_MARK=yes\nMatch all", flag.display());
    assert_eq!(run(&asks), "[]\n");
    std::fs::write(&flag, "").unwrap();
    assert_eq!(run(&asks), "[yes]\n", "what a program says is asked each time");
}

#[test]
fn a_core_that_hangs_is_left_alone_and_holds_no_pipe_of_ours() {
    let shared = shared();
    let persist = ["-H", "127.0.0.1", "--persist", "1m"];
    shared.lab.run(&[&persist[..], &["true"]].concat()).expect_status(0);
    kill_process(shared.pid().unwrap(), Signal::STOP).unwrap();
    // Read to the end of its stdout: the core that hangs must not have it open.
    let done = shared.lab.run(&["-H", "127.0.0.1", "echo whole"]).expect_status(0);
    assert!(done.text().contains("whole") && done.stderr.is_empty(), "{}", done.stderr);
    let done = shared.lab.run(&[&persist[..], &["echo whole"]].concat()).expect_status(0);
    assert!(done.text().contains("whole"), "{}", done.text());
    assert!(done.stderr.contains("a core of our own is used"), "{}", done.stderr);
}
