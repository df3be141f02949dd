//! Reading and changing the session that all clones share.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::reentry::CellId;
use super::request::SessionCell;
use super::state::{CookieAction, ResponseHead, SessionState, Stored, Work};
use crate::error::Error;
use crate::record::Record;

impl SessionCell {
    /// Locks the state. The lock is never held while user code runs or across an await, so a panic elsewhere left the
    /// state whole.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the session as the handler sees it; `None` if there is none yet. Counts as access.
    pub(crate) fn read<R>(&self, look: impl FnOnce(Option<&Record>, &SessionState) -> R) -> R {
        let mut state = self.lock();
        state.accessed = true;
        look(state.current(), &state)
    }

    /// Changes the session as the handler sees it.
    pub(crate) fn write<R>(&self, change: impl FnOnce(&mut Work) -> Result<R, Error>) -> Result<R, Error> {
        let mut state = self.lock();
        let work = state.work_mut()?;
        let result = change(work)?;
        work.edits += 1;
        drop(state);
        self.id().disturb();
        Ok(result)
    }

    /// Makes a change out of what the session holds.
    ///
    /// `make` is user code. It runs outside the lock, and again if another clone changed the part that was seen: then
    /// `install` returns `None`.
    pub(super) fn change<S, C, R>(
        &self,
        see: impl Fn(Option<&Record>) -> S,
        make: impl Fn(&S) -> Result<C, Error>,
        install: impl Fn(&mut Work, &S, C) -> Result<Option<R>, Error>,
    ) -> Result<R, Error> {
        loop {
            let seen = self.read(|record, _| see(record));
            let change = make(&seen)?;
            if let Some(result) = self.write(|work| install(work, &seen, change))? {
                return Ok(result);
            }
        }
    }

    pub(super) fn id(&self) -> CellId {
        CellId::of(self)
    }

    /// Ends a request whose response will never be sent.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        let edits = state.work.as_ref().map_or(0, |work| work.edits);
        state.head = ResponseHead::Lost(edits);
    }

    /// Installs the session that a commit or reload brought, with the changes made meanwhile on top.
    pub(crate) fn rebase(&self, stored: Stored, cookie: CookieAction) {
        let mut state = self.lock();
        if stored.is_over() && matches!(state.cookie, CookieAction::Set { .. }) {
            // The cookie of a session that has ended must not replace that of a later one.
            state.cookie = CookieAction::Leave;
        }
        state.stored = stored;
        state.cookie = cookie.or_keep(std::mem::take(&mut state.cookie));
        while let Some(work) = state.work.take() {
            if work.intent.is_nothing() {
                return;
            }
            let on = if work.intent.destroy { None } else { state.stored.record().cloned() };
            let mut stale = work.clone();
            stale.is_stale = true;
            state.work = Some(stale);
            // Closures are user code: they run outside the lock, and again if yet another change came meanwhile.
            drop(state);
            let replayed = work.intent.replay(&on.unwrap_or_else(Record::blank), usize::MAX);
            // A closure that cannot read the newer value fails again in the commit, which reports it.
            let Ok((draft, edited)) = replayed else { return };
            state = self.lock();
            if let Some(latest) = state.work.as_mut().filter(|latest| latest.edits == work.edits) {
                latest.draft = Arc::new(draft);
                latest.intent.edited = edited;
                latest.is_stale = false;
                return;
            }
        }
    }
}

impl Drop for SessionCell {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let known = match state.head {
            // A request that ends by itself without an answer drops its changes, as it should.
            ResponseHead::Open => return,
            ResponseHead::Sent => 0,
            ResponseHead::Lost(edits) => edits,
        };
        if state.work.as_ref().is_some_and(|work| work.intent.is_change() && work.edits > known) {
            tracing::warn!(
                name: "session.changes.lost",
                cookie = self.shared.cookie.name(),
                "a session was changed after the response was committed, and the change is lost: call `commit()`"
            );
        }
    }
}
