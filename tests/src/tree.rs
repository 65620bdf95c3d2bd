//! A tree: gateways that are real daemons, nodes behind them, a key that only an agent has.

use crate::{Agent, Run, Transcript, bssh};
use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, Sshd, processes};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Nothing that works takes this long, also on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(180);

/// `gw1` to `gw12` are one daemon at twelve addresses, `leaf1` to `leaf9` the same one at others;
/// `demo1` and so on are embedded nodes, whose key is in an agent and nowhere else, so that who
/// reaches them without it is noticed.
pub struct Tree {
    pub home: Home,
    pub sshd: Sshd,
    pub nodes: EmbeddedNodes,
    pub agent: Agent,
}

impl Tree {
    pub fn start(n: usize) -> Tree {
        Tree::with(vec![Behaviour::default(); n])
    }

    pub fn with(behaviours: Vec<Behaviour>) -> Tree {
        let home = Home::new().expect("a temp directory");
        let sshd = Sshd::start().unwrap_or_else(|error| panic!("{error}"));
        let nodes = EmbeddedNodes::with(behaviours).expect("loopback addresses");
        let agent = Agent::start(&home, "agent");
        nodes.write_client_files(home.path()).expect("a home that can be written to");
        let key = home.path().join("id");
        agent.add(&home, &[key.to_str().expect("a path")]);
        std::fs::remove_file(key).expect("the key");
        agent.add(&home, &[sshd.user_key().to_str().expect("a path")]);
        let tree = Tree { home, sshd, nodes, agent };
        tree.write_ssh_config();
        tree.configure(&format!("gateways:\n  program: {}\n", bssh().display()));
        tree
    }

    /// The nodes' key in a file, and in the agent no more; where it is.
    pub fn key_in_a_file(&self) -> PathBuf {
        self.nodes.write_client_files(self.home.path()).expect("a home that can be written to");
        self.write_ssh_config();
        self.agent.add(&self.home, &["-D"]);
        self.agent.add(&self.home, &[self.sshd.user_key().to_str().expect("a path")]);
        self.home.path().join("id")
    }

    /// Replaces the YAML configuration.
    pub fn configure(&self, text: &str) {
        self.home.write("config.yaml", text).expect("a home that can be written to");
    }

    fn write_ssh_config(&self) {
        let home = self.home.path().display();
        let mut text = String::new();
        for (at, address) in self.nodes.addresses().iter().enumerate() {
            let (name, ip, port) = (at + 1, address.ip(), address.port());
            let _ = writeln!(text, "Host demo{name}\n  HostName {ip}\n  Port {port}\n");
        }
        for n in 1..=12 {
            let _ = writeln!(text, "Host gw{n}\n  HostName 127.0.9.{n}\n");
        }
        for n in 1..=9 {
            let _ = writeln!(text, "Host leaf{n}\n  HostName 127.0.8.{n}\n");
        }
        let _ = write!(
            text,
            "Host leaf*\n  IdentityFile none\n\nHost demo*\n  User demo\n  UserKnownHostsFile {home}/known_hosts\n\n\
             Host gw* leaf*\n  User {}\n  Port {}\n  IdentityFile {}\n  UserKnownHostsFile {}\n\n\
             Host *\n  IdentityAgent {}\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n",
            self.sshd.user(),
            self.sshd.port(),
            self.sshd.user_key().display(),
            self.sshd.known_hosts().display(),
            self.agent.path(),
        );
        self.home.write("ssh_config", text).expect("a home that can be written to");
    }

    /// `bssh` with this tree's files.
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = self.home.command(bssh());
        command.arg("-F").arg(self.home.path().join("ssh_config"));
        command.arg("--config").arg(self.home.path().join("config.yaml")).args(words);
        command
    }

    /// Runs to the end with an empty stdin.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Transcript {
        Run::start(self.command(words)).finish(DEADLINE)
    }

    /// Runs to the end with this on stdin.
    #[track_caller]
    pub fn feed<S: AsRef<OsStr>>(&self, words: &[S], stdin: &[u8]) -> Transcript {
        let mut run = Run::start(self.command(words));
        run.write(stdin);
        run.finish(DEADLINE)
    }

    /// The cores that run on gateways: what the daemon has started.
    pub fn cores(&self) -> Vec<i32> {
        let all = processes::descendants(self.sshd.pid());
        // A shell that runs it has it in its command line, too.
        let core = |p: &&processes::Process| {
            p.command.ends_with("core --stdio") && !p.command.contains(" -c ")
        };
        all.iter().filter(core).map(|p| p.pid).collect()
    }
}

/// For hostile cores in Python: how they `read` what comes over `link`, and `say` something.
pub const FRAMES: &str = r"import json
def read():
    length = 0
    while True:
        line = link.readline().strip()
        if not line: break
        if line.lower().startswith(b'content-length:'): length = int(line.split(b':')[1])
    return json.loads(link.read(length)) if length else sys.exit()
def say(message):
    body = json.dumps(dict(message, jsonrpc='2.0')).encode()
    sys.stdout.buffer.write(b'Content-Length: %d\r\n\r\n' % len(body) + body)
    sys.stdout.flush()
";
