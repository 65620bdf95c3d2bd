//! A program that speaks to a core without our client: JSON lines over stdin and stdout.

use crate::bssh;
use bssh_fixtures::{Home, processes};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A core of one's own. Killed when dropped.
pub struct Peer {
    child: Child,
    stdin: ChildStdin,
    messages: Receiver<Value>,
    /// Events and questions that nobody has asked for yet.
    early: Vec<Value>,
    next: u64,
}

const DEADLINE: Duration = Duration::from_secs(60);

impl Peer {
    /// Starts a core in this home, with what it may ask (`confirm`, `password`, …) and variables.
    pub fn start(home: &Home, prompts: &[&str], vars: &[(&str, &str)]) -> Peer {
        let mut command = home.command(bssh());
        command.envs(vars.iter().copied());
        Peer::start_as(command, prompts)
    }

    /// Starts a core as this command says, which is `bssh` without words.
    pub fn start_as(mut command: Command, prompts: &[&str]) -> Peer {
        command.args(["core", "--stdio"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a core");
        let stdin = child.stdin.take().expect("its stdin");
        let stdout = BufReader::new(child.stdout.take().expect("its stdout"));
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let Ok(message) = serde_json::from_str(&line) else { continue };
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let mut peer = Peer { child, stdin, messages, early: Vec::new(), next: 0 };
        let hello = json!({"protocol": {"majors": [1], "level": 1},
            "client": {"name": "test", "version": "1", "kind": "program"},
            "capabilities": {"prompts": prompts}});
        peer.call("initialize", hello);
        peer
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Calls a method that must succeed.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.try_call(method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls a method; its error if it has one.
    #[track_caller]
    pub fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.ask(method, params);
        let answer = self.receive(method, |m| m["id"] == id && m.get("method").is_none());
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// Sends a request and does not wait; its id.
    #[allow(clippy::needless_pass_by_value, reason = "callers write json!")]
    pub fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}));
        self.next
    }

    /// The answer to an earlier [`Peer::ask`].
    #[track_caller]
    pub fn answer_to(&mut self, id: u64) -> Value {
        self.receive("an answer", |m| m["id"] == id && m.get("method").is_none())
    }

    /// Waits for an event or a question with these parameters.
    #[track_caller]
    pub fn wait_for(&mut self, method: &str, like: impl Fn(&Value) -> bool) -> Value {
        self.receive(method, |m| m["method"] == method && like(&m["params"]))
    }

    /// Answers a question of the core.
    #[allow(clippy::needless_pass_by_value, reason = "callers write json!")]
    pub fn reply(&mut self, question: &Value, result: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result}));
    }

    /// Runs a command on one node to its end; its exit status.
    #[track_caller]
    pub fn exec(&mut self, mut params: Value) -> Value {
        params["stdout"] = json!({"file": "/dev/null"});
        params["stderr"] = json!({"file": "/dev/null"});
        let run = self.call("exec/start", params)["run"].clone();
        let ended = self.wait_for("exec/node", |p| p["run"] == run && p["state"] == "ended");
        self.wait_for("exec/done", |p| p["run"] == run);
        ended["params"].clone()
    }

    /// Sends a message as it is, such as a notification.
    pub fn send(&mut self, message: &Value) {
        writeln!(self.stdin, "{message}").expect("the core reads");
    }

    #[track_caller]
    fn receive(&mut self, what: &str, like: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        if let Some(at) = self.early.iter().position(&like) {
            return self.early.remove(at);
        }
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(message) if like(&message) => return message,
                Ok(message) => self.early.push(message),
                Err(error) => panic!("{what}: {error}; had {:?}", self.early),
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        processes::end(&mut self.child);
    }
}
