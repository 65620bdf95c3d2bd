//! What goes wrong around a gate, and what must not get through it: syscalls, taken ports,
//! upstreams that vanish, sockets that are removed, several frontends, a sandbox.

use bssh_fixtures::{Home, SshdOptions};
use bssh_protocol::gate::{AddressMode, GateEntry, GateListParams, GateParams, GateSpec, GateStop};
use bssh_protocol::methods::{GateStart, GateStatus, GateStop as StopGate};
use bssh_tests::net::{connect, echo, echoes, free_port, serve};
use bssh_tests::{Driver, Lab, Netns, Peer, Run, Shared, bssh, descriptors, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

fn entry(alias: &str, host: &str, port: u16) -> Value {
    json!({"alias": alias, "hostname": host, "port": port})
}

/// A gate in which each entry has an address of its own and no greeting is looked at.
#[allow(clippy::needless_pass_by_value, reason = "callers write json!")]
fn open_gate(entries: Value) -> Value {
    json!({"inline": {"name": "g", "addressMode": "perUpstream", "bannerCheck": false,
        "entries": entries}})
}

fn address(started: &Value, at: usize) -> String {
    started["listeners"][at]["listen"].as_str().unwrap().to_owned()
}

/// How the next connection of an entry ends.
fn ended(peer: &mut Peer, alias: &str) -> Value {
    let event = peer.wait_for("event/gate", |p| {
        p["alias"] == alias && (p["state"] == "connClose" || p["state"] == "connDenied")
    });
    event["params"].clone()
}

/// T1-1: preparing reads its configuration and does nothing else.
#[test]
fn preparing_touches_nothing() {
    let home = Home::new().unwrap();
    let config = "gates:\n  g:\n    address_mode: per-upstream\n    entries:\n      \
                  - { alias: a, hostname: git.example.org, port: 2222 }\n      \
                  - { alias: b, hostname: localhost }\n";
    home.write("bssh.yaml", config).unwrap();
    let trace = home.path().join("trace");
    let mut strace = home.command("strace");
    strace.args(["-f", "-qq", "-e", "trace=%network,%file,bind,listen,connect", "-o"]);
    strace.arg(&trace).arg(bssh()).args(["--config", "bssh.yaml", "gate", "prepare", "g"]);
    let said = Run::start(strace).finish(SOON).expect_status(0).text();
    assert!(said.contains("git.example.org:2222"), "{said}");
    let trace = std::fs::read_to_string(&trace).unwrap();
    let bad = trace.lines().filter(|line| {
        let words = ["AF_INET", "AF_NETLINK", "bind(", "listen("];
        let wire = words.iter().any(|word| line.contains(word));
        let names = ["resolv.conf", "/etc/hosts", "nsswitch"].iter().any(|f| line.contains(f));
        let makes = ["O_CREAT", "mkdir(", "rename", "unlink"].iter().any(|f| line.contains(f));
        wire || names || makes
    });
    assert_eq!(bad.collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(trace.contains("bssh.yaml"), "it was looked at the right process");
}

#[test]
fn whoever_holds_a_port_is_named_and_privileged_ones_need_a_right() {
    let home = Home::new().unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let everywhere = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = everywhere.local_addr().unwrap().port();
    let error = peer.try_call("gate/start", open_gate(json!([entry("a", "192.0.2.1", port)])));
    let error = error.unwrap_err();
    assert_eq!(error["data"]["kind"], "gate.addressInUse", "{error}");
    let hint = error["data"]["hint"].as_str().unwrap();
    assert!(hint.contains(&format!("(pid {})", std::process::id())), "{error}");
    let mut setpriv = home.command("setpriv");
    setpriv.args(["--bounding-set", "-net_bind_service"]).arg(bssh());
    let mut peer = Peer::start_as(setpriv, &[]);
    let error = peer.try_call("gate/start", open_gate(json!([entry("a", "192.0.2.1", 77)])));
    let error = error.unwrap_err();
    assert_eq!(error["data"]["kind"], "gate.privilegedPort", "{error}");
    assert!(error["data"]["hint"].as_str().unwrap().contains("proxy"), "{error}");
}

/// The gate must not be its own upstream.
#[test]
fn a_gate_that_leads_to_itself_does_not_start() {
    let home = Home::new().unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let port = free_port();
    for (listen, host) in
        [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "localhost")]
    {
        let looping = json!({"inline": {"name": "g", "listenAddr": listen, "denyAddrs": [],
            "entries": [entry("me", host, port)]}});
        let error = peer.try_call("gate/start", looping).unwrap_err();
        assert_eq!(error["data"]["kind"], "gate.invalid", "{error}");
        assert!(error["message"].as_str().unwrap().contains("entry 'me': hostname"), "{error}");
    }
    let bad =
        json!({"inline": {"name": "g", "denyAddrs": ["home"], "entries": [entry("a", "x", 22)]}});
    let error = peer.try_call("gate/prepare", bad).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("deny_addrs[0]: \"home\""), "{error}");
}

#[test]
fn upstreams_that_are_silent_unknown_or_reset_are_told_apart() {
    let home = Home::new().unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let netns = Netns::start();
    netns.cut();
    // Resets in the middle of a stream: closed with bytes unread and nothing to linger for.
    let reset = serve(|mut stream| {
        stream.write_all(b"hello")?;
        stream.read_exact(&mut [0; 1])?;
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        Ok(())
    });
    let mut silent = entry("silent", &netns.inside(), 22);
    silent["connectTimeoutMs"] = 1000.into();
    let entries = json!([
        silent,
        entry("unknown", "no.such.invalid", 22),
        entry("reset", "127.0.0.1", reset)
    ]);
    let started = peer.call("gate/start", open_gate(entries));
    let dial = |at: usize| {
        let stream = TcpStream::connect(address(&started, at)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    };
    let begun = Instant::now();
    assert_eq!(dial(0).read(&mut [0; 1]).unwrap_or(0), 0);
    let told = ended(&mut peer, "silent");
    assert_eq!(told["reason"], "dialFailed", "{told}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(dial(1).read(&mut [0; 1]).unwrap_or(0), 0);
    let told = ended(&mut peer, "unknown");
    assert_eq!(told["reason"], "dialFailed", "{told}");
    assert!(told["error"].as_str().unwrap().contains("no.such.invalid"), "{told}");
    let mut stream = dial(2);
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).unwrap();
    stream.write_all(b"x").unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    let told = ended(&mut peer, "reset");
    assert_eq!((&told["reason"], &told["bytesDown"]), (&"error".into(), &5.into()), "{told}");
    // No descriptors left: who is there goes on, and who comes later gets in.
    let target = serve(echo);
    let mut other = open_gate(json!([entry("echo", "127.0.0.1", target)]));
    other["inline"]["name"] = "other".into();
    let started = peer.call("gate/start", other);
    let at = address(&started, 0);
    let mut early = TcpStream::connect(&at).unwrap();
    early.write_all(b"a").unwrap();
    early.read_exact(&mut [0; 1]).unwrap();
    let pid = Pid::from_raw(peer.pid()).unwrap();
    let limit = |most: usize| {
        let limits = Rlimit { current: Some(most as u64), maximum: Some(1024) };
        prlimit(Some(pid), Resource::Nofile, limits).unwrap();
    };
    limit(descriptors(peer.pid()) + 3);
    let crowd: Vec<TcpStream> = (0..12).map(|_| TcpStream::connect(&at).unwrap()).collect();
    peer.wait_for("event/gate", |p| p["state"] == "acceptFailed");
    early.write_all(b"b").unwrap();
    early.read_exact(&mut [0; 1]).unwrap();
    drop(crowd);
    limit(1024);
    echoes(TcpStream::connect(&at).unwrap(), b"after").unwrap();
}

/// All at once, and those that say nothing: nobody gets in beyond the limit, and who is kept out
/// is told of.
#[test]
fn a_gate_has_as_many_connections_as_it_may() {
    let home = Home::new().unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let (target, port) = (serve(echo), free_port());
    let gate = |peer: &mut Peer, more: Value| {
        let mut params = open_gate(json!([entry("t", "127.0.0.1", target)]));
        let inline = params["inline"].as_object_mut().unwrap();
        inline.extend(more.as_object().unwrap().clone());
        peer.call("gate/start", params)
    };
    let started = gate(&mut peer, json!({"maxConns": 3}));
    let at = address(&started, 0);
    let crowd: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&at).unwrap()).collect();
    let works = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(b"a").is_ok() && stream.read_exact(&mut [0; 1]).is_ok()
    };
    assert_eq!(crowd.iter().filter(|stream| works(stream)).count(), 3);
    let told = ended(&mut peer, "t");
    assert_eq!(
        (&told["reason"], &told["upstream"]),
        (&"limit".into(), &format!("127.0.0.1:{target}").into())
    );
    assert_eq!(peer.call("gate/status", json!({}))["gates"][0]["denied"], 17);
    drop(crowd);
    assert!(until(SOON, || works(&TcpStream::connect(&at).unwrap())), "there is room again");
    peer.call("gate/stop", json!({"name": "g"}));
    let before = descriptors(peer.pid());
    let started = gate(&mut peer, json!({"mode": "socks", "socksPort": port, "maxConns": 4}));
    let silent: Vec<TcpStream> = (0..50).map(|_| connect(port)).collect();
    peer.wait_for("event/gate", |p| p["gate"] == started["gate"] && p["conn"] == 50);
    let most = before + 5;
    assert!(until(SOON, || descriptors(peer.pid()) <= most), "{}", descriptors(peer.pid()));
    drop(silent);
}

/// A socket that somebody has removed (a cleaner of /tmp) is made again, or ends the gate.
#[test]
fn a_socket_that_is_removed_comes_back_or_ends_the_gate() {
    let lab = Lab::with(&SshdOptions { listen: "127.0.0.1", ..SshdOptions::default() });
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let socket = lab.home.path().join("s");
    let params = |restart: &str| {
        json!({"inline": {"name": restart, "mode": "proxy", "socket": socket, "restart": restart,
            "entries": [entry("t", "127.0.0.1", lab.sshd.port())]}})
    };
    let greeted = || {
        let mut client = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        writeln!(client, "t {}\nSSH-2.0-x", lab.sshd.port()).unwrap();
        let mut said = [0; 7];
        client.read_exact(&mut said).unwrap();
        said == *b"ok\nSSH-"
    };
    peer.call("gate/start", params("always"));
    assert!(greeted());
    std::fs::remove_file(&socket).unwrap();
    let failed = peer.wait_for("event/gate", |p| p["state"] == "listenerFailed");
    assert!(failed["params"]["error"].as_str().unwrap().contains("not our socket"), "{failed}");
    peer.wait_for("event/gate", |p| p["state"] == "listening");
    assert!(greeted());
    peer.call("gate/stop", json!({"name": "always"}));
    peer.call("gate/start", params("never"));
    std::fs::remove_file(&socket).unwrap();
    peer.wait_for("event/gate", |p| p["name"] == "never" && p["state"] == "stopped");
    assert_eq!(peer.call("gate/status", json!({}))["gates"], json!([]));
    assert!(!Path::new(&socket).exists());
}

/// A gate to a server on this machine, with so many connections at most.
pub(super) fn to_itself(port: u16, max_conns: u32) -> GateSpec {
    GateSpec {
        name: "g".to_owned(),
        address_mode: AddressMode::PerUpstream,
        banner_check: false,
        max_conns,
        entries: vec![GateEntry {
            alias: "t".to_owned(),
            hostname: "127.0.0.1".to_owned(),
            port,
            ..GateEntry::default()
        }],
        ..GateSpec::default()
    }
}

/// T1-4: eight frontends of one core start, replace and stop one gate at once. Whatever came
/// last, there is one gate or none, it is what its status says, and nothing is left behind.
#[test]
fn eight_frontends_at_one_gate_leave_one_or_none() {
    let shared = Shared::new(Lab::start());
    shared.lab.run(&["list", "--persist", "5m"]).expect_status(0);
    let target = serve(echo);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let spec = |most: u32| to_itself(target, most);
    let pid = shared.pid().unwrap().as_raw_nonzero().get();
    runtime.block_on(async {
        let config = shared.lab.sshd.ssh_config();
        let mut drivers = Vec::new();
        for _ in 0..8 {
            drivers.push(Driver::attach(&shared.socket(), &config).await);
        }
        let before = descriptors(pid);
        let one = |driver: usize| {
            let (drivers, spec) = (&drivers, &spec);
            async move {
                let mut state = 0x9e37_79b9_u32.wrapping_mul(driver as u32 + 1);
                for _ in 0..100 / 8 + 1 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let inline = Some(spec(20 + (state >> 29)));
                    let start = GateParams { inline, replace: true, ..GateParams::default() };
                    let driver = &drivers[driver];
                    match (state >> 20) % 3 {
                        0 => {
                            let (name, drain_ms) = ("g".to_owned(), Some(0));
                            let stop = GateStop { name, drain_ms, ..GateStop::default() };
                            driver.call::<StopGate>(&stop).await;
                        }
                        _ => {
                            let started = driver.call::<GateStart>(&start).await;
                            assert_eq!(started.listeners.len(), 1);
                        }
                    }
                }
            }
        };
        let ((), (), (), (), (), (), (), ()) =
            tokio::join!(one(0), one(1), one(2), one(3), one(4), one(5), one(6), one(7));
        let all = GateListParams { all: true };
        let gates = drivers[0].call::<GateStatus>(&all).await.gates;
        assert!(gates.len() <= 1, "{gates:?}");
        let last = GateParams { inline: Some(spec(99)), replace: true, ..GateParams::default() };
        let started = drivers[3].call::<GateStart>(&last).await;
        assert_eq!(drivers[5].call::<GateStart>(&last).await.gate, started.gate, "the same again");
        let gates = drivers[0].call::<GateStatus>(&all).await.gates;
        assert_eq!((gates.len(), &gates[0].plan_id), (1, &started.plan_id));
        echoes(TcpStream::connect(&started.listeners[0].listen).unwrap(), b"hello").unwrap();
        // It goes with the last of those that have started it.
        drivers.remove(3).close().await;
        echoes(TcpStream::connect(&started.listeners[0].listen).unwrap(), b"again").unwrap();
        drivers.remove(4).close().await;
        let listen = started.listeners[0].listen.clone();
        // Elsewhere: the links that were closed need this thread to end.
        let ended = tokio::task::spawn_blocking(move || {
            let gone = until(SOON, || TcpStream::connect(&listen).is_err());
            (gone, until(SOON, || descriptors(pid) <= before))
        });
        assert_eq!(ended.await.unwrap(), (true, true), "{before}, {}", descriptors(pid));
    });
}

#[test]
fn a_gate_of_the_shared_core_is_seen_stopped_and_kept() {
    let shared =
        Shared::new(Lab::with(&SshdOptions { listen: "127.0.0.1", ..SshdOptions::default() }));
    let port = shared.lab.sshd.port();
    let text = format!(
        "gates:\n  g:\n    address_mode: per-upstream\n    entries: [{{ alias: t, hostname: 127.0.0.1, port: {port} }}]\n"
    );
    shared.lab.home.write(".config/bssh/config.yaml", &text).unwrap();
    let run = |words: &[&str]| shared.lab.run(&[&["gate"], words].concat());
    let refused = run(&["status"]).expect_status(2);
    assert!(refused.stderr.contains("shared core"), "{}", refused.stderr);
    let id = run(&["start", "g", "--detach"]).expect_status(0).text();
    assert!(id.trim().parse::<u64>().is_ok(), "{id}");
    let status = run(&["status"]).expect_status(0).text();
    assert!(status.starts_with("g: 0 open of 0") && status.contains("t  127.77."), "{status}");
    let at = status.split_whitespace().find(|w| w.starts_with("127.77.")).unwrap().to_owned();
    let mut client = TcpStream::connect(&at).unwrap();
    client.write_all(b"SSH-2.0-x\r\n").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    let open = run(&["connections", "g"]).expect_status(0).text();
    let number = open.split_whitespace().next().unwrap().to_owned();
    assert!(open.contains(&format!("127.0.0.1:{port}")), "{open}");
    run(&["kick", "g", &number]).expect_status(0);
    client.set_read_timeout(Some(SOON)).unwrap();
    let _ = client.read_to_end(&mut Vec::new());
    assert!(run(&["status", "--json"]).expect_status(0).text().contains("\"opened\":1"));
    // Another plan takes its place if it is told to, and stopping the old one does not stop it.
    let other = text.replace("    entries", "    max_conns: 7\n    entries");
    shared.lab.home.write(".config/bssh/config.yaml", other).unwrap();
    let refused = run(&["start", "g", "--detach"]).expect_status(2);
    assert!(refused.stderr.contains("--replace"), "{}", refused.stderr);
    let new = run(&["start", "g", "--replace", "--detach"]).expect_status(0).text();
    assert_ne!(new, id);
    run(&["stop", id.trim()]).expect_status(1);
    assert!(TcpStream::connect(&at).is_ok());
    run(&["stop", new.trim()]).expect_status(0);
    run(&["stop", "g"]).expect_status(1);
    assert!(TcpStream::connect(&at).is_err());
    shared.lab.run(&["core", "stop"]).expect_status(0);
}

/// T1-6: a sandbox whose only way out is the gate.
#[test]
fn a_sandbox_gets_to_the_listed_host_and_nowhere_else() {
    let lab = Lab::start();
    let netns = Netns::start();
    let (port, outside) = (lab.sshd.port(), netns.outside());
    let mut peer = Peer::start(&lab.home, &[], &[]);
    // sshd listens everywhere here, so that the gate needs another port than its upstream's: socks.
    let socks = free_port();
    let entries = json!([entry("git", "127.0.0.1", port)]);
    peer.call(
        "gate/start",
        json!({"inline": {"name": "s", "mode": "socks", "socksPort": socks,
        "listenAddr": outside, "entries": entries}}),
    );
    let quiet = Lab::with(&SshdOptions { listen: "127.0.0.1", ..SshdOptions::default() });
    let listed = quiet.sshd.port();
    let started = peer.call(
        "gate/start",
        json!({"inline": {"name": "g", "listenAddr": outside,
        "entries": [entry("git", "127.0.0.1", listed)]}}),
    );
    assert_eq!(address(&started, 0), format!("{outside}:{listed}"));
    let inside = |words: &[&str]| {
        let mut command = netns.command(&quiet.home, words[0]);
        Run::start({
            command.args(&words[1..]);
            command
        })
        .finish(SOON)
    };
    let config = quiet.sshd.ssh_config().display().to_string();
    let ssh = |host: &str, port: u16| {
        let (timeout, port) = ("ConnectTimeout=3", port.to_string());
        inside(&["ssh", "-F", &config, "-o", timeout, "-p", &port, host, "true"])
    };
    ssh(&outside, listed).expect_status(0);
    // Both sides close at once.
    let reason = ended(&mut peer, "git")["reason"].clone();
    assert!(reason == "clientEof" || reason == "upstreamEof", "{reason}");
    for (host, port) in [("192.0.2.1", 22), ("169.254.169.254", 80), ("127.0.0.1", listed)] {
        ssh(host, port).expect_status(255);
    }
    // HTTPS through the listed port is no SSH.
    let tls = format!(
        "exec 3<>/dev/tcp/{outside}/{listed}; printf '\\x16\\x03\\x01\\x02\\x00' >&3; timeout 20 cat <&3 >/dev/null"
    );
    inside(&["bash", "-c", &tls]);
    assert_eq!(ended(&mut peer, "git")["reason"], "notSsh");
    let through = |to: u16| {
        let code = format!(
            "import socket\ns = socket.create_connection(('{outside}', {socks}), 10)\n\
             s.sendall(bytes([5,1,0,5,1,0,1,127,0,0,1]) + ({to}).to_bytes(2, 'big'))\n\
             got = b''\nwhile len(got) < 4:\n    part = s.recv(64)\n    if not part: break\n    got += part\n\
             raise SystemExit(got[3])"
        );
        inside(&["python3", "-c", &code]).status
    };
    assert_eq!(through(port), Some(0));
    assert_eq!(through(port ^ 1), Some(2));
    let denied = peer.wait_for("event/gate", |p| p["state"] == "connDenied" && p["name"] == "s");
    assert_eq!(denied["params"]["reason"], "notListed", "{denied}");
    // And the gate's own check says so: the upstream it reaches is out of the sandbox's reach.
    let elsewhere = Netns::start();
    let text = format!(
        "gates:\n  s:\n    mode: socks\n    socks_port: {socks}\n    listen_addr: {outside}\n    entries: \
         [{{ alias: git, hostname: {}, port: {port} }}]\n",
        elsewhere.outside()
    );
    quiet.home.write(".config/bssh/config.yaml", text).unwrap();
    let enter = netns.command(&quiet.home, "sh");
    let enter: Vec<String> = enter.get_args().map(|w| w.to_string_lossy().into_owned()).collect();
    let enter = format!("ip {}", enter[..3].join(" "));
    let checked = quiet.run(&["gate", "check", "s", "--from-sandbox", &enter]).expect_status(0);
    for part in [
        format!("sandbox: gate: ok: it reaches {outside}:{socks}"),
        "sandbox: egress: ok: ".to_owned(),
        format!("{}:{port}", elsewhere.outside()),
    ] {
        assert!(checked.text().contains(&part), "{}", checked.text());
    }
    // Nothing keeps it in.
    let open = quiet.run(&["gate", "check", "s", "--from-sandbox", "env"]).expect_status(1);
    assert!(open.text().contains("egress: failed: it can reach"), "{}", open.text());
}
