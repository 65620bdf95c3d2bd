//! `-F` with what can be read only once: `/dev/stdin`, `<(…)`, a named pipe.
//!
//! The core reads a configuration by its name, more than once, and has other descriptors than we.

use std::fs::{File, metadata};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;

/// Largest configuration, in bytes.
const LARGEST: u64 = 16 << 20;
/// How names begin that mean something else to another process.
const OURS: &[&str] = &["/dev/stdin", "/dev/fd/", "/proc/self/"];

/// Puts what can be read only once into an unlinked file, and names that instead. `read`: somebody
/// before us has read it.
///
/// # Errors
/// It cannot be read, not any more, or not kept; the text names it.
pub(super) fn keep(path: &mut Option<String>, read: bool) -> Result<Option<File>, String> {
    let Some(name) = path else { return Ok(None) };
    let Ok(kind) = metadata(&*name).map(|m| m.file_type()) else { return Ok(None) };
    // A file behind our own stdin is another one to the core, which has a stdin of its own.
    let is_ours = OURS.iter().any(|ours| name.starts_with(ours));
    if !is_ours && !kind.is_fifo() && !kind.is_socket() {
        return Ok(None);
    }
    if read {
        return Err(format!("-F {name}: -f reads it again: give a file"));
    }
    let kept = kept(name).map_err(|error| format!("-F {name}: cannot be read: {error}"))?;
    let pid = rustix::process::getpid().as_raw_nonzero();
    *name = format!("/proc/{pid}/fd/{}", kept.as_raw_fd());
    Ok(Some(kept))
}

fn kept(name: &str) -> io::Result<File> {
    let mut kept = tempfile::tempfile()?;
    let n = io::copy(&mut File::open(name)?.take(LARGEST + 1), &mut kept)?;
    match n > LARGEST {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 16 MiB")),
        false => Ok(kept),
    }
}
