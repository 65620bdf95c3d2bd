//! Syncs that are disturbed: killed, cut off, lied to, out of room, watched, and far away.

use super::sync::{Pair, text, write};
use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, Lies};
use bssh_protocol::exec::Exit;
use bssh_protocol::methods::{SessionExec, SessionExecDoneEvent, SessionOpen};
use bssh_protocol::session::{SessionExecDone, SessionExecParams, SessionOpenParams, SyncBarrier};
use bssh_tests::{Delay, Driver, Lab, Run, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Nothing that works takes this long, also on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(120);

/// Every regular file below a directory but ours, by its path, with its text.
pub(super) fn files(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            if entry.file_name() == ".bssh-sync" {
                continue;
            }
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => {
                    let name = entry.path().strip_prefix(root).unwrap().to_path_buf();
                    found.push((name, text(&entry.path())));
                }
            }
        }
    }
    found.sort();
    found
}

pub(super) fn is_temporary(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with(".bssh-")
}

/// What a file of ours says: the same line again and again, so that a part of it shows.
pub(super) fn whole(name: &str, version: usize) -> String {
    format!("{name} version {version}\n").repeat(2000)
}

#[test]
fn killed_at_any_moment_it_leaves_whole_files_and_goes_on() {
    let pair = Pair::new();
    let names: Vec<String> = (0..40).map(|n| format!("d{}/f{n}", n % 7)).collect();
    for name in &names {
        write(&pair.here(name), whole(name, 0));
    }
    pair.sync("run", &[]).expect_status(0);
    for version in 1..=10 {
        for (at, name) in names.iter().enumerate() {
            let side = if at % 2 == 0 { pair.here(name) } else { pair.there(name) };
            write(&side, whole(name, version));
        }
        let run = Run::start(pair.lab.command(&pair.words("run", &[])));
        std::thread::park_timeout(Duration::from_millis(20 * version as u64));
        // With its core, and without a word.
        drop(run);
        for root in [pair.here(""), pair.there("")] {
            for (path, said) in files(&root) {
                let name = path.to_str().unwrap();
                let is_whole = (0..=version).any(|version| said == whole(name, version));
                assert!(is_temporary(&path) || is_whole, "version {version}: half of {name}");
            }
        }
    }
    pair.sync("run", &[]).expect_status(0);
    let (here, there) = (files(&pair.here("")), files(&pair.there("")));
    assert!(here == there, "both sides are the same in the end");
    assert!(here.iter().all(|(path, _)| !is_temporary(path)), "nothing is left");
    assert!(here.iter().all(|(path, said)| *said == whole(path.to_str().unwrap(), 10)));
}

#[test]
fn a_lost_connection_is_made_again() {
    let pair = Pair::new();
    let big = vec![b'x'; 24 << 20];
    write(&pair.here("big"), &big);
    write(&pair.here("small"), "1");
    let run = Run::start(pair.lab.command(&pair.words("push", &[])));
    let begun = || fs::read_dir(pair.there("")).is_ok_and(|dir| dir.count() > 1);
    assert!(until(DEADLINE, begun), "it begins");
    pair.lab.sshd.kill_sessions();
    let done = run.finish(DEADLINE).expect_status(0);
    assert!(done.stderr.contains("again in"), "{}", done.stderr);
    assert_eq!(fs::metadata(pair.there("big")).unwrap().len(), 24 << 20);
    assert_eq!(files(&pair.there("")).len(), 2, "nothing is left");
}

#[test]
fn a_file_that_does_not_fit_is_named_and_the_rest_goes_on() {
    let pair = Pair::new();
    write(&pair.here("a"), "base");
    pair.sync("run", &[]).expect_status(0);
    write(&pair.there("a"), "new");
    write(&pair.there("large"), vec![b'x'; 3 << 20]);
    write(&pair.there("z"), "new");
    // No file of the core may be longer than a megabyte; the file server's may.
    let mut shell = pair.lab.home.command("/bin/sh");
    let bssh = bssh_tests::bssh();
    shell.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh"]).arg(bssh);
    shell.arg("-F").arg(pair.lab.sshd.ssh_config()).args(pair.words("run", &[]));
    let done = Run::start(shell).finish(DEADLINE).expect_status(5);
    assert!(done.stderr.contains("large"), "{}", done.stderr);
    assert_eq!((text(&pair.here("a")), text(&pair.here("z"))), ("new".into(), "new".into()));
    assert!(!pair.here("large").exists());
    assert!(files(&pair.here("")).iter().all(|(path, _)| !is_temporary(path)));
    let status = || pair.sync("status", &[]).expect_status(0).text();
    assert!(status().contains("ago: 1 file failed"), "{}", status());
    assert!(status().contains("changes that could not be fetched"), "{}", status());
    pair.sync("run", &[]).expect_status(0);
    assert!(status().contains("ago: ok") && !status().contains("fetched"), "{}", status());
    assert_eq!(fs::metadata(pair.here("large")).unwrap().len(), 3 << 20);
}

#[test]
fn a_hostile_node_writes_nothing_outside() {
    let file = |name: &[u8]| Lies { names: vec![(name.to_vec(), 0o100_644)], ..Lies::default() };
    for (what, lies, code) in [
        ("up", file(b"../outside/secret"), "unsafeName"),
        ("absolute", file(b"/tmp/evil"), "unsafeName"),
        ("nul", file(b"a\0b"), "unsafeName"),
        ("endless", Lies { endless: true, ..file(b"f") }, "tooManyFiles"),
        ("shorter", Lies { size: 1 << 30, content: b"abc".to_vec(), ..file(b"f") }, "filesFailed"),
        ("huge", Lies { size: 1 << 40, content: b"abc".to_vec(), ..file(b"f") }, "syncTooLarge"),
        ("too much", Lies { too_much: 5, size: 100, ..file(b"f") }, "protocolBroken"),
        (
            "deep",
            Lies { names: vec![(b"d".to_vec(), 0o040_755)], ..Lies::default() },
            "filesFailed",
        ),
    ] {
        let home = Home::new().unwrap();
        let (target, outside) = (home.path().join("target"), home.path().join("outside"));
        fs::create_dir(&target).unwrap();
        write(&outside.join("secret"), "old");
        let names = || fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name());
        let before: Vec<_> = names().collect();
        let behaviour = Behaviour { lies: Some(lies), ..Behaviour::default() };
        let nodes = EmbeddedNodes::with(vec![behaviour]).unwrap();
        let words = ["--json", "sync", "back", target.to_str().unwrap(), "demo1:x"];
        let done = Lab::on_nodes(&nodes, &words);
        let last = done.events().pop().unwrap_or_else(|| panic!("{what}: {}", done.stderr));
        assert_eq!(last["failure"]["code"], code, "{what}: {last}");
        assert_eq!(text(&outside.join("secret")), "old", "{what}");
        assert_eq!(names().collect::<Vec<_>>(), before, "{what}");
        assert_eq!(files(&target), [], "{what}: nothing half-written stays");
    }
    // A link that leads outside is not made, and nothing is written through one that is there.
    let home = Home::new().unwrap();
    let (target, outside) = (home.path().join("target"), home.path().join("outside"));
    fs::create_dir_all(&target).unwrap();
    write(&outside.join("f"), "old");
    std::os::unix::fs::symlink(&outside, target.join("sub")).unwrap();
    let names = vec![(b"sub".to_vec(), 0o040_755)];
    let lies = Lies { names, size: 3, content: b"abc".to_vec(), ..Lies::default() };
    let nodes =
        EmbeddedNodes::with(vec![Behaviour { lies: Some(lies), ..Behaviour::default() }]).unwrap();
    Lab::on_nodes(&nodes, &["sync", "back", target.to_str().unwrap(), "demo1:x"]);
    assert_eq!(files(&outside), [(PathBuf::from("f"), "old".to_owned())]);
}

#[test]
fn one_at_a_time_and_a_dead_machine_is_no_hindrance() {
    let pair = Pair::new();
    for n in 0..200 {
        write(&pair.here(&format!("f{n}")), "1");
    }
    let both = [(); 2].map(|()| Run::start(pair.lab.command(&pair.words("run", &[]))));
    for run in both {
        run.finish(DEADLINE).expect_status(0);
    }
    assert_eq!(files(&pair.there("")).len(), 200);
    // Another machine held the node's directory and has gone.
    write(&pair.there(".bssh-sync/lease/owner"), "elsewhere:/x (0123)\nnonce\n");
    let old = std::time::SystemTime::now() - Duration::from_secs(300);
    fs::File::open(pair.there(".bssh-sync/lease")).unwrap().set_modified(old).unwrap();
    let done = pair.sync("run", &[]).expect_status(0);
    assert!(done.stderr.contains("took over from elsewhere:/x"), "{}", done.stderr);
    assert!(!pair.there(".bssh-sync/lease").exists(), "it is given back");
    // What our own machine left behind after a kill is taken at once.
    write(&pair.there("new"), "1");
    pair.sync("run", &[]).expect_status(0);
    assert!(pair.here("new").exists());
}

/// A watch that has sent `a`.
fn watching(pair: &Pair, local: &Path, interval: &str) -> Run {
    let (local, remote) = (local.display(), pair.there(""));
    let yaml = format!(
        "sync:\n  w:\n    target: 127.0.0.1\n    pairs: [{{ local: {local}, remote: {} }}]\n    min_interval: {interval}\n",
        remote.display()
    );
    pair.lab.home.write(".config/bssh/config.yaml", yaml).unwrap();
    write(&pair.here("a"), "1");
    let run = Run::start(pair.lab.command(&["sync", "watch", "w"]));
    assert!(until(DEADLINE, || pair.there("a").exists()), "what is there at first");
    run
}

/// Where the user's own directory is a link, the system tells of changes as well.
#[test]
fn a_watch_through_a_link_waits_for_no_regular_look() {
    let pair = Pair::new();
    let link = pair.lab.home.path().join("link");
    std::os::unix::fs::symlink(pair.here(""), &link).unwrap();
    let run = watching(&pair, &link, "1h");
    write(&pair.here("b"), "2");
    assert!(until(DEADLINE, || pair.there("b").exists()));
    run.signal(rustix::process::Signal::INT);
    run.finish(DEADLINE).expect_status(130);
}

/// However often it was lost before: a node that is back for a round is waited for as at first.
#[test]
fn a_watch_tries_a_lost_node_again_soon_each_time() {
    let pair = Pair::new();
    let run = watching(&pair, &pair.here(""), "300ms");
    for name in ["b", "c", "d"] {
        pair.lab.sshd.cut();
        write(&pair.here(name), name);
        assert!(until(DEADLINE, || pair.there(name).exists()), "{name}");
    }
    run.signal(rustix::process::Signal::INT);
    let done = run.finish(DEADLINE).expect_status(130);
    // A fifth more or less, of two seconds.
    assert_eq!(done.stderr.matches("again in 2 s").count(), 3, "{}", done.stderr);
}

#[test]
fn a_watch_carries_changes_as_they_come() {
    let pair = Pair::new();
    let run = watching(&pair, &pair.here(""), "300ms");
    write(&pair.here("new/deep/b"), "2");
    assert!(until(DEADLINE, || pair.there("new/deep/b").exists()), "a new directory");
    write(&pair.here("new/deep/b"), "3");
    let is = |path: PathBuf, want: &'static str| {
        move || fs::read_to_string(&path).is_ok_and(|text| text == want)
    };
    assert!(until(DEADLINE, is(pair.there("new/deep/b"), "3")), "a change in it");
    write(&pair.there("c"), "4");
    assert!(until(DEADLINE, is(pair.here("c"), "4")), "a change on the node");
    fs::remove_file(pair.here("a")).unwrap();
    assert!(until(DEADLINE, || !pair.there("a").exists()), "a deletion");
    run.signal(rustix::process::Signal::INT);
    let done = run.finish(DEADLINE).expect_status(130);
    assert!(done.stderr.contains("1 fetched; 1 B in"), "{}", done.stderr);
    assert!(!done.stderr.contains("sent; 0 B"), "{}", done.stderr);
    assert!(!pair.there(".bssh-sync/lease").exists(), "it is given back");
}

/// Ways there and back that each step takes, from what it takes over a way of 50 ms and over one
/// of 450 ms: what the machine itself needs is in both.
#[test]
fn far_away_a_sync_needs_few_round_trips() {
    let pair = Pair::new();
    let far = |one_way: u64| {
        let delay = Delay::start(pair.lab.sshd.port(), Duration::from_millis(one_way));
        let config = fs::read_to_string(pair.lab.sshd.ssh_config()).unwrap();
        let port = format!("Port {}", pair.lab.sshd.port());
        let config = config.replace(&port, &format!("Port {}", delay.port()));
        let config = pair.lab.home.write(&format!("far_{one_way}"), config).unwrap();
        let here = pair.here(&one_way.to_string()).display().to_string();
        for n in 0..580 {
            write(&pair.here(&format!("{one_way}/d{}/f{n}", n % 20)), format!("{n}").repeat(50));
        }
        let there = pair.lab.home.path().join(format!("there{one_way}"));
        let there = format!("127.0.0.1:{}", there.display());
        [("push", 580), ("push", 0), ("back", 0), ("push", 1), ("run", 0)].map(|(verb, pushed)| {
            if pushed == 1 {
                write(&pair.here(&format!("{one_way}/d1/f1")), "edited");
            }
            let mut command = pair.lab.home.command(bssh_tests::bssh());
            command.arg("-F").arg(&config).args(["--json", "sync", verb, &here, &there]);
            let begun = Instant::now();
            let done = Run::start(command).finish(DEADLINE).expect_status(0);
            let took = begun.elapsed();
            let last = done.events().pop().unwrap();
            let counted = |key: &str| last[key].as_u64().unwrap();
            assert_eq!((counted("pushed"), counted("pulled")), (pushed, 0), "{verb}");
            took
        })
    };
    let (near, far) = (far(25), far(225));
    // Connecting and logging in are eight of each; another eight are roots, lease and token.
    for (at, (what, budget)) in
        [("580 files", 45), ("nothing", 24), ("nothing back", 28), ("an edit", 28), ("both", 28)]
            .into_iter()
            .enumerate()
    {
        let ways = far[at].saturating_sub(near[at]).as_secs_f64() / 0.4;
        eprintln!("{what}: {ways:.1} ways, {:?} at 50 ms", near[at]);
        assert!(ways < f64::from(budget), "{what}: {ways}");
    }
}

/// Ten thousand files 50 ms away, on one connection: `BSSH_BIG_SYNC=1`, with a release build.
#[test]
#[allow(clippy::disallowed_methods, reason = "tests are told by their environment")]
fn ten_thousand_files_far_away() {
    let big = std::env::var_os("BSSH_BIG_SYNC").is_some();
    let n_files: u64 = if big { 10_000 } else { 200 };
    let pair = Pair::new();
    let delay = Delay::start(pair.lab.sshd.port(), Duration::from_millis(25));
    let config = fs::read_to_string(pair.lab.sshd.ssh_config()).unwrap();
    let port = format!("Port {}", pair.lab.sshd.port());
    let config = config.replace(&port, &format!("Port {}", delay.port()));
    let config = pair.lab.home.write("far", config).unwrap();
    for n in 0..n_files {
        write(&pair.here(&format!("d{}/f{n}", n % 100)), vec![b'x'; 4096]);
    }
    for (verb, pushed) in [("push", n_files), ("push", 0), ("run", 0)] {
        let begun = Instant::now();
        let mut command = pair.lab.home.command(bssh_tests::bssh());
        command.arg("-F").arg(&config).arg("--json").args(pair.words(verb, &[]));
        let done = Run::start(command).finish(DEADLINE).expect_status(0);
        let took = begun.elapsed();
        let last = done.events().pop().unwrap();
        eprintln!("{verb} of {n_files} files at 50 ms: {took:?}, {} pushed", last["pushed"]);
        assert_eq!(last["pushed"], pushed, "{verb}");
        assert!(!big || took < Duration::from_secs(60), "{verb}: {took:?}");
    }
}

/// Runs a command in a session that has a sync, and gives its end.
async fn run_in(
    driver: &Driver,
    session: u64,
    command: &str,
    sync_barrier: SyncBarrier,
) -> SessionExecDone {
    let params = SessionExecParams {
        session,
        command: command.to_owned(),
        sync_barrier,
        ..SessionExecParams::default()
    };
    let started = driver.call::<SessionExec>(&params).await;
    for stream in [started.stdout, started.stderr] {
        driver.rest(stream, 1 << 20).await;
    }
    driver.event::<SessionExecDoneEvent>(move |done| done.exec == started.exec).await
}

#[test]
fn a_session_runs_nothing_on_old_files() {
    let pair = Pair::new();
    let yaml = format!(
        "sync:\n  w:\n    target: 127.0.0.1\n    pairs: [{{ local: {}, remote: {} }}]\n",
        pair.here("").display(),
        pair.there("").display()
    );
    let config = pair.lab.home.write(".config/bssh/config.yaml", yaml).unwrap();
    write(&pair.here("a"), "1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = Driver::start(&pair.lab.home, &pair.lab.sshd.ssh_config()).await;
        let mut params = SessionOpenParams {
            targets: driver.targets("127.0.0.1"),
            sync: vec!["x".to_owned()],
            ..Default::default()
        };
        let refused = driver.try_call::<SessionOpen>(&params).await.unwrap_err();
        assert!(refused.message.contains("there are w"), "{refused}");
        params.sync = vec!["w".to_owned()];
        let other = SessionOpenParams { targets: driver.targets("127.0.0.2"), ..params.clone() };
        let refused = driver.try_call::<SessionOpen>(&other).await.unwrap_err();
        assert!(refused.message.contains("w is with 127.0.0.1"), "{refused}");
        let session = driver.call::<SessionOpen>(&params).await.sessions[0].session;
        let exit = |done: &SessionExecDone| format!("{:?} {:?}", done.exit, done.failure);
        let there = pair.there("a").display().to_string();
        for n in 1..=8 {
            // Within one tick of the clock, and of the same size: seen all the same.
            write(&pair.here("a"), n.to_string());
            let test = format!("test \"$(cat {there})\" = {n}");
            let done = run_in(&driver, session, &test, SyncBarrier::Require).await;
            assert_eq!(done.exit, Some(Exit::Status(0)), "{n}: {}", exit(&done));
        }
        // The node's file was changed as well: nothing runs, unless that is wished.
        write(&pair.here("a"), "mine");
        write(&pair.there("a"), "theirs");
        let mark = pair.lab.home.path().join("mark");
        let touch = format!("touch {}", mark.display());
        let done = run_in(&driver, session, &touch, SyncBarrier::Require).await;
        let failure = done.failure.expect("a failure");
        assert_eq!((failure.code.as_str(), mark.exists()), ("syncFailed", false));
        assert!(failure.message.contains("a: changed on both sides"), "{}", failure.message);
        let done = run_in(&driver, session, &touch, SyncBarrier::Warn).await;
        assert!(mark.exists() && done.sync_failure.is_some(), "{}", exit(&done));
        let done = run_in(&driver, session, "true", SyncBarrier::Off).await;
        assert_eq!((done.exit, done.sync_failure), (Some(Exit::Status(0)), None));
        // `barrier: false`: only a sync sends it.
        let config = std::fs::read_to_string(&config)
            .unwrap()
            .replace("target", "barrier: false\n    target");
        pair.lab.home.write(".config/bssh/config.yaml", config).unwrap();
        let session = driver.call::<SessionOpen>(&params).await.sessions[0].session;
        write(&pair.here("b"), "new");
        let absent = format!("test ! -e {}", pair.there("b").display());
        let done = run_in(&driver, session, &absent, SyncBarrier::Require).await;
        assert_eq!((done.exit, done.sync_failure), (Some(Exit::Status(0)), None));
        driver.close().await;
    });
    assert!(!pair.there(".bssh-sync/lease").exists(), "it is given back");
}
