//! What a release consists of: the Debian package.

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
