//! A door for `tests/fuzz`: a server's bytes, as far as they are packets, and their fields.

use super::packet::{Assembler, Body, Fields};
use bytes::Bytes;

/// What each packet is, and how its fields read.
pub(crate) fn packets(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut assembler = Assembler::default();
    let mut packets = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        assembler.push(Bytes::copy_from_slice(part));
        loop {
            let packet = match assembler.next() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(broken) => {
                    packets.push(format!("{broken:?}"));
                    return packets;
                }
            };
            let (kind, id) = (packet.kind, packet.id);
            let read = match packet.body {
                Body::Data(parts) => format!("{:?}", parts.concat()),
                Body::Fields(body) => fields(&body),
            };
            packets.push(format!("{kind} {id} {read}"));
        }
    }
    packets
}

/// The same bytes as each kind of answer: names, attributes, a status, extensions.
fn fields(body: &Bytes) -> String {
    let of = || Fields::of(body.clone());
    let mut names = of();
    let n = names.u32().unwrap_or_default();
    let list = (0..n).map_while(|_| {
        let name = (names.string().ok()?, names.string().ok()?);
        Some((name, names.attrs().ok()?))
    });
    let list: Vec<_> = list.collect();
    let (mut attrs, mut status, mut pairs) = (of(), of(), of());
    let mut all = Vec::new();
    while !pairs.is_empty() {
        let Ok(name) = pairs.string() else { break };
        all.push(name);
    }
    let status = (status.u32().ok(), status.string().ok(), status.string().ok(), status.u64().ok());
    let inner = of().list().map(|mut list| list.string().ok()).ok();
    format!("{list:?} {:?} {status:?} {all:?} {inner:?}", attrs.attrs().ok())
}
