//! Which of the two grammars a command line is written in.
//!
//! ssh's grammar, unless targets are given by a flag, the first word is a subcommand, or an
//! option has a long name that is known (ssh has none). The words are only skimmed: each grammar reads them
//! properly afterwards. Flags with values must be known here to find the first word.

use clap::CommandFactory;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What the command line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Grammar {
    Ssh,
    /// sftp's own, behind the word.
    Sftp,
    Cluster,
    /// `-C NAME`: the cluster grammar if the configuration knows a cluster of that name, else
    /// ssh's `-C`.
    ClusterIfKnown(String),
    /// Cluster grammar, but something this build does not have.
    Refused(String),
}

/// Decides by the program's name and the words after it.
pub(crate) fn decide(program: &OsStr, words: &[OsString]) -> Grammar {
    let name = std::path::Path::new(program).file_name().unwrap_or(program);
    if name == "ssh" || words.first().is_some_and(|w| w == "ssh") {
        return Grammar::Ssh;
    }
    if words.first().is_some_and(|w| w == "sftp") {
        return Grammar::Sftp;
    }
    if words.is_empty() {
        return Grammar::Cluster;
    }
    let seen = skim(words, CLUSTER_VALUES);
    if seen.ssh {
        return Grammar::Ssh;
    }
    if seen.targets || seen.long.is_some_and(|known| known) {
        return seen.refused().map_or(Grammar::Cluster, Grammar::Refused);
    }
    if let Some(name) = seen.maybe_cluster {
        return Grammar::ClusterIfKnown(name);
    }
    let seen = skim(words, SSH_VALUES);
    match seen.first_word.as_deref() {
        Some(word) if !seen.separated && is_subcommand(word) => {
            seen.refused().map_or(Grammar::Cluster, Grammar::Refused)
        }
        None if seen.help => Grammar::Cluster,
        _ => Grammar::Ssh,
    }
}

/// The word names a subcommand, of this build or of another one.
pub(crate) fn is_subcommand(word: &str) -> bool {
    SUBCOMMANDS.contains(&word) || ABSENT.contains(&word)
}

/// Subcommands of this build.
const SUBCOMMANDS: &[&str] = &[
    "exec",
    "ping",
    "list",
    "nodes",
    "explain",
    "config",
    "repl",
    "interactive",
    "completions",
    "man",
    "help",
    "upload",
    "download",
    "sync",
    "forward",
    "gate",
    "agent",
    "core",
    "cache-stats",
    "job",
    "log",
    "sftp",
    "run",
    "session",
];

/// Subcommands that are reserved and not built yet; `demo` never comes here from an executable
/// that has it.
const ABSENT: &[&str] = &["demo"];

/// Flags that the cluster grammar does not have, and what does the same.
const ABSENT_FLAGS: &[(&str, &str)] = &[
    ("L", "bssh -H NODES forward add -L SPEC"),
    ("R", "bssh -H NODES forward add -R SPEC"),
    ("D", "bssh -H NODES forward add -D SPEC"),
];

/// Short flags that give targets.
const TARGET_SHORTS: &[u8] = b"Hwg";
const TARGET_LONGS: &[&str] =
    &["hosts", "cluster", "group", "hostfile", "hosts-file", "exclude", "exclude-group"];

/// Short flags with a value, read as the cluster grammar does (where it has the flag).
const CLUSTER_VALUES: &[u8] = b"HwCgxXfuilpoFJLRDcEeImOQW";
/// Short flags with a value, read as ssh does, and `-u`, which ssh does not have.
const SSH_VALUES: &[u8] = b"BbcDEeFIiJLlmOoPpQRSWwu";

/// Long options whose value may be the next word.
const LONG_VALUES: &[&str] = &[
    "hosts",
    "cluster",
    "group",
    "hostfile",
    "hosts-file",
    "exclude",
    "exclude-group",
    "config",
    "connect-timeout",
    "fanout",
    "timeout",
    "batch",
    "pause",
    "retry",
    "exit-code",
    "output-dir",
    "max-output",
    "color",
    "persist",
    "agent-keys",
    "agent-confirm",
    "agent-sock",
    "via",
    "topology",
    "skip",
    "symlinks",
    "stall",
];

/// What skimming found before the first word of a command or subcommand.
#[derive(Debug, Default)]
struct Seen {
    targets: bool,
    /// There are long options; whether one of them is known.
    long: Option<bool>,
    help: bool,
    /// A flag that only ssh has.
    ssh: bool,
    maybe_cluster: Option<String>,
    absent_flag: Option<(String, &'static str)>,
    first_word: Option<String>,
    /// `--` came before the first word, so that it names no subcommand.
    separated: bool,
}

impl Seen {
    fn refused(&self) -> Option<String> {
        if let Some((flag, instead)) = &self.absent_flag {
            return Some(format!("{flag} is for one host\nhint: for several nodes, {instead}"));
        }
        let word = self.first_word.as_deref().filter(|_| !self.separated)?;
        if word == "sftp" {
            return Some(
                "sftp is for one node, and its options come behind the word\nhint: bssh sftp \
                 [options] [user@]host[:path]; to run the command sftp on the nodes write `-- sftp …`"
                    .to_owned(),
            );
        }
        if !ABSENT.contains(&word) {
            return None;
        }
        Some(format!(
            "this build has no subcommand {word}\nhint: to run the command {word} on the nodes \
             write `-- {word} …`; to log in to a host of that name, `bssh ssh {word}`"
        ))
    }
}

fn skim(words: &[OsString], short_values: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut words = words.iter().map(|w| w.as_bytes()).peekable();
    while let Some(word) = words.next() {
        match word {
            b"--" => {
                seen.separated = true;
                seen.first_word = words.next().map(text);
                break;
            }
            [b'-', b'-', long @ ..] => {
                if skim_long(&mut seen, long) {
                    words.next();
                }
            }
            [b'-', shorts @ ..] if !shorts.is_empty() => {
                let next = words.peek().copied();
                if skim_shorts(&mut seen, shorts, next, short_values) {
                    words.next();
                }
            }
            _ => {
                seen.first_word = Some(text(word));
                break;
            }
        }
    }
    seen
}

/// True if the next word is the option's value.
fn skim_long(seen: &mut Seen, long: &[u8]) -> bool {
    let mut parts = long.splitn(2, |b| *b == b'=');
    let name = text(parts.next().unwrap_or_default());
    seen.long = Some(seen.long.unwrap_or_default() || is_long(&name));
    seen.targets |= TARGET_LONGS.contains(&name.as_str());
    note_absent(seen, &name, "--");
    parts.next().is_none() && LONG_VALUES.contains(&name.as_str())
}

/// True if the next word is the last letter's value.
fn skim_shorts(seen: &mut Seen, shorts: &[u8], next: Option<&[u8]>, values: &[u8]) -> bool {
    for (at, letter) in shorts.iter().enumerate() {
        let last = at + 1 == shorts.len();
        let apart = next.filter(|n| last && !n.starts_with(b"-"));
        note_absent(seen, &char::from(*letter).to_string(), "-");
        match letter {
            b'h' => seen.help = true,
            b'G' => seen.ssh = true,
            // ssh's -C and -g have no value: a flag behind them decides for ssh.
            b'C' => {
                let Some(name) = apart.filter(|_| values == CLUSTER_VALUES) else { continue };
                seen.maybe_cluster.get_or_insert(text(name));
                return true;
            }
            b'g' if apart.is_none() => continue,
            // ssh's -f has no value, and no host is called 64.
            b'f' => match apart.is_some_and(|n| n.iter().all(u8::is_ascii_digit)) {
                true => return true,
                false if shorts.get(at + 1).is_some_and(u8::is_ascii_digit) => return false,
                false => continue,
            },
            _ => {}
        }
        if values.contains(letter) {
            seen.targets |= values == CLUSTER_VALUES && TARGET_SHORTS.contains(letter);
            return last;
        }
    }
    false
}

/// The cluster grammar has an option of that name, in this build or in another one.
fn is_long(name: &str) -> bool {
    let absent = ABSENT_FLAGS.iter().any(|(flag, _)| flag.len() > 1 && *flag == name);
    let known = || crate::args::Args::command().get_arguments().any(|a| a.get_long() == Some(name));
    absent || LONG_VALUES.contains(&name) || matches!(name, "help" | "version") || known()
}

fn note_absent(seen: &mut Seen, name: &str, dashes: &str) {
    let what = ABSENT_FLAGS.iter().find(|(n, _)| *n == name).map(|(_, what)| *what);
    if let (None, Some(what)) = (&seen.absent_flag, what) {
        seen.absent_flag = Some((format!("{dashes}{name}"), what));
    }
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(program: &str, line: &str) -> Grammar {
        let words: Vec<OsString> =
            line.split(' ').filter(|w| !w.is_empty()).map(Into::into).collect();
        decide(OsStr::new(program), &words)
    }

    #[test]
    fn command_lines_and_their_grammar() {
        let known = |n: &str| Grammar::ClusterIfKnown(n.to_owned());
        for (line, want) in [
            ("host uptime", Grammar::Ssh),
            ("-G -w 3 host", Grammar::Ssh),
            ("-H a,b uptime", Grammar::Cluster),
            ("-Ha,b uptime", Grammar::Cluster),
            ("-w a,b uptime", Grammar::Cluster),
            ("-bw a,b uptime", Grammar::Cluster),
            ("-F cfg -f 128 -H a uptime", Grammar::Cluster),
            ("-F cfg -f128 -H a uptime", Grammar::Cluster),
            ("-F cfg -n host uptime", Grammar::Ssh),
            ("-f host sleep 1", Grammar::Ssh),
            ("-f -N -L 1:a:2 host", Grammar::Ssh),
            ("host -H", Grammar::Ssh),
            ("host ls -H x", Grammar::Ssh),
            ("-b 10.0.0.1 host", Grammar::Ssh),
            ("-x host ls -w 3", Grammar::Ssh),
            ("-x a -H a,b ls", Grammar::Cluster),
            ("-g web uptime", Grammar::Cluster),
            ("-g -L 80:a:80 host", Grammar::Ssh),
            ("-gNL 80:a:80 host", Grammar::Ssh),
            ("-C production df", known("production")),
            ("-C -v host df", Grammar::Ssh),
            ("-vC host", known("host")),
            ("-C production -H x df", Grammar::Cluster),
            ("--cluster x df", Grammar::Cluster),
            ("--hosts=a df", Grammar::Cluster),
            ("--no-such-option", Grammar::Ssh),
            ("--no-such-option host", Grammar::Ssh),
            ("--no-such-option -H a ls", Grammar::Cluster),
            ("--hostfile f df", Grammar::Cluster),
            ("--json exec df", Grammar::Cluster),
            ("ping -H a", Grammar::Cluster),
            ("upload -r x web1:/srv", Grammar::Cluster),
            ("-F cfg download -H a x y", Grammar::Cluster),
            ("sync run x web1:y", Grammar::Cluster),
            ("-f 3 ping", Grammar::Cluster),
            ("-x host ping", Grammar::Ssh),
            ("nodes expand -- a[1-2]", Grammar::Cluster),
            ("ssh ping", Grammar::Ssh),
            ("sftp -b x host", Grammar::Sftp),
            ("-- sftp", Grammar::Ssh),
            ("ssh -H a", Grammar::Ssh),
            // No subcommand, but a host.
            ("-- ping", Grammar::Ssh),
            ("-t host", Grammar::Ssh),
            ("-L 1:a:2 host", Grammar::Ssh),
            ("-h", Grammar::Cluster),
            ("--help", Grammar::Cluster),
            ("", Grammar::Cluster),
        ] {
            assert_eq!(check("/usr/bin/bssh", line), want, "{line}");
        }
        assert_eq!(check("/usr/local/bin/ssh", "-H a"), Grammar::Ssh);
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (line, said) in [
            ("-H a -L 1:b:2 ls", "hint: for several nodes, bssh -H NODES forward add -L SPEC"),
            ("-H a demo", "this build has no subcommand demo"),
        ] {
            let got = check("bssh", line);
            assert!(matches!(&got, Grammar::Refused(why) if why.contains(said)), "{line}: {got:?}");
        }
        for line in ["-p 22 sftp host", "-H a sftp host"] {
            assert!(matches!(check("bssh", line), Grammar::Refused(_)), "{line}");
        }
        assert_eq!(check("bssh", "-H a -- sync"), Grammar::Cluster);
        assert_eq!(check("bssh", "-H a ls -t"), Grammar::Cluster);
    }

    /// Global flags reach into every subcommand: one name must not mean two things there.
    #[test]
    fn names_of_global_flags_are_nobody_elses() {
        fn check(command: &clap::Command, globals: &[String]) {
            for sub in command.get_subcommands() {
                for arg in sub.get_arguments().filter(|arg| !arg.is_global_set()) {
                    let taken = globals.iter().any(|id| id == arg.get_id().as_str());
                    assert!(!taken, "{}: {}", sub.get_name(), arg.get_id());
                }
                check(sub, globals);
            }
        }
        let command = crate::args::Args::command();
        let globals = command.get_arguments().filter(|arg| arg.is_global_set());
        let globals: Vec<String> = globals.map(|arg| arg.get_id().to_string()).collect();
        check(&command, &globals);
    }

    #[test]
    fn the_tables_agree_with_the_parser() {
        let command = crate::args::Args::command();
        for arg in command.get_arguments().filter(|a| !a.is_positional()) {
            let takes = arg.get_action().takes_values() && !arg.is_require_equals_set();
            if let Some(short) = arg.get_short() {
                let known = CLUSTER_VALUES.contains(&(short as u8));
                assert_eq!(known, takes, "-{short}");
            }
            if let Some(long) = arg.get_long() {
                assert_eq!(LONG_VALUES.contains(&long), takes, "--{long}");
            }
        }
        for sub in command.get_subcommands() {
            assert!(SUBCOMMANDS.contains(&sub.get_name()), "{}", sub.get_name());
        }
    }
}
