//! Long use: thousands of connections, hundreds at once, days of an agent in minutes. What is
//! counted is what stays behind. Each test has a short form, which is always run, and the whole
//! one: `BSSH_SOAK=1 cargo test -p bssh-tests --test e2e soak -- --nocapture --test-threads 1`.

#![allow(clippy::print_stderr, reason = "figures for people, shown with --nocapture")]

use bssh_fixtures::processes;
use bssh_tests::net::{FLOOD, connect, echo, echoes, flood, noise, serve, socks5};
use bssh_tests::{Agent, Delay, Lab, Peer, descriptors, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

#[allow(clippy::disallowed_methods, reason = "tests are told by their environment")]
pub(crate) fn of(short: usize, whole: usize) -> usize {
    if std::env::var_os("BSSH_SOAK").is_some() { whole } else { short }
}

/// Resident memory of a process, in kB.
pub(crate) fn rss(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// What a core has open.
#[derive(Debug, Clone, Copy)]
struct Has {
    fds: usize,
    tasks: u64,
    kb: u64,
}

fn has(peer: &mut Peer) -> Has {
    let tasks = peer.call("core/stats", json!({}))["tasks"].as_u64().unwrap();
    Has { fds: descriptors(peer.pid()), tasks, kb: rss(peer.pid()) }
}

/// Waits until descriptors and tasks are back to what they were.
#[track_caller]
fn settles(peer: &mut Peer, before: Has) -> Has {
    let mut now = has(peer);
    let back = until(SOON, || {
        now = has(peer);
        now.fds <= before.fds && now.tasks <= before.tasks
    });
    assert!(back, "{before:?} before, {now:?} after");
    now
}

struct Desk {
    lab: Lab,
    peer: Peer,
}

impl Desk {
    fn new() -> Desk {
        let lab = Lab::start();
        let peer = Peer::start(&lab.home, &[], &[]);
        Desk { lab, peer }
    }

    /// Opens a forward; where it listens.
    fn forward(&mut self, kind: &str, spec: &str) -> u16 {
        let opened = self.peer.call(
            "forward/open",
            json!({"nodes": "127.0.0.1", "kind": kind, "spec": spec, "maxConnections": 1000,
                "settings": {"sshConfig": self.lab.sshd.ssh_config()}}),
        );
        let bound = opened["bound"].as_str().unwrap();
        bound.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// One forward of each kind to a port, and SOCKS: where they listen.
    fn forwards(&mut self, target: u16) -> [u16; 3] {
        let to = format!("0:127.0.0.1:{target}");
        [("local", &*to), ("remote", &*to), ("dynamic", "0")]
            .map(|(kind, spec)| self.forward(kind, spec))
    }

    /// Starts a gate by way of the node; where it listens.
    fn gate(&mut self, target: u16) -> String {
        let entry =
            json!({"alias": "t", "hostname": "127.0.0.1", "port": target, "via": "127.0.0.1"});
        let gate = json!({"name": "g", "bannerCheck": false, "addressMode": "perUpstream",
            "entries": [entry]});
        let settings = json!({"sshConfig": self.lab.sshd.ssh_config()});
        let started = self.peer.call("gate/start", json!({"inline": gate, "settings": settings}));
        started["listeners"][0]["listen"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
    }
}

#[test]
fn connections_one_after_the_other_leave_nothing_behind() {
    let mut desk = Desk::new();
    let target = serve(echo);
    let many = of(500, 10_000);
    let [local, remote, dynamic] = desk.forwards(target);
    for (kind, port) in [("-L", local), ("-R", remote), ("-D", dynamic)] {
        let one = |n: usize| {
            let mut client = connect(port);
            if kind == "-D" {
                assert_eq!(socks5(&mut client, target).unwrap(), 0);
            }
            match n % 4 {
                // Gone without a word.
                0 => drop(client),
                _ => echoes(client, &[7; 1000]).unwrap_or_else(|e| panic!("{kind} {n}: {e}")),
            }
        };
        (0..200).for_each(one);
        let warm = has(&mut desk.peer);
        let warm = settles(&mut desk.peer, Has { fds: warm.fds, tasks: warm.tasks, ..warm });
        let begun = Instant::now();
        (0..many).for_each(one);
        let took = begun.elapsed();
        let after = settles(&mut desk.peer, warm);
        eprintln!("{kind}: {many} connections in {took:.1?}: {warm:?} before, {after:?} after");
        // Less than two bytes for each connection of the whole form, whatever the allocator does.
        assert!(after.kb < warm.kb + 1024, "{kind}: {warm:?} before, {after:?} after");
    }
}

/// Whoever resets a connection, or is thrown out of it, leaves as little.
#[test]
fn connections_that_are_cut_short_leave_nothing_behind() {
    let mut desk = Desk::new();
    let target = serve(echo);
    let many = of(1000, 10_000);
    let [local, remote, dynamic] = desk.forwards(target);
    let gate = desk.gate(target);
    let [local, remote, dynamic] = [local, remote, dynamic].map(|n| format!("127.0.0.1:{n}"));
    for (kind, address) in [("-L", local), ("-R", remote), ("-D", dynamic), ("gate", gate)] {
        let one = |_| {
            let mut client = TcpStream::connect(&address).unwrap();
            client.set_read_timeout(Some(SOON)).unwrap();
            if kind == "-D" {
                assert_eq!(socks5(&mut client, target).unwrap(), 0);
            }
            client.write_all(&[7; 1000]).unwrap();
            client.read_exact(&mut [0; 1000]).unwrap();
            // Without this it would end with EOF.
            let now = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&client, now).unwrap();
        };
        (0..200).for_each(one);
        let warm = has(&mut desk.peer);
        let begun = Instant::now();
        (0..many).for_each(one);
        let took = begun.elapsed();
        let after = settles(&mut desk.peer, warm);
        eprintln!("{kind}: {many} cut short in {took:.1?}: {warm:?} before, {after:?} after");
        assert!(after.kb < warm.kb + 1536, "{kind}: {warm:?} before, {after:?} after");
    }
}

/// What a connection costs while nothing goes through it, after much has.
#[test]
fn connections_at_rest_cost_little() {
    let mut desk = Desk::new();
    let target = serve(echo);
    let many = 500;
    for kind in ["local", "remote", "dynamic"] {
        let spec = if kind == "dynamic" { "0".into() } else { format!("0:127.0.0.1:{target}") };
        let port = desk.forward(kind, &spec);
        let open = || {
            let mut client = connect(port);
            if kind == "dynamic" {
                assert_eq!(socks5(&mut client, target).unwrap(), 0);
            }
            client.write_all(&[7; 100_000]).unwrap();
            client.read_exact(&mut [0; 100_000]).unwrap();
            client
        };
        drop(open());
        let before = has(&mut desk.peer);
        let all: Vec<TcpStream> = (0..many).map(|_| open()).collect();
        let during = has(&mut desk.peer);
        let each = during.kb.saturating_sub(before.kb) / many;
        eprintln!("{kind}: {many} connections at rest: {before:?}, {during:?}: {each} kB each");
        assert!(during.fds >= before.fds + 450 && each <= 100, "{before:?}, {during:?}");
        drop(all);
        settles(&mut desk.peer, Has { tasks: before.tasks + 2, ..before });
    }
}

/// Round trips beside a client that does not read, and without it.
#[test]
fn a_stalled_client_costs_the_others_little() {
    let mut desk = Desk::new();
    let (target, loud) = (serve(echo), serve(flood));
    let quiet = desk.forward("local", &format!("0:127.0.0.1:{target}"));
    let stalled = desk.forward("local", &format!("0:127.0.0.1:{loud}"));
    let many = of(200, 2000);
    let percentiles = |port: u16| {
        let mut client = connect(port);
        client.set_nodelay(true).unwrap();
        let mut all: Vec<Duration> = (0..many)
            .map(|_| {
                let begun = Instant::now();
                client.write_all(b"x").unwrap();
                client.read_exact(&mut [0; 1]).unwrap();
                begun.elapsed()
            })
            .collect();
        all.sort();
        (all[many / 2], all[many * 99 / 100])
    };
    percentiles(quiet);
    let alone = percentiles(quiet);
    let mut sleeper = connect(stalled);
    sleeper.read_exact(&mut [0; 1]).unwrap();
    let beside = percentiles(quiet);
    eprintln!("round trip p50, p99: {alone:.1?} alone, {beside:.1?} beside a stalled client");
    assert!(beside.0 < alone.0 * 5 + Duration::from_millis(20), "{alone:?}, {beside:?}");
    let mut rest = Vec::new();
    sleeper.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len() + 1, FLOOD);
}

/// T1-5: streams of every size with half-closes through a gate to a host that is far.
#[test]
fn streams_through_a_gate_to_a_far_host_arrive_whole() {
    let mut desk = Desk::new();
    let far = Delay::start(serve(echo), Duration::from_millis(5));
    let started = desk.peer.call(
        "gate/start",
        json!({"inline": {"name": "g", "bannerCheck": false, "addressMode": "perUpstream",
            "entries": [{"alias": "t", "hostname": "127.0.0.1", "port": far.port(), "maxConns": 64}]}}),
    );
    let at = started["listeners"][0]["listen"].as_str().unwrap().to_owned();
    let bytes = noise(2 << 20);
    let width = of(16, 64);
    let stream = |n: usize| {
        let size = (n * 7_919_113) % bytes.len();
        echoes(TcpStream::connect(&at).unwrap(), &bytes[..size]).unwrap();
        size as u64
    };
    let streams = |length: usize| -> (u64, u64) {
        let (begun, length) = (Instant::now(), Duration::from_secs(length as u64));
        std::thread::scope(|scope| {
            let all = (0..width).map(|n| {
                let stream = &stream;
                scope.spawn(move || {
                    let (mut sent, mut turn) = (0, 0);
                    while begun.elapsed() < length {
                        sent += stream(n + turn * width + 1);
                        turn += 1;
                    }
                    (sent, turn as u64)
                })
            });
            let all: Vec<_> = all.collect();
            all.into_iter()
                .map(|one| one.join().unwrap())
                .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
        })
    };
    let cold = has(&mut desk.peer);
    // What the most streams at once take is taken once.
    streams(of(1, 60));
    let before = settles(&mut desk.peer, cold);
    let (sent, turns) = streams(of(5, 600));
    let after = settles(&mut desk.peer, before);
    let sent = sent >> 20;
    eprintln!("gate: {turns} streams, {sent} MB each way: {cold:?}, {before:?}, {after:?}");
    assert!(after.kb <= before.kb + before.kb / 10, "{before:?} before, {after:?} after");
}

/// T3-1: hundreds of agent calls over one connection, and an agent that is killed and started
/// again under them.
#[test]
fn an_agent_that_dies_under_hundreds_of_calls_costs_at_most_those_under_way() {
    let lab = Lab::start();
    let key = lab.sshd.user_key().display().to_string();
    let mut agent = Agent::start(&lab.home, "agent");
    agent.add(&lab.home, &["-q", &key]);
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let dir = lab.home.path().display().to_string();
    let (calls, rounds, width) = (of(100, 500), of(2, 10), of(16, 64));
    // An agent that has come back and not got its key yet has answered, too.
    let call = "ssh-add -l 2>&1 | grep -q -e SHA256 -e 'no identities'; echo $? >>";
    let script = format!(
        "cd {dir}; i=0; while [ $i -lt {calls} ]; do {call} one; \
         i=$((i+1)); done; j=0; while [ $j -lt {rounds} ]; do k=0; while [ $k -lt {width} ]; do \
         ({call} many) & k=$((k+1)); done; wait; j=$((j+1)); done; \
         touch done; while [ ! -e stop ]; do sleep 0.1; done"
    );
    let params = json!({"nodes": "127.0.0.1", "action": {"command": script}, "guard": false,
        "forwardAgent": true, "agent": {"socket": agent.path()},
        "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"},
        "settings": {"sshConfig": lab.sshd.ssh_config()}});
    let run = peer.call("exec/start", params)["run"].clone();
    let lines = |name: &str| {
        let text = std::fs::read_to_string(lab.home.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(until(SOON, || !lines("one").is_empty()));
    let servers: Vec<i32> = processes::descendants(lab.sshd.pid())
        .iter()
        .filter(|p| p.command.starts_with("sshd"))
        .map(|p| p.pid)
        .collect();
    let before = has(&mut peer);
    let there: Vec<usize> = servers.iter().map(|pid| descriptors(*pid)).collect();
    let mut kills = 0;
    while !lab.home.path().join("done").exists() {
        let so_far = lines("one").len() + lines("many").len();
        let next = |kills: usize| so_far >= (kills + 1) * 50;
        if next(kills) {
            agent.signal(Signal::KILL);
            agent = Agent::start(&lab.home, "agent");
            agent.add(&lab.home, &["-q", &key]);
            kills += 1;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let failed = |name: &str| lines(name).iter().filter(|code| *code != "0").count();
    let (one, many) = (failed("one"), failed("many"));
    let status: Value = peer.call("agent/status", json!({}));
    eprintln!("agent: {calls} + {rounds} x {width} calls, {kills} kills: {one} and {many} failed");
    assert!(kills > 0 && one <= 2 * kills && many <= width * kills, "{one}, {many}: {status}");
    let after = settles(&mut peer, Has { tasks: before.tasks + 2, ..before });
    let same = || servers.iter().map(|pid| descriptors(*pid)).zip(&there).all(|(n, m)| n <= *m);
    assert!(until(SOON, same), "descriptors of sshd");
    assert!(after.kb < before.kb + 8192, "{before:?} before, {after:?} after");
    assert_eq!(peer.call("agent/status", json!({}))["live"], 0);
    lab.home.write("stop", "").unwrap();
    peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
}

/// Runs a command in a session, which must succeed.
#[track_caller]
fn in_session(peer: &mut Peer, session: &Value, command: &str) {
    let params = json!({"session": session, "command": command,
        "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"}});
    let exec = peer.call("session/exec", params)["exec"].clone();
    let done = peer.wait_for("session/execDone", |p| p["exec"] == exec);
    assert_eq!(done["params"]["exit"]["status"], 0, "{command}: {done}");
}

/// T3-8: days in minutes. Keys change every two seconds, keepalive messages go every second, and
/// the agent is asked now and then.
#[test]
fn days_of_rekeying_and_idling_in_minutes() {
    let lab = Lab::start();
    let agent = Agent::start(&lab.home, "agent");
    agent.add(&lab.home, &["-q", &lab.sshd.user_key().display().to_string()]);
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let config = "agent: { idle_timeout: 3s }\n";
    let config = lab.home.write("bssh.yaml", config).unwrap();
    let params = json!({"nodes": "127.0.0.1", "forwardAgent": true,
        "agent": {"socket": agent.path()}, "settings": {"sshConfig": lab.sshd.ssh_config(),
            "config": config, "options": ["RekeyLimit=default 2", "ServerAliveInterval=1"]}});
    let id = peer.call("session/open", params)["sessions"][0]["session"].clone();
    peer.wait_for("session/state", |p| p["state"] == "ready");
    let (length, mut turn) = (Duration::from_secs(of(20, 1800) as u64), 0_u64);
    let mut warm: Option<Has> = None;
    let begun = Instant::now();
    while begun.elapsed() < length {
        // Busy, then quiet for longer than keys last, or than the agent may be idle.
        let quiet = if turn % 8 == 7 { 4 } else { turn % 3 };
        let command = format!("ssh-add -l >/dev/null && head -c 100000 /dev/zero && sleep {quiet}");
        in_session(&mut peer, &id, &command);
        turn += 1;
        if warm.is_none() && begun.elapsed() > length / 4 {
            warm = Some(has(&mut peer));
        }
    }
    let log = lab.sshd.log();
    let warm = warm.expect("it went on for a while");
    let after = settles(&mut peer, warm);
    let status = peer.call("agent/status", json!({}));
    assert_eq!((&status["opened"], &status["live"]), (&turn.into(), &0.into()), "{status}");
    assert_eq!(log.matches("Accepted publickey").count(), 1, "one connection all the time");
    eprintln!("days: {turn} turns in {:?}: {warm:?}, {after:?}", begun.elapsed());
    assert!(after.kb < warm.kb + 1024 * of(4, 1) as u64, "{warm:?}, {after:?}");
}

/// As many minutes as `BSSH_NIGHT` says; none: the short form.
#[allow(clippy::disallowed_methods, reason = "tests are told by their environment")]
fn night() -> Option<Duration> {
    let minutes: u64 = std::env::var("BSSH_NIGHT").ok()?.parse().expect("BSSH_NIGHT is minutes");
    Some(Duration::from_secs(60 * minutes))
}

/// T3-8 in real time: a session that waits, new keys every hour, and every two minutes a fetch on
/// the node from another server, which the forwarded agent is asked for.
#[test]
fn a_night_of_fetches_on_the_node_costs_no_memory() {
    let (length, every, rekey) = match night() {
        Some(length) => (length, Duration::from_secs(120), "1h"),
        None => (Duration::from_secs(20), Duration::from_secs(1), "5"),
    };
    let (lab, other) = (Lab::start(), Lab::start());
    let agent = Agent::start(&lab.home, "agent");
    agent.add(&lab.home, &["-q", &other.sshd.user_key().display().to_string()]);
    let git = |words: &[&str]| {
        let mut git = lab.home.command("git");
        git.args(["-C", &other.home.path().display().to_string(), "-c", "user.name=n"]);
        let done = git.args(["-c", "user.email=n@n"]).args(words).output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    git(&["init", "-q", "far"]);
    let ssh = format!(
        "GIT_SSH_COMMAND='ssh -F {} -o IdentitiesOnly=no -o IdentityAgent=SSH_AUTH_SOCK'",
        other.sshd.ssh_config().display()
    );
    let far = other.home.path().join("far").display().to_string();
    let here = lab.home.path().join("near").display().to_string();
    let fetch = format!("{ssh} git -C {here} fetch -q ssh://127.0.0.1{far} HEAD");
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let params = json!({"nodes": "127.0.0.1", "forwardAgent": true,
        "agent": {"socket": agent.path()}, "settings": {"sshConfig": lab.sshd.ssh_config(),
            "options": [format!("RekeyLimit=default {rekey}"), "ServerAliveInterval=15"]}});
    let id = peer.call("session/open", params)["sessions"][0]["session"].clone();
    peer.wait_for("session/state", |p| p["state"] == "ready");
    in_session(&mut peer, &id, &format!("git init -q {here}"));
    let (begun, mut turn, mut warm) = (Instant::now(), 0_u32, None);
    while begun.elapsed() < length {
        git(&["-C", "far", "commit", "-q", "--allow-empty", "-m", &format!("{turn}")]);
        in_session(&mut peer, &id, &fetch);
        let fetched = std::fs::read_to_string(format!("{here}/.git/FETCH_HEAD")).unwrap();
        assert!(fetched.starts_with(git(&["-C", "far", "rev-parse", "HEAD"]).trim()), "{fetched}");
        turn += 1;
        if warm.is_none() && begun.elapsed() > length / 4 {
            warm = Some((has(&mut peer), begun.elapsed()));
        }
        let next = every * turn;
        while let Some(left) = next.checked_sub(begun.elapsed()).filter(|l| !l.is_zero()) {
            std::thread::park_timeout(left);
        }
    }
    let (warm, at) = warm.expect("it went on for a while");
    let after = settles(&mut peer, warm);
    let hours = (begun.elapsed() - at).as_secs_f64() / 3600.0;
    eprintln!("night: {turn} fetches in {:?}: {warm:?}, {after:?}", begun.elapsed());
    assert_eq!(lab.sshd.log().matches("Accepted publickey").count(), 1, "one connection");
    let status = peer.call("agent/status", json!({}));
    assert_eq!((&status["opened"], &status["live"]), (&turn.into(), &0.into()), "{status}");
    // A mebibyte an hour; a short form is allowed what an hour is.
    let most = warm.kb + (1024.0 * hours.max(1.0)) as u64;
    assert!(after.kb < most, "{warm:?}, {after:?}");
}
