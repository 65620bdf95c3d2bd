//! Hashes of files on a node, computed there: one command, names on its stdin, nothing installed.
//!
//! `sha256sum` or `shasum` where there is one; what they do not answer for (no shell, odd names,
//! files that have gone) is read and hashed here by the caller. A node that lies about a hash
//! only keeps its own changes from us.

use super::model::{Hash, Rel};
use crate::session::{bootstrap, quote};
use bssh_ssh::{ChannelEvent, Connection};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the command may be silent: a large file takes its time.
const SILENCE: Duration = Duration::from_secs(120);
/// Names in one write.
const BATCH: usize = 32 * 1024;

/// Hashes of those files for which the node gave one.
pub(crate) async fn hashes(
    connection: &Connection,
    root: &[u8],
    paths: &[Rel],
) -> BTreeMap<Rel, Hash> {
    // These come back changed, or cannot be told from two lines.
    let plain = |path: &&Rel| !path.iter().any(|b| matches!(b, b'\n' | b'\r' | b'\\'));
    let asked: Vec<&Rel> = paths.iter().filter(plain).collect();
    if asked.is_empty() {
        return BTreeMap::new();
    }
    ask(connection, root, &asked).await.unwrap_or_default()
}

async fn ask(connection: &Connection, root: &[u8], paths: &[&Rel]) -> Option<BTreeMap<Rel, Hash>> {
    let root = std::str::from_utf8(root).ok()?;
    let code = format!(
        "cd -- {} || exit 9\n\
         if command -v sha256sum >/dev/null 2>&1; then exec xargs -0 sha256sum --\n\
         elif command -v shasum >/dev/null 2>&1; then exec xargs -0 shasum -a 256 --\n\
         else exit 8; fi",
        quote(root)
    );
    let mut channel = connection.open_session().await.ok()?;
    channel.exec(bootstrap(&code).as_bytes()).await.ok()?;
    let writer = channel.writer();
    let feeding = async {
        let mut batch = Vec::with_capacity(BATCH + 4096);
        for path in paths {
            batch.extend_from_slice(b"./");
            batch.extend_from_slice(path);
            batch.push(0);
            if batch.len() >= BATCH {
                writer.write(Bytes::from(std::mem::take(&mut batch))).await.ok()?;
            }
        }
        writer.write(Bytes::from(batch)).await.ok()?;
        writer.eof().await.ok()
    };
    let limit = paths.iter().map(|p| p.len() + 80).sum::<usize>() + 64 * 1024;
    let reading = async {
        let mut text = Vec::new();
        loop {
            match tokio::time::timeout(SILENCE, channel.next()).await.ok()? {
                // The exit may come before the last bytes.
                None | Some(ChannelEvent::Eof) => break,
                Some(ChannelEvent::Out(bytes)) => text.extend_from_slice(&bytes),
                Some(_) => {}
            }
            if text.len() > limit {
                return None;
            }
        }
        Some(text)
    };
    // A command that ends early takes no more names.
    let (text, _) = futures_util::future::join(reading, feeding).await;
    Some(read(&text?))
}

/// `HASH  ./name`, one a line.
fn read(text: &[u8]) -> BTreeMap<Rel, Hash> {
    let line = |line: &[u8]| {
        let (hex, rest) = line.split_at_checked(64)?;
        let name = rest.strip_prefix(b"  ./").or_else(|| rest.strip_prefix(b" *./"))?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some((name.to_vec(), hash))
    };
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_hashes_or_nothing() {
        let hex = "ab".repeat(32);
        let text = format!("{hex}  ./a b\n{hex} *./c\nsha256sum: x\n\\{hex}  ./d\n{hex}  e\n");
        let read = read(text.as_bytes());
        let names: Vec<&[u8]> = read.keys().map(Vec::as_slice).collect();
        assert_eq!(names, [&b"a b"[..], b"c"]);
        assert!(read.values().all(|h| *h == [0xab; 32]));
    }
}
