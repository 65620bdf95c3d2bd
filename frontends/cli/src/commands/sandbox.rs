//! `bssh gate check --from-sandbox`: whether a sandbox gets to the gate and nowhere else. A gate
//! alone keeps nobody in.
//!
//! What may not be reached must be known to answer here, or its silence proves nothing: the
//! upstreams that were just reached, and a listener of our own. A dial that did not take place
//! (no bash, no timeout) proves nothing either.

use bssh_protocol::agent::CheckStep;
use bssh_protocol::gate::{GateChecked, GateListener};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Dials each of its arguments at the same time, and says how that went, one a line.
const PROBE: &str = "for to in \"$@\"; do ( \
     why=$(LC_ALL=C timeout 3 bash -c 'exec 3<>\"/dev/tcp/$0\"' \"$to\" 2>&1); \
     echo \"bssh-dialed $to $?\" $why ) & done; wait";
/// The address of cloud metadata, and one of TEST-NET-2. Perhaps nobody answers there.
const ELSEWHERE: [&str; 2] = ["169.254.169.254:80", "198.51.100.1:443"];
/// Nothing is sent there: it shows which address of ours leads to the world.
const WORLD: [&str; 2] = ["198.51.100.1:9", "[2001:db8::1]:9"];
const ANSWER: Duration = Duration::from_secs(3);

/// Dials from inside. `listeners` are the gate's, `checked` what has answered here.
pub(super) fn sandboxed(
    command: &str,
    listeners: &[GateListener],
    checked: &GateChecked,
) -> Vec<CheckStep> {
    let gate: BTreeSet<SocketAddr> =
        listeners.iter().filter_map(|l| l.listen.parse().ok()).collect();
    let answers = |at: &&SocketAddr| TcpStream::connect_timeout(at, ANSWER).is_ok();
    let running: Vec<SocketAddr> =
        gate.iter().filter(|at| !at.ip().is_unspecified()).filter(answers).copied().collect();
    // Kept until everything was dialed.
    let own = own_listeners(&gate);
    let steps = checked.entries.iter().flat_map(|entry| &entry.steps);
    let reached = steps.filter(|step| step.step == "connect" && step.ok);
    let known: BTreeSet<SocketAddr> = reached
        .filter_map(|step| step.detail.parse().ok())
        .chain(own.iter().filter_map(|listener| listener.local_addr().ok()))
        .filter(|at| !gate.contains(at))
        .collect();
    let elsewhere = ELSEWHERE.iter().filter_map(|at| at.parse().ok());
    let forbidden: Vec<SocketAddr> = known.iter().copied().chain(elsewhere).collect();
    let dialed = dial(command, running.iter().chain(&forbidden));
    let step = |step: &str, outcome: Result<String, String>| CheckStep {
        step: step.to_owned(),
        ok: outcome.is_ok(),
        detail: outcome.unwrap_or_else(|why| why),
    };
    let dialed = match dialed {
        Ok(dialed) => dialed,
        Err(why) => return vec![step("egress", Err(format!("nothing was proved: {why}")))],
    };
    let reaches = |at: &&SocketAddr| dialed.get(at).is_some_and(|reached| *reached);
    let cut_off = running.iter().find(|at| !reaches(at));
    let mut steps = Vec::new();
    match (running.is_empty(), cut_off) {
        (true, _) => {}
        (false, None) => steps.push(step("gate", Ok(format!("it reaches {}", list(&running))))),
        (false, Some(at)) => steps.push(step("gate", Err(format!("it cannot reach {at}")))),
    }
    let leaks: Vec<SocketAddr> = forbidden.iter().filter(reaches).copied().collect();
    // Every sandbox has a loopback of its own.
    let telling: Vec<SocketAddr> =
        known.iter().filter(|at| !at.ip().is_loopback()).copied().collect();
    let outcome = match (leaks.is_empty(), telling.is_empty()) {
        (false, _) => Err(format!("it can reach {}", list(&leaks))),
        (true, true) => {
            Err("nothing was proved: no address was found that answers here and is not \
                             the gate's, so that not reaching it would show anything"
                .to_owned())
        }
        (true, false) => Ok(format!(
            "out of its reach: {}, which answer here, and {}; nothing else was tried",
            list(&telling),
            ELSEWHERE.join(", ")
        )),
    };
    steps.push(step("egress", outcome));
    steps
}

fn list(all: &[SocketAddr]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Listeners on those addresses of this machine that lead to the world and are not the gate's.
fn own_listeners(gate: &BTreeSet<SocketAddr>) -> Vec<TcpListener> {
    let here = WORLD.iter().filter_map(|world| {
        let any: IpAddr = match world.starts_with('[') {
            true => Ipv6Addr::UNSPECIFIED.into(),
            false => [0, 0, 0, 0].into(),
        };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(world).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    let others = here.filter(|ip| !gate.iter().any(|at| at.ip() == *ip));
    others.filter_map(|ip| TcpListener::bind((ip, 0)).ok()).collect()
}

/// What the sandbox reaches of these.
fn dial<'a>(
    command: &str,
    to: impl Iterator<Item = &'a SocketAddr> + Clone,
) -> Result<BTreeMap<SocketAddr, bool>, String> {
    let word = |at: &SocketAddr| format!("{}/{}", at.ip(), at.port());
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("exec {command} \"$@\""), "sh", "sh", "-c", PROBE, "sh"])
        .args(to.clone().map(word))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("the command has failed: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = |at: &SocketAddr| {
        let of = format!("bssh-dialed {} ", word(at));
        let line = text.lines().find_map(|line| line.strip_prefix(&of));
        reached(line.ok_or_else(|| format!("the command says nothing about {at}"))?)
    };
    to.map(|at| Ok((*at, said(at)?))).collect()
}

/// Reads `STATUS WHY`: whether it was reached. An error: it was not dialed at all.
fn reached(said: &str) -> Result<bool, String> {
    let (status, why) = said.split_once(' ').unwrap_or((said, ""));
    match status {
        "0" => Ok(true),
        // Of timeout(1): GNU's and busybox's.
        "124" | "143" => Ok(false),
        // bash names the system call that has failed.
        _ if ["connect: ", "socket: "].iter().any(|call| why.contains(call)) => Ok(false),
        _ => Err(format!("the sandbox cannot dial (it needs bash and timeout): {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dial_that_did_not_take_place_proves_nothing() {
        for (said, want) in [
            ("0", Some(true)),
            ("124", Some(false)),
            ("143 Terminated", Some(false)),
            ("1 ::1/9: bash: connect: Connection refused ::1/9: line 1: /dev/tcp/", Some(false)),
            ("1 x: connect: Network is unreachable", Some(false)),
            ("1 x: socket: Operation not permitted", Some(false)),
            ("127 sh: 1: timeout: not found", None),
            ("127 timeout: failed to run command 'bash': No such file or directory", None),
            ("1 x: line 1: /dev/tcp/192.0.2.1/9: No such file or directory", None),
            ("", None),
        ] {
            assert_eq!(reached(said).ok(), want, "{said}");
        }
    }

    /// Nothing keeps this test in, so that it must not pass.
    #[test]
    fn no_sandbox_is_no_proof() {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = upstream.local_addr().unwrap().to_string();
        let connect = CheckStep { step: "connect".to_owned(), ok: true, detail: at.clone() };
        let entry =
            bssh_protocol::gate::EntryChecked { steps: vec![connect], ..Default::default() };
        let checked = GateChecked { entries: vec![entry] };
        let told = |command: &str| {
            let steps = sandboxed(command, &[], &checked);
            assert!(steps.iter().all(|step| !step.ok), "{steps:?}");
            steps.last().unwrap().detail.clone()
        };
        assert!(told("env").contains(&at));
        // A shell and nothing else.
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/bin/sh", dir.path().join("sh")).unwrap();
        let bare = format!("env PATH={}", dir.path().display());
        for (command, why) in [
            (&*bare, "it needs bash and timeout"),
            ("false", "has failed"),
            ("true", "says nothing about"),
        ] {
            assert!(told(command).contains(why), "{command}");
        }
    }
}
