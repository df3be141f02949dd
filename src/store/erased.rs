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

use super::ended::Ended;
use super::{Loaded, OwnedSession, Revocation, SessionStore, Updated};
use crate::clock::Clock;
use crate::commit::{Ending, Plain, ends_another, settle, settle_plainly, waited};
use crate::cookie::Candidates;
use crate::error::{Error, StoreError};
use crate::event::{Events, Operation};
use crate::layer::Shared;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::session::{Base, Live, Session, State};
use crate::token::{SessionToken, StoreKey};

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

/// What was found, and for which of the candidates: the token itself is moved only once, since that is dear.
pub(crate) enum Opened {
    Nothing,
    Live {
        at: usize,
        record: Arc<Record>,
        outdated: bool,
    },
    Dead {
        at: usize,
    },
    /// The session that a token which was replaced because of its age leads on to.
    LedOn(Box<Live>),
}

impl Opened {
    #[inline]
    pub(crate) fn with(self, candidates: &mut Candidates) -> Base {
        let base = match self {
            Self::Nothing => None,
            Self::Live { at, record, outdated } => {
                candidates.take(at).map(|token| Base::Live(Live { token, record, outdated }))
            }
            Self::Dead { at } => candidates.take(at).map(Base::Dead),
            Self::LedOn(live) => Some(Base::Live(*live)),
        };
        base.unwrap_or(Base::New)
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
    fn commit(&self, session: &Session, ending: Ending, met: Option<Updated>) -> Answer<Result<(), Error>>;
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

/// Which sessions are let in, and who hears of the others.
#[derive(Debug)]
struct Door {
    events: Events,
    /// Microseconds since the Unix epoch.
    not_before: u64,
    /// The tokens that were found to lead on no longer.
    ended: Ended<StoreKey>,
}

impl Door {
    #[inline]
    fn admits(&self, record: &Record, now: u64) -> bool {
        record.deadline > now && record.created >= self.not_before
    }
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
            tracing::error!(panics, "a sweep of the session store panicked");
            if panics >= MAX_PANICS {
                tracing::error!("the session store is swept no more: what expires there stays until it is asked for");
                return;
            }
        }
        self.0.is_running.store(false, Ordering::Release);
    }
}

impl<S: SessionStore> Erased<S> {
    pub(crate) fn new(store: S, clock: Arc<dyn Clock>, events: Events, not_before: u64) -> Self {
        let is_immediate = store.is_immediate();
        let door = Arc::new(Door { events, not_before, ended: Ended::default() });
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
            let answer = poll_once(open(&*self.store, &self.door, candidates, now, micros));
            return Answer::Ready(answer.unwrap_or_else(|| Err(waited())));
        }
        let (store, door) = (Arc::clone(&self.store), Arc::clone(&self.door));
        let mut candidates = std::mem::take(candidates);
        Answer::Later(Box::pin(async move {
            let opened = open(&*store, &door, &candidates, now, micros).await?;
            Ok(opened.with(&mut candidates))
        }))
    }

    fn commit_plainly(&self, shared: &Shared, state: &mut State, ending: Ending) -> Plain {
        if !self.is_immediate {
            return Plain::Open(None);
        }
        self.start_sweeper();
        settle_plainly(&self.store, shared, state, ending)
    }

    fn commit(&self, session: &Session, ending: Ending, met: Option<Updated>) -> Answer<Result<(), Error>> {
        self.start_sweeper();
        if self.is_immediate {
            // A commit of the same session that is under way on another thread is waited for, by the boxed future.
            if let Some(_closed) = session.inner().gate.try_close() {
                let answer = poll_once(settle(&self.store, session, ending, met));
                return Answer::Ready(answer.unwrap_or_else(|| Err(waited().into())));
            }
        }
        // Whoever waits for another commit may be asked for a `destroy` meanwhile.
        let is_queued = session.inner().gate.is_closed();
        let must_finish = ending == Ending::Explicit || is_queued || ends_another(session);
        let (store, session) = (Arc::clone(&self.store), session.clone());
        let committing = async move {
            let _closed = session.inner().gate.close().await;
            settle(&store, &session, ending, met).await
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if must_finish => {
                let task = runtime.spawn(committing);
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

/// Finds the first live candidate. A tombstone counts only if none is live.
async fn open(
    store: &impl SessionStore,
    door: &Door,
    candidates: &Candidates,
    now: SystemTime,
    micros: u64,
) -> Result<Opened, StoreError> {
    let (mut found, mut at) = (Opened::Nothing, 0);
    while let Some(token) = candidates.get(at) {
        let (record, outdated) = match store.load(token, now).await? {
            Loaded::Live(record) if door.admits(&record, micros) => (record, false),
            Loaded::Outdated(record) if door.admits(&record, micros) => (record, true),
            Loaded::Tombstone(stone) if stone.kind() != TombstoneKind::Emptied => {
                if is_leading(&stone, token, &door.ended, micros) {
                    match Box::pin(led_on(store, &stone, token, now)).await? {
                        Led::To(live) if door.admits(&live.record, micros) => {
                            return Ok(Opened::LedOn(Box::new(live)));
                        }
                        Led::ToEmptied(_) => {
                            at += 1;
                            continue;
                        }
                        Led::To(_) | Led::Nowhere => {}
                    }
                }
                door.events.dead(token, stone.kind());
                if matches!(found, Opened::Nothing) {
                    found = Opened::Dead { at };
                }
                at += 1;
                continue;
            }
            _ => {
                door.events.unknown(token);
                at += 1;
                continue;
            }
        };
        tracing::trace!(key = ?token.key(), outdated, "a session was loaded");
        return Ok(Opened::Live { at, record, outdated });
    }
    Ok(found)
}

/// Whether a token still leads on, and never did not.
fn is_leading(stone: &Tombstone, token: &SessionToken, ended: &Ended<StoreKey>, micros: u64) -> bool {
    let Some(until) = stone.forwards_until() else { return false };
    if until <= micros {
        // The tombstone stands on, and a clock that steps back must not revive the token.
        ended.note(token.key(), until);
        return false;
    }
    !ended.includes(token.key(), until)
}

/// What a token that was replaced because of its age leads on to.
pub(crate) enum Led {
    To(Live),
    /// A session that was left empty, with its tombstone: whoever writes begins a new one.
    ToEmptied(Tombstone),
    Nowhere,
}

/// Finds the session that a token which was replaced because of its age leads on to, while it does.
///
/// That session is not led on further: a token becomes older than its predecessor leads on.
pub(crate) async fn led_on(
    store: &impl SessionStore,
    stone: &Tombstone,
    token: &SessionToken,
    now: SystemTime,
) -> Result<Led, StoreError> {
    let Some(successor) = stone.forwards(token, now) else { return Ok(Led::Nowhere) };
    tracing::debug!(key = ?token.key(), "a token that was replaced because of its age leads on to the new one");
    Ok(match store.load(&successor, now).await? {
        Loaded::Live(record) | Loaded::Outdated(record) if !record.is_expired(now) => {
            Led::To(Live { token: successor, record, outdated: true })
        }
        Loaded::Tombstone(stone) if stone.kind() == TombstoneKind::Emptied => Led::ToEmptied(stone),
        _ => Led::Nowhere,
    })
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
            tracing::debug!(total, "expired sessions were swept");
        }
    }
}
