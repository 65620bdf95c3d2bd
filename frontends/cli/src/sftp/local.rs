//! This side: directories, the shell, and what the system says when something fails.

use super::{Trouble, failed};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Why, as the C library says it.
pub(super) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// `lcd`
pub(super) fn change_to(path: Option<&[u8]>, home: Option<&Path>) -> Result<(), Trouble> {
    let path = tilde(path.unwrap_or(b"~"), home);
    std::env::set_current_dir(&path).map_err(|error| {
        let (path, why) = (path.display(), reason(&error));
        failed(&format!("Couldn't change local directory to \"{path}\": {why}"))
    })
}

fn tilde(path: &[u8], home: Option<&Path>) -> PathBuf {
    match (path, home) {
        (b"~" | b"", Some(home)) => home.to_path_buf(),
        ([b'~', b'/', rest @ ..], Some(home)) => home.join(OsStr::from_bytes(rest)),
        _ => PathBuf::from(OsStr::from_bytes(path)),
    }
}

/// `lmkdir`
pub(super) fn make_dir(path: &[u8]) -> Result<(), Trouble> {
    let path = OsStr::from_bytes(path);
    std::fs::create_dir(path).map_err(|error| {
        let (path, why) = (path.display(), reason(&error));
        failed(&format!("Couldn't create local directory \"{path}\": {why}"))
    })
}

/// The working directory's bytes; the core has one of its own.
pub(super) fn directory() -> Result<Vec<u8>, Trouble> {
    match std::env::current_dir() {
        Ok(dir) => Ok(dir.into_os_string().into_vec()),
        Err(error) => Err(failed(&format!("Couldn't get local cwd: {}", reason(&error)))),
    }
}

/// `!command`, or a shell. Its failure is told and fails nothing.
pub(super) async fn shell(shell: Option<&OsString>, command: &[u8]) {
    let shell = shell.map_or(OsStr::new("/bin/sh"), OsString::as_os_str);
    let mut process = tokio::process::Command::new(shell);
    if !command.is_empty() {
        process.arg("-c").arg(OsStr::from_bytes(command));
    }
    match process.status().await {
        Ok(status) if status.success() => {}
        Ok(status) => {
            failed(&match status.code() {
                Some(code) => format!("Shell exited with status {code}"),
                None => "Shell exited abnormally".to_owned(),
            });
        }
        Err(error) => {
            let (shell, why) = (shell.display(), reason(&error));
            failed(&format!("Couldn't execute \"{shell}\": {why}"));
        }
    }
}
