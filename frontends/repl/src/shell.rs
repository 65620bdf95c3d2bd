//! `:shell` and `--single-node`: the terminal handed over to a pty on one node, and back.
//!
//! Raw bytes both ways; `~.` at the start of a line hangs up, `~~` is a tilde.

use bssh_client::{Core, Pty};
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::exec::{Exit, Targets};
use bssh_protocol::pty::PtyOpenParams;
use bssh_term::{RawMode, Stdin, Tilde};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use tokio::signal::unix::{SignalKind, signal};

/// A shell on one node, until it ends or is hung up on; gives its exit status.
///
/// # Errors
/// Why there is none.
pub(crate) async fn shell(
    core: &Core,
    targets: Targets,
    term: &str,
    (forward_agent, agent): (bool, Option<AgentSettings>),
) -> Result<u8, String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err("a shell needs a terminal".to_owned());
    }
    let size = bssh_term::size(stdin.as_fd());
    let params = PtyOpenParams {
        targets,
        forward_agent,
        agent,
        term: term.to_owned(),
        cols: size.map_or(80, |s| s.cols),
        rows: size.map_or(24, |s| s.rows),
        px_width: size.map_or(0, |s| s.px_width),
        px_height: size.map_or(0, |s| s.px_height),
        modes: bssh_term::modes(stdin.as_fd()).unwrap_or_default(),
        ..PtyOpenParams::default()
    };
    let mut pty = core.pty(&params).await.map_err(|e| e.to_string())?;
    crate::say(&format!("on {}; ~. at the start of a line comes back", pty.node));
    let status = {
        let _raw = RawMode::raw(&stdin).map_err(|e| e.to_string())?;
        carry(&mut pty).await?
    };
    // Modes a program may have left on: mouse, bracketed paste, alternate screen, no cursor.
    let back = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1049l\x1b[?25h\x1b[0m";
    let _ = std::io::stdout().write_all(back.as_bytes());
    Ok(status)
}

async fn carry(pty: &mut Pty) -> Result<u8, String> {
    let mut keyboard = Stdin::open().map_err(|e| format!("cannot read the keyboard: {e}"))?;
    let mut keys = pty.keys();
    let mut resized = signal(SignalKind::window_change()).map_err(|e| e.to_string())?;
    let mut ended = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut tilde = Tilde::new(b".");
    loop {
        tokio::select! {
            bytes = pty.next() => match bytes {
                Some(bytes) => {
                    let mut out = std::io::stdout().lock();
                    // A screen that has gone cannot be told about.
                    let _ = out.write_all(&bytes).and_then(|()| out.flush());
                }
                None => break,
            },
            Some(typed) = keyboard.next() => {
                let (bytes, hang_up) = tilde.pass(&typed);
                if let Some(keys) = &mut keys
                    && !bytes.is_empty()
                {
                    // A node that takes no more ends the pty by itself.
                    let _ = keys.write(bytes.into()).await;
                }
                if hang_up.is_some() {
                    return Ok(0);
                }
            }
            _ = resized.recv() => {
                if let Some(size) = bssh_term::size(std::io::stdin().as_fd()) {
                    let _ = pty.resize(size.cols, size.rows).await;
                }
            }
            _ = ended.recv() => return Ok(143),
        }
    }
    let exited = pty.exited().await.ok_or("the core is gone")?;
    match (exited.failure, exited.exit) {
        (Some(failure), _) => Err(format!("{}: {}", exited.node, failure.message)),
        (None, Some(Exit::Status(status))) => Ok(u8::try_from(status & 0xff).unwrap_or(255)),
        _ => Ok(255),
    }
}
