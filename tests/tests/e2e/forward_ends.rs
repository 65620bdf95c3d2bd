//! How forwards and what goes through them begin and end: with a first client, with a command,
//! with a side that closes, with `-O cancel`, with their master.

use bssh_tests::net::{connect, echo, echoes, free_port, serve};
use bssh_tests::{Lab, Run, Shared, descriptors as fds, until};
use rustix::process::{Signal, test_kill_process};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// Connections that a forward makes beside its first.
const LANES: usize = 3;

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Says something to an echo.
fn says(mut client: &TcpStream, text: &[u8]) {
    client.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    client.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

/// A target (-L), or a client on the node (-R), that closes while the other side still writes:
/// whoever writes is told, and nothing of it stays here.
#[test]
fn who_writes_to_what_has_closed_is_told() {
    let lab = Lab::start();
    let (target, listener) =
        (serve(|mut s| s.write_all(b"hi")), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let (local, remote) = (free_port(), free_port());
    let l = format!("{local}:127.0.0.1:{target}");
    let r = format!("{remote}:{}", listener.local_addr().unwrap());
    let run = Run::start(lab.command(&["-N", "-L", &l, "-R", &r, "127.0.0.1"]));
    assert!(until(SOON, || TcpStream::connect(("127.0.0.1", remote)).is_ok()));
    // What asked whether it is up.
    drop(listener.accept().unwrap());
    let core = run.core_pid();
    let before = fds(core);
    let writes_on = |mut stream: TcpStream| {
        stream.set_write_timeout(Some(SOON)).unwrap();
        let block = [7; 64 * 1024];
        let error = (0..4096).find_map(|_| stream.write_all(&block).err());
        let error = error.expect("all of it went somewhere");
        assert!(
            matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset),
            "{error}"
        );
    };
    for _ in 0..4 {
        let mut client = connect(local);
        client.read_exact(&mut [0; 2]).unwrap();
        writes_on(client);
        let mut client = connect(remote);
        let (mut served, _) = listener.accept().unwrap();
        served.write_all(b"hi").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
        drop(client);
        writes_on(served);
    }
    let mut now = 0;
    let back = until(SOON, || {
        now = fds(core);
        // Beside whom a writer waits, further connections may have been made.
        now <= before + LANES
    });
    assert!(back, "{before} descriptors before, {now} after");
}

/// As with ssh: what has been opened while a command ran goes on, and ends the session.
#[test]
fn a_connection_outlives_the_command() {
    let lab = Lab::start();
    let target = serve(echo);
    for killed in [false, true] {
        let port = free_port();
        let l = format!("{port}:127.0.0.1:{target}");
        let mut run = Run::start(lab.command(&["-L", &l, "127.0.0.1", "read line; exit 3"]));
        assert!(until(SOON, || listens(port)));
        let client = connect(port);
        says(&client, b"before");
        assert!(run.write(b"end\n"));
        assert!(until(SOON, || !listens(port)), "nobody new");
        says(&client, b"after");
        if killed {
            run.signal(Signal::INT);
            run.finish(SOON).expect_status(255);
            assert!(matches!((&client).read(&mut [0; 1]), Ok(0) | Err(_)));
        } else {
            drop(client);
            run.finish(SOON).expect_status(3);
        }
    }
}

#[test]
fn cancelling_is_for_one_host_and_cuts_nothing() {
    let shared = Shared::new(Lab::start());
    let ssh = |more: &[&str]| {
        let words = [&["ssh", "-o", "ControlPath=~/x-%h", "-o", "ControlPersist=60"], more];
        shared.lab.run_bare(&words.concat())
    };
    let target = serve(echo);
    let spec = format!("0:127.0.0.1:{target}");
    let mut ports = Vec::new();
    for host in ["127.0.0.1", "127.0.0.2"] {
        ssh(&["-o", "ControlMaster=auto", host, "true"]).expect_status(0);
        let opened = ssh(&["-O", "forward", "-R", &spec, host]).expect_status(0);
        ports.push(opened.text().trim().parse::<u16>().unwrap());
    }
    let client = connect(ports[0]);
    says(&client, b"before");
    ssh(&["-O", "cancel", "-R", &spec, "127.0.0.1"]).expect_status(0);
    assert!(until(SOON, || !listens(ports[0])));
    says(&client, b"after");
    says(&connect(ports[1]), b"the other's");
    let again = ssh(&["-O", "cancel", "-R", &spec, "127.0.0.1"]).expect_status(255);
    assert!(again.stderr.contains("no such forward"), "{}", again.stderr);
}

/// Without `ControlPersist` a master goes soon after its last session, as ssh's does; forwards
/// that nobody uses do not hold it.
#[test]
fn a_master_stays_for_connections_and_not_for_listeners() {
    let shared = Shared::new(Lab::start());
    let (target, port) = (serve(echo), free_port());
    let path = ["ssh", "-o", "ControlPath=~/m"];
    let check = [&path[..], &["-O", "check", "127.0.0.1"]].concat();
    shared.lab.run_bare(&check).expect_status(255);
    let mut command = shared.lab.home.command(bssh_tests::bssh());
    command.args(path).args(["-M", "127.0.0.1", "echo ready; read line"]);
    let mut master = Run::start(command);
    master.wait_for("ready", SOON);
    let l = format!("{port}:127.0.0.1:{target}");
    let words = [&path[..], &["-O", "forward", "-L", &l, "127.0.0.1"]].concat();
    shared.lab.run_bare(&words).expect_status(0);
    let client = connect(port);
    says(&client, b"before");
    assert!(master.write(b"end\n"));
    master.finish(SOON);
    let ended = Instant::now();
    while ended.elapsed() < Duration::from_secs(4) {
        says(&client, b"still there");
    }
    let core = shared.pid().expect("it stays for a connection");
    drop(client);
    // Whoever connected to see it would be one that it stays for.
    assert!(until(SOON, || test_kill_process(core).is_err()), "it goes");
    assert!(!listens(port));
}

/// A node that listens tells us, and its first client may come before that is read.
#[test]
fn the_first_client_of_a_remote_forward_is_served_however_early_it_comes() {
    let lab = Lab::start();
    let target = serve(echo);
    for _ in 0..8 {
        let port = free_port();
        let remote = format!("{port}:127.0.0.1:{target}");
        let _run = Run::start(lab.command(&["-N", "-R", &remote, "127.0.0.1"]));
        let begun = Instant::now();
        let first = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(first) => break first,
                Err(_) => assert!(begun.elapsed() < SOON, "nobody listens on {port}"),
            }
        };
        echoes(first, b"early").unwrap();
    }
}
