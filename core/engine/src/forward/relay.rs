//! One relay for every forward: bytes both ways with half-close, back-pressure and counters.

use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

/// What a forward has carried, in bytes, seen from the node: `into` went to its target.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub into: AtomicU64,
    pub out_of: AtomicU64,
    pub connections: AtomicU64,
}

/// One buffer per direction: a full SSH packet.
const BUFFER: usize = 32 * 1024;

/// Copies until both sides have said end of file, or one fails. An end of file on one side is
/// passed on and the other direction goes on.
///
/// # Errors
/// A read or write that failed; the connection is then of no more use.
pub(super) async fn relay<A, B>(near: A, far: B, counters: &Counters) -> std::io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let ((near_read, near_write), (far_read, far_write)) = (split(near), split(far));
    tokio::try_join!(
        copy(near_read, far_write, &counters.into),
        copy(far_read, near_write, &counters.out_of),
    )?;
    Ok(())
}

async fn copy<R, W>(mut from: R, mut to: W, count: &AtomicU64) -> std::io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        let n = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..n).filter(|b| !b.is_empty()) else {
            // The far side may be gone already: then there is nobody left to tell.
            let _ = to.shutdown().await;
            return Ok(());
        };
        to.write_all(bytes).await?;
        to.flush().await?;
        count.fetch_add(n as u64, Ordering::Relaxed);
    }
}
