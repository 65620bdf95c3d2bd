//! `ssh -G` with ssh's command line, through `bssh_config::ssh_config`: for the differential corpus.
//!
//! Only what changes the effective options is understood; nothing is connected.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::indexing_slicing
)]

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;

use bssh_config::Environment;
use bssh_config::ssh_config::{ConfigFile, Request, SshConfig, destination, dump, forward_option};

const FLAGS: &str = "1246AaCfGgKkMNnqsTtVvXxYy";
const WITH_VALUE: &str = "BbcDEeFIiJLlmOopPQRSWw";

#[derive(Default)]
struct Line {
    options: Vec<String>,
    defaults: Vec<String>,
    config: ConfigFile,
    verbose: usize,
    ttys: usize,
    masters: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(255)
        }
    }
}

fn run() -> Result<String, String> {
    let mut line = Line::default();
    let mut words = std::env::args().skip(1).peekable();
    let mut host = None;
    let mut command: Vec<String> = Vec::new();
    let mut literal = false;
    while let Some(word) = words.next() {
        if word == "--" && !literal {
            literal = true;
        } else if !literal && word.len() > 1 && word.starts_with('-') {
            let mut letters = word[1..].chars();
            while let Some(letter) = letters.next() {
                if FLAGS.contains(letter) {
                    line.flag(letter)?;
                } else if WITH_VALUE.contains(letter) {
                    let rest: String = letters.collect();
                    let value = if rest.is_empty() { words.next() } else { Some(rest) };
                    line.value(letter, &value.ok_or(format!("-{letter} needs a value"))?)?;
                    break;
                } else {
                    return Err(format!("unknown option -{letter}"));
                }
            }
        } else if host.is_none() {
            host = Some(word);
        } else {
            command.push(word);
            command.extend(words.by_ref());
        }
    }
    let host = destination(&host.ok_or("usage: ssh-g [options] destination")?);
    let host = host.map_err(|e| e.to_string())?;
    let command = command.join(" ");
    let all = |errors: Vec<bssh_config::Error>| {
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let config = SshConfig::load(&environment(), &line.config).map_err(all)?;
    for warning in config.warnings() {
        eprintln!("{warning}");
    }
    let request = Request {
        options: &line.options,
        defaults: &line.defaults,
        command: Some(command.as_str()).filter(|command| !command.is_empty()),
        explain: true,
        ..Request::new(&host)
    };
    Ok(dump(&config.resolve(&request).map_err(all)?))
}

impl Line {
    fn set(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|&option| option.to_owned()));
    }

    /// For flags of which the last one wins.
    fn first(&mut self, option: String) {
        self.options.insert(0, option);
    }

    fn flag(&mut self, letter: char) -> Result<(), String> {
        match letter {
            '4' => self.first("AddressFamily=inet".into()),
            '6' => self.first("AddressFamily=inet6".into()),
            'A' => self.set(&["ForwardAgent=yes"]),
            'a' => self.set(&["ForwardAgent=no"]),
            'C' => self.set(&["Compression=yes"]),
            'f' => self.set(&["ForkAfterAuthentication=yes", "StdinNull=yes"]),
            'g' => self.set(&["GatewayPorts=yes"]),
            'K' => self.set(&["GSSAPIAuthentication=yes", "GSSAPIDelegateCredentials=yes"]),
            'k' => self.set(&["GSSAPIDelegateCredentials=no"]),
            'M' => {
                self.masters += 1;
                let value = if self.masters > 1 { "ask" } else { "yes" };
                self.first(format!("ControlMaster={value}"));
            }
            'N' => self.set(&["SessionType=none", "RequestTTY=no"]),
            'n' => self.set(&["StdinNull=yes"]),
            'q' => self.first("LogLevel=QUIET".into()),
            's' => self.set(&["SessionType=subsystem"]),
            'T' => self.first("RequestTTY=no".into()),
            't' => {
                self.ttys += 1;
                let value = if self.ttys > 1 { "force" } else { "yes" };
                self.first(format!("RequestTTY={value}"));
            }
            'v' => {
                self.verbose = (self.verbose + 1).min(3);
                self.first(format!("LogLevel=DEBUG{}", self.verbose));
            }
            'X' => self.set(&["ForwardX11=yes"]),
            'x' => self.set(&["ForwardX11=no"]),
            'Y' => self.set(&["ForwardX11=yes", "ForwardX11Trusted=yes"]),
            '1' => return Err("SSH protocol v.1 is no longer supported".into()),
            _ => {}
        }
        Ok(())
    }

    fn value(&mut self, letter: char, value: &str) -> Result<(), String> {
        let quoted = format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        match letter {
            'B' => self.set(&[&format!("BindInterface {quoted}")]),
            'b' => self.set(&[&format!("BindAddress {quoted}")]),
            'c' => self.first(format!("Ciphers {quoted}")),
            'e' => self.first(format!("EscapeChar {quoted}")),
            'F' if value.eq_ignore_ascii_case("none") => self.config = ConfigFile::None,
            'F' => self.config = ConfigFile::File(value.into()),
            'I' => self.set(&[&format!("PKCS11Provider {quoted}")]),
            'i' => self.set(&[&format!("IdentityFile {quoted}")]),
            'J' => self.set(&[&format!("ProxyJump {value}")]),
            'L' | 'R' | 'D' => {
                let option = forward_option(letter, value).map_err(|e| e.to_string())?;
                self.set(&[&option]);
            }
            'l' => self.set(&[&format!("User {quoted}")]),
            'm' => self.first(format!("MACs {quoted}")),
            'o' => self.set(&[value]),
            'P' => self.set(&[&format!("Tag {quoted}")]),
            'p' => self.set(&[&format!("Port {quoted}")]),
            'S' => self.first(format!("ControlPath {quoted}")),
            'W' => {
                forward_option('D', value).map_err(|e| e.to_string())?;
                self.set(&["RequestTTY=no", "SessionType=none"]);
                self.defaults.push("ClearAllForwardings=yes".into());
                self.defaults.push("ExitOnForwardFailure=yes".into());
            }
            'w' => self.set(&["Tunnel yes", &format!("TunnelDevice {value}")]),
            _ => {}
        }
        Ok(())
    }
}

fn environment() -> Environment {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let uid = std::fs::metadata("/proc/self").map(|m| m.uid()).unwrap_or_default();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields[0].to_owned())
    });
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Environment {
        home,
        cwd: std::env::current_dir().unwrap_or_default(),
        user: user.unwrap_or_default(),
        uid,
        hostname: hostname.trim().to_owned(),
        vars: std::env::vars().collect(),
        ..Environment::default()
    }
}
