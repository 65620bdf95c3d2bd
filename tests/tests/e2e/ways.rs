//! Files on other ways: from node to node, over a long way, with holes, onto a disk that is full.

use super::files::{looks, noise, tree};
use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, Lies, SshdOptions, delayed};
use bssh_tests::{Lab, Run};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

/// A program that may write no file beyond 100 KiB, and is told so instead of killed.
const LIMITED: &str = "trap '' XFSZ; ulimit -f 200; exec";

#[test]
fn a_disk_that_is_full_keeps_the_old_file_and_takes_the_others() {
    let home = Home::new().unwrap();
    let server = ["/usr/lib/openssh/sftp-server", "/usr/libexec/sftp-server"];
    let server = server.iter().find(|p| Path::new(p).exists()).expect("openssh-sftp-server");
    let script = home.write("limited", format!("#!/bin/sh\n{LIMITED} {server}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let extra = vec![format!("Subsystem sftp {}", script.display())];
    let lab = Lab::with(&SshdOptions { no_sftp: true, extra, ..SshdOptions::default() });
    let home = lab.home.path();
    for name in ["src/a", "src/big", "src/z", "dst/src/big"] {
        lab.home.write(name, name).unwrap();
    }
    fs::write(home.join("src/big"), noise(1_500_000)).unwrap();
    fs::create_dir(home.join("here")).unwrap();
    lab.home.write("here/src/big", "dst/src/big").unwrap();
    let at = |name: &str| format!("127.0.0.1:{}/{name}", home.display());
    let up = lab.command(&["upload", "-r", "src", &at("dst")]);
    // The node's server may read what it may not write: the limit is ours this time.
    let down = lab.command(&["download", "-r", &at("src"), "here"]);
    let mut limited = lab.home.command("sh");
    limited.arg("-c").arg(format!("{LIMITED} \"$0\" \"$@\"")).arg(down.get_program());
    limited.args(down.get_args());
    for (command, target) in [(up, "dst/src"), (limited, "here/src")] {
        let done = Run::start(command).finish(Duration::from_secs(120)).expect_status(5);
        assert!(done.stderr.contains("big") && !done.stderr.contains("src/a"), "{}", done.stderr);
        let left: Vec<_> = looks(&home.join(target), false).into_keys().collect();
        let want: [&[u8]; 4] = [b"", b"a", b"big", b"z"];
        assert_eq!(left, want, "{target}");
        assert_eq!(fs::read(home.join(target).join("big")).unwrap(), b"dst/src/big");
    }
}

#[test]
fn files_go_from_node_to_node_as_scp_spells_it() {
    let lab = Lab::start();
    let home = lab.home.path();
    let source = home.join("source");
    tree(&source);
    let at = |n: u8, name: &str| format!("127.0.0.{n}:{}/{name}", home.display());
    let words = ["upload", "-r", "--preserve", "--symlinks", "preserve", "--verify"];
    let from = at(1, "source");
    lab.run(&[&words[..], &[&from, &at(2, "copy")]].concat()).expect_status(0);
    assert!(looks(&home.join("copy"), true) == looks(&source, true));
    // To several at once, a pattern of the source, and what is there receives it.
    fs::create_dir(home.join("in")).unwrap();
    let to = format!("127.0.0.2,127.0.0.3:{}/in", home.display());
    lab.run(&["upload", &at(1, "source/pl*"), &to]).expect_status(0);
    assert!(home.join("in/plain").exists());
    // What is missing and what is a loop: each is named.
    symlink("..", source.join("dir/up")).unwrap();
    let done = lab.run(&["upload", "-r", &from, &at(2, "again")]).expect_status(5);
    assert!(done.stderr.contains("contains itself"), "{}", done.stderr);
    assert!(home.join("again/dir/big").exists());
    let done = lab.run(&["upload", &at(1, "none"), &at(2, "x")]).expect_status(5);
    assert!(done.stderr.contains("no such file"), "{}", done.stderr);
}

#[test]
fn a_source_that_lies_or_is_lost_harms_nobody() {
    for (what, behaviour, code) in [
        (
            "up",
            Behaviour {
                lies: Some(Lies {
                    names: vec![(b"../evil".to_vec(), 0o100_644)],
                    ..Lies::default()
                }),
                ..Behaviour::default()
            },
            "unsafeName",
        ),
        (
            "endless",
            Behaviour {
                lies: Some(Lies { endless: true, ..Lies::default() }),
                ..Behaviour::default()
            },
            "tooManyFiles",
        ),
    ] {
        let nodes = EmbeddedNodes::with(vec![behaviour, Behaviour::default()]).unwrap();
        let home = Home::new().unwrap();
        let target = home.path().join("target");
        let to = format!("demo2:{}", target.display());
        let done = Lab::on_nodes(&nodes, &["--json", "upload", "-r", "demo1:x", &to]);
        let ended = &done.endings()["demo2"];
        assert_eq!(ended.event["failure"]["code"], code, "{what}: {}", ended.event);
        assert!(!home.path().join("evil").exists());
    }
}

/// A large file there and back over 20 ms, with the channels that were opened for it.
fn over_a_long_way(max_sessions: u32) -> usize {
    let lab = Lab::with(&SshdOptions { max_sessions, ..SshdOptions::default() });
    let home = lab.home.path();
    let node = std::net::SocketAddr::from(([127, 0, 0, 1], lab.sshd.port()));
    let port = delayed(node, Duration::from_millis(10)).unwrap().to_string();
    let content = noise(40_000_003);
    fs::write(home.join("big"), &content).unwrap();
    let far = format!("127.0.0.1:{}", home.display());
    let words = ["-p", &port, "upload", "--preserve", "--verify", "big", &format!("{far}/up")];
    lab.run(&words).expect_status(0);
    let words = ["-p", &port, "download", "--preserve", &format!("{far}/big"), "down"];
    lab.run(&words).expect_status(0);
    for name in ["up", "down"] {
        assert!(fs::read(home.join(name)).unwrap() == content, "{name}");
    }
    lab.sshd.log().matches("subsystem 'sftp'").count()
}

#[test]
fn a_large_file_over_a_long_way_is_whole_and_shares_the_way() {
    // One channel for the file itself and eight to share it, each way.
    assert_eq!(over_a_long_way(1000), 2 * 9);
}

#[test]
fn a_server_that_allows_few_channels_gets_no_more_of_them() {
    assert_eq!(over_a_long_way(3), 2 * 3);
    assert_eq!(over_a_long_way(1), 2);
}

/// Bytes that a file takes on its disk.
fn taken(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn holes_stay_holes_in_every_direction() {
    let lab = Lab::start();
    let home = lab.home.path();
    let at = |n: u8, name: &str| format!("127.0.0.{n}:{}/{name}", home.display());
    let holey = |name: &str, size: u64, places: &[u64]| {
        let file = fs::File::create(home.join(name)).unwrap();
        file.set_len(size).unwrap();
        places.iter().for_each(|place| file.write_all_at(b"data", *place).unwrap());
    };
    // Nothing of ten gigabytes of nothing is sent.
    let (mib, size) = (1 << 20, 10 << 30);
    holey("huge", size, &[3, 5 * mib, 6 * mib]);
    lab.run(&["upload", "huge", &at(1, "sent")]).expect_status(0);
    let sent = fs::File::open(home.join("sent")).unwrap();
    assert_eq!(sent.metadata().unwrap().len(), size);
    for place in [3, 5 * mib, 6 * mib] {
        let mut four = [0; 4];
        sent.read_exact_at(&mut four, place).unwrap();
        assert_eq!(&four, b"data");
    }
    assert!(taken(&home.join("sent")) < mib, "{}", taken(&home.join("sent")));
    // A node does not say where its holes are: zeros come, and are not written.
    for (name, places) in
        [("middle", &[0, 30 * mib, 64 * mib - 4][..]), ("end", &[0, 30 * mib]), ("none", &[])]
    {
        holey(name, 64 * mib, places);
        lab.run(&["upload", "--verify", name, &at(1, "up")]).expect_status(0);
        lab.run(&["download", "--verify", &at(1, name), "down"]).expect_status(0);
        lab.run(&["upload", "--verify", &at(1, name), &at(2, "across")]).expect_status(0);
        lab.run(&["download", "--resume", &at(1, name), "resumed"]).expect_status(0);
        for copy in ["up", "down", "across", "resumed"] {
            let path = home.join(copy);
            assert!(fs::read(&path).unwrap() == fs::read(home.join(name)).unwrap(), "{copy}");
            assert!(taken(&path) < 2 * mib, "{name}, {copy}: {}", taken(&path));
            fs::remove_file(path).unwrap();
        }
    }
}

/// As rsync --delete: whatever has no source goes, links themselves and never what they lead to.
#[test]
fn delete_removes_links_pipes_sockets_and_devices_too() {
    let lab = Lab::start();
    let home = lab.home.path();
    lab.home.write("far/file", "stays").unwrap();
    let surplus = |root: &str| {
        let at = home.join(root);
        lab.home.write(&format!("{root}/keep"), "old").unwrap();
        lab.home.write(&format!("{root}/sub/file"), "x").unwrap();
        for dir in [at.clone(), at.join("sub")] {
            symlink("nowhere", dir.join("dead")).unwrap();
            symlink(home.join("far"), dir.join("dir")).unwrap();
            symlink(home.join("far/file"), dir.join("link")).unwrap();
            drop(std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap());
            let make = |words: &[&str]| {
                std::process::Command::new(words[0]).args(&words[1..]).current_dir(&dir).status()
            };
            assert!(make(&["mkfifo", "pipe"]).unwrap().success());
            // Only root may.
            let _ = make(&["mknod", "device", "c", "1", "3"]);
        }
    };
    lab.home.write("src/keep", "new").unwrap();
    surplus("up/src");
    surplus("down/src");
    let at = |name: &str| format!("127.0.0.1:{}/{name}", home.display());
    let deleting = ["--delete", "--symlinks", "preserve"];
    let (to, from) = (at("up"), at("src"));
    let up = [&["upload", "-r"][..], &deleting, &["src", &to]].concat();
    let told = lab.run(&[&up[..1], &["--dry-run"], &up[1..]].concat()).expect_status(0).text();
    assert!(told.contains("/up/src/dead\n") && told.contains("/up/src/pipe\n"), "{told}");
    lab.run(&up).expect_status(0);
    let down = [&["download", "-r"][..], &deleting, &[&from, "down"]].concat();
    lab.run(&down).expect_status(0);
    for root in ["up/src", "down/src"] {
        let left: Vec<_> = looks(&home.join(root), false).into_keys().collect();
        let want: [&[u8]; 2] = [b"", b"keep"];
        assert_eq!(left, want, "{root}");
        assert_eq!(fs::read(home.join(root).join("keep")).unwrap(), b"new");
    }
    assert_eq!(fs::read(home.join("far/file")).unwrap(), b"stays");
}

/// A link in the target could lead to what has no source: written through, it would be deleted.
#[test]
fn with_delete_links_give_way_to_what_is_sent() {
    let lab = Lab::start();
    let home = lab.home.path();
    lab.home.write("src/file", "new").unwrap();
    lab.home.write("src/dead", "new").unwrap();
    lab.home.write("src/dir/inner", "new").unwrap();
    lab.home.write("to/src/other/inner", "old").unwrap();
    lab.home.write("to/src/else", "old").unwrap();
    for (link, at) in [("else", "file"), ("nowhere", "dead"), ("other", "dir")] {
        symlink(link, home.join("to/src").join(at)).unwrap();
    }
    let to = format!("127.0.0.1:{}/to", home.display());
    lab.run(&["upload", "-r", "--delete", "src", &to]).expect_status(0);
    assert_eq!(looks(&home.join("to/src"), false), looks(&home.join("src"), false));
    // Without it they are followed, as by scp.
    fs::remove_file(home.join("to/src/file")).unwrap();
    symlink("else", home.join("to/src/file")).unwrap();
    lab.run(&["upload", "-r", "src", &to]).expect_status(0);
    assert_eq!(fs::read(home.join("to/src/else")).unwrap(), b"new");
}

#[test]
fn what_the_kernel_makes_up_is_carried_to_its_end() {
    let lab = Lab::start();
    let home = lab.home.path();
    // These claim to be empty; that one claims a page.
    for made_up in ["/proc/crypto", "/proc/version", "/sys/class/net/lo/mtu"] {
        let at = |n: u8, name: &str| format!("127.0.0.{n}:{name}");
        let there = |name: &str| home.join(name).display().to_string();
        lab.run(&["upload", made_up, &at(1, &there("up"))]).expect_status(0);
        lab.run(&["download", &at(1, made_up), "down"]).expect_status(0);
        if made_up.starts_with("/proc") {
            lab.run(&["upload", &at(1, made_up), &at(2, &there("across"))]).expect_status(0);
        }
        let content = fs::read(made_up).unwrap();
        for name in ["up", "down", "across"].map(|name| home.join(name)) {
            if name.exists() {
                assert_eq!(fs::read(&name).unwrap(), content, "{made_up} {name:?}");
                fs::remove_file(name).unwrap();
            }
        }
    }
}

#[test]
fn what_looks_complete_is_compared_if_both_are_to_be_read() {
    let lab = Lab::start();
    let home = lab.home.path();
    let mine = lab.home.write("mine", noise(3_000_000)).unwrap();
    fs::set_permissions(&mine, fs::Permissions::from_mode(0o444)).unwrap();
    let there = format!("127.0.0.1:{}", home.join("there").display());
    for (words, copy) in
        [(["upload", "mine", &there], "there"), (["download", &there, "here"], "here")]
    {
        let run = |more: &[&str]| {
            let words = [&["--json", words[0], "--preserve", "--resume"], more, &words[1..]];
            lab.run(&words.concat()).expect_status(0).endings()["127.0.0.1"].event.clone()
        };
        assert_eq!(run(&[])["files"], 1);
        let copy = home.join(copy);
        let time = fs::metadata(&copy).unwrap().modified().unwrap();
        let other = noise(3_000_000).into_iter().map(|b| !b).collect::<Vec<u8>>();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&copy, other).unwrap();
        fs::File::options().write(true).open(&copy).unwrap().set_modified(time).unwrap();
        assert_eq!(run(&[])["skipped"], 1, "size and time are all that is looked at");
        assert_eq!(run(&["--verify"])["files"], 1);
        assert!(fs::read(&copy).unwrap() == noise(3_000_000), "{copy:?}");
        assert_eq!(run(&["--verify"])["skipped"], 1);
    }
    // Without --preserve a copy is as a new file would be.
    let fresh = format!("127.0.0.1:{}", home.join("fresh").display());
    lab.run(&["upload", "--resume", "mine", &fresh]).expect_status(0);
    assert_eq!(fs::metadata(home.join("fresh")).unwrap().mode() & 0o777, 0o444);
}

#[test]
fn of_two_sources_of_one_name_none_is_sent() {
    let lab = Lab::start();
    let home = lab.home.path();
    for name in ["a/x", "b/x", "a/d/1", "b/d/2", "to/x"] {
        lab.home.write(name, name).unwrap();
    }
    let at = |name: &str| format!("127.0.0.1:{}", home.join(name).display());
    let (a, b, to) = (at("a/x"), at("b/x"), at("to"));
    for words in [["upload", "a/x", "b/x", &to], ["download", &a, &b, "to"]] {
        let said = lab.run(&words).expect_status(5).stderr;
        assert!(said.contains("two sources are called x"), "{said}");
        assert_eq!(fs::read(home.join("to/x")).unwrap(), b"to/x");
    }
    // Directories become one.
    lab.run(&["upload", "-r", "a/d", "b/d", &to]).expect_status(0);
    assert_eq!(fs::read_dir(home.join("to/d")).unwrap().count(), 2);
}
