//! `bssh sftp`: a drop-in for OpenSSH's `sftp`, interactive and with `-b`.
//!
//! `args` (what was typed after `sftp`) → [`run`] (one connection, then line after line) → `line`
//! (words and quoting) → `command` (what a line means) → `session` (what is done), with `remote`
//! (requests to the node), `paths` (patterns on both sides), `carry` (files), `listing` (`ls`),
//! `local` (this side) and `input` (the line editor). Messages are those of `sftp`, so that
//! people and scripts find what they know.

pub(crate) mod args;
mod carry;
mod command;
mod input;
mod line;
mod listing;
mod local;
mod owner;
mod paths;
mod remote;
mod session;

use crate::{Around, say};
use args::{Batch, SftpArgs};
use bssh_client::{Core, Start};
use bssh_protocol::exec::Targets;
use input::{Typed, input};
use remote::Remote;
use session::{Next, Session};
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Read};
use std::time::Duration;

/// Everything that is not a command's own failure, as ssh has it.
const LOST: u8 = 255;
/// A command of a batch failed, or the usage was wrong.
const FAILED: u8 = 1;
/// How long a core may take to end after its last answer.
const LEAVE: Duration = Duration::from_secs(2);

/// Why a command came to nothing; what there was to say has been said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// It failed, and the next one may not.
    Failed,
    /// The node cannot be asked any more.
    Lost,
}

/// Says what went wrong with a command.
fn failed(text: &str) -> Trouble {
    say(text);
    Trouble::Failed
}

/// Runs `bssh sftp` with the words after it, and returns the exit status.
pub(crate) async fn run(words: &[OsString], around: &Around) -> u8 {
    let args = match args::parse(words) {
        Ok(args) => args,
        Err(why) => {
            say(&why);
            return FAILED;
        }
    };
    let lines: Box<dyn BufRead> = match &args.batch {
        Some(Batch::File(path)) => match std::fs::File::open(path) {
            Ok(file) => Box::new(std::io::BufReader::new(file)),
            Err(error) => {
                say(&format!("{} ({}).", local::reason(&error), path.display()));
                return LOST;
            }
        },
        _ => Box::new(std::io::BufReader::new(std::io::stdin())),
    };
    let start = Start { log_level: Some(args.log_level.to_owned()), ..around.starting("sftp") };
    let core = match Core::start(start).await {
        Ok(core) => core,
        Err(error) => {
            say(&format!("bssh: {error}"));
            return LOST;
        }
    };
    let status = talk(&core, &args, lines, around).await;
    core.leave(LEAVE).await;
    status
}

/// Connects, and does what the lines say.
async fn talk(core: &Core, args: &SftpArgs, lines: Box<dyn BufRead>, around: &Around) -> u8 {
    let (destination, settings) = (Some(args.destination.clone()), args.settings.clone());
    let targets = Targets { destination, settings, ..Targets::default() };
    let remote = match Remote::connect(core, targets).await {
        Ok(remote) => remote,
        Err(()) => return LOST,
    };
    if !args.quiet {
        say(&format!("Connected to {}.", args.host));
    }
    let mut session = Session::new(remote, args, around);
    match first(&mut session, args).await {
        Next::Line => {}
        Next::End => return 0,
        Next::Stop(trouble) => return status(trouble),
    }
    let interactive = args.batch.is_none() && std::io::stdin().is_terminal();
    let ended = match interactive {
        true => typed(&mut session, around).await,
        false => read(&mut session, lines).await,
    };
    ended.map_or_else(status, |()| 0)
}

fn status(trouble: Trouble) -> u8 {
    match trouble {
        Trouble::Failed => FAILED,
        Trouble::Lost => LOST,
    }
}

/// The path behind the host's name: a directory to begin in, or a file to get.
async fn first(session: &mut Session<'_>, args: &SftpArgs) -> Next {
    let Some(path) = &args.path else { return Next::Line };
    session.begin_at(path, args.local.as_deref()).await
}

/// Lines from a file or a pipe; each is shown before it is done.
async fn read(session: &mut Session<'_>, mut lines: Box<dyn BufRead>) -> Result<(), Trouble> {
    /// A longer line is no line.
    const LONGEST: u64 = 64 * 1024;
    loop {
        let mut line = Vec::new();
        let got = (&mut lines).take(LONGEST).read_until(b'\n', &mut line);
        match got {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(failed(&format!("cannot read: {}", local::reason(&error)))),
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        match session.line(&line, true).await {
            Next::Line => {}
            Next::End => return Ok(()),
            Next::Stop(trouble) => return Err(trouble),
        }
    }
}

/// Lines typed by a person.
async fn typed(session: &mut Session<'_>, around: &Around) -> Result<(), Trouble> {
    let history = around.environment.state.as_ref().map(|dir| dir.join("bssh/sftp-history"));
    let mut input = input(history).map_err(|why| failed(&format!("bssh: {why}")))?;
    loop {
        input.ask("sftp> ");
        let line = loop {
            match input.next().await {
                Typed::Line(line) => break line,
                Typed::Interrupted => break String::new(),
                Typed::Asked(ask) => {
                    let found = session.complete(&ask.word, ask.here).await;
                    // The editor may have given up waiting.
                    let _ = ask.answer.try_send(found);
                }
                Typed::End => return Ok(()),
                Typed::Failed(why) => return Err(failed(&format!("bssh: {why}"))),
            }
        };
        match session.line(line.as_bytes(), false).await {
            Next::Line => {}
            Next::End => return Ok(()),
            Next::Stop(trouble) => return Err(trouble),
        }
    }
}
