//! What escapes do to a session besides ending it: `~#`, `~R`, `~v` and `~V`, `~&`.

use super::effective::LogLevel;
use super::show;
use bssh_client::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::exec::{RunId, RunRef};
use bssh_protocol::forward::{DrainParams, ForwardEntry};
use bssh_protocol::handshake::{LinkCloseParams, LogLevelParams};
use bssh_protocol::link::StreamSender;
use bssh_protocol::methods::{ExecRekey, ForwardDrain, ForwardList, LinkClose, LogSetLevel};
use futures_util::future::try_join_all;
use std::time::Duration;

/// A node that does not read must not hold us back.
const FAREWELL: Duration = Duration::from_secs(1);
/// ^D, which ends a shell at its prompt.
const END_OF_INPUT: &[u8] = b"\x04";

/// `~#`
pub(super) async fn list_forwards(core: &Core) {
    let forwards = core.call::<ForwardList>(&Default::default()).await;
    show("The following forwards are open:\r\n");
    for f in forwards.map(|list| list.forwards).unwrap_or_default() {
        let (bound, open) = (&f.bound, f.connections);
        show(&format!("  {bound} {:?} {} ({open} connections)\r\n", f.kind, f.spec));
    }
}

/// `~R`: as in ssh nothing is said about it but with `-v`.
pub(super) async fn rekey(core: &Core, run: RunId) {
    if let Err(error) = core.call::<ExecRekey>(&RunRef { run }).await {
        show(&format!("{error}\r\n"));
    }
}

/// `~v` and `~V`: the level from now on.
pub(super) async fn verbosity(core: &Core, level: LogLevel, up: bool, typed: &str) -> LogLevel {
    let wanted = level.next(up);
    let params = LogLevelParams { level: wanted.name().to_owned() };
    match core.call::<LogSetLevel>(&params).await {
        Ok(_) => {
            show(&format!("{typed} [LogLevel {}]\r\n", wanted.name().to_uppercase()));
            wanted
        }
        Err(error) => {
            show(&format!("{error}\r\n"));
            level
        }
    }
}

/// Nothing new comes through the forwards; returns when what is open has ended.
///
/// # Errors
/// The core is gone.
pub(super) async fn see_through(core: &Core) -> Result<(), CallError> {
    let forwards = core.call::<ForwardList>(&Default::default()).await?.forwards;
    let wait = |f: &ForwardEntry| DrainParams { forward: f.forward, wait: true };
    let waits: Vec<_> = forwards.iter().map(wait).collect();
    try_join_all(waits.iter().map(|one| core.call::<ForwardDrain>(one))).await.map(drop)
}

/// `~&`: nothing new comes through the forwards, the shell is told to end, and the core sees
/// what is open through to its end without us.
///
/// # Errors
/// The core does not let go of us.
pub(super) async fn background(
    core: &Core,
    run: RunId,
    stdin: Option<StreamSender>,
) -> Result<(), CallError> {
    let forwards = core.call::<ForwardList>(&Default::default()).await?.forwards;
    let mut keep = vec![run];
    for forward in forwards.iter().map(|f| f.forward) {
        core.call::<ForwardDrain>(&DrainParams { forward, wait: false }).await?;
        // One that nobody uses is over at once, and nothing to keep.
        keep.push(forward);
    }
    if let Some(mut stdin) = stdin {
        // A node that has gone is what this is about to lead to anyway.
        let _ = tokio::time::timeout(FAREWELL, stdin.write(END_OF_INPUT.into())).await;
        let _ = stdin.finish().await;
    }
    core.call::<LinkClose>(&LinkCloseParams { keep }).await.map(drop)
}
