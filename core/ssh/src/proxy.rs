//! A `ProxyCommand` as the carrier of a connection: a shell command's stdin and stdout.

use crate::error::{Error, ErrorKind, Phase};
use crate::plan::Children;
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// The running command. It is killed when the connection goes.
pub(crate) struct Proxy {
    _child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Proxy {
    /// Starts the command with `/bin/sh`; its stderr is ours.
    ///
    /// # Errors
    /// Phase dial: it cannot be started.
    pub(crate) fn start(command: &str, children: Option<&Arc<Children>>) -> Result<Self, Error> {
        let failed = |e: io::Error| Error::new(Phase::Dial, ErrorKind::ProxyCommand(e.to_string()));
        let mut shell = Command::new("/bin/sh");
        Children::tell(children, &mut shell);
        let mut child = shell
            .arg("-c")
            .arg(format!("exec {command}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        match (child.stdin.take(), child.stdout.take()) {
            (stdin @ Some(_), Some(stdout)) => Ok(Proxy { _child: child, stdin, stdout }),
            _ => Err(failed(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for Proxy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for Proxy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }
    /// A pipe is shut down by closing it.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stdin = None;
        Poll::Ready(Ok(()))
    }
}
