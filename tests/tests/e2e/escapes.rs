//! ssh's escapes (`~v ~V ~R ~B ~&`) typed at a real terminal, against a real sshd.

use bssh_fixtures::processes;
use bssh_tests::{Lab, Shared, Terminal, net, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(120);
/// What scripts count key exchanges by.
const NEW_KEYS: &str = "debug1: SSH2_MSG_NEWKEYS sent";

fn count(terminal: &mut Terminal, what: &str) -> usize {
    terminal.shown().matches(what).count()
}

#[test]
fn the_log_level_is_changed_and_keys_are_renewed_while_a_session_runs() {
    let lab = Lab::start();
    let mut terminal = Terminal::start(&lab.command(&["-t", "127.0.0.1", "echo up; cat"]));
    terminal.wait_for("up", MINUTES);
    terminal.write("\r~R");
    for (typed, said) in [
        ("~v", "~v [LogLevel VERBOSE]"),
        ("~V", "~V [LogLevel INFO]"),
        ("~v~v", "~v [LogLevel DEBUG1]"),
    ] {
        terminal.write(typed);
        terminal.wait_for(said, MINUTES);
    }
    let before = count(&mut terminal, NEW_KEYS);
    assert_eq!(before, 0, "{}", terminal.shown());
    terminal.write("~R");
    assert!(until(MINUTES, || {
        terminal.has(NEW_KEYS, Duration::from_millis(50));
        count(&mut terminal, NEW_KEYS) > before
    }));
    // The session is whole, and an escape in mid-line is none.
    terminal.write("still ~v here\r");
    terminal.wait_for("still ~v here\r\nstill ~v here", MINUTES);
    terminal.write("~V~V~V~V~V~V");
    terminal.wait_for("~V [LogLevel QUIET]\r\n~V [LogLevel QUIET]", MINUTES);
    terminal.write("~?");
    terminal.wait_for("~&   - background bssh", MINUTES);
    terminal.write("\x04");
    assert_eq!(terminal.finish(MINUTES), Some(0), "{}", terminal.shown());
    // Said with QUIET: nothing.
    assert!(!terminal.shown().contains("Connection to"), "{}", terminal.shown());
}

#[test]
fn a_break_is_refused_and_harms_nothing() {
    let lab = Lab::start();
    let mut terminal = Terminal::start(&lab.command(&["-t", "127.0.0.1", "echo up; cat"]));
    terminal.wait_for("up", MINUTES);
    terminal.write("~B");
    terminal.wait_for("~B: a BREAK cannot be sent", MINUTES);
    terminal.write("on\r");
    terminal.wait_for("on\r\non", MINUTES);
    terminal.write("\x04");
    assert_eq!(terminal.finish(MINUTES), Some(0));
}

fn echoes(stream: &mut TcpStream, text: &str) -> bool {
    let mut back = vec![0; text.len()];
    stream.write_all(text.as_bytes()).is_ok()
        && stream.read_exact(&mut back).is_ok()
        && back == text.as_bytes()
}

/// `~&` with a connection through a forward; the process the connection then belongs to.
fn backgrounded(lab: &Lab, persist: &str, mark: &str) -> (TcpStream, u16, Vec<i32>) {
    let (echo, port) = (net::serve(net::echo), net::free_port());
    let forward = format!("{port}:127.0.0.1:{echo}");
    let remote = format!("echo up; sleep {mark} & cat");
    let mut command = lab.command(&["-t", "-L", &forward, "127.0.0.1", &remote]);
    command.env("BSSH_PERSIST", persist);
    let mut terminal = Terminal::start(&command);
    terminal.wait_for("up", MINUTES);
    let mut stream = net::connect(port);
    assert!(echoes(&mut stream, "before"));
    let below = processes::descendants(terminal.pid());
    let cores = below.iter().filter(|p| p.command.contains("core --stdio")).map(|p| p.pid);
    let cores: Vec<i32> = cores.collect();
    terminal.write("\r~&");
    assert_eq!(terminal.finish(MINUTES), Some(0), "{}", terminal.shown());
    assert!(terminal.shown().contains("~& [backgrounded]"), "{}", terminal.shown());
    assert!(terminal.echoes(), "still raw");
    assert!(echoes(&mut stream, "afterwards"), "what was open goes on");
    let refused = || TcpStream::connect(("127.0.0.1", port)).is_err();
    assert!(until(MINUTES, refused), "nothing new comes through");
    // The shell got its end of input.
    let cat = || processes::with_text(&format!("sleep {mark} & cat"));
    assert!(until(MINUTES, || cat().is_empty()), "{:?}", cat());
    (stream, port, cores)
}

#[test]
fn a_session_in_the_background_lasts_as_long_as_its_connections() {
    let lab = Lab::start();
    let (stream, _, cores) = backgrounded(&lab, "no", "0.0187");
    let &[core] = cores.as_slice() else { panic!("one core: {cores:?}") };
    assert!(std::path::Path::new(&format!("/proc/{core}")).exists());
    drop(stream);
    let gone = || !std::path::Path::new(&format!("/proc/{core}/exe")).exists();
    assert!(until(MINUTES, gone), "the core ends with the last connection");
}

#[test]
fn a_session_of_a_shared_core_goes_to_the_background_too() {
    let shared = Shared::new(Lab::start());
    let (mut stream, _, _) = backgrounded(&shared.lab, "1m", "0.0188");
    assert!(echoes(&mut stream, "still"));
    let listed = || shared.lab.run(&["forward", "ls"]).expect_status(0).text();
    assert!(listed().contains("127.0.0.1"), "{}", listed());
    drop(stream);
    assert!(until(MINUTES, || !listed().contains("127.0.0.1")), "{}", listed());
}
