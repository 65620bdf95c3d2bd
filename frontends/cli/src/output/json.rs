//! `--json`: one object a line, the same objects as the protocol's events, each with `schema`
//! and `event`; `--json=summary`: one object at the end.
//!
//! Output is `{"node", "stream", "utf8"}`, or `"b64"` where it is not UTF-8. A code point that
//! arrives in two pieces is put together first, so that text stays text.

use super::{Nodes, Piece, Screen, To, View, side};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bssh_client::Channel;
use bssh_protocol::exec::{Ended, ExecNode, ExecStarted, NodeState, Summary};
use bssh_term::unfinished;
use serde::Serialize;

/// Version of the objects; it rises when a field changes its meaning.
const SCHEMA: u32 = 1;

/// One event a line.
pub(crate) struct Events {
    /// Bytes of a code point that is not complete, per node and stream.
    split: Vec<[Split; 2]>,
}

/// The beginning of a code point.
#[derive(Debug, Clone, Copy, Default)]
struct Split {
    bytes: [u8; 4],
    len: u8,
}

/// One object at the end.
pub(crate) struct Ending;

#[derive(Serialize)]
struct Tagged<T> {
    schema: u32,
    event: &'static str,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Output<'a> {
    node: &'a str,
    stream: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    utf8: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64: Option<String>,
}

#[derive(Serialize)]
struct Done<'a> {
    summary: &'a Summary,
}

#[derive(Serialize)]
struct Results<'a> {
    nodes: Vec<Result<'a>>,
    summary: &'a Summary,
}

#[derive(Serialize)]
struct Result<'a> {
    node: &'a str,
    #[serde(flatten)]
    ended: Option<&'a Ended>,
}

impl Events {
    pub(crate) fn new(nodes: &Nodes) -> Self {
        Events { split: vec![Default::default(); nodes.len()] }
    }

    fn output(&self, node: &str, channel: Channel, bytes: &[u8], screen: &mut Screen) {
        if bytes.is_empty() {
            return;
        }
        let utf8 = std::str::from_utf8(bytes).ok();
        let b64 = utf8.is_none().then(|| STANDARD.encode(bytes));
        let stream = match channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        };
        put("output", Output { node, stream, utf8, b64 }, screen);
    }
}

impl View for Events {
    fn start(&mut self, started: &ExecStarted, screen: &mut Screen) {
        put("start", started, screen);
    }

    fn node(&mut self, event: &ExecNode, _: &Nodes, screen: &mut Screen) {
        if matches!(event.state, NodeState::Ended(_)) {
            for channel in [Channel::Stdout, Channel::Stderr] {
                let pair = self.split.get_mut(event.index as usize);
                let split = pair.and_then(|p| p.get_mut(side(channel))).map(std::mem::take);
                let split = split.unwrap_or_default();
                self.output(&event.node, channel, split.bytes(), screen);
            }
        }
        put("node", event, screen);
    }

    fn data(&mut self, piece: Piece<'_>, nodes: &Nodes, screen: &mut Screen) {
        let pair = self.split.get_mut(piece.node);
        let Some(split) = pair.and_then(|p| p.get_mut(side(piece.channel))) else { return };
        let before = std::mem::take(split);
        let joined;
        let bytes = match before.len {
            0 => piece.bytes,
            _ => {
                joined = [before.bytes(), piece.bytes].concat();
                &joined
            }
        };
        let (whole, rest) = bytes.split_at(bytes.len() - unfinished(bytes));
        *split = Split::new(rest);
        self.output(nodes.name(piece.node), piece.channel, whole, screen);
    }

    fn done(&mut self, summary: &Summary, _: &Nodes, screen: &mut Screen) {
        put("done", Done { summary }, screen);
    }
}

impl View for Ending {
    fn data(&mut self, _: Piece<'_>, _: &Nodes, _: &mut Screen) {}

    fn done(&mut self, summary: &Summary, nodes: &Nodes, screen: &mut Screen) {
        let text = summary_json(summary, nodes);
        screen.to(To::Out).extend_from_slice(&text);
    }
}

/// The object of `--json=summary` and `summary.json`, with its newline.
pub(crate) fn summary_json(summary: &Summary, nodes: &Nodes) -> Vec<u8> {
    let results = nodes.names.iter().zip(&nodes.ended);
    let results = results.map(|(node, ended)| Result { node, ended: ended.as_ref() }).collect();
    line("summary", Results { nodes: results, summary })
}

impl Split {
    fn new(bytes: &[u8]) -> Split {
        let mut split = Split::default();
        for (slot, byte) in split.bytes.iter_mut().zip(bytes) {
            *slot = *byte;
            split.len += 1;
        }
        split
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

fn put(event: &'static str, rest: impl Serialize, screen: &mut Screen) {
    screen.to(To::Out).extend_from_slice(&line(event, rest));
}

/// An event as a line of `--json`.
pub(super) fn line(event: &'static str, rest: impl Serialize) -> Vec<u8> {
    // Maps with text keys always serialise.
    let mut text = serde_json::to_vec(&Tagged { schema: SCHEMA, event, rest }).unwrap_or_default();
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::super::printer::tests::{err, nodes, out};
    use super::*;
    use bssh_protocol::exec::Exit;

    fn ended(status: u32) -> Ended {
        Ended { exit: Some(Exit::Status(status)), stdout_bytes: 3, ..Ended::default() }
    }

    #[test]
    fn bytes_are_exact_and_text_stays_text() {
        let nodes = nodes("a");
        for (pieces, want) in [
            (vec![&b"x\0y"[..]], vec![r#""utf8":"x\u0000y""#]),
            (vec![b"\xff"], vec![r#""b64":"/w==""#]),
            (vec!["né".as_bytes()], vec![r#""utf8":"né""#]),
            (vec![b"n\xc3", b"\xa9!"], vec![r#""utf8":"n""#, r#""utf8":"é!""#]),
            (vec![b"\xf0\x9f", b"\x98", b"\x80"], vec![r#""utf8":"😀""#]),
            (vec![b"\xc3"], vec![r#""b64":"ww==""#]),
            (vec![b"\xc3", b"x"], vec![r#""b64":"w3g=""#]),
        ] {
            let mut screen = Screen::default();
            let mut view = Events::new(&nodes);
            for piece in &pieces {
                view.data(out(0, piece), &nodes, &mut screen);
            }
            let state = NodeState::Ended(ended(0));
            let event = ExecNode { run: 1, index: 0, node: "a".into(), state };
            view.node(&event, &nodes, &mut screen);
            let text = screen.text(To::Out);
            let got: Vec<_> = text.lines().filter(|l| l.contains("\"output\"")).collect();
            let head = r#"{"schema":1,"event":"output","node":"a","stream":"stdout","#;
            let want: Vec<_> = want.iter().map(|w| format!("{head}{w}}}")).collect();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn events_are_the_protocols_objects() {
        let nodes = nodes("a");
        let mut screen = Screen::default();
        let mut view = Events::new(&nodes);
        view.data(err(0, b"e"), &nodes, &mut screen);
        let state = NodeState::Ended(ended(7));
        view.node(&ExecNode { run: 4, index: 0, node: "a".into(), state }, &nodes, &mut screen);
        view.done(&Summary { nodes: 1, failed: 1, ..Summary::default() }, &nodes, &mut screen);
        let text = screen.text(To::Out);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[0]["stream"], "stderr");
        assert_eq!(lines[1]["exit"]["status"], 7);
        assert_eq!((&lines[1]["state"], &lines[1]["node"]), (&"ended".into(), &"a".into()));
        assert_eq!(lines[2]["summary"]["failed"], 1);
        assert!(lines.iter().all(|l| l["schema"] == 1));
    }

    #[test]
    fn the_summary_names_every_node() {
        let mut nodes = nodes("a b");
        nodes.note(0, &NodeState::Ended(ended(0)));
        let text = summary_json(&Summary::default(), &nodes);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["nodes"][0]["exit"]["status"], 0);
        assert_eq!(value["nodes"][1]["node"], "b");
    }
}
