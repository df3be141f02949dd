//! Panics that pass through a load or a commit: the panic hook's text reaches neither metrics nor an alarm on the log.

use std::future::poll_fn;
use std::pin::pin;

use crate::error::Kind;
use crate::event::{Events, Operation};

/// Dropped by a panic alone.
struct Alarm<'a>(&'a Events, Operation);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.failed(self.1, &Kind::Panicked.into());
    }
}

/// Tells of a panic as of another failure; it goes on to whoever called, as the one of a handler does.
#[inline]
pub(super) fn alarmed<R>(events: &Events, operation: Operation, work: impl FnOnce() -> R) -> R {
    let alarm = Alarm(events, operation);
    let result = work();
    std::mem::forget(alarm);
    result
}

/// The same for a future: between its polls nothing of it runs, so that a panic then is another's.
pub(super) async fn watched<F: Future>(events: &Events, operation: Operation, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| alarmed(events, operation, || future.as_mut().poll(context))).await
}
