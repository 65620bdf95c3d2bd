//! Ends a command: on request, when its time is up, and until nothing of it is left.

use super::remote::Sent;
use super::{Attached, Order};
use bssh_protocol::session::SessionExecParams;
use bssh_ssh::ChannelWriter;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};

/// From TERM to KILL.
const GRACE: Duration = Duration::from_secs(5);
/// A command that has not written down its number yet is asked for again this often.
const NOT_YET: Duration = Duration::from_millis(25);
const NOT_YET_TRIES: u32 = 40;
/// Ctrl-C.
const INTERRUPT: &[u8] = b"\x03";

/// Ends a command on request, in time, or when it says too much or cannot have its stdin.
#[derive(Default)]
pub(super) struct Control {
    pub timed_out: bool,
    pub interrupted: bool,
}

impl Control {
    /// Never has anything more to do than the command lasts.
    pub(super) async fn steer(
        &mut self,
        (attached, number): (&Attached, u64),
        params: &SessionExecParams,
        (writer, break_off): (&ChannelWriter, &Notify),
        orders: &mut mpsc::Receiver<Order>,
    ) {
        let limit = params.timeout_ms.filter(|ms| *ms > 0).map(Duration::from_millis);
        let mut time_is_up = pin!(async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        });
        let mut open = true;
        self.timed_out = loop {
            tokio::select! {
                order = orders.recv(), if open => match order {
                    Some(Order::Signal(signal)) => {
                        self.interrupted = true;
                        if params.pty.is_some() && signal == "INT" {
                            // As a person would: whatever is in front gets it.
                            let _ = writer.write(INTERRUPT.into()).await;
                        }
                        send(attached, &signal, number).await;
                    }
                    Some(Order::Resize(size)) => {
                        // A channel that has ended says so when it is read.
                        let _ = writer.window_change(&size).await;
                    }
                    Some(Order::End) => {
                        self.interrupted = true;
                        break false;
                    }
                    None => open = false,
                },
                () = &mut time_is_up => break true,
                () = break_off.notified() => break false,
            }
        };
        send(attached, "TERM", number).await;
        tokio::time::sleep(params.kill_grace_ms.map_or(GRACE, Duration::from_millis)).await;
        send(attached, "KILL", number).await;
        std::future::pending::<()>().await;
    }
}

/// Sends a signal to a command that may not have written down its number yet.
async fn send(attached: &Attached, signal: &str, number: u64) {
    for _ in 0..NOT_YET_TRIES {
        if attached.helper.signal(signal, number).await != Some(Sent::NoSuch) {
            return;
        }
        tokio::time::sleep(NOT_YET).await;
    }
}

/// The shell is gone, but what it started may not have heeded TERM, or may not have got it.
pub(super) async fn see_it_gone(attached: &Attached, number: u64, params: &SessionExecParams) {
    let grace = params.kill_grace_ms.map_or(GRACE, Duration::from_millis);
    let end = Instant::now() + grace;
    if params.kill_escaped {
        attached.helper.signal("TERM", number).await;
    }
    while attached.helper.signal("0", number).await == Some(Sent::Yes) {
        if Instant::now() >= end {
            attached.helper.signal("KILL", number).await;
            return;
        }
        tokio::time::sleep(NOT_YET).await;
    }
}
