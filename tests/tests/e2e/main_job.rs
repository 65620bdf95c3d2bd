//! One command on many nodes of one real sshd: gathered, prefixed, as JSON, by its exit status.

use bssh_tests::{Lab, Run};
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn a_thousand_nodes_gather_into_one_block() {
    let lab = Lab::start();
    let targets = format!("{}@127.0.[1-4].[1-250]:{}", lab.sshd.user(), lab.sshd.port());
    let done = lab.run(&["-H", &targets, "-f", "128", "-b", "echo same"]).expect_status(0);
    let text = done.text();
    let payload = text.lines().filter(|line| *line == "same").count();
    assert_eq!(payload, 1, "{text}");
    assert!(text.contains("[1-4]") && text.contains("[1-250]"), "{text}");
    assert!(text.contains("1000"), "{text}");
}

#[test]
fn a_node_named_twice_runs_once() {
    let lab = Lab::start();
    let done = lab.run(&["-H", "127.0.0.1,127.0.0.[1-2],127.0.0.2", "--json", "echo x"]);
    let done = done.expect_status(0);
    let nodes = done.endings();
    assert_eq!(nodes.keys().collect::<Vec<_>>(), ["127.0.0.1", "127.0.0.2"]);
    assert!(nodes.values().all(|n| n.stdout == b"x\n"), "{nodes:?}");
    assert_eq!(done.summary()["nodes"], 2);
}

#[test]
fn lines_come_with_their_node_and_never_mixed() {
    let lab = Lab::start();
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; echo oops >&2";
    let done = lab.run(&["-H", "127.0.1.[1-20]", script]).expect_status(0);
    let text = done.text();
    assert_eq!(text.lines().count(), 20 * 9, "{text}");
    for node in 1..=20 {
        let prefix = format!("127.0.1.{node}: ");
        let lines: Vec<_> = text.lines().filter_map(|l| l.strip_prefix(&prefix)).collect();
        let want: Vec<_> = (1..=9).map(|i| format!("line {i}")).collect();
        assert_eq!(lines, want, "in order, none lost");
        assert!(done.stderr.contains(&format!("{prefix}oops")), "{}", done.stderr);
    }
    let bare = lab.run(&["-H", "127.0.1.1", "-N", "echo bare"]).expect_status(0);
    assert_eq!(bare.text(), "bare\n");
}

#[test]
fn remarks_name_their_node() {
    let lab = Lab::start();
    let words = |verbose| ["-H", "127.0.0.[1-2]", verbose, "echo x"];
    let (once, twice) = (lab.run(&words("-v")), lab.run(&words("-vv")));
    for node in ["127.0.0.1", "127.0.0.2"] {
        let reached = format!("bssh: {node}: connected, ");
        for done in [&once, &twice] {
            assert!(done.stderr.contains(&reached), "{}", done.stderr);
        }
        for remark in ["Connecting to ", "Server host key: ", "Sending command: echo x"] {
            let remark = format!("debug1: {node}: {remark}");
            assert_eq!(twice.stderr.matches(&remark).count(), 1, "{remark}: {}", twice.stderr);
        }
    }
    assert!(!once.stderr.contains("debug1: "), "{}", once.stderr);
}

#[test]
fn json_holds_the_exact_bytes() {
    let lab = Lab::start();
    let command = "cat; echo err >&2; exit 7";
    let words = ["-H", "127.0.0.[1-2]", "--json", command];
    let done = lab.feed(&words, b"x\0y").expect_status(5);
    let nodes = done.endings();
    assert_eq!(nodes.len(), 2);
    for node in nodes.values() {
        assert_eq!(node.stdout, b"x\0y");
        assert_eq!(node.stderr, b"err\n");
        assert_eq!(node.cause(), "status 7");
    }
    assert_eq!(done.summary()["failed"], 2);
}

#[test]
fn the_exit_status_tells_what_happened() {
    let lab = Lab::start();
    let refused = format!("127.0.0.9:{}", free_port());
    let mixed = format!("127.0.0.1,{refused}");
    let by_node = "case $SSH_CONNECTION in *127.0.0.2*) exit 255;; esac; exit 3";
    for (words, status) in [
        (vec!["-H", "127.0.0.[1-2]", "true"], 0),
        (vec!["-H", "127.0.0.[1-2]", "exit 3"], 5),
        (vec!["-H", &refused, "true"], 3),
        (vec!["-H", &mixed, "true"], 10),
        (vec!["-H", "stranger@127.0.0.[1-2]", "true"], 4),
        (vec!["-H", "127.0.0.[1-2]", "-S", by_node], 255),
        (vec!["-H", "127.0.0.1", "-S", "exit 9"], 9),
        (vec!["-H", "n[1-", "true"], 2),
        (vec!["-H", "127.0.0.1", "--config", "/nonexistent", "true"], 2),
    ] {
        let done = lab.run(&words);
        assert_eq!(done.status, Some(status), "{words:?}\n{}", done.stderr);
        assert!(status == 0 || !done.stderr.is_empty(), "{words:?} said nothing");
    }
}

#[test]
fn a_plain_host_is_a_plain_ssh() {
    let lab = Lab::start();
    let done = lab.feed(&["127.0.0.1", "cat; echo err >&2; exit 7"], b"x\0\xff").expect_status(7);
    assert_eq!((done.stdout.as_slice(), done.stderr.as_str()), (&b"x\0\xff"[..], "err\n"));
}

#[test]
fn output_goes_to_files_and_the_fanout_is_kept() {
    let lab = Lab::start();
    let dir = lab.home.path().join("out");
    let dir = dir.to_str().unwrap();
    let words = ["-H", "127.0.0.[1-6]", "-f", "2", "--output-dir", dir, "printf '\\377'; exit 0"];
    lab.run(&words).expect_status(0);
    let names: BTreeSet<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.contains("summary.json") && names.contains("127.0.0.6.out"), "{names:?}");
    assert_eq!(std::fs::read(format!("{dir}/127.0.0.1.out")).unwrap(), b"\xff");
}

#[test]
fn a_short_timeout_ends_the_command_and_says_so() {
    let lab = Lab::start();
    let words = ["-H", "127.0.0.1", "--json", "--timeout", "500ms", "sleep 1000"];
    let done = Run::start(lab.command(&words)).finish(Duration::from_secs(30)).expect_status(5);
    let nodes = done.endings();
    assert_eq!(nodes["127.0.0.1"].cause(), "exec/timeout", "{}", done.text());
}

/// `BSSH_PASSWORD` is for the frontend's answers only.
#[test]
fn a_password_is_in_no_child() {
    let lab = Lab::start();
    let mut command = lab.command(&["-H", "127.0.0.1", "echo up; sleep 30"]);
    command.env("BSSH_PASSWORD", "tell-nobody");
    let mut run = Run::start(command);
    run.wait_for("up", Duration::from_secs(30));
    let core = run.core_pid();
    let told = ["environ", "cmdline"].map(|file| std::fs::read(format!("/proc/{core}/{file}")));
    for bytes in told {
        let text = String::from_utf8_lossy(&bytes.unwrap()).into_owned();
        assert!(!text.contains("tell-nobody"), "{text}");
    }
}

/// A command that needs no core leaves none behind; one that needs it has one that was not run anew.
#[test]
fn a_core_stands_by_until_it_is_wanted() {
    let lab = Lab::start();
    let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    let command = || lab.command(&["-H", "127.0.0.1", "echo up; sleep 30"]);
    let mut plain = Run::start(command());
    plain.wait_for("up", Duration::from_secs(30));
    assert_eq!(name(plain.core_pid()), "bssh-core\n");
    let mut named = command();
    named.env("BSSH_CORE", bssh_tests::bssh());
    let mut named = Run::start(named);
    named.wait_for("up", Duration::from_secs(30));
    assert_eq!(name(named.core_pid()), "bssh\n");
    // Its end is seen by the end of our pipes: a copy has them, too.
    Run::start(lab.command(&["completions", "fish"]))
        .finish(Duration::from_secs(30))
        .expect_status(0);
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.9:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_broken_configuration_is_told_where_it_decides_about_the_grammar() {
    let lab = Lab::start();
    let broken = lab.home.write("broken.yaml", "clusters:\n  prod:\n    nodes: [a\n").unwrap();
    let mut command = lab.command(&["-C", "127.0.0.1", "echo from-ssh"]);
    command.env("BSSH_CONFIG", &broken);
    let done = Run::start(command).finish(Duration::from_secs(60)).expect_status(0);
    assert_eq!(done.text(), "from-ssh\n");
    assert!(done.stderr.contains("warning: -C is taken as ssh's"), "{}", done.stderr);
    assert!(done.stderr.contains("broken.yaml"), "{}", done.stderr);
}
