//! Uploads that one node passes on to the others: what comes of it is what a direct upload makes,
//! and what the seed cannot do is done from here.

use super::files::{Looks, looks, noise, text, tree};
use bssh_fixtures::{Behaviour, Gate};
use bssh_tests::{FRAMES, Run, Transcript, Tree, bssh, until};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);

/// Which node each node got its files from; empty: from here.
fn givers(done: &Transcript) -> BTreeMap<String, String> {
    let mut givers = BTreeMap::new();
    for event in done.events().iter().filter(|event| event["state"] == "connected") {
        let name = |key| event[key].as_str().unwrap_or_default().to_owned();
        givers.insert(name("node"), name("gateway"));
    }
    givers
}

/// A place of its own for each node's copy.
struct Copies(PathBuf);

impl Copies {
    fn new(tree: &Tree, name: &str) -> Copies {
        let root = tree.home.path().join(name);
        fs::create_dir(&root).unwrap();
        Copies(root)
    }

    fn target(&self) -> String {
        format!("{}/{{node}}", self.0.display())
    }

    fn of(&self, node: &str, times: bool) -> Looks {
        let mut looks = looks(&self.0.join(node), times);
        // What was there before has a time of its own.
        looks.entry(Vec::new()).and_modify(|root| root.1 = 0);
        looks
    }
}

/// The same with and without `--relay`.
fn same(tree: &Tree, flags: &[&str], prepare: impl Fn(&Copies)) {
    let source = tree.home.path().join("source");
    let words = |to: &str, more: &[&str]| {
        let start = ["-H", "gw1,demo[1-4]", "--json", "upload", "-r"];
        [&start, flags, more, &[text(&source), to]]
            .concat()
            .iter()
            .map(|w| (*w).to_owned())
            .collect()
    };
    let name = format!("{}-{}", flags.len(), flags.first().unwrap_or(&"plain"));
    let direct = Copies::new(tree, &format!("direct{name}"));
    let relayed = Copies::new(tree, &format!("relayed{name}"));
    prepare(&direct);
    prepare(&relayed);
    let want: Vec<String> = words(&direct.target(), &[]);
    let want = tree.run(&want).expect_status(0);
    let before = tree.nodes.connections();
    let got: Vec<String> = words(&relayed.target(), &["--relay"]);
    let got = tree.run(&got).expect_status(0);
    assert_eq!(got.stderr, "");
    let now = tree.nodes.connections();
    assert!(before.iter().zip(&now).all(|(old, new)| new - old == 1), "{before:?} {now:?}");
    let (wanted, nodes) = (want.endings(), got.endings());
    for (name, giver) in givers(&got) {
        assert_eq!(giver, if name == "gw1" { "" } else { "gw1" }, "{name}");
        let times = flags.contains(&"--preserve");
        assert!(relayed.of(&name, times) == direct.of(&name, times), "{name} {flags:?}");
        for count in ["files", "bytes", "dirs", "links", "deleted"] {
            let (want, got) = (&wanted[&name].event[count], &nodes[&name].event[count]);
            assert_eq!(want, got, "{name} {count}");
        }
    }
    let bytes = |done: &Transcript| done.events().pop().unwrap()["bytes"].clone();
    assert_eq!(bytes(&want), bytes(&got));
    assert!(until(START, || tree.cores().is_empty()), "left: {:?}", tree.cores());
}

#[test]
fn files_are_those_of_a_direct_upload() {
    let nodes = Tree::start(4);
    let source = nodes.home.path().join("source");
    tree(&source);
    // What one directory has is not what another one gets; what is named differs from node to node.
    let prepare = |copies: &Copies| {
        fs::create_dir_all(copies.0.join("gw1/source")).unwrap();
        let only = copies.0.join("gw1/source/only there");
        fs::write(&only, "x").unwrap();
        fs::create_dir(copies.0.join("demo2")).unwrap();
        fs::write(copies.0.join("demo2/own"), "x").unwrap();
        for path in [only, copies.0.join("demo2/own")] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }
    };
    same(&nodes, &[], prepare);
    same(&nodes, &["--preserve", "--symlinks", "preserve", "--verify"], prepare);
    same(&nodes, &["--symlinks", "skip", "--skip", "*big", "--delete"], |copies| {
        for node in ["gw1", "demo3"] {
            fs::create_dir_all(copies.0.join(node).join("source/old")).unwrap();
        }
    });
    // A file is one, too.
    let copies = Copies::new(&nodes, "one");
    let file = source.join("plain");
    let words = ["-H", "gw1,demo[1-4]", "upload", "--relay", text(&file), &copies.target()];
    nodes.run(&words).expect_status(0);
    assert_eq!(fs::read(copies.0.join("demo4")).unwrap(), fs::read(&file).unwrap());
}

#[test]
fn what_fails_fails_on_its_node() {
    let denied = Behaviour { deny_auth: true, ..Behaviour::default() };
    let stranger = Behaviour { other_host_key: true, ..Behaviour::default() };
    let tree = Tree::with(vec![Behaviour::default(), denied, stranger, Behaviour::default()]);
    let copies = Copies::new(&tree, "copies");
    let file = tree.home.write("file", noise(300_000)).unwrap();
    // The first node cannot be had: the second one is the seed. A directory is in the way.
    fs::create_dir_all(copies.0.join("demo4/file")).unwrap();
    let words = ["-H", "demo2,gw1,demo1,demo3,demo4", "--json", "upload", "--relay"];
    let done = tree.run(&[&words[..], &[text(&file), &copies.target()]].concat());
    let done = done.expect_status(10);
    let nodes = done.endings();
    for (name, cause) in [
        ("demo2", "auth/"),
        ("gw1", "ok"),
        ("demo1", "ok"),
        ("demo3", "host-key/hostKeyChanged"),
        ("demo4", "transfer/filesFailed"),
    ] {
        let event = &nodes[name].event;
        match cause {
            "ok" => assert_eq!(event["bytes"], 300_000, "{name}: {event}"),
            cause => assert!(nodes[name].cause().starts_with(cause), "{name}: {event}"),
        }
    }
    assert!(nodes["demo4"].message().contains("through gw1"), "{}", nodes["demo4"].event);
    assert_eq!(givers(&done)["demo1"], "gw1");
    assert_eq!(fs::read(copies.0.join("demo1")).unwrap(), noise(300_000));
    assert!(done.stderr.contains("demo3"), "it was tried from here as well: {}", done.stderr);
}

#[test]
fn a_lost_seed_is_replaced() {
    replaced(Signal::KILL, "it was ended by signal KILL");
}

/// A core that is told to end cancels what it does, as its machine may be going down.
#[test]
fn a_seed_that_is_told_to_end_is_replaced() {
    replaced(Signal::TERM, "it has given up");
}

fn replaced(signal: Signal, why: &str) {
    let gate = Arc::new(Gate::default());
    let held = Behaviour { gate: Some(gate.clone()), ..Behaviour::default() };
    let tree = Tree::with(vec![held, Behaviour::default(), Behaviour::default()]);
    let copies = Copies::new(&tree, "copies");
    let file = tree.home.write("file", noise(3_000_000)).unwrap();
    gate.set(8);
    // One after the other: behind the one that is held nobody is served.
    let words = ["-H", "gw1,demo1,gw2,demo[2-3]", "-f", "1", "--json", "upload", "--relay"];
    let run = Run::start(tree.command(&[&words[..], &[text(&file), &copies.target()]].concat()));
    assert!(until(START, || gate.is_held()));
    assert!(!copies.0.join("demo1").exists());
    // What is held stays so; whoever comes anew is served.
    gate.set(u64::MAX);
    kill_process(Pid::from_raw(tree.cores()[0]).unwrap(), signal).unwrap();
    let done = run.finish(START).expect_status(0);
    let said = format!("gw1 passes nothing on any more: {why}");
    assert!(done.stderr.contains(&said), "{}", done.stderr);
    let want = noise(3_000_000);
    for name in ["gw1", "gw2", "demo1", "demo2", "demo3"] {
        assert!(fs::read(copies.0.join(name)).unwrap() == want, "{name}");
    }
    let givers = givers(&done);
    assert_eq!((&*givers["demo1"], &*givers["gw2"]), ("", ""), "{givers:?}");
    assert!(until(START, || tree.cores().is_empty()), "left: {:?}", tree.cores());
}

#[test]
fn a_relay_that_is_given_up_leaves_nothing() {
    let gate = Arc::new(Gate::default());
    let held = Behaviour { gate: Some(gate.clone()), ..Behaviour::default() };
    let tree = Tree::with(vec![Behaviour::default(), held]);
    let copies = Copies::new(&tree, "copies");
    let file = tree.home.write("file", noise(3_000_000)).unwrap();
    gate.set(8);
    let words = ["-H", "gw1,demo[1-2]", "--json", "upload", "--relay"];
    let run = Run::start(tree.command(&[&words[..], &[text(&file), &copies.target()]].concat()));
    assert!(until(START, || gate.is_held() && copies.0.join("demo1").exists()));
    run.signal(Signal::INT);
    let done = run.finish(START).expect_status(130);
    let nodes = done.endings();
    assert_eq!(nodes["demo1"].event["files"], 1);
    assert_eq!(nodes["demo2"].event["failure"]["code"], "cancelled", "{}", nodes["demo2"].event);
    assert!(!copies.0.join("demo2").exists());
    assert!(until(START, || tree.cores().is_empty()), "left: {:?}", tree.cores());
}

#[test]
fn where_no_core_can_run_files_come_from_here() {
    let bare = Behaviour { no_sftp: true, ..Behaviour::default() };
    let tree = Tree::with(vec![bare, Behaviour::default()]);
    let source = tree.home.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), noise(100_000)).unwrap();
    symlink("file", source.join("link")).unwrap();
    for (at, (program, seed, said)) in [
        ("/nowhere/bssh".to_owned(), "gw1", "status 127"),
        (old(&tree), "gw1", "its bssh cannot pass files on"),
        (bssh().display().to_string(), "demo1", "it has no file server"),
    ]
    .into_iter()
    .enumerate()
    {
        tree.configure(&format!("gateways: {{ program: {program} }}\n"));
        let copies = Copies::new(&tree, &format!("copies{at}"));
        let targets = format!("{seed},gw2,demo2");
        let words = ["-H", &targets, "--json", "upload", "-r", "--relay", text(&source)];
        let done = tree.run(&[&words[..], &[&copies.target()]].concat()).expect_status(0);
        let told = format!("{seed} cannot pass files on: ");
        assert!(done.stderr.contains(&told) && done.stderr.contains(said), "{}", done.stderr);
        assert!(done.stderr.contains("the others get them from here"), "{}", done.stderr);
        assert!(givers(&done).values().all(String::is_empty), "{:?}", givers(&done));
        assert!(copies.of("demo2", false) == copies.of("gw2", false));
        assert_eq!(copies.of("demo2", false).len(), 3);
    }
    for words in [
        ["upload", "--relay", "x{node}", "gw1,gw2:/tmp/x"],
        ["upload", "--relay", "gw1:x", "gw1,gw2:/tmp/x"],
        ["download", "--relay", "gw1:x", "y"],
    ] {
        let done = tree.run(&words).expect_status(2);
        assert!(done.stderr.contains("relay"), "{}", done.stderr);
    }
}

/// A core of a release that knew gateways and no relays.
fn old(tree: &Tree) -> String {
    hostile(tree, "0", "features = {'exec': 1, 'gateway': 1}")
}

#[test]
fn hostile_seeds_are_named_and_their_nodes_served() {
    let tree = Tree::start(3);
    let file = tree.home.write("file", noise(100_000)).unwrap();
    for (case, lost) in [
        ("stranger", "it speaks of \"stranger\" as its 0"),
        ("beyond", "it speaks of \"demo1\" as its 7"),
        ("others", "it started other nodes than it was given"),
        ("looking", "it says what it would send, and was told to send"),
        ("flood", "more was said of its nodes than may be"),
        ("silent", "it says nothing any more"),
        ("nothing", ""),
        ("numbers", ""),
    ] {
        let program = hostile(&tree, case, "pass");
        tree.configure(&format!("gateways: {{ program: {program} }}\n"));
        let copies = Copies::new(&tree, case);
        // Being silent takes its time on each that becomes the seed.
        let targets = if case == "silent" { "gw1,demo2" } else { "gw1,demo[1-3]" };
        let words = ["-H", targets, "--json", "upload", "--relay", "--stall", "1", text(&file)];
        let done = tree.run(&[&words[..], &[&copies.target()]].concat()).expect_status(0);
        assert!(done.stderr.contains(lost), "{case}: {}", done.stderr);
        assert_eq!(done.stderr.contains("passes nothing on"), !lost.is_empty(), "{}", done.stderr);
        let ends = done.endings();
        assert!(ends.values().all(|node| node.event["failure"].is_null()), "{case}: {ends:?}");
        for name in ends.keys().filter(|name| case != "numbers" || *name != "demo1") {
            assert_eq!(fs::read(copies.0.join(name)).unwrap(), noise(100_000), "{case} {name}");
        }
    }
}

/// A seed's program that lies.
fn hostile(tree: &Tree, case: &str, more: &str) -> String {
    let script = HOSTILE.replace("FRAMES", FRAMES).replace("CASE", case).replace("MORE", more);
    let path = tree.home.write(&format!("hostile-{case}"), script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

const HOSTILE: &str = r##"#!/usr/bin/env python3
import sys
link = sys.stdin.buffer
FRAMES
hello = read()
features = {'exec': 1, 'gateway': 1, 'relay': 1}
MORE
say({'id': hello['id'], 'result': {'protocol': {'major': 1, 'level': 1}, 'session': 1,
     'core': {'name': 'bssh', 'version': '0.0.9', 'pid': 1}, 'features': features,
     'limits': {'maxFrame': 1 << 24, 'maxData': 1 << 16, 'window': 1 << 20, 'maxRequests': 9}}})
start = read()
names = [node['name'] for node in start['params']['planned']]
say({'id': start['id'], 'result': {'transfer': 7, 'nodes': ['x'] if 'CASE' == 'others' else names}})
def end(index, node, **more):
    say({'method': 'transfer/node', 'params': dict(more, transfer=7, index=index, node=node,
         state='ended', durationMs=1)})
if 'CASE' == 'stranger': end(0, 'stranger')
if 'CASE' == 'beyond': end(7, names[0])
if 'CASE' == 'looking':
    say({'method': 'transfer/file', 'params': {'transfer': 7, 'index': 0, 'action': 'file',
         'path': 'file', 'bytes': 1}})
if 'CASE' == 'flood':
    for n in range(4000):
        say({'method': 'transfer/node', 'params': {'transfer': 7, 'index': 0, 'node': names[0],
             'state': 'connecting', 'attempt': 1}})
if 'CASE' == 'numbers':
    most = (1 << 64) - 1
    say({'method': 'transfer/progress', 'params': {'transfer': 7, 'nodes': [
         {'index': n, 'files': most, 'bytes': most, 'totalBytes': 1} for n in (0, 1, 9, 1 << 31)]}})
    # The first one twice; the others are never heard of.
    end(0, names[0], files=most, bytes=most)
    end(0, names[0], files=most, bytes=most)
if 'CASE' in ('nothing', 'numbers'):
    say({'method': 'transfer/done', 'params': {'transfer': 7, 'files': 0, 'bytes': 0, 'summary':
         {'nodes': 3, 'ok': 3, 'failed': 0, 'unreachable': 0, 'denied': 0, 'cancelled': 0,
          'lost': 0, 'durationMs': 1}}})
while True:
    ask = read()
    if ask.get('method') == 'core/ping': say({'id': ask['id'], 'result': {}})
"##;
