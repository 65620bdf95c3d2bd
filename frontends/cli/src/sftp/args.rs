//! The command line of `bssh sftp`: what was typed, nothing looked up.
//!
//! The grammar is getopt's, as `sftp(1)` uses it. Most flags are lines of `ssh_config`; what there
//! is no use for here is refused by name.

use crate::request::quoted;
use bssh_protocol::exec::Settings;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// `bssh sftp …` as typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SftpArgs {
    /// For the core: `[user@]host`, or `ssh://…`.
    pub destination: String,
    /// The host's name, for people.
    pub host: String,
    /// What follows the host.
    pub path: Option<Vec<u8>>,
    /// Where a file that is named there goes.
    pub local: Option<OsString>,
    pub settings: Settings,
    pub batch: Option<Batch>,
    pub quiet: bool,
    /// `-a`: files that are there are gone on with.
    pub append: bool,
    pub fsync: bool,
    pub preserve: bool,
    pub recursive: bool,
    /// Bytes a second.
    pub limit: Option<u64>,
    pub block: Option<u32>,
    pub requests: Option<u32>,
    pub log_level: &'static str,
}

/// Where commands come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// `-b -`
    Stdin,
    File(PathBuf),
}

/// What a flag does.
#[derive(Clone, Copy)]
enum Flag {
    /// A line of `ssh_config`.
    Line(&'static str),
    /// A keyword that takes the flag's value.
    Key(&'static str),
    /// Something of its own.
    Own { value: bool },
    /// Refused; the text says why.
    Refused { value: bool, why: &'static str },
}

#[rustfmt::skip]
const FLAGS: &[(u8, Flag)] = &[
    (b'1', Flag::Refused { value: false, why: "there is no SSH protocol version 1 any more" }),
    (b'2', Flag::Own { value: false }),
    (b'4', Flag::Line("AddressFamily=inet")),
    (b'6', Flag::Line("AddressFamily=inet6")),
    (b'A', Flag::Refused { value: false, why: "a file server has no use for an agent" }),
    (b'a', Flag::Own { value: false }),
    (b'B', Flag::Own { value: true }),
    (b'b', Flag::Own { value: true }),
    (b'C', Flag::Line("Compression=yes")),
    (b'c', Flag::Key("Ciphers")),
    (b'D', Flag::Refused { value: true, why: "there is no file server without a node; use cp" }),
    (b'F', Flag::Own { value: true }),
    (b'f', Flag::Own { value: false }),
    (b'h', Flag::Own { value: false }),
    (b'i', Flag::Key("IdentityFile")),
    (b'J', Flag::Key("ProxyJump")),
    (b'l', Flag::Own { value: true }),
    (b'N', Flag::Own { value: false }),
    (b'o', Flag::Own { value: true }),
    (b'P', Flag::Own { value: true }),
    (b'p', Flag::Own { value: false }),
    (b'q', Flag::Own { value: false }),
    (b'R', Flag::Own { value: true }),
    (b'r', Flag::Own { value: false }),
    (b'S', Flag::Refused { value: true, why: "the connection is bssh's own; -o ProxyCommand=… goes another way" }),
    (b's', Flag::Refused { value: true, why: "the file server is the subsystem sftp" }),
    (b'v', Flag::Own { value: false }),
    (b'X', Flag::Refused { value: true, why: "options of one implementation; see -B, -R and -l" }),
];

pub(super) const USAGE: &str =
    "usage: bssh sftp [-46aCfNpqrv] [-B buffer_size] [-b batchfile] [-c cipher]
          [-F ssh_config] [-i identity_file]
          [-J destination] [-l limit] [-o ssh_option] [-P port]
          [-R num_requests] destination [local]";

/// Reads the words after `sftp`.
///
/// # Errors
/// What to say on stderr.
pub(super) fn parse(words: &[OsString]) -> Result<SftpArgs, String> {
    let mut args = SftpArgs { log_level: "info", ..SftpArgs::default() };
    let mut loud = false;
    let mut words = words.iter().peekable();
    while let Some(word) = words.next_if(|w| w.as_bytes().starts_with(b"-") && w.len() > 1) {
        if word == "--" {
            break;
        }
        let mut rest = word.as_bytes().get(1..).unwrap_or_default();
        while let Some((&letter, tail)) = rest.split_first() {
            let known = FLAGS.iter().find(|(l, _)| *l == letter);
            let Some(&(_, flag)) = known else {
                return Err(format!("unknown option -- {}\n{USAGE}", char::from(letter)));
            };
            if let Flag::Refused { why, .. } = flag {
                return Err(format!("-{}: not supported: {why}", char::from(letter)));
            }
            if !takes_value(flag) {
                loud |= letter == b'N';
                args.apply(letter, flag, OsStr::new(""))?;
                rest = tail;
                continue;
            }
            let value = match (tail, words.peek()) {
                ([], Some(_)) => words.next().cloned().unwrap_or_default(),
                ([], None) => {
                    let letter = char::from(letter);
                    return Err(format!("option requires an argument -- {letter}\n{USAGE}"));
                }
                (attached, _) => OsString::from_vec(attached.to_vec()),
            };
            args.apply(letter, flag, &value)?;
            break;
        }
    }
    args.quiet &= !loud;
    let Some(destination) = words.next() else { return Err(USAGE.to_owned()) };
    args.destination(destination.as_bytes())?;
    args.local = words.next().cloned();
    match words.next() {
        None => Ok(args),
        Some(_) => Err(USAGE.to_owned()),
    }
}

fn takes_value(flag: Flag) -> bool {
    match flag {
        Flag::Line(_) => false,
        Flag::Key(_) => true,
        Flag::Own { value } | Flag::Refused { value, .. } => value,
    }
}

impl SftpArgs {
    fn apply(&mut self, letter: u8, flag: Flag, value: &OsStr) -> Result<(), String> {
        let text = || text(value);
        match (flag, letter) {
            (Flag::Line(line), _) => self.settings.options.push(line.to_owned()),
            (Flag::Key(key), _) => self.settings.options.push(quoted(key, &text()?)),
            (_, b'a') => self.append = true,
            (_, b'B') => self.block = Some(number("buffer size", &text()?)?),
            (_, b'b') => {
                if self.batch.is_some() {
                    return Err("Batch file already specified.".to_owned());
                }
                self.quiet = true;
                self.settings.options.push("BatchMode=yes".to_owned());
                self.batch = Some(match value.as_bytes() {
                    b"-" => Batch::Stdin,
                    _ => Batch::File(PathBuf::from(value)),
                });
            }
            (_, b'F') => self.settings.ssh_config = Some(text()?),
            (_, b'f') => self.fsync = true,
            (_, b'h') => return Err(USAGE.to_owned()),
            (_, b'l') => {
                // Kbit a second, as sftp counts them.
                let bad = || USAGE.to_owned();
                let kilobits: u64 = text()?.parse().map_err(|_| bad())?;
                let most = 100 * 1024 * 1024;
                self.limit =
                    Some(kilobits).filter(|n| (1..=most).contains(n)).map(|n| n * 1024 / 8);
                self.limit.ok_or_else(bad)?;
            }
            (_, b'o') => self.settings.options.push(text()?),
            (_, b'P') => {
                let port = text()?;
                let bad = || format!("Bad port \"{port}\"");
                let number: u16 = port.parse().map_err(|_| bad())?;
                if number == 0 {
                    return Err(bad());
                }
                self.settings.options.push(format!("Port={number}"));
            }
            (_, b'p') => self.preserve = true,
            (_, b'q') => (self.quiet, self.log_level) = (true, "error"),
            (_, b'R') => self.requests = Some(number("number of requests", &text()?)?),
            (_, b'r') => self.recursive = true,
            (_, b'v') => {
                self.log_level = match self.log_level {
                    "debug1" => "debug2",
                    "debug2" | "debug3" => "debug3",
                    _ => "debug1",
                }
            }
            // -2 and -N say nothing by themselves.
            _ => {}
        }
        Ok(())
    }

    /// `[user@]host[:path]`, or `sftp://[user@]host[:port][/path]`.
    fn destination(&mut self, word: &[u8]) -> Result<(), String> {
        let whole = String::from_utf8_lossy(word).into_owned();
        if let Some(rest) = whole.strip_prefix("sftp://") {
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            self.destination = format!("ssh://{authority}");
            self.path = Some(decoded(path)).filter(|p| !p.is_empty());
            let host = authority.rsplit('@').next().unwrap_or_default();
            self.host = match host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
                _ => host.to_owned(),
            };
        } else {
            let colon = host_end(word);
            let (host, path) = match colon {
                Some(at) => (word.get(..at), word.get(at + 1..)),
                None => (Some(word), None),
            };
            self.destination = text(OsStr::from_bytes(host.unwrap_or_default()))?;
            self.path = path.map(<[u8]>::to_vec).filter(|p| !p.is_empty());
            let name = self.destination.rsplit('@').next().unwrap_or_default();
            let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
            self.host = bare.to_owned();
            self.destination = self.destination.replace(name, bare);
        }
        match self.host.is_empty() {
            true => Err(format!("Missing hostname\n{USAGE}")),
            false => Ok(()),
        }
    }
}

/// The colon between host and path. One behind a slash belongs to the host's name.
fn host_end(word: &[u8]) -> Option<usize> {
    let at = word.iter().position(|b| *b == b'@').map_or(0, |at| at + 1);
    let from = match word.get(at) {
        Some(b'[') => at + word.get(at..)?.iter().position(|b| *b == b']')?,
        _ => at,
    };
    let colon = from + word.get(from..)?.iter().position(|b| *b == b':')?;
    let slash = word.iter().position(|b| *b == b'/').unwrap_or(usize::MAX);
    (colon < slash).then_some(colon)
}

/// `%41` in a URI.
pub(crate) fn decoded(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let hex = hex.and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

fn number(what: &str, text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|n| *n > 0);
    number.ok_or_else(|| format!("Invalid {what} \"{text}\""))
}

fn text(value: &OsStr) -> Result<String, String> {
    value.to_str().map(str::to_owned).ok_or_else(|| "this has to be UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<SftpArgs, String> {
        let words: Vec<OsString> =
            line.split(' ').filter(|w| !w.is_empty()).map(Into::into).collect();
        parse(&words)
    }

    #[test]
    fn destinations() {
        for (line, destination, host, path) in [
            ("web1", "web1", "web1", None),
            ("u@web1:dir/f", "u@web1", "web1", Some("dir/f")),
            ("web1:", "web1", "web1", None),
            ("u@[::1]:x", "u@::1", "::1", Some("x")),
            ("sftp://u@h:2022/a%20b", "ssh://u@h:2022", "h", Some("a b")),
            ("-P 22 -- h", "h", "h", None),
        ] {
            let args = read(line).unwrap();
            let got = args.path.map(|p| String::from_utf8(p).unwrap());
            assert_eq!(
                (&*args.destination, &*args.host, got.as_deref()),
                (destination, host, path)
            );
        }
        for line in ["", "-P 0 h", "-l x h", "-R 0 h", "h a b", "-b", "-Z h", "user@"] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn flags() {
        let args = read("-arfpb - -l 80 -B 4096 -R 8 -P 2222 -oUser=x -i k -vv h").unwrap();
        assert!(args.append && args.recursive && args.fsync && args.preserve && args.quiet);
        assert_eq!((args.limit, args.block, args.requests), (Some(10240), Some(4096), Some(8)));
        assert_eq!(args.batch, Some(Batch::Stdin));
        let lines = ["BatchMode=yes", "Port=2222", "User=x", "IdentityFile=\"k\""];
        assert_eq!(args.settings.options, lines);
        assert_eq!(args.log_level, "debug2");
        assert!(!read("-N -b x h").unwrap().quiet, "-N speaks even in a batch");
        for refused in ["-A h", "-D x h", "-S ssh h", "-s y h"] {
            assert!(read(refused).unwrap_err().contains("not supported"), "{refused}");
        }
    }
}
