//! Registered methods over a link: the gate before `initialize`, wrong params with their place,
//! `strict`, results.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use bssh_protocol::error::CallError;
use bssh_protocol::exec::ExecParams;
use bssh_protocol::handshake::Empty;
use bssh_protocol::link::{Link, Options};
use bssh_protocol::methods::{CorePing, ExecCancel, ExecSignal, ExecStart};
use bssh_protocol::registry::{Router, RpcModule, register};
use bssh_protocol::{auth, params};
use std::io::Write as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

fn module() -> RpcModule<()> {
    let mut module = RpcModule::new(());
    register::<CorePing, _, _, _>(&mut module, |_, call, Empty {}| async move {
        call.greeted(false);
        Ok(bssh_protocol::handshake::Pong { unix_ms: 1 })
    });
    register::<ExecCancel, _, _, _>(&mut module, |_, call, _| async move {
        call.then(async { panic!("not after an error") });
        Err(CallError::new(bssh_protocol::error::Kind::HandleUnknown, "no run 9").at("params.run"))
    });
    register::<bssh_protocol::methods::Initialize, _, _, _>(
        &mut module,
        |_, call, params| async move {
            call.greeted(params.strict);
            Err(CallError::new(bssh_protocol::error::Kind::VersionUnsupported, "only in this test"))
        },
    );
    register::<ExecSignal, _, _, _>(&mut module, |_, _, _| async move { Ok(Empty {}) });
    register::<ExecStart, _, _, _>(&mut module, |_, _, params| async move {
        let nodes = vec![params.targets.nodes];
        Ok(bssh_protocol::exec::ExecStarted { run: 1, nodes, stdin: None, warnings: Vec::new() })
    });
    module
}

/// What is answered to these lines.
async fn transcript(lines: &[&str]) -> String {
    let (a, mut peer) = duplex(1 << 20);
    let (reader, writer) = tokio::io::split(a);
    let (_link, task) = Link::start(reader, writer, Router::new(module()), Options::core());
    let _task = tokio::spawn(task);
    let mut text = Vec::new();
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    peer.write_all(&text).await.unwrap();
    peer.shutdown().await.unwrap();
    let mut answers = String::new();
    peer.read_to_string(&mut answers).await.unwrap();
    answers
}

#[tokio::test]
async fn requests_and_their_answers() {
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocol":{"majors":[1],"level":1},"client":{"name":"t","version":"1","kind":"t"},"strict":true}}"#;
    let lines = [
        r#"{"jsonrpc":"2.0","id":0,"method":"exec/start","params":{"nodes":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":"early","method":"no/such","params":{}}"#,
        hello,
        r#"{"jsonrpc":"2.0","id":"late","method":"no/such","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"exec/start","params":{"nodes":"a"}}"#,
        r#"{"jsonrpc":"2.0","id":"three","method":"exec/start","params":{"nodes":"a","fanuot":3}}"#,
        r#"{"jsonrpc":"2.0","id":4,"method":"exec/start","params":{"nodes":"a","settings":{"confg":"x"}}}"#,
        r#"{"jsonrpc":"2.0","id":5,"method":"exec/cancel","params":{"run":9}}"#,
        r#"{"jsonrpc":"2.0","id":6,"method":"exec/signal","params":{"run":9,"signal":"TERM","_meta":{"x":1}}}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"exec/start"}"#,
        r#"{"jsonrpc":"2.0","id":"e\u0069ght \"8\"","method":"exec/signal","params":{"run":9,"signal":"é"}}"#,
        r#"{"jsonrpc":"2.0","method":"no/such/event","params":{}}"#,
    ];
    insta::assert_snapshot!(transcript(&lines).await);
}

#[test]
fn wrong_params_are_named() {
    let rows = [
        (r#"{"fanout":"x"}"#, "params.fanout: expected integer or null"),
        (r#"{"fanout":-1}"#, "params.fanout: expected 0 or more"),
        (r#"{"nodes":3}"#, "params.nodes: expected string"),
        (r#"{"exclude":["a",4]}"#, "params.exclude[1]: expected string"),
        (r#"{"settings":{"options":"x"}}"#, "params.settings.options: expected array"),
        (r#"{"stdout":"strem"}"#, "params.stdout: expected "),
        (r#"{"stdout":{"fd":"x"}}"#, "params.stdout: expected "),
        (r#"{"action":{"command":5}}"#, "params.action: expected "),
        (r#"{"env":{"A":1}}"#, "params.env.A: expected string"),
    ];
    for (text, expected) in rows {
        let error = params::read::<ExecParams>(text.as_bytes(), false).unwrap_err();
        assert!(error.message.starts_with(expected), "{text}: {}", error.message);
        assert_eq!(error.code, -32602);
        assert!(error.data.unwrap().at.unwrap().starts_with("params."));
    }
    let error = params::read::<bssh_protocol::exec::CancelRun>(b"{}", false).unwrap_err();
    assert_eq!(error.message, "params.run: expected a value");
    assert!(params::read::<ExecParams>(b"{\"new\":1}", false).is_ok());
    let strict = params::read::<ExecParams>(b"{\"new\":1}", true).unwrap_err();
    assert!(strict.message.starts_with("params.new: expected one of action, "), "{strict}");
}

#[test]
fn errors_never_quote_a_secret() {
    let text = r#"{"outcome":"answered","answers":{"a":["canary"]}}"#;
    let error = params::read::<auth::PromptAnswer>(text.as_bytes(), false).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
}
