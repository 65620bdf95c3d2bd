//! The gate with real git and ssh behind it: what is listed works, everything else is refused
//! and told.

use bssh_fixtures::{Home, SshdOptions};
use bssh_tests::net::{connect, echo, echoes, free_port, noise, serve};
use bssh_tests::{Lab, Peer, Run, bssh, descriptors, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// An sshd on 127.0.0.1 only, so that its port is free on other addresses.
fn upstream() -> Lab {
    Lab::with(&SshdOptions { listen: "127.0.0.1", ..SshdOptions::default() })
}

fn host_key(lab: &Lab, kind: &str) -> String {
    let line = std::fs::read_to_string(lab.sshd.file(&format!("host_{kind}.pub"))).unwrap();
    format!("host {}", line.trim())
}

/// A gate in which each entry has its own address.
#[allow(clippy::needless_pass_by_value, reason = "callers write json!")]
fn gate(name: &str, entries: Value) -> Value {
    json!({"inline": {"name": name, "addressMode": "perUpstream", "entries": entries}})
}

fn address(started: &Value, at: usize) -> String {
    started["listeners"][at]["listen"].as_str().unwrap().to_owned()
}

/// git through a gate, with the lines it prints and nothing else, to a lab's server under a name
/// of the gate.
fn ls_remote(
    home: &Home,
    lab: &Lab,
    plan: &Value,
    (name, port): (&str, u16),
) -> std::process::Output {
    let repository = home.path().join("repository");
    let git = |words: &[&str]| home.command("git").args(words).output().unwrap();
    assert!(git(&["init", "-q", "--bare", &repository.display().to_string()]).status.success());
    let known = home.write("known", plan["knownHosts"].as_str().unwrap()).unwrap();
    let text = format!(
        "{}\nHost *\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
         UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  \
         BatchMode yes\n",
        plan["sshConfig"].as_str().unwrap(),
        lab.sshd.user(),
        lab.sshd.user_key().display(),
        known.display(),
    );
    let config = home.write("gate_config", text).unwrap();
    let mut command = home.command("git");
    let path = bssh().parent().unwrap().display().to_string();
    command.env("PATH", format!("{path}:/usr/local/bin:/usr/bin:/bin"));
    command.env("GIT_SSH_COMMAND", format!("ssh -F {}", config.display()));
    command.args(["ls-remote", &format!("ssh://{name}:{port}{}", repository.display())]);
    command.output().unwrap()
}

#[test]
fn git_goes_through_the_gate_with_an_unmodified_url() {
    let lab = upstream();
    let port = lab.sshd.port();
    let mut peer = Peer::start(&lab.home, &[], &[]);
    // Another server on the same port, with keys of its own.
    let second = Lab::with(&SshdOptions {
        listen: "127.0.0.2",
        extra: vec![format!("ListenAddress 127.0.0.2:{port}")],
        ..SshdOptions::default()
    });
    assert!(until(SOON, || TcpStream::connect(("127.0.0.2", port)).is_ok()));
    let entry = |alias: &str, host: &str, key: String| json!({"alias": alias, "hostname": host, "port": port, "hostKey": key});
    let params = gate(
        "g",
        json!([
            entry("git", "127.0.0.1", host_key(&lab, "ed25519")),
            entry("other", "127.0.0.2", host_key(&second, "ecdsa")),
        ]),
    );
    let plan = peer.call("gate/prepare", params.clone());
    assert_eq!(peer.call("gate/prepare", params.clone()), plan);
    let started = peer.call("gate/start", params.clone());
    assert_ne!(address(&started, 0), address(&started, 1), "one port, two addresses");
    // ssh prefers the key type it knows, which is the pinned one.
    for (lab, alias) in [(&lab, "git"), (&second, "other")] {
        let output = ls_remote(&lab.home, lab, &plan, (alias, port));
        assert!(output.status.success(), "{alias}: {output:?}");
        let closed = peer.wait_for("event/gate", |p| p["state"] == "connClose");
        assert_eq!(closed["params"]["alias"], alias, "{closed}");
        assert!(closed["params"]["bytesDown"].as_u64() > Some(1000), "{closed}");
    }
    let wrong = ls_remote(&lab.home, &lab, &plan, ("other", port));
    assert!(!wrong.status.success(), "one server's key opens no other: {wrong:?}");
    let checked = peer.call("gate/check", params);
    let steps = checked["entries"][0]["steps"].as_array().unwrap();
    assert!(steps.len() == 4 && steps.iter().all(|s| s["ok"] == true), "{checked}");
}

#[test]
fn git_goes_through_a_gate_in_proxy_mode() {
    let lab = upstream();
    let (port, pin) = (lab.sshd.port(), host_key(&lab, "ed25519"));
    // One host, and two ports for URLs.
    let second = upstream();
    let (port2, pin2) = (second.sshd.port(), host_key(&second, "ed25519"));
    let text = format!(
        "gates:\n  g:\n    mode: proxy\n    entries:\n      - {{ alias: git, hostname: 127.0.0.1, \
         port: {port}, host_key: \"{pin}\" }}\n      - {{ alias: other, hostname: 127.0.0.1, \
         port: {port2}, host_key: \"{pin2}\" }}\n"
    );
    lab.home.write(".config/bssh/config.yaml", text).unwrap();
    let words = |words: &[&str]| {
        let mut command = lab.home.command(bssh());
        command.arg("gate").args(words);
        command
    };
    let mut run = Run::start(words(&["start", "g"]));
    run.wait_for("gate-g.sock", SOON);
    let say = |list: &[&str]| Run::start(words(list)).finish(SOON).expect_status(0).text();
    let plan = json!({"sshConfig": say(&["ssh-config", "g"]),
        "knownHosts": say(&["ssh-config", "g", "--known-hosts"])});
    for (server, name, port) in
        [(&lab, "git", port), (&second, "other", port2), (&second, "127.0.0.1", port2)]
    {
        let output = ls_remote(&lab.home, server, &plan, (name, port));
        assert!(output.status.success(), "{name}: {plan} {output:?}");
    }
    let refused = Run::start(words(&["pipe", "g", "evil.example", "22"])).finish(SOON);
    assert!(refused.expect_status(1).stderr.contains("not listed"));
    run.wait_for("connDenied local evil.example:22 notListed", SOON);
    run.signal(rustix::process::Signal::TERM);
    run.finish(SOON).expect_status(0);
    // A server that is not there is a failed check, in JSON too.
    drop(second);
    let check = |status: i32| {
        let done = Run::start(words(&["check", "g", "--json"])).finish(SOON).expect_status(status);
        serde_json::from_str::<Value>(&done.text()).unwrap()
    };
    let checked = check(1);
    let steps = checked["entries"][1]["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["ok"] == false), "{checked}");
    let both = words(&["check", "g", "--json", "--from-sandbox", "true"]);
    Run::start(both).finish(SOON).expect_status(2);
    let missing = Run::start(words(&["prepare", "nosuch"])).finish(SOON).expect_status(2);
    assert!(missing.stderr.contains("no gate \"nosuch\"") && missing.stderr.contains("\"g\""));
}

#[test]
fn what_is_not_ssh_or_not_the_pinned_server_is_cut_off() {
    let lab = upstream();
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let closed = free_port();
    let web = serve(|mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let entry = |alias: &str, host: &str, port: u16| json!({"alias": alias, "hostname": host, "port": port});
    let mut wrong = entry("wrong", "127.0.0.1", lab.sshd.port());
    wrong["hostKey"] = json!(format!("SHA256:{}", "A".repeat(43)));
    let started = peer.call(
        "gate/start",
        gate(
            "g",
            json!([
                wrong,
                entry("web", "127.0.0.1", web),
                entry("down", "127.0.0.1", closed),
                entry("name", "localhost", lab.sshd.port()),
                entry("good", "127.0.0.1", lab.sshd.port()),
            ]),
        ),
    );
    let ssh = |at: usize| {
        let listen = address(&started, at);
        let (host, port) = listen.rsplit_once(':').unwrap();
        let mut ssh = lab.home.command("ssh");
        ssh.arg("-F").arg(lab.sshd.ssh_config()).args(["-p", port, host, "true"]);
        ssh.output().unwrap().status.code()
    };
    assert_eq!(ssh(4), Some(0));
    let ended = |peer: &mut Peer, alias: &str| {
        let event = peer.wait_for("event/gate", |p| {
            p["alias"] == alias && (p["state"] == "connClose" || p["state"] == "connDenied")
        });
        event["params"]["reason"].as_str().unwrap().to_owned()
    };
    for (at, alias, reason) in [
        (0, "wrong", "hostKeyMismatch"),
        (1, "web", "notSsh"),
        (2, "down", "dialFailed"),
        (3, "name", "address"),
    ] {
        assert_eq!(ssh(at), Some(255), "{alias}");
        assert_eq!(ended(&mut peer, alias), reason);
    }
    // HTTPS to a listed port that is ssh.
    let mut tls = TcpStream::connect(address(&started, 4)).unwrap();
    tls.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
    tls.set_read_timeout(Some(SOON)).unwrap();
    let _ = tls.read_to_end(&mut Vec::new());
    ended(&mut peer, "good");
    assert_eq!(ended(&mut peer, "good"), "notSsh");
    let status = peer.call("gate/status", json!({}));
    assert_eq!(
        (&status["gates"][0]["denied"], &status["gates"][0]["failed"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn starting_is_all_or_nothing_and_the_same_twice_is_once() {
    let home = Home::new().unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let target = serve(echo);
    let (free, taken) = (free_port(), TcpListener::bind("127.0.0.1:0").unwrap());
    let taken = taken.local_addr().map(|a| (taken, a.port())).unwrap();
    let inline =
        |entries: Value| json!({"inline": {"name": "g", "bannerCheck": false, "entries": entries}});
    let entry =
        |alias: &str, port: u16| json!({"alias": alias, "hostname": "127.0.0.9", "port": port});
    let both = inline(json!([entry("a", free), entry("b", taken.1)]));
    let error = peer.try_call("gate/start", both).unwrap_err();
    assert_eq!(error["data"]["kind"], "gate.addressInUse", "{error}");
    assert!(error["message"].as_str().unwrap().contains(&taken.1.to_string()), "{error}");
    assert!(TcpStream::connect(("127.0.0.1", free)).is_err(), "a half-bound gate");
    let collide = inline(json!([entry("a", 22), entry("b", 22)]));
    assert_eq!(
        peer.try_call("gate/prepare", collide).unwrap_err()["data"]["kind"],
        "gate.portCollision"
    );

    let one = json!({"inline": {"name": "g", "bannerCheck": false, "addressMode": "perUpstream",
        "entries": [{"alias": "t", "hostname": "127.0.0.1", "port": target}]}});
    let before = descriptors(peer.pid());
    let ids: Vec<u64> = (0..8).map(|_| peer.ask("gate/start", one.clone())).collect();
    let started: Vec<Value> = ids.iter().map(|id| peer.answer_to(*id)["result"].clone()).collect();
    assert!(started.windows(2).all(|pair| pair[0] == pair[1]), "{started:?}");
    let mut open = TcpStream::connect(address(&started[0], 0)).unwrap();
    open.set_read_timeout(Some(SOON)).unwrap();
    open.write_all(b"a").unwrap();
    open.read_exact(&mut [0; 1]).unwrap();
    let mut other = one.clone();
    other["inline"]["maxConns"] = 7.into();
    let error = peer.try_call("gate/start", other.clone()).unwrap_err();
    assert_eq!(error["data"]["kind"], "gate.runningOtherPlan");
    other["replace"] = true.into();
    let replaced = peer.call("gate/start", other);
    assert_ne!(replaced["gate"], started[0]["gate"]);
    open.write_all(b"b").unwrap();
    open.read_exact(&mut [0; 1]).expect("what is open survives");
    echoes(TcpStream::connect(address(&replaced, 0)).unwrap(), b"new").unwrap();
    let stopped = peer.call("gate/stop", json!({"name": "g", "drainMs": 100}));
    assert_eq!((&stopped["stopped"], &stopped["closed"]), (&true.into(), &1.into()), "{stopped}");
    peer.wait_for("event/gate", |p| p["reason"] == "gateStopped");
    assert_eq!(peer.call("gate/stop", json!({"name": "g"}))["stopped"], false);
    assert!(until(SOON, || descriptors(peer.pid()) <= before));
}

#[test]
fn bytes_and_half_closes_go_through_unharmed() {
    let home = Home::new().unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let target = serve(echo);
    let started = peer.call(
        "gate/start",
        json!({"inline": {"name": "g", "bannerCheck": false,
        "addressMode": "perUpstream", "maxConns": 64,
        "entries": [{"alias": "t", "hostname": "127.0.0.1", "port": target, "maxConns": 40}]}}),
    );
    let at = address(&started, 0);
    echoes(TcpStream::connect(&at).unwrap(), b"warm").unwrap();
    let before = descriptors(peer.pid());
    let bytes = noise(600_000);
    std::thread::scope(|scope| {
        for n in 0..32 {
            let (at, bytes) = (&at, &bytes[n * 1000..]);
            scope.spawn(move || echoes(TcpStream::connect(at).unwrap(), bytes).unwrap());
        }
    });
    assert!(until(SOON, || descriptors(peer.pid()) <= before));
    let list = peer.call("gate/connections", json!({"name": "g"}));
    assert_eq!(list["connections"], json!([]));
    let idle = TcpStream::connect(&at).unwrap();
    let opened = |p: &Value| p["state"] == "connOpen" && p["conn"] == 34;
    peer.wait_for("event/gate", opened);
    peer.call("gate/kick", json!({"name": "g", "conn": 34}));
    idle.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!((&idle).read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_socks_gate_reaches_the_listed_only() {
    let home = Home::new().unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let (target, other, port) = (serve(echo), serve(echo), free_port());
    peer.call("gate/start", json!({"inline": {"name": "g", "mode": "socks", "socksPort": port,
        "bannerCheck": false, "entries": [{"alias": "t", "hostname": "127.0.0.1", "port": target}]}}));
    let mut client = connect(port);
    assert_eq!(bssh_tests::net::socks5(&mut client, target).unwrap(), 0);
    echoes(client, b"hello").unwrap();
    assert_eq!(bssh_tests::net::socks5(&mut connect(port), other).unwrap(), 2);
    let denied = peer.wait_for("event/gate", |p| p["state"] == "connDenied");
    assert_eq!(denied["params"]["upstream"], format!("127.0.0.1:{other}"));
    // Clients that do not wait for the answer, which is in their own version.
    let ask = |head: &[u8], to: u16, rest: &[u8]| {
        let mut client = connect(port);
        client.write_all(&[head, &to.to_be_bytes(), rest].concat()).unwrap();
        client
    };
    let five: &[u8] = &[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1];
    let (four, home): (&[u8], &[u8]) = (&[4, 1], &[127, 0, 0, 1, b'u', 0]);
    for (head, rest, granted, denied) in [
        (five, &[][..], &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[5, 0, 5, 2][..]),
        (four, home, &[0, 90, 0, 0, 0, 0, 0, 0], &[0, 91, 0, 0, 0, 0, 0, 0]),
    ] {
        let mut client = ask(head, target, &[rest, b"hello"].concat());
        let mut said = vec![0; granted.len() + 5];
        client.read_exact(&mut said).unwrap();
        assert_eq!(said, [granted, b"hello"].concat());
        let mut said = vec![0; denied.len()];
        ask(head, other, &[rest, b"hello"].concat()).read_exact(&mut said).unwrap();
        assert_eq!(said, denied);
        let told = peer.wait_for("event/gate", |p| p["state"] == "connDenied");
        assert_eq!(told["params"]["reason"], "notListed", "{told}");
    }
    connect(port).write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let told = peer.wait_for("event/gate", |p| p["state"] == "connDenied");
    assert_eq!(told["params"]["error"], "not a SOCKS request", "{told}");
    assert_eq!(peer.call("gate/status", json!({}))["gates"][0]["denied"], 4);
}

#[test]
fn a_bad_gate_is_found_without_starting_it() {
    let home = Home::new().unwrap();
    let text = "gates:\n  bad:\n    listen_addr: here\n    deny_addrs: [home]\n    entries:\n      \
                - { alias: a, hostname: x, host_key: \"MD5:aa\" }\n  two:\n    entries:\n      \
                - { alias: a, hostname: x }\n      - { alias: b, hostname: y }\n";
    home.write("bssh.yaml", text).unwrap();
    let mut check = home.command(bssh());
    check.args(["--config", "bssh.yaml", "config", "check"]);
    let said = Run::start(check).finish(SOON).expect_status(2).text();
    for part in [
        "bssh.yaml:2:3: error: gate 'bad': ",
        "listen_addr: \"here\"",
        "deny_addrs[0]: \"home\"",
        "entry 'a': host_key",
        "bssh.yaml:7:3: error: gate 'two': entries 'a' (x:22) and 'b' (y:22)",
        "2 errors",
    ] {
        assert!(said.contains(part), "{said}");
    }
}

/// Another user's process must not get in.
#[test]
fn the_proxy_socket_is_for_its_owner() {
    let home = Home::new().unwrap();
    let mut peer = Peer::start(&home, &[], &[]);
    let socket = home.path().join("s").display().to_string();
    // A stale one is replaced, a live one is not.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let params = json!({"inline": {"name": "g", "mode": "proxy", "socket": socket,
        "entries": [{"alias": "t", "hostname": "127.0.0.1"}]}});
    peer.call("gate/start", params.clone());
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut second = Peer::start(&home, &[], &[]);
    let error = second.try_call("gate/start", params).unwrap_err();
    assert_eq!(error["data"]["kind"], "gate.addressInUse", "{error}");
    let mut client = UnixStream::connect(&socket).unwrap();
    client.write_all(b"elsewhere 22\n").unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, "denied\n");
    peer.call("gate/stop", json!({"name": "g"}));
    assert!(!std::path::Path::new(&socket).exists());
}
