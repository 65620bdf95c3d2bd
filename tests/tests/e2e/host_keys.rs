//! Whom to trust: commands that know keys, certificates, keys that are learned and forgotten.

use bssh_fixtures::SshdOptions;
use bssh_tests::{Lab, Peer, Run, Terminal, Transcript};
use serde_json::json;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(120);

/// `ssh-keygen`, in the lab's home.
#[track_caller]
fn keygen(lab: &Lab, words: &[&str]) {
    let mut command = lab.home.command("ssh-keygen");
    command.arg("-q").args(words);
    Run::start(command).finish(MINUTES).expect_status(0);
}

/// Type and key of the daemon's key of this kind.
fn key_of(lab: &Lab, kind: &str) -> String {
    let line = std::fs::read_to_string(lab.sshd.file(&format!("host_{kind}.pub"))).unwrap();
    line.trim_end().to_owned()
}

/// `echo in` with these options; `known` is all that is known from files.
#[track_caller]
fn run(lab: &Lab, known: &str, options: &[&str]) -> Transcript {
    let file = lab.home.write("known", known).unwrap();
    let known = format!("UserKnownHostsFile={}", file.display());
    let options = options.iter().flat_map(|option| ["-o", *option]);
    lab.run(&options.chain(["-o", &known, "127.0.0.1", "echo in"]).collect::<Vec<_>>())
}

#[test]
fn a_command_says_which_host_keys_are_known() {
    let lab = Lab::start();
    let other = std::fs::read_to_string(lab.sshd.file("user_key.pub")).unwrap();
    for (command, status, said) in [
        ("/bin/echo %H %t %K", 0, ""),
        (&*format!("/bin/echo \"%H\" {}", key_of(&lab, "ed25519")), 0, ""),
        ("/bin/echo nowhere %t %K", 255, "No ED25519 host key is known"),
        ("/bin/echo @revoked %H %t %K", 255, "revoked (KnownHostsCommand:1)"),
        (&*format!("/bin/echo %H {}", other.trim_end()), 255, "IDENTIFICATION HAS CHANGED"),
        ("/bin/false", 255, "KnownHostsCommand /bin/false: exit status: 1"),
        ("/nowhere/keys %H", 255, "KnownHostsCommand /nowhere/keys"),
        ("/usr/bin/yes", 255, "more than 1 MiB"),
    ] {
        let command = format!("KnownHostsCommand={command}");
        let done = run(&lab, "", &["HostKeyAlgorithms=ssh-ed25519", &command]);
        let done = done.expect_status(status);
        assert!(done.stderr.contains(said), "{command}: {}", done.stderr);
        assert_eq!(done.stderr.is_empty(), said.is_empty(), "{command}: {}", done.stderr);
    }
}

#[test]
fn a_server_without_a_host_key_of_the_wanted_kind_is_refused() {
    let extra = vec!["HostKeyAlgorithms ssh-ed25519".to_owned()];
    let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let done = run(&lab, "", &["HostKeyAlgorithms=rsa-sha2-512"]).expect_status(255);
    let said = "no common host key type: we offer rsa-sha2-512, the server ssh-ed25519";
    assert!(done.stderr.contains(said), "{}", done.stderr);
}

#[test]
fn a_changed_host_key_that_is_let_through_is_an_error_to_tell() {
    let lab = Lab::start();
    let other = std::fs::read_to_string(lab.sshd.file("user_key.pub")).unwrap();
    let known = format!("[127.0.0.1]:{} {other}", lab.sshd.port());
    for (level, told) in [("INFO", true), ("ERROR", true), ("FATAL", false), ("SILENT", false)] {
        let level = format!("LogLevel={level}");
        let done = run(&lab, &known, &["StrictHostKeyChecking=no", &level]).expect_status(0);
        assert_eq!(done.text(), "in\n");
        assert_eq!(done.stderr.contains("HAS CHANGED"), told, "{level}: {}", done.stderr);
        assert_eq!(done.stderr.is_empty(), !told, "{level}: {}", done.stderr);
    }
}

#[test]
fn a_changed_host_key_gets_neither_agent_nor_forwards() {
    let lab = Lab::start();
    let other = std::fs::read_to_string(lab.sshd.file("user_key.pub")).unwrap();
    let known = format!("[127.0.0.1]:{} {other}", lab.sshd.port());
    let known = lab.home.write("known", known).unwrap();
    let known = format!("UserKnownHostsFile={}", known.display());
    let port = bssh_tests::net::free_port();
    let forward = format!("{port}:127.0.0.1:1");
    let words = ["-o", &known, "-o", "StrictHostKeyChecking=no"];
    let rest = ["-L", &forward, "127.0.0.1", "echo [$SSH_AUTH_SOCK]"];
    let done = lab.run(&[&words[..], &["-A"], &rest].concat()).expect_status(0);
    assert_eq!(done.text(), "[]\n");
    for said in ["agent forwarding is disabled", "port forwarding is disabled"] {
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
    let strict = ["-o", "ExitOnForwardFailure=yes"];
    lab.run(&[&words[..], &strict, &rest].concat()).expect_status(255);
}

#[test]
fn a_key_that_is_revoked_for_a_host_is_revoked_on_every_port() {
    let lab = Lab::start();
    let known = format!("@revoked 127.0.0.1 {}\n", key_of(&lab, "ed25519"));
    for policy in ["yes", "accept-new", "no"] {
        let policy = format!("StrictHostKeyChecking={policy}");
        let options = ["HostKeyAlgorithms=ssh-ed25519", &policy];
        let done = run(&lab, &known, &options).expect_status(255);
        assert!(done.stderr.contains("is revoked ("), "{policy}: {}", done.stderr);
        assert_eq!(std::fs::read_to_string(lab.home.path().join("known")).unwrap(), known);
    }
}

#[test]
fn an_authority_does_not_hide_the_key_a_host_is_known_by() {
    let lab = Lab::start();
    let authority = std::fs::read_to_string(lab.sshd.file("user_key.pub")).unwrap();
    let name = format!("[127.0.0.1]:{}", lab.sshd.port());
    let known = format!("@cert-authority * {authority}{name} {}\n", key_of(&lab, "rsa"));
    let done = run(&lab, &known, &["StrictHostKeyChecking=yes"]).expect_status(0);
    assert_eq!((done.text().as_str(), done.stderr.as_str()), ("in\n", ""));
}

#[test]
fn what_removes_a_changed_key_names_its_file() {
    let lab = Lab::start();
    let other = std::fs::read_to_string(lab.sshd.file("user_key.pub")).unwrap();
    let name = format!("[127.0.0.1]:{}", lab.sshd.port());
    let said = run(&lab, &format!("{name} {other}"), &[]).expect_status(255).stderr;
    let file = lab.home.path().join("known");
    let wanted = format!("ssh-keygen -f '{}' -R '{name}'", file.display());
    assert!(said.contains(&wanted), "{said}");
}

#[test]
fn a_host_certificate_counts_only_while_it_is_good_for_the_host() {
    let mut lab = Lab::start();
    let file = |lab: &Lab, name: &str| lab.home.path().join(name).display().to_string();
    for authority in ["ca", "other"] {
        keygen(&lab, &["-t", "ed25519", "-N", "", "-f", authority]);
    }
    let host = lab.sshd.file("host_ed25519.pub").display().to_string();
    let config = lab.sshd.file("sshd_config");
    let text = std::fs::read_to_string(&config).unwrap();
    let certificate = host.replace(".pub", "-cert.pub");
    std::fs::write(&config, format!("HostCertificate {certificate}\n{text}")).unwrap();
    let authority = std::fs::read_to_string(file(&lab, "ca.pub")).unwrap();
    let trusted = format!("@cert-authority 127.0.0.* {authority}");
    let revoked = format!("@revoked * {authority}{trusted}");
    let other = std::fs::read_to_string(file(&lab, "other.pub")).unwrap();
    let other_revoked = format!("@revoked * {other}{trusted}");
    let elsewhere = format!("@cert-authority *.example {authority}");
    let good = ["-h", "-n", "127.0.0.1"];
    for (signer, words, known, status, said) in [
        ("ca", &good[..], &trusted, 0, ""),
        ("ca", &["-h"], &trusted, 0, ""),
        ("ca", &["-h", "-n", "web1,web2"], &trusted, 255, "the name is not a listed principal"),
        ("ca", &["-h", "-V", "19990101:20000101"], &trusted, 255, "it has expired"),
        ("ca", &["-h", "-V", "20900101:20910101"], &trusted, 255, "it is not valid yet"),
        ("other", &good, &trusted, 255, "No ED25519 host key is known"),
        ("ca", &good, &elsewhere, 255, "No ED25519 host key is known"),
        ("ca", &good, &revoked, 255, "is revoked"),
        ("ca", &good, &other_revoked, 0, ""),
    ] {
        keygen(&lab, &[&["-s", signer, "-I", "id"], words, &[&host]].concat());
        lab.sshd.stop();
        lab.sshd.restart().unwrap();
        let done = run(&lab, known, &[]).expect_status(status);
        assert!(done.stderr.contains(said), "{signer} {words:?}: {}", done.stderr);
        assert_eq!(done.stderr.is_empty(), said.is_empty(), "{words:?}: {}", done.stderr);
    }
}

#[test]
fn further_keys_of_a_known_host_are_learned_and_old_ones_forgotten() {
    let lab = Lab::start();
    keygen(&lab, &["-t", "ecdsa", "-N", "", "-f", "old"]);
    let name = format!("[127.0.0.1]:{}", lab.sshd.port());
    let old = std::fs::read_to_string(lab.home.path().join("old.pub")).unwrap();
    let old: Vec<&str> = old.split(' ').take(2).collect();
    let other = format!("# by hand\nweb1 {}\n", old.join(" "));
    let known = format!("{other}{name} {}\n{name} {}", key_of(&lab, "ed25519"), old.join(" "));
    let file = lab.home.path().join("known");
    // The command waits, as far as that is to be waited for, until its own node is known better.
    let learned = format!(
        "for n in $(seq 300); do grep -q ssh-rsa {} && break; sleep .1; done",
        file.display()
    );
    let learn = |options: &[&str]| {
        std::fs::write(&file, &known).unwrap();
        let path = format!("UserKnownHostsFile={}", file.display());
        let options = options.iter().flat_map(|option| ["-o", *option]);
        let words: Vec<_> = options.chain(["-o", &path, "127.0.0.1", &learned]).collect();
        lab.run(&words).expect_status(0);
        std::fs::read_to_string(&file).unwrap()
    };
    let now = learn(&["UpdateHostKeys=yes"]);
    assert!(now.starts_with(&other), "{now}");
    let ours: Vec<_> = now.lines().filter(|line| line.starts_with(&name)).collect();
    assert!(ours.iter().any(|line| line.ends_with(&key_of(&lab, "rsa"))), "{now}");
    assert!(ours.iter().any(|line| line.ends_with(&key_of(&lab, "ed25519"))), "{now}");
    assert!(!ours.iter().any(|line| line.ends_with(&old[1])), "{now}");
    // Hashed, where names are.
    let hashed = learn(&["UpdateHostKeys=yes", "HashKnownHosts=yes"]);
    let rsa = hashed.lines().find(|line| line.ends_with(&key_of(&lab, "rsa")));
    assert!(rsa.is_some_and(|line| line.starts_with("|1|")), "{hashed}");
}

#[test]
fn a_question_whose_run_is_cancelled_is_withdrawn_and_a_late_answer_changes_nothing() {
    let lab = Lab::start();
    let known = lab.home.path().join("none");
    let config = std::fs::read_to_string(lab.sshd.ssh_config()).unwrap();
    let known_hosts = known.display();
    let asking = "StrictHostKeyChecking ask\nBatchMode no";
    let text = format!("UserKnownHostsFile {known_hosts}\n{asking}\n{config}");
    let config = lab.home.write("asking", text).unwrap();
    let mut peer = Peer::start(&lab.home, &["hostKey"], &[]);
    let start = json!({"nodes": "127.0.0.1", "action": {"command": "true"},
        "settings": {"sshConfig": config.display().to_string()}});
    let run = peer.call("exec/start", start.clone())["run"].clone();
    let stale = peer.wait_for("auth/hostKey", |_| true);
    peer.call("exec/cancel", json!({"run": run}));
    peer.wait_for("$/cancelRequest", |p| p["id"] == stale["id"]);
    peer.wait_for("auth/promptDone", |p| p["prompt"] == stale["params"]["prompt"]);
    peer.wait_for("exec/done", |p| p["run"] == run);
    peer.reply(&stale, json!({"outcome": "accept", "scope": "file"}));
    // The next question of the link is asked, and nothing was filed.
    let run = peer.call("exec/start", start)["run"].clone();
    let question = peer.wait_for("auth/hostKey", |_| true);
    assert!(!known.exists(), "a late answer was filed");
    peer.reply(&question, json!({"outcome": "accept", "scope": "file"}));
    peer.wait_for("auth/promptDone", |p| p["prompt"] == question["params"]["prompt"]);
    let done = peer.wait_for("exec/done", |p| p["run"] == run);
    assert_eq!(done["params"]["summary"]["ok"], 1, "{done}");
    assert!(known.exists());
}

#[test]
fn batch_mode_asks_for_no_host_key() {
    let lab = Lab::start();
    let words =
        ["-n", "-oBatchMode=yes", "-oUserKnownHostsFile=/dev/null", "-oStrictHostKeyChecking=ask"];
    let words = [&words[..], &["127.0.0.1", "true"]].concat();
    let mut terminal = Terminal::start(&lab.command(&words));
    assert_eq!(terminal.finish(MINUTES), Some(255), "{}", terminal.shown());
    let shown = terminal.shown();
    assert!(shown.trim_end().ends_with("Host key verification failed."), "{shown}");
}

#[test]
fn nobody_is_asked_beside_a_session_at_the_terminal() {
    let lab = Lab::start();
    let name = format!("[127.0.0.1]:{}", lab.sshd.port());
    let known = lab.home.write("known", format!("{name} {}\n", key_of(&lab, "ed25519"))).unwrap();
    let path = format!("UserKnownHostsFile={}", known.display());
    let words = ["-o", "BatchMode=no", "-o", "UpdateHostKeys=ask", "-o", &path, "127.0.0.1"];
    let mut terminal = Terminal::start(&lab.command(&words));
    // By the third answer the server has shown its keys, and a question would be there.
    for n in 1..4 {
        terminal.write(&format!("echo a$(({n}+{n}))\n"));
        assert!(terminal.has(&format!("a{}", 2 * n), MINUTES), "{}", terminal.shown());
    }
    terminal.write("exit 3\n");
    assert_eq!(terminal.finish(MINUTES), Some(3), "{}", terminal.shown());
    assert!(!terminal.shown().contains("Accept updated"), "{}", terminal.shown());
}
