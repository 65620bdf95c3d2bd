//! What nodes have said on a link, so that equal output is sent once and named afterwards.
//!
//! Only names are kept here, in the order in which the ends of their nodes were told; whoever is
//! told keeps the bytes ([`bssh_protocol::run`]). The oldest name is forgotten when there are too
//! many: such output is sent again.

use bssh_protocol::exec::NAMES;
use bssh_protocol::lock;
use bssh_protocol::stream::Base64Bytes;
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

/// The names of one link.
#[derive(Default)]
pub(crate) struct Said(Mutex<VecDeque<Base64Bytes>>);

impl Said {
    /// The other side has it.
    pub(crate) fn knows(&self, name: &Base64Bytes) -> bool {
        self.names().contains(name)
    }

    /// The other side has it now.
    pub(crate) fn note(&self, name: &Base64Bytes) {
        let mut names = self.names();
        names.push_back(name.clone());
        if names.len() > NAMES {
            names.pop_front();
        }
    }

    fn names(&self) -> MutexGuard<'_, VecDeque<Base64Bytes>> {
        lock(&self.0)
    }
}

/// The name of a node's output.
pub(crate) fn name(stdout: &[u8], stderr: &[u8]) -> Base64Bytes {
    let mut hash = Context::new(&SHA256);
    hash.update(&(stdout.len() as u64).to_be_bytes());
    hash.update(stdout);
    hash.update(stderr);
    Base64Bytes(Bytes::copy_from_slice(hash.finish().as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_output_has_one_name_until_too_much_else_was_said() {
        let said = Said::default();
        let same = name(b"a", b"b");
        assert_eq!(same, name(b"a", b"b"));
        assert!(same != name(b"ab", b"") && same != name(b"", b"ab"));
        assert!(!said.knows(&same));
        said.note(&same);
        (1..NAMES).for_each(|n| said.note(&name(n.to_string().as_bytes(), b"")));
        assert!(said.knows(&same));
        said.note(&name(b"one more", b""));
        assert!(!said.knows(&same));
    }
}
