//! Sessions and what their users define in them: a umask, functions and aliases in the place of
//! commands, traces and traps, functions that not every shell option understands, odd names.

use crate::session::{Shell, command, with_core};
use bssh_protocol::session::{
    SessionExecParams, SessionOpenParams, Snapshot, StateUse,
};

use bssh_tests::{Driver, Lab};

const SHELLS: [&str; 6] =
    ["/bin/bash", "/bin/dash", "/bin/zsh", "/bin/ksh93", "/bin/mksh", "/bin/busybox"];

fn params(driver: &Driver, shell: &str) -> SessionOpenParams {
    let targets = driver.targets("127.0.0.1");
    SessionOpenParams { targets, shell: Some(shell.to_owned()), ..SessionOpenParams::default() }
}

#[test]
fn a_session_begins_with_the_umask_of_a_login() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        for path in SHELLS {
            for snapshot in [Snapshot::Login, Snapshot::Plain] {
                let params = SessionOpenParams { snapshot, ..params(&driver, path) };
                let (shell, _) = Shell::open(&driver, params).await;
                let none = SessionExecParams { state: StateUse::None, ..command("umask") };
                let login = shell.exec(none).await;
                assert!(!login.text().ends_with("77\n"), "the tests need a umask unlike ours");
                shell.check("umask", "status 0", login.text()).await;
            }
        }
        driver.close().await;
    });
}
