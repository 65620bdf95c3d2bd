//! Everything that can be wrong on the way to a node, and with the streams: each has its cause
//! in `--json`, and a message that says what to do.

use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, Reply, SshdOptions, UserKey, processes};
use bssh_tests::{Ending, Lab, Peer, Run, Transcript, net, until};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(240);

/// The only node's end.
#[track_caller]
fn only(done: &Transcript) -> Ending {
    let nodes = done.endings();
    assert_eq!(nodes.len(), 1, "{}\n{}", done.text(), done.stderr);
    nodes.into_values().next().unwrap()
}

#[test]
fn every_failure_has_its_cause() {
    let lab = Lab::start();
    let other_key = UserKey::generate().unwrap();
    other_key.write(&lab.home.path().join("stranger")).unwrap();
    let changed = format!("* {}\n", other_key.public_line().unwrap());
    let changed = lab.home.write("changed", changed).unwrap();
    let empty = lab.home.write("empty", "").unwrap();
    let unused = TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap().port();
    let silent = TcpListener::bind("127.0.0.9:0").unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let known = |path: &std::path::Path| format!("UserKnownHostsFile={}", path.display());
    let revoked = format!("RevokedHostKeys={}", lab.sshd.known_hosts().display());
    for (target, option, status, cause, said) in [
        (format!("127.0.0.9:{unused}"), String::new(), 3, "dial/refused", "sshd"),
        (
            format!("127.0.0.9:{silent_port}"),
            "ConnectTimeout=1".to_owned(),
            3,
            "handshake/timeout",
            "SSH server",
        ),
        ("127.0.0.1".to_owned(), known(&changed), 3, "host-key/hostKeyChanged", "ssh-keygen -f '"),
        ("127.0.0.1".to_owned(), known(&empty), 3, "host-key/hostKeyUnknown", "fingerprint"),
        ("127.0.0.1".to_owned(), known(lab.home.path()), 3, "host-key/hostKeyFile", "mend"),
        ("127.0.0.1".to_owned(), revoked, 3, "host-key/hostKeyRevoked", "revoked"),
        ("nowhere.invalid".to_owned(), String::new(), 3, "resolve/resolve", "HostName"),
        (
            "127.0.0.1".to_owned(),
            "ProxyCommand=false".to_owned(),
            3,
            "dial/proxyCommand",
            "by hand",
        ),
        ("stranger@127.0.0.1".to_owned(), String::new(), 4, "auth/authFailed", "-v"),
        (
            "127.0.0.1".to_owned(),
            "Ciphers=aes128-cbc".to_owned(),
            3,
            "handshake/noCommonAlgorithm",
            "Ciphers",
        ),
    ] {
        let mut words = vec!["-H", &target, "--json", "--retry", "0"];
        if !option.is_empty() {
            words.extend(["-o", &option]);
        }
        words.push("true");
        let done = lab.run(&words).expect_status(status);
        let node = only(&done);
        assert_eq!(node.cause(), cause, "{words:?}: {}", node.event);
        assert!(node.message().contains(said), "{words:?}: {}", node.event);
        assert!(done.took < Duration::from_secs(30), "{words:?}: {:?}", done.took);
    }
}

/// What the table above has no words for.
#[test]
fn a_refused_channel_and_a_refused_request_have_their_causes() {
    let lab = Lab::start();
    let closed = bssh_tests::net::free_port();
    let mut peer = Peer::start(&lab.home, &[], &[]);
    for (action, code, said) in [
        (json!({"dial": {"host": "127.0.0.1", "port": closed}}), "channelRefused", "dialed from"),
        (json!({"subsystem": "nosuch"}), "requestRefused", "Subsystem"),
    ] {
        let settings = json!({"sshConfig": lab.sshd.ssh_config()});
        let ended =
            peer.exec(json!({"nodes": "127.0.0.1", "settings": settings, "action": action}));
        assert_eq!(ended["failure"]["code"], code, "{ended}");
        assert!(ended["failure"]["hint"].as_str().unwrap().contains(said), "{ended}");
    }
}

#[test]
fn too_many_keys_are_told_apart_from_the_wrong_key() {
    let options =
        SshdOptions { extra: vec!["MaxAuthTries 2".to_owned()], ..SshdOptions::default() };
    let lab = Lab::with(&options);
    let keys: Vec<_> = (0..4)
        .map(|n| {
            let path = lab.home.path().join(format!("key{n}"));
            UserKey::generate().unwrap().write(&path).unwrap();
            path.display().to_string()
        })
        .collect();
    let mut words = vec!["-H", "127.0.0.1", "--json"];
    words.extend(keys.iter().flat_map(|key| ["-i", key]));
    words.push("true");
    let done = lab.run(&words).expect_status(4);
    let node = only(&done);
    assert_eq!(node.cause(), "auth/tooManyAuthFailures", "{}", node.event);
    assert!(node.message().contains("-i"), "{}", node.event);
}

#[test]
fn new_host_keys_are_filed_once_each_also_by_many_nodes_at_once() {
    let lab = Lab::start();
    let file = lab.home.path().join("known");
    let option = format!("UserKnownHostsFile={}", file.display());
    let nodes = "127.0.1.[1-60]";
    for policy in ["StrictHostKeyChecking=accept-new", "StrictHostKeyChecking=yes"] {
        lab.run(&["-H", nodes, "-o", policy, "-o", &option, "true"]).expect_status(0);
        let text = std::fs::read_to_string(&file).unwrap();
        let mut names: Vec<_> = text.lines().filter_map(|l| l.split(' ').next()).collect();
        assert!(text.lines().all(|line| line.split(' ').count() == 3), "{text}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 60, "{text}");
    }
}

#[test]
fn one_bad_node_does_not_hold_up_the_others() {
    let quiet = Behaviour::default;
    let nodes = EmbeddedNodes::with(vec![
        quiet(),
        Behaviour { black_hole: true, ..quiet() },
        Behaviour { deny_auth: true, ..quiet() },
        Behaviour { other_host_key: true, ..quiet() },
        Behaviour { drop_after: Some(1000), ..quiet() },
        Behaviour { close_early: 2, ..quiet() },
        Behaviour { delay: Duration::from_millis(300), ..quiet() },
    ])
    .unwrap();
    let words =
        ["-H", "demo[1-7]", "--json", "--connect-timeout", "3", "--retry", "3", "echo $NODE"];
    let done = Lab::on_nodes(&nodes, &words).expect_status(10);
    let ends = done.endings();
    let cause = |n: usize| ends[&format!("demo{n}")].cause();
    assert_eq!([1, 6, 7].map(cause), ["status 0", "status 0", "status 0"], "{}", done.text());
    assert_eq!([2, 3].map(cause), ["handshake/timeout", "auth/authFailed"]);
    assert!(cause(4).starts_with("host-key/"), "{}", cause(4));
    assert!(cause(5).starts_with("handshake/"), "{}", cause(5));
    assert_eq!(nodes.connections()[5], 3, "two refusals, then in");
}

#[test]
fn max_startups_never_fails_a_node() {
    let options = SshdOptions { max_startups: "2:100:2".to_owned(), ..SshdOptions::default() };
    let lab = Lab::with(&options);
    let done = lab.run(&["-H", "127.0.1.[1-40]", "-f", "20", "--json", "echo in"]);
    let done = done.expect_status(0);
    assert_eq!(done.summary()["ok"], 40);
}

#[test]
fn one_session_per_connection_is_enough() {
    let lab = Lab::with(&SshdOptions { max_sessions: 1, ..SshdOptions::default() });
    let done = lab.run(&["-H", "127.0.0.[1-3]", "--json", "sleep 1; echo ok"]).expect_status(0);
    assert!(done.endings().values().all(|n| n.stdout == b"ok\n"));
    // Names of one host share its connection; a file server needs a session, too.
    let file = lab.home.write("file", "x").unwrap().display().to_string();
    let one = ["-o", "HostName=127.0.0.1", "-o", "HostKeyAlias=127.0.0.1"];
    let words = ["-H", "n[1-6]", "--json", "upload", &file, &format!("{file}.{{node}}")];
    let done = lab.run(&[&one[..], &words[..]].concat()).expect_status(0);
    assert_eq!(done.summary()["ok"], 6);
}

/// More files and directories at once than may be open, and links that are made at the end.
#[test]
fn with_few_descriptors_transfers_take_longer_and_no_more() {
    let lab = Lab::start();
    let tree = lab.home.path().join("tree");
    for n in 0..100 {
        let dir = tree.join(format!("{}/{n}", n % 7));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("file"), vec![b'x'; 70_000]).unwrap();
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
    }
    let tree = tree.display().to_string();
    let few = || {
        let mut command = lab.home.command(Path::new("sh"));
        command.args(["-c", "ulimit -n 100; exec \"$@\"", "sh"]).arg(bssh_tests::bssh());
        command.arg("-F").arg(lab.sshd.ssh_config());
        command
    };
    for (verb, more) in [("download", &["--symlinks", "preserve"][..]), ("upload", &[])] {
        let to = lab.home.path().join(verb);
        std::fs::create_dir(&to).unwrap();
        let mut command = few();
        command.args(["-H", "127.0.1.[1-8]", "-f", "8", "--json", verb, "-r"]).args(more);
        command.arg(&tree).arg(to.join("{node}"));
        let done = Run::start(command).finish(MINUTES).expect_status(0);
        assert_eq!(done.summary()["ok"], 8, "{verb}");
        let there = to.join("127.0.1.8/6/97");
        assert!(there.join("link").exists() && there.join("file").exists(), "{verb}");
    }
    let back = lab.home.path().join("back");
    std::fs::create_dir(&back).unwrap();
    let there = format!("127.0.0.1:{tree}.there");
    for (verb, here) in [("push", &*tree), ("run", back.to_str().unwrap())] {
        let mut command = few();
        command.args(["sync", verb, here, &there]);
        Run::start(command).finish(MINUTES).expect_status(0);
    }
    assert!(back.join("6/97/file").exists());
}

#[test]
fn a_connection_that_is_shared_and_found_to_be_lost_is_made_anew() {
    let nodes =
        EmbeddedNodes::with(vec![Behaviour { close_at_session: 1, ..Behaviour::default() }])
            .unwrap();
    let home = Home::new().unwrap();
    nodes.write_client_files(home.path()).unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let settings = json!({"sshConfig": home.path().join("ssh_config")});
    let mut reaches = |action: Value, state: &str| {
        let params = json!({"nodes": "demo1", "settings": settings, "action": action,
            "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"}});
        let run = peer.call("exec/start", params)["run"].clone();
        peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == state)
    };
    reaches(json!("hold"), "connected");
    let ended = reaches(json!({"command": "exit 3"}), "ended");
    assert_eq!(ended["params"]["exit"]["status"], 3, "{ended}");
    assert_eq!(nodes.connections(), [2]);
}

#[test]
fn a_server_that_dies_leaves_a_cause_for_every_node() {
    let mut lab = Lab::start();
    let targets = "127.0.1.[1-30]";
    let words = ["-H", targets, "--json", "--retry", "0", "echo started; sleep 1000.0625"];
    let mut run = Run::start(lab.command(&words));
    let started = |pid| processes::with_text("sleep 1000.0625").iter().any(|p| p.pid != pid);
    let pid = run.pid();
    for node in 1..=30 {
        run.wait_for(&format!(r#""node":"127.0.1.{node}","stream":"stdout""#), MINUTES);
    }
    assert!(started(pid));
    lab.sshd.stop();
    let done = run.finish(MINUTES).expect_status(10);
    let ends = done.endings();
    assert_eq!(ends.len(), 30);
    for (name, node) in ends {
        assert_eq!(node.cause(), "exec/transportLost", "{name}: {}", node.event);
        assert_eq!(node.stdout, b"started\n", "what came before is kept");
    }
}

#[test]
fn output_that_is_lost_after_the_exit_is_no_success() {
    let reply = |status_first| Reply {
        command: "*".to_owned(),
        stdout: vec![b'x'; 300_000],
        status_first,
        ..Reply::default()
    };
    let node = |drop_after, first| Behaviour {
        drop_after,
        replies: vec![reply(first)],
        ..Behaviour::default()
    };
    let nodes = EmbeddedNodes::with(vec![node(Some(100_000), true), node(None, true)]).unwrap();
    let done = Lab::on_nodes(&nodes, &["--json", "-w", "demo[1-2]", "x"]).expect_status(10);
    let ends = done.endings();
    assert_eq!(ends["demo1"].event["failure"]["code"], "transportLost", "{}", done.text());
    let said = ends["demo1"].event["failure"]["hint"].as_str().unwrap();
    assert!(said.contains("had exited with status 0, but some of its output may be"), "{said}");
    assert_eq!(ends["demo2"].event["failure"], Value::Null, "{}", done.text());
    assert_eq!(ends["demo2"].event["stdoutBytes"], 300_000);
    let done = Lab::on_nodes(&nodes, &["demo1", "x"]).expect_status(255);
    assert!(done.stdout.len() < 300_000, "{}", done.stderr);
    assert!(done.stderr.contains("emote host"), "{}", done.stderr);
    let done = Lab::on_nodes(&nodes, &["demo2", "x"]).expect_status(0);
    assert_eq!(done.stdout.len(), 300_000);
    let flood = format!("127.0.0.1:{}", net::serve(net::flood));
    let done = Lab::on_nodes(&nodes, &["-W", &flood, "demo1"]).expect_status(255);
    assert!(done.stderr.contains("emote host"), "{}", done.stderr);
}

#[test]
fn a_server_that_insists_on_compression_gets_it() {
    let node = Behaviour { compressed: true, ..Behaviour::default() };
    let nodes = EmbeddedNodes::with(vec![node]).unwrap();
    let done = Lab::on_nodes(&nodes, &["demo1", "seq 1 100000"]).expect_status(0);
    assert_eq!(done.stdout.len(), 588_895);
}

#[test]
fn a_closed_stdout_ends_the_run() {
    let lab = Lab::start();
    let mark = "yes epipe.0625";
    let mut run = Run::start(lab.command(&["-H", "127.0.0.[1-3]", mark]));
    run.wait_for("epipe", MINUTES);
    run.close_stdout();
    let done = run.finish(Duration::from_secs(30));
    assert_eq!(done.status, Some(141), "{}", done.stderr);
    let left = || processes::with_text(mark);
    assert!(until(Duration::from_secs(10), || left().is_empty()), "{:?}", left());
}

#[test]
fn stdin_that_nobody_reads_does_no_harm() {
    let lab = Lab::start();
    let done = lab.feed(&["-H", "127.0.0.[1-2]", "-N", "echo done"], &vec![b'z'; 8 << 20]);
    assert_eq!(done.expect_status(0).text(), "done\ndone\n");
}

#[test]
fn stdin_reaches_every_node_whole() {
    let lab = Lab::start();
    let text: Vec<u8> =
        (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let done = lab.feed(&["-H", "127.0.0.[1-4]", "-b", "cksum"], &text).expect_status(0);
    let line = done.text();
    assert!(line.contains(" 3000000"), "{line}");
    assert_eq!(line.matches(" 3000000").count(), 1, "all the same: {line}");
}

/// A command must not take a part of its input for the whole.
#[test]
fn stdin_that_cannot_be_kept_fails_its_nodes_and_does_not_end() {
    let lab = Lab::start();
    let mark = lab.home.path().join("taken-for-whole");
    let command = format!("cat >/dev/null; touch {}", mark.display());
    let mut bssh = lab.command(&["-H", "127.0.0.[1-2]", "--json", &command]);
    bssh.env("TMPDIR", lab.home.path().join("nowhere"));
    let mut run = Run::start(bssh);
    run.write(&vec![b'z'; 3 << 20]);
    let done = run.finish(MINUTES).expect_status(10);
    let ends = done.endings();
    assert_eq!(ends.len(), 2);
    for (name, node) in ends {
        assert_eq!(node.cause(), "exec/stdinLost", "{name}: {}", node.event);
        assert!(node.event["hint"].as_str().is_none_or(|h| h.contains("TMPDIR")));
    }
    assert!(!mark.exists());
}

/// Stands for sudo: wants a password, and would wait for ever for it.
const SUDO: &str = "#!/bin/sh\n[ \"$1\" != -n ] || exit 1\nprintf %s \"$3\" >&2\nread -r answer\n";

#[test]
fn sudo_without_a_password_is_refused_at_once() {
    let (nodes, home) = (EmbeddedNodes::start(1).unwrap(), Home::new().unwrap());
    let sudo = home.write("bin/sudo", SUDO).unwrap();
    std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("SetEnv=PATH={}:/usr/bin:/bin", sudo.parent().unwrap().display());
    let words = ["-o", &path, "-H", "demo1", "-u", "100", "--sudo", "--json", "id"];
    let done = Lab::on_nodes(&nodes, &words).expect_status(10);
    let node = only(&done);
    assert_eq!(node.cause(), "exec/sudoDeclined", "{}", node.event);
    assert!(done.took < Duration::from_secs(60), "{:?}", done.took);
}

#[test]
fn odd_bytes_arrive_as_they_are() {
    let lab = Lab::start();
    let command = r"printf 'a\000\377\n\r\033[31mx\303'";
    let done = lab.run(&["-H", "127.0.0.1", "--json", command]).expect_status(0);
    assert_eq!(only(&done).stdout, b"a\0\xff\n\r\x1b[31mx\xc3");
    let done = lab.run(&["127.0.0.1", command]).expect_status(0);
    assert_eq!(done.stdout, b"a\0\xff\n\r\x1b[31mx\xc3");
}

#[test]
fn a_line_of_64_mb_is_not_held_in_memory() {
    let lab = Lab::start();
    let command = "head -c 67108864 /dev/zero | tr '\\000' x";
    let done = lab.run(&["-H", "127.0.0.1", "-N", command]).expect_status(0);
    assert_eq!(done.stdout.iter().filter(|b| **b == b'x').count(), 64 << 20);
}

#[test]
fn few_descriptors_are_enough_for_many_nodes() {
    let lab = Lab::start();
    for (limit, targets, n) in
        [("ulimit -Sn 256", "127.0.[1-4].[1-250]", 1000), ("ulimit -n 256", "127.0.1.[1-250]", 250)]
    {
        let bssh = lab.command(&["-H", targets, "-f", "500", "--json=summary", "true"]);
        let mut shell = lab.home.command("sh");
        shell.args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")]);
        shell.arg(bssh.get_program()).args(bssh.get_args());
        let done = Run::start(shell).finish(MINUTES).expect_status(0);
        let summary = &done.events()[0]["summary"];
        assert_eq!(summary["ok"], n, "{limit}: {summary}");
    }
}

#[test]
fn an_ssh_command_goes_on_when_nobody_takes_its_stderr() {
    let lab = Lab::start();
    let bssh = lab.command(&["127.0.0.1", "echo e1 >&2; echo e2 >&2; echo done; exit 3"]);
    let mut shell = lab.home.command("sh");
    shell.args(["-c", "\"$0\" \"$@\" 2>/dev/full"]);
    shell.arg(bssh.get_program()).args(bssh.get_args());
    let done = Run::start(shell).finish(MINUTES).expect_status(3);
    assert_eq!(done.text(), "done\n");
}

/// A node that does not answer is left in time, whatever it sends meanwhile.
#[test]
fn a_node_that_never_says_whether_the_command_has_started_is_left() {
    let unanswered = |n| Behaviour { unanswered: Some(n), ..Behaviour::default() };
    for (behaviour, cause, said) in [
        (Behaviour { unopened: true, ..Behaviour::default() }, "channel/timeout", "session"),
        (unanswered(0), "exec/timeout", "may run"),
        (unanswered(3 << 20), "exec/unsupported", "sends output"),
    ] {
        let nodes = EmbeddedNodes::with(vec![behaviour]).unwrap();
        let done = Lab::on_nodes(&nodes, &["-H", "demo1", "--timeout", "2", "--json", "true"]);
        let node = only(&done);
        assert_eq!(node.cause(), cause, "{}", node.event);
        assert!(node.message().contains(said), "{}", node.event);
        assert!(done.took < Duration::from_secs(30), "{:?}", done.took);
    }
}

/// What fails for good is not done again: it would log in and speak each time.
#[test]
fn a_proxy_command_that_ends_is_run_once() {
    let lab = Lab::start();
    let runs = lab.home.path().join("runs");
    let proxy = format!("ProxyCommand=sh -c 'echo >> {}; exit 1'", runs.display());
    let done = lab.run(&["-H", "127.0.0.1", "--json", "-o", &proxy, "true"]).expect_status(3);
    assert_eq!(only(&done).cause(), "dial/proxyCommand");
    assert_eq!(std::fs::read(runs).unwrap(), b"\n");
}

/// A server would end the connection, with everything that others have on it.
#[test]
fn a_command_that_no_server_takes_is_not_sent() {
    let lab = Lab::start();
    let word = "a".repeat(100_000);
    for (words, status) in [(&["127.0.0.1"][..], 255), (&["-H", "127.0.0.1", "--"], 10)] {
        let done = lab.run(&[words, &["echo", &word, &word, &word]].concat());
        let said = done.expect_status(status).stderr;
        assert!(said.contains("the command is 300007 bytes long, and a server takes"), "{said}");
        lab.run(&[words, &["true", &word]].concat()).expect_status(0);
    }
}
