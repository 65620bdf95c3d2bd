//! -L, -R and -D against a real sshd: bytes, half-closes, sockets, limits, lost connections.

use bssh_fixtures::{SshdOptions, free_ports, processes};
use bssh_tests::net::{FLOOD, connect, echo, echoes, flood, free_port, noise, serve, socks5};
use bssh_tests::{Lab, Peer, Run, descriptors as fds, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// `bssh -N OPTIONS host`, once its port answers.
fn forwarding(lab: &Lab, options: &[&str], port: u16) -> Run {
    let mut words = vec!["-N"];
    words.extend(options);
    words.push("127.0.0.1");
    let run = Run::start(lab.command(&words));
    let up = until(SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert!(up, "nobody listens on {port}");
    run
}

#[test]
fn every_kind_carries_bytes_and_half_closes() {
    let lab = Lab::start();
    let (target, local, remote, dynamic, reverse) =
        (serve(echo), free_port(), free_port(), free_port(), free_port());
    let l = format!("{local}:127.0.0.1:{target}");
    let r = format!("{remote}:127.0.0.1:{target}");
    let (d, rd) = (dynamic.to_string(), reverse.to_string());
    let _run = forwarding(&lab, &["-L", &l, "-R", &r, "-D", &d, "-R", &rd], reverse);
    let bytes = noise(3 << 20);
    for size in [0, 1, 70_000, bytes.len()] {
        let bytes = &bytes[..size];
        echoes(connect(local), bytes).unwrap_or_else(|e| panic!("-L {size}: {e}"));
        echoes(connect(remote), bytes).unwrap_or_else(|e| panic!("-R {size}: {e}"));
        for port in [dynamic, reverse] {
            let mut client = connect(port);
            assert_eq!(socks5(&mut client, target).unwrap(), 0);
            echoes(client, bytes).unwrap_or_else(|e| panic!("SOCKS on {port}, {size}: {e}"));
        }
    }
    let closed = free_port();
    assert_eq!(socks5(&mut connect(dynamic), closed).unwrap(), 5);
    assert_eq!(socks5(&mut connect(reverse), closed).unwrap(), 5);
}

#[test]
fn curl_speaks_every_version_of_socks() {
    let lab = Lab::start();
    let port = free_port();
    let web = serve(|mut stream| {
        let mut request = [0; 1024];
        let _ = stream.read(&mut request)?;
        stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    });
    let _run = forwarding(&lab, &["-D", &port.to_string()], port);
    for flag in ["--socks4", "--socks4a", "--socks5", "--socks5-hostname"] {
        let mut curl = lab.home.command("curl");
        curl.args(["-s", flag, &format!("127.0.0.1:{port}")]);
        curl.arg(format!("http://localhost:{web}/"));
        let done = Run::start(curl).finish(SOON).expect_status(0);
        assert_eq!(done.text(), "hello", "{flag}");
    }
}

#[test]
fn sockets_are_forwarded_both_ways() {
    let lab = Lab::start();
    let path = |name: &str| lab.home.path().join(name).display().to_string();
    let (here, there, target) = (path("here"), path("there"), path("target"));
    let listener = UnixListener::bind(&target).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all);
                let _ = stream.write_all(&all);
            });
        }
    });
    let words = ["-N", "-L", &format!("{here}:{target}"), "-R", &format!("{there}:{target}")];
    let _run = Run::start(lab.command(&[&words[..], &["127.0.0.1"]].concat()));
    for socket in [here, there] {
        let mut stream = None;
        assert!(until(SOON, || {
            stream = UnixStream::connect(&socket).ok();
            stream.is_some()
        }));
        let mut stream = stream.unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        assert_eq!(back, "hello", "{socket}");
    }
}

#[test]
fn permit_remote_open_bounds_remote_socks() {
    let lab = Lab::start();
    let target = serve(echo);
    let only = format!("127.0.0.1:{target}");
    for (permit, want) in [("any", 0), ("none", 2), ("127.0.0.1:1", 2), (only.as_str(), 0)] {
        let (port, permit) = (free_port(), format!("PermitRemoteOpen={permit}"));
        let _run = forwarding(&lab, &["-o", &permit, "-R", &port.to_string()], port);
        assert_eq!(socks5(&mut connect(port), target).unwrap(), want, "{permit}");
    }
}

/// russh has no window per channel: a channel left unread stalls its connection. Here one client
/// does not read at all; others must not notice, and it must get everything once it reads.
#[test]
fn a_client_that_does_not_read_slows_nobody() {
    let lab = Lab::start();
    let (loud, target) = (serve(flood), serve(echo));
    let (stalled, live, port) = (free_port(), free_port(), free_port());
    let to = |at, target| format!("{at}:127.0.0.1:{target}");
    let (a, b) = (to(stalled, loud), to(live, target));
    let options = ["-L", &a, "-L", &b, "-D", &port.to_string()];
    let _run = forwarding(&lab, &options, port);
    let mut sleepers: Vec<TcpStream> = (0..3).map(|_| connect(stalled)).collect();
    let mut slowest = Duration::ZERO;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let one = Instant::now();
        echoes(connect(live), b"are you there?").unwrap();
        let mut client = connect(port);
        assert_eq!(socks5(&mut client, target).unwrap(), 0);
        echoes(client, &[7; 100_000]).unwrap();
        slowest = slowest.max(one.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "a live client waited {slowest:?}");
    for sleeper in &mut sleepers {
        let mut all = Vec::new();
        sleeper.read_to_end(&mut all).unwrap();
        assert!(all.len() == FLOOD && all.iter().all(|b| *b == b'x'), "{} bytes", all.len());
    }
}

#[test]
fn many_connections_leave_nothing_behind() {
    let lab = Lab::start();
    let (target, port) = (serve(echo), free_port());
    let run = forwarding(&lab, &["-D", &port.to_string()], port);
    let core = run.core_pid();
    let through = |port| {
        let mut client = connect(port);
        assert_eq!(socks5(&mut client, target).unwrap(), 0);
        client
    };
    echoes(through(port), b"warm").unwrap();
    let before = fds(core);
    let mut open: Vec<TcpStream> = (0..500).map(|_| through(port)).collect();
    for (n, client) in open.iter_mut().enumerate() {
        client.write_all(&n.to_be_bytes()).unwrap();
    }
    for (n, client) in open.iter_mut().enumerate() {
        let mut back = [0; 8];
        client.read_exact(&mut back).unwrap();
        assert_eq!(back, n.to_be_bytes());
    }
    assert!(fds(core) >= 500);
    drop(open);
    for n in 0..300 {
        let client = through(port);
        match n % 3 {
            0 => echoes(client, b"whole").unwrap(),
            1 => drop(client),
            _ => client.shutdown(std::net::Shutdown::Both).unwrap(),
        }
    }
    let mut now = 0;
    let back = until(SOON, || {
        now = fds(core);
        now <= before
    });
    assert!(back, "{before} descriptors before, {now} after");
}

/// No descriptors left: who is there goes on, who comes waits, and nothing is lost for good.
#[test]
fn a_forward_survives_the_end_of_descriptors() {
    let lab = Lab::start();
    let target = serve(echo);
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let opened = peer.call(
        "forward/open",
        json!({"nodes": "127.0.0.1", "kind": "local", "spec": format!("0:127.0.0.1:{target}"),
            "settings": {"sshConfig": lab.sshd.ssh_config()}}),
    );
    let bound = opened["bound"].as_str().unwrap().to_owned();
    let port: u16 = bound.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut early = connect(port);
    let mut says = |text: &[u8]| {
        early.write_all(text).unwrap();
        let mut back = vec![0; text.len()];
        early.read_exact(&mut back).unwrap();
        assert_eq!(back, text);
    };
    says(b"before");
    let pid = Pid::from_raw(peer.pid()).unwrap();
    let before = fds(peer.pid());
    const HARD: u64 = 1024;
    let limit = |most: usize| {
        let most = Some(most as u64);
        let limits = Rlimit { current: most, maximum: Some(HARD) };
        prlimit(Some(pid), Resource::Nofile, limits).unwrap();
    };
    limit(before + 3);
    let crowd: Vec<TcpStream> = (0..20).map(|_| connect(port)).collect();
    peer.wait_for("event/forward", |p| p["state"] == "acceptFailed");
    says(b"still there");
    drop(crowd);
    limit(1024);
    echoes(connect(port), b"after").unwrap();
    says(b"to the end");
    assert!(until(SOON, || fds(peer.pid()) <= before), "{before} before, {}", fds(peer.pid()));
}

#[test]
fn a_kept_forward_outlives_its_connection() {
    let lab = Lab::start();
    let (target, remote) = (serve(echo), free_port());
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let base = json!({"nodes": "127.0.0.1", "keep": true, "watch": true,
        "settings": {"sshConfig": lab.sshd.ssh_config()}});
    let open = |peer: &mut Peer, kind: &str, spec: String| {
        let mut params = base.clone();
        params["kind"] = kind.into();
        params["spec"] = spec.into();
        peer.call("forward/open", params)
    };
    let local = open(&mut peer, "local", format!("0:127.0.0.1:{target}"));
    let back = open(&mut peer, "remote", format!("{remote}:127.0.0.1:{target}"));
    let bound = local["bound"].as_str().unwrap().to_owned();
    let port: u16 = bound.rsplit_once(':').unwrap().1.parse().unwrap();
    echoes(connect(port), b"before").unwrap();
    echoes(connect(remote), b"before").unwrap();
    let opened = peer.wait_for("event/forward", |p| p["state"] == "connOpen");
    assert_eq!(opened["params"]["target"], format!("127.0.0.1 port {target}"));
    let closed = peer.wait_for("event/forward", |p| p["state"] == "connClose");
    assert_eq!(
        (&closed["params"]["bytesIn"], &closed["params"]["bytesOut"]),
        (&6.into(), &6.into())
    );
    let idle = connect(port);
    let entry =
        |peer: &mut Peer| peer.call("forward/connections", json!({"forward": local["forward"]}));
    peer.wait_for("event/forward", |p| p["state"] == "connOpen" && p["conn"] == 2);
    let conn = entry(&mut peer)["connections"][0]["conn"].clone();
    peer.call("forward/kick", json!({"forward": local["forward"], "conn": conn}));
    let kicked = peer.wait_for("event/forward", |p| p["conn"] == conn && p["state"] == "connClose");
    assert_eq!(kicked["params"]["reason"], "kicked");
    assert_eq!((&idle).read(&mut [0; 1]).unwrap(), 0);
    let _held = connect(port);
    let third = |p: &serde_json::Value| p["forward"] == local["forward"] && p["conn"] == 3;
    peer.wait_for("event/forward", |p| third(p) && p["state"] == "connOpen");
    lab.sshd.kill_sessions();
    let cut = peer.wait_for("event/forward", |p| third(p) && p["state"] == "connClose");
    assert_eq!(cut["params"]["reason"], "lost");
    for forward in [&local, &back] {
        let id = &forward["forward"];
        let lost = |p: &serde_json::Value| p["forward"] == *id && p["state"] == "reconnecting";
        assert!(peer.wait_for("event/forward", lost)["params"]["error"].is_string());
        peer.wait_for("event/forward", |p| p["forward"] == *id && p["state"] == "open");
    }
    echoes(connect(port), b"after").unwrap();
    echoes(connect(remote), b"after").unwrap();
    let list = peer.call("forward/list", json!({}));
    assert_eq!(list["forwards"][0]["opened"], 4, "{list}");
    assert_eq!(list["forwards"][0]["state"], "open");
    peer.call("forward/close", json!({"forward": local["forward"]}));
    assert!(until(SOON, || TcpStream::connect(("127.0.0.1", port)).is_err()));
    assert_eq!(peer.try_call("forward/close", json!({"forward": 99})).unwrap_err()["code"], 1030);
}

#[test]
fn a_kept_forward_gives_up_after_as_many_tries_as_the_configuration_has() {
    let mut lab = Lab::start();
    let config = lab.home.write("bssh.yaml", "forwarding: { retry_attempts: 1 }\n").unwrap();
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let settings = json!({"sshConfig": lab.sshd.ssh_config(), "config": config});
    for (kind, spec) in [("local", "0:127.0.0.1:1".to_owned()), ("remote", free_port_to(1))] {
        peer.call(
            "forward/open",
            json!({"nodes": "127.0.0.1", "kind": kind, "spec": spec, "keep": true,
                "settings": settings}),
        );
    }
    lab.sshd.stop();
    for _ in 0..2 {
        let closed = peer.wait_for("event/forward", |p| p["state"] == "closed");
        let why = closed["params"]["error"].as_str().unwrap();
        assert!(why.ends_with("(tried again 1 times)"), "{why}");
    }
}

/// A free port on the node that leads to a port here.
fn free_port_to(port: u16) -> String {
    format!("{}:127.0.0.1:{port}", free_port())
}

#[test]
fn what_is_not_allowed_is_refused_and_told() {
    let lab = Lab::with(&SshdOptions {
        extra: vec!["AllowTcpForwarding local".to_owned()],
        ..SshdOptions::default()
    });
    let (target, other) = (serve(echo), serve(echo));
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let settings = json!({"sshConfig": lab.sshd.ssh_config()});
    let opened = peer.call(
        "forward/open",
        json!({"nodes": "127.0.0.1", "kind": "dynamic", "spec": "0", "settings": settings,
            "watch": true, "allow": [format!("127.0.0.1:{target}")],
            "login": {"user": "me", "password": "pw"}}),
    );
    let bound = opened["bound"].as_str().unwrap().to_owned();
    for (password, port, want) in
        [("pw", target, Some(28)), ("pw", other, Some(97)), ("no", target, Some(97))]
    {
        let mut curl = lab.home.command("curl");
        curl.args(["-s", "--max-time", "1", "--proxy-user", &format!("me:{password}")]);
        curl.args(["--socks5", &bound, &format!("telnet://127.0.0.1:{port}")]);
        let done = Run::start(curl).finish(SOON);
        assert_eq!(done.status, want, "{password} {port}: {}", done.stderr);
    }
    let denied = peer.wait_for("event/forward", |p| p["state"] == "connDenied");
    assert_eq!(denied["params"]["target"], format!("127.0.0.1 port {other}"));
    let refused = peer.try_call(
        "forward/open",
        json!({"nodes": "127.0.0.1", "kind": "remote", "spec": "0:127.0.0.1:1",
            "settings": settings}),
    );
    assert_eq!(refused.unwrap_err()["data"]["kind"], "forward.denied");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("{}:127.0.0.1:1", taken.local_addr().unwrap().port());
    let refused = peer.try_call(
        "forward/open",
        json!({"nodes": "127.0.0.1", "kind": "local", "spec": spec, "settings": settings}),
    );
    assert_eq!(refused.unwrap_err()["data"]["kind"], "forward.bind");
    assert!(processes::descendants(peer.pid()).is_empty());
}

#[test]
fn forwards_on_several_nodes_count_their_ports_and_come_from_the_configuration() {
    let lab = Lab::start();
    let (target, port) = (serve(echo), free_ports(2).unwrap());
    let text =
        format!("forwarding: {{ local: [\"{port}:127.0.0.1:{target}\"], dynamic: [\"0\"] }}\n");
    lab.home.write(".config/bssh/config.yaml", text).unwrap();
    let mut run = Run::start(lab.command(&["-H", "127.0.0.[1-2]", "forward", "add"]));
    run.wait_for("127.0.0.2  -D", SOON);
    for port in [port, port + 1] {
        echoes(connect(port), b"hello").unwrap();
    }
    lab.sshd.kill_sessions();
    run.wait_for("127.0.0.2: forward 4: open", SOON);
    echoes(connect(port + 1), b"hello again").unwrap();
    run.signal(rustix::process::Signal::INT);
    run.finish(SOON).expect_status(0);
    let refused = lab.run(&["forward", "ls"]).expect_status(2);
    assert!(refused.stderr.contains("shared core"), "{}", refused.stderr);
}

#[test]
fn a_forward_is_opened_and_cancelled_from_within_a_session() {
    let lab = Lab::start();
    let (target, port) = (serve(echo), free_port());
    let terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let session = |options: &[&str]| {
        let mut command = lab.home.command("python3");
        command.args(["-c", terminal]).arg(bssh_tests::bssh()).args(options);
        command.arg("-F").arg(lab.sshd.ssh_config()).args(["-tt", "127.0.0.1", "cat"]);
        Run::start(command)
    };
    let mut off = session(&["-o", "EnableEscapeCommandline=no"]);
    off.write(b"ready\r");
    off.wait_for("ready\r\nready", SOON);
    off.write(b"~C");
    off.wait_for("commandline disabled", SOON);
    off.write(b"\r~.");
    off.finish(SOON).expect_status(255);
    let mut run = session(&[]);
    run.write(b"ready\r");
    run.wait_for("ready\r\nready", SOON);
    run.write(format!("~C-L {port}:127.0.0.1:{target}\r").as_bytes());
    run.wait_for("Forwarding port.", SOON);
    echoes(connect(port), b"hello").unwrap();
    run.write(format!("~C-KL {port}\r").as_bytes());
    run.wait_for("Canceled forwarding", SOON);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    run.write(b"\r~.");
    run.finish(SOON).expect_status(255);
}

/// Whoever reads what went wrong knows which node, what, and what to do.
#[test]
fn troubles_name_their_node_and_the_way_out() {
    let some = |lines: &[&str]| SshdOptions {
        extra: lines.iter().map(|l| (*l).to_owned()).collect(),
        ..SshdOptions::default()
    };
    let lab = Lab::with(&some(&["AllowTcpForwarding local"]));
    let closed = Lab::with(&some(&["AllowTcpForwarding no"]));
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let open = |peer: &mut Peer, lab: &Lab, kind: &str, spec: &str| {
        let settings = json!({"sshConfig": lab.sshd.ssh_config()});
        let params = json!({"nodes": "127.0.0.1", "kind": kind, "spec": spec, "watch": true,
            "settings": settings});
        peer.try_call("forward/open", params)
    };
    let words = |error: &serde_json::Value| {
        format!("{} / {}", error["message"].as_str().unwrap(), error["data"]["hint"])
    };
    // What the other side of a connection cannot do.
    let unused = free_port();
    for (lab, name, port, code, parts) in [
        (&lab, "127.0.0.1", unused, 5, ["could not connect", "Connection refused"]),
        (&lab, "no.such.invalid", 80, 4, ["could not connect", "not known"]),
        (&closed, "127.0.0.1", unused, 2, ["administratively prohibited", "AllowTcpForwarding"]),
    ] {
        let opened = open(&mut peer, lab, "dynamic", "0").unwrap();
        let bound = opened["bound"].as_str().unwrap();
        let mut client = connect(bound.rsplit(':').next().unwrap().parse().unwrap());
        let [high, low] = port.to_be_bytes();
        let request = [&[5, 1, 0, 5, 1, 0, 3, name.len() as u8], name.as_bytes(), &[high, low]];
        client.write_all(&request.concat()).unwrap();
        let mut reply = [0; 4];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(reply[3], code, "{name}");
        let failed = peer.wait_for("event/forward", |p| p["state"] == "connFailed");
        let why = failed["params"]["error"].as_str().unwrap();
        assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        assert_eq!(failed["params"]["node"], "127.0.0.1");
    }
    // What cannot listen.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("127.0.0.1:{}:x:1", taken.local_addr().unwrap().port());
    let said = words(&open(&mut peer, &lab, "local", &spec).unwrap_err());
    assert!(said.starts_with("127.0.0.1: cannot listen on"), "{said}");
    assert!(said.contains(&format!("(pid {})", std::process::id())), "{said}");
    let said = words(&open(&mut peer, &lab, "remote", &spec).unwrap_err());
    assert!(said.starts_with("127.0.0.1: cannot listen on"), "{said}");
    assert!(said.contains("PermitListen"), "{said}");
    let dialed = lab.run(&["-W", &format!("127.0.0.1:{unused}"), "127.0.0.1"]).expect_status(255);
    assert!(dialed.stderr.contains("127.0.0.1: ") && dialed.stderr.contains("Connection refused"));
}

/// A server that is restarted under many forwards: each of them is back, over one connection.
#[test]
fn fifty_forwards_outlive_a_restart_of_their_server() {
    let mut lab = Lab::start();
    let target = serve(echo);
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let settings = json!({"sshConfig": lab.sshd.ssh_config()});
    let ports: Vec<u16> = (0..50)
        .map(|_| {
            let spec = format!("0:127.0.0.1:{target}");
            let opened = peer.call(
                "forward/open",
                json!({"nodes": "127.0.0.1", "kind": "local", "spec": spec, "keep": true,
                    "settings": settings}),
            );
            opened["bound"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
        })
        .collect();
    let open: Vec<TcpStream> = ports.iter().map(|port| connect(*port)).collect();
    for mut client in &open {
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
    }
    lab.sshd.stop();
    for mut client in &open {
        // What was under way is over, and does not hang.
        assert!(matches!(client.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    let lost = peer.wait_for("event/forward", |p| p["state"] == "reconnecting");
    assert!(lost["params"]["error"].is_string() && lost["params"]["node"] == "127.0.0.1");
    lab.sshd.restart().unwrap();
    for (n, port) in ports.iter().enumerate() {
        let works = || echoes(connect(*port), b"again").is_ok();
        assert!(until(Duration::from_secs(60), works), "forward {n}");
    }
    let list = peer.call("forward/list", json!({}));
    let list = list["forwards"].as_array().unwrap();
    assert!(list.len() == 50 && list.iter().all(|f| f["state"] == "open"), "{list:?}");
    let connections = lab.sshd.log().matches("Accepted publickey").count();
    assert!(connections <= 4, "{connections} connections for fifty forwards");
}
