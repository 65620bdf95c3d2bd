//! Keys that are restricted to destinations (`ssh-add -h`), on a node: T3-5. What `ssh -A` shows
//! there and lets be used is the measure, whatever the connection was made of.

use bssh_fixtures::SshdOptions;
use bssh_tests::net::free_port;
use bssh_tests::{Agent, Lab, Run, bssh, until};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A node `a`, a server `b` behind it, and an agent with a key for each way.
struct Desk {
    a: Lab,
    b: Lab,
    agent: Agent,
}

/// Keys and where they may go; the first and the last may be used on `a`.
const KEYS: &[(&str, &[&str])] = &[
    ("plain", &[]),
    ("elsewhere", &["-h", "elsewhere"]),
    ("only_a", &["-h", "a"]),
    ("over_a", &["-h", "a", "-h", "a>b"]),
];

impl Desk {
    /// `hosts` are lines that say who `a` is, for the agent.
    fn new(a: Lab, hosts: &str) -> Desk {
        let b = Lab::start();
        let agent = Agent::start(&a.home, "agent");
        let lines = format!("{hosts}{}", known(&b, "b"));
        let elsewhere = known(&Lab::start(), "elsewhere");
        let hosts = a.home.write("hosts", lines + &elsewhere).unwrap().display().to_string();
        let mut listed = std::fs::read_to_string(b.sshd.file("authorized_keys")).unwrap();
        for (name, words) in KEYS {
            let key = a.home.path().join(name).display().to_string();
            let made = ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &key];
            assert!(a.home.command("ssh-keygen").args(made).status().unwrap().success());
            listed += &std::fs::read_to_string(format!("{key}.pub")).unwrap();
            agent.add(&a.home, &[&["-q", "-H", &hosts], *words, &[&key]].concat());
        }
        std::fs::write(b.sshd.file("authorized_keys"), &listed).unwrap();
        let own = std::fs::read_to_string(a.sshd.file("user_key.pub")).unwrap();
        std::fs::write(a.sshd.file("authorized_keys"), listed + &own).unwrap();
        Desk { a, b, agent }
    }

    /// What a command says on `a` that `ssh -A` or `bssh -A` has started.
    #[track_caller]
    fn on_a(&self, program: &Path, options: &[&str], command: &str) -> (Option<i32>, String) {
        let mut start = self.a.home.command(program);
        start.env("SSH_AUTH_SOCK", self.agent.socket());
        let askpass = self.a.home.path().join("askpass");
        start.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
        start.arg("-F").arg(self.a.sshd.ssh_config());
        start.args(["-A", "-o", "IdentityAgent=SSH_AUTH_SOCK"]).args(options);
        let done = Run::start({
            start.args(["127.0.0.1", command]);
            start
        })
        .finish(SOON);
        (done.status, done.text())
    }

    /// `ssh` and `bssh` show the same keys on the node: those that may go on from there.
    #[track_caller]
    fn same(&self, options: &[&str]) {
        let theirs = self.on_a(Path::new("ssh"), options, "ssh-add -l");
        let ours = self.on_a(&bssh(), options, "ssh-add -l");
        assert_eq!(ours, theirs, "{options:?}");
        let names: Vec<&str> =
            ours.1.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
        assert_eq!(names, ["plain", "over_a"], "{options:?}");
    }
}

/// A daemon's host keys under a name.
fn known(lab: &Lab, name: &str) -> String {
    std::fs::read_to_string(lab.sshd.known_hosts()).unwrap().replace("* ", &format!("{name} "))
}

#[test]
fn every_key_exchange_binds_the_agent() {
    let lab = Lab::start();
    let hosts = known(&lab, "a");
    let desk = Desk::new(lab, &hosts);
    let kinds = Command::new("ssh").args(["-Q", "kex"]).output().unwrap().stdout;
    let kinds = String::from_utf8(kinds).unwrap();
    let mut seen = 0;
    for kex in [
        "curve25519-sha256",
        "ecdh-sha2-nistp256",
        "ecdh-sha2-nistp521",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group-exchange-sha256",
        // Where this machine's OpenSSH knows it.
        "mlkem768x25519-sha256",
    ] {
        if kinds.lines().any(|known| known == kex) {
            desk.same(&["-o", &format!("KexAlgorithms={kex}")]);
            seen += 1;
        }
    }
    assert!(seen >= 5, "{kinds}");
    // The session's first key exchange counts, not the latest.
    let later = "sleep 3; ssh-add -l";
    let rekeyed = desk.on_a(&bssh(), &["-o", "RekeyLimit=default 1"], later);
    assert_eq!(rekeyed.1.lines().count(), 2, "{rekeyed:?}");
}

#[test]
fn a_host_certificate_binds_the_agent() {
    let mut lab = Lab::start();
    let keygen = |words: &[&str]| {
        let done = lab.home.command("ssh-keygen").args(words).status().unwrap();
        assert!(done.success(), "{words:?}");
    };
    let ca = lab.home.path().join("ca").display().to_string();
    let host = lab.sshd.file("host_ed25519.pub").display().to_string();
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f", &ca]);
    keygen(&["-q", "-s", &ca, "-I", "a", "-h", "-n", "a,127.0.0.1", &host]);
    let config = lab.sshd.file("sshd_config");
    let certificate = host.replace(".pub", "-cert.pub");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("HostCertificate {certificate}\n{text}")).unwrap();
    lab.sshd.stop();
    lab.sshd.restart().unwrap();
    let trusted = std::fs::read_to_string(format!("{ca}.pub")).unwrap();
    std::fs::write(lab.sshd.known_hosts(), format!("@cert-authority * {trusted}")).unwrap();
    Desk::new(lab, &format!("@cert-authority a {trusted}")).same(&[]);
}

/// A login without a signature of ours leaves nothing out.
#[test]
fn a_password_login_binds_the_agent() {
    let lab = Lab::start();
    let hosts = known(&lab, "a");
    let desk = Desk::new(lab, &hosts);
    let askpass = desk.a.home.write("askpass", "#!/bin/sh\necho secret\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&askpass, mode).unwrap();
    let daemon = PasswordDaemon::start(&desk.a);
    let port = format!("Port={}", daemon.port);
    let options = [&port, "BatchMode=no", "PreferredAuthentications=password"];
    let options: Vec<&str> = options.iter().flat_map(|option| ["-o", *option]).collect();
    desk.same(&options);
}

/// T3-1, T3-5: git on the node, over `ssh` and `bssh` there, uses the forwarded key that may go on
/// to where it goes, and no other gets in.
#[test]
fn git_on_the_node_goes_where_the_key_may() {
    let lab = Lab::with(&SshdOptions::default());
    let hosts = known(&lab, "a");
    let desk = Desk::new(lab, &hosts);
    let repository = desk.b.home.path().join("repository").display().to_string();
    let made = desk.b.home.command("git").args(["init", "-q", "--bare", &repository]).status();
    assert!(made.unwrap().success());
    let config = |to: &Lab, name: &str| {
        let key = desk.a.home.path().join(format!("{name}.pub"));
        let text = format!(
            "Host *\n  HostName 127.0.0.1\n  Port {}\n  User {}\n  IdentityFile {}\n  \
             IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n",
            to.sshd.port(),
            to.sshd.user(),
            key.display(),
            to.sshd.known_hosts().display()
        );
        desk.a.home.write(&format!("config_{name}"), text).unwrap().display().to_string()
    };
    for (to, name, works) in [
        (&desk.b, "plain", true),
        (&desk.b, "over_a", true),
        (&desk.b, "only_a", false),
        (&desk.b, "elsewhere", false),
        // Another server than the one the key may go to from there.
        (&desk.a, "over_a", false),
    ] {
        let file = config(to, name);
        let programs = [Path::new("ssh"), &bssh()];
        for (program, there) in programs.iter().flat_map(|here| programs.map(|there| (here, there)))
        {
            let ssh = format!("GIT_SSH_COMMAND='{} -F {file}'", there.display());
            let git = format!("{ssh} git ls-remote ssh://b{repository}");
            let (status, text) = desk.on_a(program, &[], &git);
            assert_eq!(status == Some(0), works, "{program:?} {there:?} {name}: {status:?} {text}");
        }
    }
}

/// An sshd that lets in with a password: in a mount namespace of its own, with another shadow file.
struct PasswordDaemon {
    child: Child,
    port: u16,
}

impl PasswordDaemon {
    fn start(lab: &Lab) -> PasswordDaemon {
        let port = free_port();
        // "secret"
        const HASH: &str = "$6$bsshtest$zrdpqwExWyEop5Thw7CLQr77bc3fHRI9bfg9PSnn1.hMjfprKHD/duNIGxJXALlTQG1WkOCDCQNHOOTkxCQ.i0";
        let shadow = format!("{}:{HASH}:19000:0:99999:7:::\n", lab.sshd.user());
        let shadow = lab.home.write("shadow", shadow).unwrap();
        let text = std::fs::read_to_string(lab.sshd.file("sshd_config")).unwrap();
        let text = text.replace(&format!("Port {}", lab.sshd.port()), &format!("Port {port}"));
        let text = format!("PasswordAuthentication yes\n{text}");
        let config = lab.home.write("sshd_config", text).unwrap();
        let script = "mount --bind \"$1\" /etc/shadow && exec \"$(PATH=$PATH:/usr/sbin command -v sshd)\" -D -e -f \"$2\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(shadow).arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("unshare is installed");
        let up = until(SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(up, "mount namespaces need root and CAP_SYS_ADMIN");
        PasswordDaemon { child, port }
    }
}

impl Drop for PasswordDaemon {
    fn drop(&mut self) {
        bssh_fixtures::processes::end(&mut self.child);
    }
}
