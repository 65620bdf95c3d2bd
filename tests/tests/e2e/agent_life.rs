//! Agent forwarding over days: what is required, paths that outlive connections, agents that come
//! and go, links that hang, keys that change.

use bssh_fixtures::{SshdOptions, processes};
use bssh_tests::{Agent, Delay, Lab, Peer, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

/// A node on which `~` is the lab's own home, and an agent here with the node's key.
fn desk(extra: &[&str]) -> (Lab, Agent, std::path::PathBuf) {
    let there = tempfile::Builder::new().prefix("there").tempdir().unwrap().keep();
    let mut lines = vec![format!("SetEnv SHLVL=1 HOME={}", there.display())];
    lines.extend(extra.iter().map(|line| (*line).to_owned()));
    let lab = Lab::with(&SshdOptions { extra: lines, ..SshdOptions::default() });
    let agent = Agent::start(&lab.home, "agent");
    agent.add(&lab.home, &["-q", &lab.sshd.user_key().display().to_string()]);
    (lab, agent, there)
}

fn settings(lab: &Lab, config: &str, options: &[&str]) -> Value {
    let config = lab.home.write("bssh.yaml", config).unwrap();
    json!({"sshConfig": lab.sshd.ssh_config(), "config": config, "options": options})
}

#[test]
fn status_and_doctor_go_by_the_configuration() {
    let (lab, agent, _) = desk(&[]);
    let config = format!("agent: {{ socket: {} }}\n", agent.path());
    let config = lab.home.write("bssh.yaml", config).unwrap().display().to_string();
    let said = lab.run(&["--config", &config, "agent", "status"]).expect_status(0).text();
    assert!(said.starts_with(&format!("{}: 1 keys", agent.path())), "{said}");
    let words = ["--config", &config, "agent", "doctor", "127.0.0.1"];
    let said = lab.run(&words).expect_status(0).text();
    for line in ["agent: ok: 1 keys", "bind: ok", "ssh-add -l on the node: ok: 1 keys"] {
        assert!(said.contains(line), "{said}");
    }
    let other = ["--config", &config, "--agent-sock", "/nonexistent", "agent", "status"];
    let said = lab.run(&other).expect_status(1).text();
    assert!(said.starts_with("/nonexistent: "), "what is said counts first: {said}");
    let words = ["-o", "ForwardAgent=/none/here", "agent", "status", "127.0.0.1"];
    let said = lab.run(&words).expect_status(1).text();
    assert!(said.starts_with("/none/here: "), "the agent that this node would get: {said}");
}

#[test]
fn what_is_required_and_cannot_be_had_fails_the_node() {
    for (refuses, socket, code) in [
        (false, true, None),
        (true, true, Some("agentForwardRefused")),
        (false, false, Some("agentUnavailable")),
    ] {
        let extra = if refuses { &["AllowAgentForwarding no"][..] } else { &[] };
        let (lab, agent, _) = desk(extra);
        let mark = lab.home.path().join("mark");
        let path = if socket { agent.path() } else { "/nonexistent".to_owned() };
        let config = format!("agent: {{ forward: require, socket: \"{path}\" }}\n");
        let config = lab.home.write("bssh.yaml", config).unwrap().display().to_string();
        let command = format!("ssh-add -l && touch {}", mark.display());
        let words = ["--config", &config, "-H", "127.0.0.1", "--json", &command];
        let done = lab.run(&words);
        let ended = done.endings().into_values().next().unwrap();
        match code {
            None => assert_eq!(ended.cause(), "status 0", "{}", ended.event),
            Some(code) => assert_eq!(ended.cause(), format!("channel/{code}"), "{}", ended.event),
        }
        assert_eq!(mark.exists(), code.is_none(), "the command must not have run");
        // The flag says the same, and without it the command runs all the same.
        let plain = lab.home.write("plain.yaml", "{}").unwrap().display().to_string();
        let run = |flag: &str| {
            let words =
                ["--config", &plain, "-H", "127.0.0.1", flag, "--agent-sock", &path, "true"];
            lab.run(&words).status
        };
        assert_eq!(run("--agent-require") == Some(0), code.is_none());
        assert_eq!(run("-A"), Some(0));
        // Sessions and terminals, too.
        let mut peer = Peer::start(&lab.home, &[], &[]);
        let params = json!({"nodes": "127.0.0.1", "settings": settings(&lab, "{}", &[]),
            "forwardAgent": true, "agent": {"socket": path, "require": true}, "stayLost": true});
        peer.call("session/open", params.clone());
        let state = peer.wait_for("session/state", |p| p["state"] != "connecting");
        let got = state["params"]["failure"]["code"].as_str();
        assert_eq!(got, code, "{state}");
        let mut terminal = params;
        terminal["command"] = "true".into();
        let opened = peer.try_call("pty/open", terminal);
        assert_eq!(opened.is_ok(), code.is_none(), "{opened:?}");
    }
}

/// The daemon gives an agent to all that runs on a connection.
#[test]
fn beside_a_command_with_the_agent_another_has_none() {
    let (lab, agent, _) = desk(&[]);
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let params = |with: bool, command: &str| {
        let mut params = json!({"nodes": "127.0.0.1", "settings": settings(&lab, "{}", &[]),
            "forwardAgent": with, "guard": false, "command": command});
        if with {
            params["agent"] = json!({"socket": agent.path()});
        }
        params
    };
    let shows = |with: bool| format!("test {} \"$SSH_AUTH_SOCK\"", if with { "-S" } else { "-z" });
    let hold = "exec sleep 600";
    let held = peer.call("pty/open", params(true, hold))["pty"].clone();
    let mut run = params(true, "");
    run["action"] = json!({"command": hold});
    let holds = peer.call("exec/start", run)["run"].clone();
    peer.wait_for("exec/node", |p| p["run"] == holds && p["state"] == "executing");
    for with in [false, true] {
        let opened = peer.call("pty/open", params(with, &shows(with)))["pty"].clone();
        let exited = peer.wait_for("pty/exited", |p| p["pty"] == opened);
        assert_eq!(exited["params"]["exit"]["status"], 0, "{with}: {exited}");
        let mut run = params(with, "");
        run["action"] = json!({"command": shows(with)});
        let begun = peer.call("exec/start", run)["run"].clone();
        let ended = peer.wait_for("exec/node", |p| p["run"] == begun && p["state"] == "ended");
        assert_eq!(ended["params"]["exit"]["status"], 0, "{with}: {ended}");
        let mut session = params(with, "");
        session["name"] = format!("s{with}").into();
        let id = peer.call("session/open", session)["sessions"][0]["session"].clone();
        peer.wait_for("session/state", |p| p["session"] == id && p["state"] == "ready");
        let line = json!({"session": id, "command": shows(with),
            "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"}});
        let exec = peer.call("session/exec", line)["exec"].clone();
        let done = peer.wait_for("session/execDone", |p| p["exec"] == exec);
        assert_eq!(done["params"]["exit"]["status"], 0, "{with}: {done}");
    }
    peer.call("pty/close", json!({"pty": held}));
    peer.call("exec/cancel", json!({"run": holds}));
}

struct Shell {
    peer: Peer,
    id: Value,
}

impl Shell {
    fn open(lab: &Lab, params: Value) -> Shell {
        let mut peer = Peer::start(&lab.home, &[], &[]);
        let id = peer.call("session/open", params)["sessions"][0]["session"].clone();
        let mut shell = Shell { peer, id };
        shell.ready();
        shell
    }

    fn ready(&mut self) {
        self.peer.wait_for("session/state", |p| p["state"] == "ready");
    }

    /// The exit status of a command.
    #[track_caller]
    fn run(&mut self, command: &str) -> Value {
        let params = json!({"session": self.id, "command": command,
            "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"}});
        let exec = self.peer.call("session/exec", params)["exec"].clone();
        let done = self.peer.wait_for("session/execDone", |p| p["exec"] == exec);
        done["params"]["exit"]["status"].clone()
    }
}

/// The only link to an agent below a home.
fn link(there: &Path) -> Option<std::path::PathBuf> {
    let all = std::fs::read_dir(there.join(".ssh")).ok()?.flatten();
    let links: Vec<_> = all.map(|entry| entry.path()).collect();
    assert!(links.len() <= 1, "{links:?}");
    links.into_iter().next()
}

/// tmux and daemons keep the environment they were born with: the path in it must lead to the
/// agent again after the connection was lost.
#[test]
fn a_stable_path_leads_to_the_agent_over_a_reconnect() {
    let (lab, agent, there) = desk(&[]);
    let config =
        format!("agent: {{ forward: true, stable_path: true, socket: {} }}\n", agent.path());
    let settings = settings(&lab, &config, &[]);
    let mut shell = Shell::open(&lab, json!({"nodes": "127.0.0.1", "settings": settings}));
    let answers = lab.home.path().join("answers");
    let stop = lab.home.path().join("stop");
    // A loop that nothing ends with the connection, as a tmux server is.
    let forever = format!(
        "setsid sh -c 'while [ -e {home} ] && [ ! -e {stop} ]; do ssh-add -l >/dev/null 2>&1; \
         echo $? >> {answers}; sleep 0.1; done' </dev/null >/dev/null 2>&1 &",
        home = lab.home.path().display(),
        stop = stop.display(),
        answers = answers.display()
    );
    assert_eq!(shell.run(&forever), 0);
    let said = || std::fs::read_to_string(&answers).unwrap_or_default();
    assert!(until(SOON, || said().lines().any(|l| l == "0")), "{}", said());
    let path = link(&there).expect("a link");
    assert!(path.display().to_string().ends_with(".sock"));
    assert_eq!(shell.run(&format!("[ \"$SSH_AUTH_SOCK\" = {} ]", path.display())), 0);
    let before = std::fs::read_link(&path).unwrap();
    lab.sshd.kill_sessions();
    shell.ready();
    assert_eq!(shell.run("ssh-add -l"), 0, "a new command");
    assert_ne!(std::fs::read_link(&path).unwrap(), before);
    std::fs::write(&answers, "").unwrap();
    assert!(until(SOON, || said().lines().any(|l| l == "0")), "the old loop: {}", said());
    // A second connection takes the path over and gives it back.
    let now = std::fs::read_link(&path).unwrap();
    let second = json!({"nodes": "127.0.0.1", "settings": settings,
        "action": {"command": format!("[ \"$(readlink {})\" != {} ]", path.display(), now.display())}});
    assert_eq!(shell.peer.exec(second)["exit"]["status"], 0);
    assert!(until(SOON, || std::fs::read_link(&path).is_ok_and(|to| to == now)));
    assert_eq!(shell.run("ssh-add -l"), 0);
    std::fs::write(&stop, "").unwrap();
    let id = shell.id.clone();
    shell.peer.call("session/close", json!({"session": id}));
    assert!(until(SOON, || link(&there).is_none()), "nothing is left behind");
    std::fs::remove_dir_all(&there).unwrap();
}

/// T3-4: what nodes and agents may send, and what becomes of it.
#[test]
fn messages_in_bits_too_long_and_to_agents_that_are_away() {
    let (lab, agent, _) = desk(&[]);
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let run = |peer: &mut Peer, code: &str, socket: &str| {
        let file = lab.home.write("talk.py", code).unwrap();
        let begun = Instant::now();
        let ended = peer.exec(json!({"nodes": "127.0.0.1", "forwardAgent": true,
            "agent": {"socket": socket}, "settings": {"sshConfig": lab.sshd.ssh_config()},
            "action": {"command": format!("python3 {}", file.display())}}));
        (ended["exit"]["status"].as_u64(), begun.elapsed())
    };
    let head = "import os, socket, struct, sys, time\ns = socket.socket(socket.AF_UNIX)\n\
                try: s.connect(os.environ['SSH_AUTH_SOCK'])\nexcept OSError: sys.exit(7)\n";
    let bits = format!(
        "{head}for b in struct.pack('>IB', 1, 11) * 3:\n    s.send(bytes([b])); time.sleep(0.01)\n\
         s.shutdown(socket.SHUT_WR)\nall = b''\nwhile True:\n    part = s.recv(4096)\n\
         \x20   if not part: break\n    all += part\n\
         n = struct.unpack('>I', all[:4])[0]\nsys.exit(0 if len(all) == 3 * (n + 4) and all[4] == 12 else 1)\n"
    );
    assert_eq!(run(&mut peer, &bits, &agent.path()).0, Some(0), "byte by byte");
    let long = format!(
        "{head}try: s.sendall(struct.pack('>IB', 300 * 1024, 11) + b'x' * (300 * 1024 - 1))\n\
         except OSError: pass\n\
         try: got = s.recv(16)\nexcept OSError: got = b''\n\
         rest = b'' \ntry: rest = s.recv(16)\nexcept OSError: pass\n\
         sys.exit(0 if got == struct.pack('>IB', 1, 5) and rest == b'' else 1)\n"
    );
    assert_eq!(run(&mut peer, &long, &agent.path()).0, Some(0), "failure, then the end");
    // Waiting does not mend a path that is too long; it does mend an agent that restarts.
    let nowhere = format!("/tmp/{}", "x".repeat(200));
    let hello = format!(
        "{head}s.sendall(struct.pack('>IB', 1, 11))\n\
         try: sys.exit(0 if s.recv(5)[4:] == b'\\x0c' else 8)\nexcept (OSError, IndexError): sys.exit(9)\n"
    );
    let (status, took) = run(&mut peer, &hello, &nowhere);
    assert!(status != Some(0) && took < Duration::from_secs(4), "{status:?} after {took:?}");
    let (status, took) = run(&mut peer, &hello, &lab.home.path().join("no").display().to_string());
    assert!(status != Some(0) && took < Duration::from_secs(9), "{status:?} after {took:?}");
    assert!(took > Duration::from_secs(3), "it was waited for: {took:?}");
    let status = peer.call("agent/status", json!({}));
    assert_eq!(status["rejections"]["noAgent"], 2, "{status}");
    for away in [250, 3000] {
        let socket = lab.home.path().join("late");
        let params = json!({"nodes": "127.0.0.1", "forwardAgent": true,
            "agent": {"socket": socket}, "settings": {"sshConfig": lab.sshd.ssh_config()},
            "action": {"command": format!("python3 {}", lab.home.path().join("talk.py").display())},
            "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"}});
        lab.home.write("talk.py", &hello).unwrap();
        let before = peer.call("agent/status", json!({}))["dialRetries"].as_u64();
        let run = peer.call("exec/start", params)["run"].clone();
        let retried =
            |peer: &mut Peer| peer.call("agent/status", json!({}))["dialRetries"].as_u64() > before;
        assert!(until(SOON, || retried(&mut peer)));
        let since = Instant::now();
        assert!(until(SOON, || since.elapsed() >= Duration::from_millis(away)));
        let late = Agent::start(&lab.home, "late");
        let ended = peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
        assert_eq!(ended["params"]["exit"]["status"], 0, "away for {away} ms: {ended}");
        drop(late);
        let _ = std::fs::remove_file(&socket);
    }
}

/// T3-7: a link that says nothing is given up in (count + 1) × interval, and the next command has
/// the agent without anybody's help.
#[test]
fn a_silent_link_is_given_up_in_time_and_comes_back_with_the_agent() {
    let (lab, agent, _) = desk(&[]);
    let options = ["ServerAliveInterval=1", "ServerAliveCountMax=2"];
    let config = format!("agent: {{ forward: true, socket: {} }}\n", agent.path());
    let settings = settings(&lab, &config, &options);
    let mut shell = Shell::open(&lab, json!({"nodes": "127.0.0.1", "settings": settings}));
    assert_eq!(shell.run("ssh-add -l"), 0);
    let sessions = processes::descendants(lab.sshd.pid());
    let stopped: Vec<i32> =
        sessions.iter().filter(|p| p.command.starts_with("sshd")).map(|p| p.pid).collect();
    let signal = |pid: &i32, signal| {
        let _ = kill_process(Pid::from_raw(*pid).unwrap(), signal);
    };
    stopped.iter().for_each(|pid| signal(pid, Signal::STOP));
    let begun = Instant::now();
    let lost = shell.peer.wait_for("session/state", |p| p["state"] == "lost");
    let took = begun.elapsed();
    assert_eq!(lost["params"]["failure"]["code"], "transportLost", "{lost}");
    let want = Duration::from_secs(2)..Duration::from_millis(4500);
    assert!(want.contains(&took), "given up after {took:?}, not within (2 + 1) × 1 s");
    shell.ready();
    assert_eq!(shell.run("ssh-add -l"), 0, "after the reconnect");
    stopped.iter().for_each(|pid| signal(pid, Signal::CONT));
}

/// T3-7: a link that is reset is back at once, with the agent.
#[test]
fn a_link_that_is_reset_comes_back_with_the_agent() {
    let (lab, agent, _) = desk(&[]);
    let way = Delay::start(lab.sshd.port(), Duration::from_millis(1));
    let config = format!("agent: {{ forward: true, socket: {} }}\n", agent.path());
    let port = format!("Port={}", way.port());
    let settings = settings(&lab, &config, &[&port]);
    let mut shell = Shell::open(&lab, json!({"nodes": "127.0.0.1", "settings": settings}));
    assert_eq!(shell.run("ssh-add -l"), 0);
    for _ in 0..3 {
        way.reset();
        let lost = shell.peer.wait_for("session/state", |p| p["state"] == "lost");
        assert_eq!(lost["params"]["failure"]["code"], "transportLost", "{lost}");
        shell.ready();
        assert_eq!(shell.run("ssh-add -l"), 0, "after the reconnect");
    }
}
