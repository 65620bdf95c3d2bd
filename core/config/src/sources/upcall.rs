//! Commands that answer which nodes a group has (ClusterShell calls them upcalls).
//!
//! Bounded by time and size and run to the end here: a call blocks its thread for at most
//! the limit, and happens only when a group of such a source is asked for. A command that is
//! given up is killed with everything it started.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// Output beyond this is no list of nodes.
const MAX_OUTPUT: usize = 16 << 20;
const TOO_SLOW: &str = "no answer in time, killed";
/// Between looks at a command that has closed its output but not ended.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Runs a command by the shell in `directory`; its standard output if it ends with status 0 before
/// the limit.
pub(super) fn run(command: &str, directory: &Path, limit: Duration) -> Result<String, String> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).current_dir(directory).process_group(0);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = shell.spawn().map_err(|e| format!("cannot run \"{command}\": {e}"))?;
    let mut running = Running(child);
    let deadline = Instant::now() + limit;
    let output = running.output(deadline).map_err(|e| format!("\"{command}\": {e}"))?;
    let status = running.status(deadline).map_err(|e| format!("\"{command}\": {e}"))?;
    if !status.success() {
        return Err(format!("\"{command}\" failed: {status}"));
    }
    String::from_utf8(output).map_err(|_| format!("\"{command}\": output is not UTF-8"))
}

/// Ends with its value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
                // It may have ended by itself meanwhile.
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

impl Running {
    fn output(&mut self, deadline: Instant) -> Result<Vec<u8>, String> {
        let Some(stdout) = self.0.stdout.as_mut() else { return Ok(Vec::new()) };
        let mut output = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            pause(&mut [PollFd::new(stdout, PollFlags::IN)], left(deadline)?)?;
            // Poll may wake early; then nothing is lost but the limit's precision.
            let n = stdout.read(&mut buffer).map_err(|e| e.to_string())?;
            output.extend_from_slice(buffer.get(..n).unwrap_or_default());
            match n {
                0 => return Ok(output),
                _ if output.len() > MAX_OUTPUT => {
                    return Err(format!("more than {MAX_OUTPUT} bytes of output"));
                }
                _ => {}
            }
        }
    }

    fn status(&mut self, deadline: Instant) -> Result<ExitStatus, String> {
        loop {
            if let Some(status) = self.0.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            pause(&mut [], left(deadline)?.min(LOOK_AGAIN))?;
        }
    }
}

/// The time that is left.
fn left(deadline: Instant) -> Result<Duration, String> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(TOO_SLOW.into());
    }
    Ok(left)
}

/// Waits for one of the descriptors; interrupted by signals it tries again.
fn pause(fds: &mut [PollFd<'_>], time: Duration) -> Result<(), String> {
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    loop {
        match poll(fds, Some(&time)) {
            Ok(0) if !fds.is_empty() => return Err(TOO_SLOW.into()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::run;

    #[test]
    fn bounded() {
        let short = Duration::from_millis(200);
        let long = Duration::from_secs(60);
        let started = Instant::now();
        let cases = [
            ("echo a; echo b >&2", long, Ok("a\n")),
            ("exit 3", long, Err("\"exit 3\" failed: exit status: 3")),
            ("sleep 1000 & sleep 1000", short, Err("no answer in time, killed")),
            ("exec >&-; sleep 1000", short, Err("no answer in time, killed")),
            ("while :; do echo y; done", short, Err("no answer in time, killed")),
            ("yes", long, Err("more than 16777216 bytes of output")),
            ("printf '\\377'", long, Err("not UTF-8")),
        ];
        for (command, limit, want) in cases {
            match (run(command, Path::new("/"), limit), want) {
                (Err(error), Err(want)) => assert!(error.contains(want), "{error}"),
                (got, want) => assert_eq!(got.as_deref().map_err(String::as_str), want),
            }
        }
        assert!(started.elapsed() < Duration::from_secs(30));
        assert!(run("true", Path::new("/nosuch"), long).is_err());
    }
}
