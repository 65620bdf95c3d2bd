//! `bssh sftp` beside OpenSSH's sftp: the same lines, the same words, the same trees.

use crate::files::{Looks, looks};
use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, Lies};
use bssh_tests::{Lab, Run, Terminal, Transcript, bssh};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(120);

/// The two sides of a conversation, fresh: `here` is the working directory, `there` the node's.
fn sides(home: &Home) {
    for side in ["here", "there"] {
        let _ = fs::remove_dir_all(home.path().join(side));
    }
    for name in ["there/.keep", "here/tree/x", "here/tree/sub/y", "here/a.txt", "here/b c.txt"] {
        home.write(name, name).unwrap();
    }
    home.write("here/big", noise(700_000)).unwrap();
    symlink("x", home.path().join("here/tree/link")).unwrap();
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(home.path().join("here/a.txt"), mode).unwrap();
    for (name, time) in [("a.txt", 3), ("b c.txt", 2), ("big", 1)] {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + 86_400 * 40 * time);
        let file = fs::File::open(home.path().join("here").join(name)).unwrap();
        file.set_modified(time).unwrap();
    }
}

fn noise(n: usize) -> Vec<u8> {
    bssh_tests::net::noise(n)
}

/// A program that talks sftp with this lab's node, in `here`.
fn talk(lab: &Lab, ours: bool, words: &[&str], lines: &str) -> Transcript {
    let config = lab.sshd.ssh_config();
    let mut command = match ours {
        true => {
            let mut command = lab.home.command(bssh());
            command.arg("sftp");
            command
        }
        false => lab.home.command("sftp"),
    };
    command.arg("-F").arg(config).args(words).current_dir(lab.home.path().join("here"));
    let mut run = Run::start(command);
    run.write(lines.as_bytes());
    run.finish(MINUTES)
}

/// What both print alike: without carriage returns, times and free space.
fn normal(text: &str) -> Vec<String> {
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let line = |line: &str| {
        let line = line.trim_end_matches('\r');
        let long = line.len() > 50 && line.as_bytes()[0] != b's' && line.contains("    ? ");
        let at = months.iter().find_map(|m| line.find(&format!(" {m} "))).filter(|_| long);
        let line = match at {
            Some(at) => format!("{}{}", &line[..at], &line[at + 13..]),
            None => line.to_owned(),
        };
        match line.starts_with("stat remote") {
            true => line.rsplit(':').next().unwrap().to_owned(),
            false => line,
        }
    };
    // sftp says the last when its ssh happens to end before itself.
    text.lines()
        .map(line)
        .filter(|l| !l.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        .filter(|l| l != "\rConnection closed.  ")
        .collect()
}

/// Both programs say the same lines, and leave the same on both sides.
fn compare(lab: &Lab, words: &[&str], lines: &str) -> Transcript {
    let there = format!("127.0.0.1:{}", lab.home.path().join("there").display());
    let words = [words, &[&there]].concat();
    let mut seen = Vec::new();
    for ours in [false, true] {
        sides(&lab.home);
        let said = talk(lab, ours, &words, lines);
        let trees = ["here", "there"].map(|side| looks(&lab.home.path().join(side), false));
        seen.push((said, trees));
    }
    let (ours, our_trees) = seen.pop().unwrap();
    let (theirs, their_trees) = seen.pop().unwrap();
    assert_eq!(normal(&ours.text()), normal(&theirs.text()), "\n{}", ours.stderr);
    assert_eq!(normal(&ours.stderr), normal(&theirs.stderr));
    assert_eq!(ours.status, theirs.status);
    for (ours, theirs) in our_trees.iter().zip(&their_trees) {
        let names = |looks: &Looks| {
            looks
                .iter()
                .map(|(n, l)| (String::from_utf8_lossy(n).into_owned(), l.0))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(ours), names(theirs));
        assert!(ours == theirs, "other content");
    }
    ours
}

const EVERYTHING: &str = r"# a comment

pwd
mkdir D
cd D
pwd
put a.txt
put 'b c.txt' 'q*x'
ls
ls -1
ls -l
ls -la
ls -lh
ls -la 'q*x'
ls -1 q*
-ls /nonexistent
put -R tree
ls -1 tree
rename a.txt z.txt
ln z.txt hard
ln -s z.txt soft
symlink nowhere dangling
ls -1a
chmod 600 z.txt
ls -l z.txt hard
cp z.txt cp.txt
get z.txt
get z.txt newname
get *.txt
get -R tree back
-get tree
-put nofile
-put tree
-cd z.txt
-cd /nonexistent
-put a.txt /nonexistent/x
-get z.txt /nonexistent/y
-rmdir z.txt
-rm tree
-rename nope x
-chmod 600 nope
-ln nope nope2
-cp tree t2
-lcd /nonexistent
-lmkdir /
-get *.txt nodir
-mkdir z.txt
ls {cp,z}.txt
ls tree/*
mkdir T
cd T
put -p big
put -p a.txt
put -p 'b c.txt' x\ y
ls -t
ls -1rt *
ls -1S
ls -1rS
ls -d
";

const MORE: &str = r"put big
!head -c 100000 big > part
reget big part
put -f -P big second
!head -c 5 big > first
put first third
reput big third
-reput first big
put a.txt
put 'b c.txt'
-reput [ab]*
-reget second a.txt
df -h
df -i
-get missing
-rm missing
@pwd
-frobnicate
-get
-chmod x y
-ls -z
lmkdir ld
lcd ld
lcd ..
lls ld
!echo from the shell
version
progress
rm s*
ls -1
bye
ls after the end
";

#[test]
fn a_batch_says_and_does_what_sftp_does() {
    let lab = Lab::start();
    // An unknown flag of `ls` at the end: a batch ends there.
    compare(&lab, &["-b", "-"], EVERYTHING).expect_status(1);
    compare(&lab, &["-b", "-"], MORE).expect_status(0);
    // The same without -b: nothing ends at an error, and more is said.
    compare(&lab, &[], EVERYTHING).expect_status(0);
    compare(&lab, &["-q", "-r", "-p"], "put tree\nget tree back\nget nope\n").expect_status(0);
}

#[test]
fn a_path_behind_the_host_is_gone_to_or_fetched() {
    let lab = Lab::start();
    let mut seen = Vec::new();
    for ours in [false, true] {
        sides(&lab.home);
        lab.home.write("there/dir/file", "f").unwrap();
        let at = |path: &str| format!("127.0.0.1:{}/there/{path}", lab.home.path().display());
        let said = [
            talk(&lab, ours, &[&at("dir/file")], ""),
            talk(&lab, ours, &[&at("dir/file"), "other"], ""),
            talk(&lab, ours, &["-r", &at("dir"), "copy"], ""),
            talk(&lab, ours, &[&at("none")], ""),
            talk(&lab, ours, &["-b", "-", &at("dir")], "pwd\nrm none\npwd\n"),
        ];
        let said = said.map(|s| (normal(&s.text()), normal(&s.stderr), s.status));
        seen.push((said, looks(&lab.home.path().join("here"), false)));
    }
    assert_eq!(seen[1].0, seen[0].0);
    assert!(seen[1].1 == seen[0].1);
    let failed =
        talk(&lab, true, &["-P", &bssh_tests::net::free_port().to_string(), "127.0.0.1"], "")
            .expect_status(255);
    assert!(failed.stderr.contains("Connection closed"), "{}", failed.stderr);
    for (words, said) in [
        (vec!["-D", "x", "127.0.0.1"], "-D: not supported"),
        (vec!["-S", "ssh", "127.0.0.1"], "-S: not supported"),
        (vec!["-b", "/nonexistent", "127.0.0.1"], "No such file or directory (/nonexistent)."),
    ] {
        let done = talk(&lab, true, &words, "");
        assert!(done.status != Some(0) && done.stderr.contains(said), "{}", done.stderr);
    }
}

#[test]
fn what_was_cut_anywhere_is_gone_on_with() {
    let lab = Lab::start();
    sides(&lab.home);
    let home = lab.home.path();
    let whole = noise(700_000);
    let mut lines = String::from("put big whole\n");
    let cuts = [0_usize, 1, 32_767, 32_768, 261_120, 300_001, 699_999];
    for cut in cuts {
        lab.home.write(&format!("here/down{cut}"), &whole[..cut]).unwrap();
        lab.home.write(&format!("there/up{cut}"), &whole[..cut]).unwrap();
        lines.push_str(&format!("reget whole down{cut}\nreput big up{cut}\n"));
    }
    let there = format!("127.0.0.1:{}", home.join("there").display());
    let words = ["-b", "-", "-B", "9000", "-R", "7", "-l", "800000", &there];
    talk(&lab, true, &words, &lines).expect_status(0);
    for cut in cuts {
        assert!(fs::read(home.join(format!("here/down{cut}"))).unwrap() == whole, "down {cut}");
        assert!(fs::read(home.join(format!("there/up{cut}"))).unwrap() == whole, "up {cut}");
    }
    // One that is larger than what there is to get is left as it is.
    lab.home.write("here/more", noise(700_001)).unwrap();
    let done = talk(&lab, true, &["-b", "-", &there], "reget whole more\n").expect_status(1);
    assert!(done.stderr.contains("local file is larger than remote"), "{}", done.stderr);
}

#[test]
fn a_limit_is_kept_and_a_lost_node_ends_it() {
    let lab = Lab::start();
    sides(&lab.home);
    let there = format!("127.0.0.1:{}", lab.home.path().join("there").display());
    // 700 kB at 4000 kbit/s.
    let done = talk(&lab, true, &["-l", "4000", "-b", "-", &there], "put big\n").expect_status(0);
    assert!(done.took > Duration::from_millis(700), "{:?}", done.took);
    let get = format!("get {}/here/big back\npwd\n", lab.home.path().display());
    let node = Behaviour { drop_after: Some(200_000), ..Behaviour::default() };
    let done = on_bad(node, &lab.home, &get);
    assert!(!done.text().contains("Remote working"), "{}", done.text());
    assert!(!lab.home.path().join("back").exists());
}

/// What is said to a node that fails, which ends the conversation.
fn on_bad(node: Behaviour, home: &Home, lines: &str) -> Transcript {
    let nodes = EmbeddedNodes::with(vec![node]).unwrap();
    nodes.write_client_files(home.path()).unwrap();
    let mut command = home.command(bssh());
    command.args(["sftp", "-F"]).arg(home.path().join("ssh_config")).args(["-b", "-", "demo1"]);
    let mut run = Run::start(command);
    run.write(lines.as_bytes());
    run.finish(MINUTES).expect_status(255)
}

#[test]
fn a_node_that_breaks_the_protocol_ends_it_and_is_told() {
    let home = Home::new().unwrap();
    let names = vec![(b"same".to_vec(), 0o100_644), (b"same".to_vec(), 0o100_644)];
    let lies = Lies { names, ..Lies::default() };
    let done = on_bad(Behaviour { lies: Some(lies), ..Behaviour::default() }, &home, "ls\npwd\n");
    assert!(done.stderr.contains("the node sent a name twice"), "{}", done.stderr);
    assert!(!done.text().contains("Remote working"), "{}", done.text());
}

#[test]
fn a_person_types_completes_and_interrupts() {
    let lab = Lab::start();
    sides(&lab.home);
    lab.home.write("there/some file", "s").unwrap();
    lab.home.write("there/second/inner", "i").unwrap();
    lab.home.write("there/huge", noise(3_000_000)).unwrap();
    let mut command = lab.home.command(bssh());
    let there = format!("127.0.0.1:{}", lab.home.path().join("there").display());
    let config = lab.sshd.ssh_config();
    command.arg("sftp").arg("-F").arg(&config).args(["-l", "1000", &there]);
    command.current_dir(lab.home.path().join("here"));
    let mut terminal = Terminal::start(&command);
    terminal.wait_for("Connected to 127.0.0.1.", MINUTES);
    terminal.wait_for("sftp> ", MINUTES);
    // A command, a path with a blank, a directory, a path of this side.
    terminal.write("ver\t\r");
    terminal.wait_for("SFTP protocol version 3", MINUTES);
    terminal.write("get som\t\r");
    terminal.wait_for("Fetching", MINUTES);
    terminal.wait_for("sftp> ", MINUTES);
    assert_eq!(fs::read(lab.home.path().join("here/some file")).unwrap(), b"s");
    terminal.write("ls -1 sec\t\r");
    terminal.wait_for("second/inner", MINUTES);
    terminal.write("put b\\ \t\r");
    terminal.wait_for("Uploading b c.txt", MINUTES);
    terminal.wait_for("sftp> ", MINUTES);
    // Ctrl-C ends the command and nothing else; the progress was shown.
    terminal.write("get huge\r");
    terminal.wait_for("MiB", MINUTES);
    terminal.write("\x03");
    terminal.wait_for("Interrupt", MINUTES);
    terminal.wait_for("sftp> ", MINUTES);
    terminal.write("!echo $((40+2))\r");
    terminal.wait_for("42", MINUTES);
    terminal.wait_for("sftp> ", MINUTES);
    terminal.write("\x04");
    assert_eq!(terminal.finish(MINUTES), Some(0));
    assert!(!lab.home.path().join("here/huge").exists());
    let history = lab.home.path().join(".local/state/bssh/sftp-history");
    let meta = fs::metadata(&history).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&history).unwrap().contains("get huge"));
}
