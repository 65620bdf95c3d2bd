//! Where a node's output goes: to the frontend as a stream, to a file or descriptor, or nowhere.

use crate::descriptor::{Gone, Writer};
use crate::engine::Engine;
use crate::record::Record;
use crate::run::Outlet;
use crate::said::{Said, name};
use bssh_protocol::error::{CallError, Kind};
use bssh_protocol::exec::{ExecParams, MOST_NAMED, Output};
use bssh_protocol::link::StreamSender;
use bssh_protocol::stream::{Sink, StreamId};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Opens descriptors by number: the core's entry point knows which were inherited.
pub(crate) type Adopt = dyn Fn(i32) -> std::io::Result<OwnedFd> + Send + Sync;

/// The sinks of a run, opened once.
pub(crate) struct Sinks {
    stdout: Target,
    stderr: Target,
    window: u64,
    /// Equal output is sent once.
    said: Option<Arc<Said>>,
}

#[derive(Clone)]
enum Target {
    Stream,
    Discard,
    Write(Writer),
    /// stderr goes where stdout goes.
    Merge,
}

/// One node's end of a sink.
pub(crate) enum Out {
    Stream(StreamSender),
    Held(Held),
    Record { record: Arc<Record>, index: u32, stderr: bool },
    Write(Writer),
    Discard,
}

/// Output that is kept back until its node has ended: it may have been sent before.
pub(crate) struct Held {
    to: StreamSender,
    /// None: it was too long, and flows.
    kept: Option<BytesMut>,
}

impl Sinks {
    /// Opens files and descriptors.
    ///
    /// # Errors
    /// `json.invalidParams`: a file that cannot be written, a descriptor that is not open.
    pub(crate) fn open(
        params: &ExecParams,
        window: u64,
        engine: &Engine,
    ) -> Result<Self, CallError> {
        let mut writers = HashMap::new();
        let stdout = target(&params.stdout, "params.stdout", engine, &mut writers)?;
        if matches!(stdout, Target::Merge) {
            let text = "params.stdout: merge is for stderr only";
            return Err(CallError::new(Kind::InvalidParams, text).at("params.stdout"));
        }
        let stderr = target(&params.stderr, "params.stderr", engine, &mut writers)?;
        // Only another core knows what a name stands for.
        let named = params.gather && !params.planned.is_empty();
        let said = named.then(|| engine.said.clone());
        Ok(Sinks { stdout, stderr, window, said })
    }

    /// One node's ends: stdout, and stderr unless it is merged.
    pub(crate) fn node(&self, to: &Outlet, index: u32) -> (Out, Option<Out>) {
        let stdout = self.out(&self.stdout, to, (index, false));
        match self.stderr {
            Target::Merge => (stdout, None),
            _ => (stdout, Some(self.out(&self.stderr, to, (index, true)))),
        }
    }

    fn out(&self, target: &Target, to: &Outlet, (index, stderr): (u32, bool)) -> Out {
        match target {
            Target::Stream => match to {
                Outlet::Link(link) => {
                    let to = link.new_sender(self.window);
                    match self.said {
                        None => Out::Stream(to),
                        Some(_) => Out::Held(Held { to, kept: Some(BytesMut::new()) }),
                    }
                }
                Outlet::Record(record) => Out::Record { record: record.clone(), index, stderr },
            },
            Target::Write(writer) => Out::Write(writer.clone()),
            Target::Discard | Target::Merge => Out::Discard,
        }
    }

    /// Ends a node's sinks: no more bytes will come. Returns when they are out of our hands, with
    /// the name of the output if it has one, and whether all of both is where it belongs.
    pub(crate) async fn finish(
        &self,
        stdout: Out,
        stderr: Option<Out>,
    ) -> (Option<Box<Output>>, [Result<(), Gone>; 2]) {
        let name = self.said.as_ref().and_then(|_| match (stdout.kept()?, &stderr) {
            (b"", None) => None,
            (out, None) => Some(name(out, b"")),
            (out, Some(stderr)) => match (out, stderr.kept()?) {
                (b"", b"") => None,
                (out, err) => Some(name(out, err)),
            },
        });
        let same = match (&self.said, &name) {
            (Some(said), Some(name)) => said.knows(name),
            _ => false,
        };
        let out = stdout.end(same).await;
        let err = match stderr {
            Some(stderr) => stderr.end(same).await,
            None => Ok(()),
        };
        let output = |name| Box::new(if same { Output::Same(name) } else { Output::New(name) });
        (name.map(output), [out, err])
    }

    /// The end of a node has been told, and with it this name of its output.
    pub(crate) fn told(&self, output: Option<&Output>) {
        if let (Some(said), Some(Output::New(name))) = (&self.said, output) {
            said.note(name);
        }
    }
}

impl Held {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        match &mut self.kept {
            Some(kept) if kept.len() + bytes.len() <= MOST_NAMED => {
                kept.extend_from_slice(&bytes);
                return Ok(());
            }
            _ => self.flow().await?,
        }
        self.to.write(bytes).await.map_err(|_| Gone::default())
    }

    async fn flow(&mut self) -> Result<(), Gone> {
        match self.kept.take() {
            Some(kept) if !kept.is_empty() => {
                self.to.write(kept.freeze()).await.map_err(|_| Gone::default())
            }
            _ => Ok(()),
        }
    }
}

fn target(
    sink: &Sink,
    at: &str,
    engine: &Engine,
    writers: &mut HashMap<i32, Writer>,
) -> Result<Target, CallError> {
    let one = !engine.commons.pool.lingers();
    let failed = |what: &str, error: std::io::Error| {
        CallError::new(Kind::InvalidParams, format!("{at}: cannot write to {what}: {error}")).at(at)
    };
    Ok(match sink {
        Sink::Stream => Target::Stream,
        Sink::Discard => Target::Discard,
        Sink::Merge => Target::Merge,
        Sink::File(path) => {
            use std::os::unix::fs::OpenOptionsExt;
            let mut open = std::fs::OpenOptions::new();
            let file = open
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(engine.env().here(path));
            Target::Write(Writer::new(file.map_err(|e| failed(path, e))?.into(), one))
        }
        Sink::Fd(number) => match writers.get(number) {
            Some(writer) => Target::Write(writer.clone()),
            None => {
                let failed = |e| failed(&format!("descriptor {number}"), e);
                let descriptor = engine.lent(*number).map_err(failed)?;
                let writer = Writer::new(descriptor, one);
                writers.insert(*number, writer.clone());
                Target::Write(writer)
            }
        },
    })
}

impl Out {
    /// The stream's id, if it is one.
    pub(crate) fn id(&self) -> Option<StreamId> {
        match self {
            Out::Stream(sender) | Out::Held(Held { to: sender, .. }) => Some(sender.id()),
            _ => None,
        }
    }

    /// Takes bytes; waits while the other side takes no more.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), Gone> {
        match self {
            Out::Stream(sender) => sender.write(bytes).await.map_err(|_| Gone::default()),
            Out::Held(held) => held.write(bytes).await,
            Out::Record { record, index, stderr } => {
                record.output(*index, *stderr, &bytes);
                Ok(())
            }
            Out::Write(writer) => writer.write(bytes).await,
            Out::Discard => Ok(()),
        }
    }

    /// All of the output, if it is still here.
    fn kept(&self) -> Option<&[u8]> {
        match self {
            Out::Held(held) => held.kept.as_deref(),
            _ => None,
        }
    }

    /// No more bytes will come; returns when they are out of our hands. What is kept back is not
    /// needed if it was `sent` before.
    async fn end(self, sent: bool) -> Result<(), Gone> {
        // A frontend that is gone has been noticed by a write, or had nothing to lose.
        match self {
            Out::Stream(sender) => {
                let _ = sender.finish().await;
            }
            Out::Held(mut held) => {
                if !sent {
                    let _ = held.flow().await;
                }
                let _ = held.to.finish().await;
            }
            Out::Write(writer) => match writer.flush().await {
                Err(gone) if !gone.is_unread() => return Err(gone),
                _ => {}
            },
            Out::Discard | Out::Record { .. } => {}
        }
        Ok(())
    }
}
