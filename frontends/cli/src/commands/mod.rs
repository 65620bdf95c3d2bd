//! What is done: one file per command. Each takes a core and what was asked, and returns the
//! exit status.

mod agent;
pub(crate) mod cache;
mod config;
mod exec;
#[cfg(test)]
mod exec_tests;
mod explain;
mod fold;
mod follow;
mod forward;
mod gate;
mod hold;
pub(crate) mod job;
mod list;
mod nodes;
mod sandbox;
pub(crate) mod shared;
mod sync;
mod terminal;
mod transfer;
mod watch;

pub(crate) use agent::agent;
pub(crate) use config::check;
pub(crate) use exec::exec;
pub(crate) use explain::explain;
pub(crate) use fold::Folder;
pub(crate) use forward::forward;
pub(crate) use gate::gate;
pub(crate) use list::list;
pub(crate) use nodes::nodes;
pub(crate) use sync::sync;
pub(crate) use transfer::transfer;
pub(crate) use watch::listening;

use crate::last::LastRun;
use crate::output::{Style, cause};
use crate::prompt::TerminalPrompter;
use crate::{exit, print, say};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{Ended, Failure};
use serde::Serialize;
use std::sync::Arc;

/// Where and how to show things.
pub(crate) struct Ui {
    pub style: Style,
    pub prompter: Arc<TerminalPrompter>,
    /// Where the sets of the last run are kept, if there is a home.
    pub last: Option<LastRun>,
}

/// Says why a call failed, and returns the status for it.
pub(crate) fn failed(error: &CallError) -> u8 {
    say(&format!("bssh: {}", error.advised()));
    match [Kind::Disconnected, Kind::Internal, Kind::Timeout].iter().any(|k| k.code() == error.code)
    {
        true => exit::GENERAL,
        false => exit::USAGE,
    }
}

/// Says why a node's files as a whole did not get where they should.
fn failed_whole(node: &str, failure: &Failure) {
    let end = Ended { failure: Some(failure.clone()), ..Ended::default() };
    say(&format!("bssh: {node}: {}", cause(node, &end).unwrap_or_default()));
    if let Some(hint) = &failure.hint {
        say(&format!("hint: {hint}"));
    }
}

/// Says the warnings that came with an answer.
pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        say(&format!("bssh: warning: {warning}"));
    }
}

/// One JSON object on stdout.
pub(crate) fn print_json(object: &impl Serialize) -> u8 {
    #[derive(Serialize)]
    struct Versioned<'a, T> {
        schema: u32,
        #[serde(flatten)]
        object: &'a T,
    }
    match serde_json::to_string(&Versioned { schema: 1, object }) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => {
            say(&format!("bssh: {error}"));
            exit::GENERAL
        }
    }
}

/// A longer cell does not push those of other rows away.
const WIDEST: usize = 40;

/// Columns padded to the widest cell, two blanks apart; the last column is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max();
    let widths: Vec<usize> =
        (0..columns).map(|c| width(c).unwrap_or_default().min(WIDEST)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let rows = [row(&["a", "long", "x"]), row(&["wide", "b", ""])];
        assert_eq!(table(&rows), "a     long  x\nwide  b\n");
        let rows = [row(&[&"x".repeat(500), "end"]), row(&["a", "end"])];
        let lengths: Vec<_> = table(&rows).lines().map(str::len).collect();
        assert_eq!(lengths, [505, WIDEST + 5], "one long cell does not move all others");
    }
}
