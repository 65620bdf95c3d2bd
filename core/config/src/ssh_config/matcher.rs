//! `Match` lines: criteria, read and checked once, tested for each destination.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::lexer::delimited;
use super::patterns::{matches_host, matches_list};
use crate::environment::Environment;

/// A `Match exec` command that runs longer is ended, and is an error.
const EXEC_TIMEOUT: Duration = Duration::from_secs(60);

/// One criterion with its argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Criterion {
    pub test: Test,
    pub negated: bool,
    pub argument: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    All,
    Canonical,
    Final,
    Host,
    OriginalHost,
    User,
    LocalUser,
    Exec,
    LocalNetwork,
    Tagged,
    SessionType,
    Command,
}

/// Names of the criteria; the first three take no argument.
const TESTS: [(&str, Test); 12] = [
    ("all", Test::All),
    ("canonical", Test::Canonical),
    ("final", Test::Final),
    ("host", Test::Host),
    ("originalhost", Test::OriginalHost),
    ("user", Test::User),
    ("localuser", Test::LocalUser),
    ("exec", Test::Exec),
    ("localnetwork", Test::LocalNetwork),
    ("tagged", Test::Tagged),
    ("sessiontype", Test::SessionType),
    ("command", Test::Command),
];

/// What is known about the destination when a `Match` line is reached.
pub(super) struct Subject<'a> {
    pub env: &'a Environment,
    pub final_pass: bool,
    pub host: &'a str,
    pub original: &'a str,
    pub user: &'a str,
    pub tag: &'a str,
    pub session: &'a str,
    pub command: &'a str,
}

impl Criterion {
    /// Reads the criteria of a line.
    ///
    /// # Errors
    /// An unknown criterion, a missing argument, `all` together with others.
    pub(super) fn parse(text: &str) -> Result<Vec<Criterion>, String> {
        let mut rest = Some(text);
        let mut found: Vec<Criterion> = Vec::new();
        while let Some(word) = delimited(&mut rest).filter(|w| !w.is_empty() && !w.starts_with('#'))
        {
            let (negated, name) = match word.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, word.as_str()),
            };
            let known = TESTS.iter().find(|(text, _)| text.eq_ignore_ascii_case(name));
            let (_, test) = known.ok_or_else(|| format!("unsupported Match attribute {name}"))?;
            let mut argument = String::new();
            match test {
                Test::All => {
                    let more =
                        delimited(&mut rest).is_some_and(|w| !w.is_empty() && !w.starts_with('#'));
                    if more || found.len() > 1 {
                        return Err(format!(
                            "'{word}' cannot be combined with other Match attributes"
                        ));
                    }
                    found.push(Criterion { test: *test, negated, argument });
                    return Ok(found);
                }
                Test::Canonical | Test::Final => {}
                _ => {
                    let next = delimited(&mut rest);
                    let next = next.filter(|w| !w.is_empty() && !w.starts_with('#'));
                    argument = next.ok_or_else(|| format!("missing Match criteria for {name}"))?;
                }
            }
            if *test == Test::LocalNetwork {
                check_networks(&argument)?;
            }
            found.push(Criterion { test: *test, negated, argument });
        }
        match found.is_empty() {
            true => Err("one or more attributes required for Match".into()),
            false => Ok(found),
        }
    }

    /// Is it met? `Exec` is not tested here: its tokens need more.
    pub(super) fn is_met(&self, subject: &Subject<'_>) -> bool {
        let argument = self.argument.as_str();
        let met = match self.test {
            Test::All | Test::Exec => true,
            Test::Canonical | Test::Final => subject.final_pass,
            Test::Host => matches_host(subject.host, argument),
            Test::OriginalHost => matches_host(subject.original, argument),
            Test::User => matches_list(subject.user, argument, false),
            Test::LocalUser => matches_list(&subject.env.user, argument, false),
            Test::LocalNetwork => is_local(argument),
            Test::Tagged => matches_list(subject.tag, argument, false),
            Test::SessionType => matches_list(subject.session, argument, false),
            Test::Command => matches_list(subject.command, argument, false),
        };
        met != self.negated
    }
}

/// Runs a `Match exec` command with the user's shell: did it succeed? It is in our own process
/// group: from one in the background it could not ask anything at the terminal.
///
/// # Errors
/// It cannot be started, is ended by a signal, or takes too long.
pub(super) fn run(command: &str, env: &Environment) -> Result<bool, String> {
    let shell = env.shell();
    let failed = |why: String| format!("match exec '{command}': {why}");
    let mut child = Command::new(shell)
        .args(["-c", command])
        .env_clear()
        .envs(&env.vars)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| failed(format!("cannot run {shell}: {e}")))?;
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let (done, result) = mpsc::sync_channel(1);
    let waiter = thread::spawn(move || drop(done.send(child.wait())));
    let status = result.recv_timeout(EXEC_TIMEOUT);
    if let (Err(_), Some(pid)) = (&status, pid) {
        // The waiter reaps it.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let _ = waiter.join();
    let status =
        status.map_err(|_| failed(format!("no end after {} s", EXEC_TIMEOUT.as_secs())))?;
    let status = status.map_err(|e| failed(e.to_string()))?;
    status.code().map(|code| code == 0).ok_or_else(|| failed("exited abnormally".into()))
}

fn networks(text: &str) -> impl Iterator<Item = Result<(bool, IpAddr, u8), String>> {
    text.split(',').map(|item| {
        let wrong = || format!("bad network '{item}' in localnetwork");
        let (negated, network) = match item.strip_prefix('!') {
            Some(network) => (true, network),
            None => (false, item),
        };
        let (address, bits) = network.split_once('/').unwrap_or((network, ""));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.parse().map_err(|_| wrong())? };
        if bits > most { Err(wrong()) } else { Ok((negated, address, bits)) }
    })
}

fn check_networks(text: &str) -> Result<(), String> {
    networks(text).try_for_each(|network| network.map(drop))
}

/// Addresses of this machine are asked for again after this time: a core may outlive a move, and a
/// thousand nodes need not ask a thousand times.
const ADDRESSES_TIME: Duration = Duration::from_secs(2);

fn addresses() -> Vec<IpAddr> {
    static KNOWN: Mutex<Option<(Instant, Vec<IpAddr>)>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    match &*known {
        Some((since, addresses)) if since.elapsed() < ADDRESSES_TIME => addresses.clone(),
        _ => {
            let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
            let addresses: Vec<_> = interfaces.iter().map(if_addrs::Interface::ip).collect();
            *known = Some((Instant::now(), addresses.clone()));
            addresses
        }
    }
}

/// Is an address of this machine in the networks?
fn is_local(text: &str) -> bool {
    addresses().iter().any(|address| {
        let mut found = false;
        for (negated, network, bits) in networks(text).flatten() {
            match (in_network(*address, network, bits), negated) {
                (true, true) => return false,
                (true, false) => found = true,
                (false, _) => {}
            }
        }
        found
    })
}

fn in_network(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let prefix = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_shr(32 - u32::from(bits)).unwrap_or(0).into(),
        IpAddr::V6(ip) => u128::from(ip).checked_shr(128 - u32::from(bits)).unwrap_or(0),
    };
    address.is_ipv4() == network.is_ipv4() && prefix(address) == prefix(network)
}

#[cfg(test)]
mod tests {
    use super::{Criterion, in_network, run};
    use crate::environment::Environment;

    #[test]
    fn lines() {
        let cases = [
            ("all", 1),
            ("final all", 2),
            ("host a,b user=c", 2),
            ("!host a exec \"true; #x\" # rest", 2),
            ("localnetwork 10.0.0.0/8,!::1/64", 1),
        ];
        for (text, n_criteria) in cases {
            assert_eq!(Criterion::parse(text).unwrap().len(), n_criteria, "{text}");
        }
        for text in ["", "host", "all host a", "host a user b all", "frob x", "localnetwork 1.2.3"]
        {
            assert!(Criterion::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks() {
        let cases = [
            ("10.1.2.3", "10.0.0.0", 8, true),
            ("11.1.2.3", "10.0.0.0", 8, false),
            ("11.1.2.3", "0.0.0.0", 0, true),
            ("::1", "::1", 128, true),
            ("::1", "0.0.0.1", 32, false),
        ];
        for (address, network, bits, expected) in cases {
            let found = in_network(address.parse().unwrap(), network.parse().unwrap(), bits);
            assert_eq!(found, expected, "{address} {network}/{bits}");
        }
    }

    #[test]
    fn commands() {
        let env = Environment::default();
        assert_eq!(run("exit 0", &env), Ok(true));
        assert_eq!(run("exit 3", &env), Ok(false));
        assert!(run("kill -9 $$", &env).unwrap_err().contains("abnormally"));
    }
}
