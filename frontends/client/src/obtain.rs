//! Which core a frontend gets: the user's shared one, or a child of its own.

use crate::child::{self, own_program};
use crate::core::{Carrier, Core, Error, Start};
use crate::service::remark;
use crate::shared::{self, Passing, Persist};
use bssh_protocol::handshake::LogRecord;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;

/// How long a shared core that is there may take to shake hands; then a child is started.
const ANSWER: Duration = Duration::from_secs(1);

impl Core {
    /// The core a frontend should use: the user's shared one if it is wanted and there, else a
    /// child. The shared one is told our environment, and uses our own stdin, stdout and stderr
    /// if they are lent. [`Core::is_shared`] tells which it is.
    ///
    /// # Errors
    /// As [`Core::start`]; and why there is no shared core, if one was to be started.
    pub async fn obtain(start: Start, persist: Persist) -> Result<Core, Error> {
        // A core that was named is wanted, and no other.
        if persist == Persist::Never || start.program.is_some() {
            return Core::start(start).await;
        }
        match (shared::find().await, persist) {
            (Ok(Some(socket)), _) => match Core::attach_shared(socket, &start, ANSWER).await {
                // One that hangs must not hang us.
                Err(why @ (Error::Silent(_) | Error::Ended(_))) => {
                    if let Persist::For(_) = persist {
                        let message = format!(
                            "warning: {why}: a core of our own is used, which does not stay; \
                             if that goes on, end the process of bssh core serve"
                        );
                        let record = LogRecord { level: "info".to_owned(), message };
                        remark(start.remarks.as_ref(), &record);
                    }
                }
                attached => return attached,
            },
            (Err(why), Persist::For(_)) => return Err(Error::Shared(why)),
            (Ok(None), Persist::For(stay)) => {
                let program = own_program()?;
                shared::start(&program, stay, start.control).await.map_err(Error::Shared)?;
                let found = shared::find().await.map_err(Error::Shared)?;
                let socket = found.ok_or_else(|| Error::Shared("it has gone".to_owned()))?;
                return Core::attach_shared(socket, &start, start.timeout).await;
            }
            _ => {}
        }
        Core::start(start).await
    }

    /// The user's shared core, if one runs.
    ///
    /// # Errors
    /// As [`Core::obtain`].
    pub async fn running(start: Start) -> Result<Option<Core>, Error> {
        match shared::find().await.map_err(Error::Shared)? {
            Some(socket) => Core::attach_shared(socket, &start, start.timeout).await.map(Some),
            None => Ok(None),
        }
    }

    async fn attach_shared(
        socket: UnixStream,
        start: &Start,
        timeout: Duration,
    ) -> Result<Core, Error> {
        let answered = Arc::new(AtomicBool::new(false));
        let ends = || {
            let socket = socket.into_std()?;
            let descriptors = match start.lend_stdio {
                true => Some(child::copies()?),
                false => None,
            };
            let reader = UnixStream::from_std(socket.try_clone()?)?;
            Ok((
                reader,
                Passing {
                    socket: UnixStream::from_std(socket)?,
                    descriptors,
                    answered: answered.clone(),
                },
            ))
        };
        let (reader, writer) = ends().map_err(|e: std::io::Error| Error::Shared(e.to_string()))?;
        let standby = start.standby.clone();
        let start = Start { timeout, ..start.again() };
        let lent = start.lend_stdio.then_some(shared::LENT);
        let mut core = Core::shake_hands(reader, writer, Carrier::Shared, start).await?;
        answered.store(true, Ordering::Release);
        core.lent = lent;
        standby.dismiss();
        Ok(core)
    }
}
