//! ssh's own command line: what was typed, nothing looked up.
//!
//! The grammar is getopt's, as `ssh(1)` uses it: single-letter flags that may be bundled, values
//! attached or apart, options before and after the destination, everything after that the
//! command. Most flags are shorthand for an `ssh_config` line and become one; the table
//! [`FLAGS`] says which. What bssh does not have is refused here or by the core, never ignored.

use super::control::Control;
use super::effective::{LogLevel, log_level};
use super::notation::{forward_line, said_by, stdio_forward};
use crate::request::quoted;
use bssh_protocol::exec::Settings;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The command line of the ssh grammar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SshArgs {
    pub mode: Mode,
    /// `[user@]host` or `ssh://…`, as typed.
    pub destination: String,
    /// The command's words joined by blanks, as ssh sends them; empty: none.
    pub command: Option<Vec<u8>>,
    pub settings: Settings,
    /// `-W host:port`.
    pub stdio_forward: Option<String>,
    /// `-E file`.
    pub log_file: Option<OsString>,
    pub syslog: bool,
    /// What `-t`, `-T` and `-N` have made of `RequestTTY` so far.
    tty: Option<&'static str>,
    /// What `-q` and `-v` have made of `LogLevel` so far.
    level: Option<LogLevel>,
    debugging: bool,
}

/// What the invocation is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Mode {
    #[default]
    Run,
    /// `-G`: print the effective configuration.
    PrintConfig,
    /// `-V`
    Version,
    /// `-Q what`
    Query(String),
    /// `-O what`
    Control(Control),
}

/// What a flag does. Most of ssh's flags overrule an earlier `-o`, and the last one counts; a few
/// are lines like any other, of which the first one counts.
#[derive(Clone, Copy)]
enum Flag {
    /// Overruling lines of `ssh_config`.
    Lines(&'static [&'static str]),
    /// A keyword that takes the flag's value; overrules.
    Last(&'static str),
    /// A keyword that takes the flag's value; the first one counts.
    First(&'static str),
    /// A keyword that takes a forward in flag notation.
    Forward(&'static str),
    /// Something of its own, in [`SshArgs::apply_own`].
    Own { value: bool },
    /// Refused; the table says why.
    Refused { value: bool },
}

/// Every flag of ssh(1), and what it does: `docs/ssh-flags.md`. What a line asks for is refused by
/// the keyword table, and so only where somebody wants to connect.
#[rustfmt::skip]
const FLAGS: &[(u8, Flag, &str)] = &[
    (b'1', Flag::Refused { value: false }, "Refused: SSH protocol version 1."),
    (b'2', Flag::Own { value: false }, "No effect, as in ssh."),
    (b'4', Flag::Lines(&["AddressFamily=inet"]), "IPv4 only."),
    (b'6', Flag::Lines(&["AddressFamily=inet6"]), "IPv6 only."),
    (b'A', Flag::Lines(&["ForwardAgent=yes"]), "Make the agent available on the node."),
    (b'a', Flag::Lines(&["ForwardAgent=no"]), "Do not."),
    (b'B', Flag::Last("BindInterface"), "Local interface to connect from."),
    (b'b', Flag::Last("BindAddress"), "Local address to connect from."),
    (b'C', Flag::Lines(&["Compression=yes"]), "Compress."),
    (b'c', Flag::Last("Ciphers"), "Ciphers."),
    (b'D', Flag::First("DynamicForward"), "SOCKS proxy here."),
    (b'E', Flag::Own { value: true }, "Append remarks to this file instead of stderr."),
    (b'e', Flag::Last("EscapeChar"), "Escape character of terminals, or none."),
    (b'F', Flag::Own { value: true }, "The only configuration file, or none."),
    (b'f', Flag::Lines(&["ForkAfterAuthentication=yes", "StdinNull=yes"]), "Go to the background once logged in."),
    (b'G', Flag::Own { value: false }, "Print the effective configuration."),
    (b'g', Flag::Lines(&["GatewayPorts=yes"]), "Let other machines use local forwards."),
    (b'I', Flag::Last("PKCS11Provider"), "Refused: keys on tokens come through an agent."),
    (b'i', Flag::First("IdentityFile"), "Private key to offer; may be repeated."),
    (b'J', Flag::Own { value: true }, "Jump hosts, separated by commas."),
    (b'K', Flag::Lines(&["GSSAPIAuthentication=yes", "GSSAPIDelegateCredentials=yes"]), "Refused: Kerberos."),
    (b'k', Flag::Lines(&["GSSAPIDelegateCredentials=no"]), "No effect: there is no Kerberos."),
    (b'L', Flag::Forward("LocalForward"), "Forward a local port or socket."),
    (b'l', Flag::First("User"), "Log in as this user."),
    (b'M', Flag::Own { value: false }, "This host's connection is the shared core's (with -S or ControlPath)."),
    (b'm', Flag::Last("MACs"), "MACs."),
    (b'N', Flag::Own { value: false }, "No command and no shell, only forwards."),
    (b'n', Flag::Lines(&["StdinNull=yes"]), "Read nothing from stdin."),
    (b'O', Flag::Own { value: true }, "check, exit, stop, forward or cancel: the shared connection to the host; proxy: a session over it only."),
    (b'o', Flag::Own { value: true }, "A line of ssh_config."),
    (b'P', Flag::First("Tag"), "A tag for Match tagged, as in OpenSSH 9.4."),
    (b'p', Flag::First("Port"), "The port to connect to."),
    (b'Q', Flag::Own { value: true }, "List algorithms."),
    (b'q', Flag::Own { value: false }, "Quiet."),
    (b'R', Flag::Forward("RemoteForward"), "Forward a port or socket of the node; without a target, SOCKS."),
    (b'S', Flag::Last("ControlPath"), "Keeps shared connections apart by this name; none: no shared core."),
    (b's', Flag::Lines(&["SessionType=subsystem"]), "The command is the name of a subsystem."),
    (b'T', Flag::Own { value: false }, "No terminal."),
    (b't', Flag::Own { value: false }, "A terminal; twice: also without a local one."),
    (b'V', Flag::Own { value: false }, "The version."),
    (b'v', Flag::Own { value: false }, "More remarks; up to three times."),
    (b'W', Flag::Own { value: true }, "Connect stdin and stdout to this host and port."),
    (b'w', Flag::Own { value: true }, "Refused: tunnel devices."),
    (b'X', Flag::Lines(&["ForwardX11=yes"]), "Refused: X11 forwarding."),
    (b'x', Flag::Lines(&["ForwardX11=no"]), "No X11 forwarding."),
    (b'Y', Flag::Lines(&["ForwardX11=yes", "ForwardX11Trusted=yes"]), "Refused: X11 forwarding."),
    (b'y', Flag::Own { value: false }, "Remarks go to the system's log; to stderr where there is none."),
];

/// The usage line, for errors.
pub(super) const USAGE: &str = "usage: bssh [-46AaCfGgkNnqsTtVvxy] [-B interface] [-b address] [-c ciphers] \
[-D [bind:]port] [-E log] [-e escape] [-F config] [-i identity] [-J jump] [-L forward] [-l user] \
[-m macs] [-O ctl_cmd] [-o option] [-P tag] [-p port] [-Q query] [-R forward] [-S path] [-W host:port] \
destination [command …]";

/// Reads the words after the program's name.
///
/// # Errors
/// One line for people: an unknown or refused flag, a missing value, no destination.
pub(super) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<SshArgs, String> {
    let mut args = SshArgs::default();
    let mut words = words.into_iter().peekable();
    let mut destination = None;
    loop {
        let ended = read_flags(&mut args, &mut words)?;
        if destination.is_some()
            || args.mode == Mode::Version
            || matches!(args.mode, Mode::Query(_))
        {
            break;
        }
        let Some(word) = words.next() else { break };
        let named = text(&word, "destination")?;
        // Its place among the options counts: the first user and the first port are the ones.
        args.settings.options.extend(said_by(&named));
        destination = Some(named);
        if ended {
            break;
        }
    }
    let command = words.map(OsString::into_vec).collect::<Vec<_>>();
    match destination {
        Some(name) => args.destination = name,
        None if matches!(args.mode, Mode::Version | Mode::Query(_)) => {}
        None => return Err(format!("no destination given\n{USAGE}")),
    }
    args.command = Some(command.join(&b' ')).filter(|line| !line.is_empty());
    let tty = args.tty.map(|tty| format!("RequestTTY={tty}"));
    let level = args.level.map(|level| format!("LogLevel={}", level.name().to_uppercase()));
    tty.into_iter().chain(level).for_each(|line| args.overrule(line));
    Ok(args)
}

/// Takes flags up to the first word that is none; `--` ends them and is dropped. Is it there?
fn read_flags(
    args: &mut SshArgs,
    words: &mut std::iter::Peekable<impl Iterator<Item = OsString>>,
) -> Result<bool, String> {
    while let Some(word) = words.next_if(|w| w.as_bytes().starts_with(b"-") && w.len() > 1) {
        if word == "--" {
            return Ok(true);
        }
        let mut rest = word.as_bytes().get(1..).unwrap_or_default();
        while let Some((&letter, tail)) = rest.split_first() {
            let Some(&(_, flag, doc)) = FLAGS.iter().find(|(l, ..)| *l == letter) else {
                let shown = word.to_string_lossy();
                return Err(format!("unknown option {shown} (at {})\n{USAGE}", char::from(letter)));
            };
            if let Flag::Refused { .. } = flag {
                let why = doc.trim_start_matches("Refused: ").trim_end_matches('.');
                return Err(format!("-{}: not supported: {why}", char::from(letter)));
            }
            if !takes_value(flag) {
                args.apply(letter, flag, OsStr::new(""))?;
                rest = tail;
                continue;
            }
            let value = match (tail, words.peek()) {
                ([], Some(_)) => words.next().unwrap_or_default(),
                ([], None) => {
                    return Err(format!("option -{} needs a value\n{USAGE}", char::from(letter)));
                }
                (attached, _) => OsString::from_vec(attached.to_vec()),
            };
            args.apply(letter, flag, &value)?;
            break;
        }
    }
    Ok(false)
}

fn takes_value(flag: Flag) -> bool {
    match flag {
        Flag::Lines(_) => false,
        Flag::Last(_) | Flag::First(_) | Flag::Forward(_) => true,
        Flag::Own { value } | Flag::Refused { value } => value,
    }
}

impl SshArgs {
    /// The level of the log as far as the command line says it, by `-v`, `-q` or `-o`.
    pub(super) fn log_level(&self) -> Option<String> {
        self.settings.options.iter().find_map(|line| {
            let (key, value) = line.split_once(['=', ' ', '\t'])?;
            let value = value.trim_matches([' ', '\t', '=', '"']);
            key.trim().eq_ignore_ascii_case("LogLevel").then(|| log_level(value).name().to_owned())
        })
    }

    fn overrule(&mut self, line: String) {
        self.settings.options.insert(0, line);
    }

    fn apply(&mut self, letter: u8, flag: Flag, value: &OsStr) -> Result<(), String> {
        match flag {
            Flag::Lines(lines) => lines.iter().for_each(|line| self.overrule((*line).to_owned())),
            Flag::Last(key) => self.overrule(quoted(key, &text(value, key)?)),
            Flag::First(key) => self.settings.options.push(quoted(key, &text(value, key)?)),
            Flag::Forward(key) => {
                let spec = text(value, key)?;
                self.settings.options.push(format!("{key}={}", forward_line(&spec)));
            }
            Flag::Own { .. } | Flag::Refused { .. } => return self.apply_own(letter, value),
        }
        Ok(())
    }

    fn apply_own(&mut self, letter: u8, value: &OsStr) -> Result<(), String> {
        match letter {
            b'E' => self.log_file = Some(value.to_owned()),
            b'F' => self.settings.ssh_config = Some(text(value, "-F")?),
            b'G' => self.mode = Mode::PrintConfig,
            b'J' => {
                let jump = text(value, "-J")?;
                if self.settings.options.iter().any(|o| o.starts_with("ProxyJump=")) {
                    return Err("only a single -J option is permitted (use commas to separate \
                                multiple jump hops)"
                        .to_owned());
                }
                self.settings.options.push(format!("ProxyJump={jump}"));
            }
            b'M' => {
                let again = self.settings.options.iter().any(|o| o == "ControlMaster=yes");
                self.overrule(format!("ControlMaster={}", if again { "ask" } else { "yes" }));
            }
            b'N' => {
                self.overrule("SessionType=none".to_owned());
                self.tty = Some("no");
            }
            b'o' => self.settings.options.push(text(value, "-o")?),
            b'O' => self.mode = Mode::Control(Control::parse(&text(value, "-O")?)?),
            b'Q' => self.mode = Mode::Query(text(value, "-Q")?),
            b'q' => self.level = Some(LogLevel::Quiet),
            b'T' => self.tty = Some("no"),
            b't' if self.tty == Some("yes") => self.tty = Some("force"),
            b't' => self.tty = Some("yes"),
            b'V' => self.mode = Mode::Version,
            b'v' => {
                let before = self.level.filter(|_| self.debugging);
                self.level = Some(before.map_or(LogLevel::Debug1, |level| level.next(true)));
                self.debugging = true;
            }
            b'W' => {
                let to = text(value, "-W")?;
                if self.stdio_forward.is_some() {
                    return Err("only one -W is possible".to_owned());
                }
                stdio_forward(&to)?;
                self.stdio_forward = Some(to);
                self.overrule("SessionType=none".to_owned());
                self.tty = Some("no");
                let weak = ["ClearAllForwardings=yes", "ExitOnForwardFailure=yes"];
                self.settings.defaults = weak.map(str::to_owned).to_vec();
            }
            b'w' => {
                self.overrule("Tunnel=yes".to_owned());
                self.overrule(format!("TunnelDevice={}", text(value, "-w")?));
            }
            b'y' => self.syslog = true,
            // -2 has no effect in OpenSSH either.
            _ => {}
        }
        Ok(())
    }
}

fn text(value: &OsStr, what: &str) -> Result<String, String> {
    value.to_str().map(str::to_owned).ok_or_else(|| format!("{what}: not valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::{Flag, parse, takes_value};
    use std::ffi::OsString;

    fn options(line: &str) -> Vec<String> {
        let words = line.split(' ').map(OsString::from).chain([OsString::from("h")]);
        parse(words).unwrap_or_else(|e| panic!("{line}: {e}")).settings.options
    }

    /// The first line of a keyword is the one that counts.
    #[test]
    fn the_last_flag_counts_where_it_does_in_ssh() {
        for (line, first) in [
            ("-4 -6", "AddressFamily=inet6"),
            ("-A -a", "ForwardAgent=no"),
            ("-o ForwardAgent=no -A", "ForwardAgent=yes"),
            ("-A -o ForwardAgent=no", "ForwardAgent=yes"),
            ("-c a -c b", "Ciphers=\"b\""),
            ("-b 1.1.1.1 -b 2.2.2.2", "BindAddress=\"2.2.2.2\""),
            ("-l a -l b", "User=\"a\""),
            ("-p 1 -p 2", "Port=\"1\""),
            ("-o Port=1 -p 2", "Port=1"),
            ("-t -T", "RequestTTY=no"),
            ("-T -t", "RequestTTY=yes"),
            ("-tt", "RequestTTY=force"),
            ("-t -T -t", "RequestTTY=yes"),
            ("-N -t", "RequestTTY=yes"),
            ("-t -N", "RequestTTY=no"),
            ("-q -v", "LogLevel=DEBUG1"),
            ("-vvvv", "LogLevel=DEBUG3"),
            ("-vv -q", "LogLevel=QUIET"),
            ("-M -M", "ControlMaster=ask"),
            ("-x -Y", "ForwardX11Trusted=yes"),
            ("-i a\"b", "IdentityFile=\"a\\\"b\""),
        ] {
            assert_eq!(options(line).first().map(String::as_str), Some(first), "{line}");
        }
    }

    #[test]
    fn the_first_user_named_counts() {
        for (line, user) in [
            ("-o user=foo -l bar baz@h", "user=foo"),
            ("-l bar baz@h -o user=foo", "User=\"bar\""),
            ("baz@h -o user=foo -l bar", "User=\"baz\""),
            ("ssh://b%61z;x=y@h:1 -l bar", "User=\"baz\""),
        ] {
            let args = parse(line.split(' ').map(OsString::from)).unwrap();
            let first =
                args.settings.options.iter().find(|o| o.to_lowercase().starts_with("user="));
            assert_eq!(first.map(String::as_str), Some(user), "{line}");
        }
    }

    #[test]
    fn the_first_port_named_counts() {
        for (line, port) in [
            ("ssh://h:1/ -p 2", "1"),
            ("ssh://u@h:1 -o Port=2", "1"),
            ("ssh://[::1]:1 -p 2", "1"),
            ("-p 2 ssh://h:1", "2"),
            ("ssh://h -p 2", "2"),
            ("h:1 -p 2", "2"),
        ] {
            let args = parse(line.split(' ').map(OsString::from)).unwrap();
            let first = args.settings.options.iter().find(|o| o.starts_with("Port="));
            assert_eq!(first, Some(&format!("Port=\"{port}\"")), "{line}");
        }
    }

    #[test]
    fn no_flag_is_looked_for_behind_two_dashes() {
        for (line, host, command) in [
            ("-- h -n x", "h", Some("-n x")),
            ("-n -- h -- x", "h", Some("-- x")),
            ("-- -h", "-h", None),
            ("h -n x", "h", Some("x")),
            ("h -- -n x", "h", Some("-n x")),
        ] {
            let args = parse(line.split(' ').map(OsString::from)).unwrap();
            let found = args.command.map(|c| String::from_utf8(c).unwrap());
            assert_eq!((args.destination.as_str(), found.as_deref()), (host, command), "{line}");
        }
    }

    #[test]
    fn the_log_level_is_known_before_the_configuration_is_read() {
        for (line, level) in [
            ("-v", Some("debug1")),
            ("-o LogLevel=DEBUG3", Some("debug3")),
            ("-o loglevel=ERROR -vv", Some("debug2")),
            ("-o LogLevel=SILENT", Some("quiet")),
            ("-o LogLevel=DEBUG", Some("debug1")),
            // Refused where it is read.
            ("-o LogLevel=loud", Some("info")),
            ("-4", None),
        ] {
            let words = line.split(' ').map(OsString::from).chain(["h".into()]);
            assert_eq!(parse(words).unwrap().log_level().as_deref(), level, "{line}");
        }
    }

    /// `BSSH_BLESS=1 cargo test -p bssh-cli` writes it again.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test, told by its environment")]
    fn the_document_is_fresh() {
        let mut text =
            "# ssh's flags\n\nGenerated from the table in `frontends/cli/src/ssh/args.rs`: \
                        `BSSH_BLESS=1 cargo test -p bssh-cli`.\nMost flags stand for a line of \
                        [ssh_config](ssh-config.md), and its class there is the flag's.\n\n\
                        | flag | stands for | |\n|---|---|---|\n"
                .to_owned();
        for (letter, flag, doc) in super::FLAGS {
            let lines = match flag {
                Flag::Lines(lines) => lines.join(", "),
                Flag::Last(key) | Flag::First(key) | Flag::Forward(key) => (*key).to_owned(),
                Flag::Own { .. } | Flag::Refused { .. } => String::new(),
            };
            text.push_str(&format!("| -{} | {lines} | {doc} |\n", char::from(*letter)));
        }
        text.push_str(ESCAPES);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ssh-flags.md");
        if std::env::var_os("BSSH_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "stale: BSSH_BLESS=1 cargo test -p bssh-cli");
    }

    /// What the document says of escapes.
    const ESCAPES: &str = "\n## Escapes\n\n\
        `~.`, `~R`, `~V`, `~v`, `~^Z`, `~#`, `~C`, `~&`, `~?` and `~~` are as in ssh, at the start of a line.\n\
        `~&` leaves the core to see open connections of forwards through: nothing new comes through them, and it ends with the last one.\n\
        A session whose command has ended does the same before it ends.\n\
        `~C` is there unless `EnableEscapeCommandline` says no; ssh wants a yes since 9.2.\n\
        `~B` is refused: [russh cannot send a break](upstream-russh.md).\n";

    #[test]
    fn every_flag_of_ssh_is_known() {
        // getopt's string in ssh.c of OpenSSH 9.2, and -P of 9.4, which took a value from then on.
        let string = "1246ab:c:e:fgi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy";
        for (at, letter) in string.bytes().enumerate().filter(|(_, b)| *b != b':') {
            let flag = super::FLAGS.iter().find(|(l, ..)| *l == letter).map(|(_, f, _)| *f);
            let flag = flag.unwrap_or_else(|| panic!("-{}", char::from(letter)));
            let value = string.as_bytes().get(at + 1) == Some(&b':');
            assert_eq!(takes_value(flag), value, "-{}", char::from(letter));
        }
    }
}
