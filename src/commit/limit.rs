//! The one time limit of a commit.

use std::time::{Duration, Instant};

use crate::error::{Error, Kind, StoreError};
use crate::layer::Shared;

/// How long all store calls of one commit may take together.
pub(crate) struct Limit {
    timeout: Duration,
    /// When the first conflict was met, after which a loop of calls could go on.
    contended: Option<Instant>,
    /// None for an immediate store, which needs no timer.
    deadline: Option<tokio::time::Instant>,
}

impl Limit {
    pub(crate) fn new(shared: &Shared) -> Self {
        let timeout = shared.store_timeout;
        let deadline = (!shared.is_immediate).then(|| tokio::time::Instant::now() + timeout);
        Self { timeout, contended: None, deadline }
    }

    /// Ends a loop of calls that are answered at once, each in time and all together too late.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        if self.contended.get_or_insert_with(Instant::now).elapsed() > self.timeout {
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
