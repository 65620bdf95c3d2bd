//! A network of one's own (Linux, root): a namespace with one cable to here, which can be cut.
//!
//! Where that is not possible the test fails and says what it needs.

use bssh_fixtures::Home;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A namespace; gone when dropped.
pub struct Netns {
    name: String,
    cable: String,
    net: String,
}

static NEXT: AtomicU8 = AtomicU8::new(1);

impl Netns {
    /// A namespace whose only way out is its cable: it can reach [`Netns::outside`] and nothing
    /// else.
    pub fn start() -> Netns {
        let pid = std::process::id();
        let n = NEXT.fetch_add(1, Relaxed);
        // TEST-NET addresses of RFC 2544, which nobody has; several tests run beside each other.
        let net = format!("198.18.{}", (pid as u8).wrapping_mul(16).wrapping_add(n));
        let netns = Netns { name: format!("bssh-{pid}-{n}"), cable: format!("bs{pid}n{n}"), net };
        let Netns { name, cable, .. } = &netns;
        ip(&["netns", "add", name]);
        ip(&["link", "add", cable, "type", "veth", "peer", "name", "cable", "netns", name]);
        ip(&["addr", "add", &format!("{}/24", netns.outside()), "dev", cable]);
        ip(&["link", "set", cable, "up"]);
        ip(&["-n", name, "addr", "add", &format!("{}/24", netns.inside()), "dev", "cable"]);
        ip(&["-n", name, "link", "set", "cable", "up"]);
        ip(&["-n", name, "link", "set", "lo", "up"]);
        netns
    }

    /// The address here, as the namespace sees it.
    pub fn outside(&self) -> String {
        format!("{}.1", self.net)
    }

    /// The namespace's own address.
    pub fn inside(&self) -> String {
        format!("{}.2", self.net)
    }

    /// A program in the namespace, with a home of its own.
    pub fn command(&self, home: &Home, program: &str) -> Command {
        let mut command = home.command("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Another network: the namespace's address is no longer its own.
    pub fn leave(&self) {
        ip(&["-n", &self.name, "addr", "flush", "dev", "cable"]);
    }

    /// From now on every packet is lost, both ways, and nobody is told.
    pub fn cut(&self) {
        // Links and routes stay; frames go to a station that is not there.
        const NOBODY: &str = "02:00:00:00:00:fe";
        let lost = ["lladdr", NOBODY, "nud", "permanent"];
        self.neighbours(|way| ip(&[way, &lost].concat()), "replace");
    }

    /// As before.
    pub fn mend(&self) {
        self.neighbours(ip, "del");
    }

    fn neighbours(&self, each: impl Fn(&[&str]), verb: &str) {
        each(&["neigh", verb, &self.inside(), "dev", &self.cable]);
        each(&["-n", &self.name, "neigh", verb, &self.outside(), "dev", "cable"]);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // The cable goes with it.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

#[track_caller]
fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).output();
    let done = done.expect("install iproute2: these tests need network namespaces");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "ip {}: {said}\nnetwork namespaces need root and CAP_NET_ADMIN",
        words.join(" ")
    );
}
