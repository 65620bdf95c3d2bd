//! `:shell` and `--single-node`: the terminal handed over to a pty on one node, and back.
//!
//! Raw bytes both ways; `~.` at the start of a line hangs up, `~~` is a tilde.

use bssh_client::{Core, Pty};
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::exec::{Exit, Targets};
use bssh_protocol::pty::PtyOpenParams;
use bssh_term::{Escapes, RawMode, Signal, Signals, Stdin, UNDO, put};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use tokio::signal::unix::{SignalKind, signal};

/// How a shell was left.
pub(crate) enum Left {
    /// It has ended, or was hung up on; its exit status.
    Ended(u8),
    /// A signal ends all of us, or the terminal has gone; the status for that.
    Signal(u8),
}

/// A shell on one node.
///
/// # Errors
/// Why there is none.
pub(crate) async fn shell(
    core: &Core,
    targets: Targets,
    term: &str,
    (forward_agent, agent): (bool, Option<AgentSettings>),
) -> Result<Left, String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err("a shell needs a terminal".to_owned());
    }
    let like = bssh_term::terminal(term, (80, 24)).into();
    let params = PtyOpenParams { targets, forward_agent, agent, ..like };
    let mut pty = core.pty(&params).await.map_err(|e| e.advised())?;
    crate::say(&format!("on {}; ~. at the start of a line comes back", pty.node));
    let cannot = |error| format!("the terminal cannot be used: {error}");
    let left = {
        let _raw = RawMode::raw(&stdin).map_err(cannot)?;
        carry(&mut pty).await.map_err(cannot)?
    };
    // Modes a program may have left on.
    put(UNDO.as_bytes());
    match left {
        Some(left) => Ok(left),
        None => ended(&mut pty).await.map(Left::Ended),
    }
}

/// None: the node has said its last.
async fn carry(pty: &mut Pty) -> std::io::Result<Option<Left>> {
    let mut keyboard = Stdin::open()?;
    let mut keys = pty.keys();
    let mut signals = Signals::listen()?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut escapes = Escapes::new(Some(b'~'), b".");
    loop {
        tokio::select! {
            bytes = pty.next() => match bytes {
                Some(bytes) => put(&bytes),
                None => return Ok(None),
            },
            typed = keyboard.next() => {
                let Some(typed) = typed else {
                    return Ok(Some(Left::Signal(Signal::HangUp.status())));
                };
                let mut bytes = Vec::with_capacity(typed.len());
                let (hang_up, _) = escapes.filter(&typed, &mut bytes);
                if let Some(keys) = &mut keys
                    && !bytes.is_empty()
                {
                    // A node that takes no more ends the pty by itself.
                    let _ = keys.write(bytes.into()).await;
                }
                if hang_up.is_some() {
                    return Ok(Some(Left::Ended(0)));
                }
            }
            _ = resized.recv() => {
                if let Some(size) = bssh_term::size(std::io::stdin().as_fd()) {
                    // One that has ended needs no size.
                    let _ = pty.resize(size.cols, size.rows).await;
                }
            }
            signal = signals.next() => return Ok(Some(Left::Signal(signal.status()))),
        }
    }
}

/// # Errors
/// Why there is no exit status.
async fn ended(pty: &mut Pty) -> Result<u8, String> {
    let exited = pty.exited().await.ok_or("the core is gone")?;
    match (exited.failure, exited.exit) {
        (Some(failure), _) => Err(format!("{}: {}", exited.node, failure.message)),
        (None, Some(Exit::Status(status))) => Ok(u8::try_from(status & 0xff).unwrap_or(255)),
        _ => Ok(255),
    }
}
