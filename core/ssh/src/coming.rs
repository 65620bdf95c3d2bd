//! Channels on their way. Whoever waits for one may give it up; the server opens it all the same,
//! and keeps what is behind it until we close it.

use crate::channel::Channel;
use crate::connect::Inner;
use crate::error::Error;
use futures_util::future::{BoxFuture, select};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// A channel that is being opened. One that is given up is closed when it comes.
pub(crate) struct Coming {
    /// None once it has come.
    opening: Option<BoxFuture<'static, Result<Channel, Error>>>,
    of: Weak<Inner>,
}

/// How often it is looked whether a connection is used for anything else.
const LOOK: Duration = Duration::from_secs(1);

impl Coming {
    /// `opening` keeps the connection once.
    pub(crate) fn new(
        of: &Arc<Inner>,
        opening: impl Future<Output = Result<Channel, Error>> + Send + 'static,
    ) -> Coming {
        Coming { opening: Some(Box::pin(opening)), of: Arc::downgrade(of) }
    }
}

impl Future for Coming {
    type Output = Result<Channel, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(opening) = &mut self.opening else { return Poll::Pending };
        let come = opening.as_mut().poll(cx);
        if come.is_ready() {
            self.opening = None;
        }
        come
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let Some(opening) = self.opening.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let of = self.of.clone();
        runtime.spawn(async move {
            if let Some(inner) = of.upgrade() {
                inner.given_up.fetch_add(1, Relaxed);
            }
            // Only what is given up would keep the connection: it goes, and its channels with it.
            let unused = pin!(async {
                while is_used(&of) {
                    tokio::time::sleep(LOOK).await
                }
            });
            drop(select(opening, unused).await);
            if let Some(inner) = of.upgrade() {
                inner.given_up.fetch_sub(1, Relaxed);
            }
        });
    }
}

fn is_used(of: &Weak<Inner>) -> bool {
    of.upgrade().is_some_and(|inner| of.strong_count() - 1 > inner.given_up.load(Relaxed))
}
