//! The local terminal: raw mode by guard, size, keys and lines, secrets without echo, colours and
//! glyphs, and what is fit to be seen on it.
//!
//! It reads no environment variable and asks no core: what decides is handed in. Reading
//! order: `guard` (settings that are always put back), `secret` (typed without echo), `size`,
//! `look` (colours and glyphs), `stdin` (keys), `escapes` (commands among them), `signals`,
//! `lines` (the line editor), `harmless` (what nodes say), `amount` (bytes for people), `files` and
//! `sync` (a transfer and a sync in words), `modes` (the terminal's settings in SSH's words),
//! `reset` (after a lost node).

mod amount;
mod escapes;
mod files;
mod guard;
mod harmless;
mod lines;
mod look;
mod modes;
mod reset;
mod secret;
mod signals;
mod size;
mod stdin;
mod sync;

pub use amount::{bytes_text, rate};
pub use escapes::Escapes;
pub use files::{transfer_failure, transfer_report, transfer_summary};
pub use guard::{RawMode, restore};
pub use harmless::{Flow, bare, harmless, plain, unfinished};
pub use lines::{Edited, Lines};
pub use look::{Color, ColorChoice, Glyphs, Look, RESET, Terminal};
pub use modes::modes;
pub use reset::UNDO;
pub use secret::{Typed, read_line, read_secret};
pub use signals::{Signal, Signals, die_of};
pub use size::{Size, size, terminal};
pub use stdin::Stdin;
pub use sync::{
    Line, sync_conflict, sync_failure, sync_report, sync_status, sync_step, sync_summary,
};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// Writes all of it, and waits where somebody who shares the descriptor (a terminal, the pipe of a
/// build) has made it non-blocking.
///
/// # Errors
/// It takes no more.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                // What came of it, the next try tells.
                let _ = poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A line for people on stderr. A stderr that is gone cannot be told about.
pub fn say(line: &str) {
    let _ = write_all(rustix::stdio::stderr(), format!("{line}\n").as_bytes());
}

/// Bytes for the screen on stdout. One that is gone cannot be told about.
pub fn put(bytes: &[u8]) {
    let _ = try_put(bytes);
}

/// The same where stdout may be a pipe or a file.
///
/// # Errors
/// Nobody reads it any more, or there is no room.
pub fn try_put(bytes: &[u8]) -> std::io::Result<()> {
    // What others have printed comes first, and threads do not mix.
    let mut out = std::io::stdout().lock();
    std::io::Write::flush(&mut out)?;
    Ok(write_all(rustix::stdio::stdout(), bytes)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn all_is_written_where_somebody_has_made_it_non_blocking() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        std::thread::scope(|scope| {
            let read = scope.spawn(move || {
                let mut read = Vec::new();
                reader.read_to_end(&mut read).map(|_| read)
            });
            super::write_all(writer.as_fd(), &bytes).unwrap();
            drop(writer);
            assert!(read.join().unwrap().unwrap() == bytes);
        });
    }
}
