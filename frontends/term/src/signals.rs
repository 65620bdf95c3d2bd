//! The signals that end a frontend, but for those it was started to ignore: by nohup(1), or by a
//! script that has put it into the background.

use bssh_protocol::Ignored;
use std::io;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    Terminate,
    HangUp,
}

impl Signal {
    pub fn number(self) -> u8 {
        match self {
            Signal::HangUp => 1,
            Signal::Interrupt => 2,
            Signal::Terminate => 15,
        }
    }

    /// The exit status of what it ends.
    pub fn status(self) -> u8 {
        128 + self.number()
    }
}

/// Ends this process as the signal does where nobody listens, with the terminal in order: a shell's
/// loop goes on after an exit status, and stops where its command was interrupted.
pub fn die_of(signal: i32) {
    crate::restore();
    // It returns only for what is no signal.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Listens for them.
#[derive(Debug)]
pub struct Signals {
    interrupt: Option<Stream>,
    terminate: Option<Stream>,
    hang_up: Option<Stream>,
}

impl Signals {
    /// From here on these signals end nothing by themselves; what is ignored stays ignored. Must
    /// be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system has none to give.
    pub fn listen() -> io::Result<Signals> {
        let ignored = Ignored::of(&std::fs::read_to_string(Ignored::STATUS).unwrap_or_default());
        let heeded = |kind: SignalKind| match ignored.has(kind.as_raw_value()) {
            true => Ok(None),
            false => signal(kind).map(Some),
        };
        Ok(Signals {
            interrupt: heeded(SignalKind::interrupt())?,
            terminate: heeded(SignalKind::terminate())?,
            hang_up: heeded(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            () = received(&mut self.interrupt) => Signal::Interrupt,
            () = received(&mut self.terminate) => Signal::Terminate,
            () = received(&mut self.hang_up) => Signal::HangUp,
        }
    }
}

async fn received(stream: &mut Option<Stream>) {
    match stream {
        Some(stream) => drop(stream.recv().await),
        None => std::future::pending().await,
    }
}
