//! A `ProxyCommand` as the carrier of a connection: a shell command's stdin and stdout.
//!
//! Its stderr is ours, if the person who wants the connection sees that; else its lines are
//! passed on as remarks.

use crate::ask::{Ask, Note, NoteLevel};
use crate::error::{Error, ErrorKind, Phase};
use crate::plan::{Children, ShellCommand};
use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// The running command. It is killed when the connection goes.
pub(crate) struct Proxy {
    _child: Child,
    words: Option<Words>,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
}

impl Proxy {
    /// Starts the command. In somebody else's name (`children`) its stderr is not
    /// ours to write to.
    ///
    /// # Errors
    /// Phase dial: it cannot be started.
    pub(crate) fn start(
        command: &ShellCommand,
        children: Option<&Arc<Children>>,
        ask: &Arc<dyn Ask>,
    ) -> Result<Self, Error> {
        let failed = |e: io::Error| Error::new(Phase::Dial, ErrorKind::ProxyCommand(e.to_string()));
        let mut shell = Command::new(&command.shell);
        Children::tell(children, &mut shell);
        let mut child = shell
            .arg("-c")
            .arg(format!("exec {}", command.text))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if children.is_some() { Stdio::piped() } else { Stdio::inherit() })
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let words = child.stderr.take().map(|stderr| Words::new(stderr, ask.clone()));
        match (child.stdin.take(), child.stdout.take()) {
            (stdin @ Some(_), Some(stdout)) => Ok(Proxy { _child: child, words, stdin, stdout }),
            _ => Err(failed(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// What the command says on its stderr, line by line.
struct Words {
    stderr: ChildStderr,
    line: Vec<u8>,
    ask: Arc<dyn Ask>,
}

/// A longer line is told in pieces.
const LONGEST: usize = 1024;

impl Words {
    fn new(stderr: ChildStderr, ask: Arc<dyn Ask>) -> Words {
        Words { stderr, line: Vec::new(), ask }
    }

    /// Passes on what is there; ready at its end.
    fn poll_pass_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [0_u8; LONGEST];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stderr).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.take(buffer.filled()),
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }

    /// What was said before the end and not read yet. Its pipe does not block.
    fn take_rest(&mut self) {
        let mut space = [0_u8; LONGEST];
        while let Ok(n @ 1..) = rustix::io::read(&self.stderr, &mut space) {
            self.take(space.get(..n).unwrap_or_default());
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.tell(),
                byte => self.line.push(*byte),
            }
            if self.line.len() >= LONGEST {
                self.tell();
            }
        }
    }

    fn tell(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = text.chars().filter(|c| *c == '\t' || !c.is_control()).collect();
        self.ask.note(Note { level: NoteLevel::Program, text });
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        self.take_rest();
        if !self.line.is_empty() {
            self.tell();
        }
    }
}

impl AsyncRead for Proxy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stdout).poll_read(cx, buf);
        // Afterwards: what it said before its end is told before its end is.
        if self.words.as_mut().is_some_and(|words| words.poll_pass_on(cx).is_ready()) {
            self.words = None;
        }
        read
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
