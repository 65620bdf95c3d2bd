//! Agent forwarding with a real ssh-agent: nothing is left behind, nothing is signed that should
//! not be, and an agent that is gone, slow or mad does no harm.

use bssh_fixtures::{SshdOptions, processes};
use bssh_tests::{Agent, Lab, Peer, descriptors, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);
/// ssh-add says that it cannot reach the agent, or a closed socket ends it.
const UNREACHABLE: &str = "! ssh-add -l";

struct Desk {
    lab: Lab,
    agent: Agent,
    peer: Peer,
}

impl Desk {
    /// A node, an agent with the node's own key, a core.
    fn new(prompts: &[&str]) -> Desk {
        let lab = Lab::start();
        let agent = Agent::start(&lab.home, "agent");
        let key = lab.sshd.user_key().display().to_string();
        agent.add(&lab.home, &["-q", &key]);
        let peer = Peer::start(&lab.home, prompts, &[("SSH_AUTH_SOCK", &agent.path())]);
        Desk { lab, agent, peer }
    }

    /// The agent is named: the lab's own file says `IdentityAgent none`.
    fn params(&self, command: &str, settings: &Value) -> Value {
        let mut agent = json!({"socket": self.agent.path()});
        for (key, value) in settings.as_object().unwrap() {
            agent[key] = value.clone();
        }
        json!({"nodes": "127.0.0.1", "action": {"command": command}, "forwardAgent": true,
            "agent": agent, "guard": false,
            "settings": {"sshConfig": self.lab.sshd.ssh_config()}})
    }

    /// The command's exit status on the node.
    #[track_caller]
    fn run(&mut self, command: &str, settings: &Value) -> u64 {
        let params = self.params(command, settings);
        let ended = self.peer.exec(params);
        ended["exit"]["status"].as_u64().unwrap_or_else(|| panic!("{ended}"))
    }

    fn status(&mut self) -> Value {
        self.peer.call("agent/status", json!({}))
    }
}

/// What T3-1 is about: channels whose EOF is not passed on, or that are dropped without CLOSE,
/// still "work" until the descriptors run out, here or in sshd. Only counting shows it.
#[test]
fn a_hundred_agent_calls_leave_nothing_behind() {
    let mut desk = Desk::new(&[]);
    let (ready, go) = (desk.lab.home.path().join("ready"), desk.lab.home.path().join("go"));
    let script = format!(
        "ssh-add -l >/dev/null || exit 7; touch {0}; while [ ! -e {1} ]; do sleep 0.05; done; \
         i=0; while [ $i -lt 60 ]; do ssh-add -l >/dev/null || exit 8; i=$((i+1)); done; \
         for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do ssh-add -l >/dev/null & p=\"$p $!\"; \
         done; for p in $p; do wait $p || exit 9; done; rm {0}; while [ -e {1} ]; do sleep 0.05; \
         done",
        ready.display(),
        go.display()
    );
    let params = desk.params(&script, &json!({}));
    let run = desk.peer.call("exec/start", params)["run"].clone();
    assert!(until(SOON, || ready.exists()));
    let pids = [desk.agent.pid(), desk.peer.pid()];
    let sessions = || processes::descendants(desk.lab.sshd.pid());
    let servers: Vec<i32> =
        sessions().iter().filter(|p| p.command.starts_with("sshd")).map(|p| p.pid).collect();
    let all =
        || -> Vec<usize> { pids.iter().chain(&servers).map(|pid| descriptors(*pid)).collect() };
    assert!(until(SOON, || desk.peer.call("agent/status", json!({}))["live"] == 0));
    let before = all();
    std::fs::write(&go, "").unwrap();
    assert!(until(Duration::from_secs(60), || !ready.exists()), "the calls have failed");
    let mut after = Vec::new();
    let clean = until(SOON, || {
        after = all();
        after.iter().zip(&before).all(|(after, before)| after <= before)
    });
    assert!(clean, "descriptors of agent, core and sshd: {before:?} before, {after:?} after");
    let status = desk.status();
    assert_eq!((&status["opened"], &status["live"]), (&77.into(), &0.into()), "{status}");
    assert_eq!((&status["bind"], &status["rejected"]), (&"yes".into(), &0.into()), "{status}");
    std::fs::remove_file(&go).unwrap();
    let ended = desk.peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
    assert_eq!(ended["params"]["exit"]["status"], 0, "{ended}");
}

#[test]
fn a_node_may_sign_and_no_more() {
    let mut desk = Desk::new(&[]);
    let sign = "d=$(mktemp -d) && cd $d && echo x > f && ssh-add -L > k && \
                ssh-keygen -q -Y sign -n test -f k f && rm -r $d";
    assert_eq!(desk.run(sign, &json!({})), 0);
    for (command, settings, works) in [
        ("ssh-add -D", json!({}), false),
        ("ssh-add -x </dev/null", json!({}), false),
        (
            "SSH_ASKPASS=/bin/true SSH_ASKPASS_REQUIRE=force ssh-add -s /lib/card.so",
            json!({}),
            false,
        ),
        (
            "ssh-keygen -q -t ed25519 -N '' -f k && ssh-add -q k; s=$?; rm -f k k.pub; exit $s",
            json!({}),
            false,
        ),
        ("ssh-add -l", json!({}), true),
        ("ssh-add -l", json!({"keys": ["SHA256:another"]}), false),
        (sign, json!({"keys": ["SHA256:another"]}), false),
        // Nobody can be asked here.
        (sign, json!({"confirm": "first"}), false),
    ] {
        let got = desk.run(command, &settings);
        assert_eq!(got == 0, works, "{command} {settings}: {got}");
    }
    assert_eq!(
        desk.agent.add(&desk.lab.home, &["-l"]).lines().count(),
        1,
        "the key is still there"
    );
    let status = desk.status();
    assert_eq!(status["signOk"], 1, "{status}");
    // All keys, locking, a card, a key of its own.
    assert!(status["refused"].as_u64() >= Some(4), "{status}");
    let told = |p: &Value| p["state"] == "refused" && p["reason"].is_string();
    desk.peer.wait_for("event/agent", told);
    let told = |p: &Value| p["state"] == "denied" && p["key"] != Value::Null;
    let told = desk.peer.wait_for("event/agent", told);
    assert_eq!(told["params"]["node"], "127.0.0.1", "{told}");
    assert_eq!(desk.run("ssh-add -D", &json!({"policy": "full"})), 0, "as ssh lets it");
}

#[test]
fn a_person_is_asked_and_heard() {
    let mut desk = Desk::new(&["confirm"]);
    let sign = "d=$(mktemp -d); cd $d; echo x > f; ssh-add -L > k; \
                ssh-keygen -q -Y sign -n git -f k f; s=$?; rm -r $d; exit $s";
    let config = desk.lab.home.write("bssh.yaml", "agent: { confirm_timeout: 1s }\n").unwrap();
    for (answer, want) in [("no", false), ("yes", true), ("", false)] {
        let mut params = desk.params(sign, &json!({"confirm": "always"}));
        if answer.is_empty() {
            params["settings"]["config"] = json!(config);
        }
        let run = desk.peer.call("exec/start", params)["run"].clone();
        let question = desk.peer.wait_for("auth/confirm", |_| true);
        let text = question["params"]["text"].as_str().unwrap().to_owned();
        assert!(text.contains("namespace git") && text.contains("SHA256:"), "{text}");
        if !answer.is_empty() {
            desk.peer.reply(&question, json!({"outcome": answer}));
        }
        let ended = desk.peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
        assert_eq!(ended["params"]["exit"]["status"] == 0, want, "{answer}: {ended}");
        let state = if want { "signed" } else { "denied" };
        let told = desk.peer.wait_for("event/agent", |p| p["state"] == state);
        let reason = told["params"]["reason"].as_str().unwrap_or_default();
        let words = match answer {
            "no" => "a person said no",
            "yes" => "",
            _ => "nobody answered in time",
        };
        assert_eq!(reason, words, "{told}");
        assert!(text.contains(told["params"]["key"].as_str().unwrap()), "{told}");
    }
}

/// Signs without a list before it, as no program of OpenSSH does.
const SIGN: &str = r"
import base64, os, socket, struct, sys
def string(b): return struct.pack('>I', len(b)) + b
data = b'SSHSIG' + string(b'git') + string(b'') + string(b'sha512') + string(b'x' * 64)
ask = b'\x0d' + string(base64.b64decode(sys.argv[1])) + string(data) + bytes(4)
agent = socket.socket(socket.AF_UNIX)
agent.connect(os.environ['SSH_AUTH_SOCK'])
agent.sendall(string(ask))
sys.exit(agent.recv(4096)[4] != 14)
";

#[test]
fn a_person_is_told_what_the_agent_calls_a_key() {
    let mut desk = Desk::new(&["confirm"]);
    let home = &desk.lab.home;
    let key = home.path().join("mine").display().to_string();
    let words =
        ["-q", "-t", "ed25519", "-N", "", "-C", "my \u{1b}[2J\u{202e}\"laptop\"", "-f", &key];
    assert!(home.command("ssh-keygen").args(words).status().unwrap().success());
    desk.agent.add(home, &["-q", &key]);
    let blob = std::fs::read_to_string(format!("{key}.pub")).unwrap();
    let blob = blob.split(' ').nth(1).unwrap().to_owned();
    let script = home.write("sign.py", SIGN).unwrap().display().to_string();
    for before in ["", "ssh-add -l >/dev/null; "] {
        let command = format!("{before}python3 {script} {blob}");
        let params = desk.params(&command, &json!({"confirm": "always"}));
        let run = desk.peer.call("exec/start", params)["run"].clone();
        let question = desk.peer.wait_for("auth/confirm", |_| true);
        let text = question["params"]["text"].as_str().unwrap();
        assert!(text.ends_with(" (\"my [2J'laptop'\"). Allow it?"), "{before}: {text:?}");
        desk.peer.reply(&question, json!({"outcome": "yes"}));
        let ended = desk.peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
        assert_eq!(ended["params"]["exit"]["status"], 0, "{ended}");
    }
}

#[test]
fn a_status_of_one_node_is_its_own() {
    let mut desk = Desk::new(&[]);
    assert_eq!(desk.run("ssh-add -l", &json!({})), 0);
    let file = desk.lab.sshd.ssh_config();
    let text = std::fs::read_to_string(&file).unwrap();
    let other = "Host other\n  ForwardAgent /nonexistent/agent\n\n";
    let file = desk.lab.home.write("nodes", format!("{other}{text}")).unwrap();
    let settings = json!({"sshConfig": file});
    let mut of = |target: &str| {
        desk.peer.try_call("agent/status", json!({"target": target, "settings": settings}))
    };
    let used = of("127.0.0.1").unwrap();
    assert_eq!((&used["opened"], &used["bind"]), (&1.into(), &"yes".into()), "{used}");
    let unused = of("other").unwrap();
    assert_eq!((&unused["opened"], &unused["bind"]), (&0.into(), &"".into()), "{unused}");
    assert_eq!(unused["socket"], "/nonexistent/agent", "{unused}");
    assert_eq!(of("other,127.0.0.1").unwrap_err()["data"]["at"], "params.target");
    assert_eq!(desk.status()["opened"], 1);
}

/// A key restricted to other destinations must not be seen on the node, as with `ssh -A`.
#[test]
fn a_restricted_key_stays_restricted() {
    let mut desk = Desk::new(&[]);
    let home = &desk.lab.home;
    let key = home.path().join("restricted").display().to_string();
    let made =
        home.command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).output();
    assert!(made.unwrap().status.success());
    let known = desk.lab.sshd.file("host_rsa.pub");
    let line = std::fs::read_to_string(known).unwrap();
    let hosts = home.write("hosts", format!("elsewhere {line}")).unwrap().display().to_string();
    desk.agent.add(home, &["-q", "-H", &hosts, "-h", "elsewhere", &key]);
    let count = "[ $(ssh-add -l | wc -l) = 1 ]";
    let mut ssh = desk.lab.home.command("ssh");
    ssh.arg("-F").arg(desk.lab.sshd.ssh_config()).args(["-A", "-o", "IdentityAgent=SSH_AUTH_SOCK"]);
    ssh.env("SSH_AUTH_SOCK", desk.agent.socket()).args(["127.0.0.1", count]);
    assert!(ssh.status().unwrap().success(), "ssh itself");
    assert_eq!(desk.run(count, &json!({})), 0, "one key of two is seen");
    assert_ne!(desk.run(count, &json!({"bind": "off"})), 0, "unbound both are seen");
}

#[test]
fn an_agent_that_comes_back_is_found_and_one_that_stays_away_fails_soon() {
    let mut desk = Desk::new(&[]);
    assert_eq!(desk.run("ssh-add -l", &json!({})), 0);
    desk.agent.signal(Signal::KILL);
    // 1: it answers, and may not have its key again yet.
    let params = desk.params("ssh-add -l || [ $? = 1 ]", &json!({}));
    let run = desk.peer.call("exec/start", params)["run"].clone();
    assert!(until(SOON, || desk.status()["dialRetries"].as_u64() > Some(0)));
    let key = desk.lab.sshd.user_key().display().to_string();
    let again = Agent::start(&desk.lab.home, "agent");
    again.add(&desk.lab.home, &["-q", &key]);
    let ended = desk.peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
    assert_eq!(ended["params"]["exit"]["status"], 0, "{ended}");
    drop(again);
    let begun = Instant::now();
    assert_eq!(desk.run(UNREACHABLE, &json!({})), 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let other = Agent::start(&desk.lab.home, "other");
    other.add(&desk.lab.home, &["-q", &key]);
    desk.peer.call("agent/setSocket", json!({"path": other.path()}));
    let status = desk.status();
    assert_eq!((&status["reachable"], status["keys"].as_array().unwrap().len()), (&true.into(), 1));
}

#[test]
fn a_stopped_or_mad_agent_holds_up_nobody_else() {
    let mut desk = Desk::new(&[]);
    let path = desk.lab.home.path().join("mad");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(&[0xff; 64]);
        }
    });
    let mad = json!({"socket": path.display().to_string()});
    assert_eq!(desk.run(UNREACHABLE, &mad), 0);
    desk.agent.signal(Signal::STOP);
    let hangs = desk.params("ssh-add -l", &json!({}));
    let run = desk.peer.call("exec/start", hangs)["run"].clone();
    let plain = json!({"nodes": "127.0.0.1", "action": {"command": "true"},
        "settings": {"sshConfig": desk.lab.sshd.ssh_config()}});
    let begun = Instant::now();
    assert_eq!(desk.peer.exec(plain)["exit"]["status"], 0);
    assert!(begun.elapsed() < Duration::from_secs(10));
    desk.agent.signal(Signal::CONT);
    let ended = desk.peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
    assert_eq!(ended["params"]["exit"]["status"], 0, "{ended}");
}

#[test]
fn the_doctor_names_the_step_that_fails() {
    let mut desk = Desk::new(&[]);
    let check = |desk: &mut Desk| {
        let params = json!({"nodes": "127.0.0.1", "settings": {
            "sshConfig": desk.lab.sshd.ssh_config(),
            "options": ["IdentityAgent=SSH_AUTH_SOCK"]}});
        let checked = desk.peer.call("agent/check", params);
        let steps = checked["steps"].as_array().unwrap().clone();
        steps.iter().map(|s| s["ok"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(check(&mut desk), [true; 4]);
    let refusing =
        SshdOptions { extra: vec!["AllowAgentForwarding no".to_owned()], ..SshdOptions::default() };
    let lab = Lab::with(&refusing);
    let agent = Agent::start(&lab.home, "agent");
    let peer = Peer::start(&lab.home, &[], &[("SSH_AUTH_SOCK", &agent.path())]);
    let mut refused = Desk { lab, agent, peer };
    assert_eq!(check(&mut refused), [true, true, true, false]);
}

#[test]
fn a_key_restricted_to_a_destination_logs_in_there_only() {
    let lab = Lab::start();
    let agent = Agent::start(&lab.home, "agent");
    let key = lab.sshd.user_key();
    let other = std::fs::read_to_string(lab.sshd.file("user_key.pub")).unwrap();
    let other = lab.home.write("other_hosts", format!("elsewhere {other}")).unwrap();
    let add = |host: &str, hosts: &Path| {
        let [hosts, key] = [hosts, &key].map(|path| path.display().to_string());
        agent.add(&lab.home, &["-q", "-h", host, "-H", &hosts, &key]);
    };
    let hidden = lab.sshd.file("hidden");
    let log_in = || {
        // Only the agent has the private half.
        std::fs::rename(&key, &hidden).unwrap();
        let socket = format!("IdentityAgent={}", agent.path());
        let done = lab.run(&["-o", &socket, "127.0.0.1", "true"]);
        std::fs::rename(&hidden, &key).unwrap();
        done
    };
    add("elsewhere", &other);
    let refused = log_in().expect_status(255).stderr;
    assert!(refused.contains("Permission denied"), "{refused}");
    agent.add(&lab.home, &["-q", "-D"]);
    add("127.0.0.1", &lab.sshd.known_hosts());
    log_in().expect_status(0);
}

#[test]
fn the_configuration_says_what_is_forwarded() {
    let lab = Lab::start();
    let agent = Agent::start(&lab.home, "agent");
    let key = lab.sshd.user_key().display().to_string();
    let second = lab.sshd.file("host_ed25519").display().to_string();
    agent.add(&lab.home, &["-q", &key, &second]);
    let listed = agent.add(&lab.home, &["-l"]);
    let fingerprint = listed.split_whitespace().find(|w| w.starts_with("SHA256:")).unwrap();
    let rules = format!("socket: {}\n  keys: [\"{fingerprint}\"]", agent.path());
    let run = |config: &str, flags: &[&str]| {
        let config = lab.home.write("bssh.yaml", config).unwrap().display().to_string();
        let command = "ssh-add -l || true";
        let words = [&["--config", &config, "-H", "127.0.0.1", "-N"], flags, &[command]].concat();
        lab.run(&words).expect_status(0).text()
    };
    let forwarded = run(&format!("agent:\n  forward: true\n  {rules}\n"), &[]);
    assert!(forwarded.contains(fingerprint), "{forwarded}");
    assert_eq!(forwarded.lines().count(), 1, "{forwarded}");
    assert_eq!(run(&format!("agent:\n  {rules}\n"), &[]), "", "not asked for");
    // The command line says more; of two keys lists its own counts.
    let all = run("{}", &["-A", "--agent-sock", &agent.path()]);
    assert_eq!(all.lines().count(), 2, "{all}");
    let one = run("{}", &["--agent-keys", fingerprint, "--agent-sock", &agent.path()]);
    assert_eq!(one, forwarded);
    // Nobody can be asked here.
    let asked = format!("agent:\n  forward: true\n  confirm: always\n  {rules}\n");
    assert!(run(&asked, &[]).contains(fingerprint), "a list needs no consent");
}

/// T3-3: more clients than places. 64 are served and stay, 200 wait, the others are refused at
/// once, and when places are free again all who have waited are served.
#[test]
fn a_crowd_is_served_in_turn_and_the_rest_refused_at_once() {
    let mut desk = Desk::new(&[]);
    let limits = "agent: { queue: 200, queue_wait: 2m }\n";
    let config = desk.lab.home.write("bssh.yaml", limits).unwrap();
    let script = desk.lab.home.write("crowd.py", CROWD).unwrap();
    let dir = desk.lab.home.path().display().to_string();
    let mut params = desk.params(&format!("python3 {} {dir}", script.display()), &json!({}));
    params["settings"] = json!({"sshConfig": desk.lab.sshd.ssh_config(), "config": config});
    let said = || std::fs::read_to_string(desk.lab.home.path().join("answers")).unwrap_or_default();
    let count = |word: &str| said().lines().filter(|l| l.starts_with(word)).count();
    let run = desk.peer.call("exec/start", params.clone())["run"].clone();
    assert!(until(SOON, || count("refused") == 36 && count("answered") == 64), "{}", said());
    // Those who wait may do so for two minutes.
    let answers = said();
    let times = answers.lines().filter_map(|l| l.strip_prefix("refused ")?.parse::<f64>().ok());
    let slowest = times.fold(0.0, f64::max);
    assert!(slowest < 20.0, "it took {slowest} s to hear \"no\"");
    let status = desk.peer.call("agent/status", json!({}));
    let [live, queued, rejected] = ["live", "queued", "rejected"].map(|n| status[n].clone());
    assert_eq!([live, queued, rejected], [64, 200, 36], "{status}");
    let told = |p: &Value| p["state"] == "rejected" && p["reason"] == "full";
    desk.peer.wait_for("event/agent", told);
    desk.lab.home.write("go", "").unwrap();
    let ended = desk.peer.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
    assert_eq!(ended["params"]["exit"]["status"], 0, "{ended}");
    assert_eq!((count("answered"), count("refused")), (264, 36), "{}", said());
    params["action"]["command"] = "ssh-add -l".into();
    assert_eq!(desk.peer.exec(params)["exit"]["status"], 0);
    assert!(until(SOON, || desk.status()["live"] == 0), "{}", desk.status());
}

/// Three hundred clients that ask for keys and keep their connections until a file is there.
const CROWD: &str = r"
import os, selectors, socket, struct, sys, time
answers, go = (os.path.join(sys.argv[1], name) for name in ('answers', 'go'))
selector, served = selectors.DefaultSelector(), []
for _ in range(300):
    client, since = socket.socket(socket.AF_UNIX), time.monotonic()
    try:
        client.connect(os.environ['SSH_AUTH_SOCK'])
        client.sendall(struct.pack('>IB', 1, 11))
    except OSError:
        pass
    selector.register(client, selectors.EVENT_READ, since)
with open(answers, 'a', buffering=1) as out:
    while selector.get_map():
        for key, _ in selector.select(0.1):
            selector.unregister(key.fileobj)
            try: got = key.fileobj.recv(65536)
            except OSError: got = b''
            word = 'answered' if got[4:5] == b'\x0c' else 'refused'
            out.write(f'{word} {time.monotonic() - key.data:.3f}\n')
            served.append(key.fileobj)
        if os.path.exists(go):
            while served: served.pop().close()
";
