//! Sessions and what their users define in them: a umask, functions and aliases in the place of
//! commands, traces and traps, functions that not every shell option understands, odd names.

use crate::session::{Shell, command, with_core};
use bssh_protocol::methods::{SessionClose, SessionSnapshotOf};
use bssh_protocol::session::{
    SessionExecParams, SessionOpenParams, SessionRef, Snapshot, StateUse,
};

use bssh_protocol::stream::Base64Bytes;
use bssh_tests::{Driver, Lab};
use std::os::unix::ffi::OsStrExt as _;

const SHELLS: [&str; 6] =
    ["/bin/bash", "/bin/dash", "/bin/zsh", "/bin/ksh93", "/bin/mksh", "/bin/busybox"];

fn params(driver: &Driver, shell: &str) -> SessionOpenParams {
    let targets = driver.targets("127.0.0.1");
    SessionOpenParams { targets, shell: Some(shell.to_owned()), ..SessionOpenParams::default() }
}

/// Commands one after the other in a new session: exit, standard output, standard error.
async fn transcript(driver: &Driver, shell: &str, steps: &[(&str, &str, &str, &str)]) {
    let (session, _) = Shell::open(driver, params(driver, shell)).await;
    for (text, end, out, err) in steps {
        let ran = session.run(text).await;
        let seen = (ran.end(), ran.text(), ran.err.as_str());
        assert_eq!(seen, ((*end).to_owned(), *out, *err), "{shell}: {text}");
    }
    driver.call::<SessionClose>(&SessionRef { session: session.id }).await;
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

#[test]
fn where_it_was_before_is_remembered_and_nothing_of_ours_is_exported() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        for path in SHELLS {
            let steps = [
                ("cd /tmp", "status 0", "", ""),
                ("cd /usr", "status 0", "", ""),
                ("cd - >/dev/null && pwd", "status 0", "/tmp\n", ""),
                ("cd - >/dev/null && pwd", "status 0", "/usr\n", ""),
                ("set -a; KEPT=1", "status 0", "", ""),
                ("set -a; KEPT=2; exit 3", "status 3", "", ""),
                ("env | grep -E '^(__|KEPT)'", "status 0", "KEPT=2\n", ""),
            ];
            transcript(&driver, path, &steps).await;
        }
        driver.close().await;
    });
}

#[test]
fn functions_and_aliases_of_the_user_change_nothing_of_ours() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        for (path, builtin) in [
            ("/bin/bash", "builtin"),
            ("/bin/zsh", "builtin"),
            ("/bin/ksh93", "command"),
            ("/bin/mksh", "command"),
        ] {
            let function = format!("cd() {{ {builtin} cd \"$@\" && echo listing; }}");
            transcript(
                &driver,
                path,
                &[
                    (&function, "status 0", "", ""),
                    ("cd /tmp", "status 0", "listing\n", ""),
                    ("echo two; export A=1", "status 0", "two\n", ""),
                    ("unset -f cd; alias cd='echo ALIAS; cd'", "status 0", "", ""),
                    ("pwd; echo $A", "status 0", "/tmp\n1\n", ""),
                    ("alias unset=false trap='echo T;' export=echo eval=echo", "status 0", "", ""),
                    (
                        "alias umask=echo printf=true set=echo exit=echo pwd=echo",
                        "status 0",
                        "",
                        "",
                    ),
                    ("A=2; \\pwd; \\cd /", "status 0", "/tmp\n", ""),
                    ("echo $A; \\pwd; \\umask 027; \\exit 3", "status 3", "2\n/\n", ""),
                    (
                        "\\umask",
                        "status 0",
                        if path.ends_with("/zsh") || path.ends_with("/mksh") {
                            "027\n"
                        } else {
                            "0027\n"
                        },
                        "",
                    ),
                ],
            )
            .await;
        }
        let hook = "chpwd() { echo hook; touch ~/hooked; }; cd -q /";
        let steps = [(hook, "status 0", "", ""), ("test -e ~/hooked", "status 1", "", "")];
        transcript(&driver, "/bin/zsh", &steps).await;
        driver.close().await;
    });
}

#[test]
fn traces_and_traps_show_nothing_of_ours() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        for path in SHELLS {
            let (shell, _) = Shell::open(&driver, params(&driver, path)).await;
            shell.check("export SECRET=s3cret", "status 0", "").await;
            for text in ["export B=2; set -x; echo hi", "set -x; echo hi; exit 3"] {
                let ran = shell.run(text).await;
                assert!(ran.text() == "hi\n" && ran.err.contains("+"), "{path}: {ran:?}");
                // mksh and ksh93 show that the trace is ended, wherever it is sent.
                let ours = ["__save", "s3cret", "declare", "printf"];
                assert!(!ours.iter().any(|word| ran.err.contains(word)), "{path}: {ran:?}");
            }
            shell.check("echo $B; case $- in *[xv]*) echo x;; esac", "status 0", "2\n").await;
        }
        for (path, dbg) in [("/bin/bash", "dbg\nhi\n"), ("/bin/zsh", "dbg\nhi\ndbg\n")] {
            let err = "trap 'echo err' ERR; false";
            let dbg = ("trap 'echo dbg' DEBUG; echo hi", "status 0", dbg, "");
            transcript(&driver, path, &[dbg, (err, "status 1", "err\n", "")]).await;
        }
        driver.close().await;
    });
}

#[test]
fn a_command_with_an_exit_trap_of_its_own_keeps_its_state() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        let told = "bssh: the session is as it was before: \
                    the command ended by exit with an EXIT trap of its own\n";
        for path in SHELLS {
            let steps = [
                ("cd /tmp; export A=1; trap 'echo bye $?' EXIT", "status 0", "bye 0\n", ""),
                (
                    "pwd; echo $A; cd /; trap 'echo bye $?' EXIT; (exit 4)",
                    "status 4",
                    "/tmp\n1\nbye 4\n",
                    "",
                ),
                ("pwd; set -e; export A=2; false; echo no", "status 1", "/\n", ""),
                (
                    "echo $A; trap 'echo bye $?' EXIT; cd /tmp; exit 5",
                    "status 5",
                    "2\nbye 5\n",
                    told,
                ),
                ("pwd; exec true", "status 0", "/\n", ""),
            ];
            transcript(&driver, path, &steps).await;
        }
        driver.close().await;
    });
}

#[test]
fn functions_written_with_extglob_are_there_with_all_that_follows() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        let define = "shopt -s extglob\na_first() { echo a; }\n\
                      f() { case $1 in @(a|b)) echo y;; esac; }\nz_last() { echo z; }\n\
                      alias ll='echo al'; umask 027";
        let steps = [
            (define, "status 0", "", ""),
            ("a_first; z_last; ll; umask; shopt -q extglob", "status 1", "a\nz\nal\n0027\n", ""),
            ("shopt -s extglob; f b; export A=1", "status 0", "y\n", ""),
            ("a_first; z_last; ll; umask", "status 0", "a\nz\nal\n0027\n", ""),
        ];
        transcript(&driver, "/bin/bash", &steps).await;
        driver.close().await;
    });
}

#[test]
fn a_state_that_is_not_put_back_whole_is_said() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        for path in SHELLS {
            let (shell, _) = Shell::open(&driver, params(&driver, path)).await;
            shell.check("umask 027", "status 0", "").await;
            let mut saved =
                driver.call::<SessionSnapshotOf>(&SessionRef { session: shell.id }).await;
            let text = String::from_utf8(saved.state.0.to_vec()).unwrap();
            let broken = text.replace("umask", "umask 027; f() { )\numask");
            saved.state = Base64Bytes(broken.into());
            let restored = SessionOpenParams { restore: Some(saved), ..params(&driver, path) };
            let (shell, _) = Shell::open(&driver, restored).await;
            let ran = shell.run("echo hi").await;
            let said = "bssh: the session's state could not be put back whole: ";
            assert!(ran.text() == "hi\n" && ran.err.starts_with(said), "{path}: {ran:?}");
        }
        driver.close().await;
    });
}

#[test]
fn a_directory_need_not_be_named_in_text() {
    let lab = Lab::start();
    let odd = lab.sshd.file("odd");
    let name = std::ffi::OsStr::from_bytes(b"d\xff'\xfe x");
    std::fs::create_dir_all(odd.join(name)).unwrap();
    let odd = odd.to_str().unwrap();
    with_core(&lab, |driver| async move {
        for path in SHELLS {
            let (shell, _) = Shell::open(&driver, params(&driver, path)).await;
            shell.check(&format!("cd '{odd}'; cd d*; export A=1"), "status 0", "").await;
            let there = shell.run("cd .; pwd").await;
            assert_eq!(there.out, [odd.as_bytes(), b"/d\xff'\xfe x\n"].concat(), "{path}");
            assert_eq!(there.done.cwd, format!("{odd}/d\u{fffd}'\u{fffd} x"), "{path}");
            let below = SessionExecParams { cwd: Some("..".to_owned()), ..command("pwd") };
            assert_eq!(shell.exec(below).await.text(), format!("{odd}\n"), "{path}");
            shell.check("cd ..; pwd; cd - >/dev/null", "status 0", &format!("{odd}\n")).await;
            assert_eq!(shell.run("pwd").await.out, there.out, "{path}");
        }
        driver.close().await;
    });
}
