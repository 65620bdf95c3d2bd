//! docs/ssh-config.md is what the keyword table says. `BSSH_BLESS=1 cargo test -p bssh-config`
//! writes it again.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test, told by its environment"
)]

use std::path::Path;

#[test]
fn the_document_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ssh-config.md");
    let text = bssh_config::ssh_config::document();
    if std::env::var_os("BSSH_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "stale: BSSH_BLESS=1 cargo test -p bssh-config");
}
