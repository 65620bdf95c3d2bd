//! The server half of SOCKS 4, 4a and 5 (RFC 1928): one request read, its target given back.
//!
//! Only CONNECT without authentication; everything else is answered with the protocol's own
//! refusal. Reads exactly the request's bytes, so what follows belongs to the connection.

use super::spec::Target;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Which version asked, for the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V5,
}

/// Longest name or user id a SOCKS 4 request may carry, in bytes.
const LONGEST: usize = 255;

/// Reads a request.
///
/// # Errors
/// Not SOCKS, cut off, or something else than CONNECT: the refusal has been written.
pub(super) async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> io::Result<(Version, Target)> {
    match stream.read_u8().await? {
        4 => Ok((Version::V4, read_v4(stream).await?)),
        5 => Ok((Version::V5, read_v5(stream).await?)),
        _ => Err(bad("not a SOCKS request")),
    }
}

/// Tells the client whether its target was reached.
///
/// # Errors
/// The client is gone.
pub(super) async fn reply<S: AsyncWrite + Unpin>(
    stream: &mut S,
    version: Version,
    reached: bool,
) -> io::Result<()> {
    match version {
        Version::V4 => {
            stream.write_all(&[0, if reached { 90 } else { 91 }, 0, 0, 0, 0, 0, 0]).await
        }
        // 5: connection refused
        Version::V5 => refuse_v5(stream, if reached { 0 } else { 5 }).await,
    }
}

async fn read_v4<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<Target> {
    let mut head = [0_u8; 7];
    stream.read_exact(&mut head).await?;
    let [command, high, low, a, b, c, d] = head;
    read_text(stream).await?;
    let host = match [a, b, c, d] {
        [0, 0, 0, last] if last != 0 => read_text(stream).await?,
        octets => std::net::Ipv4Addr::from(octets).to_string(),
    };
    if command != 1 || host.is_empty() {
        reply(stream, Version::V4, false).await?;
        return Err(bad("SOCKS 4: only CONNECT is supported"));
    }
    Ok(Target::Tcp { host, port: u16::from_be_bytes([high, low]) })
}

/// A NUL-terminated text.
async fn read_text<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<String> {
    let mut text = Vec::new();
    loop {
        match stream.read_u8().await? {
            0 => return String::from_utf8(text).map_err(|_| bad("SOCKS 4: not UTF-8")),
            _ if text.len() >= LONGEST => return Err(bad("SOCKS 4: text too long")),
            byte => text.push(byte),
        }
    }
}

async fn read_v5<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<Target> {
    let n_methods = stream.read_u8().await?;
    let mut methods = vec![0_u8; usize::from(n_methods)];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&0) {
        stream.write_all(&[5, 0xff]).await?;
        return Err(bad("SOCKS 5: the client wants authentication"));
    }
    stream.write_all(&[5, 0]).await?;
    let mut head = [0_u8; 4];
    stream.read_exact(&mut head).await?;
    let [version, command, _, kind] = head;
    if version != 5 {
        return Err(bad("SOCKS 5: bad version"));
    }
    let host = match kind {
        1 => {
            let mut octets = [0_u8; 4];
            stream.read_exact(&mut octets).await?;
            std::net::Ipv4Addr::from(octets).to_string()
        }
        4 => {
            let mut octets = [0_u8; 16];
            stream.read_exact(&mut octets).await?;
            std::net::Ipv6Addr::from(octets).to_string()
        }
        3 => {
            let mut name = vec![0_u8; usize::from(stream.read_u8().await?)];
            stream.read_exact(&mut name).await?;
            match String::from_utf8(name) {
                Ok(name) if !name.is_empty() && !name.contains('\0') => name,
                _ => {
                    refuse_v5(stream, 1).await?;
                    return Err(bad("SOCKS 5: bad host name"));
                }
            }
        }
        _ => {
            refuse_v5(stream, 8).await?;
            return Err(bad("SOCKS 5: address type not supported"));
        }
    };
    let port = stream.read_u16().await?;
    if command != 1 {
        refuse_v5(stream, 7).await?;
        return Err(bad("SOCKS 5: only CONNECT is supported"));
    }
    Ok(Target::Tcp { host, port })
}

async fn refuse_v5<S: AsyncWrite + Unpin>(stream: &mut S, code: u8) -> io::Result<()> {
    stream.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).await
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
