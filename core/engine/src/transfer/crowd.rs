//! Futures under way together, at most so many.

use super::fault::Fault;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};

/// The first fault ends them all.
pub(crate) struct Crowd<F> {
    running: FuturesUnordered<F>,
    most: usize,
}

impl<F: Future<Output = Result<(), Fault>>> Crowd<F> {
    pub(crate) fn new(most: usize) -> Self {
        Crowd { running: FuturesUnordered::new(), most: most.max(1) }
    }

    /// Takes one more, once there is room.
    pub(crate) async fn add(&mut self, work: F) -> Result<(), Fault> {
        while self.running.len() >= self.most {
            self.one().await?;
        }
        self.running.push(work);
        Ok(())
    }

    /// Waits for the rest.
    pub(crate) async fn finish(mut self) -> Result<(), Fault> {
        while !self.running.is_empty() {
            self.one().await?;
        }
        Ok(())
    }

    async fn one(&mut self) -> Result<(), Fault> {
        self.running.next().await.unwrap_or(Ok(()))
    }
}

/// As [`Crowd`], but none is more than so many ahead of the first that is not done: what an
/// interrupted transfer leaves is complete up to that.
pub(crate) struct Row<F: Future> {
    running: FuturesOrdered<F>,
    most: usize,
}

impl<F: Future<Output = Result<(), Fault>>> Row<F> {
    pub(crate) fn new(most: usize) -> Self {
        Row { running: FuturesOrdered::new(), most: most.max(1) }
    }

    /// Takes one more, once there is room.
    pub(crate) async fn add(&mut self, work: F) -> Result<(), Fault> {
        while self.running.len() >= self.most {
            self.running.next().await.unwrap_or(Ok(()))?;
        }
        self.running.push_back(work);
        Ok(())
    }

    /// Waits for the rest.
    pub(crate) async fn finish(mut self) -> Result<(), Fault> {
        while let Some(done) = self.running.next().await {
            done?;
        }
        Ok(())
    }
}
