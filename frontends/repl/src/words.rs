//! What a line means. Nothing is looked up here.

use crate::acts::{self, Act};
use crate::files::{self, Files};
use crate::sync::{self, SyncLine};
use std::time::Duration;

/// A line.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    Nothing,
    /// For the active nodes.
    Run(String),
    /// `!broadcast CMD`: for all nodes.
    Broadcast(String),
    /// `!EXPR`: makes these nodes the active ones.
    Activate(String),
    /// `!all`
    ActivateAll,
    /// `!list`
    List,
    /// `!status`
    Status,
    /// `!reconnect`
    Reconnect,
    /// `:help`
    Help,
    /// `clear`: there is no terminal on the nodes, but there is one here.
    Clear,
    /// `:set`, and what is to be set.
    Set(Option<Setting>),
    /// `:session`
    Session,
    /// `:reset`
    Reset,
    /// `:shell [NODE]`
    Shell(Option<String>),
    /// `:upload`, `:download`
    Files(Files),
    /// `:sync`
    Sync(SyncLine),
    /// `:forward`, `:gate`, `:agent`
    Act(Act),
    /// `:bg CMD`
    Background(String),
    /// `:jobs`
    Jobs,
    /// `:job N`: what it has written.
    Job(usize),
    /// `:kill N`
    Kill(usize),
    Quit,
    /// What is wrong with it.
    Wrong(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    Timestamps(bool),
    Output(Output),
    Timeout(Option<Duration>),
    /// None: the usual one.
    Prompt(Option<String>),
}

/// How the output of several nodes is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// Equal outputs once, when all nodes are done.
    #[default]
    Gather,
    /// Lines as they come, each with its node.
    Stream,
}

/// Every command, for completion, help and the answer to an unknown one.
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("!EXPR", "make these nodes the active ones: !web1, !web[1-3], !@group"),
    ("!all", "make all nodes the active ones"),
    ("!broadcast CMD", "run on all nodes, whichever are active"),
    ("!list", "the nodes"),
    ("!status", "how many nodes are there, and why the others are not"),
    ("!reconnect", "connect the lost ones now"),
    (":shell [NODE]", "a terminal on one node; ~. at the start of a line comes back"),
    (
        ":upload [-r] HERE… THERE",
        "files to the active nodes; paths there begin where the shells are",
    ),
    (":download [-r] THERE… HERE", "files from the active nodes; from several to HERE/NODE"),
    (
        ":sync VERB …",
        "directories kept the same: plan|push|back|run|status|conflicts NAME, or HERE THERE",
    ),
    (":forward", "forwards: -L|-R|-D SPEC opens, close N closes, nothing lists"),
    (":gate", "gates of the configuration: prepare|start|stop|check NAME, nothing lists"),
    (":agent", "the local agent; doctor [NODE] tries it on a node"),
    (":cd [DIR]", "go there on the active nodes, as cd does"),
    (":env [NAME=VALUE…]", "export variables on the active nodes; -NAME removes, nothing lists"),
    (":session", "directory and shell of each node"),
    (":reset", "forget the state on the active nodes and begin anew"),
    (":bg CMD", "run in the background of the active nodes"),
    (":jobs", "what was started in the background, and what of it runs"),
    (":job N", "what a job has written, and how it ended"),
    (":kill N", "end a job"),
    (":set [KEY VALUE]", SETTINGS),
    (":help", "this"),
    (":quit", "leave"),
];

const SETTINGS: &str =
    "timestamps on|off, output gather|stream, timeout SECONDS|0, prompt FORMAT|default";

/// The names of the commands. `switch` is what begins those about nodes (`!`, unless the
/// configuration says otherwise).
pub(crate) fn names(switch: &str) -> impl Iterator<Item = String> {
    let words = COMMANDS.iter().filter_map(|(name, _)| name.split(' ').next());
    words.filter(|name| *name != "!EXPR").map(move |name| match name.strip_prefix('!') {
        Some(rest) => format!("{switch}{rest}"),
        None => name.to_owned(),
    })
}

/// Reads a line.
pub(crate) fn read(line: &str, switch: &str) -> Line {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match word {
        "" => return Line::Nothing,
        "exit" | "quit" | "logout" if rest.is_empty() => return Line::Quit,
        "clear" if rest.is_empty() => return Line::Clear,
        _ if word.starts_with(':') => return command(word, rest),
        _ => {}
    }
    match word.strip_prefix(switch) {
        Some("all") => Line::ActivateAll,
        Some("list") => Line::List,
        Some("status") => Line::Status,
        Some("reconnect") => Line::Reconnect,
        Some("broadcast") => {
            needs(rest, &format!("a command: {switch}broadcast uptime"), Line::Broadcast)
        }
        Some("") => Line::Wrong(format!("{switch} needs nodes: {switch}web[1-3], {switch}all")),
        Some(_) => Line::Activate(line.get(switch.len()..).unwrap_or_default().replace(' ', "")),
        None => Line::Run(line.to_owned()),
    }
}

/// Words as a shell splits them: quotes and backslashes keep blanks.
///
/// # Errors
/// A quote that is not closed.
pub(crate) fn split(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let so_far = word.get_or_insert_with(String::new);
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => so_far.extend(chars.next()),
            (None, c) if c.is_whitespace() => {
                let done = word.take().filter(|w| !w.is_empty());
                words.extend(done);
            }
            (_, c) => so_far.push(c),
        }
    }
    words.extend(word);
    words.retain(|w| !w.is_empty());
    match quote {
        None => Ok(words),
        Some(q) => Err(format!("a {q} is not closed")),
    }
}

fn command(word: &str, rest: &str) -> Line {
    match word {
        ":quit" | ":q" | ":exit" => Line::Quit,
        ":help" | ":h" | ":?" => Line::Help,
        ":session" | ":sessions" => Line::Session,
        ":upload" | ":download" => {
            let read = split(rest).and_then(|words| files::read(words, word == ":upload"));
            read.map_or_else(Line::Wrong, Line::Files)
        }
        ":forward" | ":gate" | ":agent" => {
            let read = split(rest).and_then(|words| acts::read(word, &words));
            read.map_or_else(Line::Wrong, Line::Act)
        }
        ":sync" => split(rest).and_then(sync::read).map_or_else(Line::Wrong, Line::Sync),
        ":cd" => Line::Run(format!("cd {rest}").trim_end().to_owned()),
        ":env" => Line::Run(match (rest, rest.strip_prefix('-')) {
            ("", _) => "export -p".to_owned(),
            (_, Some(names)) => format!("unset {names}"),
            (vars, None) => format!("export {vars}"),
        }),
        ":timeout" => set(&format!("timeout {rest}")),
        ":reset" => Line::Reset,
        ":shell" => Line::Shell((!rest.is_empty()).then(|| rest.to_owned())),
        ":bg" => needs(rest, "a command: :bg make", Line::Background),
        ":jobs" => Line::Jobs,
        ":job" => number(rest, Line::Job),
        ":kill" => number(rest, Line::Kill),
        ":set" => set(rest),
        _ => {
            let known = COMMANDS.iter().filter_map(|(name, _)| name.split(' ').next());
            let known: Vec<&str> = known.filter(|name| name.starts_with(':')).collect();
            Line::Wrong(format!("unknown command {word}; there are {}", known.join(", ")))
        }
    }
}

fn needs(rest: &str, what: &str, line: impl Fn(String) -> Line) -> Line {
    match rest.is_empty() {
        true => Line::Wrong(format!("needs {what}")),
        false => line(rest.to_owned()),
    }
}

fn number(rest: &str, line: impl Fn(usize) -> Line) -> Line {
    rest.parse()
        .map_or_else(|_| Line::Wrong("needs a job's number; :jobs lists them".to_owned()), line)
}

fn set(rest: &str) -> Line {
    if let Some(format) = rest.strip_prefix("prompt ").map(str::trim) {
        // Blanks at its end count, so it may be in quotes.
        let format = format.trim_matches('"');
        let own = (format != "default").then(|| format.to_owned());
        return Line::Set(Some(Setting::Prompt(own)));
    }
    let mut words = rest.split_whitespace();
    let setting = match (words.next(), words.next(), words.next()) {
        (None, ..) => return Line::Set(None),
        (Some("timestamps"), Some("on"), None) => Setting::Timestamps(true),
        (Some("timestamps"), Some("off"), None) => Setting::Timestamps(false),
        (Some("output"), Some("gather"), None) => Setting::Output(Output::Gather),
        (Some("output"), Some("stream"), None) => Setting::Output(Output::Stream),
        (Some("timeout"), Some(text), None) => match text.trim_end_matches('s').parse::<u64>() {
            Ok(0) => Setting::Timeout(None),
            Ok(seconds) => Setting::Timeout(Some(Duration::from_secs(seconds))),
            Err(_) => return Line::Wrong("timeout: seconds, 0 for none".to_owned()),
        },
        _ => return Line::Wrong(format!("can be set: {SETTINGS}")),
    };
    Line::Set(Some(setting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_what_they_mean() {
        for (line, want) in [
            ("", Line::Nothing),
            ("  uptime -p ", Line::Run("uptime -p".to_owned())),
            ("exit 3", Line::Run("exit 3".to_owned())),
            ("exit", Line::Quit),
            (":q", Line::Quit),
            ("!all", Line::ActivateAll),
            ("!web[1-3], db1", Line::Activate("web[1-3],db1".to_owned())),
            ("!broadcast df -h", Line::Broadcast("df -h".to_owned())),
            (":shell", Line::Shell(None)),
            (":shell n1", Line::Shell(Some("n1".to_owned()))),
            (":set timeout 10s", Line::Set(Some(Setting::Timeout(Some(Duration::from_secs(10)))))),
            (":set timeout 0", Line::Set(Some(Setting::Timeout(None)))),
            (":set", Line::Set(None)),
            (":timeout 0", Line::Set(Some(Setting::Timeout(None)))),
            (":set prompt \"{pwd} \"", Line::Set(Some(Setting::Prompt(Some("{pwd} ".to_owned()))))),
            (":job 2", Line::Job(2)),
            (":cd /tmp", Line::Run("cd /tmp".to_owned())),
            (":env A=1 B=2", Line::Run("export A=1 B=2".to_owned())),
            (":env -A", Line::Run("unset A".to_owned())),
        ] {
            assert_eq!(read(line, "!"), want, "{line}");
        }
        for line in ["!", "!broadcast", ":bg", ":job x", ":set x y", ":upload a", ":sync a b"] {
            assert!(matches!(read(line, "!"), Line::Wrong(_)), "{line}");
        }
        let Line::Wrong(text) = read(":nonsense", "!") else { panic!() };
        assert!(text.contains(":shell") && text.contains(":quit"), "{text}");
        // Another sign for nodes: then ! belongs to the shell.
        assert_eq!(read("%all", "%"), Line::ActivateAll);
        assert_eq!(read("! true", "%"), Line::Run("! true".to_owned()));
        assert!(names("%").any(|name| name == "%list"));
    }

    #[test]
    fn quotes_keep_blanks() {
        for (text, want) in [
            ("a  b", Some(vec!["a", "b"])),
            ("'a b' c", Some(vec!["a b", "c"])),
            (r#""a \" b" c\ d"#, Some(vec![r#"a " b"#, "c d"])),
            ("x'y'z", Some(vec!["xyz"])),
            ("", Some(vec![])),
            ("'a", None),
        ] {
            assert_eq!(split(text).ok(), want.map(|w| w.into_iter().map(str::to_owned).collect()));
        }
    }
}
