//! What follows `bssh run` and `bssh session`, as it was typed.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::ffi::OsString;

/// `bssh run -S NAME TARGET -- COMMAND…`
#[derive(Debug, ClapArgs)]
pub(crate) struct RunIn {
    /// The session; opened if there is none of this name on the node, as sessions: of the
    /// configuration says if it is there (also -S NAME)
    #[arg(long, value_name = "NAME", required = true)]
    pub session: String,
    /// See the session's state and leave it as it is; such commands run beside each other
    #[arg(long)]
    pub read: bool,
    /// Neither see nor change the state: what a command over ssh has, from the home directory on
    #[arg(long, conflicts_with = "read")]
    pub no_state: bool,
    /// Where to run this command; the session stays where it is
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// Environment for this command alone
    #[arg(long = "env", value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// In the background; bssh session output shows what it writes
    #[arg(long)]
    pub background: bool,
    /// When the connection is lost: end the command, or let it go on (its output is lost then, its
    /// end is not: bssh session wait) [kill]
    #[arg(long, value_name = "kill|keep", value_enum)]
    pub on_disconnect: Option<Fate>,
    /// When it is ended, end also what has left its process group (best effort, on Linux)
    #[arg(long)]
    pub kill_escaped: bool,
    /// Keep the command out of the node's process list
    #[arg(long)]
    pub private: bool,
    /// On a connection of its own, so that it neither waits for others nor holds them up
    #[arg(long)]
    pub dedicated: bool,
    /// The shell of a session that is opened now, by its path on the node
    #[arg(long, value_name = "PATH")]
    pub shell: Option<String>,
    /// What a session that is opened now keeps in files of outputs that --max-output shortens; 0:
    /// nothing [1G]
    #[arg(long, value_name = "BYTES", value_parser = crate::args::size)]
    pub spool: Option<u64>,
    /// The node (unless -H, -C, -g or the configuration say which), then the command
    #[arg(value_name = "TARGET -- COMMAND", required = true, trailing_var_arg = true)]
    pub words: Vec<OsString>,
}

/// What becomes of a command whose connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fate {
    Kill,
    Keep,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// The sessions of the shared core
    Ls,
    /// Everything about the sessions of this name
    Info { name: String, node: Option<String> },
    /// Forget their state and begin anew; what runs is ended
    Reset { name: String, node: Option<String> },
    /// End them and what runs in them
    Close { name: String, node: Option<String> },
    /// Go somewhere else, once what runs in them is done
    Cd { name: String, dir: String, node: Option<String> },
    /// Export variables in them
    Setenv {
        name: String,
        #[arg(value_name = "VARIABLE=VALUE", required = true)]
        vars: Vec<String>,
        /// In the session on this node only
        #[arg(long)]
        node: Option<String>,
    },
    /// Remove variables from them
    Unsetenv {
        name: String,
        #[arg(value_name = "VARIABLE", required = true)]
        vars: Vec<String>,
        /// In the session on this node only
        #[arg(long)]
        node: Option<String>,
    },
    /// Their state in their shell's own words: environment, functions, aliases, umask
    Snapshot { name: String, node: Option<String> },
    /// Wait for a job in their background; the exit status is the job's
    Wait { name: String, job: u64, node: Option<String> },
    /// What was started in their background
    Jobs { name: String, node: Option<String> },
    /// What a job has written; the exit status is the job's, 75 while it runs
    Output {
        name: String,
        job: u64,
        node: Option<String>,
        /// What it has written to stderr
        #[arg(long)]
        stderr: bool,
        /// Leave out so many bytes
        #[arg(long, value_name = "BYTES", default_value = "0")]
        offset: u64,
    },
    /// End a job
    Kill {
        name: String,
        job: u64,
        node: Option<String>,
        /// Its name without SIG
        #[arg(long, value_name = "NAME", default_value = "TERM")]
        signal: String,
    },
}

/// `-S NAME` behind `run` is the session; elsewhere it is another flag. So it is spelled out
/// before the words are read.
pub(crate) fn spelled_out(words: &[OsString]) -> Option<Vec<OsString>> {
    let run = words.iter().position(|w| w == "run")?;
    let rest = words.get(run..)?;
    let end = rest.iter().position(|w| w == "--").unwrap_or(rest.len());
    let is_session = |w: &OsString| w.to_str().is_some_and(|w| w.starts_with("-S"));
    let at = run + rest.get(..end)?.iter().position(is_session)?;
    let mut words = words.to_vec();
    let name = words.get(at)?.to_str()?.strip_prefix("-S")?.to_owned();
    match name.is_empty() {
        true => *words.get_mut(at)? = "--session".into(),
        false => *words.get_mut(at)? = format!("--session={name}").into(),
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_spelled_out_where_it_is_one() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, want) in [
            ("run -S a host -- ls", Some("run --session a host -- ls")),
            ("-H x run -Sa -- ls -S", Some("-H x run --session=a -- ls -S")),
            ("-H x -S ls", None),
            ("run host -- ls -S", None),
        ] {
            assert_eq!(spelled_out(&words(line)), want.map(words), "{line}");
        }
    }
}
