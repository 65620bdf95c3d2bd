//! Sessions through the protocol: state that outlives single commands and lost connections, in
//! every shell; exact bytes and exits; what is killed is gone; order and parallelism.

use bssh_fixtures::{SshdOptions, processes};
use bssh_protocol::exec::Exit;
use bssh_protocol::methods::{
    JobKillGroup, JobReadOutput, JobStartIn, SessionClose, SessionExec, SessionExecDoneEvent,
    SessionInfo, SessionListAll, SessionOpen, SessionReset, SessionSignalExec, SessionStateEvent,
    StreamGapEvent,
};
use bssh_protocol::session::{
    JobKill, JobOutput, JobRead, JobStart, SessionExecDone, SessionExecParams, SessionId,
    SessionOpenParams, SessionReady, SessionRef, SessionSignal, SessionState, StateUse,
};
use bssh_protocol::stream::{Source, WINDOW};
use bssh_tests::{Driver, Lab, until};
use futures_util::future::join_all;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

pub(crate) fn with_core<F: Future<Output = ()>>(lab: &Lab, test: impl FnOnce(Driver) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let driver = Driver::start(&lab.home, &lab.sshd.ssh_config()).await;
        test(driver).await;
    });
}

/// A session, and commands in it.
#[derive(Clone, Copy)]
pub(crate) struct Shell<'a> {
    pub(crate) driver: &'a Driver,
    pub(crate) id: SessionId,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
    pub(crate) done: SessionExecDone,
}

impl Ran {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap_or("not UTF-8")
    }

    /// `status N`, `signal NAME` or the failure's code.
    pub(crate) fn end(&self) -> String {
        match (&self.done.failure, &self.done.exit) {
            (Some(failure), _) => failure.code.clone(),
            (None, Some(Exit::Status(status))) => format!("status {status}"),
            (None, Some(Exit::Signal(name))) => format!("signal {name}"),
            (None, None) => "nothing".to_owned(),
        }
    }
}

impl<'a> Shell<'a> {
    pub(crate) async fn open(
        driver: &'a Driver,
        params: SessionOpenParams,
    ) -> (Shell<'a>, SessionReady) {
        let opened = driver.call::<SessionOpen>(&params).await;
        assert_eq!(opened.sessions.len(), 1, "{opened:?}");
        let shell = Shell { driver, id: opened.sessions[0].session };
        (shell, shell.ready(1).await)
    }

    pub(crate) async fn on(driver: &'a Driver, node: &str) -> Shell<'a> {
        let targets = driver.targets(node);
        Shell::open(driver, SessionOpenParams { targets, ..Default::default() }).await.0
    }

    /// Waits until it was ready that often.
    pub(crate) async fn ready(&self, times: usize) -> SessionReady {
        let id = self.id;
        let mine = |driver: &Driver| {
            let events = driver.events::<SessionStateEvent>().into_iter();
            let ready = events.filter(|e| e.session == id).filter_map(|e| match e.state {
                SessionState::Ready(ready) => Some(ready),
                _ => None,
            });
            ready.collect::<Vec<_>>()
        };
        self.driver.event::<SessionStateEvent>(|_| mine(self.driver).len() >= times).await;
        mine(self.driver).remove(times - 1)
    }

    pub(crate) async fn start(&self, params: SessionExecParams) -> Running<'a> {
        let params = SessionExecParams { session: self.id, ..params };
        let started = self.driver.call::<SessionExec>(&params).await;
        Running { driver: self.driver, started }
    }

    pub(crate) async fn exec(&self, params: SessionExecParams) -> Ran {
        self.start(params).await.end().await
    }

    pub(crate) async fn run(&self, command: &str) -> Ran {
        self.exec(SessionExecParams { command: command.to_owned(), ..Default::default() }).await
    }

    #[track_caller]
    pub(crate) fn check<'s>(
        &'s self,
        command: &'s str,
        end: &'s str,
        out: &'s str,
    ) -> impl Future + 's {
        let caller = std::panic::Location::caller();
        async move {
            let ran = self.run(command).await;
            assert_eq!(
                (ran.end().as_str(), ran.text()),
                (end, out),
                "{caller}: {command}: {ran:?}"
            );
        }
    }

    pub(crate) async fn info(&self) -> bssh_protocol::session::SessionEntry {
        self.driver.call::<SessionInfo>(&SessionRef { session: self.id }).await
    }
}

pub(crate) struct Running<'a> {
    driver: &'a Driver,
    pub(crate) started: bssh_protocol::session::SessionExecStarted,
}

impl Running<'_> {
    /// Its end; its streams are read by somebody else.
    pub(crate) async fn done(&self) -> SessionExecDone {
        let exec = self.started.exec;
        self.driver.event::<SessionExecDoneEvent>(|e| e.exec == exec).await
    }

    pub(crate) async fn end(&self) -> Ran {
        let (out, err) = tokio::join!(
            self.driver.rest(self.started.stdout, WINDOW),
            self.driver.rest(self.started.stderr, WINDOW)
        );
        let exec = self.started.exec;
        let done = self.driver.event::<SessionExecDoneEvent>(|e| e.exec == exec).await;
        Ran { out, err: String::from_utf8_lossy(&err).into_owned(), done }
    }
}

pub(crate) fn command(text: &str) -> SessionExecParams {
    SessionExecParams { command: text.to_owned(), ..Default::default() }
}

/// What every shell has to do (T2-1).
async fn matrix(shell: Shell<'_>, dir: &str, has_functions: bool) {
    let odd = format!("{dir}/-a b\nq'$x");
    std::fs::create_dir_all(&odd).unwrap();
    let quoted = odd.replace('\'', "'\\''");
    shell.check(&format!("cd '{quoted}'"), "status 0", "").await;
    assert_eq!(shell.info().await.cwd, odd);
    shell.check("pwd", "status 0", &format!("{odd}\n")).await;
    shell.check("cd ..; pwd; cd - >/dev/null; pwd", "status 0", &format!("{dir}\n{odd}\n")).await;
    let set = r#"export A='x
y' B='$HOME "q" '\'' `' C=; D=not"#;
    shell.check(set, "status 0", "").await;
    let show = r#"printf '%s|' "$A" "$B" "${C-unset}" "${D-unset}""#;
    shell.check(show, "status 0", "x\ny|$HOME \"q\" ' `||unset|").await;
    shell.check("unset A; unset HOME", "status 0", "").await;
    shell.check("echo ${A-no} ${HOME-no}", "status 0", "no no\n").await;
    shell.check("umask 027", "status 0", "").await;
    let umask = shell.run("umask").await;
    assert!(umask.text().trim_start_matches('0') == "27\n", "{umask:?}");
    shell.check("exit 7", "status 7", "").await;
    shell.check("exec sh -c 'exit 5'", "status 5", "").await;
    shell.check("set -e; false; echo no", "status 1", "").await;
    shell.check("false; echo yes", "status 0", "yes\n").await;
    let broken = shell.run("if then fi (").await;
    assert!(broken.end() != "status 0" && !broken.err.is_empty(), "{broken:?}");
    shell.check("cd /; exit 3", "status 3", "").await;
    shell.check("pwd; echo err >&2", "status 0", "/\n").await;
    if has_functions {
        shell.check("f() { echo \"f $1\"; }; alias zz='echo al'", "status 0", "").await;
        shell.check("f 2", "status 0", "f 2\n").await;
        shell.check("zz", "status 0", "al\n").await;
        shell.check("unset -f f; unalias zz", "status 0", "").await;
        shell.check("f 2", "status 127", "").await;
    }
    let own = SessionExecParams {
        env: [("A".to_owned(), "it's\nmine".to_owned())].into(),
        cwd: Some("tmp".to_owned()),
        ..command("echo \"$A\"; pwd")
    };
    assert_eq!(shell.exec(own).await.text(), "it's\nmine\n/tmp\n");
    shell.check("echo ${A-no}; pwd", "status 0", "no\n/\n").await;
    let long = format!("echo start; : {}\necho end", "x".repeat(200_000));
    shell.check(&long, "status 0", "start\nend\n").await;
    let private = SessionExecParams { private: true, ..command("echo secret") };
    assert_eq!(shell.exec(private).await.text(), "secret\n");
    let gone = format!("{dir}/gone");
    shell.check(&format!("mkdir '{gone}'; cd '{gone}'; rmdir '{gone}'"), "status 0", "").await;
    shell.check("echo ran", "cwdMissing", "").await;
    assert_eq!(shell.info().await.cwd, gone);
    let elsewhere = SessionExecParams { cwd: Some("~".to_owned()), ..command("echo ok") };
    assert_eq!(shell.exec(elsewhere).await.text(), "ok\n");
}

#[test]
fn every_shell_keeps_its_state() {
    let lab = Lab::start();
    let dir = lab.sshd.file("work");
    with_core(&lab, |driver| async move {
        for (path, functions) in [
            ("/bin/bash", true),
            ("/bin/dash", false),
            ("/bin/zsh", true),
            ("/bin/ksh93", true),
            ("/bin/mksh", true),
            ("/bin/busybox", false),
        ] {
            let params = SessionOpenParams {
                targets: driver.targets("127.0.0.1"),
                shell: Some(path.to_owned()),
                ..Default::default()
            };
            let (shell, ready) = Shell::open(&driver, params).await;
            assert_eq!(ready.shell, path, "apt-get install zsh ksh mksh busybox");
            assert!(ready.warnings.is_empty(), "{path}: {ready:?}");
            let dir = dir.join(path.rsplit('/').next().unwrap());
            matrix(shell, dir.to_str().unwrap(), functions).await;
        }
        driver.close().await;
    });
}

#[test]
fn login_shells_that_are_no_posix_shells_are_no_obstacle() {
    for login in ["/usr/bin/fish", "/bin/csh"] {
        let force = format!("ForceCommand SHELL={login} exec {login} -c \"$SSH_ORIGINAL_COMMAND\"");
        let lab = Lab::with(&SshdOptions { extra: vec![force], ..SshdOptions::default() });
        let dir = lab.sshd.file("work").to_str().unwrap().to_owned();
        with_core(&lab, |driver| async move {
            let shell = Shell::on(&driver, "127.0.0.1").await;
            assert_eq!(shell.ready(1).await.shell, "/usr/bin/bash", "{login}");
            matrix(shell, &dir, true).await;
            driver.close().await;
        });
    }
}

#[test]
fn a_forced_command_has_no_session() {
    for force in ["ForceCommand internal-sftp", "ForceCommand echo no; exit 1"] {
        let extra = vec![force.to_owned()];
        let lab = Lab::with(&SshdOptions { extra, ..SshdOptions::default() });
        with_core(&lab, |driver| async move {
            let targets = driver.targets("127.0.0.1");
            let params = SessionOpenParams { targets, ..Default::default() };
            let id = driver.call::<SessionOpen>(&params).await.sessions[0].session;
            let lost =
                driver.event::<SessionStateEvent>(|e| matches!(e.state, SessionState::Lost { .. }));
            let SessionState::Lost { failure, retry_ms } = lost.await.state else { panic!() };
            assert_eq!((failure.code.as_str(), retry_ms), ("sessionUnsupported", None), "{force}");
            let shell = Shell { driver: &driver, id };
            assert_eq!(shell.run("true").await.end(), "sessionUnsupported");
            driver.close().await;
        });
    }
}

#[test]
fn noise_of_a_profile_reaches_nobody_and_a_broken_one_is_survived() {
    let force = "ForceCommand echo noise; echo noise >&2; exec sh -c \"$SSH_ORIGINAL_COMMAND\"";
    let lab = Lab::with(&SshdOptions { extra: vec![force.to_owned()], ..SshdOptions::default() });
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, "127.0.0.1").await;
        let ran = shell.run("echo out; echo err >&2").await;
        assert_eq!((ran.text(), ran.err.as_str()), ("out\n", "err\n"));
        driver.close().await;
    });
}

#[test]
fn bytes_are_exact_while_others_run() {
    let lab = Lab::start();
    let file = lab.sshd.file("random");
    // A marker's likeness is in there too.
    let mut data: Vec<u8> = b"D 5\nREADY x\n.\n\0".to_vec();
    let mut seed = 1_u64;
    while data.len() < 8 << 20 {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        data.extend_from_slice(&seed.to_be_bytes()[..5]);
    }
    std::fs::write(&file, &data).unwrap();
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, "127.0.0.1").await;
        let read = |text: String| SessionExecParams { state: StateUse::Read, ..command(&text) };
        let path = file.display();
        let mut others = Vec::new();
        for n in 0..4 {
            others.push(shell.start(read(format!("head -c 1000000 {path}; echo {n} >&2"))).await);
        }
        let ran = shell.run(&format!("cat {path}; head -c 3000000 {path} >&2")).await;
        assert!(ran.out == data, "{} bytes of {}", ran.out.len(), data.len());
        assert_eq!(ran.done.stderr_bytes, 3_000_000);
        for (n, other) in others.iter().enumerate() {
            let ran = other.end().await;
            assert!(ran.out == data[..1_000_000] && ran.err == format!("{n}\n"));
        }
        // The same, up from here.
        let up = SessionExecParams { stdin: Source::Stream, ..command("cat") };
        let up = shell.start(up).await;
        let mut stdin = driver.link.sender(up.started.stdin.unwrap(), WINDOW);
        let feed = async {
            stdin.write(data.clone().into()).await.unwrap();
            stdin.finish().await.unwrap();
        };
        let (ran, ()) = tokio::join!(up.end(), feed);
        assert!(ran.out == data, "{} bytes of {}", ran.out.len(), data.len());
        // A window: how much was left out is exact, and all of it is in a file.
        let some = SessionExecParams { max_output: Some(1000), ..command(&format!("cat {path}")) };
        let running = shell.start(some).await;
        let ran = running.end().await;
        let gap = driver.event::<StreamGapEvent>(|g| g.stream == running.started.stdout).await;
        // Three bytes may look like the part of a character.
        assert!((397..=400).contains(&gap.from), "{gap:?}");
        assert!((597..=600).contains(&(data.len() as u64 - gap.to)), "{gap:?}");
        let (from, to) = (gap.from as usize, gap.to as usize);
        assert!(ran.out[..from] == data[..from] && ran.out[from..] == data[to..]);
        assert_eq!(ran.done.stdout_bytes, data.len() as u64);
        let whole = ran.done.stdout_file.unwrap();
        assert_eq!((whole.bytes, whole.error), (data.len() as u64, None));
        assert!(std::fs::read(whole.path.unwrap()).unwrap() == data);
        assert!(ran.done.stderr_file.is_none());
        let torn =
            SessionExecParams { max_output: Some(11), ..command("printf '€€€€€€'") };
        assert_eq!(shell.exec(torn).await.text(), "€€€");
        driver.close().await;
    });
}

#[test]
fn what_is_ended_is_gone() {
    let lab = Lab::start();
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, "127.0.0.1").await;
        for text in [
            "sleep 1000.55 & sleep 1000.55",
            "sh -c 'trap \"\" TERM; sleep 1000.55; sleep 1000.55'",
            "sleep 1000.55 | cat",
        ] {
            let limit = SessionExecParams {
                timeout_ms: Some(1000),
                kill_grace_ms: Some(500),
                ..command(text)
            };
            let begun = Instant::now();
            let ran = shell.exec(limit).await;
            assert!(ran.done.timed_out, "{text}: {ran:?}");
            assert!(begun.elapsed() < Duration::from_secs(8), "{text}: {:?}", begun.elapsed());
            let left = || processes::with_text("sleep 1000.55");
            assert!(until(Duration::from_secs(3), || left().is_empty()), "{text}: {:?}", left());
        }
        // Interrupted by hand: the state is as before, and what was said is kept.
        shell.run("cd /tmp").await;
        let running = shell.start(command("echo begun; cd /; sleep 1000.55")).await;
        let mut out = driver.link.receiver(running.started.stdout, WINDOW);
        driver.until(&mut out, "begun\n").await;
        // A signal between fork and exec is lost on bash: its child takes it and forgets it.
        let sleeps = || processes::all().iter().any(|p| p.command == "sleep 1000.55");
        assert!(until(Duration::from_secs(5), sleeps));
        let signal = |signal: &str| SessionSignal {
            session: shell.id,
            exec: Some(running.started.exec),
            signal: signal.to_owned(),
        };
        let begun = Instant::now();
        driver.call::<SessionSignalExec>(&signal("INT")).await;
        let exec = running.started.exec;
        let done = driver.event::<SessionExecDoneEvent>(|e| e.exec == exec).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert!(done.interrupted && done.exit == Some(Exit::Status(130)), "{done:?}");
        // bash left its state on the way out: it had changed the directory.
        assert_eq!(shell.info().await.cwd, done.cwd);
        assert!(processes::with_text("sleep 1000.55").is_empty());
        assert!(driver.try_call::<SessionSignalExec>(&signal("no such")).await.is_err());
        // What holds the output open is not waited for.
        let begun = Instant::now();
        let ran = shell.run("sleep 5.56 & echo there").await;
        assert!(ran.done.detached_output && ran.text() == "there\n", "{ran:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        // Nothing is left on the node when the session is closed.
        let running = shell.start(command("sleep 1000.55")).await;
        assert!(until(Duration::from_secs(5), || !processes::with_text("sleep 1000.55").is_empty()));
        driver.call::<SessionClose>(&SessionRef { session: shell.id }).await;
        driver.event::<SessionStateEvent>(|e| matches!(e.state, SessionState::Closed {})).await;
        running.end().await;
        let left = || processes::with_text("sleep 1000.55");
        assert!(until(Duration::from_secs(5), || left().is_empty()), "{:?}", left());
        assert!(driver.call::<SessionListAll>(&Default::default()).await.sessions.is_empty());
        driver.close().await;
    });
}

#[test]
fn updates_keep_their_order_and_readers_run_beside_each_other() {
    let options = SshdOptions { max_sessions: 10, ..SshdOptions::default() };
    let lab = Lab::with(&options);
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, "127.0.0.1").await;
        let mut running = Vec::new();
        let n_updates = crate::soak::of(60, 200);
        for n in 0..n_updates {
            running.push(shell.start(command(&format!("export X=\"$X {n}\""))).await);
        }
        for one in &running {
            assert_eq!(one.end().await.end(), "status 0");
        }
        let mut want = String::new();
        for n in 0..n_updates {
            let _ = write!(want, " {n}");
        }
        shell.check("echo \"$X\"", "status 0", &format!("{want}\n")).await;
        // More readers than a connection has sessions; none may change anything.
        let reader = "export X=lost; cd /; sleep 0.3; echo done";
        // A link keeps what comes for 64 streams that nobody receives yet, and each has two.
        let readers = (0..64)
            .map(|_| shell.exec(SessionExecParams { state: StateUse::Read, ..command(reader) }));
        for ran in join_all(readers).await {
            assert_eq!((ran.end().as_str(), ran.text()), ("status 0", "done\n"), "{ran:?}");
        }
        shell.check("echo ${#X}", "status 0", &format!("{}\n", want.len())).await;
        driver.close().await;
    });
}

#[test]
fn a_lost_connection_comes_back_with_its_state_and_its_jobs() {
    let lab = Lab::start();
    let sshd = &lab.sshd;
    with_core(&lab, |driver| async move {
        let shell = Shell::on(&driver, "127.0.0.1").await;
        shell.run("cd /tmp; export KEPT='a b'; unset LOGNAME; f() { echo func; }").await;
        let text = "echo one; sleep 2; echo two; exit 4".to_owned();
        let job = driver.call::<JobStartIn>(&JobStart { session: shell.id, command: text }).await;
        let endless = "sleep 1000.57".to_owned();
        let start = JobStart { session: shell.id, command: endless };
        let endless = driver.call::<JobStartIn>(&start).await;
        for round in 0..3 {
            let running = shell.start(command("echo partial; sleep 1000.58")).await;
            let mut out = driver.link.receiver(running.started.stdout, WINDOW);
            driver.until(&mut out, "partial\n").await;
            // What is not there yet when all are killed, the helper included, nobody would end.
            let sleeps = || processes::with_text("sleep 1000.58").into_iter();
            let n = || sleeps().filter(|p| p.command.starts_with("sleep")).count();
            assert!(until(Duration::from_secs(20), || n() == 1));
            sshd.kill_sessions();
            let exec = running.started.exec;
            let done = driver.event::<SessionExecDoneEvent>(|e| e.exec == exec).await;
            assert_eq!(done.failure.unwrap().code, "transportLost");
            let ready = shell.ready(2 + round).await;
            assert!(ready.restored && ready.cwd == "/tmp", "{ready:?}");
            shell
                .check("echo $KEPT ${LOGNAME-no}; pwd; f", "status 0", "a b no\n/tmp\nfunc\n")
                .await;
            let left = || processes::with_text("sleep 1000.58");
            assert!(until(Duration::from_secs(5), || left().is_empty()), "{:?}", left());
        }
        let read = JobRead { session: shell.id, job: job.job, ..JobRead::default() };
        let end = Instant::now() + Duration::from_secs(20);
        let output = loop {
            let output: JobOutput = driver.call::<JobReadOutput>(&read).await;
            if output.status.is_some() || Instant::now() > end {
                break output;
            }
        };
        assert_eq!((output.data.0.as_ref(), output.status), (&b"one\ntwo\n"[..], Some(4)));
        assert!(!processes::with_text("sleep 1000.57").is_empty(), "a job outlives the connection");
        let kill = JobKill { session: shell.id, job: endless.job, signal: "TERM".to_owned() };
        let bogus = JobKill { signal: "BOGUS".to_owned(), ..kill.clone() };
        let refused = driver.try_call::<JobKillGroup>(&bogus).await.unwrap_err();
        assert!(refused.message.contains("\"BOGUS\" is no signal"), "{refused}");
        driver.call::<JobKillGroup>(&kill).await;
        let left = || processes::with_text("sleep 1000.57");
        assert!(until(Duration::from_secs(5), || left().is_empty()), "{:?}", left());
        // Anew: nothing is known any more.
        driver.call::<SessionReset>(&SessionRef { session: shell.id }).await;
        assert!(!shell.ready(5).await.restored);
        shell.check("echo ${KEPT-no} ${LOGNAME+yes}", "status 0", "no yes\n").await;
        driver.close().await;
    });
}
