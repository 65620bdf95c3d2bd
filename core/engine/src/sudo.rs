//! `--sudo`: the command run by sudo, its password prompt recognised and answered.
//!
//! The prompt is a nonce, so nothing a node prints can pass for it; the answer goes to stdin only
//! when the nonce was seen, once. The password is in no argument, environment or log.

use crate::word::quoted;
use bssh_protocol::auth::Secret;
use bytes::Bytes;

/// The command line and the mark that its prompts carry.
pub(crate) struct Sudo {
    mark: Vec<u8>,
    /// stderr bytes that may be the beginning of a mark.
    held: Vec<u8>,
    answered: bool,
}

/// What stderr said about sudo.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    /// No password is needed: stdin is the command's.
    Free,
    /// A password is wanted.
    Asks,
    /// It is wanted again: the answer was wrong.
    Rejected,
}

impl Sudo {
    pub(crate) fn new() -> Self {
        let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos());
        let mark = format!("bssh.sudo.{nanos:x}.{:x}.", std::process::id()).into_bytes();
        Sudo { mark, held: Vec::new(), answered: false }
    }

    /// The command line that runs `command` through sudo.
    pub(crate) fn command(&self, command: &[u8]) -> Vec<u8> {
        let mark = String::from_utf8_lossy(&self.mark).into_owned();
        let command = quoted(command);
        let text = [
            format!(
                "if sudo -n true 2>/dev/null; then printf %s '{mark}+' >&2; exec sudo -n -- sh -c "
            )
            .into_bytes(),
            command.clone(),
            format!("; else exec sudo -S -p '{mark}-' -- sh -c ").into_bytes(),
            command,
            b"; fi".to_vec(),
        ]
        .concat();
        [b"exec sh -c ".to_vec(), quoted(&text)].concat()
    }

    /// Takes the marks out of stderr: what is left for the user, and what sudo said.
    pub(crate) fn filter(&mut self, bytes: &[u8]) -> (Bytes, Heard) {
        self.held.extend_from_slice(bytes);
        let found = self.held.windows(self.mark.len() + 1).position(|w| w.starts_with(&self.mark));
        if let Some(at) = found {
            let mut rest = self.held.split_off(at);
            let before = std::mem::take(&mut self.held);
            let sign = rest.get(self.mark.len()).copied();
            self.held = rest.split_off(self.mark.len() + 1);
            let heard = match (sign, self.answered) {
                (Some(b'+'), _) => Heard::Free,
                (_, false) => Heard::Asks,
                (_, true) => Heard::Rejected,
            };
            self.answered |= heard == Heard::Asks;
            return (before.into(), heard);
        }
        let keep = (0..=self.mark.len()).rev().find(|n| {
            let tail = self.held.len().checked_sub(*n).and_then(|at| self.held.get(at..));
            tail.is_some_and(|t| self.mark.starts_with(t))
        });
        let kept = self.held.split_off(self.held.len() - keep.unwrap_or(0));
        (std::mem::replace(&mut self.held, kept).into(), Heard::Nothing)
    }

    /// What was held back, at the end.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }
}

/// The answer as a line.
pub(crate) fn line(secret: &Secret) -> Bytes {
    Bytes::from(format!("{}\n", secret.reveal()))
}

#[cfg(test)]
mod tests {
    use super::{Heard, Sudo};

    #[test]
    fn marks_are_found_at_every_split_and_taken_out() {
        let mut sudo = Sudo::new();
        let mark = String::from_utf8(sudo.mark.clone()).unwrap();
        let text = format!("warning: b\n{mark}-after");
        for at in 0..text.len() {
            sudo.answered = false;
            let (mut shown, mut heard) = (Vec::new(), Vec::new());
            for part in [&text.as_bytes()[..at], &text.as_bytes()[at..], b""] {
                let (out, what) = sudo.filter(part);
                shown.extend_from_slice(&out);
                heard.push(what);
            }
            shown.extend_from_slice(&sudo.rest());
            assert_eq!(String::from_utf8(shown).unwrap(), "warning: b\nafter", "{at}");
            assert_eq!(heard.iter().filter(|h| **h == Heard::Asks).count(), 1, "{at}");
        }
        let second = format!("{mark}-");
        assert_eq!(sudo.filter(second.as_bytes()).1, Heard::Rejected);
        assert_eq!(sudo.filter(format!("{mark}+").as_bytes()).1, Heard::Free);
    }
}
