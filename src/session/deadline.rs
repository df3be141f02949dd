//! The time limit that all store calls of one operation share.

use std::time::{Duration, Instant};

use super::request::Shared;
use crate::error::{Error, Kind, StoreError};

/// Limits how long the store calls of one load, commit, listing or revocation may take together, with the waiting for
/// others of the same session.
pub(crate) struct StoreDeadline {
    timeout: Duration,
    /// The time of the first conflict, from which on a loop of calls could go on without end.
    contended: Option<Instant>,
    /// `None` for an immediate store, which needs no timer.
    deadline: Option<tokio::time::Instant>,
}

impl StoreDeadline {
    pub(crate) fn new(shared: &Shared) -> Self {
        let timeout = shared.store_timeout;
        let deadline = (!shared.is_immediate).then(|| tokio::time::Instant::now() + timeout);
        Self { timeout, contended: None, deadline }
    }

    /// Ends a loop of calls whose answers are each in time, but together take too long.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        if self.contended.get_or_insert_with(Instant::now).elapsed() > self.timeout {
            return Err(Kind::TimedOut(self.timeout).into());
        }
        Ok(())
    }

    pub(crate) async fn wait<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, Error> {
        let answer = match self.deadline {
            None => asked.await,
            // A timer polls the call first, which would send it to the store in vain.
            Some(deadline) if deadline <= tokio::time::Instant::now() => {
                return Err(Kind::TimedOut(self.timeout).into());
            }
            Some(deadline) => {
                tokio::time::timeout_at(deadline, asked).await.map_err(|_| Kind::TimedOut(self.timeout))?
            }
        };
        Ok(answer?)
    }
}
