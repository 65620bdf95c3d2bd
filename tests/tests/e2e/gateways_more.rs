//! Gateways and everything else: detached runs, passwords and sudo that are asked for here, keys
//! that stay here.

use bssh_fixtures::Behaviour;
use bssh_tests::{Run, Tree, bssh, until};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A tree whose shared core ends with it.
struct Kept(Tree);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.command(&["core", "stop", "--force", "--grace", "0"]).output();
    }
}

#[test]
fn a_detached_run_goes_on_behind_its_gateways() {
    let tree = Kept(Tree::start(4));
    let go = tree.0.home.path().join("go");
    let script = format!("until [ -e {} ]; do sleep 0.05; done; echo $NODE", go.display());
    let words = ["--persist", "1m", "--detach", "-H", "demo[1-4]", "--via", "gw[1-2]", &script];
    let job = tree.0.run(&words).expect_status(0).text().trim().to_owned();
    assert!(until(SOON, || tree.0.cores().len() == 2), "{:?}", tree.0.cores());
    std::fs::write(&go, "").unwrap();
    tree.0.run(&["job", "wait", &job]).expect_status(0);
    let done = tree.0.run(&["job", "logs", "--json", &job]).expect_status(0);
    for (name, node) in done.endings() {
        assert_eq!(node.stdout, format!("{name}\n").into_bytes(), "{name}");
    }
    assert_eq!(done.endings().len(), 4, "{}", done.text());
}

/// Stands for sudo: takes one password, on the prompt it is told.
const SUDO: &str = r#"#!/bin/sh
[ "$1" != -n ] || exit 1
printf %s "$3" >&2
read -r answer
[ "$answer" = r00t-secret ] || exit 9
shift 4
exec "$@"
"#;

/// Answers for a person, and keeps what it was asked.
const ASKPASS: &str = r#"#!/bin/sh
echo "$1" >> ASKED
case $1 in *sudo*) echo r00t-secret;; *) echo n0de-secret;; esac
"#;

#[test]
fn passwords_and_sudos_are_asked_for_here() {
    let behaviour = Behaviour { password: Some("n0de-secret".to_owned()), ..Behaviour::default() };
    let tree = Tree::with(vec![behaviour; 2]);
    let asked = tree.home.path().join("asked");
    let program = |name: &str, text: &str| {
        let path = tree.home.write(name, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let sudo = program("bin/sudo", SUDO);
    let askpass = program("askpass", &ASKPASS.replace("ASKED", &asked.display().to_string()));
    let path = format!("SetEnv=PATH={}:/usr/bin:/bin", sudo.parent().unwrap().display());
    let words = ["-o", &path, "-H", "demo[1-2]", "--via", "gw1", "--sudo", "--json", "echo $NODE"];
    let mut command = tree.command(&words);
    command.env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force");
    let done = Run::start(command).finish(SOON).expect_status(0);
    for (name, node) in done.endings() {
        assert_eq!(node.stdout, format!("{name}\n").into_bytes(), "{name}: {}", node.event);
        assert_eq!(node.stderr, b"", "{name}");
    }
    let asked = std::fs::read_to_string(asked).unwrap();
    let lines: Vec<&str> = asked.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.contains("sudo")).count(), 1, "once: {asked}");
    for node in ["demo1", "demo2"] {
        let asked_for = lines.iter().filter(|line| line.contains(node)).count();
        assert_eq!(asked_for, 1, "{node}: {asked}");
    }
    assert!(!done.text().contains("secret") && !done.stderr.contains("secret"));
}

/// About host keys we are asked all the same, and decide as our own files have it; nobody is asked
/// for a password.
#[test]
fn with_batch_mode_host_keys_are_judged_and_no_password_is_asked_for() {
    let behaviour = Behaviour { password: Some("n0de-secret".to_owned()), ..Behaviour::default() };
    let tree = Tree::with(vec![Behaviour::default(), behaviour]);
    let asked = tree.home.path().join("asked");
    let text = ASKPASS.replace("ASKED", &asked.display().to_string());
    let askpass = tree.home.write("askpass", text).unwrap();
    std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o755)).unwrap();
    let words = ["-o", "BatchMode=yes", "-H", "demo[1-2]", "--via", "gw1", "--json", "echo $NODE"];
    let mut command = tree.command(&words);
    command.env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force");
    let done = Run::start(command).finish(SOON).expect_status(10);
    assert_eq!(done.endings()["demo1"].stdout, b"demo1\n", "{}", done.text());
    assert_eq!(done.endings()["demo2"].cause(), "auth/authFailed", "{}", done.text());
    assert!(!asked.exists(), "somebody was asked");
}

#[test]
fn an_identity_file_stays_here_and_that_is_said() {
    let tree = Tree::start(1);
    let key = tree.key_in_a_file().display().to_string();
    let words = ["-H", "demo1", "-i", &key, "--json", "echo $NODE"];
    tree.run(&[&["--via", "none"][..], &words].concat()).expect_status(0);
    let done = tree.run(&[&["--via", "gw1"][..], &words].concat()).expect_status(4);
    let ended = &done.endings()["demo1"];
    let hint = ended.event["failure"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("identity files stay here"), "{}", ended.event);
}

#[test]
fn equal_output_comes_once_from_a_gateway() {
    let tree = Tree::start(12);
    let sent = tree.home.path().join("sent");
    let text = format!("#!/bin/sh\n{} \"$@\" | tee -a {}\n", bssh().display(), sent.display());
    let program = tree.home.write("program", text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    tree.configure(&format!("gateways: {{ program: {} }}\n", program.display()));
    let script = "head -c 30000 /dev/zero | tr '\\0' x; echo err >&2; [ $NODE != demo7 ] || echo 7";
    let words = ["-H", "demo[1-12]", "-f", "2", "--via", "gw1", script];
    let length = || {
        let length = std::fs::metadata(&sent).unwrap().len();
        std::fs::remove_file(&sent).unwrap();
        length
    };
    let gathered = tree.run(&[&["-B"][..], &words].concat()).expect_status(0);
    let text = gathered.text();
    assert!(text.contains("demo[1-6,8-12]") && text.contains("demo7"), "{}", gathered.stderr);
    assert_eq!(text.matches(&"x".repeat(30_000)).count(), 2, "all of it, for both groups");
    let once = length();
    assert!((60_000..160_000).contains(&once), "two outputs and few words: {once}");
    // Where each node's output is wanted as it comes, it comes.
    let done = tree.run(&[&["--json"][..], &words].concat()).expect_status(0);
    for (name, node) in done.endings() {
        assert_eq!(node.stdout.len(), if name == "demo7" { 30_002 } else { 30_000 }, "{name}");
        assert_eq!(node.stderr, b"err\n", "{name}");
    }
    assert!(length() > 360_000);
    // What is long is not held back.
    let long = ["-H", "demo[1-12]", "-b", "--via", "gw1", "head -c 300000 /dev/zero"];
    let done = tree.run(&long).expect_status(0);
    assert_eq!(done.stdout.iter().filter(|byte| **byte == 0).count(), 300_000);
    assert!(length() > 3_600_000);
}
