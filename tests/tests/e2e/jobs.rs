//! Jobs of the shared core: left alone, listed, read from any offset, waited for, ended by
//! others; and ssh's own flags for connections that stay.

use bssh_tests::{Lab, Run, Shared, until};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn shared() -> Shared {
    Shared::new(Lab::start())
}

/// Starts a detached run and gives its number.
fn detach(shared: &Shared, words: &[&str]) -> String {
    let all = [&["--detach"], words].concat();
    let number = shared.lab.run(&all).expect_status(0).text().trim().to_owned();
    assert!(number.parse::<u64>().is_ok(), "{number:?}");
    number
}

#[test]
fn a_detached_run_is_read_by_others_from_any_offset() {
    let shared = shared();
    let flag = shared.lab.home.path().join("go");
    let script = format!(
        "echo begin; echo err >&2; until [ -e {} ]; do sleep 0.1; done; echo end; exit 3",
        flag.display()
    );
    let job = detach(&shared, &["-H", "127.0.0.[1-2]", &script]);
    let logs = |from: &str| {
        shared.lab.run(&["-N", "job", "logs", &job, "--from", from]).expect_status(0).text()
    };
    assert!(until(SOON, || logs("0").matches("begin").count() == 2), "{}", logs("0"));
    let list = shared.lab.run(&["job", "ls"]).expect_status(0).text();
    assert!(list.contains("0/2 nodes done") && list.contains("detached"), "{list}");
    let mut follower = Run::start(shared.lab.command(&["job", "attach", &job]));
    follower.wait_for("127.0.0.2: begin", SOON);
    std::fs::write(&flag, "").unwrap();
    let followed = follower.finish(SOON).expect_status(5);
    assert_eq!(followed.text().matches("end").count(), 2, "{}", followed.text());
    assert!(followed.stderr.contains("err"), "{}", followed.stderr);
    shared.lab.run(&["job", "wait", &job]).expect_status(5);
    // It is over, and still there.
    assert_eq!(logs("0").matches("end").count(), 2);
    // begin, err and end of two nodes: 28 bytes, of which the last four are "end\n".
    assert_eq!(logs("24"), "end\n");
    let failed = shared.lab.run(&["nodes", "expand", "--", &format!("@job:{job}.failed")]);
    assert_eq!(failed.expect_status(0).text(), "127.0.0.1\n127.0.0.2\n");
}

#[test]
fn a_job_is_ended_by_others_with_all_it_runs() {
    let shared = shared();
    let job = detach(&shared, &["-H", "127.0.0.1", "sleep 1004.77"]);
    let sleeping = || {
        let mut found = bssh_fixtures::processes::with_text("1004.77");
        found.retain(|p| p.command.starts_with("sleep "));
        found.len()
    };
    assert!(until(SOON, || sleeping() == 1));
    shared.lab.run(&["job", "kill", &job]).expect_status(0);
    assert!(until(SOON, || sleeping() == 0));
    shared.lab.run(&["job", "wait", &job]).expect_status(10);
    shared.lab.run(&["job", "kill", "999"]).expect_status(2);
}

#[test]
fn a_forward_outlives_its_frontend() {
    let shared = shared();
    let spec = format!("0:127.0.0.1:{}", shared.lab.sshd.port());
    let job = detach(&shared, &["-H", "127.0.0.1", "forward", "add", "-L", &spec]);
    let list = shared.lab.run(&["forward", "ls"]).expect_status(0).text();
    let bound = list.split_whitespace().nth(3).unwrap().to_owned();
    assert!(bssh_tests::net::greets(&bound), "{list}");
    shared.lab.run(&["forward", "close", &job]).expect_status(0);
    assert!(until(SOON, || !bssh_tests::net::greets(&bound)));
    assert_eq!(shared.lab.run(&["forward", "ls"]).expect_status(0).text(), "");
}

/// Scripts look there (`test -S`) whether a master runs, and end it.
#[test]
fn a_socket_at_the_control_path_shows_a_master() {
    let shared = shared();
    let file = shared.lab.home.path().join("master");
    let ssh = |more: &[&str]| {
        shared.lab.run_bare(&[&["ssh", "-S", "~/master", "127.0.0.1"], more].concat())
    };
    ssh(&["true"]).expect_status(0);
    assert!(!file.exists(), "no master, no socket");
    for end in ["stop", "exit"] {
        ssh(&["-M", "-f", "-N"]).expect_status(0);
        let seen = file.symlink_metadata().unwrap();
        assert!(seen.file_type().is_socket());
        assert_eq!(seen.permissions().mode() & 0o777, 0o600);
        let turned_away = UnixStream::connect(&file).unwrap().read(&mut [0]);
        assert!(matches!(turned_away, Ok(0) | Err(_)), "{turned_away:?}");
        ssh(&["-O", "check"]).expect_status(0);
        ssh(&["-O", end]).expect_status(0);
        assert!(!file.exists(), "-O {end}");
    }
    // Nobody ends what was killed; the next master takes its place, and goes by itself.
    ssh(&["-M", "-f", "-N"]).expect_status(0);
    shared.kill();
    assert!(UnixStream::connect(&file).is_err());
    assert_eq!(ssh(&["-M", "echo", "again"]).expect_status(0).text(), "again\n");
    assert!(UnixStream::connect(&file).is_ok());
    assert!(until(SOON, || !file.exists()));
    // One that cannot be made is said, and the master is found without.
    let nowhere = ["ssh", "-S", "~/none/m", "127.0.0.1"];
    let master = shared.lab.run_bare(&[&nowhere[..], &["-M", "true"]].concat()).expect_status(0);
    assert!(master.stderr.contains("no socket at ControlPath"), "{}", master.stderr);
    shared.lab.run_bare(&[&nowhere[..], &["-O", "exit"]].concat()).expect_status(0);
    // Another's is left alone.
    let _others = UnixListener::bind(&file).unwrap();
    let master = ssh(&["-M", "echo", "ours"]).expect_status(0);
    assert_eq!((master.text().as_str(), master.stderr.as_str()), ("ours\n", ""));
    ssh(&["-O", "exit"]).expect_status(0);
    assert!(UnixStream::connect(&file).is_ok());
}

#[test]
fn control_master_keeps_the_connection() {
    let shared = shared();
    let path = ["-o", "ControlPath=~/cm-%C", "-o", "ControlPersist=60"];
    let ssh = |more: &[&str]| {
        let words = [&["ssh"][..], &path, more].concat();
        shared.lab.run_bare(&words)
    };
    let check = ssh(&["-O", "check", "127.0.0.1"]).expect_status(255);
    assert!(check.stderr.contains("no shared connection"), "{}", check.stderr);
    let proxy = ssh(&["-O", "proxy", "127.0.0.1", "true"]).expect_status(255);
    assert!(proxy.stderr.contains("no shared connection"), "{}", proxy.stderr);
    for _ in 0..2 {
        ssh(&["-o", "ControlMaster=auto", "127.0.0.1", "exit 4"]).expect_status(4);
    }
    let proxy = ssh(&["-O", "proxy", "127.0.0.1", "cat; exit 5"]).expect_status(5);
    assert_eq!(proxy.stderr, "");
    assert_eq!(shared.logins(), 1);
    let check = ssh(&["-O", "check", "127.0.0.1"]).expect_status(0);
    let pid = shared.pid().unwrap().as_raw_nonzero();
    assert_eq!(check.stderr, format!("Master running (pid={pid})\r\n"));
    // Another path, another connection.
    let other = ["ssh", "-S", "~/other", "127.0.0.1", "true"];
    shared.lab.run_bare(&other).expect_status(0);
    assert_eq!(shared.logins(), 2);
    for none in ["none", "None"] {
        shared.lab.run_bare(&["ssh", "-S", none, "127.0.0.1", "true"]).expect_status(0);
    }
    assert_eq!(shared.logins(), 4);
    let port = shared.lab.sshd.port().to_string();
    let forward = format!("{}:127.0.0.1:{port}", bssh_tests::net::free_port());
    ssh(&["-O", "forward", "-L", &forward, "127.0.0.1"]).expect_status(0);
    let list = shared.lab.run(&["forward", "ls"]).expect_status(0).text();
    assert!(list.contains("-L"), "{list}");
    ssh(&["-O", "cancel", "-L", &forward, "127.0.0.1"]).expect_status(0);
    let again = ssh(&["-O", "cancel", "-L", &forward, "127.0.0.1"]).expect_status(255);
    assert!(again.stderr.contains("no such forward"), "{}", again.stderr);
    assert_eq!(shared.lab.run(&["forward", "ls"]).expect_status(0).text(), "");
    // What runs may finish, and what only holds the connection ends with it.
    let holder = |more: &[&str]| {
        let mut command = shared.lab.home.command(bssh_tests::bssh());
        command.arg("ssh").args(path).args(["-o", "ControlMaster=auto"]).args(more);
        bssh_tests::Run::start(command)
    };
    let (hold, mut busy) = (
        holder(&["-N", "127.0.0.1"]),
        holder(&["127.0.0.1", "echo started; read line; echo $line"]),
    );
    busy.wait_for("started", SOON);
    let stop = ssh(&["-O", "stop", "127.0.0.1"]).expect_status(0);
    assert_eq!(stop.stderr, "Stop listening request sent.\r\n");
    ssh(&["-O", "check", "127.0.0.1"]).expect_status(255);
    assert!(busy.write(b"done\n"));
    assert_eq!(busy.finish(SOON).expect_status(0).text(), "started\ndone\n");
    hold.finish(SOON).expect_status(0);
    ssh(&["-o", "ControlMaster=auto", "127.0.0.1", "true"]).expect_status(0);
    // Who names no path has a connection of its own; the master's forwards stay with it.
    let before = shared.logins();
    for n in 1..=2 {
        shared.lab.run_bare(&["ssh", "127.0.0.1", "true"]).expect_status(0);
        assert_eq!(shared.logins(), before + n);
    }
    let left = bssh_tests::net::free_port();
    let spec = format!("{left}:127.0.0.1:{port}");
    ssh(&["-o", "ControlMaster=auto", "-L", &spec, "127.0.0.1", "true"]).expect_status(0);
    assert!(bssh_tests::net::greets(&format!("127.0.0.1:{left}")));
    let exit = ssh(&["-O", "exit", "127.0.0.1"]).expect_status(0);
    assert_eq!(exit.stderr, "Exit request sent.\r\n");
    ssh(&["-O", "check", "127.0.0.1"]).expect_status(255);
    assert!(until(SOON, || !bssh_tests::net::greets(&format!("127.0.0.1:{left}"))));
    // It was started for them, and goes with the last one.
    let other = ["ssh", "-S", "~/other", "-O", "exit", "127.0.0.1"];
    shared.lab.run_bare(&other).expect_status(0);
    assert!(until(SOON, || shared.pid().is_none()));
    ssh(&["127.0.0.1", "true"]).expect_status(0);
    assert_eq!(shared.logins(), before + 3);
}
