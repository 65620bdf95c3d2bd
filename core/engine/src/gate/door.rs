//! What accepts for a gate, and how it comes back when it cannot any more.

use super::upstream::keep_alive;
use crate::unix_socket;
use bssh_ssh::BoxStream;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};

/// Anything that accepts.
pub(super) enum Door {
    /// For this entry only.
    Tcp(Arc<TcpListener>, usize),
    Socks(Arc<TcpListener>),
    Proxy(Socket),
}

/// A socket with a name others could take away.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

/// A closed door: what is needed to open it again.
pub(super) enum Place {
    Tcp(SocketAddr, Option<usize>),
    Path(PathBuf),
}

/// How often a socket is looked for at its path.
const LOOK: Duration = Duration::from_secs(1);

impl Door {
    /// A connection, where it comes from, and the entry it is for if that is known.
    ///
    /// # Errors
    /// Those of accept(2); "not found" when the socket is not at its path any more.
    pub(super) async fn next(&self) -> io::Result<(BoxStream, String, Option<usize>)> {
        let (listener, at) = match self {
            Door::Tcp(listener, at) => (listener, Some(*at)),
            Door::Socks(listener) => (listener, None),
            Door::Proxy(socket) => {
                return Ok((socket.next().await?, "local".to_owned(), None));
            }
        };
        let (stream, peer) = listener.accept().await?;
        bssh_ssh::tune(&stream, peer.ip())?;
        keep_alive(&stream)?;
        Ok((Box::new(stream), peer.to_string(), at))
    }

    /// Closes it. None: it never had an address.
    pub(super) fn close(self) -> Option<Place> {
        match self {
            Door::Tcp(listener, at) => Some(Place::Tcp(listener.local_addr().ok()?, Some(at))),
            Door::Socks(listener) => Some(Place::Tcp(listener.local_addr().ok()?, None)),
            Door::Proxy(socket) => Some(Place::Path(socket.path)),
        }
    }

    /// The TCP listener, for whoever takes the gate's place.
    pub(super) fn listener(&self) -> Option<&Arc<TcpListener>> {
        match self {
            Door::Tcp(listener, _) | Door::Socks(listener) => Some(listener),
            Door::Proxy(_) => None,
        }
    }
}

impl Place {
    /// Opens the door again.
    ///
    /// # Errors
    /// Those of bind(2).
    pub(super) async fn open(&self) -> io::Result<Door> {
        match self {
            Place::Tcp(address, at) => {
                let listener = Arc::new(TcpListener::bind(address).await?);
                Ok(at.map_or(Door::Socks(listener.clone()), |at| Door::Tcp(listener, at)))
            }
            Place::Path(path) => Ok(Door::Proxy(Socket::bind(path, false)?)),
        }
    }
}

impl Socket {
    /// Binds it; `ours`: what is there may be replaced.
    ///
    /// # Errors
    /// Those of bind(2).
    pub(super) fn bind(path: &Path, ours: bool) -> io::Result<Socket> {
        if ours && unix_socket::is_socket(path) {
            std::fs::remove_file(path)?;
        }
        let listener = unix_socket::listen(path, unix_socket::PRIVATE)?;
        let inode = std::fs::symlink_metadata(path)?.ino();
        Ok(Socket { listener, path: path.to_owned(), inode })
    }

    async fn next(&self) -> io::Result<BoxStream> {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => return Ok(Box::new(accepted?.0)),
                () = tokio::time::sleep(LOOK) => {
                    let there = std::fs::symlink_metadata(&self.path);
                    if !there.is_ok_and(|there| there.ino() == self.inode) {
                        let text = format!("{} is not our socket any more", self.path.display());
                        return Err(io::Error::new(io::ErrorKind::NotFound, text));
                    }
                }
            }
        }
    }
}

/// Waiting mends it: too many descriptors, a client that has gone, a network that is down.
pub(super) fn passes(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let lasting = [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP];
    let known = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() != io::ErrorKind::NotFound && !known.is_some_and(|e| lasting.contains(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener that was shut down never accepts again; its address can be had once more.
    #[tokio::test]
    async fn a_door_that_fails_for_good_opens_again() {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        rustix::net::shutdown(&*listener, rustix::net::Shutdown::Both).unwrap();
        let door = Door::Tcp(listener, 3);
        let Err(error) = door.next().await else { panic!("it accepts") };
        assert!(!passes(&error), "{error}");
        let again = door.close().unwrap().open().await.unwrap();
        let client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (_, peer, at) = again.next().await.unwrap();
        assert_eq!((peer, at), (client.local_addr().unwrap().to_string(), Some(3)));
    }

    #[tokio::test]
    async fn a_socket_whose_name_is_gone_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let door = Door::Proxy(Socket::bind(&path, false).unwrap());
        std::fs::remove_file(&path).unwrap();
        let Err(error) = door.next().await else { panic!("it accepts") };
        assert!(!passes(&error), "{error}");
        let again = door.close().unwrap().open().await.unwrap();
        let _client = tokio::net::UnixStream::connect(&path).await.unwrap();
        assert!(again.next().await.is_ok());
        assert!(passes(&io::Error::from_raw_os_error(24)), "EMFILE");
    }
}
