//! Our own executable on a gateway: in a directory of ours under the account's `~/.cache`, named
//! by its SHA-256, sent by SFTP where it is not there yet, and its SHA-256 read there before it is
//! run.

use crate::engine::Engine;
use crate::failure::{failure, plain};
use crate::pool::Lease;
use bssh_protocol::exec::{Failure, Phase};
use bssh_protocol::lock;
use bssh_ssh::ChannelEvent;
use bssh_ssh::sftp::{Attrs, Block, FileKind, Sftp, SftpError, flags};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use ring::digest::{SHA256, digest};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Below the account's home, where both SFTP and commands begin.
const DIR: &str = ".cache/bssh";
/// Writes on the way at once.
const AHEAD: usize = 32;
/// How long reading the file there may take.
const HASHING: Duration = Duration::from_secs(120);

/// The file this core was started from.
pub(super) struct Executable {
    bytes: Bytes,
    sha256: String,
}

impl Executable {
    fn read() -> std::io::Result<Executable> {
        // Linux has it also where an upgrade has put another file in its place.
        let own = std::fs::read("/proc/self/exe");
        let bytes: Bytes = own.or_else(|_| std::fs::read(std::env::current_exe()?))?.into();
        let sha256 = digest(&SHA256, &bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        Ok(Executable { bytes, sha256 })
    }
}

/// Puts the executable there unless it is; its path as a command names it.
///
/// # Errors
/// There is no file server or no room, or what is there afterwards is something else.
pub(super) async fn push(engine: &Engine, lease: &Lease) -> Result<String, Failure> {
    let own = engine.gateways.pushed.get_or_try_init(|| async {
        let read = tokio::task::spawn_blocking(Executable::read).await;
        read.map_err(std::io::Error::other).flatten().map(Arc::new)
    });
    let own = own.await.map_err(|e| wrong(format!("cannot read our own executable: {e}")))?;
    let path = format!("{DIR}/bssh-{}", own.sha256.get(..16).unwrap_or(&own.sha256));
    let channel = lease.connection.open_session().await.map_err(|e| failure(&e))?;
    let sftp = match Sftp::open(channel).await {
        Ok(Ok(sftp)) => sftp,
        Ok(Err(error)) => return Err(sftp_wrong("the file server", &error)),
        Err(error) => return Err(failure(&error)),
    };
    let there = sftp.lstat(path.as_bytes()).await.ok();
    let same_size = |attrs: &Attrs| {
        attrs.kind() == FileKind::File && attrs.size == Some(own.bytes.len() as u64)
    };
    let known = there.as_ref().is_some_and(same_size)
        && hash_of(lease, &path).await.ok().as_ref() == Some(&own.sha256);
    if !known {
        directory(&sftp).await?;
        send(&sftp, own, &path).await?;
        let hash = hash_of(lease, &path).await?;
        if hash != own.sha256 {
            let _ = sftp.remove(path.as_bytes()).await;
            return Err(wrong(format!(
                "{path} has another SHA-256 there than it has here: {hash}"
            )));
        }
    }
    Ok(format!("./{path}"))
}

/// The directory, ours alone.
async fn directory(sftp: &Sftp) -> Result<(), Failure> {
    let private = Attrs::permissions(0o700);
    for dir in [".cache", DIR] {
        // It may be there.
        let _ = sftp.make_dir(dir.as_bytes(), &private).await;
    }
    let attrs = sftp.lstat(DIR.as_bytes()).await.map_err(|e| sftp_wrong(DIR, &e))?;
    if attrs.kind() != FileKind::Dir {
        return Err(wrong(format!("{DIR} is no directory there")));
    }
    match attrs.mode.is_some_and(|mode| mode & 0o022 == 0) {
        true => Ok(()),
        // Another's directory cannot be changed.
        false => {
            let mended = sftp.set_stat(DIR.as_bytes(), &private).await;
            mended.map_err(|e| sftp_wrong("others can write to its .cache/bssh, and", &e))
        }
    }
}

/// Writes beside the name, then takes the name.
async fn send(sftp: &Sftp, own: &Executable, path: &str) -> Result<(), Failure> {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos());
    let beside = format!("{DIR}/.new-{nanos:x}-{:x}", std::process::id());
    let written = async {
        let how = flags::WRITE | flags::CREATE | flags::EXCLUSIVE;
        let file = sftp.open_file(beside.as_bytes(), how, &Attrs::permissions(0o700)).await?;
        let piece = sftp.limits().write as usize;
        let mut writes = FuturesUnordered::new();
        for (at, bytes) in own.bytes.chunks(piece).enumerate() {
            if writes.len() >= AHEAD {
                writes.next().await.unwrap_or(Ok(()))?;
            }
            let mut block = Block::new(bytes.len());
            block.extend(bytes);
            writes.push(file.write((at * piece) as u64, block));
        }
        while let Some(done) = writes.next().await {
            done?;
        }
        drop(writes);
        file.close().await?;
        sftp.rename(beside.as_bytes(), path.as_bytes()).await
    };
    let written: Result<(), SftpError> = written.await;
    if written.is_err() {
        let _ = sftp.remove(beside.as_bytes()).await;
    }
    written.map_err(|e| sftp_wrong(path, &e))
}

/// The SHA-256 of a file there, by a program there.
async fn hash_of(lease: &Lease, path: &str) -> Result<String, Failure> {
    let command = format!("sha256sum {path} 2>/dev/null || shasum -a 256 {path}");
    let said = Mutex::new(Vec::new());
    let read = async {
        let mut channel = lease.connection.open_session().await?;
        channel.exec(command.as_bytes()).await?;
        while let Some(event) = channel.next().await {
            if let ChannelEvent::Out(bytes) = event {
                let mut said = lock(&said);
                let room = 256_usize.saturating_sub(said.len());
                said.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
            }
        }
        Ok::<_, bssh_ssh::error::Error>(())
    };
    match tokio::time::timeout(HASHING, read).await {
        Ok(done) => done.map_err(|e| failure(&e))?,
        Err(_) => return Err(wrong(format!("reading {path} there takes too long"))),
    }
    let said = String::from_utf8_lossy(&lock(&said)).into_owned();
    let hash = said.split_whitespace().next().unwrap_or_default();
    match hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(hash.to_ascii_lowercase()),
        false => Err(wrong("it has neither sha256sum nor shasum to check what was sent")),
    }
}

fn wrong(text: impl Into<String>) -> Failure {
    plain(Phase::Transfer, "gatewayPush", text)
}

fn sftp_wrong(what: &str, error: &SftpError) -> Failure {
    wrong(format!("bssh cannot be put there: {what}: {error}"))
}
