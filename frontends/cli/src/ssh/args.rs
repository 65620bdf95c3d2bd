//! ssh's own command line: what was typed, nothing looked up.
//!
//! The grammar is getopt's, as `ssh(1)` uses it: single-letter flags that may be bundled, values
//! attached or apart, options before and after the destination, everything after that the
//! command. Most flags are shorthand for an `ssh_config` line and become one; the table
//! [`FLAGS`] says which. What bssh does not have is refused here or by the core, never ignored.

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
    /// How often `-t` was given; `-T` sets `no_tty`.
    pub tty: u8,
    pub no_tty: bool,
    pub verbose: u8,
    pub quiet: bool,
    /// `-E file`.
    pub log_file: Option<OsString>,
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
}

/// What a flag does.
#[derive(Clone, Copy)]
enum Flag {
    /// The `ssh_config` line it stands for.
    Line(&'static str),
    /// A keyword that takes the flag's value.
    Keyword(&'static str),
    /// A keyword that takes a forward in flag notation.
    Forward(&'static str),
    /// Something of its own, in [`SshArgs::apply`].
    Own { value: bool },
    /// Refused, with the reason.
    Refused { value: bool, why: &'static str },
}

/// Every flag of ssh(1), 9.2.
const FLAGS: &[(u8, Flag)] = &[
    (b'1', Flag::Refused { value: false, why: "SSH protocol version 1 is not supported" }),
    (b'2', Flag::Own { value: false }),
    (b'4', Flag::Line("AddressFamily=inet")),
    (b'6', Flag::Line("AddressFamily=inet6")),
    (b'A', Flag::Line("ForwardAgent=yes")),
    (b'a', Flag::Line("ForwardAgent=no")),
    (b'B', Flag::Keyword("BindInterface")),
    (b'b', Flag::Keyword("BindAddress")),
    (b'C', Flag::Line("Compression=yes")),
    (b'c', Flag::Keyword("Ciphers")),
    (b'D', Flag::Forward("DynamicForward")),
    (b'E', Flag::Own { value: true }),
    (b'e', Flag::Keyword("EscapeChar")),
    (b'F', Flag::Own { value: true }),
    (b'f', Flag::Line("ForkAfterAuthentication=yes")),
    (b'G', Flag::Own { value: false }),
    (b'g', Flag::Line("GatewayPorts=yes")),
    (
        b'I',
        Flag::Refused {
            value: true,
            why: "PKCS#11 tokens are not supported; load them into an agent",
        },
    ),
    (b'i', Flag::Keyword("IdentityFile")),
    (b'J', Flag::Own { value: true }),
    (b'K', Flag::Refused { value: false, why: "GSSAPI is not supported" }),
    (b'k', Flag::Line("GSSAPIDelegateCredentials=no")),
    (b'L', Flag::Forward("LocalForward")),
    (b'l', Flag::Keyword("User")),
    (b'M', Flag::Refused { value: false, why: "this build has no shared core to be a master" }),
    (b'm', Flag::Keyword("MACs")),
    (b'N', Flag::Line("SessionType=none")),
    (b'n', Flag::Line("StdinNull=yes")),
    (b'O', Flag::Refused { value: true, why: "this build has no shared core to control" }),
    (b'o', Flag::Own { value: true }),
    (b'P', Flag::Own { value: false }),
    (b'p', Flag::Keyword("Port")),
    (b'Q', Flag::Own { value: true }),
    (b'q', Flag::Own { value: false }),
    (b'R', Flag::Forward("RemoteForward")),
    (b'S', Flag::Keyword("ControlPath")),
    (b's', Flag::Line("SessionType=subsystem")),
    (b'T', Flag::Own { value: false }),
    (b't', Flag::Own { value: false }),
    (b'V', Flag::Own { value: false }),
    (b'v', Flag::Own { value: false }),
    (b'W', Flag::Own { value: true }),
    (b'w', Flag::Refused { value: true, why: "tunnel devices are not supported" }),
    (b'X', Flag::Refused { value: false, why: "X11 forwarding is not supported" }),
    (b'x', Flag::Line("ForwardX11=no")),
    (b'Y', Flag::Refused { value: false, why: "X11 forwarding is not supported" }),
    (b'y', Flag::Refused { value: false, why: "logging to syslog is not supported; use -E FILE" }),
];

/// The usage line, for errors.
pub(super) const USAGE: &str = "usage: bssh [-46AaCfGgkNnPqsTtVvx] [-B interface] [-b address] [-c ciphers] \
[-D [bind:]port] [-E log] [-e escape] [-F config] [-i identity] [-J jump] [-L forward] [-l user] \
[-m macs] [-o option] [-p port] [-Q query] [-R forward] [-S path] [-W host:port] destination [command …]";

/// Reads the words after the program's name.
///
/// # Errors
/// One line for people: an unknown or refused flag, a missing value, no destination.
pub(super) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<SshArgs, String> {
    let mut args = SshArgs::default();
    let mut words = words.into_iter().peekable();
    let mut destination = None;
    loop {
        read_flags(&mut args, &mut words)?;
        if destination.is_some()
            || args.mode == Mode::Version
            || matches!(args.mode, Mode::Query(_))
        {
            break;
        }
        let Some(word) = words.next() else { break };
        destination = Some(text(&word, "destination")?);
    }
    let command = words.map(OsString::into_vec).collect::<Vec<_>>();
    match destination {
        Some(name) => args.destination = name,
        None if matches!(args.mode, Mode::Version | Mode::Query(_)) => {}
        None => return Err(format!("no destination given\n{USAGE}")),
    }
    args.command = (!command.is_empty()).then(|| command.join(&b' '));
    Ok(args)
}

/// Takes flags up to the first word that is none; `--` ends them and is dropped.
fn read_flags(
    args: &mut SshArgs,
    words: &mut std::iter::Peekable<impl Iterator<Item = OsString>>,
) -> Result<(), String> {
    while let Some(word) = words.next_if(|w| w.as_bytes().starts_with(b"-") && w.len() > 1) {
        if word == "--" {
            return Ok(());
        }
        let mut rest = word.as_bytes().get(1..).unwrap_or_default();
        while let Some((&letter, tail)) = rest.split_first() {
            let flag = FLAGS.iter().find(|(l, _)| *l == letter).map(|(_, f)| *f);
            let Some(flag) = flag else {
                let shown = word.to_string_lossy();
                return Err(format!("unknown option {shown} (at {})\n{USAGE}", char::from(letter)));
            };
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
    Ok(())
}

fn takes_value(flag: Flag) -> bool {
    match flag {
        Flag::Line(_) => false,
        Flag::Keyword(_) | Flag::Forward(_) => true,
        Flag::Own { value } | Flag::Refused { value, .. } => value,
    }
}

impl SshArgs {
    fn apply(&mut self, letter: u8, flag: Flag, value: &OsStr) -> Result<(), String> {
        match flag {
            Flag::Line(line) => self.settings.options.push(line.to_owned()),
            Flag::Keyword(key) => {
                let value = text(value, key)?;
                self.settings.options.push(format!("{key}={value}"));
            }
            Flag::Forward(key) => {
                let spec = text(value, key)?;
                self.settings.options.push(format!("{key}={}", forward_line(&spec)));
            }
            Flag::Refused { why, .. } => return Err(format!("-{}: {why}", char::from(letter))),
            Flag::Own { .. } => return self.apply_own(letter, value),
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
            b'o' => self.settings.options.push(text(value, "-o")?),
            b'Q' => self.mode = Mode::Query(text(value, "-Q")?),
            b'q' => {
                self.quiet = true;
                self.settings.options.push("LogLevel=QUIET".to_owned());
            }
            b'T' => {
                self.no_tty = true;
                self.settings.options.push("RequestTTY=no".to_owned());
            }
            b't' => self.tty = self.tty.saturating_add(1),
            b'V' => self.mode = Mode::Version,
            b'v' => self.verbose = (self.verbose + 1).min(3),
            b'W' => self.stdio_forward = Some(text(value, "-W")?),
            // -2 and -P have no effect in OpenSSH either.
            _ => {}
        }
        Ok(())
    }
}

/// `[bind:]port:host:hostport` in the notation of `ssh_config`: listener, blank, target.
///
/// The listener is what stands before the second-last unbracketed colon, or before the last one
/// when either side is a socket path.
fn forward_line(spec: &str) -> String {
    let mut depth = 0_u32;
    let colons: Vec<usize> = spec
        .char_indices()
        .filter_map(|(at, c)| {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (c == ':' && depth == 0).then_some(at)
        })
        .collect();
    let split = match (spec.starts_with('/'), spec.rsplit(':').next(), colons.as_slice()) {
        (true, _, [first, ..]) => Some(*first),
        (false, Some(last), [.., at]) if last.starts_with('/') => Some(*at),
        (false, _, [.., at, _]) => Some(*at),
        _ => None,
    };
    match split.and_then(|at| spec.split_at_checked(at)) {
        Some((listen, target)) => format!("{listen} {}", target.trim_start_matches(':')),
        None => spec.to_owned(),
    }
}

fn text(value: &OsStr, what: &str) -> Result<String, String> {
    value.to_str().map(str::to_owned).ok_or_else(|| format!("{what}: not valid UTF-8"))
}
