//! Reports the panics of `update` closures, because the panic hook's text reaches neither metrics nor an alarm on the log.

use std::future::poll_fn;
use std::pin::pin;

use crate::error::Kind;
use crate::event::{Events, Operation};

/// Reports the panic that drops it. Nothing else drops it.
struct Alarm<'a>(&'a Events, Operation);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.failed(self.1, &Kind::Panicked.into());
    }
}

/// Reports a panic as a failure of the commit. The panic continues to the caller, as a handler's panic does.
#[inline]
pub(super) fn reported<R>(events: &Events, operation: Operation, work: impl FnOnce() -> R) -> R {
    let alarm = Alarm(events, operation);
    let result = work();
    std::mem::forget(alarm);
    result
}

/// Reports the panics of a future. Only the polls are watched. Between polls nothing of the future runs, so a panic
/// then has another cause.
pub(super) async fn watched<F: Future>(events: &Events, operation: Operation, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| reported(events, operation, || future.as_mut().poll(context))).await
}
