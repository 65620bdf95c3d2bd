//! One program run by a test: fed, watched and ended by its deadline.

use crate::Transcript;
use bssh_fixtures::processes;
use bssh_protocol::Ignored;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// The executable under test: `BSSH`, or what cargo builds from what is there now.
pub fn bssh() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = || {
        heed_signals();
        given().unwrap_or_else(build)
    };
    BUILT.get_or_init(built).clone()
}

/// What the tests were started to ignore, in the background of a script, bssh would ignore, too. A
/// signal that is handled here is not ignored by what is started (execve(2)).
fn heed_signals() {
    let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()];
    let ignored = Ignored::of(&std::fs::read_to_string(Ignored::STATUS).unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let inside = runtime.enter();
    for kind in kinds.into_iter().filter(|kind| ignored.has(kind.as_raw_value())) {
        drop(signal(kind).expect("a handler"));
    }
    drop(inside);
    // Whoever asks first may be inside a runtime of its own, where none may be waited for.
    runtime.shutdown_background();
}

#[allow(clippy::disallowed_methods, reason = "tests are told by their environment")]
fn given() -> Option<PathBuf> {
    std::env::var_os("BSSH").map(PathBuf::from)
}

/// `cargo test` alone builds only what the tests link; in the profile the tests were built in.
fn build() -> PathBuf {
    let mut dir = std::env::current_exe().expect("the test knows its own path");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "bssh", "--bin", "bssh", "--target-dir"]);
    cargo.arg(dir.parent().expect("a target directory")).current_dir(env!("CARGO_MANIFEST_DIR"));
    if dir.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "cannot build bssh");
    dir.join("bssh")
}

/// Asks again, a few milliseconds apart, until the answer is yes; false at the deadline.
pub fn until(deadline: Duration, mut question: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if question() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A running program. Killed, with what it started, when dropped.
pub struct Run {
    child: Child,
    stdin: Option<ChildStdin>,
    outputs: [Option<Output>; 2],
    started: Instant,
}

/// Bytes of one stream, as they are read by a thread.
struct Output {
    pieces: Receiver<Vec<u8>>,
    read: Vec<u8>,
}

impl Run {
    /// Starts a program with all three streams piped.
    pub fn start(mut command: Command) -> Run {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Run::start_as(command)
    }

    /// Starts a program with the streams as the caller has set them.
    pub fn start_as(mut command: Command) -> Run {
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map(Output::of);
        let stderr = child.stderr.take().map(Output::of);
        Run { child, stdin, outputs: [stdout, stderr], started }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Writes to stdin; false if nobody reads it any more.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.stdin.as_mut().is_some_and(|pipe| pipe.write_all(bytes).is_ok())
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Stops reading stdout and closes it, as `head` does.
    pub fn close_stdout(&mut self) {
        self.outputs[0] = None;
    }

    /// Waits until stdout or stderr holds `text`.
    pub fn wait_for(&mut self, text: &str, deadline: Duration) {
        let seen = until(deadline, || {
            self.gather();
            self.outputs.iter().flatten().any(|output| contains(&output.read, text.as_bytes()))
        });
        assert!(seen, "{text:?} not seen within {deadline:?}\n{:?}", self.said());
    }

    /// A signal by its number, to this process only.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("the process is there");
    }

    /// The core this frontend has started.
    pub fn core_pid(&self) -> i32 {
        let below = processes::descendants(self.pid());
        let core = below.iter().find(|p| p.command.contains("core --stdio"));
        core.unwrap_or_else(|| panic!("no core among {below:?}")).pid
    }

    /// Waits for the end; at the deadline the program is killed and the test fails.
    pub fn finish(mut self, deadline: Duration) -> Transcript {
        self.stdin = None;
        let mut status = None;
        let ended = until(deadline, || {
            self.gather();
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        if !ended {
            let said = self.said();
            panic!("not finished within {deadline:?}\nstdout: {:?}\nstderr: {}", said.0, said.1);
        }
        let took = self.started.elapsed();
        let [stdout, stderr] = self.outputs.each_mut().map(|o| o.take().map(Output::rest));
        Transcript {
            stdout: stdout.unwrap_or_default(),
            stderr: String::from_utf8_lossy(&stderr.unwrap_or_default()).into_owned(),
            status: status.and_then(|s| s.code()),
            took,
        }
    }

    fn gather(&mut self) {
        for output in self.outputs.iter_mut().flatten() {
            output.read.extend(output.pieces.try_iter().flatten());
        }
    }

    fn said(&self) -> (String, String) {
        let [out, err] = self.outputs.each_ref().map(|o| {
            let bytes = o.as_ref().map(|o| o.read.as_slice()).unwrap_or_default();
            let tail = &bytes[bytes.len().saturating_sub(4000)..];
            String::from_utf8_lossy(tail).into_owned()
        });
        (out, err)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        processes::end(&mut self.child);
    }
}

impl Output {
    fn of(mut from: impl Read + Send + 'static) -> Output {
        let (send, pieces) = channel();
        std::thread::spawn(move || {
            loop {
                let mut block = vec![0; 64 * 1024];
                match from.read(&mut block) {
                    Ok(0) => return,
                    Ok(n) => block.truncate(n),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => return,
                }
                // Closes the pipe when the test has closed its end.
                if send.send(block).is_err() {
                    return;
                }
            }
        });
        Output { pieces, read: Vec::new() }
    }

    /// Everything to the end; a grandchild that keeps the pipe open is not waited for.
    fn rest(mut self) -> Vec<u8> {
        while let Ok(piece) = self.pieces.recv_timeout(Duration::from_secs(5)) {
            self.read.extend(piece);
        }
        self.read
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part)
}
