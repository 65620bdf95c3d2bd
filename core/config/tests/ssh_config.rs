//! `ssh_config` evaluated: blocks, passes, tokens, refusals, errors with their place, speed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bssh_config::ssh_config::{
    AddressFamily, Answer, ConfigFile, Found, HostOptions, Request, SshConfig, StrictHostKeys,
    destination, dump,
};
use bssh_config::{Environment, Error};

struct Setup {
    dir: tempfile::TempDir,
    env: Environment,
}

impl Setup {
    fn new(files: &[(&str, &str)]) -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let env = Environment {
            home: dir.path().into(),
            cwd: dir.path().into(),
            user: "me".into(),
            uid: rustix::process::getuid().as_raw(),
            hostname: "box.lan".into(),
            vars: [("SSH_AUTH_SOCK", "/run/agent"), ("VAR", "/var/x"), ("PATH", "/bin:/usr/bin")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Environment::default()
        };
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Setup { dir, env }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self) -> Result<SshConfig, Vec<Error>> {
        SshConfig::load(&self.env, &ConfigFile::File(self.path(".ssh/config")))
    }

    fn resolve(&self, host: &str) -> HostOptions {
        self.load().unwrap().resolve(&Request::new(&destination(host).unwrap())).unwrap()
    }
}

fn one(config: &str, host: &str) -> HostOptions {
    Setup::new(&[(".ssh/config", config)]).resolve(host)
}

fn problems(config: &str) -> Vec<String> {
    let setup = Setup::new(&[(".ssh/config", config)]);
    let h = destination("h").unwrap();
    let errors = setup.load().and_then(|c| c.resolve(&Request::new(&h))).unwrap_err();
    let home = format!("{}/", setup.dir.path().display());
    errors.iter().map(|e| e.to_string().replace(&home, "")).collect()
}

#[test]
fn which_port() {
    let cases = [
        ("Host h\nPort 1\nHost *\nPort 2", "h", 1),
        ("Host H\nPort 1\nHost *\nPort 2", "h", 2),
        ("Host !h *\nPort 1", "h", 22),
        ("Host * !h\nPort 1", "g", 1),
        ("Match host h,!g\nPort 1", "h", 1),
        ("Match !host h\nPort 1", "h", 22),
        ("Host h\nHostName real\nMatch host real\nPort 1", "h", 1),
        ("Host h\nHostName real\nMatch originalhost real\nPort 1", "h", 22),
        ("Match user bob\nPort 1", "bob@h", 1),
        ("Match localuser me\nPort 1", "h", 1),
        ("Match exec \"test %h-%n-%r = h-h-me\"\nPort 1", "h", 1),
        ("Match exec false\nPort 1\nMatch !exec false\nPort 2", "h", 2),
        ("Tag blue\nMatch tagged bl*\nPort 1", "h", 1),
        ("Match localnetwork 127.0.0.0/8\nPort 1", "h", 1),
        ("Match sessiontype shell\nPort 1", "h", 1),
        ("Match final host real\nPort 1\nHost *\nHostName real", "h", 1),
        ("Match final all\nPort 1\nMatch all\nPort 2", "h", 2),
        ("Match canonical all\nPort 1", "h", 22),
        ("CanonicalizeHostname yes\nMatch canonical all\nPort 1", "h", 1),
        ("Port 2", "ssh://h:7", 7),
        ("Port=2\r\n", "h:1", 2),
    ];
    for (config, host, port) in cases {
        assert_eq!(one(config, host).port, port, "{config}");
    }
}

#[test]
fn includes() {
    let setup = Setup::new(&[
        (".ssh/config", "Host x\nInclude no\nHost h\nInclude d/*\nPort 9\nHost *\nInclude ~/u"),
        (".ssh/no", "Port 1"),
        (".ssh/d/1", "Host z\nPort 2"),
        (".ssh/d/2", "User two"),
        ("u", "User three\nCompression yes\nHost other *.pat !neg"),
    ]);
    let options = setup.resolve("h");
    assert_eq!((options.port, options.user.as_str(), options.compression), (9, "two", true));
    assert_eq!(setup.load().unwrap().host_names(), ["x", "h", "z", "other"]);
    let looped = Setup::new(&[(".ssh/config", "Include config\nInclude config")]);
    let errors = looped.load().unwrap_err();
    assert_eq!(errors.len(), 1, "a loop is one problem");
    assert!(errors[0].to_string().contains("line 1: too many recursive"), "{errors:?}");
}

#[test]
fn values_reach_their_fields() {
    let o = one(
        "AddressFamily inet6\nStrictHostKeyChecking off\nConnectTimeout 1m\nRekeyLimit 1K 1h\n\
         IdentityFile ~/k/%h\nIdentityFile none\nControlPath /s/%C\nProxyJump a@b:2,[::1]\n\
         ProxyCommand nc\nSendEnv A* B\nSendEnv -A*\nSetEnv X=1 \"Y=2 3\"\nLocalForward 1 a:2\n\
         RemoteForward 3\nCiphers ^aes128-cbc\nEscapeChar ^]\nForwardAgent $VAR\nLogLevel quiet\n\
         RemoteCommand echo \"%n\" # x\nUserKnownHostsFile ${VAR} none-such\nHostKeyAlias AB",
        "h",
    );
    assert_eq!(o.address_family, AddressFamily::Inet6);
    assert_eq!(o.strict_host_key_checking, StrictHostKeys::No);
    assert_eq!(o.connect_timeout, Some(Duration::from_secs(60)));
    assert_eq!(o.rekey_limit, (Some(1024), Some(Duration::from_secs(3600))));
    assert!(o.identity_files_explicit && o.identity_files.len() == 1);
    assert!(o.identity_files[0].ends_with("k/h"));
    assert_eq!(o.control_path.unwrap().as_os_str().len(), 3 + 40);
    assert_eq!(o.proxy_jump.len(), 2);
    assert_eq!((o.proxy_jump[0].port, o.proxy_jump[1].host.as_str()), (Some(2), "::1"));
    assert_eq!(o.proxy_command, None);
    assert_eq!(o.send_env, ["B"]);
    assert_eq!(o.set_env[1], ("Y".to_owned(), "2 3".to_owned()));
    assert_eq!(
        (o.local_forwards[0].spec.as_str(), o.remote_forwards[0].spec.as_str()),
        ("1:a:2", "3")
    );
    assert_eq!(o.ciphers.unwrap()[0], "aes128-cbc");
    assert_eq!((o.escape_char, o.log_level.as_str()), (Some(29), "QUIET"));
    assert_eq!((o.forward_agent_on, o.forward_agent), (true, Some("/var/x".into())));
    assert_eq!(o.remote_command.as_deref(), Some("echo \"h\" # x"));
    assert_eq!(o.user_known_hosts_files, [Path::new("/var/x"), Path::new("none-such")]);
    assert_eq!(o.host_key_alias.as_deref(), Some("ab"));
    assert_eq!(o.identity_agent, Some("/run/agent".into()));
}

#[test]
fn a_socket_says_which_agent_a_plain_yes_forwards() {
    for (config, on, socket) in [
        ("ForwardAgent yes\nForwardAgent /s", true, Some("/s")),
        ("ForwardAgent yes\nForwardAgent no\nForwardAgent /s\nForwardAgent /t", true, Some("/s")),
        ("ForwardAgent /s\nForwardAgent yes\nForwardAgent /t", true, Some("/s")),
        ("ForwardAgent no\nForwardAgent /s", false, None),
        ("ForwardAgent yes\nForwardAgent no", true, None),
    ] {
        let o = one(config, "h");
        assert_eq!((o.forward_agent_on, o.forward_agent), (on, socket.map(Into::into)), "{config}");
    }
}

#[test]
fn order_of_strength() {
    let setup = Setup::new(&[(".ssh/config", "User file\nPort 3\nStrictHostKeyChecking yes")]);
    let config = setup.load().unwrap();
    let host = destination("dest@h").unwrap();
    let lines = |all: &[&str]| all.iter().map(|&l| l.to_owned()).collect::<Vec<_>>();
    let (weak, over) = (
        lines(&["StrictHostKeyChecking=accept-new", "Compression yes"]),
        lines(&["User=over", "Port=4"]),
    );
    let first = lines(&["User=first", "User=second"]);
    let request = Request { overrides: &over, defaults: &weak, ..Request::new(&host) };
    let o = config.resolve(&request).unwrap();
    assert_eq!((o.user.as_str(), o.port, o.compression), ("dest", 4, true));
    assert_eq!(o.strict_host_key_checking, StrictHostKeys::Yes);
    let o = config.resolve(&Request { options: &first, ..request }).unwrap();
    assert_eq!(o.user, "first");
    assert_eq!(&*o.origins[0].origin, "command line");
}

#[test]
fn canonical_names() {
    let config = "CanonicalizeHostname yes\nCanonicalDomains a.ex b.ex\n\
                  CanonicalizePermittedCNAMEs *.b.ex:*.real\nHost h.real\nPort 5";
    let setup = Setup::new(&[(".ssh/config", config)]);
    let lookup = |name: &str| match name {
        "h.b.ex." => Answer::Found(Found { cname: Some("h.real".into()) }),
        _ => Answer::Missing,
    };
    let host = destination("H").unwrap();
    let request = Request { lookup: Some(&lookup), explain: true, ..Request::new(&host) };
    let o = setup.load().unwrap().resolve(&request).unwrap();
    assert_eq!((o.hostname.as_str(), o.port, o.original.as_str()), ("h.real", 5, "H"));
}

#[test]
fn numbers_are_addresses_as_inet_aton_has_them() {
    for (host, hostname) in [
        ("127.1", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("010.0.0.1", "8.0.0.1"),
        ("1.2.3", "1.2.0.3"),
        ("4294967295", "255.255.255.255"),
        ("4294967296", "4294967296"),
        ("1.2.65536", "1.2.65536"),
        ("256.1", "256.1"),
        ("08", "08"),
        ("0x", "0x"),
        ("+1", "+1"),
        ("1.", "1."),
        ("1.2.3.4.5", "1.2.3.4.5"),
    ] {
        assert_eq!(one("", host).hostname, hostname, "{host}");
    }
}

#[test]
fn a_later_pass_does_not_change_how_names_are_made_canonical() {
    let later = "Match final\nCanonicalizeMaxDots 7\nCanonicalizeHostname always\n\
                 CanonicalizeFallbackLocal no\nPort 5";
    let text = dump(&one(later, "h"));
    for line in
        ["canonicalizemaxdots 1", "canonicalizehostname false", "canonicalizefallbacklocal yes"]
    {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    assert!(text.contains("port 5\n"));
}

#[test]
fn only_who_connects_expands_files_and_commands() {
    for line in ["IdentityFile /x/%z", "CertificateFile ${NOT_SET}", "ProxyCommand nc %z"] {
        let setup = Setup::new(&[(".ssh/config", line)]);
        let (host, config) = (destination("h").unwrap(), setup.load().unwrap());
        let request = Request::new(&host);
        let explained = config.resolve(&Request { explain: true, ..request }).unwrap();
        assert!(dump(&explained).lines().any(|l| l.ends_with(&line[line.len() - 4..])), "{line}");
        assert_eq!(config.resolve(&request).unwrap_err().len(), 1, "{line}");
    }
}

#[test]
fn a_batch_notices_a_server_that_is_gone() {
    let alive = |config| one(config, "h").server_alive_interval.as_secs();
    assert_eq!(alive(""), 0);
    assert_eq!(alive("BatchMode yes"), 300);
    assert_eq!(alive("BatchMode yes\nServerAliveInterval 0"), 0);
    assert!(dump(&one("BatchMode yes", "h")).contains("serveraliveinterval 300\n"));
}

#[test]
fn aliases_are_followed_where_that_is_permitted() {
    let lookup = |name: &str| match name {
        "gone.ex" | "gone.b.ex." => Answer::Missing,
        _ => Answer::Found(Found { cname: Some("Real.Host.".into()) }),
    };
    let pending = |_: &str| Answer::Pending;
    let rule = "CanonicalizePermittedCNAMEs *.ex:real.host";
    for (settings, host, expected) in [
        // The name itself, with enough dots not to be completed.
        ("CanonicalizeHostname yes", "www.a.ex", "real.host"),
        ("CanonicalizeHostname yes\nCanonicalDomains b.ex", "www", "real.host"),
        (
            "CanonicalizeHostname yes\nCanonicalDomains b.ex",
            "www.other.example",
            "www.other.example",
        ),
        ("CanonicalizeHostname no", "www.a.ex", "www.a.ex"),
        ("CanonicalizeHostname yes\nProxyJump j", "www.a.ex", "www.a.ex"),
        ("CanonicalizeHostname always\nProxyJump j", "www.a.ex", "real.host"),
        ("CanonicalizeHostname yes\nCanonicalDomains b.ex", "gone", "gone"),
    ] {
        let setup = Setup::new(&[(".ssh/config", &format!("{settings}\n{rule}"))]);
        let host = destination(host).unwrap();
        let request = Request { lookup: Some(&lookup), ..Request::new(&host) };
        let config = setup.load().unwrap();
        assert_eq!(config.resolve(&request).unwrap().hostname, expected, "{settings}");
        // What is not known yet ends the evaluation before anything depends on it.
        let asked = Request { lookup: Some(&pending), ..request };
        let asks = settings.contains("always") || !settings.contains("Jump");
        let asks = asks && !settings.ends_with("name no");
        assert_eq!(config.resolve(&asked).is_err(), asks, "{settings}");
    }
}

#[test]
fn errors_name_their_place() {
    let cases: &[(&str, &[&str])] = &[
        ("Port x", &[".ssh/config line 1: bad port 'x'"]),
        ("\n\nFrob 1", &[".ssh/config line 3: bad configuration option: frob"]),
        (
            "User \"a\nBatchMode maybe",
            &["line 1: invalid quotes", "line 2: batchmode: unsupported"],
        ),
        ("User a b", &["line 1: keyword user extra arguments at end of line"]),
        ("Match frob x", &["line 1: bad Match condition: unsupported Match attribute frob"]),
        ("ControlPath %z", &["line 1: controlpath: unknown token %z"]),
        ("ProxyUseFdpass yes", &["line 1: proxyusefdpass yes is not supported"]),
        ("Tunnel yes\nProxyUseFdpass yes", &["line 1: tunnel", "line 2: proxyusefdpass yes"]),
        ("PermitRemoteOpen x", &["line 1: bad port number in permitremoteopen"]),
        ("HostName h\nProxyJump h", &["line 2: jumphost loop via h"]),
        ("Match exec \"kill -9 $$\"", &["line 1: match exec"]),
    ];
    for (config, expected) in cases {
        let found = problems(config);
        assert_eq!(found.len(), expected.len(), "{config}: {found:?}");
        for (found, expected) in found.iter().zip(*expected) {
            assert!(found.contains(expected), "{config}: {found}");
        }
    }
    for fine in ["IgnoreUnknown f*\nFrob 1", "ForwardX11 no", "Protocol 2", "VerifyHostKeyDNS yes"]
    {
        one(fine, "h");
    }
}

#[test]
fn unsafe_names_and_files_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new(&[(".ssh/config", "Include inner"), (".ssh/inner", "")]);
    let config = setup.load().unwrap();
    for host in ["-oProxyCommand=x", "a`id`@h", "h;x", "a\nb@h"] {
        let host = destination(host).unwrap();
        let errors = config.resolve(&Request::new(&host)).unwrap_err();
        assert!(errors[0].to_string().contains("contains invalid characters"), "{errors:?}");
    }
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(setup.path(".ssh/inner"), open).unwrap();
    let errors = setup.load().unwrap_err();
    assert!(errors[0].to_string().contains("bad owner or permissions"), "{errors:?}");
    assert!(SshConfig::load(&setup.env, &ConfigFile::File(setup.path("none"))).is_err());
}

#[test]
fn explain_reports_refusals_and_dump_prints_them() {
    let setup = Setup::new(&[(".ssh/config", "ForwardX11 yes\nIPQoS ef")]);
    let host = destination("h").unwrap();
    let request = Request { explain: true, ..Request::new(&host) };
    let o = setup.load().unwrap().resolve(&request).unwrap();
    let states: Vec<_> = o.origins.iter().map(|o| (o.keyword, o.status)).collect();
    assert_eq!(states, [("forwardx11", "warned"), ("ipqos", "ignored")]);
    assert!(o.missing[0].to_string().contains("line 1: forwardx11 yes is not supported"));
    let text = dump(&o);
    for line in ["host h\n", "\nforwardx11 yes\n", "\nipqos ef ef\n", "\nport 22\n", "\nuser me\n"]
    {
        assert!(text.contains(line), "{line}");
    }
}

/// As `ssh -G` of OpenSSH 9.2 prints them.
#[test]
fn paths_of_forwards_may_have_an_address_in_them() {
    let config = "LocalForward 7070 /run/%h/sock\nLocalForward /tmp/x-%h %h:80\n\
                  RemoteForward /tmp/r-%h /tmp/[%h]";
    let text = dump(&one(config, "fe80::1"));
    for line in [
        "\nlocalforward 7070 /run/fe80::1/sock\n",
        "\nlocalforward /tmp/x-fe80::1 [%h]:80\n",
        "\nremoteforward /tmp/r-fe80::1 /tmp/[fe80::1]\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

/// A bound, not a measurement: unoptimised code on a busy machine.
#[test]
fn a_thousand_hosts_read_the_files_once() {
    let mut config = String::new();
    for n in 0..10 {
        config.push_str(&format!("Host a{n}* b{n}\n  Port {n}1\n"));
    }
    config.push_str("Host *\n  User bob\n  ControlPath ~/.ssh/%r@%h:%p\n  Compression yes\n");
    let setup = Setup::new(&[(".ssh/config", &config)]);
    let loaded = setup.load().unwrap();
    std::fs::remove_file(setup.path(".ssh/config")).unwrap();
    let hosts: Vec<_> = (0..1000).map(|n| destination(&format!("n{n}")).unwrap()).collect();
    let start = Instant::now();
    for host in &hosts {
        loaded.resolve(&Request::new(host)).unwrap();
    }
    let each = start.elapsed() / 1000;
    println!("{each:?} for each host");
    assert!(each < Duration::from_micros(500), "{each:?}");
}
