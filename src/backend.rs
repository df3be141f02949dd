//! Any store behind one type, so that the layer has no type parameter.

mod panics;
mod sweeper;

use std::sync::Arc;
use std::time::SystemTime;

use tracing::Instrument as _;

use self::panics::{reported, watched};
use self::sweeper::Sweeper;
use crate::clock::Clock;
use crate::commit::{Quick, Successor, destroys, end_late, ends_another, settle, settle_quickly, waited};
use crate::cookie::Candidates;
use crate::error::{Error, StoreError};
use crate::event::{Events, Operation};
use crate::key::CookieKey;
use crate::record::{Record, Tombstone, TombstoneKind};
use crate::session::{Answer, Boxed, Occasion, Opened, Session, StoreDeadline, StorePort, Stored, poll_once};
use crate::store::{Caught, ExpiredSessions, Loaded, OwnedSession, Revocation, SessionStore};
use crate::token::{SessionToken, StoreKey};

/// A store that loads and commits sessions.
#[derive(Debug)]
pub(crate) struct Backend<S> {
    store: Arc<Caught<S>>,
    is_immediate: bool,
    admission: Arc<Admission>,
    sweeper: Sweeper,
}

impl<S: SessionStore> Backend<S> {
    pub(crate) fn new(
        store: S,
        clock: Arc<dyn Clock>,
        events: Events,
        not_before: u64,
        renewal_keys: Arc<[CookieKey]>,
    ) -> Self {
        let is_immediate = store.is_immediate();
        let admission =
            Arc::new(Admission { events, not_before, renewal_keys, no_longer_leading: ExpiredSessions::default() });
        Self { store: Arc::new(Caught(store)), is_immediate, admission, sweeper: Sweeper::new(clock) }
    }
}

impl<S: SessionStore> StorePort for Backend<S> {
    fn load(
        &self,
        candidates: &mut Candidates,
        now: SystemTime,
        micros: u64,
    ) -> Answer<Result<Opened, StoreError>, Result<Stored, StoreError>> {
        self.sweeper.start(&self.store, &self.admission.events);
        if self.is_immediate {
            let loading = load(&*self.store, &self.admission, candidates, now, micros);
            return Answer::Ready(poll_once(loading).unwrap_or_else(|| Err(waited())));
        }
        let (store, admission) = (Arc::clone(&self.store), Arc::clone(&self.admission));
        let mut candidates = std::mem::take(candidates);
        Answer::Later(Box::pin(async move {
            let loading = load(&*store, &admission, &candidates, now, micros);
            Ok(loading.await?.with(&mut candidates))
        }))
    }

    fn commit(&self, session: &Session, occasion: Occasion, is_alone: bool) -> Answer<Result<(), Error>> {
        self.sweeper.start(&self.store, &self.admission.events);
        let operation = if occasion == Occasion::Reload { Operation::Load } else { Operation::Commit };
        if self.is_immediate {
            let mut met = None;
            if is_alone {
                let (shared, mut state) = (&session.cell().shared, session.cell().lock());
                let quickly = || settle_quickly(&self.store, shared, &mut state, occasion);
                match reported(&self.admission.events, operation, quickly) {
                    Quick::Settled(answer) => return Answer::Ready(answer),
                    Quick::Open(answer) => met = answer,
                }
            }
            // The boxed future below waits for a commit of the same session on another thread.
            if let Ok(_held) = session.cell().commit_lock.try_lock() {
                let deadline = StoreDeadline::new(&session.cell().shared);
                let settling = settle(&self.store, session.cell(), occasion, deadline, is_alone, met);
                let answer = reported(&self.admission.events, operation, || poll_once(settling));
                return Answer::Ready(answer.unwrap_or_else(|| Err(waited().into())));
            }
        }
        // The program may call `destroy` while this commit waits for another one.
        let is_queued = session.cell().commit_lock.try_lock().is_err();
        let must_finish = occasion == Occasion::Explicit || is_queued || ends_another(session);
        let is_late = is_queued && occasion.is_last() && !self.is_immediate;
        let (store, session) = (Arc::clone(&self.store), session.clone());
        let deadline = StoreDeadline::new(&session.cell().shared);
        let committing = async move {
            let (cell, events) = (session.cell(), &session.cell().shared.events);
            let held = match deadline.wait(async { Ok(cell.commit_lock.lock().await) }).await {
                Ok(held) => held,
                Err(error) => {
                    events.failed(operation, &error);
                    if is_late {
                        end_late(&session, false);
                    }
                    return Err(error);
                }
            };
            let destroys = is_late && destroys(&session);
            let settling = settle(&store, cell, occasion, deadline, is_alone, None);
            let committed = watched(events, operation, settling).await;
            drop(held);
            if destroys && committed.is_err() {
                end_late(&session, true);
            }
            committed
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

    fn count(&self, owner: Option<String>, now: SystemTime) -> Boxed<Result<usize, StoreError>> {
        let store = Arc::clone(&self.store);
        Box::pin(async move { store.count(owner.as_deref(), now).await })
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

/// Admits sessions, and reports the tokens that are refused.
#[derive(Debug)]
struct Admission {
    events: Events,
    /// Microseconds since the Unix epoch.
    not_before: u64,
    /// The keys that open the tokens which replaced tokens lead on to.
    renewal_keys: Arc<[CookieKey]>,
    /// The tokens that were found not to lead on any more.
    no_longer_leading: ExpiredSessions<StoreKey>,
}

impl Admission {
    #[inline]
    fn admits(&self, record: &Record, now: u64) -> bool {
        // Without the store that moves it, nobody knows whether it is a session.
        #[cfg(feature = "moving")]
        if record.moving().is_some() {
            return false;
        }
        record.deadline > now && record.created >= self.not_before
    }

    /// Returns whether a token still leads on to its successor, and was never found not to lead on.
    fn leads_on(&self, stone: &Tombstone, token: &SessionToken, micros: u64) -> bool {
        let Some(until) = stone.forwards_until() else { return false };
        if until <= micros {
            // The tombstone outlives this time, and a clock that steps back must not revive the token.
            self.no_longer_leading.note(token.key(), until);
            return false;
        }
        !self.no_longer_leading.includes(token.key(), until)
    }
}

/// Finds the first live candidate; of a client-side store the one that was sealed last. A tombstone counts only if none
/// is live.
///
/// A browser keeps the cookie that an earlier deploy set with another domain or path beside the present one, and sends
/// both in any order. On a server the earlier token is dead once it was replaced, but a sealed session stays good.
async fn load(
    store: &impl SessionStore,
    admission: &Admission,
    candidates: &Candidates,
    now: SystemTime,
    micros: u64,
) -> Result<Opened, StoreError> {
    let mut found = Opened::Nothing;
    let is_sealed = store.token_shape().is_sealed();
    for at in 0.. {
        let Some(token) = candidates.get(at) else { break };
        let (record, outdated) = match store.load(token, now).await? {
            Loaded::Live(record) if admission.admits(&record, micros) => (record, false),
            Loaded::Outdated(record) if admission.admits(&record, micros) => (record, true),
            Loaded::Tombstone(stone) if stone.kind() != TombstoneKind::Emptied => {
                if admission.leads_on(&stone, token, micros) {
                    match Box::pin(Successor::find(store, &admission.renewal_keys, &stone, token, now)).await? {
                        Successor::Live(live) if admission.admits(&live.record, micros) => {
                            return Ok(Opened::Successor(Box::new(live)));
                        }
                        Successor::Emptied(_) => continue,
                        Successor::Live(_) | Successor::None => {}
                    }
                }
                admission.events.dead(token, stone.kind());
                if matches!(found, Opened::Nothing) {
                    found = Opened::Dead { at };
                }
                continue;
            }
            _ => {
                admission.events.unknown(token);
                continue;
            }
        };
        tracing::trace!(name: "session.loaded", key = ?token.key(), outdated, "a session was loaded");
        if !is_sealed {
            return Ok(Opened::Live { at, record, outdated });
        }
        // Sealing sets the time at which the session was last seen.
        match &found {
            Opened::Live { record: latest, .. } if latest.seen >= record.seen => {}
            _ => found = Opened::Live { at, record, outdated },
        }
    }
    Ok(found)
}
