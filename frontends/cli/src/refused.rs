//! Options that a command would not heed are refused by name, never ignored: one table.
//!
//! All options are known to every subcommand, so that they may stand before or behind it. How a
//! node is reached (connection) is for all of them.

use crate::args::{Args, Sub, TargetArgs};
use crate::named::SessionVerb;
use crate::shared_verbs::{CoreVerb, JobVerb, SharedVerb};
use crate::verbs::{AgentVerb, ForwardVerb, GateVerb};

/// What is done, as far as options differ. Each is a bit.
#[derive(Debug, Clone, Copy)]
struct Kind(u16, &'static str);

const RUN: Kind = Kind(1, "commands");
const PING: Kind = Kind(1 << 1, "ping");
/// A run that nobody follows.
const DETACHED: Kind = Kind(1 << 2, "what is detached");
/// A terminal on each node.
const TERMINALS: Kind = Kind(1 << 3, "terminals (-t)");
const FILES: Kind = Kind(1 << 4, "files");
const SYNC: Kind = Kind(1 << 5, "a sync");
const IN_SESSION: Kind = Kind(1 << 6, "commands in a session");
const REPL: Kind = Kind(1 << 7, "the REPL");
/// Somebody else's run.
const JOB: Kind = Kind(1 << 8, "a job that is looked at");
/// Forwards and gates are what a shared core can keep.
const FORWARDS: Kind = Kind(1 << 9, "forwards");
const GATE: Kind = Kind(1 << 10, "a gate");
const AGENT_OF_NODE: Kind = Kind(1 << 11, "agent doctor");
const AGENT: Kind = Kind(1 << 12, "agent status");
const NODES: Kind = Kind(1 << 13, "nodes");
/// What it prints has a form of its own.
const AS_IT_IS: Kind = Kind(1 << 14, "this subcommand, whose output has its own form");
const OTHER: Kind = Kind(1 << 15, "this subcommand");

const RUNS: u16 = RUN.0 | PING.0 | DETACHED.0;
const VIEWS: u16 = RUN.0 | JOB.0;
/// What goes to nodes that targets name.
const TO_NODES: u16 = RUNS
    | (TERMINALS.0 | FILES.0 | SYNC.0 | IN_SESSION.0 | REPL.0)
    | (FORWARDS.0 | AGENT_OF_NODE.0 | NODES.0);

/// The first option that would be ignored; `here`: there is a terminal on both sides.
pub(crate) fn refused(args: &Args, here: bool) -> Option<String> {
    if let Some(Sub::Gate { verb: GateVerb::Start { foreground: true, .. } }) = &args.subcommand
        && args.connect.shared.detach
    {
        return Some("--foreground and --detach: name one".to_owned());
    }
    let kind = kind(args, here);
    let (run, o, c) = (&args.run, &args.output, &args.connect);
    let session = IN_SESSION.0;
    let json = !(TERMINALS.0 | DETACHED.0 | REPL.0 | NODES.0 | AS_IT_IS.0);
    let agent = AGENT_OF_NODE.0 | AGENT.0;
    let table = [
        (has_targets(&args.targets), "a target (-H, -C, -g, …)", TO_NODES),
        (run.fanout.is_some(), "-f/--fanout", RUNS | TERMINALS.0 | FILES.0 | session | REPL.0),
        (run.timeout.is_some(), "-u/--timeout", RUNS | session),
        (run.fail_fast.is_some(), "--fail-fast", RUNS | FILES.0),
        (run.retry.is_some(), "--retry", RUNS | FILES.0),
        (!run.batch.is_empty(), "--batch", RUNS),
        (run.sudo, "--sudo", RUN.0 | DETACHED.0),
        (run.no_stdin, "-n", !TERMINALS.0),
        (run.exit_code.is_some(), "--exit-code", VIEWS | PING.0 | TERMINALS.0),
        (run.greatest, "-S", VIEWS | PING.0 | TERMINALS.0),
        (o.gather || o.gather_all, "-b/-B", VIEWS),
        (o.diff, "--diff", VIEWS),
        (o.live, "--live", VIEWS),
        (o.stream, "--stream", VIEWS),
        (o.no_prefix, "-N", VIEWS | session),
        (o.json.is_some(), "--json", json),
        (o.tui, "--tui", RUN.0 | PING.0),
        (o.output_dir.is_some(), "--output-dir", VIEWS | PING.0),
        (o.max_output.is_some(), "--max-output", VIEWS | session),
        (o.summary, "--summary", VIEWS | PING.0),
        (c.agent.forwards(), "-A/--agent-*", RUNS | TERMINALS.0 | session | REPL.0 | agent),
        (c.via.retry_safe, "--retry-safe", RUNS | session),
        (c.tty > 0, "-t", RUN.0 | TERMINALS.0 | session),
        (c.shared.detach, "--detach", DETACHED.0 | FILES.0 | FORWARDS.0 | GATE.0),
    ];
    let (_, flag, _) = table.iter().find(|(given, _, takes)| *given && takes & kind.0 == 0)?;
    let hint = match (*flag, kind.0) {
        ("-u/--timeout", files) if files == FILES.0 => "\nhint: --stall gives up on a node",
        ("-t", detached) if detached == DETACHED.0 => {
            "\nhint: Ctrl-] d in a terminal leaves it to the shared core"
        }
        ("--tui", job) if job == JOB.0 => "\nhint: without it all of its output is shown",
        ("-S" | "--exit-code", _) => "\nhint: it is for what ends with a status of each node",
        _ => "",
    };
    Some(format!("{flag} is not for {}{hint}", kind.1))
}

/// A flag names targets, or leaves some out.
fn has_targets(targets: &TargetArgs) -> bool {
    let TargetArgs { hosts, cluster, group, hostfile, exclude, exclude_group } = targets;
    [hosts, cluster, group, hostfile, exclude, exclude_group].iter().any(|l| !l.is_empty())
}

fn kind(args: &Args, here: bool) -> Kind {
    match &args.subcommand {
        None | Some(Sub::Exec { .. } | Sub::Ping) if args.connect.shared.detach => DETACHED,
        None | Some(Sub::Exec { .. }) if args.connect.tty > 0 && here => TERMINALS,
        None | Some(Sub::Exec { .. }) => RUN,
        Some(Sub::Ping) => PING,
        Some(Sub::Upload(_) | Sub::Download(_)) => FILES,
        Some(Sub::Sync(_)) => SYNC,
        Some(Sub::Run(_)) => IN_SESSION,
        Some(Sub::Repl { .. }) => REPL,
        Some(Sub::Shared(SharedVerb::Job {
            verb: JobVerb::Attach { .. } | JobVerb::Logs { .. },
        })) => JOB,
        Some(Sub::Forward { verb: ForwardVerb::Add { .. } }) => FORWARDS,
        Some(Sub::Gate { verb: GateVerb::Start { .. } }) => GATE,
        Some(
            Sub::Gate { verb: GateVerb::SshConfig { .. } | GateVerb::Pipe { .. } }
            | Sub::Shared(SharedVerb::Core { verb: CoreVerb::Metrics })
            | Sub::Session { verb: SessionVerb::Output { .. } }
            | Sub::Completions { .. }
            | Sub::Man { .. }
            | Sub::Help { .. },
        ) => AS_IT_IS,
        Some(Sub::Agent { verb: AgentVerb::Doctor { .. } }) => AGENT_OF_NODE,
        Some(Sub::Agent { .. }) => AGENT,
        Some(Sub::Nodes { .. }) => NODES,
        Some(_) => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str, here: bool) -> Option<String> {
        let words: Vec<_> = line.split(' ').map(Into::into).collect();
        refused(&Args::read(&words).unwrap(), here)
    }

    #[test]
    fn what_would_be_ignored_is_refused_by_name() {
        for (line, flag) in [
            ("-H a -b upload x y", "-b/-B is not for files"),
            ("-H a --timeout 3 upload x y", "-u/--timeout is not for files\nhint: --stall"),
            ("-b sync run work", "-b/-B is not for a sync"),
            ("-f 3 sync run work", "-f/--fanout is not for a sync"),
            ("-H a -b ping", "-b/-B is not for ping"),
            ("-H a --json repl", "--json is not for the REPL"),
            ("-H a -u 3 repl", "-u/--timeout is not for the REPL"),
            ("-t repl -H a", "-t is not for the REPL"),
            ("--json nodes expand a", "--json is not for nodes"),
            ("-H a --sudo run --session x -- y", "--sudo is not for commands in a session"),
            ("--tui job attach 3", "--tui is not for a job"),
            ("-S job wait 3", "-S is not for this subcommand"),
            ("-H a --detach --json x", "--json is not for what is detached"),
            ("-H a --detach -t x", "-t is not for what is detached"),
            ("--detach gate start g --foreground", "--foreground and --detach"),
            ("--detach list", "--detach is not for this subcommand"),
            ("-A list", "-A/--agent-* is not for this subcommand"),
            ("-H a list", "a target (-H, -C, -g, …) is not for this subcommand"),
            ("-g web explain a", "a target (-H, -C, -g, …) is not for this subcommand"),
            ("-x a job attach 3", "a target (-H, -C, -g, …) is not for a job"),
            ("-H a gate start g", "a target (-H, -C, -g, …) is not for a gate"),
            ("-H a agent status", "a target (-H, -C, -g, …) is not for agent status"),
            ("--json core metrics", "--json is not for this subcommand, whose"),
            ("session output s 1 --json", "--json is not for this subcommand, whose"),
            ("man --json", "--json is not for this subcommand, whose"),
        ] {
            let told = told(line, false).unwrap_or_default();
            assert!(told.starts_with(flag), "{line}: {told}");
        }
        for line in [
            "-H a -b -f 3 -u 2 --retry 1 --sudo -A -S --output-dir d x",
            "-H a -tt x",
            "-H a --json ping",
            "-H a --detach -u 3 x",
            "-H a --detach upload x y",
            "-H a --json upload x y",
            "-H a --fail-fast download x y",
            "--json sync plan work",
            "-b job attach 3",
            "--detach gate start g",
            "--json list",
            "-A -H a agent doctor",
            "-A agent status a",
            "-H a nodes fold",
            "-H a forward add -L 1:b:2",
            "--json job wait 3",
            "--json gate start g",
        ] {
            assert_eq!(told(line, false), None, "{line}");
        }
    }

    #[test]
    fn a_terminal_is_for_a_person() {
        assert_eq!(told("-H a -t -f 3 -S x", true), None);
        for line in ["-H a -t --json x", "-H a -t -n x", "-H a -t -b x", "-H a -tt --sudo x"] {
            let told = told(line, true).unwrap_or_default();
            assert!(told.ends_with("is not for terminals (-t)"), "{line}: {told}");
        }
        assert_eq!(told("-H a -tt --json x", false), None, "no terminal here");
    }
}
