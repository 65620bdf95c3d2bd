//! The node's root belongs to one machine at a time, and to one sync: a lease that is renewed
//! while a run lasts, and a token that says which root it is. Both are in `.bssh-sync` there.
//!
//! The lease is a directory, which only one can make. Its age is told by the node's own clock: a
//! holder that has not renewed it for [`EXPIRY`] is taken to be dead.

use super::filter::OWN;
use crate::transfer::{Fault, join, remote};
use bssh_ssh::sftp::{Attrs, Block, Sftp, SftpError, Status, flags};
use std::time::{Duration, Instant};

/// A lease this old is nobody's.
const EXPIRY: u32 = 60;
/// One that nobody has signed is that of a machine that was cut off while it took it or gave it
/// back, which takes a few round trips.
const UNSIGNED: u32 = 10;
/// How often it is renewed.
pub(crate) const RENEW: Duration = Duration::from_secs(20);
/// How often somebody who waits for it looks.
const AGAIN: Duration = Duration::from_secs(1);
/// Files of ours are no longer than this.
const SHORT: u32 = 4096;

/// A lease that is held.
pub(crate) struct Held {
    dir: Vec<u8>,
    /// The node's clock when it was taken.
    pub clock: u32,
    /// What was written into it, which nobody can have known.
    pub nonce: String,
    /// Somebody else's had expired.
    pub expired: Option<String>,
}

/// Takes the lease of a root; `machine` says who we are.
///
/// # Errors
/// `syncLocked`, naming the holder; what the node says.
pub(crate) async fn take(
    sftp: &Sftp,
    root: &[u8],
    machine: &str,
    wait: Duration,
) -> Result<Held, Fault> {
    let own = join(root, OWN);
    let dir = join(&own, b"lease");
    let begun = Instant::now();
    let mut expired = None;
    loop {
        let (_, made) = futures_util::future::join(
            sftp.make_dir(&own, &Attrs::permissions(0o700)),
            sftp.make_dir(&dir, &Attrs::permissions(0o700)),
        )
        .await;
        match made {
            Ok(()) => break,
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(error) if remote::lstat(sftp, &dir).await?.is_none() => {
                let fault = Fault::from(error);
                return Err(fault.while_doing("cannot write to the node's root"));
            }
            Err(_) => {}
        }
        let holder = read(sftp, &join(&dir, b"owner")).await?.unwrap_or_default();
        let named = holder.lines().next().unwrap_or_default().to_owned();
        // We hold the local lock: a run of this machine that left it is dead.
        let expiry = if named.is_empty() { UNSIGNED } else { EXPIRY };
        if named == machine || age(sftp, &own, &dir).await? > expiry {
            if named != machine && !named.is_empty() {
                expired = Some(named);
            }
            break;
        }
        if begun.elapsed() >= wait {
            let named = if named.is_empty() { "another machine".to_owned() } else { named };
            let text = format!("the node's directory is being synced by {named}");
            return Err(Fault::new("syncLocked", text));
        }
        tokio::time::sleep(AGAIN).await;
    }
    let nonce = nonce();
    write(sftp, &join(&dir, b"owner"), &format!("{machine}\n{nonce}\n")).await?;
    let clock = beat(sftp, &dir).await?;
    Ok(Held { dir, clock, nonce, expired })
}

impl Held {
    /// Renews it.
    pub(crate) async fn renew(&self, sftp: &Sftp) -> Result<(), Fault> {
        beat(sftp, &self.dir).await.map(drop)
    }

    /// Gives it back.
    pub(crate) async fn release(&self, sftp: &Sftp) {
        let owner = join(&self.dir, b"owner");
        // Whoever comes next finds it expired.
        let _ = futures_util::future::join(sftp.remove(&owner), sftp.remove_dir(&self.dir)).await;
    }
}

/// The token of a root, made if there is none; in a dry run there is none then.
pub(crate) async fn token(sftp: &Sftp, root: &[u8], dry: bool) -> Result<String, Fault> {
    let path = join(&join(root, OWN), b"id");
    if let Some(text) = read(sftp, &path).await? {
        let token = text.trim();
        if !token.is_empty() {
            return Ok(token.to_owned());
        }
    }
    if dry {
        return Ok(String::new());
    }
    let token = nonce();
    write(sftp, &path, &format!("{token}\n")).await?;
    Ok(token)
}

/// Something nobody can have known.
pub(crate) fn nonce() -> String {
    use std::hash::{BuildHasher, RandomState};
    let part = || RandomState::new().hash_one(Instant::now());
    format!("{:016x}{:016x}", part(), part())
}

/// A sign of life: the directory's time changes. Gives the node's clock.
async fn beat(sftp: &Sftp, dir: &[u8]) -> Result<u32, Fault> {
    let path = join(dir, b"beat");
    let how = flags::WRITE | flags::CREATE;
    let file = sftp.open_file(&path, how, &Attrs::permissions(0o600)).await?;
    let (closed, removed, stat) =
        futures_util::future::join3(file.close(), sftp.remove(&path), sftp.lstat(dir)).await;
    closed?;
    removed?;
    Ok(stat?.times.map_or(0, |(_, change)| change))
}

/// How long ago the lease was renewed, by the node's clock.
async fn age(sftp: &Sftp, own: &[u8], dir: &[u8]) -> Result<u32, Fault> {
    let probe = join(own, format!("clock-{}", nonce()).as_bytes());
    sftp.make_dir(&probe, &Attrs::permissions(0o700)).await?;
    let (now, lease, removed) =
        futures_util::future::join3(sftp.lstat(&probe), sftp.lstat(dir), sftp.remove_dir(&probe))
            .await;
    removed?;
    let time = |attrs: Attrs| attrs.times.map_or(0, |(_, change)| change);
    let now = time(now?);
    // Given back in the meantime: make it on the next try.
    Ok(lease.map_or(0, |attrs| now.saturating_sub(time(attrs))))
}

async fn read(sftp: &Sftp, path: &[u8]) -> Result<Option<String>, Fault> {
    let missing = |error: &SftpError| error.is(Status::NoSuchFile);
    let file = match sftp.open_file(path, flags::READ, &Attrs::default()).await {
        Err(error) if missing(&error) => return Ok(None),
        file => file?,
    };
    let pieces = match file.read(0, SHORT).await {
        Err(error) if error.is_eof() => Vec::new(),
        pieces => pieces?,
    };
    // What a node says of itself is shown to people.
    let text = String::from_utf8_lossy(&pieces.concat()).into_owned();
    Ok(Some(text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()))
}

async fn write(sftp: &Sftp, path: &[u8], text: &str) -> Result<(), Fault> {
    let how = flags::WRITE | flags::CREATE | flags::TRUNCATE;
    let file = sftp.open_file(path, how, &Attrs::permissions(0o600)).await?;
    let mut block = Block::new(text.len());
    block.extend(text.as_bytes());
    let (written, closed) = futures_util::future::join(file.write(0, block), file.close()).await;
    written?;
    Ok(closed?)
}
