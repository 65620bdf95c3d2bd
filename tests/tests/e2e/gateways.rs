//! Commands run through gateways: what works as without them, what is lost with one, and what a
//! hostile one can do.

use bssh_fixtures::{Behaviour, processes};
use bssh_tests::{FRAMES, Run, Transcript, Tree, bssh, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);
/// A gateway's end, and how it is told.
const KILL: (Signal, &str) = (Signal::KILL, "was ended by signal KILL");

/// Which gateway each node was reached through.
fn gateways(done: &Transcript) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let connected = done.events().into_iter().filter(|event| event["state"] == "connected");
    connected.map(|event| (text(&event["node"]), text(&event["gateway"]))).collect()
}

#[test]
fn results_are_those_of_a_direct_run() {
    let tree = Tree::start(12);
    let script = "cat; echo $NODE; echo err >&2; [ $NODE != demo7 ] || exit 3";
    let words = ["-H", "demo[1-12]", "--via", "gw[1-3]", "--json", script];
    let done = tree.feed(&words, b"in\0\xff\n").expect_status(5);
    let through = gateways(&done);
    assert_eq!(through.values().collect::<BTreeSet<_>>().len(), 3, "{through:?}");
    for (name, node) in done.endings() {
        let want = [b"in\0\xff\n".as_slice(), name.as_bytes(), b"\n"].concat();
        assert_eq!(node.stdout, want, "{name}: {node:?}");
        assert_eq!(node.stderr, b"err\n", "{name}");
        assert_eq!(node.cause(), if name == "demo7" { "status 3" } else { "status 0" }, "{name}");
    }
    assert_eq!(tree.nodes.connections(), [1; 12]);
    let gathered = tree.run(&["-H", "demo[1-12]", "--via", "gw[1-3]", "-b", "echo same"]);
    let gathered = gathered.expect_status(0).text();
    assert!(gathered.contains("demo[1-12]") && gathered.contains("same"), "{gathered}");
    assert!(until(START, || tree.cores().is_empty()), "left: {:?}", tree.cores());
}

#[test]
fn host_keys_are_judged_by_our_own_files() {
    let stranger = Behaviour { other_host_key: true, ..Behaviour::default() };
    let tree = Tree::with(vec![Behaviour::default(), stranger]);
    let words = ["-H", "demo[1-2]", "--via", "gw1", "--json", "echo $NODE"];
    let done = tree.run(&words).expect_status(10);
    let nodes = done.endings();
    assert_eq!(nodes["demo1"].cause(), "status 0", "{}", done.text());
    assert_eq!(nodes["demo2"].cause(), "host-key/hostKeyChanged", "{}", done.text());
    // The place is one of ours.
    let message = nodes["demo2"].message();
    assert!(message.contains("home") && message.contains("known_hosts:1"), "{message}");

    // What is learned is learned here.
    std::fs::remove_file(tree.home.path().join("known_hosts")).unwrap();
    let learn = ["-o", "StrictHostKeyChecking=accept-new"];
    tree.run(&[&learn[..], &words[..]].concat()).expect_status(0);
    let known = std::fs::read_to_string(tree.home.path().join("known_hosts")).unwrap();
    assert_eq!(known.lines().count(), 2, "{known}");
    tree.run(&words).expect_status(0);
}

#[test]
fn commands_end_when_they_are_told_to() {
    let tree = Tree::start(0);
    let mark = format!("77{}", std::process::id());
    let script = format!("sh -c 'trap \"\" TERM; sleep 1000.{mark} & sleep 1001.{mark}'");
    let sleeping = || {
        let mut found = processes::with_text(&mark);
        found.retain(|p| p.command.starts_with("sleep "));
        found.len()
    };
    let via = ["-H", "leaf[1-2]", "--via", "gw[1-2]", "--json"];
    let script = script.as_str();
    let words = [&via[..], &["--timeout", "2", script][..]].concat();
    let done = tree.run(&words).expect_status(5);
    for (name, node) in done.endings() {
        assert_eq!(node.cause(), "exec/timeout", "{name}: {}", node.event);
        assert_eq!(node.event["killed"], "confirmed", "{name}: {}", node.event);
    }
    assert_eq!(sleeping(), 0);

    let mut run = Run::start(tree.command(&[&via[..], &[script][..]].concat()));
    assert!(until(START, || sleeping() == 4), "{}", sleeping());
    run.signal(Signal::INT);
    run.wait_for("Ctrl-C", START);
    run.signal(Signal::INT);
    let done = run.finish(START).expect_status(130);
    for (name, node) in done.endings() {
        assert_eq!(node.cause(), "exec/cancelled", "{name}: {}", node.event);
        assert_eq!(node.event["killed"], "confirmed", "{name}: {}", node.event);
    }
    assert_eq!(sleeping(), 0);

    // Nobody is left who could end them but the gateways' cores and the nodes' own helpers.
    let run = Run::start(tree.command(&[&via[..], &[script][..]].concat()));
    assert!(until(START, || sleeping() == 4), "{}", sleeping());
    let end = std::time::Instant::now() + Duration::from_millis(1500);
    until(Duration::from_secs(2), || std::time::Instant::now() > end);
    processes::kill(run.core_pid());
    run.finish(START).expect_status(1);
    assert!(until(START, || sleeping() == 0), "{}", sleeping());
    assert!(until(START, || tree.cores().is_empty()), "left: {:?}", tree.cores());
}

/// The lines of a file that nodes write.
fn lines(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Each node's command writes its name to a file: a node that is there twice was run twice. After
/// a third of them the others are held, so that all the gateways have commands under way when one
/// of them gets a signal.
fn killed_in_mid_run(n_nodes: usize, fanout: &str, (signal, end): (Signal, &str)) {
    let tree = Tree::start(n_nodes);
    let log = tree.home.write("ran", "").unwrap();
    let [hold, held, go] = ["hold", "held", "go"].map(|name| tree.home.path().join(name));
    let script = format!(
        "echo $NODE >> {}; sleep 0.1; if [ -e {} ]; then echo $NODE >> {}; \
         until [ -e {} ]; do sleep 0.05; done; fi; echo done $NODE",
        log.display(),
        hold.display(),
        held.display(),
        go.display()
    );
    let nodes = format!("demo[1-{n_nodes}]");
    let words = ["-H", &nodes, "--via", "gw[1-4]", "-f", fanout, "--json", &script];
    let mut run = Run::start(tree.command(&words));
    assert!(until(START, || lines(&log).len() > n_nodes / 3), "{}", lines(&log).len());
    std::fs::write(&hold, "").unwrap();
    let n_held: usize = fanout.parse().unwrap();
    assert!(until(START, || lines(&held).len() == n_held), "{:?}", lines(&held));
    let cores = tree.cores();
    assert_eq!(cores.len(), 4);
    kill_process(Pid::from_raw(cores[0]).unwrap(), signal).unwrap();
    run.wait_for(end, START);
    std::fs::write(&go, "").unwrap();
    let done = run.finish(Duration::from_secs(180)).expect_status(10);

    let (ends, through) = (done.endings(), gateways(&done));
    assert_eq!(ends.len(), n_nodes);
    let lost: Vec<&String> =
        ends.iter().filter(|(_, n)| n.cause() != "status 0").map(|(n, _)| n).collect();
    // About a quarter of the fanout was under way there; all others have ended well.
    let share = n_held.div_ceil(4);
    assert!(!lost.is_empty() && lost.len() <= share + 4, "{} lost: {lost:?}", lost.len());
    let dead = BTreeSet::from_iter(lost.iter().map(|name| &through[*name]));
    assert_eq!(dead.len(), 1, "they were all at one gateway: {dead:?}");
    for name in &lost {
        assert_eq!(ends[*name].cause(), "exec/gatewayLost", "{}", ends[*name].event);
    }
    let mut all = lines(&log);
    all.sort();
    let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "run twice: {twice:?}");
    for (name, node) in ends.iter().filter(|(name, _)| !lost.contains(name)) {
        assert_eq!(node.stdout, format!("done {name}\n").into_bytes(), "{name}");
        assert!(all.contains(name), "{name} says it ran");
    }
    assert_eq!(done.summary()["ok"], n_nodes - lost.len());
    assert!(until(START, || tree.cores().is_empty()), "left: {:?}", tree.cores());
}

#[test]
fn a_killed_gateway_loses_only_what_ran_there() {
    killed_in_mid_run(100, "32", KILL);
}

/// Its machine goes down, or its core is stopped: nobody here has cancelled anything.
#[test]
fn a_gateway_that_is_told_to_end_loses_only_what_ran_there() {
    killed_in_mid_run(24, "8", (Signal::TERM, "exited with status 0"));
}

/// The full size takes half a minute and 2000 connections: `BSSH_FULL_TREE=1`.
#[test]
#[allow(clippy::disallowed_methods, reason = "tests are told by their environment")]
fn a_killed_gateway_of_a_full_tree_loses_only_what_ran_there() {
    match std::env::var_os("BSSH_FULL_TREE") {
        Some(_) => killed_in_mid_run(1000, "128", KILL),
        None => killed_in_mid_run(40, "16", KILL),
    }
}

#[test]
fn what_may_be_run_again_is_run_again() {
    let tree = Tree::start(8);
    let [held, go] = ["held", "go"].map(|name| tree.home.path().join(name));
    let (file, end) = (held.display(), go.display());
    let script =
        format!("echo $NODE >> {file}; until [ -e {end} ]; do sleep 0.05; done; echo $NODE");
    let words = ["-H", "demo[1-8]", "--via", "gw[1-2]", "--retry-safe", "--json", &script];
    let run = Run::start(tree.command(&words));
    assert!(until(START, || lines(&held).len() == 8), "{:?}", lines(&held));
    assert_eq!(tree.cores().len(), 2, "{:?}", tree.cores());
    assert!(processes::kill(tree.cores()[0]));
    assert!(until(START, || lines(&held).len() == 12), "four again: {:?}", lines(&held));
    std::fs::write(&go, "").unwrap();
    let done = run.finish(Duration::from_secs(120)).expect_status(0);
    for (name, node) in done.endings() {
        assert_eq!(node.stdout, format!("{name}\n").into_bytes(), "{name}");
    }
    assert_eq!(tree.nodes.connections().iter().sum::<usize>(), 12, "four nodes had a second try");
}

#[test]
fn a_topology_leads_over_two_levels() {
    let tree = Tree::start(6);
    let topology = "[routes]\nhere: gw[1-2]\ngw[1-2]: gw[3-4]\ngw[3-4]: demo[1-4]\n";
    tree.home.write("topology.conf", topology).unwrap();
    let program = bssh().display().to_string();
    let words = ["-H", "demo[1-6]", "--json", "echo $NODE"];
    let with = [&["--topology", "topology.conf"][..], &words[..]].concat();
    let check = |done: Transcript| {
        let through = gateways(&done);
        for (name, node) in done.endings() {
            assert_eq!(node.stdout, format!("{name}\n").into_bytes(), "{name}: {node:?}");
            let direct = name == "demo5" || name == "demo6";
            assert_eq!(through[&name].is_empty(), direct, "{name}: {through:?}");
        }
    };
    check(tree.run(&with).expect_status(0));
    tree.configure(&format!("gateways: {{ topology: topology.conf, program: {program} }}\n"));
    check(tree.run(&words).expect_status(0));
    let direct = tree.run(&[&["--via", "none"][..], &words[..]].concat()).expect_status(0);
    assert!(gateways(&direct).values().all(String::is_empty), "{}", direct.text());
}

#[test]
fn our_own_executable_is_put_there_and_checked() {
    let tree = Tree::start(1);
    tree.configure("gateways: { program: /nowhere/bssh }\n");
    let words = ["-H", "demo1", "--via", "gw1", "--json", "echo $NODE"];
    let done = tree.run(&words).expect_status(3);
    let message = done.endings()["demo1"].message();
    assert!(message.contains("status 127") && message.contains("/nowhere/bssh"), "{message}");
    // The daemon's home is this account's own: what is put there is taken away again.
    let cache = home_of_this_account().join(".cache/bssh");
    let before = pushed(&cache);
    let push = [&["--via-push"][..], &words[..]].concat();
    tree.run(&push).expect_status(0);
    let new: Vec<_> = pushed(&cache).difference(&before).cloned().collect();
    let file = cache.join(new.first().or(before.last()).expect("a file"));
    // The same size, other bytes: found by its hash, and put right.
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::remove_file(&file).unwrap();
    std::fs::File::create(&file).unwrap().set_len(length).unwrap();
    tree.run(&push).expect_status(0);
    // As after an upgrade: a core whose own file is gone.
    let old = tree.home.path().join("old");
    std::fs::copy(bssh(), &old).unwrap();
    let mut core = tree.home.command(&old);
    Run::start({
        core.args(["core", "serve"]);
        core
    })
    .finish(START)
    .expect_status(0);
    std::fs::remove_file(&old).unwrap();
    std::fs::remove_file(&file).unwrap();
    tree.run(&push).expect_status(0);
    tree.run(&["core", "stop"]).expect_status(0);
    assert_eq!(pushed(&cache).len(), before.len() + new.len(), "nothing else is left");
    for name in new {
        std::fs::remove_file(cache.join(name)).unwrap();
    }
}

fn pushed(cache: &std::path::Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(cache).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

pub(super) fn home_of_this_account() -> std::path::PathBuf {
    let id = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let mut lines = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.get(2) == Some(&id.as_str())).expect("an account")[5].into()
}

#[test]
fn hostile_gateways_are_named_and_others_go_on() {
    let tree = Tree::start(6);
    let script = HOSTILE.replace("FRAMES", FRAMES).replace("BSSH", &bssh().display().to_string());
    let script = tree.home.write("hostile", script).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    tree.configure(&format!("gateways: {{ program: {} }}\n", script.display()));
    for (gateway, said) in [
        ("gw2", "it says \"Welcome to gw2!\" instead of the protocol"),
        ("gw3", "it exited with status 9: no core today"),
        ("gw4", "its bssh 0.0.9 cannot be a gateway"),
        ("gw5", "this core speaks protocol 2"),
        ("gw6", "it speaks of \"stranger\" where it was given"),
        ("gw7", "it asks about \"stranger\", which it was not given"),
        ("gw8", "it started other nodes than it was given"),
        ("gw9", "it names output that it has not sent"),
        ("gw10", "it says more of its nodes than it may"),
        ("gw11", "it says more of its nodes than it may"),
        ("gw12", "it says more of its nodes than it may"),
    ] {
        let via = format!("gw1,{gateway}");
        let words = ["-H", "demo[1-6]", "-f", "6", "--via", &via, "--json", "echo $NODE"];
        let done = tree.run(&words);
        assert!(
            done.stderr.contains(&format!("gateway {gateway}: ")),
            "{gateway}: {}",
            done.stderr
        );
        assert!(done.stderr.contains(said), "{gateway}: {}", done.stderr);
        for (name, node) in done.endings() {
            match node.cause().as_str() {
                "status 0" => assert_eq!(node.stdout, format!("{name}\n").into_bytes()),
                cause => {
                    assert_eq!(cause, "exec/gatewayLost", "{gateway}: {}", node.event);
                    assert!(node.message().contains(gateway), "{gateway}: {}", node.event);
                }
            }
        }
        let ok = done.summary()["ok"].as_u64().unwrap();
        assert!(ok >= 3, "{gateway}: {}", done.text());
        assert!(
            ok == 6 || !["gw2", "gw3", "gw4", "gw5"].contains(&gateway),
            "{gateway}: {}",
            done.text()
        );
    }
    // Alone they are the end of the run, and said to be.
    let done = tree.run(&["-H", "demo1", "--via", "gw[2-3]", "--json", "true"]).expect_status(3);
    let message = done.endings()["demo1"].message();
    assert!(message.contains("gw2: ") && message.contains("gw3: "), "{message}");
}

/// What it is depends on the address it was reached at.
const HOSTILE: &str = r##"#!/bin/sh
case $SSH_CONNECTION in
  *" 127.0.9.1 "*) exec BSSH "$@";;
  *" 127.0.9.2 "*) echo 'Welcome to gw2!'; exec BSSH "$@";;
  *" 127.0.9.3 "*) echo 'no core today' >&2; exit 9;;
esac
exec python3 - 3<&0 "$SSH_CONNECTION" <<'END'
import os, sys
here = sys.argv[1].split()[2].rsplit('.', 1)[1]
link = os.fdopen(3, 'rb')
FRAMES
hello = read()
if here == '5':
    say({'id': hello['id'], 'error': {'code': 1081, 'message': 'this core speaks protocol 2',
         'data': {'kind': 'version.unsupported', 'retryable': False, 'supported': [2]}}})
    sys.exit()
features = {'exec': 1} if here == '4' else {'exec': 1, 'gateway': 1}
say({'id': hello['id'], 'result': {'protocol': {'major': 1, 'level': 1}, 'session': 1,
     'core': {'name': 'bssh', 'version': '0.0.9', 'pid': 1}, 'features': features,
     'limits': {'maxFrame': 1 << 24, 'maxData': 1 << 16, 'window': 1 << 20, 'maxRequests': 9}}})
start = read()
name = start['params']['planned'][0]['name']
say({'id': start['id'], 'result': {'run': 7, 'nodes': ['stranger' if here == '8' else name]}})
if here == '6':
    say({'method': 'exec/node', 'params': {'run': 7, 'index': 0, 'node': 'stranger',
         'state': 'ended', 'exit': {'status': 0}, 'stdoutBytes': 0, 'stderrBytes': 0,
         'durationMs': 1}})
if here == '9':
    say({'method': 'exec/node', 'params': {'run': 7, 'index': 0, 'node': name,
         'state': 'ended', 'exit': {'status': 0}, 'stdoutBytes': 4, 'stderrBytes': 0,
         'durationMs': 1, 'output': {'same': 'AAAA'}}})
def state(**more):
    say({'method': 'exec/node', 'params': dict(more, run=7, index=0, node=name)})
if here == '10':
    for n in range(1100): state(state='connecting', attempt=1)
if here == '11':
    # Each would have a window of its own.
    for n in range(2): state(state='executing', stdout=2 * n, stderr=2 * n + 1)
if here == '12':
    state(state='connecting', attempt=1, more='x' * 1000000)
if here == '7':
    say({'id': 'c1', 'method': 'auth/prompt', 'params': {'prompt': 1, 'node': 'stranger',
         'kind': 'password', 'title': 'your password', 'attempt': 1,
         'fields': [{'id': '0', 'label': 'password', 'echo': False}]}})
link.read()
END
"##;
