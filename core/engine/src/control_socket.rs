//! The socket at a `ControlPath`, for scripts that look whether one is there: a shared core has one
//! as long as it has a connection of a `ControlMaster` under that path.
//!
//! `-O` and further sessions find the master through the shared core, not here: the language of
//! OpenSSH's multiplexing is not spoken, and whoever connects is turned away at once. OpenSSH's
//! own ssh then makes a connection of its own.

use crate::unix_socket::{PRIVATE, listen};
use bssh_protocol::lock;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::task::AbortHandle;

/// After an accept that failed, e.g. for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Every such socket of the core.
#[derive(Default)]
pub(crate) struct ControlSockets(Mutex<HashMap<PathBuf, Weak<ControlSocket>>>);

/// One of them; with the last connection that holds it the file goes.
pub(crate) struct ControlSocket {
    path: PathBuf,
    /// Which file is ours: another one at its name is not ours to remove.
    own: (u64, u64),
    turning_away: AbortHandle,
}

impl ControlSockets {
    /// The socket at a path: the one that is there, or a new one. None: there can be none, and
    /// that is said; the master is found all the same.
    pub(crate) fn at(&self, path: &Path) -> Option<Arc<ControlSocket>> {
        let mut all = lock(&self.0);
        if let Some(socket) = all.get(path).and_then(Weak::upgrade) {
            return Some(socket);
        }
        all.retain(|_, socket| socket.strong_count() > 0);
        let shown = path.display();
        match ControlSocket::bind(path) {
            Ok(socket) => {
                let socket = Arc::new(socket);
                all.insert(path.to_owned(), Arc::downgrade(&socket));
                return Some(socket);
            }
            // Such as OpenSSH's own.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::debug!("ControlSocket {shown} already exists, and is left alone");
            }
            Err(error) => tracing::warn!(
                "no socket at ControlPath {shown}: {error}; bssh finds the master without it"
            ),
        }
        None
    }
}

impl ControlSocket {
    fn bind(path: &Path) -> io::Result<ControlSocket> {
        let listener = listen(path, PRIVATE)?;
        let own = place(path)?;
        let turning_away = tokio::spawn(turn_away(listener)).abort_handle();
        Ok(ControlSocket { path: path.to_owned(), own, turning_away })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.turning_away.abort();
        if place(&self.path).is_ok_and(|there| there == self.own) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn place(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::lstat(path)?;
    Ok((stat.st_dev, stat.st_ino))
}

async fn turn_away(listener: UnixListener) {
    loop {
        if listener.accept().await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
