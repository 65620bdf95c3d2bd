//! Flags and keywords of ssh that do something here: each seen to do it, or refused by name.

use bssh_fixtures::{Home, SshdOptions, processes};
use bssh_tests::{Lab, Run, until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::Duration;

const MINUTES: Duration = Duration::from_secs(120);

#[test]
fn a_local_command_runs_once_connected_and_only_if_permitted() {
    let lab = Lab::start();
    let command = "LocalCommand=echo local %n %r";
    let permit = ["-o", "PermitLocalCommand=yes"];
    let words = ["-o", command, "127.0.0.1", "echo remote"];
    let said = lab.run(&[&permit[..], &words].concat()).expect_status(0).text();
    assert_eq!(said, format!("local 127.0.0.1 {}\nremote\n", lab.sshd.user()));
    assert_eq!(lab.run(&words).expect_status(0).text(), "remote\n");
    let nobody = ["-p", "1", "-o", command, "127.0.0.9", "x"];
    let wrong = lab.run(&[&permit[..], &nobody].concat());
    let said = wrong.expect_status(255);
    assert_eq!(said.stdout, b"");
    assert!(said.stderr.contains("Connection refused"), "{}", said.stderr);
}

/// Ignored signals are inherited, and whoever ignores SIGCHLD learns nothing of its children.
#[test]
fn a_parent_that_wants_to_know_no_child_changes_nothing() {
    let lab = Lab::start();
    let words = ["-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo local"];
    let words = [&words[..], &["127.0.0.1", "exit 3"]].concat();
    let done = Run::start(lab.ignoring("CHLD", &words)).finish(MINUTES).expect_status(3);
    assert_eq!(done.text(), "local\n", "{}", done.stderr);
}

#[test]
fn a_key_that_was_used_is_given_to_the_agent() {
    let lab = Lab::start();
    let socket = lab.home.path().join("agent");
    let mut agent = lab.home.command("ssh-agent");
    let _agent = Run::start({
        agent.arg("-D").arg("-a").arg(&socket);
        agent
    });
    assert!(until(MINUTES, || Path::new(&socket).exists()));
    let held = || {
        let mut list = lab.home.command("ssh-add");
        list.arg("-L").env("SSH_AUTH_SOCK", &socket);
        Run::start(list).finish(MINUTES).text()
    };
    let agent = format!("IdentityAgent={}", socket.display());
    let words = |add: &str| {
        let done = lab.run(&["-o", &agent, "-o", add, "127.0.0.1", "true"]);
        done.expect_status(0);
    };
    words("AddKeysToAgent=no");
    assert!(!held().contains("ssh-ed25519"));
    words("AddKeysToAgent=2");
    let key = std::fs::read_to_string(lab.sshd.file("user_key.pub")).unwrap();
    let key = key.split(' ').nth(1).unwrap();
    assert!(held().contains(key), "{}", held());
    assert!(until(MINUTES, || !held().contains(key)), "its two seconds are over");
    words("AddKeysToAgent=yes");
    assert!(held().contains(key), "{}", held());
}

#[test]
fn a_connection_in_the_background_keeps_nobody_waiting_for_its_output() {
    let lab = Lab::start();
    let bssh =
        format!("{} ssh -F {}", bssh_tests::bssh().display(), lab.sshd.ssh_config().display());
    let proxy = format!("echo on my way >&2; exec {bssh} -W %h:%p 127.0.0.2");
    for (words, said) in [
        ("-fN 127.0.0.1", ""),
        (&*format!("-fN -o 'ProxyCommand=sh -c \"{proxy}\"' 127.0.0.1"), "on my way"),
        ("-f 127.0.0.1 'sleep 1; echo done'", "done"),
    ] {
        let mut shell = lab.home.command("sh");
        shell.args(["-c", &format!("said=$({bssh} {words} 2>&1); echo $? $said")]);
        let told = Run::start(shell).finish(MINUTES).text();
        assert_eq!(told.trim(), format!("0 {said}").trim(), "{words}");
        lab.sshd.kill_sessions();
    }
}

#[test]
fn output_that_nobody_reads_any_more_is_nobodys_trouble_and_a_full_disk_is_told() {
    let lab = Lab::start();
    let bssh =
        format!("{} ssh -F {}", bssh_tests::bssh().display(), lab.sshd.ssh_config().display());
    let run = |line: &str| {
        let mut shell = lab.home.command("sh");
        shell.args(["-c", line]);
        Run::start(shell).finish(MINUTES)
    };
    let done = run(&format!("{bssh} 127.0.0.1 'seq 1 1000000' | head -1"));
    assert_eq!((done.text().as_str(), done.stderr.as_str()), ("1\n", ""));
    // However much it is: what is written last is missing as what is written first.
    for bytes in [10, 6000, 40_000, 300_000, 7_000_000] {
        let said = run(&format!("{bssh} 127.0.0.1 'head -c {bytes} /dev/zero' >/dev/full"));
        let said = said.expect_status(255).stderr;
        assert!(said.contains("could not be written: No space left on device"), "{said}");
    }
    let unheard = format!("{bssh} 127.0.0.1 'head -c 40000 /dev/zero >&2; exit 3' 2>/dev/full");
    run(&unheard).expect_status(3);
}

#[test]
fn programs_find_the_words_of_ssh() {
    let lab = Lab::start();
    for (words, said) in [
        (
            &["-p", "1", "127.0.0.1", "x"][..],
            "connect to host 127.0.0.1 port 1: Connection refused\r",
        ),
        (&["no.invalid", "x"], "Could not resolve hostname no.invalid: "),
        (&["-J", "no.invalid", "127.0.0.1", "x"], "Could not resolve hostname no.invalid: "),
        (&["-b", "203.0.113.1", "127.0.0.1", "x"], ": Cannot assign requested address\r"),
        // Closed, or reset.
        (&["127.0.0.1", "kill -9 $PPID"], " remote host"),
        (
            &["-i", "/no/key", "127.0.0.1", "true"],
            "Warning: Identity file /no/key not accessible: ",
        ),
    ] {
        let done = lab.run(words);
        assert!(done.stderr.contains(said), "{words:?}: {}", done.stderr);
        assert!(!done.stderr.contains("os error"), "{words:?}: {}", done.stderr);
    }
}

#[test]
fn short_rsa_keys_are_refused() {
    let lab = Lab::start();
    let rsa = ["-o", "HostKeyAlgorithms=rsa-sha2-512"];
    lab.run(&[&rsa[..], &["127.0.0.1", "true"]].concat()).expect_status(0);
    let short = ["-o", "RequiredRSASize=4096", "127.0.0.1", "true"];
    let said = lab.run(&[&rsa[..], &short].concat()).expect_status(255).stderr;
    assert!(said.contains("2048 bits"), "{said}");
}

#[test]
fn the_log_level_of_a_file_counts_as_one_that_was_typed() {
    let lab = Lab::start();
    let config = |level: &str| {
        let text = std::fs::read_to_string(lab.sshd.ssh_config()).unwrap();
        let text = format!("LogLevel {level}\n{text}");
        lab.home.write("config", text).unwrap().display().to_string()
    };
    let said = |words: &[&str]| lab.run(words).expect_status(0).stderr;
    let (loud, quiet) = (config("DEBUG1"), "-q");
    let heard = said(&["-F", &loud, "127.0.0.1", "true"]);
    assert!(heard.contains("debug1: ") && heard.contains("NEWKEYS"), "{heard}");
    assert_eq!(said(&["-F", &loud, quiet, "127.0.0.1", "true"]), "");
    let heard = said(&["-F", &config("VERBOSE"), "127.0.0.1", "true"]);
    assert!(heard.starts_with("Authenticated to ") && heard.lines().count() == 1, "{heard}");
}

#[test]
fn old_algorithms_are_used_if_asked_for() {
    let extra = ["KexAlgorithms diffie-hellman-group14-sha1", "Ciphers aes128-cbc"];
    let extra = extra.map(str::to_owned).to_vec();
    let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let refused = lab.run(&["127.0.0.1", "true"]).expect_status(255).stderr;
    assert!(refused.contains("diffie-hellman-group14-sha1"), "{refused}");
    let asked = ["-o", "KexAlgorithms=+diffie-hellman-group14-sha1", "-o", "Ciphers=+aes128-cbc"];
    lab.run(&[&asked[..], &["127.0.0.1", "true"]].concat()).expect_status(0);
}

#[test]
fn revoked_host_keys_are_refused() {
    let lab = Lab::start();
    let keygen = |words: &[&str]| {
        let mut command = lab.home.command("ssh-keygen");
        command.args(words);
        Run::start(command).finish(MINUTES).expect_status(0);
    };
    let key = lab.sshd.file("host_ed25519.pub").display().to_string();
    let other = lab.sshd.file("user_key.pub").display().to_string();
    let spec = format!("sha256: {}", std::fs::read_to_string(&key).unwrap());
    lab.home.write("spec", spec).unwrap();
    keygen(&["-q", "-k", "-f", "empty"]);
    keygen(&["-q", "-k", "-f", "explicit", &key]);
    keygen(&["-q", "-k", "-f", "others", &other]);
    keygen(&["-q", "-k", "-f", "hashed", "spec"]);
    lab.home
        .write("damaged", &std::fs::read(lab.home.path().join("explicit")).unwrap()[..60])
        .unwrap();
    for (file, status, said) in [
        ("empty", 0, ""),
        ("others", 0, ""),
        (&*other, 0, ""),
        ("explicit", 255, "revoked"),
        ("hashed", 255, "revoked"),
        (&*key, 255, "revoked"),
        ("damaged", 255, "damaged"),
        ("nowhere", 255, "nowhere"),
    ] {
        let option = format!("RevokedHostKeys={}", lab.home.path().join(file).display());
        let words = ["-o", "HostKeyAlgorithms=ssh-ed25519", "-o", &option, "127.0.0.1", "true"];
        let done = lab.run(&words).expect_status(status);
        assert!(done.stderr.contains(said), "{file}: {}", done.stderr);
    }
}

#[test]
fn an_rsa_key_signs_as_it_may() {
    let lab = Lab::start();
    let mut keygen = lab.home.command("ssh-keygen");
    keygen.args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"]);
    Run::start(keygen).finish(MINUTES).expect_status(0);
    let key = std::fs::read(lab.home.path().join("rsa.pub")).unwrap();
    std::fs::write(lab.sshd.file("authorized_keys"), key).unwrap();
    let key = lab.home.path().join("rsa").display().to_string();
    for (accepted, status) in [
        ("rsa-sha2-512", 0),
        ("rsa-sha2-256", 0),
        ("rsa-sha2-256,rsa-sha2-512", 0),
        ("+ssh-rsa", 0),
        ("ssh-ed25519", 255),
    ] {
        let accepted = format!("PubkeyAcceptedAlgorithms={accepted}");
        lab.run(&["-i", &key, "-o", &accepted, "127.0.0.1", "true"]).expect_status(status);
    }
    // An old server, which takes SHA-1 only: from those who have named it.
    let extra = ["HostKeyAlgorithms ssh-rsa", "PubkeyAcceptedAlgorithms ssh-rsa"];
    let extra = extra.map(str::to_owned).to_vec();
    let old = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
    let authorized = lab.sshd.file("authorized_keys");
    std::fs::copy(authorized, old.sshd.file("authorized_keys")).unwrap();
    // It says that it takes SHA-2, too, so SHA-1 alone is asked for.
    let asked = ["-o", "HostKeyAlgorithms=+ssh-rsa", "-o", "PubkeyAcceptedAlgorithms=ssh-rsa"];
    for (n, status) in [(0, 255), (2, 255), (4, 0)] {
        let words = [&["-i", &key][..], &asked[..n], &["127.0.0.1", "true"]].concat();
        old.run(&words).expect_status(status);
    }
}

#[test]
fn an_authority_signs_with_sha_1_only_where_that_is_asked_for() {
    let home = Home::new().unwrap();
    let keygen = |words: &str| {
        let mut command = home.command("ssh-keygen");
        command.arg("-q").args(words.split(' '));
        Run::start(command).finish(MINUTES).expect_status(0);
    };
    for (kind, file) in [("rsa", "ca"), ("ed25519", "host")] {
        let mut command = home.command("ssh-keygen");
        command.args(["-q", "-N", "", "-t", kind, "-f", file]);
        Run::start(command).finish(MINUTES).expect_status(0);
    }
    let file = |name: &str| home.path().join(name).display().to_string();
    let authority = std::fs::read_to_string(file("ca.pub")).unwrap();
    let known = home.write("known", format!("@cert-authority * {authority}")).unwrap();
    let known = format!("UserKnownHostsFile={}", known.display());
    for (signed, asked, status) in
        [("rsa-sha2-512", "rsa-sha2-512", 0), ("ssh-rsa", "", 255), ("ssh-rsa", "+ssh-rsa", 0)]
    {
        keygen(&format!("-h -s ca -t {signed} -I host -n 127.0.0.1 host.pub"));
        let extra = vec![
            format!("HostKey {}", file("host")),
            format!("HostCertificate {}", file("host-cert.pub")),
        ];
        let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
        let asked = format!("CASignatureAlgorithms={asked}");
        let asked = if asked.ends_with('=') { &[][..] } else { &["-o", &asked] };
        let words = [&["-o", &known][..], asked, &["127.0.0.1", "true"]].concat();
        let said = lab.run(&words).expect_status(status).stderr;
        assert_eq!(said.contains("CASignatureAlgorithms"), status != 0, "{signed}: {said}");
    }
}

#[test]
fn the_host_key_is_drawn() {
    let lab = Lab::start();
    let said = lab.run(&["-o", "VisualHostKey=yes", "127.0.0.1", "true"]).expect_status(0).stderr;
    assert!(said.contains("Host key fingerprint is SHA256:") && said.contains("+--"), "{said}");
}

/// What changes the way or the trust is refused with its place; what is merely missing is said.
#[test]
fn what_is_not_supported_is_refused_or_said() {
    let lab = Lab::start();
    let config = std::fs::read_to_string(lab.sshd.ssh_config()).unwrap();
    for (line, status, said) in [
        ("Tunnel yes", 255, "line 1: tunnel"),
        ("ProxyUseFdpass yes", 255, "line 1: proxyusefdpass"),
        ("PermitRemoteOpen none", 0, ""),
        ("CanonicalizeHostname yes\nCanonicalizePermittedCNAMEs *.a:*.b", 0, ""),
        ("GSSAPIAuthentication yes", 0, "line 1: gssapiauthentication"),
        ("ForwardX11 yes", 0, "line 1: forwardx11"),
        ("ControlMaster yes", 0, ""),
        ("HostbasedAuthentication yes", 0, "line 1: hostbasedauthentication"),
        ("FingerprintHash md5", 0, "line 1: fingerprinthash"),
        ("ObscureKeystrokeTiming yes", 0, "line 1: obscurekeystroketiming"),
        ("EnableEscapeCommandline yes", 0, ""),
        ("NoSuchThing yes", 255, "line 1: bad configuration option: nosuchthing"),
    ] {
        let file = lab.home.write("config", format!("{line}\n{config}")).unwrap();
        let file = file.display().to_string();
        let done = lab.run(&["-F", &file, "127.0.0.1", "echo x"]).expect_status(status);
        assert!(done.stderr.contains(said), "{line}: {}", done.stderr);
        assert_eq!(done.stderr.is_empty(), said.is_empty(), "{line}: {}", done.stderr);
    }
    for (flags, said) in [
        (&["-X"][..], "forwardx11"),
        (&["-Y"], "forwardx11"),
        (&["-K"], "gssapi"),
        (&["-I", "x.so"], "pkcs11provider"),
        (&["-w", "0:0", "-T"], "tunnel"),
        (&["-O", "check"], "no shared connection to 127.0.0.1"),
        (&["-W", "a:1", "-W", "b:1"], "only one -W"),
    ] {
        let config = lab.sshd.ssh_config();
        let mut command = lab.home.command(bssh_tests::bssh());
        command.args(["ssh", "-F"]).arg(config).args(flags).args(["127.0.0.1", "true"]);
        let done = Run::start(command).finish(MINUTES).expect_status(255);
        assert!(done.stderr.contains(said), "{flags:?}: {}", done.stderr);
    }
}

#[test]
fn others_may_not_write_the_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::start();
    let file = lab.home.write(".ssh/config", "Host x\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let mut command = lab.home.command(bssh_tests::bssh());
    command.args(["127.0.0.1", "true"]);
    let said = Run::start(command).finish(MINUTES).expect_status(255).stderr;
    assert!(said.contains("permissions") && said.contains(".ssh/config"), "{said}");
    let key = lab.home.path().join("open-key");
    std::fs::copy(lab.sshd.user_key(), &key).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let key = format!("IdentityFile {}", key.display());
    let config = std::fs::read_to_string(lab.sshd.ssh_config()).unwrap();
    let only: Vec<&str> = config.lines().filter(|l| !l.contains("IdentityFile")).collect();
    let file = lab.home.write("config", format!("{}\n{key}\n", only.join("\n"))).unwrap();
    let file = file.display().to_string();
    let said = lab.run(&["-F", &file, "127.0.0.1", "true"]).expect_status(255).stderr;
    assert!(said.contains("too open") && said.contains("Permission denied (publickey)."), "{said}");
}

#[test]
fn what_is_wrong_with_the_files_is_said_at_once_with_its_places() {
    let lab = Lab::start();
    let here = lab.home.path().display().to_string();
    let bad = "Port x\nHost y\n  Frobnicate\nMatch nothing\n";
    lab.home.write("bad", bad).unwrap();
    lab.home.write("loop", format!("Port 1\nInclude {here}/loop\n")).unwrap();
    std::fs::create_dir(lab.home.path().join("directory")).unwrap();
    lab.home.write("into", format!("\nInclude {here}/directory\n")).unwrap();
    for (file, said) in [
        ("bad", &["line 1: bad port", "line 3: no argument", "line 4: bad Match"][..]),
        ("loop", &["loop line 2: too many recursive configuration includes"]),
        ("directory", &["cannot read"]),
        ("into", &["into line 2: include: cannot read"]),
        ("nowhere", &["cannot read", "nowhere"]),
    ] {
        let path = format!("{here}/{file}");
        let mut command = lab.home.command(bssh_tests::bssh());
        command.args(["ssh", "-F", &path, "127.0.0.1", "true"]);
        let done = Run::start(command).finish(MINUTES).expect_status(255);
        for part in said {
            assert!(done.stderr.contains(part), "{file}: {}", done.stderr);
        }
    }
}

#[test]
fn forwards_alone_go_to_the_background_and_end_when_told() {
    use rustix::process::{Pid, Signal, kill_process};
    let lab = Lab::start();
    let port = bssh_tests::net::free_port();
    let forward = format!("{port}:127.0.0.1:{}", lab.sshd.port());
    let mut background = lab.command(&["-f", "-N", "-L", &forward, "127.0.0.1"]);
    background.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    Run::start_as(background).finish(MINUTES).expect_status(0);
    let bound = format!("127.0.0.1:{port}");
    assert!(bssh_tests::net::greets(&bound), "it is there once the command is back");
    let all = bssh_fixtures::processes::with_text(&format!("-L {forward}"));
    assert!(!all.is_empty());
    for process in &all {
        kill_process(Pid::from_raw(process.pid).unwrap(), Signal::TERM).unwrap();
    }
    assert!(until(MINUTES, || !bssh_tests::net::greets(&bound)));
}

#[test]
fn a_terminal_that_is_not_there_and_a_port_that_was_chosen_are_told() {
    let lab = Lab::start();
    let words = ["-R", "0:127.0.0.1:1", "127.0.0.1"];
    let done = lab.feed(&words, b"echo hi; exit 3\n").expect_status(3);
    assert_eq!(done.text(), "hi\n");
    let told: Vec<&str> = done.stderr.lines().collect();
    let [terminal, port] = told[..] else { panic!("{}", done.stderr) };
    assert!(terminal.starts_with("Pseudo-terminal will not be allocated"), "{terminal}");
    let port = port.strip_prefix("Allocated port ").unwrap();
    let port = port.strip_suffix(" for remote forward to 127.0.0.1:1").unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    // An empty command is none.
    for words in [&["-q", "-R", "0:127.0.0.1:1", "127.0.0.1"][..], &["-T", "127.0.0.1", ""]] {
        let done = lab.feed(words, b"echo hi\n").expect_status(0);
        assert_eq!((done.text().as_str(), done.stderr.as_str()), ("hi\n", ""), "{words:?}");
    }
}

#[test]
fn the_log_goes_to_a_file_and_the_background_takes_over() {
    let lab = Lab::start();
    let log = lab.home.path().join("log");
    let log = log.to_str().unwrap();
    let done = lab.run(&["-v", "-E", log, "127.0.0.1", "echo x"]).expect_status(0);
    assert_eq!((done.text().as_str(), done.stderr.as_str()), ("x\n", ""));
    let told = std::fs::read_to_string(log).unwrap();
    let (port, by) = (lab.sshd.port(), "using \"publickey\".\r\n");
    let authenticated = format!("Authenticated to 127.0.0.1 ([127.0.0.1]:{port}) {by}");
    assert!(told.contains(&format!("\n{authenticated}")), "{told}");
    let place = lab.sshd.ssh_config().display().to_string();
    let mut told = told.as_str();
    for said in [
        format!("debug1: Reading configuration data {place}\r\n"),
        format!("debug1: Connecting to 127.0.0.1 [127.0.0.1] port {port}.\r\n"),
        "debug1: Connection to 127.0.0.1 established.".to_owned(),
        "debug1: Server host key: ssh-ed25519 SHA256:".to_owned(),
        "' is known and matches the ED25519 host key (".to_owned(),
        "debug1: kex: server->client cipher: ".to_owned(),
        "debug1: SSH2_MSG_NEWKEYS sent\r\n".to_owned(),
        "debug1: Remote protocol version 2.0, remote software version OpenSSH_".to_owned(),
        "debug1: Next authentication method: publickey\r\n".to_owned(),
        "debug1: Offering public key: ".to_owned(),
        "debug1: Authentication succeeded (publickey).\r\n".to_owned(),
        "debug1: Sending command: echo x\r\n".to_owned(),
        "debug1: Exit status 0\r\n".to_owned(),
    ] {
        let at = told.find(&said).unwrap_or_else(|| panic!("{said} is not in its place: {told}"));
        told = &told[at + said.len()..];
    }
    let mark = lab.home.path().join("mark");
    let gate = lab.home.path().join("gate");
    // It cannot end before somebody has seen the foreground end.
    let script =
        format!("while [ ! -e {} ]; do sleep 0.05; done; touch {}", gate.display(), mark.display());
    let mut background = lab.command(&["-f", "127.0.0.1", &script]);
    background.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    Run::start_as(background).finish(MINUTES).expect_status(0);
    assert!(!mark.exists());
    std::fs::write(gate, "").unwrap();
    assert!(until(MINUTES, || mark.exists()));
}

#[test]
fn a_configuration_can_come_through_a_pipe() {
    let lab = Lab::start();
    let config = std::fs::read(lab.sshd.ssh_config()).unwrap();
    let words = ["-F", "/dev/stdin", "127.0.0.1", "echo in"];
    assert_eq!(lab.feed(&words, &config).expect_status(0).text(), "in\n");
    // A file behind stdin is not behind that of the core.
    let bssh = lab.command(&words);
    let mut shell = lab.home.command("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" < \"$CONFIG\""]).env("CONFIG", lab.sshd.ssh_config());
    shell.arg(bssh.get_program()).args(bssh.get_args());
    assert_eq!(Run::start(shell).finish(MINUTES).expect_status(0).text(), "in\n");
    // What goes to the background reads its configuration again.
    let said = lab.feed(&[&["-f"][..], &words].concat(), &config).expect_status(255).stderr;
    assert!(said.contains("-F /dev/stdin") && said.contains("give a file"), "{said}");
    let words = ["-f", "-F", "/dev/null", "-p", "1", "127.0.0.9", "true"];
    let said = lab.run(&words).expect_status(255).stderr;
    assert!(said.contains("Connection refused"), "{said}");
}

#[test]
fn a_port_behind_a_name_is_told_how_to_be_given() {
    let lab = Lab::start();
    let said = lab.run(&["127.0.0.1:4321", "true"]).expect_status(255).stderr;
    assert!(said.contains("-p 4321 127.0.0.1"), "{said}");
}

#[test]
fn without_a_count_of_signs_of_life_one_is_enough_to_miss() {
    let lab = Lab::start();
    let words = ["-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=0", "127.0.0.1"];
    let words = [&words[..], &["echo ready; exec sleep 600"]].concat();
    let mut run = Run::start(lab.command(&words));
    run.wait_for("ready", MINUTES);
    let sessions = processes::descendants(lab.sshd.pid());
    let signal = |signal| {
        for one in sessions.iter().filter(|p| p.command.starts_with("sshd")) {
            // One that has gone is silent, too.
            let _ = kill_process(Pid::from_raw(one.pid).unwrap(), signal);
        }
    };
    signal(Signal::STOP);
    let said = run.finish(MINUTES).expect_status(255).stderr;
    signal(Signal::CONT);
    assert!(said.contains("no answer to 1 keepalive"), "{said}");
}
