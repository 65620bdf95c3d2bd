//! Sessions beyond plain commands: without state, with a terminal, what escapes, what is lost and
//! run again or kept, calls that change the state, the agent.

use crate::session::{Ran, Running, Shell, command, with_core};
use bssh_fixtures::processes;
use bssh_protocol::agent::AgentSettings;
use bssh_protocol::exec::{Exit, PtyRequest};
use bssh_protocol::job::JobHandle;
use bssh_protocol::methods::{
    JobStartIn, JobWaitFor, SessionChangeDirectory, SessionClose, SessionExecRetryEvent,
    SessionResizeExec, SessionSetEnvironment, SessionSignalExec, SessionSnapshotOf,
    SessionUnsetEnvironment,
};
use bssh_protocol::session::{
    JobStart, OnDisconnect, RemoteFate, SessionExecParams, SessionOpenParams, SessionRef,
    SessionSignal, StateUse,
};
use bssh_protocol::session_state::{SessionCd, SessionResize, SessionSetenv, SessionUnsetenv};
use bssh_protocol::stream::{Source, WINDOW};
use bssh_tests::{Agent, Lab, until};
use std::time::Duration;

const NODE: &str = "127.0.0.1";
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_command_without_state_sees_and_changes_nothing() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, NODE).await;
        shell.check("cd /tmp; export A=1", "status 0", "").await;
        let home = shell.ready(1).await.home;
        // It does not wait for its turn either.
        let slow = shell.start(command("sleep 1000.60")).await;
        let text = "echo ${A-no} ${HOME:+home} ${PATH:+path}; pwd; cd /; export A=2";
        let none = SessionExecParams { state: StateUse::None, ..command(text) };
        let ran = shell.exec(none).await;
        assert_eq!(
            (ran.end().as_str(), ran.text()),
            ("status 0", &*format!("no home path\n{home}\n"))
        );
        let there = SessionExecParams {
            state: StateUse::None,
            cwd: Some("/usr".to_owned()),
            ..command("pwd")
        };
        assert_eq!(shell.exec(there).await.text(), "/usr\n");
        let all = SessionSignal { session: shell.id, exec: None, signal: "TERM".to_owned() };
        let bogus = SessionSignal { signal: "BOGUS".to_owned(), ..all.clone() };
        assert!(driver.try_call::<SessionSignalExec>(&bogus).await.is_err());
        driver.call::<SessionSignalExec>(&all).await;
        slow.end().await;
        shell.check("echo $A; pwd", "status 0", "1\n/tmp\n").await;
        driver.close().await;
    });
}

#[test]
fn what_is_only_beginning_when_its_session_is_closed_is_gone_too() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        for _ in 0..10 {
            let shell = Shell::on(&driver, NODE).await;
            let begun = shell.start(command("sleep 1000.58")).await;
            driver.call::<SessionClose>(&SessionRef { session: shell.id }).await;
            begun.end().await;
        }
        let left = || processes::with_text("sleep 1000.58");
        assert!(until(SOON, || left().is_empty()), "{:?}", left());
        driver.close().await;
    });
}

fn terminal(text: &str) -> SessionExecParams {
    let pty = PtyRequest { term: "vt100".to_owned(), cols: 81, rows: 23, ..PtyRequest::default() };
    SessionExecParams { pty: Some(pty), stdin: Source::Stream, ..command(text) }
}

#[test]
fn a_command_has_a_terminal_and_the_session_does_not() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        for path in ["/bin/bash", "/bin/dash", "/bin/zsh", "/bin/ksh93", "/bin/mksh"] {
            let params = SessionOpenParams {
                targets: driver.targets(NODE),
                shell: Some(path.to_owned()),
                ..SessionOpenParams::default()
            };
            let (shell, _) = Shell::open(&driver, params).await;
            shell.check("cd /tmp; export A=1", "status 0", "").await;
            let text = "test -t 0 && test -t 2 && stty size && echo $TERM $A && [ $(tty) = $SSH_TTY ] && \
                        export A=2 && cd /usr && echo on stderr >&2";
            let ran = shell.exec(terminal(text)).await;
            let want = "23 81\r\nvt100 1\r\non stderr\r\n";
            assert_eq!((ran.end().as_str(), ran.text()), ("status 0", want), "{path}: {ran:?}");
            // What it has changed stays; its terminal does not.
            let text = "echo $A; pwd; echo ${SSH_TTY-none}; test -t 0 || echo ${TERM-none}";
            let ran = shell.run(text).await;
            assert!(ran.text().starts_with("2\n/usr\nnone\n") && !ran.text().contains("vt100"));
        }
        // Keys, another size, Ctrl-C.
        let shell = Shell::on(&driver, NODE).await;
        let text = "trap 'stty size' WINCH; echo begun; read x; echo got $x; exec cat";
        let running = shell.start(terminal(text)).await;
        let mut out = driver.link.receiver(running.started.stdout, WINDOW);
        let mut keys = driver.link.sender(running.started.stdin.unwrap(), WINDOW);
        driver.until(&mut out, "begun\r\n").await;
        let exec = running.started.exec;
        let size = SessionResize { session: shell.id, exec, cols: 99, rows: 33 };
        driver.call::<SessionResizeExec>(&size).await;
        keys.write("word\r".into()).await.unwrap();
        let shown = driver.until(&mut out, "got word\r\n").await;
        assert!(shown.contains("33 99"), "{shown:?}");
        let signal =
            SessionSignal { session: shell.id, exec: Some(exec), signal: "INT".to_owned() };
        driver.call::<SessionSignalExec>(&signal).await;
        let done = running.done().await;
        assert!(done.interrupted && done.exit.is_some(), "{done:?}");
        driver.close().await;
    });
}

#[test]
fn what_escapes_is_ended_on_request_only() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, NODE).await;
        let left = || processes::with_text("sleep 1000.61");
        let own = || left().into_iter().filter(|p| p.command.starts_with("sleep"));
        for kill_escaped in [false, true] {
            let text = "setsid sleep 1000.61 </dev/null >/dev/null 2>&1 & \
                        setsid sh -c 'trap \"\" TERM; sleep 1000.61 & wait; wait' >/dev/null 2>&1 & \
                        sleep 1000.61";
            let params = SessionExecParams {
                timeout_ms: Some(1500),
                kill_grace_ms: Some(500),
                kill_escaped,
                ..command(text)
            };
            let ran = shell.exec(params).await;
            assert!(ran.done.timed_out, "{ran:?}");
            match kill_escaped {
                // Those that left the group, as of old; and nothing else.
                false => assert!(own().count() >= 1, "{:?}", left()),
                true => assert!(until(SOON, || left().is_empty()), "{:?}", left()),
            }
            for process in left() {
                processes::kill(process.pid);
            }
            assert!(until(SOON, || left().is_empty()));
        }
        // The mark is in no state.
        shell.check("export B=1", "status 0", "").await;
        let params = SessionExecParams { kill_escaped: true, ..command("export C=$BSSH_EXEC") };
        shell.exec(params).await;
        shell.check("echo ${C:+marked} ${BSSH_EXEC-no}", "status 0", "marked no\n").await;
        driver.close().await;
    });
}

#[test]
fn a_lost_command_is_run_again_only_where_that_is_harmless() {
    let lab = Lab::start();
    let file = lab.sshd.file("times");
    let sshd = &lab.sshd;
    let text = format!(
        "echo begun; echo x >> {0}; [ $(wc -l < {0}) -gt 1 ] && exit 7; sleep 1000.62",
        file.display()
    );
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, NODE).await;
        for retry_safe in [true, false] {
            let _ = std::fs::remove_file(&file);
            let times = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
            let params = SessionExecParams { retry_safe, ..command(&text) };
            let running = shell.start(params).await;
            let sleeps = || processes::all().iter().any(|p| p.command == "sleep 1000.62");
            assert!(until(SOON, || sleeps() && times() == 1));
            sshd.kill_sessions();
            let Ran { done, out, .. } = running.end().await;
            if retry_safe {
                assert_eq!((done.exit, done.attempts), (Some(Exit::Status(7)), Some(2)));
                let retry = driver.event::<SessionExecRetryEvent>(|_| true).await;
                assert_eq!((retry.attempt, retry.stdout_bytes), (2, 6));
                assert_eq!((out, times()), (b"begun\nbegun\n".to_vec(), 2));
            } else {
                assert_eq!(done.failure.unwrap().code, "transportLost");
                assert_eq!(done.remote_fate, Some(RemoteFate::Killed));
                assert_eq!((done.attempts, times()), (None, 1));
            }
            assert!(until(SOON, || processes::with_text("sleep 1000.62").is_empty()));
        }
        // What came from stdin cannot be given twice.
        let params = SessionExecParams {
            session: shell.id,
            retry_safe: true,
            stdin: Source::Stream,
            ..command("cat")
        };
        let refused = driver.try_call::<bssh_protocol::methods::SessionExec>(&params).await;
        assert!(refused.unwrap_err().message.contains("stdin"));
        driver.close().await;
    });
}

/// T2-4: of twenty commands under way when the connection is cut, those that are to be kept go on
/// and can be waited for, and nothing of the others is left.
#[test]
fn what_is_kept_goes_on_and_can_be_waited_for() {
    let lab = Lab::start();
    let dir = lab.sshd.file("kept");
    std::fs::create_dir(&dir).unwrap();
    let sshd = &lab.sshd;
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, NODE).await;
        let text = "echo one; sleep 6; echo two; exit 4".to_owned();
        let job = driver.call::<JobStartIn>(&JobStart { session: shell.id, command: text }).await;
        let mut running: Vec<(bool, Running<'_>)> = Vec::new();
        for n in 0..20 {
            let keep = n % 2 == 0;
            let text = match keep {
                // It writes where nobody listens any more, and goes on.
                true => format!(
                    "echo begun; until [ -e {0}/go ]; do sleep 0.1; done; echo lost; \
                     echo done > {0}/{n}; exit {n}",
                    dir.display()
                ),
                false => "echo begun; sleep 1000.63".to_owned(),
            };
            let params = SessionExecParams {
                state: StateUse::Read,
                on_disconnect: keep.then_some(OnDisconnect::Keep),
                ..command(&text)
            };
            let one = shell.start(params).await;
            let mut out = driver.link.receiver(one.started.stdout, WINDOW);
            driver.until(&mut out, "begun\n").await;
            running.push((keep, one));
        }
        sshd.cut();
        let mut kept = Vec::new();
        for (keep, one) in &running {
            let done = one.done().await;
            assert_eq!(done.failure.unwrap().code, "transportLost");
            let want = if *keep { RemoteFate::Kept } else { RemoteFate::Killed };
            assert_eq!((done.remote_fate, done.job.is_some()), (Some(want), *keep));
            kept.extend(done.job);
        }
        shell.ready(2).await;
        let left = || processes::with_text("sleep 1000.63");
        assert!(until(SOON, || left().is_empty()), "{:?}", left());
        assert!(dir.read_dir().unwrap().next().is_none(), "they wait");
        std::fs::write(dir.join("go"), "").unwrap();
        for (n, job) in kept.iter().enumerate() {
            let handle = JobHandle { job: *job, session: Some(shell.id) };
            let ended = driver.call::<JobWaitFor>(&handle).await;
            assert_eq!((ended.status, ended.running), (Some(2 * n as u32), false), "{ended:?}");
            assert!(dir.join((2 * n).to_string()).exists());
        }
        // A background job's output is whole.
        let handle = JobHandle { job: job.job, session: Some(shell.id) };
        assert_eq!(driver.call::<JobWaitFor>(&handle).await.status, Some(4));
        let read = bssh_protocol::session::JobRead {
            session: shell.id,
            job: job.job,
            ..Default::default()
        };
        let output = driver.call::<bssh_protocol::methods::JobReadOutput>(&read).await;
        assert_eq!(output.data.0.as_ref(), b"one\ntwo\n");
        let unknown = JobHandle { job: 9999, session: Some(shell.id) };
        assert!(driver.try_call::<JobWaitFor>(&unknown).await.is_err());
        driver.close().await;
    });
}

#[test]
fn directory_environment_and_snapshot_by_calls() {
    let lab = Lab::start();
    let odd = lab.sshd.file("an odd 'one'");
    std::fs::create_dir(&odd).unwrap();
    let odd = odd.to_str().unwrap();
    with_core(&lab, |driver| async move {
        for path in
            ["/bin/bash", "/bin/dash", "/bin/zsh", "/bin/ksh93", "/bin/mksh", "/bin/busybox"]
        {
            let value = "it's\n\"$HOME\"".to_owned();
            let params = SessionOpenParams {
                targets: driver.targets(NODE),
                shell: Some(path.to_owned()),
                env: [("FIRST".to_owned(), value.clone())].into(),
                ..SessionOpenParams::default()
            };
            let (shell, _) = Shell::open(&driver, params).await;
            let session = shell.id;
            shell.check("printf %s \"$FIRST\"", "status 0", &value).await;
            let cd = |cwd: &str| SessionCd { session, cwd: cwd.to_owned() };
            let place = driver.call::<SessionChangeDirectory>(&cd(odd)).await;
            assert_eq!(place.cwd, odd, "{path}");
            let set = SessionSetenv { session, env: [("A".to_owned(), value.clone())].into() };
            let after = driver.call::<SessionSetEnvironment>(&set).await;
            assert!(after.rev > place.rev && after.cwd == odd, "{path}: {after:?}");
            shell.check("printf %s \"$A\"; pwd", "status 0", &format!("{value}{odd}\n")).await;
            let names = vec!["FIRST".to_owned()];
            driver.call::<SessionUnsetEnvironment>(&SessionUnsetenv { session, names }).await;
            // What is not there is not gone to, and nothing has changed.
            assert!(driver.try_call::<SessionChangeDirectory>(&cd("/no/such")).await.is_err());
            let bad = SessionSetenv { session, env: [("A-B".to_owned(), String::new())].into() };
            assert!(driver.try_call::<SessionSetEnvironment>(&bad).await.is_err());
            // Elsewhere, later: the same state.
            let saved = driver.call::<SessionSnapshotOf>(&SessionRef { session }).await;
            assert_eq!((saved.shell.as_str(), saved.cwd.as_str()), (path, odd));
            let params = SessionOpenParams {
                targets: driver.targets(NODE),
                restore: Some(saved),
                ..SessionOpenParams::default()
            };
            let (copy, ready) = Shell::open(&driver, params).await;
            assert!(ready.restored && ready.shell == path, "{ready:?}");
            let text = "printf '%s %s ' \"$A\" ${FIRST-none}; pwd";
            copy.check(text, "status 0", &format!("{value} none {odd}\n")).await;
        }
        driver.close().await;
    });
}

#[test]
fn the_agent_is_there_in_each_command_also_after_a_lost_connection() {
    let lab = Lab::start();
    let agent = Agent::start(&lab.home, "agent");
    agent.add(&lab.home, &["-q", &lab.sshd.user_key().display().to_string()]);
    let sshd = &lab.sshd;
    let socket = agent.path();
    with_core(&lab, |driver| async move {
        let params = SessionOpenParams {
            targets: driver.targets(NODE),
            forward_agent: true,
            agent: Some(AgentSettings { socket: Some(socket), ..AgentSettings::default() }),
            ..SessionOpenParams::default()
        };
        let (shell, _) = Shell::open(&driver, params).await;
        let listed = shell.run("export KEPT=1; ssh-add -l; echo $SSH_AUTH_SOCK >&2").await;
        assert!(listed.text().contains("SHA256:"), "{listed:?}");
        let before = listed.err.clone();
        sshd.kill_sessions();
        shell.ready(2).await;
        // A socket of the new connection, not the one of the state.
        let listed = shell.run("echo $KEPT; ssh-add -l; echo $SSH_AUTH_SOCK >&2").await;
        assert!(
            listed.text().starts_with("1\n") && listed.text().contains("SHA256:"),
            "{listed:?}"
        );
        assert_ne!(listed.err, before);
        // Without being asked for there is none.
        let plain = Shell::on(&driver, "127.0.0.2").await;
        plain.check("echo ${SSH_AUTH_SOCK-none}", "status 0", "none\n").await;
        driver.close().await;
    });
}

/// T2-3, many times, by hand and by time limits: no process, no file of a command is left.
#[test]
fn interrupts_and_time_limits_leave_nothing() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, NODE).await;
        let line = shell.run("tr '\\0' '\\n' < /proc/$PPID/cmdline").await;
        let line = line.text().to_owned();
        let dir = line.split(r" D=\0047").nth(1).and_then(|rest| rest.split('\\').next());
        let dir = dir.unwrap_or_default().to_owned();
        for n in 0..crate::soak::of(100, 1000) {
            let params =
                SessionExecParams { state: StateUse::Read, ..command("echo x; sleep 1000.64") };
            if n % 5 == 4 {
                let params = SessionExecParams { timeout_ms: Some(200), ..params };
                assert!(shell.exec(params).await.done.timed_out);
                continue;
            }
            let running = shell.start(params).await;
            let mut out = driver.link.receiver(running.started.stdout, WINDOW);
            driver.until(&mut out, "x\n").await;
            // A signal between fork and exec is lost on bash.
            let sleeps = || processes::all().iter().any(|p| p.command == "sleep 1000.64");
            assert!(until(SOON, sleeps));
            let exec = Some(running.started.exec);
            let signal = SessionSignal { session: shell.id, exec, signal: "TERM".to_owned() };
            driver.call::<SessionSignalExec>(&signal).await;
            assert!(running.done().await.interrupted);
        }
        let left = || processes::with_text("sleep 1000.64");
        assert!(until(SOON, || left().is_empty()), "{:?}", left());
        // Files are removed eight commands at a time.
        let files = std::path::Path::new(&dir).read_dir().map(Iterator::count);
        assert!(files.as_ref().is_ok_and(|n| *n < 50), "{dir}: {files:?}");
        driver.close().await;
    });
}

/// T2-4: the core is killed with twenty commands under way.
#[test]
fn a_killed_core_takes_its_commands_along_but_those_to_be_kept() {
    let lab = Lab::start();
    let dir = lab.sshd.file("kept");
    std::fs::create_dir(&dir).unwrap();
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, NODE).await;
        for n in 0..20 {
            let keep = n % 2 == 0;
            let text = match keep {
                true => format!(
                    "echo begun; until [ -e {0}/go ]; do sleep 0.1; done; echo done > {0}/{n}",
                    dir.display()
                ),
                false => "echo begun; sleep 1000.66".to_owned(),
            };
            let on_disconnect = keep.then_some(OnDisconnect::Keep);
            let state = StateUse::Read;
            let one = shell.start(SessionExecParams { state, on_disconnect, ..command(&text) });
            let started = one.await.started;
            let mut out = driver.link.receiver(started.stdout, WINDOW);
            driver.until(&mut out, "begun\n").await;
        }
        // One that is between fork and exec is not found by its name yet.
        let sleeps = || processes::all().iter().filter(|p| p.command == "sleep 1000.66").count();
        assert!(until(SOON, || sleeps() == 10), "{}", sleeps());
        processes::kill(driver.pid());
        assert!(until(SOON, || sleeps() == 0), "{} are left", sleeps());
        std::fs::write(dir.join("go"), "").unwrap();
        let done = |n: usize| dir.join(n.to_string()).exists();
        assert!(until(SOON, || (0..20).step_by(2).all(done)), "those to be kept go on");
        assert!(!(1..20).step_by(2).any(done));
    });
}
