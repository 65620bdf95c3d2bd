//! The person's terminal: in order again whatever happens, and never driven by strangers.

use bssh_fixtures::{SshdOptions, UserKey, processes};
use bssh_tests::{Lab, Run, Terminal, until};
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(120);
/// What switches bracketed paste off.
const PASTE_OFF: &str = "\x1b[?2004l";
/// What switches mouse reports, focus events, kitty's keyboard and the other screen off, and the
/// cursor on.
const OTHERS_OFF: &[&str] =
    &["\x1b[?1000l", "\x1b[?1006l", "\x1b[?1004l", "\x1b[<99u", "\x1b[?1047l", "\x1b[?25h"];

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// A full-screen program on the node, with the terminal in raw mode.
fn full_screen(lab: &Lab) -> Terminal {
    let modes =
        r"printf '\033[?1000h\033[?1006h\033[?2004h\033[>1u\033[?25l'; echo ready; exec sleep 60";
    let mut terminal = Terminal::start(&lab.command(&["-t", "127.0.0.1", modes]));
    terminal.wait_for("ready", MINUTES);
    assert!(!terminal.echoes());
    terminal
}

#[track_caller]
fn in_order_again(terminal: &mut Terminal) {
    assert_eq!(terminal.finish(MINUTES), Some(255), "{}", terminal.shown());
    assert!(terminal.echoes(), "still raw: {}", terminal.shown());
    for off in [&[PASTE_OFF], OTHERS_OFF].concat() {
        assert!(terminal.shown().contains(off), "{off:?}: {:?}", terminal.shown());
    }
}

#[test]
fn a_lost_link_leaves_the_terminal_in_order() {
    let lab = Lab::start();
    let mut terminal = full_screen(&lab);
    lab.sshd.kill_sessions();
    in_order_again(&mut terminal);
    assert!(terminal.shown().contains("127.0.0.1"), "{}", terminal.shown());
}

#[test]
fn a_signal_leaves_the_terminal_in_order() {
    let lab = Lab::start();
    for what in [Signal::TERM, Signal::HUP] {
        let mut terminal = full_screen(&lab);
        signal(terminal.pid(), what);
        in_order_again(&mut terminal);
    }
}

#[test]
fn a_dead_core_leaves_the_terminal_in_order() {
    let lab = Lab::start();
    let mut terminal = full_screen(&lab);
    let below = processes::descendants(terminal.pid());
    let core = below.iter().find(|p| p.command.contains("core --stdio")).unwrap();
    signal(core.pid, Signal::KILL);
    in_order_again(&mut terminal);
}

#[test]
fn an_escape_ends_the_session_and_a_clean_end_resets_nothing() {
    let lab = Lab::start();
    let mut terminal = full_screen(&lab);
    terminal.write("\r~.");
    in_order_again(&mut terminal);
    let mut terminal = Terminal::start(&lab.command(&["-t", "127.0.0.1", "tty; exit 3"]));
    assert_eq!(terminal.finish(MINUTES), Some(3));
    assert!(terminal.echoes() && !terminal.shown().contains(PASTE_OFF), "{}", terminal.shown());
}

#[test]
fn sigterm_at_a_password_prompt_brings_the_echo_back() {
    let extra = vec!["PasswordAuthentication yes".to_owned()];
    let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let words = ["-o", "BatchMode=no", "-o", "PreferredAuthentications=password", "127.0.0.1"];
    let socket = format!("{}:x:1", lab.home.path().join("forward").display());
    // A forward connects before the session does.
    for before in [&[][..], &["-L", &socket]] {
        let mut terminal = Terminal::start(&lab.command(&[before, &words].concat()));
        terminal.wait_for("password: ", MINUTES);
        assert!(until(MINUTES, || !terminal.echoes()));
        signal(terminal.pid(), Signal::TERM);
        // It dies of it, as whoever waits for it wants to know.
        assert_eq!(terminal.finish(MINUTES), None);
        assert!(terminal.echoes(), "{}", terminal.shown());
    }
}

#[test]
fn ctrl_c_ends_what_is_still_connecting() {
    let lab = Lab::start();
    let silent = TcpListener::bind("127.0.0.9:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let mut terminal = Terminal::start(&lab.command(&["-p", &port, "127.0.0.9"]));
    let (_held, _) = silent.accept().unwrap();
    terminal.write("\x03");
    assert_eq!(terminal.finish(MINUTES), None);
    assert!(terminal.echoes());
}

#[test]
fn a_signal_is_heeded_while_the_node_does_not_read() {
    let lab = Lab::start();
    let words = ["-tt", "127.0.0.1", "stty raw -echo; echo ready; exec sleep 60"];
    let bssh = lab.command(&words);
    let mut shell = lab.home.command("/bin/bash");
    shell.args(["-c", "exec \"$0\" \"$@\" < <(exec yes)"]);
    shell.arg(bssh.get_program()).args(bssh.get_args());
    let mut run = Run::start(shell);
    run.wait_for("ready", MINUTES);
    let below = processes::descendants(run.pid());
    let yes = below.iter().find(|p| p.command == "yes").unwrap().pid;
    let written = || {
        let counts = std::fs::read_to_string(format!("/proc/{yes}/io")).unwrap();
        counts.lines().find(|line| line.starts_with("wchar:")).map(str::to_owned)
    };
    // Nothing moves any more: whatever lies between here and the node is full.
    let (mut last, mut still) = (None, 0);
    assert!(until(MINUTES, || {
        let now = written();
        still = if now == last { still + 1 } else { 0 };
        last = now;
        still > 50
    }));
    run.signal(Signal::TERM);
    run.finish(MINUTES).expect_status(255);
}

#[test]
fn a_node_that_gives_no_terminal_leaves_ours_as_it_is() {
    let extra = vec!["PermitTTY no".to_owned()];
    let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let refused = "PTY allocation request failed on channel 0";
    let mut terminal = Terminal::start(&lab.command(&["127.0.0.1"]));
    terminal.wait_for(refused, MINUTES);
    terminal.write("echo a$((1+1)); exit 3\n");
    terminal.wait_for("a2", MINUTES);
    assert!(terminal.echoes());
    assert_eq!(terminal.finish(MINUTES), Some(3), "{}", terminal.shown());
    // Whoever asks for one does not want to go without.
    let mut terminal = Terminal::start(&lab.command(&["-t", "127.0.0.1", "sleep 60"]));
    assert_eq!(terminal.finish(MINUTES), Some(255), "{}", terminal.shown());
    assert!(terminal.echoes() && terminal.shown().contains(refused), "{}", terminal.shown());
}

#[test]
fn on_many_nodes_one_that_gives_no_terminal_is_named() {
    let extra = vec!["PermitTTY no".to_owned()];
    let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let mut terminal = Terminal::start(&lab.command(&["-H", "127.0.0.1", "-t", "sleep 60"]));
    assert_eq!(terminal.finish(MINUTES), Some(3), "{}", terminal.shown());
    let shown = terminal.shown();
    for part in ["127.0.0.1: the server refused the terminal request", "hint: see PermitTTY"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(terminal.echoes());
    let forced = lab.run(&["-H", "127.0.0.1", "-tt", "-N", "echo done"]).expect_status(0);
    assert_eq!(forced.text(), "done\n");
    assert!(forced.stderr.contains("127.0.0.1: it gives no terminal"), "{}", forced.stderr);
}

#[test]
fn a_suspended_session_learns_the_size_when_it_goes_on() {
    let lab = Lab::start();
    let bssh = lab.command(&["-tt", "127.0.0.1"]);
    let mut shell = lab.home.command("/bin/bash");
    let line = "set -m; \"$0\" \"$@\"; echo back; read x; fg";
    shell.args(["--norc", "--noprofile", "-i", "-c", line]);
    shell.arg(bssh.get_program()).args(bssh.get_args());
    let mut terminal = Terminal::start(&shell);
    assert!(until(MINUTES, || !terminal.echoes()));
    terminal.write("echo a$((1+1))\n");
    terminal.wait_for("a2", MINUTES);
    terminal.write("\r~\x1a");
    terminal.wait_for("back", MINUTES);
    terminal.resize(33, 99);
    terminal.write("\n");
    assert!(until(MINUTES, || !terminal.echoes()));
    terminal.write("until [ \"$(stty size)\" = \"33 99\" ]; do :; done; exit 3\n");
    assert_eq!(terminal.finish(MINUTES), Some(3), "{}", terminal.shown());
}

#[test]
fn a_match_exec_command_can_ask_at_the_terminal() {
    let lab = Lab::start();
    let ask = "echo which? > /dev/tty; read x < /dev/tty; test $x = that";
    let config = lab.home.write("asking", format!("Match exec \"{ask}\"\n Port 4321\n")).unwrap();
    let config = config.display().to_string();
    let mut terminal = Terminal::start(&lab.command(&["-F", &config, "-G", "x"]));
    terminal.wait_for("which?", MINUTES);
    terminal.write("that\n");
    assert_eq!(terminal.finish(MINUTES), Some(0), "{}", terminal.shown());
    assert!(terminal.shown().contains("port 4321"), "{}", terminal.shown());
}

#[test]
fn what_strangers_say_does_not_drive_the_terminal() {
    let lab = Lab::start();
    let banner = lab.home.write("banner", "hello\x1b[2J\x1b]0;title\x07\nthere\u{9b}2J\n").unwrap();
    let extra = vec![format!("Banner {}", banner.display())];
    let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let said = lab.run(&["127.0.0.1", "true"]).expect_status(0).stderr;
    assert_eq!(said, "hello[2J]0;title\nthere2J\n");
    assert_eq!(lab.run(&["-q", "127.0.0.1", "true"]).expect_status(0).stderr, "");
    let name = "no\x1b[2Jhost\u{9b}";
    let said = lab.run(&[name, "true"]).expect_status(255).stderr;
    assert!(!said.contains(['\x1b', '\u{9b}']), "{said:?}");
}

#[test]
fn a_changed_key_on_the_way_names_the_hop() {
    let lab = Lab::start();
    let key = std::fs::read_to_string(lab.sshd.known_hosts()).unwrap();
    let good = key.lines().next().unwrap().trim_start_matches("* ");
    let port = lab.sshd.port();
    let mut known = format!("[127.0.0.1]:{port} {good}\n[127.0.0.3]:{port} {good}\n");
    let stranger = UserKey::generate().unwrap().public_line().unwrap();
    known += &format!("[127.0.0.2]:{port} {stranger}\n");
    let known = lab.home.write("known", known).unwrap();
    // Hops take no options of the command line: the file says it for all.
    let config = std::fs::read_to_string(lab.sshd.ssh_config()).unwrap();
    let config = format!("UserKnownHostsFile {}\n{config}", known.display());
    let config = lab.home.write("config", config).unwrap();
    let config = config.display().to_string();
    let words = ["-F", &config, "-J", "127.0.0.1,127.0.0.2", "127.0.0.3", "true"];
    let said = lab.run(&words).expect_status(255).stderr;
    assert!(said.contains("(at 127.0.0.2)") && said.contains("CHANGED"), "{said}");
    assert!(said.ends_with("Host key verification failed.\r\n"), "{said}");
}

#[test]
fn a_jump_host_that_refuses_is_named() {
    let extra = vec!["AllowTcpForwarding no".to_owned()];
    let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let said = lab.run(&["-J", "127.0.0.2", "127.0.0.1", "true"]).expect_status(255).stderr;
    assert!(said.contains("(at 127.0.0.2)") && said.contains("refused"), "{said}");
}

#[test]
fn a_proxy_command_is_for_the_persons_own_shell() {
    let lab = Lab::start();
    let bssh = bssh_tests::bssh().display().to_string();
    let config = lab.sshd.ssh_config().display().to_string();
    let way = format!("{bssh} ssh -F {config} -S none -W %h:%p 127.0.0.2");
    // What only bash takes.
    let proxy = format!("ProxyCommand=sh -c \"$(cat <(echo 'exec {way}'))\"");
    let words = ["-o", &proxy, "127.0.0.1", "echo there"];
    for (shell, status) in [("/bin/bash", 0), ("/bin/dash", 255), ("", 255)] {
        let mut command = lab.command(&words);
        command.env("SHELL", shell);
        Run::start(command).finish(MINUTES).expect_status(status);
    }
}

#[test]
fn a_proxy_command_that_dies_or_hangs_is_the_end() {
    let lab = Lab::start();
    let died = lab.run(&["-o", "ProxyCommand=false", "127.0.0.1", "true"]).expect_status(255);
    assert!(died.stderr.contains("127.0.0.1"), "{}", died.stderr);
    let hangs = ["-o", "ProxyCommand=sleep 61.25", "-o", "ConnectTimeout=1", "127.0.0.1", "true"];
    let mut run = Run::start(lab.command(&hangs));
    let (pid, mut below) = (run.pid(), Vec::new());
    until(MINUTES, || {
        below = processes::descendants(pid);
        below.iter().any(|p| p.command.contains("sleep 61.25"))
    });
    run.wait_for("within", MINUTES);
    run.finish(MINUTES).expect_status(255);
    assert!(until(MINUTES, || processes::with_text("sleep 61.25").is_empty()), "{below:?}");
}
