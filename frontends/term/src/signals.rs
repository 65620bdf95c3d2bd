//! The signals that end a frontend, but for those it was started to ignore: by nohup(1), or by a
//! script that has put it into the background.

use std::io;
use std::mem::MaybeUninit;
use std::ptr::null;
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
        Ok(Signals {
            interrupt: unless_ignored(SignalKind::interrupt())?,
            terminate: unless_ignored(SignalKind::terminate())?,
            hang_up: unless_ignored(SignalKind::hangup())?,
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

fn unless_ignored(kind: SignalKind) -> io::Result<Option<Stream>> {
    if is_ignored(kind) { Ok(None) } else { signal(kind).map(Some) }
}

async fn received(stream: &mut Option<Stream>) {
    match stream {
        Some(stream) => drop(stream.recv().await),
        None => std::future::pending().await,
    }
}

#[allow(unsafe_code, reason = "sigaction(2) has no safe form in the tree")]
fn is_ignored(kind: SignalKind) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed without a new action; the present one is written to `action`,
    // all zeros before, which is a value of its type, too.
    let action = unsafe {
        libc::sigaction(kind.as_raw_value(), null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}
