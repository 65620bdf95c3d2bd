//! The REPL when things go wrong: the daemon restarted, a node that says nothing more, another
//! size in the middle of output, connections lost again and again.

use crate::repl::{DEADLINE, NODES, Screen, lose_all, repl};
use bssh_fixtures::processes;
use bssh_tests::{Lab, Tmux, until};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

fn tell(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[test]
fn twenty_lost_connections_later_everything_is_as_it_was() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", "127.0.0.1", "repl"]);
    t.see("[127.0.0.1] ~> ");
    t.line("cd /tmp; N=0; export N; f() { N=$((N+1)); echo \"round $N\"; }");
    t.see("[127.0.0.1] /tmp> ");
    for round in 1..=20 {
        lab.sshd.kill_sessions();
        t.see("✗ 127.0.0.1");
        t.see(": back in /tmp");
        t.line("f");
        t.see(&format!("round {round}\r\n"));
        t.see("/tmp> ");
    }
    t.line(":quit");
    assert_eq!(t.end(), Some(0));
    // Nothing of it is left on the node.
    assert!(until(DEADLINE, || processes::with_text(&lab.sshd.state_dirs()).is_empty()));
}

#[test]
fn a_daemon_that_is_restarted_is_found_again() {
    let mut lab = Lab::start();
    let mut t = repl(&lab, &["-H", NODES, "repl"]);
    t.see("(3/3) ~> ");
    t.line("cd /tmp");
    t.see("(3/3) /tmp> ");
    lose_all(&mut lab, &mut t);
    // What is tried meanwhile is refused and told, and the prompt is back.
    t.line("echo nobody-hears");
    let shown = t.see("(0/3) /tmp> ");
    assert!(shown.contains("✗ 127.0.0.1"), "{shown}");
    lab.sshd.restart().unwrap();
    for _ in 0..3 {
        t.see(": back in /tmp");
    }
    t.line("pwd; echo again-$((1+1))");
    let shown = t.see("(3/3) /tmp> ");
    assert!(shown.contains("/tmp\r\nagain-2\r\n"), "{shown}");
    t.line(":quit");
    t.end();
}

#[test]
fn a_node_that_says_nothing_more_holds_nobody_else_up() {
    let lab = Lab::start();
    let alive = ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2"];
    let mut t = repl(&lab, &[&alive[..], &["-H", "127.0.0.[1-2]", "repl"]].concat());
    t.see("(2/2) ~> ");
    let all = processes::descendants(lab.sshd.pid());
    let second = all.iter().filter(|p| p.command.starts_with("sshd")).map(|p| p.pid);
    // Which connection is whose is known by its socket's address.
    let mine: Vec<i32> = second.filter(|pid| peer_is(*pid, "0200007F")).collect();
    assert!(!mine.is_empty(), "{all:?}");
    mine.iter().for_each(|pid| tell(*pid, Signal::STOP));
    t.line("!127.0.0.1");
    t.see("[127.0.0.1 +1] ~> ");
    t.line("echo first-$((40+2))");
    t.see("first-42\r\n");
    // Found out by its silence, without being asked.
    t.see("✗ 127.0.0.2");
    mine.iter().for_each(|pid| tell(*pid, Signal::CONT));
    t.see("127.0.0.2: back in");
    t.line("!all");
    t.see("(2/2) ~> ");
    t.line(":quit");
    t.end();
}

/// A process holds a TCP socket whose own address is this (as /proc/net/tcp writes it).
fn peer_is(pid: i32, address: &str) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let inodes: Vec<&str> = table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(1)?.starts_with(address).then(|| fields.get(9).copied()).flatten()
        })
        .collect();
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let links = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    links.into_iter().any(|link| {
        let text = link.display().to_string();
        inodes.iter().any(|inode| text == format!("socket:[{inode}]"))
    })
}

#[test]
fn another_size_in_the_middle_of_output_loses_nothing() {
    let lab = Lab::start();
    let mut command = lab.command(&["-H", "127.0.0.1", "repl"]);
    command.env("NO_COLOR", "1");
    let mut t = Screen::start(&command);
    t.see("[127.0.0.1] ~> ");
    t.line("for i in $(seq 1 4000); do echo line-$i-; [ $((i % 400)) = 0 ] && sleep 0.1; done");
    for n in 0..10_u16 {
        t.see(&format!("line-{}-\r\n", (n + 1) * 400));
        t.terminal.resize(20 + n, 70 + n);
    }
    t.see("[127.0.0.1] ~> ");
    for n in 1..=4000 {
        assert!(t.shown.contains(&format!("line-{n}-\r\n")), "line {n} is lost");
    }
    t.line(":quit");
    t.end();
    // The same as a person sees it: the prompt is whole in the new size.
    let mut command = lab.command(&["-H", NODES, "repl"]);
    command.env("NO_COLOR", "1");
    let t = Tmux::start(&command, (80, 24));
    t.see("(3/3) ~>");
    t.text("seq 1 200; sleep 1; echo done-$((1+1))");
    t.keys(&["Enter"]);
    t.resize(50, 15);
    let screen = t.until(DEADLINE, |s| s.contains("done-2") && s.trim_end().ends_with("(3/3) ~>"));
    assert!(screen.lines().count() <= 15, "{screen}");
    t.text(":quit");
    t.keys(&["Enter"]);
    t.see("status=0");
}

#[test]
fn a_helper_that_is_killed_with_its_connection_leaves_nothing_running() {
    let lab = Lab::start();
    let mut t = repl(&lab, &["-H", "127.0.0.1", "repl"]);
    t.see("[127.0.0.1] ~> ");
    t.line("cd /tmp");
    t.see("/tmp> ");
    t.line("echo begun; sleep 1000.98");
    t.see("begun");
    let n = || {
        processes::with_text("sleep 1000.98")
            .iter()
            .filter(|p| p.command.starts_with("sleep"))
            .count()
    };
    assert!(until(Duration::from_secs(20), || n() == 1));
    // Its shell cannot tidy up any more, and nor can the daemon.
    let shells: Vec<i32> = processes::descendants(lab.sshd.pid())
        .iter()
        .filter(|p| p.command.contains("P=;for a do") && !p.command.contains("1000"))
        .map(|p| p.pid)
        .collect();
    assert!(!shells.is_empty(), "no helper among the sessions");
    for pid in shells {
        processes::kill(pid);
    }
    lab.sshd.kill_sessions();
    t.see(": back in /tmp");
    assert!(until(Duration::from_secs(20), || n() == 0), "it still runs");
    t.line("echo again");
    t.see("again\r\n");
    t.line(":quit");
    t.end();
}
