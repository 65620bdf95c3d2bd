//! ssh's command line (`~C`): forwards opened and cancelled while a session runs.
//!
//! The line is typed in raw mode, so it is echoed here.

use bssh_client::Core;
use bssh_protocol::error::CallError;
use bssh_protocol::exec::Targets;
use bssh_protocol::forward::{DRAINING, DrainParams, ForwardEntry, ForwardKind, ForwardParams};
use bssh_protocol::methods::{ForwardDrain, ForwardList, ForwardOpen};

/// A line in the making.
#[derive(Debug, Default)]
pub(super) struct LineEditor {
    text: String,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Nothing,
    Help,
    Open(ForwardKind, String),
    Cancel(ForwardKind, String),
}

/// What `-h` shows.
const HELP: &str = concat!(
    "Commands:\r\n",
    "      -L[bind_address:]port:host:hostport    Request local forward\r\n",
    "      -R[bind_address:]port:host:hostport    Request remote forward\r\n",
    "      -D[bind_address:]port                  Request dynamic forward\r\n",
    "      -KL[bind_address:]port                 Cancel local forward\r\n",
    "      -KR[bind_address:]port                 Cancel remote forward\r\n",
    "      -KD[bind_address:]port                 Cancel dynamic forward\r\n",
);

/// No specification is longer.
const LONGEST: usize = 1024;

impl LineEditor {
    /// Takes typed bytes up to the end of the line. What to show, and the line once it is whole;
    /// ^C and ^D give it up.
    pub(super) fn take(&mut self, typed: &mut Vec<u8>) -> (String, Option<String>) {
        let mut echo = String::new();
        for (at, byte) in typed.iter().enumerate() {
            match byte {
                b'\r' | b'\n' => {
                    typed.drain(..=at);
                    return (echo + "\r\n", Some(std::mem::take(&mut self.text)));
                }
                3 | 4 => {
                    typed.drain(..=at);
                    return (echo + "\r\n", Some(String::new()));
                }
                8 | 0x7f if self.text.pop().is_some() => echo.push_str("\u{8} \u{8}"),
                b' '..=b'~' if self.text.len() < LONGEST => {
                    self.text.push(char::from(*byte));
                    echo.push(char::from(*byte));
                }
                _ => {}
            }
        }
        typed.clear();
        (echo, None)
    }
}

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// One line for people.
    fn parse(line: &str) -> Result<Command, String> {
        let line = line.trim();
        let (cancel, rest) = match line.strip_prefix("-K") {
            Some(rest) => (true, rest),
            None => (false, line.strip_prefix('-').unwrap_or(line)),
        };
        let kind = match rest.chars().next() {
            None => return Ok(Command::Nothing),
            Some('h' | '?') if !cancel => return Ok(Command::Help),
            Some('L') => ForwardKind::Local,
            Some('R') => ForwardKind::Remote,
            Some('D') => ForwardKind::Dynamic,
            Some(_) => return Err("Invalid command.".to_owned()),
        };
        let spec = rest.get(1..).unwrap_or_default().trim().to_owned();
        match (spec.is_empty(), cancel) {
            (true, _) => Err("Bad forwarding specification.".to_owned()),
            (false, true) => Ok(Command::Cancel(kind, spec)),
            (false, false) => Ok(Command::Open(kind, spec)),
        }
    }
}

/// Does what a line asks for, and says so.
pub(super) async fn run(core: &Core, targets: &Targets, line: &str) {
    let said = match Command::parse(line) {
        Ok(Command::Nothing) => return,
        Ok(Command::Help) => HELP.to_owned(),
        Ok(Command::Open(kind, spec)) => {
            let targets = targets.clone();
            let params = ForwardParams { targets, kind, spec, ..ForwardParams::default() };
            match core.call::<ForwardOpen>(&params).await {
                Ok(_) => "Forwarding port.\r\n".to_owned(),
                Err(error) => format!("{error}\r\n"),
            }
        }
        Ok(Command::Cancel(kind, spec)) => match cancel(core, kind, &spec).await {
            Ok(true) => format!("Canceled forwarding {spec}\r\n"),
            Ok(false) => "Unknown port forwarding.\r\n".to_owned(),
            Err(error) => format!("{error}\r\n"),
        },
        Err(why) => format!("{why}\r\n"),
    };
    super::show(&said);
}

async fn cancel(core: &Core, kind: ForwardKind, spec: &str) -> Result<bool, CallError> {
    let list = core.call::<ForwardList>(&Default::default()).await?;
    let Some(found) = list.forwards.iter().find(|f| named(kind, spec, f)) else {
        return Ok(false);
    };
    core.call::<ForwardDrain>(&DrainParams { forward: found.forward, wait: false }).await?;
    Ok(true)
}

/// The forward that `-K` names by its kind and listener.
fn named(kind: ForwardKind, spec: &str, entry: &ForwardEntry) -> bool {
    let listens = entry.bound == spec
        || entry.spec == spec
        || entry.spec.strip_prefix(spec).is_some_and(|rest| rest.starts_with([':', ' ']))
        || entry.bound.rsplit_once(':').is_some_and(|(_, port)| port == spec);
    entry.kind == kind && entry.state != DRAINING && listens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_typed_corrected_and_given_up() {
        let mut editor = LineEditor::default();
        let mut typed = b"-Lx\x7f1:a:2\rls\n".to_vec();
        let (echo, line) = editor.take(&mut typed);
        assert_eq!(line.as_deref(), Some("-L1:a:2"));
        assert_eq!(echo, "-Lx\u{8} \u{8}1:a:2\r\n");
        assert_eq!(typed, b"ls\n", "what follows is the session's");
        assert_eq!(editor.take(&mut b"\x1b-D".to_vec()), ("-D".to_owned(), None));
        assert_eq!(editor.take(&mut vec![3]).1.as_deref(), Some(""));
    }

    #[test]
    fn commands() {
        use ForwardKind::{Dynamic, Local, Remote};
        for (line, want) in [
            ("-L 8080:a:80", Ok(Command::Open(Local, "8080:a:80".to_owned()))),
            ("-R8080:a:80", Ok(Command::Open(Remote, "8080:a:80".to_owned()))),
            ("D 1080", Ok(Command::Open(Dynamic, "1080".to_owned()))),
            ("-KD 1080", Ok(Command::Cancel(Dynamic, "1080".to_owned()))),
            ("", Ok(Command::Nothing)),
            ("-h", Ok(Command::Help)),
            ("-X", Err("Invalid command.".to_owned())),
            ("-L", Err("Bad forwarding specification.".to_owned())),
        ] {
            assert_eq!(Command::parse(line), want, "{line}");
        }
        assert!(HELP.lines().skip(1).all(|line| line.starts_with("      -")), "{HELP}");
    }
}
