//! `bssh job attach` for a terminal that lives in the shared core: what is kept of its output, then
//! keys and bytes. `~.` at the start of a line hangs up, `~d` leaves it to the core again, `~~` is
//! a tilde.

use super::{failed, listening};
use crate::{exit, say};
use bssh_client::{Core, Pty};
use bssh_protocol::exec::Ended;
use bssh_protocol::link::StreamSender;
use bssh_term::{Escapes, RawMode, Signals, Stdin, put};
use bytes::Bytes;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use tokio::signal::unix::{SignalKind, signal};

/// Takes the terminal of this number, and gives its exit status, or 0 once it is left.
pub(super) async fn attach(core: &Core, pty: (u64, &str)) -> u8 {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        say("bssh: a terminal is attached to a terminal\nhint: bssh job wait waits for its end");
        return exit::USAGE;
    }
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let mut pty = match core.attach_pty(pty).await {
        Ok(pty) => pty,
        Err(error) => return failed(&error),
    };
    let left = {
        let (_raw, keyboard) = match RawMode::raw(&stdin).and_then(|raw| Ok((raw, Stdin::open()?)))
        {
            Ok(both) => both,
            Err(error) => {
                say(&format!("bssh: the terminal cannot be used: {error}"));
                return exit::GENERAL;
            }
        };
        let left = carry(&mut pty, keyboard, &mut signals).await;
        // Modes a program may have left on.
        put(bssh_term::UNDO.as_bytes());
        left
    };
    match left {
        Left::Detached => {
            let id = pty.handle().id();
            say(&format!("bssh: {}: it stays; bssh job attach {id} shows it again", pty.node));
            exit::OK
        }
        Left::HungUp => exit::OK,
        Left::Signal(status) => status,
        Left::Ended => match pty.exited().await {
            None => {
                say("bssh: the core is gone");
                exit::GENERAL
            }
            Some(exited) => {
                if let Some(failure) = &exited.failure {
                    say(&format!("bssh: {}: {}", exited.node, failure.message));
                }
                let ended =
                    Ended { exit: exited.exit, failure: exited.failure, ..Ended::default() };
                exit::node_status(Some(&ended))
            }
        },
    }
}

enum Left {
    Ended,
    Detached,
    HungUp,
    Signal(u8),
}

async fn carry(pty: &mut Pty, mut keyboard: Stdin, signals: &mut Signals) -> Left {
    let mut resized = match listening(signal(SignalKind::window_change())) {
        Ok(resized) => resized,
        Err(status) => return Left::Signal(status),
    };
    let mut keys = pty.keys();
    let mut escapes = Escapes::new(Some(b'~'), b".d");
    resize(pty).await;
    loop {
        tokio::select! {
            bytes = pty.next() => match bytes {
                Some(bytes) => put(&bytes),
                None => return Left::Ended,
            },
            typed = keyboard.next() => {
                let Some(typed) = typed else { return Left::Signal(exit::HUNG_UP) };
                let mut on = Vec::with_capacity(typed.len());
                let (wish, _) = escapes.filter(&typed, &mut on);
                type_in(&mut keys, on).await;
                match wish {
                    Some(b'd') => return Left::Detached,
                    Some(_) => {
                        // One that has ended by now needs none.
                        let _ = pty.close().await;
                        return Left::HungUp;
                    }
                    None => {}
                }
            }
            _ = resized.recv() => resize(pty).await,
            signal = signals.next() => return Left::Signal(signal.status()),
        }
    }
}

async fn type_in(keys: &mut Option<StreamSender>, bytes: Vec<u8>) {
    if let (Some(keys), false) = (keys, bytes.is_empty()) {
        // A node that takes no more ends the terminal by itself.
        let _ = keys.write(Bytes::from(bytes)).await;
    }
}

async fn resize(pty: &Pty) {
    if let Some(size) = bssh_term::size(io::stdin().as_fd()) {
        // One that has ended needs no size.
        let _ = pty.resize(size.cols, size.rows).await;
    }
}
