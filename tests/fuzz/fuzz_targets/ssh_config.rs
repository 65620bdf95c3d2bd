//! ssh_config files: read or refused, never more.

#![no_main]

use bssh_config::Environment;
use bssh_config::ssh_config::{ConfigFile, Request, SshConfig, destination, dump};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::OnceLock;

fn file() -> &'static (tempfile::TempDir, PathBuf) {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    FILE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config");
        (dir, path)
    })
}

fuzz_target!(|bytes: &[u8]| {
    // What is between the keywords must not run or read anything of this machine.
    let lower = bytes.to_ascii_lowercase();
    let has = |word: &[u8]| lower.windows(word.len()).any(|w| w == word);
    if has(b"exec") || has(b"include") {
        return;
    }
    let (dir, path) = file();
    std::fs::write(path, bytes).expect("a file");
    let env = Environment {
        home: dir.path().to_owned(),
        cwd: dir.path().to_owned(),
        user: "me".to_owned(),
        ..Environment::default()
    };
    let Ok(config) = SshConfig::load(&env, &ConfigFile::File(path.clone())) else { return };
    for name in ["h", "user@host.example.org", "[::1]:22"] {
        let Ok(to) = destination(name) else { continue };
        if let Ok(options) = config.resolve(&Request::new(&to)) {
            assert!(!dump(&options).is_empty());
        }
    }
});
