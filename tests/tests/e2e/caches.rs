//! What a core remembers of the files it has read: told in figures, and never older than they are.

use bssh_tests::{Lab, Shared, until};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

struct Figures {
    hits: u64,
    misses: u64,
    changed: u64,
    entries: u64,
}

/// The figures of one cache, as `--json` gives them.
fn figures(shared: &Shared, name: &str) -> Figures {
    let text = shared.lab.run(&["cache-stats", "--json"]).expect_status(0).text();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all = json["caches"].as_array().unwrap();
    let cache = all.iter().find(|cache| cache["name"] == name).unwrap();
    let n = |key: &str| cache[key].as_u64().unwrap();
    Figures { hits: n("hits"), misses: n("misses"), changed: n("changed"), entries: n("entries") }
}

#[test]
fn a_shared_core_reads_a_file_once_and_again_when_it_has_changed() {
    let shared = Shared::new(Lab::start());
    let text = std::fs::read_to_string(shared.lab.sshd.ssh_config()).unwrap();
    let write = |first: &str| shared.lab.home.write("config", format!("{first}\n{text}")).unwrap();
    let file = write("Host a\n HostName 127.0.0.9\nHost *").display().to_string();
    // One that was written just now is not kept: its next change might look the same.
    let settled = std::time::Instant::now() + Duration::from_millis(50);
    assert!(until(SOON, || std::time::Instant::now() > settled));
    let explain = || {
        let words = ["-F", &file, "--persist", "1m", "explain", "a"];
        let mut command = shared.lab.home.command(bssh_tests::bssh());
        command.args(words);
        bssh_tests::Run::start(command).finish(SOON).expect_status(0).text()
    };
    assert!(explain().contains("127.0.0.9"));
    let first = figures(&shared, "sshConfig");
    assert!(first.misses >= 1 && first.entries >= 1);
    explain();
    let second = figures(&shared, "sshConfig");
    assert!(second.hits > first.hits, "{} hits", second.hits);
    write("Host a\n HostName 127.0.0.8\nHost *");
    assert!(explain().contains("127.0.0.8"), "the new text, at once");
    assert!(figures(&shared, "sshConfig").changed > second.changed);
    let said = shared.lab.run(&["cache-stats", "--detailed"]).expect_status(0).text();
    assert!(said.contains("sshConfig") && said.contains("environment"), "{said}");
    let said = shared.lab.run(&["cache-stats", "--maintain"]).expect_status(0).text();
    assert!(said.ends_with("entries dropped\n"), "{said}");
    shared.lab.run(&["cache-stats", "--clear"]).expect_status(0);
    assert_eq!(figures(&shared, "sshConfig").entries, 0);
    shared.lab.run(&["cache-stats", "--clear", "--maintain"]).expect_status(2);
}

#[test]
fn without_a_shared_core_that_is_said() {
    let lab = Lab::start();
    let done = lab.run(&["cache-stats"]).expect_status(0);
    assert!(done.stderr.contains("no shared core runs"), "{}", done.stderr);
    assert!(done.text().contains("sshConfig    on   100   300 s"), "{}", done.text());
    let mut off = lab.command(&["cache-stats"]);
    off.env("BSSH_CACHE_ENABLED", "false").env("BSSH_ENV_CACHE_SIZE", "7");
    let said = bssh_tests::Run::start(off).finish(SOON).expect_status(0).text();
    assert!(said.contains("off  100") && said.contains("on   7 "), "{said}");
    let mut wrong = lab.command(&["127.0.0.1", "true"]);
    wrong.env("BSSH_CACHE_TTL", "soon");
    let said = bssh_tests::Run::start(wrong).finish(SOON).expect_status(255).stderr;
    assert!(said.contains("BSSH_CACHE_TTL"), "{said}");
}

#[test]
fn what_a_proxy_command_says_reaches_the_one_who_asked() {
    let shared = Shared::new(Lab::start());
    let log = shared.lab.home.path().join(".local/state/bssh/core.log");
    let bssh = bssh_tests::bssh().display().to_string();
    let config = shared.lab.sshd.ssh_config().display().to_string();
    let works = format!(
        "ProxyCommand=sh -c 'echo on my way >&2; exec {bssh} ssh -F {config} -S none -W %h:%p 127.0.0.2'"
    );
    let dies = "ProxyCommand=sh -c 'echo no way >&2; printf unfinished >&2; exit 1'";
    for persist in ["no", "1m"] {
        let run = |proxy: &str| {
            let mut command = shared.lab.command(&["-o", proxy, "127.0.0.1", "echo there"]);
            command.env("BSSH_PERSIST", persist);
            bssh_tests::Run::start(command).finish(SOON)
        };
        let done = run(&works).expect_status(0);
        assert_eq!(done.text(), "there\n");
        assert_eq!(done.stderr.trim_end(), "on my way", "{persist}");
        let done = run(dies).expect_status(255);
        assert!(done.stderr.starts_with("no way"), "{persist}: {}", done.stderr);
        assert!(done.stderr.contains("unfinished"), "{persist}: {}", done.stderr);
    }
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains("way"), "{log}");
}
