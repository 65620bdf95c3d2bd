//! The cluster grammar: what was typed, nothing looked up.
//!
//! Only the shapes of values are checked here (numbers, durations, sizes). What they mean
//! together is [`crate::request`]'s business; which grammar applies at all is
//! [`crate::grammar`]'s.

use crate::agent_args::AgentArgs;
use crate::named::{RunIn, SessionVerb};
use crate::shared_verbs::{SharedArgs, SharedVerb};
use crate::verbs::{AgentVerb, ForwardVerb, GateVerb, NodesVerb};
use crate::via_args::ViaArgs;
use bssh_protocol::exec::Threshold;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The command line of the cluster grammar.
#[derive(Debug, Parser)]
#[command(
    name = "bssh",
    version,
    about = "Runs commands on many nodes over SSH, or is a plain ssh",
    override_usage = "bssh -H NODES [OPTIONS] COMMAND…\n       bssh [OPTIONS] SUBCOMMAND …\n       \
                      bssh [ssh options] [user@]host [COMMAND…]",
    after_help = AFTER_HELP,
    subcommand_precedence_over_arg = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub targets: TargetArgs,
    #[command(flatten)]
    pub connect: ConnectArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(subcommand)]
    pub subcommand: Option<Sub>,
    /// The command; options after its first word are the command's own
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub words: Vec<OsString>,
}

pub(crate) const AFTER_HELP: &str = "\
More subcommands: core (the headless core, for other programs), demo (nodes of its own, to play with),
sftp (files of one node, as OpenSSH's sftp; its options are sftp's).
Without targets the words are read as ssh reads them: bssh user@host command.
To run a command named like a subcommand, put -- before it: bssh -H a,b -- ping 10.0.0.1

Exit status: 0 all ok, 1 general, 2 usage or configuration, 3 no node could be reached, 4 no node
let us in, 5 the command failed, 10 some nodes failed, 130 interrupted, 141 output closed.";

#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Targets")]
pub(crate) struct TargetArgs {
    /// Nodes: web[1-3],db1,@group,user@host:port
    #[arg(short = 'H', long, short_alias = 'w', value_name = "NODES", global = true)]
    pub hosts: Vec<String>,
    /// A cluster of the configuration
    #[arg(short = 'C', long, value_name = "CLUSTER", global = true)]
    pub cluster: Vec<String>,
    /// A group
    #[arg(short = 'g', long, value_name = "GROUP", global = true)]
    pub group: Vec<String>,
    /// A file with one node a line
    #[arg(long, alias = "hosts-file", value_name = "FILE", global = true)]
    pub hostfile: Vec<String>,
    /// Nodes to leave out
    #[arg(short = 'x', long, value_name = "NODES", global = true)]
    pub exclude: Vec<String>,
    /// Groups to leave out
    #[arg(short = 'X', long, value_name = "GROUP", global = true)]
    pub exclude_group: Vec<String>,
}

#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// Identity file (private key)
    #[arg(short = 'i', value_name = "FILE", global = true)]
    pub identity: Vec<String>,
    /// User to log in as
    #[arg(short = 'l', value_name = "USER", global = true)]
    pub login: Option<String>,
    /// Port
    #[arg(short = 'p', value_name = "PORT", global = true)]
    pub port: Option<u16>,
    /// Jump hosts, first hop first
    #[arg(short = 'J', value_name = "HOPS", global = true)]
    pub jump: Option<String>,
    /// A line of ssh_config
    #[arg(short = 'o', value_name = "KEY=VALUE", global = true)]
    pub options: Vec<String>,
    /// The ssh_config file to read ("none": no file)
    #[arg(short = 'F', value_name = "FILE", global = true)]
    pub ssh_config: Option<String>,
    /// The YAML configuration to read
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<String>,
    #[command(flatten)]
    pub agent: AgentArgs,
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6", global = true)]
    pub ipv4: bool,
    /// IPv6 only
    #[arg(short = '6', global = true)]
    pub ipv6: bool,
    /// Give up connecting after this long (10, 1.5s, 2m)
    #[arg(long, value_name = "TIME", value_parser = duration, global = true)]
    pub connect_timeout: Option<Duration>,
    #[command(flatten)]
    pub shared: SharedArgs,
    #[command(flatten)]
    pub via: ViaArgs,
    /// A terminal on each node, keys to all of them (Ctrl-] ? shows what can be done); without a
    /// command the login shell. Twice: also where there is no terminal here
    #[arg(short = 't', action = clap::ArgAction::Count, global = true)]
    pub tty: u8,
    /// No pseudo-terminal (as always without -t)
    #[arg(short = 'T', conflicts_with = "tty", global = true)]
    pub no_tty: bool,
}

#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunArgs {
    /// How many nodes at once
    #[arg(short = 'f', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), global = true)]
    pub fanout: Option<u32>,
    /// Kill the command on a node after this long (0: never)
    #[arg(short = 'u', long, value_name = "TIME", value_parser = duration, global = true)]
    pub timeout: Option<Duration>,
    /// Do not read stdin
    #[arg(short = 'n', global = true)]
    pub no_stdin: bool,
    /// Start no more nodes after so many failures [one if no number is given]
    #[arg(long, value_name = "N|N%", value_parser = threshold, num_args = 0..=1,
          require_equals = true, default_missing_value = "1", global = true)]
    pub fail_fast: Option<Threshold>,
    /// Go in batches: 1,10%,rest
    #[arg(long, value_name = "SIZES", value_parser = batch_size, value_delimiter = ',', global = true)]
    pub batch: Vec<Threshold>,
    /// Wait between batches
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "batch", global = true)]
    pub pause: Option<Duration>,
    /// Try again so often when connecting fails for a passing reason
    #[arg(long, value_name = "N", global = true)]
    pub retry: Option<u32>,
    /// Answer sudo's password prompt (asked once)
    #[arg(long, global = true)]
    pub sudo: bool,
    /// How the nodes' results become the exit status
    #[arg(long, value_name = "RULE", value_enum, global = true)]
    pub exit_code: Option<ExitRule>,
    /// Exit with the greatest status of any node (--exit-code=max)
    #[arg(short = 'S', conflicts_with = "exit_code", global = true)]
    pub greatest: bool,
}

#[derive(Debug, Default, ClapArgs)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Gather nodes with the same output
    #[arg(short = 'b', long, global = true)]
    pub gather: bool,
    /// Gather with stderr
    #[arg(short = 'B', long, global = true)]
    pub gather_all: bool,
    /// Show what differs from the majority's output
    #[arg(long, global = true)]
    pub diff: bool,
    /// Gather line by line, while the command runs
    #[arg(long, conflicts_with_all = ["diff", "stream"], global = true)]
    pub live: bool,
    /// Lines as they come, each with its node (the default when piped); lines beyond 64 KiB come
    /// in parts, the later ones marked `node+`
    #[arg(long, conflicts_with_all = ["gather", "gather_all", "diff"], global = true)]
    pub stream: bool,
    /// Lines without their node
    #[arg(short = 'N', long, conflicts_with_all = ["gather", "gather_all", "diff", "live", "json"], global = true)]
    pub no_prefix: bool,
    /// One JSON object per event, or one at the end
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "events", global = true,
          conflicts_with_all = ["gather", "gather_all", "diff", "live", "stream"])]
    pub json: Option<Json>,
    /// Look at the run on the whole screen; ? shows what the keys do
    #[arg(long, global = true, conflicts_with_all = ["gather", "gather_all", "diff", "live",
          "stream", "json", "output_dir", "max_output", "no_prefix"])]
    pub tui: bool,
    /// Also write NODE.out, NODE.err and summary.json there
    #[arg(long, value_name = "DIR", global = true)]
    pub output_dir: Option<PathBuf>,
    /// Show at most so much of each stream of a node (64K, 10M)
    #[arg(long, value_name = "BYTES", value_parser = size, global = true)]
    pub max_output: Option<u64>,
    /// Colours
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto", global = true)]
    pub color: ColorWhen,
    /// End with the counts also where stderr is no terminal
    #[arg(long, conflicts_with = "quiet", global = true)]
    pub summary: bool,
    /// No warnings and no summary
    #[arg(short = 'q', global = true)]
    pub quiet: bool,
    /// Say how each node was reached; twice: each step on the way there
    #[arg(short = 'v', action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExitRule {
    /// the table of --help
    Default,
    /// the greatest status; 255 if a node failed without one
    Max,
    /// the status of the first node
    Main,
    /// like ssh: 255 if any node failed without a status, else the greatest
    Ssh,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Json {
    Events,
    Summary,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sub {
    /// Run a command on the nodes (what happens without a subcommand)
    Exec {
        #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
        words: Vec<OsString>,
    },
    /// Connect to the nodes and log in, no more
    Ping,
    /// Send files to the nodes, from here or from another node
    #[command(
        override_usage = "bssh upload [OPTIONS] SRC… HOST:DST\n       bssh upload [OPTIONS] HOST:SRC… HOST:DST\n       bssh -H NODES upload [OPTIONS] SRC… DST"
    )]
    Upload(crate::files::FileArgs),
    /// Fetch files from the nodes (from several: to DST/NODE, or where {node} in DST says)
    #[command(
        override_usage = "bssh download [OPTIONS] HOST:SRC… DST\n       bssh -H NODES download [OPTIONS] SRC… DST"
    )]
    Download(crate::files::FileArgs),
    /// Keep a directory here and one on a node the same
    #[command(subcommand)]
    Sync(crate::sync::SyncVerb),
    /// List clusters and groups
    List,
    /// Expand, fold, count, pick from or split a node set
    Nodes {
        #[command(subcommand)]
        verb: NodesVerb,
    },
    /// Show every value used to reach a node, and where it comes from
    Explain { node: String },
    /// Look after the configuration
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Lines for many nodes, each with a shell state of its own
    #[command(alias = "interactive")]
    Repl {
        /// A plain shell on the one node instead
        #[arg(long, conflicts_with = "session")]
        single_node: bool,
        /// All nodes at once, whatever the configuration says
        #[arg(long, conflicts_with = "single_node")]
        multiplex: bool,
        /// Begin as this session of the configuration (sessions:) does, on its nodes
        #[arg(long, value_name = "NAME")]
        session: Option<String>,
    },
    /// Forwards on many nodes
    Forward {
        #[command(subcommand)]
        verb: ForwardVerb,
    },
    /// Exactly the listed SSH hosts, for a sandbox
    Gate {
        #[command(subcommand)]
        verb: GateVerb,
    },
    /// The local agent, here and on a node
    Agent {
        #[command(subcommand)]
        verb: AgentVerb,
    },
    /// Run a command in a named session, which keeps directory, environment and functions
    #[command(
        override_usage = "bssh run -S NAME [OPTIONS] TARGET -- COMMAND…\n       bssh -H NODES run -S NAME [OPTIONS] -- COMMAND…\n       bssh run -S CONFIGURED [OPTIONS] -- COMMAND…"
    )]
    Run(RunIn),
    /// Look after named sessions and their jobs
    Session {
        #[command(subcommand)]
        verb: SessionVerb,
    },
    #[command(flatten)]
    Shared(SharedVerb),
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print a manual page (roff)
    Man {
        /// That of a subcommand
        page: Option<String>,
        /// Write all pages into a directory instead
        #[arg(long, value_name = "DIR", conflicts_with = "page")]
        dir: Option<PathBuf>,
    },
    /// Show a topic or a subcommand
    Help {
        /// targets, connection, run, output, exit, environment, or a subcommand
        #[arg(value_name = "TOPIC")]
        names: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Print every problem of the configuration files
    Check,
}

/// The same without subcommands.
#[derive(Debug, Parser)]
#[command(name = "bssh")]
struct Plain {
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[arg(trailing_var_arg = true)]
    words: Vec<OsString>,
}

impl Args {
    /// Reads the words after the program's name.
    ///
    /// Building the parser for every subcommand takes longer than parsing; most command lines
    /// have none. So they are tried without first.
    ///
    /// # Errors
    /// clap's, help included.
    pub(crate) fn read(words: &[OsString]) -> Result<Args, clap::Error> {
        let named = || std::iter::once("bssh".into()).chain(words.iter().cloned());
        let plain = Plain::try_parse_from(named()).ok();
        let is_command =
            |word: &OsString| !word.to_str().is_some_and(crate::grammar::is_subcommand);
        match plain.filter(|p| p.words.first().is_some_and(is_command)) {
            Some(Plain { targets, connect, run, output, words }) => {
                Ok(Args { targets, connect, run, output, subcommand: None, words })
            }
            None => match crate::named::spelled_out(words) {
                Some(words) => Args::try_parse_from(std::iter::once("bssh".into()).chain(words)),
                None => Args::try_parse_from(named()),
            },
        }
    }

    /// Every node set expression on the command line.
    pub(crate) fn exprs_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let more = match &mut self.subcommand {
            Some(Sub::Nodes { verb }) => Some(verb.exprs_mut()),
            _ => None,
        };
        let targets = &mut self.targets;
        targets.hosts.iter_mut().chain(&mut targets.exclude).chain(more.into_iter().flatten())
    }
}

/// `10`, `1.5`, `500ms`, `30s`, `5m`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit {other:?}; use ms, s, m or h")),
    };
    let number = digits.parse::<f64>().map(|n| Duration::try_from_secs_f64(n * unit));
    number.ok().and_then(Result::ok).ok_or_else(|| "not a time; e.g. 10, 1.5s, 2m".to_owned())
}

/// `3` or `10%`.
fn threshold(text: &str) -> Result<Threshold, String> {
    let (digits, percent) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    match (digits.parse(), percent) {
        (Ok(n @ 1..=100), true) => Ok(Threshold::Percent(n)),
        (Ok(n @ 1..), false) => Ok(Threshold::Nodes(n)),
        _ => Err("neither a number of nodes nor a percentage".to_owned()),
    }
}

/// `3`, `10%` or `rest`.
fn batch_size(text: &str) -> Result<Threshold, String> {
    if text == "rest" { Ok(Threshold::Rest) } else { threshold(text) }
}

/// `512`, `64K`, `10M`, `1G`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (text.get(..text.len() - 1), 10),
        Some(b'm' | b'M') => (text.get(..text.len() - 1), 20),
        Some(b'g' | b'G') => (text.get(..text.len() - 1), 30),
        _ => (Some(text), 0),
    };
    let number = digits.and_then(|d| d.parse::<u64>().ok());
    number
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or_else(|| "not a size; e.g. 512, 64K, 10M".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_shapes() {
        for (text, want) in [
            ("10", Some(10_000)),
            ("1.5", Some(1_500)),
            ("500ms", Some(500)),
            ("2m", Some(120_000)),
            ("0", Some(0)),
            ("", None),
            ("-1", None),
            ("5d", None),
            ("1e400", None),
        ] {
            assert_eq!(duration(text).ok().map(|d| d.as_millis()), want, "{text}");
        }
        for (text, want) in [
            ("1", Some(Threshold::Nodes(1))),
            ("10%", Some(Threshold::Percent(10))),
            ("rest", Some(Threshold::Rest)),
            ("0", None),
            ("101%", None),
            ("x", None),
        ] {
            assert_eq!(batch_size(text).ok(), want, "{text}");
        }
        for (text, want) in
            [("512", Some(512)), ("64K", Some(65_536)), ("K", None), ("99999999999G", None)]
        {
            assert_eq!(size(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn the_grammar_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn options_after_the_first_word_belong_to_the_command() {
        let read =
            |line: &str| Args::read(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let args = read("-H a ls -l -H b -- x").unwrap();
        assert_eq!(args.targets.hosts, ["a"]);
        assert_eq!(args.words, ["ls", "-l", "-H", "b", "--", "x"]);
        let args = read("-H a -- ping -c1").unwrap();
        assert!(args.subcommand.is_none());
        assert_eq!(args.words, ["ping", "-c1"]);
        let args = read("-H a exec ping -b").unwrap();
        assert!(!args.output.gather);
        assert!(matches!(args.subcommand, Some(Sub::Exec { words }) if words == ["ping", "-b"]));
        let args = read("ping -H a").unwrap();
        assert_eq!((args.targets.hosts, args.words.len()), (vec!["a".to_owned()], 0));
        assert!(read("-H a --bogus x").is_err(), "an unknown option is no command");
        assert_eq!(read("-H a -- -x y").unwrap().words, ["-x", "y"]);
    }
}
