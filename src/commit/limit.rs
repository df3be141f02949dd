//! The one time limit of a commit.

use std::time::{Duration, Instant};

use crate::error::{Error, Kind, StoreError};
use crate::layer::Shared;

/// How long all store calls of one commit may take together.
pub(crate) struct Limit {
    pub(super) timeout: Duration,
    pub(super) began: Instant,
    /// None for an immediate store, which needs no timer.
    pub(super) deadline: Option<tokio::time::Instant>,
}

impl Limit {
    pub(crate) fn new(shared: &Shared) -> Self {
        let timeout = shared.store_timeout;
        let deadline = (!shared.is_immediate).then(|| tokio::time::Instant::now() + timeout);
        Self { timeout, began: Instant::now(), deadline }
    }

    /// Ends a loop of calls that are answered at once, each in time and all together too late.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.began.elapsed() > self.timeout {
            return Err(Kind::TimedOut(self.timeout).into());
        }
        Ok(())
    }

    pub(crate) async fn wait<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Error> {
        let answer = match self.deadline {
            None => asked.await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline, asked).await.map_err(|_| Kind::TimedOut(self.timeout))?
            }
        };
        Ok(answer?)
    }
}
