//! `--tui` as a person sees it: a run on the whole screen, and the screen given back.

use bssh_fixtures::{EmbeddedNodes, Home, processes};
use bssh_tests::{Lab, Shared, Terminal, Tmux, bssh, until};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use std::time::Duration;

const NODES: &str = "127.0.0.[1-4]";
const MINUTE: Duration = Duration::from_secs(60);

fn tui(lab: &Lab, command: &str) -> Command {
    let mut tui = lab.command(&["-H", NODES, "--tui", command]);
    tui.env("LC_ALL", "C.UTF-8");
    tui
}

#[test]
fn nodes_are_found_looked_at_and_compared() {
    let lab = Lab::start();
    let odd = "printf '\\033[2J\\033]0;t\\007hostile\\n'; case $SSH_CONNECTION in *' 127.0.0.3 '*) \
               echo other; exit 3;; esac; echo same; echo oops >&2";
    let t = Tmux::start(&tui(&lab, odd), (80, 24));
    let screen = t.until(MINUTE, |s| s.contains("✓ 3") && s.contains("✗ 1"));
    assert!(screen.contains("127.0.0.3  exited with status 3"), "{screen}");
    assert!(screen.contains("the run is over"), "{screen}");
    // A node by typing its name.
    t.keys(&["/"]);
    t.text("0.0.2");
    t.see("node: 0.0.2_");
    t.keys(&["Enter"]);
    let screen =
        t.until(MINUTE, |s| s.lines().nth(1).is_some_and(|l| l.starts_with("✓ 127.0.0.2")));
    assert!(screen.contains("^[[2J^[]0;t^Ghostile"), "{screen}");
    assert!(screen.contains("same") && screen.contains("oops"), "{screen}");
    // The next node, and back to all.
    t.keys(&["Escape"]);
    t.see("\"0.0.2\": 1 of 4 nodes");
    t.keys(&["Escape"]);
    t.see("✓ 127.0.0.4");
    t.keys(&["o"]);
    // The worst one is first now.
    t.until(MINUTE, |s| s.lines().nth(1).is_some_and(|l| l.contains("127.0.0.3")));
    t.keys(&["s"]);
    t.until(MINUTE, |s| s.lines().any(|l| l.matches("127.0.0.").count() == 2));
    t.keys(&["d"]);
    let screen = t.see("127.0.0.[1-2,4] (3 nodes)");
    assert!(screen.contains("-same") && screen.contains("+other"), "{screen}");
    t.keys(&["?"]);
    t.see("leave; while the run goes on: asks whether to cancel it");
    t.keys(&["q"]);
    let screen = t.see("status=5");
    assert!(screen.contains("✗ 127.0.0.3 – exited with status 3"), "{screen}");
    assert!(screen.contains("Summary: 4 nodes • 3 successful • 1 failed"), "{screen}");
    assert!(!screen.contains("Enter open"), "{screen}");
}

#[test]
fn output_is_scrolled_searched_and_resized() {
    let lab = Lab::start();
    let numbers = "seq -f 'line %.0f' 3000; sleep 1000.91";
    let t = Tmux::start(&tui(&lab, numbers), (80, 24));
    t.see("line 3000");
    t.keys(&["Enter"]);
    t.until(MINUTE, |s| s.lines().nth(22) == Some("line 3000"));
    t.keys(&["PPage"]);
    t.until(MINUTE, |s| s.lines().nth(22) == Some("line 2980"));
    t.keys(&["/"]);
    t.text("line 77");
    t.keys(&["Enter"]);
    t.until(MINUTE, |s| s.lines().nth(2) == Some("line 77"));
    t.keys(&["n"]);
    t.until(MINUTE, |s| s.lines().nth(2) == Some("line 770"));
    t.keys(&["N"]);
    t.until(MINUTE, |s| s.lines().nth(2) == Some("line 77"));
    t.resize(60, 12);
    t.until(MINUTE, |s| s.lines().count() == 12 && s.contains("line 85\n"));
    t.keys(&["End"]);
    t.until(MINUTE, |s| s.lines().nth(10) == Some("line 3000"));
    t.resize(10, 5);
    t.see("too small");
    t.resize(80, 24);
    t.see("line 3000");
    // It is asked for, and only then cancelled.
    t.keys(&["q"]);
    t.see("cancel the run? 4 nodes have not ended");
    t.keys(&["n"]);
    t.until(MINUTE, |s| !s.contains("cancel the run?"));
    assert!(!processes::with_text("sleep 1000.91").is_empty());
    t.keys(&["C-c"]);
    t.see("cancel the run?");
    t.keys(&["y"]);
    t.see("status=130");
    assert!(until(MINUTE, || processes::with_text("sleep 1000.91").is_empty()));
}

#[test]
fn a_run_in_the_shared_core_goes_on_without_its_view() {
    let shared = Shared::new(Lab::start());
    let lab = &shared.lab;
    let flag = lab.home.path().join("go");
    let script =
        format!("echo begun; until [ -e {} ]; do sleep 0.1; done; echo ended", flag.display());
    let mut command = lab.command(&["--persist", "30s", "-H", NODES, "--tui", &script]);
    command.env("LC_ALL", "C.UTF-8");
    let t = Tmux::start(&command, (100, 24));
    t.until(MINUTE, |s| s.matches("B  begun").count() == 4);
    t.keys(&["q"]);
    let asked = t.see("d leave it running as job ");
    let job = asked.split("as job ").nth(1).and_then(|s| s.split(' ').next()).unwrap().to_owned();
    // Thought better of it; then left.
    t.keys(&["Escape"]);
    t.see("q leave");
    t.keys(&["q"]);
    t.see("d leave it running");
    t.keys(&["d"]);
    let left = t.see("status=0");
    assert!(left.contains(&format!("bssh job attach {job} shows it again")), "{left}");
    let list = lab.run(&["job", "ls"]).expect_status(0).text();
    assert!(list.contains("0/4 nodes done") && list.contains("detached"), "{list}");
    std::fs::write(&flag, "").unwrap();
    let shown = lab.run(&["job", "attach", &job]).expect_status(0).text();
    let counts = ["begun", "ended"].map(|word| shown.matches(word).count());
    assert_eq!(counts, [4, 4], "{shown}");
    // One that was not left ends with its view, however that ends.
    let mut command = lab.command(&["--persist", "30s", "-H", NODES, "--tui", "sleep 1000.93"]);
    command.env("LC_ALL", "C.UTF-8");
    let t = Tmux::start(&command, (100, 24));
    let sleeps = || processes::with_text("sleep 1000.93");
    let n = || sleeps().iter().filter(|p| p.command.starts_with("sleep")).count();
    assert!(until(MINUTE, || n() == 4));
    drop(t);
    assert!(until(MINUTE, || sleeps().is_empty()), "{:?}", sleeps());
}

#[test]
fn the_mouse_selects_and_opens() {
    let lab = Lab::start();
    let t = Tmux::start(&tui(&lab, "echo said-$((1+1))"), (80, 24));
    t.see("the run is over");
    // A click as a terminal reports it: left button, column 5, row 4.
    let click = "\x1b[<0;5;4M\x1b[<0;5;4m";
    t.text(click);
    t.text(click);
    t.see("✓ 127.0.0.3  7 B");
    t.keys(&["q"]);
    t.see("status=0");
}

/// The frontend itself, below setsid or tmux.
fn frontend(above: i32) -> i32 {
    let mut found = None;
    until(MINUTE, || {
        let all = processes::descendants(above);
        let own = |p: &&processes::Process| {
            p.command.contains("--tui") && !p.command.starts_with("setsid")
        };
        found = all.iter().find(own).map(|p| p.pid);
        found.is_some()
    });
    found.unwrap_or(above)
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    let lab = Lab::start();
    for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut terminal = Terminal::start(&tui(&lab, "sleep 1000.92"));
        terminal.wait_for("\x1b[?1049h", MINUTE);
        assert!(until(MINUTE, || processes::with_text("sleep 1000.92").len() >= 4));
        let own = processes::descendants(terminal.pid());
        let own = own.iter().find(|p| p.command.contains("--tui"));
        let pid = own.map_or(terminal.pid(), |p| p.pid);
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        assert_eq!(terminal.finish(MINUTE), Some(status), "{}", terminal.shown());
        assert!(terminal.echoes(), "{}", terminal.shown());
        assert!(terminal.shown().contains("\x1b[?1049l"), "{}", terminal.shown());
        assert!(until(MINUTE, || processes::with_text("sleep 1000.92").is_empty()));
    }
    // A core that dies is told, with the screen as it was before.
    // It may be too young to be guarded: it does not last.
    let t = Tmux::start(&tui(&lab, "echo begun; sleep 7"), (80, 24));
    t.see("begun");
    let below = processes::descendants(frontend(t.pid()));
    let core = below.iter().find(|p| p.command.contains("core --stdio")).unwrap();
    processes::kill(core.pid);
    t.see("the core was killed");
    t.keys(&["q"]);
    let screen = t.see("status=1");
    assert!(screen.contains("no result from 4 of 4 nodes"), "{screen}");
}

#[test]
fn a_password_takes_the_screen_as_long_as_it_is_asked_for() {
    let extra = vec!["PasswordAuthentication yes".to_owned()];
    let options = bssh_fixtures::SshdOptions { extra, ..bssh_fixtures::SshdOptions::default() };
    let lab = Lab::with(&options);
    let words = ["-o", "BatchMode=no", "-o", "PreferredAuthentications=password"];
    let words = [&words[..], &["-H", "127.0.0.1", "--tui", "true"]].concat();
    let t = Tmux::start(lab.command(&words).env("LC_ALL", "C.UTF-8"), (80, 24));
    let screen = t.see("password:");
    assert!(!screen.contains("q leave"), "{screen}");
    t.keys(&["C-c"]);
    t.see("✗ 127.0.0.1");
    t.keys(&["q"]);
    t.see("status=4");
}

#[test]
fn many_nodes_are_no_more_than_a_longer_list() {
    let nodes = EmbeddedNodes::start(1000).unwrap();
    let home = Home::new().unwrap();
    nodes.write_client_files(home.path()).unwrap();
    let mut command = home.command(bssh());
    command.arg("-F").arg(home.path().join("ssh_config")).env("LC_ALL", "C.UTF-8");
    command.args(["-H", "demo[1-1000]", "--tui", "echo it is $NODE"]);
    let t = Tmux::start(&command, (100, 30));
    t.see("✓ 1000");
    t.keys(&["/"]);
    t.text("demo173");
    t.keys(&["Enter"]);
    t.see("it is demo173");
    t.keys(&["Escape"]);
    t.see("1 of 1000 nodes");
    t.keys(&["Escape"]);
    t.see("demo28");
    t.keys(&["End"]);
    t.see("demo1000");
    // Side by side, compared, another size, and back.
    t.keys(&["s"]);
    t.until(MINUTE, |s| s.lines().any(|l| l.matches("demo").count() == 2));
    t.keys(&["d"]);
    t.see("+it is demo");
    t.resize(70, 20);
    t.until(MINUTE, |s| s.lines().count() == 20 && s.contains("it is demo"));
    t.keys(&["Escape"]);
    t.see("demo1000");
    t.keys(&["q"]);
    t.see("Summary: 1000 nodes • 1000 successful");
}
