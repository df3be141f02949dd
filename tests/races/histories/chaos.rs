//! A store around another: every call waits for its turn, and some go wrong.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tower_session_layer::store::{
    Change, Created, Deleted, Loaded, OwnedSession, Record, Revocation, SessionCookie, Updated, Version,
};
use tower_session_layer::{SessionStore, SessionToken, StoreError, StoreKey, TokenShape};

use super::chance::Chance;
use super::turns::Turns;

/// How many calls go right after one that did not. What makes good again what went wrong must itself succeed, or the
/// layer promises less.
const PEACE: usize = 24;

#[derive(Debug, Clone)]
pub(crate) struct Chaos<S> {
    store: S,
    turns: Turns,
    faults: Faults,
    is_immediate: bool,
}

/// What goes wrong, and whether anything has.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    chance: Chance,
    /// In percent of the calls.
    rate: usize,
    can_hang: bool,
    peace: Arc<AtomicUsize>,
    count: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Before,
    After,
    HangBefore,
    HangAfter,
}

impl Faults {
    pub(crate) fn new(chance: Chance, rate: usize, can_hang: bool) -> Self {
        Self { chance, rate, can_hang, peace: Arc::default(), count: Arc::default() }
    }

    /// How many calls went wrong.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Lets everything go right for so many calls.
    pub(crate) fn rest(&self, calls: usize) {
        self.peace.store(calls, Relaxed);
    }

    fn next(&self) -> Option<Fault> {
        let peace = self.peace.load(Relaxed);
        self.peace.store(peace.saturating_sub(1), Relaxed);
        if peace > 0 || !self.chance.percent(self.rate) {
            return None;
        }
        self.rest(PEACE);
        self.count.fetch_add(1, Relaxed);
        Some(match self.chance.below(if self.can_hang { 4 } else { 2 }) {
            0 => Fault::Before,
            1 => Fault::After,
            2 => Fault::HangBefore,
            _ => Fault::HangAfter,
        })
    }
}

impl<S> Chaos<S> {
    pub(crate) fn new(store: S, turns: Turns, faults: Faults, is_immediate: bool) -> Self {
        Self { store, turns, faults, is_immediate }
    }

    /// What is asked is on the heap, since with an engine it is large.
    async fn call<T>(&self, asked: Pin<Box<impl Future<Output = Result<T, StoreError>>>>) -> Result<T, StoreError> {
        let _busy = self.turns.busy();
        let fault = self.faults.next();
        if !self.is_immediate {
            self.turns.take().await;
        }
        match fault {
            Some(Fault::Before) => return Err(StoreError::new("made to fail")),
            Some(Fault::HangBefore) => pending().await,
            _ => {}
        }
        let answer = asked.await;
        if !self.is_immediate {
            self.turns.take().await;
        }
        match fault {
            Some(Fault::After) => Err(StoreError::new("answer made to get lost")),
            Some(Fault::HangAfter) => pending().await,
            _ => answer,
        }
    }
}

impl<S: SessionStore> SessionStore for Chaos<S> {
    fn token_shape(&self) -> TokenShape {
        self.store.token_shape()
    }

    fn is_immediate(&self) -> bool {
        self.is_immediate
    }

    fn max_record_len(&self) -> Option<usize> {
        self.store.max_record_len()
    }

    /// Nothing expires here.
    fn sweep_interval(&self) -> Option<Duration> {
        None
    }

    fn bind(&mut self, cookie: &SessionCookie) {
        self.store.bind(cookie);
    }

    async fn load(&self, token: &SessionToken, now: SystemTime) -> Result<Loaded, StoreError> {
        self.call(Box::pin(self.store.load(token, now))).await
    }

    async fn create(&self, fresh: &SessionToken, record: &Arc<Record>, now: SystemTime) -> Result<Created, StoreError> {
        self.call(Box::pin(self.store.create(fresh, record, now))).await
    }

    async fn update(
        &self,
        token: &SessionToken,
        from: Version,
        change: &Change,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.call(Box::pin(self.store.update(token, from, change, now))).await
    }

    async fn touch(
        &self,
        token: &SessionToken,
        version: Version,
        deadline: SystemTime,
        now: SystemTime,
    ) -> Result<Updated, StoreError> {
        self.call(Box::pin(self.store.touch(token, version, deadline, now))).await
    }

    async fn delete(&self, key: &StoreKey, tombstone: Duration, now: SystemTime) -> Result<Deleted, StoreError> {
        self.call(Box::pin(self.store.delete(key, tombstone, now))).await
    }

    async fn owned(&self, owner: &str, now: SystemTime) -> Result<Vec<OwnedSession>, StoreError> {
        self.call(Box::pin(self.store.owned(owner, now))).await
    }

    async fn revoke(&self, owner: &str, revocation: &Revocation, now: SystemTime) -> Result<usize, StoreError> {
        self.call(Box::pin(self.store.revoke(owner, revocation, now))).await
    }

    async fn sweep(&self, limit: usize, now: SystemTime) -> Result<usize, StoreError> {
        self.store.sweep(limit, now).await
    }
}
