//! The bytes of a `tar` archive as a command writes them, entry by entry (ustar, pax, GNU).
//!
//! Written by somebody who may be hostile: sizes are bounded, a sum that is wrong ends it, and a
//! name is only bytes here; what may be made of it is decided by `download`.

use super::shell::cut;
use crate::transfer::fault::Fault;
use bssh_ssh::{Channel, ChannelEvent};
use bytes::Bytes;

const BLOCK: usize = 512;
/// Longest name or extended header.
const LONGEST: u64 = 1 << 20;

/// One entry's head.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub size: u64,
    pub mtime: u32,
}

/// An archive that is being read.
pub(super) struct Tape {
    pub channel: Channel,
    held: Bytes,
    pub err: Vec<u8>,
    pub status: Option<u32>,
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Said {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<u32>,
}

impl Tape {
    pub(super) fn new(channel: Channel) -> Tape {
        Tape { channel, held: Bytes::new(), err: Vec::new(), status: None }
    }

    /// The next bytes, at most so many; empty at the end of the stream.
    pub(super) async fn some(&mut self, most: u64) -> Result<Bytes, Fault> {
        while self.held.is_empty() {
            match self.channel.next().await {
                Some(ChannelEvent::Out(bytes)) => self.held = bytes,
                Some(ChannelEvent::Err(bytes)) if self.err.len() < LONGEST as usize => {
                    self.err.extend_from_slice(&bytes);
                }
                Some(ChannelEvent::Exit(status)) => self.status = Some(status),
                Some(ChannelEvent::Cut) => return Err(cut()),
                Some(_) => {}
                None => return Ok(Bytes::new()),
            }
        }
        let n = self.held.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(self.held.split_to(n))
    }

    async fn exact(&mut self, length: usize) -> Result<Option<Vec<u8>>, Fault> {
        let mut out = Vec::with_capacity(length);
        while out.len() < length {
            let piece = self.some((length - out.len()) as u64).await?;
            match (piece.is_empty(), out.is_empty()) {
                (true, true) => return Ok(None),
                (true, false) => return Err(broken("the archive ends early")),
                _ => out.extend_from_slice(&piece),
            }
        }
        Ok(Some(out))
    }

    /// Leaves out so many bytes of an entry.
    pub(super) async fn skip(&mut self, mut bytes: u64) -> Result<(), Fault> {
        while bytes > 0 {
            let piece = self.some(bytes).await?;
            if piece.is_empty() {
                return Err(broken("the archive ends early"));
            }
            bytes -= piece.len() as u64;
        }
        Ok(())
    }

    /// The next entry; none at the end. What is left of the last one has been taken.
    pub(super) async fn next(&mut self) -> Result<Option<Head>, Fault> {
        let mut said = Said::default();
        loop {
            let Some(block) = self.exact(BLOCK).await? else { return Ok(None) };
            if block.iter().all(|b| *b == 0) {
                // The end, and what fills the last record.
                while !self.some(u64::MAX).await?.is_empty() {}
                return Ok(None);
            }
            let mut head = head(&block)?;
            match head.kind {
                b'L' | b'K' | b'x' | b'g' => {
                    if head.size > LONGEST {
                        return Err(broken("a name without an end"));
                    }
                    let size = usize::try_from(head.size).unwrap_or(0);
                    let mut text = self.exact(size).await?.unwrap_or_default();
                    self.skip(padding(head.size)).await?;
                    if matches!(head.kind, b'L' | b'K') {
                        text.truncate(text.iter().position(|b| *b == 0).unwrap_or(text.len()));
                    }
                    match head.kind {
                        b'L' => said.name = Some(text),
                        b'K' => said.link = Some(text),
                        b'x' => extended(&text, &mut said),
                        _ => {}
                    }
                }
                _ => {
                    head.name = said.name.unwrap_or(head.name);
                    head.link = said.link.unwrap_or(head.link);
                    head.size = said.size.unwrap_or(head.size);
                    head.mtime = said.mtime.unwrap_or(head.mtime);
                    if !matches!(head.kind, 0 | b'0' | b'7') {
                        head.size = 0;
                    }
                    return Ok(Some(head));
                }
            }
        }
    }
}

fn broken(text: &str) -> Fault {
    Fault::fatal("protocolBroken", text)
}

/// What fills the last block of so many bytes.
pub(super) fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn head(block: &[u8]) -> Result<Head, Fault> {
    let field = |from: usize, length: usize| block.get(from..from + length).unwrap_or_default();
    let text = |from: usize, length: usize| {
        let field = field(from, length);
        field.get(..field.iter().position(|b| *b == 0).unwrap_or(length)).unwrap_or(field).to_vec()
    };
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, b)| if (148..156).contains(&at) { 32 } else { u64::from(*b) })
        .sum();
    if block.len() != BLOCK || number(field(148, 8)) != Some(sum) {
        return Err(broken("what comes is no archive"));
    }
    let (mut name, prefix) = (text(0, 100), text(345, 155));
    if field(257, 6) == b"ustar\0" && !prefix.is_empty() {
        name = [&prefix[..], b"/", &name].concat();
    }
    Ok(Head {
        name,
        link: text(157, 100),
        kind: field(156, 1).first().copied().unwrap_or(0),
        mode: number(field(100, 8)).and_then(|n| u32::try_from(n).ok()).unwrap_or(0o644),
        size: number(field(124, 12)).ok_or_else(|| broken("a size that is no number"))?,
        mtime: seconds(number(field(136, 12)).unwrap_or(0)),
    })
}

fn seconds(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Octal digits, or big-endian behind a set top bit.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((0x80, rest)) = field.split_first() {
        return rest.iter().try_fold(0_u64, |n, b| n.checked_mul(256)?.checked_add((*b).into()));
    }
    let digits = field.iter().filter(|b| !matches!(b, b' ' | 0));
    digits.copied().try_fold(0_u64, |n, b| match b {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// `LENGTH KEY=VALUE\n`, one after the other.
fn extended(mut text: &[u8], said: &mut Said) {
    loop {
        let blank = text.iter().position(|b| *b == b' ');
        let length = blank.and_then(|at| std::str::from_utf8(text.get(..at)?).ok()?.parse().ok());
        let (Some(blank), Some(length)) = (blank, length) else { return };
        let Some(record) = text.get(blank + 1..usize::saturating_sub(length, 1)) else { return };
        let Some(equals) = record.iter().position(|b| *b == b'=') else { return };
        let (key, value) = (record.get(..equals), record.get(equals + 1..).unwrap_or_default());
        let whole = || {
            let text = std::str::from_utf8(value).ok()?;
            text.split('.').next()?.parse::<u64>().ok()
        };
        match key.unwrap_or_default() {
            b"path" => said.name = Some(value.to_vec()),
            b"linkpath" => said.link = Some(value.to_vec()),
            b"size" => said.size = whole(),
            b"mtime" => said.mtime = whole().map(seconds),
            _ => {}
        }
        text = text.get(length..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_records() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x01\0\0\0\0"), Some(1 << 32));
        assert_eq!(number(b"99"), None);
        assert_eq!((padding(0), padding(1), padding(512)), (0, 511, 0));
        let mut said = Said::default();
        extended(b"11 path=ab\n14 size=12345\n19 mtime=17.500000\n", &mut said);
        assert_eq!(said.name.as_deref(), Some(&b"ab"[..]));
        assert_eq!((said.size, said.mtime), (Some(12345), Some(17)));
        let mut said = Said::default();
        extended(b"99 path=ab\n11 path=cd\n", &mut said);
        assert_eq!(said.name, None, "a length that lies ends it");
        assert!(head(&[1; 512]).is_err() && head(&[]).is_err());
    }
}
