//! Questions: on /dev/tty or by an askpass program, as ssh asks them, never on stdin or stdout.

use bssh_tests::{Lab, Run, Shared, Terminal, until};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(120);
const PASSPHRASE: &str = "correct horse";

/// A daemon whose one key needs a passphrase, and a program that knows it.
struct Locked {
    lab: Lab,
}

impl Locked {
    fn start() -> Locked {
        let lab = Lab::start();
        let key = lab.sshd.user_key().display().to_string();
        let mut keygen = lab.home.command("ssh-keygen");
        keygen.args(["-q", "-p", "-a", "1", "-P", "", "-N", PASSPHRASE, "-f", &key]);
        Run::start(keygen).finish(MINUTES).expect_status(0);
        let program = "#!/bin/sh\necho \"$1\" >> \"$0.asked\"\ncat \"$0.answer\"";
        let program = lab.home.write("askpass", program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        lab.home.write("askpass.answer", PASSPHRASE).unwrap();
        Locked { lab }
    }

    fn command(&self, vars: &[(&str, &str)]) -> Command {
        let mut command = self.lab.command(&["-o", "BatchMode=no", "127.0.0.1", "cat; echo in"]);
        command.env("SSH_ASKPASS", self.lab.home.path().join("askpass"));
        command.envs(vars.iter().copied());
        command
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.lab.home.path().join("askpass.asked")).unwrap_or_default()
    }
}

#[test]
fn askpass_answers_where_nobody_is_at_a_terminal() {
    let locked = Locked::start();
    let run = |vars: &[(&str, &str)]| {
        // `setsid`: no terminal of whoever runs the tests.
        let command = locked.command(vars);
        let mut apart = locked.lab.home.command("setsid");
        apart.arg("-w").arg(command.get_program()).args(command.get_args());
        apart.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut run = Run::start(apart);
        run.write(b"typed ahead\n");
        run.finish(MINUTES)
    };
    let refused = run(&[]).expect_status(255);
    assert!(refused.stderr.contains("Permission denied (publickey"), "{}", refused.stderr);
    run(&[("SSH_ASKPASS_REQUIRE", "never"), ("DISPLAY", ":9")]).expect_status(255);
    run(&[("SSH_ASKPASS_REQUIRE", "prefer")]).expect_status(255);
    assert_eq!(locked.asked(), "");
    for vars in [
        &[("DISPLAY", ":9")][..],
        &[("SSH_ASKPASS_REQUIRE", "force")],
        &[("SSH_ASKPASS_REQUIRE", "prefer"), ("DISPLAY", ":9")],
    ] {
        assert_eq!(run(vars).expect_status(0).text(), "typed ahead\nin\n", "{vars:?}");
    }
    let key = locked.lab.sshd.user_key();
    let question = format!("Enter passphrase for key '{}': \n", key.display());
    assert_eq!(locked.asked(), question.repeat(3));
    // A wrong answer is asked for again, as often as NumberOfPasswordPrompts says.
    locked.lab.home.write("askpass.answer", "wrong").unwrap();
    let refused = run(&[("SSH_ASKPASS_REQUIRE", "force")]).expect_status(255);
    assert!(!refused.stderr.contains("wrong"), "{}", refused.stderr);
    assert_eq!(locked.asked(), question.repeat(6));
}

#[test]
fn a_person_is_asked_at_the_terminal_and_not_on_stdin() {
    let locked = Locked::start();
    let words = locked.command(&[]);
    // stdin and stdout are files; the terminal is there all the same.
    let mut shell = locked.lab.home.command("sh");
    let line = "printf data > in; \"$0\" \"$@\" < in > out; cat out; echo done $?";
    shell.args(["-c", line]).arg(words.get_program()).args(words.get_args());
    let mut terminal = Terminal::start(&shell);
    terminal.wait_for("Enter passphrase for key", MINUTES);
    terminal.write("correct horse\n");
    assert!(terminal.has("done 0", MINUTES), "{}", terminal.shown());
    assert!(terminal.shown().contains("datain"), "{}", terminal.shown());
    assert!(!terminal.shown().contains("horse"), "{}", terminal.shown());
    assert!(terminal.echoes());
}

#[test]
fn what_is_typed_at_a_question_is_the_answer_and_not_stdin() {
    let locked = Locked::start();
    let words = ["-o", "BatchMode=no", "127.0.0.1", "echo in; head -n 1 | cat -A"];
    let mut terminal = Terminal::start(&locked.lab.command(&words));
    terminal.wait_for("Enter passphrase for key", MINUTES);
    terminal.write("correct horse\n");
    terminal.wait_for("in\r\n", MINUTES);
    terminal.write("typed\n");
    assert!(terminal.has("typed$", MINUTES), "{}", terminal.shown());
    assert_eq!(terminal.finish(MINUTES), Some(0), "{}", terminal.shown());
}

#[test]
fn what_no_node_was_there_for_stays_on_stdin() {
    let lab = Lab::start();
    let unused = TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap().port();
    let many = format!("127.0.0.9:{unused},127.0.0.8:{unused}");
    for words in [&["-p", &unused.to_string(), "127.0.0.9", "cat"][..], &["-H", &many, "cat"]] {
        let bssh = lab.command(words);
        let mut shell = lab.home.command("sh");
        shell.args(["-c", "seq 1 200000 | ( \"$0\" \"$@\"; wc -l )"]);
        shell.arg(bssh.get_program()).args(bssh.get_args());
        let done = Run::start(shell).finish(MINUTES);
        assert!(done.text().ends_with("200000\n"), "{words:?}: {}{}", done.text(), done.stderr);
    }
}

#[test]
fn ctrl_c_at_a_question_ends_a_shells_loop() {
    let locked = Locked::start();
    let words = locked.command(&[]);
    let mut shell = locked.lab.home.command("/bin/bash");
    let line = "for i in 1 2 3; do \"$0\" \"$@\"; echo went on; done";
    shell.args(["-c", line]).arg(words.get_program()).args(words.get_args());
    let mut terminal = Terminal::start(&shell);
    terminal.wait_for("Enter passphrase for key", MINUTES);
    assert!(until(MINUTES, || !terminal.echoes()));
    terminal.write("\x03");
    assert_eq!(terminal.finish(MINUTES), None, "{}", terminal.shown());
    assert!(terminal.echoes());
    for words in ["went on", "denied"] {
        assert!(!terminal.shown().contains(words), "{}", terminal.shown());
    }
}

#[test]
fn ctrl_z_at_a_question_suspends_and_the_question_comes_again() {
    let locked = Locked::start();
    let words = locked.lab.command(&["-n", "-o", "BatchMode=no", "127.0.0.1", "exit 3"]);
    let mut shell = locked.lab.home.command("/bin/bash");
    let line = "set -m; \"$0\" \"$@\"; echo back; read x; fg";
    shell.args(["--norc", "--noprofile", "-i", "-c", line]);
    shell.arg(words.get_program()).args(words.get_args());
    let mut terminal = Terminal::start(&shell);
    terminal.wait_for("Enter passphrase for key", MINUTES);
    assert!(until(MINUTES, || !terminal.echoes()));
    terminal.write("\x1a");
    terminal.wait_for("back", MINUTES);
    assert!(terminal.echoes());
    terminal.write("\n");
    terminal.wait_for("Enter passphrase for key", MINUTES);
    assert!(until(MINUTES, || !terminal.echoes()));
    terminal.write("correct horse\n");
    assert_eq!(terminal.finish(MINUTES), Some(3), "{}", terminal.shown());
}

#[test]
fn a_program_that_says_nothing_trusts_no_host_key() {
    let locked = Locked::start();
    let ask = ["BatchMode=no", "UserKnownHostsFile=none", "StrictHostKeyChecking=ask"];
    let words: Vec<_> = ask.iter().flat_map(|option| ["-o", *option]).collect();
    let askpass = locked.lab.home.path().join("askpass");
    let mut asked_before = 0;
    for (answer, again) in [("", 0), ("perhaps", 2)] {
        locked.lab.home.write("askpass.answer", answer).unwrap();
        let mut command = locked.lab.command(&[&words[..], &["127.0.0.1", "true"]].concat());
        command.env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "FORCE");
        let said = Run::start(command).finish(MINUTES).expect_status(255).stderr;
        assert!(said.contains("Host key verification failed."), "{said}");
        let asked = locked.asked();
        let (first, further) =
            (asked.matches("(yes/no/[").count(), asked.matches("Please").count());
        asked_before += 1;
        assert_eq!((first, further), (asked_before, again), "{asked}");
    }
}

/// What one terminal is asked, the next is asked, too: it does not wait for the first one's answer.
#[test]
fn a_question_that_is_not_answered_keeps_no_other_terminal_waiting() {
    let shared = Shared::new(Locked::start().lab);
    let mut serve = shared.lab.home.command(bssh_tests::bssh());
    serve.args(["core", "serve"]);
    Run::start(serve).finish(MINUTES).expect_status(0);
    let words = ["-o", "BatchMode=no", "127.0.0.1", "echo logged $((40 + 2))"];
    let mut first = Terminal::start(&shared.lab.command(&words));
    first.wait_for("passphrase", MINUTES);
    let mut second = Terminal::start(&shared.lab.command(&words));
    second.wait_for("passphrase", MINUTES);
    for terminal in [&mut second, &mut first] {
        terminal.write(&format!("{PASSPHRASE}\n"));
        terminal.wait_for("logged 42", MINUTES);
        assert_eq!(terminal.finish(MINUTES), Some(0));
    }
    assert_eq!(shared.logins(), 2);
}
