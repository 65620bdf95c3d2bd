//! What was meant: where [`Args`] become the parameters of a run. (`files`, `sync` and `named` do it
//! for what is theirs, with the targets and settings of this file.)
//!
//! After this file no option means "decide later", except what only the core can know (the
//! nodes behind an expression, the configuration's defaults).

use crate::args::{Args, ExitRule, Json, TargetArgs};
use bssh_protocol::exec::{Action, ExecParams, PtyRequest, Settings, Targets};
use bssh_protocol::stream::{Base64Bytes, Sink, Source};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// A run as the user wants it.
#[derive(Debug)]
pub(crate) struct Request {
    pub params: ExecParams,
    pub view: ViewPlan,
    pub rule: ExitRule,
}

/// How a run is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ViewPlan {
    pub mode: Mode,
    /// Name the node in front of its lines.
    pub prefix: bool,
    pub output_dir: Option<PathBuf>,
    /// Bytes to show of each stream of a node; the rest is counted.
    pub max_output: Option<u64>,
    /// Say the counts even where stderr is no terminal.
    pub summary: bool,
    pub quiet: bool,
    pub verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each node's output in one piece when it has ended.
    Blocks,
    /// Lines as they come.
    Stream,
    /// Nodes with the same output together; stderr as well if `all`.
    Gather {
        all: bool,
    },
    /// The majority's output, and what differs from it.
    Diff {
        all: bool,
    },
    /// Gather line by line.
    Live {
        all: bool,
    },
    Json,
    JsonSummary,
    /// Who could be reached, and how fast.
    Ping,
    /// Nothing on stdout.
    Silent,
    /// The whole screen.
    Tui,
}

/// Which of the standard descriptors are terminals.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terminals {
    pub stdin: bool,
    pub stdout: bool,
}

/// A run of a command (`None`: only connect).
///
/// # Errors
/// One line for people: flags that make no sense together, an empty command.
pub(crate) fn request(
    args: &Args,
    words: Option<&[OsString]>,
    terminals: Terminals,
    term: &str,
) -> Result<Request, String> {
    let view = view(args, words.is_some(), terminals);
    let run = &args.run;
    let stdin = match words.is_none() || run.no_stdin || terminals.stdin {
        true => Source::Null,
        false => Source::Fd(STDIN),
    };
    let params = ExecParams {
        targets: targets(args),
        action: words.map_or(Ok(Action::Connect), action)?,
        stdin,
        stdout: Sink::Stream,
        stderr: Sink::Stream,
        fanout: run.fanout,
        timeout_ms: run.timeout.map(millis),
        retries: run.retry,
        fail_fast: run.fail_fast,
        batches: run.batch.clone(),
        pause_ms: run.pause.map(millis),
        sudo: run.sudo,
        gather: matches!(view.mode, Mode::Gather { .. } | Mode::Diff { .. }),
        pty: (args.connect.tty > 0).then(|| pty(term)),
        forward_agent: args.connect.agent.forwards(),
        agent: args.connect.agent.settings(),
        via: args.connect.via.params(),
        ..ExecParams::default()
    };
    Ok(Request { params, view, rule: rule(args) })
}

/// How a run that goes on already is shown, and what its end is for the shell.
pub(crate) fn how(args: &Args, terminals: Terminals) -> (ViewPlan, ExitRule) {
    (view(args, true, terminals), rule(args))
}

pub(crate) fn rule(args: &Args) -> ExitRule {
    match args.run.greatest {
        true => ExitRule::Max,
        false => args.run.exit_code.unwrap_or(ExitRule::Default),
    }
}

/// A terminal for a command where there is none here (`-tt`).
fn pty(term: &str) -> PtyRequest {
    let term = if term.is_empty() { "dumb" } else { term }.to_owned();
    PtyRequest { term, cols: 80, rows: 24, ..PtyRequest::default() }
}

/// Our own stdin, lent to the core.
const STDIN: i32 = 0;

/// What the targets flags say, as one node set expression.
pub(crate) fn targets(args: &Args) -> Targets {
    let t = &args.targets;
    let with = |prefix: &'static str, lists: &[String]| {
        let names = lists.iter().flat_map(|list| names(list));
        names.map(|name| format!("{prefix}{name}")).collect::<Vec<_>>()
    };
    let nodes = [
        t.hosts.clone(),
        with("@cluster:", &t.cluster),
        with("@", &t.group),
        t.hostfile.iter().map(|file| host_file(file)).collect(),
    ];
    let exclude = [t.exclude.clone(), with("@", &t.exclude_group)].concat();
    Targets {
        nodes: nodes.concat().join(","),
        exclude,
        settings: settings(args),
        destination: None,
    }
}

/// A flag that names targets and has none, as with a variable that is not set. It must not mean
/// `default_cluster`, which is for those who name nothing, nor all clusters.
pub(crate) fn nameless(args: &Args) -> Option<String> {
    let TargetArgs { hosts, cluster, group, hostfile, .. } = &args.targets;
    let blank = |name: &str| name.trim().is_empty();
    let any = |values: &[String]| values.iter().any(|value| blank(value));
    let any_name = |lists: &[String]| lists.iter().flat_map(|list| names(list)).any(blank);
    let flags = [
        (any(hosts), "-H"),
        (any_name(cluster), "-C"),
        (any_name(group), "-g"),
        (any(hostfile), "--hostfile"),
    ];
    let (_, flag) = flags.into_iter().find(|(empty, _)| *empty)?;
    Some(format!("{flag} names no nodes: its value is empty\nhint: is a variable in it not set?"))
}

/// The names of a list: between commas, but for those of a range (`rack[1,3]`).
fn names(list: &str) -> impl Iterator<Item = &str> {
    let mut in_range = false;
    let names = list.split(move |c: char| {
        in_range = c == '[' || in_range && c != ']';
        c == ',' && !in_range
    });
    names.map(str::trim)
}

/// A host file as a part of an expression, whatever its path holds.
pub(crate) fn host_file(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+~%=:@".contains(c);
    match !path.is_empty() && path.chars().all(is_plain) {
        true => format!("^{path}"),
        false => format!("^{}", word(path)),
    }
}

/// Files and overrides, as the core wants them. Flags come before `-o`: the first value of a
/// keyword wins, and a flag is the more deliberate of the two.
pub(crate) fn settings(args: &Args) -> Settings {
    let c = &args.connect;
    let mut options = Vec::new();
    let mut set = |keyword: &str, value: Option<String>| {
        options.extend(value.map(|v| format!("{keyword}={v}")));
    };
    set("User", c.login.clone());
    set("Port", c.port.map(|p| p.to_string()));
    set("ProxyJump", c.jump.clone());
    set("AddressFamily", c.ipv4.then(|| "inet".to_owned()));
    set("AddressFamily", c.ipv6.then(|| "inet6".to_owned()));
    set("ConnectTimeout", c.connect_timeout.map(|t| whole_seconds(t).to_string()));
    for file in &c.identity {
        options.push(quoted("IdentityFile", file));
    }
    options.extend(c.options.iter().cloned());
    Settings {
        config: c.config.clone(),
        ssh_config: c.ssh_config.clone(),
        options,
        ..Settings::default()
    }
}

/// A line of ssh_config whose value may have blanks.
pub(crate) fn quoted(key: &str, value: &str) -> String {
    format!("{key}={}", word(value))
}

/// One word of such a line.
pub(crate) fn word(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The words joined by blanks, as ssh sends them.
pub(crate) fn action(words: &[OsString]) -> Result<Action, String> {
    let words: Vec<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
    let line = words.join(&b' ');
    if line.iter().all(u8::is_ascii_whitespace) {
        return Err("no command given\nhint: a shell on one host is `bssh HOST`".to_owned());
    }
    Ok(match OsString::from_vec(line).into_string() {
        Ok(text) => Action::Command(text),
        Err(bytes) => Action::CommandBytes(Base64Bytes(bytes.into_vec().into())),
    })
}

fn view(args: &Args, has_output: bool, terminals: Terminals) -> ViewPlan {
    let o = &args.output;
    let all = o.gather_all;
    let mode = match o.json {
        _ if o.tui => Mode::Tui,
        Some(Json::Events) => Mode::Json,
        Some(Json::Summary) => Mode::JsonSummary,
        None if !has_output => Mode::Ping,
        None if o.live => Mode::Live { all },
        None if o.diff => Mode::Diff { all },
        None if o.gather || all => Mode::Gather { all },
        None if o.stream => Mode::Stream,
        None if o.output_dir.is_some() => Mode::Silent,
        None if terminals.stdout && !o.no_prefix => Mode::Blocks,
        None => Mode::Stream,
    };
    ViewPlan {
        mode,
        prefix: !o.no_prefix,
        output_dir: o.output_dir.clone(),
        max_output: o.max_output,
        summary: o.summary,
        quiet: o.quiet,
        verbose: o.verbose > 0,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// `ConnectTimeout` has no fractions; less than asked for would fail nodes that are in time.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bssh_protocol::exec::Threshold;
    use clap::Parser;

    const PIPES: Terminals = Terminals { stdin: false, stdout: false };
    const TERMINAL: Terminals = Terminals { stdin: true, stdout: true };

    fn from(line: &str, terminals: Terminals) -> Request {
        let args = Args::try_parse_from(std::iter::once("bssh").chain(line.split(' '))).unwrap();
        request(&args, Some(&args.words), terminals, "xterm").unwrap()
    }

    #[test]
    fn lists_of_groups_and_odd_files_are_one_expression() {
        for (flag, value, want) in [
            ("-H", "a,b", "a,b"),
            ("-g", "web,rack1", "@web,@rack1"),
            ("-g", "rack[1,3],web", "@rack[1,3],@web"),
            ("-C", "prod, db", "@cluster:prod,@cluster:db"),
            ("--hostfile", "h", "^h"),
            ("--hostfile", "x,y/h!1", r#"^"x,y/h!1""#),
            ("--hostfile", r#"a "b""#, r#"^"a \"b\"""#),
        ] {
            let args = Args::try_parse_from(["bssh", flag, value, "-X", "a,b", "x"]).unwrap();
            let targets = targets(&args);
            assert_eq!(targets.nodes, want, "{flag} {value}");
            assert_eq!(targets.exclude, ["@a", "@b"]);
        }
    }

    #[test]
    fn an_empty_value_names_no_nodes() {
        for (flag, value, is_nameless) in [
            ("-H", "", true),
            ("-w", " ", true),
            ("-C", "", true),
            ("-C", "a,", true),
            ("-g", "\t", true),
            ("--hostfile", "", true),
            ("-H", "a", false),
            ("-x", "", false),
        ] {
            let args = Args::try_parse_from(["bssh", flag, value, "-x", "b", "x"]).unwrap();
            assert_eq!(nameless(&args).is_some(), is_nameless, "{flag} {value:?}");
        }
    }

    #[test]
    fn flags_become_parameters() {
        let r = from(
            "-H a[1-2] -w b -C prod -g web --hostfile h -x c -X old -l joe -p 22 -J j -i k1 -i k2 \
             -o User=no -4 --connect-timeout 1.5 -F none --config y.yaml -f 8 -u 2m --fail-fast=10% \
             --batch 1,10%,rest --pause 3 --retry 2 --sudo -A df -h",
            PIPES,
        );
        let p = r.params;
        assert_eq!(p.targets.nodes, "a[1-2],b,@cluster:prod,@web,^h");
        assert_eq!(p.targets.exclude, ["c", "@old"]);
        assert_eq!(p.targets.settings.config.as_deref(), Some("y.yaml"));
        assert_eq!(p.targets.settings.ssh_config.as_deref(), Some("none"));
        assert_eq!(
            p.targets.settings.options,
            [
                "User=joe",
                "Port=22",
                "ProxyJump=j",
                "AddressFamily=inet",
                "ConnectTimeout=2",
                "IdentityFile=\"k1\"",
                "IdentityFile=\"k2\"",
                "User=no"
            ]
        );
        assert_eq!(p.action, Action::Command("df -h".to_owned()));
        assert_eq!((p.fanout, p.timeout_ms, p.retries), (Some(8), Some(120_000), Some(2)));
        assert_eq!(p.fail_fast, Some(Threshold::Percent(10)));
        assert_eq!(p.batches, [Threshold::Nodes(1), Threshold::Percent(10), Threshold::Rest]);
        assert_eq!((p.pause_ms, p.sudo, p.forward_agent), (Some(3000), true, true));
    }

    #[test]
    fn stdin_is_broadcast_unless_it_is_a_terminal_or_unwanted() {
        assert_eq!(from("-H a cat", PIPES).params.stdin, Source::Fd(0));
        assert_eq!(from("-H a -n cat", PIPES).params.stdin, Source::Null);
        assert_eq!(from("-H a cat", TERMINAL).params.stdin, Source::Null);
    }

    #[test]
    fn the_mode_follows_flags_and_terminal() {
        for (line, terminals, mode) in [
            ("-H a x", TERMINAL, Mode::Blocks),
            ("-H a x", PIPES, Mode::Stream),
            ("-H a --stream x", TERMINAL, Mode::Stream),
            ("-H a -N x", TERMINAL, Mode::Stream),
            ("-H a -b x", PIPES, Mode::Gather { all: false }),
            ("-H a -B x", PIPES, Mode::Gather { all: true }),
            ("-H a -bB x", PIPES, Mode::Gather { all: true }),
            ("-H a --diff x", PIPES, Mode::Diff { all: false }),
            ("-H a -B --diff x", PIPES, Mode::Diff { all: true }),
            ("-H a -b --live x", PIPES, Mode::Live { all: false }),
            ("-H a --json x", TERMINAL, Mode::Json),
            ("-H a --json=summary x", TERMINAL, Mode::JsonSummary),
            ("-H a --output-dir d x", TERMINAL, Mode::Silent),
            ("-H a --tui x", TERMINAL, Mode::Tui),
            ("-H a --output-dir d -b x", TERMINAL, Mode::Gather { all: false }),
        ] {
            assert_eq!(from(line, terminals).view.mode, mode, "{line}");
        }
    }

    #[test]
    fn contradictions_are_errors() {
        for line in [
            "--json -b -H a x",
            "--stream -b -H a x",
            "-4 -6 -H a x",
            "-f 0 -H a x",
            "--pause 1 -H a x",
            "--json=xml -H a x",
            "--tui -b -H a x",
            "-S --exit-code max -H a x",
        ] {
            let words = std::iter::once("bssh").chain(line.split(' '));
            assert!(Args::try_parse_from(words).is_err(), "{line}");
        }
        let args = Args::try_parse_from(["bssh", "-H", "a", ""]).unwrap();
        assert!(request(&args, Some(&args.words), PIPES, "").is_err());
    }

    #[test]
    fn words_are_joined_byte_for_byte() {
        let words = [OsString::from("echo"), OsString::from_vec(vec![0xff, b'x'])];
        let want = Action::CommandBytes(Base64Bytes(b"echo \xffx"[..].into()));
        assert_eq!(action(&words).unwrap(), want);
        assert_eq!(
            action(&["a  b".into(), "c".into()]).unwrap(),
            Action::Command("a  b c".to_owned())
        );
    }
}
