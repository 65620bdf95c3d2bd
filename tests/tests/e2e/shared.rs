//! The shared core: one per user, in a place that is trusted, warm between commands, gone when it
//! is idle; and frontends that do not mix.

use bssh_fixtures::SshdOptions;
use bssh_tests::{Agent, Lab, Run, Shared, net, until};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn shared() -> Shared {
    Shared::new(Lab::start())
}

#[test]
fn the_second_command_uses_the_same_connection() {
    let shared = shared();
    let cluster = ["-H", "127.0.0.1", "--persist", "1m", "echo hello"];
    for _ in 0..3 {
        assert!(shared.lab.run(&cluster).expect_status(0).text().contains("hello"));
    }
    assert_eq!(shared.logins(), 1);
    // The ssh grammar, whose connections are other ones: it has other settings.
    let plain = ["127.0.0.1", "cat; echo err >&2; exit 7"];
    for _ in 0..2 {
        let done = shared.lab.feed(&plain, b"in\n").expect_status(7);
        assert_eq!((done.stdout.as_slice(), done.stderr.as_str()), (&b"in\n"[..], "err\n"));
    }
    assert_eq!(shared.logins(), 2);
    let status = shared.lab.run(&["core", "status"]).expect_status(0).text();
    assert!(status.contains("2 idle"), "{status}");
    shared.lab.run(&["core", "stop"]).expect_status(0);
    assert!(shared.pid().is_none() && !shared.socket().exists());
    shared.lab.run(&["core", "status"]).expect_status(1);
}

/// The daemon tells all that runs on a connection of an agent that one of it was given.
#[test]
fn who_wants_no_agent_has_another_connection_than_who_wants_one() {
    let shared = shared();
    let agent = Agent::start(&shared.lab.home, "agent");
    let ssh = |words: &[&str]| {
        let mut command = shared.lab.command(words);
        command.env("SSH_AUTH_SOCK", agent.path()).env("BSSH_PERSIST", "1m");
        command
    };
    let mut with = Run::start(ssh(&["-A", "127.0.0.1", "test -S $SSH_AUTH_SOCK && echo got; cat"]));
    with.wait_for("got", SOON);
    for words in ["-a", "-oForwardAgent=no"] {
        let without = ssh(&[words, "127.0.0.1", "echo \"[$SSH_AUTH_SOCK]\""]);
        assert_eq!(Run::start(without).finish(SOON).text(), "[]\n", "{words}");
    }
    assert_eq!(shared.logins(), 2);
}

/// On a connection that is kept a session channel waits, opened ahead: its answer is not taken for
/// that of the connection which is refused.
#[test]
fn a_refusal_on_a_kept_connection_is_in_the_servers_words() {
    let closed = net::free_port();
    let extra = vec![format!("PermitOpen 127.0.0.1:{closed}")];
    let shared = Shared::new(Lab::with(&SshdOptions { extra, ..SshdOptions::default() }));
    let run = |words: &[&str]| {
        let mut command = shared.lab.command(words);
        command.env("BSSH_PERSIST", "1m");
        Run::start(command).finish(SOON)
    };
    let place = |port: u16| format!("127.0.0.1:{port}");
    for (port, words) in [(closed, "Connection refused"), (1, "administratively prohibited")] {
        run(&["127.0.0.1", "true"]).expect_status(0);
        let refused = run(&["-W", &place(port), "127.0.0.1"]).expect_status(255);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert_eq!(shared.logins(), 1);
}

/// Who allows less of keys does not get a connection that was made with more.
#[test]
fn what_keys_must_be_keeps_connections_apart() {
    let shared = shared();
    let run = |option: &str| {
        let mut command = shared.lab.command(&["-o", option, "127.0.0.1", "true"]);
        command.env("BSSH_PERSIST", "1m");
        Run::start(command).finish(SOON)
    };
    run("RequiredRSASize=2048").expect_status(0);
    run("RequiredRSASize=2048").expect_status(0);
    assert_eq!(shared.logins(), 1);
    run("PubkeyAcceptedAlgorithms=rsa-sha2-512").expect_status(255);
    run("RequiredRSASize=3072").expect_status(0);
    run("CASignatureAlgorithms=rsa-sha2-512").expect_status(0);
    assert_eq!(shared.logins(), 3);
}

#[test]
fn without_being_asked_there_is_no_shared_core() {
    let shared = shared();
    shared.lab.run(&["-H", "127.0.0.1", "true"]).expect_status(0);
    shared.lab.run(&["127.0.0.1", "true"]).expect_status(0);
    assert!(!shared.lab.home.path().join("run/bssh").exists());
}

#[test]
fn fifty_at_once_make_one_core() {
    let shared = shared();
    let words = ["list", "--persist", "1m"];
    let all: Vec<Run> = (0..50).map(|_| Run::start(shared.lab.command(&words))).collect();
    for run in all {
        run.finish(Duration::from_secs(120)).expect_status(0);
    }
    let home = shared.lab.home.path().display().to_string();
    let cores = bssh_fixtures::processes::with_text("core serve --foreground");
    let of_ours = |p: &&bssh_fixtures::processes::Process| {
        let environ = std::fs::read(format!("/proc/{}/environ", p.pid)).unwrap_or_default();
        String::from_utf8_lossy(&environ).contains(&home)
    };
    assert_eq!(cores.iter().filter(of_ours).count(), 1, "{cores:?}");
}

#[test]
fn a_dead_cores_socket_is_no_obstacle() {
    let shared = shared();
    let words = ["-H", "127.0.0.1", "--persist", "1m", "true"];
    shared.lab.run(&words).expect_status(0);
    shared.kill();
    assert!(shared.socket().exists());
    shared.lab.run(&["-H", "127.0.0.1", "true"]).expect_status(0);
    assert!(shared.pid().is_none(), "nobody asked for a new one");
    shared.lab.run(&words).expect_status(0);
    assert!(shared.pid().is_some());
}

#[test]
fn a_place_that_is_not_ours_alone_is_refused() {
    let shared = shared();
    let run = shared.lab.home.path().join("run");
    let place = run.join("bssh");
    let words = ["-H", "127.0.0.1", "--persist", "1m", "true"];
    let refused = |why: &str| {
        let done = shared.lab.run(&words);
        assert_ne!(done.status, Some(0));
        assert!(done.stderr.contains(why), "{}", done.stderr);
        let serve = shared.lab.run(&["core", "serve"]);
        assert_ne!(serve.status, Some(0), "{}", serve.stderr);
        // Who does not ask for it is served by a core of its own.
        shared.lab.run(&["-H", "127.0.0.1", "true"]).expect_status(0);
    };
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    refused("mode 0755");
    std::fs::remove_dir(&place).unwrap();
    std::fs::create_dir(run.join("elsewhere")).unwrap();
    symlink(run.join("elsewhere"), &place).unwrap();
    refused("links are not followed");
    std::fs::remove_file(&place).unwrap();
    if rustix::process::geteuid().is_root() {
        std::fs::create_dir(&place).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&place, Some(65534), None).unwrap();
        refused("belongs to user 65534");
        std::os::unix::fs::chown(&place, Some(0), None).unwrap();
        std::fs::remove_dir(&place).unwrap();
    }
    shared.lab.run(&words).expect_status(0);
    std::fs::set_permissions(shared.socket(), std::fs::Permissions::from_mode(0o666)).unwrap();
    refused("mode 0666");
    std::fs::set_permissions(shared.socket(), std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn it_ends_when_nobody_needs_it() {
    let shared = shared();
    let serve = Run::start({
        let mut command = shared.lab.home.command(bssh_tests::bssh());
        command.args(["core", "serve", "--foreground", "--idle", "2"]);
        command
    });
    assert!(until(SOON, || shared.pid().is_some()));
    shared.lab.run(&["-H", "127.0.0.1", "true"]).expect_status(0);
    assert_eq!(shared.logins(), 1);
    serve.finish(SOON).expect_status(0);
    assert!(!shared.socket().exists());
}
