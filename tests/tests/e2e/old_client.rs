//! A frontend of a frozen protocol level at the shared core of today.

use bssh_tests::{Lab, OldClient, Shared};
use serde_json::{Value, json};

#[test]
fn a_frontend_of_level_1_does_all_it_ever_could() {
    let shared = Shared::new(Lab::start());
    shared.lab.run(&["-H", "127.0.0.1", "--persist", "1m", "true"]).expect_status(0);
    let mut old = OldClient::attach(&shared.socket(), "v1.L1.json");
    let hello = old.call(
        "initialize",
        json!({
            "protocol": { "majors": [1], "level": 1 },
            "client": { "name": "old", "version": "0", "kind": "program" },
            "capabilities": { "prompts": ["hostKey"] },
        }),
    );
    assert_eq!(hello["protocol"], json!({ "major": 1, "level": 1 }));
    let settings = json!({
        "sshConfig": shared.lab.sshd.ssh_config(), "config": "/dev/null",
        "options": ["UserKnownHostsFile=none", "StrictHostKeyChecking=ask", "BatchMode=no"],
    });
    asks(&mut old, &settings);
    runs(&mut old, &settings);
    let with = |extra: Value| {
        let mut params = json!({ "nodes": "127.0.0.1", "settings": settings });
        params.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        params
    };
    // It was made for forwards, too.
    let opened = old.call("forward/open", with(json!({ "kind": "dynamic", "spec": "0" })));
    assert!(!old.call("forward/list", json!({}))["forwards"].as_array().unwrap().is_empty());
    old.call("forward/close", json!({ "forward": opened["forward"] }));
    let dial = json!({ "host": "127.0.0.1", "port": shared.lab.sshd.port(), "source": "stream" });
    let dialed = old.call("forward/dial", with(dial));
    let banner = loop {
        let data = old.event("stream/data");
        if data["stream"] == dialed["output"] {
            break data["text"].as_str().map_or_else(|| decoded(&data), str::to_owned);
        }
    };
    assert!(banner.starts_with("SSH-2.0-"), "{banner}");
    old.notify("stream/data", json!({ "stream": dialed["input"], "offset": 0, "text": "bye\n" }));
    assert_eq!(old.event("forward/dialDone")["forward"], dialed["forward"]);
    assert!(old.asked.iter().any(|method| method == "auth/hostKey"), "{:?}", old.asked);
    old.call("link/close", json!({}));
    assert!(shared.pid().is_some(), "the core stays");

    let mut old = OldClient::attach(&shared.socket(), "v1.L1.json");
    let client = json!({ "name": "old", "version": "0", "kind": "program" });
    let offer = json!({ "majors": [1], "level": 1 });
    old.call("initialize", json!({ "protocol": offer, "client": client }));
    old.call("core/shutdown", json!({ "graceMs": 1000 }));
}

/// Questions that start nothing.
fn asks(old: &mut OldClient, settings: &Value) {
    old.call("core/ping", json!({}));
    old.call("core/info", json!({}));
    assert!(old.call("core/stats", json!({}))["connections"].is_u64());
    let resolved = old.call("group/resolve", json!({ "expr": "n[1-3]", "settings": settings }));
    assert_eq!(resolved["nodes"], json!(["n1", "n2", "n3"]));
    let folded = old.call("group/fold", json!({ "sets": [["n1", "n2"]] }));
    assert_eq!(folded["exprs"], json!(["n[1-2]"]));
    old.call("group/list", json!({ "settings": settings }));
    old.call("node/resolve", json!({ "node": "n1", "settings": settings }));
    old.call("config/check", json!({ "settings": settings }));
    let discovered = old.call("rpc.discover", json!({}));
    let names: Vec<_> =
        discovered["methods"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    for method in old.methods() {
        assert!(names.contains(&&json!(method)), "{method} is gone");
    }
}

/// Runs with bytes both ways, signals, and a cancel.
fn runs(old: &mut OldClient, settings: &Value) {
    let start = |command: &str, stdin: &str| {
        json!({
            "nodes": "127.0.0.[1-2]", "settings": settings, "stdin": stdin,
            "action": { "command": command },
        })
    };
    let started = old.call("exec/start", start("cat; echo err >&2; exit 3", "stream"));
    let stdin = started["stdin"].clone();
    old.notify("stream/data", json!({ "stream": stdin, "offset": 0, "text": "hello\n" }));
    old.notify("stream/end", json!({ "stream": stdin, "bytes": 6 }));
    let done = old.event("exec/done");
    let seen = (&done["run"], &done["summary"]["failed"]);
    assert_eq!(seen, (&started["run"], &json!(2)), "{done}");
    let (mut ended, mut text) = (0, String::new());
    while ended < 2 {
        let event = old.event("exec/node");
        if event["state"] == "ended" {
            assert_eq!(event["exit"], json!({ "status": 3 }), "{event}");
            ended += 1;
        }
    }
    while text.len() < 2 * "hello\nerr\n".len() {
        let data = old.event("stream/data");
        text += data["text"].as_str().map_or_else(|| decoded(&data), str::to_owned).as_str();
    }
    assert_eq!((text.matches("hello\n").count(), text.matches("err\n").count()), (2, 2), "{text}");

    let run = old.call("exec/start", start("sleep 60", "null"))["run"].clone();
    while old.event("exec/node")["state"] != "executing" {}
    assert_eq!(old.call("exec/list", json!({}))["runs"][0]["run"], run);
    old.call("exec/signal", json!({ "run": run, "signal": "WINCH" }));
    old.call("exec/resize", json!({ "run": run, "cols": 80, "rows": 24 }));
    old.call("exec/cancel", json!({ "run": run }));
    assert_eq!(old.event("exec/done")["summary"]["cancelled"], 2);
}

fn decoded(data: &Value) -> String {
    let bytes = bssh_tests::base64(data["data"].as_str().expect("bytes"));
    String::from_utf8(bytes).expect("text")
}
