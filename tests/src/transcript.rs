//! What a program printed and how it ended, with `--json` read back.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A finished program.
#[derive(Debug)]
pub struct Transcript {
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// None: ended by a signal.
    pub status: Option<i32>,
    pub took: Duration,
}

/// How a node ended, out of `--json`.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The `ended` event, whole.
    pub event: Value,
}

impl Transcript {
    /// Panics, with all that was said, unless this was the exit status.
    #[track_caller]
    pub fn expect_status(self, status: i32) -> Self {
        let out = &self.stdout[..self.stdout.len().min(4000)];
        assert_eq!(
            self.status,
            Some(status),
            "after {:?}\nstdout: {}\nstderr: {}",
            self.took,
            String::from_utf8_lossy(out),
            self.stderr
        );
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The lines of `--json`.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.stdout).expect("JSON is UTF-8");
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        text.lines().map(parse).collect()
    }

    /// Each node's output and end, by name. A node that ends twice or not at all is an error.
    #[track_caller]
    pub fn endings(&self) -> BTreeMap<String, Ending> {
        let mut nodes: BTreeMap<String, Ending> = BTreeMap::new();
        for event in self.events() {
            let Some(name) = event["node"].as_str() else { continue };
            let node = nodes.entry(name.to_owned()).or_default();
            assert!(node.event.is_null(), "{name}: {event} after its end");
            match event["event"].as_str() {
                Some("output") if event["stream"] == "stdout" => node.stdout.extend(bytes(&event)),
                Some("output") => node.stderr.extend(bytes(&event)),
                _ if event["state"] == "ended" => node.event = event,
                _ => {}
            }
        }
        for (name, node) in &nodes {
            assert!(!node.event.is_null(), "{name} never ended\n{}\n{}", self.text(), self.stderr);
        }
        nodes
    }

    /// The counts of the last line.
    #[track_caller]
    pub fn summary(&self) -> Value {
        let last = self.events().pop().unwrap_or_default();
        assert_eq!(last["event"], "done", "{}", self.stderr);
        last["summary"].clone()
    }
}

impl Ending {
    /// `phase/code` of a failure, `status N`, or `signal NAME`.
    pub fn cause(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match (&self.event["failure"], &self.event["exit"]) {
            (failure, _) if failure.is_object() => {
                format!("{}/{}", text(&failure["phase"]), text(&failure["code"]))
            }
            (_, exit) if exit["status"].is_u64() => format!("status {}", exit["status"]),
            (_, exit) => format!("signal {}", text(&exit["signal"])),
        }
    }

    /// The failure's message and hint.
    pub fn message(&self) -> String {
        let failure = &self.event["failure"];
        format!("{} {}", failure["message"], failure["hint"])
    }
}

fn bytes(event: &Value) -> Vec<u8> {
    match (event["utf8"].as_str(), event["b64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(text)) => base64(text),
        _ => panic!("no bytes in {event}"),
    }
}

/// RFC 4648, with padding.
pub fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter(|b| *b != b'=');
    let digits: Vec<u32> = digits
        .map(|b| DIGITS.iter().position(|d| *d == b).expect("a base64 digit") as u32)
        .collect();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let word = group.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - group.len()));
        bytes.extend(word.to_be_bytes()[1..group.len()].iter());
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_is_read() {
        for (text, want) in
            [("", &b""[..]), ("/w==", b"\xff"), ("w3g=", b"\xc3x"), ("YWJj", b"abc")]
        {
            assert_eq!(super::base64(text), want, "{text}");
        }
    }
}
