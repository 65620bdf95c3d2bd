//! What a line means. Nothing is looked up here.

use std::time::Duration;

/// A line.
#[derive(Debug, PartialEq, Eq)]
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
    /// `:set`, and what is to be set.
    Set(Option<Setting>),
    /// `:session`
    Session,
    /// `:reset`
    Reset,
    /// `:shell [NODE]`
    Shell(Option<String>),
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
    (":session", "directory and shell of each node"),
    (":reset", "forget the state on the active nodes and begin anew"),
    (":bg CMD", "run in the background of the active nodes"),
    (":jobs", "what was started in the background"),
    (":job N", "what a job has written, and how it ended"),
    (":kill N", "end a job"),
    (":set [KEY VALUE]", "timestamps on|off, output gather|stream, timeout SECONDS|0"),
    (":help", "this"),
    (":quit", "leave"),
];

/// Reads a line.
pub(crate) fn read(line: &str) -> Line {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    match word {
        "" => Line::Nothing,
        "exit" | "quit" | "logout" if rest.is_empty() => Line::Quit,
        "!all" => Line::ActivateAll,
        "!list" => Line::List,
        "!status" => Line::Status,
        "!reconnect" => Line::Reconnect,
        "!broadcast" => needs(rest, "a command: !broadcast uptime", Line::Broadcast),
        "!" => Line::Wrong("! needs nodes: !web1, !web[1-3], !all".to_owned()),
        _ if word.starts_with('!') => Line::Activate(line.trim_start_matches('!').replace(' ', "")),
        _ if word.starts_with(':') => command(word, rest),
        _ => Line::Run(line.to_owned()),
    }
}

fn command(word: &str, rest: &str) -> Line {
    match word {
        ":quit" | ":q" | ":exit" => Line::Quit,
        ":help" | ":h" | ":?" => Line::Help,
        ":session" => Line::Session,
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
        _ => {
            let keys = "timestamps on|off, output gather|stream, timeout SECONDS|0";
            return Line::Wrong(format!("can be set: {keys}"));
        }
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
            (":job 2", Line::Job(2)),
        ] {
            assert_eq!(read(line), want, "{line}");
        }
        for line in ["!", "!broadcast", ":bg", ":job x", ":set x y", ":upload a b"] {
            assert!(matches!(read(line), Line::Wrong(_)), "{line}");
        }
        let Line::Wrong(text) = read(":nonsense") else { panic!() };
        assert!(text.contains(":shell") && text.contains(":quit"), "{text}");
    }
}
