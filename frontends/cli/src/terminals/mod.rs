//! `-t` on several nodes: a terminal on each, keys to all active ones, one of them on the screen.
//!
//! The screen belongs to the shown node: its bytes reach the terminal unread, as ssh's do. What
//! the others say is kept (`tape`), so that the screen can be theirs when the person switches.
//! `prefix` finds our own commands among the keys (Ctrl-], then a letter); `board` is the nodes
//! and who gets keys; this file is the loop. The terminal is put in order again however it ends.

mod board;
mod prefix;
mod tape;

use crate::args::Args;
use crate::commands::{Ui, failed, job, listening};
use crate::{exit, request, say};
use board::{Board, Over};
use bssh_client::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::exec::{Action, Ended, Summary, Targets};
use bssh_protocol::methods::GroupResolve;
use bssh_protocol::node::ResolveParams;
use bssh_protocol::pty::{PtyExited, PtyOpenParams};
use bssh_term::{RawMode, Signals, Stdin};
use bytes::Bytes;
use futures_util::stream::{BoxStream, SelectAll, StreamExt};
use prefix::{Prefix, Wish};
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Kept by the core for each terminal: little, for `tape` keeps more.
const REPLAY: u64 = 64 << 10;
/// How many nodes are connected to at once.
const FANOUT: usize = 64;

/// What one terminal does.
pub(crate) enum Said {
    Bytes(usize, Bytes),
    /// None: the core is gone.
    Ended(usize, Option<PtyExited>),
}

/// Is this for us? Then with a terminal on both sides, which is `here`.
///
/// # Errors
/// There is none.
pub(crate) fn is_wanted(args: &Args, here: bool) -> Result<bool, String> {
    match (args.connect.tty, here) {
        (1, false) => {
            Err("-t needs a terminal here; -tt gives the commands one without".to_owned())
        }
        (wanted, here) => Ok(wanted > 0 && here),
    }
}

/// Opens the terminals and carries keys and bytes until all have ended or the person leaves.
pub(crate) async fn terminals(
    core: &Core,
    args: &Args,
    action: Option<Action>,
    (ui, term): (&Ui, &str),
) -> u8 {
    let Targets { nodes: expr, exclude, settings, .. } = request::targets(args);
    let params = ResolveParams { expr, exclude, settings: settings.clone() };
    let nodes = match core.call::<GroupResolve>(&params).await {
        Ok(found) => found.nodes,
        Err(error) => return failed(&error),
    };
    let mut signals = match listening(Signals::listen()) {
        Ok(signals) => signals,
        Err(status) => return status,
    };
    let mut resized = match listening(signal(SignalKind::window_change())) {
        Ok(resized) => resized,
        Err(status) => return status,
    };
    let command = match action {
        Some(Action::Command(text)) => Some(text),
        Some(_) => {
            say("bssh: with -t a command must be UTF-8");
            return exit::USAGE;
        }
        None => None,
    };
    let like = PtyOpenParams {
        targets: Targets { settings, ..Targets::default() },
        command,
        forward_agent: args.connect.agent.forwards(),
        agent: args.connect.agent.settings(),
        replay: Some(REPLAY),
        window: Some(REPLAY),
        ..bssh_term::terminal(term, (80, 24)).into()
    };
    let fanout = args.run.fanout.map_or(FANOUT, |n| n as usize);
    let mut board = Board::new(nodes, ui.style.out);
    let mut said = SelectAll::new();
    tokio::select! {
        () = open_all(core, &like, (&mut board, &mut said), fanout) => {}
        signal = signals.next() => return signal.status(),
    }
    let left = match board.n_live() {
        0 => Ok(Left::Gone(None)),
        _ => carry(&mut board, &mut said, (&mut signals, &mut resized), core.is_shared()).await,
    };
    let left = match left {
        Ok(Left::Detached) => {
            say("bssh: the terminals stay; bssh job attach shows one again");
            return job::keep(core, board.stay()).await;
        }
        Ok(Left::Gone(status)) => Ok(status),
        Err(error) => Err(error),
    };
    board.report(core, ui).await;
    match left {
        Ok(Some(status)) => status,
        Ok(None) => status(args, &board),
        Err(error) => {
            say(&format!("bssh: the terminal cannot be used: {error}"));
            exit::GENERAL
        }
    }
}

/// Connects to all nodes; those that cannot be had are told at once.
async fn open_all(
    core: &Core,
    like: &PtyOpenParams,
    (board, said): (&mut Board, &mut SelectAll<BoxStream<'static, Said>>),
    fanout: usize,
) {
    let names: Vec<String> = board.names().map(str::to_owned).collect();
    let open = |(n, name): (usize, String)| async move {
        let mut params = like.clone();
        params.targets.nodes = name;
        (n, core.pty(&params).await)
    };
    let opening = futures_util::stream::iter(names.into_iter().enumerate()).map(open);
    let mut opening = std::pin::pin!(opening.buffer_unordered(fanout.max(1)));
    while let Some((n, opened)) = opening.next().await {
        match opened {
            Ok(mut pty) => {
                board.opened(n, pty.keys(), pty.handle());
                let bytes = futures_util::stream::unfold(Some(pty), move |pty| async move {
                    let mut pty = pty?;
                    match pty.next().await {
                        Some(bytes) => Some((Said::Bytes(n, bytes), Some(pty))),
                        None => Some((Said::Ended(n, pty.exited().await), None)),
                    }
                });
                said.push(bytes.boxed());
            }
            Err(error) => refused(board, n, &error),
        }
    }
}

fn refused(board: &mut Board, n: usize, error: &CallError) {
    say(&format!("bssh: {}", error.advised()));
    board.failed(n, &error.message);
}

/// What can happen.
enum Next {
    Signal(u8),
    Resized,
    Typed(Option<Vec<u8>>),
    Said(Option<Said>),
}

/// Why the terminals are no longer carried.
enum Left {
    /// The status of a signal; none: all have ended.
    Gone(Option<u8>),
    /// They stay in the core.
    Detached,
}

async fn carry(
    board: &mut Board,
    said: &mut SelectAll<BoxStream<'static, Said>>,
    (signals, resized): (&mut Signals, &mut Signal),
    shared: bool,
) -> io::Result<Left> {
    let mut stdin = Stdin::open()?;
    let raw = RawMode::raw(io::stdin())?;
    let mut prefix = Prefix::default();
    board.begin();
    let mut left = Left::Gone(None);
    loop {
        let next = tokio::select! {
            biased;
            signal = signals.next() => Next::Signal(signal.status()),
            _ = resized.recv() => Next::Resized,
            typed = stdin.next() => Next::Typed(typed),
            () = board.feed() => continue,
            event = said.next() => Next::Said(event),
        };
        match next {
            Next::Signal(status) => {
                left = Left::Gone(Some(status));
                break;
            }
            Next::Resized => board.resize(),
            Next::Typed(None) => {
                left = Left::Gone(Some(exit::HUNG_UP));
                break;
            }
            Next::Typed(Some(bytes)) => {
                let (mut leave, mut detach) = (false, false);
                for wish in prefix.read(&bytes) {
                    leave |= wish == Wish::Leave;
                    match wish {
                        Wish::Detach if shared => detach = true,
                        wish => board.obey(wish),
                    }
                }
                if leave || detach {
                    left = if leave { Left::Gone(Some(exit::OK)) } else { Left::Detached };
                    break;
                }
            }
            Next::Said(Some(Said::Bytes(n, bytes))) => board.bytes(n, &bytes),
            Next::Said(Some(Said::Ended(n, exited))) => board.ended(n, exited),
            Next::Said(None) => break,
        }
    }
    board.leave();
    drop(raw);
    Ok(left)
}

/// By the rule of every run.
fn status(args: &Args, board: &Board) -> u8 {
    let mut summary = Summary { nodes: 0, ..Summary::default() };
    let ends: Vec<Option<Ended>> = board.ends().map(Over::as_ended).collect();
    for (end, over) in ends.iter().zip(board.ends()) {
        summary.nodes += 1;
        match (over, end) {
            (Over::Failed(_), _) => summary.unreachable += 1,
            (_, Some(ended)) if ended.is_ok() => summary.ok += 1,
            (_, Some(ended)) if ended.failure.is_some() => summary.lost += 1,
            _ => summary.failed += 1,
        }
    }
    exit::status(request::rule(args), &summary, ends.iter().map(Option::as_ref))
}
