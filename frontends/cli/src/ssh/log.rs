//! Where remarks go: stderr, the file of `-E`, or with `-y` the system's log.

use bssh_client::Remarks;
use bssh_protocol::handshake::LogRecord;
use rustix::stdio::stderr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

/// Where syslog(3) writes to.
const SYSLOG: &str = "/dev/log";
/// `SyslogFacility` by its name, RFC 3164 section 4.1.1.
const FACILITIES: [(&str, u8); 12] = [
    ("USER", 1),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("AUTHPRIV", 10),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];
/// Severities of the same section.
const ERROR: u8 = 3;
const INFO: u8 = 6;
const DEBUG: u8 = 7;

/// None: stderr.
static LOG: OnceLock<Log> = OnceLock::new();

enum Log {
    File(File),
    System(Syslog),
}

struct Syslog {
    socket: UnixDatagram,
    facility: AtomicU8,
}

impl Syslog {
    fn at(path: &Path) -> io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // As for syslog(3), a log that does not keep up is no reason to wait.
        socket.set_nonblocking(true)?;
        Ok(Syslog { socket, facility: AtomicU8::new(1) })
    }

    /// The log puts in the time and the host.
    fn send(&self, severity: u8, text: &str) {
        let priority = self.facility.load(Ordering::Relaxed) * 8 + severity;
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let line = format!("<{priority}>bssh[{}]: {line}", std::process::id());
            let _ = self.socket.send(line.as_bytes());
        }
    }
}

/// Sends remarks to a file from here on.
///
/// # Errors
/// It cannot be opened for appending.
pub(super) fn to_file(path: &Path) -> io::Result<()> {
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    // One command line names one file.
    let _ = LOG.set(Log::File(file));
    Ok(())
}

/// Sends remarks to the system's log from here on; without one they go on to stderr, where
/// somebody may see them.
pub(super) fn to_syslog() {
    if let Ok(syslog) = Syslog::at(Path::new(SYSLOG)) {
        let _ = LOG.set(Log::System(syslog));
    }
}

/// `SyslogFacility`.
pub(super) fn set_facility(name: &str) {
    let facility = FACILITIES.iter().find(|(known, _)| *known == name);
    if let (Some(Log::System(syslog)), Some((_, number))) = (LOG.get(), facility) {
        syslog.facility.store(*number, Ordering::Relaxed);
    }
}

/// Takes the core's remarks, if they are not for stderr.
pub(super) fn remarks() -> Option<Remarks> {
    let log = LOG.get()?;
    Some(Arc::new(move |record: &LogRecord| {
        let severity = match record.level.as_str() {
            "error" => ERROR,
            "info" => INFO,
            _ => DEBUG,
        };
        match log {
            Log::File(_) => write(severity, &record.line()),
            Log::System(_) => write(severity, &record.text()),
        }
    }))
}

/// What went wrong.
pub(super) fn complain(text: &str) {
    write(ERROR, text);
}

/// A remark.
pub(super) fn say(text: &str) {
    write(INFO, text);
}

/// If the log is gone, nobody can be told.
fn write(severity: u8, text: &str) {
    let _ = match LOG.get() {
        Some(Log::File(file)) => (&*file).write_all(text.as_bytes()),
        Some(Log::System(syslog)) => {
            syslog.send(severity, text);
            Ok(())
        }
        None => bssh_term::write_all(stderr(), text.as_bytes()).map_err(Into::into),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_log_gets_a_line_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        assert!(Syslog::at(&path).is_err(), "nobody listens");
        let listening = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::at(&path).unwrap();
        syslog.facility.store(19, Ordering::Relaxed);
        syslog.send(ERROR, "bssh: no such host\r\nhint: look again\r\n");
        let mut took = [0; 200];
        let lines = ["bssh: no such host", "hint: look again"];
        for line in lines.map(|line| format!("<155>bssh[{}]: {line}", std::process::id())) {
            let n = listening.recv(&mut took).unwrap();
            assert_eq!(std::str::from_utf8(&took[..n]), Ok(line.as_str()));
        }
        listening.set_nonblocking(true).unwrap();
        assert!(listening.recv(&mut took).is_err(), "an empty line is none");
    }
}
