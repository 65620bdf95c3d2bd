//! What a server asks a person, round by round (RFC 4256): echoed or not, or nothing at all.

use bssh_fixtures::{Behaviour, EmbeddedNodes, Home, Round};
use bssh_tests::{Peer, Terminal, bssh};
use serde_json::{Value, json};
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(120);

/// A node with three rounds; the second has no prompts, and nobody is asked.
fn node() -> EmbeddedNodes {
    let ask = |text: &str, echo, answer: &str| (text.to_owned(), echo, answer.to_owned());
    let dialogue = vec![
        Round {
            name: "Bank\x1b[2J".to_owned(),
            instructions: "both,\nplease".to_owned(),
            prompts: vec![ask("Card: ", true, "4711"), ask("PIN\x07: ", false, "0815")],
        },
        Round { instructions: "wait".to_owned(), ..Round::default() },
        Round { prompts: vec![ask("Token: ", false, "")], ..Round::default() },
    ];
    EmbeddedNodes::with(vec![Behaviour { dialogue, ..Behaviour::default() }]).unwrap()
}

/// Starts a command; each of the `replies` answers one question: none cancels it. The questions,
/// and how the command ended.
fn run(nodes: &EmbeddedNodes, replies: &[Option<&[&str]>]) -> (Vec<Value>, Value) {
    let home = Home::new().unwrap();
    nodes.write_client_files(home.path()).unwrap();
    let mut peer = Peer::start(&home, &["password"], &[]);
    let settings = json!({"sshConfig": home.path().join("ssh_config")});
    let params = json!({"nodes": "demo1", "settings": settings, "action": {"command": "exit 3"},
        "stdout": {"file": "/dev/null"}, "stderr": {"file": "/dev/null"}});
    peer.call("exec/start", params);
    let mut asked = Vec::new();
    for reply in replies {
        let question = peer.wait_for("auth/prompt", |_| true);
        let fields = question["params"]["fields"].as_array().unwrap().clone();
        let answer = reply.map(|texts| {
            assert_eq!(fields.len(), texts.len(), "{question}");
            let id = |field: &Value| field["id"].as_str().unwrap().to_owned();
            let answers = fields.iter().zip(texts).map(|(field, text)| (id(field), json!(text)));
            let answers: serde_json::Map<_, _> = answers.collect();
            json!({"outcome": "answered", "answers": answers})
        });
        peer.reply(&question, answer.unwrap_or(json!({"outcome": "cancelled"})));
        asked.push(question["params"].clone());
    }
    let ended = peer.wait_for("exec/node", |p| p["state"] == "ended")["params"].clone();
    (asked, ended)
}

#[test]
fn every_round_is_asked_and_one_without_prompts_is_not() {
    let (asked, ended) = run(&node(), &[Some(&["4711", "0815"]), Some(&[""])]);
    assert_eq!(ended["exit"]["status"], 3, "{ended}");
    let prompts = |question: &Value| {
        let fields = question["fields"].as_array().unwrap().iter();
        fields.map(|f| json!([f["label"], f["echo"]])).collect::<Vec<_>>()
    };
    assert_eq!(prompts(&asked[0]), [json!(["Card: ", true]), json!(["PIN: ", false])]);
    assert_eq!(prompts(&asked[1]), [json!(["Token: ", false])]);
    assert_eq!(asked[0]["instructions"], "Bank[2J\nboth,\nplease");
    assert_eq!(asked[1]["instructions"], Value::Null);
    // What answers the first of them is no answer to the next.
    for (question, attempt) in asked.iter().zip([1, 2]) {
        assert_eq!(question["kind"], "keyboardInteractive");
        let (title, number) = (&question["title"], &question["attempt"]);
        assert_eq!((title, number), (&json!("demo@demo1"), &json!(attempt)));
    }
}

#[test]
fn a_wrong_answer_begins_anew_and_none_ends_it() {
    let (asked, ended) = run(&node(), &[Some(&["4711", "wrong"]), None]);
    let attempts: Vec<_> = asked.iter().map(|question| question["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 2]);
    assert_eq!(ended["failure"]["code"], "authFailed", "{ended}");
}

#[test]
fn a_person_is_shown_each_round_once_and_what_is_no_question() {
    let (nodes, home) = (node(), Home::new().unwrap());
    nodes.write_client_files(home.path()).unwrap();
    let mut command = home.command(bssh());
    command.arg("-F").arg(home.path().join("ssh_config"));
    command.args(["-n", "-o", "BatchMode=no", "demo1", "exit 3"]);
    let mut terminal = Terminal::start(&command);
    assert!(terminal.has("(demo@demo1) Card: ", MINUTES), "{}", terminal.shown());
    terminal.write("4711\n");
    assert!(terminal.has("(demo@demo1) PIN: ", MINUTES), "{}", terminal.shown());
    terminal.write("0815\n");
    assert!(terminal.has("(demo@demo1) Token: ", MINUTES), "{}", terminal.shown());
    terminal.write("\n");
    assert_eq!(terminal.finish(MINUTES), Some(3), "{}", terminal.shown());
    let shown = terminal.shown();
    for once in ["Bank[2J", "please", "wait"] {
        assert_eq!(shown.matches(once).count(), 1, "{shown}");
    }
}
