//! The background task that sweeps a store.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::event::{Events, Operation};
use crate::store::SessionStore;

/// The sweeping task of one store.
///
/// It starts with the first use that finds a runtime and stops with the store. The next use starts it again if its
/// runtime has ended or a sweep has panicked.
#[derive(Debug)]
pub(super) struct Sweeper {
    clock: Arc<dyn Clock>,
    status: Arc<Status>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Status {
    is_running: AtomicBool,
    panics: AtomicUsize,
}

/// The number of panics after which the sweeper stops for good: in a runtime without timers every start panics.
const MAX_PANICS: usize = 4;

/// The number of entries that a sweep removes before it lets other tasks run.
const SWEEP_STEP: usize = 256;

impl Sweeper {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, status: Arc::default(), task: Mutex::default() }
    }

    #[inline]
    pub(super) fn start<S: SessionStore>(&self, store: &Arc<S>, events: &Events) {
        if !self.status.is_running.load(Ordering::Relaxed) {
            self.spawn(store, events);
        }
    }

    #[cold]
    fn spawn<S: SessionStore>(&self, store: &Arc<S>, events: &Events) {
        let (Some(interval), Ok(runtime)) = (store.sweep_interval(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if self.status.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(Arc::clone(&self.status));
        let (store, clock, events) = (Arc::downgrade(store), Arc::clone(&self.clock), events.clone());
        let sweeping = async move {
            let _running = running;
            sweep_for_ever(store, clock, events, interval).await;
        };
        *task = Some(runtime.spawn(sweeping).abort_handle());
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Reports the end of the sweeping task, by a panic or otherwise.
struct Running(Arc<Status>);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panics = self.0.panics.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(name: "session.sweep.panicked", panics, "a sweep of the session store panicked");
            if panics >= MAX_PANICS {
                tracing::error!(
                    name: "session.sweep.stopped",
                    "the session store is no longer swept: expired sessions stay there until they are asked for"
                );
                return;
            }
        }
        self.0.is_running.store(false, Ordering::Release);
    }
}

async fn sweep_for_ever<S: SessionStore>(store: Weak<S>, clock: Arc<dyn Clock>, events: Events, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let mut total = 0;
        loop {
            let Some(store) = store.upgrade() else { return };
            match store.sweep(SWEEP_STEP, clock.now()).await {
                Ok(removed) => {
                    total += removed;
                    if removed < SWEEP_STEP {
                        break;
                    }
                }
                Err(error) => {
                    events.failed(Operation::Sweep, &error.into());
                    break;
                }
            }
            drop(store);
            tokio::task::yield_now().await;
        }
        if total > 0 {
            tracing::debug!(name: "session.sweep.done", total, "expired sessions were swept");
        }
    }
}
