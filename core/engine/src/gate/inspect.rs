//! What a gate looks at before it lets bytes through: both sides must greet as SSH does, and a
//! pinned host key must be the one in the server's key exchange. All of that is plain text; the
//! client still verifies everything itself.

use base64::Engine;
use bssh_ssh::key_fingerprint;
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// For both greetings.
pub(super) const GREETING: Duration = Duration::from_secs(10);
const LONGEST_GREETING: usize = 8 * 1024;
/// A key exchange is far smaller.
const LONGEST_EXCHANGE: usize = 128 * 1024;

const NEWKEYS: u8 = 21;
/// The reply of a key exchange, or the group of one with group exchange.
const REPLY: u8 = 31;
const GROUP_REPLY: u8 = 33;

/// A host key that must be the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pin(String);

impl Pin {
    /// Reads `SHA256:…` or a known_hosts line.
    pub(super) fn parse(text: &str) -> Option<Pin> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let [one] = words.as_slice() {
            let digest = one.strip_prefix("SHA256:")?.trim_end_matches('=');
            let whole = digest.len() == 43 && digest.bytes().all(|b| b.is_ascii_graphic());
            return whole.then(|| Pin(format!("SHA256:{digest}")));
        }
        known_key(text).map(|(_, _, key)| Pin(key_fingerprint(&key)))
    }
}

/// Type and key of a known_hosts line, and the key's bytes. What is a type shows in the key, which
/// begins with it: a host's name may look like one.
pub(super) fn known_key(line: &str) -> Option<(&str, &str, Vec<u8>)> {
    let words = || line.split_whitespace();
    words().zip(words().skip(1)).find_map(|(kind, key)| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(key).ok()?;
        (first_string(&bytes)? == kind.as_bytes()).then_some((kind, key, bytes))
    })
}

impl Pin {
    /// Is this fingerprint the pinned one?
    pub(super) fn is(&self, fingerprint: &str) -> bool {
        self.0 == fingerprint
    }
}

/// Why a connection is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objection {
    NotSsh,
    HostKeyMismatch,
}

/// Reads one side's first line, passes it to the other side once it is right, and gives what came
/// behind it.
pub(super) async fn greeting(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<BytesMut, Objection> {
    let mut bytes = BytesMut::with_capacity(512);
    loop {
        let start = bytes.get(..8.min(bytes.len())).unwrap_or_default();
        let right = [&b"SSH-2.0-"[..], b"SSH-1.99"].iter().any(|want| want.starts_with(start));
        if !right || bytes.len() > LONGEST_GREETING {
            return Err(Objection::NotSsh);
        }
        if let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let line = bytes.split_to(end + 1);
            to.write_all(&line).await.map_err(|_| Objection::NotSsh)?;
            return Ok(bytes);
        }
        match from.read_buf(&mut bytes).await {
            Ok(1..) => {}
            _ => return Err(Objection::NotSsh),
        }
    }
}

/// Passes the server's packets on up to the one with its host key, if that is the right one.
pub(super) async fn exchange(
    pin: &Pin,
    mut bytes: BytesMut,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<Bytes, Objection> {
    let mut passed = 0;
    loop {
        while let Some(packet) = packet(&bytes) {
            let (length, seen) = look(packet, pin);
            let verdict = seen?;
            let packet = bytes.split_to(length);
            to.write_all(&packet).await.map_err(|_| Objection::HostKeyMismatch)?;
            passed += length;
            if verdict {
                return Ok(bytes.freeze());
            }
        }
        if passed + bytes.len() > LONGEST_EXCHANGE {
            return Err(Objection::HostKeyMismatch);
        }
        match from.read_buf(&mut bytes).await {
            Ok(1..) => {}
            _ => return Err(Objection::HostKeyMismatch),
        }
    }
}

/// A whole packet at the beginning, RFC 4253 section 6, not encrypted yet.
fn packet(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(*bytes.first_chunk::<4>()?) as usize;
    bytes.get(..length.checked_add(4)?)
}

/// The packet's length, and whether it holds the right host key.
fn look(packet: &[u8], pin: &Pin) -> (usize, Result<bool, Objection>) {
    let padding = packet.get(4).copied().unwrap_or_default();
    let end = packet.len().saturating_sub(usize::from(padding));
    let payload = packet.get(5..end).unwrap_or_default();
    let verdict = match payload.split_first() {
        Some((&(REPLY | GROUP_REPLY), rest)) => match first_string(rest).filter(|k| is_key(k)) {
            Some(key) if key_fingerprint(key) == pin.0 => Ok(true),
            Some(_) => Err(Objection::HostKeyMismatch),
            // The group of a group exchange; the key comes later.
            None if payload.first() == Some(&REPLY) => Ok(false),
            None => Err(Objection::HostKeyMismatch),
        },
        // The key should have come before.
        Some((&NEWKEYS, _)) | None => Err(Objection::HostKeyMismatch),
        Some(_) => Ok(false),
    };
    (packet.len(), verdict)
}

fn first_string(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.get(..u32::from_be_bytes(*length) as usize)
}

/// It starts with the name of a key type.
fn is_key(blob: &[u8]) -> bool {
    let names = [&b"ssh-"[..], b"ecdsa-", b"sk-", b"rsa-"];
    first_string(blob).is_some_and(|name| names.iter().any(|n| name.starts_with(n)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(payload: &[u8]) -> Vec<u8> {
        let padding = 4;
        let length = (payload.len() + 1 + padding) as u32;
        [&length.to_be_bytes()[..], &[padding as u8], payload, &[0; 4]].concat()
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
    }

    #[tokio::test]
    async fn greetings_of_ssh_only() {
        for (bytes, want) in [
            (&b"SSH-2.0-x\r\nrest"[..], Some(&b"rest"[..])),
            (b"SSH-1.99-x\n", Some(b"")),
            (b"GET / HTTP/1.1\r\n", None),
            (b"\x16\x03\x01\x02", None),
            (b"SSH-2.0-cut off", None),
            (&[b'S'; 9000], None),
        ] {
            let mut passed = Vec::new();
            let rest = greeting(&mut &bytes[..], &mut passed).await;
            assert_eq!(rest.ok().as_deref(), want, "{bytes:?}");
            assert_eq!(passed.is_empty(), want.is_none());
        }
    }

    #[tokio::test]
    async fn only_the_pinned_host_key_passes() {
        let key = [string(b"ssh-ed25519"), string(&[7; 32])].concat();
        let pin = Pin(key_fingerprint(&key));
        let reply = |kind: u8, first: &[u8]| wire(&[&[kind][..], &string(first)].concat());
        let group = reply(31, &[0, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let other = [string(b"ssh-ed25519"), string(&[8; 32])].concat();
        for (packets, want) in [
            (vec![wire(&[20, 1, 2]), reply(31, &key)], true),
            (vec![wire(&[20, 1, 2]), group, reply(33, &key)], true),
            (vec![wire(&[20]), reply(31, &other)], false),
            (vec![wire(&[20]), reply(33, &other)], false),
            (vec![wire(&[20]), wire(&[21])], false),
            (vec![wire(&[20])], false),
            (vec![vec![0xff; 64]], false),
        ] {
            let bytes = packets.concat();
            let mut passed = Vec::new();
            let mut from = &bytes[..];
            let got = exchange(&pin, BytesMut::new(), &mut from, &mut passed).await;
            assert_eq!(got.is_ok(), want, "{bytes:?}");
            assert!(!want || passed == bytes);
        }
    }

    #[test]
    fn pins() {
        let line = |kind: &str| {
            let bytes = [string(kind.as_bytes()), string(&[7; 32])].concat();
            let key = base64::engine::general_purpose::STANDARD.encode(&bytes);
            (format!("{kind} {key}"), Pin::parse(&key_fingerprint(&bytes)))
        };
        for kind in ["ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"] {
            let (key, pin) = line(kind);
            assert!(pin.is_some());
            for host in ["host", "ssh-gw.example.org", "ecdsa-host,[ssh-gw]:22", ""] {
                assert_eq!(Pin::parse(&format!("{host} {key} me@here")), pin, "{host} {kind}");
            }
        }
        let (key, _) = line("ssh-rsa");
        let other = key.replace("ssh-rsa", "ssh-dss");
        for bad in ["", "SHA256:short", "host", "host ssh-ed25519", "MD5:aa", &other] {
            assert_eq!(Pin::parse(bad), None, "{bad}");
        }
    }
}
