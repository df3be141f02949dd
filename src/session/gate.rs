//! What lets one commit of a session run at a time.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Open but for the length of a commit: two at once would run an `update` twice.
///
/// A mutex without a value, lighter than an asynchronous one where nobody else is there, as in nearly every request.
#[derive(Default)]
pub(crate) struct Gate {
    state: AtomicU8,
    opened: Notify,
}

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
/// Closed, and somebody may be waiting.
const AWAITED: u8 = 2;

impl Gate {
    /// Closes the gate until the guard is dropped; `None` if it is closed already.
    #[inline]
    pub(crate) fn try_close(&self) -> Option<Closed<'_>> {
        let closed = self.state.compare_exchange(OPEN, CLOSED, Ordering::Acquire, Ordering::Relaxed);
        closed.is_ok().then(|| Closed(self))
    }

    /// Closes the gate as soon as it is open.
    ///
    /// Whoever is woken and stops waiting wakes the next.
    pub(crate) async fn close(&self) -> Closed<'_> {
        if let Some(closed) = self.try_close() {
            return closed;
        }
        // Whoever has waited cannot know whether others still do.
        while self.state.swap(AWAITED, Ordering::Acquire) != OPEN {
            self.opened.notified().await;
        }
        Closed(self)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Relaxed) != OPEN
    }
}

/// Opens the gate again when it is dropped.
pub(crate) struct Closed<'a>(&'a Gate);

impl Drop for Closed<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.state.swap(OPEN, Ordering::Release) == AWAITED {
            // Kept for who is only about to wait, so that none sleeps past an open gate.
            self.0.opened.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn one_goes_through_at_a_time_and_whoever_stops_waiting_holds_up_nobody() {
        let gate = Gate::default();
        let mut context = Context::from_waker(Waker::noop());
        let first = gate.try_close().unwrap();
        assert!(gate.try_close().is_none() && gate.is_closed());
        let (mut second, mut third) = (Box::pin(gate.close()), pin!(gate.close()));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(first);
        // The second was woken and goes away.
        drop(second);
        let Poll::Ready(closed) = third.as_mut().poll(&mut context) else { panic!("the gate is open") };
        assert!(gate.is_closed());
        drop(closed);
        assert!(gate.try_close().is_some() && !gate.is_closed());
    }

    #[test]
    fn only_one_of_many_threads_is_inside() {
        let (gate, inside) = (Gate::default(), AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let closed = runtime.handle().block_on(gate.close());
                        assert!(!inside.swap(true, Ordering::SeqCst));
                        std::thread::yield_now();
                        inside.store(false, Ordering::SeqCst);
                        drop(closed);
                    }
                });
            }
        });
    }
}
