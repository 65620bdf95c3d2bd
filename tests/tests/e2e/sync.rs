//! Syncs against a real sshd: both directions, conflicts, deletions, what is remembered, and what
//! is told.

use bssh_tests::{Lab, Transcript};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Two directories on one machine, one of them reached through sshd.
pub(crate) struct Pair {
    pub(crate) lab: Lab,
}

impl Pair {
    pub(crate) fn new() -> Pair {
        let lab = Lab::start();
        fs::create_dir(lab.home.path().join("here")).unwrap();
        Pair { lab }
    }

    pub(crate) fn here(&self, path: &str) -> PathBuf {
        self.lab.home.path().join("here").join(path)
    }

    pub(crate) fn there(&self, path: &str) -> PathBuf {
        self.lab.home.path().join("there").join(path)
    }

    /// `bssh sync VERB here NODE:there FLAGS`.
    pub(crate) fn words(&self, verb: &str, flags: &[&str]) -> Vec<String> {
        let there = format!("127.0.0.1:{}", self.there("").display());
        let mut words = vec!["sync".to_owned(), verb.to_owned()];
        words.extend(flags.iter().map(|flag| (*flag).to_owned()));
        words.extend([self.here("").display().to_string(), there]);
        words
    }

    #[track_caller]
    pub(crate) fn sync(&self, verb: &str, flags: &[&str]) -> Transcript {
        self.lab.run(&self.words(verb, flags))
    }

    /// The last word as JSON.
    #[track_caller]
    pub(crate) fn told(&self, verb: &str, flags: &[&str]) -> serde_json::Value {
        let words: Vec<String> =
            ["--json".to_owned()].into_iter().chain(self.words(verb, flags)).collect();
        let done = self.lab.run(&words);
        let events = done.events();
        events.into_iter().last().unwrap_or_else(|| panic!("no events: {}", done.stderr))
    }
}

pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Conflict copies in a directory.
fn copies(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| path.display().to_string().contains(".conflict-remote-")).collect()
}

#[test]
fn changes_go_both_ways_and_then_nothing_is_left_to_do() {
    let pair = Pair::new();
    write(&pair.here("a"), "one");
    write(&pair.here("src/deep/b"), "two");
    write(&pair.here("src/run.sh"), "#!/bin/sh\n");
    fs::set_permissions(pair.here("src/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(pair.here("empty")).unwrap();
    symlink("src/run.sh", pair.here("link")).unwrap();
    write(&pair.here("odd \n name"), "odd");
    let plan = pair.sync("plan", &[]).expect_status(0);
    assert!(plan.text().contains("push src/deep/b\n"), "{}", plan.text());
    assert!(!pair.there("").exists(), "a plan changes nothing");
    let done = pair.told("run", &[]);
    assert_eq!((&done["event"], &done["pushed"]), (&"done".into(), &5.into()), "{done}");
    assert_eq!(text(&pair.there("src/deep/b")), "two");
    assert_eq!(text(&pair.there("odd \n name")), "odd");
    assert!(pair.there("empty").is_dir());
    assert_eq!(fs::read_link(pair.there("link")).unwrap(), Path::new("src/run.sh"));
    let meta = |path: &Path| fs::symlink_metadata(path).unwrap();
    let (l, r) = (meta(&pair.here("src/run.sh")), meta(&pair.there("src/run.sh")));
    assert_eq!((l.mode(), l.mtime()), (r.mode(), r.mtime()));

    // Both sides change different things.
    write(&pair.there("src/new"), "from there");
    write(&pair.there("a"), "one changed there");
    write(&pair.here("src/deep/b"), "two changed here");
    fs::remove_file(pair.here("odd \n name")).unwrap();
    fs::set_permissions(pair.here("a"), fs::Permissions::from_mode(0o644)).unwrap();
    let done = pair.told("run", &[]);
    assert_eq!(done["failure"], serde_json::Value::Null, "{done}");
    assert_eq!((&done["pushed"], &done["pulled"]), (&1.into(), &2.into()), "{done}");
    assert_eq!(done["deletedThere"], 1, "{done}");
    assert_eq!(text(&pair.here("src/new")), "from there");
    assert_eq!(text(&pair.here("a")), "one changed there");
    assert_eq!(text(&pair.there("src/deep/b")), "two changed here");
    assert!(!pair.there("odd \n name").exists());

    for verb in ["run", "push", "back", "run"] {
        let done = pair.told(verb, &[]);
        for what in ["pushed", "pulled", "deletedThere", "deletedHere", "bytes"] {
            assert_eq!(done[what], 0, "{verb} {what}: {done}");
        }
        assert_eq!(pair.sync("plan", &[]).expect_status(0).text(), "", "{verb}");
    }
    // A file that was only touched is not sent again.
    fs::File::open(pair.here("a")).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert_eq!(pair.told("push", &[])["bytes"], 0);
    let status = pair.sync("status", &[]).expect_status(0);
    assert!(
        status.text().contains("last push") && status.text().contains(": ok"),
        "{}",
        status.text()
    );
}

#[test]
fn a_conflict_keeps_both_until_somebody_decides() {
    let pair = Pair::new();
    for name in ["f", "g", "h"] {
        write(&pair.here(name), "base");
    }
    pair.sync("run", &[]).expect_status(0);
    for name in ["f", "g", "h"] {
        write(&pair.here(name), format!("{name} mine"));
        write(&pair.there(name), format!("{name} theirs"));
    }
    let done = pair.sync("run", &[]).expect_status(5);
    assert!(done.stderr.contains("changed on both sides"), "{}", done.stderr);
    for name in ["f", "g", "h"] {
        assert_eq!(text(&pair.here(name)), format!("{name} mine"));
        assert_eq!(text(&pair.there(name)), format!("{name} theirs"));
    }
    let there: Vec<String> = copies(&pair.here("")).iter().map(|path| text(path)).collect();
    assert_eq!(there.len(), 3, "{there:?}");
    let status = pair.sync("status", &[]).expect_status(0).text();
    assert!(status.contains("ago: 3 files were changed on both sides"), "{status}");
    assert!(!status.contains("could not be fetched"), "{status}");
    // Once more: known, and no second copy; copies are nobody's new files.
    pair.sync("run", &[]).expect_status(5);
    assert_eq!(copies(&pair.here("")).len(), 3);
    assert_eq!(copies(&pair.there("")).len(), 0);
    assert_eq!(pair.sync("conflicts", &[]).expect_status(0).text().lines().count(), 3);
    // One is decided for each side, one by editing and removing the copy.
    pair.sync("resolve", &["--path", "f", "--take", "local"]).expect_status(0);
    pair.sync("resolve", &["--path", "g", "--take", "remote"]).expect_status(0);
    let last = copies(&pair.here(""));
    assert_eq!(last.len(), 1);
    fs::remove_file(&last[0]).unwrap();
    write(&pair.here("h"), "h merged");
    let refused = pair.sync("resolve", &["--path", "f", "--take", "local"]).expect_status(2);
    assert!(refused.stderr.contains("no conflict"), "{}", refused.stderr);
    pair.sync("run", &[]).expect_status(0);
    for (name, want) in [("f", "f mine"), ("g", "g theirs"), ("h", "h merged")] {
        assert_eq!((text(&pair.here(name)), text(&pair.there(name))), (want.into(), want.into()));
    }
    assert_eq!(pair.sync("conflicts", &[]).expect_status(0).text(), "");
    // What lost can be put back.
    let list = pair.sync("restore", &[]).expect_status(0);
    assert!(list.text().lines().any(|line| line.ends_with("  g")), "{}", list.text());
    pair.sync("restore", &["--path", "g"]).expect_status(0);
    assert_eq!(text(&pair.here("g")), "g mine");
}

#[test]
fn rules_for_conflicts_and_deletions() {
    let pair = Pair::new();
    let both = |n: usize| {
        write(&pair.here("f"), format!("mine {n}"));
        write(&pair.there("f"), format!("theirs {n}"));
    };
    write(&pair.here("f"), "base");
    write(&pair.here("g"), "base");
    pair.sync("run", &[]).expect_status(0);
    both(1);
    let done = pair.sync("run", &["--conflict", "fail"]).expect_status(5);
    assert!(done.stderr.contains("nothing was done"), "{}", done.stderr);
    assert_eq!(copies(&pair.here("")).len(), 0);
    pair.sync("run", &["--conflict", "remote-wins"]).expect_status(0);
    assert_eq!(
        (text(&pair.here("f")), text(&pair.there("f"))),
        ("theirs 1".into(), "theirs 1".into())
    );
    both(2);
    pair.sync("push", &["--conflict", "local-wins"]).expect_status(0);
    assert_eq!((text(&pair.here("f")), text(&pair.there("f"))), ("mine 2".into(), "mine 2".into()));
    // Both losers are saved here.
    let kept = pair.sync("restore", &[]).expect_status(0);
    assert_eq!(
        kept.text().lines().filter(|line| line.ends_with("  f")).count(),
        2,
        "{}",
        kept.text()
    );

    // A deletion there stays there, or comes here, as is wished; here it is saved.
    fs::remove_file(pair.there("g")).unwrap();
    let done = pair.sync("back", &[]).expect_status(0);
    assert!(done.stderr.contains("was deleted on the node"), "{}", done.stderr);
    pair.sync("run", &[]).expect_status(0);
    assert_eq!(text(&pair.there("g")), "base");
    fs::remove_file(pair.there("g")).unwrap();
    pair.sync("run", &["--delete", "both"]).expect_status(0);
    assert!(!pair.here("g").exists());
    pair.sync("restore", &["--path", "g"]).expect_status(0);
    pair.sync("run", &[]).expect_status(0);
    fs::remove_file(pair.here("g")).unwrap();
    pair.sync("run", &["--delete", "never"]).expect_status(0);
    assert!(pair.there("g").exists() && !pair.here("g").exists());
    // An edit beats a deletion, on either side, with the directory it is in.
    write(&pair.here("d/x"), "1");
    write(&pair.here("d/y"), "1");
    pair.sync("run", &[]).expect_status(0);
    fs::remove_dir_all(pair.here("d")).unwrap();
    write(&pair.there("d/x"), "edited");
    pair.sync("run", &[]).expect_status(0);
    assert_eq!(text(&pair.here("d/x")), "edited");
    assert!(!pair.here("d/y").exists() && !pair.there("d/y").exists());
}

#[test]
fn what_looks_like_a_mistake_is_stopped() {
    let pair = Pair::new();
    for n in 0..60 {
        write(&pair.here(&format!("d/f{n}")), format!("{n}"));
    }
    pair.sync("run", &[]).expect_status(0);
    for n in 0..40 {
        fs::remove_file(pair.here(&format!("d/f{n}"))).unwrap();
    }
    for verb in ["push", "run"] {
        let done = pair.sync(verb, &[]).expect_status(5);
        assert!(
            done.stderr.contains("40 of 61") && done.stderr.contains("--force-delete"),
            "{}",
            done.stderr
        );
        assert!(pair.there("d/f0").exists());
    }
    pair.sync("push", &["--force-delete"]).expect_status(0);
    assert!(!pair.there("d/f0").exists() && pair.there("d/f59").exists());
    // A root that is empty, or gone.
    fs::remove_dir_all(pair.here("")).unwrap();
    let done = pair.sync("run", &[]).expect_status(5);
    assert!(done.stderr.contains("not there"), "{}", done.stderr);
    fs::create_dir(pair.here("")).unwrap();
    let done = pair.sync("run", &[]).expect_status(5);
    assert!(done.stderr.contains("is empty"), "{}", done.stderr);
    assert!(pair.there("d/f59").exists());
    // Two directories that are one.
    let own = pair.there("");
    let words = ["sync", "run", own.to_str().unwrap(), &format!("127.0.0.1:{}", own.display())];
    let done = pair.lab.run(&words).expect_status(5);
    assert!(done.stderr.contains("are the same"), "{}", done.stderr);
    let inner = format!("127.0.0.1:{}/d", own.display());
    let done = pair.lab.run(&["sync", "run", own.to_str().unwrap(), &inner]).expect_status(5);
    assert!(done.stderr.contains("inside the other"), "{}", done.stderr);
}

#[test]
fn links_that_are_followed_are_sent_as_what_they_lead_to_and_never_written_through() {
    let pair = Pair::new();
    let configure = |links: &str| {
        let (here, there) = (pair.here(""), pair.there(""));
        let yaml = format!(
            "sync:\n  work:\n    target: 127.0.0.1\n    symlinks: {links}\n    pairs:\n      \
             - {{ local: {}, remote: {} }}\n",
            here.display(),
            there.display()
        );
        pair.lab.home.write(".config/bssh/config.yaml", yaml).unwrap();
    };
    let sync = |verb: &str| pair.lab.run(&["sync", verb, "work"]);
    let is_link = |path: &Path| path.symlink_metadata().unwrap().is_symlink();
    write(&pair.here("dir/sub/f"), "one");
    write(&pair.lab.home.path().join("outside"), "secret");
    for (name, to) in [
        ("file", "dir/sub/f"),
        ("chain", "file"),
        ("dir/sub/round", ".."),
        ("dead", "nothing"),
        ("out", "../outside"),
        ("root", "/"),
    ] {
        symlink(to, pair.here(name)).unwrap();
    }
    // Sent as links before: replaced.
    configure("preserve");
    sync("push").expect_status(0);
    assert!(is_link(&pair.there("file")));
    configure("follow");
    symlink("dir", pair.here("tree")).unwrap();
    let done = sync("push").expect_status(5);
    for said in [
        "dead: is a link to nothing",
        "out: is a link that leads outside",
        "root: is a link that leads outside",
        "dir/sub/round: a directory that contains itself",
    ] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    fs::remove_file(pair.here("dir/sub/round")).unwrap();
    sync("run").expect_status(0);
    for name in ["file", "chain", "tree/sub/f"] {
        assert!(!is_link(&pair.there(name)) && text(&pair.there(name)) == "one", "{name}");
    }
    assert!(!pair.there("out").exists() && !pair.there("root").exists());
    assert_eq!(sync("plan").expect_status(0).text(), "skip dead\nskip out\nskip root\n");

    // A change behind a link is a change of each name it has.
    write(&pair.here("dir/sub/f"), "two");
    sync("run").expect_status(0);
    for name in ["file", "chain", "tree/sub/f", "dir/sub/f"] {
        assert_eq!(text(&pair.there(name)), "two", "{name}");
    }
    // What the node changes there stays there; a link of its own as well.
    write(&pair.there("file"), "theirs");
    write(&pair.there("tree/new"), "new");
    fs::remove_file(pair.there("chain")).unwrap();
    symlink("/etc/passwd", pair.there("chain")).unwrap();
    symlink("/etc/passwd", pair.there("own")).unwrap();
    let done = sync("run").expect_status(0);
    for said in ["file: has changed on the node", "tree/new: has changed", "own: is a link on"] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    assert!(is_link(&pair.here("file")) && is_link(&pair.here("tree")));
    assert_eq!(text(&pair.here("dir/sub/f")), "two");
    assert!(!pair.here("dir/new").exists() && !pair.here("own").exists());
    assert_eq!(text(&pair.there("file")), "theirs");
    // Both have changed it: a person decides, and takes this side by making the other one go.
    write(&pair.here("dir/sub/f"), "three");
    let done = sync("run").expect_status(5);
    assert!(done.stderr.contains("file: differs on both sides"), "{}", done.stderr);
    assert_eq!(
        (text(&pair.here("file")), text(&pair.there("file"))),
        ("three".into(), "theirs".into())
    );
    fs::remove_file(pair.there("file")).unwrap();
    sync("run").expect_status(0);
    assert_eq!(text(&pair.there("file")), "three");
    // The link goes, and so does what was sent for it; what it led to stays.
    fs::remove_file(pair.here("tree")).unwrap();
    sync("run").expect_status(0);
    assert!(pair.here("dir/sub/f").exists() && pair.there("dir/sub/f").exists());
    assert!(!pair.there("tree/sub").exists(), "but for what only the node has");
}

#[test]
fn a_configured_sync_has_its_own_rules() {
    let pair = Pair::new();
    let (here, there) = (pair.here(""), pair.there(""));
    let yaml = format!(
        "sync:\n  work:\n    target: 127.0.0.1\n    pairs:\n      - {{ local: {}, remote: {}, ignore: [target/, '*.o'] }}\n      - {{ local: {}, remote: {} }}\n    protect: [secret]\n    new_remote: ignore\n",
        here.display(),
        there.display(),
        here.join("sub/own").display(),
        pair.lab.home.path().join("elsewhere").display(),
    );
    pair.lab.home.write(".config/bssh/config.yaml", yaml).unwrap();
    write(&pair.here("a"), "1");
    write(&pair.here("secret"), "mine");
    write(&pair.here("target/x"), "1");
    write(&pair.here("b.o"), "1");
    write(&pair.here("sub/own/c"), "1");
    write(&pair.here("outside"), "x");
    symlink("/etc/passwd", pair.here("out")).unwrap();
    let done = pair.lab.run(&["sync", "run", "work"]).expect_status(0);
    assert!(done.stderr.contains("leads outside"), "{}", done.stderr);
    assert!(pair.there("a").exists() && !pair.there("target").exists());
    assert!(!pair.there("b.o").exists() && !pair.there("sub/own").exists());
    assert!(!pair.there("out").exists());
    assert_eq!(text(&pair.lab.home.path().join("elsewhere/c")), "1");
    write(&pair.there("new"), "x");
    write(&pair.there("secret"), "theirs");
    let done = pair.lab.run(&["sync", "run", "work"]).expect_status(0);
    assert!(done.stderr.contains("protected"), "{}", done.stderr);
    assert_eq!(text(&pair.here("secret")), "mine");
    assert!(!pair.here("new").exists());
    let done = pair.lab.run(&["sync", "run", "other"]).expect_status(2);
    assert!(done.stderr.contains("there are work"), "{}", done.stderr);
    pair.lab.home.write(".config/bssh/config.yaml", "sync: { x: { target: a } }\n").unwrap();
    let done = pair.lab.run(&["config", "check"]).expect_status(2);
    assert!((done.text() + &done.stderr).contains("needs \"target\" and \"pairs\""));
}
