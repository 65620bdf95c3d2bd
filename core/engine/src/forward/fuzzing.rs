//! A door for `tests/fuzz`: a SOCKS client's bytes.

use super::socks::{Login, Socks, Step};
use bssh_protocol::auth::Secret;
use std::sync::Arc;

/// The same request comes out, in whatever pieces it comes in.
pub fn socks(piece: u8, bytes: &[u8]) {
    for login in [false, true] {
        let at_once = request(bytes, bytes.len(), login);
        assert_eq!(at_once, request(bytes, usize::from(piece), login));
    }
}

/// The last step, with all that was not used.
fn request(bytes: &[u8], piece: usize, login: bool) -> String {
    let password = Arc::new(Secret::new("p"));
    let login = login.then(|| Login { user: "u".to_owned(), password });
    let mut socks = Socks::new(login);
    let mut parts = bytes.chunks(piece.max(1));
    let mut said = Vec::new();
    let mut next: &[u8] = &[];
    loop {
        match socks.feed(next) {
            Step::Say(reply) => {
                said.extend(reply);
                next = &[];
            }
            Step::More => match parts.next() {
                Some(part) => next = part,
                None => return format!("{said:?} more"),
            },
            Step::Connect { version, host, port, rest } => {
                let rest = [rest, parts.flatten().copied().collect()].concat();
                return format!("{said:?} {version:?} {host} {port} {rest:?}");
            }
            Step::Refuse { reply, why } => return format!("{said:?} {reply:?} {why}"),
        }
    }
}
