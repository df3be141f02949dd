//! Reading and changing the session that all clones share.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::reentry::CellId;
use super::request::SessionCell;
use super::state::{CookieAction, ResponseHead, SessionState, Stored, Work};
use crate::error::Error;
use crate::record::Record;

impl SessionCell {
    /// Locks the state. The lock is never held while user code runs or across an await. So a poisoned lock still guards
    /// a whole state.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the session as the handler sees it; `None` if there is none yet. Counts as access.
    pub(crate) fn read<R>(&self, look: impl FnOnce(Option<&Record>, &SessionState) -> R) -> R {
        let mut state = self.lock();
        state.access();
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

    /// Computes a change from the session's present content, and installs it.
    ///
    /// `make` is user code. It runs outside the lock. If another clone has changed the content meanwhile, `install`
    /// returns `None` and `make` runs again.
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

    /// Ends a request whose response will never be sent. Returns whether the session is to be destroyed.
    pub(crate) fn abandon(&self) -> bool {
        let mut state = self.lock();
        let edits = state.work.as_ref().map_or(0, |work| work.edits);
        state.head = ResponseHead::Lost(edits);
        state.work.as_ref().is_some_and(|work| work.intent.destroy)
    }

    /// Installs the stored session that a commit or reload returned, and replays the changes that were made meanwhile
    /// on it.
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
            // Closures are user code, so they run outside the lock. They run again if yet another change is made
            // meanwhile.
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
            // A request that has ended without a response drops its changes by design.
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
