//! `-t` on several nodes: keys to all of them, one on the screen, and the terminal given back.

use bssh_fixtures::processes;
use bssh_tests::{Lab, Shared, Terminal, Tmux, until};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::time::Duration;

const NODES: &str = "127.0.0.[1-3]";
const MINUTE: Duration = Duration::from_secs(60);

fn terminals(lab: &Lab, words: &[&str]) -> Command {
    let mut command = lab.command(&[&["-H", NODES], words].concat());
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// The command behind the prefix.
fn command(t: &Tmux, key: &str) {
    t.keys(&["C-]"]);
    t.see("n p next, previous");
    t.keys(&[key]);
}

#[test]
fn keys_go_to_all_and_one_is_shown() {
    let lab = Lab::start();
    let t = Tmux::start(&terminals(&lab, &["-t"]), (90, 24));
    t.see("127.0.0.1 (1/3), keys to 3 of 3 nodes; Ctrl-] ? shows what can be done");
    let dir = lab.sshd.file("typed");
    std::fs::create_dir(&dir).unwrap();
    let typed =
        |name: &str| (1..=3).filter(|n| dir.join(format!("{name}-127.0.0.{n}")).exists()).count();
    let touch = |name: &str| {
        format!("set -- $SSH_CONNECTION; touch {}/{name}-$3; echo on-$3", dir.display())
    };
    t.text(&touch("all"));
    t.keys(&["Enter"]);
    assert!(until(MINUTE, || typed("all") == 3));
    t.see("on-127.0.0.1");
    // Another view, by order and by name; what was said there is there.
    command(&t, "n");
    t.see("on-127.0.0.2");
    t.keys(&["C-]"]);
    t.text("g127.0.0.3");
    t.see("show node: 127.0.0.3");
    t.keys(&["Enter"]);
    t.see("on-127.0.0.3");
    // Only the shown one.
    command(&t, "o");
    t.until(MINUTE, |s| !s.contains("n p next"));
    t.text(&touch("one"));
    t.keys(&["Enter"]);
    assert!(until(MINUTE, || dir.join("one-127.0.0.3").exists()));
    command(&t, "l");
    let screen = t.see("> ◑ keys  127.0.0.3");
    assert!(screen.contains("  ◑       127.0.0.1"), "{screen}");
    command(&t, "a");
    t.until(MINUTE, |s| !s.contains("n p next"));
    assert_eq!(typed("one"), 1);
    // One that ends is shown to have, and the others go on.
    t.text("set -- $SSH_CONNECTION; [ $3 = 127.0.0.3 ] && exit 4");
    t.keys(&["Enter"]);
    t.see("[127.0.0.3: exited with status 4]");
    command(&t, "n");
    t.see("on-127.0.0.1");
    t.resize(70, 20);
    t.text("clear; stty size");
    t.keys(&["Enter"]);
    t.see("20 70");
    t.text("exit");
    t.keys(&["Enter"]);
    let screen = t.see("status=5");
    assert!(screen.contains("✗ 127.0.0.3 – exited with status 4"), "{screen}");
}

#[test]
fn a_full_screen_program_is_drawn_again_when_it_is_shown_again() {
    let lab = Lab::start();
    let file = lab.home.write("file", "first line\nsecond line\n").unwrap();
    let less = format!("echo hello; less {}", file.display());
    let t = Tmux::start(&terminals(&lab, &["-t", &less]), (80, 24));
    t.see("second line");
    command(&t, "n");
    t.see("second line");
    command(&t, "?");
    t.see("hang up on all nodes and leave");
    command(&t, "p");
    t.see("second line");
    // One that comes before less has taken the terminal of a node that was not looked at is lost.
    let over = || {
        t.keys(&["q"]);
        t.screen().contains("status=0")
    };
    assert!(until(MINUTE, over), "{}", t.screen());
}

#[test]
fn terminals_are_left_to_the_shared_core_and_taken_again() {
    let shared = Shared::new(Lab::start());
    let lab = &shared.lab;
    let mut command = lab.command(&["--persist", "60s", "-H", "127.0.0.1", "-t"]);
    command.env("LC_ALL", "C.UTF-8");
    let mut t = Terminal::start(&command);
    t.wait_for("Ctrl-] ? shows what can be done", MINUTE);
    t.write("PS1='P''S> '; KEPT=1; echo be''fore\r");
    t.wait_for("before", MINUTE);
    t.write("\x1dd");
    t.wait_for("bssh job attach shows one again", MINUTE);
    assert_eq!(t.finish(MINUTE), Some(0));
    let list = lab.run(&["job", "ls"]).expect_status(0).text();
    let row = list.lines().find(|line| line.contains("pty")).expect("a terminal");
    assert!(row.contains("detached") && row.contains("running"), "{list}");
    let job = row.split_whitespace().next().unwrap().to_owned();
    let attach = || Terminal::start(&lab.command(&["job", "attach", &job]));
    for round in 0..2 {
        // What was said before comes first, then the same shell goes on.
        let mut t = attach();
        t.wait_for("before", MINUTE);
        t.write("\recho still-$KEPT\r");
        t.wait_for("still-1", MINUTE);
        // Two at once: the last one types, both see it.
        let mut other = attach();
        other.wait_for("still-1", MINUTE);
        other.write(&format!("\recho round-$(({round}+40))\r"));
        other.wait_for(&format!("round-{}", round + 40), MINUTE);
        t.wait_for(&format!("round-{}", round + 40), MINUTE);
        t.write("\r~d");
        other.write("\r~d");
        for mut left in [t, other] {
            left.wait_for("it stays; bssh job attach", MINUTE);
            assert_eq!(left.finish(MINUTE), Some(0));
        }
    }
    let refused = lab.run(&["job", "attach", &job, "--from", "3"]).expect_status(2);
    assert!(refused.stderr.contains("--from is for runs"), "{}", refused.stderr);
    // Its end is told with its status, and it is no job any more.
    let mut t = attach();
    t.wait_for("before", MINUTE);
    t.write("\rexit 7\r");
    assert_eq!(t.finish(MINUTE), Some(7));
    assert!(!lab.run(&["job", "ls"]).expect_status(0).text().contains("pty"));
    lab.run(&["job", "attach", &job]).expect_status(2);
}

#[test]
fn terminals_of_a_core_of_their_own_are_not_left_beside_a_shared_one() {
    let shared = Shared::new(Lab::start());
    let lab = &shared.lab;
    lab.run(&["-H", "127.0.0.1", "--persist", "1m", "true"]).expect_status(0);
    let mut t = Terminal::start(&terminals(lab, &["-t", "--persist", "no"]));
    t.wait_for("Ctrl-] ? shows what can be done", MINUTE);
    t.write("\x1dd");
    t.wait_for("no shared core runs these", MINUTE);
    assert!(!lab.run(&["job", "ls"]).expect_status(0).text().contains("pty"));
    t.write("\x1dq");
    assert_eq!(t.finish(MINUTE), Some(0));
}

#[test]
fn nodes_that_are_not_there_are_told_and_the_others_go_on() {
    let lab = Lab::start();
    let mut command =
        lab.command(&["-H", "127.0.0.1,127.0.0.2:1", "-t", "echo prompt-$((1+1)); read x"]);
    command.env("LC_ALL", "C.UTF-8");
    let t = Tmux::start(&command, (80, 24));
    let screen = t.see("prompt-2");
    assert!(screen.contains("connection refused"), "{screen}");
    assert!(screen.contains("keys to 1 of 1 nodes"), "{screen}");
    t.keys(&["Enter"]);
    t.see("status=10");
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let lab = Lab::start();
    let modes = r"printf '\033[?1000h\033[?2004h'; echo ready; exec sleep 1000.94";
    for how in [None, Some(Signal::TERM), Some(Signal::HUP), Some(Signal::KILL)] {
        let mut terminal = Terminal::start(&terminals(&lab, &["-t", modes]));
        terminal.wait_for("ready", MINUTE);
        assert!(!terminal.echoes());
        let all = processes::descendants(terminal.pid());
        let of = |text: &str| all.iter().find(|p| p.command.contains(text)).map(|p| p.pid);
        let own = of("1000.94").unwrap_or_else(|| terminal.pid());
        let kill = |pid: i32, signal| kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        let status = match how {
            None => {
                terminal.write("\x1dq");
                0
            }
            Some(Signal::KILL) => {
                kill(of("core --stdio").unwrap(), Signal::KILL);
                10
            }
            Some(signal) => {
                kill(own, signal);
                128 + signal.as_raw()
            }
        };
        assert_eq!(terminal.finish(MINUTE), Some(status), "{how:?} {}", terminal.shown());
        assert!(terminal.echoes(), "{how:?} {}", terminal.shown());
        assert!(terminal.shown().contains("\x1b[?2004l"), "{how:?} {}", terminal.shown());
        assert!(until(MINUTE, || processes::with_text("sleep 1000.94").is_empty()), "{how:?}");
    }
}

#[test]
fn without_a_terminal_it_is_refused_or_forced() {
    let lab = Lab::start();
    let refused = lab.run(&["-H", NODES, "-t", "tty"]).expect_status(2);
    assert!(refused.stderr.contains("-t needs a terminal here"), "{}", refused.stderr);
    let forced = lab.run(&["-H", NODES, "-tt", "-b", "test -t 0 && echo yes"]).expect_status(0);
    assert!(forced.text().contains("yes"), "{}", forced.text());
    let mut both = Terminal::start(&terminals(&lab, &["-t", "--json", "x"]));
    assert_eq!(both.finish(MINUTE), Some(2));
    assert!(both.shown().contains("--json is not for terminals"), "{}", both.shown());
}
