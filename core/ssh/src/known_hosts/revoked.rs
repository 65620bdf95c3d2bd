//! `RevokedHostKeys`: a list of public keys as text, or a binary revocation list (OpenSSH's
//! PROTOCOL.krl). Anything in it that is not understood makes the whole file unusable.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use russh::keys::{Certificate, PublicKey};
use std::collections::HashSet;
use std::io;

/// What a file revokes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Revoked {
    keys: HashSet<Vec<u8>>,
    /// SHA-1 or SHA-256 of a key.
    hashes: HashSet<Vec<u8>>,
    certificates: Vec<Certificates>,
}

/// Certificates of one authority; of any if the blob is empty.
#[derive(Debug, Default, PartialEq, Eq)]
struct Certificates {
    authority: Vec<u8>,
    serials: Vec<(u64, u64)>,
    key_ids: HashSet<Vec<u8>>,
}

const MAGIC: &[u8] = b"SSHKRL\n\0";
const CERTIFICATES: u8 = 1;
const KEYS: u8 = 2;
const SHA1: u8 = 3;
/// Signatures prove nothing to somebody who was handed the file.
const SIGNATURE: u8 = 4;
const SHA2: u8 = 5;
const SERIALS: u8 = 0x20;
const RANGE: u8 = 0x21;
const BITMAP: u8 = 0x22;
const KEY_IDS: u8 = 0x23;

impl Revoked {
    /// Reads either kind of file.
    ///
    /// # Errors
    /// A binary list that is cut off or has parts we do not know.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Revoked> {
        match bytes.strip_prefix(MAGIC) {
            Some(rest) => binary(rest).ok_or_else(|| {
                let text = "this key revocation list is damaged or of an unknown kind";
                io::Error::new(io::ErrorKind::InvalidData, text)
            }),
            None => Ok(Revoked { keys: text(bytes), ..Revoked::default() }),
        }
    }

    /// A key, by its blob.
    pub(crate) fn has_key(&self, blob: &[u8]) -> bool {
        let hashed = |algorithm| self.hashes.contains(digest(algorithm, blob).as_ref());
        self.keys.contains(blob)
            || (!self.hashes.is_empty() && (hashed(&SHA256) || hashed(&SHA1_FOR_LEGACY_USE_ONLY)))
    }

    /// A certificate, by its authority's blob, serial number and id.
    pub(crate) fn has_certificate(&self, authority: &[u8], serial: u64, key_id: &str) -> bool {
        self.certificates.iter().any(|c| {
            let meant = c.authority.is_empty() || c.authority == authority;
            // Zero is no serial number, but the lack of one.
            let number = serial != 0 && c.serials.iter().any(|(a, b)| (*a..=*b).contains(&serial));
            meant && (number || c.key_ids.contains(key_id.as_bytes()))
        })
    }
}

/// Public keys, one on a line; of certificates, their keys.
fn text(bytes: &[u8]) -> HashSet<Vec<u8>> {
    let mut keys = HashSet::new();
    for line in bytes.split(|b| *b == b'\n') {
        let line = String::from_utf8_lossy(line);
        keys.extend(super::any_key(&line));
        if let Ok(certificate) = Certificate::from_openssh(line.trim()) {
            keys.extend(PublicKey::from(certificate.public_key().clone()).to_bytes());
        }
    }
    keys
}

fn binary(bytes: &[u8]) -> Option<Revoked> {
    let mut from = Reader(bytes);
    if from.u32()? != 1 {
        return None;
    }
    // Version, date and flags; what is reserved; the comment.
    for _ in 0..3 {
        from.u64()?;
    }
    for _ in 0..2 {
        from.string()?;
    }
    let mut revoked = Revoked::default();
    while !from.0.is_empty() {
        let (kind, mut section) = (from.u8()?, Reader(from.string()?));
        match kind {
            CERTIFICATES => revoked.certificates.push(certificates(&mut section)?),
            KEYS => revoked.keys.extend(section.strings()?),
            SHA1 | SHA2 => revoked.hashes.extend(section.strings()?),
            SIGNATURE => {}
            _ => return None,
        }
    }
    Some(revoked)
}

fn certificates(from: &mut Reader<'_>) -> Option<Certificates> {
    let authority = from.string()?.to_vec();
    from.string()?;
    let mut all = Certificates { authority, ..Certificates::default() };
    while !from.0.is_empty() {
        let (kind, mut section) = (from.u8()?, Reader(from.string()?));
        match kind {
            SERIALS => {
                while !section.0.is_empty() {
                    let serial = section.u64()?;
                    all.serials.push((serial, serial));
                }
            }
            RANGE => all.serials.push((section.u64()?, section.u64()?)),
            BITMAP => {
                let first = section.u64()?;
                bitmap(first, section.string()?, &mut all.serials)?;
            }
            KEY_IDS => all.key_ids.extend(section.strings()?),
            _ => return None,
        }
    }
    Some(all)
}

/// A big-endian number whose bits are serial numbers, counted from `first`.
fn bitmap(first: u64, bits: &[u8], serials: &mut Vec<(u64, u64)>) -> Option<()> {
    for (at, byte) in bits.iter().rev().enumerate() {
        for bit in (0..8_u64).filter(|bit| byte >> bit & 1 == 1) {
            let serial = first.checked_add(u64::try_from(at).ok()? * 8 + bit)?;
            serials.push((serial, serial));
        }
    }
    Some(())
}

/// Bytes not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    fn strings(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            all.push(self.string()?.to_vec());
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::{Revoked, bitmap};

    #[test]
    fn bits_are_serial_numbers() {
        let mut serials = Vec::new();
        bitmap(100, &[0x01, 0x81], &mut serials).unwrap();
        assert_eq!(serials, [(100, 100), (107, 107), (108, 108)]);
        assert!(bitmap(u64::MAX, &[2], &mut serials).is_none());
    }

    #[test]
    fn what_is_damaged_or_unknown_is_an_error() {
        let head = [b"SSHKRL\n\0".as_slice(), &[0, 0, 0, 1], &[0; 24], &[0; 8]].concat();
        assert_eq!(Revoked::parse(&head).unwrap(), Revoked::default());
        for tail in [&[9, 0, 0, 0, 0][..], &[2, 0, 0, 0, 9], &[1, 0, 0, 0, 0], &[2]] {
            assert!(Revoked::parse(&[&head, tail].concat()).is_err(), "{tail:?}");
        }
        assert!(Revoked::parse(&head[..20]).is_err());
    }
}
