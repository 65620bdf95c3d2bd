//! Files to and from nodes: trees as scp copies them, hostile nodes, cuts, and what is left.

use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, Lies, SshdOptions, processes};
use bssh_tests::{Lab, Run, Transcript, until};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What is at a path: type and mode, change in seconds, content or link text.
pub(super) type Looks = BTreeMap<Vec<u8>, (u32, i64, Vec<u8>)>;

/// Everything below a directory. Times only where asked for.
pub(super) fn looks(root: &Path, times: bool) -> Looks {
    let mut looks = Looks::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(path) = open.pop() {
        let meta = path.symlink_metadata().unwrap();
        let content = match meta.file_type() {
            t if t.is_dir() => {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Vec::new()
            }
            t if t.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            _ => fs::read(&path).unwrap(),
        };
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let time = if times && !meta.is_symlink() { meta.mtime() } else { 0 };
        looks.insert(name, (meta.mode(), time, content));
    }
    looks
}

/// A tree with everything that may be in one.
pub(super) fn tree(root: &Path) {
    let name = |bytes: &[u8]| root.join(OsStr::from_bytes(bytes));
    fs::create_dir_all(root.join("dir/deep/er")).unwrap();
    fs::create_dir(root.join("empty dir")).unwrap();
    for (at, bytes) in [
        &b"plain"[..],
        b"with space and 'quotes' \"$x\" `y` \\z",
        b"new\nline",
        b"-rf",
        b"not utf8 \xff\xfe",
        "grün ✓".as_bytes(),
        b".hidden",
        b"dir/deep/er/x*?[y]",
        b"dir/~",
    ]
    .iter()
    .enumerate()
    {
        fs::write(name(bytes), vec![b'a'; at * 1000]).unwrap();
        let mode = [0o644, 0o755, 0o600, 0o444][at % 4];
        fs::set_permissions(name(bytes), fs::Permissions::from_mode(mode)).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + 3600 * at as u64);
        fs::File::open(name(bytes)).unwrap().set_modified(time).unwrap();
    }
    fs::write(root.join("none"), b"").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    fs::write(root.join("dir/big"), noise(1_500_000)).unwrap();
    symlink("plain", root.join("link")).unwrap();
    fs::set_permissions(root.join("dir/deep"), fs::Permissions::from_mode(0o700)).unwrap();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    fs::File::open(root.join("dir")).unwrap().set_modified(time).unwrap();
}

/// Bytes of which no block is like another, the same each time.
pub(super) fn noise(n: usize) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()
    };
    let block: Vec<u8> = std::iter::repeat_with(next).take(8 * 1024).flatten().collect();
    let mut out = Vec::with_capacity(n + block.len());
    while out.len() < n {
        let at = out.len();
        out.extend_from_slice(&block);
        out[at..at + 8].copy_from_slice(&at.to_le_bytes());
    }
    out.truncate(n);
    out
}

fn scp(lab: &Lab, words: &[&str]) {
    let mut scp = Command::new("scp");
    scp.arg("-q").arg("-F").arg(lab.sshd.ssh_config()).args(words);
    let output =
        scp.output().unwrap_or_else(|e| panic!("no scp: {e}; apt-get install openssh-client"));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn trees_are_what_scp_makes_of_them() {
    let lab = Lab::start();
    let home = lab.home.path();
    let source = home.join("source");
    tree(&source);
    for (at, preserve) in [true, false].into_iter().enumerate() {
        let theirs = [format!("theirs-up{at}"), format!("theirs-down{at}")].map(|n| home.join(n));
        let ours = [format!("ours-up{at}"), format!("ours-down{at}")].map(|n| home.join(n));
        let to = |path: &Path| format!("127.0.0.1:{}", path.display());
        let (their_up, our_up, from) = (to(&theirs[0]), to(&ours[0]), to(&source));
        let flags: &[&str] = if preserve { &["-p"] } else { &[] };
        scp(&lab, &[&["-r"], flags, &[text(&source), &their_up]].concat());
        scp(&lab, &[&["-r"], flags, &[&from, text(&theirs[1])]].concat());
        let flags: &[&str] = if preserve { &["--preserve"] } else { &[] };
        let up = [&["upload", "-r"], flags, &[text(&source), &our_up]].concat();
        let down = [&["download", "-r"], flags, &[&from, text(&ours[1])]].concat();
        lab.run(&up).expect_status(0);
        lab.run(&down).expect_status(0);
        for (theirs, ours) in theirs.iter().zip(&ours) {
            let (mut theirs, ours) = (looks(theirs, preserve), looks(ours, preserve));
            // scp gives directories the time of something else.
            for (name, (mode, time, _)) in looks(&source, preserve) {
                if let (0o040_000, Some(want)) = (mode & 0o170_000, theirs.get_mut(&name)) {
                    want.1 = time;
                }
            }
            assert!(theirs.len() > 17, "{}", theirs.len());
            for (name, want) in &theirs {
                let shown = String::from_utf8_lossy(name);
                let got = ours.get(name).unwrap_or_else(|| panic!("no {shown}"));
                assert_eq!((got.0, got.1), (want.0, want.1), "{shown} preserve={preserve}");
                assert!(got.2 == want.2, "{shown}: other content");
            }
            assert_eq!(ours.len(), theirs.len());
        }
    }
    // scp itself stumbles over a link to a directory.
    symlink("deep", source.join("dir/link to dir")).unwrap();
    // A second time nothing changes, into the directory that is there; and links may stay links.
    let into = home.join("into");
    fs::create_dir(&into).unwrap();
    let target = format!("127.0.0.1:{}", into.display());
    for _ in 0..2 {
        let words = [
            "upload",
            "-r",
            "--preserve",
            "--symlinks",
            "preserve",
            "--verify",
            text(&source),
            &target,
        ];
        lab.run(&words).expect_status(0);
        assert!(looks(&into.join("source"), true) == looks(&source, true));
    }
    let back = home.join("back");
    let from = format!("{target}/source");
    let words =
        ["download", "-r", "--preserve", "--symlinks", "preserve", "--verify", &from, text(&back)];
    lab.run(&words).expect_status(0);
    assert!(looks(&back, true) == looks(&source, true));
}

#[test]
fn many_nodes_patterns_and_templates() {
    let lab = Lab::start();
    let home = lab.home.path();
    for n in 1..=3 {
        lab.home.write(&format!("logs/a{n}.log"), format!("log {n}")).unwrap();
        lab.home.write(&format!("logs/b{n}.txt"), "no").unwrap();
    }
    let up = home.join("up-{node}");
    for n in 1..=4 {
        fs::create_dir(home.join(format!("up-127.0.0.{n}"))).unwrap();
    }
    let words = ["-H", "127.0.0.[1-4]", "--json", "upload", "logs/a?.log", text(&up)];
    let done = lab.run(&words).expect_status(0);
    let nodes = done.endings();
    assert!(nodes.values().all(|n| n.event["files"] == 3 && n.event["bytes"] == 15), "{nodes:?}");
    let last = done.events().pop().unwrap();
    assert_eq!((&last["event"], &last["files"]), (&"done".into(), &12.into()));
    assert_eq!(fs::read(home.join("up-127.0.0.4/a2.log")).unwrap(), b"log 2");
    assert!(!home.join("up-127.0.0.4/b2.txt").exists());
    let pattern = format!("{}/up-{{node}}/a*", home.display());
    lab.run(&["-H", "127.0.0.[1-2]", "download", &pattern, "got"]).expect_status(0);
    assert_eq!(fs::read(home.join("got/127.0.0.2/a3.log")).unwrap(), b"log 3");
    let log = home.join("logs/a1.log");
    let words = ["-H", "127.0.0.[1-2]", "download", text(&log), "{node}.log"];
    lab.run(&words).expect_status(0);
    assert_eq!(fs::read(home.join("127.0.0.1.log")).unwrap(), b"log 1");
    // One node has no such file: it says so, the others are not held up.
    fs::remove_file(home.join("up-127.0.0.2/a1.log")).unwrap();
    let one = format!("{}/up-{{node}}/a1.log", home.display());
    let done = lab.run(&["-H", "127.0.0.[1-3]", "download", &one, "some"]).expect_status(5);
    assert!(
        done.stderr.contains("127.0.0.2: ") && done.stderr.contains("no such file"),
        "{}",
        done.stderr
    );
    assert!(home.join("some/127.0.0.3/a1.log").exists());
}

#[test]
fn what_is_asked_for_is_done_and_nothing_else() {
    let lab = Lab::start();
    let home = lab.home.path();
    for (name, text) in
        [("src/keep", "1"), ("src/a.o", "2"), ("src/sub/x", "3"), ("src/cache/y", "4")]
    {
        lab.home.write(name, text).unwrap();
    }
    let target = home.join("dst");
    let remote = format!("127.0.0.1:{}", target.display());
    let words = ["upload", "-r", "--dry-run", "--skip", "*.o", "--skip", "cache/", "src", &remote];
    let done = lab.run(&words).expect_status(0);
    assert!(!target.exists(), "a dry run changes nothing");
    let lines: Vec<_> = done.text().lines().map(str::to_owned).collect();
    assert!(lines.contains(&format!("file {}/sub/x", target.display())), "{lines:?}");
    assert!(!done.text().contains("a.o") && !done.text().contains("cache"), "{lines:?}");
    lab.run(&["upload", "-r", "src", &remote]).expect_status(0);
    fs::remove_dir_all(home.join("src/sub")).unwrap();
    lab.home.write("dst/old/er", "x").unwrap();
    fs::create_dir(home.join("in")).unwrap();
    fs::rename(&target, home.join("in/src")).unwrap();
    let remote = format!("127.0.0.1:{}/in", home.display());
    let words = ["upload", "-r", "--delete", "--skip", "*.o", "src", &remote];
    lab.run(&words).expect_status(0);
    let left: Vec<_> = looks(&home.join("in/src"), false).into_keys().collect();
    let want: [&[u8]; 5] = [b"", b"a.o", b"cache", b"cache/y", b"keep"];
    assert_eq!(left, want, "what is left out is not deleted either");
    // The same the other way.
    lab.home.write("here/src/gone", "x").unwrap();
    lab.home.write("safe/y", "safe").unwrap();
    symlink("../../safe", home.join("here/src/cache")).unwrap();
    let from = format!("{remote}/src");
    lab.run(&["download", "-r", "--delete", &from, "here"]).expect_status(0);
    assert!(!home.join("here/src/gone").exists() && home.join("here/src/keep").exists());
    assert!(home.join("here/src/cache").symlink_metadata().unwrap().is_dir());
    assert_eq!(fs::read(home.join("safe/y")).unwrap(), b"safe", "what a link led to stays");
    // Links that lead round in a circle are followed once.
    lab.home.write("round/x/f", "1").unwrap();
    lab.home.write("round/y/g", "2").unwrap();
    symlink("../y", home.join("round/x/y")).unwrap();
    symlink("../x", home.join("round/y/x")).unwrap();
    let round = format!("127.0.0.1:{}/round", home.display());
    for words in
        [["download", "-r", &round, "down"], ["upload", "-r", "round", &format!("{round}-up")]]
    {
        let done = lab.run(&words).expect_status(5);
        assert!(done.stderr.contains("contains itself"), "{}", done.stderr);
    }
    assert!(home.join("down/x/y/g").exists() && home.join("round-up/y/x/f").exists());
    assert!(!home.join("down/x/y/x").exists());
    // A directory without -r, a target that cannot be, no target at all.
    for (words, said) in [
        (["upload", "src", &remote], "-r"),
        (["upload", "src/keep", "127.0.0.1:/nonexistent/x"], "no such file"),
        (["download", "127.0.0.1:/nonexistent/x", "y"], "no such file"),
        (["download", &from, "y"], "-r"),
    ] {
        let done = lab.run(&words).expect_status(5);
        assert!(done.stderr.contains(said), "{words:?}: {}", done.stderr);
    }
    assert!(!home.join("y").exists());
    lab.run(&["upload", "a", "b"]).expect_status(2);
}

#[test]
fn a_pipe_among_the_sources_is_named_and_the_rest_is_deleted() {
    let lab = Lab::start();
    let home = lab.home.path().to_path_buf();
    for name in ["src/keep", "dst/src/pipe", "dst/src/old"] {
        lab.home.write(name, name).unwrap();
    }
    assert!(Command::new("mkfifo").arg(home.join("src/pipe")).status().unwrap().success());
    let remote = format!("127.0.0.1:{}/dst", home.display());
    let done = lab.run(&["upload", "-r", "--delete", "src", &remote]).expect_status(5);
    assert!(done.stderr.contains("src/pipe: is no file, directory or link"), "{}", done.stderr);
    assert!(!done.stderr.contains("nothing is deleted"), "{}", done.stderr);
    let left: Vec<_> = looks(&home.join("dst/src"), false).into_keys().collect();
    let want: [&[u8]; 3] = [b"", b"keep", b"pipe"];
    assert_eq!(left, want, "what the pipe's name stands for there is left alone");
}

/// Runs a download from a lying node into a directory of its own, beside one that must not change.
fn from_liar(lies: Lies, extra: &[&str]) -> (Transcript, PathBuf, Home) {
    let home = Home::new().unwrap();
    let (target, outside) = (home.path().join("target"), home.path().join("outside"));
    fs::create_dir(&target).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "old").unwrap();
    let nodes =
        EmbeddedNodes::with(vec![Behaviour { lies: Some(lies), ..Behaviour::default() }]).unwrap();
    let words = [&["--json", "download", "-r"], extra, &["demo1:x", text(&target)]].concat();
    let done = Lab::on_nodes(&nodes, &words);
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    // With the home's own .ssh and run.
    assert_eq!(left.len(), 4, "{left:?}");
    assert_eq!(looks(&outside, false).len(), 2);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"old");
    (done, target, home)
}

#[test]
fn a_hostile_node_writes_nothing_outside_and_is_named() {
    let file = |name: &[u8]| Lies { names: vec![(name.to_vec(), 0o100_644)], ..Lies::default() };
    let small = || Lies { size: 3, content: b"abc".to_vec(), ..file(b"f") };
    for (what, lies, code) in [
        ("up", file(b"../outside/secret"), "unsafeName"),
        ("absolute", file(b"/tmp/evil"), "unsafeName"),
        ("nothing", file(b""), "unsafeName"),
        ("nul", file(b"a\0b"), "unsafeName"),
        (
            "twice",
            Lies {
                names: vec![(b"a".to_vec(), 0o120_777), (b"a".to_vec(), 0o040_755)],
                link: b"../outside".to_vec(),
                ..Lies::default()
            },
            "protocolBroken",
        ),
        ("too much", Lies { too_much: 5, size: 100, ..file(b"f") }, "protocolBroken"),
        ("shorter", Lies { size: 1 << 40, content: b"abc".to_vec(), ..file(b"f") }, "filesFailed"),
        (
            "device",
            Lies { names: vec![(b"dev".to_vec(), 0o060_666)], ..Lies::default() },
            "filesFailed",
        ),
        ("wrong id", Lies { wrong_id: true, ..small() }, "protocolBroken"),
        ("endless", Lies { endless: true, ..Lies::default() }, "tooManyFiles"),
        ("silent", Lies { silent: true, ..small() }, "stalled"),
        (
            "deep",
            Lies { names: vec![(b"d".to_vec(), 0o040_755)], ..Lies::default() },
            "filesFailed",
        ),
    ] {
        // A million names take their time.
        let stall = if what == "endless" { "90" } else { "2" };
        let (done, target, _home) = from_liar(lies, &["--stall", stall]);
        let nodes = done.endings();
        let event = &nodes["demo1"].event;
        assert_eq!(event["failure"]["code"], code, "{what}: {event}");
        assert_eq!(event["failure"]["phase"], "transfer", "{what}");
        let files =
            looks(&target, false).into_values().filter(|(mode, ..)| mode & 0o170_000 == 0o100_000);
        assert_eq!(files.count(), 0, "{what}: nothing half-written stays");
    }
    // A link first, and with the next transfer a directory of that name.
    let names = |mode| Lies { names: vec![(b"sub".to_vec(), mode)], ..Lies::default() };
    let lies = Lies { link: b"../../outside".to_vec(), ..names(0o120_777) };
    let (done, target, home) = from_liar(lies, &["--symlinks", "preserve"]);
    done.expect_status(0);
    assert!(target.join("x/sub").symlink_metadata().unwrap().is_symlink());
    let nodes = EmbeddedNodes::with(vec![Behaviour {
        lies: Some(names(0o040_755)),
        ..Behaviour::default()
    }]);
    let done = Lab::on_nodes(&nodes.unwrap(), &["download", "-r", "demo1:x", text(&target)]);
    assert_eq!(done.status, Some(5));
    assert!(
        done.stderr.contains("a link or a file is where a directory should be"),
        "{}",
        done.stderr
    );
    assert_eq!(looks(&home.path().join("outside"), false).len(), 2, "{}", done.stderr);
}

#[test]
fn one_bad_node_does_not_stop_the_others() {
    let lies = Lies { names: vec![(b"../x".to_vec(), 0o100_644)], ..Lies::default() };
    let nodes = EmbeddedNodes::with(vec![
        Behaviour { lies: Some(lies), ..Behaviour::default() },
        Behaviour::default(),
        Behaviour { no_sftp: true, ..Behaviour::default() },
    ])
    .unwrap();
    let home = Home::new().unwrap();
    home.write("good/f", "fine").unwrap();
    let (source, target) = (home.path().join("good"), home.path().join("got"));
    let words = ["-H", "demo[1-3]", "--json", "download", "-r", text(&source), text(&target)];
    let done = Lab::on_nodes(&nodes, &words).expect_status(5);
    let codes: Vec<_> =
        done.endings().into_values().map(|n| n.event["failure"]["code"].clone()).collect();
    assert_eq!(codes, ["unsafeName".into(), serde_json::Value::Null, serde_json::Value::Null]);
    // The one without a file server went another way.
    for node in ["demo2", "demo3"] {
        assert_eq!(fs::read(target.join(node).join("good/f")).unwrap(), b"fine");
    }
}

#[test]
fn a_cut_leaves_the_old_file_whole_and_resume_goes_on() {
    let home = Home::new().unwrap();
    let content = noise(40_000_000);
    let source = home.write("source", &content).unwrap();
    let target = home.write("target", "old").unwrap();
    // Where the connection is cut: bytes that the node has sent.
    for after in [20_000_000, 5_000_000, 31_234_567, 15_000_000] {
        let cut = Behaviour { drop_after: Some(after), ..Behaviour::default() };
        let nodes = EmbeddedNodes::with(vec![cut]).unwrap();
        let from = format!("demo1:{}", source.display());
        let words = ["--json", "download", "--resume", &from, text(&target)];
        let done = Lab::on_nodes(&nodes, &words).expect_status(10);
        let event = done.endings()["demo1"].event.clone();
        assert_eq!(event["failure"]["code"], "transportLost", "{event}");
        assert_eq!(fs::read(&target).unwrap(), b"old", "the old file is whole");
    }
    let nodes = EmbeddedNodes::start(1).unwrap();
    let from = format!("demo1:{}", source.display());
    let words = ["--json", "download", "--resume", "--verify", &from, text(&target)];
    let done = Lab::on_nodes(&nodes, &words).expect_status(0);
    let resumed = done.endings()["demo1"].event["resumedBytes"].as_u64().unwrap();
    assert!(resumed > 1_000_000, "{resumed}");
    assert!(fs::read(&target).unwrap() == content);
    // Nothing else is left, and what is complete is not fetched again.
    assert_eq!(looks(home.path(), false).len(), 5, "{:?}", looks(home.path(), false).keys());
    let done = Lab::on_nodes(&nodes, &words).expect_status(0);
    assert_eq!(done.endings()["demo1"].event["skipped"], 1);
}

#[test]
fn a_killed_upload_leaves_the_old_file_whole_and_resume_goes_on() {
    let lab = Lab::start();
    let home = lab.home.path();
    let content = noise(100_000_000);
    let source = lab.home.write("source", &content).unwrap();
    fs::set_permissions(source, fs::Permissions::from_mode(0o444)).unwrap();
    let target = lab.home.write("there/target", "old").unwrap();
    let remote = format!("127.0.0.1:{}", target.display());
    let words = ["upload", "--resume", "source", &remote];
    let run = Run::start(lab.command(&words));
    let part = || {
        let mut entries = fs::read_dir(home.join("there")).unwrap().map(|e| e.unwrap());
        entries.find(|e| e.file_name() != "target").and_then(|e| e.metadata().ok())
    };
    let has_begun = || part().is_some_and(|part| part.len() > 20_000_000);
    assert!(until(Duration::from_secs(60), has_begun), "it never began");
    // Whoever goes on with it may be somebody who is not let write otherwise.
    assert_eq!(part().unwrap().mode() & 0o200, 0o200);
    processes::kill(run.core_pid());
    let done = run.finish(Duration::from_secs(30)).expect_status(1);
    assert!(done.stderr.contains("core"), "{}", done.stderr);
    assert_eq!(fs::read(&target).unwrap(), b"old");
    let done = lab.run(&[&["--json"], &words[..]].concat()).expect_status(0);
    let event = done.endings()["127.0.0.1"].event.clone();
    assert!(event["resumedBytes"].as_u64().unwrap() > 1_000_000, "{event}");
    assert!(fs::read(&target).unwrap() == content);
    assert_eq!(fs::read_dir(home.join("there")).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let lab = Lab::start();
    let home = lab.home.path();
    lab.home.write("source", noise(150_000_000)).unwrap();
    fs::create_dir(home.join("there")).unwrap();
    let remote = format!("127.0.0.1:{}/there/target", home.display());
    let run = Run::start(lab.command(&["upload", "source", &remote]));
    let begun = || fs::read_dir(home.join("there")).unwrap().count() > 0;
    assert!(until(Duration::from_secs(60), begun), "it never began");
    run.signal(rustix::process::Signal::INT);
    run.finish(Duration::from_secs(30)).expect_status(130);
    assert_eq!(fs::read_dir(home.join("there")).unwrap().count(), 0);
}

#[test]
fn a_full_or_forbidden_place_is_said_file_by_file() {
    let lab = Lab::with(&SshdOptions::default());
    let home = lab.home.path();
    lab.home.write("src/ok", "fine").unwrap();
    fs::create_dir(home.join("src/none")).unwrap();
    fs::create_dir(home.join("dst")).unwrap();
    // A file where a directory has to be, a directory where a file has to be.
    lab.home.write("dst/src/none", "a file").unwrap();
    lab.home.write("dst/src/ok/in", "a directory").unwrap();
    lab.home.write("src/more", "goes on").unwrap();
    let remote = format!("127.0.0.1:{}/dst", home.display());
    let done = lab.run(&["--json", "upload", "-r", "src", &remote]).expect_status(5);
    let event = done.endings()["127.0.0.1"].event.clone();
    assert_eq!((&event["nFaults"], &event["files"]), (&2.into(), &1.into()), "{event}");
    let codes: Vec<_> =
        event["faults"].as_array().unwrap().iter().map(|f| f["code"].clone()).collect();
    assert_eq!(codes, ["notDirectory", "isDirectory"], "{event}");
    assert_eq!(fs::read(home.join("dst/src/more")).unwrap(), b"goes on");
    // /dev/full takes nothing; a device is never replaced.
    let done = lab.run(&["upload", "src/ok", "127.0.0.1:/dev/full"]).expect_status(5);
    assert!(done.stderr.contains("device"), "{}", done.stderr);
}
