//! The main job against a core made of the protocol's own parts: what ends up in files, sets and
//! the exit status.

use super::{Ui, exec};
use crate::args::Args;
use crate::environment::Environment;
use crate::last::LastRun;
use crate::output::Style;
use crate::prompt::TerminalPrompter;
use crate::request::{Terminals, request};
use bssh_client::{Core, Start};
use bssh_protocol::exec::{
    Ended, ExecDone, ExecNode, ExecStarted, Exit, Failure, NodeState, Phase, Summary,
};
use bssh_protocol::handshake::{Chosen, CoreCapabilities, CoreInfo, CoreLimits, InitializeResult};
use bssh_protocol::link::{Link, Options};
use bssh_protocol::methods::{ExecDoneEvent, ExecNodeEvent, ExecStart, Initialize};
use bssh_protocol::registry::{Router, RpcModule, register};
use bssh_term::{Look, Terminal};
use bytes::Bytes;
use clap::Parser;
use std::path::Path;
use std::sync::Arc;

const NODES: [&str; 3] = ["ok", "seven", "gone"];

async fn tell(link: &Link, index: u32, state: NodeState) {
    let node = NODES[index as usize].to_owned();
    link.notify::<ExecNodeEvent>(&ExecNode { run: 1, index, node, state }).await.unwrap();
}

/// Two nodes that write and exit, one that cannot be reached.
async fn run(link: Link, window: u64, die: bool) {
    for (index, status) in [(0, 0), (1, 7)] {
        let (mut out, mut err) = (link.new_sender(window), link.new_sender(window));
        let (stdout, stderr) = (Some(out.id()), Some(err.id()));
        tell(&link, index, NodeState::Executing { stdout, stderr, no_pty: false }).await;
        out.write(Bytes::from_static(b"x\0\xff")).await.unwrap();
        err.write(Bytes::from_static(b"oops")).await.unwrap();
        if die {
            return link.close();
        }
        out.finish().await.unwrap();
        err.finish().await.unwrap();
        let ended = Ended { exit: Some(Exit::Status(status)), ..Ended::default() };
        tell(&link, index, NodeState::Ended(ended)).await;
    }
    let failure = Failure { phase: Phase::Dial, message: "refused".into(), ..Failure::default() };
    let ended = Ended { failure: Some(failure), ..Ended::default() };
    tell(&link, 2, NodeState::Ended(ended)).await;
    let summary = Summary { nodes: 3, ok: 1, failed: 1, unreachable: 1, ..Summary::default() };
    link.notify::<ExecDoneEvent>(&ExecDone { run: 1, summary }).await.unwrap();
}

async fn core(die: bool) -> Core {
    let mut module = RpcModule::new(());
    register::<Initialize, _, _, _>(&mut module, |_, call, _| async move {
        call.link.peer_takes(true, 65536);
        call.greeted(false);
        let capabilities = CoreCapabilities { binary_frames: true, ..CoreCapabilities::default() };
        let limits =
            CoreLimits { max_frame: 1 << 24, max_data: 65536, window: 65536, max_requests: 1024 };
        Ok(InitializeResult {
            protocol: Chosen { major: 1, level: 1 },
            core: CoreInfo { name: "fake".into(), version: "0".into(), pid: 1 },
            session: 1,
            capabilities,
            features: Default::default(),
            limits,
        })
    });
    register::<ExecStart, _, _, _>(&mut module, move |_, call, params| async move {
        let (link, window) = (call.link.clone(), params.window.unwrap());
        call.then(async move {
            tokio::spawn(run(link, window, die));
        });
        let nodes = NODES.map(str::to_owned).to_vec();
        Ok(ExecStarted { run: 1, nodes, stdin: None, warnings: Vec::new() })
    });
    let (a, b) = tokio::io::duplex(1 << 16);
    let ((ar, aw), (br, bw)) = (tokio::io::split(a), tokio::io::split(b));
    let (_, task) = Link::start(ar, aw, Router::new(module), Options::core());
    tokio::spawn(async move { drop(task.await) });
    Core::attach(br, bw, Start::default()).await.unwrap()
}

async fn status(dir: &Path, die: bool, flags: &[&str]) -> u8 {
    let look = Look::new(Terminal::default());
    let ui = Ui {
        style: Style { out: look, err: look, out_terminal: false, err_terminal: false },
        prompter: Arc::new(TerminalPrompter::new(&mut Environment::default())),
        last: Some(LastRun::new(dir)),
    };
    let out = dir.join("out").display().to_string();
    let words = ["bssh", "-H", "x", "--output-dir", &out].into_iter();
    let args = Args::parse_from(words.chain(flags.iter().copied()).chain(["cmd"]));
    let request = request(&args, Some(&args.words), Terminals::default(), "").unwrap();
    exec(&core(die).await, request, &ui).await
}

#[tokio::test]
async fn every_node_ends_up_where_it_belongs() {
    let temp = tempfile::tempdir().unwrap();
    for (flags, want) in [(&[][..], 10), (&["-S"], 255), (&["--exit-code=main"], 0)] {
        assert_eq!(status(temp.path(), false, flags).await, want, "{flags:?}");
    }
    let read = |name: &str| std::fs::read(temp.path().join(name)).unwrap();
    assert_eq!(read("out/seven.out"), b"x\0\xff");
    assert_eq!(read("out/seven.err"), b"oops");
    assert_eq!(read("out/gone.out"), b"");
    assert_eq!(read("bssh/last/failed"), b"seven\ngone\n");
    assert_eq!(read("bssh/last/unreachable"), b"gone\n");
    let summary: serde_json::Value = serde_json::from_slice(&read("out/summary.json")).unwrap();
    assert_eq!(summary["nodes"][2]["failure"]["phase"], "dial");
}

#[tokio::test]
async fn a_lost_core_is_a_general_failure() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(status(temp.path(), true, &[]).await, 1);
}
