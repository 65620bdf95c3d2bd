//! Unix sockets that are listened on: of forwards, gates, and at a `ControlPath`.

use std::io;
use std::path::Path;
use tokio::net::UnixListener;

/// What nobody but this user may do with it, as a umask.
pub(crate) const PRIVATE: u32 = 0o177;

/// Listens at a path where there is nothing, or a socket nobody listens on any more.
///
/// # Errors
/// Those of bind(2): somebody listens there, something else is there, or it cannot be made.
pub(crate) fn listen(path: &Path, mask: u32) -> io::Result<UnixListener> {
    if is_socket(path) && is_dead(path) {
        std::fs::remove_file(path)?;
    }
    // The mask must hold from the first moment: a chmod afterwards would leave a gap.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    listener
}

/// Is a socket there, and no link to one?
pub(crate) fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
}

fn is_dead(path: &Path) -> bool {
    let tried = std::os::unix::net::UnixStream::connect(path);
    tried.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
}
