//! The REPL as a person uses it: on a pseudo-terminal, against a real sshd, with nodes that come
//! and go.

use bssh_fixtures::processes;
use bssh_tests::{Lab, Run, Terminal, until};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

pub(crate) const NODES: &str = "127.0.0.[1-3]";

/// Nothing that works takes this long, also on a machine that is busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A terminal, read from top to bottom.
pub(crate) struct Screen {
    pub(crate) terminal: Terminal,
    /// What has been read.
    pub(crate) shown: String,
}

impl Screen {
    /// On a terminal of its own.
    pub(crate) fn start(command: &std::process::Command) -> Screen {
        Screen { terminal: Terminal::start(command), shown: String::new() }
    }
}

pub(crate) fn repl(lab: &Lab, words: &[&str]) -> Screen {
    let mut command = lab.command(words);
    command.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
    Screen::start(&command)
}

/// The daemon of [`NODES`] stops, and each of them is told to be lost.
pub(crate) fn lose_all(lab: &mut Lab, t: &mut Screen) {
    lab.sshd.stop();
    for _ in 0..3 {
        t.see("✗ 127.0.0.");
    }
}

impl Screen {
    pub(crate) fn keys(&mut self, keys: &str) {
        self.terminal.write(keys);
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.keys(&format!("{line}\r"));
    }

    /// Reads on until `text` is shown; gives what was read.
    #[track_caller]
    pub(crate) fn see(&mut self, text: &str) -> String {
        let seen = self.terminal.has(text, DEADLINE);
        assert!(seen, "{text:?} not shown after {:?}", self.terminal.shown());
        let all = self.terminal.shown();
        let read = all[..all.find(text).unwrap() + text.len()].to_owned();
        self.terminal.wait_for(text, DEADLINE);
        self.shown.push_str(&read);
        read
    }

    pub(crate) fn pid(&self) -> i32 {
        self.terminal.pid()
    }

    #[track_caller]
    pub(crate) fn end(mut self) -> Option<i32> {
        self.terminal.finish(DEADLINE)
    }
}

#[test]
fn lines_run_on_all_nodes_and_each_keeps_its_state() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("3 of 3 nodes");
    t.see("[● ● ●] (3/3) ~> ");
    // Equal outputs once, others apart.
    t.line("echo same");
    assert!(t.see("(3/3) ~> ").contains("---- 127.0.0.[1-3] (3) ----\r\nsame\r\n"), "{}", t.shown);
    t.line("echo ${SSH_CONNECTION% *}");
    let shown = t.see("(3/3) ~> ");
    assert!(shown.contains("---- 127.0.0.2 ----"), "{shown}");
    // State: directory, environment, functions.
    t.line("cd /tmp; export WHO=me; f() { echo \"f-$WHO\"; }");
    t.see("(3/3) /tmp> ");
    t.line("f; pwd");
    assert!(t.see("/tmp> ").contains("f-me\r\n/tmp\r\n"), "{}", t.shown);
    // One node, by a beginning of its name that is long enough, or by an expression.
    t.line("!127.0.0.2");
    t.see("[127.0.0.2 +2] /tmp> ");
    t.line("cd /; unset WHO");
    t.see("[127.0.0.2 +2] /> ");
    t.line("!127.0.0.[1,3]");
    t.see("[127.0.0.[1,3] +1] /tmp> ");
    t.line("!broadcast echo ${WHO-nobody}");
    let shown = t.see("/tmp> ");
    assert!(shown.contains("---- 127.0.0.[1,3] (2) ----\r\nme\r\n"), "{shown}");
    assert!(shown.contains("---- 127.0.0.2 ----\r\nnobody\r\n"), "{shown}");
    t.line("!all");
    t.see("(3/3) *> ");
    // Ends that were not well are told, once for equal ones.
    t.line("[ \"$PWD\" = /tmp ] || exit 4");
    assert!(t.see("(3/3) *> ").contains("✗ 127.0.0.2: status 4"), "{}", t.shown);
    t.line("!list");
    assert!(t.see("*> ").contains("* ● 127.0.0.3"), "{}", t.shown);
    t.line("!nowhere");
    t.see("nowhere: not among the nodes of this REPL; !list shows them");
    t.line(":nonsense");
    t.see("unknown command :nonsense; there are :shell");
    t.see("*> ");
    t.line(":session");
    assert!(t.see("*> ").contains("127.0.0.2  /bin/bash  /\r\n"), "{}", t.shown);
    t.line("printf '\\033[2J\\033]0;x\\007ok\\n'");
    t.see("^[[2J^[]0;x^Gok");
    t.line(":set timestamps on");
    t.line("echo now");
    t.see("Z] ");
    t.line(":quit");
    assert_eq!(t.end(), Some(0));
    // What was typed is kept, for its owner only.
    let history = lab.home.path().join(".local/state/bssh/history");
    let text = std::fs::read_to_string(&history).unwrap();
    assert!(text.contains("echo same") && text.contains("!all"), "{text}");
    assert_eq!(history.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(until(DEADLINE, || processes::with_text(&lab.sshd.state_dirs()).is_empty()));
}

#[test]
fn ctrl_c_goes_to_the_nodes_and_signals_leave_the_terminal_well() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "interactive"]);
    t.see("(3/3) ~> ");
    t.line("sleep 1000.81");
    let sleeping = || processes::with_text("sleep 1000.81").into_iter();
    let n = || sleeping().filter(|p| p.command.starts_with("sleep")).count();
    assert!(until(Duration::from_secs(20), || n() == 3), "{:?}", sleeping().collect::<Vec<_>>());
    t.keys("\x03");
    assert!(t.see("(3/3) ~> ").contains("interrupted"), "{}", t.shown);
    assert_eq!(n(), 0);
    // At the prompt it only begins a new line.
    t.keys("half a line\x03");
    t.see("(3/3) ~> ");
    t.line("echo still here");
    t.see("still here\r\n");
    t.see("(3/3) ~> ");
    // Ended from outside, at the prompt and with a command at work.
    t.line("sleep 1000.81");
    assert!(until(Duration::from_secs(20), || n() == 3));
    signal(&t, Signal::TERM);
    assert!(until(Duration::from_secs(20), || n() == 0), "{:?}", sleeping().collect::<Vec<_>>());
    assert!(until(Duration::from_secs(20), || t.terminal.echoes()));
    assert_eq!(t.end(), Some(143));
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    signal(&t, Signal::HUP);
    assert!(until(Duration::from_secs(20), || t.terminal.echoes()));
    assert_eq!(t.end(), Some(129));
}

/// To the REPL itself, not to its core.
pub(crate) fn signal(t: &Screen, signal: Signal) {
    let all = processes::descendants(t.pid());
    let own =
        all.iter().find(|p| p.command.contains("bssh") && !p.command.contains("core --stdio"));
    let pid = own.map_or_else(|| t.pid(), |p| p.pid);
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn nodes_that_drop_are_shown_and_come_back_with_their_state() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.line("cd /tmp; export KEPT=yes; f() { echo \"f $KEPT\"; }");
    t.see("(3/3) /tmp> ");
    for round in 0..5 {
        lab.sshd.kill_sessions();
        // Above the prompt, without being asked.
        for _ in 0..3 {
            t.see("✗ 127.0.0.");
        }
        for _ in 0..3 {
            t.see(": back in /tmp");
        }
        t.see("/tmp> ");
        t.line(&format!("f; pwd; echo round-$(({round}+1))"));
        let want = format!("f yes\r\n/tmp\r\nround-{}\r\n", round + 1);
        assert!(t.see("/tmp> ").contains(&want), "{}", t.shown);
    }
    // In the middle of a command: told, and not run again.
    t.line("echo begun; sleep 1000.82");
    let sleeping = || processes::with_text("sleep 1000.82").into_iter();
    let n = || sleeping().filter(|p| p.command.starts_with("sleep")).count();
    assert!(until(Duration::from_secs(20), || n() == 3));
    lab.sshd.kill_sessions();
    let shown = t.see("/tmp> ");
    assert!(shown.contains("begun") && shown.contains("✗ 127.0.0."), "{shown}");
    assert!(until(Duration::from_secs(10), || n() == 0));
    t.keys("\x04");
    assert!(t.end().is_some());
}

#[test]
fn a_dead_node_does_not_hold_up_the_others() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", "127.0.0.1,127.0.0.2:1", "repl"]);
    t.see("127.0.0.2:1: connection refused");
    t.see("1 of 2 nodes");
    t.see("[● ○] (1/2) ~> ");
    t.line("echo here");
    let shown = t.see("(1/2) ~> ");
    assert!(shown.contains("here\r\n") && shown.contains("✗ 127.0.0.2:1"), "{shown}");
    t.line("!status");
    t.see("1 of 2 nodes are there");
    t.line("!reconnect");
    t.see("connecting to 1 nodes");
    t.line("!127.0.0.1");
    t.see("[127.0.0.1 +1] ~> ");
    t.line("exit");
    t.end();
}

#[test]
fn a_shell_is_a_terminal_of_its_own_and_gives_ours_back() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.line(":shell");
    t.see("a shell is on one node");
    t.see("(3/3) ~> ");
    shell_on(&mut t, "127.0.0.2");
    t.line("PS1='in$ '; stty size; echo $SSH_CONNECTION");
    t.see("24 80\r\n");
    t.see(" 127.0.0.2 ");
    t.terminal.resize(20, 90);
    t.line("sleep 0.2; stty size");
    t.see("20 90\r\n");
    t.line("sleep 1000.83");
    let n = || processes::with_text("sleep 1000.83").len();
    assert!(until(Duration::from_secs(20), || n() == 1));
    t.keys("\x03");
    assert!(until(Duration::from_secs(20), || n() == 0));
    t.line("exit 3");
    t.see("back from 127.0.0.2\r\n");
    t.see("(3/3) ~> ");
    // Hung up on by the escape.
    shell_on(&mut t, "127.0.0.3");
    t.line("echo in-$((40+2))");
    t.see("in-42");
    t.keys("\r~.");
    t.see("back from 127.0.0.3\r\n");
    t.see("(3/3) ~> ");
    t.line("echo all");
    t.see("all\r\n");
    t.see("(3/3) ~> ");
    t.line(":quit");
    t.end();
    let mut t = repl(&lab, &["-H", "127.0.0.1", "repl", "--single-node"]);
    t.see("comes back\r\n");
    assert!(until(Duration::from_secs(20), || !t.terminal.echoes()));
    t.line("echo one-$((1+1)); exit 6");
    t.see("one-2");
    assert_eq!(t.end(), Some(6));
}

#[test]
fn a_shell_ends_the_repl_by_a_signal_only_and_never_by_its_status() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    // As of one that SIGTERM has ended.
    shell_on(&mut t, "127.0.0.1");
    t.line("exit 143");
    t.see("back from 127.0.0.1\r\n");
    t.see("(3/3) ~> ");
    shell_on(&mut t, "127.0.0.2");
    signal(&t, Signal::HUP);
    assert_eq!(t.end(), Some(129));
}

fn shell_on(t: &mut Screen, node: &str) {
    t.line(&format!(":shell {node}"));
    t.see(&format!("on {node}; ~. at the start of a line comes back\r\n"));
    assert!(until(Duration::from_secs(20), || !t.terminal.echoes()));
}

#[test]
fn tab_completes_commands_nodes_and_paths_on_the_node() {
    let lab = Lab::start();
    let dir = lab.sshd.file("completion");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("only_one_here"), "text-of-it\n").unwrap();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.keys(":sess\t");
    t.line("");
    t.see("127.0.0.1  /bin/bash");
    t.see("(3/3) ~> ");
    t.keys("!127.0.0.3\t");
    t.line("");
    t.see("[127.0.0.3 +2]");
    t.keys(&format!("cat {}/only\t", dir.display()));
    t.see("only_one_here");
    t.line("");
    t.see("text-of-it");
    t.see("+2] ~> ");
    t.keys("\x12only");
    t.see("reverse-i-search");
    t.keys("\r");
    t.see("text-of-it");
    t.line(":quit");
    t.end();
}

#[test]
fn jobs_in_the_background_are_found_again() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", "127.0.0.1", "repl"]);
    t.see("[127.0.0.1] ~> ");
    t.line(":bg echo from-the-job; sleep 1000.84");
    t.see("[1] 127.0.0.1");
    let n = || processes::with_text("sleep 1000.84").len();
    assert!(until(Duration::from_secs(20), || n() >= 1));
    lab.sshd.kill_sessions();
    t.see("back in");
    t.line(":job 1");
    t.see("from-the-job\r\n");
    t.see("[1] it runs");
    t.line(":kill 1");
    assert!(until(Duration::from_secs(10), || n() == 0));
    t.line(":job 1");
    t.see("ended with status 143");
    t.line(":jobs");
    t.see("[1] 127.0.0.1: echo from-the-job; sleep 1000.84  (ended with status 143)");
    // What does not heed Ctrl-C: the next one says more.
    t.line("trap '' INT; echo be''gun; while :; do sleep 1; done");
    t.see("begun\r\n");
    t.keys("\x03");
    t.see("1 still at it; Ctrl-C again sends TERM");
    t.keys("\x03");
    t.see("[127.0.0.1] ~> ");
    t.line(":quit");
    t.end();
}

#[test]
fn a_script_on_stdin_is_run_and_gives_its_status() {
    let lab = Lab::start();
    let script = b"cd /tmp\npwd\n:set output stream\necho out; exit 3\n";
    let done = lab.feed(&["-H", NODES, "repl"], script).expect_status(3);
    let text = done.text();
    assert!(text.contains("---- 127.0.0.[1-3] (3) ----\n/tmp\n"), "{text}");
    for n in 1..=3 {
        assert!(text.contains(&format!("127.0.0.{n}: out\n")), "{text}");
    }
    // A command of ours is a line like any other.
    for (script, status) in [("false\n:jobs\n", 0), ("true\n:job 1\n", 2), ("false\n\n", 1)] {
        lab.feed(&["-H", "127.0.0.1", "repl"], script.as_bytes()).expect_status(status);
    }
}

#[test]
fn what_a_script_prints_is_payload() {
    let lab = Lab::start();
    let script = b"printf '\\377\\001\\r\\n'; exit 7\n!@failed\necho again\n!@ok\n!@failed\n";
    let done = lab.feed(&["-H", "127.0.0.1", "repl"], script);
    assert_eq!(done.stdout, b"\xff\x01\r\nagain\n", "{}", done.stderr);
    assert!(done.stderr.contains("127.0.0.1: status 7"), "{}", done.stderr);
    assert!(!done.stderr.contains("no run has ended"), "{}", done.stderr);
    assert!(!lab.home.path().join(".local/state/bssh/history").exists());
    let bssh = lab.command(&["-H", "127.0.0.1", "repl"]);
    let mark = lab.home.path().join("went-on");
    let mut shell = lab.home.command("sh");
    let line = format!("printf 'echo x\\ntouch {}\\n' | \"$0\" \"$@\" >/dev/full", mark.display());
    shell.arg("-c").arg(line).arg(bssh.get_program()).args(bssh.get_args());
    let done = Run::start(shell).finish(DEADLINE).expect_status(1);
    assert!(done.stderr.contains("stdout: No space left"), "{}", done.stderr);
    assert!(!mark.exists());
    // Lines that cannot be read, as from a disk that fails.
    let mut bssh = lab.command(&["-H", "127.0.0.1", "repl"]);
    bssh.stdin(std::fs::File::open(format!("/proc/{}/mem", std::process::id())).unwrap());
    bssh.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let done = Run::start_as(bssh).finish(DEADLINE).expect_status(1);
    assert!(done.stderr.contains("cannot read lines: Input/output error"), "{}", done.stderr);
}

#[test]
fn without_an_active_node_it_says_so() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.line("!127.0.0.2!127.0.0.2");
    t.see("[ +3] > ");
    for line in ["echo x", ":bg x", ":reset", ":upload a b", ":shell", ":agent doctor"] {
        t.line(line);
        t.see("no node is active; !all");
        t.see("[ +3] > ");
    }
    t.line("!all");
    t.see("(3/3) ~> ");
    t.line(":quit");
    t.end();
}
