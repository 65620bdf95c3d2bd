//! The server half of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929), without any reading or writing:
//! bytes in, what to answer and where to connect out.
//!
//! CONNECT only; BIND and UDP ASSOCIATE get the protocol's own refusal. Bytes behind a request
//! belong to the connection. A reply that says "connected" goes out once the target answers.

use bssh_protocol::auth::Secret;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Longest user id or name of SOCKS 4, in bytes; a request is never longer than a few of these.
const LONGEST: usize = 1024;

/// What a SOCKS 5 client must log in with.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub user: String,
    pub password: Arc<Secret>,
}

/// A conversation with one client.
#[derive(Debug)]
pub(super) struct Socks {
    login: Option<Login>,
    buffer: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Login,
    Request5,
}

/// Which version asked, for the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V5,
}

/// What happens next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More bytes are needed.
    More,
    /// Send this, then feed again (with nothing, if nothing has come).
    Say(Vec<u8>),
    /// Connect; the rest are bytes behind the request.
    Connect { version: Version, host: String, port: u16, rest: Vec<u8> },
    /// Send this, if anything, and close.
    Refuse { reply: Vec<u8>, why: &'static str },
}

impl Socks {
    pub(super) fn new(login: Option<Login>) -> Self {
        Socks { login, buffer: Vec::new(), state: State::Start }
    }

    /// Takes bytes of the client.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Step {
        self.buffer.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.buffer);
        let parsed = match (self.state, input.first()) {
            (_, None) => None,
            (State::Start, Some(4)) if self.login.is_some() => {
                Some((0, refuse(reply4(false), "SOCKS 4 has no passwords")))
            }
            (State::Start, Some(4)) => request4(&input),
            (State::Start, Some(5)) => self.methods(&input),
            (State::Start, Some(_)) => Some((0, refuse(Vec::new(), "not a SOCKS request"))),
            (State::Login, _) => self.check(&input),
            (State::Request5, _) => request5(&input),
        };
        match parsed {
            None if input.len() > 3 * LONGEST => refuse(Vec::new(), "the request is too long"),
            None => {
                self.buffer = input;
                Step::More
            }
            Some((used, Step::Connect { version, host, port, .. })) => {
                let rest = input.get(used..).unwrap_or_default().to_vec();
                Step::Connect { version, host, port, rest }
            }
            Some((used, step)) => {
                self.buffer = input.get(used..).unwrap_or_default().to_vec();
                step
            }
        }
    }

    fn methods(&mut self, input: &[u8]) -> Parsed {
        let n = usize::from(*input.get(1)?);
        let methods = input.get(2..2 + n)?;
        let (method, state) = match self.login {
            Some(_) => (2, State::Login),
            None => (0, State::Request5),
        };
        if !methods.contains(&method) {
            return Some((2 + n, refuse(vec![5, 0xff], "SOCKS 5: no login both sides know")));
        }
        self.state = state;
        Some((2 + n, Step::Say(vec![5, method])))
    }

    fn check(&mut self, input: &[u8]) -> Parsed {
        let user_end = 2 + usize::from(*input.get(1)?);
        let user = input.get(2..user_end)?;
        let end = user_end + 1 + usize::from(*input.get(user_end)?);
        let password = input.get(user_end + 1..end)?;
        let right = self.login.as_ref().is_some_and(|login| {
            let right = same(login.password.reveal().as_bytes(), password);
            right & same(login.user.as_bytes(), user)
        });
        if !right || input.first() != Some(&1) {
            return Some((end, refuse(vec![1, 1], "SOCKS 5: wrong user or password")));
        }
        self.state = State::Request5;
        Some((end, Step::Say(vec![1, 0])))
    }
}

/// Compares without telling by the time how far it came.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// Bytes used, and what follows; none while something is missing.
type Parsed = Option<(usize, Step)>;

fn refuse(reply: Vec<u8>, why: &'static str) -> Step {
    Step::Refuse { reply, why }
}

/// The reply to a request whose target was reached, or not.
pub(super) fn reply(version: Version, code: u8) -> Vec<u8> {
    match version {
        Version::V4 => reply4(code == SUCCEEDED),
        Version::V5 => vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0],
    }
}

/// Reply codes of SOCKS 5.
pub(super) const SUCCEEDED: u8 = 0;
pub(super) const FAILED: u8 = 1;
pub(super) const NOT_ALLOWED: u8 = 2;
pub(super) const UNREACHABLE: u8 = 4;
pub(super) const REFUSED: u8 = 5;
const NO_SUCH_COMMAND: u8 = 7;
const NO_SUCH_ADDRESS: u8 = 8;

fn reply4(granted: bool) -> Vec<u8> {
    vec![0, if granted { 90 } else { 91 }, 0, 0, 0, 0, 0, 0]
}

fn connect(version: Version, host: String, port: u16) -> Step {
    Step::Connect { version, host, port, rest: Vec::new() }
}

fn request4(input: &[u8]) -> Parsed {
    let &[_, command, high, low, a, b, c, d] = input.first_chunk::<8>()?;
    let (user, mut used) = match text4(input, 8) {
        Text4::Missing => return None,
        Text4::TooLong => return Some((0, refuse(Vec::new(), "SOCKS 4: user too long"))),
        Text4::Is(user, end) => (user, end),
    };
    let _ = user;
    let host = match [a, b, c, d] {
        [0, 0, 0, last] if last != 0 => match text4(input, used) {
            Text4::Missing => return None,
            Text4::TooLong => return Some((0, refuse(Vec::new(), "SOCKS 4: name too long"))),
            Text4::Is(name, end) => {
                used = end;
                match name_of(name) {
                    Some(name) if name.len() <= 255 => name,
                    _ => return Some((used, refuse(reply4(false), "SOCKS 4: bad host name"))),
                }
            }
        },
        octets => Ipv4Addr::from(octets).to_string(),
    };
    let port = u16::from_be_bytes([high, low]);
    match command {
        1 => Some((used, connect(Version::V4, host, port))),
        _ => Some((used, refuse(reply4(false), "SOCKS 4: only CONNECT is supported"))),
    }
}

enum Text4<'a> {
    Missing,
    TooLong,
    Is(&'a [u8], usize),
}

/// A text ended by NUL, and where it ends.
fn text4(input: &[u8], at: usize) -> Text4<'_> {
    let rest = input.get(at..).unwrap_or_default();
    match rest.iter().position(|b| *b == 0) {
        Some(n) if n <= LONGEST => Text4::Is(rest.get(..n).unwrap_or_default(), at + n + 1),
        None if rest.len() <= LONGEST => Text4::Missing,
        _ => Text4::TooLong,
    }
}

fn name_of(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    (!name.is_empty() && !name.contains(char::is_control)).then(|| name.to_owned())
}

fn request5(input: &[u8]) -> Parsed {
    if input.first() != Some(&5) {
        return Some((0, refuse(Vec::new(), "SOCKS 5: bad version")));
    }
    let &[_, command, _, kind] = input.first_chunk::<4>()?;
    let (host, used) = match kind {
        1 => {
            let octets = input.get(4..)?.first_chunk::<4>()?;
            (Some(Ipv4Addr::from(*octets).to_string()), 8)
        }
        4 => {
            let octets = input.get(4..)?.first_chunk::<16>()?;
            (Some(Ipv6Addr::from(*octets).to_string()), 20)
        }
        3 => {
            let end = 5 + usize::from(*input.get(4)?);
            (name_of(input.get(5..end)?), end)
        }
        _ => {
            let reply = reply(Version::V5, NO_SUCH_ADDRESS);
            return Some((0, refuse(reply, "SOCKS 5: address type not supported")));
        }
    };
    let port = u16::from_be_bytes(*input.get(used..)?.first_chunk::<2>()?);
    Some((
        used + 2,
        match (command, host) {
            (1, Some(host)) => connect(Version::V5, host, port),
            (1, None) => refuse(reply(Version::V5, FAILED), "SOCKS 5: bad host name"),
            _ => refuse(
                reply(Version::V5, NO_SUCH_COMMAND),
                "SOCKS 5: only CONNECT is supported, neither BIND nor UDP ASSOCIATE",
            ),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds everything byte by byte; what was said on the way, and the last step.
    fn talk(login: Option<Login>, bytes: &[u8]) -> (Vec<u8>, Step) {
        let (mut socks, mut said) = (Socks::new(login), Vec::new());
        for at in 0..bytes.len() {
            let mut step = socks.feed(&bytes[at..=at]);
            while let Step::Say(reply) = step {
                said.extend(reply);
                step = socks.feed(&[]);
            }
            match step {
                Step::More => {}
                Step::Connect { version, host, port, .. } => {
                    let rest = bytes[at + 1..].to_vec();
                    return (said, Step::Connect { version, host, port, rest });
                }
                last => return (said, last),
            }
        }
        (said, Step::More)
    }

    fn login() -> Option<Login> {
        Some(Login { user: "me".into(), password: Arc::new(Secret::new("pw")) })
    }

    #[test]
    fn conversations() {
        let to = |version, host: &str, rest: &[u8]| Step::Connect {
            version,
            host: host.to_owned(),
            port: 80,
            rest: rest.to_vec(),
        };
        type Row = (Option<Login>, &'static [u8], &'static [u8], Step);
        let rows: &[Row] = &[
            (None, b"\x04\x01\0\x50\x7f\0\0\x01me\0xy", b"", to(Version::V4, "127.0.0.1", b"xy")),
            (None, b"\x04\x01\0\x50\0\0\0\x01\0host\0", b"", to(Version::V4, "host", b"")),
            (
                None,
                b"\x05\x01\0\x05\x01\0\x03\x04host\0\x50z",
                b"\x05\0",
                to(Version::V5, "host", b"z"),
            ),
            (
                None,
                b"\x05\x01\x02",
                b"",
                refuse(vec![5, 0xff], "SOCKS 5: no login both sides know"),
            ),
            (
                login(),
                b"\x05\x02\0\x02\x01\x02me\x02pw\x05\x01\0\x01\x7f\0\0\x01\0\x50",
                b"\x05\x02\x01\0",
                to(Version::V5, "127.0.0.1", b""),
            ),
            (
                login(),
                b"\x05\x01\x02\x01\x02me\x02pq",
                b"\x05\x02",
                refuse(vec![1, 1], "SOCKS 5: wrong user or password"),
            ),
            (login(), b"\x04\x01", b"", refuse(reply4(false), "SOCKS 4 has no passwords")),
            (
                None,
                b"\x05\x01\0\x05\x03\0\x01\x7f\0\0\x01\0\x50",
                b"\x05\0",
                refuse(
                    reply(Version::V5, 7),
                    "SOCKS 5: only CONNECT is supported, neither BIND nor UDP ASSOCIATE",
                ),
            ),
            (
                None,
                b"\x05\x01\0\x05\x01\0\x03\x04a\x1b]0\0\x50",
                b"\x05\0",
                refuse(reply(Version::V5, FAILED), "SOCKS 5: bad host name"),
            ),
            (
                None,
                b"\x04\x01\0\x50\0\0\0\x01\0a\r\nb\0",
                b"",
                refuse(reply4(false), "SOCKS 4: bad host name"),
            ),
            (None, b"GET / HTTP/1.0", b"", refuse(Vec::new(), "not a SOCKS request")),
        ];
        for (login, bytes, said, last) in rows {
            let (got_said, got) = talk(login.clone(), bytes);
            assert_eq!((got_said.as_slice(), &got), (*said, last), "{bytes:?}");
        }
    }

    #[test]
    fn endless_requests_are_refused() {
        for head in [&b"\x04\x01\0\x50\x7f\0\0\x01"[..], b"\x04\x01\0\x50\0\0\0\x01\0"] {
            let mut socks = Socks::new(None);
            socks.feed(head);
            let refused = (0..10).map(|_| socks.feed(&[b'x'; 1000]));
            assert!(refused.into_iter().any(|s| matches!(s, Step::Refuse { .. })));
        }
    }
}
