//! Files to and from a node that has no file server: `cat` up, `tar` down.

use crate::files::{Looks, looks};
use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, Reply, SshdOptions};
use bssh_tests::{Lab, Run, until};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn without_sftp() -> Lab {
    Lab::with(&SshdOptions { no_sftp: true, ..SshdOptions::default() })
}

fn tree(root: &Path) {
    fs::create_dir_all(root.join("dir/deep")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    let long = "n".repeat(200);
    let names: [&[u8]; 7] = [
        b"plain",
        b"it's \"x\" $y `z` \\w",
        b"new\nline",
        b"-rf",
        b"not utf8 \xff",
        b".hidden",
        long.as_bytes(),
    ];
    for (at, name) in names.iter().enumerate() {
        let path = root.join("dir").join(OsStr::from_bytes(name));
        fs::write(&path, vec![b'a'; at * 50_000]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode([0o644, 0o755, 0o600][at % 3]))
            .unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + 5000 * at as u64);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
    fs::hard_link(root.join("dir/plain"), root.join("again")).unwrap();
    symlink("dir/plain", root.join("link")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    fs::set_permissions(root.join("dir/deep"), fs::Permissions::from_mode(0o500)).unwrap();
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    fs::File::open(root.join("dir")).unwrap().set_modified(time).unwrap();
    fs::File::open(root).unwrap().set_modified(time).unwrap();
}

#[test]
fn trees_come_and_go_whole_without_a_file_server() {
    let lab = without_sftp();
    let home = lab.home.path();
    let source = home.join("source");
    tree(&source);
    let at = |name: &str| format!("127.0.0.1:{}/{name}", home.display());
    let keep = ["-r", "--preserve", "--symlinks", "preserve"];
    for (words, name) in [
        ([&["upload"][..], &keep, &["source", &at("up")]].concat(), "up"),
        ([&["download"][..], &keep, &[&at("source"), "down"]].concat(), "down"),
    ] {
        for again in 0..2 {
            // A second time into the directory that is there.
            let name = if again == 0 { name.to_owned() } else { format!("{name}/source") };
            lab.run(&words).expect_status(0);
            let (got, want) = (looks(&home.join(&name), true), looks(&source, true));
            let names = |l: &Looks| {
                l.iter()
                    .map(|(n, l)| (String::from_utf8_lossy(n).into_owned(), l.0, l.1))
                    .collect::<Vec<_>>()
            };
            let bare = |l: Looks| {
                l.into_iter()
                    .filter(|(n, _)| !n.is_empty() && !n.starts_with(b"source"))
                    .collect::<Looks>()
            };
            let (got, want) = (bare(got), bare(want));
            assert_eq!(names(&got), names(&want), "{name}");
            assert!(got == want, "{name}: other content");
        }
    }
    // Single files, a pattern, modes that stay, what is missing, what cannot be.
    lab.home.write("f", "new").unwrap();
    let old = lab.home.write("there", "old").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o751)).unwrap();
    lab.run(&["upload", "f", &at("there")]).expect_status(0);
    assert_eq!(fs::read(&old).unwrap(), b"new");
    assert_eq!(fs::metadata(&old).unwrap().mode() & 0o777, 0o751);
    fs::create_dir(home.join("many")).unwrap();
    lab.run(&["download", &at("source/dir/[pn]*"), "many"]).expect_status(0);
    assert_eq!(fs::read_dir(home.join("many")).unwrap().count(), 4);
    for (words, said) in [
        (vec!["download".to_owned(), at("none"), "x".to_owned()], "No such file"),
        (vec!["download".to_owned(), at("source"), "x".to_owned()], "-r"),
        (vec!["upload".to_owned(), "f".to_owned(), at("nonexistent/f")], "onexistent"),
        (vec!["upload".to_owned(), "--resume".to_owned(), "f".to_owned(), at("y")], "no resume"),
    ] {
        let done = lab.run(&words).expect_status(5);
        assert!(done.stderr.contains(said), "{words:?}: {}", done.stderr);
    }
    assert!(!home.join("x").exists());
    for dir in ["", "many", "up", "source/dir"] {
        let left = fs::read_dir(home.join(dir)).unwrap().map(|e| e.unwrap().file_name());
        let left: Vec<_> = left.filter(|n| n.to_string_lossy().starts_with(".bssh-")).collect();
        assert!(left.is_empty(), "{dir}: {left:?}");
    }
}

/// An archive of one entry.
fn archive(name: &str, kind: u8, link: &str, data: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..107].copy_from_slice(b"0000644");
    head[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    head[136..147].copy_from_slice(b"00000000000");
    head[148..156].copy_from_slice(b"        ");
    head[156] = kind;
    head[157..157 + link.len()].copy_from_slice(link.as_bytes());
    let sum: u32 = head.iter().map(|b| u32::from(*b)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    head.extend_from_slice(data);
    head.resize(head.len().div_ceil(512) * 512, 0);
    head
}

#[test]
fn an_archive_that_lies_writes_nothing_outside() {
    let end = vec![0; 1024];
    let (evil, link) =
        (archive("./x/../../evil", b'0', "", b"e"), archive("./x/l", b'2', "/tmp", b""));
    let under = archive("./x/l/evil", b'0', "", b"e");
    for (what, stdout) in [
        ("up", [&evil[..], &end].concat()),
        ("absolute", [&archive("/tmp/evil", b'0', "", b"e")[..], &end].concat()),
        ("another name", [&archive("./other", b'0', "", b"e")[..], &end].concat()),
        ("through a link", [&archive("./x", b'5', "", b""), &link[..], &under, &end].concat()),
        ("a device", [&archive("./x", b'4', "", b"")[..], &end].concat()),
        ("nonsense", b"Welcome to the login shell\n".repeat(40)),
        ("half", evil[..300].to_vec()),
    ] {
        let home = Home::new().unwrap();
        let target = home.path().join("target");
        fs::create_dir(&target).unwrap();
        let reply = Reply { command: "*".to_owned(), stdout, ..Reply::default() };
        let nodes = EmbeddedNodes::with(vec![Behaviour {
            no_sftp: true,
            replies: vec![reply],
            ..Behaviour::default()
        }])
        .unwrap();
        let words =
            ["download", "-r", "--symlinks", "preserve", "demo1:x", target.to_str().unwrap()];
        let done = Lab::on_nodes(&nodes, &words);
        assert_ne!(done.status, Some(0), "{what}");
        assert!(!home.path().join("evil").exists() && !Path::new("/tmp/evil").exists(), "{what}");
        let files =
            looks(&target, true).into_values().filter(|(mode, ..)| mode & 0o170_000 == 0o100_000);
        assert_eq!(files.count(), 0, "{what}: {}", done.stderr);
    }
}

#[test]
fn an_archive_that_is_cut_between_two_entries_is_a_lost_connection() {
    // Of the archive only the directory and an empty file: it could end there, and does not.
    let tools = Home::new().unwrap();
    let tar = "#!/bin/sh\n/bin/tar \"$@\" | head -c 1024\n\
               while kill -0 $PPID; do sleep 0.1; done 2>/dev/null\n";
    let tar = tools.write("tar", tar).unwrap();
    fs::set_permissions(tar, fs::Permissions::from_mode(0o755)).unwrap();
    let extra = vec![format!("SetEnv PATH={}:/usr/bin:/bin", tools.path().display())];
    let lab = Lab::with(&SshdOptions { no_sftp: true, extra, ..SshdOptions::default() });
    let home = lab.home.path();
    for name in ["source/a", "source/b"] {
        lab.home.write(name, "").unwrap();
    }
    let source = format!("127.0.0.1:{}/source", home.display());
    let run = Run::start(lab.command(&["--json", "download", "-r", &source, "down"]));
    // One that is not whole yet has another name.
    let files = || ["a", "b"].iter().filter(|name| home.join("down").join(name).exists()).count();
    assert!(until(MINUTE, || files() == 1));
    lab.sshd.kill_sessions();
    let event = run.finish(MINUTE).expect_status(10).endings().remove("127.0.0.1").unwrap().event;
    assert_eq!(event["failure"]["code"], "transportLost", "{event}");
    assert_eq!(files(), 1, "what came whole stays");
}
