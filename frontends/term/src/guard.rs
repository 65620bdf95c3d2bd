//! Terminal settings that are always put back.
//!
//! A [`RawMode`] changes the settings of one terminal and restores them when dropped, which
//! covers returns, errors and panics. [`restore`] puts back whatever is still changed: the
//! program calls it last, because a thread blocked in a read never drops its guard. SIGTERM must
//! therefore be turned into an ordinary return by the caller.

use bssh_protocol::lock;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};

/// A terminal whose settings are changed for as long as this value lives.
#[derive(Debug)]
#[must_use = "the settings are put back when this is dropped"]
pub struct RawMode {
    id: u64,
}

impl RawMode {
    /// Raw: every byte as typed, no echo, no signals, no output processing (`cfmakeraw(3)`).
    ///
    /// # Errors
    /// The descriptor is not a terminal.
    pub fn raw(terminal: impl AsFd) -> io::Result<RawMode> {
        change(terminal, Termios::make_raw)
    }

    /// Keys one by one without echo and without signals; output stays as it is.
    ///
    /// # Errors
    /// The descriptor is not a terminal.
    pub fn keys(terminal: impl AsFd) -> io::Result<RawMode> {
        change(terminal, |termios| {
            termios.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
            termios.special_codes[SpecialCodeIndex::VMIN] = 1;
            termios.special_codes[SpecialCodeIndex::VTIME] = 0;
        })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let mut saved = saved();
        if let Some(at) = saved.iter().position(|s| s.id == self.id) {
            saved.remove(at).put_back();
        }
    }
}

/// Puts back every terminal that is still changed, latest first. Safe to call twice.
pub fn restore() {
    let mut saved = saved();
    while let Some(one) = saved.pop() {
        one.put_back();
    }
}

static SAVED: Mutex<Vec<Saved>> = Mutex::new(Vec::new());

struct Saved {
    id: u64,
    terminal: OwnedFd,
    before: Termios,
}

impl Saved {
    fn put_back(&self) {
        // A terminal that has gone needs no restoring.
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

fn saved() -> MutexGuard<'static, Vec<Saved>> {
    lock(&SAVED)
}

fn change(terminal: impl AsFd, edit: impl FnOnce(&mut Termios)) -> io::Result<RawMode> {
    let terminal = terminal.as_fd().try_clone_to_owned()?;
    let before = tcgetattr(&terminal)?;
    let mut wanted = before.clone();
    edit(&mut wanted);
    let mut saved = saved();
    let id = saved.last().map_or(0, |s| s.id + 1);
    tcsetattr(&terminal, OptionalActions::Drain, &wanted)?;
    saved.push(Saved { id, terminal, before });
    Ok(RawMode { id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    fn terminal() -> (OwnedFd, std::fs::File) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let name = name.to_str().unwrap().to_owned();
        (master, std::fs::File::options().read(true).write(true).open(name).unwrap())
    }

    fn local(terminal: &std::fs::File) -> LocalModes {
        tcgetattr(terminal).unwrap().local_modes
    }

    #[test]
    fn settings_come_back_when_the_guard_is_dropped_and_when_it_never_is() {
        let (_master, terminal) = terminal();
        let before = local(&terminal);
        for forget in [false, true] {
            let guard = RawMode::raw(&terminal).unwrap();
            assert!(!local(&terminal).contains(LocalModes::ECHO));
            match forget {
                true => {
                    std::mem::forget(guard);
                    restore();
                }
                false => drop(guard),
            }
            assert_eq!(local(&terminal), before);
        }
        let panicked = std::panic::catch_unwind(|| {
            let _guard = RawMode::keys(&terminal).unwrap();
            panic!("in raw mode");
        });
        assert!(panicked.is_err());
        assert_eq!(local(&terminal), before);
    }

    #[test]
    fn what_is_no_terminal_is_an_error() {
        assert!(RawMode::raw(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
