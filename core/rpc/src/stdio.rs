//! The process's stdin and stdout as a link, until either ends.
//!
//! Both are taken away from 0 and 1 first: 0 becomes `/dev/null` and 1 becomes stderr, so that a
//! stray print or a child that inherits them cannot corrupt the wire.

use crate::house::House;
use crate::{inherit, methods};
use bssh_engine::{Commons, Engine, Environment};
use bssh_protocol::Ignored;
use bssh_protocol::link::{Link, Options};
use rustix::fs::{FileType, fstat};
use rustix::io::fcntl_dupfd_cloexec;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

/// The number of the only link.
const ONLY: u64 = 1;

/// Serves one frontend; returns when it has gone and its work has ended.
///
/// # Errors
/// stdin or stdout cannot be used; some work has panicked.
pub(crate) async fn serve(environment: Environment) -> io::Result<()> {
    bssh_engine::raise_limit();
    let (reader, writer) = wire()?;
    // They belong to the frontend's terminal; our end is the end of the link. What is to be
    // ignored anyhow is left so for the programs started here.
    let terminals = [SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
    let ignored = Ignored::of(&std::fs::read_to_string(Ignored::STATUS).unwrap_or_default());
    let heeded = terminals.into_iter().filter(|kind| !ignored.has(kind.as_raw_value()));
    // Where the end of children is ignored nobody learns it.
    let kinds = heeded.chain([SignalKind::child()]);
    let _taken = kinds.map(signal).collect::<io::Result<Vec<_>>>()?;
    let mut terminate = signal(SignalKind::terminate())?;
    // A child's connections end with it.
    let commons = Commons::single(environment);
    let engine = Engine::new(commons.clone(), Box::new(inherit::adopt));
    commons.join(ONLY, &engine);
    let house = House::single();
    let service = methods::service(&engine, ONLY, house.clone());
    let (link, task) = Link::start(reader, writer, service, Options::core());
    let mut task = Box::pin(engine.remarks().scope(task));
    let mut outcome = Ok(());
    tokio::select! {
        end = &mut task => tracing::debug!("the link has ended: {end:?}"),
        _ = terminate.recv() => {}
        _ = house.ending() => {}
        () = commons.watch() => {}
        () = engine.broken() => outcome = Err(io::Error::other("it cannot go on after this")),
    }
    engine.leave().await;
    // What was kept goes on without anybody.
    tokio::select! {
        () = engine.rested() => {}
        _ = terminate.recv() => engine.give_up().await,
    }
    if !link.has_ended() {
        link.close();
        task.await;
    }
    outcome
}

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

fn wire() -> io::Result<(Reader, Writer)> {
    let input = fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let output = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok((reader(input)?, writer(output)?))
}

fn reader(descriptor: OwnedFd) -> io::Result<Reader> {
    Ok(match kind(&descriptor)? {
        FileType::Fifo => Box::new(pipe::Receiver::from_owned_fd(descriptor)?),
        FileType::Socket => Box::new(socket(descriptor)?),
        // A terminal or a file: tokio reads it on a thread.
        _ => Box::new(tokio::fs::File::from_std(descriptor.into())),
    })
}

fn writer(descriptor: OwnedFd) -> io::Result<Writer> {
    Ok(match kind(&descriptor)? {
        FileType::Fifo => Box::new(pipe::Sender::from_owned_fd(descriptor)?),
        FileType::Socket => Box::new(socket(descriptor)?),
        _ => Box::new(tokio::fs::File::from_std(descriptor.into())),
    })
}

fn kind(descriptor: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(descriptor)?.st_mode))
}

fn socket(descriptor: OwnedFd) -> io::Result<UnixStream> {
    let socket = std::os::unix::net::UnixStream::from(descriptor);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
