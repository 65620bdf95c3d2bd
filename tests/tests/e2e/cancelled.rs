//! Requests that are cancelled at any moment leave nothing on the node.

use bssh_tests::{Lab, Peer, net::free_port, until};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// Asks and cancels after so many other answers; the result if it came first.
fn cancelled(peer: &mut Peer, (method, params): (&str, Value), later: usize) -> Option<Value> {
    let id = peer.ask(method, params);
    for _ in 0..later {
        peer.call("core/ping", json!({}));
    }
    peer.send(&json!({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": id}}));
    peer.answer_to(id).get("result").cloned()
}

#[test]
fn a_listener_on_the_node_is_taken_back() {
    let lab = Lab::start();
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let settings = json!({"sshConfig": lab.sshd.ssh_config().display().to_string()});
    let spec = format!("{}:127.0.0.1:9", free_port());
    let params =
        json!({"nodes": "127.0.0.1", "settings": settings, "kind": "remote", "spec": spec});
    // Keeps the connection, so that only the listener is new.
    let other = json!({"nodes": "127.0.0.1", "settings": settings, "kind": "dynamic", "spec": "0"});
    peer.call("forward/open", other);
    for round in 0..40 {
        if let Some(opened) = cancelled(&mut peer, ("forward/open", params.clone()), round % 8) {
            peer.call("forward/close", json!({"forward": opened["forward"]}));
        }
        let mut again = Value::Null;
        let free = until(SOON, || match peer.try_call("forward/open", params.clone()) {
            Ok(opened) => {
                again = opened["forward"].clone();
                true
            }
            Err(_) => false,
        });
        assert!(free, "round {round}: somebody still listens there");
        peer.call("forward/close", json!({"forward": again}));
    }
}

#[test]
fn a_file_that_is_being_written_is_removed() {
    let lab = Lab::start();
    let mut peer = Peer::start(&lab.home, &[], &[]);
    let settings = json!({"sshConfig": lab.sshd.ssh_config().display().to_string()});
    let there = lab.home.path().join("there");
    std::fs::create_dir(&there).unwrap();
    let at = |name: &str| {
        json!({"nodes": "127.0.0.1", "settings": settings,
        "path": there.join(name).display().to_string()})
    };
    peer.call("fs/list", at(""));
    for round in 0..60 {
        let params = at(&format!("file{round}"));
        if let Some(opened) = cancelled(&mut peer, ("fs/openWrite", params), round % 6) {
            let end = json!({"stream": opened["stream"], "bytes": 0});
            peer.send(&json!({"jsonrpc": "2.0", "method": "stream/end", "params": end}));
        }
    }
    let left = || {
        let names = std::fs::read_dir(&there).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".bssh")).collect::<Vec<_>>()
    };
    assert!(until(SOON, || left().is_empty()), "{:?}", left());
}
