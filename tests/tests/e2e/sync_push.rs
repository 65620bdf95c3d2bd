//! A push looks at the node only where something has changed here; what it does not see there must
//! be as safe as what it does.

use super::files::noise;
use super::sync::{Pair, text, write};
use super::sync_faults::files;
use super::sync_steps::server;
use bssh_fixtures::{Home, SshdOptions};
use bssh_tests::Lab;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// The paths of all files below a directory.
fn names(root: &Path) -> Vec<String> {
    files(root).into_iter().map(|(path, _)| path.display().to_string()).collect()
}

#[test]
fn what_is_left_out_only_now_stays_on_the_node() {
    let pair = Pair::new();
    let configure = |more: &str| {
        let (here, there) = (pair.here(""), pair.there(""));
        let yaml = format!(
            "sync:\n  work:\n    target: 127.0.0.1\n    pairs:\n      - {{ local: {}, remote: {}{} }}\n",
            here.display(),
            there.display(),
            more.replace("HERE", &here.display().to_string()),
        );
        pair.lab.home.write(".config/bssh/config.yaml", yaml).unwrap();
    };
    let all = ["a.c", "a.log", "keep/deep/g", "sub/f"];
    for name in all {
        write(&pair.here(name), name);
    }
    let elsewhere = pair.lab.home.path().join("elsewhere").display().to_string();
    let nested = format!(" }}\n      - {{ local: HERE/sub, remote: {elsewhere}");
    for more in [", ignore: ['*.log']", ", ignore: [keep/]", ", include: ['*.c']", &nested] {
        configure("");
        pair.lab.run(&["sync", "run", "work"]).expect_status(0);
        configure(more);
        let plan = pair.lab.run(&["sync", "push", "--dry-run", "work"]).expect_status(0);
        assert!(!plan.text().contains("delete-there"), "{more}: {}", plan.text());
        pair.lab.run(&["sync", "push", "work"]).expect_status(0);
        assert_eq!(names(&pair.there("")), all, "{more}");
        // Neither is it deleted later, nor is what else has gone here kept.
        fs::remove_file(pair.here("a.c")).unwrap();
        pair.lab.run(&["sync", "push", "work"]).expect_status(0);
        assert_eq!(names(&pair.there("")), all[1..], "{more}");
        write(&pair.here("a.c"), "a.c");
    }
    configure("");
    pair.sync("push", &["--skip", "*.log"]).expect_status(0);
    // What takes part again is compared anew: the same is no conflict.
    assert_eq!(pair.told("run", &[])["pushed"], 0);
    pair.sync("run", &[]).expect_status(0);
    assert_eq!(names(&pair.there("")), all);
}

#[test]
fn nothing_is_written_or_deleted_through_a_link_on_the_node() {
    for (to, said) in [("../else", "d: is a link that leads outside"), ("own", "d: differs")] {
        let pair = Pair::new();
        for name in ["d/f", "d/g", "d/e/h", "z"] {
            write(&pair.here(name), "base");
        }
        pair.sync("run", &[]).expect_status(0);
        let target = pair.there(to);
        fs::rename(pair.there("d"), &target).unwrap();
        symlink(to, pair.there("d")).unwrap();
        let before = files(&target);
        write(&pair.here("d/n"), "new");
        write(&pair.here("d/e/h"), "edited");
        write(&pair.here("z"), "edited");
        fs::remove_file(pair.here("d/g")).unwrap();
        let done = pair.sync("push", &[]).expect_status(5);
        let what_to_do = done.stderr.contains("rename or remove");
        assert!(done.stderr.contains(said) && what_to_do, "{}", done.stderr);
        assert!(!done.stderr.contains("sync resolve"), "{}", done.stderr);
        assert_eq!(files(&target), before, "{to}: what is behind the link is as it was");
        assert_eq!(text(&pair.there("z")), "edited", "{to}: what is beside it is sent");
    }
}

#[test]
fn a_directory_that_is_gone_on_the_node_comes_back_for_what_is_in_it() {
    for delete in ["push", "both"] {
        let pair = Pair::new();
        for name in ["d/e/f", "d/e/g", "d/h", "z"] {
            write(&pair.here(name), "base");
        }
        pair.sync("run", &[]).expect_status(0);
        fs::remove_dir_all(pair.there("d")).unwrap();
        write(&pair.here("d/e/f"), "edited");
        write(&pair.here("d/new"), "new");
        fs::remove_file(pair.here("d/h")).unwrap();
        pair.sync("push", &["--delete", delete]).expect_status(0);
        assert_eq!(names(&pair.there("")), ["d/e/f", "d/new", "z"], "{delete}");
        // What was not touched here is a deletion of the node's.
        pair.sync("run", &["--delete", delete]).expect_status(0);
        assert_eq!(text(&pair.there("d/e/f")), "edited");
        assert_eq!(pair.there("d/e/g").exists(), delete == "push", "{delete}");
        assert_eq!(files(&pair.here("")), files(&pair.there("")), "{delete}");
    }
}

#[test]
fn what_a_push_cannot_send_is_told() {
    let pair = Pair::new();
    for name in ["f", "g", "gone"] {
        write(&pair.here(name), "base");
    }
    pair.sync("run", &[]).expect_status(0);
    write(&pair.here("f"), "mine");
    write(&pair.there("f"), "theirs");
    let wins = ["--conflict", "remote-wins"];
    for flags in [&wins[..], &[]] {
        let done = pair.sync("push", flags).expect_status(5);
        assert!(done.stderr.contains("1 file was changed on both sides"), "{}", done.stderr);
        assert!(done.stderr.contains("bssh sync back"), "{}", done.stderr);
    }
    pair.sync("back", &wins).expect_status(0);
    pair.sync("push", &wins).expect_status(0);
    assert_eq!((text(&pair.here("f")), text(&pair.there("f"))), ("theirs".into(), "theirs".into()));
    // Where something else is on the node now; what was not changed here is not asked about.
    for name in ["f", "g"] {
        fs::remove_file(pair.there(name)).unwrap();
        symlink("/etc/passwd", pair.there(name)).unwrap();
    }
    write(&pair.here("g"), "mine");
    let done = pair.sync("push", &[]).expect_status(5);
    assert!(done.stderr.contains("1 path differs and is left alone"), "{}", done.stderr);
    assert!(done.stderr.contains("g: is a link that leads outside"), "{}", done.stderr);
    // An edit beats a deletion: nothing is left to be decided.
    write(&pair.here("g"), "base");
    fs::remove_file(pair.here("gone")).unwrap();
    write(&pair.there("gone"), "edited");
    pair.sync("push", &[]).expect_status(0);
    assert_eq!(text(&pair.there("gone")), "edited");
}

/// The file server has a disk of its own (root, Linux).
#[test]
fn a_full_disk_of_the_node_is_said_to_be_full() {
    let home = Home::new().unwrap();
    let disk = home.path().join("disk").display().to_string();
    fs::create_dir(&disk).unwrap();
    let mounted = format!("mount -t tmpfs -o size=512k tmpfs {disk} && exec {}", server());
    let script = home.write("server", format!("#!/bin/sh\nexec unshare -m sh -c '{mounted}'\n"));
    let script = script.unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let extra = vec![format!("Subsystem sftp {}", script.display())];
    let lab = Lab::with(&SshdOptions { no_sftp: true, extra, ..SshdOptions::default() });
    write(&lab.home.path().join("here/small"), "x");
    write(&lab.home.path().join("here/big"), noise(1_500_000));
    let to = format!("127.0.0.1:{disk}/there");
    let done = lab.run(&["sync", "push", "here", &to]).expect_status(5);
    assert!(done.stderr.contains("big: no space left on the node's disk"), "{}", done.stderr);
}
