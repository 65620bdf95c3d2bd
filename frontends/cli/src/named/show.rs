//! How the output of commands in sessions is told: as it is for one node, lines with their node
//! for several, or JSON. What was left out is counted to the byte.

use crate::args::Json;
use crate::output::{Nodes, Piece, Printer, Screen, Style};
use crate::{cannot_print, exit};
use base64::Engine as _;
use bssh_client::Channel;
use bssh_protocol::session::{
    OutputFile, RemoteFate, SessionExecDone, SessionExecRetry, SessionNode,
};
use bssh_term::unfinished;
use serde_json::{Value, json};

pub(super) struct Show {
    json: Option<Json>,
    nodes: Nodes,
    printer: Printer,
    screen: Screen,
    said: Vec<Said>,
    is_terminal: bool,
    /// Bytes pass as they are: they are for our terminal.
    pub(super) raw: bool,
}

/// What one node has said.
#[derive(Default)]
struct Said {
    /// Bytes that came, of stdout and stderr.
    got: [u64; 2],
    /// For the summary, or a character that is not complete yet.
    held: [Vec<u8>; 2],
}

impl Show {
    pub(super) fn new(json: Option<Json>, names: Vec<String>, style: Style, bare: bool) -> Show {
        let nodes = Nodes::new(names);
        let prefix = nodes.len() > 1 && !bare;
        Show {
            json,
            printer: Printer::new(&nodes, style, prefix),
            said: nodes.names.iter().map(|_| Said::default()).collect(),
            nodes,
            screen: Screen::default(),
            is_terminal: style.err_terminal,
            raw: false,
        }
    }

    pub(super) fn start(&mut self, nodes: &[SessionNode]) {
        if self.json == Some(Json::Events) {
            let nodes: Vec<Value> =
                nodes.iter().map(|n| json!({"node": n.node, "existing": n.existing})).collect();
            self.line(&json!({"schema": 1, "event": "start", "nodes": nodes}));
        }
    }

    /// The status of stdout.
    pub(super) async fn data(&mut self, node: usize, channel: Channel, bytes: &[u8]) -> u8 {
        let side = usize::from(channel == Channel::Stderr);
        let Some(said) = self.said.get_mut(node) else { return exit::OK };
        if let Some(got) = said.got.get_mut(side) {
            *got += bytes.len() as u64;
        }
        match self.json {
            None if self.raw => {
                self.screen.to(crate::output::To::Out).extend_from_slice(bytes);
            }
            None => self.printer.data(Piece { node, channel, bytes }, &mut self.screen),
            Some(json) => {
                let Some(held) = said.held.get_mut(side) else { return exit::OK };
                held.extend_from_slice(bytes);
                if json == Json::Events {
                    let whole = held.len() - unfinished(held);
                    let now: Vec<u8> = held.drain(..whole).collect();
                    self.data_line(node, side, &now);
                }
            }
        }
        self.flush().await
    }

    fn data_line(&mut self, node: usize, side: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let stream = if side == 0 { "stdout" } else { "stderr" };
        let mut line =
            json!({"schema": 1, "event": "data", "node": self.nodes.name(node), "stream": stream});
        let (key, value) = text(bytes);
        if let Some(object) = line.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
        self.line(&line);
    }

    /// A command is run again.
    pub(super) fn again(&mut self, name: &str, retry: &SessionExecRetry) {
        match self.json {
            Some(Json::Events) => {
                let (attempt, out) = (retry.attempt, retry.stdout_bytes);
                self.line(&json!({"schema": 1, "event": "retry", "node": name,
                    "attempt": attempt, "stdoutBytes": out, "stderrBytes": retry.stderr_bytes}));
            }
            Some(Json::Summary) => {}
            None => {
                let text = "the connection was lost; it is run again";
                self.screen.say(&format!("bssh: {name}: {text}"));
            }
        }
    }

    /// A command is over.
    pub(super) fn done(&mut self, node: usize, done: &SessionExecDone) {
        let name = self.nodes.name(node).to_owned();
        let Some(said) = self.said.get_mut(node) else { return };
        let [out, err] = said.got;
        let left_out = [
            done.stdout_bytes - out.min(done.stdout_bytes),
            done.stderr_bytes - err.min(done.stderr_bytes),
        ];
        let held = std::mem::take(&mut said.held);
        if self.json == Some(Json::Events) {
            for (side, rest) in held.iter().enumerate() {
                self.data_line(node, side, rest);
            }
        }
        match self.json {
            Some(json) => {
                let mut object = serde_json::to_value(done).unwrap_or_default();
                if let Some(object) = object.as_object_mut() {
                    let [out, err] = left_out;
                    let event = if json == Json::Events { "done" } else { "summary" };
                    object.insert("schema".to_owned(), json!(1));
                    object.insert("event".to_owned(), json!(event));
                    object.insert("node".to_owned(), json!(name));
                    object.insert("stdoutOmitted".to_owned(), json!(out));
                    object.insert("stderrOmitted".to_owned(), json!(err));
                    if json == Json::Summary {
                        for (stream, bytes) in ["stdout", "stderr"].into_iter().zip(&held) {
                            let (key, value) = text(bytes);
                            let key = if key == "text" { "" } else { "Base64" };
                            object.insert(format!("{stream}{key}"), value);
                        }
                    }
                }
                self.line(&object);
            }
            None => {
                self.printer.ended(node, &mut self.screen);
                let files = [&done.stdout_file, &done.stderr_file];
                for ((stream, n), file) in ["stdout", "stderr"].into_iter().zip(left_out).zip(files)
                {
                    if n > 0 {
                        let text = "bytes were left out after the first 40 % of --max-output";
                        let file = file.as_ref().map(where_all_is).unwrap_or_default();
                        self.screen.say(&format!("bssh: {name}: {stream}: {n} {text}{file}"));
                    }
                }
                self.tell(&name, done);
            }
        }
    }

    /// What is not said by the exit status alone.
    fn tell(&mut self, name: &str, done: &SessionExecDone) {
        if let Some(failure) = &done.failure {
            self.screen.say(&format!("bssh: {name}: {}", failure.message));
            if let Some(hint) = &failure.hint {
                self.screen.say(&format!("hint: {hint}"));
            }
            match (done.remote_fate, done.job) {
                (Some(RemoteFate::Kept), Some(job)) => {
                    self.screen.say(&format!("bssh: {name}: it goes on as job {job}"));
                }
                (Some(RemoteFate::Unknown), _) => {
                    self.screen.say(&format!("bssh: {name}: it may still run"));
                }
                _ => {}
            }
        } else if done.timed_out {
            self.screen.say(&format!("bssh: {name}: ended, it took too long"));
        } else if done.detached_output && self.is_terminal {
            self.screen.say(&format!("bssh: {name}: something it left behind holds its output"));
        }
    }

    fn line(&mut self, object: &Value) {
        let out = self.screen.to(crate::output::To::Out);
        out.extend_from_slice(object.to_string().as_bytes());
        out.push(b'\n');
    }

    async fn flush(&mut self) -> u8 {
        let written = match self.screen.is_full() {
            true => self.screen.drain().await,
            false => match self.screen.is_busy() {
                true => Ok(()),
                false => self.screen.flush(),
            },
        };
        written.map_or_else(cannot_print, |()| exit::OK)
    }

    /// The status of stdout.
    pub(super) async fn finish(&mut self) -> u8 {
        self.screen.drain().await.map_or_else(cannot_print, |()| exit::OK)
    }
}

/// Where a stream is that was not shown whole.
fn where_all_is(file: &OutputFile) -> String {
    let (path, bytes) = (file.path.as_deref().unwrap_or_default(), file.bytes);
    match (&file.error, bytes) {
        (None, _) => format!("; all of it is in {path}"),
        (Some(why), 0) => format!("; and are in no file: {why}"),
        (Some(why), _) => format!("; its first {bytes} are in {path}: {why}"),
    }
}

/// As text, or in base64 if it is none.
fn text(bytes: &[u8]) -> (&'static str, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => ("text", json!(text)),
        Err(_) => ("b64", json!(base64::engine::general_purpose::STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(text(b"a"), ("text", json!("a")));
        assert_eq!(text(b"\xff"), ("b64", json!("/w==")));
    }
}
