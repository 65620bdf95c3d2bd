//! `bssh run -S NAME` and `bssh session`: state that outlives the command, for programs and agents.

use bssh_fixtures::processes;
use bssh_tests::{Lab, Run, Shared, Terminal, Transcript, until};
use rustix::process::Signal;
use serde_json::Value;
use std::time::{Duration, Instant};

const NODE: &str = "127.0.0.1";
const SOON: Duration = Duration::from_secs(60);

fn shared() -> Shared {
    Shared::new(Lab::start())
}

/// `bssh run -S NAME NODE -- COMMAND`
#[track_caller]
fn run(shared: &Shared, name: &str, command: &str) -> Transcript {
    shared.lab.run(&["run", "-S", name, NODE, "--", command])
}

#[test]
fn state_outlives_the_command_that_made_it() {
    let shared = shared();
    run(&shared, "dev", "cd /tmp; export WHO=me; f() { echo \"f-$WHO\"; }").expect_status(0);
    let done = run(&shared, "dev", "f; pwd; echo oops >&2; exit 7").expect_status(7);
    assert_eq!((done.text().as_str(), done.stderr.as_str()), ("f-me\n/tmp\n", "oops\n"));
    // Another name is another state; so is another node.
    assert_eq!(run(&shared, "other", "echo ${WHO-nobody}").expect_status(0).text(), "nobody\n");
    let words = ["-H", "127.0.0.[1-2]", "run", "-S", "dev", "--", "echo ${WHO-nobody}"];
    let both = shared.lab.run(&words).expect_status(0).text();
    assert!(both.contains("127.0.0.1: me\n") && both.contains("127.0.0.2: nobody\n"), "{both}");
    // Unset stays unset, and what a command breaks is only its own.
    run(&shared, "dev", "unset WHO; set -e; false; true").expect_status(1);
    assert_eq!(
        run(&shared, "dev", "echo ${WHO-gone}; pwd").expect_status(0).text(),
        "gone\n/tmp\n"
    );
    // Lost connections are no matter.
    shared.lab.sshd.kill_sessions();
    assert_eq!(run(&shared, "dev", "pwd").expect_status(0).text(), "/tmp\n");
    let list = shared.lab.run(&["session", "ls"]).expect_status(0).text();
    assert!(list.lines().any(|l| l.starts_with("dev") && l.ends_with("/tmp")), "{list}");
    let info = shared.lab.run(&["session", "info", "dev", NODE]).expect_status(0).text();
    assert!(info.contains("state      ready") && info.contains("/bin/bash"), "{info}");
    shared.lab.run(&["session", "reset", "dev", NODE]).expect_status(0);
    assert_ne!(run(&shared, "dev", "pwd").expect_status(0).text(), "/tmp\n");
    shared.lab.run(&["session", "close", "dev"]).expect_status(0);
    assert!(until(SOON, || {
        !shared.lab.run(&["session", "ls"]).expect_status(0).text().contains("dev")
    }));
    let gone = shared.lab.run(&["session", "info", "dev"]).expect_status(1);
    assert!(gone.stderr.contains("no session dev"), "{}", gone.stderr);
    shared.lab.run(&["session", "close", "other"]).expect_status(0);
    assert!(until(SOON, || processes::with_text(&shared.lab.sshd.state_dirs()).is_empty()));
}

#[test]
fn what_programs_need_to_know_is_told_exactly() {
    let shared = shared();
    let json = |words: &[&str], status: i32| -> Value {
        let done = shared.lab.run(words).expect_status(status);
        serde_json::from_str(done.text().lines().last().unwrap()).unwrap()
    };
    let at = ["run", "-S", "a", NODE];
    let with = |flags: &[&'static str], command: &'static str| -> Vec<&str> {
        [flags, &at, &["--", command]].concat()
    };
    // An exact count of what was left out.
    let big = "head -c 100000 /dev/zero | tr '\\0' x; printf ü >&2; cd /; exit 3";
    let done = json(&with(&["--json=summary", "--max-output", "1000"], big), 3);
    assert_eq!(done["stdoutBytes"], 100_000);
    assert_eq!(done["stdoutOmitted"], 99_000);
    assert_eq!(done["stdout"].as_str().unwrap().len(), 1000);
    assert_eq!((&done["stderr"], &done["stderrOmitted"]), (&Value::from("ü"), &Value::from(0)));
    assert_eq!((&done["cwd"], &done["exit"]["status"]), (&Value::from("/"), &Value::from(3)));
    let text = shared.lab.run(&with(&["--max-output", "1000"], big)).expect_status(3);
    assert_eq!(text.stdout.len(), 1000);
    assert!(text.stderr.contains("stdout: 99000 bytes were left out"), "{}", text.stderr);
    let path = text.stderr.trim_end().rsplit_once("all of it is in ").unwrap().1;
    assert_eq!(std::fs::read(path).unwrap(), [b'x'; 100_000]);
    assert!(done["stdoutFile"]["bytes"] == 100_000 && done["stderrFile"].is_null(), "{done}");
    // Events, with bytes that are no text.
    let events = shared.lab.run(&with(&["--json"], "printf 'a\\377b'; sleep 0.2; echo c"));
    let events: Vec<Value> =
        events.expect_status(0).text().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(events[0]["event"], "start");
    assert_eq!(events[0]["nodes"][0]["existing"], true);
    assert!(events.iter().any(|e| e["b64"] == "Yf9i"), "{events:?}");
    assert_eq!(events.last().unwrap()["event"], "done");
    // Time limits end everything, and keep what was said.
    let done = json(&with(&["--json=summary", "-u", "1"], "echo begun; sleep 1000.95"), 124);
    assert_eq!((&done["stdout"], &done["timedOut"]), (&Value::from("begun\n"), &Value::from(true)));
    assert!(until(SOON, || processes::with_text("sleep 1000.95").is_empty()));
    // A directory that is not there: nothing is run.
    let words = ["run", "-S", "a", "--cwd", "/no/such", NODE, "--", "echo ran"];
    let missing = shared.lab.run(&words).expect_status(126);
    assert_eq!(missing.text(), "");
    assert!(missing.stderr.contains("/no/such"), "{}", missing.stderr);
    // For this command alone.
    let words =
        ["run", "-S", "a", "--cwd", "/tmp", "--env", "X=a b", NODE, "--", "pwd; echo \"$X\""];
    assert_eq!(shared.lab.run(&words).expect_status(0).text(), "/tmp\na b\n");
    assert_eq!(run(&shared, "a", "pwd; echo ${X-no}").expect_status(0).text(), "/\nno\n");
    // stdin, byte for byte.
    let fed = shared.lab.feed(&with(&[], "wc -c; echo end"), &[0xff; 70_000]).expect_status(0);
    assert_eq!(fed.text().split_whitespace().collect::<Vec<_>>(), ["70000", "end"]);
    // What makes no sense is refused.
    shared.lab.run(&with(&["--tui"], "true")).expect_status(2);
    shared.lab.run(&["run", "-S", "a", NODE]).expect_status(2);
    shared.lab.run(&["run", NODE, "--", "true"]).expect_status(2);
    shared.lab.run(&with(&["--persist=no"], "true")).expect_status(2);
    let nowhere = ["run", "-S", "a", "127.0.0.1:1", "--", "true"];
    let nowhere = shared.lab.run(&nowhere).expect_status(255);
    assert!(nowhere.stderr.contains("connection refused"), "{}", nowhere.stderr);
}

#[test]
fn readers_run_beside_each_other_and_writers_in_order() {
    let shared = shared();
    run(&shared, "p", "X=; export X; cd /tmp").expect_status(0);
    let begun = Instant::now();
    let words = ["run", "-S", "p", "--read", NODE, "--", "sleep 2; pwd"];
    let all: Vec<Run> = (0..8).map(|_| Run::start(shared.lab.command(&words))).collect();
    for one in all {
        assert_eq!(one.finish(SOON).expect_status(0).text(), "/tmp\n");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(14), "one after the other: {took:?}");
    let words = ["run", "-S", "p", NODE, "--", "X=${X}x; sleep 0.05"];
    let all: Vec<Run> = (0..10).map(|_| Run::start(shared.lab.command(&words))).collect();
    for one in all {
        one.finish(SOON).expect_status(0);
    }
    assert_eq!(run(&shared, "p", "echo $X").expect_status(0).text(), "xxxxxxxxxx\n");
}

#[test]
fn a_frontend_that_goes_takes_its_command_along_and_leaves_the_session() {
    let shared = shared();
    run(&shared, "k", "cd /tmp; KEPT=1; export KEPT").expect_status(0);
    let words = ["run", "-S", "k", NODE, "--", "sleep 1000.96"];
    let n = || {
        let all = processes::with_text("sleep 1000.96");
        all.iter().filter(|p| p.command.starts_with("sleep")).count()
    };
    for (signal, status) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let command = Run::start(shared.lab.command(&words));
        assert!(until(SOON, || n() == 1));
        command.signal(signal);
        assert_eq!(command.finish(SOON).status, status);
        assert!(until(SOON, || n() == 0));
    }
    assert_eq!(run(&shared, "k", "pwd; echo $KEPT").expect_status(0).text(), "/tmp\n1\n");
}

#[test]
fn jobs_go_on_without_anybody() {
    let shared = shared();
    let words = ["run", "-S", "j", "--background", NODE, "--", "echo begun; sleep 1000.97"];
    let started = shared.lab.run(&words).expect_status(0).text();
    let job = started.trim().strip_prefix("127.0.0.1 ").unwrap().to_owned();
    let n = || processes::with_text("sleep 1000.97").len();
    assert!(until(SOON, || n() > 0));
    shared.lab.sshd.kill_sessions();
    let output = || shared.lab.run(&["session", "output", "j", &job]);
    assert!(until(SOON, || output().text() == "begun\n"));
    assert_eq!(output().status, Some(75), "it runs");
    let jobs = shared.lab.run(&["session", "jobs", "j"]).expect_status(0).text();
    assert!(jobs.contains("sleep 1000.97"), "{jobs}");
    shared.lab.run(&["session", "kill", "j", &job]).expect_status(0);
    assert!(until(SOON, || output().status == Some(143)));
    assert_eq!(n(), 0);
    // What a job would not heed is refused.
    for flags in [&["--cwd", "/tmp"][..], &["--env", "A=1"], &["-u", "3"], &["--max-output", "9"]] {
        let words = [&["run", "-S", "j", "--background"], flags, &[NODE, "--", "true"]].concat();
        let refused = shared.lab.run(&words).expect_status(2);
        assert!(refused.stderr.contains("is not for --background"), "{}", refused.stderr);
    }
    shared.lab.run(&["session", "close", "j"]).expect_status(0);
    shared.lab.run(&["core", "stop"]).expect_status(0);
    shared.lab.run(&["session", "ls"]).expect_status(1);
    assert!(until(SOON, || processes::with_text(&shared.lab.sshd.state_dirs()).is_empty()));
}

#[test]
fn state_is_changed_by_calls_and_jobs_are_waited_for() {
    let shared = shared();
    let lab = &shared.lab;
    run(&shared, "a", "true").expect_status(0);
    lab.run(&["session", "cd", "a", "/usr"]).expect_status(0);
    lab.run(&["session", "setenv", "a", "X=it's", "Y=2"]).expect_status(0);
    lab.run(&["session", "unsetenv", "a", "Y"]).expect_status(0);
    let text = run(&shared, "a", "echo $X ${Y-none}; pwd").expect_status(0).text();
    assert_eq!(text, "it's none\n/usr\n");
    let state = lab.run(&["session", "snapshot", "a"]).expect_status(0).text();
    assert!(state.contains("umask") && state.contains(" X="), "{state}");
    let refused = lab.run(&["session", "cd", "a", "/no/such"]);
    assert!(refused.status != Some(0) && refused.stderr.contains("did not take it"), "{refused:?}");
    let words = ["run", "-S", "a", "--no-state", NODE, "--", "echo ${X-none}; cd /"];
    assert_eq!(lab.run(&words).expect_status(0).text(), "none\n");
    let flags = ["run", "-S", "a", "--retry-safe", "--kill-escaped", "--on-disconnect", "keep"];
    let text = lab.run(&[&flags[..], &[NODE, "--", "pwd"]].concat()).expect_status(0).text();
    assert_eq!(text, "/usr\n");
    let words = ["run", "-S", "a", "--background", NODE, "--", "sleep 1; exit 3"];
    let job = lab.run(&words).expect_status(0).text();
    let job = job.trim().strip_prefix("127.0.0.1 ").unwrap();
    lab.run(&["session", "wait", "a", job]).expect_status(3);
    // A terminal, of the size of ours; and what cannot be.
    let tty = "test -t 0 && stty size && read x && echo got-$x";
    let mut t = Terminal::start(&lab.command(&["run", "-S", "a", "-t", NODE, "--", tty]));
    t.wait_for("\n", SOON);
    t.write("word\r");
    t.wait_for("got-word", SOON);
    assert_eq!(t.finish(SOON), Some(0));
    let refused = lab.run(&["run", "-S", "a", "-t", NODE, "--", "true"]).expect_status(2);
    assert!(refused.stderr.contains("-tt asks for one all the same"), "{}", refused.stderr);
    let words = ["run", "-S", "a", "--agent-confirm", "first", NODE, "--", "true"];
    let refused = lab.run(&words).expect_status(2);
    assert!(refused.stderr.contains("nobody is there to be asked"), "{}", refused.stderr);
    let refused = lab.run(&["run", "-S", "a", "-A", NODE, "--", "true"]).expect_status(2);
    assert!(refused.stderr.contains("was opened without an agent"), "{}", refused.stderr);
}

#[test]
fn what_nobody_came_for_is_removed_after_a_week() {
    let shared = shared();
    let tmp = shared.lab.sshd.file("tmp");
    let place = tempfile::Builder::new().prefix("bssh.").tempdir_in(&tmp).unwrap();
    let fresh = tempfile::Builder::new().prefix("bssh.").tempdir_in(&tmp).unwrap();
    for dir in [&place, &fresh] {
        std::fs::write(dir.path().join("1.rc"), "0\n").unwrap();
    }
    let mut touch = std::process::Command::new("touch");
    let old = touch.args(["-d", "8 days ago"]).arg(place.path()).status().unwrap();
    assert!(old.success());
    run(&shared, "gc", "true").expect_status(0);
    assert!(until(SOON, || !place.path().exists()));
    assert!(fresh.path().exists());
}

/// `bssh --config FILE run -S NAME …`
#[track_caller]
fn configured(shared: &Shared, config: &str, words: &[&str]) -> Transcript {
    shared.lab.run(&[&["--config", config, "run", "-S"], words].concat())
}

#[test]
fn a_session_of_the_configuration_begins_as_it_says() {
    let shared = shared();
    let (here, there) = (shared.lab.home.path().join("app"), shared.lab.sshd.file("app"));
    std::fs::create_dir_all(&here).unwrap();
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(here.join("file"), "from here\n").unwrap();
    let yaml = format!(
        "sync:\n  app: {{ target: {NODE}, pairs: [{{ local: {}, remote: {there} }}] }}\n\
         sessions:\n  dev:\n    target: {NODE}\n    shell: /bin/dash\n    cwd: {there}\n    \
         env: {{ WHO: me }}\n    env_exclude: [LOGNAME]\n    sync: [app]\n    timeout: 3s\n    \
         max_output: 1K\n    spool: 8K\n  lost: {{ target: {NODE}, cwd: /no/such }}\n",
        here.display(),
        there = there.display()
    );
    let config = shared.lab.home.write("config.yaml", yaml).unwrap().display().to_string();
    let dev = |words: &[&str]| configured(&shared, &config, &[&["dev"], words].concat());
    let show = "echo \"$0 $WHO ${LOGNAME-nobody}\"; pwd; cat file";
    let want = format!("dash me nobody\n{}\nfrom here\n", there.display());
    assert_eq!(dev(&["--", show]).expect_status(0).text(), want);
    // Its target may be said all the same; flags go before what the configuration says.
    assert_eq!(dev(&[NODE, "--", "echo x"]).expect_status(0).text(), "x\n");
    assert!(dev(&["--", "sleep 1000.34"]).expect_status(124).stderr.contains("took too long"));
    dev(&["-u", "30", "--", "sleep 4"]).expect_status(0);
    // Files of what is not shown are ours alone, bounded, and go with the session.
    let done = dev(&["--", "head -c 6000 /dev/zero | tr '\\0' a"]).expect_status(0);
    assert_eq!(done.stdout.len(), 1024);
    let path = |done: &Transcript| {
        let (_, rest) = done.stderr.split_once(" in /").unwrap();
        format!("/{}", rest.split([':', '\n']).next().unwrap())
    };
    let first = path(&done);
    assert_eq!(std::fs::read(&first).unwrap(), [b'a'; 6000]);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&first).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let long = dev(&["--", "head -c 10000 /dev/zero | tr '\\0' b"]).expect_status(0);
    assert!(long.stderr.contains("its first 8192 are in"), "{}", long.stderr);
    assert!(!std::path::Path::new(&first).exists(), "the oldest makes room");
    assert_eq!(std::fs::read(path(&long)).unwrap(), [b'b'; 8192]);
    shared.lab.run(&["session", "close", "dev"]).expect_status(0);
    assert!(until(SOON, || !std::path::Path::new(&path(&long)).exists()));
    // A directory that is not there is told, and nothing is run.
    let lost = configured(&shared, &config, &["lost", "--", "touch", "ran"]).expect_status(126);
    assert!(lost.stderr.contains("the session is to begin in"), "{}", lost.stderr);
    // The same in the REPL, with a state of its own.
    let mut t = crate::repl::repl(&shared.lab, &["--config", &config, "repl", "--session", "dev"]);
    t.see(&format!("{}> ", there.file_name().unwrap().display()));
    t.line("echo \"$0-$WHO\"; sleep 1000.34");
    t.see("dash-me\r\n");
    t.see("it took too long");
    t.line("head -c 6000 /dev/zero | tr '\\0' c");
    t.see("4976 bytes were left out; all of it is in /");
    t.line(":quit");
    t.end();
    let mut t = crate::repl::repl(&shared.lab, &["--config", &config, "repl", "--session", "no"]);
    t.see("no session is called \"no\"");
    assert_eq!(t.end(), Some(2));
}

#[test]
fn a_dedicated_command_has_a_connection_of_its_own() {
    let shared = shared();
    run(&shared, "d", "true").expect_status(0);
    let before = shared.logins();
    run(&shared, "d", "true").expect_status(0);
    assert_eq!(shared.logins(), before);
    let words = ["run", "-S", "d", "--dedicated", NODE, "--", "cd /usr; echo there"];
    assert_eq!(shared.lab.run(&words).expect_status(0).text(), "there\n");
    assert_eq!(shared.logins(), before + 1);
    assert_eq!(run(&shared, "d", "pwd").expect_status(0).text(), "/usr\n");
    assert_eq!(shared.logins(), before + 1);
}
