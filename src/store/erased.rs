//! A store with its type erased, so that the layer has no type parameter.
//!
//! What is erased are the layer's two jobs, loading the first live candidate and committing a session, rather than
//! each store call: a networked store costs two boxes a request, and one that answers at once none.

use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;
use tracing::Instrument as _;

use super::alarm::{alarmed, watched};
use super::expired::ExpiredSessions;
use super::open::{Door, Opened, open};
use super::{OwnedSession, Revocation, SessionStore};
use crate::clock::Clock;
use crate::commit::{Ending, Met, Plain, ends_another, settle, settle_plainly, waited};
use crate::cookie::Candidates;
use crate::error::{Error, StoreError};
use crate::event::{Events, Operation};
use crate::layer::Shared;
use crate::session::{Base, Session, State};

pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a store answers, now or later.
pub(crate) enum Answer<T, L = T> {
    Ready(T),
    Later(Boxed<L>),
}

impl<T> Answer<T> {
    pub(crate) async fn wait(self) -> T {
        match self {
            Self::Ready(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

/// The object-safe twin of [`SessionStore`].
pub(crate) trait ErasedStore: Debug + Send + Sync {
    /// `micros` is `now` as records have it. A store that waits takes the candidates.
    fn open(
        &self,
        candidates: &mut Candidates,
        now: SystemTime,
        micros: u64,
    ) -> Answer<Result<Opened, StoreError>, Result<Base, StoreError>>;
    /// Commits the session of nobody else, where that is simple.
    fn commit_plainly(&self, shared: &Shared, state: &mut State, ending: Ending) -> Plain;
    /// Commits a session, whose first write may have `met` something already.
    fn commit(&self, session: &Session, ending: Ending, met: Option<Box<Met>>) -> Answer<Result<(), Error>>;
    fn owned(&self, owner: String, now: SystemTime) -> Boxed<Result<Vec<OwnedSession>, StoreError>>;
    fn revoke(&self, owner: String, revocation: Revocation, now: SystemTime) -> Boxed<Result<usize, StoreError>>;
}

#[derive(Debug)]
pub(crate) struct Erased<S> {
    store: Arc<S>,
    is_immediate: bool,
    clock: Arc<dyn Clock>,
    door: Arc<Door>,
    sweeper: Sweeper,
}

/// The task that sweeps: started with the first use that finds a runtime, stopped with the store, and started again by
/// the next use where its runtime has ended or a sweep has panicked.
#[derive(Debug, Default)]
struct Sweeper {
    status: Arc<Status>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Debug, Default)]
struct Status {
    is_running: AtomicBool,
    panics: AtomicUsize,
}

/// After how many panics the sweeper is given up: a runtime without a timer brings one at every start.
const MAX_PANICS: usize = 4;

/// Says that the sweeper has ended, however it has.
struct Running(Arc<Status>);

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panics = self.0.panics.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(name: "session.sweep.panicked", panics, "a sweep of the session store panicked");
            if panics >= MAX_PANICS {
                tracing::error!(
                    name: "session.sweep.stopped",
                    "the session store is swept no more: what expires there stays until it is asked for"
                );
                return;
            }
        }
        self.0.is_running.store(false, Ordering::Release);
    }
}

impl<S: SessionStore> Erased<S> {
    pub(crate) fn new(store: S, clock: Arc<dyn Clock>, events: Events, not_before: u64) -> Self {
        let is_immediate = store.is_immediate();
        let door = Arc::new(Door { events, not_before, expired: ExpiredSessions::default() });
        Self { store: Arc::new(store), is_immediate, clock, door, sweeper: Sweeper::default() }
    }

    #[inline]
    fn start_sweeper(&self) {
        if self.sweeper.status.is_running.load(Ordering::Relaxed) {
            return;
        }
        let (Some(interval), Ok(runtime)) = (self.store.sweep_interval(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let mut task = self.sweeper.task.lock().unwrap_or_else(PoisonError::into_inner);
        if self.sweeper.status.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(Arc::clone(&self.sweeper.status));
        let (store, clock, events) = (Arc::downgrade(&self.store), Arc::clone(&self.clock), self.door.events.clone());
        let sweeping = async move {
            let _running = running;
            sweep_for_ever(store, clock, events, interval).await;
        };
        *task = Some(runtime.spawn(sweeping).abort_handle());
    }
}

impl<S> Drop for Erased<S> {
    fn drop(&mut self) {
        let task = self.sweeper.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
}

impl<S: SessionStore> ErasedStore for Erased<S> {
    fn open(
        &self,
        candidates: &mut Candidates,
        now: SystemTime,
        micros: u64,
    ) -> Answer<Result<Opened, StoreError>, Result<Base, StoreError>> {
        self.start_sweeper();
        if self.is_immediate {
            let opening = open(&*self.store, &self.door, candidates, now, micros);
            let answer = alarmed(&self.door.events, Operation::Load, || poll_once(opening));
            return Answer::Ready(answer.unwrap_or_else(|| Err(waited())));
        }
        let (store, door) = (Arc::clone(&self.store), Arc::clone(&self.door));
        let mut candidates = std::mem::take(candidates);
        Answer::Later(Box::pin(async move {
            let opening = open(&*store, &door, &candidates, now, micros);
            Ok(watched(&door.events, Operation::Load, opening).await?.with(&mut candidates))
        }))
    }

    fn commit_plainly(&self, shared: &Shared, state: &mut State, ending: Ending) -> Plain {
        if !self.is_immediate {
            return Plain::Open(None);
        }
        self.start_sweeper();
        alarmed(&shared.events, Operation::Commit, || settle_plainly(&self.store, shared, state, ending))
    }

    fn commit(&self, session: &Session, ending: Ending, met: Option<Box<Met>>) -> Answer<Result<(), Error>> {
        self.start_sweeper();
        let operation = if ending == Ending::Reload { Operation::Load } else { Operation::Commit };
        if self.is_immediate {
            // A commit of the same session that is under way on another thread is waited for, by the boxed future.
            if let Some(_closed) = session.inner().gate.try_close() {
                let settling = settle(&self.store, session, ending, met);
                let answer = alarmed(&self.door.events, operation, || poll_once(settling));
                return Answer::Ready(answer.unwrap_or_else(|| Err(waited().into())));
            }
        }
        // Whoever waits for another commit may be asked for a `destroy` meanwhile.
        let is_queued = session.inner().gate.is_closed();
        let must_finish = ending == Ending::Explicit || is_queued || ends_another(session);
        let (store, session) = (Arc::clone(&self.store), session.clone());
        let committing = async move {
            let _closed = session.inner().gate.close().await;
            let settling = settle(&store, &session, ending, met);
            watched(&session.inner().shared.events, operation, settling).await
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if must_finish => {
                let task = runtime.spawn(committing.in_current_span());
                Answer::Later(Box::pin(async move {
                    task.await.unwrap_or_else(|error| match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(_) => Err(StoreError::new("the runtime is shutting down").into()),
                    })
                }))
            }
            _ => Answer::Later(Box::pin(committing)),
        }
    }

    fn owned(&self, owner: String, now: SystemTime) -> Boxed<Result<Vec<OwnedSession>, StoreError>> {
        let store = Arc::clone(&self.store);
        Box::pin(async move { store.owned(&owner, now).await })
    }

    fn revoke(&self, owner: String, revocation: Revocation, now: SystemTime) -> Boxed<Result<usize, StoreError>> {
        let store = Arc::clone(&self.store);
        Box::pin(async move { store.revoke(&owner, &revocation, now).await })
    }
}

/// Polls a future that is said to be ready at once.
#[inline]
pub(crate) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// How many entries a sweep removes before it lets others run.
const SWEEP_STEP: usize = 256;

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
