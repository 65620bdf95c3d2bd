//! What a release consists of: the Debian package.

use bssh_fixtures::Home;
use bssh_tests::{Run, bssh};
use std::process::Command;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn the_debian_package_is_built_installed_run_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/package.sh");
    for words in [vec!["deb"], vec!["test"]] {
        let mut command = Command::new(script);
        command.arg(words[0]).arg(directory.path());
        if words[0] == "deb" {
            command.arg(bssh());
        }
        Run::start(command).finish(DEADLINE).expect_status(0);
    }
    let name = format!("bssh_{}_", env!("CARGO_PKG_VERSION"));
    let made = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name());
    assert!(made.into_iter().any(|file| file.to_string_lossy().starts_with(&name)));
}

/// Every shell completes names of the configuration, also behind an operator.
#[test]
fn shells_complete_names_of_nodes_and_groups() {
    let home = Home::new().unwrap();
    let config = "clusters: { production: { nodes: [\"web[1-2]\", db1] } }\n";
    home.write(".config/bssh/config.yaml", config).unwrap();
    let path = format!("{}:/usr/bin:/bin", bssh().parent().unwrap().display());
    let run = |shell: &str, script: &str| {
        let mut command = home.command(shell);
        command.env("PATH", &path).args(["-c", script]);
        Run::start(command).finish(DEADLINE).expect_status(0).text()
    };
    let bash = "eval \"$(bssh completions bash)\"; COMP_WORDS=(bssh -H db1,w); COMP_CWORD=2; \
        _bssh_complete bssh db1,w -H; echo \"${COMPREPLY[@]}\"; \
        COMP_WORDS=(bssh -C p); _bssh_complete bssh p -C; echo \"${COMPREPLY[@]}\"; \
        COMP_WORDS=(bssh upl); COMP_CWORD=1; _bssh_complete bssh upl bssh; echo \"${COMPREPLY[@]}\"";
    assert_eq!(run("bash", bash), "db1,web1 db1,web2\nproduction\nupload\n");
    let fish = "bssh completions fish | source; complete -C 'bssh -H db1,w'; complete -C 'bssh -C p'; \
        complete -C 'bssh upl' | string replace -r '\\t.*' ''";
    assert_eq!(run("fish", fish), "db1,web1\ndb1,web2\nproduction\nupload\n");
    // What the completion system would be told.
    let zsh = "compset() { :; }; compadd() { shift 3; print -r -- $@; }; compdef() { :; }; \
        eval \"$(bssh completions zsh)\"; _bssh_names nodes; _bssh_names groups; \
        bssh completions zsh | grep -c ':NODES:{_bssh_names nodes}'";
    let told = run("zsh", zsh);
    assert!(told.starts_with("web1 web2 db1\nproduction\n"), "{told}");
}
